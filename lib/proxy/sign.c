/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C_Sign and C_Verify, at once and in parts, and with recovery.
 */
#include "proxy/calls.h"
#include "proxy/operation.h"

CK_RV hp_C_SignInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
		    CK_OBJECT_HANDLE key)
{
	return hp_operation_begin_on(session, HP_KIND_SIGN, mechanism, key);
}

static CK_RV run_sign(struct hp_session *s, struct hp_call *call)
{
	return hp_sign(s, call->in, call->in_len, call->out, call->out_len);
}

CK_RV hp_C_Sign(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
		CK_ULONG *out_len)
{
	static const enum hp_kind kind = HP_KIND_SIGN;
	struct hp_call call = { .function = HP_FN_C_Sign,
				.run = run_sign,
				.in = in,
				.in_len = in_len,
				.out = out,
				.out_len = out_len };
	return hp_operation_step_on(session, &kind, 1, HP_PART_SINGLE, &call);
}

static CK_RV run_sign_update(struct hp_session *s, struct hp_call *call)
{
	return hp_sign_update(s, call->in, call->in_len);
}

CK_RV hp_C_SignUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len)
{
	static const enum hp_kind kind = HP_KIND_SIGN;
	struct hp_call call = { .function = HP_FN_C_SignUpdate,
				.run = run_sign_update,
				.in = in,
				.in_len = in_len };
	return hp_operation_step_on(session, &kind, 1, HP_PART_UPDATE, &call);
}

static CK_RV run_sign_final(struct hp_session *s, struct hp_call *call)
{
	return hp_sign_final(s, call->out, call->out_len);
}

CK_RV hp_C_SignFinal(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len)
{
	static const enum hp_kind kind = HP_KIND_SIGN;
	struct hp_call call = { .function = HP_FN_C_SignFinal,
				.run = run_sign_final,
				.out = out,
				.out_len = out_len };
	return hp_operation_step_on(session, &kind, 1, HP_PART_FINAL, &call);
}

CK_RV hp_C_SignRecoverInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
			   CK_OBJECT_HANDLE key)
{
	return hp_operation_begin_on(session, HP_KIND_SIGN_RECOVER, mechanism, key);
}

static CK_RV run_sign_recover(struct hp_session *s, struct hp_call *call)
{
	return hp_sign_recover(s, call->in, call->in_len, call->out, call->out_len);
}

CK_RV hp_C_SignRecover(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len,
		       CK_BYTE *out, CK_ULONG *out_len)
{
	static const enum hp_kind kind = HP_KIND_SIGN_RECOVER;
	struct hp_call call = { .function = HP_FN_C_SignRecover,
				.run = run_sign_recover,
				.in = in,
				.in_len = in_len,
				.out = out,
				.out_len = out_len };
	return hp_operation_step_on(session, &kind, 1, HP_PART_SINGLE, &call);
}

CK_RV hp_C_VerifyInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
		      CK_OBJECT_HANDLE key)
{
	return hp_operation_begin_on(session, HP_KIND_VERIFY, mechanism, key);
}

static CK_RV run_verify(struct hp_session *s, struct hp_call *call)
{
	return hp_verify(s, call->in, call->in_len, call->signature, call->signature_len);
}

CK_RV hp_C_Verify(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len,
		  CK_BYTE *signature, CK_ULONG signature_len)
{
	static const enum hp_kind kind = HP_KIND_VERIFY;
	struct hp_call call = { .function = HP_FN_C_Verify,
				.run = run_verify,
				.in = in,
				.in_len = in_len,
				.signature = signature,
				.signature_len = signature_len };
	return hp_operation_step_on(session, &kind, 1, HP_PART_SINGLE, &call);
}

static CK_RV run_verify_update(struct hp_session *s, struct hp_call *call)
{
	return hp_verify_update(s, call->in, call->in_len);
}

CK_RV hp_C_VerifyUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len)
{
	static const enum hp_kind kind = HP_KIND_VERIFY;
	struct hp_call call = { .function = HP_FN_C_VerifyUpdate,
				.run = run_verify_update,
				.in = in,
				.in_len = in_len };
	return hp_operation_step_on(session, &kind, 1, HP_PART_UPDATE, &call);
}

static CK_RV run_verify_final(struct hp_session *s, struct hp_call *call)
{
	return hp_verify_final(s, call->signature, call->signature_len);
}

CK_RV hp_C_VerifyFinal(CK_SESSION_HANDLE session, CK_BYTE *signature,
		       CK_ULONG signature_len)
{
	static const enum hp_kind kind = HP_KIND_VERIFY;
	struct hp_call call = { .function = HP_FN_C_VerifyFinal,
				.run = run_verify_final,
				.signature = signature,
				.signature_len = signature_len };
	return hp_operation_step_on(session, &kind, 1, HP_PART_FINAL, &call);
}

CK_RV hp_C_VerifyRecoverInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
			     CK_OBJECT_HANDLE key)
{
	return hp_operation_begin_on(session, HP_KIND_VERIFY_RECOVER, mechanism, key);
}

static CK_RV run_verify_recover(struct hp_session *s, struct hp_call *call)
{
	return hp_verify_recover(s, call->signature, call->signature_len, call->out,
				 call->out_len);
}

CK_RV hp_C_VerifyRecover(CK_SESSION_HANDLE session, CK_BYTE *signature,
			 CK_ULONG signature_len, CK_BYTE *out, CK_ULONG *out_len)
{
	static const enum hp_kind kind = HP_KIND_VERIFY_RECOVER;
	struct hp_call call = { .function = HP_FN_C_VerifyRecover,
				.run = run_verify_recover,
				.signature = signature,
				.signature_len = signature_len,
				.out = out,
				.out_len = out_len };
	return hp_operation_step_on(session, &kind, 1, HP_PART_SINGLE, &call);
}

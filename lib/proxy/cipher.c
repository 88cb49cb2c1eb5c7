/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C_Encrypt and C_Decrypt, at once and in parts.
 */
#include "proxy/calls.h"
#include "proxy/operation.h"

CK_RV hp_C_EncryptInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
		       CK_OBJECT_HANDLE key)
{
	return hp_operation_begin_on(session, HP_KIND_ENCRYPT, mechanism, key);
}

static CK_RV run_encrypt(struct hp_session *s, struct hp_call *call)
{
	return hp_encrypt(s, call->in, call->in_len, call->out, call->out_len);
}

CK_RV hp_C_Encrypt(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
		   CK_ULONG *out_len)
{
	static const enum hp_kind kind = HP_KIND_ENCRYPT;
	struct hp_call call = { .function = HP_FN_C_Encrypt,
				.run = run_encrypt,
				.in = in,
				.in_len = in_len,
				.out = out,
				.out_len = out_len };
	return hp_operation_step_on(session, &kind, 1, HP_PART_SINGLE, &call);
}

static CK_RV run_encrypt_update(struct hp_session *s, struct hp_call *call)
{
	return hp_encrypt_update(s, call->in, call->in_len, call->out, call->out_len);
}

CK_RV hp_C_EncryptUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len,
			 CK_BYTE *out, CK_ULONG *out_len)
{
	static const enum hp_kind kind = HP_KIND_ENCRYPT;
	struct hp_call call = { .function = HP_FN_C_EncryptUpdate,
				.run = run_encrypt_update,
				.in = in,
				.in_len = in_len,
				.out = out,
				.out_len = out_len };
	return hp_operation_step_on(session, &kind, 1, HP_PART_STREAM, &call);
}

static CK_RV run_encrypt_final(struct hp_session *s, struct hp_call *call)
{
	return hp_encrypt_final(s, call->out, call->out_len);
}

CK_RV hp_C_EncryptFinal(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len)
{
	static const enum hp_kind kind = HP_KIND_ENCRYPT;
	struct hp_call call = { .function = HP_FN_C_EncryptFinal,
				.run = run_encrypt_final,
				.out = out,
				.out_len = out_len };
	return hp_operation_step_on(session, &kind, 1, HP_PART_FINAL, &call);
}

CK_RV hp_C_DecryptInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
		       CK_OBJECT_HANDLE key)
{
	return hp_operation_begin_on(session, HP_KIND_DECRYPT, mechanism, key);
}

static CK_RV run_decrypt(struct hp_session *s, struct hp_call *call)
{
	return hp_decrypt(s, call->in, call->in_len, call->out, call->out_len);
}

CK_RV hp_C_Decrypt(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
		   CK_ULONG *out_len)
{
	static const enum hp_kind kind = HP_KIND_DECRYPT;
	struct hp_call call = { .function = HP_FN_C_Decrypt,
				.run = run_decrypt,
				.in = in,
				.in_len = in_len,
				.out = out,
				.out_len = out_len };
	return hp_operation_step_on(session, &kind, 1, HP_PART_SINGLE, &call);
}

static CK_RV run_decrypt_update(struct hp_session *s, struct hp_call *call)
{
	return hp_decrypt_update(s, call->in, call->in_len, call->out, call->out_len);
}

CK_RV hp_C_DecryptUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len,
			 CK_BYTE *out, CK_ULONG *out_len)
{
	static const enum hp_kind kind = HP_KIND_DECRYPT;
	struct hp_call call = { .function = HP_FN_C_DecryptUpdate,
				.run = run_decrypt_update,
				.in = in,
				.in_len = in_len,
				.out = out,
				.out_len = out_len };
	return hp_operation_step_on(session, &kind, 1, HP_PART_STREAM, &call);
}

static CK_RV run_decrypt_final(struct hp_session *s, struct hp_call *call)
{
	return hp_decrypt_final(s, call->out, call->out_len);
}

CK_RV hp_C_DecryptFinal(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len)
{
	static const enum hp_kind kind = HP_KIND_DECRYPT;
	struct hp_call call = { .function = HP_FN_C_DecryptFinal,
				.run = run_decrypt_final,
				.out = out,
				.out_len = out_len };
	return hp_operation_step_on(session, &kind, 1, HP_PART_FINAL, &call);
}

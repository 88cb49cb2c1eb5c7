/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C_Digest, at once and in parts.
 */
#include "proxy/calls.h"
#include "proxy/operation.h"

CK_RV hp_C_DigestInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism)
{
	return hp_operation_begin_on(session, HP_KIND_DIGEST, mechanism,
				     CK_INVALID_HANDLE);
}

static CK_RV run_digest(struct hp_session *s, struct hp_call *call)
{
	return hp_digest(s, call->in, call->in_len, call->out, call->out_len);
}

CK_RV hp_C_Digest(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
		  CK_ULONG *out_len)
{
	static const enum hp_kind kind = HP_KIND_DIGEST;
	struct hp_call call = { .function = HP_FN_C_Digest,
				.run = run_digest,
				.in = in,
				.in_len = in_len,
				.out = out,
				.out_len = out_len };
	return hp_operation_step_on(session, &kind, 1, HP_PART_SINGLE, &call);
}

static CK_RV run_digest_update(struct hp_session *s, struct hp_call *call)
{
	return hp_digest_update(s, call->in, call->in_len);
}

CK_RV hp_C_DigestUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len)
{
	static const enum hp_kind kind = HP_KIND_DIGEST;
	struct hp_call call = { .function = HP_FN_C_DigestUpdate,
				.run = run_digest_update,
				.in = in,
				.in_len = in_len };
	return hp_operation_step_on(session, &kind, 1, HP_PART_UPDATE, &call);
}

static CK_RV run_digest_key(struct hp_session *s, struct hp_call *call)
{
	return hp_digest_key(s, call->real_key);
}

CK_RV hp_C_DigestKey(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
	static const enum hp_kind kind = HP_KIND_DIGEST;
	struct hp_call call = { .function = HP_FN_C_DigestKey,
				.run = run_digest_key,
				.key = key,
				.real_key = key };
	return hp_operation_step_on(session, &kind, 1, HP_PART_KEY, &call);
}

static CK_RV run_digest_final(struct hp_session *s, struct hp_call *call)
{
	return hp_digest_final(s, call->out, call->out_len);
}

CK_RV hp_C_DigestFinal(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len)
{
	static const enum hp_kind kind = HP_KIND_DIGEST;
	struct hp_call call = { .function = HP_FN_C_DigestFinal,
				.run = run_digest_final,
				.out = out,
				.out_len = out_len };
	return hp_operation_step_on(session, &kind, 1, HP_PART_FINAL, &call);
}

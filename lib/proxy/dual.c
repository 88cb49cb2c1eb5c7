/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two operations in one call, and saved states.
 */
#include "proxy/calls.h"
#include "proxy/operation.h"

static CK_RV run_digest_encrypt_update(struct hp_session *s, struct hp_call *call)
{
	return hp_digest_encrypt_update(s, call->in, call->in_len, call->out,
					call->out_len);
}

CK_RV hp_C_DigestEncryptUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len,
			       CK_BYTE *out, CK_ULONG *out_len)
{
	static const enum hp_kind kinds[] = { HP_KIND_ENCRYPT, HP_KIND_DIGEST };
	struct hp_call call = { .function = HP_FN_C_DigestEncryptUpdate,
				.run = run_digest_encrypt_update,
				.in = in,
				.in_len = in_len,
				.out = out,
				.out_len = out_len };
	return hp_operation_step_on(session, kinds, 2, HP_PART_STREAM, &call);
}

static CK_RV run_decrypt_digest_update(struct hp_session *s, struct hp_call *call)
{
	return hp_decrypt_digest_update(s, call->in, call->in_len, call->out,
					call->out_len);
}

CK_RV hp_C_DecryptDigestUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len,
			       CK_BYTE *out, CK_ULONG *out_len)
{
	static const enum hp_kind kinds[] = { HP_KIND_DECRYPT, HP_KIND_DIGEST };
	struct hp_call call = { .function = HP_FN_C_DecryptDigestUpdate,
				.run = run_decrypt_digest_update,
				.in = in,
				.in_len = in_len,
				.out = out,
				.out_len = out_len };
	return hp_operation_step_on(session, kinds, 2, HP_PART_STREAM, &call);
}

static CK_RV run_sign_encrypt_update(struct hp_session *s, struct hp_call *call)
{
	return hp_sign_encrypt_update(s, call->in, call->in_len, call->out,
				      call->out_len);
}

CK_RV hp_C_SignEncryptUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len,
			     CK_BYTE *out, CK_ULONG *out_len)
{
	static const enum hp_kind kinds[] = { HP_KIND_ENCRYPT, HP_KIND_SIGN };
	struct hp_call call = { .function = HP_FN_C_SignEncryptUpdate,
				.run = run_sign_encrypt_update,
				.in = in,
				.in_len = in_len,
				.out = out,
				.out_len = out_len };
	return hp_operation_step_on(session, kinds, 2, HP_PART_STREAM, &call);
}

static CK_RV run_decrypt_verify_update(struct hp_session *s, struct hp_call *call)
{
	return hp_decrypt_verify_update(s, call->in, call->in_len, call->out,
					call->out_len);
}

CK_RV hp_C_DecryptVerifyUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len,
			       CK_BYTE *out, CK_ULONG *out_len)
{
	static const enum hp_kind kinds[] = { HP_KIND_DECRYPT, HP_KIND_VERIFY };
	struct hp_call call = { .function = HP_FN_C_DecryptVerifyUpdate,
				.run = run_decrypt_verify_update,
				.in = in,
				.in_len = in_len,
				.out = out,
				.out_len = out_len };
	return hp_operation_step_on(session, kinds, 2, HP_PART_STREAM, &call);
}

CK_RV hp_C_GetOperationState(CK_SESSION_HANDLE session, CK_BYTE *state,
			     CK_ULONG *state_len)
{
	struct hp_vsession *vs = hp_vsession_take(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return hp_get_operation_state(&none, state, state_len);
	}
	CK_RV rv = hp_operation_save(vs, state, state_len);
	hp_vsession_give(vs);
	return rv;
}

CK_RV hp_C_SetOperationState(CK_SESSION_HANDLE session, CK_BYTE *state,
			     CK_ULONG state_len, CK_OBJECT_HANDLE encryption_key,
			     CK_OBJECT_HANDLE authentication_key)
{
	struct hp_vsession *vs = hp_vsession_take(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return hp_set_operation_state(&none, state, state_len, encryption_key,
					      authentication_key);
	}
	CK_RV rv = hp_operation_restore(vs, state, state_len, encryption_key,
					authentication_key);
	hp_vsession_give(vs);
	return rv;
}

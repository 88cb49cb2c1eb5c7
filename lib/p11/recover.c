/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of signatures that contain what they sign.
 */
#include "p11/call.h"

CK_RV hp_sign_recover_init(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
	CK_RV rv = HP_SESSION_CALL(s, C_SignRecoverInit, m, key);
	if (rv == CKR_OK)
		s->may_finish_signature = false;
	return hp_note_begin(s, HP_OP_SIGN_RECOVER, rv);
}

CK_RV hp_sign_recover(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len,
		      CK_BYTE *out, CK_ULONG *out_len)
{
	CK_RV rv = HP_SESSION_CALL(s, C_SignRecover, HP_INPUT(in), in_len, out, out_len);
	return hp_note_end(s, HP_OP_SIGN_RECOVER, rv, out != NULL);
}

CK_RV hp_verify_recover_init(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
	return hp_note_begin(s, HP_OP_VERIFY_RECOVER,
			     HP_SESSION_CALL(s, C_VerifyRecoverInit, m, key));
}

CK_RV hp_verify_recover(struct hp_session *s, const CK_BYTE *signature,
			CK_ULONG signature_len, CK_BYTE *out, CK_ULONG *out_len)
{
	CK_RV rv = HP_SESSION_CALL(s, C_VerifyRecover, HP_INPUT(signature), signature_len,
				   out, out_len);
	if (rv != CKR_SIGNATURE_INVALID && rv != CKR_SIGNATURE_LEN_RANGE)
		return hp_note_end(s, HP_OP_VERIFY_RECOVER, rv, out != NULL);
	s->active &= ~HP_OP_VERIFY_RECOVER;
	return rv;
}

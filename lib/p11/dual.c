/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that feed two operations of one session at once. An error may have ended either.
 */
#include "p11/call.h"

CK_RV hp_digest_encrypt_update(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len,
			       CK_BYTE *out, CK_ULONG *out_len)
{
	CK_RV rv = HP_SESSION_CALL(s, C_DigestEncryptUpdate, HP_INPUT(in), in_len, out,
				   out_len);
	return hp_note_update(s, HP_OP_DIGEST | HP_OP_ENCRYPT, rv);
}

CK_RV hp_decrypt_digest_update(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len,
			       CK_BYTE *out, CK_ULONG *out_len)
{
	CK_RV rv = HP_SESSION_CALL(s, C_DecryptDigestUpdate, HP_INPUT(in), in_len, out,
				   out_len);
	return hp_note_update(s, HP_OP_DECRYPT | HP_OP_DIGEST, rv);
}

CK_RV hp_sign_encrypt_update(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len,
			     CK_BYTE *out, CK_ULONG *out_len)
{
	CK_RV rv = HP_SESSION_CALL(s, C_SignEncryptUpdate, HP_INPUT(in), in_len, out,
				   out_len);
	return hp_note_update(s, HP_OP_SIGN | HP_OP_ENCRYPT, rv);
}

CK_RV hp_decrypt_verify_update(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len,
			       CK_BYTE *out, CK_ULONG *out_len)
{
	CK_RV rv = HP_SESSION_CALL(s, C_DecryptVerifyUpdate, HP_INPUT(in), in_len, out,
				   out_len);
	return hp_note_update(s, HP_OP_DECRYPT | HP_OP_VERIFY, rv);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of operations: encrypt, decrypt, digest, sign, verify. Each notes what it leaves
 * active.
 */
#include "p11/call.h"

/* --- encrypt, decrypt -------------------------------------------------------------- */

CK_RV hp_encrypt_init(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
	return hp_note_begin(s, HP_OP_ENCRYPT, HP_SESSION_CALL(s, C_EncryptInit, m, key));
}

CK_RV hp_encrypt(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
		 CK_ULONG *out_len)
{
	CK_RV rv = HP_SESSION_CALL(s, C_Encrypt, HP_INPUT(in), in_len, out, out_len);
	return hp_note_end(s, HP_OP_ENCRYPT, rv, out != NULL);
}

CK_RV hp_encrypt_update(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len,
			CK_BYTE *out, CK_ULONG *out_len)
{
	CK_RV rv =
		HP_SESSION_CALL(s, C_EncryptUpdate, HP_INPUT(in), in_len, out, out_len);
	return hp_note_update(s, HP_OP_ENCRYPT, rv);
}

CK_RV hp_encrypt_final(struct hp_session *s, CK_BYTE *out, CK_ULONG *out_len)
{
	CK_RV rv = HP_SESSION_CALL(s, C_EncryptFinal, out, out_len);
	return hp_note_end(s, HP_OP_ENCRYPT, rv, out != NULL);
}

CK_RV hp_decrypt_init(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
	return hp_note_begin(s, HP_OP_DECRYPT, HP_SESSION_CALL(s, C_DecryptInit, m, key));
}

CK_RV hp_decrypt(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
		 CK_ULONG *out_len)
{
	CK_RV rv = HP_SESSION_CALL(s, C_Decrypt, HP_INPUT(in), in_len, out, out_len);
	return hp_note_end(s, HP_OP_DECRYPT, rv, out != NULL);
}

CK_RV hp_decrypt_update(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len,
			CK_BYTE *out, CK_ULONG *out_len)
{
	CK_RV rv =
		HP_SESSION_CALL(s, C_DecryptUpdate, HP_INPUT(in), in_len, out, out_len);
	return hp_note_update(s, HP_OP_DECRYPT, rv);
}

CK_RV hp_decrypt_final(struct hp_session *s, CK_BYTE *out, CK_ULONG *out_len)
{
	CK_RV rv = HP_SESSION_CALL(s, C_DecryptFinal, out, out_len);
	return hp_note_end(s, HP_OP_DECRYPT, rv, out != NULL);
}

/* --- digest, sign, verify ---------------------------------------------------------- */

CK_RV hp_digest_init(struct hp_session *s, CK_MECHANISM *m)
{
	return hp_note_begin(s, HP_OP_DIGEST, HP_SESSION_CALL(s, C_DigestInit, m));
}

CK_RV hp_digest(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
		CK_ULONG *out_len)
{
	CK_RV rv = HP_SESSION_CALL(s, C_Digest, HP_INPUT(in), in_len, out, out_len);
	return hp_note_end(s, HP_OP_DIGEST, rv, out != NULL);
}

CK_RV hp_digest_update(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len)
{
	CK_RV rv = HP_SESSION_CALL(s, C_DigestUpdate, HP_INPUT(in), in_len);
	return hp_note_update(s, HP_OP_DIGEST, rv);
}

CK_RV hp_digest_key(struct hp_session *s, CK_OBJECT_HANDLE key)
{
	CK_RV rv = HP_SESSION_CALL(s, C_DigestKey, key);
	return hp_note_update(s, HP_OP_DIGEST, rv);
}

CK_RV hp_digest_final(struct hp_session *s, CK_BYTE *out, CK_ULONG *out_len)
{
	CK_RV rv = HP_SESSION_CALL(s, C_DigestFinal, out, out_len);
	return hp_note_end(s, HP_OP_DIGEST, rv, out != NULL);
}

CK_RV hp_sign_init(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
	CK_RV rv = HP_SESSION_CALL(s, C_SignInit, m, key);
	if (rv == CKR_OK)
		s->may_finish_signature = false;
	return hp_note_begin(s, HP_OP_SIGN, rv);
}

CK_RV hp_sign(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
	      CK_ULONG *out_len)
{
	CK_RV rv = HP_SESSION_CALL(s, C_Sign, HP_INPUT(in), in_len, out, out_len);
	return hp_note_end(s, HP_OP_SIGN, rv, out != NULL);
}

CK_RV hp_sign_update(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len)
{
	CK_RV rv = HP_SESSION_CALL(s, C_SignUpdate, HP_INPUT(in), in_len);
	return hp_note_update(s, HP_OP_SIGN, rv);
}

CK_RV hp_sign_final(struct hp_session *s, CK_BYTE *out, CK_ULONG *out_len)
{
	CK_RV rv = HP_SESSION_CALL(s, C_SignFinal, out, out_len);
	return hp_note_end(s, HP_OP_SIGN, rv, out != NULL);
}

CK_RV hp_verify_init(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
	return hp_note_begin(s, HP_OP_VERIFY, HP_SESSION_CALL(s, C_VerifyInit, m, key));
}

CK_RV hp_verify(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len,
		const CK_BYTE *signature, CK_ULONG signature_len)
{
	CK_RV rv = HP_SESSION_CALL(s, C_Verify, HP_INPUT(in), in_len, HP_INPUT(signature),
				   signature_len);
	return hp_note_verified(s, rv);
}

CK_RV hp_verify_update(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len)
{
	CK_RV rv = HP_SESSION_CALL(s, C_VerifyUpdate, HP_INPUT(in), in_len);
	return hp_note_update(s, HP_OP_VERIFY, rv);
}

CK_RV hp_verify_final(struct hp_session *s, const CK_BYTE *signature,
		      CK_ULONG signature_len)
{
	CK_RV rv = HP_SESSION_CALL(s, C_VerifyFinal, HP_INPUT(signature), signature_len);
	return hp_note_verified(s, rv);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that make keys or hand them over, and random numbers.
 */
#include "p11/call.h"

CK_RV hp_generate_key(struct hp_session *s, CK_MECHANISM *m, CK_ATTRIBUTE *template,
		      CK_ULONG count, CK_OBJECT_HANDLE *key)
{
	return HP_SESSION_CALL(s, C_GenerateKey, m, template, count, key);
}

CK_RV hp_generate_key_pair(struct hp_session *s, CK_MECHANISM *m,
			   CK_ATTRIBUTE *public_template, CK_ULONG public_count,
			   CK_ATTRIBUTE *private_template, CK_ULONG private_count,
			   CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
	return HP_SESSION_CALL(s, C_GenerateKeyPair, m, public_template, public_count,
			       private_template, private_count, public_key, private_key);
}

CK_RV hp_wrap_key(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE wrapping_key,
		  CK_OBJECT_HANDLE key, CK_BYTE *out, CK_ULONG *out_len)
{
	return HP_SESSION_CALL(s, C_WrapKey, m, wrapping_key, key, out, out_len);
}

CK_RV hp_unwrap_key(struct hp_session *s, CK_MECHANISM *m,
		    CK_OBJECT_HANDLE unwrapping_key, const CK_BYTE *wrapped,
		    CK_ULONG wrapped_len, CK_ATTRIBUTE *template, CK_ULONG count,
		    CK_OBJECT_HANDLE *key)
{
	return HP_SESSION_CALL(s, C_UnwrapKey, m, unwrapping_key, HP_INPUT(wrapped),
			       wrapped_len, template, count, key);
}

CK_RV hp_derive_key(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE base,
		    CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *key)
{
	return HP_SESSION_CALL(s, C_DeriveKey, m, base, template, count, key);
}

CK_RV hp_seed_random(struct hp_session *s, const CK_BYTE *seed, CK_ULONG len)
{
	return HP_SESSION_CALL(s, C_SeedRandom, HP_INPUT(seed), len);
}

CK_RV hp_generate_random(struct hp_session *s, CK_BYTE *out, CK_ULONG len)
{
	return HP_SESSION_CALL(s, C_GenerateRandom, out, len);
}

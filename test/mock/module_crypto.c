/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The toy cryptography goes there and back, notices damage, and gives the same result
 * in one shot and in pieces.
 */
#include "mock/direct.h"

#include <string.h>

static CK_BYTE text[100];

static CK_SESSION_HANDLE logged_in(CK_FUNCTION_LIST *m)
{
	CK_SESSION_HANDLE s = direct_session(m);

	CK_RV rv = direct_login(m, s, MOCK_USER_PIN);

	assert_true(rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN);
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (CK_BYTE)(i * 7);
	return s;
}

static CK_BYTE iv[16] = { 9 };
static CK_GCM_PARAMS gcm = { .pIv = iv, .ulIvLen = 12, .ulTagBits = 128 };

static void there_and_back(CK_FUNCTION_LIST *m, CK_MECHANISM mechanism, const char *label,
			   CK_ULONG len, CK_ULONG expected)
{
	CK_SESSION_HANDLE s = logged_in(m);
	bool is_rsa = strcmp(label, "rsa") == 0;
	CK_BYTE sealed[512], opened[512];
	CK_ULONG sealed_len = sizeof(sealed), opened_len = sizeof(opened);
	CK_OBJECT_HANDLE seal =
		direct_find(m, s, is_rsa ? CKO_PUBLIC_KEY : CKO_SECRET_KEY, label);
	CK_OBJECT_HANDLE open =
		direct_find(m, s, is_rsa ? CKO_PRIVATE_KEY : CKO_SECRET_KEY, label);

	assert_rv(m->C_EncryptInit(s, &mechanism, seal), CKR_OK);
	assert_rv(m->C_Encrypt(s, text, len, sealed, &sealed_len), CKR_OK);
	assert_int_equal(sealed_len, expected);
	assert_memory_not_equal(sealed, text, len < 8 ? len : 8);
	assert_rv(m->C_DecryptInit(s, &mechanism, open), CKR_OK);
	assert_rv(m->C_Decrypt(s, sealed, sealed_len, opened, &opened_len), CKR_OK);
	assert_int_equal(opened_len, len);
	assert_memory_equal(opened, text, len);
}

static void every_cipher_goes_there_and_back(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_AES_CTR_PARAMS ctr = { .ulCounterBits = 128 };
	CK_RSA_PKCS_OAEP_PARAMS oaep = { .hashAlg = CKM_SHA_1, .mgf = CKG_MGF1_SHA1 };

	there_and_back(m, (CK_MECHANISM){ CKM_AES_GCM, &gcm, sizeof(gcm) }, "aes", 77,
		       93);
	there_and_back(m, (CK_MECHANISM){ CKM_AES_CBC, iv, 16 }, "aes", 64, 64);
	there_and_back(m, (CK_MECHANISM){ CKM_AES_CBC_PAD, iv, 16 }, "aes", 64, 80);
	there_and_back(m, (CK_MECHANISM){ CKM_AES_CTR, &ctr, sizeof(ctr) }, "aes", 99,
		       99);
	there_and_back(m, (CK_MECHANISM){ CKM_AES_KEY_WRAP, NULL, 0 }, "aes", 32, 40);
	there_and_back(m, (CK_MECHANISM){ CKM_AES_KEY_WRAP_PAD, NULL, 0 }, "aes", 33, 48);
	there_and_back(m, (CK_MECHANISM){ CKM_RSA_PKCS, NULL, 0 }, "rsa", 99, 256);
	there_and_back(m, (CK_MECHANISM){ CKM_RSA_PKCS_OAEP, &oaep, sizeof(oaep) }, "rsa",
		       99, 256);
}

static void a_changed_byte_of_gcm_is_refused(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE s = logged_in(m);
	CK_MECHANISM mechanism = { CKM_AES_GCM, &gcm, sizeof(gcm) };
	CK_OBJECT_HANDLE key = direct_find(m, s, CKO_SECRET_KEY, "aes");
	CK_BYTE sealed[64], opened[64];

	for (CK_ULONG at = 0; at < 48; at++) {
		CK_ULONG sealed_len = sizeof(sealed), opened_len = sizeof(opened);
		assert_rv(m->C_EncryptInit(s, &mechanism, key), CKR_OK);
		assert_rv(m->C_Encrypt(s, text, 32, sealed, &sealed_len), CKR_OK);
		sealed[at] ^= 1;
		assert_rv(m->C_DecryptInit(s, &mechanism, key), CKR_OK);
		assert_rv(m->C_Decrypt(s, sealed, sealed_len, opened, &opened_len),
			  CKR_ENCRYPTED_DATA_INVALID);
	}
}

static void pieces_and_one_shot_agree(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE s = logged_in(m);
	CK_MECHANISM mechanism = { CKM_AES_GCM, &gcm, sizeof(gcm) };
	CK_OBJECT_HANDLE key = direct_find(m, s, CKO_SECRET_KEY, "aes");
	CK_BYTE whole[128], pieces[128], opened[128];
	CK_ULONG len = sizeof(whole), at = 0, room;

	assert_rv(m->C_EncryptInit(s, &mechanism, key), CKR_OK);
	assert_rv(m->C_Encrypt(s, text, sizeof(text), whole, &len), CKR_OK);
	assert_rv(m->C_EncryptInit(s, &mechanism, key), CKR_OK);
	for (CK_ULONG i = 0; i < sizeof(text); i += 20, at += room) {
		room = sizeof(pieces) - at;
		assert_rv(m->C_EncryptUpdate(s, text + i, 20, pieces + at, &room),
			  CKR_OK);
	}
	room = sizeof(pieces) - at;
	assert_rv(m->C_EncryptFinal(s, pieces + at, &room), CKR_OK);
	assert_int_equal(at + room, len);
	assert_memory_equal(pieces, whole, len);

	assert_rv(m->C_DecryptInit(s, &mechanism, key), CKR_OK);
	at = 0;
	for (CK_ULONG i = 0; i < len; i += 29, at += room) {
		room = sizeof(opened) - at;
		assert_rv(m->C_DecryptUpdate(s, whole + i, len - i < 29 ? len - i : 29,
					     opened + at, &room),
			  CKR_OK);
	}
	room = sizeof(opened) - at;
	assert_rv(m->C_DecryptFinal(s, opened + at, &room), CKR_OK);
	assert_int_equal(at + room, sizeof(text));
	assert_memory_equal(opened, text, sizeof(text));
}

static void a_signature_verifies_and_a_changed_one_does_not(void **state)
{
	static const struct {
		CK_MECHANISM_TYPE type;
		const char *label;
		CK_ULONG len;
	} cases[] = { { CKM_ECDSA, "ec", 64 },
		      { CKM_SHA256_RSA_PKCS, "rsa", 256 },
		      { CKM_SHA256_HMAC, "hmac", 32 } };
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE s = logged_in(m);

	for (size_t i = 0; i < 3; i++) {
		CK_MECHANISM mechanism = { cases[i].type, NULL, 0 };
		bool is_secret = strcmp(cases[i].label, "hmac") == 0;
		CK_OBJECT_HANDLE signer =
			direct_find(m, s, is_secret ? CKO_SECRET_KEY : CKO_PRIVATE_KEY,
				    cases[i].label);
		CK_OBJECT_HANDLE verifier =
			direct_find(m, s, is_secret ? CKO_SECRET_KEY : CKO_PUBLIC_KEY,
				    cases[i].label);
		CK_BYTE signature[256];
		CK_ULONG len = sizeof(signature);

		assert_rv(m->C_SignInit(s, &mechanism, signer), CKR_OK);
		assert_rv(m->C_SignUpdate(s, text, 30), CKR_OK);
		assert_rv(m->C_SignUpdate(s, text + 30, 2), CKR_OK);
		assert_rv(m->C_SignFinal(s, signature, &len), CKR_OK);
		assert_int_equal(len, cases[i].len);
		assert_rv(m->C_VerifyInit(s, &mechanism, verifier), CKR_OK);
		assert_rv(m->C_Verify(s, text, 32, signature, len), CKR_OK);
		signature[5] ^= 1;
		assert_rv(m->C_VerifyInit(s, &mechanism, verifier), CKR_OK);
		assert_rv(m->C_Verify(s, text, 32, signature, len),
			  CKR_SIGNATURE_INVALID);
	}
}

static void a_key_is_refused_for_what_it_is_not(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE s = logged_in(m);
	CK_MECHANISM ecdsa = { CKM_ECDSA, NULL, 0 }, unknown = { 0x80001234, NULL, 0 };

	assert_rv(m->C_SignInit(s, &ecdsa, direct_find(m, s, CKO_PRIVATE_KEY, "rsa")),
		  CKR_KEY_TYPE_INCONSISTENT);
	assert_rv(m->C_SignInit(s, &ecdsa, direct_find(m, s, CKO_PUBLIC_KEY, "ec")),
		  CKR_KEY_TYPE_INCONSISTENT);
	assert_rv(m->C_SignInit(s, &unknown, direct_find(m, s, CKO_PRIVATE_KEY, "ec")),
		  CKR_MECHANISM_INVALID);
	assert_rv(m->C_SignInit(s, &ecdsa, 424242), CKR_KEY_HANDLE_INVALID);
}

static void a_wrapped_key_comes_back_the_same(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE s = logged_in(m);
	CK_MECHANISM generate = { CKM_AES_KEY_GEN, NULL, 0 };
	CK_MECHANISM wrap = { CKM_AES_KEY_WRAP, NULL, 0 };
	CK_ULONG len = 32, wrapped_len = 64;
	CK_BBOOL yes = CK_TRUE;
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	CK_ATTRIBUTE made[] = { { CKA_VALUE_LEN, &len, sizeof(len) },
				{ CKA_EXTRACTABLE, &yes, 1 } };
	CK_ATTRIBUTE back[] = { { CKA_CLASS, &class, sizeof(class) },
				{ CKA_KEY_TYPE, &type, sizeof(type) } };
	CK_BYTE wrapped[64], one[3], other[3];
	CK_ATTRIBUTE check_one = { CKA_CHECK_VALUE, one, 3 };
	CK_ATTRIBUTE check_other = { CKA_CHECK_VALUE, other, 3 };
	CK_OBJECT_HANDLE aes = direct_find(m, s, CKO_SECRET_KEY, "aes"), key, again;

	assert_rv(m->C_WrapKey(s, &wrap, aes, aes, wrapped, &wrapped_len),
		  CKR_KEY_UNEXTRACTABLE);
	assert_rv(m->C_GenerateKey(s, &generate, made, 2, &key), CKR_OK);
	assert_rv(m->C_WrapKey(s, &wrap, aes, key, wrapped, &wrapped_len), CKR_OK);
	assert_rv(m->C_UnwrapKey(s, &wrap, aes, wrapped, wrapped_len, back, 2, &again),
		  CKR_OK);
	m->C_GetAttributeValue(s, key, &check_one, 1);
	m->C_GetAttributeValue(s, again, &check_other, 1);
	assert_memory_equal(one, other, 3);
	wrapped[0] ^= 1;
	assert_rv(m->C_UnwrapKey(s, &wrap, aes, wrapped, wrapped_len, back, 2, &again),
		  CKR_WRAPPED_KEY_INVALID);
}

static void a_saved_operation_goes_on_elsewhere(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE a = logged_in(m), b = direct_session(m);
	CK_MECHANISM sha = { CKM_SHA256, NULL, 0 };
	CK_BYTE saved[512], moved[32], straight[32];
	CK_ULONG saved_len = sizeof(saved), len = 32;

	assert_rv(m->C_DigestInit(a, &sha), CKR_OK); /* S19 */
	assert_rv(m->C_DigestUpdate(a, text, 33), CKR_OK);
	assert_rv(m->C_GetOperationState(a, saved, &saved_len), CKR_OK);
	assert_rv(m->C_SetOperationState(b, saved, saved_len, 0, 0), CKR_OK);
	assert_rv(m->C_DigestUpdate(b, text + 33, 10), CKR_OK);
	assert_rv(m->C_DigestFinal(b, moved, &len), CKR_OK);
	assert_rv(m->C_DigestUpdate(a, text + 33, 10), CKR_OK);
	assert_rv(m->C_DigestFinal(a, straight, &len), CKR_OK);
	assert_memory_equal(moved, straight, 32);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, direct_set_up, direct_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(every_cipher_goes_there_and_back),
		TEST(a_changed_byte_of_gcm_is_refused),
		TEST(pieces_and_one_shot_agree),
		TEST(a_signature_verifies_and_a_changed_one_does_not),
		TEST(a_key_is_refused_for_what_it_is_not),
		TEST(a_wrapped_key_comes_back_the_same),
		TEST(a_saved_operation_goes_on_elsewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Session objects (row S4): whose they are, and what keeps them. */
#include "objects_ground.h"

#include <string.h>

#define p11 module_load()

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;
static CK_OBJECT_CLASS class_secret = CKO_SECRET_KEY;
static CK_KEY_TYPE type_aes = CKK_AES;
static CK_ULONG sixteen = 16;

static void every_session_of_the_application_can_use_them(void **state)
{
	CK_SESSION_HANDLE owner = objects_user(), other = module_session(RO);
	CK_OBJECT_HANDLE key, found;
	CK_BYTE by_owner[16], by_other[16];
	(void)state;
	assert_rv(objects_aes(owner, "key", 1, false, true, &key), CKR_OK);
	assert_rv(objects_use_aes(owner, key, by_owner), CKR_OK);
	assert_rv(objects_use_aes(other, key, by_other), CKR_OK);
	assert_memory_equal(by_owner, by_other, 16);
	assert_int_equal(objects_find(other, "key", &found), 1);
	assert_int_equal(found, key);
}

static void they_end_with_the_session_that_made_them_and_no_other(void **state)
{
	CK_SESSION_HANDLE owner = objects_user(), other = module_session(RW);
	CK_OBJECT_HANDLE of_owner, of_other, on_token;
	CK_BYTE out[16];
	(void)state;
	assert_rv(objects_aes(owner, "a", 1, false, true, &of_owner), CKR_OK);
	assert_rv(objects_aes(owner, "b", 1, true, true, &on_token), CKR_OK);
	assert_rv(objects_aes(other, "c", 1, false, true, &of_other), CKR_OK);
	assert_rv(p11->C_CloseSession(owner), CKR_OK);
	assert_rv(objects_use_aes(other, of_owner, out), CKR_OBJECT_HANDLE_INVALID);
	assert_rv(objects_use_aes(other, of_other, out), CKR_OK);
	assert_rv(objects_use_aes(other, on_token, out), CKR_OK);
	assert_int_equal(objects_find(other, "a", NULL), 0);
	assert_int_equal(objects_find(other, "b", NULL), 1);
	assert_int_equal(objects_find(other, "c", NULL), 1);
}

static CK_RV generate(CK_SESSION_HANDLE session, CK_ULONG count, CK_OBJECT_HANDLE *key)
{
	CK_MECHANISM mechanism = { CKM_AES_KEY_GEN, NULL, 0 };
	CK_ATTRIBUTE template[] = {
		{ CKA_VALUE_LEN, &sixteen, sizeof(sixteen) },
		{ CKA_LABEL, (void *)(uintptr_t) "made", 4 },
		{ CKA_WRAP, &yes, 1 },
		{ CKA_UNWRAP, &yes, 1 },
		{ CKA_DERIVE, &yes, 1 },
		{ CKA_EXTRACTABLE, &yes, 1 },
		{ CKA_TOKEN, &no, 1 },
	};
	return p11->C_GenerateKey(session, &mechanism, template, count, key);
}

/* Without CKA_TOKEN it is a session object too. */
static void every_way_of_making_one_makes_it_the_sessions(void **state)
{
	CK_SESSION_HANDLE owner = objects_user(), other = module_session(RO);
	CK_OBJECT_HANDLE key, copy, unwrapped, derived, pair[2];
	CK_MECHANISM wrap = { CKM_AES_KEY_WRAP, NULL, 0 };
	CK_MECHANISM rsa = { CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0 };
	CK_BYTE wrapped[64], data[16] = { 9 };
	CK_ULONG len = sizeof(wrapped), bits = 1024;
	CK_KEY_DERIVATION_STRING_DATA string = { data, sizeof(data) };
	CK_MECHANISM derive = { CKM_AES_ECB_ENCRYPT_DATA, &string, sizeof(string) };
	CK_ATTRIBUTE label = { CKA_LABEL, (void *)(uintptr_t) "made", 4 };
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class_secret, sizeof(class_secret) },
		{ CKA_KEY_TYPE, &type_aes, sizeof(type_aes) },
		label,
		{ CKA_TOKEN, &no, 1 },
		{ CKA_VALUE_LEN, &sixteen, sizeof(sixteen) },
	};
	CK_ATTRIBUTE public_template[] = { label,
					   { CKA_MODULUS_BITS, &bits, sizeof(bits) } };
	(void)state;
	assert_rv(generate(owner, 6, &key), CKR_OK);
	assert_rv(p11->C_CopyObject(owner, key, &label, 1, &copy), CKR_OK);
	assert_rv(p11->C_WrapKey(owner, &wrap, key, key, wrapped, &len), CKR_OK);
	assert_rv(p11->C_UnwrapKey(owner, &wrap, key, wrapped, len, template, 3,
				   &unwrapped),
		  CKR_OK);
	assert_rv(p11->C_DeriveKey(owner, &derive, key, template, 5, &derived), CKR_OK);
	assert_rv(p11->C_GenerateKeyPair(owner, &rsa, public_template, 2, &label, 1,
					 &pair[0], &pair[1]),
		  CKR_OK);
	assert_int_equal(objects_find(other, "made", NULL), 6);
	assert_rv(p11->C_CloseSession(owner), CKR_OK);
	assert_int_equal(objects_find(other, "made", NULL), 0);
}

/* The source decides where the template is silent. */
static void a_copy_of_a_token_object_is_one_unless_it_says_otherwise(void **state)
{
	CK_SESSION_HANDLE owner = objects_user(), other = module_session(RO);
	CK_OBJECT_HANDLE source, copy;
	CK_ATTRIBUTE label = { CKA_LABEL, (void *)(uintptr_t) "copy", 4 };
	CK_ATTRIBUTE in_session[] = { label, { CKA_TOKEN, &no, 1 } };
	(void)state;
	assert_rv(objects_data(owner, "source", true, false, &source), CKR_OK);
	assert_rv(p11->C_CopyObject(owner, source, &label, 1, &copy), CKR_OK);
	assert_rv(p11->C_CopyObject(owner, source, in_session, 2, &copy), CKR_OK);
	assert_int_equal(objects_find(other, "copy", NULL), 2);
	assert_rv(p11->C_CloseSession(owner), CKR_OK);
	assert_int_equal(objects_find(other, "copy", NULL), 1);
}

/* S2 */
static void a_logout_ends_private_ones_only(void **state)
{
	CK_SESSION_HANDLE session = objects_user();
	CK_OBJECT_HANDLE object;
	(void)state;
	assert_rv(objects_data(session, "private", false, true, &object), CKR_OK);
	assert_rv(objects_data(session, "public", false, false, &object), CKR_OK);
	assert_rv(p11->C_Logout(session), CKR_OK);
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
	assert_int_equal(objects_find(session, "private", NULL), 0);
	assert_int_equal(objects_find(session, "public", NULL), 1);
}

/* A signature in progress is cleaned away by closing its session, but not if objects
 * live there (decision 16). */
static void they_survive_what_other_sessions_leave_unfinished(void **state)
{
	CK_SESSION_HANDLE owner = objects_user();
	CK_MECHANISM rsa = { CKM_SHA256_RSA_PKCS, NULL, 0 };
	CK_OBJECT_HANDLE key, signing = objects_key(owner, CKO_PRIVATE_KEY, "rsa");
	CK_BYTE before[16], after[16];
	(void)state;
	assert_rv(objects_aes(owner, "key", 1, false, true, &key), CKR_OK);
	assert_rv(objects_use_aes(owner, key, before), CKR_OK);
	for (int i = 0; i < 20; i++) {
		CK_SESSION_HANDLE other = module_session(RO);
		assert_rv(p11->C_SignInit(other, &rsa, signing), CKR_OK);
		if (i % 2)
			assert_rv(p11->C_CloseSession(other), CKR_OK);
	}
	assert_rv(objects_use_aes(owner, key, after), CKR_OK);
	assert_memory_equal(before, after, 16);
}

/* SoftHSM2 leaves operations active that ended with an error: such a session would be
 * closed, if no objects lived there. */
static void they_survive_what_went_wrong_beside_them(void **state)
{
	CK_SESSION_HANDLE owner = objects_user(), other = module_session(RW);
	CK_MECHANISM gcm = { CKM_AES_CBC, (CK_BYTE[16]){ 0 }, 16 };
	CK_OBJECT_HANDLE key;
	CK_BYTE before[16], after[16], out[32];
	CK_ULONG len = sizeof(out);
	(void)state;
	assert_rv(objects_aes(owner, "key", 1, false, true, &key), CKR_OK);
	assert_rv(objects_use_aes(owner, key, before), CKR_OK);
	for (int i = 0; i < 5; i++) {
		assert_rv(p11->C_EncryptInit(other, &gcm, key), CKR_OK);
		assert_rv(p11->C_Encrypt(other, out, 5, out, &len), CKR_DATA_LEN_RANGE);
		assert_rv(p11->C_EncryptInit(other, &gcm, key), CKR_OK);
		assert_rv(p11->C_CloseSession(other), CKR_OK);
		other = module_session(RW);
		assert_rv(p11->C_DigestInit(other, &gcm), CKR_MECHANISM_INVALID);
		assert_rv(p11->C_FindObjectsFinal(other), CKR_OPERATION_NOT_INITIALIZED);
		assert_rv(objects_use_aes(owner, key, after), CKR_OK);
		assert_memory_equal(before, after, 16);
	}
}

/* A signature that failed is over, but not for SoftHSM2; nobody finishes it either. */
static void they_survive_a_signature_that_failed(void **state)
{
	CK_SESSION_HANDLE owner = objects_user(), failing = module_session(RW);
	CK_SESSION_HANDLE other = module_session(RW);
	CK_MECHANISM cmac = { CKM_AES_CMAC, NULL, 0 }, sha = { CKM_SHA256, NULL, 0 };
	CK_OBJECT_HANDLE key;
	CK_BYTE before[16], after[16];
	(void)state;
	assert_rv(objects_aes(owner, "key", 1, false, true, &key), CKR_OK);
	assert_rv(objects_use_aes(owner, key, before), CKR_OK);
	assert_rv(p11->C_SignInit(failing, &cmac, key), CKR_OK);
	assert_rv(p11->C_Sign(failing, before, 16, after, NULL), CKR_ARGUMENTS_BAD);
	assert_rv(p11->C_DigestInit(other, &sha), CKR_OK);
	assert_int_equal(objects_find(owner, "key", NULL), 1);
	assert_rv(objects_use_aes(owner, key, after), CKR_OK);
	assert_memory_equal(before, after, 16);
}

static void destroyed_ones_free_the_session_that_owned_them(void **state)
{
	CK_SESSION_HANDLE owner = objects_user(), other = module_session(RO);
	struct mock_counters counters;
	(void)state;
	for (int i = 0; i < 100; i++) {
		CK_OBJECT_HANDLE object;
		assert_rv(objects_data(owner, "a", false, true, &object), CKR_OK);
		if (i % 2)
			assert_rv(p11->C_DestroyObject(other, object), CKR_OK);
	}
	assert_int_equal(objects_find(other, "a", NULL),
			 8); /* as many as are asked for */
	assert_rv(p11->C_CloseSession(owner), CKR_OK);
	assert_int_equal(objects_find(other, "a", NULL), 0);
	fixture_mock_control()->counters(&counters);
	assert_int_equal(counters.objects_created, 100);
	assert_int_equal(counters.objects_destroyed, 100);
}

/* A session that is lost takes its own objects along, not those of others. */
static void they_survive_the_loss_of_another_session(void **state)
{
	const struct mock_failure failure = { .function = "C_Digest",
					      .rv = CKR_SESSION_HANDLE_INVALID };
	CK_SESSION_HANDLE session = objects_user();
	CK_SESSION_HANDLE other = module_session(RW);
	CK_MECHANISM sha256 = { CKM_SHA256, NULL, 0 };
	CK_OBJECT_HANDLE key, found;
	CK_BYTE out[16];
	(void)state;
	assert_rv(objects_aes(session, "mine", 1, false, true, &key), CKR_OK);
	/* The real session that made it is busy with this, so another one is lost. */
	assert_rv(p11->C_DigestInit(session, &sha256), CKR_OK);
	(fixture_mock_control()->fail)(&failure);
	assert_rv(module_digest(other), CKR_OK);
	fixture_mock_control()->clear_failures();
	assert_rv(objects_use_aes(other, key, out), CKR_OK);
	assert_int_equal(objects_find(other, "mine", &found), 1);
	assert_int_equal(found, key);
	assert_rv(p11->C_DestroyObject(session, key), CKR_OK);
}

static void after_a_restart_they_are_gone(void **state)
{
	CK_SESSION_HANDLE session = objects_user();
	CK_OBJECT_HANDLE key, unused;
	CK_BYTE out[16];
	(void)state;
	assert_rv(objects_aes(session, "key", 1, false, true, &key), CKR_OK);
	assert_rv(objects_aes(session, "unused", 1, false, true, &unused), CKR_OK);
	assert_rv(objects_use_aes(session, key, out), CKR_OK);
	fixture_mock_control()->reboot(NULL);
	assert_rv(objects_use_aes(session, key, out), CKR_KEY_HANDLE_INVALID);
	assert_rv(objects_use_aes(session, unused, out), CKR_KEY_HANDLE_INVALID);
	assert_rv(p11->C_CloseSession(session), CKR_OK);
}

#define on_softhsm(name) \
	cmocka_unit_test_setup_teardown(name, objects_begin_softhsm, objects_end)
#define alone(name) \
	cmocka_unit_test_setup_teardown(name, objects_begin_softhsm_alone, objects_end)
#define on_mock(name) \
	cmocka_unit_test_setup_teardown(name, objects_begin_mock, objects_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_softhsm(every_session_of_the_application_can_use_them),
		on_softhsm(they_end_with_the_session_that_made_them_and_no_other),
		alone(they_end_with_the_session_that_made_them_and_no_other),
		on_softhsm(every_way_of_making_one_makes_it_the_sessions),
		on_softhsm(a_copy_of_a_token_object_is_one_unless_it_says_otherwise),
		on_softhsm(a_logout_ends_private_ones_only),
		on_softhsm(they_survive_what_went_wrong_beside_them),
		alone(they_survive_what_went_wrong_beside_them),
		on_softhsm(they_survive_a_signature_that_failed),
		alone(they_survive_a_signature_that_failed),
		on_mock(they_survive_what_other_sessions_leave_unfinished),
		on_mock(destroyed_ones_free_the_session_that_owned_them),
		on_mock(they_survive_the_loss_of_another_session),
		on_mock(after_a_restart_they_are_gone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * [policy NAME] through the PKCS#11 module: what a program is answered, and that nothing
 * is left of what was refused.
 */
#include "operations_ground.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define REFUSED   CKR_KEY_FUNCTION_NOT_PERMITTED
#define FORBIDDEN CKR_ACTION_PROHIBITED

static CK_BYTE data[16] = "sixteen bytes is";
static CK_BYTE out[512];
static CK_ULONG out_len;

/* With that policy, or several: the lines behind [policy p]. */
static void begin(struct ground *g, const char *lines)
{
	char text[400];
	snprintf(text, sizeof(text), "[policy p]\n%s", lines);
	ground_begin(g, 2, text, "admin = yes\n");
}

static CK_RV sign_init(struct ground *g, CK_MECHANISM_TYPE type)
{
	CK_MECHANISM mechanism = { .mechanism = type };
	return g->p11->C_SignInit(g->main, &mechanism, g->rsa);
}

static CK_RV sign(struct ground *g)
{
	CK_RV rv = sign_init(g, CKM_SHA256_RSA_PKCS);
	out_len = sizeof(out);
	return rv == CKR_OK ? g->p11->C_Sign(g->main, data, sizeof(data), out, &out_len)
			    : rv;
}

static CK_RV verify(struct ground *g)
{
	CK_MECHANISM mechanism = { .mechanism = CKM_SHA256_RSA_PKCS };
	CK_RV rv = g->p11->C_VerifyInit(g->main, &mechanism, g->rsa_public);
	return rv == CKR_OK ? g->p11->C_Verify(g->main, data, sizeof(data), out, out_len)
			    : rv;
}

static CK_RV encrypt(struct ground *g)
{
	CK_MECHANISM mechanism = { .mechanism = CKM_AES_ECB };
	CK_BYTE block[32];
	CK_ULONG len = sizeof(block);
	CK_RV rv = g->p11->C_EncryptInit(g->main, &mechanism, g->aes);
	return rv == CKR_OK ? g->p11->C_Encrypt(g->main, data, sizeof(data), block, &len)
			    : rv;
}

static CK_RV digest(struct ground *g)
{
	CK_MECHANISM mechanism = { .mechanism = CKM_SHA256 };
	CK_BYTE sum[32];
	CK_ULONG len = sizeof(sum);
	CK_RV rv = g->p11->C_DigestInit(g->main, &mechanism);
	return rv == CKR_OK ? g->p11->C_Digest(g->main, data, sizeof(data), sum, &len)
			    : rv;
}

static CK_ATTRIBUTE label_of(const char *label)
{
	return (CK_ATTRIBUTE){ CKA_LABEL, (void *)(uintptr_t)label,
			       label ? strlen(label) : 0 };
}

/* An AES key by C_CreateObject, for everything. */
static CK_RV create(struct ground *g, const char *label, CK_BBOOL is_token,
		    CK_OBJECT_HANDLE *key)
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	CK_BBOOL yes = CK_TRUE;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_KEY_TYPE, &type, sizeof(type) },
		{ CKA_TOKEN, &is_token, 1 },
		label_of(label),
		{ CKA_VALUE, data, sizeof(data) },
		{ CKA_EXTRACTABLE, &yes, 1 },
		{ CKA_WRAP, &yes, 1 },
		{ CKA_UNWRAP, &yes, 1 },
		{ CKA_ENCRYPT, &yes, 1 },
	};
	return g->p11->C_CreateObject(g->main, template, 9, key);
}

static CK_RV rename_to(struct ground *g, CK_OBJECT_HANDLE key, const char *label)
{
	CK_ATTRIBUTE name = label_of(label);
	return g->p11->C_SetAttributeValue(g->main, key, &name, 1);
}

static CK_RV copy(struct ground *g, CK_OBJECT_HANDLE key, const char *label,
		  CK_BBOOL is_token, CK_OBJECT_HANDLE *made)
{
	CK_ATTRIBUTE template[] = {
		{ CKA_TOKEN, &is_token, 1 },
		label_of(label),
	};
	return g->p11->C_CopyObject(g->main, key, template, label ? 2 : 1, made);
}

static CK_RV generate(struct ground *g, const char *label, CK_BBOOL is_token,
		      CK_OBJECT_HANDLE *key)
{
	CK_MECHANISM mechanism = { .mechanism = CKM_AES_KEY_GEN };
	CK_ULONG len = 16;
	CK_ATTRIBUTE template[] = {
		{ CKA_VALUE_LEN, &len, sizeof(len) },
		{ CKA_TOKEN, &is_token, 1 },
		label_of(label),
	};
	return g->p11->C_GenerateKey(g->main, &mechanism, template, 3, key);
}

static CK_RV wrap(struct ground *g, CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE key)
{
	CK_MECHANISM mechanism = { .mechanism = CKM_AES_KEY_WRAP };
	out_len = sizeof(out);
	return g->p11->C_WrapKey(g->main, &mechanism, kek, key, out, &out_len);
}

static CK_RV unwrap(struct ground *g, CK_OBJECT_HANDLE kek, const char *label,
		    CK_OBJECT_HANDLE *key)
{
	CK_MECHANISM mechanism = { .mechanism = CKM_AES_KEY_WRAP };
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_KEY_TYPE, &type, sizeof(type) },
		label_of(label),
	};
	return g->p11->C_UnwrapKey(g->main, &mechanism, kek, out, out_len, template, 3,
				   key);
}

/* --- operations ------------------------------------------------------------------------
 */

/* The first: it makes the keys. */
static void without_a_policy_everything_is_allowed(void **state)
{
	struct ground *g = *state;
	ground_begin(g, 2, NULL, NULL);
	assert_rv(sign(g), CKR_OK);
	assert_rv(verify(g), CKR_OK);
	assert_rv(encrypt(g), CKR_OK);
	ground_end(g);
}

static void a_refused_operation_is_not_begun(void **state)
{
	struct ground *g = *state;
	begin(g, "key = pkcs11:object=rsa;type=private\nfunctions = decrypt\n");
	uint64_t before = g->is_mock ? fixture_mock_control()->calls("C_SignInit") : 0;
	assert_rv(sign_init(g, CKM_SHA256_RSA_PKCS), REFUSED);
	out_len = sizeof(out);
	assert_rv(g->p11->C_Sign(g->main, data, sizeof(data), out, &out_len),
		  CKR_OPERATION_NOT_INITIALIZED);
	assert_rv(g->p11->C_SignUpdate(g->main, data, sizeof(data)),
		  CKR_OPERATION_NOT_INITIALIZED);
	for (int i = 0; i < 10; i++) /* more than there are real sessions */
		assert_rv(sign_init(g, CKM_SHA256_RSA_PKCS), REFUSED);
	if (g->is_mock)
		assert_int_equal(fixture_mock_control()->calls("C_SignInit"), before);
	assert_rv(encrypt(g), CKR_OK);
	assert_rv(digest(g), CKR_OK);
	ground_end(g);
}

static void an_operation_that_goes_on_outlives_a_refusal(void **state)
{
	struct ground *g = *state;
	CK_MECHANISM mechanism = { .mechanism = CKM_SHA256 };
	CK_SESSION_HANDLE other;
	begin(g, "key = pkcs11:object=rsa\nfunctions = none\n");
	other = ground_session(g);
	assert_rv(g->p11->C_DigestInit(other, &mechanism), CKR_OK);
	assert_rv(g->p11->C_DigestUpdate(other, data, sizeof(data)), CKR_OK);
	assert_rv(sign_init(g, CKM_SHA256_RSA_PKCS), REFUSED);
	out_len = sizeof(out);
	assert_rv(g->p11->C_DigestFinal(other, out, &out_len), CKR_OK);
	ground_end(g);
}

static void a_mechanism_that_is_not_named_is_said_to_be_none(void **state)
{
	struct ground *g = *state;
	CK_MECHANISM_INFO info;
	begin(g, "key = pkcs11:object=rsa\nmechanisms = rsa-pkcs1-sha256\n");
	assert_rv(sign_init(g, CKM_RSA_PKCS), CKR_MECHANISM_INVALID);
	assert_rv(sign(g), CKR_OK);
	assert_rv(verify(g), CKR_OK);
	assert_rv(g->p11->C_GetMechanismInfo(g->slot, CKM_RSA_PKCS, &info), CKR_OK);
	ground_end(g);
}

static void what_needs_no_key_can_be_refused_too(void **state)
{
	struct ground *g = *state;
	begin(g, "functions = sign\n");
	assert_rv(sign(g), CKR_OK);
	assert_rv(digest(g), FORBIDDEN);
	assert_rv(g->p11->C_GenerateRandom(g->main, out, 8), FORBIDDEN);
	ground_end(g);
}

static void a_key_that_is_not_there_is_the_modules_to_refuse(void **state)
{
	struct ground *g = *state;
	CK_MECHANISM mechanism = { .mechanism = CKM_SHA256_RSA_PKCS };
	begin(g, "key = pkcs11:object=rsa\nfunctions = none\n");
	CK_RV rv = g->p11->C_SignInit(g->main, &mechanism, 0xdead);
	assert_true(rv == CKR_KEY_HANDLE_INVALID ||
		    (!g->is_mock && rv == CKR_OBJECT_HANDLE_INVALID)); /* SoftHSM2 */
	assert_rv(g->p11->C_DestroyObject(g->main, 0xdead), CKR_OBJECT_HANDLE_INVALID);
	assert_rv(g->p11->C_DestroyObject(g->main, CK_INVALID_HANDLE),
		  CKR_OBJECT_HANDLE_INVALID);
	ground_end(g);
}

/* Made, and never used, so that nobody has read who it is. */
static void a_key_that_went_with_the_login_is_the_modules_to_refuse(void **state)
{
	struct ground *g = *state;
	CK_MECHANISM make = { .mechanism = CKM_AES_KEY_GEN };
	CK_MECHANISM ecb = { .mechanism = CKM_AES_ECB };
	CK_BBOOL yes = CK_TRUE;
	CK_ULONG len = 16;
	CK_ATTRIBUTE template[] = { { CKA_VALUE_LEN, &len, sizeof(len) },
				    { CKA_PRIVATE, &yes, sizeof(yes) } };
	CK_OBJECT_HANDLE key;
	begin(g, "key = pkcs11:object=rsa\nfunctions = none\n");
	assert_rv(g->p11->C_GenerateKey(g->main, &make, template, 2, &key), CKR_OK);
	assert_rv(g->p11->C_Logout(g->main), CKR_OK);
	assert_true(g->p11->C_EncryptInit(g->main, &ecb, key) != REFUSED);
	assert_true(g->p11->C_DestroyObject(g->main, key) != FORBIDDEN);
	ground_end(g);
}

static void to_log_in_and_to_search_needs_no_leave(void **state)
{
	struct ground *g = *state;
	begin(g, "functions = none\n"); /* logs in, finds and reads the keys */
	assert_rv(sign(g), REFUSED);
	assert_rv(g->p11->C_Logout(g->main), CKR_OK);
	ground_end(g);
}

static void a_dry_run_refuses_nothing(void **state)
{
	struct ground *g = *state;
	begin(g, "mode = dry-run\nfunctions = none\nread-only = yes\n");
	assert_rv(sign(g), CKR_OK);
	assert_rv(verify(g), CKR_OK);
	assert_rv(digest(g), CKR_OK);
	ground_end(g);
}

/* --- objects
 * ----------------------------------------------------------------------------- */

static void a_read_only_policy_keeps_the_tokens_objects(void **state)
{
	struct ground *g = *state;
	CK_OBJECT_HANDLE made;
	CK_OBJECT_HANDLE session_key;
	begin(g, "read-only = yes\n");
	assert_rv(create(g, "new", CK_TRUE, &made), FORBIDDEN);
	assert_rv(generate(g, "new", CK_TRUE, &made), FORBIDDEN);
	assert_rv(copy(g, g->aes, NULL, CK_TRUE, &made), FORBIDDEN);
	assert_rv(rename_to(g, g->aes, "new"), FORBIDDEN);
	assert_rv(g->p11->C_DestroyObject(g->main, g->aes), FORBIDDEN);
	assert_rv(encrypt(g), CKR_OK);
	assert_rv(create(g, "new", CK_FALSE, &session_key), CKR_OK);
	assert_rv(rename_to(g, session_key, "newer"), CKR_OK);
	assert_rv(g->p11->C_DestroyObject(g->main, session_key), CKR_OK);
	ground_end(g);
}

static void nobody_gets_a_reserved_name(void **state)
{
	struct ground *g = *state;
	CK_OBJECT_HANDLE key;
	CK_OBJECT_HANDLE made;
	begin(g, "key = pkcs11:object=reserved;type=secret-key\nfunctions = sign\n");
	assert_rv(create(g, "reserved", CK_FALSE, &made), FORBIDDEN);
	assert_rv(generate(g, "reserved", CK_FALSE, &made), FORBIDDEN);
	assert_rv(create(g, "free", CK_FALSE, &key), CKR_OK);
	assert_rv(rename_to(g, key, "reserved"), FORBIDDEN);
	assert_rv(copy(g, key, "reserved", CK_FALSE, &made), FORBIDDEN);
	assert_rv(copy(g, key, NULL, CK_FALSE, &made), CKR_OK);
	assert_rv(rename_to(g, key, "freed"), CKR_OK);
	ground_end(g);
}

static void a_pair_is_known_by_the_names_of_both_halves(void **state)
{
	struct ground *g = *state;
	CK_MECHANISM mechanism = { .mechanism = CKM_RSA_PKCS_KEY_PAIR_GEN };
	CK_ULONG bits = 1024;
	CK_ATTRIBUTE public[] = { { CKA_MODULUS_BITS, &bits, sizeof(bits) },
				  label_of("reserved") };
	CK_ATTRIBUTE private[] = { label_of("free") };
	CK_OBJECT_HANDLE made[2];
	begin(g, "key = pkcs11:object=reserved;type=public\nfunctions = verify\n");
	assert_rv(g->p11->C_GenerateKeyPair(g->main, &mechanism, public, 2, private, 1,
					    &made[0], &made[1]),
		  FORBIDDEN);
	ground_end(g);
}

static void a_renamed_key_has_the_policies_of_its_new_name(void **state)
{
	struct ground *g = *state;
	CK_MECHANISM mechanism = { .mechanism = CKM_AES_ECB };
	CK_OBJECT_HANDLE key;
	begin(g, "key = pkcs11:object=bound\nfunctions = modify\n");
	assert_rv(create(g, "loose", CK_FALSE, &key), CKR_OK);
	assert_rv(g->p11->C_EncryptInit(g->main, &mechanism, key), CKR_OK);
	out_len = sizeof(out);
	assert_rv(g->p11->C_Encrypt(g->main, data, sizeof(data), out, &out_len), CKR_OK);
	assert_rv(rename_to(g, key, "bound"), CKR_OK);
	assert_rv(g->p11->C_EncryptInit(g->main, &mechanism, key), REFUSED);
	assert_rv(rename_to(g, key, "loose"), CKR_OK);
	assert_rv(g->p11->C_EncryptInit(g->main, &mechanism, key), CKR_OK);
	ground_end(g);
}

static void both_keys_of_a_wrapping_must_be_allowed_to(void **state)
{
	struct ground *g = *state;
	CK_OBJECT_HANDLE kek;
	CK_OBJECT_HANDLE key;
	CK_OBJECT_HANDLE made;
	begin(g, "key = pkcs11:object=kek\nfunctions = create unwrap\n");
	assert_rv(create(g, "kek", CK_FALSE, &kek), CKR_OK);
	assert_rv(create(g, "key", CK_FALSE, &key), CKR_OK);
	assert_rv(wrap(g, kek, key), REFUSED);
	assert_rv(wrap(g, key, kek), REFUSED); /* it may not leave either */
	assert_rv(wrap(g, key, key), CKR_OK);
	assert_rv(unwrap(g, key, "kek", &made), CKR_OK);
	ground_end(g);
	begin(g, "key = pkcs11:object=kek\nfunctions = create wrap\n");
	assert_rv(create(g, "kek", CK_FALSE, &kek), CKR_OK);
	assert_rv(create(g, "key", CK_FALSE, &key), CKR_OK);
	assert_rv(wrap(g, kek, key), CKR_OK);
	assert_rv(unwrap(g, kek, "made", &made), REFUSED);
	assert_rv(unwrap(g, key, "kek", &made), REFUSED);
	ground_end(g);
}

static void administration_can_be_refused(void **state)
{
	struct ground *g = *state;
	CK_UTF8CHAR pin[] = FIXTURE_USER_PIN;
	begin(g, "functions = !admin\n");
	assert_rv(g->p11->C_SetPIN(g->main, pin, sizeof(pin) - 1, pin, sizeof(pin) - 1),
		  FORBIDDEN);
	assert_rv(sign(g), CKR_OK);
	ground_end(g);
}

static void a_token_is_not_initialised_against_a_policy(void **state)
{
	static const char *const policies[] = { "functions = !admin\n",
						"read-only = yes\n" };
	CK_UTF8CHAR pin[] = FIXTURE_SO_PIN;
	CK_UTF8CHAR label[33] = "new label                       ";
	struct ground *g = *state;
	for (size_t i = 0; i < 2; i++) {
		begin(g, policies[i]);
		assert_rv(g->p11->C_CloseAllSessions(g->slot), CKR_OK);
		assert_rv(g->p11->C_InitToken(g->slot, pin, sizeof(pin) - 1, label),
			  FORBIDDEN);
		if (g->is_mock)
			assert_int_equal(fixture_mock_control()->calls("C_InitToken"), 0);
		ground_end(g);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_policy_everything_is_allowed),
		cmocka_unit_test(a_refused_operation_is_not_begun),
		cmocka_unit_test(an_operation_that_goes_on_outlives_a_refusal),
		cmocka_unit_test(a_mechanism_that_is_not_named_is_said_to_be_none),
		cmocka_unit_test(what_needs_no_key_can_be_refused_too),
		cmocka_unit_test(a_key_that_is_not_there_is_the_modules_to_refuse),
		cmocka_unit_test(a_key_that_went_with_the_login_is_the_modules_to_refuse),
		cmocka_unit_test(to_log_in_and_to_search_needs_no_leave),
		cmocka_unit_test(a_dry_run_refuses_nothing),
		cmocka_unit_test(a_read_only_policy_keeps_the_tokens_objects),
		cmocka_unit_test(nobody_gets_a_reserved_name),
		cmocka_unit_test(a_pair_is_known_by_the_names_of_both_halves),
		cmocka_unit_test(a_renamed_key_has_the_policies_of_its_new_name),
		cmocka_unit_test(both_keys_of_a_wrapping_must_be_allowed_to),
		cmocka_unit_test(administration_can_be_refused),
		cmocka_unit_test(a_token_is_not_initialised_against_a_policy),
	};
	return ground_run("policy", tests, sizeof(tests) / sizeof(tests[0]), 0, argc,
			  argv);
}

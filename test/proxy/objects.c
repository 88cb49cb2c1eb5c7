/* SPDX-License-Identifier: Apache-2.0 */
/* Objects and keys on SoftHSM2: handles, attributes, login, read-only rules. */
#include "objects_ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define p11 module_load()

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;
static CK_OBJECT_CLASS class_data = CKO_DATA;
static CK_OBJECT_CLASS class_secret = CKO_SECRET_KEY;
static CK_OBJECT_CLASS class_public = CKO_PUBLIC_KEY;
static CK_KEY_TYPE type_aes = CKK_AES;
static CK_KEY_TYPE type_rsa = CKK_RSA;
static CK_ULONG sixteen = 16;
static CK_ULONG bits = 1024;
static CK_BYTE exponent[] = { 1, 0, 1 };

#define ATTRIBUTE(type, value)                \
	{                                     \
		type, &(value), sizeof(value) \
	}

/* --- handles -------------------------------------------------------------------- */

/* S5 */
static void an_object_has_one_handle_whoever_finds_it(void **state)
{
	CK_SESSION_HANDLE one = objects_user(), two = module_session(RO);
	CK_OBJECT_HANDLE made, found_by_one, found_by_two;
	(void)state;
	assert_rv(objects_data(one, "a", true, false, &made), CKR_OK);
	assert_int_equal(objects_find(one, "a", &found_by_one), 1);
	assert_int_equal(objects_find(two, "a", &found_by_two), 1);
	assert_int_equal(found_by_one, made);
	assert_int_equal(found_by_two, made);
}

static void a_destroyed_object_has_no_handle_any_more(void **state)
{
	CK_SESSION_HANDLE session = objects_user();
	CK_OBJECT_HANDLE first, second;
	char label[8];
	(void)state;
	assert_rv(objects_data(session, "a", true, false, &first), CKR_OK);
	assert_rv(p11->C_DestroyObject(session, first), CKR_OK);
	assert_rv(objects_label(session, first, label, sizeof(label)),
		  CKR_OBJECT_HANDLE_INVALID);
	assert_rv(p11->C_DestroyObject(session, first), CKR_OBJECT_HANDLE_INVALID);
	assert_rv(objects_data(session, "b", true, false, &second), CKR_OK);
	assert_int_not_equal(first, second);
	assert_rv(objects_label(session, first, label, sizeof(label)),
		  CKR_OBJECT_HANDLE_INVALID);
}

/* S2 */
static void a_logout_ends_the_handles_of_private_objects_only(void **state)
{
	CK_SESSION_HANDLE session = objects_user();
	CK_OBJECT_HANDLE used, unused, public_object, again;
	CK_BYTE out[16];
	char label[8];
	(void)state;
	assert_rv(objects_aes(session, "used", 1, true, true, &used), CKR_OK);
	assert_rv(objects_aes(session, "unused", 1, true, true, &unused), CKR_OK);
	assert_rv(objects_data(session, "public", true, false, &public_object), CKR_OK);
	assert_rv(objects_use_aes(session, used, out), CKR_OK);
	assert_rv(p11->C_Logout(session), CKR_OK);

	assert_rv(objects_use_aes(session, used, out), CKR_OBJECT_HANDLE_INVALID);
	assert_rv(objects_label(session, unused, label, sizeof(label)),
		  CKR_OBJECT_HANDLE_INVALID);
	assert_int_equal(objects_find(session, "used", NULL), 0);
	assert_rv(objects_label(session, public_object, label, sizeof(label)), CKR_OK);

	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
	assert_rv(objects_use_aes(session, used, out), CKR_OBJECT_HANDLE_INVALID);
	assert_rv(objects_use_aes(session, unused, out), CKR_OBJECT_HANDLE_INVALID);
	assert_int_equal(objects_find(session, "used", &again), 1);
	assert_int_not_equal(again, used);
	assert_rv(objects_use_aes(session, again, out), CKR_OK);
}

/* S3 */
static void the_last_sessions_end_ends_every_handle(void **state)
{
	CK_SESSION_HANDLE session = objects_user();
	CK_OBJECT_HANDLE object;
	char label[8];
	(void)state;
	assert_rv(objects_data(session, "a", true, false, &object), CKR_OK);
	assert_rv(p11->C_CloseSession(session), CKR_OK);
	session = module_session(RO);
	assert_rv(objects_label(session, object, label, sizeof(label)),
		  CKR_OBJECT_HANDLE_INVALID);
	assert_int_equal(objects_find(session, "a", &object), 1);
	assert_rv(objects_label(session, object, label, sizeof(label)), CKR_OK);
	assert_string_equal(label, "a");
}

/* --- attributes ----------------------------------------------------------------- */

/* S16 */
static void every_length_comes_out_whatever_the_answer(void **state)
{
	CK_SESSION_HANDLE session = objects_user();
	CK_OBJECT_HANDLE key;
	CK_BYTE label[16], value[16], small[2];
	CK_ATTRIBUTE template[] = {
		{ CKA_LABEL, label, sizeof(label) },
		{ CKA_MODULUS, value, sizeof(value) },
		{ CKA_VALUE, small, sizeof(small) },
		{ CKA_LABEL, NULL, 0 },
		{ CKA_CLASS, value, sizeof(CK_OBJECT_CLASS) },
	};
	(void)state;
	assert_rv(objects_aes(session, "label", 7, true, true, &key), CKR_OK);
	CK_RV rv = p11->C_GetAttributeValue(session, key, template, 5);
	assert_true(rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_BUFFER_TOO_SMALL);
	assert_int_equal(template[0].ulValueLen, 5);
	assert_memory_equal(label, "label", 5);
	assert_int_equal(template[1].ulValueLen, CK_UNAVAILABLE_INFORMATION);
	assert_int_equal(template[2].ulValueLen, CK_UNAVAILABLE_INFORMATION);
	assert_int_equal(template[3].ulValueLen, 5);
	assert_int_equal(template[4].ulValueLen, sizeof(CK_OBJECT_CLASS));
	assert_rv(p11->C_GetAttributeValue(session, key, NULL, 1), CKR_ARGUMENTS_BAD);
	assert_rv(p11->C_GetAttributeValue(session, key + 1000, template, 5),
		  CKR_OBJECT_HANDLE_INVALID);
	assert_rv(p11->C_GetAttributeValue(session + 1000, key, template, 5),
		  CKR_SESSION_HANDLE_INVALID);
}

static void a_changed_object_keeps_its_handle(void **state)
{
	CK_SESSION_HANDLE session = objects_user();
	CK_OBJECT_HANDLE object, found;
	CK_ATTRIBUTE change = { CKA_LABEL, (void *)(uintptr_t) "after", 5 };
	char label[8];
	(void)state;
	assert_rv(objects_data(session, "before", true, false, &object), CKR_OK);
	assert_rv(p11->C_SetAttributeValue(session, object, &change, 1), CKR_OK);
	assert_rv(objects_label(session, object, label, sizeof(label)), CKR_OK);
	assert_string_equal(label, "after");
	assert_int_equal(objects_find(session, "after", &found), 1);
	assert_int_equal(found, object);
}

static void the_size_of_an_object_is_the_vendors(void **state)
{
	CK_SESSION_HANDLE session = objects_user();
	CK_OBJECT_HANDLE object;
	CK_ULONG size = 1;
	(void)state;
	assert_rv(objects_data(session, "a", false, false, &object), CKR_OK);
	assert_rv(p11->C_GetObjectSize(session, object, &size), CKR_OK);
	assert_int_equal(size, CK_UNAVAILABLE_INFORMATION);
	assert_rv(p11->C_GetObjectSize(session, object, NULL), CKR_ARGUMENTS_BAD);
	assert_rv(p11->C_GetObjectSize(session, object + 1000, &size),
		  CKR_OBJECT_HANDLE_INVALID);
}

/* SoftHSM2 crashes on it. */
static void bytes_promised_at_null_are_refused(void **state)
{
	CK_SESSION_HANDLE session = objects_user();
	CK_OBJECT_HANDLE object, other;
	CK_ATTRIBUTE bad[] = { ATTRIBUTE(CKA_CLASS, class_data), { CKA_LABEL, NULL, 5 } };
	(void)state;
	assert_rv(objects_data(session, "a", false, false, &object), CKR_OK);
	assert_rv(p11->C_CreateObject(session, bad, 2, &other),
		  CKR_ATTRIBUTE_VALUE_INVALID);
	assert_rv(p11->C_CopyObject(session, object, &bad[1], 1, &other),
		  CKR_ATTRIBUTE_VALUE_INVALID);
	assert_rv(p11->C_SetAttributeValue(session, object, &bad[1], 1),
		  CKR_ATTRIBUTE_VALUE_INVALID);
	assert_rv(p11->C_FindObjectsInit(session, &bad[1], 1),
		  CKR_ATTRIBUTE_VALUE_INVALID);
	assert_rv(p11->C_FindObjectsFinal(session), CKR_OPERATION_NOT_INITIALIZED);
}

/* --- read-only sessions --------------------------------------------------------- */

static CK_RV create(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count)
{
	CK_OBJECT_HANDLE object;
	return p11->C_CreateObject(session, template, count, &object);
}

static CK_RV generate(CK_SESSION_HANDLE session, CK_MECHANISM_TYPE type,
		      CK_ATTRIBUTE *template, CK_ULONG count)
{
	CK_MECHANISM mechanism = { type, NULL, 0 };
	CK_OBJECT_HANDLE key;
	return p11->C_GenerateKey(session, &mechanism, template, count, &key);
}

static CK_RV generate_pair(CK_SESSION_HANDLE session, bool public_on_token,
			   bool private_on_token)
{
	CK_MECHANISM mechanism = { CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0 };
	CK_OBJECT_HANDLE public_key, private_key;
	CK_ATTRIBUTE public_template[] = {
		{ CKA_TOKEN, public_on_token ? &yes : &no, 1 },
		ATTRIBUTE(CKA_MODULUS_BITS, bits),
		ATTRIBUTE(CKA_PUBLIC_EXPONENT, exponent),
	};
	CK_ATTRIBUTE private_template = { CKA_TOKEN, private_on_token ? &yes : &no, 1 };
	return p11->C_GenerateKeyPair(session, &mechanism, public_template, 3,
				      &private_template, 1, &public_key, &private_key);
}

/* S6; each answer as SoftHSM2 gives it in a read-only session of its own. */
static void a_read_only_session_makes_no_token_objects(void **state)
{
	CK_ATTRIBUTE data[] = { ATTRIBUTE(CKA_CLASS, class_data),
				ATTRIBUTE(CKA_TOKEN, yes), ATTRIBUTE(CKA_PRIVATE, yes) };
	CK_ATTRIBUTE typeless[] = { ATTRIBUTE(CKA_CLASS, class_secret),
				    ATTRIBUTE(CKA_TOKEN, yes) };
	CK_ATTRIBUTE key[] = { ATTRIBUTE(CKA_TOKEN, yes),
			       ATTRIBUTE(CKA_VALUE_LEN, sixteen) };
	CK_ATTRIBUTE wrong_type[] = { ATTRIBUTE(CKA_TOKEN, yes),
				      ATTRIBUTE(CKA_VALUE_LEN, sixteen),
				      ATTRIBUTE(CKA_KEY_TYPE, type_rsa) };
	CK_ATTRIBUTE right_type[] = { ATTRIBUTE(CKA_TOKEN, yes),
				      ATTRIBUTE(CKA_VALUE_LEN, sixteen),
				      ATTRIBUTE(CKA_KEY_TYPE, type_aes) };
	CK_ATTRIBUTE wrong_class[] = { ATTRIBUTE(CKA_TOKEN, yes),
				       ATTRIBUTE(CKA_VALUE_LEN, sixteen),
				       ATTRIBUTE(CKA_CLASS, class_public) };
	CK_SESSION_HANDLE ro = module_session(RO);
	(void)state;
	/* before READ_ONLY: what it would be; after it: USER_NOT_LOGGED_IN */
	assert_rv(create(ro, data, 3), CKR_SESSION_READ_ONLY);
	assert_rv(create(ro, &data[1], 2), CKR_TEMPLATE_INCOMPLETE);
	assert_rv(create(ro, typeless, 2), CKR_TEMPLATE_INCOMPLETE);
	assert_rv(create(ro, NULL, 1), CKR_ARGUMENTS_BAD);
	objects_user();
	assert_rv(create(ro, data, 3), CKR_SESSION_READ_ONLY);
	assert_rv(generate(ro, CKM_AES_KEY_GEN, key, 2), CKR_SESSION_READ_ONLY);
	assert_rv(generate(ro, CKM_AES_KEY_GEN, key, 1), CKR_SESSION_READ_ONLY);
	assert_rv(generate(ro, CKM_RSA_PKCS, key, 2), CKR_MECHANISM_INVALID);
	assert_rv(generate(ro, CKM_AES_KEY_GEN, wrong_type, 3),
		  CKR_TEMPLATE_INCONSISTENT);
	assert_rv(generate(ro, CKM_AES_KEY_GEN, right_type, 3), CKR_SESSION_READ_ONLY);
	assert_rv(generate(ro, CKM_AES_KEY_GEN, wrong_class, 3),
		  CKR_ATTRIBUTE_VALUE_INVALID);
	assert_rv(generate_pair(ro, true, false), CKR_SESSION_READ_ONLY);
	assert_rv(generate_pair(ro, false, true), CKR_SESSION_READ_ONLY);
	assert_rv(generate_pair(ro, false, false), CKR_OK);
}

static CK_ULONG count_all(CK_SESSION_HANDLE session)
{
	CK_OBJECT_HANDLE found[32];
	CK_ULONG count = 0;
	assert_rv(p11->C_FindObjectsInit(session, NULL, 0), CKR_OK);
	assert_rv(p11->C_FindObjects(session, found, 32, &count), CKR_OK);
	assert_rv(p11->C_FindObjectsFinal(session), CKR_OK);
	return count;
}

static void what_a_read_only_session_was_refused_leaves_nothing_behind(void **state)
{
	CK_SESSION_HANDLE user = objects_user(), ro = module_session(RO);
	CK_ATTRIBUTE right_type[] = { ATTRIBUTE(CKA_TOKEN, yes),
				      ATTRIBUTE(CKA_VALUE_LEN, sixteen),
				      ATTRIBUTE(CKA_KEY_TYPE, type_aes) };
	CK_ATTRIBUTE on_token[] = { ATTRIBUTE(CKA_CLASS, class_secret),
				    ATTRIBUTE(CKA_KEY_TYPE, type_aes),
				    ATTRIBUTE(CKA_TOKEN, yes) };
	CK_MECHANISM wrap = { CKM_AES_KEY_WRAP, NULL, 0 };
	CK_MECHANISM unknown = { CKM_VENDOR_DEFINED | 1, NULL, 0 };
	CK_BYTE wrapped[64];
	CK_ULONG len = sizeof(wrapped);
	CK_OBJECT_HANDLE key, other;
	(void)state;
	assert_rv(objects_aes(user, "key", 3, true, true, &key), CKR_OK);
	assert_rv(p11->C_WrapKey(ro, &wrap, key, key, wrapped, &len), CKR_OK);
	assert_rv(generate(ro, CKM_AES_KEY_GEN, right_type, 3), CKR_SESSION_READ_ONLY);
	assert_rv(p11->C_UnwrapKey(ro, &wrap, key, wrapped, len, on_token, 3, &other),
		  CKR_SESSION_READ_ONLY);
	assert_rv(p11->C_UnwrapKey(ro, &unknown, key, wrapped, len, on_token, 3, &other),
		  CKR_MECHANISM_INVALID);
	assert_rv(p11->C_UnwrapKey(ro, &wrap, key, wrapped, len - 8, on_token, 3, &other),
		  CKR_WRAPPED_KEY_LEN_RANGE);
	assert_rv(p11->C_UnwrapKey(ro, &wrap, key + 1000, wrapped, len, on_token, 3,
				   &other),
		  CKR_UNWRAPPING_KEY_HANDLE_INVALID);
	assert_rv(p11->C_UnwrapKey(ro, &wrap, key, wrapped, len, &on_token[1], 2, &other),
		  CKR_TEMPLATE_INCOMPLETE);
	wrapped[3] ^= 1;
	assert_rv(p11->C_UnwrapKey(ro, &wrap, key, wrapped, len, on_token, 3, &other),
		  CKR_SESSION_READ_ONLY);
	assert_int_equal(count_all(user), 1);
}

static void a_read_only_session_changes_no_token_objects(void **state)
{
	CK_SESSION_HANDLE user = objects_user(), ro = module_session(RO);
	CK_OBJECT_HANDLE on_token, in_session, uncopyable, copy;
	CK_ATTRIBUTE label = { CKA_LABEL, (void *)(uintptr_t) "new", 3 };
	CK_ATTRIBUTE stays = ATTRIBUTE(CKA_TOKEN, yes), moves = ATTRIBUTE(CKA_TOKEN, no);
	CK_ATTRIBUTE fixed[] = { ATTRIBUTE(CKA_CLASS, class_data),
				 ATTRIBUTE(CKA_TOKEN, yes), ATTRIBUTE(CKA_COPYABLE, no) };
	(void)state;
	assert_rv(objects_data(user, "token", true, false, &on_token), CKR_OK);
	assert_rv(objects_data(ro, "session", false, false, &in_session), CKR_OK);
	assert_rv(p11->C_CreateObject(user, fixed, 3, &uncopyable), CKR_OK);

	assert_rv(p11->C_SetAttributeValue(ro, on_token, &label, 1),
		  CKR_SESSION_READ_ONLY);
	assert_rv(p11->C_SetAttributeValue(ro, on_token, NULL, 1), CKR_ARGUMENTS_BAD);
	assert_rv(p11->C_SetAttributeValue(ro, on_token + 1000, &label, 1),
		  CKR_OBJECT_HANDLE_INVALID);
	assert_rv(p11->C_SetAttributeValue(ro, in_session, &label, 1), CKR_OK);
	assert_rv(p11->C_DestroyObject(ro, on_token), CKR_SESSION_READ_ONLY);

	assert_rv(p11->C_CopyObject(ro, on_token, &label, 1, &copy),
		  CKR_SESSION_READ_ONLY);
	assert_rv(p11->C_CopyObject(ro, on_token, &moves, 1, &copy), CKR_OK);
	assert_rv(p11->C_CopyObject(ro, in_session, &stays, 1, &copy),
		  CKR_SESSION_READ_ONLY);
	assert_rv(p11->C_CopyObject(ro, in_session, &label, 1, &copy), CKR_OK);
	assert_rv(p11->C_DestroyObject(ro, copy), CKR_OK);
	assert_rv(p11->C_CopyObject(ro, uncopyable, &label, 1, &copy),
		  CKR_ACTION_PROHIBITED);
	assert_rv(p11->C_DestroyObject(ro, in_session), CKR_OK);
	assert_rv(p11->C_DestroyObject(user, on_token), CKR_OK);
}

/* --- keys ----------------------------------------------------------------------- */

/* The real sessions stay logged in; hiding what is private is the module's own work. */
static void after_a_logout_from_automatic_login_private_objects_are_hidden(void **state)
{
	const struct fixture *f = *state;
	char pool[400];
	CK_OBJECT_HANDLE used, unused, public_object, object;
	CK_BYTE out[16];
	char label[8];
	module_end();
	snprintf(pool, sizeof(pool), "pin-source = file:%s", f->pin_file);
	module_configure(f, pool, "login = automatic");
	module_begin();
	CK_SESSION_HANDLE session = module_session(RW);
	assert_rv(objects_aes(session, "used", 1, true, true, &used), CKR_OK);
	assert_rv(objects_aes(session, "unused", 1, true, true, &unused), CKR_OK);
	assert_rv(objects_data(session, "public", true, false, &public_object), CKR_OK);
	assert_rv(objects_use_aes(session, used, out), CKR_OK);
	assert_rv(p11->C_Logout(session), CKR_OK);

	assert_rv(objects_use_aes(session, used, out), CKR_OBJECT_HANDLE_INVALID);
	assert_rv(objects_use_aes(session, unused, out), CKR_OBJECT_HANDLE_INVALID);
	assert_rv(objects_label(session, public_object, label, sizeof(label)), CKR_OK);
	assert_int_equal(objects_find(session, "used", NULL), 0);
	assert_int_equal(objects_find(session, "public", NULL), 1);
	assert_rv(objects_data(session, "new", true, true, &object),
		  CKR_USER_NOT_LOGGED_IN);
	assert_rv(generate_pair(session, true, true), CKR_USER_NOT_LOGGED_IN);
	assert_rv(objects_data(session, "new", true, false, &object), CKR_OK);

	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
	assert_int_equal(objects_find(session, "new", NULL), 1);
	assert_int_equal(module_count_private(session), 0);
	assert_int_equal(objects_find(session, "used", &object), 1);
	assert_rv(objects_use_aes(session, object, out), CKR_OK);
	assert_rv(objects_use_aes(session, used, out), CKR_OBJECT_HANDLE_INVALID);
}

/* S18 */
static void keys_are_wrapped_unwrapped_and_derived_by_their_handles(void **state)
{
	CK_SESSION_HANDLE session = objects_user();
	CK_OBJECT_HANDLE wrapping, key, unwrapped, derived;
	CK_BYTE wrapped[64], before[16], after[16], data[16] = { 9 };
	CK_ULONG len = 0;
	CK_MECHANISM wrap = { CKM_AES_KEY_WRAP, NULL, 0 };
	CK_KEY_DERIVATION_STRING_DATA string = { data, sizeof(data) };
	CK_MECHANISM derive = { CKM_AES_ECB_ENCRYPT_DATA, &string, sizeof(string) };
	CK_ATTRIBUTE template[] = {
		ATTRIBUTE(CKA_CLASS, class_secret), ATTRIBUTE(CKA_KEY_TYPE, type_aes),
		ATTRIBUTE(CKA_ENCRYPT, yes),        ATTRIBUTE(CKA_TOKEN, no),
		ATTRIBUTE(CKA_VALUE_LEN, sixteen),
	};
	(void)state;
	assert_rv(objects_aes(session, "wrapping", 1, true, true, &wrapping), CKR_OK);
	assert_rv(objects_aes(session, "key", 2, false, true, &key), CKR_OK);
	assert_rv(p11->C_WrapKey(session, &wrap, wrapping, key, NULL, &len), CKR_OK);
	assert_int_equal(len, 24);
	assert_rv(p11->C_WrapKey(session, &wrap, wrapping, key, wrapped, &len), CKR_OK);
	assert_rv(p11->C_UnwrapKey(session, &wrap, wrapping, wrapped, len, template, 4,
				   &unwrapped),
		  CKR_OK);
	assert_rv(objects_use_aes(session, key, before), CKR_OK);
	assert_rv(objects_use_aes(session, unwrapped, after), CKR_OK);
	assert_memory_equal(before, after, 16);
	assert_rv(p11->C_DeriveKey(session, &derive, wrapping, template, 5, &derived),
		  CKR_OK);
	assert_rv(objects_use_aes(session, derived, after), CKR_OK);
	assert_rv(p11->C_WrapKey(session, &wrap, wrapping, key + 1000, wrapped, &len),
		  CKR_KEY_HANDLE_INVALID);
	assert_rv(p11->C_WrapKey(session, &wrap, key + 1000, key, wrapped, &len),
		  CKR_WRAPPING_KEY_HANDLE_INVALID);
}

/* S20 */
static void random_numbers_are_the_vendors(void **state)
{
	CK_SESSION_HANDLE session = module_session(RO);
	CK_BYTE one[16] = { 0 }, two[16] = { 0 };
	(void)state;
	assert_rv(p11->C_SeedRandom(session, one, sizeof(one)), CKR_OK);
	assert_rv(p11->C_SeedRandom(session, NULL, 4), CKR_ARGUMENTS_BAD);
	assert_rv(p11->C_GenerateRandom(session, one, sizeof(one)), CKR_OK);
	assert_rv(p11->C_GenerateRandom(session, two, sizeof(two)), CKR_OK);
	assert_memory_not_equal(one, two, sizeof(one));
	assert_rv(p11->C_GenerateRandom(session, NULL, 4), CKR_ARGUMENTS_BAD);
	assert_rv(p11->C_GenerateRandom(session + 1000, one, sizeof(one)),
		  CKR_SESSION_HANDLE_INVALID);
}

#define on_softhsm(name) \
	cmocka_unit_test_setup_teardown(name, objects_begin_softhsm, objects_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_softhsm(an_object_has_one_handle_whoever_finds_it),
		on_softhsm(a_destroyed_object_has_no_handle_any_more),
		on_softhsm(a_logout_ends_the_handles_of_private_objects_only),
		on_softhsm(the_last_sessions_end_ends_every_handle),
		on_softhsm(every_length_comes_out_whatever_the_answer),
		on_softhsm(a_changed_object_keeps_its_handle),
		on_softhsm(the_size_of_an_object_is_the_vendors),
		on_softhsm(bytes_promised_at_null_are_refused),
		on_softhsm(a_read_only_session_makes_no_token_objects),
		on_softhsm(what_a_read_only_session_was_refused_leaves_nothing_behind),
		on_softhsm(a_read_only_session_changes_no_token_objects),
		on_softhsm(
			after_a_logout_from_automatic_login_private_objects_are_hidden),
		on_softhsm(keys_are_wrapped_unwrapped_and_derived_by_their_handles),
		on_softhsm(random_numbers_are_the_vendors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

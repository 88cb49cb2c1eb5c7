/* SPDX-License-Identifier: Apache-2.0 */
/* What virtual handles stand for after the HSM was restarted (row S23). */
#include "objects_ground.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define p11 module_load()

static void reboot(enum mock_handles handles)
{
	struct mock_reboot how = { .handles = handles };
	fixture_mock_control()->reboot(&how);
}

static void a_key_that_was_used_is_found_again(void **state)
{
	static const enum mock_handles ways[] = { MOCK_HANDLES_NEW, MOCK_HANDLES_ALIASED,
						  MOCK_HANDLES_KEPT };
	CK_SESSION_HANDLE session = objects_user();
	CK_OBJECT_HANDLE rsa = objects_key(session, CKO_PRIVATE_KEY, "rsa");
	CK_OBJECT_HANDLE aes = objects_key(session, CKO_SECRET_KEY, "aes");
	CK_BYTE signature[16], block[16], again[16];
	(void)state;
	assert_rv(objects_use_rsa(session, rsa, signature), CKR_OK);
	assert_rv(objects_use_aes(session, aes, block), CKR_OK);
	for (int i = 0; i < 9; i++) {
		reboot(ways[i % 3]);
		assert_rv(objects_use_rsa(session, rsa, again), CKR_OK);
		assert_memory_equal(again, signature, 16);
		assert_rv(objects_use_aes(session, aes, again), CKR_OK);
		assert_memory_equal(again, block, 16);
	}
}

/* An elliptic private key shows no public part: the public key with its id does. */
static void an_elliptic_key_is_found_again_by_its_public_half(void **state)
{
	CK_SESSION_HANDLE session = objects_user();
	CK_OBJECT_HANDLE ec = objects_key(session, CKO_PRIVATE_KEY, "ec");
	CK_MECHANISM ecdsa = { CKM_ECDSA, NULL, 0 };
	CK_BYTE hash[32] = { 1 }, signature[128];
	(void)state;
	for (int i = 0; i < 3; i++) {
		CK_ULONG len = sizeof(signature);
		assert_rv(p11->C_SignInit(session, &ecdsa, ec), CKR_OK);
		assert_rv(p11->C_Sign(session, hash, sizeof(hash), signature, &len),
			  CKR_OK);
		reboot(MOCK_HANDLES_ALIASED);
	}
}

static void searches_give_the_same_handles_as_before(void **state)
{
	CK_SESSION_HANDLE session = objects_user();
	CK_OBJECT_HANDLE rsa = objects_key(session, CKO_PRIVATE_KEY, "rsa");
	CK_BYTE out[16];
	(void)state;
	assert_rv(objects_use_rsa(session, rsa, out), CKR_OK);
	reboot(MOCK_HANDLES_ALIASED);
	assert_int_equal(objects_key(session, CKO_PRIVATE_KEY, "rsa"), rsa);
	reboot(MOCK_HANDLES_NEW);
	assert_rv(objects_use_rsa(session, rsa, out), CKR_OK);
	assert_int_equal(objects_key(session, CKO_PRIVATE_KEY, "rsa"), rsa);
}

/* Whatever else is lost while they search: each time some call of the search's fails. */
static void searches_that_meet_failures_give_the_same_handles_too(void **state)
{
	static const char *const functions[] = { "C_FindObjectsInit", "C_FindObjects",
						 "C_GetAttributeValue" };
	CK_SESSION_HANDLE session = objects_user();
	CK_OBJECT_HANDLE rsa = objects_key(session, CKO_PRIVATE_KEY, "rsa");
	CK_OBJECT_HANDLE aes = objects_key(session, CKO_SECRET_KEY, "aes");
	CK_BYTE out[16];
	(void)state;
	for (unsigned i = 0; i < 12; i++) {
		const struct mock_failure failure = { .function = functions[i % 3],
						      .rv = CKR_DEVICE_ERROR,
						      .first = 1 + i / 3 };
		reboot(MOCK_HANDLES_ALIASED);
		(fixture_mock_control()->fail)(&failure);
		assert_int_equal(objects_key(session, CKO_PRIVATE_KEY, "rsa"), rsa);
		fixture_mock_control()->clear_failures();
		assert_int_equal(objects_key(session, CKO_SECRET_KEY, "aes"), aes);
		assert_rv(objects_use_aes(session, aes, out), CKR_OK);
	}
}

/* An application searched at its start, and uses what it found after a restart only. */
static void an_object_that_was_only_found_is_found_again(void **state)
{
	CK_SESSION_HANDLE session = objects_user();
	CK_OBJECT_HANDLE rsa = objects_key(session, CKO_PRIVATE_KEY, "rsa");
	CK_OBJECT_HANDLE aes = objects_key(session, CKO_SECRET_KEY, "aes");
	CK_BYTE out[16];
	(void)state;
	assert_rv(objects_use_aes(session, aes, out), CKR_OK);
	reboot(MOCK_HANDLES_ALIASED);
	assert_rv(objects_use_aes(session, aes, out), CKR_OK); /* notices it */
	assert_rv(objects_use_rsa(session, rsa, out), CKR_OK);
	assert_int_equal(objects_key(session, CKO_PRIVATE_KEY, "rsa"), rsa);
}

/* Of a large search not all objects are read. What was not cannot be compared, and is
 * refused: no handle ever means another object. */
static void of_a_large_search_what_was_never_read_is_not_guessed(void **state)
{
	enum { KEYS = 80, READ = 64 };
	CK_SESSION_HANDLE session = objects_user();
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_BBOOL is_private = CK_FALSE; /* the others are private */
	CK_ATTRIBUTE keys[] = { { CKA_CLASS, &class, sizeof(class) },
				{ CKA_PRIVATE, &is_private, sizeof(is_private) } };
	CK_OBJECT_HANDLE found[KEYS + 1], key;
	CK_BYTE out[KEYS][16], expected[16];
	CK_RV rvs[KEYS];
	CK_ULONG count, known = 0;
	char label[8];
	(void)state;
	for (CK_BYTE i = 0; i < KEYS; i++) {
		snprintf(label, sizeof(label), "k%u", i);
		assert_rv(objects_aes(session, label, i, true, false, &key), CKR_OK);
	}
	assert_rv(p11->C_FindObjectsInit(session, keys, 2), CKR_OK);
	assert_rv(p11->C_FindObjects(session, found, KEYS + 1, &count), CKR_OK);
	assert_rv(p11->C_FindObjectsFinal(session), CKR_OK);
	assert_int_equal(count, KEYS);
	reboot(MOCK_HANDLES_ALIASED);
	for (unsigned i = 0; i < KEYS; i++)
		rvs[i] = objects_use_aes(session, found[i], out[i]);
	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(label, sizeof(label), "k%u", i);
		key = objects_key(session, CKO_SECRET_KEY, label);
		assert_rv(objects_use_aes(session, key, expected), CKR_OK);
		known += rvs[i] == CKR_OK;
		if (rvs[i] == CKR_OK)
			assert_memory_equal(out[i], expected, 16);
		else
			assert_rv(rvs[i], CKR_KEY_HANDLE_INVALID);
		assert_rv(p11->C_DestroyObject(session, key), CKR_OK);
	}
	assert_int_equal(known, READ);
}

/* Once for each object, however often it is found. */
static void searches_read_an_object_once(void **state)
{
	CK_SESSION_HANDLE session = objects_user();
	CK_OBJECT_HANDLE rsa = objects_key(session, CKO_PRIVATE_KEY, "rsa");
	uint64_t reads = fixture_mock_control()->calls("C_GetAttributeValue");
	(void)state;
	for (int i = 0; i < 10; i++)
		assert_int_equal(objects_key(session, CKO_PRIVATE_KEY, "rsa"), rsa);
	assert_int_equal(fixture_mock_control()->calls("C_GetAttributeValue"), reads);
}

/* Reading an attribute is a use. */
static void an_object_that_was_read_is_found_again(void **state)
{
	CK_SESSION_HANDLE session = objects_user();
	CK_OBJECT_HANDLE rsa = objects_key(session, CKO_PRIVATE_KEY, "rsa");
	CK_OBJECT_HANDLE data;
	CK_BYTE out[16];
	char label[16];
	(void)state;
	assert_rv(objects_data(session, "data", true, true, &data), CKR_OK);
	assert_rv(objects_label(session, rsa, label, sizeof(label)), CKR_OK);
	assert_rv(objects_label(session, data, label, sizeof(label)), CKR_OK);
	reboot(MOCK_HANDLES_ALIASED);
	assert_rv(objects_label(session, data, label, sizeof(label)), CKR_OK);
	assert_string_equal(label, "data");
	assert_rv(objects_use_rsa(session, rsa, out), CKR_OK);
	assert_rv(p11->C_DestroyObject(session, data), CKR_OK);
}

/* Another program deletes the key and makes another by its name. */
static void a_key_that_took_its_place_is_refused(void **state)
{
	const struct fixture *f = *state;
	CK_FUNCTION_LIST *direct = module_load_other(f->module);
	CK_SESSION_HANDLE session = objects_user(), other;
	CK_OBJECT_HANDLE key, found, replacement;
	CK_ATTRIBUTE label = { CKA_LABEL, (void *)(uintptr_t) "key", 3 };
	CK_ULONG count;
	CK_BYTE out[16];
	assert_rv(objects_aes(session, "key", 1, true, true, &key), CKR_OK);
	assert_rv(objects_use_aes(session, key, out), CKR_OK);

	CK_SLOT_ID slot;
	CK_ULONG slots = 1;
	assert_rv(direct->C_GetSlotList(CK_TRUE, &slot, &slots), CKR_OK);
	reboot(MOCK_HANDLES_ALIASED);
	assert_rv(direct->C_OpenSession(slot, RW, NULL, NULL, &other), CKR_OK);
	assert_rv(direct->C_Login(other, CKU_USER, (CK_BYTE *)FIXTURE_USER_PIN,
				  strlen(FIXTURE_USER_PIN)),
		  CKR_OK);
	assert_rv(direct->C_FindObjectsInit(other, &label, 1), CKR_OK);
	assert_rv(direct->C_FindObjects(other, &found, 1, &count), CKR_OK);
	assert_int_equal(count, 1);
	assert_rv(direct->C_FindObjectsFinal(other), CKR_OK);
	assert_rv(direct->C_DestroyObject(other, found), CKR_OK);
	assert_rv(direct->C_CloseSession(other), CKR_OK);
	assert_rv(objects_use_aes(session, key, out), CKR_KEY_HANDLE_INVALID);

	assert_rv(objects_aes(session, "key", 2, true, true, &replacement), CKR_OK);
	assert_rv(objects_use_aes(session, key, out), CKR_KEY_HANDLE_INVALID);
	assert_rv(objects_use_aes(session, replacement, out), CKR_OK);
	assert_rv(p11->C_DestroyObject(session, replacement), CKR_OK);
}

static void a_changed_object_is_found_again_by_what_it_is_now(void **state)
{
	CK_SESSION_HANDLE session = objects_user();
	CK_OBJECT_HANDLE key;
	CK_ATTRIBUTE change = { CKA_LABEL, (void *)(uintptr_t) "after", 5 };
	CK_BYTE before[16], after[16];
	(void)state;
	assert_rv(objects_aes(session, "before", 1, true, true, &key), CKR_OK);
	assert_rv(objects_use_aes(session, key, before), CKR_OK);
	assert_rv(p11->C_SetAttributeValue(session, key, &change, 1), CKR_OK);
	assert_rv(objects_use_aes(session, key, before), CKR_OK);
	reboot(MOCK_HANDLES_ALIASED);
	assert_rv(objects_use_aes(session, key, after), CKR_OK);
	assert_memory_equal(before, after, 16);
	assert_rv(p11->C_DestroyObject(session, key), CKR_OK);
}

static void what_a_logout_ended_does_not_come_back(void **state)
{
	CK_SESSION_HANDLE session = objects_user();
	CK_OBJECT_HANDLE rsa = objects_key(session, CKO_PRIVATE_KEY, "rsa");
	CK_BYTE out[16];
	(void)state;
	assert_rv(objects_use_rsa(session, rsa, out), CKR_OK);
	assert_rv(p11->C_Logout(session), CKR_OK);
	reboot(MOCK_HANDLES_ALIASED);
	assert_int_not_equal(objects_key(session, CKO_PUBLIC_KEY, "rsa"),
			     CK_INVALID_HANDLE); /* notices it */
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
	assert_rv(objects_use_rsa(session, rsa, out), CKR_KEY_HANDLE_INVALID);
	rsa = objects_key(session, CKO_PRIVATE_KEY, "rsa");
	assert_rv(objects_use_rsa(session, rsa, out), CKR_OK);
}

/* Nothing that was submitted is done twice, whatever became of it. */
static void a_creation_is_not_repeated(void **state)
{
	CK_SESSION_HANDLE session = objects_user();
	struct mock_failure lost_answer = { .function = "C_CreateObject",
					    .rv = CKR_DEVICE_ERROR,
					    .after = true };
	struct mock_counters before, after;
	CK_OBJECT_HANDLE object = 77;
	(void)state;
	fixture_mock_control()->counters(&before);
	(fixture_mock_control()->fail)(&lost_answer);
	assert_rv(objects_data(session, "a", false, false, &object), CKR_DEVICE_ERROR);
	fixture_mock_control()->counters(&after);
	assert_int_equal(after.objects_created - before.objects_created, 1);
}

static void a_key_is_unwrapped_after_a_restart_that_was_not_noticed_yet(void **state)
{
	CK_SESSION_HANDLE session = objects_user();
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	CK_BBOOL yes = CK_TRUE;
	CK_MECHANISM wrap = { CKM_AES_KEY_WRAP, NULL, 0 };
	CK_OBJECT_HANDLE key, unwrapped;
	CK_BYTE wrapped[64], one[16], two[16];
	CK_ULONG len = sizeof(wrapped);
	CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof(class) },
				    { CKA_KEY_TYPE, &type, sizeof(type) },
				    { CKA_ENCRYPT, &yes, 1 } };
	(void)state;
	assert_rv(objects_aes(session, "key", 1, true, true, &key), CKR_OK);
	assert_rv(p11->C_WrapKey(session, &wrap, key, key, wrapped, &len), CKR_OK);
	reboot(MOCK_HANDLES_ALIASED);
	assert_rv(objects_use_aes(session, key, one), CKR_OK);
	assert_rv(p11->C_UnwrapKey(session, &wrap, key, wrapped, len, template, 3,
				   &unwrapped),
		  CKR_OK);
	assert_rv(objects_use_aes(session, unwrapped, two), CKR_OK);
	assert_memory_equal(one, two, 16);
	assert_rv(p11->C_DestroyObject(session, key), CKR_OK);
}

#define on_mock(name) \
	cmocka_unit_test_setup_teardown(name, objects_begin_mock, objects_end)

/* SP 800-108 as PKCS#11 3.0 has it; the header does not. */
#define COUNTER_KDF 0x3acUL
struct kdf_params {
	CK_ULONG prf, data_count;
	struct {
		CK_ULONG type;
		void *value;
		CK_ULONG len;
	} * data;
	CK_ULONG key_count;
	struct {
		CK_ATTRIBUTE *template;
		CK_ULONG count;
		CK_OBJECT_HANDLE *handle;
	} * keys;
};

/* Two keys derived of base, with the key other among the data. */
static CK_RV derive_two(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE base,
			CK_OBJECT_HANDLE other, bool is_token, CK_OBJECT_HANDLE made[2])
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	CK_ULONG len = 16;
	CK_BBOOL yes = CK_TRUE, no = CK_FALSE, token = is_token;
	CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof(class) },
				    { CKA_KEY_TYPE, &type, sizeof(type) },
				    { CKA_VALUE_LEN, &len, sizeof(len) },
				    { CKA_ENCRYPT, &yes, 1 },
				    { CKA_LABEL, (void *)(uintptr_t) "derived", 7 },
				    { CKA_TOKEN, &no, 1 } };
	CK_ATTRIBUTE second[] = { template[0], template[1],  template[2],
				  template[3], template [4], { CKA_TOKEN, &token, 1 } };
	struct kdf_params params = { .prf = CKM_AES_CMAC,
				     .data_count = 1,
				     .key_count = 1 };
	__typeof__(*params.data) data = { 5, &other, sizeof(other) };
	__typeof__(*params.keys) key = { second, 6, &made[1] };
	CK_MECHANISM mechanism = { COUNTER_KDF, &params, sizeof(params) };
	params.data = &data;
	params.keys = &key;
	CK_OBJECT_HANDLE before = other;
	CK_RV rv = p11->C_DeriveKey(session, &mechanism, base, template, 6, &made[0]);
	assert_int_equal(other, before);
	assert_ptr_equal(key.handle, &made[1]);
	return rv;
}

static void keys_among_the_data_of_a_derivation_and_of_its_making_are_kept(void **state)
{
	CK_SESSION_HANDLE session = objects_user(), other_session = module_session(RO);
	CK_OBJECT_HANDLE base, one, made[2], again[2];
	CK_BYTE first[16], second[16], out[16];
	(void)state;
	assert_rv(objects_aes(session, "one", 1, true, true, &base), CKR_OK);
	assert_rv(objects_aes(session, "two", 2, true, true, &one), CKR_OK);
	assert_rv(derive_two(session, base, one, false, made), CKR_OK);
	assert_rv(objects_use_aes(session, made[0], first), CKR_OK);
	assert_rv(objects_use_aes(other_session, made[1], second), CKR_OK);
	assert_memory_not_equal(first, second, 16);
	assert_int_equal(objects_find(session, "derived", NULL), 2);
	reboot(MOCK_HANDLES_ALIASED);
	assert_rv(derive_two(session, base, one, false, again), CKR_OK);
	assert_rv(objects_use_aes(session, again[1], out), CKR_OK);
	assert_memory_equal(out, second, 16);
	assert_rv(p11->C_DestroyObject(session, base), CKR_OK);
	assert_rv(p11->C_DestroyObject(session, one), CKR_OK);
}

static void an_additional_key_obeys_the_rules_of_its_session(void **state)
{
	CK_SESSION_HANDLE session = objects_user(), reader = module_session(RO);
	CK_OBJECT_HANDLE base, made[2];
	(void)state;
	assert_rv(objects_aes(session, "base", 1, true, true, &base), CKR_OK);
	assert_rv(derive_two(reader, base, base, true, made), CKR_SESSION_READ_ONLY);
	assert_int_equal(objects_find(session, "derived", NULL), 0);
	assert_rv(derive_two(reader, base, base, false, made), CKR_OK);
	assert_int_equal(objects_find(session, "derived", NULL), 2);
	assert_rv(p11->C_CloseSession(reader), CKR_OK);
	assert_int_equal(objects_find(session, "derived", NULL), 0);
	assert_rv(p11->C_DestroyObject(session, base), CKR_OK);
}

/* --- a session that is opened when no other can be asked ---------------------------- */

enum { BUSY = 2 }; /* as many as are open: min-sessions */

static pthread_t busy[BUSY];

static void *digest_once(void *session)
{
	assert_rv(module_digest(*(CK_SESSION_HANDLE *)session), CKR_OK);
	return NULL;
}

/* Each of the pool's sessions is in a call that hangs until release(). */
static void keep_all_busy(CK_SESSION_HANDLE sessions[BUSY])
{
	for (unsigned i = 0; i < BUSY; i++) {
		sessions[i] = module_session(RO);
		fixture_mock_control()->hang("C_DigestInit", 1);
		pthread_create(&busy[i], NULL, digest_once, &sessions[i]);
		while (fixture_mock_control()->hung() <= i)
			usleep(1000);
	}
}

static void await_busy(void)
{
	for (unsigned i = 0; i < BUSY; i++)
		pthread_join(busy[i], NULL);
}

/* The HSM keeps the login, so that the new session shows nothing of the restart. */
static void a_session_opened_after_an_unnoticed_restart_uses_no_wrong_key(void **state)
{
	const struct mock_reboot how = { .keep_login = true,
					 .handles = MOCK_HANDLES_ALIASED };
	CK_SESSION_HANDLE session = objects_user(), others[BUSY];
	CK_OBJECT_HANDLE one, two;
	CK_BYTE before[16], after[16];
	(void)state;
	assert_rv(objects_aes(session, "one", 1, true, true, &one), CKR_OK);
	assert_rv(objects_aes(session, "two", 2, true, true, &two), CKR_OK);
	assert_rv(objects_use_aes(session, two, before), CKR_OK);
	assert_rv(objects_use_aes(session, one, before), CKR_OK);
	keep_all_busy(others);
	fixture_mock_control()->reboot(&how);
	assert_rv(objects_use_aes(session, one, after), CKR_OK);
	assert_memory_equal(before, after, 16);
	fixture_mock_control()->release();
	await_busy();
	assert_rv(p11->C_DestroyObject(session, one), CKR_OK);
	assert_rv(p11->C_DestroyObject(session, two), CKR_OK);
}

static void *release_when_opened(void *before)
{
	while (fixture_mock_control()->calls("C_OpenSession") == *(uint64_t *)before)
		usleep(1000);
	fixture_mock_control()->release();
	return NULL;
}

/* A session object, and what a large search found and nobody looked at: neither could be
 * found again. They are waited for until a session that knew them is back. */
static void what_cannot_be_found_again_outlasts_the_opening_of_a_session(void **state)
{
	CK_SESSION_HANDLE session = objects_user(), others[BUSY];
	CK_OBJECT_HANDLE object;
	CK_BYTE before[16], after[16];
	pthread_t releaser;
	(void)state;
	assert_rv(objects_aes(session, "", 1, false, true, &object), CKR_OK);
	assert_rv(objects_use_aes(session, object, before), CKR_OK);
	keep_all_busy(others);
	uint64_t opened = fixture_mock_control()->calls("C_OpenSession");
	pthread_create(&releaser, NULL, release_when_opened, &opened);
	assert_rv(objects_use_aes(session, object, after), CKR_OK);
	assert_memory_equal(before, after, 16);
	pthread_join(releaser, NULL);
	await_busy();
	assert_true(fixture_mock_control()->calls("C_OpenSession") > opened);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_mock(a_key_that_was_used_is_found_again),
		on_mock(an_elliptic_key_is_found_again_by_its_public_half),
		on_mock(searches_give_the_same_handles_as_before),
		on_mock(searches_that_meet_failures_give_the_same_handles_too),
		on_mock(an_object_that_was_only_found_is_found_again),
		on_mock(of_a_large_search_what_was_never_read_is_not_guessed),
		on_mock(searches_read_an_object_once),
		on_mock(an_object_that_was_read_is_found_again),
		on_mock(a_key_that_took_its_place_is_refused),
		on_mock(a_changed_object_is_found_again_by_what_it_is_now),
		on_mock(what_a_logout_ended_does_not_come_back),
		on_mock(a_creation_is_not_repeated),
		on_mock(a_key_is_unwrapped_after_a_restart_that_was_not_noticed_yet),
		on_mock(keys_among_the_data_of_a_derivation_and_of_its_making_are_kept),
		on_mock(an_additional_key_obeys_the_rules_of_its_session),
		on_mock(a_session_opened_after_an_unnoticed_restart_uses_no_wrong_key),
		on_mock(what_cannot_be_found_again_outlasts_the_opening_of_a_session),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

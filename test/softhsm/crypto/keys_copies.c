/* SPDX-License-Identifier: Apache-2.0 */
/*
 * key-copies = session: the copy is used, protected like its original, out of sight,
 * shared, and gone when the original or its keys are.
 */
#include "softhsm/crypto/keys_ground.h"

#include <pthread.h>
#include <string.h>
#include <time.h>
#include <openssl/evp.h>

static int copies_up(void **state)
{
	(void)state;
	fixture_softhsm(&ground);
	fixture_set(&ground, "key-copies", "session");
	fixture_set(&ground, "revalidate-interval", "1s");
	pool = fixture_open(&ground);
	return 0;
}

static hsmpool_status encrypt_with(hsmpool_key *key)
{
	uint8_t data[100];
	hsmpool_buf out = { .data = data, .cap = sizeof(data) };

	return hsmpool_encrypt(pool, key, "aes-gcm", NULL, bytes_of_text("plain"), &out,
			       TEST_PATIENCE, &err);
}

static CK_ULONG session_objects(const char *label)
{
	CK_BBOOL no = CK_FALSE;
	CK_ATTRIBUTE template[] = {
		{ CKA_TOKEN, &no, sizeof(no) },
		{ CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
	};

	return raw_count(template, 2);
}

static void a_key_works_through_one_copy_that_no_list_shows(void **state)
{
	hsmpool_key *key = generate("aes", "copied", 0);

	(void)state;
	assert_int_equal(session_objects("copied"), 0);
	for (int i = 0; i < 3; i++)
		assert_ok(encrypt_with(key), &err);
	assert_int_equal(session_objects("copied"), 1);
	assert_int_equal(count_label("copied"), 1);
	assert_true(last.flags & HSMPOOL_KEY_TOKEN);
	hsmpool_key_close(&key);
}

static void what_the_copy_encrypts_the_original_decrypts(void **state)
{
	hsmpool_key *key = generate("aes", "same-key", 0);
	uint8_t data[100], back[100];
	hsmpool_buf out = { .data = data, .cap = sizeof(data) };
	hsmpool_buf plain = { .data = back, .cap = sizeof(back) };

	(void)state;
	assert_ok(hsmpool_encrypt(pool, key, "aes-gcm", NULL, bytes_of_text("plain"),
				  &out, HSMPOOL_DEFAULT, &err),
		  &err);
	assert_int_equal(session_objects("same-key"), 1);
	hsmpool_key_close(&key);
	fixture_set(&ground, "key-copies", "none");
	keys_ground_reopen();
	key = open_label("same-key");
	assert_ok(hsmpool_decrypt(pool, key, "aes-gcm", NULL, bytes_of(data, out.len),
				  &plain, HSMPOOL_DEFAULT, &err),
		  &err);
	assert_int_equal(session_objects("same-key"), 0);
	hsmpool_key_close(&key);
	fixture_set(&ground, "key-copies", "session");
	keys_ground_reopen();
}

static void a_copy_is_as_protected_as_its_original(void **state)
{
	hsmpool_key *key = generate("aes", "protected", 0);
	CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
	CK_ATTRIBUTE protected_copy[] = {
		{ CKA_TOKEN, &no, sizeof(no) },
		{ CKA_LABEL, (void *)(uintptr_t) "protected", 9 },
		{ CKA_PRIVATE, &yes, sizeof(yes) },
		{ CKA_SENSITIVE, &yes, sizeof(yes) },
		{ CKA_EXTRACTABLE, &no, sizeof(no) },
		{ CKA_ENCRYPT, &yes, sizeof(yes) },
		{ CKA_SIGN, &no, sizeof(no) },
		{ CKA_WRAP, &no, sizeof(no) },
	};

	(void)state;
	assert_ok(encrypt_with(key), &err);
	assert_int_equal(raw_count(protected_copy, 8), 1);
	hsmpool_key_close(&key);
}

static void a_private_key_is_copied_its_public_half_is_not(void **state)
{
	hsmpool_key *key = generate("ec", "pair-copied", 0);
	uint8_t data[100];
	hsmpool_buf signature = { .data = data, .cap = sizeof(data) };

	(void)state;
	assert_ok(hsmpool_sign(pool, key, "ecdsa-sha256", bytes_of_text("m"), &signature,
			       HSMPOOL_DEFAULT, &err),
		  &err);
	assert_ok(hsmpool_verify(pool, key, "ecdsa-sha256", bytes_of_text("m"),
				 bytes_of(data, signature.len), HSMPOOL_DEFAULT, &err),
		  &err);
	assert_int_equal(session_objects("pair-copied"), 1);
	hsmpool_key_close(&key);
}

static void keys_of_one_object_share_the_copy(void **state)
{
	hsmpool_key *first = generate("aes", "shared", 0);
	hsmpool_key *second = open_label("shared");

	(void)state;
	assert_ok(encrypt_with(first), &err);
	assert_ok(encrypt_with(second), &err);
	assert_int_equal(session_objects("shared"), 1);
	hsmpool_key_close(&first);
	assert_int_equal(session_objects("shared"), 1);
	assert_ok(encrypt_with(second), &err);
	hsmpool_key_close(&second);
	assert_int_equal(session_objects("shared"), 0);
}

static void opening_and_closing_leaves_nothing_on_the_token(void **state)
{
	hsmpool_key *key = generate("aes", "many-times", 0);

	(void)state;
	hsmpool_key_close(&key);
	for (int i = 0; i < 20; i++) {
		key = open_label("many-times");
		assert_ok(encrypt_with(key), &err);
		hsmpool_key_close(&key);
	}
	assert_int_equal(session_objects("many-times"), 0);
}

static void destroying_the_key_destroys_its_copy_for_all(void **state)
{
	hsmpool_key *first = generate("aes", "destroyed", 0);
	hsmpool_key *second = open_label("destroyed");

	(void)state;
	assert_ok(encrypt_with(first), &err);
	assert_ok(encrypt_with(second), &err);
	assert_ok(hsmpool_key_destroy(first, HSMPOOL_DEFAULT, &err), &err);
	assert_int_equal(session_objects("destroyed"), 0);
	assert_status(encrypt_with(second), HSMPOOL_ERR_KEY);
	assert_status(encrypt_with(first), HSMPOOL_ERR_KEY);
	hsmpool_key_close(&first);
	hsmpool_key_close(&second);
}

/* Another program deletes the original: noticed within revalidate-interval. */
static void a_copy_does_not_outlive_its_original_for_long(void **state)
{
	hsmpool_key *key = generate("aes", "orphan", 0);
	struct timespec begun, now;
	hsmpool_status status;

	(void)state;
	assert_ok(encrypt_with(key), &err);
	raw_destroy_label("orphan");
	clock_gettime(CLOCK_MONOTONIC, &begun);
	do {
		status = encrypt_with(key);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (status == HSMPOOL_OK && now.tv_sec - begun.tv_sec < 20);
	assert_status(status, HSMPOOL_ERR_KEY);
	assert_int_equal(session_objects("orphan"), 0);
	assert_status(encrypt_with(key), HSMPOOL_ERR_KEY);
	hsmpool_key_close(&key);
}

static void a_key_that_wants_its_pin_each_time_is_not_copied(void **state)
{
	hsmpool_key *key;
	uint8_t data[100];
	hsmpool_buf signature = { .data = data, .cap = sizeof(data) };
	hsmpool_key_spec spec = { .size = sizeof(spec),
				  .type = "ec",
				  .label = "pin-each-time",
				  .always_authenticate = 1 };

	(void)state;
	assert_ok(hsmpool_key_generate(&key, pool, &spec, HSMPOOL_DEFAULT, &err), &err);
	for (int i = 0; i < 2; i++)
		assert_ok(hsmpool_sign(pool, key, "ecdsa-sha256", bytes_of_text("m"),
				       &signature, HSMPOOL_DEFAULT, &err),
			  &err);
	assert_int_equal(session_objects("pin-each-time"), 0);
	hsmpool_key_close(&key);
}

static void a_counting_key_is_not_copied(void **state)
{
	hsmpool_key *key = generate("aes", "counted", 0);

	(void)state;
	hsmpool_key_close(&key);
	assert_ok(hsmpool_config_set(ground.config, "key counted", "uri",
				     "pkcs11:object=counted", &err),
		  &err);
	assert_ok(
		hsmpool_config_set(ground.config, "key counted", "counting", "yes", &err),
		&err);
	keys_ground_reopen();
	assert_ok(hsmpool_key_open(&key, pool, "counted", HSMPOOL_DEFAULT, &err), &err);
	assert_ok(encrypt_with(key), &err);
	assert_ok(encrypt_with(key), &err);
	assert_int_equal(session_objects("counted"), 0);
	hsmpool_key_close(&key);
}

static hsmpool_key *shared_key;

static void *encrypt_many(void *failures)
{
	uint8_t data[100];
	hsmpool_error mine;

	for (int i = 0; i < 200; i++) {
		hsmpool_buf out = { .data = data, .cap = sizeof(data) };
		if (hsmpool_encrypt(pool, shared_key, "aes-gcm", NULL, bytes_of_text("p"),
				    &out, TEST_PATIENCE, &mine) != HSMPOOL_OK)
			__atomic_fetch_add((int *)failures, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void many_threads_make_one_copy(void **state)
{
	pthread_t threads[8];
	int failures = 0;

	(void)state;
	shared_key = generate("aes", "crowd", 0);
	for (int i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, encrypt_many, &failures);
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(failures, 0);
	assert_int_equal(session_objects("crowd"), 1);
	hsmpool_key_close(&shared_key);
}

/* A key may be closed after its pool. */
static void a_key_closed_late_does_no_harm(void **state)
{
	hsmpool_key *key = generate("aes", "late", 0);

	(void)state;
	assert_ok(encrypt_with(key), &err);
	hsmpool_close(&pool);
	hsmpool_key_close(&key);
	assert_null(key);
	pool = fixture_open(&ground);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_works_through_one_copy_that_no_list_shows),
		cmocka_unit_test(what_the_copy_encrypts_the_original_decrypts),
		cmocka_unit_test(a_copy_is_as_protected_as_its_original),
		cmocka_unit_test(a_private_key_is_copied_its_public_half_is_not),
		cmocka_unit_test(keys_of_one_object_share_the_copy),
		cmocka_unit_test(opening_and_closing_leaves_nothing_on_the_token),
		cmocka_unit_test(destroying_the_key_destroys_its_copy_for_all),
		cmocka_unit_test(a_copy_does_not_outlive_its_original_for_long),
		cmocka_unit_test(a_key_that_wants_its_pin_each_time_is_not_copied),
		cmocka_unit_test(a_counting_key_is_not_copied),
		cmocka_unit_test(many_threads_make_one_copy),
		cmocka_unit_test(a_key_closed_late_does_no_harm),
	};
	return cmocka_run_group_tests(tests, copies_up, keys_ground_down);
}

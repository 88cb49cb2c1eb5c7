/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys by URI and name: which ones are found, which refused, what is told of them.
 */
#include "softhsm/crypto/keys_ground.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static hsmpool_status open_uri(hsmpool_key **key, const char *uri)
{
	return hsmpool_key_open(key, pool, uri, HSMPOOL_DEFAULT, &err);
}

static void a_key_is_opened_by_label_by_id_and_by_class(void **state)
{
	static const char *const uris[] = {
		"pkcs11:object=by-label",
		"pkcs11:id=%aa%bb",
		"pkcs11:object=by-label;type=secret-key",
		"pkcs11:token=fixture;object=by-label;id=%AA%BB",
	};
	hsmpool_key *key = NULL;
	hsmpool_key_spec spec = { .size = sizeof(spec),
				  .type = "aes",
				  .label = "by-label",
				  .id = (const uint8_t *)"\xaa\xbb",
				  .id_len = 2 };

	(void)state;
	assert_ok(hsmpool_key_generate(&key, pool, &spec, HSMPOOL_DEFAULT, &err), &err);
	hsmpool_key_close(&key);
	for (size_t i = 0; i < sizeof(uris) / sizeof(*uris); i++) {
		assert_ok(open_uri(&key, uris[i]), &err);
		hsmpool_key_close(&key);
		assert_null(key);
	}
}

static void a_missing_key_is_a_key_error_that_names_it(void **state)
{
	hsmpool_key *key = (hsmpool_key *)&err;

	(void)state;
	assert_status(open_uri(&key, "pkcs11:object=nobody"), HSMPOOL_ERR_KEY);
	assert_null(key);
	assert_non_null(strstr(err.text, "nobody"));
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_NO);
}

static void a_key_of_the_wrong_class_is_not_found(void **state)
{
	hsmpool_key *made = generate("aes", "wrong-class", 0);
	hsmpool_key *key;

	(void)state;
	hsmpool_key_close(&made);
	assert_status(open_uri(&key, "pkcs11:object=wrong-class;type=private"),
		      HSMPOOL_ERR_KEY);
}

static void a_pin_or_a_module_inside_a_uri_is_refused(void **state)
{
	hsmpool_key *key;

	(void)state;
	assert_status(open_uri(&key, "pkcs11:object=a?pin-value=1234"),
		      HSMPOOL_ERR_USAGE);
	assert_null(strstr(err.text, "1234"));
	assert_status(open_uri(&key, "pkcs11:object=a?module-path=/tmp/x.so"),
		      HSMPOOL_ERR_USAGE);
	assert_status(open_uri(&key, "pkcs11:object=a?module-name=x"), HSMPOOL_ERR_USAGE);
}

static void a_key_of_another_token_is_refused(void **state)
{
	hsmpool_key *key;

	(void)state;
	assert_status(open_uri(&key, "pkcs11:token=elsewhere;object=by-label"),
		      HSMPOOL_ERR_KEY);
	assert_non_null(strstr(err.text, "token"));
}

static void what_is_neither_uri_nor_name_is_a_usage_error(void **state)
{
	hsmpool_key *key;

	(void)state;
	assert_status(open_uri(&key, "payments"), HSMPOOL_ERR_USAGE);
	assert_status(open_uri(&key, ""), HSMPOOL_ERR_USAGE);
	assert_status(open_uri(&key, NULL), HSMPOOL_ERR_USAGE);
	assert_status(open_uri(&key, "pkcs11:obj=x"), HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_key_open(NULL, pool, "x", 0, &err), HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_key_open(&key, NULL, "x", 0, &err), HSMPOOL_ERR_USAGE);
}

static void a_configured_name_opens_its_key(void **state)
{
	hsmpool_key *made = generate("aes", "behind-a-name", 0);
	hsmpool_key *key = NULL;

	(void)state;
	hsmpool_key_close(&made);
	assert_ok(hsmpool_config_set(ground.config, "key payments", "uri",
				     "pkcs11:object=behind-a-name", &err),
		  &err);
	keys_ground_reopen();
	assert_ok(open_uri(&key, "payments"), &err);
	hsmpool_key_close(&key);
}

/* L17: refuse if ambiguous. */
static void two_keys_of_one_label_are_refused_and_listed(void **state)
{
	hsmpool_key *key = generate("aes", "twins", 0);

	(void)state;
	hsmpool_key_close(&key);
	raw_generate_aes("twins", 0x77);
	assert_status(open_uri(&key, "pkcs11:object=twins"), HSMPOOL_ERR_KEY);
	assert_non_null(strstr(err.text, "several"));
	assert_non_null(strstr(err.text, "(id 77)"));
	assert_ok(open_uri(&key, "pkcs11:object=twins;id=%77"), &err);
	hsmpool_key_close(&key);
}

static void the_halves_of_a_pair_are_one_key(void **state)
{
	hsmpool_key *made = generate("ec", "pair", 0);
	hsmpool_key *key;
	hsmpool_key_info info = { .size = sizeof(info) };

	(void)state;
	hsmpool_key_close(&made);
	assert_int_equal(count_label("pair"), 2);
	key = open_label("pair");
	assert_ok(hsmpool_key_get_info(key, &info, HSMPOOL_DEFAULT, &err), &err);
	assert_string_equal(info.class_name, "private");
	hsmpool_key_close(&key);
}

static void the_private_halfs_uri_still_means_the_pair(void **state)
{
	hsmpool_key *made = generate("ec", "half", 0);
	hsmpool_key *key;
	uint8_t data[200];
	hsmpool_buf signature = { .data = data, .cap = sizeof(data) };

	(void)state;
	hsmpool_key_close(&made);
	assert_ok(open_uri(&key, "pkcs11:object=half;type=private"), &err);
	assert_ok(hsmpool_sign(pool, key, "ecdsa-sha256", bytes_of_text("m"), &signature,
			       HSMPOOL_DEFAULT, &err),
		  &err);
	assert_ok(hsmpool_verify(pool, key, "ecdsa-sha256", bytes_of_text("m"),
				 bytes_of(data, signature.len), HSMPOOL_DEFAULT, &err),
		  &err);
	hsmpool_key_close(&key);
	assert_ok(open_uri(&key, "pkcs11:object=half;type=public"), &err);
	assert_status(hsmpool_sign(pool, key, "ecdsa-sha256", bytes_of_text("m"),
				   &signature, HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_KEY);
	hsmpool_key_close(&key);
}

static void an_object_that_is_no_key_does_not_disturb(void **state)
{
	hsmpool_key *made = generate("aes", "certified", 0);
	CK_OBJECT_CLASS class = CKO_DATA;
	CK_BBOOL yes = CK_TRUE;
	CK_OBJECT_HANDLE object;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_TOKEN, &yes, sizeof(yes) },
		{ CKA_LABEL, (void *)(uintptr_t) "certified", 9 },
		{ CKA_VALUE, (void *)(uintptr_t) "value", 5 },
	};
	hsmpool_session *session;

	(void)state;
	hsmpool_key_close(&made);
	assert_ok(hsmpool_borrow(pool, &session, HSMPOOL_BORROW_READ_WRITE, "test",
				 HSMPOOL_DEFAULT, &err),
		  &err);
	CK_FUNCTION_LIST *module = hsmpool_session_functions(session);
	assert_int_equal(module->C_CreateObject(hsmpool_session_handle(session), template,
						4, &object),
			 CKR_OK);
	hsmpool_return(&session, HSMPOOL_VERDICT_CLEAN);
	made = open_label("certified");
	hsmpool_key_close(&made);
	assert_int_equal(count_label("certified"), 1);
}

/* --- facts -----------------------------------------------------------------------------
 */

static void facts_of_an_rsa_key_are_told(void **state)
{
	hsmpool_key *key = generate("rsa", "facts-rsa", 0);
	hsmpool_key_info info = { .size = sizeof(info) };

	(void)state;
	assert_ok(hsmpool_key_get_info(key, &info, HSMPOOL_DEFAULT, &err), &err);
	assert_string_equal(info.type, "rsa");
	assert_string_equal(info.label, "facts-rsa");
	assert_string_equal(info.curve, "");
	assert_int_equal(info.bits, 2048);
	assert_int_equal(info.id_len, 16);
	assert_int_equal(info.check_value_len, 0);
	hsmpool_key_close(&key);
}

static void facts_of_an_aes_key_are_told(void **state)
{
	hsmpool_key *key = generate("aes", "facts-aes", 0);
	hsmpool_key_info info = { .size = sizeof(info) };

	(void)state;
	assert_ok(hsmpool_key_get_info(key, &info, HSMPOOL_DEFAULT, &err), &err);
	assert_string_equal(info.class_name, "secret-key");
	assert_string_equal(info.type, "aes");
	assert_int_equal(info.bits, 256);
	assert_int_equal(info.check_value_len, 3);
	assert_int_equal(info.flags & (HSMPOOL_KEY_TOKEN | HSMPOOL_KEY_LOCAL |
				       HSMPOOL_KEY_CAN_ENCRYPT | HSMPOOL_KEY_CAN_SIGN),
			 HSMPOOL_KEY_TOKEN | HSMPOOL_KEY_LOCAL | HSMPOOL_KEY_CAN_ENCRYPT);
	hsmpool_key_close(&key);
}

static void facts_of_elliptic_keys_name_the_curve(void **state)
{
	hsmpool_key *ec = generate("ec", "facts-ec", 0);
	hsmpool_key *ed = generate("ed25519", "facts-ed", 0);
	hsmpool_key_info info = { .size = sizeof(info) };

	(void)state;
	assert_ok(hsmpool_key_get_info(ec, &info, HSMPOOL_DEFAULT, &err), &err);
	assert_string_equal(info.type, "ec");
	assert_string_equal(info.curve, "P-256");
	assert_int_equal(info.bits, 256);
	assert_ok(hsmpool_key_get_info(ed, &info, HSMPOOL_DEFAULT, &err), &err);
	assert_string_equal(info.type, "ed25519");
	assert_int_equal(info.bits, 255);
	hsmpool_key_close(&ec);
	hsmpool_key_close(&ed);
}

static void a_label_that_is_not_text_is_shown_with_question_marks(void **state)
{
	hsmpool_key *key = generate("aes",
				    "\xff\x01gr\xc3\xbc\xc3\x9f"
				    "e",
				    0);
	hsmpool_key_info info = { .size = sizeof(info) };

	(void)state;
	assert_ok(hsmpool_key_get_info(key, &info, HSMPOOL_DEFAULT, &err), &err);
	assert_string_equal(info.label, "??gr\xc3\xbc\xc3\x9f"
					"e");
	assert_non_null(strcasestr(info.uri, "object=%ff%01"));
	hsmpool_key_close(&key);
}

static void an_info_of_unknown_size_is_refused(void **state)
{
	hsmpool_key *key = generate("aes", "no-size", 0);
	hsmpool_key_info info = { .size = 8 };

	(void)state;
	assert_status(hsmpool_key_get_info(key, &info, HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_USAGE);
	hsmpool_key_close(&key);
}

/* --- the list ------------------------------------------------------------------- */

struct collected {
	unsigned count;
	unsigned stop_at;
	hsmpool_key_info infos[64];
};

static int collect(void *user, const hsmpool_key_info *info)
{
	struct collected *c = user;

	assert_true(c->count < 64);
	c->infos[c->count++] = *info;
	return c->count == c->stop_at;
}

static void each_listed_uri_opens_just_that_object(void **state)
{
	static struct collected c;
	hsmpool_key *key = generate("ec", "listed", 0);
	hsmpool_key_info info = { .size = sizeof(info) };

	(void)state;
	hsmpool_key_close(&key);
	assert_ok(hsmpool_key_list(pool, "pkcs11:object=listed", collect, &c,
				   HSMPOOL_DEFAULT, &err),
		  &err);
	assert_int_equal(c.count, 2);
	for (unsigned i = 0; i < c.count; i++) {
		assert_ok(open_uri(&key, c.infos[i].uri), &err);
		assert_ok(hsmpool_key_get_info(key, &info, HSMPOOL_DEFAULT, &err), &err);
		assert_string_equal(info.uri, c.infos[i].uri);
		assert_string_equal(info.class_name, c.infos[i].class_name);
		hsmpool_key_close(&key);
	}
}

static int borrow_inside(void *user, const hsmpool_key_info *info)
{
	hsmpool_session *all[16] = { 0 };

	(void)info;
	/* No session is held by the list: all of them can be had. */
	for (unsigned i = 0; i < 16; i++)
		assert_ok(hsmpool_borrow(pool, &all[i], HSMPOOL_BORROW_ANY, "test",
					 TEST_PATIENCE, &err),
			  &err);
	for (unsigned i = 0; i < 16; i++)
		hsmpool_return(&all[i], HSMPOOL_VERDICT_CLEAN);
	++*(unsigned *)user;
	return 1;
}

static void the_caller_is_called_without_a_session_and_may_stop(void **state)
{
	unsigned called = 0;
	hsmpool_key *key = generate("ec", "stopped", 0);

	(void)state;
	assert_ok(hsmpool_key_list(pool, "pkcs11:object=stopped", borrow_inside, &called,
				   HSMPOOL_DEFAULT, &err),
		  &err);
	assert_int_equal(called, 1);
	hsmpool_key_close(&key);
}

static void a_list_without_uri_has_every_key_and_no_other_object(void **state)
{
	static struct collected c;
	unsigned names = 0;

	(void)state;
	hsmpool_key *key = generate("aes", "in-the-full-list", 0);
	hsmpool_key_close(&key);
	assert_ok(hsmpool_key_list(pool, NULL, collect, &c, HSMPOOL_DEFAULT, &err), &err);
	for (unsigned i = 0; i < c.count; i++) {
		assert_true(c.infos[i].class_name[0] != '\0');
		names += strcmp(c.infos[i].label, "in-the-full-list") == 0;
	}
	assert_int_equal(names, 1);
}

static void a_list_of_another_token_is_refused(void **state)
{
	struct collected c = { 0 };

	(void)state;
	assert_status(hsmpool_key_list(pool, "pkcs11:token=elsewhere", collect, &c,
				       HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_KEY);
}

/* --- keys that change behind our back ------------------------------------------- */

static hsmpool_status encrypt_with(hsmpool_key *key)
{
	uint8_t data[100];
	hsmpool_buf out = { .data = data, .cap = sizeof(data) };

	return hsmpool_encrypt(pool, key, "aes-gcm", NULL, bytes_of_text("plain"), &out,
			       HSMPOOL_DEFAULT, &err);
}

static void a_deleted_key_is_a_key_error(void **state)
{
	hsmpool_key *key = generate("aes", "deleted", 0);

	(void)state;
	assert_ok(encrypt_with(key), &err);
	raw_destroy_label("deleted");
	assert_status(encrypt_with(key), HSMPOOL_ERR_KEY);
	assert_non_null(strstr(err.text, "deleted"));
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_NO);
	hsmpool_key_close(&key);
}

/* L17: a handle found again may name another object. */
static void another_key_under_the_old_name_is_not_used(void **state)
{
	hsmpool_key *key = open_label("in-the-full-list");

	(void)state;
	assert_ok(encrypt_with(key), &err);
	raw_destroy_label("in-the-full-list");
	raw_generate_aes("in-the-full-list", 0x01);
	assert_status(encrypt_with(key), HSMPOOL_ERR_KEY);
	assert_non_null(strstr(err.text, "another key now"));
	hsmpool_key_close(&key);
	key = open_label("in-the-full-list");
	assert_ok(encrypt_with(key), &err);
	hsmpool_key_close(&key);
}

static void a_private_key_is_not_seen_without_a_login_and_why_is_told(void **state)
{
	hsmpool_key *key = generate("aes", "behind-login", 0);
	char source[400];

	(void)state;
	hsmpool_key_close(&key);
	fixture_set(&ground, "pin-source", NULL);
	keys_ground_reopen();
	assert_status(open_uri(&key, "pkcs11:object=behind-login"), HSMPOOL_ERR_KEY);
	assert_non_null(strstr(err.text, "pin-source"));
	snprintf(source, sizeof(source), "file:%s", ground.pin_file);
	fixture_set(&ground, "pin-source", source);
	keys_ground_reopen();
	key = open_label("behind-login");
	hsmpool_key_close(&key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_is_opened_by_label_by_id_and_by_class),
		cmocka_unit_test(a_missing_key_is_a_key_error_that_names_it),
		cmocka_unit_test(a_key_of_the_wrong_class_is_not_found),
		cmocka_unit_test(a_pin_or_a_module_inside_a_uri_is_refused),
		cmocka_unit_test(a_key_of_another_token_is_refused),
		cmocka_unit_test(what_is_neither_uri_nor_name_is_a_usage_error),
		cmocka_unit_test(a_configured_name_opens_its_key),
		cmocka_unit_test(two_keys_of_one_label_are_refused_and_listed),
		cmocka_unit_test(the_halves_of_a_pair_are_one_key),
		cmocka_unit_test(the_private_halfs_uri_still_means_the_pair),
		cmocka_unit_test(an_object_that_is_no_key_does_not_disturb),
		cmocka_unit_test(facts_of_an_rsa_key_are_told),
		cmocka_unit_test(facts_of_an_aes_key_are_told),
		cmocka_unit_test(facts_of_elliptic_keys_name_the_curve),
		cmocka_unit_test(a_label_that_is_not_text_is_shown_with_question_marks),
		cmocka_unit_test(an_info_of_unknown_size_is_refused),
		cmocka_unit_test(each_listed_uri_opens_just_that_object),
		cmocka_unit_test(the_caller_is_called_without_a_session_and_may_stop),
		cmocka_unit_test(a_list_without_uri_has_every_key_and_no_other_object),
		cmocka_unit_test(a_list_of_another_token_is_refused),
		cmocka_unit_test(a_deleted_key_is_a_key_error),
		cmocka_unit_test(another_key_under_the_old_name_is_not_used),
		cmocka_unit_test(
			a_private_key_is_not_seen_without_a_login_and_why_is_told),
	};
	return cmocka_run_group_tests(tests, keys_ground_up, keys_ground_down);
}

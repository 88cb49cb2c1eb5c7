/* SPDX-License-Identifier: Apache-2.0 */
/*
 * [policy NAME] through the library on a real token: each operation is asked for before
 * the token is, with the key it works with and the key it makes or lets out.
 */
#include "crypto_ground.h"

#include <stdio.h>
#include <string.h>

static hsmpool_error err;
static hsmpool_key *payments; /* EC */
static hsmpool_key *kek;      /* AES, wraps */
static hsmpool_key *data;     /* AES, extractable */
static uint8_t room[4096];

static void open_keys(void)
{
	payments = crypto_open("pkcs11:object=payments;type=private");
	kek = crypto_open("pkcs11:object=kek");
	data = crypto_open("pkcs11:object=data");
}

static void close_keys(void)
{
	hsmpool_key_close(&payments);
	hsmpool_key_close(&kek);
	hsmpool_key_close(&data);
}

static int set_up(void **state)
{
	crypto_setup(state);
	payments = crypto_generate("ec", 0, "P-256", "payments", 0);
	kek = crypto_generate("aes", 256, NULL, "kek",
			      HSMPOOL_KEY_CAN_WRAP | HSMPOOL_KEY_CAN_UNWRAP);
	hsmpool_key_spec spec = {
		.size = sizeof(spec), .type = "aes", .label = "data", .extractable = 1
	};
	assert_ok(hsmpool_key_generate(&data, ground.pool, &spec, HSMPOOL_DEFAULT, &err),
		  &err);
	return 0;
}

static int tear_down(void **state)
{
	close_keys();
	return crypto_teardown(state);
}

/* The options of [policy p] for this test; NULL: not set. */
static void set(const char *option, const char *value)
{
	assert_ok(hsmpool_config_set(ground.fixture.config, "policy p", option, value,
				     &err),
		  &err);
}

static void open_with(const char *key, const char *functions, const char *mechanisms)
{
	set("key", key);
	set("functions", functions);
	set("mechanisms", mechanisms);
	close_keys();
	hsmpool_close(&ground.pool);
	ground.pool = fixture_open(&ground.fixture);
	open_keys();
}

static int lift(void **state)
{
	(void)state;
	set("read-only", NULL);
	set("mode", NULL);
	open_with(NULL, NULL, NULL);
	return 0;
}

/* --- operations ------------------------------------------------------------------------
 */

static hsmpool_status sign(const char *scheme)
{
	hsmpool_buf out = BUF(room);
	return hsmpool_sign(ground.pool, payments, scheme, TEXT("message"), &out,
			    HSMPOOL_DEFAULT, &err);
}

static hsmpool_status encrypt(void)
{
	hsmpool_buf out = BUF(room);
	return hsmpool_encrypt(ground.pool, data, "aes-gcm", NULL, TEXT("message"), &out,
			       HSMPOOL_DEFAULT, &err);
}

static hsmpool_status digest(void)
{
	hsmpool_buf out = BUF(room);
	return hsmpool_digest(ground.pool, "sha256", TEXT("message"), &out,
			      HSMPOOL_DEFAULT, &err);
}

static hsmpool_status draw(void)
{
	return hsmpool_random(ground.pool, room, 8, HSMPOOL_DEFAULT, &err);
}

static hsmpool_status wrap(hsmpool_buf *out)
{
	return hsmpool_key_wrap(kek, "aes-kw", data, out, HSMPOOL_DEFAULT, &err);
}

static hsmpool_status generate(const char *type, const char *label)
{
	hsmpool_key *key = NULL;
	hsmpool_key_spec spec = { .size = sizeof(spec), .type = type, .label = label };
	hsmpool_status status =
		hsmpool_key_generate(&key, ground.pool, &spec, HSMPOOL_DEFAULT, &err);
	if (status == HSMPOOL_OK)
		assert_ok(hsmpool_key_destroy(key, HSMPOOL_DEFAULT, &err), &err);
	hsmpool_key_close(&key);
	return status;
}

static hsmpool_status unwrap(hsmpool_bytes wrapped, const char *label)
{
	hsmpool_key *key = NULL;
	hsmpool_key_spec spec = { .size = sizeof(spec), .type = "aes", .label = label };
	hsmpool_status status = hsmpool_key_unwrap(&key, kek, "aes-kw", wrapped, &spec,
						   HSMPOOL_DEFAULT, &err);
	if (status == HSMPOOL_OK)
		assert_ok(hsmpool_key_destroy(key, HSMPOOL_DEFAULT, &err), &err);
	hsmpool_key_close(&key);
	return status;
}

#define allowed(call) assert_ok(call, &err)

static void denied_as(hsmpool_status status, unsigned long ck_rv)
{
	assert_status(status, HSMPOOL_ERR_DENIED);
	assert_int_equal(err.ck_rv, ck_rv);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_NO);
	if (!strstr(err.text, "[policy p]"))
		fail_msg("\"%s\" does not name the section", err.text);
}

#define denied(status) denied_as(status, CKR_KEY_FUNCTION_NOT_PERMITTED)

/* --- tests -----------------------------------------------------------------------------
 */

static void a_key_does_what_its_policy_names_and_others_are_left_alone(void **state)
{
	(void)state;
	open_with("pkcs11:object=payments", "verify", NULL);
	denied(sign("ecdsa-sha256"));
	assert_non_null(strstr(err.text, "C_Sign with key 'payments' is not allowed by "
					 "[policy p]: its functions do not include "
					 "'sign'"));
	allowed(encrypt());
	allowed(digest());
	allowed(draw());
}

static void a_refused_operation_leaves_the_session_to_others(void **state)
{
	(void)state;
	open_with("pkcs11:object=payments", "none", NULL);
	for (int i = 0; i < 40; i++) /* more than there are sessions */
		denied(sign("ecdsa-sha256"));
	hsmpool_stats stats = { .size = sizeof(stats) };
	hsmpool_get_stats(ground.pool, &stats);
	assert_int_equal(stats.used, 0);
	allowed(encrypt());
}

static void a_mechanism_that_is_not_named_is_refused(void **state)
{
	(void)state;
	open_with("pkcs11:object=payments", NULL, "CKM_RSA_PKCS");
	denied_as(sign("ecdsa-sha256"), CKR_MECHANISM_INVALID);
	assert_non_null(strstr(err.text, "its mechanisms do not include CKM_ECDSA"));
	open_with("pkcs11:object=payments", NULL, "ecdsa-sha256");
	allowed(sign("ecdsa-sha256"));
}

static void what_needs_no_key_is_for_sections_without_one(void **state)
{
	(void)state;
	open_with(NULL, "sign", "!sha256");
	denied_as(draw(), CKR_ACTION_PROHIBITED);
	denied_as(digest(), CKR_ACTION_PROHIBITED);
	allowed(sign("ecdsa-sha256"));
	open_with(NULL, NULL, "!sha256");
	denied_as(digest(), CKR_MECHANISM_INVALID);
}

static void an_operation_in_parts_is_asked_for_at_its_beginning(void **state)
{
	(void)state;
	hsmpool_multipart *parts = NULL;
	open_with("pkcs11:object=data", "decrypt", NULL);
	denied(hsmpool_multipart_begin(&parts, ground.pool, data,
				       HSMPOOL_MULTIPART_ENCRYPT, "aes-gcm", NULL,
				       HSMPOOL_DEFAULT, &err));
	assert_null(parts);
}

static void a_mac_is_verified_by_who_may_not_make_one(void **state)
{
	(void)state;
	static const uint8_t secret[32] = { 1, 2, 3 };
	hsmpool_key *mac = crypto_import_secret("generic", "mac", secret, sizeof(secret));
	hsmpool_buf out = BUF(room);
	allowed(hsmpool_mac(ground.pool, mac, "hmac-sha256", TEXT("m"), &out,
			    HSMPOOL_DEFAULT, &err));
	hsmpool_key_close(&mac);
	open_with("pkcs11:object=mac", "verify", NULL);
	mac = crypto_open("pkcs11:object=mac");
	allowed(hsmpool_mac_verify(ground.pool, mac, "hmac-sha256", TEXT("m"),
				   BYTES(out.data, out.len), HSMPOOL_DEFAULT, &err));
	denied(hsmpool_mac(ground.pool, mac, "hmac-sha256", TEXT("m"), &out,
			   HSMPOOL_DEFAULT, &err));
	hsmpool_key_close(&mac);
}

static void both_the_wrapping_and_the_wrapped_key_must_be_allowed_to(void **state)
{
	(void)state;
	hsmpool_buf out = BUF(room);
	open_with("pkcs11:object=kek", "unwrap", NULL);
	denied(wrap(&out));
	assert_non_null(strstr(err.text, "key 'kek'"));
	open_with("pkcs11:object=data", "!export", NULL);
	denied(wrap(&out));
	assert_non_null(strstr(err.text, "key 'data'"));
	assert_non_null(strstr(err.text, "'export'"));
	open_with("pkcs11:object=kek", "wrap", "aes-kw");
	allowed(wrap(&out));
}

static void a_new_key_is_known_by_the_name_it_gets(void **state)
{
	(void)state;
	open_with("pkcs11:object=reserved", "none", NULL);
	denied_as(generate("aes", "reserved"), CKR_ACTION_PROHIBITED);
	denied_as(generate("ec", "reserved"), CKR_ACTION_PROHIBITED);
	allowed(generate("aes", "free"));
	hsmpool_key *key = NULL;
	hsmpool_key_spec spec = {
		.size = sizeof(spec), .type = "aes", .bits = 128, .label = "reserved"
	};
	denied_as(hsmpool_key_import_secret(&key, ground.pool, &spec,
					    TEXT("0123456789abcdef"), HSMPOOL_DEFAULT,
					    &err),
		  CKR_ACTION_PROHIBITED);
	assert_null(key);
}

static void a_key_pair_is_known_by_its_public_half_too(void **state)
{
	(void)state;
	open_with("pkcs11:object=reserved;type=public", "none", NULL);
	denied_as(generate("ec", "reserved"), CKR_ACTION_PROHIBITED);
	allowed(generate("aes", "reserved"));
}

static void an_unwrapped_key_is_asked_for_by_its_new_name(void **state)
{
	(void)state;
	hsmpool_buf out = BUF(room);
	allowed(wrap(&out));
	uint8_t wrapped[64];
	size_t len = out.len;
	memcpy(wrapped, room, len);
	open_with("pkcs11:object=reserved", "sign", NULL);
	denied(unwrap(BYTES(wrapped, len), "reserved"));
	allowed(unwrap(BYTES(wrapped, len), "free"));
	open_with("pkcs11:object=kek", "wrap", NULL);
	denied(unwrap(BYTES(wrapped, len), "free"));
}

static void a_read_only_pool_uses_keys_and_keeps_them(void **state)
{
	(void)state;
	set("read-only", "yes");
	open_with(NULL, NULL, NULL);
	allowed(sign("ecdsa-sha256"));
	denied_as(generate("aes", "new"), CKR_ACTION_PROHIBITED);
	denied_as(hsmpool_key_destroy(data, HSMPOOL_DEFAULT, &err),
		  CKR_ACTION_PROHIBITED);
	assert_non_null(strstr(err.text, "it is read-only"));
	allowed(encrypt()); /* data is still there */
}

static void a_dry_run_does_it_all_the_same(void **state)
{
	(void)state;
	set("read-only", "yes");
	set("mode", "dry-run");
	open_with(NULL, "verify", "CKM_RSA_PKCS");
	allowed(sign("ecdsa-sha256"));
	allowed(encrypt());
	allowed(generate("aes", "new"));
}

static void a_wrong_uri_in_a_policy_keeps_the_pool_from_opening(void **state)
{
	(void)state;
	hsmpool *pool = NULL;
	set("key", "pkcs11:object=%zz");
	assert_status(
		hsmpool_open(&pool, ground.fixture.config, NULL, HSMPOOL_DEFAULT, &err),
		HSMPOOL_ERR_CONFIG);
	assert_null(pool);
	assert_non_null(strstr(err.text, "[policy p] key: URI"));
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_teardown(name, lift)
	const struct CMUnitTest tests[] = {
		TEST(a_key_does_what_its_policy_names_and_others_are_left_alone),
		TEST(a_refused_operation_leaves_the_session_to_others),
		TEST(a_mechanism_that_is_not_named_is_refused),
		TEST(what_needs_no_key_is_for_sections_without_one),
		TEST(an_operation_in_parts_is_asked_for_at_its_beginning),
		TEST(a_mac_is_verified_by_who_may_not_make_one),
		TEST(both_the_wrapping_and_the_wrapped_key_must_be_allowed_to),
		TEST(a_new_key_is_known_by_the_name_it_gets),
		TEST(a_key_pair_is_known_by_its_public_half_too),
		TEST(an_unwrapped_key_is_asked_for_by_its_new_name),
		TEST(a_read_only_pool_uses_keys_and_keeps_them),
		TEST(a_dry_run_does_it_all_the_same),
		TEST(a_wrong_uri_in_a_policy_keeps_the_pool_from_opening),
	};
	crypto_arguments(argc, argv);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys made, imported and destroyed; what comes out is checked by OpenSSL.
 */
#include "softhsm/crypto/keys_ground.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/x509.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

static hsmpool_status try_generate(const hsmpool_key_spec *spec)
{
	hsmpool_key *key = NULL;
	hsmpool_status status =
		hsmpool_key_generate(&key, pool, spec, HSMPOOL_DEFAULT, &err);

	assert_true((key != NULL) == (status == HSMPOOL_OK));
	hsmpool_key_close(&key);
	return status;
}

static hsmpool_key_info info_of(hsmpool_key *key)
{
	hsmpool_key_info info = { .size = sizeof(info) };

	assert_ok(hsmpool_key_get_info(key, &info, HSMPOOL_DEFAULT, &err), &err);
	return info;
}

/* --- generate ------------------------------------------------------------------- */

#define CAN_ANYTHING 0x7f00u

static void a_new_secret_key_has_the_safe_defaults(void **state)
{
	hsmpool_key *key = generate("aes", "defaults-aes", 0);
	hsmpool_key_info info = info_of(key);

	(void)state;
	assert_int_equal(info.flags & (HSMPOOL_KEY_TOKEN | HSMPOOL_KEY_PRIVATE |
				       HSMPOOL_KEY_SENSITIVE | HSMPOOL_KEY_EXTRACTABLE |
				       HSMPOOL_KEY_NEVER_EXTRACTABLE),
			 HSMPOOL_KEY_TOKEN | HSMPOOL_KEY_PRIVATE | HSMPOOL_KEY_SENSITIVE |
				 HSMPOOL_KEY_NEVER_EXTRACTABLE);
	assert_int_equal(info.flags & CAN_ANYTHING,
			 HSMPOOL_KEY_CAN_ENCRYPT | HSMPOOL_KEY_CAN_DECRYPT);
	hsmpool_key_close(&key);
}

static void a_new_pair_has_the_safe_defaults(void **state)
{
	hsmpool_key *key = generate("rsa", "defaults-rsa", 0);
	hsmpool_key_info info = info_of(key);

	(void)state;
	assert_int_equal(info.flags & (HSMPOOL_KEY_PRIVATE | HSMPOOL_KEY_SENSITIVE |
				       HSMPOOL_KEY_EXTRACTABLE | CAN_ANYTHING),
			 HSMPOOL_KEY_PRIVATE | HSMPOOL_KEY_SENSITIVE |
				 HSMPOOL_KEY_CAN_SIGN);
	hsmpool_key_close(&key);
	assert_ok(hsmpool_key_open(&key, pool, "pkcs11:object=defaults-rsa;type=public",
				   HSMPOOL_DEFAULT, &err),
		  &err);
	info = info_of(key);
	assert_int_equal(info.flags &
				 (HSMPOOL_KEY_TOKEN | HSMPOOL_KEY_PRIVATE | CAN_ANYTHING),
			 HSMPOOL_KEY_TOKEN | HSMPOOL_KEY_CAN_VERIFY);
	hsmpool_key_close(&key);
}

static void usage_is_shared_out_between_the_halves(void **state)
{
	hsmpool_key *key = generate("rsa", "usage-rsa",
				    HSMPOOL_KEY_CAN_DECRYPT | HSMPOOL_KEY_CAN_UNWRAP);

	(void)state;
	assert_int_equal(info_of(key).flags & CAN_ANYTHING,
			 HSMPOOL_KEY_CAN_DECRYPT | HSMPOOL_KEY_CAN_UNWRAP);
	hsmpool_key_close(&key);
	assert_ok(hsmpool_key_open(&key, pool, "pkcs11:object=usage-rsa;type=public",
				   HSMPOOL_DEFAULT, &err),
		  &err);
	assert_int_equal(info_of(key).flags & CAN_ANYTHING,
			 HSMPOOL_KEY_CAN_ENCRYPT | HSMPOOL_KEY_CAN_WRAP);
	hsmpool_key_close(&key);
}

static void every_type_and_curve_can_be_generated(void **state)
{
	static const struct {
		const char *type, *curve, *scheme;
		uint32_t bits, expected_bits;
	} table[] = {
		{ "aes", NULL, NULL, 128, 128 },
		{ "aes", NULL, NULL, 192, 192 },
		{ "generic", NULL, NULL, 512, 512 },
		{ "rsa", NULL, "rsa-pss-sha256", 2048, 2048 },
		{ "ec", "P-256", "ecdsa-sha256", 0, 256 },
		{ "ec", "P-384", "ecdsa-sha384", 384, 384 },
		{ "ec", "P-521", "ecdsa-sha512", 0, 521 },
		{ "ed25519", NULL, "ed25519", 0, 255 },
	};

	(void)state;
	for (size_t i = 0; i < LEN(table); i++) {
		hsmpool_key *key;
		char label[40];
		uint8_t data[600];
		hsmpool_buf signature = { .data = data, .cap = sizeof(data) };
		hsmpool_key_spec spec = { .size = sizeof(spec),
					  .type = table[i].type,
					  .curve = table[i].curve,
					  .bits = table[i].bits,
					  .label = label };

		snprintf(label, sizeof(label), "type-%zu", i);
		assert_ok(hsmpool_key_generate(&key, pool, &spec, HSMPOOL_DEFAULT, &err),
			  &err);
		assert_int_equal(info_of(key).bits, table[i].expected_bits);
		if (table[i].scheme)
			assert_ok(hsmpool_sign(pool, key, table[i].scheme,
					       bytes_of_text("message"), &signature,
					       HSMPOOL_DEFAULT, &err),
				  &err);
		hsmpool_key_close(&key);
	}
}

static void a_signature_of_a_new_key_verifies_in_openssl(void **state)
{
	static const char *const schemes[][2] = { { "ec", "ecdsa-sha256" },
						  { "rsa", "rsa-pkcs1-sha256" },
						  { "ed25519", "ed25519" } };

	(void)state;
	for (size_t i = 0; i < LEN(schemes); i++) {
		char label[40];
		uint8_t data[600];
		hsmpool_buf signature = { .data = data, .cap = sizeof(data) };

		snprintf(label, sizeof(label), "openssl-%zu", i);
		hsmpool_key *key = generate(schemes[i][0], label, 0);
		assert_ok(hsmpool_sign(pool, key, schemes[i][1], bytes_of_text("message"),
				       &signature, HSMPOOL_DEFAULT, &err),
			  &err);
		EVP_PKEY *public_key = public_of(key);
		EVP_MD_CTX *ctx = EVP_MD_CTX_new();
		const EVP_MD *hash = i == 2 ? NULL : EVP_sha256();
		assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, hash, NULL, public_key),
				 1);
		assert_int_equal(EVP_DigestVerify(ctx, data, signature.len,
						  (const uint8_t *)"message", 7),
				 1);
		EVP_MD_CTX_free(ctx);
		EVP_PKEY_free(public_key);
		hsmpool_key_close(&key);
	}
}

static void a_key_that_wants_its_pin_at_each_use_works(void **state)
{
	hsmpool_key *key;
	uint8_t data[200];
	hsmpool_buf signature = { .data = data, .cap = sizeof(data) };
	hsmpool_key_spec spec = { .size = sizeof(spec),
				  .type = "ec",
				  .label = "each-use",
				  .always_authenticate = 1 };

	(void)state;
	assert_ok(hsmpool_key_generate(&key, pool, &spec, HSMPOOL_DEFAULT, &err), &err);
	assert_true(info_of(key).flags & HSMPOOL_KEY_ALWAYS_AUTHENTICATE);
	for (int i = 0; i < 2; i++)
		assert_ok(hsmpool_sign(pool, key, "ecdsa-sha256", bytes_of_text("m"),
				       &signature, HSMPOOL_DEFAULT, &err),
			  &err);
	hsmpool_key_close(&key);
}

static void a_taken_label_is_refused_and_nothing_made(void **state)
{
	hsmpool_key *key = generate("aes", "taken", 0);
	hsmpool_key_spec spec = { .size = sizeof(spec), .type = "ec", .label = "taken" };

	(void)state;
	assert_status(try_generate(&spec), HSMPOOL_ERR_EXISTS);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_NO);
	assert_int_equal(count_label("taken"), 1);
	hsmpool_key_close(&key);
}

static void a_taken_id_is_refused_and_nothing_made(void **state)
{
	hsmpool_key_spec spec = { .size = sizeof(spec),
				  .type = "aes",
				  .label = "first-of-id",
				  .id = (const uint8_t *)"\x42",
				  .id_len = 1 };

	(void)state;
	assert_ok(try_generate(&spec), &err);
	spec.label = "second-of-id";
	assert_status(try_generate(&spec), HSMPOOL_ERR_EXISTS);
	assert_int_equal(count_label("second-of-id"), 0);
}

static void *generate_contended(void *count)
{
	hsmpool_error mine;
	hsmpool_key *key = NULL;
	hsmpool_key_spec spec = { .size = sizeof(spec),
				  .type = "aes",
				  .label = "contended" };
	hsmpool_status status =
		hsmpool_key_generate(&key, pool, &spec, TEST_PATIENCE, &mine);

	if (status == HSMPOOL_OK)
		__atomic_fetch_add((int *)count, 1, __ATOMIC_RELAXED);
	hsmpool_key_close(&key);
	return NULL;
}

static void of_many_threads_one_makes_the_key(void **state)
{
	pthread_t threads[8];
	int made = 0;

	(void)state;
	for (size_t i = 0; i < LEN(threads); i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, generate_contended, &made), 0);
	for (size_t i = 0; i < LEN(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(made, 1);
	assert_int_equal(count_label("contended"), 1);
}

static void a_spec_that_does_not_fit_together_is_a_usage_error(void **state)
{
	static const uint8_t id[65];
	static char long_label[200];
	const size_t size = sizeof(hsmpool_key_spec);
	const hsmpool_key_spec table[] = {
		{ .size = 8, .type = "aes" },
		{ .size = size },
		{ .size = size, .type = "des" },
		{ .size = size, .type = "aes", .bits = 100 },
		{ .size = size, .type = "aes", .curve = "P-256" },
		{ .size = size, .type = "rsa", .bits = 1024 },
		{ .size = size, .type = "rsa", .bits = 2049 },
		{ .size = size, .type = "rsa", .usage = HSMPOOL_KEY_CAN_DERIVE },
		{ .size = size, .type = "ec", .curve = "P-257" },
		{ .size = size, .type = "ec", .bits = 384 },
		{ .size = size, .type = "ec", .usage = HSMPOOL_KEY_CAN_DECRYPT },
		{ .size = size, .type = "ed25519", .curve = "P-256" },
		{ .size = size, .type = "generic", .usage = HSMPOOL_KEY_CAN_ENCRYPT },
		{ .size = size, .type = "aes", .usage = HSMPOOL_KEY_TOKEN },
		{ .size = size, .type = "aes", .always_authenticate = 1 },
		{ .size = size, .type = "aes", .id = id, .id_len = 0 },
		{ .size = size, .type = "aes", .id = id, .id_len = 65 },
		{ .size = size, .type = "aes", .label = long_label },
	};

	(void)state;
	memset(long_label, 'x', sizeof(long_label) - 1);
	for (size_t i = 0; i < LEN(table); i++)
		if (try_generate(&table[i]) != HSMPOOL_ERR_USAGE)
			fail_msg("line %zu: %s", i, err.text);
	assert_status(hsmpool_key_generate(NULL, pool, &table[0], 0, &err),
		      HSMPOOL_ERR_USAGE);
}

/* --- import --------------------------------------------------------------------- */

static EVP_PKEY *make_openssl_key(const char *type, const char *group)
{
	EVP_PKEY *key = strcmp(type, "RSA") == 0 ? EVP_RSA_gen(2048)
			: strcmp(type, "EC") == 0
				? EVP_EC_gen(group)
				: EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	assert_non_null(key);
	return key;
}

static size_t der_of(EVP_PKEY *key, uint8_t *der, size_t cap)
{
	int len = i2d_PUBKEY(key, NULL);

	assert_true(len > 0 && (size_t)len <= cap);
	i2d_PUBKEY(key, &der);
	return (size_t)len;
}

static void an_imported_public_key_comes_out_as_it_went_in(void **state)
{
	static const char *const table[][2] = { { "RSA", NULL },
						{ "EC", "P-256" },
						{ "EC", "P-384" },
						{ "EC", "P-521" },
						{ "ED25519", NULL } };

	(void)state;
	for (size_t i = 0; i < LEN(table); i++) {
		char label[40];
		uint8_t der[1000];
		hsmpool_key *key;
		EVP_PKEY *original = make_openssl_key(table[i][0], table[i][1]);
		size_t len = der_of(original, der, sizeof(der));
		hsmpool_key_spec spec = { .size = sizeof(spec), .label = label };

		snprintf(label, sizeof(label), "imported-%zu", i);
		assert_ok(hsmpool_key_import_public(&key, pool, &spec, bytes_of(der, len),
						    HSMPOOL_DEFAULT, &err),
			  &err);
		assert_string_equal(info_of(key).class_name, "public");
		assert_int_equal(info_of(key).flags & CAN_ANYTHING,
				 HSMPOOL_KEY_CAN_VERIFY);
		EVP_PKEY *back = public_of(key);
		assert_int_equal(EVP_PKEY_eq(original, back), 1);
		EVP_PKEY_free(back);
		EVP_PKEY_free(original);
		hsmpool_key_close(&key);
	}
}

static void an_imported_public_key_verifies_openssls_signature(void **state)
{
	EVP_PKEY *original = make_openssl_key("EC", "P-256");
	uint8_t der[200], signature[200];
	size_t signature_len = sizeof(signature);
	size_t len = der_of(original, der, sizeof(der));
	hsmpool_key *key;
	hsmpool_key_spec spec = { .size = sizeof(spec), .label = "verifier" };
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	(void)state;
	assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, original), 1);
	assert_int_equal(EVP_DigestSign(ctx, signature, &signature_len,
					(const uint8_t *)"message", 7),
			 1);
	assert_ok(hsmpool_key_import_public(&key, pool, &spec, bytes_of(der, len),
					    HSMPOOL_DEFAULT, &err),
		  &err);
	assert_ok(hsmpool_verify(pool, key, "ecdsa-sha256", bytes_of_text("message"),
				 bytes_of(signature, signature_len), HSMPOOL_DEFAULT,
				 &err),
		  &err);
	assert_status(hsmpool_verify(pool, key, "ecdsa-sha256", bytes_of_text("massage"),
				     bytes_of(signature, signature_len), HSMPOOL_DEFAULT,
				     &err),
		      HSMPOOL_ERR_DATA);
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(original);
	hsmpool_key_close(&key);
}

static void what_is_no_public_key_is_not_imported(void **state)
{
	EVP_PKEY *original = make_openssl_key("EC", "P-256");
	uint8_t der[201];
	size_t len = der_of(original, der, sizeof(der) - 1);
	hsmpool_key *key;
	hsmpool_key_spec spec = { .size = sizeof(spec), .label = "not-imported" };

	(void)state;
	const hsmpool_bytes bad[] = {
		{ NULL, 0 },
		bytes_of_text(
			"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
		bytes_of(der, len - 1),
		bytes_of(der, len + 1),
	};
	for (size_t i = 0; i < LEN(bad); i++)
		assert_status(hsmpool_key_import_public(&key, pool, &spec, bad[i],
							HSMPOOL_DEFAULT, &err),
			      HSMPOOL_ERR_DATA);
	spec.type = "rsa";
	assert_status(hsmpool_key_import_public(&key, pool, &spec, bytes_of(der, len),
						HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_USAGE);
	assert_null(key);
	assert_int_equal(count_label("not-imported"), 0);
	EVP_PKEY_free(original);
}

static void an_imported_secret_makes_openssls_mac(void **state)
{
	static const uint8_t secret[32] = "0123456789abcdef0123456789abcde";
	uint8_t mac[32], expected[32];
	unsigned expected_len;
	hsmpool_buf out = { .data = mac, .cap = sizeof(mac) };
	hsmpool_key *key = import_secret("generic", "hmac",
					 bytes_of(secret, sizeof(secret)), 0, false);

	(void)state;
	assert_ok(hsmpool_mac(pool, key, "hmac-sha256", bytes_of_text("message"), &out,
			      HSMPOOL_DEFAULT, &err),
		  &err);
	HMAC(EVP_sha256(), secret, sizeof(secret), (const uint8_t *)"message", 7,
	     expected, &expected_len);
	assert_int_equal(out.len, expected_len);
	assert_memory_equal(mac, expected, expected_len);
	hsmpool_key_close(&key);
}

static void an_imported_secret_is_protected_but_not_local(void **state)
{
	hsmpool_key *key = import_secret("aes", "foreign",
					 bytes_of("0123456789abcdef", 16), 0, false);
	uint32_t flags = info_of(key).flags;

	(void)state;
	assert_true(flags & HSMPOOL_KEY_SENSITIVE);
	assert_false(flags & HSMPOOL_KEY_EXTRACTABLE);
	assert_false(flags & HSMPOOL_KEY_NEVER_EXTRACTABLE);
	assert_false(flags & HSMPOOL_KEY_LOCAL);
	hsmpool_key_close(&key);
}

static void a_secret_of_a_wrong_length_is_a_usage_error(void **state)
{
	hsmpool_key *key;
	hsmpool_key_spec spec = { .size = sizeof(spec), .type = "aes", .label = "short" };

	(void)state;
	assert_status(hsmpool_key_import_secret(&key, pool, &spec, bytes_of("short", 5),
						HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_key_import_secret(&key, pool, &spec, bytes_of(NULL, 0),
						HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_USAGE);
	spec.bits = 256;
	assert_status(hsmpool_key_import_secret(&key, pool, &spec,
						bytes_of("0123456789abcdef", 16),
						HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_USAGE);
	spec.type = "rsa";
	assert_status(hsmpool_key_import_secret(&key, pool, &spec,
						bytes_of("0123456789abcdef", 16),
						HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_USAGE);
	assert_int_equal(count_label("short"), 0);
}

/* --- export and destroy --------------------------------------------------------- */

static void a_secret_key_has_nothing_to_export(void **state)
{
	hsmpool_key *key = generate("aes", "unexportable", 0);
	uint8_t data[100];
	hsmpool_buf pem = { .data = data, .cap = sizeof(data) };

	(void)state;
	assert_status(hsmpool_key_export_public(key, &pem, HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_KEY);
	hsmpool_key_close(&key);
}

static void export_says_how_much_room_it_needs(void **state)
{
	hsmpool_key *key = generate("ec", "room", 0);
	uint8_t data[1000];
	hsmpool_buf pem = { .data = NULL };

	(void)state;
	assert_status(hsmpool_key_export_public(key, &pem, HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_SPACE);
	assert_in_range(pem.len, 150, 300);
	pem = (hsmpool_buf){ .data = data, .cap = pem.len };
	assert_ok(hsmpool_key_export_public(key, &pem, HSMPOOL_DEFAULT, &err), &err);
	assert_int_equal(strlen((char *)data), pem.len);
	hsmpool_key_close(&key);
}

static void an_rsa_private_key_alone_still_shows_its_public_half(void **state)
{
	hsmpool_key *pair = generate("rsa", "lonely", 0);
	hsmpool_key *half;
	EVP_PKEY *before = public_of(pair);

	(void)state;
	assert_ok(hsmpool_key_open(&half, pool, "pkcs11:object=lonely;type=public",
				   HSMPOOL_DEFAULT, &err),
		  &err);
	assert_ok(hsmpool_key_destroy(half, HSMPOOL_DEFAULT, &err), &err);
	hsmpool_key_close(&half);
	hsmpool_key_close(&pair);
	assert_int_equal(count_label("lonely"), 1);
	assert_string_equal(last.class_name, "private");
	pair = open_label("lonely");
	EVP_PKEY *after = public_of(pair);
	assert_int_equal(EVP_PKEY_eq(before, after), 1);
	EVP_PKEY_free(before);
	EVP_PKEY_free(after);
	hsmpool_key_close(&pair);
}

static void destroy_takes_both_halves(void **state)
{
	hsmpool_key *key = generate("ec", "doomed", 0);

	(void)state;
	assert_int_equal(count_label("doomed"), 2);
	assert_ok(hsmpool_key_destroy(key, HSMPOOL_DEFAULT, &err), &err);
	assert_int_equal(count_label("doomed"), 0);
	assert_status(hsmpool_key_destroy(key, HSMPOOL_DEFAULT, &err), HSMPOOL_ERR_KEY);
	hsmpool_key_close(&key);
}

static void a_destroyed_key_is_not_usable(void **state)
{
	hsmpool_key *key = generate("aes", "dead", 0);
	uint8_t data[100];
	hsmpool_buf out = { .data = data, .cap = sizeof(data) };

	(void)state;
	assert_ok(hsmpool_encrypt(pool, key, "aes-gcm", NULL, bytes_of_text("m"), &out,
				  HSMPOOL_DEFAULT, &err),
		  &err);
	assert_ok(hsmpool_key_destroy(key, HSMPOOL_DEFAULT, &err), &err);
	assert_status(hsmpool_encrypt(pool, key, "aes-gcm", NULL, bytes_of_text("m"),
				      &out, HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_KEY);
	hsmpool_key_close(&key);
}

static void destroy_spares_another_key_that_took_the_name(void **state)
{
	hsmpool_key *key = generate("aes", "successor", 0);
	uint8_t data[100];
	hsmpool_buf out = { .data = data, .cap = sizeof(data) };

	(void)state;
	assert_ok(hsmpool_encrypt(pool, key, "aes-gcm", NULL, bytes_of_text("m"), &out,
				  HSMPOOL_DEFAULT, &err),
		  &err);
	raw_destroy_label("successor");
	raw_generate_aes("successor", 0x99);
	assert_status(hsmpool_key_destroy(key, HSMPOOL_DEFAULT, &err), HSMPOOL_ERR_KEY);
	assert_int_equal(count_label("successor"), 1);
	hsmpool_key_close(&key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_secret_key_has_the_safe_defaults),
		cmocka_unit_test(a_new_pair_has_the_safe_defaults),
		cmocka_unit_test(usage_is_shared_out_between_the_halves),
		cmocka_unit_test(every_type_and_curve_can_be_generated),
		cmocka_unit_test(a_signature_of_a_new_key_verifies_in_openssl),
		cmocka_unit_test(a_key_that_wants_its_pin_at_each_use_works),
		cmocka_unit_test(a_taken_label_is_refused_and_nothing_made),
		cmocka_unit_test(a_taken_id_is_refused_and_nothing_made),
		cmocka_unit_test(of_many_threads_one_makes_the_key),
		cmocka_unit_test(a_spec_that_does_not_fit_together_is_a_usage_error),
		cmocka_unit_test(an_imported_public_key_comes_out_as_it_went_in),
		cmocka_unit_test(an_imported_public_key_verifies_openssls_signature),
		cmocka_unit_test(what_is_no_public_key_is_not_imported),
		cmocka_unit_test(an_imported_secret_makes_openssls_mac),
		cmocka_unit_test(an_imported_secret_is_protected_but_not_local),
		cmocka_unit_test(a_secret_of_a_wrong_length_is_a_usage_error),
		cmocka_unit_test(a_secret_key_has_nothing_to_export),
		cmocka_unit_test(export_says_how_much_room_it_needs),
		cmocka_unit_test(an_rsa_private_key_alone_still_shows_its_public_half),
		cmocka_unit_test(destroy_takes_both_halves),
		cmocka_unit_test(a_destroyed_key_is_not_usable),
		cmocka_unit_test(destroy_spares_another_key_that_took_the_name),
	};
	return cmocka_run_group_tests(tests, keys_ground_up, keys_ground_down);
}

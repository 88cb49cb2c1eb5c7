/* SPDX-License-Identifier: Apache-2.0 */
/* MACs, digests and random numbers of SoftHSM2 against OpenSSL: crypto/mac.c, digest.c.
 */
#include "crypto_ground.h"

#include <openssl/core_names.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAC_MAX 64

static uint8_t secret[64];
static hsmpool_key *hmac_key; /* 64 bytes: as long as the longest digest */
static hsmpool_key *aes;      /* the first 32 of them */

static const struct {
	const char *scheme;
	const char *mac;
	const char *parameter; /* OpenSSL: digest or cipher */
	size_t size;
} macs[] = {
	{ "hmac-sha1", "HMAC", "SHA1", 20 },
	{ "hmac-sha224", "HMAC", "SHA224", 28 },
	{ "hmac-sha256", "HMAC", "SHA256", 32 },
	{ "hmac-sha384", "HMAC", "SHA384", 48 },
	{ "hmac-sha512", "HMAC", "SHA512", 64 },
	{ "aes-cmac", "CMAC", "AES-256-CBC", 16 },
};
#define MACS (sizeof(macs) / sizeof(macs[0]))

static const size_t lengths[] = { 0, 1, 15, 16, 17, 63, 64, 65, 127, 128, 129, 1 << 20 };
#define LENGTHS (sizeof(lengths) / sizeof(lengths[0]))

static hsmpool_key *key_of(size_t m)
{
	return strcmp(macs[m].mac, "CMAC") == 0 ? aes : hmac_key;
}

static void openssl_mac(size_t m, hsmpool_bytes message, uint8_t out[MAC_MAX])
{
	bool is_cmac = strcmp(macs[m].mac, "CMAC") == 0;
	size_t len;
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(is_cmac ? OSSL_MAC_PARAM_CIPHER
							 : OSSL_MAC_PARAM_DIGEST,
						 (char *)(uintptr_t)macs[m].parameter, 0),
		OSSL_PARAM_construct_end(),
	};
	assert_non_null(EVP_Q_mac(NULL, macs[m].mac, NULL, NULL, params, secret,
				  is_cmac ? 32 : sizeof(secret), message.data,
				  message.len, out, MAC_MAX, &len));
	assert_int_equal(len, macs[m].size);
}

static hsmpool_status mac(size_t m, hsmpool_bytes message, hsmpool_buf *out,
			  hsmpool_error *err)
{
	return hsmpool_mac(ground.pool, key_of(m), macs[m].scheme, message, out,
			   HSMPOOL_DEFAULT, err);
}

static hsmpool_status verify(size_t m, hsmpool_bytes message, hsmpool_bytes made,
			     hsmpool_error *err)
{
	return hsmpool_mac_verify(ground.pool, key_of(m), macs[m].scheme, message, made,
				  HSMPOOL_DEFAULT, err);
}

static void macs_are_those_of_openssl_at_every_size(void **state)
{
	(void)state;
	hsmpool_error err;
	for (size_t m = 0; m < MACS; m++)
		for (size_t i = 0; i < LENGTHS; i++) {
			uint8_t *text = crypto_pattern(lengths[i], 7);
			uint8_t made[MAC_MAX], expected[MAC_MAX];
			hsmpool_buf out = BUF(made);
			hsmpool_bytes message = BYTES(text, lengths[i]);
			assert_ok(mac(m, message, &out, &err), &err);
			assert_int_equal(out.len, macs[m].size);
			openssl_mac(m, message, expected);
			assert_memory_equal(made, expected, out.len);
			assert_ok(verify(m, message, BYTES(made, out.len), &err), &err);
			free(text);
		}
}

static void a_changed_mac_does_not_verify(void **state)
{
	(void)state;
	hsmpool_error err, first;
	for (size_t m = 0; m < MACS; m++) {
		uint8_t made[MAC_MAX + 1] = { 0 };
		openssl_mac(m, TEXT("message"), made);
		for (size_t bit = 0; bit < macs[m].size * 8; bit++) {
			made[bit / 8] ^= (uint8_t)(1u << bit % 8);
			assert_status(verify(m, TEXT("message"),
					     BYTES(made, macs[m].size), &err),
				      HSMPOOL_ERR_DATA);
			made[bit / 8] ^= (uint8_t)(1u << bit % 8);
			if (m == 0 && bit == 0)
				first = err;
		}
		assert_status(verify(m, TEXT("massage"), BYTES(made, macs[m].size), &err),
			      HSMPOOL_ERR_DATA);
		for (size_t len = 0; len <= macs[m].size + 1; len++)
			if (len != macs[m].size)
				assert_status(verify(m, TEXT("message"), BYTES(made, len),
						     &err),
					      HSMPOOL_ERR_DATA);
		if (key_of(m) == hmac_key)
			assert_string_equal(err.text, first.text);
	}
}

static void a_mac_needs_the_room_it_says(void **state)
{
	(void)state;
	hsmpool_error err;
	for (size_t m = 0; m < MACS; m++) {
		uint8_t made[MAC_MAX + 1];
		hsmpool_buf out = { NULL, 0, 0 };
		assert_status(mac(m, TEXT("m"), &out, &err), HSMPOOL_ERR_SPACE);
		assert_int_equal(out.len, macs[m].size);
		memset(made, 0xee, sizeof(made));
		out = (hsmpool_buf){ made, macs[m].size - 1, 0 };
		assert_status(mac(m, TEXT("m"), &out, &err), HSMPOOL_ERR_SPACE);
		assert_int_equal(made[0], 0xee);
		out = (hsmpool_buf){ made, macs[m].size, 0 };
		assert_ok(mac(m, TEXT("m"), &out, &err), &err);
		assert_int_equal(made[macs[m].size], 0xee);
	}
}

static void a_key_of_another_type_is_a_key_error(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t made[MAC_MAX];
	hsmpool_buf out = BUF(made);
	assert_status(hsmpool_mac(ground.pool, aes, "hmac-sha256", TEXT("m"), &out,
				  HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_KEY);
	assert_status(hsmpool_mac_verify(ground.pool, hmac_key, "aes-cmac", TEXT("m"),
					 BYTES(made, 16), HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_KEY);
	assert_status(hsmpool_mac(ground.pool, aes, "ecdsa-sha256", TEXT("m"), &out,
				  HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_USAGE);
}

/* Who may check but not make MACs can check; who may make them only, too. */
static void keys_with_one_usage_only_verify(void **state)
{
	(void)state;
	hsmpool_error err;
	static const uint32_t usages[] = { HSMPOOL_KEY_CAN_VERIFY, HSMPOOL_KEY_CAN_SIGN };
	for (size_t i = 0; i < 2; i++) {
		hsmpool_key *key;
		uint8_t made[MAC_MAX];
		hsmpool_key_spec spec = { .size = sizeof(spec),
					  .type = "generic",
					  .bits = 512,
					  .usage = usages[i],
					  .label = i ? "makes-only" : "checks-only" };
		assert_ok(hsmpool_key_import_secret(&key, ground.pool, &spec,
						    BYTES(secret, sizeof(secret)),
						    HSMPOOL_DEFAULT, &err),
			  &err);
		openssl_mac(2, TEXT("message"), made);
		assert_ok(hsmpool_mac_verify(ground.pool, key, "hmac-sha256",
					     TEXT("message"), BYTES(made, 32),
					     HSMPOOL_DEFAULT, &err),
			  &err);
		made[31] ^= 1;
		assert_status(hsmpool_mac_verify(ground.pool, key, "hmac-sha256",
						 TEXT("message"), BYTES(made, 32),
						 HSMPOOL_DEFAULT, &err),
			      HSMPOOL_ERR_DATA);
		hsmpool_key_close(&key);
	}
}

static void digests_are_those_of_openssl_at_every_size(void **state)
{
	(void)state;
	hsmpool_error err;
	static const char *const schemes[] = { "sha1", "sha224", "sha256", "sha384",
					       "sha512" };
	for (size_t s = 0; s < 5; s++)
		for (size_t i = 0; i < LENGTHS; i++) {
			uint8_t *text = crypto_pattern(lengths[i], 8);
			uint8_t made[64], expected[64];
			unsigned len;
			hsmpool_buf out = BUF(made);
			assert_ok(hsmpool_digest(ground.pool, schemes[s],
						 BYTES(text, lengths[i]), &out,
						 HSMPOOL_DEFAULT, &err),
				  &err);
			EVP_Digest(text, lengths[i], expected, &len,
				   EVP_get_digestbyname(schemes[s]), NULL);
			assert_int_equal(out.len, len);
			assert_memory_equal(made, expected, len);
			free(text);
		}
}

static void a_digest_needs_the_room_it_says(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t made[31];
	hsmpool_buf out = BUF(made);
	assert_status(hsmpool_digest(ground.pool, "sha256", TEXT("m"), &out,
				     HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_SPACE);
	assert_int_equal(out.len, 32);
}

static void random_numbers_fill_what_was_asked_and_no_more(void **state)
{
	(void)state;
	hsmpool_error err;
	static const size_t asked[] = { 1, 32, 4095, 4096, 4097, 100000 };
	assert_ok(hsmpool_random(ground.pool, NULL, 0, HSMPOOL_DEFAULT, &err), &err);
	assert_status(hsmpool_random(ground.pool, NULL, 1, HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_USAGE);
	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		uint8_t *a = calloc(1, asked[i] + 1), *b = calloc(1, asked[i] + 1);
		assert_ok(hsmpool_random(ground.pool, a, asked[i], HSMPOOL_DEFAULT, &err),
			  &err);
		assert_ok(hsmpool_random(ground.pool, b, asked[i], HSMPOOL_DEFAULT, &err),
			  &err);
		assert_int_equal(a[asked[i]], 0);
		for (size_t at = 0; at + 16 <= asked[i]; at += 16)
			assert_memory_not_equal(a + at, b + at, 16);
		free(a);
		free(b);
	}
}

static int make_keys(void **state)
{
	crypto_setup(state);
	for (size_t i = 0; i < sizeof(secret); i++)
		secret[i] = (uint8_t)(i * 5 + 3);
	hmac_key = crypto_import_secret("generic", "hmac", secret, sizeof(secret));
	aes = crypto_import_secret("aes", "aes", secret, 32);
	return 0;
}

static int close_keys(void **state)
{
	hsmpool_key_close(&hmac_key);
	hsmpool_key_close(&aes);
	return crypto_teardown(state);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(macs_are_those_of_openssl_at_every_size),
		cmocka_unit_test(a_changed_mac_does_not_verify),
		cmocka_unit_test(a_mac_needs_the_room_it_says),
		cmocka_unit_test(a_key_of_another_type_is_a_key_error),
		cmocka_unit_test(keys_with_one_usage_only_verify),
		cmocka_unit_test(digests_are_those_of_openssl_at_every_size),
		cmocka_unit_test(a_digest_needs_the_room_it_says),
		cmocka_unit_test(random_numbers_fill_what_was_asked_and_no_more),
	};
	crypto_arguments(argc, argv);
	return cmocka_run_group_tests(tests, make_keys, close_keys);
}

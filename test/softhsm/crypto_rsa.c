/* SPDX-License-Identifier: Apache-2.0 */
/* RSA encryption on SoftHSM2, in the token and offloaded: both must answer alike. */
#include "crypto_ground.h"

#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#define MODULUS 256

static hsmpool_key *own; /* generated in the token */
static EVP_PKEY *own_public;
static EVP_PKEY *foreign;     /* made by OpenSSL ... */
static hsmpool_key *imported; /* ... its public half on the token */
static hsmpool_key *ec;

static const char *const paddings[] = { "rsa-oaep-sha1", "rsa-pkcs1" };

static hsmpool_status encrypt(hsmpool_key *key, const char *scheme, hsmpool_bytes plain,
			      hsmpool_buf *out, hsmpool_error *err)
{
	return hsmpool_encrypt(ground.pool, key, scheme, NULL, plain, out,
			       HSMPOOL_DEFAULT, err);
}

static hsmpool_status decrypt(hsmpool_key *key, const char *scheme, hsmpool_bytes sealed,
			      hsmpool_buf *out, hsmpool_error *err)
{
	return hsmpool_decrypt(ground.pool, key, scheme, NULL, sealed, out,
			       HSMPOOL_DEFAULT, err);
}

static EVP_PKEY_CTX *openssl_begin(EVP_PKEY *pkey, const char *scheme, bool encrypts)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
	assert_true((encrypts ? EVP_PKEY_encrypt_init(ctx) : EVP_PKEY_decrypt_init(ctx)) >
		    0);
	assert_true(EVP_PKEY_CTX_set_rsa_padding(ctx, strcmp(scheme, "rsa-pkcs1") == 0
							      ? RSA_PKCS1_PADDING
							      : RSA_PKCS1_OAEP_PADDING) >
		    0);
	return ctx;
}

static size_t room(const char *scheme)
{
	return strcmp(scheme, "rsa-pkcs1") == 0 ? MODULUS - 11 : MODULUS - 42;
}

static void openssl_opens_what_the_public_key_on_the_token_encrypts(void **state)
{
	(void)state;
	hsmpool_error err;
	for (size_t p = 0; p < 2; p++) {
		const size_t lengths[] = { 0, 1, 32, room(paddings[p]) };
		for (size_t i = 0; i < 4; i++) {
			uint8_t *plain = crypto_pattern(lengths[i], 3);
			uint8_t sealed[MODULUS], back[MODULUS];
			hsmpool_buf out = BUF(sealed);
			assert_ok(encrypt(imported, paddings[p], BYTES(plain, lengths[i]),
					  &out, &err),
				  &err);
			assert_int_equal(out.len, MODULUS);
			size_t len = sizeof(back);
			EVP_PKEY_CTX *ctx = openssl_begin(foreign, paddings[p], false);
			assert_true(EVP_PKEY_decrypt(ctx, back, &len, sealed, out.len) >
				    0);
			EVP_PKEY_CTX_free(ctx);
			assert_int_equal(len, lengths[i]);
			assert_memory_equal(back, plain, len);
			free(plain);
		}
	}
}

static void the_token_opens_what_openssl_encrypts(void **state)
{
	(void)state;
	hsmpool_error err;
	for (size_t p = 0; p < 2; p++) {
		const size_t lengths[] = { 0, 1, 32, room(paddings[p]) };
		for (size_t i = 0; i < 4; i++) {
			uint8_t *plain = crypto_pattern(lengths[i], 4);
			uint8_t sealed[MODULUS], back[MODULUS];
			size_t len = sizeof(sealed);
			EVP_PKEY_CTX *ctx = openssl_begin(own_public, paddings[p], true);
			assert_true(EVP_PKEY_encrypt(ctx, sealed, &len, plain,
						     lengths[i]) > 0);
			EVP_PKEY_CTX_free(ctx);
			hsmpool_buf out = { back, lengths[i], 0 }; /* exactly */
			assert_ok(
				decrypt(own, paddings[p], BYTES(sealed, len), &out, &err),
				&err);
			assert_int_equal(out.len, lengths[i]);
			assert_memory_equal(back, plain, out.len);
			free(plain);
		}
	}
}

static void a_message_too_long_for_the_modulus_is_refused(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t sealed[MODULUS], *plain = crypto_pattern(MODULUS, 5);
	for (size_t p = 0; p < 2; p++) {
		hsmpool_buf out = BUF(sealed);
		assert_status(encrypt(own, paddings[p],
				      BYTES(plain, room(paddings[p]) + 1), &out, &err),
			      HSMPOOL_ERR_USAGE);
	}
	free(plain);
}

static void encryption_needs_room_for_the_modulus(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t sealed[MODULUS];
	hsmpool_buf out = { NULL, 0, 0 };
	assert_status(encrypt(own, "rsa-pkcs1", TEXT("x"), &out, &err),
		      HSMPOOL_ERR_SPACE);
	assert_int_equal(out.len, MODULUS);
	out = (hsmpool_buf){ sealed, MODULUS - 1, 0 };
	assert_status(encrypt(own, "rsa-pkcs1", TEXT("x"), &out, &err),
		      HSMPOOL_ERR_SPACE);
	assert_int_equal(out.len, MODULUS);
}

/* PKCS #1 v1.5 alone: one bad padding in 2^17 is a good one, of another text; all are
 * where OpenSSL rejects implicitly. */
static bool looks_good_by_chance(size_t padding, size_t change, const hsmpool_buf *plain)
{
	return strcmp(paddings[padding], "rsa-pkcs1") == 0 && change < MODULUS &&
	       (plain->len != 6 || memcmp(plain->data, "secret", 6) != 0);
}

/* All bad ciphertexts look alike: no Bleichenbacher's oracle in status or text. */
static void bad_ciphertexts_of_any_kind_get_one_answer(void **state)
{
	(void)state;
	hsmpool_error err, first = { 0 };
	uint8_t sealed[MODULUS + 1], back[MODULUS], untouched[MODULUS] = { 0 };
	for (size_t p = 0; p < 2; p++) {
		hsmpool_buf out = { sealed, MODULUS, 0 };
		assert_ok(encrypt(own, paddings[p], TEXT("secret"), &out, &err), &err);
		for (size_t i = 0; i < MODULUS + 4; i++) {
			size_t len = MODULUS;
			uint8_t kept[MODULUS + 1];
			memcpy(kept, sealed, sizeof(kept));
			if (i < MODULUS)
				sealed[i] ^= (uint8_t)(1u << i % 8);
			else if (i == MODULUS)
				len = MODULUS - 1;
			else if (i == MODULUS + 1)
				len = MODULUS + 1;
			else if (i == MODULUS + 2)
				len = 0;
			else
				memset(sealed, 0xff, MODULUS); /* above the modulus */
			memset(back, 0, sizeof(back));
			hsmpool_buf plain = BUF(back);
			hsmpool_status status = decrypt(own, paddings[p],
							BYTES(sealed, len), &plain, &err);
			memcpy(sealed, kept, sizeof(kept));
			if (status == HSMPOOL_OK && looks_good_by_chance(p, i, &plain))
				continue;
			assert_status(status, HSMPOOL_ERR_DATA);
			assert_memory_equal(back, untouched, sizeof(back));
			assert_int_equal(err.ck_rv, 0);
			if (first.text[0] == '\0')
				first = err;
			assert_string_equal(err.text, first.text);
		}
	}
}

/* SoftHSM2 has OAEP with SHA-1 and no label only; what it could not decrypt is not
 * encrypted for it either. */
static void oaep_that_the_token_lacks_is_unsupported_both_ways(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t sealed[MODULUS], back[MODULUS];
	hsmpool_buf out = BUF(sealed), plain = BUF(back);
	hsmpool_params label = { .size = sizeof(label), .oaep_label = TEXT("label") };
	for (int round = 0; round < 2; round++) {
		assert_status(encrypt(own, "rsa-oaep-sha256", TEXT("x"), &out, &err),
			      HSMPOOL_ERR_UNSUPPORTED);
		assert_non_null(strstr(err.text, "use rsa-oaep-sha1"));
		assert_status(hsmpool_encrypt(ground.pool, own, "rsa-oaep-sha1", &label,
					      TEXT("x"), &out, HSMPOOL_DEFAULT, &err),
			      HSMPOOL_ERR_UNSUPPORTED);
		memset(sealed, 1, sizeof(sealed));
		assert_status(decrypt(own, "rsa-oaep-sha512", BYTES(sealed, MODULUS),
				      &plain, &err),
			      HSMPOOL_ERR_UNSUPPORTED);
	}
}

static void keys_of_another_kind_are_key_errors(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t sealed[MODULUS], back[MODULUS];
	hsmpool_buf out = BUF(sealed), plain = BUF(back);
	assert_status(encrypt(ec, "rsa-pkcs1", TEXT("x"), &out, &err), HSMPOOL_ERR_KEY);
	memset(sealed, 1, sizeof(sealed));
	assert_status(decrypt(ec, "rsa-pkcs1", BYTES(sealed, MODULUS), &plain, &err),
		      HSMPOOL_ERR_KEY);
	assert_status(
		decrypt(imported, "rsa-pkcs1", BYTES(sealed, MODULUS), &plain, &err),
		HSMPOOL_ERR_KEY);
}

/* --- the ground ------------------------------------------------------------------ */

static int make_keys(void **state)
{
	const uint32_t usage = HSMPOOL_KEY_CAN_ENCRYPT | HSMPOOL_KEY_CAN_DECRYPT;
	crypto_setup(state);
	own = crypto_generate("rsa", 8 * MODULUS, NULL, "own", usage);
	own_public = crypto_public_of(own);
	foreign = EVP_RSA_gen(8 * MODULUS);
	imported = crypto_import_public(foreign, "imported");
	ec = crypto_generate("ec", 0, "P-256", "ec", 0);
	return 0;
}

static int drop_keys(void **state)
{
	hsmpool_key_close(&own);
	hsmpool_key_close(&imported);
	hsmpool_key_close(&ec);
	EVP_PKEY_free(own_public);
	EVP_PKEY_free(foreign);
	return crypto_teardown(state);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(openssl_opens_what_the_public_key_on_the_token_encrypts),
		cmocka_unit_test(the_token_opens_what_openssl_encrypts),
		cmocka_unit_test(a_message_too_long_for_the_modulus_is_refused),
		cmocka_unit_test(encryption_needs_room_for_the_modulus),
		cmocka_unit_test(bad_ciphertexts_of_any_kind_get_one_answer),
		cmocka_unit_test(oaep_that_the_token_lacks_is_unsupported_both_ways),
		cmocka_unit_test(keys_of_another_kind_are_key_errors),
	};
	crypto_arguments(argc, argv);
	return cmocka_run_group_tests(tests, make_keys, drop_keys);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures on SoftHSM2, verified in the token and offloaded, with OpenSSL as the
 * other side: crypto/sign.c, signing.c, offload.c. */
#include "crypto_ground.h"

#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#define SIGNATURE_MAX 512

/* SoftHSM2 2.6.1 leaks the point of an Ed25519 key at each C_SignInit. A leak with the
 * module on the stack, and nothing else, is forgiven; to see it there the sanitizer has
 * to unwind the whole stack. */
#define FOR_SANITIZER __attribute__((visibility("default")))
FOR_SANITIZER const char *__asan_default_options(void);
FOR_SANITIZER const char *__lsan_default_suppressions(void);

const char *__asan_default_options(void)
{
	return "fast_unwind_on_malloc=0";
}

const char *__lsan_default_suppressions(void)
{
	return "leak:libsofthsm2.so\n";
}

/* One key of the token, and one of OpenSSL's with its public half on the token. */
struct pair {
	const char *type;
	const char *curve;
	hsmpool_key *own;
	EVP_PKEY *own_public;
	EVP_PKEY *foreign;
	hsmpool_key *imported;
	size_t longest; /* signature: DER where there is a choice */
};
static struct pair pairs[] = {
	{ .type = "rsa", .longest = 256 },
	{ .type = "ec", .curve = "P-256", .longest = 72 },
	{ .type = "ec", .curve = "P-384", .longest = 104 },
	{ .type = "ec", .curve = "P-521", .longest = 139 },
	{ .type = "ed25519", .longest = 64 },
};
#define PAIRS (sizeof(pairs) / sizeof(pairs[0]))

static const char *const rsa_schemes[] = {
	"rsa-pkcs1-sha1",
	"rsa-pkcs1-sha224",
	"rsa-pkcs1-sha256",
	"rsa-pkcs1-sha384",
	"rsa-pkcs1-sha512",
	"rsa-pss-sha1",
	"rsa-pss-sha224",
	"rsa-pss-sha256",
	"rsa-pss-sha384",
	"rsa-pss-sha512",
	NULL,
};
static const char *const ec_schemes[] = {
	"ecdsa-sha1",   "ecdsa-sha224", "ecdsa-sha256",
	"ecdsa-sha384", "ecdsa-sha512", NULL,
};
static const char *const ed_schemes[] = { "ed25519", NULL };

static const char *const *schemes_of(const struct pair *pair)
{
	if (strcmp(pair->type, "rsa") == 0)
		return rsa_schemes;
	return strcmp(pair->type, "ec") == 0 ? ec_schemes : ed_schemes;
}

static hsmpool_status sign(hsmpool_key *key, const char *scheme, hsmpool_bytes message,
			   hsmpool_buf *signature, hsmpool_error *err)
{
	return hsmpool_sign(ground.pool, key, scheme, message, signature, HSMPOOL_DEFAULT,
			    err);
}

static hsmpool_status verify(hsmpool_key *key, const char *scheme, hsmpool_bytes message,
			     hsmpool_bytes signature, hsmpool_error *err)
{
	return hsmpool_verify(ground.pool, key, scheme, message, signature,
			      HSMPOOL_DEFAULT, err);
}

static void openssl_verifies_what_the_token_signs(void **state)
{
	(void)state;
	hsmpool_error err;
	static const size_t lengths[] = { 0, 1, 63, 64, 65, 70000 };
	for (size_t p = 0; p < PAIRS; p++)
		for (const char *const *scheme = schemes_of(&pairs[p]); *scheme; scheme++)
			for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]);
			     i++) {
				uint8_t *text = crypto_pattern(lengths[i], 6);
				uint8_t made[SIGNATURE_MAX];
				hsmpool_bytes message = BYTES(text, lengths[i]);
				hsmpool_buf out = BUF(made);
				assert_ok(
					sign(pairs[p].own, *scheme, message, &out, &err),
					&err);
				hsmpool_bytes signature = BYTES(made, out.len);
				assert_true(openssl_verifies(pairs[p].own_public, *scheme,
							     message, signature));
				assert_ok(verify(pairs[p].own, *scheme, message,
						 signature, &err),
					  &err);
				free(text);
			}
}

static void the_token_verifies_what_openssl_signs(void **state)
{
	(void)state;
	hsmpool_error err;
	for (size_t p = 0; p < PAIRS; p++)
		for (const char *const *scheme = schemes_of(&pairs[p]); *scheme;
		     scheme++) {
			uint8_t made[SIGNATURE_MAX];
			size_t len = openssl_sign(pairs[p].foreign, *scheme,
						  TEXT("message"), made, sizeof(made));
			hsmpool_bytes signature = BYTES(made, len);
			assert_ok(verify(pairs[p].imported, *scheme, TEXT("message"),
					 signature, &err),
				  &err);
			assert_status(verify(pairs[p].imported, *scheme, TEXT("massage"),
					     signature, &err),
				      HSMPOOL_ERR_DATA);
			assert_status(verify(pairs[p].own, *scheme, TEXT("message"),
					     signature, &err),
				      HSMPOOL_ERR_DATA);
		}
}

/* Flip bits over the whole signature: one answer, one text. */
static void a_changed_signature_does_not_verify(void **state)
{
	(void)state;
	hsmpool_error err, first;
	for (size_t p = 0; p < PAIRS; p++) {
		const char *scheme = schemes_of(&pairs[p])[0];
		uint8_t made[SIGNATURE_MAX];
		hsmpool_buf out = BUF(made);
		assert_ok(sign(pairs[p].own, scheme, TEXT("message"), &out, &err), &err);
		for (size_t bit = 0; bit < out.len * 8; bit += p == 0 ? 13 : 1) {
			made[bit / 8] ^= (uint8_t)(1u << bit % 8);
			assert_status(verify(pairs[p].own, scheme, TEXT("message"),
					     BYTES(made, out.len), &err),
				      HSMPOOL_ERR_DATA);
			made[bit / 8] ^= (uint8_t)(1u << bit % 8);
			if (bit == 0)
				first = err;
			assert_string_equal(err.text, first.text);
			assert_int_equal(err.ck_rv, 0);
		}
		for (size_t len = 0; len < out.len; len += p == 0 ? 17 : 1)
			assert_status(verify(pairs[p].own, scheme, TEXT("message"),
					     BYTES(made, len), &err),
				      HSMPOOL_ERR_DATA);
		assert_status(verify(pairs[p].own, scheme, TEXT("message"),
				     BYTES(made, out.len + 1), &err),
			      HSMPOOL_ERR_DATA);
	}
}

static void a_signature_under_another_scheme_does_not_verify(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t made[SIGNATURE_MAX];
	hsmpool_buf out = BUF(made);
	assert_ok(sign(pairs[0].own, "rsa-pss-sha256", TEXT("m"), &out, &err), &err);
	hsmpool_bytes signature = BYTES(made, out.len);
	assert_status(
		verify(pairs[0].own, "rsa-pkcs1-sha256", TEXT("m"), signature, &err),
		HSMPOOL_ERR_DATA);
	assert_status(verify(pairs[0].own, "rsa-pss-sha384", TEXT("m"), signature, &err),
		      HSMPOOL_ERR_DATA);
	assert_status(verify(pairs[0].own, "rsa-pss-sha256:salt=20", TEXT("m"), signature,
			     &err),
		      HSMPOOL_ERR_DATA);
}

static void a_digest_made_elsewhere_is_signed_like_its_message(void **state)
{
	(void)state;
	hsmpool_error err;
	for (size_t p = 0; p < PAIRS - 1; p++)
		for (const char *const *scheme = schemes_of(&pairs[p]); *scheme;
		     scheme++) {
			uint8_t made[SIGNATURE_MAX], digest[64];
			char of_digest[40];
			unsigned len;
			hsmpool_buf out = BUF(made);
			snprintf(of_digest, sizeof(of_digest), "%s:digest", *scheme);
			const EVP_MD *md =
				EVP_get_digestbyname(strrchr(*scheme, '-') + 1);
			assert_int_equal(EVP_Digest("message", 7, digest, &len, md, NULL),
					 1);
			assert_ok(sign(pairs[p].own, of_digest, BYTES(digest, len), &out,
				       &err),
				  &err);
			assert_ok(verify(pairs[p].own, *scheme, TEXT("message"),
					 BYTES(made, out.len), &err),
				  &err);
			assert_ok(verify(pairs[p].own, of_digest, BYTES(digest, len),
					 BYTES(made, out.len), &err),
				  &err);
			assert_status(sign(pairs[p].own, of_digest,
					   BYTES(digest, len - 1), &out, &err),
				      HSMPOOL_ERR_USAGE);
			assert_status(verify(pairs[p].own, of_digest, TEXT("message"),
					     BYTES(made, out.len), &err),
				      HSMPOOL_ERR_USAGE);
		}
}

static void raw_ecdsa_is_the_two_numbers(void **state)
{
	(void)state;
	hsmpool_error err;
	static const size_t halves[] = { 0, 32, 48, 66 };
	for (size_t p = 1; p < 4; p++) {
		uint8_t made[SIGNATURE_MAX], *der = NULL;
		hsmpool_buf out = BUF(made);
		assert_ok(sign(pairs[p].own, "ecdsa-sha256:raw", TEXT("message"), &out,
			       &err),
			  &err);
		assert_int_equal(out.len, 2 * halves[p]);
		assert_ok(verify(pairs[p].own, "ecdsa-sha256:raw", TEXT("message"),
				 BYTES(made, out.len), &err),
			  &err);
		assert_status(verify(pairs[p].own, "ecdsa-sha256", TEXT("message"),
				     BYTES(made, out.len), &err),
			      HSMPOOL_ERR_DATA);
		ECDSA_SIG *sig = ECDSA_SIG_new();
		ECDSA_SIG_set0(sig, BN_bin2bn(made, (int)halves[p], NULL),
			       BN_bin2bn(made + halves[p], (int)halves[p], NULL));
		int len = i2d_ECDSA_SIG(sig, &der);
		assert_true(openssl_verifies(pairs[p].own_public, "ecdsa-sha256",
					     TEXT("message"), BYTES(der, (size_t)len)));
		OPENSSL_free(der);
		ECDSA_SIG_free(sig);
	}
}

static void the_salt_of_pss_is_as_long_as_asked(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t made[SIGNATURE_MAX];
	hsmpool_buf out = BUF(made);
	assert_ok(sign(pairs[0].own, "rsa-pss-sha256:salt=0", TEXT("m"), &out, &err),
		  &err);
	assert_ok(verify(pairs[0].own, "rsa-pss-sha256:salt=0", TEXT("m"),
			 BYTES(made, out.len), &err),
		  &err);
	assert_status(verify(pairs[0].own, "rsa-pss-sha256", TEXT("m"),
			     BYTES(made, out.len), &err),
		      HSMPOOL_ERR_DATA);
	assert_ok(sign(pairs[0].own, "rsa-pss-sha256:salt=222", TEXT("m"), &out, &err),
		  &err);
	assert_status(
		sign(pairs[0].own, "rsa-pss-sha256:salt=223", TEXT("m"), &out, &err),
		HSMPOOL_ERR_USAGE);
	assert_status(verify(pairs[0].own, "rsa-pss-sha256:salt=223", TEXT("m"),
			     BYTES(made, out.len), &err),
		      HSMPOOL_ERR_USAGE);
}

static void signing_needs_the_room_it_says_and_no_more(void **state)
{
	(void)state;
	hsmpool_error err;
	for (size_t p = 0; p < PAIRS; p++) {
		const char *scheme = schemes_of(&pairs[p])[0];
		uint8_t made[SIGNATURE_MAX];
		hsmpool_buf out = { NULL, 0, 0 };
		assert_status(sign(pairs[p].own, scheme, TEXT("m"), &out, &err),
			      HSMPOOL_ERR_SPACE);
		assert_int_equal(out.len, pairs[p].longest);
		memset(made, 0xee, sizeof(made));
		out = (hsmpool_buf){ made, pairs[p].longest - 1, 0 };
		assert_status(sign(pairs[p].own, scheme, TEXT("m"), &out, &err),
			      HSMPOOL_ERR_SPACE);
		assert_int_equal(err.executed, HSMPOOL_EXECUTED_NO);
		assert_int_equal(out.len, pairs[p].longest);
		assert_int_equal(made[0], 0xee);
		out = (hsmpool_buf){ made, pairs[p].longest, 0 };
		assert_ok(sign(pairs[p].own, scheme, TEXT("m"), &out, &err), &err);
		assert_int_equal(made[pairs[p].longest], 0xee);
	}
}

static void a_key_of_another_type_is_a_key_error(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t made[SIGNATURE_MAX];
	for (size_t p = 0; p < PAIRS; p++)
		for (size_t q = 0; q < PAIRS; q++) {
			const char *scheme = schemes_of(&pairs[q])[0];
			if (schemes_of(&pairs[p]) == schemes_of(&pairs[q]))
				continue;
			hsmpool_buf out = BUF(made);
			assert_status(sign(pairs[p].own, scheme, TEXT("m"), &out, &err),
				      HSMPOOL_ERR_KEY);
			assert_status(verify(pairs[p].own, scheme, TEXT("m"),
					     BYTES(made, 64), &err),
				      HSMPOOL_ERR_KEY);
		}
}

static void a_public_key_alone_does_not_sign(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t made[SIGNATURE_MAX];
	hsmpool_buf out = BUF(made);
	assert_status(sign(pairs[0].imported, "rsa-pkcs1-sha256", TEXT("m"), &out, &err),
		      HSMPOOL_ERR_KEY);
}

/* CKA_ALWAYS_AUTHENTICATE: the PIN is given again within the borrow. */
static void a_key_that_wants_its_pin_each_time_signs(void **state)
{
	(void)state;
	hsmpool_error err;
	hsmpool_key *key;
	uint8_t made[SIGNATURE_MAX];
	hsmpool_key_spec spec = { .size = sizeof(spec),
				  .type = "ec",
				  .curve = "P-256",
				  .always_authenticate = 1 };
	char label[32];
	snprintf(label, sizeof(label), "each-time-%p", (void *)ground.pool);
	spec.label = label;
	assert_ok(hsmpool_key_generate(&key, ground.pool, &spec, HSMPOOL_DEFAULT, &err),
		  &err);
	for (int i = 0; i < 3; i++) {
		hsmpool_buf out = BUF(made);
		assert_ok(sign(key, "ecdsa-sha256", TEXT("m"), &out, &err), &err);
		assert_ok(verify(key, "ecdsa-sha256", TEXT("m"), BYTES(made, out.len),
				 &err),
			  &err);
	}
	assert_ok(hsmpool_key_destroy(key, HSMPOOL_DEFAULT, &err), &err);
	hsmpool_key_close(&key);
}

/* They may be a TLS connection's. What SoftHSM2 does to them is its own affair, so
 * nothing here calls it after the first verification. */
static void errors_of_openssl_stay_the_programs(void **state)
{
	(void)state;
	hsmpool_error err;
	hsmpool_key_spec spec = { .size = sizeof(spec), .label = "junk" };
	hsmpool_key *none;
	uint8_t made[SIGNATURE_MAX], secret[66];
	hsmpool_buf out = BUF(made), room = BUF(secret);
	crypto_reopen("offload-public", "yes");
	hsmpool_key *key = crypto_open("pkcs11:object=own0");
	assert_ok(sign(key, "rsa-pkcs1-sha256", TEXT("m"), &out, &err), &err);
	hsmpool_bytes signature = BYTES(made, out.len);
	assert_ok(verify(key, "rsa-pkcs1-sha256", TEXT("m"), signature, &err), &err);

	ERR_clear_error();
	ERR_raise(ERR_LIB_USER, 42);
	assert_status(verify(key, "rsa-pkcs1-sha256", TEXT("x"), signature, &err),
		      HSMPOOL_ERR_DATA);
	assert_status(verify(key, "rsa-pss-sha256", TEXT("m"), signature, &err),
		      HSMPOOL_ERR_DATA);
	assert_status(hsmpool_key_import_public(&none, ground.pool, &spec, TEXT("junk"),
						HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_DATA);
	assert_status(hsmpool_derive_secret(ground.pool, key, TEXT("\4junk"), &room,
					    HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_DATA);
	assert_int_equal(ERR_GET_REASON(ERR_get_error()), 42);
	assert_int_equal(ERR_get_error(), 0);
	hsmpool_key_close(&key);
}

/* --- the ground ------------------------------------------------------------------ */

static EVP_PKEY *make_foreign(const struct pair *pair)
{
	if (strcmp(pair->type, "rsa") == 0)
		return EVP_RSA_gen(2048);
	if (strcmp(pair->type, "ec") == 0)
		return EVP_EC_gen(pair->curve);
	return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
}

static void label_of(size_t p, const char *kind, char label[16])
{
	snprintf(label, 16, "%s%zu", kind, p);
}

static int make_keys(void **state)
{
	crypto_setup(state);
	for (size_t p = 0; p < PAIRS; p++) {
		struct pair *pair = &pairs[p];
		char label[16];
		label_of(p, "own", label);
		pair->own = crypto_generate(pair->type, p == 0 ? 2048 : 0, pair->curve,
					    label, 0);
		pair->own_public = crypto_public_of(pair->own);
		pair->foreign = make_foreign(pair);
		label_of(p, "imported", label);
		pair->imported = crypto_import_public(pair->foreign, label);
	}
	return 0;
}

static int drop_keys(void **state)
{
	for (size_t p = 0; p < PAIRS; p++) {
		hsmpool_key_close(&pairs[p].own);
		hsmpool_key_close(&pairs[p].imported);
	}
	for (size_t p = 0; p < PAIRS; p++) {
		EVP_PKEY_free(pairs[p].own_public);
		EVP_PKEY_free(pairs[p].foreign);
	}
	return crypto_teardown(state);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(openssl_verifies_what_the_token_signs),
		cmocka_unit_test(the_token_verifies_what_openssl_signs),
		cmocka_unit_test(a_changed_signature_does_not_verify),
		cmocka_unit_test(a_signature_under_another_scheme_does_not_verify),
		cmocka_unit_test(a_digest_made_elsewhere_is_signed_like_its_message),
		cmocka_unit_test(raw_ecdsa_is_the_two_numbers),
		cmocka_unit_test(the_salt_of_pss_is_as_long_as_asked),
		cmocka_unit_test(a_key_of_another_type_is_a_key_error),
		cmocka_unit_test(a_key_that_wants_its_pin_each_time_signs),
		cmocka_unit_test(signing_needs_the_room_it_says_and_no_more),
		cmocka_unit_test(a_public_key_alone_does_not_sign),
		cmocka_unit_test(errors_of_openssl_stay_the_programs),
	};
	crypto_arguments(argc, argv);
	return cmocka_run_group_tests(tests, make_keys, drop_keys);
}

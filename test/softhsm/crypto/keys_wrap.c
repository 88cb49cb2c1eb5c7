/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys wrapped, unwrapped and derived, against OpenSSL's AES-KW and ECDH.
 */
#include "softhsm/crypto/keys_ground.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))
#define WRAPS      (HSMPOOL_KEY_CAN_WRAP | HSMPOOL_KEY_CAN_UNWRAP)

static const uint8_t kek_bytes[32] = "this is the key encryption key!";
static const uint8_t secret_bytes[32] = "this is the secret in the parcel";

static hsmpool_key *kek(const char *label)
{
	return import_secret("aes", label, bytes_of(kek_bytes, 32), WRAPS, false);
}

static hsmpool_key *parcel(const char *label)
{
	return import_secret("generic", label, bytes_of(secret_bytes, 32), 0, true);
}

/* The MAC of a fixed message: the same for keys of the same bytes. */
static void assert_key_is(hsmpool_key *key, const uint8_t *secret, size_t len)
{
	uint8_t mac[32], expected[32];
	hsmpool_buf out = { .data = mac, .cap = sizeof(mac) };

	assert_ok(hsmpool_mac(pool, key, "hmac-sha256", bytes_of_text("m"), &out,
			      HSMPOOL_DEFAULT, &err),
		  &err);
	HMAC(EVP_sha256(), secret, (int)len, (const uint8_t *)"m", 1, expected, NULL);
	assert_memory_equal(mac, expected, 32);
}

static size_t unwrap_in_openssl(const char *cipher_name, const uint8_t *wrapped,
				size_t len, uint8_t *out)
{
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, cipher_name, NULL);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int out_len = 0;

	assert_non_null(cipher);
	EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
	assert_int_equal(EVP_DecryptInit_ex2(ctx, cipher, kek_bytes, NULL, NULL), 1);
	assert_int_equal(EVP_DecryptUpdate(ctx, out, &out_len, wrapped, (int)len), 1);
	EVP_CIPHER_CTX_free(ctx);
	EVP_CIPHER_free(cipher);
	return (size_t)out_len;
}

/* --- AES ------------------------------------------------------------------------ */

static void openssl_unwraps_what_aes_kw_wrapped(void **state)
{
	hsmpool_key *wrapping = kek("kek-kw");
	hsmpool_key *key = parcel("parcel-kw");
	uint8_t data[100], plain[100];
	hsmpool_buf wrapped = { .data = data, .cap = sizeof(data) };

	(void)state;
	assert_ok(hsmpool_key_wrap(wrapping, "aes-kw", key, &wrapped, HSMPOOL_DEFAULT,
				   &err),
		  &err);
	assert_int_equal(wrapped.len, 40);
	assert_int_equal(unwrap_in_openssl("AES-256-WRAP", data, wrapped.len, plain), 32);
	assert_memory_equal(plain, secret_bytes, 32);
	hsmpool_key_close(&wrapping);
	hsmpool_key_close(&key);
}

/* Of a key whose length is no multiple of 8 SoftHSM2 2.6.1 wraps zeros at its end too. */
static void openssl_unwraps_what_aes_kwp_wrapped(void **state)
{
	hsmpool_key *wrapping = kek("kek-kwp");
	hsmpool_key *key = import_secret("generic", "parcel-kwp",
					 bytes_of(secret_bytes, 24), 0, true);
	uint8_t data[100], plain[100];
	hsmpool_buf wrapped = { .data = data, .cap = sizeof(data) };

	(void)state;
	assert_ok(hsmpool_key_wrap(wrapping, "aes-kwp", key, &wrapped, HSMPOOL_DEFAULT,
				   &err),
		  &err);
	assert_int_equal(unwrap_in_openssl("AES-256-WRAP-PAD", data, wrapped.len, plain),
			 24);
	assert_memory_equal(plain, secret_bytes, 24);
	hsmpool_key_close(&wrapping);
	hsmpool_key_close(&key);
}

static void a_key_comes_back_from_each_scheme(void **state)
{
	static const char *const schemes[] = { "aes-kw", "aes-kwp", "rsa-oaep-sha1",
					       "rsa-pkcs1" };
	hsmpool_key *aes = kek("kek-back");
	hsmpool_key *rsa = generate("rsa", "rsa-back", HSMPOOL_KEY_CAN_UNWRAP);
	hsmpool_key *key = parcel("parcel-back");

	(void)state;
	for (size_t i = 0; i < LEN(schemes); i++) {
		hsmpool_key *wrapping = i < 2 ? aes : rsa;
		hsmpool_key *back;
		uint8_t data[600];
		char label[40];
		hsmpool_key_info info = { .size = sizeof(info) };
		hsmpool_buf wrapped = { .data = data, .cap = sizeof(data) };
		hsmpool_key_spec spec = { .size = sizeof(spec),
					  .type = "generic",
					  .label = label };

		snprintf(label, sizeof(label), "back-%zu", i);
		assert_ok(hsmpool_key_wrap(wrapping, schemes[i], key, &wrapped,
					   HSMPOOL_DEFAULT, &err),
			  &err);
		assert_ok(hsmpool_key_unwrap(&back, wrapping, schemes[i],
					     bytes_of(data, wrapped.len), &spec,
					     HSMPOOL_DEFAULT, &err),
			  &err);
		assert_key_is(back, secret_bytes, 32);
		assert_ok(hsmpool_key_get_info(back, &info, HSMPOOL_DEFAULT, &err), &err);
		assert_true(info.flags & HSMPOOL_KEY_SENSITIVE);
		assert_false(info.flags & HSMPOOL_KEY_EXTRACTABLE);
		hsmpool_key_close(&back);
	}
	hsmpool_key_close(&aes);
	hsmpool_key_close(&rsa);
	hsmpool_key_close(&key);
}

static void a_private_key_travels_under_aes_kwp(void **state)
{
	hsmpool_key *wrapping = kek("kek-private");
	hsmpool_key *key, *back;
	uint8_t data[3000], signed_data[300];
	hsmpool_buf wrapped = { .data = data, .cap = sizeof(data) };
	hsmpool_buf signature = { .data = signed_data, .cap = sizeof(signed_data) };
	hsmpool_key_spec spec = { .size = sizeof(spec),
				  .type = "rsa",
				  .bits = 2048,
				  .label = "traveller",
				  .extractable = 1 };

	(void)state;
	assert_ok(hsmpool_key_generate(&key, pool, &spec, HSMPOOL_DEFAULT, &err), &err);
	assert_ok(hsmpool_key_wrap(wrapping, "aes-kwp", key, &wrapped, HSMPOOL_DEFAULT,
				   &err),
		  &err);
	spec.label = "arrived";
	assert_ok(hsmpool_key_unwrap(&back, wrapping, "aes-kwp",
				     bytes_of(data, wrapped.len), &spec, HSMPOOL_DEFAULT,
				     &err),
		  &err);
	assert_ok(hsmpool_sign(pool, back, "rsa-pkcs1-sha256", bytes_of_text("m"),
			       &signature, HSMPOOL_DEFAULT, &err),
		  &err);
	assert_ok(hsmpool_verify(pool, key, "rsa-pkcs1-sha256", bytes_of_text("m"),
				 bytes_of(signed_data, signature.len), HSMPOOL_DEFAULT,
				 &err),
		  &err);
	hsmpool_key_close(&wrapping);
	hsmpool_key_close(&key);
	hsmpool_key_close(&back);
}

/* --- what is refused ------------------------------------------------------------ */

static void a_key_that_is_not_extractable_stays(void **state)
{
	hsmpool_key *wrapping = kek("kek-stays");
	hsmpool_key *key = generate("aes", "stays", 0);
	uint8_t data[100];
	hsmpool_buf wrapped = { .data = data, .cap = sizeof(data), .len = 7 };

	(void)state;
	assert_status(hsmpool_key_wrap(wrapping, "aes-kw", key, &wrapped, HSMPOOL_DEFAULT,
				       &err),
		      HSMPOOL_ERR_KEY);
	assert_int_equal(wrapped.len, 0);
	hsmpool_key_close(&wrapping);
	hsmpool_key_close(&key);
}

static void a_damaged_parcel_does_not_unwrap_and_makes_nothing(void **state)
{
	hsmpool_key *wrapping = kek("kek-damage");
	hsmpool_key *rsa = generate("rsa", "rsa-damage", HSMPOOL_KEY_CAN_UNWRAP);
	hsmpool_key *key = parcel("parcel-damage");
	hsmpool_key *back;
	uint8_t data[100], garbage[256] = { 1 };
	char text[sizeof(err.text)];
	hsmpool_buf wrapped = { .data = data, .cap = sizeof(data) };
	hsmpool_key_spec spec = { .size = sizeof(spec),
				  .type = "generic",
				  .label = "damaged" };

	(void)state;
	assert_ok(hsmpool_key_wrap(wrapping, "aes-kw", key, &wrapped, HSMPOOL_DEFAULT,
				   &err),
		  &err);
	data[7] ^= 1;
	assert_status(hsmpool_key_unwrap(&back, wrapping, "aes-kw",
					 bytes_of(data, wrapped.len), &spec,
					 HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_DATA);
	assert_int_equal(err.ck_rv, 0);
	snprintf(text, sizeof(text), "%s", err.text);
	assert_status(hsmpool_key_unwrap(&back, wrapping, "aes-kw",
					 bytes_of(data, wrapped.len - 8), &spec,
					 HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_DATA);
	assert_string_equal(err.text, text); /* uniform */
	assert_status(hsmpool_key_unwrap(&back, rsa, "rsa-pkcs1", bytes_of(garbage, 256),
					 &spec, HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_DATA);
	assert_status(hsmpool_key_unwrap(&back, wrapping, "aes-kw", bytes_of(NULL, 0),
					 &spec, HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_DATA);
	assert_null(back);
	assert_int_equal(count_label("damaged"), 0);
	hsmpool_key_close(&wrapping);
	hsmpool_key_close(&rsa);
	hsmpool_key_close(&key);
}

static void a_scheme_that_does_not_fit_the_key_is_refused(void **state)
{
	hsmpool_key *wrapping = kek("kek-misfit");
	hsmpool_key *key = parcel("parcel-misfit");
	uint8_t data[300];
	hsmpool_buf wrapped = { .data = data, .cap = sizeof(data) };

	(void)state;
	assert_status(hsmpool_key_wrap(wrapping, "rsa-pkcs1", key, &wrapped,
				       HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_KEY);
	assert_status(hsmpool_key_wrap(wrapping, "aes-gcm", key, &wrapped,
				       HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_USAGE);
	assert_status(
		hsmpool_key_wrap(wrapping, NULL, key, &wrapped, HSMPOOL_DEFAULT, &err),
		HSMPOOL_ERR_USAGE);
	hsmpool_key_close(&wrapping);
	hsmpool_key_close(&key);
}

static void wrap_says_how_much_room_it_needs(void **state)
{
	hsmpool_key *wrapping = kek("kek-room");
	hsmpool_key *key = parcel("parcel-room");
	uint8_t data[39] = { 0 }, zeros[39] = { 0 };
	hsmpool_buf wrapped = { .data = data, .cap = sizeof(data) };

	(void)state;
	assert_status(hsmpool_key_wrap(wrapping, "aes-kw", key, &wrapped, HSMPOOL_DEFAULT,
				       &err),
		      HSMPOOL_ERR_SPACE);
	assert_int_equal(wrapped.len, 40);
	assert_memory_equal(data, zeros, sizeof(data));
	hsmpool_key_close(&wrapping);
	hsmpool_key_close(&key);
}

/* --- ECDH ----------------------------------------------------------------------- */

static size_t openssl_secret(EVP_PKEY *mine, EVP_PKEY *theirs, uint8_t *out, size_t cap)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(mine, NULL);

	assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
	assert_int_equal(EVP_PKEY_derive_set_peer(ctx, theirs), 1);
	assert_int_equal(EVP_PKEY_derive(ctx, out, &cap), 1);
	EVP_PKEY_CTX_free(ctx);
	return cap;
}

static hsmpool_key *generate_deriver(const char *curve, const char *label)
{
	hsmpool_key *key;
	hsmpool_key_spec spec = { .size = sizeof(spec),
				  .type = "ec",
				  .curve = curve,
				  .label = label,
				  .usage = HSMPOOL_KEY_CAN_DERIVE };

	assert_ok(hsmpool_key_generate(&key, pool, &spec, HSMPOOL_DEFAULT, &err), &err);
	return key;
}

/* The peer's key in each form that is taken. */
static hsmpool_bytes encode(EVP_PKEY *key, int form, uint8_t *buffer, size_t cap)
{
	size_t len = 0;
	uint8_t *at = buffer;

	if (form == 0) {
		EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, buffer, cap,
						&len);
	} else if (form == 1) {
		len = (size_t)i2d_PUBKEY(key, &at);
	} else {
		BIO *bio = BIO_new(BIO_s_mem());
		PEM_write_bio_PUBKEY(bio, key);
		len = (size_t)BIO_read(bio, buffer, (int)cap);
		BIO_free(bio);
	}
	return bytes_of(buffer, len);
}

static void ecdh_agrees_with_openssl_on_each_curve(void **state)
{
	static const char *const curves[] = { "P-256", "P-384", "P-521" };

	(void)state;
	for (size_t i = 0; i < LEN(curves); i++) {
		uint8_t ours[66], theirs[66], encoded[1000];
		hsmpool_key *key = generate_deriver(curves[i], curves[i]);
		EVP_PKEY *peer = EVP_EC_gen(curves[i]);
		EVP_PKEY *mine = public_of(key);
		size_t len = openssl_secret(peer, mine, theirs, sizeof(theirs));
		for (int form = 0; form < 3; form++) {
			hsmpool_buf secret = { .data = ours, .cap = sizeof(ours) };
			assert_ok(hsmpool_derive_secret(
					  pool, key,
					  encode(peer, form, encoded, sizeof(encoded)),
					  &secret, HSMPOOL_DEFAULT, &err),
				  &err);
			assert_int_equal(secret.len, len);
			assert_memory_equal(ours, theirs, len);
		}
		EVP_PKEY_free(peer);
		EVP_PKEY_free(mine);
		hsmpool_key_close(&key);
	}
}

static void a_derived_secret_leaves_no_object_behind(void **state)
{
	hsmpool_key *key = generate_deriver("P-256", "no-trace");
	EVP_PKEY *peer = EVP_EC_gen("P-256");
	uint8_t ours[66], encoded[200];
	hsmpool_buf secret = { .data = ours, .cap = sizeof(ours) };
	CK_BBOOL no = CK_FALSE;
	CK_ATTRIBUTE session_objects = { CKA_TOKEN, &no, sizeof(no) };

	(void)state;
	assert_ok(hsmpool_derive_secret(pool, key,
					encode(peer, 1, encoded, sizeof(encoded)),
					&secret, HSMPOOL_DEFAULT, &err),
		  &err);
	assert_int_equal(raw_count(&session_objects, 1), 0);
	EVP_PKEY_free(peer);
	hsmpool_key_close(&key);
}

static void a_derived_key_holds_the_shared_secret(void **state)
{
	hsmpool_key *key = generate_deriver("P-256", "deriver");
	hsmpool_key *derived;
	EVP_PKEY *peer = EVP_EC_gen("P-256");
	EVP_PKEY *mine = public_of(key);
	uint8_t theirs[66], encoded[200];
	hsmpool_key_spec spec = { .size = sizeof(spec),
				  .type = "generic",
				  .label = "derived" };

	(void)state;
	assert_ok(hsmpool_key_derive(&derived, key,
				     encode(peer, 1, encoded, sizeof(encoded)), &spec,
				     HSMPOOL_DEFAULT, &err),
		  &err);
	size_t len = openssl_secret(peer, mine, theirs, sizeof(theirs));
	assert_key_is(derived, theirs, len);
	assert_int_equal(count_label("derived"), 1);
	EVP_PKEY_free(peer);
	EVP_PKEY_free(mine);
	hsmpool_key_close(&derived);
	hsmpool_key_close(&key);
}

static void a_peer_that_is_no_point_of_the_curve_is_refused(void **state)
{
	hsmpool_key *key = generate_deriver("P-256", "careful");
	EVP_PKEY *peer = EVP_EC_gen("P-256");
	EVP_PKEY *other = EVP_EC_gen("P-384");
	uint8_t ours[66], point[200];
	hsmpool_buf secret = { .data = ours, .cap = sizeof(ours) };

	(void)state;
	hsmpool_bytes bad = encode(peer, 0, point, sizeof(point));
	point[40] ^= 1;
	assert_status(
		hsmpool_derive_secret(pool, key, bad, &secret, HSMPOOL_DEFAULT, &err),
		HSMPOOL_ERR_DATA);
	bad.len--;
	assert_status(
		hsmpool_derive_secret(pool, key, bad, &secret, HSMPOOL_DEFAULT, &err),
		HSMPOOL_ERR_DATA);
	bad = encode(other, 1, point, sizeof(point));
	assert_status(
		hsmpool_derive_secret(pool, key, bad, &secret, HSMPOOL_DEFAULT, &err),
		HSMPOOL_ERR_KEY);
	EVP_PKEY_free(peer);
	EVP_PKEY_free(other);
	hsmpool_key_close(&key);
}

static void a_key_that_cannot_derive_is_refused(void **state)
{
	hsmpool_key *key = generate("rsa", "no-deriver", 0);
	EVP_PKEY *peer = EVP_EC_gen("P-256");
	uint8_t ours[66], point[200];
	hsmpool_buf secret = { .data = ours, .cap = sizeof(ours) };

	(void)state;
	assert_status(hsmpool_derive_secret(pool, key,
					    encode(peer, 0, point, sizeof(point)),
					    &secret, HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_KEY);
	EVP_PKEY_free(peer);
	hsmpool_key_close(&key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(openssl_unwraps_what_aes_kw_wrapped),
		cmocka_unit_test(openssl_unwraps_what_aes_kwp_wrapped),
		cmocka_unit_test(a_key_comes_back_from_each_scheme),
		cmocka_unit_test(a_private_key_travels_under_aes_kwp),
		cmocka_unit_test(a_key_that_is_not_extractable_stays),
		cmocka_unit_test(a_damaged_parcel_does_not_unwrap_and_makes_nothing),
		cmocka_unit_test(a_scheme_that_does_not_fit_the_key_is_refused),
		cmocka_unit_test(wrap_says_how_much_room_it_needs),
		cmocka_unit_test(ecdh_agrees_with_openssl_on_each_curve),
		cmocka_unit_test(a_derived_secret_leaves_no_object_behind),
		cmocka_unit_test(a_derived_key_holds_the_shared_secret),
		cmocka_unit_test(a_peer_that_is_no_point_of_the_curve_is_refused),
		cmocka_unit_test(a_key_that_cannot_derive_is_refused),
	};
	return cmocka_run_group_tests(tests, keys_ground_up, keys_ground_down);
}

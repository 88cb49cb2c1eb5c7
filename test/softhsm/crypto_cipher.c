/* SPDX-License-Identifier: Apache-2.0 */
/* AES in all modes on SoftHSM2, with OpenSSL as the other side: crypto/encrypt.c. */
#include "crypto_ground.h"

#include <stdlib.h>
#include <string.h>

#define IV_MAX 16
#define SLACK  64

static uint8_t secret[32];
static hsmpool_key *aes; /* holds secret[] */

static const size_t sizes[] = { 0, 1, 15, 16, 17, 31, 32, 33, 4096, 1 << 20 };

struct mode {
	const char *scheme;
	const char *openssl;
	size_t iv_len;
	size_t tag_len;
	bool pads;
};
static const struct mode modes[] = {
	{ "aes-gcm", "AES-256-GCM", 12, 16, false },
	{ "aes-gcm:tag=12", "AES-256-GCM", 12, 12, false },
	{ "aes-cbc-pad", "AES-256-CBC", 16, 0, true },
	{ "aes-cbc", "AES-256-CBC", 16, 0, false },
	{ "aes-ctr", "AES-256-CTR", 16, 0, false },
};

static size_t mode_count(void)
{
	return sizeof(modes) / sizeof(modes[0]);
}

static bool takes_size(const struct mode *mode, size_t len)
{
	return strcmp(mode->scheme, "aes-cbc") != 0 || len % 16 == 0;
}

static size_t sealed_size(const struct mode *mode, size_t len)
{
	size_t body = mode->pads ? (len / 16 + 1) * 16 : len;
	return mode->iv_len + body + mode->tag_len;
}

/* --- OpenSSL --------------------------------------------------------------------- */

static EVP_CIPHER_CTX *openssl_begin(const struct mode *mode, const uint8_t *iv,
				     hsmpool_bytes aad, int encrypts)
{
	int unused;
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, mode->openssl, NULL);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	assert_int_equal(EVP_CipherInit_ex(ctx, cipher, NULL, secret, iv, encrypts), 1);
	EVP_CIPHER_free(cipher);
	EVP_CIPHER_CTX_set_padding(ctx, mode->pads);
	if (aad.len > 0)
		assert_int_equal(
			EVP_CipherUpdate(ctx, NULL, &unused, aad.data, (int)aad.len), 1);
	return ctx;
}

/* IV || ciphertext || tag, as ours. */
static size_t openssl_seal(const struct mode *mode, const uint8_t *iv, hsmpool_bytes aad,
			   const uint8_t *plain, size_t len, uint8_t *out)
{
	int body = 0, rest = 0;
	EVP_CIPHER_CTX *ctx = openssl_begin(mode, iv, aad, 1);
	memcpy(out, iv, mode->iv_len);
	uint8_t *at = out + mode->iv_len;
	assert_int_equal(EVP_CipherUpdate(ctx, at, &body, plain, (int)len), 1);
	assert_int_equal(EVP_CipherFinal_ex(ctx, at + body, &rest), 1);
	at += body + rest;
	if (mode->tag_len > 0)
		assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG,
						     (int)mode->tag_len, at),
				 1);
	EVP_CIPHER_CTX_free(ctx);
	return (size_t)(at - out) + mode->tag_len;
}

static size_t openssl_open(const struct mode *mode, hsmpool_bytes aad,
			   const uint8_t *sealed, size_t len, uint8_t *out)
{
	int body = 0, rest = 0;
	EVP_CIPHER_CTX *ctx = openssl_begin(mode, sealed, aad, 0);
	size_t text = len - mode->iv_len - mode->tag_len;
	const uint8_t *at = sealed + mode->iv_len;
	assert_int_equal(EVP_CipherUpdate(ctx, out, &body, at, (int)text), 1);
	if (mode->tag_len > 0)
		assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG,
						     (int)mode->tag_len,
						     (void *)(uintptr_t)(at + text)),
				 1);
	assert_int_equal(EVP_CipherFinal_ex(ctx, out + body, &rest), 1);
	EVP_CIPHER_CTX_free(ctx);
	return (size_t)(body + rest);
}

/* --- ours ------------------------------------------------------------------------ */

static hsmpool_params with_aad(const char *aad)
{
	return (hsmpool_params){ .size = sizeof(hsmpool_params),
				 .aad = BYTES(aad, strlen(aad)) };
}

static hsmpool_status seal(const char *scheme, const hsmpool_params *params,
			   hsmpool_bytes plain, hsmpool_buf *out, hsmpool_error *err)
{
	return hsmpool_encrypt(ground.pool, aes, scheme, params, plain, out,
			       HSMPOOL_DEFAULT, err);
}

static hsmpool_status open_sealed(const char *scheme, const hsmpool_params *params,
				  hsmpool_bytes sealed, hsmpool_buf *out,
				  hsmpool_error *err)
{
	return hsmpool_decrypt(ground.pool, aes, scheme, params, sealed, out,
			       HSMPOOL_DEFAULT, err);
}

/* --- tests ----------------------------------------------------------------------- */

static void openssl_opens_what_the_token_encrypts_at_every_size(void **state)
{
	(void)state;
	hsmpool_error err;
	for (size_t m = 0; m < mode_count(); m++)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			if (!takes_size(&modes[m], sizes[i]))
				continue;
			uint8_t *plain = crypto_pattern(sizes[i], (unsigned)i);
			uint8_t *sealed = malloc(sizes[i] + SLACK);
			uint8_t *back = malloc(sizes[i] + SLACK);
			hsmpool_buf out = { sealed, sizes[i] + SLACK, 0 };
			assert_ok(seal(modes[m].scheme, NULL, BYTES(plain, sizes[i]),
				       &out, &err),
				  &err);
			assert_int_equal(out.len, sealed_size(&modes[m], sizes[i]));
			assert_int_equal(
				openssl_open(&modes[m], TEXT(""), sealed, out.len, back),
				sizes[i]);
			assert_memory_equal(back, plain, sizes[i]);
			free(plain);
			free(sealed);
			free(back);
		}
}

static void the_token_opens_what_openssl_encrypts_at_every_size(void **state)
{
	(void)state;
	hsmpool_error err;
	const uint8_t iv[IV_MAX] = "0123456789abcde";
	for (size_t m = 0; m < mode_count(); m++)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			if (!takes_size(&modes[m], sizes[i]))
				continue;
			uint8_t *plain = crypto_pattern(sizes[i], (unsigned)i);
			uint8_t *sealed = malloc(sizes[i] + SLACK);
			uint8_t *back = malloc(sizes[i] + 1);
			size_t len = openssl_seal(&modes[m], iv, TEXT(""), plain,
						  sizes[i], sealed);
			hsmpool_buf out = { back, sizes[i], 0 }; /* exactly */
			assert_ok(open_sealed(modes[m].scheme, NULL, BYTES(sealed, len),
					      &out, &err),
				  &err);
			assert_int_equal(out.len, sizes[i]);
			assert_memory_equal(back, plain, sizes[i]);
			free(plain);
			free(sealed);
			free(back);
		}
}

static void additional_data_is_authenticated(void **state)
{
	(void)state;
	hsmpool_error err;
	hsmpool_params right = with_aad("invoice 17"), wrong = with_aad("invoice 18");
	uint8_t sealed[128], plain[128];
	hsmpool_buf out = BUF(sealed), back = BUF(plain);
	assert_ok(seal("aes-gcm", &right, TEXT("pay 10"), &out, &err), &err);
	assert_int_equal(openssl_open(&modes[0], right.aad, sealed, out.len, plain), 6);
	assert_ok(open_sealed("aes-gcm", &right, BYTES(sealed, out.len), &back, &err),
		  &err);
	assert_int_equal(back.len, 6);
	assert_status(open_sealed("aes-gcm", &wrong, BYTES(sealed, out.len), &back, &err),
		      HSMPOOL_ERR_DATA);
	assert_status(open_sealed("aes-gcm", NULL, BYTES(sealed, out.len), &back, &err),
		      HSMPOOL_ERR_DATA);
}

static void the_iv_is_new_each_time(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t first[64], second[64];
	for (size_t m = 0; m < mode_count(); m++) {
		hsmpool_buf a = BUF(first), b = BUF(second);
		assert_ok(seal(modes[m].scheme, NULL, TEXT("0123456789abcdef"), &a, &err),
			  &err);
		assert_ok(seal(modes[m].scheme, NULL, TEXT("0123456789abcdef"), &b, &err),
			  &err);
		assert_memory_not_equal(first, second, modes[m].iv_len);
		assert_memory_not_equal(first + modes[m].iv_len, second + modes[m].iv_len,
					16);
	}
}

/* Always the same text (no oracle), no byte in the buffer, the session still good. */
static void a_flipped_bit_anywhere_in_gcm_is_found(void **state)
{
	(void)state;
	hsmpool_error err, first = { 0 };
	uint8_t sealed[64], plain[64], untouched[64];
	hsmpool_buf out = BUF(sealed);
	memset(untouched, 0, sizeof(untouched));
	assert_ok(seal("aes-gcm", NULL, TEXT("twenty bytes of text"), &out, &err), &err);
	for (size_t bit = 0; bit < out.len * 8; bit++) {
		hsmpool_buf back = BUF(plain);
		memset(plain, 0, sizeof(plain));
		sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_status(
			open_sealed("aes-gcm", NULL, BYTES(sealed, out.len), &back, &err),
			HSMPOOL_ERR_DATA);
		sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_memory_equal(plain, untouched, sizeof(plain));
		assert_int_equal(err.ck_rv, 0);
		if (bit == 0)
			first = err;
		assert_string_equal(err.text, first.text);
	}
}

static void every_truncation_of_gcm_is_found(void **state)
{
	(void)state;
	hsmpool_error err, whole;
	uint8_t sealed[64], plain[64];
	hsmpool_buf out = BUF(sealed);
	assert_ok(seal("aes-gcm", NULL, TEXT("twenty bytes of text"), &out, &err), &err);
	hsmpool_buf back = BUF(plain);
	sealed[0] ^= 1;
	assert_status(open_sealed("aes-gcm", NULL, BYTES(sealed, out.len), &back, &whole),
		      HSMPOOL_ERR_DATA);
	sealed[0] ^= 1;
	for (size_t len = 0; len < out.len; len++) {
		assert_status(
			open_sealed("aes-gcm", NULL, BYTES(sealed, len), &back, &err),
			HSMPOOL_ERR_DATA);
		assert_string_equal(err.text, whole.text);
	}
}

static void cbc_with_wrong_length_or_padding_does_not_decrypt(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t sealed[64], plain[64];
	hsmpool_buf out = BUF(sealed), back = BUF(plain);
	assert_ok(seal("aes-cbc-pad", NULL, TEXT("sixteen bytes !!"), &out, &err), &err);
	for (size_t len = 0; len < 48; len++)
		assert_status(
			open_sealed("aes-cbc-pad", NULL, BYTES(sealed, len), &back, &err),
			HSMPOOL_ERR_DATA);
	sealed[31] ^= 1; /* of the block before: the padding's last byte is 17 then */
	assert_status(
		open_sealed("aes-cbc-pad", NULL, BYTES(sealed, out.len), &back, &err),
		HSMPOOL_ERR_DATA);
	assert_status(open_sealed("aes-cbc", NULL, BYTES(sealed, 47), &back, &err),
		      HSMPOOL_ERR_DATA);
}

static void cbc_without_padding_takes_whole_blocks_only(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t sealed[64];
	hsmpool_buf out = BUF(sealed);
	assert_status(seal("aes-cbc", NULL, TEXT("sixteen bytes !!"), &out, &err),
		      HSMPOOL_OK);
	assert_status(seal("aes-cbc", NULL, TEXT("seventeen bytes !"), &out, &err),
		      HSMPOOL_ERR_USAGE);
}

/* One byte less than needed: SPACE and the need, and not a byte is written; exactly
 * the need: nothing behind it is touched. */
static void encryption_needs_exactly_the_room_it_says(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t sealed[160];
	for (size_t m = 0; m < mode_count(); m++)
		for (size_t len = 0; len <= 64; len++) {
			if (!takes_size(&modes[m], len))
				continue;
			uint8_t *plain = crypto_pattern(len, 1);
			size_t need = sealed_size(&modes[m], len);
			hsmpool_buf out = { NULL, 0, 0 };
			assert_status(seal(modes[m].scheme, NULL, BYTES(plain, len), &out,
					   &err),
				      HSMPOOL_ERR_SPACE);
			assert_int_equal(out.len, need);
			memset(sealed, 0xee, sizeof(sealed));
			out = (hsmpool_buf){ sealed, need - 1, 0 };
			assert_status(seal(modes[m].scheme, NULL, BYTES(plain, len), &out,
					   &err),
				      HSMPOOL_ERR_SPACE);
			assert_int_equal(out.len, need);
			assert_int_equal(sealed[0], 0xee);
			out = (hsmpool_buf){ sealed, need, 0 };
			assert_ok(seal(modes[m].scheme, NULL, BYTES(plain, len), &out,
				       &err),
				  &err);
			assert_int_equal(out.len, need);
			assert_int_equal(sealed[need], 0xee);
			free(plain);
		}
}

static void decryption_needs_exactly_the_room_it_says(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t sealed[160], back[160];
	for (size_t m = 0; m < mode_count(); m++)
		for (size_t len = 1; len <= 64; len++) {
			if (!takes_size(&modes[m], len))
				continue;
			uint8_t *plain = crypto_pattern(len, 2);
			hsmpool_buf out = BUF(sealed);
			assert_ok(seal(modes[m].scheme, NULL, BYTES(plain, len), &out,
				       &err),
				  &err);
			hsmpool_bytes in = BYTES(sealed, out.len);
			hsmpool_buf small = { NULL, 0, 0 };
			assert_status(
				open_sealed(modes[m].scheme, NULL, in, &small, &err),
				HSMPOOL_ERR_SPACE);
			assert_in_range(small.len, len, modes[m].pads ? len + 15 : len);
			memset(back, 0xee, sizeof(back));
			small = (hsmpool_buf){ back, len - 1, 0 };
			assert_status(
				open_sealed(modes[m].scheme, NULL, in, &small, &err),
				HSMPOOL_ERR_SPACE);
			assert_true(small.len >= len);
			assert_int_equal(back[0], 0xee);
			small = (hsmpool_buf){ back, len, 0 };
			assert_ok(open_sealed(modes[m].scheme, NULL, in, &small, &err),
				  &err);
			assert_int_equal(small.len, len);
			assert_memory_equal(back, plain, len);
			assert_int_equal(back[len], 0xee);
			free(plain);
		}
}

static void input_and_output_may_be_the_same_memory(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t memory[256], text[100];
	for (size_t shift = 0; shift < 32; shift += 4) {
		memset(text, (int)shift + 1, sizeof(text));
		memcpy(memory + shift, text, sizeof(text));
		hsmpool_buf out = BUF(memory);
		assert_ok(seal("aes-gcm", NULL, BYTES(memory + shift, sizeof(text)), &out,
			       &err),
			  &err);
		hsmpool_bytes sealed = BYTES(memory, out.len);
		assert_ok(open_sealed("aes-gcm", NULL, sealed, &out, &err), &err);
		assert_int_equal(out.len, sizeof(text));
		assert_memory_equal(memory, text, sizeof(text));
	}
}

static void a_callers_iv_is_used_only_if_he_vouches_for_it(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t sealed[64], expected[64], plain[64];
	const uint8_t iv[12] = "twelve byte";
	hsmpool_buf out = BUF(sealed), back = BUF(plain);
	hsmpool_params params = { .size = sizeof(params), .iv = BYTES(iv, sizeof(iv)) };
	assert_status(seal("aes-gcm", &params, TEXT("text"), &out, &err),
		      HSMPOOL_ERR_USAGE);
	assert_non_null(strstr(err.text, "HSMPOOL_CALLER_IV"));

	params.flags = HSMPOOL_CALLER_IV;
	assert_ok(seal("aes-gcm", &params, TEXT("text"), &out, &err), &err);
	size_t len = openssl_seal(&modes[0], iv, TEXT(""), (const uint8_t *)"text", 4,
				  expected);
	assert_int_equal(out.len, len - 12); /* the IV is not written */
	assert_memory_equal(sealed, expected + 12, out.len);

	params.flags = 0; /* decryption needs no vow */
	assert_ok(open_sealed("aes-gcm", &params, BYTES(sealed, out.len), &back, &err),
		  &err);
	assert_memory_equal(plain, "text", 4);
}

static void parameters_that_a_scheme_does_not_have_are_refused(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t sealed[64];
	const uint8_t iv[16] = { 1 };
	hsmpool_buf out = BUF(sealed);
	hsmpool_params aad = with_aad("aad");
	hsmpool_params label = { .size = sizeof(label), .oaep_label = TEXT("label") };
	hsmpool_params short_iv = { .size = sizeof(short_iv),
				    .flags = HSMPOOL_CALLER_IV,
				    .iv = BYTES(iv, 15) };
	hsmpool_params no_iv = { .size = sizeof(no_iv), .flags = HSMPOOL_CALLER_IV };
	hsmpool_params no_size = { .aad = TEXT("aad") };
	hsmpool_params flags = { .size = sizeof(flags), .flags = 1u << 9 };
	hsmpool_params holes = { .size = sizeof(holes), .aad = { NULL, 5 } };
	assert_status(seal("aes-cbc-pad", &aad, TEXT("x"), &out, &err),
		      HSMPOOL_ERR_USAGE);
	assert_status(seal("aes-gcm", &label, TEXT("x"), &out, &err), HSMPOOL_ERR_USAGE);
	assert_status(seal("aes-ctr", &short_iv, TEXT("x"), &out, &err),
		      HSMPOOL_ERR_USAGE);
	assert_status(seal("aes-gcm", &no_iv, TEXT("x"), &out, &err), HSMPOOL_ERR_USAGE);
	assert_status(seal("aes-gcm", &no_size, TEXT("x"), &out, &err),
		      HSMPOOL_ERR_USAGE);
	assert_status(seal("aes-gcm", &flags, TEXT("x"), &out, &err), HSMPOOL_ERR_USAGE);
	assert_status(seal("aes-gcm", &holes, TEXT("x"), &out, &err), HSMPOOL_ERR_USAGE);
}

static void nonsense_arguments_are_answered_not_followed(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t sealed[64];
	hsmpool_buf out = BUF(sealed);
	hsmpool_deadline deadline = HSMPOOL_DEFAULT;
	assert_status(hsmpool_encrypt(NULL, aes, "aes-gcm", NULL, TEXT("x"), &out,
				      deadline, &err),
		      HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_encrypt(ground.pool, NULL, "aes-gcm", NULL, TEXT("x"), &out,
				      deadline, &err),
		      HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_encrypt(ground.pool, aes, NULL, NULL, TEXT("x"), &out,
				      deadline, &err),
		      HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_encrypt(ground.pool, aes, "aes-gcm", NULL, TEXT("x"), NULL,
				      deadline, NULL),
		      HSMPOOL_ERR_USAGE);
	assert_status(seal("aes-gcm", NULL, (hsmpool_bytes){ NULL, 1 }, &out, &err),
		      HSMPOOL_ERR_USAGE);
	assert_status(
		seal("aes-gcm", NULL, (hsmpool_bytes){ sealed, SIZE_MAX }, &out, &err),
		HSMPOOL_ERR_USAGE);
	assert_status(seal("rsa-pkcs1", NULL, TEXT("x"), &out, &err), HSMPOOL_ERR_KEY);
	assert_status(seal("aes-gcm-siv", NULL, TEXT("x"), &out, &err),
		      HSMPOOL_ERR_USAGE);
}

static void a_key_that_may_not_encrypt_is_a_key_error(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t sealed[64];
	hsmpool_buf out = BUF(sealed);
	hsmpool_key *key = crypto_generate("aes", 128, NULL, "only-decrypts",
					   HSMPOOL_KEY_CAN_DECRYPT);
	assert_status(hsmpool_encrypt(ground.pool, key, "aes-gcm", NULL, TEXT("x"), &out,
				      HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_KEY);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_NO);
	hsmpool_key_close(&key);
}

/* SoftHSM2 uses a fixed nonce where it is asked for one. */
static void an_iv_of_the_hsm_is_refused_where_it_makes_none(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t sealed[64], untouched[64] = { 0 };
	hsmpool_key_close(&aes);
	crypto_reopen("hsm-iv", "yes");
	aes = crypto_open("pkcs11:object=known");
	memset(sealed, 0, sizeof(sealed));
	for (int i = 0; i < 2; i++) {
		hsmpool_buf out = BUF(sealed);
		assert_status(seal("aes-gcm", NULL, TEXT("text"), &out, &err),
			      HSMPOOL_ERR_UNSUPPORTED);
		assert_memory_equal(sealed, untouched, sizeof(sealed));
	}
	hsmpool_key_close(&aes);
	crypto_reopen("hsm-iv", "no");
	aes = crypto_open("pkcs11:object=known");
}

static int make_keys(void **state)
{
	crypto_setup(state);
	for (size_t i = 0; i < sizeof(secret); i++)
		secret[i] = (uint8_t)(i * 3 + 1);
	aes = crypto_import_secret("aes", "known", secret, sizeof(secret));
	return 0;
}

static int close_keys(void **state)
{
	hsmpool_key_close(&aes);
	return crypto_teardown(state);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(openssl_opens_what_the_token_encrypts_at_every_size),
		cmocka_unit_test(the_token_opens_what_openssl_encrypts_at_every_size),
		cmocka_unit_test(additional_data_is_authenticated),
		cmocka_unit_test(the_iv_is_new_each_time),
		cmocka_unit_test(a_flipped_bit_anywhere_in_gcm_is_found),
		cmocka_unit_test(every_truncation_of_gcm_is_found),
		cmocka_unit_test(cbc_with_wrong_length_or_padding_does_not_decrypt),
		cmocka_unit_test(cbc_without_padding_takes_whole_blocks_only),
		cmocka_unit_test(encryption_needs_exactly_the_room_it_says),
		cmocka_unit_test(decryption_needs_exactly_the_room_it_says),
		cmocka_unit_test(input_and_output_may_be_the_same_memory),
		cmocka_unit_test(a_callers_iv_is_used_only_if_he_vouches_for_it),
		cmocka_unit_test(parameters_that_a_scheme_does_not_have_are_refused),
		cmocka_unit_test(nonsense_arguments_are_answered_not_followed),
		cmocka_unit_test(a_key_that_may_not_encrypt_is_a_key_error),
		cmocka_unit_test(an_iv_of_the_hsm_is_refused_where_it_makes_none),
	};
	crypto_arguments(argc, argv);
	return cmocka_run_group_tests(tests, make_keys, close_keys);
}

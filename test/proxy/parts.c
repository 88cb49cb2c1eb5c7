/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every function with output: asked for the size, given too little room, then enough,
 * with the real session taken away between any two of these.
 *
 * S13, S14: neither question ends the operation, takes in input or loses anything.
 */
#include "operations_ground.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MOST_BACK 1024
#define IN_LEN    45

/* What an example gives in the end, all of its outputs in a row. */
struct back {
	CK_BYTE data[MOST_BACK];
	CK_ULONG len;
};

/* One function, in the middle of its operation. */
struct example {
	const char *name;
	bool is_mock_only;
	void (*before)(struct ground *g, CK_SESSION_HANDLE s);
	CK_RV (*call)(struct ground *g, CK_SESSION_HANDLE s, CK_BYTE *out, CK_ULONG *len);
	void (*after)(struct ground *g, CK_SESSION_HANDLE s, struct back *back);
};

/* --- building blocks
 * -------------------------------------------------------------------- */

static CK_BYTE plain[IN_LEN];
static CK_BYTE sealed[MOST_BACK];
static CK_ULONG sealed_len;

static void init_cipher(struct ground *g, CK_SESSION_HANDLE s, bool encrypts)
{
	CK_BYTE iv[16] = { 1, 2, 3 };
	CK_MECHANISM m = { CKM_AES_CBC_PAD, iv, sizeof(iv) };
	assert_rv(
		(encrypts ? g->p11->C_EncryptInit : g->p11->C_DecryptInit)(s, &m, g->aes),
		CKR_OK);
	memset(iv, 0, sizeof(iv));
}

static void init_digest(struct ground *g, CK_SESSION_HANDLE s)
{
	CK_MECHANISM m = { .mechanism = CKM_SHA256 };
	assert_rv(g->p11->C_DigestInit(s, &m), CKR_OK);
}

static void init_sign(struct ground *g, CK_SESSION_HANDLE s)
{
	CK_MECHANISM m = { .mechanism = CKM_SHA256_HMAC };
	assert_rv(g->p11->C_SignInit(s, &m, g->hmac), CKR_OK);
}

static void keep(struct back *back, CK_ULONG len)
{
	back->len += len;
	assert_true(back->len <= MOST_BACK);
}

static void end_encrypt(struct ground *g, CK_SESSION_HANDLE s, struct back *back)
{
	CK_ULONG len = MOST_BACK - back->len;
	assert_rv(g->p11->C_EncryptFinal(s, back->data + back->len, &len), CKR_OK);
	keep(back, len);
}

static void end_decrypt(struct ground *g, CK_SESSION_HANDLE s, struct back *back)
{
	CK_ULONG len = MOST_BACK - back->len;
	assert_rv(g->p11->C_DecryptFinal(s, back->data + back->len, &len), CKR_OK);
	keep(back, len);
}

static void end_digest(struct ground *g, CK_SESSION_HANDLE s, struct back *back)
{
	CK_ULONG len = MOST_BACK - back->len;
	assert_rv(g->p11->C_DigestFinal(s, back->data + back->len, &len), CKR_OK);
	keep(back, len);
}

static void end_sign(struct ground *g, CK_SESSION_HANDLE s, struct back *back)
{
	CK_ULONG len = MOST_BACK - back->len;
	assert_rv(g->p11->C_SignFinal(s, back->data + back->len, &len), CKR_OK);
	keep(back, len);
}

static void seal(struct ground *g)
{
	for (unsigned i = 0; i < IN_LEN; i++)
		plain[i] = (CK_BYTE)(i * 5 + 1);
	sealed_len = sizeof(sealed);
	init_cipher(g, g->main, true);
	assert_rv(g->p11->C_Encrypt(g->main, plain, IN_LEN, sealed, &sealed_len), CKR_OK);
}

/* --- the functions
 * ------------------------------------------------------------------------ */

static void before_encrypt(struct ground *g, CK_SESSION_HANDLE s)
{
	init_cipher(g, s, true);
}

static void before_encrypt_final(struct ground *g, CK_SESSION_HANDLE s)
{
	CK_BYTE out[MOST_BACK];
	CK_ULONG len = sizeof(out);
	init_cipher(g, s, true);
	assert_rv(g->p11->C_EncryptUpdate(s, plain, IN_LEN - 3, out, &len), CKR_OK);
}

static void before_decrypt(struct ground *g, CK_SESSION_HANDLE s)
{
	init_cipher(g, s, false);
}

static void before_decrypt_final(struct ground *g, CK_SESSION_HANDLE s)
{
	CK_BYTE out[MOST_BACK];
	CK_ULONG len = sizeof(out);
	init_cipher(g, s, false);
	assert_rv(g->p11->C_DecryptUpdate(s, sealed, sealed_len, out, &len), CKR_OK);
}

static void before_digest_final(struct ground *g, CK_SESSION_HANDLE s)
{
	init_digest(g, s);
	assert_rv(g->p11->C_DigestUpdate(s, plain, IN_LEN), CKR_OK);
}

static void before_sign_final(struct ground *g, CK_SESSION_HANDLE s)
{
	init_sign(g, s);
	assert_rv(g->p11->C_SignUpdate(s, plain, IN_LEN), CKR_OK);
}

static void before_sign_rsa(struct ground *g, CK_SESSION_HANDLE s)
{
	CK_MECHANISM m = { .mechanism = CKM_RSA_PKCS };
	assert_rv(g->p11->C_SignInit(s, &m, g->rsa), CKR_OK);
}

static void before_sign_recover(struct ground *g, CK_SESSION_HANDLE s)
{
	CK_MECHANISM m = { .mechanism = CKM_RSA_PKCS };
	assert_rv(g->p11->C_SignRecoverInit(s, &m, g->rsa), CKR_OK);
}

static CK_BYTE recoverable[512];
static CK_ULONG recoverable_len;

static void before_verify_recover(struct ground *g, CK_SESSION_HANDLE s)
{
	CK_MECHANISM m = { .mechanism = CKM_RSA_PKCS };
	recoverable_len = sizeof(recoverable);
	before_sign_recover(g, s);
	assert_rv(g->p11->C_SignRecover(s, plain, IN_LEN, recoverable, &recoverable_len),
		  CKR_OK);
	assert_rv(g->p11->C_VerifyRecoverInit(s, &m, g->rsa_public), CKR_OK);
}

static void before_digest_encrypt(struct ground *g, CK_SESSION_HANDLE s)
{
	init_digest(g, s);
	init_cipher(g, s, true);
}

static void before_decrypt_digest(struct ground *g, CK_SESSION_HANDLE s)
{
	init_cipher(g, s, false);
	init_digest(g, s);
}

static void before_sign_encrypt(struct ground *g, CK_SESSION_HANDLE s)
{
	init_sign(g, s);
	init_cipher(g, s, true);
}

static void before_decrypt_verify(struct ground *g, CK_SESSION_HANDLE s)
{
	CK_MECHANISM m = { .mechanism = CKM_SHA256_HMAC };
	init_cipher(g, s, false);
	assert_rv(g->p11->C_VerifyInit(s, &m, g->hmac), CKR_OK);
}

#define CALL(name, ...)                                                               \
	static CK_RV call_##name(struct ground *g, CK_SESSION_HANDLE s, CK_BYTE *out, \
				 CK_ULONG *len)                                       \
	{                                                                             \
		return g->p11->name(s, __VA_ARGS__, out, len);                        \
	}
#define CALL_FINAL(name)                                                              \
	static CK_RV call_##name(struct ground *g, CK_SESSION_HANDLE s, CK_BYTE *out, \
				 CK_ULONG *len)                                       \
	{                                                                             \
		return g->p11->name(s, out, len);                                     \
	}
CALL(C_Encrypt, plain, IN_LEN)
CALL(C_EncryptUpdate, plain, IN_LEN)
CALL_FINAL(C_EncryptFinal)
CALL(C_Decrypt, sealed, sealed_len)
CALL(C_DecryptUpdate, sealed, sealed_len)
CALL_FINAL(C_DecryptFinal)
CALL(C_Digest, plain, IN_LEN)
CALL_FINAL(C_DigestFinal)
CALL(C_Sign, plain, IN_LEN)
CALL_FINAL(C_SignFinal)
CALL(C_SignRecover, plain, IN_LEN)
CALL(C_VerifyRecover, recoverable, recoverable_len)
CALL(C_DigestEncryptUpdate, plain, IN_LEN)
CALL(C_DecryptDigestUpdate, sealed, sealed_len)
CALL(C_SignEncryptUpdate, plain, IN_LEN)
CALL(C_DecryptVerifyUpdate, sealed, sealed_len)

static void after_digest_encrypt(struct ground *g, CK_SESSION_HANDLE s, struct back *back)
{
	end_encrypt(g, s, back);
	end_digest(g, s, back);
}

static void after_decrypt_digest(struct ground *g, CK_SESSION_HANDLE s, struct back *back)
{
	end_digest(g, s, back);
	end_decrypt(g, s, back);
}

static void after_sign_encrypt(struct ground *g, CK_SESSION_HANDLE s, struct back *back)
{
	end_sign(g, s, back);
	end_encrypt(g, s, back);
}

/* The signature is that of what was decrypted so far. */
static void after_decrypt_verify(struct ground *g, CK_SESSION_HANDLE s, struct back *back)
{
	CK_BYTE mac[64];
	CK_ULONG len = sizeof(mac);
	CK_SESSION_HANDLE other = ground_session(g);
	init_sign(g, other);
	assert_rv(g->p11->C_Sign(other, back->data, back->len, mac, &len), CKR_OK);
	assert_rv(g->p11->C_VerifyFinal(s, mac, len), CKR_OK);
	end_decrypt(g, s, back);
	assert_rv(g->p11->C_CloseSession(other), CKR_OK);
}

static const struct example examples[] = {
	{ "C_Encrypt", false, before_encrypt, call_C_Encrypt, NULL },
	{ "C_EncryptUpdate", false, before_encrypt, call_C_EncryptUpdate, end_encrypt },
	{ "C_EncryptFinal", false, before_encrypt_final, call_C_EncryptFinal, NULL },
	{ "C_Decrypt", false, before_decrypt, call_C_Decrypt, NULL },
	{ "C_DecryptUpdate", false, before_decrypt, call_C_DecryptUpdate, end_decrypt },
	{ "C_DecryptFinal", false, before_decrypt_final, call_C_DecryptFinal, NULL },
	{ "C_Digest", false, init_digest, call_C_Digest, NULL },
	{ "C_DigestFinal", false, before_digest_final, call_C_DigestFinal, NULL },
	{ "C_Sign (MAC)", false, init_sign, call_C_Sign, NULL },
	{ "C_Sign (RSA)", false, before_sign_rsa, call_C_Sign, NULL },
	{ "C_SignFinal", false, before_sign_final, call_C_SignFinal, NULL },
	{ "C_SignRecover", true, before_sign_recover, call_C_SignRecover, NULL },
	{ "C_VerifyRecover", true, before_verify_recover, call_C_VerifyRecover, NULL },
	{ "C_DigestEncryptUpdate", true, before_digest_encrypt,
	  call_C_DigestEncryptUpdate, after_digest_encrypt },
	{ "C_DecryptDigestUpdate", true, before_decrypt_digest,
	  call_C_DecryptDigestUpdate, after_decrypt_digest },
	{ "C_SignEncryptUpdate", true, before_sign_encrypt, call_C_SignEncryptUpdate,
	  after_sign_encrypt },
	{ "C_DecryptVerifyUpdate", true, before_decrypt_verify,
	  call_C_DecryptVerifyUpdate, after_decrypt_verify },
};
#define EXAMPLES (sizeof(examples) / sizeof(examples[0]))

/* --- the rule
 * ------------------------------------------------------------------------------ */

enum disturbance { UNDISTURBED, TAKEN_AWAY };

static void disturb(struct ground *g, enum disturbance how)
{
	if (how == TAKEN_AWAY)
		ground_take_all_away(g);
}

static void go_through(struct ground *g, const struct example *e, enum disturbance how,
		       struct back *back)
{
	CK_SESSION_HANDLE s = ground_session(g);
	CK_ULONG need = 0;
	memset(back, 0, sizeof(*back));
	e->before(g, s);
	disturb(g, how);
	assert_rv(e->call(g, s, NULL, &need), CKR_OK);
	assert_true(need > 0 && need <= MOST_BACK);
	disturb(g, how);
	CK_ULONG little = 1;
	assert_rv(e->call(g, s, back->data, &little), CKR_BUFFER_TOO_SMALL);
	assert_true(little > 1);
	disturb(g, how);
	CK_ULONG len = MOST_BACK;
	assert_rv(e->call(g, s, back->data, &len), CKR_OK);
	assert_true(len <= need);
	keep(back, len);
	disturb(g, how);
	if (e->after)
		e->after(g, s, back);
	/* It is over. */
	len = MOST_BACK;
	CK_BYTE none[MOST_BACK];
	assert_rv(e->call(g, s, none, &len), CKR_OPERATION_NOT_INITIALIZED);
	assert_rv(g->p11->C_CloseSession(s), CKR_OK);
}

static void questions_lose_nothing_whoever_takes_the_session_meanwhile(void **state)
{
	struct ground *g = *state;
	ground_begin(g, 1, NULL, NULL);
	seal(g);
	for (unsigned i = 0; i < EXAMPLES; i++) {
		struct back one, other;
		if (examples[i].is_mock_only && !g->is_mock)
			continue;
		print_message("# %s\n", examples[i].name);
		go_through(g, &examples[i], UNDISTURBED, &one);
		go_through(g, &examples[i], TAKEN_AWAY, &other);
		assert_int_equal(one.len, other.len);
		assert_memory_equal(one.data, other.data, one.len);
	}
	ground_end(g);
}

/* Output over the input: the journal has what was there before. */
static void input_that_its_output_overwrites_is_not_lost(void **state)
{
	struct ground *g = *state;
	CK_BYTE buffer[MOST_BACK], expected[MOST_BACK];
	CK_ULONG len, expected_len = sizeof(expected), total = 0;
	ground_begin(g, 1, NULL, NULL);
	seal(g);
	memcpy(expected, sealed, sealed_len);
	expected_len = sealed_len;
	CK_SESSION_HANDLE s = ground_session(g);
	init_cipher(g, s, true);
	memcpy(buffer, plain, IN_LEN);
	for (unsigned at = 0; at < IN_LEN; at += 16) {
		len = 16;
		assert_rv(g->p11->C_EncryptUpdate(s, buffer + at,
						  IN_LEN - at < 16 ? IN_LEN - at : 16,
						  buffer + total, &len),
			  CKR_OK);
		total += len;
		ground_take_all_away(g);
	}
	len = sizeof(buffer) - total;
	assert_rv(g->p11->C_EncryptFinal(s, buffer + total, &len), CKR_OK);
	assert_int_equal(total + len, expected_len);
	assert_memory_equal(buffer, expected, expected_len);
	ground_end(g);
}

/* Without a tail of zero there is nothing to be added, but it counts as a part. */
static void empty_parts_are_parts(void **state)
{
	struct ground *g = *state;
	CK_BYTE one[64], other[64], byte = 0;
	CK_ULONG len = sizeof(one), other_len = sizeof(other);
	ground_begin(g, 1, NULL, NULL);
	CK_SESSION_HANDLE s = ground_session(g);
	init_sign(g, s);
	assert_rv(g->p11->C_SignUpdate(s, &byte, 0), CKR_OK);
	ground_take_all_away(g);
	assert_rv(g->p11->C_SignFinal(s, one, &len), CKR_OK);
	init_sign(g, s);
	assert_rv(g->p11->C_Sign(s, &byte, 0, other, &other_len), CKR_OK);
	assert_int_equal(len, other_len);
	assert_memory_equal(one, other, len);
	/* Taken away after a part, it is still none that C_Sign may end. */
	init_sign(g, s);
	assert_rv(g->p11->C_SignUpdate(s, &byte, 0), CKR_OK);
	CK_RV there = g->p11->C_Sign(s, &byte, 0, other, &other_len);
	init_sign(g, s);
	assert_rv(g->p11->C_SignUpdate(s, &byte, 0), CKR_OK);
	ground_take_all_away(g);
	assert_rv(g->p11->C_Sign(s, &byte, 0, other, &other_len), there);
	assert_rv(there,
		  g->is_mock ? CKR_OPERATION_ACTIVE : CKR_OPERATION_NOT_INITIALIZED);
	ground_end(g);
}

static void a_digest_of_a_key_is_begun_again_with_the_key(void **state)
{
	struct ground *g = *state;
	CK_BYTE one[64], other[64];
	CK_ULONG len = sizeof(one), other_len = sizeof(other);
	ground_begin(g, 1, NULL, NULL);
	CK_SESSION_HANDLE s = ground_session(g);
	for (unsigned taken = 0; taken < 2; taken++) {
		init_digest(g, s);
		assert_rv(g->p11->C_DigestUpdate(s, plain, 5), CKR_OK);
		assert_rv(g->p11->C_DigestKey(s, g->hmac), CKR_OK);
		disturb(g, taken ? TAKEN_AWAY : UNDISTURBED);
		assert_rv(g->p11->C_DigestUpdate(s, plain, 7), CKR_OK);
		CK_ULONG *to = taken ? &other_len : &len;
		assert_rv(g->p11->C_DigestFinal(s, taken ? other : one, to), CKR_OK);
	}
	assert_int_equal(len, other_len);
	assert_memory_equal(one, other, len);
	ground_end(g);
}

/* --- parameters
 * ----------------------------------------------------------------------------- */

static void gcm_once(struct ground *g, bool is_taken, struct back *back)
{
	CK_BYTE iv[12] = { 9, 8, 7 }, aad[200];
	memset(aad, 3, sizeof(aad));
	CK_GCM_PARAMS params = { iv, 12, 96, aad, sizeof(aad), 128 };
	CK_MECHANISM m = { CKM_AES_GCM, &params, sizeof(params) };
	CK_SESSION_HANDLE s = ground_session(g);
	assert_rv(g->p11->C_EncryptInit(s, &m, g->aes), CKR_OK);
	memset(iv, 0xff, sizeof(iv));
	memset(aad, 0xff, sizeof(aad));
	memset(&params, 0xff, sizeof(params));
	memset(&m, 0xff, sizeof(m));
	disturb(g, is_taken ? TAKEN_AWAY : UNDISTURBED);
	back->len = MOST_BACK;
	assert_rv(g->p11->C_EncryptUpdate(s, plain, IN_LEN, back->data, &back->len),
		  CKR_OK);
	disturb(g, is_taken ? TAKEN_AWAY : UNDISTURBED);
	end_encrypt(g, s, back);
	assert_rv(g->p11->C_CloseSession(s), CKR_OK);
}

/* S17: the caller's memory is its own again after each Init. */
static void parameters_and_what_they_point_to_are_copied(void **state)
{
	struct ground *g = *state;
	struct back one, other;
	ground_begin(g, 1, NULL, NULL);
	gcm_once(g, false, &one);
	gcm_once(g, true, &other);
	assert_int_equal(one.len, other.len);
	assert_memory_equal(one.data, other.data, one.len);
	ground_end(g);
}

/* S17: modules crash on it; ours does not let it reach them. */
static void a_length_without_bytes_is_refused(void **state)
{
	struct ground *g = *state;
	CK_GCM_PARAMS params = { NULL, 12, 96, NULL, 0, 128 };
	CK_MECHANISM m = { CKM_AES_GCM, &params, sizeof(params) };
	CK_BYTE iv[12] = { 1 };
	ground_begin(g, 1, NULL, NULL);
	assert_rv(g->p11->C_EncryptInit(g->main, &m, g->aes),
		  CKR_MECHANISM_PARAM_INVALID);
	params = (CK_GCM_PARAMS){ iv, 12, 96, NULL, 20, 128 };
	assert_rv(g->p11->C_EncryptInit(g->main, &m, g->aes),
		  CKR_MECHANISM_PARAM_INVALID);
	CK_RSA_PKCS_OAEP_PARAMS oaep = { CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED,
					 NULL, 7 };
	CK_MECHANISM wrong = { CKM_RSA_PKCS_OAEP, &oaep, sizeof(oaep) };
	assert_rv(g->p11->C_EncryptInit(g->main, &wrong, g->rsa_public),
		  CKR_MECHANISM_PARAM_INVALID);
	ground_end(g);
}

/* L21, S17: an IV that the module makes up is another one each time. */
static void an_encryption_whose_nonce_the_module_makes_is_pinned(void **state)
{
	struct ground *g = *state;
	CK_BYTE iv[12] = { 0 }, digest[64];
	CK_ULONG len = sizeof(digest);
	CK_GCM_PARAMS params = { iv, 12, 96, NULL, 0, 128 };
	CK_MECHANISM m = { CKM_AES_GCM, &params, sizeof(params) };
	CK_MECHANISM sha = { .mechanism = CKM_SHA256 };
	ground_begin(g, 1, "borrow-timeout = 50ms", NULL);
	CK_SESSION_HANDLE s = ground_session(g);
	assert_rv(g->p11->C_EncryptInit(s, &m, g->aes), CKR_OK);
	assert_rv(g->p11->C_DigestInit(g->main, &sha), CKR_FUNCTION_FAILED);
	assert_rv(g->p11->C_CloseSession(s), CKR_OK);
	assert_rv(g->p11->C_DigestInit(g->main, &sha), CKR_OK);
	assert_rv(g->p11->C_Digest(g->main, plain, 4, digest, &len), CKR_OK);
	ground_end(g);
}

/* --- saved states, calls beside
 * --------------------------------------------------------------- */

static void a_saved_state_goes_on_where_it_was_saved(void **state)
{
	struct ground *g = *state;
	CK_BYTE saved[4096], one[64], other[64];
	CK_ULONG saved_len = sizeof(saved), len = sizeof(one), other_len = sizeof(other);
	ground_begin(g, 2, "borrow-timeout = 100ms", NULL);
	CK_SESSION_HANDLE s = ground_session(g), second = ground_session(g);
	assert_rv(g->p11->C_GetOperationState(s, saved, &saved_len),
		  CKR_OPERATION_NOT_INITIALIZED);
	init_digest(g, s);
	assert_rv(g->p11->C_DigestUpdate(s, plain, 9), CKR_OK);
	ground_take_all_away(g);
	saved_len = sizeof(saved);
	assert_rv(g->p11->C_GetOperationState(s, saved, &saved_len), CKR_OK);
	assert_rv(g->p11->C_SetOperationState(second, saved, saved_len, 0, 0), CKR_OK);
	/* A restored one is pinned: the module alone knows what it is. */
	ground_take_all_away(g);
	assert_rv(g->p11->C_SignUpdate(second, plain, 4), CKR_OPERATION_NOT_INITIALIZED);
	for (unsigned i = 0; i < 2; i++) {
		assert_rv(g->p11->C_DigestUpdate(i ? second : s, plain + 9, 20), CKR_OK);
		assert_rv(g->p11->C_DigestFinal(i ? second : s, i ? other : one,
						i ? &other_len : &len),
			  CKR_OK);
	}
	assert_int_equal(len, other_len);
	assert_memory_equal(one, other, len);
	assert_rv(g->p11->C_DigestFinal(second, other, &other_len),
		  CKR_OPERATION_NOT_INITIALIZED);
	assert_rv(g->p11->C_SetOperationState(second, saved, 3, 0, 0),
		  CKR_SAVED_STATE_INVALID);
	ground_end(g);
}

/* GENERAL_ERROR may mean anything; what cannot be begun again is not given up for it. */
static void a_pinned_operation_outlasts_a_doubtful_answer(void **state)
{
	struct ground *g = *state;
	CK_BYTE random[8], expected[64];
	CK_ULONG len = sizeof(expected);
	CK_MECHANISM digest = { .mechanism = CKM_SHA256 };
	struct back back = { .len = 0 };
	ground_begin(g, 1, "borrow-timeout = 100ms", "journal-limit = 16B");
	CK_SESSION_HANDLE s = ground_session(g);
	init_sign(g, s);
	assert_rv(g->p11->C_Sign(s, plain, IN_LEN, expected, &len), CKR_OK);
	init_sign(g, s);
	assert_rv(g->p11->C_SignUpdate(s, plain, IN_LEN), CKR_OK);
	const struct mock_failure failures[] = {
		{ .function = "C_GenerateRandom", .rv = CKR_GENERAL_ERROR },
		{ .function = "C_DigestInit", .rv = CKR_FUNCTION_FAILED },
	};
	(fixture_mock_control()->fail)(&failures[0]);
	(fixture_mock_control()->fail)(&failures[1]);
	assert_rv(g->p11->C_GenerateRandom(s, random, sizeof(random)), CKR_GENERAL_ERROR);
	assert_rv(g->p11->C_DigestInit(s, &digest), CKR_FUNCTION_FAILED);
	end_sign(g, s, &back);
	assert_int_equal(back.len, len);
	assert_memory_equal(back.data, expected, len);
	ground_end(g);
}

static void calls_beside_an_operation_need_no_second_session(void **state)
{
	struct ground *g = *state;
	CK_BYTE random[8];
	CK_OBJECT_CLASS class;
	CK_ATTRIBUTE look = { CKA_CLASS, &class, sizeof(class) };
	struct back back = { .len = 0 };
	ground_begin(g, 1, "borrow-timeout = 100ms", "journal-limit = 16B");
	CK_SESSION_HANDLE s = ground_session(g);
	init_sign(g, s);
	/* It overflows: nothing but this session is there, and it is pinned. */
	assert_rv(g->p11->C_SignUpdate(s, plain, IN_LEN), CKR_OK);
	assert_rv(g->p11->C_GenerateRandom(s, random, sizeof(random)), CKR_OK);
	assert_rv(g->p11->C_GetAttributeValue(s, g->aes, &look, 1), CKR_OK);
	assert_rv(g->p11->C_FindObjectsInit(s, &look, 1),
		  g->is_mock ? CKR_OK : CKR_OPERATION_ACTIVE);
	end_sign(g, s, &back);
	assert_int_equal(back.len, 32);
	ground_end(g);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			questions_lose_nothing_whoever_takes_the_session_meanwhile),
		cmocka_unit_test(input_that_its_output_overwrites_is_not_lost),
		cmocka_unit_test(empty_parts_are_parts),
		cmocka_unit_test(a_digest_of_a_key_is_begun_again_with_the_key),
		cmocka_unit_test(parameters_and_what_they_point_to_are_copied),
		cmocka_unit_test(a_length_without_bytes_is_refused),
		cmocka_unit_test(an_encryption_whose_nonce_the_module_makes_is_pinned),
		cmocka_unit_test(calls_beside_an_operation_need_no_second_session),
		/* What only the mock counts, does or has. */
		cmocka_unit_test(a_saved_state_goes_on_where_it_was_saved),
		cmocka_unit_test(a_pinned_operation_outlasts_a_doubtful_answer),
	};
	return ground_run("parts", tests, sizeof(tests) / sizeof(tests[0]), 2, argc,
			  argv);
}

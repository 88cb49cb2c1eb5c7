/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Modules that do odd things to parameters and buffers. The mock's function list is
 * patched: an Init of ours looks at the mechanism, changes it, and goes on.
 */
#include "pool_ground.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define BYTES(pointer, length) ((hsmpool_bytes){ (const uint8_t *)(pointer), (length) })
#define TEXT(literal)          BYTES(literal, sizeof(literal) - 1)

static CK_FUNCTION_LIST *patched; /* the mock's own list */
static CK_FUNCTION_LIST original;

static CK_MECHANISM_TYPE last_mechanism;
static unsigned ivs_made;
static CK_BYTE fixed_iv;
static CK_ULONG more_room;

static hsmpool_key *open_key(hsmpool *pool, const char *label)
{
	hsmpool_error err;
	hsmpool_key *key;
	char uri[64];
	snprintf(uri, sizeof(uri), "pkcs11:object=%s", label);
	assert_ok(hsmpool_key_open(&key, pool, uri, HSMPOOL_DEFAULT, &err), &err);
	return key;
}

static void patch(struct ground *g)
{
	hsmpool_session *s = ground_borrow(g);
	patched = hsmpool_session_functions(s);
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
	original = *patched;
}

static int tear_down(void **state)
{
	if (patched)
		*patched = original;
	patched = NULL;
	return ground_tear_down(state);
}

/* --- the odd module ---------------------------------------------------------------- */

static CK_RV note_sign_init(CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
	last_mechanism = m->mechanism;
	return original.C_SignInit(s, m, key);
}

/* Works, and leaves nothing of the parameters. */
static CK_RV scribbling_encrypt_init(CK_SESSION_HANDLE s, CK_MECHANISM *m,
				     CK_OBJECT_HANDLE key)
{
	CK_GCM_PARAMS *gcm = m->pParameter;
	CK_RV rv = original.C_EncryptInit(s, m, key);
	memset(gcm->pIv, 0xff, gcm->ulIvLen);
	memset(gcm, 0xff, sizeof(*gcm));
	m->pParameter = NULL;
	return rv;
}

/* As CloudHSM: wants zeros, makes an IV, tells it in the parameters. */
static CK_RV iv_making_encrypt_init(CK_SESSION_HANDLE s, CK_MECHANISM *m,
				    CK_OBJECT_HANDLE key)
{
	static const CK_BYTE zeros[12];
	CK_GCM_PARAMS *gcm = m->pParameter;
	if (gcm->ulIvLen != 12 || memcmp(gcm->pIv, zeros, 12) != 0)
		return CKR_MECHANISM_PARAM_INVALID;
	memset(gcm->pIv, 0xa5, 12);
	gcm->pIv[11] = fixed_iv ? fixed_iv : (CK_BYTE)++ivs_made;
	return original.C_EncryptInit(s, m, key);
}

/* Wants more room than the result needs. */
static CK_RV greedy_encrypt(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG in_len,
			    CK_BYTE *out, CK_ULONG *out_len)
{
	if (*out_len < in_len + more_room) {
		*out_len = in_len + more_room;
		return CKR_BUFFER_TOO_SMALL;
	}
	return original.C_Encrypt(s, in, in_len, out, out_len);
}

/* Lies about how much it wrote. */
static CK_RV lying_encrypt(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG in_len,
			   CK_BYTE *out, CK_ULONG *out_len)
{
	CK_RV rv = original.C_Encrypt(s, in, in_len, out, out_len);
	*out_len = (CK_ULONG)-1;
	return rv;
}

static CK_RV lying_sign(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
			CK_ULONG *out_len)
{
	CK_RV rv = original.C_Sign(s, in, in_len, out, out_len);
	*out_len = 3000;
	return rv;
}

static CK_RV lying_update(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
			  CK_ULONG *out_len)
{
	CK_RV rv = original.C_EncryptUpdate(s, in, in_len, out, out_len);
	*out_len = (CK_ULONG)-1;
	return rv;
}

/* --- tests ----------------------------------------------------------------------- */

static void check_round_trip(struct ground *g, hsmpool_key *aes)
{
	hsmpool_error err;
	uint8_t sealed[64], plain[64];
	hsmpool_buf out = { sealed, 4 + 12 + 16, 0 }, back = { plain, sizeof(plain), 0 };
	assert_ok(hsmpool_encrypt(g->pool, aes, "aes-gcm", NULL, TEXT("text"), &out,
				  HSMPOOL_DEFAULT, &err),
		  &err);
	assert_int_equal(out.len, 32);
	assert_ok(hsmpool_decrypt(g->pool, aes, "aes-gcm", NULL, BYTES(sealed, out.len),
				  &back, HSMPOOL_DEFAULT, &err),
		  &err);
	assert_int_equal(back.len, 4);
	assert_memory_equal(plain, "text", 4);
}

/* L21: some modules write into parameters. Each try gets fresh ones, and the IV in
 * front is the one that was given, not what became of it. */
static void parameters_are_made_anew_for_each_try(void **state)
{
	struct ground *g = *state;
	hsmpool *pool = ground_open(g, NULL);
	hsmpool_key *aes = open_key(pool, "aes");
	patch(g);
	patched->C_EncryptInit = scribbling_encrypt_init;
	check_round_trip(g, aes);
	const struct mock_failure lost = { .function = "C_Encrypt",
					   .after = true,
					   .rv = CKR_SESSION_HANDLE_INVALID };
	g->is_uneven = true;
	(g->mock->fail)(&lost);
	check_round_trip(g, aes);
	hsmpool_key_close(&aes);
}

static void an_iv_that_the_hsm_made_stands_in_front(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, "hsm-iv", "yes", NULL);
	hsmpool_key *aes = open_key(pool, "aes");
	uint8_t sealed[64];
	hsmpool_buf out = { sealed, sizeof(sealed), 0 };
	patch(g);
	fixed_iv = 0;
	patched->C_EncryptInit = iv_making_encrypt_init;
	check_round_trip(g, aes);
	assert_ok(hsmpool_encrypt(pool, aes, "aes-gcm", NULL, TEXT("text"), &out,
				  HSMPOOL_DEFAULT, &err),
		  &err);
	assert_int_equal(sealed[0], 0xa5);
	assert_int_equal(sealed[11], ivs_made);
	hsmpool_key_close(&aes);
}

static void an_iv_that_the_hsm_repeats_is_refused(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, "hsm-iv", "yes", NULL);
	hsmpool_key *aes = open_key(pool, "aes");
	uint8_t sealed[64];
	hsmpool_buf out = { sealed, sizeof(sealed), 0 };
	patch(g);
	fixed_iv = 0x77;
	patched->C_EncryptInit = iv_making_encrypt_init;
	check_round_trip(g, aes); /* nobody can know after the first one */
	assert_status(hsmpool_encrypt(pool, aes, "aes-gcm", NULL, TEXT("text"), &out,
				      HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_UNSUPPORTED);
	assert_non_null(strstr(err.text, "hsm-iv"));
	hsmpool_key_close(&aes);
}

static void a_module_that_wants_more_room_gets_it(void **state)
{
	struct ground *g = *state;
	hsmpool *pool = ground_open(g, NULL);
	hsmpool_key *aes = open_key(pool, "aes");
	patch(g);
	patched->C_Encrypt = greedy_encrypt;
	for (more_room = 16; more_room < 5000; more_room += 700)
		check_round_trip(g, aes);
	hsmpool_key_close(&aes);
}

static void a_length_that_cannot_be_is_not_believed(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, NULL);
	hsmpool_key *aes = open_key(pool, "aes");
	uint8_t sealed[64], small[32];
	hsmpool_buf out = { sealed, sizeof(sealed), 0 };
	patch(g);
	patched->C_Encrypt = lying_encrypt;
	assert_status(hsmpool_encrypt(pool, aes, "aes-gcm", NULL, TEXT("text"), &out,
				      HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_DOWN);
	out = (hsmpool_buf){ small, sizeof(small), 0 };
	assert_status(hsmpool_encrypt(pool, aes, "aes-gcm", NULL, TEXT("text"), &out,
				      HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_DOWN);
	hsmpool_key_close(&aes);
}

static void a_signature_of_an_impossible_length_is_not_believed(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, NULL);
	hsmpool_key *rsa = open_key(pool, "rsa");
	uint8_t made[4096];
	hsmpool_buf out = { made, sizeof(made), 0 };
	patch(g);
	patched->C_Sign = lying_sign;
	assert_status(hsmpool_sign(pool, rsa, "rsa-pkcs1-sha256", TEXT("m"), &out,
				   HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_DOWN);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_YES);
	hsmpool_key_close(&rsa);
}

static void a_part_of_an_impossible_length_ends_the_operation(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, NULL);
	hsmpool_key *aes = open_key(pool, "aes");
	hsmpool_multipart *op;
	uint8_t out[64];
	hsmpool_buf buf = { out, sizeof(out), 0 };
	patch(g);
	patched->C_EncryptUpdate = lying_update;
	assert_ok(hsmpool_multipart_begin(&op, pool, aes, HSMPOOL_MULTIPART_ENCRYPT,
					  "aes-ctr", NULL, HSMPOOL_DEFAULT, &err),
		  &err);
	assert_status(hsmpool_multipart_update(op, TEXT("text"), &buf, &err),
		      HSMPOOL_ERR_DOWN);
	assert_int_equal(ground_stats(g).used, 0);
	hsmpool_multipart_abort(&op);
	hsmpool_key_close(&aes);
}

/* By C_GetMechanismInfo, once, not by trial. */
static void what_the_token_cannot_hash_is_hashed_here(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, NULL);
	hsmpool_key *rsa = open_key(pool, "rsa");
	uint8_t made[512];
	const struct {
		const char *scheme;
		CK_MECHANISM_TYPE bare;
	} cases[] = { { "rsa-pkcs1-sha256", CKM_RSA_PKCS },
		      { "rsa-pss-sha384", CKM_RSA_PKCS_PSS } };
	patch(g);
	patched->C_SignInit = note_sign_init;
	for (size_t i = 0; i < 2; i++) {
		const struct mock_failure lacking = { .function = "C_GetMechanismInfo",
						      .rv = CKR_MECHANISM_INVALID };
		uint64_t asked = g->mock->calls("C_GetMechanismInfo");
		(g->mock->fail)(&lacking);
		for (int round = 0; round < 3; round++) {
			hsmpool_buf out = { made, sizeof(made), 0 };
			assert_ok(hsmpool_sign(pool, rsa, cases[i].scheme, TEXT("m"),
					       &out, HSMPOOL_DEFAULT, &err),
				  &err);
			assert_int_equal(last_mechanism, cases[i].bare);
		}
		assert_int_equal(g->mock->calls("C_GetMechanismInfo") - asked, 1);
	}
	hsmpool_key_close(&rsa);
}

static void what_the_token_can_hash_is_hashed_there(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, NULL);
	hsmpool_key *rsa = open_key(pool, "rsa");
	uint8_t made[512];
	hsmpool_buf out = { made, sizeof(made), 0 };
	patch(g);
	patched->C_SignInit = note_sign_init;
	assert_ok(hsmpool_sign(pool, rsa, "rsa-pkcs1-sha256", TEXT("m"), &out,
			       HSMPOOL_DEFAULT, &err),
		  &err);
	assert_int_equal(last_mechanism, CKM_SHA256_RSA_PKCS);
	hsmpool_key_close(&rsa);
}

#define ODD_TEST(name) cmocka_unit_test_setup_teardown(name, ground_set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ODD_TEST(parameters_are_made_anew_for_each_try),
		ODD_TEST(an_iv_that_the_hsm_made_stands_in_front),
		ODD_TEST(an_iv_that_the_hsm_repeats_is_refused),
		ODD_TEST(a_module_that_wants_more_room_gets_it),
		ODD_TEST(a_length_that_cannot_be_is_not_believed),
		ODD_TEST(a_signature_of_an_impossible_length_is_not_believed),
		ODD_TEST(a_part_of_an_impossible_length_ends_the_operation),
		ODD_TEST(what_the_token_cannot_hash_is_hashed_here),
		ODD_TEST(what_the_token_can_hash_is_hashed_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

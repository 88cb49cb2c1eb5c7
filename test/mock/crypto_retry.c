/* SPDX-License-Identifier: Apache-2.0 */
/* What is begun again after a loss, what is not, and what the caller is told. */
#include "pool_ground.h"

#include <stdio.h>
#include <string.h>

#define BYTES(pointer, length) ((hsmpool_bytes){ (const uint8_t *)(pointer), (length) })
#define TEXT(literal)          BYTES(literal, sizeof(literal) - 1)

static uint8_t made[512];

static hsmpool_key *open_key(hsmpool *pool, const char *label)
{
	hsmpool_error err;
	hsmpool_key *key;
	char uri[64];
	snprintf(uri, sizeof(uri), "pkcs11:object=%s", label);
	assert_ok(hsmpool_key_open(&key, pool, uri, HSMPOOL_DEFAULT, &err), &err);
	return key;
}

static hsmpool_status sign(hsmpool *pool, hsmpool_key *key, const char *scheme,
			   hsmpool_error *err)
{
	hsmpool_buf out = { made, sizeof(made), 0 };
	return hsmpool_sign(pool, key, scheme, TEXT("message"), &out, HSMPOOL_DEFAULT,
			    err);
}

/* A session that is said to be dead is not closed: the books of the mock, where it
 * lives on, cannot be even then. */
static void fail_once(struct ground *g, const char *function, CK_RV rv, bool after)
{
	g->is_uneven |= rv == CKR_SESSION_HANDLE_INVALID || rv == CKR_SESSION_CLOSED ||
			rv == CKR_DEVICE_REMOVED;
	const struct mock_failure failure = { .function = function,
					      .rv = rv,
					      .after = after };
	(g->mock->fail)(&failure);
}

/* --- signatures -------------------------------------------------------------- */

static void a_signature_that_did_not_begin_is_begun_again(void **state)
{
	static const CK_RV losses[] = { CKR_SESSION_HANDLE_INVALID, CKR_SESSION_CLOSED,
					CKR_DEVICE_REMOVED, CKR_OPERATION_ACTIVE,
					CKR_KEY_HANDLE_INVALID };
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, NULL);
	hsmpool_key *ec = open_key(pool, "ec");
	assert_ok(sign(pool, ec, "ecdsa-sha256", &err), &err);
	for (size_t i = 0; i < sizeof(losses) / sizeof(losses[0]); i++) {
		uint64_t before = g->mock->executed("C_Sign");
		fail_once(g, "C_SignInit", losses[i], false);
		assert_ok(sign(pool, ec, "ecdsa-sha256", &err), &err);
		assert_int_equal(g->mock->executed("C_Sign") - before, 1);
	}
	hsmpool_key_close(&ec);
}

/* Nobody knows whether the HSM has signed: by default it is not asked again. */
static void a_submitted_signature_is_not_repeated_by_default(void **state)
{
	static const CK_RV losses[] = { CKR_SESSION_HANDLE_INVALID, CKR_SESSION_CLOSED,
					CKR_DEVICE_ERROR, CKR_DEVICE_REMOVED };
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, NULL);
	hsmpool_key *rsa = open_key(pool, "rsa");
	assert_ok(sign(pool, rsa, "rsa-pkcs1-sha256", &err), &err);
	for (size_t i = 0; i < sizeof(losses) / sizeof(losses[0]); i++) {
		uint64_t before = g->mock->calls("C_Sign");
		fail_once(g, "C_Sign", losses[i], true);
		assert_status(sign(pool, rsa, "rsa-pkcs1-sha256", &err),
			      HSMPOOL_ERR_DOWN);
		assert_int_equal(err.executed, HSMPOOL_EXECUTED_UNKNOWN);
		assert_int_equal(err.ck_rv, losses[i]);
		assert_int_equal(g->mock->calls("C_Sign") - before, 1);
		assert_ok(sign(pool, rsa, "rsa-pkcs1-sha256", &err), &err);
	}
	hsmpool_key_close(&rsa);
}

static void deterministic_signatures_are_repeated_where_that_is_allowed(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, "sign-retry", "deterministic", NULL);
	hsmpool_key *rsa = open_key(pool, "rsa"), *ec = open_key(pool, "ec");
	fail_once(g, "C_Sign", CKR_SESSION_HANDLE_INVALID, true);
	assert_ok(sign(pool, rsa, "rsa-pkcs1-sha256", &err), &err);
	fail_once(g, "C_Sign", CKR_SESSION_HANDLE_INVALID, true);
	assert_status(sign(pool, rsa, "rsa-pss-sha256", &err), HSMPOOL_ERR_DOWN);
	fail_once(g, "C_Sign", CKR_SESSION_HANDLE_INVALID, true);
	assert_status(sign(pool, ec, "ecdsa-sha256", &err), HSMPOOL_ERR_DOWN);
	hsmpool_key_close(&rsa);
	hsmpool_key_close(&ec);
}

static void all_signatures_are_repeated_where_that_is_allowed_but_once(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, "sign-retry", "yes", NULL);
	hsmpool_key *ec = open_key(pool, "ec");
	fail_once(g, "C_Sign", CKR_SESSION_HANDLE_INVALID, true);
	assert_ok(sign(pool, ec, "ecdsa-sha256", &err), &err);
	const struct mock_failure twice = { .function = "C_Sign",
					    .count = 2,
					    .rv = CKR_SESSION_HANDLE_INVALID };
	uint64_t before = g->mock->calls("C_Sign");
	(g->mock->fail)(&twice);
	assert_status(sign(pool, ec, "ecdsa-sha256", &err), HSMPOOL_ERR_DOWN);
	assert_int_equal(g->mock->calls("C_Sign") - before, 2);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_UNKNOWN);
	hsmpool_key_close(&ec);
}

static void a_lost_login_is_made_again_and_nobody_notices(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, NULL);
	hsmpool_key *ec = open_key(pool, "ec");
	assert_ok(sign(pool, ec, "ecdsa-sha256", &err), &err);
	g->mock->log_out();
	assert_ok(sign(pool, ec, "ecdsa-sha256", &err), &err);
	hsmpool_key_close(&ec);
}

/* --- what may be done twice ------------------------------------------------------------
 */

static void encryption_is_repeated_with_a_new_iv_and_opens(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, NULL);
	hsmpool_key *aes = open_key(pool, "aes");
	uint8_t plain[16];
	hsmpool_buf out = { made, sizeof(made), 0 }, back = { plain, sizeof(plain), 0 };
	const hsmpool_params aad = { .size = sizeof(aad), .aad = TEXT("aad") };
	for (int stage = 0; stage < 2; stage++) {
		fail_once(g, stage ? "C_Encrypt" : "C_EncryptInit",
			  CKR_SESSION_HANDLE_INVALID, stage == 1);
		assert_ok(hsmpool_encrypt(pool, aes, "aes-gcm", &aad, TEXT("text"), &out,
					  HSMPOOL_DEFAULT, &err),
			  &err);
		fail_once(g, stage ? "C_Decrypt" : "C_DecryptInit", CKR_DEVICE_REMOVED,
			  stage == 1);
		assert_ok(hsmpool_decrypt(pool, aes, "aes-gcm", &aad,
					  BYTES(made, out.len), &back, HSMPOOL_DEFAULT,
					  &err),
			  &err);
		assert_int_equal(back.len, 4);
		assert_memory_equal(plain, "text", 4);
	}
	hsmpool_key_close(&aes);
}

static void macs_digests_and_random_numbers_are_repeated(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, NULL);
	hsmpool_key *hmac = open_key(pool, "hmac");
	hsmpool_buf out = { made, sizeof(made), 0 };
	fail_once(g, "C_Sign", CKR_SESSION_HANDLE_INVALID, true);
	assert_ok(hsmpool_mac(pool, hmac, "hmac-sha256", TEXT("m"), &out, HSMPOOL_DEFAULT,
			      &err),
		  &err);
	fail_once(g, "C_Sign", CKR_SESSION_HANDLE_INVALID, true);
	assert_ok(hsmpool_mac_verify(pool, hmac, "hmac-sha256", TEXT("m"),
				     BYTES(made, out.len), HSMPOOL_DEFAULT, &err),
		  &err);
	fail_once(g, "C_Digest", CKR_SESSION_HANDLE_INVALID, true);
	assert_ok(hsmpool_digest(pool, "sha256", TEXT("m"), &out, HSMPOOL_DEFAULT, &err),
		  &err);
	fail_once(g, "C_GenerateRandom", CKR_SESSION_HANDLE_INVALID, true);
	assert_ok(hsmpool_random(pool, made, 10000 % sizeof(made), HSMPOOL_DEFAULT, &err),
		  &err);
	hsmpool_key_close(&hmac);
}

static void random_bytes_of_a_failed_call_are_not_left_behind(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, NULL);
	static uint8_t data[8192], zeros[8192];
	const struct mock_failure second = { .function = "C_GenerateRandom",
					     .first = 2,
					     .rv = CKR_FUNCTION_NOT_SUPPORTED };
	(g->mock->fail)(&second);
	assert_status(hsmpool_random(pool, data, sizeof(data), HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_UNSUPPORTED);
	assert_memory_equal(data, zeros, sizeof(data));
}

/* --- what the answers mean -------------------------------------------------------------
 */

/* SoftHSM2 says GENERAL_ERROR for a bad tag: the session is asked, and is well (L16). */
static void a_vague_answer_to_bad_input_is_data_and_keeps_the_session(void **state)
{
	static const CK_RV vague[] = { CKR_GENERAL_ERROR,          CKR_FUNCTION_FAILED,
				       CKR_ENCRYPTED_DATA_INVALID, CKR_DATA_INVALID,
				       CKR_DATA_LEN_RANGE,         CKR_ARGUMENTS_BAD };
	struct ground *g = *state;
	hsmpool_error err, first = { 0 };
	hsmpool *pool = ground_open(g, NULL);
	hsmpool_key *aes = open_key(pool, "aes");
	uint8_t plain[16], zeros[16] = { 0 };
	hsmpool_buf out = { made, sizeof(made), 0 };
	assert_ok(hsmpool_encrypt(pool, aes, "aes-gcm", NULL, TEXT("text"), &out,
				  HSMPOOL_DEFAULT, &err),
		  &err);
	for (size_t i = 0; i < sizeof(vague) / sizeof(vague[0]); i++) {
		hsmpool_buf back = { plain, sizeof(plain), 0 };
		memset(plain, 0, sizeof(plain));
		fail_once(g, "C_Decrypt", vague[i], true); /* plaintext was written */
		assert_status(hsmpool_decrypt(pool, aes, "aes-gcm", NULL,
					      BYTES(made, out.len), &back,
					      HSMPOOL_DEFAULT, &err),
			      HSMPOOL_ERR_DATA);
		assert_int_equal(err.ck_rv, 0);
		assert_int_equal(err.executed, HSMPOOL_EXECUTED_YES);
		assert_memory_equal(plain, zeros, sizeof(plain));
		if (i == 0)
			first = err;
		assert_string_equal(err.text, first.text);
	}
	assert_int_equal(ground_stats(g).generation, 1);
	hsmpool_key_close(&aes);
}

static void a_refusal_at_init_is_certainly_not_executed(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, NULL);
	hsmpool_key *ec = open_key(pool, "ec");
	fail_once(g, "C_SignInit", CKR_KEY_FUNCTION_NOT_PERMITTED, false);
	assert_status(sign(pool, ec, "ecdsa-sha256", &err), HSMPOOL_ERR_KEY);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_NO);
	fail_once(g, "C_SignInit", CKR_MECHANISM_INVALID, false);
	assert_status(sign(pool, ec, "ecdsa-sha256", &err), HSMPOOL_ERR_UNSUPPORTED);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_NO);
	hsmpool_key_close(&ec);
}

/* --- in parts ---------------------------------------------------------------- */

static void begin_in_parts_is_repeated_but_nothing_after_it(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, NULL);
	hsmpool_key *rsa = open_key(pool, "rsa");
	hsmpool_multipart *op;
	hsmpool_buf out = { made, sizeof(made), 0 };
	fail_once(g, "C_SignInit", CKR_SESSION_HANDLE_INVALID, false);
	assert_ok(hsmpool_multipart_begin(&op, pool, rsa, HSMPOOL_MULTIPART_SIGN,
					  "rsa-pkcs1-sha256", NULL, HSMPOOL_DEFAULT,
					  &err),
		  &err);
	fail_once(g, "C_SignUpdate", CKR_SESSION_HANDLE_INVALID, false);
	assert_status(hsmpool_multipart_update(op, TEXT("m"), NULL, &err),
		      HSMPOOL_ERR_DOWN);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_NO);
	assert_int_equal(ground_stats(g).used, 0);
	assert_status(hsmpool_multipart_update(op, TEXT("m"), NULL, &err),
		      HSMPOOL_ERR_USAGE);
	hsmpool_multipart_abort(&op);

	assert_ok(hsmpool_multipart_begin(&op, pool, rsa, HSMPOOL_MULTIPART_SIGN,
					  "rsa-pkcs1-sha256", NULL, HSMPOOL_DEFAULT,
					  &err),
		  &err);
	uint64_t before = g->mock->calls("C_SignFinal");
	fail_once(g, "C_SignFinal", CKR_DEVICE_ERROR, true);
	assert_status(hsmpool_multipart_final(&op, &out, &err), HSMPOOL_ERR_DOWN);
	assert_null(op);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_UNKNOWN);
	assert_int_equal(g->mock->calls("C_SignFinal") - before, 1);
	hsmpool_key_close(&rsa);
}

/* A signature may be counted: the session is replaced, the signature never finished. */
static void an_aborted_signature_is_never_finished(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, NULL);
	hsmpool_key *ec = open_key(pool, "ec");
	hsmpool_multipart *op;
	assert_ok(hsmpool_multipart_begin(&op, pool, ec, HSMPOOL_MULTIPART_SIGN,
					  "ecdsa-sha256", NULL, HSMPOOL_DEFAULT, &err),
		  &err);
	hsmpool_multipart_abort(&op);
	assert_int_equal(g->mock->calls("C_Sign") + g->mock->calls("C_SignFinal"), 0);
	assert_ok(sign(pool, ec, "ecdsa-sha256", &err), &err);
	hsmpool_key_close(&ec);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(a_signature_that_did_not_begin_is_begun_again),
		GROUND_TEST(a_submitted_signature_is_not_repeated_by_default),
		GROUND_TEST(deterministic_signatures_are_repeated_where_that_is_allowed),
		GROUND_TEST(all_signatures_are_repeated_where_that_is_allowed_but_once),
		GROUND_TEST(a_lost_login_is_made_again_and_nobody_notices),
		GROUND_TEST(encryption_is_repeated_with_a_new_iv_and_opens),
		GROUND_TEST(macs_digests_and_random_numbers_are_repeated),
		GROUND_TEST(random_bytes_of_a_failed_call_are_not_left_behind),
		GROUND_TEST(a_vague_answer_to_bad_input_is_data_and_keeps_the_session),
		GROUND_TEST(a_refusal_at_init_is_certainly_not_executed),
		GROUND_TEST(begin_in_parts_is_repeated_but_nothing_after_it),
		GROUND_TEST(an_aborted_signature_is_never_finished),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

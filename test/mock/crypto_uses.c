/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which functions of the library are uses of the HSM, by the audit trail that they leave.
 */
#include "pool_ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "support/trail.h"

#define BYTES(pointer, length) ((hsmpool_bytes){ (const uint8_t *)(pointer), (length) })
#define TEXT(literal)          BYTES(literal, sizeof(literal) - 1)

static char folder[300];
static hsmpool *pool;
static uint8_t made[600], sealed[600];

static hsmpool_key *open_key(const char *label)
{
	hsmpool_error err;
	hsmpool_key *key;
	char uri[64];
	snprintf(uri, sizeof(uri), "pkcs11:object=%s", label);
	assert_ok(hsmpool_key_open(&key, pool, uri, HSMPOOL_DEFAULT, &err), &err);
	return key;
}

static void begin(struct ground *g)
{
	snprintf(folder, sizeof(folder), "%s/audit", g->fixture.dir);
	pool = ground_open(g, "audit", folder, NULL);
}

/* What was recorded, the pool being closed; without the login, which is the first. */
static char *end(struct ground *g)
{
	hsmpool_close(&g->pool);
	char *trail = trail_read(folder);
	assert_string_equal(trail_use(trail, 0), "C_Login CKR_OK");
	return trail;
}

static void each_function_is_one_use(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	begin(g);
	hsmpool_key *aes = open_key("aes"), *rsa = open_key("rsa"),
		    *hmac = open_key("hmac");
	hsmpool_buf out = { sealed, sizeof(sealed), 0 };
	hsmpool_buf plain = { made, sizeof(made), 0 };
	assert_ok(hsmpool_encrypt(pool, aes, "aes-gcm", NULL, TEXT("canary text"), &out,
				  HSMPOOL_DEFAULT, &err),
		  &err);
	assert_ok(hsmpool_decrypt(pool, aes, "aes-gcm", NULL, BYTES(sealed, out.len),
				  &plain, HSMPOOL_DEFAULT, &err),
		  &err);
	assert_ok(hsmpool_sign(pool, rsa, "rsa-pkcs1-sha256", TEXT("canary text"), &out,
			       HSMPOOL_DEFAULT, &err),
		  &err);
	assert_ok(hsmpool_mac(pool, hmac, "hmac-sha256", TEXT("canary text"), &plain,
			      HSMPOOL_DEFAULT, &err),
		  &err);
	assert_ok(hsmpool_digest(pool, "sha256", TEXT("canary text"), &plain,
				 HSMPOOL_DEFAULT, &err),
		  &err);
	assert_ok(hsmpool_random(pool, made, 24, HSMPOOL_DEFAULT, &err), &err);
	hsmpool_key_close(&aes);
	hsmpool_key_close(&rsa);
	hsmpool_key_close(&hmac);
	char *trail = end(g);
	static const char *const expected[] = { "C_Encrypt CKR_OK",
						"C_Decrypt CKR_OK",
						"C_Sign CKR_OK",
						"C_Sign CKR_OK",
						"C_Digest CKR_OK",
						"C_GenerateRandom CKR_OK",
						"" };
	trail_assert(trail, 1, expected);
	assert_non_null(strstr(trail_line(trail, 1), "\"mechanism\":\"CKM_AES_GCM\""));
	assert_non_null(strstr(trail_line(trail, 1), "\"key\":{\"label\":\"aes\""));
	assert_non_null(strstr(trail_line(trail, 1), "\"in\":11,\"out\":39"));
	assert_non_null(strstr(trail_line(trail, 6), "\"out\":24"));
	assert_null(strstr(trail, "canary"));
	assert_null(strstr(trail, FIXTURE_USER_PIN));
	free(trail);
}

static void parts_are_one_use_and_abandoned_ones_are_told(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool_multipart *op;
	begin(g);
	hsmpool_key *hmac = open_key("hmac");
	hsmpool_buf out = { made, sizeof(made), 0 };
	for (int round = 0; round < 2; round++) {
		assert_ok(hsmpool_multipart_begin(&op, pool, hmac, HSMPOOL_MULTIPART_SIGN,
						  "hmac-sha256", NULL, HSMPOOL_DEFAULT,
						  &err),
			  &err);
		assert_ok(hsmpool_multipart_update(op, TEXT("one "), NULL, &err), &err);
		assert_ok(hsmpool_multipart_update(op, TEXT("two"), NULL, &err), &err);
		if (round == 0)
			assert_ok(hsmpool_multipart_final(&op, &out, &err), &err);
		hsmpool_multipart_abort(&op);
	}
	hsmpool_key_close(&hmac);
	char *trail = end(g);
	/* The session of the one that was given up is closed; a login may follow. */
	assert_string_equal(trail_use(trail, 1), "C_SignFinal CKR_OK");
	assert_string_equal(trail_use(trail, 2), "C_SignUpdate CKR_FUNCTION_CANCELED");
	assert_non_null(strstr(trail_line(trail, 1), "\"in\":7,\"out\":32"));
	free(trail);
}

static void a_use_that_is_repeated_after_a_loss_is_one(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	begin(g);
	hsmpool_key *hmac = open_key("hmac");
	hsmpool_buf out = { made, sizeof(made), 0 };
	ground_script(g, "fail=C_SignInit:1:CKR_SESSION_HANDLE_INVALID");
	assert_ok(hsmpool_mac(pool, hmac, "hmac-sha256", TEXT("text"), &out,
			      HSMPOOL_DEFAULT, &err),
		  &err);
	hsmpool_key_close(&hmac);
	char *trail = end(g);
	size_t signatures = 0;
	for (size_t i = 0; trail_line(trail, i); i++)
		signatures += strcmp(trail_use(trail, i), "C_Sign CKR_OK") == 0;
	assert_int_equal(signatures, 1);
	assert_null(strstr(trail, "CKR_SESSION_HANDLE_INVALID"));
	free(trail);
}

static void a_use_that_had_no_session_is_told_with_what_was_asked_for(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	begin(g);
	hsmpool_key *hmac = open_key("hmac");
	hsmpool_session *held[16];
	unsigned count = 0;
	hsmpool_buf out = { made, sizeof(made), 0 };
	while (count < 16 && ground_try_borrow(g, 0, &held[count], &err) == HSMPOOL_OK)
		count++;
	assert_int_equal(hsmpool_mac(pool, hmac, "hmac-sha256", TEXT("text"), &out,
				     HSMPOOL_NO_WAIT, &err),
			 HSMPOOL_ERR_TIMEOUT);
	while (count > 0)
		hsmpool_return(&held[--count], HSMPOOL_VERDICT_CLEAN);
	hsmpool_key_close(&hmac);
	char *trail = end(g);
	static const char *const expected[] = { "C_Sign HSMPOOL_ERR_TIMEOUT", "" };
	trail_assert(trail, 1, expected);
	assert_non_null(strstr(trail_line(trail, 1), "\"key\":{\"label\":\"hmac\""));
	free(trail);
}

static void making_and_destroying_a_key_is_management(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool_key *key;
	hsmpool_key_spec spec = {
		.size = sizeof(spec), .type = "aes", .bits = 256, .label = "made here"
	};
	begin(g);
	assert_ok(hsmpool_key_generate(&key, pool, &spec, HSMPOOL_DEFAULT, &err), &err);
	assert_ok(hsmpool_key_destroy(key, HSMPOOL_DEFAULT, &err), &err);
	hsmpool_key_close(&key);
	char *trail = end(g);
	static const char *const expected[] = { "C_GenerateKey CKR_OK",
						"C_DestroyObject CKR_OK", "" };
	trail_assert(trail, 1, expected);
	for (size_t i = 1; i < 3; i++) {
		const char *line = trail_line(trail, i);
		assert_non_null(strstr(line, "\"event\":\"management\""));
		assert_non_null(strstr(line, "\"label\":\"made here\""));
	}
	free(trail);
}

static void public_keys_used_outside_the_token_are_used_all_the_same(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	snprintf(folder, sizeof(folder), "%s/audit", g->fixture.dir);
	pool = ground_open(g, "audit", folder, "offload-public", "yes", NULL);
	hsmpool_key *rsa = open_key("rsa");
	hsmpool_status status =
		hsmpool_verify(pool, rsa, "rsa-pkcs1-sha256", TEXT("text"),
			       BYTES(made, 128), HSMPOOL_DEFAULT, &err);
	assert_int_equal(status, HSMPOOL_ERR_DATA);
	hsmpool_key_close(&rsa);
	char *trail = end(g);
	static const char *const expected[] = { "C_Verify HSMPOOL_ERR_DATA", "" };
	trail_assert(trail, 1, expected);
	assert_non_null(strstr(trail_line(trail, 1), "\"key\":{\"label\":\"rsa\""));
	free(trail);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(each_function_is_one_use),
		GROUND_TEST(parts_are_one_use_and_abandoned_ones_are_told),
		GROUND_TEST(a_use_that_is_repeated_after_a_loss_is_one),
		GROUND_TEST(a_use_that_had_no_session_is_told_with_what_was_asked_for),
		GROUND_TEST(making_and_destroying_a_key_is_management),
		GROUND_TEST(public_keys_used_outside_the_token_are_used_all_the_same),
	};
	return cmocka_run_group_tests_name("uses", tests, NULL, NULL);
}

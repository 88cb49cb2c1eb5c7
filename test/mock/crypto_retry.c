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

static int count_key(void *user, const hsmpool_key_info *info)
{
	unsigned *count = user;
	(void)info;
	(*count)++;
	return 0;
}

static void a_key_hidden_by_a_lost_login_is_not_taken_for_missing(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	unsigned before = 0;
	unsigned after = 0;
	hsmpool *pool = ground_open(g, NULL);
	assert_ok(hsmpool_key_list(pool, NULL, count_key, &before, HSMPOOL_DEFAULT, &err),
		  &err);
	g->mock->log_out();
	hsmpool_key *ec = open_key(pool, "ec");
	assert_ok(sign(pool, ec, "ecdsa-sha256", &err), &err);
	g->mock->log_out();
	hsmpool_key *aes = open_key(pool, "aes");
	g->mock->log_out();
	assert_ok(hsmpool_key_list(pool, NULL, count_key, &after, HSMPOOL_DEFAULT, &err),
		  &err);
	assert_int_equal(after, before);
	hsmpool_key_close(&aes);
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

/* --- answered first -------------------------------------------------------------------
 */

static uint64_t probes(struct ground *g)
{
	return g->mock->calls("C_GetSessionInfo") + g->mock->calls("C_GetTokenInfo");
}

static hsmpool_status decrypt(hsmpool *pool, hsmpool_key *aes, size_t len,
			      hsmpool_error *err)
{
	static uint8_t plain[16];
	hsmpool_buf back = { plain, sizeof(plain), 0 };
	return hsmpool_decrypt(pool, aes, "aes-gcm", NULL, BYTES(made, len), &back,
			       HSMPOOL_DEFAULT, err);
}

static size_t encrypt(hsmpool *pool, hsmpool_key *aes)
{
	hsmpool_error err;
	hsmpool_buf out = { made, sizeof(made), 0 };
	assert_ok(hsmpool_encrypt(pool, aes, "aes-gcm", NULL, TEXT("text"), &out,
				  HSMPOOL_DEFAULT, &err),
		  &err);
	return out.len;
}

/* How long a failed decryption takes must not tell what was wrong with it. */
static void a_failed_decryption_is_answered_before_its_session_is_probed(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, "keeper", "no", "max-sessions", "1", NULL);
	hsmpool_key *aes = open_key(pool, "aes");
	size_t len = encrypt(pool, aes);
	assert_ok(decrypt(pool, aes, len, &err), &err);
	uint64_t before = probes(g), calls = ground_counters(g).calls;
	fail_once(g, "C_Decrypt", CKR_GENERAL_ERROR, true);
	assert_status(decrypt(pool, aes, len, &err), HSMPOOL_ERR_DATA);
	assert_int_equal(probes(g), before);
	assert_int_equal(ground_counters(g).calls - calls, 2);
	/* The next one to have it looks first, deeply. */
	assert_ok(decrypt(pool, aes, len, &err), &err);
	assert_int_equal(probes(g) - before, 2);
	assert_int_equal(ground_stats(g).generation, 1);
	hsmpool_key_close(&aes);
}

static void the_prober_looks_at_what_a_failed_decryption_left(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, NULL);
	hsmpool_key *aes = open_key(pool, "aes");
	size_t len = encrypt(pool, aes);
	uint64_t validated = ground_stats(g).validated;
	fail_once(g, "C_Decrypt", CKR_GENERAL_ERROR, true);
	assert_status(decrypt(pool, aes, len, &err), HSMPOOL_ERR_DATA);
	hsmpool_validate(pool);
	eventually(ground_stats(g).validated > validated);
	assert_ok(decrypt(pool, aes, len, &err), &err);
	hsmpool_key_close(&aes);
}

/* A dead session that hides behind such a code costs one answer. */
static void a_session_that_died_under_a_decryption_is_found_at_its_next_use(void **state)
{
	const struct mock_reboot how = { .session_rv = CKR_GENERAL_ERROR };
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, "keeper", "no", "max-sessions", "1", NULL);
	hsmpool_key *aes = open_key(pool, "aes");
	size_t len = encrypt(pool, aes);
	assert_ok(decrypt(pool, aes, len, &err), &err);
	fail_once(g, "C_Decrypt", CKR_GENERAL_ERROR, true);
	assert_status(decrypt(pool, aes, len, &err), HSMPOOL_ERR_DATA);
	g->mock->reboot(&how);
	assert_ok(decrypt(pool, aes, len, &err), &err);
	hsmpool_key_close(&aes);
}

/* --- an outage -------------------------------------------------------------------------
 */

#define CROWD 32

struct outage {
	hsmpool *pool;
	hsmpool_key *aes;
	atomic_uint members, served[CROWD], failed;
	atomic_bool stop;
	hsmpool_error first; /* of those that failed */
};

static hsmpool_status use_all(struct outage *o, hsmpool_error *err)
{
	uint8_t sealed[64], plain[16], random[16];
	hsmpool_buf out = { sealed, sizeof(sealed), 0 }, back = { plain, 16, 0 };
	const hsmpool_deadline until = TEST_PATIENCE;
	hsmpool_status status = hsmpool_encrypt(o->pool, o->aes, "aes-gcm", NULL,
						TEXT("text"), &out, until, err);
	if (status == HSMPOOL_OK)
		status = hsmpool_decrypt(o->pool, o->aes, "aes-gcm", NULL,
					 BYTES(sealed, out.len), &back, until, err);
	if (status == HSMPOOL_OK)
		status = hsmpool_random(o->pool, random, sizeof(random), until, err);
	return status;
}

static void *use_until_told(void *argument)
{
	struct outage *o = argument;
	unsigned self = atomic_fetch_add(&o->members, 1);
	hsmpool_error err;
	while (!atomic_load(&o->stop)) {
		if (use_all(o, &err) == HSMPOOL_OK)
			atomic_fetch_add(&o->served[self], 1);
		else if (atomic_fetch_add(&o->failed, 1) == 0)
			o->first = err;
	}
	return NULL;
}

/* All of them, so that none meets two restarts in one operation. */
static void await_everybody(struct outage *o)
{
	unsigned before[CROWD];
	for (int i = 0; i < CROWD; i++)
		before[i] = o->served[i];
	for (int i = 0; i < CROWD; i++)
		eventually(o->served[i] > before[i] + 1 || o->failed > 0);
}

/* L1, L17: what may be repeated is, inside its deadline, and its callers notice nothing.
 */
static void nobody_who_may_be_served_twice_notices_a_reboot(void **state)
{
	struct ground *g = *state;
	const struct mock_reboot how[] = {
		{ .session_rv = CKR_DEVICE_REMOVED, .move_slot = true },
		{ .handles = MOCK_HANDLES_ALIASED },
		{ .session_rv = CKR_DEVICE_ERROR },
		{ .session_rv = CKR_TOKEN_NOT_PRESENT, .keep_login = true },
	};
	struct outage o = { .pool = ground_open(g, "max-sessions", "8", NULL) };
	o.aes = open_key(o.pool, "aes");
	struct crew crew = crew_start(CROWD, use_until_told, &o);
	for (size_t i = 0; i < 2 * sizeof(how) / sizeof(how[0]); i++) {
		await_everybody(&o);
		if (i % 2 == 0) {
			g->mock->reboot(&how[i / 2]);
			continue;
		}
		g->mock->token_absent(MOCK_FOREVER);
		eventually(ground_stats(g).waiters > CROWD / 2 || o.failed > 0);
		g->mock->token_present();
	}
	await_everybody(&o);
	atomic_store(&o.stop, true);
	crew_join(&crew);
	if (o.failed > 0)
		fail_msg("%u failed: %s", o.failed, o.first.text);
	assert_true(ground_counters(g).sessions_peak <= 8);
	hsmpool_key_close(&o.aes);
}

/* Its owner closed under another thread's call: what SoftHSM2 says then. */
static void a_copy_that_dies_under_a_signature_is_taken_for_lost(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, "key-copies", "session", "sign-retry",
				    "deterministic", NULL);
	hsmpool_key *rsa = open_key(pool, "rsa"), *ec = open_key(pool, "ec");
	assert_ok(sign(pool, rsa, "rsa-pkcs1-sha256", &err), &err);
	assert_ok(sign(pool, ec, "ecdsa-sha256", &err), &err);
	uint64_t before = g->mock->calls("C_Sign");
	fail_once(g, "C_Sign", CKR_GENERAL_ERROR, false);
	assert_ok(sign(pool, rsa, "rsa-pkcs1-sha256", &err), &err);
	assert_int_equal(g->mock->calls("C_Sign") - before, 2);
	/* Not one that nobody may make twice. */
	fail_once(g, "C_Sign", CKR_GENERAL_ERROR, false);
	assert_status(sign(pool, ec, "ecdsa-sha256", &err), HSMPOOL_ERR_DOWN);
	assert_int_equal(g->mock->calls("C_Sign") - before, 3);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_UNKNOWN);
	hsmpool_key_close(&rsa);
	hsmpool_key_close(&ec);
}

/* L17: a label means the key that was used before, or none. */
static void another_key_under_the_old_label_is_refused_after_a_reboot(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, NULL);
	hsmpool_key *used = open_key(pool, "ec"), *same = open_key(pool, "ec"), *other;
	const hsmpool_key_spec spec = { .size = sizeof(spec),
					.type = "ec",
					.label = "ec" };
	assert_ok(sign(pool, used, "ecdsa-sha256", &err), &err);
	assert_ok(hsmpool_key_destroy(same, HSMPOOL_DEFAULT, &err), &err);
	assert_ok(hsmpool_key_generate(&other, pool, &spec, HSMPOOL_DEFAULT, &err), &err);
	uint64_t signatures = g->mock->calls("C_Sign");
	g->mock->reboot(NULL);
	assert_status(sign(pool, used, "ecdsa-sha256", &err), HSMPOOL_ERR_KEY);
	assert_non_null(strstr(err.text, "another key now"));
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_NO);
	assert_int_equal(g->mock->calls("C_Sign"), signatures);
	assert_ok(sign(pool, other, "ecdsa-sha256", &err), &err);
	hsmpool_key_close(&used);
	hsmpool_key_close(&same);
	hsmpool_key_close(&other);
}

static void *close_pool(void *argument)
{
	struct ground *g = argument;
	hsmpool_close(&g->pool);
	return NULL;
}

static void *fail_once_slowly(void *argument)
{
	hsmpool_error err;
	uint8_t random[8];
	hsmpool_status status =
		hsmpool_random(argument, random, sizeof(random), HSMPOOL_DEFAULT, &err);
	return (void *)(uintptr_t)(status == HSMPOOL_ERR_UNSUPPORTED &&
				   strstr(err.text, "on token 'mock'"));
}

/* The text of an error names the token, which is known to the pool. */
static void a_pool_is_not_freed_under_an_operation_that_says_why_it_failed(void **state)
{
	struct ground *g = *state;
	for (int i = 0; i < 20; i++) {
		pthread_t thread;
		void *was_told;
		ground_open(g, NULL);
		fail_once(g, "C_GenerateRandom", CKR_FUNCTION_NOT_SUPPORTED, false);
		g->mock->hang("C_GenerateRandom", 1);
		assert_int_equal(pthread_create(&thread, NULL, fail_once_slowly, g->pool),
				 0);
		eventually(g->mock->hung() == 1);
		pthread_t closer;
		assert_int_equal(pthread_create(&closer, NULL, close_pool, g), 0);
		g->mock->release();
		pthread_join(thread, &was_told);
		pthread_join(closer, NULL);
		assert_non_null(was_told);
	}
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
		GROUND_TEST(a_key_hidden_by_a_lost_login_is_not_taken_for_missing),
		GROUND_TEST(encryption_is_repeated_with_a_new_iv_and_opens),
		GROUND_TEST(macs_digests_and_random_numbers_are_repeated),
		GROUND_TEST(random_bytes_of_a_failed_call_are_not_left_behind),
		GROUND_TEST(a_vague_answer_to_bad_input_is_data_and_keeps_the_session),
		GROUND_TEST(a_refusal_at_init_is_certainly_not_executed),
		GROUND_TEST(a_failed_decryption_is_answered_before_its_session_is_probed),
		GROUND_TEST(the_prober_looks_at_what_a_failed_decryption_left),
		GROUND_TEST(
			a_session_that_died_under_a_decryption_is_found_at_its_next_use),
		GROUND_TEST(nobody_who_may_be_served_twice_notices_a_reboot),
		GROUND_TEST(
			a_pool_is_not_freed_under_an_operation_that_says_why_it_failed),
		GROUND_TEST(another_key_under_the_old_label_is_refused_after_a_reboot),
		GROUND_TEST(a_copy_that_dies_under_a_signature_is_taken_for_lost),
		GROUND_TEST(begin_in_parts_is_repeated_but_nothing_after_it),
		GROUND_TEST(an_aborted_signature_is_never_finished),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What pseudonyms ask of the HSM, and what becomes of them when it fails. */
#include "pool_ground.h"

#include "pseudonym/cache.h"
#include "pseudonym/method.h"
#include "support/pseudonymized.h"

#include <string.h>

#define NAMED(column_name) .size = sizeof(hsmpool_column), .name = (column_name)

static const hsmpool_column token_column = { NAMED("email") };
static const hsmpool_column number_column = { NAMED("card"),
					      .method = HSMPOOL_COLUMN_FPE };

/* One column at work under the mock's key "hmac". */
struct work {
	struct ground *ground;
	hsmpool_key *key;
	struct hp_cache *cache;
	struct hp_method *method;
	struct hp_method_worker *worker;
	struct hp_text out;
};

static void begin_with(struct work *w, struct ground *g, const hsmpool_column *column,
		       struct hp_cache *cache)
{
	hsmpool_error err;
	*w = (struct work){ .ground = g, .cache = cache };
	hsmpool *pool = ground_open(g, NULL);
	assert_ok(hsmpool_key_open(&w->key, pool, "pkcs11:object=hmac", HSMPOOL_DEFAULT,
				   &err),
		  &err);
	const struct hp_method_ground shared = {
		.pool = pool,
		.key = w->key,
		.cache = w->cache,
		.deadline = HSMPOOL_DEFAULT,
	};
	assert_ok(hp_method_open(&w->method, &shared, column, &err), &err);
	assert_ok(hp_method_worker_new(&w->worker, w->method, &err), &err);
}

static void begin(struct work *w, struct ground *g, const hsmpool_column *column)
{
	begin_with(w, g, column, hp_cache_new(HP_CACHE_BYTES));
}

static void end(struct work *w)
{
	hp_text_clear(&w->out);
	hp_method_worker_free(&w->worker);
	hp_method_close(&w->method);
	hp_cache_free(&w->cache);
	hsmpool_key_close(&w->key);
}

static hsmpool_status apply(struct work *w, const char *value, bool *is_bad,
			    hsmpool_error *err)
{
	w->out.len = 0;
	return pseudonymized(w->method, w->worker,
			     (hsmpool_bytes){ (const uint8_t *)value, strlen(value) },
			     &w->out, is_bad, err);
}

static void expect_good(struct work *w, const char *value)
{
	hsmpool_error err;
	bool is_bad;
	assert_ok(apply(w, value, &is_bad, &err), &err);
}

static uint64_t macs(const struct work *w)
{
	return w->ground->mock->calls("C_Sign");
}

static void the_hsm_is_asked_once_per_value_that_is_new(void **state)
{
	struct work w;
	begin(&w, *state, &token_column);
	uint64_t before = macs(&w);
	for (int i = 0; i < 10; i++) {
		expect_good(&w, "alice");
		expect_good(&w, "bob");
	}
	assert_int_equal(macs(&w) - before, 2);
	end(&w);
}

static void a_token_that_is_waited_for_is_not_local(void **state)
{
	struct work w;
	begin(&w, *state, &token_column);
	w.ground->mock->latency("C_Sign", 5000000);
	assert_false(hp_keyed_is_local(w.ground->pool, w.key, HSMPOOL_DEFAULT));
	w.ground->mock->latency("C_Sign", 0);
	eventually(hp_keyed_is_local(w.ground->pool, w.key, HSMPOOL_DEFAULT));
	end(&w);
}

static void fpe_asks_the_hsm_before_the_first_value_only(void **state)
{
	struct work w;
	begin(&w, *state, &number_column);
	uint64_t before = macs(&w);
	for (int i = 0; i < 10; i++)
		expect_good(&w, "4111111111111111");
	assert_int_equal(macs(&w), before);
	end(&w);
}

/* Even where the module says that the data was at fault. */
static void a_failure_of_the_hsm_is_not_a_bad_value(void **state)
{
	const CK_RV answers[] = { CKR_DEVICE_ERROR, CKR_DATA_LEN_RANGE,
				  CKR_DATA_INVALID };
	struct work w;
	begin(&w, *state, &token_column);
	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
		hsmpool_error err;
		bool is_bad = true;
		const struct mock_failure failure = { .function = "C_Sign",
						      .rv = answers[i],
						      .count = MOCK_FOREVER };
		(w.ground->mock->fail)(&failure);
		assert_int_not_equal(apply(&w, "alice", &is_bad, &err), HSMPOOL_OK);
		assert_false(is_bad);
		assert_null(strstr(err.text, "alice"));
		assert_int_equal(w.out.len, 0);
		w.ground->mock->clear_failures();
	}
	expect_good(&w, "alice");
	end(&w);
}

static void what_failed_is_not_remembered(void **state)
{
	hsmpool_error err;
	bool is_bad;
	const struct mock_failure failure = { .function = "C_Sign",
					      .rv = CKR_DATA_INVALID };
	struct work w;
	begin(&w, *state, &token_column);
	(w.ground->mock->fail)(&failure);
	assert_int_not_equal(apply(&w, "alice", &is_bad, &err), HSMPOOL_OK);
	uint64_t before = macs(&w);
	expect_good(&w, "alice");
	assert_int_equal(macs(&w) - before, 1);
	end(&w);
}

static void a_token_is_the_same_after_the_sessions_were_lost(void **state)
{
	struct work w;
	begin_with(&w, *state, &token_column, NULL);
	expect_good(&w, "alice");
	struct hp_text first = { 0 };
	hsmpool_error err;
	assert_ok(hp_text_append(&first, w.out.data, w.out.len, &err), &err);
	w.ground->mock->reboot(NULL);
	expect_good(&w, "alice");
	assert_int_equal(w.out.len, first.len);
	assert_memory_equal(w.out.data, first.data, first.len);
	hp_text_clear(&first);
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(the_hsm_is_asked_once_per_value_that_is_new),
		GROUND_TEST(a_token_that_is_waited_for_is_not_local),
		GROUND_TEST(fpe_asks_the_hsm_before_the_first_value_only),
		GROUND_TEST(a_failure_of_the_hsm_is_not_a_bad_value),
		GROUND_TEST(what_failed_is_not_remembered),
		GROUND_TEST(a_token_is_the_same_after_the_sessions_were_lost),
	};
	return cmocka_run_group_tests_name("pseudonym_hsm", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The upper rungs of the ladder: a token that is away for long, and how soon it is used
 * again when it is back.
 */
#include "mock/pool_ground.h"

#include <stdio.h>
#include <string.h>

#define assert_rv(call, expected) assert_int_equal((call), (expected))

/* Opens soon; tries the token often; the keeper looks often too. */
static void open_impatiently(struct ground *g)
{
	ground_open(g, "max-sessions", "4", "breaker-after", "1ms", "breaker-failures",
		    "2", "breaker-probe", "20ms", "breaker-probe-max", "40ms",
		    "stuck-after", "1s", "module-restart", "no", NULL);
}

static bool is_refused(struct ground *g, hsmpool_error *err)
{
	CK_RV rv;
	return ground_operate(g->pool, 60000, &rv, err) == HSMPOOL_ERR_DOWN;
}

/* L22. A caller who comes later hears at once what the last try heard. */
static void a_token_that_stays_away_is_reported_down_at_once_with_the_reason(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	char text[512];
	CK_RV rv;

	open_impatiently(g);
	g->mock->token_absent(MOCK_FOREVER);
	ground_operate(g->pool, 1, &rv, &err);
	eventually(ground_stats(g).breaker != HSMPOOL_BREAKER_CLOSED);
	int64_t before = hp_now_ns();
	assert_true(is_refused(g, &err));
	assert_true(hp_now_ns() - before < 5 * HP_SECOND); /* of the minute it had */
	assert_non_null(strstr(err.text, "the token is gone"));
	assert_int_not_equal(err.ck_rv, CKR_OK);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_NO);
	assert_int_equal(ground_stats(g).breaker_opened, 1);
	eventually(ground_logged("breaker-open", text, sizeof(text)) == 1);
}

static void a_token_that_is_back_is_found_by_the_probe_and_used_at_once(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv;

	open_impatiently(g);
	g->mock->token_absent(MOCK_FOREVER);
	ground_operate(g->pool, 1, &rv, &err);
	eventually(ground_stats(g).breaker != HSMPOOL_BREAKER_CLOSED);
	assert_true(is_refused(g, &err));
	g->mock->token_present();
	/* Without any caller asking. */
	eventually(ground_stats(g).breaker == HSMPOOL_BREAKER_CLOSED);
	assert_rv(ground_sign(g), CKR_OK);
	assert_int_equal(ground_logged("breaker-closed", NULL, 0), 1);
}

struct patient {
	struct ground *g;
	atomic_uint served, refused;
};

static void *operate_patiently(void *argument)
{
	struct patient *patient = argument;
	hsmpool_error err;
	CK_RV rv;
	hsmpool_status status = ground_operate(patient->g->pool, 60000, &rv, &err);

	atomic_fetch_add(status == HSMPOOL_OK ? &patient->served : &patient->refused, 1);
	return NULL;
}

/* They asked when there was hope, and their deadlines are theirs to choose. */
static void who_waits_when_the_breaker_opens_waits_on(void **state)
{
	struct ground *g = *state;
	struct patient patient = { .g = g };
	hsmpool_error err;

	open_impatiently(g);
	hsmpool_session *only[4];
	for (int i = 0; i < 4; i++)
		only[i] = ground_borrow(g);
	struct crew crew = crew_start(4, operate_patiently, &patient);
	eventually(ground_stats(g).waiters == 4);
	g->mock->token_absent(MOCK_FOREVER);
	for (int i = 0; i < 4; i++)
		hsmpool_return(&only[i], HSMPOOL_VERDICT_DEAD);
	eventually(ground_stats(g).breaker != HSMPOOL_BREAKER_CLOSED);
	assert_true(is_refused(g, &err));
	eventually(ground_stats(g).waiters == 4);
	g->mock->token_present();
	crew_join(&crew);
	assert_int_equal(patient.served, 4);
	assert_int_equal(patient.refused, 0);
}

static void without_background_threads_a_borrower_whose_turn_it_is_tries(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv;

	ground_set(g, "keeper", "no", NULL);
	open_impatiently(g);
	g->mock->token_absent(MOCK_FOREVER);
	eventually(ground_operate(g->pool, 1, &rv, &err) == HSMPOOL_ERR_DOWN &&
		   ground_stats(g).breaker == HSMPOOL_BREAKER_OPEN);
	g->mock->token_present();
	eventually(ground_operate(g->pool, 0, &rv, &err) == HSMPOOL_OK && rv == CKR_OK);
	assert_int_equal(ground_stats(g).breaker, HSMPOOL_BREAKER_CLOSED);
}

static void what_callers_do_wrong_never_opens_the_breaker(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv;

	open_impatiently(g);
	ground_script(g, "fail=C_GenerateRandom:1+:CKR_DATA_INVALID");
	for (int i = 0; i < 50; i++)
		assert_ok(ground_operate(g->pool, 1000, &rv, &err), &err);
	assert_int_equal(ground_stats(g).breaker_opened, 0);
}

static void with_breaker_after_0_everyone_waits_until_its_deadline(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv;

	ground_open(g, "breaker-after", "0", "breaker-failures", "1", "module-restart",
		    "no", NULL);
	g->mock->token_absent(MOCK_FOREVER);
	ground_operate(g->pool, 1, &rv, &err);
	eventually(ground_stats(g).open_failures > 3);
	assert_int_equal(ground_stats(g).breaker, HSMPOOL_BREAKER_CLOSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(
			a_token_that_stays_away_is_reported_down_at_once_with_the_reason),
		GROUND_TEST(a_token_that_is_back_is_found_by_the_probe_and_used_at_once),
		GROUND_TEST(who_waits_when_the_breaker_opens_waits_on),
		GROUND_TEST(without_background_threads_a_borrower_whose_turn_it_is_tries),
		GROUND_TEST(what_callers_do_wrong_never_opens_the_breaker),
		GROUND_TEST(with_breaker_after_0_everyone_waits_until_its_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of the module that hang: who is not inside one is served, or hears in time, and
 * what returns late is closed. L32, row 23.
 */
#include "mock/pool_ground.h"

#include <string.h>

#define assert_rv(call, expected) assert_int_equal((call), (expected))

struct user {
	struct ground *g;
	_Atomic hsmpool_status status;
	_Atomic CK_RV rv;
	atomic_uint done;
	atomic_bool stop;
};

static void *operate_once(void *argument)
{
	struct user *user = argument;
	hsmpool_error err;
	CK_RV rv;

	atomic_store(&user->status,
		     ground_operate(user->g->pool, TEST_PATIENCE_MS, &rv, &err));
	atomic_store(&user->rv, rv);
	atomic_fetch_add(&user->done, 1);
	return NULL;
}

/* Those that are armed hang, others hold their session until they are told. */
static void *hold_a_session(void *argument)
{
	struct user *user = argument;
	struct hp_session *s;
	CK_BYTE random[8];
	CK_RV rv = CKR_GENERAL_ERROR;

	if (hp_pool_borrow(user->g->pool, HP_WANT_ANY, "holder", TEST_PATIENCE, &s,
			   NULL) != HSMPOOL_OK)
		return NULL;
	rv = hp_generate_random(s, random, sizeof(random));
	atomic_fetch_add(&user->done, 1);
	while (!atomic_load(&user->stop))
		ground_nap();
	hp_pool_return(s, rv);
	return NULL;
}

static unsigned open_now(struct ground *g)
{
	return (unsigned)ground_counters(g).sessions_now;
}

/* --- the reserve ------------------------------------------------------------------- */

static void a_hung_session_is_replaced_out_of_the_reserve(void **state)
{
	struct ground *g = *state;
	struct user user = { .g = g };
	hsmpool_session *more = NULL;
	hsmpool_error err;

	ground_open(g, "max-sessions", "2", "stuck-after", "20ms", "stuck-reserve", "1",
		    NULL);
	ground_script(g, "hang=C_GenerateRandom:1; hang=C_GenerateRandom:2");
	struct crew crew = crew_start(2, operate_once, &user);
	eventually(ground_stats(g).stuck == 2);
	assert_int_equal(ground_stats(g).limit, 3);
	hsmpool_session *s = ground_borrow(g);
	assert_status(ground_try_borrow(g, 20, &more, &err), HSMPOOL_ERR_TIMEOUT);
	assert_int_equal(open_now(g), 3);
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
	g->mock->release();
	crew_join(&crew);
	assert_int_equal(ground_counters(g).sessions_peak, 3);
	assert_int_equal(ground_stats(g).stuck, 0);
	assert_int_equal(ground_stats(g).limit, 2);
	assert_true(ground_stats(g).hung_calls >= 2); /* slow ones count, too */
}

static void who_waits_gets_the_session_that_replaces_a_hung_one(void **state)
{
	struct ground *g = *state;
	struct user user = { .g = g };

	ground_open(g, "max-sessions", "1", "stuck-after", "20ms", "stuck-reserve", "1",
		    NULL);
	ground_script(g, "hang=C_GenerateRandom:1");
	struct crew crew = crew_start(1, operate_once, &user);
	eventually(g->mock->hung() == 1);
	hsmpool_session *s = ground_borrow(g); /* waits until it is seen to hang */
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
	assert_rv(ground_sign(g), CKR_OK);
	g->mock->release();
	crew_join(&crew);
	assert_rv(user.rv, CKR_OK);
	assert_rv(ground_sign(g), CKR_OK);
}

static void the_surplus_is_closed_when_the_hung_ones_are_back(void **state)
{
	struct ground *g = *state;
	struct user hung = { .g = g }, busy = { .g = g };

	ground_open(g, "max-sessions", "16", "stuck-after", "20ms", "stuck-reserve", "4",
		    NULL);
	for (unsigned i = 1; i <= 4; i++)
		g->mock->hang("C_GenerateRandom", i);
	struct crew four = crew_start(4, operate_once, &hung);
	eventually(ground_stats(g).stuck == 4);
	struct crew sixteen = crew_start(16, hold_a_session, &busy);
	eventually(busy.done == 16);
	assert_int_equal(open_now(g), 20);
	g->mock->release();
	crew_join(&four);
	atomic_store(&busy.stop, true);
	crew_join(&sixteen);
	eventually(open_now(g) <= 16);
	assert_int_equal(ground_counters(g).sessions_peak, 20);
}

/* The rule of the token comes before the reserve. */
static void the_reserve_ends_at_what_the_token_reports(void **state)
{
	struct ground *g = *state;
	struct user user = { .g = g };
	hsmpool_session *none = NULL;
	hsmpool_error err;

	ground_script(g, "sessions=2; report-sessions=2");
	ground_open(g, "max-sessions", "2", "stuck-after", "20ms", "stuck-reserve", "2",
		    NULL);
	ground_script(g, "hang=C_GenerateRandom:1; hang=C_GenerateRandom:2");
	struct crew crew = crew_start(2, operate_once, &user);
	eventually(ground_stats(g).stuck == 2);
	assert_status(ground_try_borrow(g, 20, &none, &err), HSMPOOL_ERR_TIMEOUT);
	assert_int_equal(ground_stats(g).open_failures, 0);
	g->mock->release();
	crew_join(&crew);
}

/* --- calls of the pool itself ------------------------------------------------------- */

static void a_hung_open_does_not_keep_others_from_opening(void **state)
{
	struct ground *g = *state;
	struct user user = { .g = g };

	ground_open(g, "max-sessions", "3", "min-sessions", "1", "stuck-after", "20ms",
		    NULL);
	hsmpool_session *first = ground_borrow(g);
	g->mock->hang("C_OpenSession", 1);
	struct crew crew = crew_start(1, operate_once, &user);
	eventually(ground_stats(g).stuck == 1);
	hsmpool_session *second = ground_borrow(g);
	hsmpool_return(&first, HSMPOOL_VERDICT_CLEAN);
	hsmpool_return(&second, HSMPOOL_VERDICT_CLEAN);
	g->mock->release();
	crew_join(&crew);
	assert_int_equal(user.status, HSMPOOL_OK);
	assert_rv(user.rv, CKR_OK);
	assert_int_equal(ground_stats(g).stuck, 0);
	assert_true(ground_counters(g).sessions_peak <= 3);
}

static void a_hung_login_makes_nobody_miss_a_deadline(void **state)
{
	struct ground *g = *state;
	struct user user = { .g = g };
	hsmpool_session *none = NULL;
	hsmpool_error err;

	ground_open(g, "max-sessions", "3", "min-sessions", "1", "stuck-after", "20ms",
		    "validate-after", "0s", NULL);
	g->mock->log_out();
	g->mock->hang("C_Login", 1);
	struct crew crew = crew_start(1, operate_once, &user);
	eventually(ground_stats(g).stuck == 1);
	int64_t before = hp_now_ns();
	assert_status(ground_try_borrow(g, 30, &none, &err), HSMPOOL_ERR_TIMEOUT);
	assert_true(hp_now_ns() - before < TEST_AT_ONCE_NS);
	g->mock->release();
	crew_join(&crew);
	assert_rv(user.rv, CKR_OK);
	assert_rv(ground_sign(g), CKR_OK);
	assert_int_equal(ground_counters(g).logins_failed, 0);
}

static void a_hung_probe_does_not_end_upkeep(void **state)
{
	struct ground *g = *state;

	/* Far from the grain of the coarse clock that stamps calls: no other is taken for
	 * hung. */
	ground_open(g, "max-sessions", "3", "min-sessions", "3", "stuck-after", "200ms",
		    "revalidate-interval", "20ms", "probe", "token-info", NULL);
	g->mock->hang("C_GetTokenInfo", 1);
	eventually(ground_stats(g).stuck == 1);
	uint64_t validated = ground_stats(g).validated;
	eventually(ground_stats(g).validated > validated + 3);
	assert_rv(ground_sign(g), CKR_OK);
	g->mock->release();
	eventually(ground_stats(g).stuck == 0);
	eventually(ground_stats(g).closed_stuck >= 1);
}

static void a_hung_close_takes_one_place_and_holds_nobody_up(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", "2", "min-sessions", "1", "stuck-after", "20ms",
		    "idle-timeout", "20ms", NULL);
	hsmpool_session *first = ground_borrow(g);
	hsmpool_session *second = ground_borrow(g);
	/* Now: who borrows closes one that was opened too slowly. */
	g->mock->hang("C_CloseSession", 1);
	hsmpool_return(&first, HSMPOOL_VERDICT_CLEAN);
	hsmpool_return(&second, HSMPOOL_VERDICT_CLEAN);
	eventually(ground_stats(g).stuck == 1);
	for (int i = 0; i < 5; i++)
		assert_rv(ground_sign(g), CKR_OK);
	g->mock->release();
	eventually(ground_stats(g).stuck == 0);
}

static void a_pause_does_not_wait_for_a_hung_close_for_ever(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	ground_open(g, "max-sessions", "4", "min-sessions", "4", NULL);
	g->mock->hang("C_CloseSession", 1);
	assert_status(hsmpool_pause(g->pool, hsmpool_deadline_in(50), &err),
		      HSMPOOL_ERR_TIMEOUT);
	hsmpool_resume(g->pool);
	assert_rv(ground_sign(g), CKR_OK);
	g->mock->release();
}

/* --- roles -------------------------------------------------------------------------- */

static void a_hung_anchor_hands_its_role_on(void **state)
{
	struct ground *g = *state;
	struct user user = { .g = g };
	struct hp_session *anchor;
	hsmpool_error err;

	ground_open(g, "max-sessions", "2", "min-sessions", "1", "stuck-after", "20ms",
		    NULL);
	ground_script(g, "hang=C_GenerateRandom:1");
	struct crew crew = crew_start(1, operate_once, &user);
	eventually(ground_stats(g).stuck == 1);
	assert_ok(hp_pool_borrow(g->pool, HP_WANT_ANCHOR, "test", TEST_PATIENCE, &anchor,
				 &err),
		  &err);
	hp_pool_return(anchor, CKR_OK);
	g->mock->release();
	crew_join(&crew);
	assert_rv(ground_sign(g), CKR_OK);
	assert_int_equal(ground_counters(g).logins_tried, 1);
}

static void without_a_keeper_the_next_to_wait_sees_the_hang(void **state)
{
	struct ground *g = *state;
	struct user user = { .g = g };
	hsmpool_session *none = NULL;
	hsmpool_error err;

	ground_open(g, "max-sessions", "1", "keeper", "no", "stuck-after", "1ms",
		    "stuck-reserve", "1", NULL);
	ground_script(g, "hang=C_GenerateRandom:1");
	struct crew crew = crew_start(1, operate_once, &user);
	eventually(g->mock->hung() == 1);
	eventually(ground_try_borrow(g, 1, &none, &err) == HSMPOOL_OK);
	hsmpool_return(&none, HSMPOOL_VERDICT_CLEAN);
	g->mock->release();
	crew_join(&crew);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(a_hung_session_is_replaced_out_of_the_reserve),
		GROUND_TEST(who_waits_gets_the_session_that_replaces_a_hung_one),
		GROUND_TEST(the_surplus_is_closed_when_the_hung_ones_are_back),
		GROUND_TEST(the_reserve_ends_at_what_the_token_reports),
		GROUND_TEST(a_hung_open_does_not_keep_others_from_opening),
		GROUND_TEST(a_hung_login_makes_nobody_miss_a_deadline),
		GROUND_TEST(a_hung_probe_does_not_end_upkeep),
		GROUND_TEST(a_hung_close_takes_one_place_and_holds_nobody_up),
		GROUND_TEST(a_pause_does_not_wait_for_a_hung_close_for_ever),
		GROUND_TEST(a_hung_anchor_hands_its_role_on),
		GROUND_TEST(without_a_keeper_the_next_to_wait_sees_the_hang),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

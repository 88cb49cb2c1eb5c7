/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Corners of the pool where two threads meet, each made to happen.
 *
 * A storm hits them once in a while; here each is one test that fails without its rule.
 */
#include "mock/pool_ground.h"

#include <string.h>
#include "pool/internal.h"

static struct hp_session *take(struct ground *g, enum hp_want want)
{
	struct hp_session *s = NULL;
	hsmpool_error err;

	assert_ok(hp_pool_borrow(g->pool, want, "test", TEST_PATIENCE, &s, &err), &err);
	return s;
}

static uint64_t calls_within(struct ground *g, const char *function, int64_t span_ns)
{
	uint64_t before = g->mock->calls(function);
	int64_t until = hp_now_ns() + span_ns;

	while (hp_now_ns() < until)
		ground_nap();
	return g->mock->calls(function) - before;
}

/* --- waiting ----------------------------------------------------------------- */

static void *wait_for_anchor(void *argument)
{
	struct hp_session *s = take(argument, HP_WANT_ANCHOR);

	hp_pool_return(s, CKR_OK);
	return NULL;
}

static void waiter_for_the_anchor_does_not_bar_others(void **state)
{
	struct ground *g = *state;
	struct hp_session *other = NULL;
	hsmpool_error err;

	ground_open(g, "max-sessions", "2", "min-sessions", "2", "keeper", "no", "fair",
		    "yes", NULL);
	struct hp_session *anchor = take(g, HP_WANT_ANCHOR);
	struct crew crew = crew_start(1, wait_for_anchor, g);
	eventually(ground_stats(g).oldest_wait_ns > 2 * HP_MS);
	hsmpool_status status = hp_pool_borrow(g->pool, HP_WANT_ANY, "test",
					       HSMPOOL_NO_WAIT, &other, &err);
	if (status == HSMPOOL_OK)
		hp_pool_return(other, CKR_OK);
	hp_pool_return(anchor, CKR_OK);
	crew_join(&crew);
	assert_status(status, HSMPOOL_OK);
}

static void the_anchor_is_what_is_got(void **state)
{
	struct ground *g = *state;
	struct hp_session *second = NULL;
	hsmpool_error err;

	ground_open(g, "max-sessions", "4", "keeper", "no", NULL);
	struct hp_session *anchor = take(g, HP_WANT_ANCHOR);
	/* There is room, but what would be opened is not the anchor. */
	assert_status(hp_pool_borrow(g->pool, HP_WANT_ANCHOR, "test",
				     hsmpool_deadline_in(20), &second, &err),
		      HSMPOOL_ERR_TIMEOUT);
	assert_int_equal(ground_stats(g).open, 1);
	hp_pool_return(anchor, CKR_OK);
}

static void owner_of_objects_is_not_replaced_to_be_read_write(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", "3", "min-sessions", "2", "keeper", "no", NULL);
	struct hp_session *owner = take(g, HP_WANT_ANY);
	owner->objects = 1;
	hp_pool_return(owner, CKR_OK);
	struct hp_session *writer = take(g, HP_WANT_READ_WRITE);
	assert_ptr_not_equal(writer, owner);
	hp_pool_return(writer, CKR_OK);
	owner->objects = 0;
}

/* --- pausing ----------------------------------------------------------------- */

static atomic_bool may_return;

static void *borrow_new_session(void *argument)
{
	struct hp_session *s = take(argument, HP_WANT_ANY);

	while (!atomic_load(&may_return))
		ground_nap();
	hp_pool_return(s, CKR_OK);
	return NULL;
}

static void pause_waits_for_a_session_being_opened(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	ground_open(g, "max-sessions", "2", "keeper", "no", NULL);
	struct hp_session *first = take(g, HP_WANT_ANY);
	atomic_store(&may_return, false);
	g->mock->hang("C_OpenSession", 1);
	struct crew crew = crew_start(1, borrow_new_session, g);
	eventually(g->mock->hung() == 1);
	hp_pool_return(first, CKR_OK);
	hsmpool_status while_opening =
		hsmpool_pause(g->pool, hsmpool_deadline_in(20), &err);
	g->mock->release();
	eventually(ground_stats(g).used == 1);
	hsmpool_status while_lent = hsmpool_pause(g->pool, hsmpool_deadline_in(20), &err);
	atomic_store(&may_return, true);
	crew_join(&crew);
	assert_status(while_opening, HSMPOOL_ERR_TIMEOUT);
	assert_status(while_lent, HSMPOOL_ERR_TIMEOUT);
	assert_ok(hsmpool_pause(g->pool, TEST_PATIENCE, &err), &err);
	assert_int_equal(ground_stats(g).open, 1);
}

/* --- logging in -------------------------------------------------------------- */

static void loss_of_login_is_told_to_all_who_met_it(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", "3", "keeper", "no", NULL);
	struct hp_session *one = take(g, HP_WANT_ANY);
	struct hp_session *two = take(g, HP_WANT_ANY);
	struct hp_session *three = take(g, HP_WANT_ANY);
	g->mock->log_out();
	assert_int_equal(hp_pool_return(one, CKR_USER_NOT_LOGGED_IN), HP_RV_LOGIN_LOST);
	/* Noticed, but not repaired yet. */
	assert_int_equal(hp_pool_return(two, CKR_USER_NOT_LOGGED_IN), HP_RV_LOGIN_LOST);
	assert_int_equal(ground_sign(g), CKR_OK);
	/* Repaired. */
	assert_int_equal(hp_pool_return(three, CKR_USER_NOT_LOGGED_IN), HP_RV_LOGIN_LOST);
	assert_int_equal(ground_stats(g).logins, 2);
	assert_int_equal(ground_stats(g).lost_logins, 1);
}

static void *operate_for_a_while(void *argument)
{
	struct ground *g = argument;
	hsmpool_error err;
	CK_RV rv;

	ground_operate(g->pool, 400, &rv, &err);
	return NULL;
}

static void failing_login_is_not_hammered(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv;

	ground_open(g, "max-sessions", "4", "keeper", "no", NULL);
	g->mock->log_out();
	ground_script(g, "fail=C_Login:1+:CKR_DEVICE_ERROR");
	struct hp_session *s = take(g, HP_WANT_ANY);
	hp_pool_return(s, CKR_USER_NOT_LOGGED_IN);
	uint64_t before = g->mock->calls("C_Login");
	struct crew crew = crew_start(16, operate_for_a_while, g);
	crew_join(&crew);
	assert_true(g->mock->calls("C_Login") - before <= 8);
	assert_status(ground_operate(g->pool, 0, &rv, &err), HSMPOOL_ERR_DOWN);
	assert_non_null(strstr(err.text, "CKR_DEVICE_ERROR"));
	g->mock->clear_failures();
	assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
	assert_int_equal(rv, CKR_OK);
}

static void *log_in_for_a_key(void *argument)
{
	hsmpool_error err;
	struct hp_session *s = take(argument, HP_WANT_ANY);

	hsmpool_status status = hp_pool_context_login(s, &err);
	hp_pool_return(s, CKR_OK);
	return (void *)(uintptr_t)status;
}

static void refused_pin_costs_one_try_however_many_threads_have_it(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv;

	ground_open(g, "max-sessions", "8", "min-sessions", "8", NULL);
	uint64_t before = g->mock->calls("C_Login");
	ground_script(g, "fail=C_Login:1+:CKR_PIN_INCORRECT");
	g->mock->latency("C_Login", 20 * HP_MS);
	struct crew crew = crew_start(8, log_in_for_a_key, g);
	crew_join(&crew);
	assert_int_equal(g->mock->calls("C_Login") - before, 1);
	assert_status(ground_operate(g->pool, 100, &rv, &err), HSMPOOL_ERR_AUTH);

	/* When it is time to look for another PIN there is none, so it stays. */
	pthread_mutex_lock(&g->pool->lock);
	g->pool->latch_recheck_ns = 0;
	pthread_mutex_unlock(&g->pool->lock);
	assert_status(ground_operate(g->pool, 100, &rv, &err), HSMPOOL_ERR_AUTH);
	assert_int_equal(g->mock->calls("C_Login") - before, 1);
}

/* --- the background ---------------------------------------------------------- */

static void probe_that_fails_on_a_living_session_is_not_repeated_at_once(void **state)
{
	struct ground *g = *state;
	ground_script(g, "fail=C_GenerateRandom:1+:CKR_DEVICE_MEMORY");
	ground_open(g, "revalidate-interval", "50ms", "probe", "random", NULL);
	eventually(g->mock->calls("C_GenerateRandom") >= 2);
	assert_true(calls_within(g, "C_GenerateRandom", 300 * HP_MS) < 50);
}

static void hung_probe_blinds_nobody(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv;

	ground_open(g, "max-sessions", "4", "min-sessions", "3", "revalidate-interval",
		    "20ms", "probe", "random", "stuck-after", "100ms", NULL);
	g->mock->hang("C_GenerateRandom", 1);
	eventually(g->mock->hung() == 1);
	/* Sessions can be opened by those who need them ... */
	struct hp_session *held[3];
	for (int i = 0; i < 3; i++)
		held[i] = take(g, HP_WANT_ANY);
	assert_int_equal(ground_stats(g).open, 4);
	for (int i = 0; i < 3; i++)
		hp_pool_return(held[i], CKR_SESSION_HANDLE_INVALID);
	/* ... and another prober takes over: the pool is filled up again. */
	eventually(ground_stats(g).open >= 3);
	g->mock->release();
	eventually(ground_stats(g).testing == 0);
	assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
}

static void *open_and_close(void *argument)
{
	struct ground *g = argument;

	for (int i = 0; i < 25; i++) {
		hsmpool *pool = NULL;
		hsmpool_error err;
		CK_RV rv;
		assert_ok(
			hsmpool_open(&pool, g->fixture.config, NULL, TEST_PATIENCE, &err),
			&err);
		for (int calls = 0; calls < i; calls++)
			ground_operate(pool, TEST_PATIENCE_MS, &rv, &err);
		hsmpool_close(&pool);
	}
	return NULL;
}

/* Each that closes last ends the threads, each that opens first starts them; a job
 * dropped between the two would hold its pool's close for all of close-grace. */
static void pools_open_and_close_side_by_side(void **state)
{
	struct ground *g = *state;
	int64_t began_ns = hp_now_ns();

	ground_set(g, "revalidate-interval", "1ms", "min-sessions", "3", "idle-timeout",
		   "1ms", "close-grace", "60s", NULL);
	struct crew crew = crew_start(4, open_and_close, g);
	crew_join(&crew);
	assert_true(hp_now_ns() - began_ns < 50 * HP_SECOND);
}

/* --- closing ----------------------------------------------------------------- */

static void *wait_until_closed(void *argument)
{
	struct hp_session *s = NULL;
	hsmpool_error err;

	/* If it comes back before the pool begins to close, one of them gets it. */
	if (hp_pool_borrow(argument, HP_WANT_ANY, "test", TEST_PATIENCE, &s, &err) ==
	    HSMPOOL_OK)
		hp_pool_return(s, CKR_OK);
	return NULL;
}

static void *close_it(void *argument)
{
	hsmpool *pool = argument;

	hsmpool_close(&pool);
	return NULL;
}

/* Under the address sanitizer: nobody looks at the pool when it is gone. */
static void close_waits_until_waiters_and_returners_have_left(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", "1", NULL);
	for (int i = 0; i < 20; i++) {
		hsmpool *pool = fixture_open(&g->fixture);
		struct hp_session *s = NULL;
		hsmpool_stats stats = { .size = sizeof(stats) };
		assert_status(hp_pool_borrow(pool, HP_WANT_ANY, "test", HSMPOOL_DEFAULT,
					     &s, NULL),
			      HSMPOOL_OK);
		struct crew waiters = crew_start(8, wait_until_closed, pool);
		while (stats.waiters < 8)
			hsmpool_get_stats(pool, &stats);
		struct crew closer = crew_start(1, close_it, pool);
		hp_pool_return(s, CKR_OK);
		crew_join(&waiters);
		crew_join(&closer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(waiter_for_the_anchor_does_not_bar_others),
		GROUND_TEST(the_anchor_is_what_is_got),
		GROUND_TEST(owner_of_objects_is_not_replaced_to_be_read_write),
		GROUND_TEST(pause_waits_for_a_session_being_opened),
		GROUND_TEST(loss_of_login_is_told_to_all_who_met_it),
		GROUND_TEST(failing_login_is_not_hammered),
		GROUND_TEST(refused_pin_costs_one_try_however_many_threads_have_it),
		GROUND_TEST(probe_that_fails_on_a_living_session_is_not_repeated_at_once),
		GROUND_TEST(hung_probe_blinds_nobody),
		GROUND_TEST(pools_open_and_close_side_by_side),
		GROUND_TEST(close_waits_until_waiters_and_returners_have_left),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

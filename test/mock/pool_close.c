/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pausing, closing, hanging, forking: whatever the moment, nobody waits for ever and
 * nothing is used after it is gone.
 */
#include "mock/pool_ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "support/sanitizers.h"

#define assert_rv(call, expected) assert_int_equal((call), (expected))

struct load {
	struct ground *g;
	int64_t deadline_ms;
	atomic_uint served, failed, closed, timed_out;
	atomic_bool stop;
};

static void *operate_until_told(void *argument)
{
	struct load *load = argument;
	hsmpool_error err;
	CK_RV rv;

	while (!atomic_load(&load->stop)) {
		hsmpool_status status =
			ground_operate(load->g->pool, load->deadline_ms, &rv, &err);
		if (status == HSMPOOL_OK && rv == CKR_OK)
			atomic_fetch_add(&load->served, 1);
		else
			atomic_fetch_add(&load->failed, 1);
	}
	return NULL;
}

/* --- pause ------------------------------------------------------------------------ */

/* Row 12. */
static void pause_and_resume_under_load_cost_no_error(void **state)
{
	struct ground *g = *state;
	struct load load = { .g = g, .deadline_ms = TEST_PATIENCE_MS };
	hsmpool_error err;

	ground_open(g, "max-sessions", "4", "min-sessions", "2", NULL);
	ground_script(g, "latency=C_GenerateRandom:200us");
	struct crew crew = crew_start(8, operate_until_told, &load);
	for (int i = 0; i < 5; i++) {
		unsigned served = load.served;
		eventually(load.served > served + 20);
		assert_ok(hsmpool_pause(g->pool, TEST_PATIENCE, &err), &err);
		assert_int_equal(ground_stats(g).used, 0);
		assert_int_equal(ground_stats(g).paused, 1);
		uint64_t calls = g->mock->calls("C_GenerateRandom");
		for (int j = 0; j < 10; j++)
			ground_nap();
		assert_int_equal(g->mock->calls("C_GenerateRandom"), calls);
		hsmpool_resume(g->pool);
	}
	atomic_store(&load.stop, true);
	crew_join(&crew);
	assert_int_equal(load.failed, 0);
}

static void pause_closes_all_but_the_anchor(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	ground_open(g, "max-sessions", "4", "min-sessions", "4", NULL);
	assert_ok(hsmpool_pause(g->pool, TEST_PATIENCE, &err), &err);
	assert_int_equal(ground_counters(g).sessions_now, 1);
	hsmpool_resume(g->pool);
	assert_rv(ground_sign(g), CKR_OK);
	assert_int_equal(g->mock->calls("C_Login"), 1);
}

static void pause_that_times_out_stays_paused(void **state)
{
	struct ground *g = *state;
	hsmpool_session *more = NULL;
	hsmpool_error err;

	ground_open(g, "max-sessions", "2", NULL);
	hsmpool_session *s = ground_borrow(g);
	assert_status(hsmpool_pause(g->pool, hsmpool_deadline_in(30), &err),
		      HSMPOOL_ERR_TIMEOUT);
	assert_status(ground_try_borrow(g, 30, &more, &err), HSMPOOL_ERR_TIMEOUT);
	assert_non_null(strstr(err.text, "paused"));
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
	hsmpool_resume(g->pool);
	s = ground_borrow(g);
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
}

/* --- close ------------------------------------------------------------------------- */

struct closing {
	struct ground *g;
	hsmpool *pool;
	atomic_uint closed, other;
	atomic_bool is_done;
};

static void *wait_for_a_session(void *argument)
{
	struct closing *closing = argument;
	hsmpool_session *s = NULL;
	hsmpool_error err;
	hsmpool_status status =
		hsmpool_borrow(closing->pool, &s, 0, "wait", TEST_PATIENCE, &err);

	atomic_fetch_add(
		status == HSMPOOL_ERR_CLOSED ? &closing->closed : &closing->other, 1);
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
	return NULL;
}

static void *close_pool(void *argument)
{
	struct closing *closing = argument;

	hsmpool_close(&closing->g->pool);
	atomic_store(&closing->is_done, true);
	return NULL;
}

static void close_wakes_every_waiter(void **state)
{
	struct ground *g = *state;
	struct closing closing = { .g = g };

	closing.pool = ground_open(g, "max-sessions", "1", NULL);
	hsmpool_session *s = ground_borrow(g);
	struct crew waiters = crew_start(8, wait_for_a_session, &closing);
	eventually(ground_stats(g).waiters == 8);
	struct crew closer = crew_start(1, close_pool, &closing);
	crew_join(&waiters);
	assert_int_equal(closing.closed, 8);
	assert_false(closing.is_done);
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
	crew_join(&closer);
	assert_int_equal(ground_counters(g).sessions_now, 0);
}

/* Row 8. */
static void close_waits_for_sessions_in_use_and_closes_them(void **state)
{
	struct ground *g = *state;
	struct closing closing = { .g = g };
	hsmpool_session *s[8];

	ground_open(g, "max-sessions", "8", NULL);
	for (int i = 0; i < 8; i++)
		s[i] = ground_borrow(g);
	struct crew closer = crew_start(1, close_pool, &closing);
	for (int i = 0; i < 8; i++) {
		for (int j = 0; j < 5; j++)
			ground_nap();
		assert_rv(ground_use(s[i]), CKR_OK);
		assert_false(closing.is_done);
		hsmpool_return(&s[i], HSMPOOL_VERDICT_CLEAN);
	}
	crew_join(&closer);
	assert_int_equal(ground_counters(g).sessions_closed, 8);
}

static void close_accepts_null(void **state)
{
	hsmpool *none = NULL;

	(void)state;
	hsmpool_close(NULL);
	hsmpool_close(&none);
}

static void opening_and_closing_often_leaves_nothing(void **state)
{
	struct ground *g = *state;

	for (int i = 0; i < 30; i++) {
		ground_open(g, "min-sessions", "3", "revalidate-interval", "1ms", NULL);
		assert_rv(ground_sign(g), CKR_OK);
		hsmpool_close(&g->pool);
		assert_int_equal(ground_counters(g).sessions_now, 0);
	}
	assert_int_equal(g->mock->calls("C_Initialize"), 30);
	assert_int_equal(g->mock->calls("C_Finalize"), 30);
}

static void two_pools_share_the_module_and_the_last_one_finalises(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv;

	hsmpool *first = ground_open(g, NULL);
	hsmpool *second = ground_open(g, NULL);
	assert_int_equal(g->mock->calls("C_Initialize"), 1);
	hsmpool_close(&first);
	assert_int_equal(g->mock->calls("C_Finalize"), 0);
	assert_ok(ground_operate(second, TEST_PATIENCE_MS, &rv, &err), &err);
	assert_rv(ground_sign(g), CKR_OK); /* the first one's close logged nobody out */
	hsmpool_close(&g->pool);
	assert_int_equal(g->mock->calls("C_Finalize"), 1);
}

/* --- hanging calls --------------------------------------------------------------------
 */

static void *operate_once(void *argument)
{
	struct load *load = argument;
	hsmpool_error err;
	CK_RV rv;

	ground_operate(load->g->pool, load->deadline_ms, &rv, &err);
	return NULL;
}

/* Row 23, L32. */
static void a_hung_call_is_seen_and_the_others_are_served(void **state)
{
	struct ground *g = *state;
	struct load load = { .g = g, .deadline_ms = TEST_PATIENCE_MS };
	hsmpool_error err;
	CK_RV rv;

	ground_open(g, "max-sessions", "3", "stuck-after", "20ms", NULL);
	ground_script(g, "hang=C_GenerateRandom:1");
	struct crew crew = crew_start(1, operate_once, &load);
	eventually(g->mock->hung() == 1);
	for (int i = 0; i < 20; i++) {
		assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
		assert_rv(rv, CKR_OK);
	}
	eventually(ground_stats(g).stuck >= 1);
	eventually(ground_logged("call-stuck", NULL, 0) >= 1); /* slow ones are, too */
	assert_true(ground_stats(g).open <= 3);
	g->mock->release();
	crew_join(&crew);
	eventually(ground_stats(g).stuck == 0);
	assert_true(ground_stats(g).closed_stuck >= 1); /* not used again */
}

/* Row 23: with every session hung the deadline is kept all the same. */
static void with_all_sessions_hung_the_deadline_is_kept(void **state)
{
	struct ground *g = *state;
	struct load load = { .g = g, .deadline_ms = TEST_PATIENCE_MS };
	hsmpool_session *none = NULL;
	hsmpool_error err;

	ground_open(g, "max-sessions", "2", "stuck-after", "20ms", NULL);
	ground_script(g, "hang=C_GenerateRandom:1; hang=C_GenerateRandom:2");
	struct crew crew = crew_start(2, operate_once, &load);
	eventually(g->mock->hung() == 2);
	int64_t before = hp_now_ns();
	assert_status(ground_try_borrow(g, 50, &none, &err), HSMPOOL_ERR_TIMEOUT);
	assert_true(hp_now_ns() - before < TEST_AT_ONCE_NS);
	assert_int_equal(ground_counters(g).sessions_peak, 2); /* hung ones count */
	g->mock->release();
	crew_join(&crew);
}

/* --- fork ------------------------------------------------------------------------------
 */

/* ThreadSanitizer ends a child that starts threads after a fork of a process with
 * threads. */
#if !HAS_THREAD_SANITIZER

/* In the child: which step went wrong, 0 for none. */
static int work_in_child(struct ground *g)
{
	hsmpool_session *s = NULL;
	hsmpool_error err;
	hsmpool *own = NULL;
	CK_RV rv;

	if (hsmpool_borrow(g->pool, &s, 0, "child", TEST_PATIENCE, &err) !=
	    HSMPOOL_ERR_FORKED)
		return 1;
	hsmpool_close(&g->pool);
	if (g->pool != NULL)
		return 2;
	if (hsmpool_open(&own, g->fixture.config, NULL, TEST_PATIENCE, &err) !=
	    HSMPOOL_OK) {
		fprintf(stderr, "# child: %s\n", err.text);
		return 3;
	}
	g->pool = own;
	if (ground_operate(own, TEST_PATIENCE_MS, &rv, &err) != HSMPOOL_OK ||
	    rv != CKR_OK)
		return 4;
	if (ground_sign(g) != CKR_OK)
		return 5;
	hsmpool_close(&g->pool);
	return 0;
}

static int fork_and_work(struct ground *g)
{
	int status = -1;

	fflush(NULL);
	pid_t child = fork();
	if (child == 0)
		_exit(work_in_child(g));
	assert_true(child > 0);
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

/* Row 20, L29. */
static void a_child_opens_its_own_pool_and_the_parent_goes_on(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", "2", NULL);
	assert_rv(ground_sign(g), CKR_OK);
	assert_int_equal(fork_and_work(g), 0);
	assert_rv(ground_sign(g), CKR_OK);
	assert_int_equal(ground_counters(g).dead_handles, 0);
	assert_int_equal(ground_counters(g).logins_tried, 1);
}

/* Row 20: other threads are inside calls at the moment of the fork. */
static void children_of_a_busy_process_work_too(void **state)
{
	struct ground *g = *state;
	struct load load = { .g = g, .deadline_ms = TEST_PATIENCE_MS };

	ground_open(g, "max-sessions", "4", NULL);
	ground_script(g, "latency=C_GenerateRandom:100us");
	struct crew crew = crew_start(4, operate_until_told, &load);
	eventually(load.served > 20);
	for (int i = 0; i < 10; i++)
		assert_int_equal(fork_and_work(g), 0);
	unsigned served = load.served;
	eventually(load.served > served + 20);
	atomic_store(&load.stop, true);
	crew_join(&crew);
	assert_int_equal(load.failed, 0);
}

static struct ground *leaving;

/* Registered before the module was loaded: it runs when the module's destructors do. */
static void see_whether_calls_come(void)
{
	uint64_t before = leaving->mock->calls("C_GetTokenInfo");
	hp_pause(50 * HP_MS);
	_exit(leaving->mock->calls("C_GetTokenInfo") == before ? 0 : 1);
}

static void a_process_that_ends_without_closing_leaves_the_module_alone(void **state)
{
	struct ground *g = *state;
	int status = -1;

	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		leaving = g;
		atexit(see_whether_calls_come);
		ground_script(g, "latency=C_GetTokenInfo:2ms");
		ground_open(g, "min-sessions", "4", "revalidate-interval", "1ms", NULL);
		eventually(ground_stats(g).validated > 4);
		exit(0);
	}
	assert_true(child > 0);
	waitpid(child, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
#if !HAS_THREAD_SANITIZER
		/* First: who opens a pool later runs behind what this one registers. */
		GROUND_TEST(a_process_that_ends_without_closing_leaves_the_module_alone),
#endif
		GROUND_TEST(pause_and_resume_under_load_cost_no_error),
		GROUND_TEST(pause_closes_all_but_the_anchor),
		GROUND_TEST(pause_that_times_out_stays_paused),
		GROUND_TEST(close_wakes_every_waiter),
		GROUND_TEST(close_waits_for_sessions_in_use_and_closes_them),
		GROUND_TEST(close_accepts_null),
		GROUND_TEST(opening_and_closing_often_leaves_nothing),
		GROUND_TEST(two_pools_share_the_module_and_the_last_one_finalises),
		GROUND_TEST(a_hung_call_is_seen_and_the_others_are_served),
		GROUND_TEST(with_all_sessions_hung_the_deadline_is_kept),
#if !HAS_THREAD_SANITIZER
		GROUND_TEST(a_child_opens_its_own_pool_and_the_parent_goes_on),
		GROUND_TEST(children_of_a_busy_process_work_too),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

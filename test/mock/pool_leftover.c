/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Closing a pool while a borrower does not come back: the pool is then left to it, on
 * purpose. So this program, and no other of the pool's, is not checked for leaks.
 */
#include "mock/pool_ground.h"

#include <string.h>

#define assert_rv(call, expected) assert_int_equal((call), (expected))

__attribute__((visibility("default"))) int __lsan_is_turned_off(void);

int __lsan_is_turned_off(void)
{
	return 1;
}

struct worker {
	struct ground *g;
	CK_RV rv;
};

static void *operate_once(void *argument)
{
	struct worker *worker = argument;
	hsmpool_error err;

	ground_operate(worker->g->pool, TEST_PATIENCE_MS, &worker->rv, &err);
	return NULL;
}

/* Row 8: what comes back after the grace finds no ruin. */
static void close_is_bounded_and_a_late_return_is_harmless(void **state)
{
	struct ground *g = *state;
	char text[512] = "";

	ground_open(g, "max-sessions", "4", "close-grace", "50ms", NULL);
	hsmpool_session *late = ground_borrow(g);
	hsmpool_session *soon = ground_borrow(g);
	hsmpool_return(&soon, HSMPOOL_VERDICT_CLEAN);
	int64_t before = hp_now_ns();
	hsmpool_close(&g->pool);
	assert_in_range(hp_now_ns() - before, 40 * HP_MS, TEST_AT_ONCE_NS);
	assert_null(g->pool);
	assert_int_equal(ground_logged("close-leftover", text, sizeof(text)), 1);
	assert_non_null(strstr(text, "'test'"));
	assert_rv(ground_use(late), CKR_OK); /* not finalised under its hands */
	hsmpool_return(&late, HSMPOOL_VERDICT_CLEAN);
	assert_null(late);
	g->is_uneven = true;
}

static void close_does_not_wait_for_a_hung_call_for_ever(void **state)
{
	struct ground *g = *state;
	struct worker worker = { .g = g, .rv = CKR_GENERAL_ERROR };

	ground_open(g, "max-sessions", "2", "close-grace", "50ms", NULL);
	ground_script(g, "hang=C_GenerateRandom:1");
	struct crew crew = crew_start(1, operate_once, &worker);
	eventually(g->mock->hung() == 1);
	int64_t before = hp_now_ns();
	hsmpool_close(&g->pool);
	assert_true(hp_now_ns() - before < TEST_AT_ONCE_NS);
	g->mock->release();
	crew_join(&crew);
	assert_rv(worker.rv, CKR_OK); /* not finalised under its hands */
	g->is_uneven = true;
}

/* Another thread goes on with the others; the hung one is left alone. */
static void close_closes_what_it_can_past_a_hung_close(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", "4", "min-sessions", "4", "close-grace", "2s",
		    NULL);
	g->mock->hang("C_CloseSession", 1);
	hsmpool_close(&g->pool);
	assert_int_equal(ground_counters(g).sessions_now, 1);
	assert_int_equal(ground_logged("close-leftover", NULL, 0), 1);
	g->mock->release();
	eventually(ground_counters(g).sessions_now == 0);
	g->is_uneven = true;
}

/* The worker keeps what its call uses, and settles it when the pool is gone. */
static void close_leaves_a_call_that_was_given_up_to_its_worker(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv;

	ground_open(g, "max-sessions", "2", "close-grace", "50ms", "call-timeout", "1s",
		    NULL);
	g->mock->hang("C_GenerateRandom", 1);
	assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
	assert_rv(rv, CKR_FUNCTION_CANCELED);
	hsmpool_close(&g->pool);
	assert_int_equal(ground_logged("close-leftover", NULL, 0), 1);
	g->mock->release();
	eventually(ground_counters(g).sessions_now == 0);
	g->is_uneven = true;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(close_is_bounded_and_a_late_return_is_harmless),
		GROUND_TEST(close_does_not_wait_for_a_hung_call_for_ever),
		GROUND_TEST(close_closes_what_it_can_past_a_hung_close),
		GROUND_TEST(close_leaves_a_call_that_was_given_up_to_its_worker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

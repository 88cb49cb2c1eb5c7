/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chore of a pool: done in the background, once more at the end, never in the way.
 */
#include "mock/pool_ground.h"

/* A chore that borrows a session each time, as long as there is something to do. */
struct errand {
	hsmpool *pool;
	_Atomic int due; /* how often it is still to be done */
	_Atomic int runs, borrows, releases;
};

static bool is_due(void *user)
{
	struct errand *errand = user;
	return errand->due > 0;
}

static void run(void *user, int64_t deadline_ns)
{
	struct errand *errand = user;
	struct hp_session *s;
	hsmpool_error err;

	errand->runs++;
	if (hp_pool_borrow(errand->pool, HP_WANT_ANY, "errand", deadline_ns, &s, &err) !=
	    HSMPOOL_OK)
		return;
	hp_pool_return(s, CKR_OK);
	errand->borrows++;
	errand->due--;
}

static void release(void *user)
{
	struct errand *errand = user;
	errand->releases++;
}

static void set_errand(struct ground *g, struct errand *errand, int64_t interval_ns)
{
	errand->pool = g->pool;
	hp_pool_set_chore(g->pool, &(struct hp_chore){ .interval_ns = interval_ns,
						       .is_due = is_due,
						       .run = run,
						       .release = release,
						       .user = errand });
}

static void a_chore_is_done_at_its_interval_while_it_is_due(void **state)
{
	struct ground *g = *state;
	struct errand errand = { .due = 3 };

	ground_open(g, "stuck-after", "40ms", NULL); /* the keeper looks every 10 ms */
	set_errand(g, &errand, 10 * HP_MS);
	eventually(errand.borrows == 3);
	hsmpool_close(&g->pool);
	assert_int_equal(errand.runs, 3);
	assert_int_equal(errand.releases, 1);
}

static void what_is_due_is_done_before_the_pool_closes(void **state)
{
	struct ground *g = *state;
	struct errand errand = { .due = 1 };

	ground_open(g, NULL);
	set_errand(g, &errand, HP_FOREVER);
	hsmpool_close(&g->pool);
	assert_int_equal(errand.borrows, 1);
}

static void without_a_keeper_whoever_closes_does_it(void **state)
{
	struct ground *g = *state;
	struct errand errand = { .due = 1 };

	ground_open(g, "keeper", "no", NULL);
	set_errand(g, &errand, HP_FOREVER);
	hp_pool_finish_chore(g->pool);
	assert_int_equal(errand.borrows, 1);
	errand.due = 1;
	hsmpool_close(&g->pool);
	assert_int_equal(errand.borrows, 2);
}

static void without_a_keeper_a_return_does_it(void **state)
{
	struct ground *g = *state;
	struct errand errand = { .due = 1 };

	ground_open(g, "keeper", "no", "stuck-after", "4ms", NULL);
	set_errand(g, &errand, HP_MS);
	eventually(ground_sign(g) == CKR_OK && errand.borrows == 1);
	hsmpool_close(&g->pool);
}

static void a_chore_that_finds_no_session_keeps_nobody_long(void **state)
{
	struct ground *g = *state;
	struct errand errand = { .due = 1 };

	ground_open(g, "max-sessions", "1", NULL);
	set_errand(g, &errand, HP_FOREVER);
	hsmpool_session *all = ground_borrow(g);
	int64_t begin = hp_now_ns();
	hp_pool_finish_chore(g->pool);
	assert_true(hp_now_ns() - begin < TEST_AT_ONCE_NS);
	assert_int_equal(errand.borrows, 0);
	hsmpool_return(&all, HSMPOOL_VERDICT_CLEAN);
	hsmpool_close(&g->pool);
}

static void a_pool_at_rest_or_shut_is_not_asked_for_it(void **state)
{
	struct ground *g = *state;
	struct errand errand = { .due = 1 };
	hsmpool_error err;

	ground_open(g, NULL);
	set_errand(g, &errand, HP_FOREVER);
	assert_status(hsmpool_pause(g->pool, HSMPOOL_DEFAULT, &err), HSMPOOL_OK);
	hp_pool_finish_chore(g->pool);
	hsmpool_resume(g->pool);
	hp_pool_shut(g->pool);
	hsmpool_close(&g->pool);
	assert_int_equal(errand.runs, 0);
	assert_int_equal(errand.releases, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(a_chore_is_done_at_its_interval_while_it_is_due),
		GROUND_TEST(what_is_due_is_done_before_the_pool_closes),
		GROUND_TEST(without_a_keeper_whoever_closes_does_it),
		GROUND_TEST(without_a_keeper_a_return_does_it),
		GROUND_TEST(a_chore_that_finds_no_session_keeps_nobody_long),
		GROUND_TEST(a_pool_at_rest_or_shut_is_not_asked_for_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

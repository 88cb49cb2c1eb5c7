/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The waiters' policy on a token whose call takes 1 ms: nobody starves, nothing idles.
 *
 * Bounds are loose on purpose: they tell the policies apart, whose worst waits differ
 * by powers of ten, and not machines.
 */
#include "mock/pool_ground.h"

#include <string.h>

#define THREADS  64
#define SESSIONS "16"
#define LASTS    (2 * HP_SECOND)

static struct race {
	hsmpool *pool;
	int64_t until_ns;
	atomic_uint next;
	unsigned operations[THREADS];
	atomic_uint failures;
} race;

static void *run(void *unused)
{
	unsigned self = atomic_fetch_add(&race.next, 1);
	hsmpool_error err;
	CK_RV rv;

	(void)unused;
	while (hp_now_ns() < race.until_ns) {
		if (ground_operate(race.pool, TEST_PATIENCE_MS, &rv, &err) !=
			    HSMPOOL_OK ||
		    rv != CKR_OK)
			atomic_fetch_add(&race.failures, 1);
		race.operations[self]++;
	}
	return NULL;
}

struct result {
	unsigned least, most, total;
	uint64_t worst_wait_ns; /* upper bound of the last bucket in use */
};

static struct result start_race(struct ground *g)
{
	struct result result = { .least = ~0u };

	memset(&race, 0, sizeof(race));
	race.pool = g->pool;
	g->mock->latency("C_GenerateRandom", 1 * HP_MS);
	race.until_ns = hp_now_ns() + LASTS;
	struct crew crew = crew_start(THREADS, run, NULL);
	crew_join(&crew);
	for (int i = 0; i < THREADS; i++) {
		unsigned done = race.operations[i];
		result.least = done < result.least ? done : result.least;
		result.most = done > result.most ? done : result.most;
		result.total += done;
	}
	hsmpool_stats stats = ground_stats(g);
	for (int i = 0; i < HSMPOOL_HISTOGRAM_BUCKETS; i++)
		if (stats.wait_ns[i])
			result.worst_wait_ns = UINT64_C(1000) << i;
	print_message("# operations: least %u, most %u, in all %u; worst wait below "
		      "%.1f ms\n",
		      result.least, result.most, result.total,
		      (double)result.worst_wait_ns / 1e6);
	assert_int_equal(race.failures, 0);
	assert_true(ground_counters(g).sessions_peak <= 16);
	return result;
}

static void no_thread_starves_when_passing_is_allowed(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", SESSIONS, "min-sessions", SESSIONS, NULL);
	struct result result = start_race(g);
	assert_true(result.least > 0);
	assert_true(result.most <= 3 * result.least);
	assert_true(result.worst_wait_ns <= 600 * HP_MS);
}

static void turns_are_equal_when_fair(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", SESSIONS, "min-sessions", SESSIONS, "fair", "yes",
		    NULL);
	struct result result = start_race(g);
	assert_true(result.most <= result.least + result.least / 4 + 10);
	assert_true(result.worst_wait_ns <= 600 * HP_MS);
}

/* Half of what 16 sessions can do at 1 ms each, were the machine free. */
static void sessions_do_not_idle_while_threads_wait(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", SESSIONS, "min-sessions", SESSIONS, NULL);
	struct result many = start_race(g);
	uint64_t calls = g->mock->executed("C_GenerateRandom");
	assert_true(calls >= many.total);
	assert_true(many.total >= (unsigned)(LASTS / HP_MS) * 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(no_thread_starves_when_passing_is_allowed),
		GROUND_TEST(turns_are_equal_when_fair),
		GROUND_TEST(sessions_do_not_idle_while_threads_wait),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Borrow and return: the bound, the orders of idle sessions and of waiters, deadlines,
 * refusals, and the races between a time-out and a hand-over. "row N" is a row of the
 * list of pitfalls that pools of other projects fell into.
 */
#include "mock/pool_ground.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- one thread -------------------------------------------------------------- */

static void the_session_returned_last_is_lent_first(void **state)
{
	struct ground *g = *state;
	hsmpool_session *s[4];

	ground_open(g, "max-sessions", "4", NULL); /* L9 */
	for (int i = 0; i < 4; i++)
		s[i] = ground_borrow(g);
	unsigned long last = hsmpool_session_handle(s[2]);
	hsmpool_return(&s[3], HSMPOOL_VERDICT_CLEAN);
	hsmpool_return(&s[1], HSMPOOL_VERDICT_CLEAN);
	hsmpool_return(&s[0], HSMPOOL_VERDICT_CLEAN);
	hsmpool_return(&s[2], HSMPOOL_VERDICT_CLEAN);
	hsmpool_session *again = ground_borrow(g);
	assert_int_equal(hsmpool_session_handle(again), last);
	hsmpool_return(&again, HSMPOOL_VERDICT_CLEAN);
}

static void one_thread_in_a_row_needs_one_session(void **state)
{
	struct ground *g = *state;
	CK_RV rv;
	hsmpool_error err;

	ground_open(g, "max-sessions", "8", NULL);
	for (int i = 0; i < 100; i++)
		assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
	assert_int_equal(ground_counters(g).sessions_opened, 1);
	assert_int_equal(ground_stats(g).borrowed_direct, 101); /* and the one of open */
}

static void a_return_clears_the_pointer_and_null_is_accepted(void **state)
{
	struct ground *g = *state;

	ground_open(g, NULL);
	hsmpool_session *s = ground_borrow(g);
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
	assert_null(s);
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
	hsmpool_return(NULL, HSMPOOL_VERDICT_CLEAN);
}

static void a_verdict_that_is_none_keeps_no_session(void **state)
{
	struct ground *g = *state;
	hsmpool_session *s;
	ground_open(g, NULL);
	s = ground_borrow(g);
	hsmpool_return(&s, (hsmpool_verdict)99);
	assert_int_equal(ground_stats(g).idle, 0);
	assert_int_equal(ground_stats(g).closed_broken, 1);
}

static void unknown_flags_are_refused(void **state)
{
	struct ground *g = *state;
	hsmpool_session *s;
	hsmpool_error err;
	ground_open(g, NULL);
	uint64_t before = ground_stats(g).borrowed_direct;
	assert_status(hsmpool_borrow(g->pool, &s, (hsmpool_borrow_flags)3, "test",
				     HSMPOOL_NO_WAIT, &err),
		      HSMPOOL_ERR_USAGE);
	assert_null(s);
	assert_int_equal(ground_stats(g).borrowed_direct, before);
}

static void no_wait_takes_what_is_free_and_never_waits(void **state)
{
	struct ground *g = *state;
	hsmpool_session *more = NULL;
	hsmpool_error err;

	ground_open(g, "max-sessions", "1", NULL);
	hsmpool_session *s = NULL;
	assert_ok(hsmpool_borrow(g->pool, &s, 0, "test", HSMPOOL_NO_WAIT, &err), &err);
	int64_t before = hp_now_ns();
	assert_status(hsmpool_borrow(g->pool, &more, 0, "test", HSMPOOL_NO_WAIT, &err),
		      HSMPOOL_ERR_TIMEOUT);
	assert_true(hp_now_ns() - before < TEST_AT_ONCE_NS);
	assert_null(more);
	assert_int_equal(ground_stats(g).borrow_rejected, 1);
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
}

static void no_wait_may_open_a_session_that_there_is_room_for(void **state)
{
	struct ground *g = *state;
	hsmpool_session *s[2] = { NULL, NULL };
	hsmpool_error err;

	ground_open(g, "max-sessions", "2", NULL);
	for (int i = 0; i < 2; i++)
		assert_ok(
			hsmpool_borrow(g->pool, &s[i], 0, "test", HSMPOOL_NO_WAIT, &err),
			&err);
	for (int i = 0; i < 2; i++)
		hsmpool_return(&s[i], HSMPOOL_VERDICT_CLEAN);
}

static void the_deadline_is_kept(void **state)
{
	struct ground *g = *state;
	hsmpool_session *more = NULL;
	hsmpool_error err;

	ground_open(g, "max-sessions", "1", NULL);
	hsmpool_session *s = ground_borrow(g);
	int64_t before = hp_now_ns();
	assert_status(ground_try_borrow(g, 50, &more, &err), HSMPOOL_ERR_TIMEOUT);
	int64_t waited = hp_now_ns() - before;
	assert_in_range(waited, 49 * HP_MS, TEST_AT_ONCE_NS);
	assert_int_equal(ground_stats(g).borrow_timeouts, 1);
	assert_int_equal(ground_stats(g).waiters, 0);
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
}

static void the_default_deadline_is_the_borrow_timeout(void **state)
{
	struct ground *g = *state;
	hsmpool_session *more = NULL;
	hsmpool_error err;

	ground_open(g, "max-sessions", "1", "borrow-timeout", "30ms", NULL);
	hsmpool_session *s = ground_borrow(g);
	int64_t before = hp_now_ns();
	assert_status(hsmpool_borrow(g->pool, &more, 0, "test", HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_TIMEOUT);
	assert_in_range(hp_now_ns() - before, 29 * HP_MS, TEST_AT_ONCE_NS);
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
}

/* Row 22. */
static void the_timeout_text_tells_the_figures_and_the_last_error(void **state)
{
	struct ground *g = *state;
	hsmpool_session *s[2], *more = NULL;
	hsmpool_error err;
	CK_RV rv;

	ground_open(g, "max-sessions", "2", NULL);
	ground_script(g, "fail=C_GenerateRandom:1:CKR_DEVICE_ERROR");
	ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err);
	assert_int_equal(rv, CKR_DEVICE_ERROR);
	s[0] = ground_borrow(g);
	s[1] = ground_borrow(g);
	assert_status(ground_try_borrow(g, 20, &more, &err), HSMPOOL_ERR_TIMEOUT);
	assert_non_null(strstr(err.text, "total 2"));
	assert_non_null(strstr(err.text, "idle 0"));
	assert_non_null(strstr(err.text, "used 2"));
	assert_non_null(strstr(err.text, "waiting 0"));
	assert_non_null(strstr(err.text, "oldest wait"));
	assert_non_null(strstr(err.text, "CKR_DEVICE_ERROR"));
	assert_null(strchr(err.text, '\n'));
	hsmpool_return(&s[0], HSMPOOL_VERDICT_CLEAN);
	hsmpool_return(&s[1], HSMPOOL_VERDICT_CLEAN);
}

/* --- many threads ------------------------------------------------------------ */

struct load {
	struct ground *g;
	int64_t deadline_ms;
	unsigned rounds;
	atomic_uint served, timed_out, busy, closed, failed;
};

static void count_outcome(struct load *load, hsmpool_status status, CK_RV rv)
{
	if (status == HSMPOOL_OK && rv == CKR_OK)
		atomic_fetch_add(&load->served, 1);
	else if (status == HSMPOOL_ERR_TIMEOUT)
		atomic_fetch_add(&load->timed_out, 1);
	else if (status == HSMPOOL_ERR_BUSY)
		atomic_fetch_add(&load->busy, 1);
	else if (status == HSMPOOL_ERR_CLOSED)
		atomic_fetch_add(&load->closed, 1);
	else
		atomic_fetch_add(&load->failed, 1);
}

static void *operate_often(void *argument)
{
	struct load *load = argument;
	hsmpool_error err;
	CK_RV rv;

	for (unsigned i = 0; i < load->rounds; i++) {
		hsmpool_status status =
			ground_operate(load->g->pool, load->deadline_ms, &rv, &err);
		count_outcome(load, status, rv);
	}
	return NULL;
}

static void the_bound_is_never_exceeded_nor_an_operation_lost(void **state)
{
	struct ground *g = *state;
	struct load load = { .g = g, .deadline_ms = TEST_PATIENCE_MS, .rounds = 20 };

	ground_open(g, "max-sessions", "4", NULL);
	ground_script(g, "latency=C_GenerateRandom:300us");
	struct crew crew = crew_start(32, operate_often, &load);
	crew_join(&crew);
	assert_int_equal(load.served, 32 * 20);
	assert_in_range(ground_counters(g).sessions_peak, 1, 4);
	assert_in_range(ground_counters(g).inside_peak, 1, 5);
	hsmpool_stats stats = ground_stats(g);
	assert_int_equal(stats.idle, stats.open);
	assert_int_equal(stats.open, ground_counters(g).sessions_now);
	assert_int_equal(stats.returned, stats.borrowed_direct + stats.borrowed_waited);
}

struct queue {
	struct ground *g;
	atomic_uint joined;
	atomic_uint order[8];
	atomic_uint served;
};

static void *take_a_turn(void *argument)
{
	struct queue *queue = argument;
	unsigned me = atomic_fetch_add(&queue->joined, 1);
	hsmpool_session *s = NULL;
	hsmpool_error err;

	if (ground_try_borrow(queue->g, TEST_PATIENCE_MS, &s, &err) != HSMPOOL_OK)
		return NULL;
	atomic_store(&queue->order[atomic_fetch_add(&queue->served, 1)], me);
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
	return NULL;
}

static void waiters_are_served_in_the_order_they_came(struct ground *g)
{
	struct queue queue = { .g = g };
	struct crew crew[8];

	hsmpool_session *s = ground_borrow(g);
	for (unsigned i = 0; i < 8; i++) {
		crew[i] = crew_start(1, take_a_turn, &queue);
		eventually(ground_stats(g).waiters == i + 1);
	}
	eventually(ground_stats(g).oldest_wait_ns > 5 * HP_MS);
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
	for (unsigned i = 0; i < 8; i++)
		crew_join(&crew[i]);
	assert_int_equal(queue.served, 8);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(queue.order[i], i);
	assert_true(ground_stats(g).borrowed_waited >= 8);
}

static void with_fair_waiters_are_served_in_order(void **state)
{
	ground_open(*state, "max-sessions", "1", "fair", "yes", NULL);
	waiters_are_served_in_the_order_they_came(*state);
}

static void starving_waiters_are_served_in_order_without_fair_too(void **state)
{
	ground_open(*state, "max-sessions", "1", "fair", "no", NULL);
	waiters_are_served_in_the_order_they_came(*state);
}

struct hog {
	struct ground *g;
	atomic_bool stop;
	atomic_uint rounds;
};

static void *hog_the_session(void *argument)
{
	struct hog *hog = argument;
	hsmpool_error err;
	CK_RV rv;

	while (!atomic_load(&hog->stop)) {
		ground_operate(hog->g->pool, TEST_PATIENCE_MS, &rv, &err);
		atomic_fetch_add(&hog->rounds, 1);
	}
	return NULL;
}

/* A thread that comes back at once must not starve one that waits. */
static void a_waiter_is_handed_the_session_although_others_barge(void **state)
{
	struct ground *g = *state;
	struct hog hog = { .g = g };

	ground_open(g, "max-sessions", "1", NULL);
	ground_script(g, "latency=C_GenerateRandom:200us");
	struct crew crew = crew_start(3, hog_the_session, &hog);
	int64_t worst = 0;
	for (int i = 0; i < 20; i++) {
		int64_t before = hp_now_ns();
		hsmpool_session *s = ground_borrow(g);
		int64_t waited = hp_now_ns() - before;
		worst = waited > worst ? waited : worst;
		hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
	}
	atomic_store(&hog.stop, true);
	crew_join(&crew);
	assert_true(worst < TEST_AT_ONCE_NS);
}

static void too_many_waiters_are_refused_at_once(void **state)
{
	struct ground *g = *state;
	struct load load = { .g = g, .deadline_ms = TEST_PATIENCE_MS, .rounds = 1 };
	hsmpool_session *more = NULL;
	hsmpool_error err;

	ground_open(g, "max-sessions", "1", "max-waiters", "3", NULL);
	hsmpool_session *s = ground_borrow(g);
	struct crew crew = crew_start(3, operate_often, &load);
	eventually(ground_stats(g).waiters == 3);
	int64_t before = hp_now_ns();
	assert_status(ground_try_borrow(g, TEST_PATIENCE_MS, &more, &err),
		      HSMPOOL_ERR_BUSY);
	assert_true(hp_now_ns() - before < TEST_AT_ONCE_NS);
	assert_non_null(strstr(err.text, "max-waiters = 3"));
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
	crew_join(&crew);
	assert_int_equal(load.served, 3);
	assert_int_equal(ground_stats(g).borrow_rejected, 1);
}

/* Row 1: idle checked, session returned, queue joined: must not wait for ever. */
static void no_wake_up_is_lost_between_looking_and_waiting(void **state)
{
	struct ground *g = *state;
	struct load load = { .g = g, .deadline_ms = TEST_PATIENCE_MS, .rounds = 4000 };

	ground_open(g, "max-sessions", "1", NULL);
	struct crew crew = crew_start(2, operate_often, &load);
	crew_join(&crew);
	assert_int_equal(load.served, 2 * 4000);
	assert_int_equal(ground_stats(g).idle, 1);
}

/* Row 2: time-outs by the hundred must not eat the sessions. */
static void a_storm_of_timeouts_passes(void **state)
{
	struct ground *g = *state;
	struct load load = { .g = g, .deadline_ms = 1, .rounds = 20 };
	hsmpool_error err;
	CK_RV rv;

	ground_open(g, "max-sessions", "4", "min-sessions", "4", NULL);
	ground_script(g, "latency=C_GenerateRandom:10ms");
	struct crew crew = crew_start(200, operate_often, &load);
	crew_join(&crew);
	assert_int_equal(load.failed, 0);
	assert_true(load.timed_out > 0);
	assert_int_equal(ground_stats(g).idle, 4);
	ground_script(g, "latency=C_GenerateRandom:0");
	for (int i = 0; i < 20; i++)
		assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
}

/* Row 3: the deadline and the hand-over fall together. */
static void a_timeout_racing_the_hand_over_loses_no_session(void **state)
{
	struct ground *g = *state;
	struct load load = { .g = g, .deadline_ms = 3, .rounds = 60 };

	ground_open(g, "max-sessions", "2", "fair", "yes", NULL);
	ground_script(g, "latency=C_GenerateRandom:1ms");
	struct crew crew = crew_start(8, operate_often, &load);
	crew_join(&crew);
	hsmpool_stats stats = ground_stats(g);
	assert_int_equal(load.failed, 0);
	assert_int_equal(stats.idle, stats.open);
	assert_int_equal(stats.used, 0);
	assert_int_equal(stats.returned, stats.borrowed_direct + stats.borrowed_waited);
	assert_int_equal(stats.opened, 2);
}

/* Row 4: who is woken and leaves must wake the next one. */
static void a_waiter_that_gives_up_passes_its_wake_up_on(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", "1", NULL);
	for (int i = 0; i < 100; i++) {
		struct load brief = { .g = g, .deadline_ms = 2, .rounds = 1 };
		struct load patient = { .g = g,
					.deadline_ms = TEST_PATIENCE_MS,
					.rounds = 1 };
		hsmpool_session *s = ground_borrow(g);
		struct crew first = crew_start(1, operate_often, &brief);
		struct crew second = crew_start(1, operate_often, &patient);
		usleep((useconds_t)(i % 10) *
		       300); /* from before to after its deadline */
		hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
		int64_t before = hp_now_ns();
		crew_join(&second);
		assert_true(hp_now_ns() - before < TEST_AT_ONCE_NS);
		crew_join(&first);
		assert_int_equal(patient.served, 1);
	}
}

/* Row 15: borrowed in one thread, returned in another. */
struct relay {
	struct ground *g;
	pthread_mutex_t lock;
	pthread_cond_t moved;
	hsmpool_session *session; /* guarded by lock */
	unsigned rounds;
};

static void *return_elsewhere(void *argument)
{
	struct relay *relay = argument;

	for (unsigned i = 0; i < relay->rounds; i++) {
		pthread_mutex_lock(&relay->lock);
		while (relay->session == NULL)
			pthread_cond_wait(&relay->moved, &relay->lock);
		hsmpool_session *s = relay->session;
		relay->session = NULL;
		pthread_cond_broadcast(&relay->moved);
		pthread_mutex_unlock(&relay->lock);
		hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
	}
	return NULL;
}

static void run_relay(struct relay *relay)
{
	struct crew crew = crew_start(1, return_elsewhere, relay);

	for (unsigned i = 0; i < relay->rounds; i++) {
		hsmpool_session *s = ground_borrow(relay->g);
		pthread_mutex_lock(&relay->lock);
		while (relay->session != NULL)
			pthread_cond_wait(&relay->moved, &relay->lock);
		relay->session = s;
		pthread_cond_broadcast(&relay->moved);
		pthread_mutex_unlock(&relay->lock);
	}
	crew_join(&crew);
}

static void returning_in_another_thread_costs_no_memory(void **state)
{
	struct ground *g = *state;
	struct relay relay = { .g = g,
			       .lock = PTHREAD_MUTEX_INITIALIZER,
			       .moved = PTHREAD_COND_INITIALIZER,
			       .rounds = 1000 };

	ground_open(g, "max-sessions", "4", NULL);
	run_relay(&relay);
	size_t before = mallinfo2().uordblks;
	relay.rounds = 30000;
	run_relay(&relay);
	size_t after = mallinfo2().uordblks;
	assert_true(after <= before + 64 * 1024);
	hsmpool_stats stats = ground_stats(g);
	assert_int_equal(stats.idle, stats.open);
}

/* Row 7: the pool's counts against the token's, after everything at once. */
static void the_counts_agree_with_the_tokens_at_rest(void **state)
{
	struct ground *g = *state;
	struct load load = { .g = g, .deadline_ms = TEST_PATIENCE_MS, .rounds = 60 };

	ground_open(g, "max-sessions", "6", "min-sessions", "2", "idle-timeout", "20ms",
		    "max-lifetime", "50ms", "revalidate-interval", "20ms",
		    "validate-after", "5ms", NULL);
	ground_script(g, "seed=7; latency=C_GenerateRandom:500us;"
			 "fail=C_GenerateRandom:p0.05:CKR_SESSION_HANDLE_INVALID;"
			 "fail=C_GetSessionInfo:p0.02:CKR_SESSION_CLOSED");
	struct crew crew = crew_start(12, operate_often, &load);
	crew_join(&crew);
	g->mock->clear_failures();
	eventually(ground_stats(g).used == 0 && ground_stats(g).testing == 0 &&
		   ground_stats(g).closing == 0 && ground_stats(g).opening == 0 &&
		   ground_stats(g).open == ground_stats(g).opened -
						   ground_stats(g).closed_idle -
						   ground_stats(g).closed_lifetime -
						   ground_stats(g).closed_broken -
						   ground_stats(g).closed_stuck -
						   ground_stats(g).closed_other);
	assert_true(ground_stats(g).peak <= 6);
	assert_int_equal(ground_stats(g).returned,
			 ground_stats(g).borrowed_direct +
				 ground_stats(g).borrowed_waited);
	/* A session that was called dead by injection is forgotten, not closed. */
	g->is_uneven = true;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(the_session_returned_last_is_lent_first),
		GROUND_TEST(one_thread_in_a_row_needs_one_session),
		GROUND_TEST(a_return_clears_the_pointer_and_null_is_accepted),
		GROUND_TEST(a_verdict_that_is_none_keeps_no_session),
		GROUND_TEST(unknown_flags_are_refused),
		GROUND_TEST(no_wait_takes_what_is_free_and_never_waits),
		GROUND_TEST(no_wait_may_open_a_session_that_there_is_room_for),
		GROUND_TEST(the_deadline_is_kept),
		GROUND_TEST(the_default_deadline_is_the_borrow_timeout),
		GROUND_TEST(the_timeout_text_tells_the_figures_and_the_last_error),
		GROUND_TEST(the_bound_is_never_exceeded_nor_an_operation_lost),
		GROUND_TEST(with_fair_waiters_are_served_in_order),
		GROUND_TEST(starving_waiters_are_served_in_order_without_fair_too),
		GROUND_TEST(a_waiter_is_handed_the_session_although_others_barge),
		GROUND_TEST(too_many_waiters_are_refused_at_once),
		GROUND_TEST(no_wake_up_is_lost_between_looking_and_waiting),
		GROUND_TEST(a_storm_of_timeouts_passes),
		GROUND_TEST(a_timeout_racing_the_hand_over_loses_no_session),
		GROUND_TEST(a_waiter_that_gives_up_passes_its_wake_up_on),
		GROUND_TEST(returning_in_another_thread_costs_no_memory),
		GROUND_TEST(the_counts_agree_with_the_tokens_at_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

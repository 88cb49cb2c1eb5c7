/* SPDX-License-Identifier: Apache-2.0 */
/* Deadlines, bounded waits and jitter: base/time.c. */
#include "support/fixture.h"

#include "base/time.h"

#include <pthread.h>

static void times_that_overflow_become_forever(void **state)
{
	(void)state;
	assert_true(hp_time_add(5, 7) == 12);
	assert_true(hp_time_add(HP_FOREVER, 1) == HP_FOREVER);
	assert_true(hp_time_add(HP_FOREVER - 1, HP_FOREVER) == HP_FOREVER);
	assert_true(hp_time_add(INT64_MIN, -1) == INT64_MIN);
}

static void a_deadline_lies_ahead_by_the_given_time(void **state)
{
	(void)state;
	int64_t before = hp_now_ns();
	int64_t deadline = hsmpool_deadline_in(1500);
	int64_t after = hp_now_ns();
	assert_true(deadline >= before + 1500 * HP_MS);
	assert_true(deadline <= after + 1500 * HP_MS);
}

static void a_negative_time_ahead_is_now(void **state)
{
	(void)state;
	int64_t before = hp_now_ns();
	int64_t deadline = hsmpool_deadline_in(INT64_MIN);
	assert_true(deadline >= before && deadline <= hp_now_ns());
}

static void a_deadline_beyond_the_clock_is_forever(void **state)
{
	(void)state;
	assert_true(hsmpool_deadline_in(INT64_MAX) == HP_FOREVER);
	assert_true(hsmpool_deadline_in(INT64_MAX / HP_MS) == HP_FOREVER);
}

static void special_deadlines_are_resolved(void **state)
{
	(void)state;
	assert_true(hp_deadline_resolve(HSMPOOL_NO_WAIT, HP_SECOND) == 0);
	assert_true(hp_deadline_resolve(12345, HP_SECOND) == 12345);
	assert_true(hp_deadline_resolve(-2, HP_SECOND) == 0);
	int64_t before = hp_now_ns();
	int64_t resolved = hp_deadline_resolve(HSMPOOL_DEFAULT, HP_SECOND);
	assert_true(resolved >= before + HP_SECOND);
	assert_true(resolved <= hp_now_ns() + HP_SECOND);
	assert_true(hp_deadline_resolve(HSMPOOL_DEFAULT, HP_FOREVER) == HP_FOREVER);
}

static void a_wait_ends_at_its_deadline_not_before(void **state)
{
	(void)state;
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t cond;
	hp_cond_init(&cond);
	int64_t deadline = hp_now_ns() + 20 * HP_MS;
	pthread_mutex_lock(&mutex);
	while (hp_cond_wait_until(&cond, &mutex, deadline))
		; /* spurious */
	assert_true(hp_now_ns() >= deadline);
	assert_false(hp_cond_wait_until(&cond, &mutex, 0));
	assert_false(hp_cond_wait_until(&cond, &mutex, 1));
	pthread_mutex_unlock(&mutex);
	pthread_cond_destroy(&cond);
}

struct meeting {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool has_come;
};

static void *come(void *argument)
{
	struct meeting *meeting = argument;
	pthread_mutex_lock(&meeting->mutex);
	meeting->has_come = true;
	pthread_cond_signal(&meeting->cond);
	pthread_mutex_unlock(&meeting->mutex);
	return NULL;
}

static void wait_for_thread(int64_t deadline_ns)
{
	struct meeting meeting = { .mutex = PTHREAD_MUTEX_INITIALIZER };
	hp_cond_init(&meeting.cond);
	pthread_t thread;
	pthread_mutex_lock(&meeting.mutex);
	assert_int_equal(pthread_create(&thread, NULL, come, &meeting), 0);
	while (!meeting.has_come)
		assert_true(
			hp_cond_wait_until(&meeting.cond, &meeting.mutex, deadline_ns));
	pthread_mutex_unlock(&meeting.mutex);
	pthread_join(thread, NULL);
	pthread_cond_destroy(&meeting.cond);
}

static void a_signal_ends_a_wait(void **state)
{
	(void)state;
	wait_for_thread(hp_now_ns() + 60 * HP_SECOND);
	wait_for_thread(HP_FOREVER);
}

static void *try_lock(void *mutex)
{
	bool in_time = hp_mutex_lock_until(mutex, hp_now_ns() + 10 * HP_MS);
	bool at_once = hp_mutex_lock_until(mutex, 0);
	return in_time || at_once ? mutex : NULL;
}

static void a_lock_that_is_held_is_given_up_at_the_deadline(void **state)
{
	(void)state;
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	pthread_t thread;
	void *locked;
	assert_true(hp_mutex_lock_until(&mutex, hp_now_ns() + HP_SECOND));
	assert_int_equal(pthread_create(&thread, NULL, try_lock, &mutex), 0);
	pthread_join(thread, &locked);
	assert_null(locked);
	pthread_mutex_unlock(&mutex);
	assert_true(hp_mutex_lock_until(&mutex, 0));
	pthread_mutex_unlock(&mutex);
	assert_true(hp_mutex_lock_until(&mutex, HP_FOREVER));
	pthread_mutex_unlock(&mutex);
}

static void jitter_stays_within_its_percentage_and_varies(void **state)
{
	(void)state;
	int64_t least = INT64_MAX;
	int64_t most = 0;
	for (int i = 0; i < 2000; i++) {
		int64_t span = hp_jitter(HP_SECOND, 20);
		least = span < least ? span : least;
		most = span > most ? span : most;
	}
	assert_in_range(least, 800 * HP_MS, 830 * HP_MS);
	assert_in_range(most, 1170 * HP_MS, 1200 * HP_MS);
}

static void jitter_of_extreme_spans_is_harmless(void **state)
{
	(void)state;
	assert_true(hp_jitter(0, 50) == 0);
	assert_true(hp_jitter(-5, 50) == -5);
	assert_true(hp_jitter(77, 0) == 77);
	for (int i = 0; i < 100; i++) {
		assert_true(hp_jitter(HP_FOREVER, 100) >= 0);
		assert_true(hp_jitter(1, 1000) >= 0);
		assert_true(hp_jitter(1, 1000) <= 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_that_overflow_become_forever),
		cmocka_unit_test(a_deadline_lies_ahead_by_the_given_time),
		cmocka_unit_test(a_negative_time_ahead_is_now),
		cmocka_unit_test(a_deadline_beyond_the_clock_is_forever),
		cmocka_unit_test(special_deadlines_are_resolved),
		cmocka_unit_test(a_wait_ends_at_its_deadline_not_before),
		cmocka_unit_test(a_signal_ends_a_wait),
		cmocka_unit_test(a_lock_that_is_held_is_given_up_at_the_deadline),
		cmocka_unit_test(jitter_stays_within_its_percentage_and_varies),
		cmocka_unit_test(jitter_of_extreme_spans_is_harmless),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

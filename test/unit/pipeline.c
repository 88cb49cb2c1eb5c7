/* SPDX-License-Identifier: Apache-2.0 */
/* Order, bounds and errors of the chunk pipeline: stream/pipeline.c. */
#include "support/fixture.h"

#include "base/error.h"
#include "base/memory.h"
#include "observe/request.h"
#include "stream/pipeline.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NEVER = -1 };

/* A job that counts, and fails where it is told to. */
struct job {
	int chunks; /* how many there are */
	int fill_fails_at, drain_fails_at;
	int work_fails_at[2];
	int worker_new_fails_at, slot_new_fails_at;
	int full_at;            /* with so many chunks in flight */
	bool waits_for_company; /* chunk 0 is done only after chunk 1 was tried */
	pthread_t caller;
	uint64_t request; /* that the caller works on */

	int filled, drained;
	int slots, workers, slots_freed, workers_freed;
	_Atomic int worked;
	_Atomic int worked_elsewhere; /* not in the calling thread */
	_Atomic bool saw_open_signal;
	_Atomic bool saw_other_request;
	_Atomic bool has_begun, was_one_tried;
};

struct slot {
	uint64_t index;
	uint64_t result;
};

static struct job new_job(int chunks)
{
	return (struct job){ .chunks = chunks,
			     .fill_fails_at = NEVER,
			     .drain_fails_at = NEVER,
			     .work_fails_at = { NEVER, NEVER },
			     .worker_new_fails_at = NEVER,
			     .slot_new_fails_at = NEVER,
			     .caller = pthread_self() };
}

/* Work that is over at once gets no threads. */
static void let_time_pass(void)
{
	const struct timespec span = { .tv_nsec = 1000000 };
	nanosleep(&span, NULL);
}

static hsmpool_status fill(void *user, void *slot, uint64_t index, bool *is_last,
			   hsmpool_error *err)
{
	struct job *job = user;
	assert_true(pthread_equal(pthread_self(), job->caller));
	assert_int_equal(index, job->filled);
	HP_CHECK((int)index != job->fill_fails_at, err, HSMPOOL_ERR_SYSTEM, "fill %d",
		 (int)index);
	if (index == 0)
		let_time_pass();
	while (job->waits_for_company && index == 1 && !job->has_begun)
		sched_yield();
	job->filled++;
	((struct slot *)slot)->index = index;
	*is_last = job->filled == job->chunks;
	return HSMPOOL_OK;
}

/* Work of a length that differs from chunk to chunk. */
static void dawdle(uint64_t index)
{
	for (uint64_t turns = index * 7919 % 13; turns > 0; turns--)
		sched_yield();
}

static void look_at_signals(struct job *job)
{
	sigset_t blocked;
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	if (!sigismember(&blocked, SIGINT) || !sigismember(&blocked, SIGALRM))
		job->saw_open_signal = true;
}

static hsmpool_status work(void *user, void *worker, void *opaque, hsmpool_error *err)
{
	struct job *job = user;
	struct slot *slot = opaque;
	_Atomic int *uses = worker;
	/* nobody else has this worker now */
	bool is_shared = atomic_fetch_add(uses, 1) != 0;
	if (!pthread_equal(pthread_self(), job->caller)) {
		job->worked_elsewhere++;
		look_at_signals(job);
	}
	if (hp_request_current() != job->request)
		job->saw_other_request = true;
	job->has_begun = true;
	while (job->waits_for_company && slot->index == 0 && !job->was_one_tried)
		sched_yield();
	dawdle(slot->index);
	slot->result = slot->index * slot->index;
	if (slot->index == 1)
		job->was_one_tried = true;
	job->worked++;
	atomic_fetch_sub(uses, 1);
	HP_CHECK(!is_shared, err, HSMPOOL_ERR_SYSTEM, "a worker was shared");
	for (size_t i = 0; i < HP_ARRAY_LEN(job->work_fails_at); i++)
		HP_CHECK((int)slot->index != job->work_fails_at[i], err, HSMPOOL_ERR_DATA,
			 "work %d", (int)slot->index);
	return HSMPOOL_OK;
}

static hsmpool_status drain(void *user, void *opaque, hsmpool_error *err)
{
	struct job *job = user;
	struct slot *slot = opaque;
	assert_true(pthread_equal(pthread_self(), job->caller));
	assert_int_equal(slot->index, job->drained);
	assert_true(slot->result == slot->index * slot->index);
	HP_CHECK((int)slot->index != job->drain_fails_at, err, HSMPOOL_ERR_CLOSED,
		 "drain %d", (int)slot->index);
	job->drained++;
	return HSMPOOL_OK;
}

static bool is_full(void *user)
{
	struct job *job = user;
	assert_true(pthread_equal(pthread_self(), job->caller));
	return job->filled - job->drained >= job->full_at;
}

static hsmpool_status slot_new(void *user, void **out, hsmpool_error *err)
{
	struct job *job = user;
	HP_CHECK(job->slots != job->slot_new_fails_at, err, HSMPOOL_ERR_SYSTEM,
		 "no slot");
	*out = calloc(1, sizeof(struct slot));
	assert_non_null(*out);
	job->slots++;
	return HSMPOOL_OK;
}

static void slot_free(void *user, void *slot)
{
	((struct job *)user)->slots_freed++;
	free(slot);
}

static hsmpool_status worker_new(void *user, void **out, hsmpool_error *err)
{
	struct job *job = user;
	if (job->workers == job->worker_new_fails_at) {
		job->was_one_tried = true;
		return hp_fail(err, HSMPOOL_ERR_SYSTEM, "no worker");
	}
	*out = calloc(1, sizeof(_Atomic int));
	assert_non_null(*out);
	job->workers++;
	return HSMPOOL_OK;
}

static void worker_free(void *user, void *worker)
{
	((struct job *)user)->workers_freed++;
	free(worker);
}

static const struct hp_pipeline_ops ops = {
	.fill = fill,
	.work = work,
	.drain = drain,
	.slot_new = slot_new,
	.slot_free = slot_free,
	.worker_new = worker_new,
	.worker_free = worker_free,
};

/* Run, and see that everything made was freed. text: the error's, or NULL. */
static void run_with(const struct hp_pipeline_ops *these, struct job *job,
		     unsigned threads, unsigned slots, const char *text)
{
	hsmpool_error err = { 0 };
	hsmpool_status status = hp_pipeline_run(these, job, threads, slots, &err);
	assert_int_equal(status, text ? err.status : HSMPOOL_OK);
	if (text) {
		assert_int_not_equal(status, HSMPOOL_OK);
		assert_string_equal(err.text, text);
	}
	assert_int_equal(job->slots, job->slots_freed);
	assert_int_equal(job->workers, job->workers_freed);
	assert_true(job->slots <= (int)slots);
	assert_false(job->saw_open_signal);
	assert_false(job->saw_other_request);
}

static void run(struct job *job, unsigned threads, unsigned slots, const char *text)
{
	run_with(&ops, job, threads, slots, text);
}

/* --- order ---------------------------------------------------------------------------
 */

static void chunks_come_out_in_order_whatever_their_work_takes(void **state)
{
	(void)state;
	static const unsigned threads[] = { 0, 1, 2, 3, 8 };
	static const unsigned slots[] = { 1, 2, 5, 16 };
	for (size_t i = 0; i < HP_ARRAY_LEN(threads); i++) {
		for (size_t j = 0; j < HP_ARRAY_LEN(slots); j++) {
			struct job job = new_job(300);
			run(&job, threads[i], slots[j], NULL);
			assert_int_equal(job.drained, 300);
			assert_int_equal(job.worked, 300);
		}
	}
}

static void several_chunks_are_worked_on_at_once(void **state)
{
	(void)state;
	struct job job = new_job(3);
	job.waits_for_company = true;
	run(&job, 2, 4, NULL);
	assert_int_equal(job.drained, 3);
}

static void job_that_is_full_is_drained_before_it_is_filled(void **state)
{
	(void)state;
	struct hp_pipeline_ops measured = ops;
	measured.is_full = is_full;
	for (int enough = 0; enough < 5; enough++) {
		struct job job = new_job(300);
		job.full_at = enough; /* 0: is always full, and goes on nevertheless */
		run_with(&measured, &job, 4, 16, NULL);
		assert_int_equal(job.drained, 300);
		assert_true(job.slots <= (enough ? enough : 1));
	}
}

static void one_chunk_starts_no_thread(void **state)
{
	(void)state;
	struct job job = new_job(1);
	run(&job, 8, 16, NULL);
	assert_int_equal(job.drained, 1);
	assert_int_equal(job.worked_elsewhere, 0);
	assert_int_equal(job.workers, 1);
	assert_int_equal(job.slots, 1);
}

static void one_thread_is_the_callers(void **state)
{
	(void)state;
	struct job job = new_job(20);
	run(&job, 1, 16, NULL);
	assert_int_equal(job.drained, 20);
	assert_int_equal(job.worked_elsewhere, 0);
	assert_int_equal(job.slots, 1);
}

static void no_more_threads_than_allowed_work_the_callers_included(void **state)
{
	(void)state;
	struct job job = new_job(500);
	job.waits_for_company = true; /* so one is started */
	run(&job, 3, 8, NULL);
	assert_true(job.worked_elsewhere > 0);
	assert_in_range(job.workers, 2, 3);
}

static void work_that_waits_is_left_to_the_threads(void **state)
{
	(void)state;
	struct hp_pipeline_ops waiting = ops;
	struct job job = new_job(500);
	waiting.work_waits = true;
	run_with(&waiting, &job, 3, 8, NULL);
	assert_int_equal(job.drained, 500);
	assert_int_equal(job.worked_elsewhere, 500); /* chunk 0 comes late enough */
	assert_in_range(job.workers, 1, 3);
	job = new_job(1);
	run_with(&waiting, &job, 3, 8, NULL);
	assert_int_equal(job.worked_elsewhere, 0);
	job = new_job(200);
	job.work_fails_at[0] = 42;
	run_with(&waiting, &job, 3, 8, "work 42");
	assert_int_equal(job.drained, 42);
}

static void threads_work_on_the_request_of_the_calling_one(void **state)
{
	(void)state;
	struct hp_pipeline_ops waiting = ops;
	struct job job = new_job(100);
	waiting.work_waits = true;
	job.request = hp_request_draw();
	hp_request_set(job.request);
	run_with(&waiting, &job, 4, 12, NULL);
	hp_request_set(0);
	assert_true(job.worked_elsewhere > 0);
}

/* --- errors --------------------------------------------------------------------------
 */

static void the_lowest_failed_chunk_is_told_and_all_before_it_drained(void **state)
{
	(void)state;
	for (unsigned threads = 1; threads <= 5; threads++) {
		struct job job = new_job(200);
		job.work_fails_at[0] = 43; /* mostly done before 42, which takes longer */
		job.work_fails_at[1] = 42;
		run(&job, threads, 10, "work 42");
		assert_int_equal(job.drained, 42);
		assert_true(job.filled <= 42 + 10);
	}
}

static void the_first_chunk_may_fail(void **state)
{
	(void)state;
	struct job job = new_job(100);
	job.work_fails_at[0] = 0;
	run(&job, 4, 8, "work 0");
	assert_int_equal(job.drained, 0);
}

static void an_error_of_the_input_is_told_after_all_before_is_drained(void **state)
{
	(void)state;
	for (unsigned threads = 1; threads <= 5; threads++) {
		struct job job = new_job(100);
		job.fill_fails_at = 37;
		run(&job, threads, 10, "fill 37");
		assert_int_equal(job.drained, 37);
	}
}

static void a_failed_chunk_goes_before_an_error_of_the_input(void **state)
{
	(void)state;
	for (unsigned threads = 1; threads <= 5; threads++) {
		struct job job = new_job(100);
		job.fill_fails_at = 37;
		job.work_fails_at[0] = 36;
		run(&job, threads, 10, "work 36");
		assert_int_equal(job.drained, 36);
	}
}

static void an_error_of_the_output_stops_at_once(void **state)
{
	(void)state;
	struct job job = new_job(1000);
	job.drain_fails_at = 5;
	run(&job, 4, 8, "drain 5");
	assert_int_equal(job.drained, 5);
	assert_true(job.filled <= 5 + 8);
}

static void a_worker_that_cannot_be_made_is_an_error_after_all_before_it(void **state)
{
	(void)state;
	struct job job = new_job(100);
	job.worker_new_fails_at = 0;
	run(&job, 4, 8, "no worker");
	assert_int_equal(job.drained, 0);
	/* the second chunk's, which no free thread could take, or the caller's own */
	job = new_job(2);
	job.worker_new_fails_at = 1;
	job.waits_for_company = true;
	run(&job, 4, 8, "no worker");
	assert_int_equal(job.drained, 1);
}

static void a_slot_that_cannot_be_made_is_an_error(void **state)
{
	(void)state;
	for (unsigned threads = 1; threads <= 4; threads++) {
		struct job job = new_job(100);
		job.slot_new_fails_at = 0;
		run(&job, threads, 8, "no slot");
		assert_int_equal(job.drained, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chunks_come_out_in_order_whatever_their_work_takes),
		cmocka_unit_test(several_chunks_are_worked_on_at_once),
		cmocka_unit_test(job_that_is_full_is_drained_before_it_is_filled),
		cmocka_unit_test(one_chunk_starts_no_thread),
		cmocka_unit_test(one_thread_is_the_callers),
		cmocka_unit_test(no_more_threads_than_allowed_work_the_callers_included),
		cmocka_unit_test(work_that_waits_is_left_to_the_threads),
		cmocka_unit_test(threads_work_on_the_request_of_the_calling_one),
		cmocka_unit_test(
			the_lowest_failed_chunk_is_told_and_all_before_it_drained),
		cmocka_unit_test(the_first_chunk_may_fail),
		cmocka_unit_test(
			an_error_of_the_input_is_told_after_all_before_is_drained),
		cmocka_unit_test(a_failed_chunk_goes_before_an_error_of_the_input),
		cmocka_unit_test(an_error_of_the_output_stops_at_once),
		cmocka_unit_test(
			a_worker_that_cannot_be_made_is_an_error_after_all_before_it),
		cmocka_unit_test(a_slot_that_cannot_be_made_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running one load: threads on a barrier, a time, a sum.
 *
 * Timed in worker threads, never on the main one (malloc behaves differently there).
 * The clock is read once per run, not per operation, except for recorded waits.
 */
#include "bench.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include "base/error.h"
#include "base/time.h"
#include "p11/rv.h"
#include "stop.h"

struct run {
	struct bench *bench;
	const struct bench_load *load;
	pthread_barrier_t start;
	_Atomic bool is_over;
	_Atomic bool has_failed;
};

struct seat {
	struct run *run;
	pthread_t thread;
	struct bench_worker worker;
};

static void *work(void *argument)
{
	struct seat *seat = argument;
	struct run *run = seat->run;
	const struct bench_load *load = run->load;
	struct bench_worker *worker = &seat->worker;
	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
	bool is_well = !load->begin || load->begin(worker);
	bool has_begun = is_well;
	pthread_barrier_wait(&run->start);
	while (is_well && !atomic_load_explicit(&run->is_over, memory_order_relaxed)) {
		is_well = load->step(worker);
		worker->done += is_well;
	}
	if (!is_well)
		atomic_store(&run->has_failed, true);
	if (has_begun && load->end)
		load->end(worker);
	return NULL;
}

static int compare_waits(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static void sum_waits(struct seat *seats, unsigned count, struct bench_result *result)
{
	size_t total = 0, at = 0;
	for (unsigned i = 0; i < count; i++)
		total += seats[i].worker.wait_count;
	uint32_t *all = total ? malloc(total * sizeof *all) : NULL;
	if (!all)
		return;
	for (unsigned i = 0; i < count; i++) {
		struct bench_worker *w = &seats[i].worker;
		if (w->wait_count)
			memcpy(all + at, w->waits_us, w->wait_count * sizeof *all);
		at += w->wait_count;
	}
	qsort(all, total, sizeof *all, compare_waits);
	result->p50_ms = all[total / 2] / 1e3;
	result->p99_ms = all[total - 1 - total / 100] / 1e3;
	result->max_ms = all[total - 1] / 1e3;
	free(all);
}

static void sum_up(struct seat *seats, unsigned count, double elapsed_ns,
		   struct bench_result *result)
{
	uint64_t total = 0;
	result->fewest = UINT64_MAX;
	for (unsigned i = 0; i < count; i++) {
		uint64_t done = seats[i].worker.done;
		total += done;
		result->fewest = done < result->fewest ? done : result->fewest;
		result->most = done > result->most ? done : result->most;
	}
	result->per_second = (double)total * 1e9 / elapsed_ns;
	result->ns_per_op = total ? elapsed_ns / (double)total : 0;
	sum_waits(seats, count, result);
}

static hsmpool_status explain_failure(struct seat *seats, unsigned count,
				      hsmpool_error *err)
{
	for (unsigned i = 0; i < count; i++) {
		struct bench_worker *w = &seats[i].worker;
		if (w->rv != CKR_OK)
			return hp_rv_fail(err, w->rv, "the raw loop of %s",
					  bench_op_name(w->op));
		if (w->err.status != HSMPOOL_OK) {
			*err = w->err;
			return w->err.status;
		}
	}
	return hp_fail(err, HSMPOOL_ERR_SYSTEM, "a benchmark thread failed");
}

/* Threads are started, let go at once, stopped and joined: after the time, or when a
 * signal asks to end. */
static hsmpool_status race(struct run *run, struct seat *seats, double *elapsed_ns,
			   hsmpool_error *err)
{
	unsigned count = run->load->threads, started = 0;
	pthread_barrier_init(&run->start, NULL, count + 1);
	while (started < count &&
	       pthread_create(&seats[started].thread, NULL, work, &seats[started]) == 0)
		started++;
	HP_CHECK(started == count, err, HSMPOOL_ERR_SYSTEM, "cannot start %u threads",
		 count);
	pthread_barrier_wait(&run->start);
	int64_t from = hp_now_ns();
	hsmpool_status status = stop_sleep((int64_t)(run->bench->seconds * 1e9), err);
	atomic_store(&run->is_over, true);
	for (unsigned i = 0; i < count; i++)
		pthread_join(seats[i].thread, NULL);
	*elapsed_ns = (double)(hp_now_ns() - from);
	pthread_barrier_destroy(&run->start);
	return status;
}

hsmpool_status bench_run(struct bench *bench, const struct bench_load *load,
			 struct bench_result *result, hsmpool_error *err)
{
	struct run run = { .bench = bench, .load = load };
	struct seat *seats = calloc(load->threads, sizeof *seats);
	HP_CHECK(seats, err, HSMPOOL_ERR_SYSTEM, "no memory for %u threads",
		 load->threads);
	memset(result, 0, sizeof *result);
	for (unsigned i = 0; i < load->threads; i++) {
		seats[i].run = &run;
		seats[i].worker.bench = bench;
		seats[i].worker.op = load->op;
		if (load->records_waits) {
			seats[i].worker.wait_cap = 1u << 16;
			seats[i].worker.waits_us = calloc(1u << 16, sizeof(uint32_t));
		}
	}
	double elapsed_ns = 1;
	hsmpool_status status = race(&run, seats, &elapsed_ns, err);
	if (status == HSMPOOL_OK && atomic_load(&run.has_failed))
		status = explain_failure(seats, load->threads, err);
	if (status == HSMPOOL_OK)
		sum_up(seats, load->threads, elapsed_ns, result);
	for (unsigned i = 0; i < load->threads; i++)
		free(seats[i].worker.waits_us);
	free(seats);
	return status;
}

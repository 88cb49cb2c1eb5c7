/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What counting an operation costs it.
 *
 * On the mock, which answers at once: random numbers from 1 and from 8 threads, with the
 * counting of uses and without, in turns; the figure is the median of the differences.
 * The linker puts the switch between the seam and the counting. What is read from the
 * clock for it is measured by itself, and so is a reader of all figures meanwhile.
 *
 *   metrics [quick]
 */
#include "support/fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/time.h"
#include "pool/metrics.h"

#define PAIRS        15
#define MOST_THREADS 8

static int64_t spell_ns = 200 * HP_MS;
static struct fixture fixture;
static hsmpool *pool;
static atomic_bool counts = true;

void __real_hp_metrics_count_use(hsmpool *of, const char *function, int64_t ns, CK_RV rv,
				 hsmpool_status status);
void __wrap_hp_metrics_count_use(hsmpool *of, const char *function, int64_t ns, CK_RV rv,
				 hsmpool_status status);

void __wrap_hp_metrics_count_use(hsmpool *of, const char *function, int64_t ns, CK_RV rv,
				 hsmpool_status status)
{
	if (atomic_load_explicit(&counts, memory_order_relaxed))
		__real_hp_metrics_count_use(of, function, ns, rv, status);
}

/* --- one spell -------------------------------------------------------------------- */

struct worker {
	pthread_t thread;
	int64_t until_ns;
	uint64_t done;
};

static void *work(void *argument)
{
	struct worker *worker = argument;
	uint8_t bytes[8];
	while (hp_now_ns() < worker->until_ns) {
		for (int i = 0; i < 16; i++)
			if (hsmpool_random(pool, bytes, sizeof(bytes), HSMPOOL_DEFAULT,
					   NULL) != HSMPOOL_OK)
				abort();
		worker->done += 16;
	}
	return NULL;
}

/* What other programs take from the machine does not count. */
static int64_t cpu_ns(void)
{
	return hp_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

/* Nanoseconds of processor time per operation. */
static double spell(int threads, bool is_counted)
{
	struct worker workers[MOST_THREADS] = { 0 };
	int64_t until_ns = hp_now_ns() + spell_ns, began = cpu_ns();
	uint64_t done = 0;
	atomic_store(&counts, is_counted);
	for (int i = 0; i < threads; i++) {
		workers[i].until_ns = until_ns;
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
			abort();
	}
	for (int i = 0; i < threads; i++) {
		pthread_join(workers[i].thread, NULL);
		done += workers[i].done;
	}
	return (double)(cpu_ns() - began) / (double)done;
}

static int compare(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;
	return (left > right) - (left < right);
}

static void measure_operations(int threads)
{
	double with[PAIRS], more[PAIRS];
	spell(threads, true);
	for (int i = 0; i < PAIRS; i++) {
		double without = spell(threads, false);
		with[i] = spell(threads, true);
		more[i] = with[i] - without;
	}
	qsort(with, PAIRS, sizeof(*with), compare);
	qsort(more, PAIRS, sizeof(*more), compare);
	printf("%d thread%s: %7.1f ns an operation, %5.1f ns of it for counting\n",
	       threads, threads == 1 ? "" : "s", with[PAIRS / 2], more[PAIRS / 2]);
}

/* --- its parts --------------------------------------------------------------------- */

#define TIMES 2000000

static void measure_parts(void)
{
	int64_t sum = 0, began = cpu_ns();
	for (int i = 0; i < TIMES; i++)
		sum += hp_now_ns() - hp_now_ns();
	int64_t clock_ns = cpu_ns() - began;
	began = cpu_ns();
	for (int i = 0; i < TIMES; i++)
		__real_hp_metrics_count_use(pool, "C_Sign", 5000 + (sum & 1), CKR_OK,
					    HSMPOOL_OK);
	int64_t count_ns = cpu_ns() - began;
	printf("two readings of the clock: %.1f ns; counting a use: %.1f ns\n",
	       (double)clock_ns / TIMES, (double)count_ns / TIMES);
}

/* --- a reader meanwhile ------------------------------------------------------------ */

static atomic_bool is_over;

static void *read_all(void *reads)
{
	while (!atomic_load(&is_over)) {
		char *text = NULL;
		if (hsmpool_metrics_text(&text, NULL, NULL) != HSMPOOL_OK)
			abort();
		free(text);
		++*(uint64_t *)reads;
		hp_pause(HP_MS);
	}
	return NULL;
}

static void measure_reader(void)
{
	pthread_t reader;
	uint64_t reads = 0;
	double alone = spell(MOST_THREADS, true);
	if (pthread_create(&reader, NULL, read_all, &reads) != 0)
		abort();
	double beside = spell(MOST_THREADS, true);
	atomic_store(&is_over, true);
	pthread_join(reader, NULL);
	printf("read %llu times meanwhile: %.1f ns an operation instead of %.1f\n",
	       (unsigned long long)reads, beside, alone);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "quick") == 0)
		spell_ns = 10 * HP_MS;
	fixture_mock(&fixture);
	fixture_set(&fixture, "max-sessions", "8");
	pool = fixture_open(&fixture);
	measure_parts();
	measure_operations(1);
	measure_operations(MOST_THREADS);
	measure_reader();
	hsmpool_close(&pool);
	fixture_remove(&fixture);
	return 0;
}

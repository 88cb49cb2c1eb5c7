/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What it costs that uses are counted, and that they are recorded.
 *
 * On the mock, which answers at once: the seam of pool/use.h by itself, and MACs of one
 * pool without and of one with an audit trail, alternately. Every figure is the median
 * over the pairs, in time of the processor by all threads of the process, the one that
 * writes the trail among them, so that a busy machine does not count; what is recorded is
 * in the file before the clock stops. Prints a table; fails only if a call fails.
 *
 *   uses [quick]
 */
#include "support/fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/time.h"
#include "pool/use.h"

#define MOST_PAIRS 21
#define THREADS    8

static unsigned pairs = 21;
static unsigned block = 20000; /* uses of one measurement */

struct bed {
	hsmpool *pool;
	hsmpool_key *key;
};

static struct fixture fixture;
static struct bed plain, audited;

static void require(hsmpool_status status, const hsmpool_error *err)
{
	if (status == HSMPOOL_OK)
		return;
	fprintf(stderr, "bench uses: %s\n", err->text);
	exit(1);
}

static void open_bed(struct bed *bed)
{
	hsmpool_error err;
	bed->pool = fixture_open(&fixture);
	require(hsmpool_key_open(&bed->key, bed->pool, "pkcs11:object=hmac",
				 HSMPOOL_DEFAULT, &err),
		&err);
}

static void close_bed(struct bed *bed)
{
	hsmpool_key_close(&bed->key);
	hsmpool_close(&bed->pool);
}

/* --- what is measured -----------------------------------------------------------------
 */

static void mac(const struct bed *bed)
{
	hsmpool_error err;
	uint8_t made[32];
	hsmpool_buf out = { made, sizeof(made), 0 };
	hsmpool_bytes message = { (const uint8_t *)"message", 7 };
	require(hsmpool_mac(bed->pool, bed->key, "hmac-sha256", message, &out,
			    HSMPOOL_DEFAULT, &err),
		&err);
}

static void use_nothing(const struct bed *bed)
{
	hsmpool_error err;
	struct hp_use use = hp_use_of("C_Sign", CKM_SHA256_HMAC, 7);
	use.pool = bed->pool;
	require(hp_use_begin(&use, &err), &err);
	hp_use_end(&use, CKR_OK, HSMPOOL_OK, 32);
}

/* Per call; what it recorded is written. */
static double measure(void (*call)(const struct bed *bed), const struct bed *bed)
{
	int64_t since = hp_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	for (unsigned i = 0; i < block; i++)
		call(bed);
	hp_audit_sync(hp_pool_audit(bed->pool));
	return (double)(hp_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - since) / block;
}

static void *run_macs(void *bed)
{
	for (unsigned i = 0; i < block; i++)
		mac(bed);
	return NULL;
}

/* The same by threads. */
static double measure_threads(void (*call)(const struct bed *bed), const struct bed *bed)
{
	pthread_t threads[THREADS];
	int64_t since = hp_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	(void)call;
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, run_macs, (void *)(uintptr_t)bed);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	hp_audit_sync(hp_pool_audit(bed->pool));
	return (double)(hp_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - since) / block / THREADS;
}

/* --- pairs
 * ------------------------------------------------------------------------------
 */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void print(const char *what, double *values, const char *goal)
{
	qsort(values, pairs, sizeof(*values), compare);
	printf("%-52s %7.0f ns [%.0f-%.0f]  %s\n", what, values[pairs / 2],
	       values[pairs / 4], values[pairs - 1 - pairs / 4], goal);
}

typedef double measure_fn(void (*call)(const struct bed *bed), const struct bed *bed);

static void compare_beds(const char *what, measure_fn *how,
			 void (*call)(const struct bed *bed))
{
	double without[MOST_PAIRS], added[MOST_PAIRS];
	char line[80];
	how(call, &audited); /* warm */
	for (unsigned i = 0; i < pairs; i++) {
		without[i] = how(call, &plain);
		added[i] = how(call, &audited) - without[i];
	}
	snprintf(line, sizeof(line), "%s, counted", what);
	print(line, without, "");
	snprintf(line, sizeof(line), "%s, added by its record", what);
	print(line, added, "goal: <= 3000");
}

static void measure_seam(void)
{
	double values[MOST_PAIRS];
	for (unsigned i = 0; i < pairs; i++)
		values[i] = measure(use_nothing, &plain);
	print("a use by itself: begun, ended, counted", values, "goal: <= 100");
}

int main(int argc, char **argv)
{
	char folder[300];
	if (argc > 1 && strcmp(argv[1], "quick") == 0) {
		pairs = 3;
		block = 500;
	}
	fixture_mock(&fixture);
	fixture_set(&fixture, "max-sessions", "8");
	open_bed(&plain);
	snprintf(folder, sizeof(folder), "%s/audit", fixture.dir);
	fixture_set(&fixture, "audit", folder);
	open_bed(&audited);
	measure_seam();
	compare_beds("a MAC, 1 thread", measure, mac);
	compare_beds("a MAC, 8 threads", measure_threads, mac);
	close_bed(&audited);
	close_bed(&plain);
	fixture_remove(&fixture);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What calls that hang cost the others, and what call-timeout costs a call.
 *
 * On the mock, with a signature of 1 ms: 64 threads on 16 sessions, then the same with
 * four of them hanging in C_Sign. Each ratio compares two measurements of one pool.
 * Prints a table; fails only if somebody who waits is not answered in time.
 *
 *   stuck [quick]
 */
#include "support/fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/time.h"

#define SESSIONS 16
#define HUNG     4
#define THREADS  64
#define PAIRS    7
#define DEADLINE (2 * HP_SECOND)

static int64_t spell_ns = HP_SECOND;
static const struct mock_control *mock;
static struct fixture fixture;
static hsmpool *pool;
static hsmpool_key *key;

static hsmpool_status sign(int64_t deadline_ns)
{
	uint8_t signature[512];
	hsmpool_buf out = { signature, sizeof(signature), 0 };
	hsmpool_bytes message = { (const uint8_t *)"message", 7 };
	return hsmpool_sign(pool, key, "ecdsa-sha256", message, &out, deadline_ns, NULL);
}

static void open_pool(const char *reserve, const char *call_timeout)
{
	hsmpool_error err;
	fixture_set(&fixture, "stuck-reserve", reserve);
	fixture_set(&fixture, "call-timeout", call_timeout);
	pool = fixture_open(&fixture);
	if (hsmpool_key_open(&key, pool, "pkcs11:object=ec", HSMPOOL_DEFAULT, &err) !=
	    HSMPOOL_OK) {
		fprintf(stderr, "bench stuck: %s\n", err.text);
		exit(1);
	}
}

static void close_pool(void)
{
	hsmpool_key_close(&key);
	hsmpool_close(&pool);
}

static double median(double *values, unsigned count)
{
	for (unsigned i = 1; i < count; i++)
		for (unsigned j = i; j > 0 && values[j] < values[j - 1]; j--) {
			double larger = values[j - 1];
			values[j - 1] = values[j];
			values[j] = larger;
		}
	return values[count / 2];
}

/* --- four of sixteen ------------------------------------------------------------------
 */

static _Atomic uint64_t signatures, failures;
static _Atomic int64_t longest_ns;
static atomic_bool stop;

static void *sign_on_and_on(void *argument)
{
	(void)argument;
	while (!atomic_load(&stop)) {
		int64_t before = hp_now_ns();
		if (sign(before + DEADLINE) == HSMPOOL_OK)
			atomic_fetch_add(&signatures, 1);
		else
			atomic_fetch_add(&failures, 1);
		int64_t took = hp_now_ns() - before;
		int64_t longest = atomic_load(&longest_ns);
		while (took > longest &&
		       !atomic_compare_exchange_weak(&longest_ns, &longest, took))
			;
	}
	return NULL;
}

/* Signatures a second. */
static double measure(void)
{
	pthread_t threads[THREADS];
	atomic_store(&stop, false);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, sign_on_and_on, NULL);
	usleep(100000);
	uint64_t before = atomic_load(&signatures);
	int64_t since = hp_now_ns();
	usleep((useconds_t)(spell_ns / 1000));
	double rate = (double)(atomic_load(&signatures) - before) /
		      ((double)(hp_now_ns() - since) / (double)HP_SECOND);
	atomic_store(&stop, true);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return rate;
}

static void *sign_once(void *took_ns)
{
	int64_t before = hp_now_ns();
	(void)!sign(before + DEADLINE);
	*(int64_t *)took_ns = hp_now_ns() - before;
	return NULL;
}

static unsigned stuck_now(void)
{
	hsmpool_stats stats = { .size = sizeof(stats) };
	hsmpool_get_stats(pool, &stats);
	return stats.stuck;
}

/* The rate with four hanging, in parts of that without. *answered: the longest of the
 * four calls, or 0 if they were answered only when they were released. */
static double measure_hang(int64_t *answered_ns)
{
	pthread_t four[HUNG];
	int64_t took[HUNG];
	double healthy = measure();
	for (unsigned i = 0; i < HUNG; i++)
		mock->hang("C_Sign", i + 1);
	for (unsigned i = 0; i < HUNG; i++)
		pthread_create(&four[i], NULL, sign_once, &took[i]);
	while (stuck_now() < HUNG)
		usleep(1000);
	double ratio = measure() / healthy;
	mock->release();
	*answered_ns = 0;
	for (unsigned i = 0; i < HUNG; i++) {
		pthread_join(four[i], NULL);
		if (took[i] < spell_ns && took[i] > *answered_ns)
			*answered_ns = took[i];
	}
	while (stuck_now() > 0)
		usleep(1000);
	return ratio;
}

static void report(const char *what, const char *reserve, const char *call_timeout,
		   double ideal)
{
	double ratios[PAIRS];
	int64_t answered_ns = 0;
	atomic_store(&longest_ns, 0);
	for (unsigned i = 0; i < PAIRS; i++) {
		open_pool(reserve, call_timeout);
		ratios[i] = measure_hang(&answered_ns) / ideal;
		close_pool();
	}
	double middle = median(ratios, PAIRS);
	printf("%-44s %.3f of ideal [%.3f-%.3f], longest wait %.0f ms", what, middle,
	       ratios[0], ratios[PAIRS - 1], (double)longest_ns / (double)HP_MS);
	if (answered_ns)
		printf(", the four heard after %.0f ms",
		       (double)answered_ns / (double)HP_MS);
	printf("\n");
}

/* --- the price of call-timeout --------------------------------------------------------
 */

static double time_of_sign(const char *call_timeout, unsigned count)
{
	open_pool("0", call_timeout);
	for (unsigned i = 0; i < count / 10; i++)
		(void)!sign(HSMPOOL_DEFAULT);
	int64_t before = hp_now_ns();
	for (unsigned i = 0; i < count; i++)
		(void)!sign(HSMPOOL_DEFAULT);
	double ns = (double)(hp_now_ns() - before) / count;
	close_pool();
	return ns;
}

static void report_price(unsigned count)
{
	double with[PAIRS], added[PAIRS];
	for (unsigned i = 0; i < PAIRS; i++) {
		double without = time_of_sign("0", count);
		with[i] = time_of_sign("1m", count);
		added[i] = (with[i] - without) / 2; /* C_SignInit and C_Sign */
	}
	double middle = median(added, PAIRS);
	printf("%-44s %.1f us a call [%.1f-%.1f]\n", "call-timeout adds", middle / 1000,
	       added[0] / 1000, added[PAIRS - 1] / 1000);
}

int main(int argc, char **argv)
{
	bool is_quick = argc > 1 && strcmp(argv[1], "quick") == 0;
	char sessions[12];
	if (is_quick)
		spell_ns = 50 * HP_MS;
	fixture_mock(&fixture);
	mock = fixture_mock_control();
	snprintf(sessions, sizeof(sessions), "%d", SESSIONS);
	fixture_set(&fixture, "max-sessions", sessions);
	fixture_set(&fixture, "min-sessions", sessions);
	fixture_set(&fixture, "stuck-after", "50ms");
	fixture_set(&fixture, "log-level", "error");
	report_price(is_quick ? 1000 : 20000);
	mock->latency("C_Sign", HP_MS);
	report("4 of 16 sessions hang", "0", "0", 12.0 / 16);
	report("4 of 16 sessions hang, stuck-reserve = 4", "4", "0", 1);
	report("the same with call-timeout = 300ms", "4", "300ms", 1);
	printf("%-44s %lu\n", "signatures not answered in time",
	       (unsigned long)atomic_load(&failures));
	fixture_remove(&fixture);
	return atomic_load(&failures) == 0 ? 0 : 1;
}

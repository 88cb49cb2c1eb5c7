/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What reading the metrics costs those who use the pool meanwhile.
 *
 * 64 threads on 64 sessions of the mock, each with an operation now and then, so that the
 * machine is not full; spells without anybody who reads, and spells where the control
 * socket is asked again and again without a pause, which is far more than any Prometheus
 * does. An operation is timed in its own thread, so that how late a sleeper is woken does
 * not count; one that the scheduler took from the processor is counted apart, since that
 * is not the pool's doing. Prints a table; fails only if the metrics cannot be read.
 *
 *   scrape [quick]
 */
#include "support/fixture.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/memory.h"
#include "base/time.h"
#include "control/place.h"

#define THREADS  64
#define PAIRS    5
#define PATIENCE (30 * HP_SECOND) /* for the socket to appear */
#define PAUSE_US 4000             /* of a thread between two operations, on the average */
#define MOST     (1u << 20)       /* operations of a spell that are kept */

static int64_t spell_ns = 2 * HP_SECOND;
static struct fixture fixture;
static hsmpool *pool;
static atomic_bool stop;

/* --- operations ----------------------------------------------------------------------
 */

/* Of one kind of spell. */
struct tally {
	int64_t *took_ns; /* those that nothing interrupted */
	_Atomic size_t count;
	_Atomic size_t interrupted;
};

static long interruptions(void)
{
	struct rusage usage;
	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nivcsw;
}

static void operate(struct tally *tally)
{
	uint8_t bytes[32];
	long before = interruptions();
	int64_t begun = hp_now_ns();
	hsmpool_status status =
		hsmpool_random(pool, bytes, sizeof(bytes), HSMPOOL_DEFAULT, NULL);
	int64_t took = hp_now_ns() - begun;
	if (status != HSMPOOL_OK) {
		fprintf(stderr, "bench scrape: %s\n", hsmpool_status_name(status));
		exit(1);
	}
	if (interruptions() != before) {
		atomic_fetch_add(&tally->interrupted, 1);
		return;
	}
	size_t index = atomic_fetch_add(&tally->count, 1);
	if (index < MOST)
		tally->took_ns[index] = took;
}

static void *operate_now_and_then(void *tally)
{
	while (!atomic_load(&stop)) {
		hp_pause(hp_jitter(PAUSE_US * HP_US, 50));
		operate(tally);
	}
	return NULL;
}

/* --- reading -------------------------------------------------------------------------
 */

static _Atomic size_t scrapes, bytes_read;
static _Atomic int64_t longest_scrape_ns;

static int connect_to_myself(void)
{
	char path[512], name[64];
	if (!hp_control_dir(path, sizeof(path)))
		return -1;
	HP_AUTO_FD int dir = hp_control_open_dir(path, geteuid(), false);
	hp_control_make_name(name, sizeof(name), getpid(), 1);
	return dir >= 0 ? hp_control_connect(dir, name, geteuid()) : -1;
}

/* Everything until the other side closes: how many bytes. */
static size_t read_all(int fd)
{
	char buffer[65536];
	size_t all = 0;
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	for (;;) {
		poll(&wait, 1, 1000);
		ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
		if (got == 0 || (got < 0 && errno != EAGAIN))
			return all;
		all += got > 0 ? (size_t)got : 0;
	}
}

static size_t scrape(void)
{
	static const char request[] = "metrics\n";
	int64_t begun = hp_now_ns();
	HP_AUTO_FD int fd = connect_to_myself();
	if (fd < 0 || send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0)
		return 0;
	size_t len = read_all(fd);
	int64_t took = hp_now_ns() - begun;
	if (took > atomic_load(&longest_scrape_ns))
		atomic_store(&longest_scrape_ns, took);
	return len;
}

static void *scrape_on_and_on(void *argument)
{
	(void)argument;
	while (!atomic_load(&stop)) {
		size_t len = scrape();
		atomic_fetch_add(&scrapes, len > 0);
		atomic_fetch_add(&bytes_read, len);
	}
	return NULL;
}

/* --- spells --------------------------------------------------------------------------
 */

static void run_spell(struct tally *tally, bool is_scraped)
{
	pthread_t threads[THREADS], reader;
	atomic_store(&stop, false);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, operate_now_and_then, tally);
	if (is_scraped)
		pthread_create(&reader, NULL, scrape_on_and_on, NULL);
	hp_pause(spell_ns);
	atomic_store(&stop, true);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	if (is_scraped)
		pthread_join(reader, NULL);
}

static int compare(const void *left, const void *right)
{
	const int64_t *a = left, *b = right;
	return (*a > *b) - (*a < *b);
}

static void report(const char *what, struct tally *tally)
{
	size_t count = tally->count < MOST ? tally->count : MOST, late = 0;
	qsort(tally->took_ns, count, sizeof(*tally->took_ns), compare);
	while (late < count && tally->took_ns[count - 1 - late] > HP_MS)
		late++;
	printf("%-30s %7zu operations, p50 %5.1f us, p99 %5.1f us, p99.99 %6.1f us, "
	       "longest %7.1f us, %zu over 1 ms; %zu interrupted\n",
	       what, count, (double)tally->took_ns[count / 2] / 1e3,
	       (double)tally->took_ns[count * 99 / 100] / 1e3,
	       (double)tally->took_ns[count - 1 - count / 10000] / 1e3,
	       (double)tally->took_ns[count - 1] / 1e3, late, tally->interrupted);
}

static void prepare(void)
{
	fixture_mock(&fixture);
	setenv("XDG_RUNTIME_DIR", fixture.dir, 1);
	fixture_set(&fixture, "max-sessions", "64");
	fixture_set(&fixture, "min-sessions", "64");
	fixture_set(&fixture, "log-level", "error");
	pool = fixture_open(&fixture);
	int64_t until = hp_now_ns() + PATIENCE;
	while (scrape() == 0) {
		if (hp_now_ns() > until) {
			fprintf(stderr, "bench scrape: the metrics cannot be read\n");
			exit(1);
		}
		hp_pause(10 * HP_MS);
	}
}

int main(int argc, char **argv)
{
	struct tally quiet = { .took_ns = calloc(MOST, sizeof(int64_t)) };
	struct tally scraped = { .took_ns = calloc(MOST, sizeof(int64_t)) };
	if (!quiet.took_ns || !scraped.took_ns)
		return 1;
	if (argc > 1 && strcmp(argv[1], "quick") == 0)
		spell_ns = 50 * HP_MS;
	prepare();
	for (int i = 0; i < PAIRS; i++) {
		run_spell(&quiet, false);
		run_spell(&scraped, true);
	}
	report("nobody reads", &quiet);
	report("read without a pause", &scraped);
	printf("%-30s %7zu of %zu bytes, one took %.0f us, the longest %.0f us\n",
	       "scrapes", scrapes, scrapes ? bytes_read / scrapes : 0,
	       (double)PAIRS * (double)spell_ns / 1e3 / (double)(scrapes ? scrapes : 1),
	       (double)longest_scrape_ns / 1e3);
	hsmpool_close(&pool);
	fixture_remove(&fixture);
	free(quiet.took_ns);
	free(scraped.took_ns);
	return scrapes > 0 ? 0 : 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ground of the pool's tests: a pool on the mock, threads that use it, and waiting
 * for a condition instead of for a time.
 *
 * The tear-down closes the pool and checks, after every test: what was opened is
 * closed, no session was used by two threads at once, and no more sessions than
 * max-sessions were ever open.
 */
#ifndef TEST_MOCK_POOL_GROUND_H
#define TEST_MOCK_POOL_GROUND_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include "base/time.h"
#include "pool/pool.h"
#include "support/fixture.h"

struct ground {
	struct fixture fixture;
	const struct mock_control *mock;
	hsmpool *pool;
	bool is_uneven; /* the test left a session behind on purpose */
};

int ground_set_up(void **state);
int ground_tear_down(void **state);
#define GROUND_TEST(name) \
	cmocka_unit_test_setup_teardown(name, ground_set_up, ground_tear_down)

/* Set options, "key", "value", ..., NULL, then open. Nothing happens in the background
 * unless an option asks for it: intervals are off, the leak warning too; and nothing
 * that succeeds misses the borrow-timeout or the close-grace of a minute. */
hsmpool *ground_open(struct ground *g, ...) __attribute__((sentinel));
void ground_set(struct ground *g, ...) __attribute__((sentinel));
/* A script of the mock; fails the test if it is wrong. */
void ground_script(struct ground *g, const char *script);
hsmpool_stats ground_stats(const struct ground *g);
struct mock_counters ground_counters(const struct ground *g);

/* Fails the test unless condition becomes true. */
#define eventually(condition)                                              \
	do {                                                               \
		int64_t eventually_until = hp_now_ns() + TEST_PATIENCE_NS; \
		while (!(condition)) {                                     \
			if (hp_now_ns() > eventually_until)                \
				fail_msg("never: %s", #condition);         \
			ground_nap();                                      \
		}                                                          \
	} while (0)
void ground_nap(void); /* 1 ms: between two looks at a condition */

/* Borrow; the test fails if it fails. */
hsmpool_session *ground_borrow(struct ground *g);
hsmpool_status ground_try_borrow(struct ground *g, int64_t milliseconds,
				 hsmpool_session **out, hsmpool_error *err);
/* One call of the module on a borrowed session. */
CK_RV ground_use(hsmpool_session *session);
/* Borrow, one call, return with its verdict, as lib/crypto does it. *rv as the call
 * answered it; CKR_OK if there was none. */
hsmpool_status ground_operate(hsmpool *pool, int64_t milliseconds, CK_RV *rv,
			      hsmpool_error *err);
/* Borrow, find the key "ec", sign, return. */
CK_RV ground_sign(struct ground *g);

/* Threads: run(argument) in each, all let loose at the same moment. */
struct crew {
	pthread_t *threads;
	size_t count;
};
struct crew crew_start(size_t count, void *(*run)(void *), void *argument);
void crew_join(struct crew *crew);

/* The log, caught: how many lines of an event there were, and the last one's text. */
void ground_catch_log(struct ground *g);
unsigned ground_logged(const char *event, char *text, size_t cap);

#endif

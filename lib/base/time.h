/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Monotonic time, absolute deadlines, condition variables on that clock.
 *
 * Every wait in hsmpool is bounded by an absolute CLOCK_MONOTONIC time.
 */
#ifndef HP_BASE_TIME_H
#define HP_BASE_TIME_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <hsmpool/status.h>

#define HP_US      INT64_C(1000)
#define HP_MS      INT64_C(1000000)
#define HP_SECOND  INT64_C(1000000000)
#define HP_FOREVER INT64_MAX /* a time that never comes */

static inline int64_t hp_clock_ns(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * HP_SECOND + now.tv_nsec;
}

static inline int64_t hp_now_ns(void)
{
	return hp_clock_ns(CLOCK_MONOTONIC);
}

/* A few ms behind at worst, a quarter of the cost. */
static inline int64_t hp_now_coarse_ns(void)
{
	return hp_clock_ns(CLOCK_MONOTONIC_COARSE);
}

/* now + span without overflow. */
int64_t hp_time_add(int64_t now_ns, int64_t span_ns);

/* HSMPOOL_DEFAULT becomes now + default_span_ns; HSMPOOL_NO_WAIT stays 0. */
int64_t hp_deadline_resolve(hsmpool_deadline deadline, int64_t default_span_ns);

/* A condition variable that waits on CLOCK_MONOTONIC. */
void hp_cond_init(pthread_cond_t *cond);

/* Wait until signalled or deadline_ns (HP_FOREVER: no bound). False if the time came.
 * Spurious wakes return true: check the condition again. */
bool hp_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex,
			int64_t deadline_ns);

/* Sleep; a signal may end it early. */
void hp_pause(int64_t span_ns);

/* Lock, or false at deadline_ns. A robust mutex whose owner died is taken, and is
 * consistent again: for those that guard nothing but a turn. */
bool hp_mutex_lock_until(pthread_mutex_t *mutex, int64_t deadline_ns);

/* span_ns changed by up to +-percent, from a fast non-cryptographic generator. */
int64_t hp_jitter(int64_t span_ns, unsigned percent);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Absolute deadlines on CLOCK_MONOTONIC, waits bounded by them, and jitter.
 *
 * Owns: the overflow rules (a time that cannot be represented is HP_FOREVER) and the
 * seed of the jitter. Must not: use CLOCK_REALTIME, which an administrator can set.
 */
#include "base/time.h"

#include "base/process.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/random.h>

int64_t hp_time_add(int64_t now_ns, int64_t span_ns)
{
	int64_t sum;
	if (__builtin_add_overflow(now_ns, span_ns, &sum))
		return span_ns > 0 ? HP_FOREVER : INT64_MIN;
	return sum;
}

int64_t hp_deadline_resolve(hsmpool_deadline deadline, int64_t default_span_ns)
{
	if (deadline == HSMPOOL_DEFAULT)
		return hp_time_add(hp_now_ns(), default_span_ns);
	return deadline < 0 ? 0 : deadline;
}

static struct timespec to_timespec(int64_t time_ns)
{
	return (struct timespec){ .tv_sec = (time_t)(time_ns / HP_SECOND),
				  .tv_nsec = (long)(time_ns % HP_SECOND) };
}

void hp_pause(int64_t span_ns)
{
	struct timespec span = to_timespec(span_ns);
	clock_nanosleep(CLOCK_MONOTONIC, 0, &span, NULL);
}

void hp_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attributes);
	pthread_condattr_destroy(&attributes);
}

bool hp_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t deadline_ns)
{
	if (deadline_ns == HP_FOREVER) {
		pthread_cond_wait(cond, mutex);
		return true;
	}
	if (deadline_ns <= 0)
		return false;
	struct timespec until = to_timespec(deadline_ns);
	return pthread_cond_timedwait(cond, mutex, &until) != ETIMEDOUT;
}

/*
 * ThreadSanitizer does not know pthread_mutex_clocklock and would report every access
 * under the lock as a race; under it alone the wait is on the realtime clock.
 */
#if defined(__SANITIZE_THREAD__)
#define BUILT_FOR_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BUILT_FOR_TSAN 1
#endif
#endif

#ifdef BUILT_FOR_TSAN
static int lock_until(pthread_mutex_t *mutex, int64_t deadline_ns)
{
	int64_t offset_ns = hp_clock_ns(CLOCK_REALTIME) - hp_now_ns();
	struct timespec until = to_timespec(hp_time_add(deadline_ns, offset_ns));
	return pthread_mutex_timedlock(mutex, &until);
}
#else
static int lock_until(pthread_mutex_t *mutex, int64_t deadline_ns)
{
	struct timespec until = to_timespec(deadline_ns);
	return pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &until);
}
#endif

bool hp_mutex_lock_until(pthread_mutex_t *mutex, int64_t deadline_ns)
{
	if (deadline_ns == HP_FOREVER)
		return pthread_mutex_lock(mutex) == 0;
	if (deadline_ns <= 0)
		return pthread_mutex_trylock(mutex) == 0;
	int failure = lock_until(mutex, deadline_ns);
	/* A robust mutex whose owner died is ours to put right. */
	return failure == 0 ||
	       (failure == EOWNERDEAD && pthread_mutex_consistent(mutex) == 0);
}

/* splitmix64: every value of the counter gives an independent-looking number. */
static uint64_t mix(uint64_t value)
{
	value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
	return value ^ (value >> 31);
}

/*
 * The counter starts at a random value and is inherited by a forked child; the epoch
 * mixed in keeps a family of worker processes from jittering in step.
 */
static uint64_t next_random(void)
{
	static _Atomic uint64_t counter;
	const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15);
	if (atomic_load_explicit(&counter, memory_order_relaxed) == 0) {
		uint64_t seed = 0;
		if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
			seed = (uint64_t)hp_now_ns();
		uint64_t unseeded = 0;
		atomic_compare_exchange_strong(&counter, &unseeded, seed | 1);
	}
	uint64_t drawn =
		atomic_fetch_add_explicit(&counter, golden, memory_order_relaxed);
	return mix(drawn ^ mix(hp_process_epoch()));
}

int64_t hp_jitter(int64_t span_ns, unsigned percent)
{
	if (span_ns <= 0 || percent == 0)
		return span_ns;
	if (percent > 100)
		percent = 100;
	uint64_t reach = (uint64_t)span_ns / 100 * percent +
			 (uint64_t)span_ns % 100 * percent / 100;
	uint64_t least = (uint64_t)span_ns - reach;
	uint64_t span = least + next_random() % (2 * reach + 1);
	return span > (uint64_t)HP_FOREVER ? HP_FOREVER : (int64_t)span;
}

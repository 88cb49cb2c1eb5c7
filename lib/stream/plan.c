/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See plan.h. Local work is bound by the processors, work of the HSM by its sessions: a
 * thread waits for one of them most of the time. There are a few chunks more than threads
 * need: one that takes long, or whose thread has lost its processor to another process,
 * must not stop the others.
 */
#include "stream/plan.h"

#include <sched.h>
#include "base/time.h"

unsigned hp_processors(void)
{
	cpu_set_t allowed;
	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return 1; /* more of them than the set has room for: rare, and safe */
	return (unsigned)CPU_COUNT(&allowed);
}

static unsigned sessions_of(hsmpool *pool)
{
	hsmpool_stats stats = { .size = sizeof(stats) };
	hsmpool_get_stats(pool, &stats);
	return stats.limit;
}

/* Who must not wait must not share sessions with threads of its own. */
static bool has_passed(hsmpool_deadline deadline)
{
	return deadline != HSMPOOL_DEFAULT && deadline <= hp_now_ns();
}

static unsigned threads_for(hsmpool *pool, enum hp_container_mode mode,
			    hsmpool_deadline deadline)
{
	/* One more than processors: the calling thread mostly reads and writes. */
	if (mode == HP_MODE_ENVELOPE)
		return hp_processors() > 1 ? hp_processors() + 1 : 1;
	return has_passed(deadline) ? 1 : sessions_of(pool);
}

static unsigned smaller(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Each with a chunk, and one chunk more. */
static unsigned threads_that_fit(size_t slot_len, size_t worker_len)
{
	if (slot_len >= HP_STREAM_MEMORY_IN_ALL)
		return 0;
	return (unsigned)((HP_STREAM_MEMORY_IN_ALL - slot_len) / (slot_len + worker_len));
}

static size_t left_for_chunks(unsigned threads, size_t worker_len)
{
	size_t left = HP_STREAM_MEMORY_IN_ALL - threads * worker_len;
	return left < HP_STREAM_MEMORY ? left : HP_STREAM_MEMORY;
}

struct hp_stream_plan hp_stream_plan(hsmpool *pool, enum hp_container_mode mode,
				     uint32_t wanted, size_t slot_len, size_t worker_len,
				     hsmpool_deadline deadline)
{
	unsigned threads = wanted;
	size_t memory = HP_STREAM_MEMORY;
	if (wanted == 0) {
		threads = smaller(threads_for(pool, mode, deadline),
				  threads_that_fit(slot_len, worker_len));
		memory = left_for_chunks(threads, worker_len);
	}
	threads = smaller(threads, HP_STREAM_THREADS_MAX);
	unsigned slots = smaller((unsigned)(memory / slot_len), 4 * threads + 6);
	if (threads <= 1 || slots < 3)
		return (struct hp_stream_plan){ 1, 1 };
	return (struct hp_stream_plan){ smaller(threads, slots - 1), slots };
}

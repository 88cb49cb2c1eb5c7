/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many threads a stream gets, and how many chunks it keeps in flight.
 *
 * Owns: the rule, the memory that chunks and threads together may take, and the number of
 * processors that the rule starts from.
 */
#ifndef HP_STREAM_PLAN_H
#define HP_STREAM_PLAN_H

#include <stddef.h>
#include <hsmpool/pool.h>
#include "stream/container.h"

enum {
	HP_STREAM_THREADS_MAX = 64,
	/* Bytes of chunks in flight (one chunk at least), and with what threads have for
	 * themselves, unless the caller wants that many. A process stays below 64 MiB. */
	HP_STREAM_MEMORY = 32 << 20,
	HP_STREAM_MEMORY_IN_ALL = 48 << 20,
};

struct hp_stream_plan {
	unsigned threads; /* at once, 1: the calling one */
	unsigned slots;
};

/* That this thread may run on. */
unsigned hp_processors(void);

/* wanted: hsmpool_stream_options.threads. slot_len: bytes that one chunk takes;
 * worker_len: that a thread has for itself. */
struct hp_stream_plan hp_stream_plan(hsmpool *pool, enum hp_container_mode mode,
				     uint32_t wanted, size_t slot_len, size_t worker_len,
				     hsmpool_deadline deadline);

#endif

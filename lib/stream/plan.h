/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many threads a stream gets, and how many chunks it keeps in flight.
 *
 * Owns: the rule, and the memory that all chunks together may take.
 */
#ifndef HP_STREAM_PLAN_H
#define HP_STREAM_PLAN_H

#include <stddef.h>
#include <hsmpool/pool.h>
#include "stream/container.h"

enum {
	HP_STREAM_THREADS_MAX = 64,
	HP_STREAM_MEMORY = 32 << 20, /* bytes of chunks in flight; one chunk at least */
};

struct hp_stream_plan {
	unsigned threads; /* at once, 1: the calling one */
	unsigned slots;
};

/* wanted: hsmpool_stream_options.threads. slot_len: bytes that one chunk takes. */
struct hp_stream_plan hp_stream_plan(hsmpool *pool, enum hp_container_mode mode,
				     uint32_t wanted, size_t slot_len,
				     hsmpool_deadline deadline);

#endif

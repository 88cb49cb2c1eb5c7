/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting uses as they end: how long each kind took, and what they failed with.
 *
 * Every thread counts in a shard of its own, or nearly so, with relaxed atomics: no
 * lock, and no cache line that goes to and fro. Kinds are told apart by the address of
 * their name, failures by their number; there is room for so many of each, and the rest
 * is counted as one. A reader may see a use in part, but never a count that falls.
 */
#ifndef HP_OBSERVE_METER_H
#define HP_OBSERVE_METER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HP_METER_SHARDS 16
#define HP_METER_KINDS  48
#define HP_METER_ERRORS 32
#define HP_METER_BUCKETS                                               \
	26 /* bucket i: times up to 1000 << i ns; the last: all others \
	    */

/* Of one kind, by one shard's threads. */
struct hp_timings {
	_Alignas(64) _Atomic uint64_t bucket[HP_METER_BUCKETS];
	_Atomic uint64_t sum_ns;
};

struct hp_meter {
	_Atomic(const char *) kinds[HP_METER_KINDS]; /* first come, first placed */
	/* Made when a thread of the shard first counts one of the kind. */
	_Atomic(struct hp_timings *) timings[HP_METER_SHARDS][HP_METER_KINDS];
	struct hp_timings other; /* no place, or no memory */
	struct {
		_Atomic uint64_t code; /* 0: free */
		_Atomic uint64_t count;
	} errors[HP_METER_ERRORS];
	_Atomic uint64_t nameless_errors; /* code 0 */
	_Atomic uint64_t other_errors;
};

/* NULL: no memory. */
struct hp_meter *hp_meter_new(void);
void hp_meter_free(struct hp_meter **meter);

static inline unsigned hp_histogram_bucket(int64_t ns)
{
	uint64_t us = ns <= 0 ? 0 : ((uint64_t)ns + 999) / 1000;
	unsigned bucket = us <= 1 ? 0 : 64u - (unsigned)__builtin_clzll(us - 1);
	return bucket < HP_METER_BUCKETS ? bucket : HP_METER_BUCKETS - 1;
}

/* kind: a string that is never freed. */
void hp_meter_count_use(struct hp_meter *meter, const char *kind, int64_t ns);
/* code 0: it has none. */
void hp_meter_count_error(struct hp_meter *meter, uint64_t code);

/* What was counted, summed up. */
struct hp_meter_use {
	const char *kind; /* "other" is the last one, if there is any */
	uint64_t count;
	uint64_t sum_ns;
	uint64_t bucket[HP_METER_BUCKETS];
};
/* The index-th kind; those of one name are one. False past the end. */
bool hp_meter_read_use(const struct hp_meter *meter, size_t index,
		       struct hp_meter_use *use);

enum hp_meter_error_kind {
	HP_METER_ERROR_CODE,
	HP_METER_ERROR_NAMELESS, /* both only if there is any, */
	HP_METER_ERROR_OTHER,    /* and last */
};
struct hp_meter_error {
	enum hp_meter_error_kind kind;
	uint64_t code;
	uint64_t count;
};
bool hp_meter_read_error(const struct hp_meter *meter, size_t index,
			 struct hp_meter_error *error);

#endif

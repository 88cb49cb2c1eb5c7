/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See meter.h.
 */
#include "observe/meter.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct hp_timings) % 64 == 0, "shards share no cache line");

struct hp_meter *hp_meter_new(void)
{
	struct hp_meter *meter = aligned_alloc(64, sizeof(*meter));
	if (meter)
		memset(meter, 0, sizeof(*meter));
	return meter;
}

void hp_meter_free(struct hp_meter **address)
{
	struct hp_meter *meter = *address;
	*address = NULL;
	for (size_t s = 0; meter && s < HP_METER_SHARDS; s++)
		for (size_t k = 0; k < HP_METER_KINDS; k++)
			free(atomic_load(&meter->timings[s][k]));
	free(meter);
}

/* --- counting --------------------------------------------------------------------- */

static void add(_Atomic uint64_t *counter, uint64_t value)
{
	atomic_fetch_add_explicit(counter, value, memory_order_relaxed);
}

static unsigned own_shard(void)
{
	static _Atomic unsigned next;
	static _Thread_local unsigned shard; /* its number + 1 */
	if (__builtin_expect(shard == 0, 0))
		shard = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed) %
				HP_METER_SHARDS +
			1;
	return shard - 1;
}

/* HP_METER_KINDS: there is no place left. */
static size_t place_of(struct hp_meter *meter, const char *kind)
{
	size_t i = 0;
	for (; i < HP_METER_KINDS; i++) {
		const char *owner =
			atomic_load_explicit(&meter->kinds[i], memory_order_relaxed);
		if (!owner &&
		    atomic_compare_exchange_strong(&meter->kinds[i], &owner, kind))
			break;
		if (owner == kind)
			break;
	}
	return i;
}

static struct hp_timings *make_timings(struct hp_meter *meter,
				       _Atomic(struct hp_timings *) *place)
{
	struct hp_timings *made = aligned_alloc(64, sizeof(*made));
	struct hp_timings *winner = NULL;
	if (!made)
		return &meter->other;
	memset(made, 0, sizeof(*made));
	if (atomic_compare_exchange_strong(place, &winner, made))
		return made;
	free(made);
	return winner;
}

void hp_meter_count_use(struct hp_meter *meter, const char *kind, int64_t ns)
{
	struct hp_timings *timings = &meter->other;
	size_t k = place_of(meter, kind);
	if (k < HP_METER_KINDS) {
		_Atomic(struct hp_timings *) *place = &meter->timings[own_shard()][k];
		timings = atomic_load_explicit(place, memory_order_acquire);
		if (__builtin_expect(!timings, 0))
			timings = make_timings(meter, place);
	}
	add(&timings->bucket[hp_histogram_bucket(ns)], 1);
	add(&timings->sum_ns, ns > 0 ? (uint64_t)ns : 0);
}

/* HP_METER_ERRORS: there is no place left. */
static size_t place_of_error(struct hp_meter *meter, uint64_t code)
{
	size_t i = 0;
	for (; i < HP_METER_ERRORS; i++) {
		_Atomic uint64_t *place = &meter->errors[i].code;
		uint64_t owner = atomic_load_explicit(place, memory_order_relaxed);
		if (owner == 0 && atomic_compare_exchange_strong(place, &owner, code))
			break;
		if (owner == code)
			break;
	}
	return i;
}

void hp_meter_count_error(struct hp_meter *meter, uint64_t code)
{
	size_t place = code ? place_of_error(meter, code) : 0;
	if (code == 0)
		add(&meter->nameless_errors, 1);
	else if (place == HP_METER_ERRORS)
		add(&meter->other_errors, 1);
	else
		add(&meter->errors[place].count, 1);
}

/* --- reading ---------------------------------------------------------------------- */

static uint64_t get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static void sum_up(const struct hp_timings *timings, struct hp_meter_use *use)
{
	for (size_t i = 0; i < HP_METER_BUCKETS; i++) {
		uint64_t count = get(&timings->bucket[i]);
		use->bucket[i] += count;
		use->count += count;
	}
	use->sum_ns += get(&timings->sum_ns);
}

static const char *kind_at(const struct hp_meter *meter, size_t place)
{
	return atomic_load_explicit(&meter->kinds[place], memory_order_relaxed);
}

static bool is_repeated(const struct hp_meter *meter, size_t place)
{
	for (size_t i = 0; i < place; i++)
		if (strcmp(kind_at(meter, i), kind_at(meter, place)) == 0)
			return true;
	return false;
}

static void sum_up_kind(const struct hp_meter *meter, size_t first,
			struct hp_meter_use *use)
{
	for (size_t k = first; k < HP_METER_KINDS && kind_at(meter, k); k++) {
		if (strcmp(kind_at(meter, k), use->kind) != 0)
			continue;
		for (size_t s = 0; s < HP_METER_SHARDS; s++) {
			const struct hp_timings *timings = atomic_load_explicit(
				&meter->timings[s][k], memory_order_acquire);
			if (timings)
				sum_up(timings, use);
		}
	}
}

bool hp_meter_read_use(const struct hp_meter *meter, size_t index,
		       struct hp_meter_use *use)
{
	size_t seen = 0;
	memset(use, 0, sizeof(*use));
	for (size_t k = 0; k < HP_METER_KINDS && kind_at(meter, k); k++) {
		if (is_repeated(meter, k) || seen++ < index)
			continue;
		use->kind = kind_at(meter, k);
		sum_up_kind(meter, k, use);
		return true;
	}
	use->kind = "other";
	sum_up(&meter->other, use);
	return seen == index && use->count > 0;
}

bool hp_meter_read_error(const struct hp_meter *meter, size_t index,
			 struct hp_meter_error *error)
{
	const uint64_t rest[] = { get(&meter->nameless_errors),
				  get(&meter->other_errors) };
	size_t seen = 0;
	for (; seen < HP_METER_ERRORS && get(&meter->errors[seen].code); seen++) {
		if (seen < index)
			continue;
		*error = (struct hp_meter_error){ HP_METER_ERROR_CODE,
						  get(&meter->errors[seen].code),
						  get(&meter->errors[seen].count) };
		return true;
	}
	for (int i = 0; i < 2; i++) {
		if (rest[i] == 0 || seen++ < index)
			continue;
		*error = (struct hp_meter_error){ HP_METER_ERROR_NAMELESS + i, 0,
						  rest[i] };
		return true;
	}
	return false;
}

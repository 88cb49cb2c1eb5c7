/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool's figures: counters are kept where the event happens, under pool->lock; a
 * snapshot is taken here. Nothing here makes a module call.
 */
#include "pool/internal.h"

#include <stdio.h>
#include <string.h>
#include "observe/meter.h"

_Static_assert(HP_METER_BUCKETS == HSMPOOL_HISTOGRAM_BUCKETS, "histograms are alike");

void hp_histogram_add(uint64_t *buckets, uint64_t *total_ns, int64_t ns)
{
	buckets[hp_histogram_bucket(ns)]++;
	*total_ns += ns > 0 ? (uint64_t)ns : 0;
}

_Static_assert((int)HP_BREAKER_CLOSED == (int)HSMPOOL_BREAKER_CLOSED &&
		       (int)HP_BREAKER_OPEN == (int)HSMPOOL_BREAKER_OPEN &&
		       (int)HP_BREAKER_HALF_OPEN == (int)HSMPOOL_BREAKER_HALF_OPEN,
	       "the public states are ours");

/* Of those in this state the ones whose calls do not hang: these are counted apart. */
static uint32_t count_live_locked(const hsmpool *pool, enum hp_entry_state state)
{
	uint32_t live = pool->count[state];
	for (uint32_t i = 0; pool->stuck && i < pool->entry_count; i++) {
		const struct hsmpool_session *e = &pool->entries[i];
		live -= e->is_stuck && e->state == state;
	}
	return live;
}

static uint32_t count_overdue_locked(const hsmpool *pool)
{
	uint32_t overdue = 0;
	for (uint32_t i = 0; pool->stats.leaks_suspected && i < pool->entry_count; i++)
		overdue += pool->entries[i].state == HP_ENTRY_USED &&
			   pool->entries[i].is_leak_reported;
	return overdue;
}

void hp_stats_read_locked(hsmpool *pool, hsmpool_stats *out)
{
	int64_t now = hp_now_ns();
	*out = pool->stats;
	out->stuck = pool->stuck;
	out->idle = pool->count[HP_ENTRY_IDLE];
	out->used = count_live_locked(pool, HP_ENTRY_USED);
	out->testing = count_live_locked(pool, HP_ENTRY_TESTING);
	out->attached = pool->count[HP_ENTRY_ATTACHED];
	out->closing = count_live_locked(pool, HP_ENTRY_CLOSING);
	out->opening = count_live_locked(pool, HP_ENTRY_OPENING);
	out->open = out->idle + out->used + out->testing + out->stuck + out->closing +
		    out->attached;
	out->limit = hp_pool_limit_locked(pool);
	out->waiters = pool->waiters;
	out->paused = (pool->holds & HP_HOLD_PAUSE) != 0;
	out->breaker = pool->breaker.state;
	out->oldest_wait_ns = pool->first ? (uint64_t)(now - pool->first->since_ns) : 0;
	out->generation = pool->generation;
	out->last_error = pool->last_error;
	out->last_error_age_ns =
		pool->last_error ? (uint64_t)(now - pool->last_error_ns) : 0;
	out->overdue = count_overdue_locked(pool);
	out->latched = pool->login == HP_LOGIN_LATCHED;
}

void hsmpool_get_stats(hsmpool *pool, hsmpool_stats *stats)
{
	hsmpool_stats now = { 0 };
	if (!stats || stats->size < sizeof stats->size)
		return;
	size_t size = stats->size < sizeof now ? stats->size : sizeof now;
	if (hp_pool_check_usable(pool, NULL) == HSMPOOL_OK) {
		pthread_mutex_lock(&pool->lock);
		hp_stats_read_locked(pool, &now);
		pthread_mutex_unlock(&pool->lock);
	}
	now.size = size;
	memcpy(stats, &now, size);
}

void hp_pool_figures(hsmpool *pool, char *buf, size_t cap)
{
	hsmpool_stats stats = { .size = sizeof stats };
	hsmpool_get_stats(pool, &stats);
	char name[32], error[96] = "none";
	if (stats.last_error)
		snprintf(error, sizeof error, "%s %.1f s ago",
			 hp_rv_name(stats.last_error, name),
			 (double)stats.last_error_age_ns / (double)HP_SECOND);
	snprintf(buf, cap,
		 "%stotal %u of %u, idle %u, used %u, waiting %u, oldest wait %.1f s, "
		 "last HSM "
		 "error %s",
		 stats.paused ? "paused, " : "", stats.open, stats.limit, stats.idle,
		 stats.used + stats.stuck, stats.waiters,
		 (double)stats.oldest_wait_ns / (double)HP_SECOND, error);
}

void hp_pool_count_retry(hsmpool *pool, CK_RV rv)
{
	enum hp_rv_class class = hp_rv_class(&pool->module->overrides, rv);
	pthread_mutex_lock(&pool->lock);
	pool->stats.retries++;
	pool->retries[class]++;
	pthread_mutex_unlock(&pool->lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watching what lasts: borrows that do not end, and calls that hang.
 *
 * Owns: when a call counts as hung. Such a call cannot be ended from outside, so its
 * session is put in quarantine: nobody waits for it, its roles and, within stuck-reserve,
 * its place go to others, and it is closed when the call returns. Must not: call a
 * module. What is to be said is collected under the pool's lock and logged after.
 */
#include "pool/internal.h"

#include "observe/log.h"

/* What to say about an entry. */
struct sighting {
	const char *tag;
	int thread;
	int64_t age_ns, call_age_ns;
	unsigned index;
	bool is_leak, is_stuck;
};

/* Whoever owns an entry in these states may be inside a call. */
static bool may_be_in_call(const struct hsmpool_session *e)
{
	return e->state == HP_ENTRY_USED || e->state == HP_ENTRY_TESTING ||
	       e->state == HP_ENTRY_OPENING || e->state == HP_ENTRY_CLOSING;
}

static bool watch_locked(struct hsmpool_session *e, int64_t now,
			 struct sighting *sighting)
{
	hsmpool *pool = e->pool;
	if (!may_be_in_call(e))
		return false;
	int64_t call_since =
		atomic_load_explicit(&e->session.call_since_ns, memory_order_relaxed);
	*sighting = (struct sighting){
		.tag = e->tag,
		.thread = e->thread,
		.age_ns = now - e->borrowed_ns,
		.call_age_ns = call_since ? now - call_since : 0,
		.index = (unsigned)(e - pool->entries),
	};
	if (!e->is_stuck && sighting->call_age_ns > pool->live.stuck_after) {
		hp_entry_quarantine_locked(e);
		sighting->is_stuck = true;
	}
	if (e->state == HP_ENTRY_USED && !e->is_leak_reported && pool->live.leak_warn &&
	    sighting->age_ns > pool->live.leak_warn) {
		e->is_leak_reported = sighting->is_leak = true;
		pool->stats.leaks_suspected++;
	}
	return sighting->is_stuck || sighting->is_leak;
}

static void tell(const struct sighting *sighting)
{
	const char *tag = sighting->tag ? sighting->tag : "?";
	if (sighting->is_stuck)
		HP_LOG(WARNING, "call-stuck",
		       "session %u: a call of the module hangs since %.1f s ('%s', thread "
		       "%d); the session is closed when it returns",
		       sighting->index, (double)sighting->call_age_ns / (double)HP_SECOND,
		       tag, sighting->thread);
	else
		HP_LOG(WARNING, "borrow-overdue",
		       "session %u: thread %d borrowed it for '%s' %.1f s ago and has "
		       "not returned it",
		       sighting->index, sighting->thread, tag,
		       (double)sighting->age_ns / (double)HP_SECOND);
}

void hp_pool_watch(hsmpool *pool, int64_t now)
{
	for (uint32_t i = 0; i < pool->entry_count; i++) {
		struct sighting sighting;
		pthread_mutex_lock(&pool->lock);
		bool is_news = watch_locked(&pool->entries[i], now, &sighting);
		pthread_mutex_unlock(&pool->lock);
		if (is_news)
			tell(&sighting);
	}
}

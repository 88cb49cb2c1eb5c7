/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The circuit breaker: whether borrowers may still hope for the token.
 *
 * Failures of the token (never of callers) count while nothing succeeds in between. Those
 * who wait when it opens wait on, each to its deadline; who comes later is refused at
 * once, with the reason. While it is open one thread at a time tries the token: the
 * prober, or, where there is none, a borrower whose turn it is. Whatever succeeds closes
 * it.
 *
 * All under pool->lock; what is to be logged is told by hp_breaker_tell(), outside of it.
 */
#include "pool/internal.h"

#include <stdio.h>
#include "base/error.h"
#include "observe/log.h"

/* The pauses between two tries double, but not while somebody asks. */
static int64_t probe_time(const hsmpool *pool)
{
	const struct hp_breaker *b = &pool->breaker;
	return b->is_wanted || pool->waiters > 0 ? b->next_wanted_ns : b->next_probe_ns;
}

static void plan_probe(hsmpool *pool, int64_t now)
{
	struct hp_breaker *b = &pool->breaker;
	int64_t most = pool->live.breaker_probe_max;
	int64_t first = pool->live.breaker_probe;
	unsigned doublings = b->probes_failed < 20 ? b->probes_failed : 20;
	int64_t pause = first > (most >> doublings) ? most : first << doublings;
	b->next_wanted_ns = now + hp_jitter(first, 20);
	b->next_probe_ns = now + hp_jitter(pause > first ? pause : first, 20);
	b->probes_failed++;
	b->is_wanted = false;
	b->state = HP_BREAKER_OPEN;
}

void hp_breaker_note_failure_locked(hsmpool *pool, CK_RV rv, const hsmpool_error *err)
{
	struct hp_breaker *b = &pool->breaker;
	int64_t now = hp_now_ns();
	if (b->failures++ == 0)
		b->failing_since_ns = now;
	b->reason = rv;
	b->has_text = err && err->text[0];
	if (b->has_text)
		b->error = *err;
	bool is_lasting = pool->live.breaker_after > 0 &&
			  now - b->failing_since_ns >= pool->live.breaker_after &&
			  b->failures >= pool->live.breaker_failures;
	if (b->state == HP_BREAKER_HALF_OPEN) {
		plan_probe(pool, now);
	} else if (b->state == HP_BREAKER_CLOSED && is_lasting) {
		b->probes_failed = 0;
		b->opened_ns = now;
		plan_probe(pool, now);
		b->must_tell = true;
		pool->stats.breaker_opened++;
	}
}

void hp_breaker_close_locked(hsmpool *pool)
{
	struct hp_breaker *b = &pool->breaker;
	bool was_open = b->state != HP_BREAKER_CLOSED;
	b->failures = 0;
	b->state = HP_BREAKER_CLOSED;
	hp_restart_forgive_locked(pool);
	if (!was_open)
		return;
	b->must_tell = true;
	pool->next_open_ns = pool->next_login_ns = 0;
	hp_waiters_wake_all_locked(pool);
}

int64_t hp_breaker_next_try_locked(const hsmpool *pool)
{
	switch (pool->breaker.state) {
	case HP_BREAKER_CLOSED:
		return pool->next_open_ns;
	case HP_BREAKER_OPEN:
		return pool->is_kept ? HP_FOREVER : probe_time(pool);
	default:
		return HP_FOREVER;
	}
}

void hp_breaker_begin_try_locked(hsmpool *pool, int64_t now)
{
	if (pool->breaker.state == HP_BREAKER_CLOSED)
		return;
	pool->breaker.state = HP_BREAKER_HALF_OPEN;
	pool->breaker.trying_since_ns = now;
}

bool hp_breaker_refuses_locked(hsmpool *pool, int64_t since_ns, int64_t now)
{
	struct hp_breaker *b = &pool->breaker;
	if (b->state == HP_BREAKER_CLOSED || since_ns < b->opened_ns)
		return false;
	b->is_wanted = true;
	return now < hp_breaker_next_try_locked(pool);
}

/* A try that hangs is not waited for. */
bool hp_breaker_is_due_locked(const hsmpool *pool, int64_t now)
{
	const struct hp_breaker *b = &pool->breaker;
	if (b->state == HP_BREAKER_HALF_OPEN)
		return now - b->trying_since_ns > pool->live.stuck_after;
	return b->state == HP_BREAKER_OPEN && now >= probe_time(pool);
}

void hp_breaker_end_try_locked(hsmpool *pool)
{
	if (pool->breaker.state == HP_BREAKER_HALF_OPEN)
		plan_probe(pool, hp_now_ns());
}

hsmpool_status hp_breaker_fail(hsmpool *pool, hsmpool_error *err)
{
	struct hp_breaker b;
	pthread_mutex_lock(&pool->lock);
	b = pool->breaker;
	pthread_mutex_unlock(&pool->lock);
	char name[32];
	const char *why = b.has_text ? b.error.text : hp_rv_name(b.reason, name);
	hp_fail(err, HSMPOOL_ERR_DOWN,
		"the token does nothing but fail since %.1f s: %.300s; it is tried every "
		"%.1f s, come back later",
		(double)(hp_now_ns() - b.failing_since_ns) / (double)HP_SECOND, why,
		(double)pool->live.breaker_probe / (double)HP_SECOND);
	if (err)
		err->ck_rv = b.reason;
	return HSMPOOL_ERR_DOWN;
}

void hp_breaker_tell(hsmpool *pool)
{
	pthread_mutex_lock(&pool->lock);
	struct hp_breaker b = pool->breaker;
	pool->breaker.must_tell = false;
	pthread_mutex_unlock(&pool->lock);
	char name[32];
	if (!b.must_tell)
		return;
	if (pool->is_kept)
		hp_keeper_wake();
	if (b.state == HP_BREAKER_CLOSED)
		HP_LOG(NOTICE, "breaker-closed", "the token answers again");
	else
		HP_LOG(ERROR, "breaker-open",
		       "the token does nothing but fail since %.1f s (%s): callers are "
		       "refused until it answers",
		       (double)(hp_now_ns() - b.failing_since_ns) / (double)HP_SECOND,
		       hp_rv_name(b.reason, name));
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upkeep: what is due in a pool, decided under its lock, and the doing of it.
 *
 * Deciding makes no module call: entries that need one are put in TESTING or CLOSING,
 * where no borrower gets them, and become jobs of the prober. At most one
 * session per pool is probed, retired and opened at a time, so upkeep never drains a
 * pool. Waiting borrowers come first: what they could use is not taken for probing.
 */
#include "pool/internal.h"

#include <stdio.h>
#include "base/error.h"
#include "observe/log.h"
#include "observe/metrics_file.h"

/* --- deciding ----------------------------------------------------------------------- */

static void add_job_locked(struct hsmpool_session **jobs, struct hsmpool_session *e)
{
	e->next_job = *jobs;
	*jobs = e;
	e->pool->jobs++;
	e->pool->jobs_waiting++;
}

/* The idle session whose proof of life is the oldest, if one is due. */
static struct hsmpool_session *find_probe_due(hsmpool *pool, int64_t now)
{
	int64_t interval = pool->live.revalidate_interval;
	for (struct hsmpool_session *e = pool->idle.oldest; e; e = e->newer) {
		if (interval && e->probe_ns == 0)
			e->probe_ns = e->last_ok_ns + hp_jitter(interval, 20);
		bool is_stale = e->session.generation != pool->generation ||
				e->last_ok_ns < pool->validate_before_ns;
		if (e->is_probe_due || is_stale || (interval && now >= e->probe_ns))
			return e;
	}
	return NULL;
}

static void test_locked(struct hsmpool_session *e, int64_t now,
			struct hsmpool_session **jobs)
{
	hp_entry_unlist_locked(e);
	hp_entry_set_state_locked(e, HP_ENTRY_TESTING);
	e->borrowed_ns = now;
	e->tag = "revalidation";
	add_job_locked(jobs, e);
}

static void decide_probe_locked(hsmpool *pool, int64_t now, struct hsmpool_session **jobs)
{
	struct hsmpool_session *e = find_probe_due(pool, now);
	if (e && !hp_pool_has_live_locked(pool, HP_ENTRY_TESTING) && pool->waiters == 0)
		test_locked(e, now, jobs);
}

static bool may_retire(const struct hsmpool_session *e)
{
	return !e->is_anchor && e->session.objects == 0;
}

/* Why this idle session should go, if it should. */
static bool is_past_its_time(const struct hsmpool_session *e, int64_t now,
			     enum hp_close_reason *reason)
{
	const hsmpool *pool = e->pool;
	uint32_t open = hp_pool_occupied_locked(pool);
	*reason = HP_CLOSE_BROKEN;
	if (hp_entry_is_dead_locked(e))
		return true;
	*reason = HP_CLOSE_LIFETIME;
	if (may_retire(e) && now >= e->retire_ns && now >= pool->next_retire_ns)
		return true;
	*reason = HP_CLOSE_OTHER;
	if (may_retire(e) &&
	    (open > hp_pool_limit_locked(pool) || pool->is_pause_unattended))
		return true;
	*reason = HP_CLOSE_IDLE;
	return may_retire(e) && pool->live.idle_timeout &&
	       open > pool->live.min_sessions &&
	       now - e->idle_since_ns >= pool->live.idle_timeout;
}

static void decide_retire_locked(hsmpool *pool, int64_t now,
				 struct hsmpool_session **jobs)
{
	enum hp_close_reason reason = HP_CLOSE_OTHER;
	struct hsmpool_session *e = pool->idle.oldest;
	while (e && !is_past_its_time(e, now, &reason))
		e = e->newer;
	if (!e)
		return;
	if (reason == HP_CLOSE_LIFETIME)
		pool->next_retire_ns =
			now +
			pool->live.max_lifetime / (4 * (int64_t)pool->live.max_sessions);
	hp_entry_unlist_locked(e);
	hp_entry_set_state_locked(e, HP_ENTRY_CLOSING);
	e->close_reason = reason;
	add_job_locked(jobs, e);
}

/* Refill up to min-sessions; and open for waiters, should all borrowers who could have
 * done it themselves be asleep. */
static bool must_open_locked(const hsmpool *pool, int64_t now)
{
	uint32_t open = hp_pool_occupied_locked(pool);
	bool is_try = pool->breaker.state == HP_BREAKER_HALF_OPEN;
	bool is_wanted = open < pool->live.min_sessions ||
			 (pool->waiters > 0 && !pool->idle.newest);
	return (is_try || (is_wanted && now >= hp_breaker_next_try_locked(pool))) &&
	       open < hp_pool_limit_locked(pool) &&
	       !hp_pool_has_live_locked(pool, HP_ENTRY_OPENING) && !pool->holds &&
	       !pool->is_closed && pool->login != HP_LOGIN_LATCHED;
}

/* The order has no entry yet: one that lay OPENING in the prober's queue would keep
 * borrowers from opening themselves. */
static void decide_open_locked(hsmpool *pool, int64_t now, struct hsmpool_session **jobs)
{
	if (must_open_locked(pool, now))
		add_job_locked(jobs, &pool->refill_order);
}

/* Whether a token that failed for long is back: any session that is left tells, else a
 * new one. */
static void decide_try_locked(hsmpool *pool, int64_t now, struct hsmpool_session **jobs)
{
	if (pool->holds || !hp_breaker_is_due_locked(pool, now))
		return;
	hp_breaker_begin_try_locked(pool, now);
	if (pool->idle.oldest)
		test_locked(pool->idle.oldest, now, jobs);
	else
		decide_open_locked(pool, now, jobs);
	if (!*jobs)
		hp_breaker_end_try_locked(pool);
}

static void decide_restart_locked(hsmpool *pool, int64_t now,
				  struct hsmpool_session **jobs)
{
	if (hp_restart_is_due_locked(pool, now))
		add_job_locked(jobs, &pool->restart_order);
}

static void decide_chore_locked(hsmpool *pool, int64_t now, struct hsmpool_session **jobs)
{
	if (!pool->holds && hp_chore_is_due_locked(pool, now))
		add_job_locked(jobs, &pool->chore_order);
}

/* A limit that the token taught is tried again, more boldly each time it did not prove
 * right. */
static void decide_limit_locked(hsmpool *pool, int64_t now)
{
	int64_t period = pool->live.revalidate_interval ? pool->live.revalidate_interval
							: 60 * HP_SECOND;
	if (pool->learned_limit >= pool->limit || now - pool->learned_ns < period)
		return;
	uint32_t gap = pool->limit - pool->learned_limit;
	pool->learned_limit += pool->learned_step < gap ? pool->learned_step : gap;
	pool->learned_step *= 2;
	pool->learned_ns = now;
	hp_waiters_wake_head_locked(pool);
}

/* While the machine slept CLOCK_MONOTONIC, by which deadlines and ages go, stood still;
 * HSMs and firewalls did not: no session is trusted that was not looked at since. */
static bool was_suspended_locked(hsmpool *pool)
{
	int64_t ahead = hp_clock_ns(CLOCK_BOOTTIME) - hp_now_ns();
	bool was_suspended =
		pool->boot_ahead_ns && ahead - pool->boot_ahead_ns > HP_SECOND;
	pool->boot_ahead_ns = ahead;
	if (was_suspended)
		hp_pool_distrust_locked(pool);
	return was_suspended;
}

struct hsmpool_session *hp_upkeep_decide(hsmpool *pool, int64_t now)
{
	struct hsmpool_session *jobs = NULL;
	hp_pool_watch(pool, now);
	pthread_mutex_lock(&pool->lock);
	bool was_suspended = was_suspended_locked(pool);
	if (!pool->is_closed) {
		decide_limit_locked(pool, now);
		/* What a busy prober has not done yet must not pile up. */
		if (pool->jobs_waiting == 0)
			decide_restart_locked(pool, now, &jobs);
		if (pool->jobs_waiting == 0)
			decide_try_locked(pool, now, &jobs);
		if (pool->jobs_waiting == 0) {
			decide_retire_locked(pool, now, &jobs);
			decide_probe_locked(pool, now, &jobs);
			decide_open_locked(pool, now, &jobs);
			decide_chore_locked(pool, now, &jobs);
		}
		/* What was pinned may be free by now; and a safety net. */
		hp_waiters_offer_attached_locked(pool, now);
		if (pool->idle.newest && pool->first && !pool->holds)
			hp_waiters_wake_all_locked(pool);
	}
	pthread_mutex_unlock(&pool->lock);
	if (was_suspended)
		HP_LOG(NOTICE, "suspend-noticed",
		       "the machine was suspended: every session is tested before use");
	return jobs;
}

/* A token that fails is looked at more often than one that works. */
#define TICK_IN_TROUBLE (100 * HP_MS)

int64_t hp_upkeep_tick(hsmpool *pool)
{
	int64_t probe = pool->live.breaker_probe;
	int64_t tick = probe < TICK_IN_TROUBLE ? probe : TICK_IN_TROUBLE;
	pthread_mutex_lock(&pool->lock);
	bool has_trouble = pool->breaker.failures > 0;
	int64_t in_peace = pool->tick_ns;
	pthread_mutex_unlock(&pool->lock);
	return has_trouble && tick < in_peace ? tick : in_peace;
}

/* --- doing -------------------------------------------------------------------------- */

/* So that the next borrower need not. A refusal is kept for the borrowers to hear. */
static void log_in_again(struct hsmpool_session *e)
{
	hsmpool_error err;
	int64_t deadline = hp_time_add(hp_now_ns(), e->pool->live.borrow_timeout);
	if (hp_pool_ensure_login(e, deadline, &err) != HSMPOOL_OK)
		HP_LOG(WARNING, "login-postponed", "%s", err.text);
}

static bool is_logged_out(hsmpool *pool, uint64_t *generation)
{
	pthread_mutex_lock(&pool->lock);
	bool is_out = pool->login == HP_LOGIN_OUT;
	*generation = pool->generation;
	pthread_mutex_unlock(&pool->lock);
	return is_out;
}

/* A session that is dead, or about to die with its module: its handle may be another's by
 * now, so it is not asked. */
static bool is_past_asking(struct hsmpool_session *e)
{
	hsmpool *pool = e->pool;
	pthread_mutex_lock(&pool->lock);
	bool is_dead = hp_entry_is_dead_locked(e);
	bool is_past = is_dead || (pool->holds & HP_HOLD_RESTART);
	if (is_dead)
		hp_entry_set_state_locked(e, HP_ENTRY_CLOSING);
	pthread_mutex_unlock(&pool->lock);
	if (is_dead)
		hp_entry_close(e, HP_CLOSE_BROKEN);
	else if (is_past)
		hp_entry_release(e, false, false);
	return is_past;
}

static void revalidate(struct hsmpool_session *e)
{
	hsmpool *pool = e->pool;
	uint64_t generation;
	if (is_past_asking(e))
		return;
	if (is_logged_out(pool, &generation) &&
	    hp_session_probe(e, HP_PROBE_SESSION_INFO) == CKR_OK)
		log_in_again(e);
	bool was_current = !hp_pool_has_lost_since(pool, e->session.generation);
	CK_RV rv = hp_session_probe(e, pool->options.probe);
	struct hp_judgement judgement = { .class = HP_RV_OK, .is_alive = true };
	if (rv != CKR_OK)
		judgement = hp_session_judge(e, rv);
	/* A session that an older loss made doubtful, and is dead, is no new loss. */
	if (was_current || judgement.loss != HP_LOSS_SESSION)
		hp_pool_note_loss(pool, judgement.loss, generation, rv);
	if (judgement.loss == HP_LOSS_LOGIN)
		log_in_again(e);
	bool is_clean = e->session.active == 0 || hp_entry_clean(e);
	bool is_alive = judgement.is_alive && is_clean;

	pthread_mutex_lock(&pool->lock);
	pool->stats.validated++;
	pool->stats.validation_failures += rv != CKR_OK;
	bool is_current = !hp_entry_is_dead_locked(e);
	/* Of the generation that was probed: a newer one has it probed again. */
	if (is_alive && is_current && generation == pool->generation)
		hp_entry_adopt_locked(e);
	else if (!is_alive || !is_current)
		hp_entry_set_state_locked(e, HP_ENTRY_CLOSING);
	pthread_mutex_unlock(&pool->lock);

	if (rv != CKR_OK) {
		char name[32];
		HP_LOG(WARNING, "validation-failed",
		       "session %u did not pass its test: %s",
		       (unsigned)(e - pool->entries), hp_rv_name(rv, name));
	}
	if (is_alive && is_current)
		hp_entry_release(e, true, false);
	else
		hp_entry_close(e, HP_CLOSE_BROKEN);
}

static bool has_failed(hsmpool *pool)
{
	pthread_mutex_lock(&pool->lock);
	bool has_failed = pool->breaker.failures > 0;
	pthread_mutex_unlock(&pool->lock);
	return has_failed;
}

static void refill(hsmpool *pool)
{
	hsmpool_error err;
	hp_error_clear(&err);
	int64_t now = hp_now_ns();
	struct hsmpool_session *e = NULL;
	pthread_mutex_lock(&pool->lock);
	if (must_open_locked(pool, now) && (e = hp_entry_claim_empty_locked(pool))) {
		e->borrowed_ns = now;
		e->tag = "refill";
	}
	pthread_mutex_unlock(&pool->lock);
	if (!e || hp_entry_open(e, false, &err) != HSMPOOL_OK)
		return;
	int64_t deadline = hp_time_add(now, pool->live.borrow_timeout);
	if (hp_entry_prepare(e, HP_WANT_ANY, deadline, &err) != HSMPOOL_OK)
		return;
	/* That it opens is not yet a proof for a token that failed. */
	if (has_failed(pool))
		revalidate(e);
	else
		hp_entry_release(e, true, false);
}

void hp_upkeep_do(struct hsmpool_session *e)
{
	hsmpool *pool = e->pool;
	pthread_mutex_lock(&pool->lock);
	pool->jobs_waiting--;
	enum hp_entry_state state = e->state;
	enum hp_close_reason reason = e->close_reason;
	pthread_mutex_unlock(&pool->lock);
	if (e == &pool->refill_order)
		refill(pool);
	else if (e == &pool->restart_order)
		hp_restart_module(pool);
	else if (e == &pool->chore_order)
		hp_chore_do(pool);
	else if (state == HP_ENTRY_TESTING)
		revalidate(e);
	else if (state == HP_ENTRY_CLOSING)
		hp_entry_close(e, reason);
	pthread_mutex_lock(&pool->lock);
	hp_breaker_end_try_locked(pool);
	pthread_mutex_unlock(&pool->lock);
	hp_breaker_tell(pool);
	pthread_mutex_lock(&pool->lock);
	if (--pool->jobs == 0)
		pthread_cond_broadcast(&pool->quiet);
	pthread_mutex_unlock(&pool->lock);
}

void hp_upkeep_after_failure(hsmpool *pool)
{
	if (pool->is_kept) {
		hp_keeper_wake();
		return;
	}
	pthread_mutex_lock(&pool->lock);
	bool is_due = hp_restart_is_due_locked(pool, hp_now_ns());
	pthread_mutex_unlock(&pool->lock);
	if (is_due)
		hp_restart_module(pool);
}

void hp_upkeep_inline(hsmpool *pool, int64_t now)
{
	pthread_mutex_lock(&pool->lock);
	bool is_mine = now >= pool->next_upkeep_ns;
	if (is_mine)
		pool->next_upkeep_ns = now + pool->tick_ns;
	pthread_mutex_unlock(&pool->lock);
	if (!is_mine)
		return;
	struct hsmpool_session *jobs = hp_upkeep_decide(pool, now);
	while (jobs) {
		struct hsmpool_session *e = jobs;
		jobs = e->next_job;
		hp_upkeep_do(e);
	}
	hp_metrics_files_write(now);
}

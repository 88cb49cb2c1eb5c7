/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Borrow and return: the hot path, and the slow path of those who have to wait.
 *
 * A borrower takes what is idle; else opens a session itself if there is room and no
 * one else is opening; else waits in the FIFO until its deadline. What it took is made
 * ready (validated, replaced, logged in) outside the lock. A failure to make it ready
 * is not the caller's problem as long as its deadline lets another be tried.
 */
#include "pool/internal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/process.h"
#include "observe/log.h"

static bool is_foreign(const hsmpool *pool)
{
	return pool->epoch != hp_process_epoch();
}

hsmpool_status hp_pool_check_usable(const hsmpool *pool, hsmpool_error *err)
{
	HP_CHECK(pool, err, HSMPOOL_ERR_USAGE, "no pool was given");
	if (is_foreign(pool))
		return hp_fail(
			err, HSMPOOL_ERR_FORKED,
			"this pool was opened before fork(): open a new one in the "
			"child process");
	return HSMPOOL_OK;
}

/* --- refusals ---------------------------------------------------------------------- */

static hsmpool_status fail_closed(hsmpool_error *err)
{
	return hp_fail(err, HSMPOOL_ERR_CLOSED, "the pool is being closed");
}

static hsmpool_status fail_latched(hsmpool *pool, hsmpool_error *err)
{
	pthread_mutex_lock(&pool->lock);
	if (err)
		*err = pool->latched;
	pthread_mutex_unlock(&pool->lock);
	return HSMPOOL_ERR_AUTH;
}

static hsmpool_status fail_too_many(hsmpool *pool, hsmpool_error *err)
{
	char figures[256];
	hp_pool_figures(pool, figures, sizeof figures);
	return hp_fail(err, HSMPOOL_ERR_BUSY,
		       "max-waiters = %u threads wait for a session already (%s)",
		       pool->live.max_waiters, figures);
}

/* Nothing came in time. Where there is not one session and the last try to open one
 * failed, the HSM is the reason and err holds what it said. */
static hsmpool_status fail_timeout(hsmpool *pool, int64_t since_ns, bool is_down,
				   hsmpool_error *err)
{
	char figures[256];
	hp_pool_figures(pool, figures, sizeof figures);
	double waited = (double)(hp_now_ns() - since_ns) / (double)HP_SECOND;
	if (is_down) {
		char reason[384];
		CK_RV rv = err->ck_rv;
		snprintf(reason, sizeof reason, "%.383s", err->text);
		hp_fail(err, HSMPOOL_ERR_DOWN, "no session after %.1f s: %s (%s)", waited,
			reason, figures);
		err->ck_rv = rv;
		return HSMPOOL_ERR_DOWN;
	}
	return hp_fail(err, HSMPOOL_ERR_TIMEOUT, "no session free within %.1f s: %s",
		       waited, figures);
}

/* --- taking one -------------------------------------------------------------------- */

/* The anchor is opened only where there is none. */
static bool may_open_locked(const hsmpool *pool, enum hp_want want, int64_t now)
{
	if (want == HP_WANT_ANCHOR && hp_anchor_find_locked(pool))
		return false;
	return !hp_pool_has_live_locked(pool, HP_ENTRY_OPENING) &&
	       pool->count[HP_ENTRY_EMPTY] > 0 &&
	       hp_pool_occupied_locked(pool) < hp_pool_limit_locked(pool) &&
	       now >= hp_breaker_next_try_locked(pool);
}

/* Why a slow borrow ended. */
enum outcome {
	TOOK,  /* e is USED */
	OPENS, /* e is OPENING, ours to open */
	TIMED_OUT,
	TOO_MANY, /* waiters */
	CLOSED,
	LATCHED,
	DOWN, /* the breaker is open */
};

static bool try_take_locked(hsmpool *pool, struct hp_waiter *w, int64_t now,
			    struct hsmpool_session **e, enum outcome *outcome)
{
	struct hsmpool_session *idle = hp_idle_find_locked(pool, w->want);
	if (idle && (w->is_queued ? hp_waiter_is_next_locked(pool, w, idle, now)
				  : hp_waiters_may_be_passed_locked(pool, idle, now))) {
		hp_entry_unlist_locked(idle);
		hp_entry_lend_locked(idle, w->tag, w->thread, now);
		*e = idle;
		*outcome = TOOK;
		return true;
	}
	if (may_open_locked(pool, w->want, now) &&
	    (*e = hp_entry_claim_empty_locked(pool))) {
		hp_breaker_begin_try_locked(pool, now);
		(*e)->is_lent = true;
		(*e)->tag = w->tag;
		(*e)->thread = w->thread;
		(*e)->borrowed_ns = now;
		*outcome = OPENS;
		return true;
	}
	/* Last, what an operation left between two calls; before giving up, also what its
	 * owner may be about to come back to. Who waits had the offer. To visit one, at
	 * once. */
	bool has_need = now >= w->deadline_ns;
	if ((*e = hp_attached_find_locked(pool, w->want, now, has_need))) {
		hp_entry_unlist_locked(*e);
		(*e)->is_visited = w->want == HP_WANT_BESIDE;
		hp_entry_lend_locked(*e, w->tag, w->thread, now);
		*outcome = TOOK;
		return true;
	}
	return false;
}

/* The end of the wait if something can be decided now. */
static bool decide_locked(hsmpool *pool, struct hp_waiter *w, int64_t now,
			  struct hsmpool_session **e, enum outcome *outcome)
{
	*e = w->given;
	*outcome = TOOK;
	if (w->given)
		return true;
	*outcome = CLOSED;
	if (pool->is_closed)
		return true;
	*outcome = LATCHED;
	if (hp_pool_is_latched_locked(pool, now))
		return true;
	/* Who waited when it opened waits on. */
	*outcome = DOWN;
	if (!w->is_queued && hp_breaker_refuses_locked(pool, w->since_ns, now))
		return true;
	if (!pool->holds && try_take_locked(pool, w, now, e, outcome))
		return true;
	*outcome = TIMED_OUT;
	if (now >= w->deadline_ns)
		return true;
	*outcome = TOO_MANY;
	return !w->is_queued && pool->waiters >= pool->live.max_waiters;
}

/* The head waiter also wakes when the backoff after a failed open ends, the watcher to
 * see to the attached sessions. */
static int64_t wake_time_locked(hsmpool *pool, struct hp_waiter *w, int64_t now)
{
	int64_t wake_ns = w->deadline_ns;
	w->attached_wake_ns = HP_FOREVER;
	if (!pool->watcher)
		pool->watcher = w;
	if (pool->watcher == w)
		w->attached_wake_ns = hp_attached_watch_time_locked(pool, now);
	if (w->attached_wake_ns < wake_ns)
		wake_ns = w->attached_wake_ns;
	int64_t next_try_ns = hp_breaker_next_try_locked(pool);
	bool awaits_backoff = pool->first == w && next_try_ns > 0 &&
			      !hp_pool_has_live_locked(pool, HP_ENTRY_OPENING) &&
			      hp_pool_occupied_locked(pool) < hp_pool_limit_locked(pool);
	return awaits_backoff && next_try_ns < wake_ns ? next_try_ns : wake_ns;
}

/* Who leaves the queue wakes the next: what it was woken for may still be there, and
 * the end of a backoff is for the head to watch. */
static void pass_on_locked(hsmpool *pool, int64_t now)
{
	hp_waiters_wake_for_idle_locked(pool);
	if (!pool->first)
		return;
	if (pool->attached.oldest && !pool->watcher)
		hp_waiters_watch_attached_locked(pool, now);
	if (hp_breaker_next_try_locked(pool) > now ||
	    may_open_locked(pool, pool->first->want, now))
		hp_waiters_wake_head_locked(pool);
}

static enum outcome wait_locked(hsmpool *pool, struct hp_waiter *w,
				struct hsmpool_session **e)
{
	enum outcome outcome;
	int64_t now = hp_now_ns();
	/* Who asks for another session does not come back to the one it left. */
	if (hp_attached_let_go_locked(pool, w->thread))
		hp_waiters_offer_attached_locked(pool, now);
	while (!decide_locked(pool, w, now, e, &outcome)) {
		if (!w->is_queued) {
			hp_cond_init(&w->cond);
			hp_waiter_join_locked(pool, w);
		}
		hp_cond_wait_until(&w->cond, &pool->lock, wake_time_locked(pool, w, now));
		now = hp_now_ns();
		if (now >= w->attached_wake_ns)
			hp_waiters_offer_attached_locked(pool, now);
	}
	bool was_queued = w->is_queued;
	bool is_served = outcome == TOOK || outcome == OPENS;
	if (was_queued)
		hp_waiter_leave_locked(pool, w);
	if (was_queued && is_served)
		hp_waiter_count_served_locked(pool, w, now);
	else if (is_served && !w->given)
		pool->stats.borrowed_direct++;
	if (was_queued || w->given) {
		pass_on_locked(pool, now);
		pthread_cond_destroy(&w->cond);
	}
	return outcome;
}

static void count_refusal(hsmpool *pool, enum outcome outcome, hsmpool_deadline deadline)
{
	pthread_mutex_lock(&pool->lock);
	if (outcome == TIMED_OUT && deadline != HSMPOOL_NO_WAIT)
		pool->stats.borrow_timeouts++;
	else if (outcome == CLOSED)
		pool->stats.borrow_closed++;
	else
		pool->stats.borrow_rejected++;
	pthread_mutex_unlock(&pool->lock);
}

/* One round: wait for an entry and make it ready. *is_final: trying again is no use. */
static hsmpool_status borrow_once(hsmpool *pool, struct hp_waiter *w, bool *is_final,
				  struct hsmpool_session **out, hsmpool_error *err)
{
	struct hsmpool_session *e = NULL;
	w->given = NULL;
	pthread_mutex_lock(&pool->lock);
	enum outcome outcome = wait_locked(pool, w, &e);
	bool is_empty = hp_pool_occupied_locked(pool) == 0;
	/* Who waited out the backoff after another's failure to open hears of it. */
	if (outcome == TIMED_OUT && is_empty && err->status != HSMPOOL_ERR_DOWN &&
	    pool->open_failures_in_row > 0)
		*err = pool->open_failure;
	pthread_mutex_unlock(&pool->lock);

	*is_final = outcome != TOOK && outcome != OPENS;
	if (*is_final)
		count_refusal(pool, outcome, w->deadline_ns);
	hsmpool_status status = HSMPOOL_OK;
	switch (outcome) {
	case CLOSED:
		return fail_closed(err);
	case LATCHED:
		return fail_latched(pool, err);
	case DOWN:
		if (pool->is_kept)
			hp_keeper_wake();
		return hp_breaker_fail(pool, err);
	case TOO_MANY:
		return fail_too_many(pool, err);
	case TIMED_OUT:
		return fail_timeout(pool, w->since_ns,
				    is_empty && err->status == HSMPOOL_ERR_DOWN, err);
	case OPENS:
		status = hp_entry_open(e, hp_want_is_read_write(w->want), err);
		break;
	case TOOK:
		break;
	}
	if (status == HSMPOOL_OK)
		status = hp_entry_prepare(e, w->want, w->deadline_ns, err);
	/* A login refused, or not finished in time, is the answer; a session that could
	 * not be repaired is a reason to try the next one. */
	*is_final = status != HSMPOOL_ERR_DOWN;
	*out = e;
	return status;
}

/* With the pool entered. What err says already is the reason of the last failure. */
static hsmpool_status borrow_slow(hsmpool *pool, enum hp_want want, const char *tag,
				  int64_t deadline_ns, struct hsmpool_session **out,
				  hsmpool_error *err)
{
	struct hp_waiter w = {
		.since_ns = hp_now_ns(),
		.deadline_ns = deadline_ns,
		.want = want,
		.tag = tag,
		.thread = hp_thread_id(),
		.attached_wake_ns = HP_FOREVER,
	};
	if (!pool->options.keeper)
		hp_pool_watch(pool, w.since_ns);
	for (uint32_t round = 0;; round++) {
		bool is_final;
		hsmpool_status status = borrow_once(pool, &w, &is_final, out, err);
		/* In time, or never: each session there is, once. */
		if (is_final ||
		    (round >= pool->live.max_sessions && hp_now_ns() >= w.deadline_ns))
			return status;
	}
}

/* *e: taken already but not ready, or NULL. */
/* With the pool entered, which it stays after a failure. */
static hsmpool_status borrow_at_length(hsmpool *pool, enum hp_want want, const char *tag,
				       hsmpool_deadline deadline,
				       struct hsmpool_session **e, hsmpool_error *err)
{
	hsmpool_error scratch;
	int64_t deadline_ns = hp_pool_deadline(pool, deadline);
	err = err ? err : &scratch;
	hp_error_clear(err);
	hsmpool_status status = HSMPOOL_ERR_DOWN;
	if (*e)
		status = hp_entry_prepare(*e, want, deadline_ns, err);
	if (status == HSMPOOL_ERR_DOWN)
		status = borrow_slow(pool, want, tag, deadline_ns, e, err);
	if (status == HSMPOOL_OK)
		hp_pool_leave(pool);
	return status;
}

hsmpool_status hp_pool_borrow(hsmpool *pool, enum hp_want want, const char *tag,
			      hsmpool_deadline deadline, struct hp_session **out,
			      hsmpool_error *err)
{
	bool is_held;

	hsmpool_status status =
		hp_pool_borrow_or_hold(pool, want, tag, deadline, out, &is_held, err);
	if (is_held)
		hp_pool_leave(pool);
	return status;
}

hsmpool_status hp_pool_borrow_or_hold(hsmpool *pool, enum hp_want want, const char *tag,
				      hsmpool_deadline deadline, struct hp_session **out,
				      bool *is_held, hsmpool_error *err)
{
	*out = NULL;
	*is_held = false;
	HP_TRY(hp_pool_check_usable(pool, err));
	struct hsmpool_session *e = NULL;
	int64_t now = hp_now_ns();
	pthread_mutex_lock(&pool->lock);
	if (!pool->holds && !pool->is_closed && pool->login != HP_LOGIN_LATCHED &&
	    pool->breaker.state == HP_BREAKER_CLOSED)
		e = hp_idle_find_locked(pool, want);
	if (e && !hp_waiters_may_be_passed_locked(pool, e, now))
		e = NULL;
	if (e) {
		hp_entry_unlist_locked(e);
		hp_entry_lend_locked(e, tag, hp_thread_id(), now);
		pool->stats.borrowed_direct++;
	}
	bool is_ready = e && !hp_entry_is_unready_locked(e, want, now);
	if (!is_ready)
		hp_pool_enter_locked(pool);
	pthread_mutex_unlock(&pool->lock);

	hsmpool_status status = HSMPOOL_OK;
	if (!is_ready)
		status = borrow_at_length(pool, want, tag, deadline, &e, err);
	*is_held = status != HSMPOOL_OK;
	if (status == HSMPOOL_OK)
		*out = &e->session;
	return status;
}

/* --- giving it back ---------------------------------------------------------------- */

static bool must_retire_locked(struct hsmpool_session *e, int64_t now)
{
	hsmpool *pool = e->pool;
	if (pool->is_closed || hp_entry_is_dead_locked(e))
		return true;
	if (e->is_anchor || e->is_visited || e->session.objects > 0)
		return false;
	if (hp_pool_occupied_locked(pool) > hp_pool_limit_locked(pool))
		return true;
	if (now < e->retire_ns || now < pool->next_retire_ns)
		return false;
	/* Paced: a pool that was opened at once does not expire at once. */
	pool->next_retire_ns =
		now + pool->live.max_lifetime / (4 * (int64_t)pool->live.max_sessions);
	return true;
}

static enum hp_close_reason retire_reason(const struct hsmpool_session *e, int64_t now)
{
	if (hp_entry_is_dead_locked(e))
		return HP_CLOSE_BROKEN;
	return now >= e->retire_ns ? HP_CLOSE_LIFETIME : HP_CLOSE_OTHER;
}

void hp_entry_close(struct hsmpool_session *e, enum hp_close_reason reason)
{
	hp_entry_close_session(e);
	if (!hp_entry_leave_to_worker(e))
		hp_entry_end(e, reason);
}

void hp_entry_end(struct hsmpool_session *e, enum hp_close_reason reason)
{
	hsmpool *pool = e->pool;
	unsigned index = (unsigned)(e - pool->entries);
	pthread_mutex_lock(&pool->lock);
	reason = hp_entry_emptied_locked(e, reason);
	hp_waiters_wake_head_locked(pool);
	hp_pool_tell_if_quiet_locked(pool);
	pthread_mutex_unlock(&pool->lock);
	/* From here on a closer may have freed the pool. */
	HP_LOG(INFO, "session-closed", "session %u closed: %s", index,
	       (const char *const[]){ "idle", "lifetime", "broken", "not needed",
				      "its call had hung", "the pool closes" }[reason]);
}

static void release_at(struct hsmpool_session *e, bool is_alive, bool is_hot, int64_t now)
{
	hsmpool *pool = e->pool;
	pthread_mutex_lock(&pool->lock);
	bool was_leak = e->is_leak_reported;
	int64_t held_ns = now - e->borrowed_ns;
	const char *tag = e->tag;
	e->is_leak_reported = false;
	hp_entry_count_return_locked(e, now);
	if (is_hot)
		e->idle_since_ns = now;
	if (is_alive) {
		hp_breaker_note_success_locked(pool);
		e->last_ok_ns = now;
		e->probe_ns = 0;
		e->is_probe_due = false;
	}
	bool retires = must_retire_locked(e, now);
	enum hp_close_reason reason = retires ? retire_reason(e, now) : HP_CLOSE_OTHER;
	if (retires)
		hp_entry_set_state_locked(e, HP_ENTRY_CLOSING);
	else if (e->is_visited)
		hp_attached_rejoin_locked(e);
	else
		hp_pool_put_locked(e, now, is_hot);
	hp_pool_tell_if_quiet_locked(pool);
	bool has_news = pool->breaker.must_tell;
	bool is_keeperless = !pool->options.keeper && now >= pool->next_upkeep_ns;
	bool stays = is_keeperless || has_news;
	if (stays)
		hp_pool_enter_locked(pool);
	pthread_mutex_unlock(&pool->lock);

	if (was_leak)
		HP_LOG(WARNING, "borrow-returned",
		       "the session borrowed for '%s' came back after %.1f s",
		       tag ? tag : "?", (double)held_ns / (double)HP_SECOND);
	if (retires)
		hp_entry_close(e, reason);
	if (has_news)
		hp_breaker_tell(pool);
	if (is_keeperless)
		hp_upkeep_inline(pool, now);
	if (stays)
		hp_pool_leave(pool);
}

void hp_entry_release(struct hsmpool_session *e, bool is_alive, bool is_hot)
{
	release_at(e, is_alive, is_hot, hp_now_ns());
}

static struct hsmpool_session *entry_of(struct hp_session *session)
{
	return HP_CONTAINER_OF(session, struct hsmpool_session, session);
}

/* The session is not to be used again: account for the borrow, then drop it. */
static void discard(struct hsmpool_session *e)
{
	hsmpool *pool = e->pool;
	int64_t now = hp_now_ns();
	pthread_mutex_lock(&pool->lock);
	hp_entry_count_return_locked(e, now);
	hp_entry_set_state_locked(e, HP_ENTRY_CLOSING);
	pthread_mutex_unlock(&pool->lock);
	hp_entry_close(e, HP_CLOSE_BROKEN);
}

/* It lives, only what is active on it is not as believed, and it owns session objects:
 * they would go with it. */
static bool must_be_kept(const struct hp_session *session,
			 const struct hp_judgement *judgement)
{
	return session->objects > 0 &&
	       (judgement->is_alive || judgement->class == HP_RV_OP_LOST);
}

enum hp_rv_class hp_pool_return(struct hp_session *session, CK_RV rv)
{
	struct hsmpool_session *e = entry_of(session);
	if (is_foreign(e->pool))
		return HP_RV_MODULE_DEAD;
	assert(e->state == HP_ENTRY_USED);
	if (rv == CKR_OK && session->active == 0) {
		hp_entry_release(e, true, true);
		return HP_RV_OK;
	}
	struct hp_judgement judgement = hp_session_judge(e, rv);
	hp_pool_note_loss(e->pool, judgement.loss, session->generation, rv);
	bool is_over = session->active == 0 || e->is_visited;
	if (judgement.is_alive && (is_over || hp_entry_clean(e)))
		hp_entry_release(e, true, true);
	else if (!must_be_kept(session, &judgement))
		discard(e);
	else if (hp_session_clean_unknown(session))
		hp_entry_release(e, true, true);
	else
		hp_attached_keep(e);
	return judgement.class;
}

/* It waits at the cold end for the prober, or whoever else takes it first looks at it. */
static bool put_aside_in_doubt(struct hsmpool_session *e)
{
	hsmpool *pool = e->pool;
	pthread_mutex_lock(&pool->lock);
	bool is_current =
		e->session.generation >= pool->whole_since && !hp_entry_is_dead_locked(e);
	if (is_current) {
		e->is_probe_due = true;
		e->last_ok_ns = HP_NEVER_OK;
	}
	pthread_mutex_unlock(&pool->lock);
	if (is_current)
		hp_entry_release(e, false, false);
	return is_current;
}

enum hp_rv_class hp_pool_return_unprobed(struct hp_session *session, CK_RV rv)
{
	struct hsmpool_session *e = entry_of(session);
	if (is_foreign(e->pool))
		return HP_RV_MODULE_DEAD;
	bool is_vague = hp_rv_class(&e->pool->module->overrides, rv) == HP_RV_AMBIGUOUS;
	if (is_vague && session->active == 0 && put_aside_in_doubt(e))
		return HP_RV_CALLER;
	return hp_pool_return(session, rv);
}

void hp_pool_return_verdict(struct hp_session *session, hsmpool_verdict verdict)
{
	struct hsmpool_session *e = entry_of(session);
	if (is_foreign(e->pool))
		return;
	if (verdict == HSMPOOL_VERDICT_CLEAN) {
		hp_pool_return(session, CKR_OK);
		return;
	}
	if (verdict == HSMPOOL_VERDICT_DEAD)
		hp_pool_note_loss(e->pool, HP_LOSS_SESSION, session->generation,
				  CKR_SESSION_HANDLE_INVALID);
	discard(e); /* after a verdict that is none, too */
}

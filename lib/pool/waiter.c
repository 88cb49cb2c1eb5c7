/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The FIFO of threads that wait for a session, and the hand-over to them.
 *
 * Runs under pool->lock. Each waiter has a condition variable of its own: one event
 * wakes one thread. The policy: while the head waiter is younger than 1 ms a session
 * that comes back is left on the idle list and the head is woken to compete for it
 * (running threads may pass it: no convoy of wake-ups); from then on it is handed to
 * the head directly (no starvation). fair = yes hands over always.
 *
 * No wake-up is lost: a waiter that leaves without using what it was woken for wakes
 * the next, and one whose deadline passed is never handed anything.
 */
#include "pool/internal.h"

#define STARVING_NS (1 * HP_MS)

void hp_waiter_join_locked(hsmpool *pool, struct hp_waiter *w)
{
	w->before = pool->last;
	w->after = NULL;
	*(pool->last ? &pool->last->after : &pool->first) = w;
	pool->last = w;
	pool->waiters++;
	w->is_queued = true;
}

void hp_waiter_leave_locked(hsmpool *pool, struct hp_waiter *w)
{
	*(w->before ? &w->before->after : &pool->first) = w->after;
	*(w->after ? &w->after->before : &pool->last) = w->before;
	pool->waiters--;
	w->is_queued = false;
	if (pool->watcher == w)
		pool->watcher = NULL;
}

static struct hp_waiter *first_to_serve(hsmpool *pool, const struct hsmpool_session *e,
					int64_t now)
{
	for (struct hp_waiter *w = pool->first; w; w = w->after)
		if (w->deadline_ns > now && hp_entry_fits(pool, e, w->want))
			return w;
	return NULL;
}

bool hp_waiters_may_be_passed_locked(hsmpool *pool, const struct hsmpool_session *e,
				     int64_t now)
{
	if (!pool->first)
		return true;
	const struct hp_waiter *w = first_to_serve(pool, e, now);
	return !w || (!pool->live.fair && now - w->since_ns <= STARVING_NS);
}

bool hp_waiter_is_next_locked(hsmpool *pool, const struct hp_waiter *w,
			      const struct hsmpool_session *e, int64_t now)
{
	const struct hp_waiter *first = first_to_serve(pool, e, now);
	return !first || first == w || !pool->live.fair;
}

static void hand_over(struct hsmpool_session *e, struct hp_waiter *w, int64_t now)
{
	hsmpool *pool = e->pool;
	hp_waiter_leave_locked(pool, w);
	e->is_visited = e->state == HP_ENTRY_ATTACHED && w->want == HP_WANT_BESIDE;
	hp_entry_lend_locked(e, w->tag, w->thread, now);
	hp_waiter_count_served_locked(pool, w, now);
	w->given = e;
	pthread_cond_signal(&w->cond);
}

void hp_pool_put_locked(struct hsmpool_session *e, int64_t now, bool is_hot)
{
	hsmpool *pool = e->pool;
	struct hp_waiter *w =
		pool->first && !pool->holds ? first_to_serve(pool, e, now) : NULL;
	if (w && (pool->live.fair || now - w->since_ns > STARVING_NS)) {
		hand_over(e, w, now);
		return;
	}
	if (is_hot)
		hp_idle_push_locked(e);
	else
		hp_idle_push_cold_locked(e);
	if (w)
		pthread_cond_signal(&w->cond);
}

void hp_waiter_count_served_locked(hsmpool *pool, const struct hp_waiter *w, int64_t now)
{
	pool->stats.borrowed_waited++;
	hp_histogram_add(pool->stats.wait_ns, &pool->stats.wait_total_ns,
			 now - w->since_ns);
}

void hp_waiters_wake_for_idle_locked(hsmpool *pool)
{
	for (struct hp_waiter *w = pool->idle.newest ? pool->first : NULL; w;
	     w = w->after)
		if (hp_idle_find_locked(pool, w->want)) {
			pthread_cond_signal(&w->cond);
			return;
		}
}

/* Each to the first waiter that it fits: an attached session is never better kept. */
void hp_waiters_offer_attached_locked(hsmpool *pool, int64_t now)
{
	for (struct hp_waiter *w = pool->first, *after; w && !pool->holds; w = after) {
		after = w->after;
		struct hsmpool_session *e =
			hp_attached_find_locked(pool, w->want, now, false);
		if (!e || w->deadline_ns <= now)
			continue;
		hp_entry_unlist_locked(e);
		hand_over(e, w, now);
	}
}

/* The last to have come stays longest. */
void hp_waiters_watch_attached_locked(hsmpool *pool, int64_t free_ns)
{
	if (!pool->watcher)
		pool->watcher = pool->last;
	if (pool->watcher && pool->watcher->attached_wake_ns > free_ns)
		pthread_cond_signal(&pool->watcher->cond);
}

void hp_waiters_wake_head_locked(hsmpool *pool)
{
	if (pool->first)
		pthread_cond_signal(&pool->first->cond);
}

void hp_waiters_wake_visitor_locked(hsmpool *pool)
{
	for (struct hp_waiter *w = pool->first; w; w = w->after)
		if (w->want == HP_WANT_BESIDE) {
			pthread_cond_signal(&w->cond);
			return;
		}
}

void hp_waiters_wake_all_locked(hsmpool *pool)
{
	for (struct hp_waiter *w = pool->first; w; w = w->after)
		pthread_cond_signal(&w->cond);
}

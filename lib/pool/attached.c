/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attached sessions: an operation is active, nobody is in a call.
 *
 * Leaving a session attached is a return: whoever waits gets it, still dirty, and cleans
 * it. But its owner has a moment to come back first, because it nearly always does at
 * once, and to take a signature's session away costs a closing, an opening and a second
 * Init. The moment ends early when its owner's thread asks for another session. Taking it
 * up again is a borrow that waits for nothing but a visitor. All is decided under
 * pool->lock alone, so no wake-up is lost, and no lock of the rooms above is ever needed
 * to take it away.
 *
 * A visitor makes one call that leaves alone what is active (reads an attribute, destroys
 * an object): the session stays its owner's, who may be nobody any more.
 */
#include "pool/internal.h"

#include "base/memory.h"

/* The clock is read coarsely, twice in each operation of an application: a moment may be
 * shorter by one of its ticks. */
static int64_t time_of(const struct hsmpool_session *e)
{
	int64_t now = hp_now_coarse_ns();
	return now > e->borrowed_ns ? now : e->borrowed_ns;
}

static void condemn_locked(struct hsmpool_session *e)
{
	hp_entry_count_return_locked(e, hp_now_ns());
	hp_entry_set_state_locked(e, HP_ENTRY_CLOSING);
}

/* The borrow lasts until the operation is over, or the session is taken away. */
static bool leave_locked(struct hsmpool_session *e, int64_t pinned_until_ns)
{
	hsmpool *pool = e->pool;
	int64_t now = time_of(e);
	e->is_leak_reported = false;
	e->last_ok_ns = e->idle_since_ns = now;
	e->pinned_until_ns = pinned_until_ns;
	e->ticket++;
	bool is_unusable = pool->is_closed || hp_entry_is_dead_locked(e);
	if (is_unusable) {
		condemn_locked(e);
		return false;
	}
	e->kept_until_ns = now + HP_OWNERS_MOMENT_NS;
	pool->left_ns = now;
	hp_attached_push_locked(e);
	hp_waiters_watch_attached_locked(pool, hp_attached_free_time(e));
	hp_waiters_wake_visitor_locked(pool);
	return true;
}

/* --- visits ------------------------------------------------------------------------ */

void hp_attached_end_visit_locked(struct hsmpool_session *e)
{
	if (!e->is_visited)
		return;
	e->is_visited = false;
	pthread_cond_broadcast(&e->pool->visit_over);
}

void hp_attached_rejoin_locked(struct hsmpool_session *e)
{
	hp_attached_push_locked(e);
	hp_attached_end_visit_locked(e);
	/* It may be free by now: the last of its session objects was destroyed. */
	hp_waiters_wake_visitor_locked(e->pool);
	hp_waiters_watch_attached_locked(e->pool, hp_attached_free_time(e));
}

/* The owner comes back; it is the visitor's for a call yet. */
static void await_visitor_locked(struct hsmpool_session *e, uint64_t ticket)
{
	hsmpool *pool = e->pool;
	int64_t deadline_ns = hp_pool_deadline(pool, HSMPOOL_DEFAULT);
	hp_pool_enter_locked(pool);
	while (e->is_visited && e->ticket == ticket && !pool->is_closed &&
	       hp_now_ns() < deadline_ns)
		hp_cond_wait_until(&pool->visit_over, &pool->lock, deadline_ns);
	hp_pool_leave_locked(pool);
}

/* --- leaving ----------------------------------------------------------------------- */

void hp_attached_keep(struct hsmpool_session *e)
{
	struct hp_lease nobodys;
	hp_pool_leave_attached(&e->session, 0, &nobodys);
}

void hp_pool_leave_attached(struct hp_session *session, int64_t pinned_until_ns,
			    struct hp_lease *lease)
{
	struct hsmpool_session *e =
		HP_CONTAINER_OF(session, struct hsmpool_session, session);
	hsmpool *pool = e->pool;
	*lease = (struct hp_lease){ 0 };
	if (hp_pool_check_usable(pool, NULL) != HSMPOOL_OK)
		return;
	pthread_mutex_lock(&pool->lock);
	bool is_kept = leave_locked(e, pinned_until_ns);
	if (is_kept)
		*lease = (struct hp_lease){ .entry = e, .ticket = e->ticket };
	hp_pool_tell_if_quiet_locked(pool);
	pthread_mutex_unlock(&pool->lock);
	if (!is_kept)
		hp_entry_close(e, HP_CLOSE_BROKEN);
}

struct hp_session *hp_pool_take_up(hsmpool *pool, struct hp_lease *lease, const char *tag)
{
	struct hsmpool_session *e = lease->entry;
	uint64_t ticket = lease->ticket;
	*lease = (struct hp_lease){ 0 };
	if (!e || hp_pool_check_usable(pool, NULL) != HSMPOOL_OK)
		return NULL;
	pthread_mutex_lock(&pool->lock);
	if (e->is_visited)
		await_visitor_locked(e, ticket);
	bool is_ours =
		e->state == HP_ENTRY_ATTACHED && e->ticket == ticket && !pool->holds;
	bool is_dead = is_ours && hp_entry_is_dead_locked(e);
	if (is_ours) {
		hp_entry_unlist_locked(e);
		hp_entry_set_state_locked(e, HP_ENTRY_USED);
		e->borrowed_ns = time_of(e);
		e->tag = tag;
		e->thread = hp_thread_id();
	}
	if (is_dead)
		condemn_locked(e);
	pthread_mutex_unlock(&pool->lock);
	if (is_dead)
		hp_entry_close(e, HP_CLOSE_BROKEN);
	return is_ours && !is_dead ? &e->session : NULL;
}

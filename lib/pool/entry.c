/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries: their states and counts, the idle list, the anchor's role.
 *
 * Everything here runs under pool->lock and is a few pointer moves.
 *
 * The idle list is LIFO: the newest is lent first, so the working set stays hot and
 * what is not needed ages at the other end. The anchor is always the oldest, lent last
 * and never retired: it keeps login and handles alive when all others go.
 */
#include "pool/internal.h"

#include <unistd.h>

int hp_thread_id(void)
{
	static _Thread_local int id;
	if (id == 0)
		id = (int)gettid();
	return id;
}

bool hp_want_is_read_write(enum hp_want want)
{
	return want == HP_WANT_READ_WRITE || want == HP_WANT_CLEAN_READ_WRITE;
}

void hp_entry_set_state_locked(struct hsmpool_session *e, enum hp_entry_state state)
{
	e->pool->count[e->state]--;
	e->pool->count[state]++;
	e->state = state;
}

uint32_t hp_pool_occupied_locked(const hsmpool *pool)
{
	return pool->entry_count - pool->count[HP_ENTRY_EMPTY];
}

uint32_t hp_pool_limit_locked(const hsmpool *pool)
{
	uint32_t reserve = pool->options.stuck_reserve;
	uint32_t limit =
		pool->live.max_sessions + (pool->stuck < reserve ? pool->stuck : reserve);
	return pool->learned_limit < limit ? pool->learned_limit : limit;
}

bool hp_pool_has_live_locked(const hsmpool *pool, enum hp_entry_state state)
{
	if (pool->count[state] == 0)
		return false;
	for (uint32_t i = 0; i < pool->entry_count; i++)
		if (pool->entries[i].state == state && !pool->entries[i].is_stuck)
			return true;
	return false;
}

static bool lacks_writing(const struct hsmpool_session *e, enum hp_want want)
{
	return hp_want_is_read_write(want) && !e->session.is_read_write;
}

static bool is_doubtful(const struct hsmpool_session *e, enum hp_want want)
{
	bool wants_clean = want == HP_WANT_CLEAN || want == HP_WANT_CLEAN_READ_WRITE;
	return wants_clean && e->session.is_unsure;
}

bool hp_entry_must_be_replaced(const struct hsmpool_session *e, enum hp_want want)
{
	return lacks_writing(e, want) || is_doubtful(e, want);
}

bool hp_entry_must_stay(const struct hsmpool_session *e)
{
	return e->is_anchor || e->session.objects > 0;
}

/* Neither the anchor (closing the last session logs everyone out) nor an owner of
 * session objects is replaced by a better one, unless it is all there is. What may be
 * active on them is ended in place. */
bool hp_entry_fits(const hsmpool *pool, const struct hsmpool_session *e,
		   enum hp_want want)
{
	if (want == HP_WANT_ANCHOR)
		return e->is_anchor;
	if (want == HP_WANT_APART)
		return e->session.objects == 0 || hp_pool_limit_locked(pool) <= 1;
	return !hp_entry_must_stay(e) || !lacks_writing(e, want) ||
	       hp_pool_limit_locked(pool) <= 1;
}

struct hsmpool_session *hp_idle_find_locked(const hsmpool *pool, enum hp_want want)
{
	struct hsmpool_session *fallback = NULL;
	for (struct hsmpool_session *e = pool->idle.newest; e; e = e->older) {
		if (!hp_entry_fits(pool, e, want))
			continue;
		if (!hp_entry_must_be_replaced(e, want))
			return e;
		if (!fallback)
			fallback = e;
	}
	return fallback;
}

static struct hp_entry_list *list_of(struct hsmpool_session *e)
{
	return e->state == HP_ENTRY_ATTACHED ? &e->pool->attached : &e->pool->idle;
}

void hp_entry_unlist_locked(struct hsmpool_session *e)
{
	struct hp_entry_list *list = list_of(e);
	*(e->newer ? &e->newer->older : &list->newest) = e->older;
	*(e->older ? &e->older->newer : &list->oldest) = e->newer;
	e->newer = e->older = NULL;
}

/* Put e right above older (NULL: at the very end) of the list of its new state. */
static void insert_above(struct hsmpool_session *e, enum hp_entry_state state,
			 struct hsmpool_session *older)
{
	hp_entry_set_state_locked(e, state);
	struct hp_entry_list *list = list_of(e);
	e->older = older;
	e->newer = older ? older->newer : list->oldest;
	*(e->newer ? &e->newer->older : &list->newest) = e;
	*(older ? &older->newer : &list->oldest) = e;
}

void hp_idle_push_locked(struct hsmpool_session *e)
{
	insert_above(e, HP_ENTRY_IDLE, e->is_anchor ? NULL : e->pool->idle.newest);
}

void hp_idle_push_cold_locked(struct hsmpool_session *e)
{
	struct hsmpool_session *oldest = e->pool->idle.oldest;
	insert_above(e, HP_ENTRY_IDLE,
		     !e->is_anchor && oldest && oldest->is_anchor ? oldest : NULL);
}

void hp_attached_push_locked(struct hsmpool_session *e)
{
	insert_above(e, HP_ENTRY_ATTACHED, e->pool->attached.newest);
}

/* Not if it had to be closed to be cleaned, but owns session objects, which would go with
 * it. */
static bool is_never_taken_away(const struct hsmpool_session *e)
{
	return e->session.objects > 0 && e->session.resists_cleaning;
}

int64_t hp_attached_free_time(const struct hsmpool_session *e)
{
	if (is_never_taken_away(e))
		return HP_FOREVER;
	return e->kept_until_ns > e->pinned_until_ns ? e->kept_until_ns
						     : e->pinned_until_ns;
}

struct hsmpool_session *hp_attached_find_locked(hsmpool *pool, enum hp_want want,
						int64_t now, bool has_need)
{
	if (want == HP_WANT_BESIDE)
		return pool->attached.oldest;
	for (struct hsmpool_session *e = pool->attached.oldest; e; e = e->newer) {
		int64_t free_ns =
			has_need ? e->pinned_until_ns : hp_attached_free_time(e);
		if (now >= free_ns && !is_never_taken_away(e) &&
		    hp_entry_fits(pool, e, want))
			return e;
	}
	return NULL;
}

/* While sessions come and go, it need not be told of each: what is left from now on is
 * its owner's for a moment. */
int64_t hp_attached_watch_time_locked(const hsmpool *pool, int64_t now)
{
	bool is_in_use = now - pool->left_ns < HP_OWNERS_MOMENT_NS;
	int64_t next = is_in_use ? now + HP_OWNERS_MOMENT_NS : HP_FOREVER;
	for (struct hsmpool_session *e = pool->attached.oldest; e; e = e->newer) {
		int64_t free_ns = hp_attached_free_time(e);
		if (free_ns > now && free_ns < next)
			next = free_ns;
	}
	return next;
}

bool hp_attached_let_go_locked(hsmpool *pool, int thread)
{
	bool has_any = false;
	for (struct hsmpool_session *e = pool->attached.oldest; e; e = e->newer)
		if (e->thread == thread && e->kept_until_ns) {
			e->kept_until_ns = 0;
			has_any = true;
		}
	return has_any;
}

struct hsmpool_session *hp_entry_claim_empty_locked(hsmpool *pool)
{
	for (uint32_t i = 0; i < pool->entry_count; i++) {
		struct hsmpool_session *e = &pool->entries[i];
		if (e->state == HP_ENTRY_EMPTY) {
			hp_entry_set_state_locked(e, HP_ENTRY_OPENING);
			return e;
		}
	}
	return NULL;
}

struct hsmpool_session *hp_anchor_find_locked(const hsmpool *pool)
{
	for (uint32_t i = 0; i < pool->entry_count; i++)
		if (pool->entries[i].is_anchor)
			return &pool->entries[i];
	return NULL;
}

void hp_entry_lend_locked(struct hsmpool_session *e, const char *tag, int thread,
			  int64_t now)
{
	hp_entry_count_return_locked(e, now); /* by who had left it attached */
	hp_entry_set_state_locked(e, HP_ENTRY_USED);
	e->is_lent = true;
	e->session.cut_ns = 0;
	e->borrowed_ns = now;
	e->tag = tag;
	e->thread = thread;
}

/* The role goes to an open session, an idle one if there is any. A USED entry that is
 * being replaced has none at the moment. */
static void appoint_anchor(hsmpool *pool)
{
	struct hsmpool_session *heir = pool->idle.oldest;
	for (uint32_t i = 0; !heir && i < pool->entry_count; i++) {
		struct hsmpool_session *e = &pool->entries[i];
		bool is_open = e->state == HP_ENTRY_USED ||
			       e->state == HP_ENTRY_TESTING ||
			       e->state == HP_ENTRY_ATTACHED;
		if (is_open && !e->is_stuck && e->known_handle != CK_INVALID_HANDLE)
			heir = e;
	}
	if (heir)
		heir->is_anchor = true;
}

void hp_entry_condemn(struct hsmpool_session *e)
{
	pthread_mutex_lock(&e->pool->lock);
	e->session.generation = 0; /* none has that number */
	pthread_mutex_unlock(&e->pool->lock);
}

bool hp_entry_is_dead_locked(const struct hsmpool_session *e)
{
	return e->is_aliased || e->is_stuck || e->session.is_abandoned ||
	       e->session.generation <= e->pool->dead_generation;
}

/* A role that only a hung session could play falls to the next that is opened. */
void hp_entry_quarantine_locked(struct hsmpool_session *e)
{
	hsmpool *pool = e->pool;
	e->is_stuck = true;
	pool->stuck++;
	pool->stats.hung_calls++;
	if (e->is_anchor) {
		e->is_anchor = false;
		appoint_anchor(pool);
		e->is_anchor = !hp_anchor_find_locked(pool);
	}
	hp_waiters_wake_head_locked(pool);
}

/* It stops being one of the open ones before it is closed: of two that are closed at
 * once neither may count on the other, nor on one that is opened meanwhile. With the
 * last session the token's application is logged out and its handles die; with an owner
 * of session objects these do. */
static void resign_locked(struct hsmpool_session *e)
{
	hsmpool *pool = e->pool;
	e->known_handle = CK_INVALID_HANDLE;
	if (e->is_anchor) {
		e->is_anchor = false;
		appoint_anchor(pool);
	}
	bool is_last = !hp_anchor_find_locked(pool);
	if (is_last || e->session.objects > 0)
		hp_pool_note_loss_locked(pool, is_last ? HP_LOSS_LOGIN : HP_LOSS_SESSION);
}

void hp_entry_close_session(struct hsmpool_session *e)
{
	pthread_mutex_lock(&e->pool->lock);
	bool is_aliased = e->is_aliased;
	resign_locked(e);
	pthread_mutex_unlock(&e->pool->lock);
	if (!is_aliased)
		hp_session_close(&e->session);
}

bool hp_pool_is_busy_locked(const hsmpool *pool)
{
	return pool->count[HP_ENTRY_USED] || pool->count[HP_ENTRY_TESTING] ||
	       pool->count[HP_ENTRY_OPENING] || pool->count[HP_ENTRY_CLOSING];
}

void hp_pool_tell_if_quiet_locked(hsmpool *pool)
{
	if ((pool->holds || pool->is_closed) && !hp_pool_is_busy_locked(pool))
		pthread_cond_broadcast(&pool->quiet);
}

void hp_pool_enter_locked(hsmpool *pool)
{
	pool->inside++;
}

void hp_pool_leave_locked(hsmpool *pool)
{
	if (--pool->inside == 0 && pool->is_closed)
		pthread_cond_broadcast(&pool->quiet);
}

void hp_pool_hold(hsmpool *pool)
{
	pthread_mutex_lock(&pool->lock);
	hp_pool_enter_locked(pool);
	pthread_mutex_unlock(&pool->lock);
}

void hp_pool_let_go(hsmpool *pool)
{
	hp_pool_leave(pool);
}

void hp_pool_leave(hsmpool *pool)
{
	pthread_mutex_lock(&pool->lock);
	hp_pool_leave_locked(pool);
	pthread_mutex_unlock(&pool->lock);
}

void hp_entry_count_return_locked(struct hsmpool_session *e, int64_t now)
{
	if (!e->is_lent)
		return;
	e->is_lent = false;
	e->pool->stats.returned++;
	hp_histogram_add(e->pool->stats.held_ns, &e->pool->stats.held_total_ns,
			 now - e->borrowed_ns);
}

void hp_entry_opened_locked(struct hsmpool_session *e, uint64_t vouched, int64_t now)
{
	hsmpool *pool = e->pool;
	int64_t lifetime = pool->live.max_lifetime;
	e->opened_ns = e->last_ok_ns = e->idle_since_ns = now;
	e->retire_ns = lifetime ? hp_time_add(now, hp_jitter(lifetime, 25)) : HP_FOREVER;
	e->probe_ns = 0;
	e->is_probe_due = false;
	hp_attached_end_visit_locked(e);
	if (pool->is_peopled && vouched != pool->generation)
		hp_pool_begin_generation_locked(pool);
	e->session.generation = pool->generation;
	pool->is_peopled = true;
	pool->stats.opened++;
	/* A token that is back is not made to wait for what it was before. */
	if (pool->open_failures_in_row > 0)
		pool->next_login_ns = 0;
	pool->open_failures_in_row = 0;
	pool->next_open_ns = 0;
	struct hsmpool_session *anchor = hp_anchor_find_locked(pool);
	if (!anchor || anchor->is_stuck) {
		if (anchor)
			anchor->is_anchor = false;
		e->is_anchor = true;
	}
	if (hp_pool_occupied_locked(pool) > pool->stats.peak)
		pool->stats.peak = hp_pool_occupied_locked(pool);
}

static enum hp_close_reason true_reason(const struct hsmpool_session *e,
					enum hp_close_reason given)
{
	if (e->is_stuck)
		return HP_CLOSE_STUCK;
	return given == HP_CLOSE_OTHER && e->pool->is_closed ? HP_CLOSE_SHUTDOWN : given;
}

enum hp_close_reason hp_entry_emptied_locked(struct hsmpool_session *e,
					     enum hp_close_reason reason)
{
	hsmpool *pool = e->pool;
	uint64_t *counter[HP_CLOSE_REASON_COUNT] = {
		[HP_CLOSE_IDLE] = &pool->stats.closed_idle,
		[HP_CLOSE_LIFETIME] = &pool->stats.closed_lifetime,
		[HP_CLOSE_BROKEN] = &pool->stats.closed_broken,
		[HP_CLOSE_OTHER] = &pool->stats.closed_other,
		[HP_CLOSE_STUCK] = &pool->stats.closed_stuck,
		[HP_CLOSE_SHUTDOWN] = &pool->stats.closed_shutdown,
	};
	reason = true_reason(e, reason);
	++*counter[reason];
	e->session.objects = 0;
	e->is_leak_reported = false;
	pool->stuck -= e->is_stuck;
	e->is_stuck = false;
	hp_attached_end_visit_locked(e);
	hp_entry_set_state_locked(e, HP_ENTRY_EMPTY);
	return reason;
}

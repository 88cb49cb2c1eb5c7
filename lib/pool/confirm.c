/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Confirming: is a session that was there before still there?
 *
 * After a loss this is asked of a given one: what was made on it (session objects) lives
 * as long as it does. And where a session is opened, of any older one. For the HSM may
 * have been restarted without anybody having noticed; then the new session, which knows
 * nothing of it and is logged in if others did that, must not be used with what was found
 * before. If an older one is alive, nothing happened, and the new one joins the
 * generation. If none can be asked, the new one begins a generation of its own, which
 * turns out to go on with the older ones when one of their sessions proves to be alive.
 *
 * An idle session is lent for one call, an attached one visited. Must not: hold a lock
 * while the session is asked.
 */
#include "pool/internal.h"

#include "base/memory.h"

/* For how long a session that is in use is waited for, and how often it is looked at. */
#define PATIENCE (50 * HP_MS)
#define INTERVAL (1 * HP_MS)

enum confirmation {
	CONFIRMED, /* known to be alive */
	REFUTED,   /* closed meanwhile, or dead */
	AT_HAND,   /* can be asked */
	IN_USE,    /* its user will find out */
};

static bool is_at_hand_locked(const struct hsmpool_session *e)
{
	return (e->state == HP_ENTRY_IDLE || e->state == HP_ENTRY_ATTACHED) &&
	       !e->pool->holds;
}

static void take_locked(struct hsmpool_session *e)
{
	e->is_visited = e->state == HP_ENTRY_ATTACHED;
	hp_entry_unlist_locked(e);
	hp_entry_lend_locked(e, "confirmation", hp_thread_id(), hp_now_ns());
	e->is_lent = false; /* to no borrower */
}

/* With the answer it is given back, or closed. True: it lives, as of that generation. */
static bool ask(struct hsmpool_session *e, uint64_t generation)
{
	hsmpool *pool = e->pool;
	CK_RV rv = hp_session_probe(e, hp_pool_proof(pool, HP_PROBE_SESSION_INFO));
	pthread_mutex_lock(&pool->lock);
	bool is_alive = rv == CKR_OK && pool->generation == generation &&
			!hp_entry_is_dead_locked(e);
	if (is_alive)
		hp_entry_adopt_locked(e);
	pthread_mutex_unlock(&pool->lock);
	if (is_alive)
		hp_entry_release(e, true, false);
	else
		hp_pool_return(&e->session, rv);
	return is_alive;
}

/* --- a given session ---------------------------------------------------------------- */

static enum confirmation look_locked(const struct hsmpool_session *e, uint32_t opening)
{
	const hsmpool *pool = e->pool;
	bool is_usable = !pool->is_closed && !hp_entry_is_dead_locked(e);
	if (!is_usable || atomic_load(&e->session.openings) != opening)
		return REFUTED;
	if (e->session.generation == pool->generation)
		return CONFIRMED;
	return is_at_hand_locked(e) ? AT_HAND : IN_USE;
}

static enum confirmation look_for_a_while_locked(struct hsmpool_session *e,
						 uint32_t opening)
{
	hsmpool *pool = e->pool;
	int64_t deadline_ns = hp_time_add(hp_now_ns(), PATIENCE);
	enum confirmation seen = look_locked(e, opening);
	hp_pool_enter_locked(pool);
	while (seen == IN_USE && hp_now_ns() < deadline_ns) {
		/* Returns are many and this is rare: it is not signalled. */
		hp_cond_wait_until(&pool->visit_over, &pool->lock,
				   hp_now_ns() + INTERVAL);
		seen = look_locked(e, opening);
	}
	hp_pool_leave_locked(pool);
	return seen;
}

bool hp_pool_confirm(struct hp_session *session, uint32_t opening)
{
	struct hsmpool_session *e =
		HP_CONTAINER_OF(session, struct hsmpool_session, session);
	hsmpool *pool = e->pool;
	pthread_mutex_lock(&pool->lock);
	enum confirmation seen = look_for_a_while_locked(e, opening);
	if (seen == AT_HAND) {
		uint64_t generation = pool->generation;
		take_locked(e);
		pthread_mutex_unlock(&pool->lock);
		ask(e, generation);
		pthread_mutex_lock(&pool->lock);
		seen = look_locked(e, opening);
	}
	pthread_mutex_unlock(&pool->lock);
	return seen == CONFIRMED;
}

/* --- any older session ---------------------------------------------------------------
 */

void hp_entry_adopt_locked(struct hsmpool_session *e)
{
	hsmpool *pool = e->pool;
	uint64_t since = e->session.generation;
	if (since >= pool->whole_since && since < pool->continuous_since)
		pool->continuous_since = since;
	e->session.generation = pool->generation;
	pool->is_peopled = true;
}

/* Whose being alive would say that nothing was lost since that generation. */
static bool is_witness_locked(const struct hsmpool_session *e, uint64_t generation)
{
	bool is_open = e->state == HP_ENTRY_IDLE || e->state == HP_ENTRY_ATTACHED ||
		       e->state == HP_ENTRY_USED || e->state == HP_ENTRY_TESTING;
	return is_open && !hp_entry_is_dead_locked(e) &&
	       e->session.generation >= e->pool->whole_since &&
	       e->session.generation <= generation;
}

/* The best that can be had. */
static struct hsmpool_session *find_witness_locked(hsmpool *pool, uint64_t generation,
						   enum confirmation *seen)
{
	struct hsmpool_session *witness = NULL;
	*seen = REFUTED;
	for (uint32_t i = 0; i < pool->entry_count && *seen != AT_HAND; i++) {
		struct hsmpool_session *e = &pool->entries[i];
		if (!is_witness_locked(e, generation))
			continue;
		witness = e;
		*seen = is_at_hand_locked(e) ? AT_HAND : IN_USE;
	}
	return witness;
}

uint64_t hp_pool_vouch(hsmpool *pool)
{
	enum confirmation seen = REFUTED;
	struct hsmpool_session *witness = NULL;
	pthread_mutex_lock(&pool->lock);
	uint64_t generation = pool->generation;
	if (pool->is_peopled)
		witness = find_witness_locked(pool, generation, &seen);
	if (seen == AT_HAND)
		take_locked(witness);
	pthread_mutex_unlock(&pool->lock);
	if (seen != AT_HAND)
		return 0;
	return ask(witness, generation) ? generation : 0;
}

static enum confirmation look_back_locked(hsmpool *pool, uint64_t from,
					  struct hsmpool_session **witness)
{
	enum confirmation seen;
	if (from < pool->whole_since || pool->is_closed)
		return REFUTED;
	if (from >= pool->continuous_since)
		return CONFIRMED;
	*witness = find_witness_locked(pool, from, &seen);
	return seen;
}

/* Those in use are taken up again, asked before that, or given back. */
static enum confirmation look_back_for_a_while_locked(hsmpool *pool, uint64_t from,
						      struct hsmpool_session **witness)
{
	int64_t deadline_ns = hp_pool_deadline(pool, HSMPOOL_DEFAULT);
	enum confirmation seen = look_back_locked(pool, from, witness);
	hp_pool_enter_locked(pool);
	while (seen == IN_USE && hp_now_ns() < deadline_ns) {
		hp_cond_wait_until(&pool->visit_over, &pool->lock,
				   hp_now_ns() + INTERVAL);
		seen = look_back_locked(pool, from, witness);
	}
	hp_pool_leave_locked(pool);
	return seen;
}

bool hp_pool_carries(hsmpool *pool, uint64_t from, uint64_t to, bool may_wait)
{
	struct hsmpool_session *witness = NULL;
	uint64_t older = from < to ? from : to;
	pthread_mutex_lock(&pool->lock);
	enum confirmation seen =
		may_wait ? look_back_for_a_while_locked(pool, older, &witness)
			 : look_back_locked(pool, older, &witness);
	if (seen == AT_HAND) {
		uint64_t generation = pool->generation;
		take_locked(witness);
		pthread_mutex_unlock(&pool->lock);
		ask(witness, generation);
		pthread_mutex_lock(&pool->lock);
		seen = look_back_locked(pool, older, &witness);
	}
	pthread_mutex_unlock(&pool->lock);
	return seen == CONFIRMED;
}

uint64_t hp_pool_whole_since(hsmpool *pool)
{
	pthread_mutex_lock(&pool->lock);
	uint64_t generation = pool->whole_since;
	pthread_mutex_unlock(&pool->lock);
	return generation;
}

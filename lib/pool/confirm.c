/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Confirming: after a loss, is a given session one of those that are still there? What
 * was made on it (session objects) lives as long as it does.
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

static enum confirmation look_locked(const struct hsmpool_session *e, uint32_t opening)
{
	const hsmpool *pool = e->pool;
	bool is_usable = !pool->is_closed && !hp_entry_is_dead_locked(e);
	if (!is_usable || atomic_load(&e->session.openings) != opening)
		return REFUTED;
	if (e->session.generation == pool->generation)
		return CONFIRMED;
	bool is_at_hand = e->state == HP_ENTRY_IDLE || e->state == HP_ENTRY_ATTACHED;
	return is_at_hand && !pool->holds ? AT_HAND : IN_USE;
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

static void take_locked(struct hsmpool_session *e)
{
	e->is_visited = e->state == HP_ENTRY_ATTACHED;
	hp_entry_unlist_locked(e);
	hp_entry_lend_locked(e, "confirmation", hp_thread_id(), hp_now_ns());
}

/* With the answer it is given back, or closed. */
static void ask(struct hsmpool_session *e, uint64_t generation)
{
	hsmpool *pool = e->pool;
	CK_RV rv = hp_session_probe(e, HP_PROBE_SESSION_INFO);
	pthread_mutex_lock(&pool->lock);
	if (rv == CKR_OK && pool->generation == generation)
		e->session.generation = generation;
	pthread_mutex_unlock(&pool->lock);
	hp_pool_return(&e->session, rv);
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

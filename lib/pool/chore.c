/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chore: what a room above wants done with a pool from time to time.
 *
 * Owns: when it is done, and that an end of the pool waits for it, for a bounded time.
 * Must not: know what it is. It runs in the prober, as a job of its own (upkeep.c), and
 * borrows like anybody else, so a chore that hangs is the prober's replacement's concern
 * and nobody's operation waits for it. Called without a lock.
 */
#include "pool/internal.h"

#include "base/error.h"

/* It waits so long for a session, and the end of a pool so long for it. */
#define BORROW_WAIT (1 * HP_SECOND)
#define FINISH_WAIT (2 * HP_SECOND)

void hp_pool_set_chore(hsmpool *pool, const struct hp_chore *chore)
{
	pthread_mutex_lock(&pool->lock);
	pool->chore = *chore;
	pool->next_chore_ns = hp_time_add(hp_now_ns(), chore->interval_ns);
	pthread_mutex_unlock(&pool->lock);
}

static struct hp_chore chore_of(hsmpool *pool)
{
	pthread_mutex_lock(&pool->lock);
	struct hp_chore chore = pool->chore;
	pthread_mutex_unlock(&pool->lock);
	return chore;
}

/* No session is lent to it now. */
static bool is_in_vain(hsmpool *pool)
{
	pthread_mutex_lock(&pool->lock);
	bool is_in_vain = pool->is_closed || pool->holds;
	pthread_mutex_unlock(&pool->lock);
	return is_in_vain;
}

bool hp_chore_is_due_locked(hsmpool *pool, int64_t now)
{
	if (!pool->chore.run || now < pool->next_chore_ns)
		return false;
	pool->next_chore_ns = hp_time_add(now, pool->chore.interval_ns);
	return true;
}

/* A thread that hangs in it keeps others from it, not from anything else. */
static bool begin(hsmpool *pool)
{
	pthread_mutex_lock(&pool->lock);
	bool is_mine = !pool->is_chore_under_way;
	pool->is_chore_under_way = true;
	pthread_mutex_unlock(&pool->lock);
	return is_mine;
}

static void end(hsmpool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->is_chore_under_way = false;
	pool->chores_done++;
	pthread_cond_broadcast(&pool->quiet);
	pthread_mutex_unlock(&pool->lock);
}

void hp_chore_do(hsmpool *pool)
{
	struct hp_chore chore = chore_of(pool);
	if (!begin(pool))
		return;
	if (chore.is_due(chore.user))
		chore.run(chore.user, hp_time_add(hp_now_ns(), BORROW_WAIT));
	end(pool);
}

/* Have the prober do it. False: it has not been done in time. */
static bool have_it_done(hsmpool *pool, int64_t until)
{
	pthread_mutex_lock(&pool->lock);
	uint64_t before = pool->chores_done;
	pool->next_chore_ns = 0;
	pthread_mutex_unlock(&pool->lock);
	hp_keeper_wake();
	pthread_mutex_lock(&pool->lock);
	while (pool->chores_done == before && !pool->is_closed &&
	       hp_cond_wait_until(&pool->quiet, &pool->lock, until))
		;
	bool is_done = pool->chores_done != before;
	pthread_mutex_unlock(&pool->lock);
	return is_done;
}

void hp_pool_finish_chore(hsmpool *pool)
{
	if (!pool || hp_pool_check_usable(pool, NULL) != HSMPOOL_OK)
		return;
	struct hp_chore chore = chore_of(pool);
	if (!chore.run || is_in_vain(pool) || !chore.is_due(chore.user))
		return;
	if (!pool->is_kept) {
		hp_chore_do(pool);
		return;
	}
	/* One that was under way may have begun before what is due came about. */
	int64_t until = hp_now_ns() + FINISH_WAIT;
	if (have_it_done(pool, until) && chore.is_due(chore.user))
		have_it_done(pool, until);
}

void hp_chore_release(hsmpool *pool)
{
	if (pool->chore.release)
		pool->chore.release(pool->chore.user);
	pool->chore = (struct hp_chore){ 0 };
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Closing what is not lent, for pause and close, within a bounded time.
 *
 * C_CloseSession may hang like any call. So threads of their own make these calls: one
 * is enough as long as it gets on; another one takes over the rest when it does not.
 * Without a keeper, where a program may have no such threads, the caller makes them.
 * A closer counts as inside the pool, and as closer, under the pool's lock.
 */
#include "pool/internal.h"

#include <signal.h>
#include "base/memory.h"

/* How long a closing may take until another thread goes on with the others. */
#define PATIENCE (500 * HP_MS)

static struct hsmpool_session *find_unlent(hsmpool *pool, bool keep_anchor)
{
	struct hsmpool_session *newest[] = { pool->idle.newest, pool->attached.newest };
	for (size_t i = 0; i < HP_ARRAY_LEN(newest); i++)
		for (struct hsmpool_session *e = newest[i]; e; e = e->older)
			if (!keep_anchor || !e->is_anchor)
				return e;
	return NULL;
}

/* The anchor last, or not at all in a pool that only pauses. */
static struct hsmpool_session *next_locked(hsmpool *pool)
{
	struct hsmpool_session *e = find_unlent(pool, true);
	bool wants_all = pool->is_closed || (pool->holds & HP_HOLD_RESTART);
	return !e && wants_all ? find_unlent(pool, false) : e;
}

static void close_all(hsmpool *pool)
{
	for (;;) {
		pthread_mutex_lock(&pool->lock);
		bool is_wanted = pool->is_closed || pool->holds;
		struct hsmpool_session *e = is_wanted ? next_locked(pool) : NULL;
		if (e) {
			hp_entry_unlist_locked(e);
			hp_entry_count_return_locked(e, hp_now_ns());
			hp_entry_set_state_locked(e, HP_ENTRY_CLOSING);
		}
		pthread_mutex_unlock(&pool->lock);
		if (!e)
			return;
		hp_entry_close(e, HP_CLOSE_OTHER);
	}
}

static void *run_closer(void *argument)
{
	hsmpool *pool = argument;
	close_all(pool);
	pthread_mutex_lock(&pool->lock);
	pool->closers--;
	pool->inside--;
	pthread_cond_broadcast(&pool->quiet);
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

static bool start_closer(hsmpool *pool)
{
	pthread_t thread;
	sigset_t all, before;
	sigfillset(&all);
	pthread_mutex_lock(&pool->lock);
	pool->closers++;
	pool->inside++;
	pthread_mutex_unlock(&pool->lock);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	bool has_started = pthread_create(&thread, NULL, run_closer, pool) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (has_started) {
		pthread_detach(thread);
		return true;
	}
	pthread_mutex_lock(&pool->lock);
	pool->closers--;
	pool->inside--;
	pthread_mutex_unlock(&pool->lock);
	return false;
}

static uint64_t count_closed_locked(const hsmpool *pool)
{
	return pool->stats.closed_other + pool->stats.closed_shutdown;
}

/* Until the closers are done, or make no progress for a while. False: none are left to
 * wait for, or it is too late. */
static bool await_closers_locked(hsmpool *pool, int64_t until_ns)
{
	uint64_t closed = 0;
	int64_t patience_ns = 0;
	while (pool->closers > 0) {
		if (closed != count_closed_locked(pool) || patience_ns == 0) {
			closed = count_closed_locked(pool);
			patience_ns = hp_time_add(hp_now_ns(), PATIENCE);
		}
		int64_t wake_ns = patience_ns < until_ns ? patience_ns : until_ns;
		if (!hp_cond_wait_until(&pool->quiet, &pool->lock, wake_ns) &&
		    closed == count_closed_locked(pool))
			break;
	}
	return pool->closers > 0 && hp_now_ns() < until_ns;
}

bool hp_pool_close_unlent(hsmpool *pool, int64_t until_ns)
{
	/* What does not hang is waited for in any case. */
	int64_t soonest_ns = hp_time_add(hp_now_ns(), PATIENCE);
	until_ns = until_ns > soonest_ns ? until_ns : soonest_ns;
	for (;;) {
		pthread_mutex_lock(&pool->lock);
		bool is_left = next_locked(pool) != NULL;
		pthread_mutex_unlock(&pool->lock);
		if (is_left && (!pool->options.keeper || !start_closer(pool)))
			close_all(pool);
		pthread_mutex_lock(&pool->lock);
		bool goes_on = await_closers_locked(pool, until_ns);
		bool is_done = pool->closers == 0 && !next_locked(pool);
		pthread_mutex_unlock(&pool->lock);
		if (is_done || !goes_on)
			return is_done;
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last rung: C_Finalize and C_Initialize, with all pools on the module taking part.
 *
 * Owns: when it is due, who must agree, and the quiet that it needs. After it the module
 * counts its handles from one again, so a session that was lent or in a call meanwhile
 * could become somebody else's: nothing is lent while it runs, what is idle is closed
 * before, and what is left is never touched again. Where not everything comes to rest in
 * time, or a pool on another token of the module is well, it does not happen, and is
 * tried again later.
 *
 * One restart at a time in a process. It runs on the prober, or, where there is none, on
 * a borrower that found no session, and holds no entry. process.lock is not held while it
 * runs; pools on the module neither come nor go meanwhile. Under it a pool's lock may be
 * taken, never the other way round.
 *
 * A restart of the HSM, too, may make the module count its handles anew. It tells nobody,
 * but shows when one is given out a second time: of all the pools on the module.
 */
#include "pool/internal.h"

#include <string.h>
#include "base/error.h"
#include "observe/log.h"

/* How often a session could not be opened before this is thought of; a module that says
 * itself that it is not initialised is believed at once. */
#define ENOUGH_FAILURES 3
/* For everything to come to rest. */
#define PATIENCE (2 * HP_SECOND)
/* After a restart that did not help, growing; after one that could not be. */
#define PAUSE_FIRST   HP_SECOND
#define PAUSE_MOST    (30 * HP_SECOND)
#define PAUSE_BLOCKED (HP_SECOND / 2)

static struct {
	pthread_mutex_t lock;
	/* guarded by lock, all below */
	pthread_cond_t over;
	hsmpool *pools;                  /* of the process, by next_pool */
	const struct hp_module *running; /* the one that is being restarted, or NULL */
} process = { .lock = PTHREAD_MUTEX_INITIALIZER };

static pthread_once_t prepare_once = PTHREAD_ONCE_INIT;

static void forget_all_in_child(void)
{
	memset(&process, 0, sizeof(process));
	pthread_mutex_init(&process.lock, NULL);
	hp_cond_init(&process.over);
}

static void prepare(void)
{
	hp_cond_init(&process.over);
	pthread_atfork(NULL, NULL, forget_all_in_child);
}

/* --- the pools of the process --------------------------------------------------------
 */

static bool await_end_locked(const hsmpool *pool, int64_t until_ns)
{
	while (process.running == pool->module &&
	       hp_cond_wait_until(&process.over, &process.lock, until_ns))
		;
	return process.running != pool->module;
}

bool hp_restart_enlist(hsmpool *pool, int64_t until_ns)
{
	pthread_once(&prepare_once, prepare);
	pthread_mutex_lock(&process.lock);
	bool may_join = await_end_locked(pool, until_ns);
	if (may_join) {
		pool->next_pool = process.pools;
		process.pools = pool;
		pool->is_enlisted = true;
	}
	pthread_mutex_unlock(&process.lock);
	return may_join;
}

bool hp_restart_delist(hsmpool *pool, int64_t until_ns)
{
	if (!pool->is_enlisted)
		return true;
	pthread_mutex_lock(&process.lock);
	bool may_leave = await_end_locked(pool, until_ns);
	hsmpool **link = &process.pools;
	while (may_leave && *link && *link != pool)
		link = &(*link)->next_pool;
	if (may_leave && *link)
		*link = pool->next_pool;
	pthread_mutex_unlock(&process.lock);
	return may_leave;
}

static hsmpool *first_on_locked(const struct hp_module *module, hsmpool *pools)
{
	while (pools && pools->module != module)
		pools = pools->next_pool;
	return pools;
}

/* Pools on other modules may leave at any moment. */
static hsmpool *next_on_same(const hsmpool *pool)
{
	pthread_mutex_lock(&process.lock);
	hsmpool *next = first_on_locked(pool->module, pool->next_pool);
	pthread_mutex_unlock(&process.lock);
	return next;
}

/* The first of the pools on the module, which all stay until the end; NULL: not now. */
static hsmpool *begin(const struct hp_module *module)
{
	pthread_mutex_lock(&process.lock);
	hsmpool *first = process.running ? NULL : first_on_locked(module, process.pools);
	if (first)
		process.running = module;
	pthread_mutex_unlock(&process.lock);
	return first;
}

static void end(void)
{
	pthread_mutex_lock(&process.lock);
	process.running = NULL;
	pthread_cond_broadcast(&process.over);
	pthread_mutex_unlock(&process.lock);
}

/* --- handles that are given out again ------------------------------------------------
 */

/* What became of those who had the handle. */
struct outdated {
	unsigned found;
	bool is_in_use;
};

/* Who has it in his hands may be between two calls. One that hangs is not used again. */
static void outdate(hsmpool *pool, const struct hsmpool_session *opened,
		    struct outdated *outdated)
{
	bool is_news = false;
	pthread_mutex_lock(&pool->lock);
	for (uint32_t i = 0; i < pool->entry_count; i++) {
		struct hsmpool_session *e = &pool->entries[i];
		if (e == opened || e->state == HP_ENTRY_EMPTY ||
		    e->known_handle != opened->session.handle)
			continue;
		bool is_lent = e->state == HP_ENTRY_USED || e->state == HP_ENTRY_TESTING;
		outdated->is_in_use |= is_lent && !e->is_stuck;
		outdated->found++;
		is_news |= !hp_entry_is_dead_locked(e);
		e->is_aliased = true;
	}
	if (is_news)
		hp_pool_note_loss_locked(pool, HP_LOSS_SESSION);
	pthread_mutex_unlock(&pool->lock);
}

bool hp_restart_claim_handle(struct hsmpool_session *e)
{
	struct outdated outdated = { 0 };
	const struct hp_module *module = e->pool->module;
	pthread_mutex_lock(&process.lock);
	hsmpool *pool = first_on_locked(module, process.pools);
	for (; pool; pool = first_on_locked(module, pool->next_pool))
		outdate(pool, e, &outdated);
	pthread_mutex_lock(&e->pool->lock);
	e->is_aliased = false;
	e->known_handle = outdated.is_in_use ? CK_INVALID_HANDLE : e->session.handle;
	pthread_mutex_unlock(&e->pool->lock);
	pthread_mutex_unlock(&process.lock);
	if (outdated.found)
		HP_LOG(WARNING, "handle-given-again",
		       "the module gave out the handle of %u other session%s again: lost "
		       "in a restart of the HSM",
		       outdated.found, outdated.found == 1 ? "" : "s");
	return !outdated.is_in_use;
}

/* --- when -----------------------------------------------------------------------------
 */

/* No session that may be alive: an operation that is kept between two calls can be begun
 * again elsewhere, unless it is pinned. */
static bool has_hope_locked(const hsmpool *pool, int64_t now)
{
	if (hp_pool_is_busy_locked(pool))
		return true;
	for (const struct hsmpool_session *e = pool->idle.newest; e; e = e->older)
		if (!hp_entry_is_dead_locked(e))
			return true;
	for (const struct hsmpool_session *e = pool->attached.newest; e; e = e->older)
		if (!hp_entry_is_dead_locked(e) && e->pinned_until_ns > now)
			return true;
	return false;
}

bool hp_restart_is_due_locked(const hsmpool *pool, int64_t now)
{
	const struct hp_breaker *b = &pool->breaker;
	if (!pool->live.module_restart || b->failures == 0 ||
	    now < pool->next_restart_ns || pool->holds || pool->is_closed)
		return false;
	bool is_dead =
		hp_rv_class(&pool->module->overrides, b->reason) == HP_RV_MODULE_DEAD;
	return pool->open_failures_in_row >= (is_dead ? 1 : ENOUGH_FAILURES) &&
	       !has_hope_locked(pool, now);
}

void hp_restart_forgive_locked(hsmpool *pool)
{
	int64_t soonest_ns = hp_now_ns() + PAUSE_FIRST;
	pool->restarts_in_row = 0;
	if (pool->next_restart_ns > soonest_ns)
		pool->next_restart_ns = soonest_ns;
}

/* --- agreeing, and coming to rest ------------------------------------------------------
 */

static void hold(hsmpool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->holds |= HP_HOLD_RESTART;
	pthread_mutex_unlock(&pool->lock);
}

/* A pool that fails itself, or whose token does not answer, has nothing to lose. */
static bool agrees(hsmpool *pool)
{
	struct hp_token token;
	pthread_mutex_lock(&pool->lock);
	bool is_failing = pool->breaker.failures > 0 || pool->is_closed;
	token = pool->token;
	pthread_mutex_unlock(&pool->lock);
	return is_failing || hp_token_refresh(&token) != CKR_OK;
}

/* What lies in the prober's queue has not begun, and finds its session dead later. */
static bool is_at_rest_locked(const hsmpool *pool)
{
	return pool->count[HP_ENTRY_USED] == 0 && pool->count[HP_ENTRY_OPENING] == 0 &&
	       pool->count[HP_ENTRY_TESTING] + pool->count[HP_ENTRY_CLOSING] <=
		       pool->jobs_waiting;
}

static bool comes_to_rest(hsmpool *pool, int64_t until_ns)
{
	bool is_in_time = true;
	pthread_mutex_lock(&pool->lock);
	while (!is_at_rest_locked(pool) && is_in_time)
		is_in_time = hp_cond_wait_until(&pool->quiet, &pool->lock, until_ns);
	bool is_at_rest = is_at_rest_locked(pool);
	pthread_mutex_unlock(&pool->lock);
	return is_at_rest && hp_pool_close_unlent(pool, until_ns);
}

/* --- after -----------------------------------------------------------------------------
 */

static void plan_next_locked(hsmpool *pool, hsmpool_status status, int64_t now)
{
	if (status != HSMPOOL_OK) {
		pool->next_restart_ns = now + hp_jitter(PAUSE_BLOCKED, 20);
		return;
	}
	unsigned doublings = pool->restarts_in_row < 5 ? pool->restarts_in_row : 5;
	int64_t pause = PAUSE_FIRST << doublings;
	pool->restarts_in_row++;
	pool->next_restart_ns =
		now + hp_jitter(pause < PAUSE_MOST ? pause : PAUSE_MOST, 20);
	pool->stats.module_restarts++;
}

/* The module has forgotten every session, whether or not it could be started again. */
static void forget_sessions_locked(hsmpool *pool)
{
	for (uint32_t i = 0; i < pool->entry_count; i++)
		if (pool->entries[i].state != HP_ENTRY_EMPTY)
			pool->entries[i].is_aliased = true;
	hp_pool_note_loss_locked(pool, HP_LOSS_TOKEN);
	pool->next_open_ns = pool->next_login_ns = 0;
}

static void let_go(hsmpool *pool, hsmpool_status status, bool was_tried,
		   const hsmpool_error *err)
{
	int64_t now = hp_now_ns();
	pthread_mutex_lock(&pool->lock);
	if (was_tried)
		forget_sessions_locked(pool);
	if (was_tried && status != HSMPOOL_OK)
		hp_breaker_note_failure_locked(pool, err->ck_rv, err);
	plan_next_locked(pool, status, now);
	pool->holds &= ~HP_HOLD_RESTART;
	hp_waiters_wake_all_locked(pool);
	pthread_cond_broadcast(&pool->quiet);
	pthread_mutex_unlock(&pool->lock);
}

/* --- doing it --------------------------------------------------------------------------
 */

/* Asked before anything is held: the answer may be long in coming. */
static bool all_agree(hsmpool *first, const hsmpool *asks)
{
	for (hsmpool *pool = first; pool; pool = next_on_same(pool))
		if (pool != asks && !agrees(pool))
			return false;
	return true;
}

static bool all_come_to_rest(hsmpool *first)
{
	int64_t until_ns = hp_time_add(hp_now_ns(), PATIENCE);
	for (hsmpool *pool = first; pool; pool = next_on_same(pool))
		hold(pool);
	for (hsmpool *pool = first; pool; pool = next_on_same(pool))
		if (!comes_to_rest(pool, until_ns))
			return false;
	return true;
}

static hsmpool_status restart(hsmpool *first, hsmpool *asks, bool *was_tried,
			      hsmpool_error *err)
{
	struct hp_module *module = asks->module;
	HP_CHECK(all_agree(first, asks), err, HSMPOOL_ERR_BUSY,
		 "module %s: another token of it is well", module->path);
	HP_CHECK(all_come_to_rest(first), err, HSMPOOL_ERR_BUSY,
		 "module %s: a session is still lent, or a call inside", module->path);
	return hp_module_renew(module, was_tried, err);
}

void hp_restart_module(hsmpool *asks)
{
	struct hp_module *module = asks->module;
	bool was_tried = false;
	hsmpool_error err;
	hp_error_clear(&err);
	hsmpool *first = begin(module);
	if (!first)
		return;
	hsmpool_status status = restart(first, asks, &was_tried, &err);
	for (hsmpool *pool = first; pool; pool = next_on_same(pool))
		let_go(pool, status, was_tried, &err);
	end();
	if (status == HSMPOOL_OK)
		HP_LOG(NOTICE, "module-restarted",
		       "module %s: finalised and initialised anew", module->path);
	else
		HP_LOG(WARNING, "module-not-restarted", "not restarted: %s", err.text);
}

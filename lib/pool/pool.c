/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool's life: open, pause, resume, close; and what the rooms above ask of it.
 *
 * Owns the hsmpool structure. Close is final and bounded: what is still lent when the
 * grace is over is named in the log, and the structure is then leaked on purpose,
 * because its borrower will come back to it.
 */
#include "pool/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/process.h"
#include "observe/log.h"
#include "observe/metrics_file.h"
#include "p11/pin.h"
#include "p11/siblings.h"
#include "pool/policy.h"
#include "pool/use.h"

/* --- what others ask ---------------------------------------------------------------- */

hsmpool *hp_pool_of(const struct hp_session *session)
{
	return HP_CONTAINER_OF(session, struct hsmpool_session, session)->pool;
}

const struct hp_pool_options *hp_pool_options(const hsmpool *pool)
{
	return &pool->options;
}

uint64_t hp_pool_generation(const hsmpool *pool)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&pool->lock;
	pthread_mutex_lock(lock);
	uint64_t generation = pool->generation;
	pthread_mutex_unlock(lock);
	return generation;
}

void hp_pool_token(hsmpool *pool, struct hp_token *out)
{
	pthread_mutex_lock(&pool->lock);
	*out = pool->token;
	pthread_mutex_unlock(&pool->lock);
}

int64_t hp_pool_deadline(const hsmpool *pool, hsmpool_deadline deadline)
{
	return hp_deadline_resolve(deadline, pool->live.borrow_timeout);
}

const char *hp_pool_login_word(hsmpool *pool)
{
	static const char *const words[] = {
		[HP_LOGIN_NONE] = "none",       [HP_LOGIN_OUT] = "out",
		[HP_LOGIN_RUNNING] = "running", [HP_LOGIN_IN] = "in",
		[HP_LOGIN_LATCHED] = "latched",
	};
	pthread_mutex_lock(&pool->lock);
	const char *word = words[pool->login];
	pthread_mutex_unlock(&pool->lock);
	return word;
}

void hp_pool_set_canary(hsmpool *pool, hp_canary_fn fn, void *user,
			void (*release)(void *))
{
	pthread_mutex_lock(&pool->lock);
	pool->canary = fn;
	pool->canary_user = user;
	pool->canary_release = release;
	pthread_mutex_unlock(&pool->lock);
}

void hp_pool_set_attachment(hsmpool *pool, void *attachment, void (*release)(void *))
{
	pool->attachment = attachment;
	pool->attachment_release = release;
}

void *hp_pool_attachment(const hsmpool *pool)
{
	return pool->attachment;
}

hsmpool_status hsmpool_get_token_info(hsmpool *pool, hsmpool_token_info *info,
				      hsmpool_error *err)
{
	hsmpool_token_info now = { 0 };
	struct hp_token token;
	hp_error_clear(err);
	HP_TRY(hp_pool_check_usable(pool, err));
	HP_CHECK(info && info->size >= sizeof info->size, err, HSMPOOL_ERR_USAGE,
		 "set info->size to sizeof(hsmpool_token_info) before the call");
	hp_pool_token(pool, &token);
	CK_RV rv = hp_token_refresh(&token);
	if (rv != CKR_OK)
		return hp_rv_fail(err, rv, "read the token's information");
	now.size = info->size < sizeof now ? info->size : sizeof now;
	now.slot_id = token.slot;
	now.flags = token.info.flags;
	now.max_sessions = token.info.ulMaxSessionCount;
	now.logged_in = hp_pool_expects_login(pool, NULL);
	hp_token_text(token.info.label, sizeof token.info.label, now.label);
	hp_token_text(token.info.manufacturerID, sizeof token.info.manufacturerID,
		      now.manufacturer);
	hp_token_text(token.info.model, sizeof token.info.model, now.model);
	hp_token_text(token.info.serialNumber, sizeof token.info.serialNumber,
		      now.serial);
	hp_token_text(pool->module->info.libraryDescription,
		      sizeof pool->module->info.libraryDescription,
		      now.module_description);
	snprintf(now.module, sizeof now.module, "%s", pool->module->path);
	memcpy(info, &now, now.size);
	return HSMPOOL_OK;
}

/* --- opening ------------------------------------------------------------------------ */

/* A wrong URI is the configuration's fault here. */
static hsmpool_status parse_token(const char *token, struct hp_uri **uri,
				  hsmpool_error *err)
{
	hsmpool_status status = hp_uri_parse(token, uri, err);
	if (status != HSMPOOL_ERR_USAGE)
		return status;
	hp_error_prefix(err, "the option 'token'");
	if (err)
		err->status = HSMPOOL_ERR_CONFIG;
	return HSMPOOL_ERR_CONFIG;
}

static hsmpool_status take_slot(hsmpool *pool, CK_SLOT_ID slot, hsmpool_error *err)
{
	pool->token = (struct hp_token){ .module = pool->module, .slot = slot };
	CK_RV rv = hp_token_refresh(&pool->token);
	if (rv != CKR_OK)
		return hp_rv_fail(err, rv, "read the token in slot %lu", slot);
	return HSMPOOL_OK;
}

/* slot: the token there, whatever it is; NULL: the one that the options name. */
static hsmpool_status find_module_and_token(hsmpool *pool, const CK_SLOT_ID *slot,
					    hsmpool_error *err)
{
	const struct hp_pool_options *options = &pool->options;
	struct hp_rv_overrides overrides;
	struct hp_uri *uri = NULL;
	HP_CHECK(options->module, err, HSMPOOL_ERR_CONFIG,
		 "[pool%s%s] has no 'module': name the vendor's PKCS#11 library",
		 options->name && *options->name ? " " : "",
		 options->name ? options->name : "");
	if (options->pin_source)
		HP_TRY(hp_pin_source_check(options->pin_source, err));
	HP_TRY(hp_rv_overrides_parse(options->rv_class, &overrides, err));
	if (options->token && !slot)
		HP_TRY(parse_token(options->token, &uri, err));
	hp_siblings_meet_in(options->state_dir);
	hsmpool_status status = hp_module_open(&pool->module, options->module,
					       options->module_env, &overrides, err);
	if (status == HSMPOOL_OK)
		status = slot ? take_slot(pool, *slot, err)
			      : hp_token_find(pool->module, uri, &pool->token, err);
	hp_uri_free(&uri);
	return status;
}

static hsmpool_status
compile_policies(hsmpool *pool, const struct hp_pool_options *options, hsmpool_error *err)
{
	struct hp_policy_set *set = NULL;
	if (options->policy_count > 0)
		HP_TRY(hp_policy_compile(&set, options->name ? options->name : "",
					 options->policies, options->policy_count,
					 &pool->token, err));
	atomic_init(&pool->policies, set);
	return HSMPOOL_OK;
}

static hsmpool_status make_latch(hsmpool *pool, hsmpool_error *err)
{
	pool->latch = hp_latch_new(pool->options.state_dir, &pool->token.info,
				   pool->module->is_hsmpool);
	HP_CHECK(pool->latch, err, HSMPOOL_ERR_SYSTEM, "no memory for the PIN latch");
	return HSMPOOL_OK;
}

/* How closely upkeep looks: a quarter of the shortest interval, 5 ms to 1 s. */
int64_t hp_pool_choose_tick(const struct hp_pool_options *options)
{
	int64_t intervals[] = { options->revalidate_interval,
				options->idle_timeout,
				options->max_lifetime,
				options->leak_warn,
				options->stuck_after,
				options->metrics_file ? options->metrics_interval : 0 };
	int64_t tick = HP_SECOND;
	for (size_t i = 0; i < HP_ARRAY_LEN(intervals); i++)
		if (intervals[i] > 0 && intervals[i] / 4 < tick)
			tick = intervals[i] / 4;
	return tick > 5 * HP_MS ? tick : 5 * HP_MS;
}

static void set_up(hsmpool *pool)
{
	struct hp_pool_options *options = &pool->options;
	bool is_rw = options->session_mode == HP_SESSIONS_READ_WRITE;
	CK_ULONG reported = hp_token_session_limit(&pool->token, is_rw);
	pool->limit = pool->entry_count;
	if (reported > 0 && reported < pool->limit)
		pool->limit = (uint32_t)reported;
	pool->learned_limit = pool->limit;
	hp_live_init(&pool->live, options);
	uint32_t most = hp_pool_limit_locked(pool);
	if (options->min_sessions > most)
		pool->live.min_sessions = most;
	pool->epoch = hp_process_epoch();
	if (options->call_timeout && !options->keeper) {
		HP_LOG(WARNING, "call-timeout-ignored",
		       "call-timeout needs threads, which this process may not have: "
		       "calls run in their callers' threads");
		options->call_timeout = 0;
	}
	pool->generation = pool->whole_since = HP_FIRST_GENERATION;
	pool->continuous_since = HP_FIRST_GENERATION;
	pool->user = CKU_USER;
	pool->login = options->pin_source ? HP_LOGIN_OUT : HP_LOGIN_NONE;
	pool->tick_ns = hp_pool_choose_tick(options);
	pool->count[HP_ENTRY_EMPTY] = pool->entry_count;
	for (uint32_t i = 0; i < pool->entry_count; i++)
		pool->entries[i].pool = pool;
	pool->refill_order.pool = pool->restart_order.pool = pool;
	pool->chore_order.pool = pool;
	pthread_mutex_init(&pool->lock, NULL);
	hp_cond_init(&pool->visit_over);
	hp_cond_init(&pool->quiet);
	hp_cond_init(&pool->login_done);
}

/* The first session, with the login, must succeed; the others up to min-sessions may
 * come later. */
static hsmpool_status fill(hsmpool *pool, hsmpool_deadline deadline, hsmpool_error *err)
{
	struct hp_session *first;
	HP_TRY(hp_pool_borrow(pool, HP_WANT_ANY, "open", deadline, &first, err));
	hp_pool_return(first, CKR_OK);
	for (uint32_t i = 1; i < pool->live.min_sessions; i++) {
		pthread_mutex_lock(&pool->lock);
		bool has_room =
			hp_pool_occupied_locked(pool) < hp_pool_limit_locked(pool);
		struct hsmpool_session *e =
			has_room ? hp_entry_claim_empty_locked(pool) : NULL;
		pthread_mutex_unlock(&pool->lock);
		if (!e || hp_entry_open(e, false, NULL) != HSMPOOL_OK)
			break;
		hp_entry_release(e, true, false);
	}
	return HSMPOOL_OK;
}

static void free_pool(hsmpool *pool)
{
	hp_metrics_delist(pool);
	hp_pool_dismiss_workers(pool, pool->epoch && hp_pool_check_usable(pool, NULL));
	hp_secret_free(&pool->pin);
	hp_secret_free(&pool->own_pin);
	hp_secret_free(&pool->refused);
	hp_latch_free(&pool->latch);
	hp_policy_free(atomic_load(&pool->policies));
	hp_module_close(&pool->module);
	hp_audit_close(&pool->audit);
	hp_fresh_options_free(&pool->fresh);
	hsmpool_config_close(&pool->origin);
	hp_pool_options_clear(&pool->options);
	free(pool->entries);
	free(pool);
}

/* Before the first login, which is recorded. */
static hsmpool_status open_audit(hsmpool *pool, hsmpool_error *err)
{
	hp_token_text(pool->token.info.label, sizeof pool->token.info.label,
		      pool->audit_token);
	return hp_use_open_trail(&pool->audit, &pool->options, err);
}

struct hp_audit *hp_pool_audit(const hsmpool *pool)
{
	return pool->audit;
}

static void log_opened(hsmpool *pool)
{
	pthread_mutex_lock(&pool->lock);
	uint32_t most = hp_pool_limit_locked(pool);
	CK_SLOT_ID slot = pool->token.slot;
	pthread_mutex_unlock(&pool->lock);
	HP_LOG(NOTICE, "pool-opened", "pool of %u to %u sessions on slot %lu of %s",
	       pool->live.min_sessions, most, slot, pool->module->path);
}

static hsmpool_status open_on(hsmpool **out, const struct hp_pool_options *options,
			      const CK_SLOT_ID *slot, hsmpool_deadline deadline,
			      hsmpool_error *err)
{
	*out = NULL;
	hsmpool *pool = calloc(1, sizeof *pool);
	uint32_t entry_count = options->max_sessions + options->stuck_reserve;
	struct hsmpool_session *entries = calloc(entry_count, sizeof *entries);
	if (!pool || !entries) {
		free(pool);
		free(entries);
		return hp_fail(err, HSMPOOL_ERR_SYSTEM,
			       "no memory for a pool of %u sessions", entry_count);
	}
	pool->entries = entries;
	pool->entry_count = entry_count;
	hsmpool_status status = hp_pool_options_copy(&pool->options, options, err);
	if (status == HSMPOOL_OK)
		status = find_module_and_token(pool, slot, err);
	if (status == HSMPOOL_OK)
		status = make_latch(pool, err);
	if (status == HSMPOOL_OK)
		status = compile_policies(pool, options, err);
	if (status == HSMPOOL_OK)
		status = open_audit(pool, err);
	if (status != HSMPOOL_OK) {
		free_pool(pool);
		return status;
	}
	set_up(pool);
	if (!hp_metrics_enlist(pool))
		status = hp_fail(err, HSMPOOL_ERR_SYSTEM,
				 "no memory for the pool's metrics");
	else if (!hp_restart_enlist(pool, hp_pool_deadline(pool, deadline)))
		status = hp_fail(err, HSMPOOL_ERR_DOWN,
				 "module %s: it is being restarted; try again later",
				 pool->module->path);
	else
		status = fill(pool, deadline, err);
	if (status == HSMPOOL_OK && pool->options.metrics_file)
		status = hp_metrics_file_open(&pool->metrics_file,
					      pool->options.metrics_file,
					      pool->options.metrics_interval, err);
	if (status == HSMPOOL_OK && pool->options.keeper)
		status = hp_keeper_add(pool, err);
	if (status != HSMPOOL_OK) {
		hsmpool_close(&pool);
		return status;
	}
	log_opened(pool);
	*out = pool;
	return HSMPOOL_OK;
}

hsmpool_status hp_pool_open(hsmpool **out, const struct hp_pool_options *options,
			    hsmpool_deadline deadline, hsmpool_error *err)
{
	return open_on(out, options, NULL, deadline, err);
}

hsmpool_status hp_pool_open_slot(hsmpool **out, const struct hp_pool_options *options,
				 CK_SLOT_ID slot, hsmpool_deadline deadline,
				 hsmpool_error *err)
{
	return open_on(out, options, &slot, deadline, err);
}

/* --- pausing, closing -----------------------------------------------------------------
 */

/* Wait until no borrower has a session, nor is about to. */
static hsmpool_status quiesce(hsmpool *pool, int64_t until, hsmpool_error *err)
{
	bool is_in_time = true;
	pthread_mutex_lock(&pool->lock);
	while (hp_pool_is_busy_locked(pool) && (pool->holds & HP_HOLD_PAUSE) &&
	       !pool->is_closed && is_in_time)
		is_in_time = hp_cond_wait_until(&pool->quiet, &pool->lock, until);
	bool is_quiet = !hp_pool_is_busy_locked(pool);
	bool is_resumed = !(pool->holds & HP_HOLD_PAUSE);
	bool is_closed = pool->is_closed;
	pthread_mutex_unlock(&pool->lock);
	HP_CHECK(!is_closed, err, HSMPOOL_ERR_CLOSED, "the pool is being closed");
	HP_CHECK(!is_resumed, err, HSMPOOL_ERR_BUSY,
		 "another thread resumed the pool before it was quiet");
	if (is_quiet)
		return HSMPOOL_OK;
	char figures[256];
	hp_pool_figures(pool, figures, sizeof figures);
	return hp_fail(err, HSMPOOL_ERR_TIMEOUT,
		       "some sessions did not come back in time: %s", figures);
}

void hp_pool_begin_pause(hsmpool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->holds |= HP_HOLD_PAUSE;
	pool->is_pause_unattended = true;
	pthread_mutex_unlock(&pool->lock);
	HP_LOG(NOTICE, "pool-paused", "no session is lent until resume");
	if (pool->is_kept)
		hp_keeper_wake();
}

hsmpool_status hsmpool_pause(hsmpool *pool, hsmpool_deadline deadline, hsmpool_error *err)
{
	hp_error_clear(err);
	HP_TRY(hp_pool_check_usable(pool, err));
	pthread_mutex_lock(&pool->lock);
	hp_pool_enter_locked(pool);
	pool->holds |= HP_HOLD_PAUSE;
	pthread_mutex_unlock(&pool->lock);
	HP_LOG(NOTICE, "pool-paused", "no session is lent until resume");
	int64_t until = hp_pool_deadline(pool, deadline);
	hsmpool_status status = quiesce(pool, until, err);
	if (status == HSMPOOL_OK && !hp_pool_close_unlent(pool, until))
		status = hp_fail(err, HSMPOOL_ERR_TIMEOUT,
				 "the module had not closed every session in time");
	hp_pool_leave(pool);
	return status;
}

void hsmpool_resume(hsmpool *pool)
{
	if (hp_pool_check_usable(pool, NULL) != HSMPOOL_OK)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->holds &= ~HP_HOLD_PAUSE;
	pool->is_pause_unattended = false;
	hp_waiters_wake_all_locked(pool);
	pthread_cond_broadcast(&pool->quiet);
	pthread_mutex_unlock(&pool->lock);
	HP_LOG(NOTICE, "pool-resumed", "sessions are lent again");
}

void hp_pool_distrust_locked(hsmpool *pool)
{
	pool->validate_before_ns = hp_now_ns();
	for (struct hsmpool_session *e = pool->idle.newest; e; e = e->older)
		e->is_probe_due = true;
}

void hsmpool_validate(hsmpool *pool)
{
	if (hp_pool_check_usable(pool, NULL) != HSMPOOL_OK)
		return;
	pthread_mutex_lock(&pool->lock);
	hp_pool_distrust_locked(pool);
	pool->next_upkeep_ns = 0;
	pthread_mutex_unlock(&pool->lock);
	if (pool->options.keeper)
		hp_keeper_wake();
}

void hp_pool_shut(hsmpool *pool)
{
	if (hp_pool_check_usable(pool, NULL) != HSMPOOL_OK)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->is_closed = true;
	hp_waiters_wake_all_locked(pool);
	pthread_cond_broadcast(&pool->visit_over);
	pthread_cond_broadcast(&pool->login_done);
	pthread_mutex_unlock(&pool->lock);
}

static void name_leftovers(hsmpool *pool)
{
	for (uint32_t i = 0; i < pool->entry_count; i++) {
		struct hsmpool_session *e = &pool->entries[i];
		pthread_mutex_lock(&pool->lock);
		enum hp_entry_state state = e->state;
		bool is_hung = e->is_stuck || e->session.call_since_ns;
		const char *tag = e->tag ? e->tag : "?";
		int thread = e->thread;
		double age = (double)(hp_now_ns() - e->borrowed_ns) / (double)HP_SECOND;
		pthread_mutex_unlock(&pool->lock);
		if (state == HP_ENTRY_USED && !is_hung)
			HP_LOG(ERROR, "close-leftover",
			       "session %u is still lent to thread %d for '%s' since "
			       "%.1f s: left open",
			       i, thread, tag, age);
		else if (state != HP_ENTRY_EMPTY)
			HP_LOG(ERROR, "close-leftover",
			       "session %u: a call of the module hangs: left open", i);
	}
}

/* In a forked child: the memory only. The parent has the sessions, the module and the
 * locks' real owners. Shared objects of the module stay with the parent's copy too. */
static void free_in_child(hsmpool *pool)
{
	pool->module = NULL;
	hp_chore_release(pool);
	if (pool->canary_release)
		pool->canary_release(pool->canary_user);
	if (pool->attachment_release)
		pool->attachment_release(pool->attachment);
	free_pool(pool);
}

/* True if nothing is inside the pool any more. */
static bool drain(hsmpool *pool)
{
	int64_t until = hp_now_ns() + pool->live.close_grace;
	hp_pool_close_unlent(pool, until);
	pthread_mutex_lock(&pool->lock);
	while ((hp_pool_is_busy_locked(pool) || pool->jobs || pool->inside) &&
	       hp_cond_wait_until(&pool->quiet, &pool->lock, until))
		;
	bool is_quiet = !hp_pool_is_busy_locked(pool) && !pool->jobs && !pool->inside;
	pthread_mutex_unlock(&pool->lock);
	return is_quiet;
}

void hsmpool_close(hsmpool **address)
{
	if (!address || !*address)
		return;
	hsmpool *pool = *address;
	*address = NULL;
	if (hp_pool_check_usable(pool, NULL) != HSMPOOL_OK) {
		free_in_child(pool);
		return;
	}
	hp_pool_finish_chore(pool);
	if (pool->is_kept)
		hp_keeper_remove(pool);
	pthread_mutex_lock(&pool->lock);
	pool->is_closed = true;
	hp_waiters_wake_all_locked(pool);
	pthread_cond_broadcast(&pool->visit_over);
	pthread_cond_broadcast(&pool->quiet);
	pthread_mutex_unlock(&pool->lock);
	bool is_quiet = drain(pool);
	if (pool->is_kept)
		hp_keeper_rest();
	hp_metrics_file_close(&pool->metrics_file, hp_now_ns() + pool->live.close_grace);
	if (!is_quiet) {
		name_leftovers(pool);
		return;
	}
	if (!hp_restart_delist(pool, hp_now_ns() + pool->live.close_grace))
		return;
	hp_chore_release(pool);
	if (pool->canary_release)
		pool->canary_release(pool->canary_user);
	if (pool->attachment_release)
		pool->attachment_release(pool->attachment);
	HP_LOG(NOTICE, "pool-closed", "every session is closed");
	free_pool(pool);
}

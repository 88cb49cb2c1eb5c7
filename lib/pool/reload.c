/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See live.h.
 *
 * Owns: which options may change while a pool is open, and what else has to follow when
 * they do. pool->lock guards the step from one configuration to the next; files are read,
 * and policies compiled, without it.
 */
#include "pool/live.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/process.h"
#include "config/section.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "pool/internal.h"
#include "pool/policy.h"

const struct hp_pool_live *hp_pool_live(const hsmpool *pool)
{
	return &pool->live;
}

/* --- where a configuration comes from -------------------------------------------------
 */

static void write_counts(struct hp_exposition *x);

hsmpool_status hp_pool_set_origin(hsmpool *pool, const hsmpool_config *config,
				  hp_adapt_options adapt, hsmpool_error *err)
{
	hsmpool_config *origin;
	hp_metrics_add_source(write_counts);
	HP_TRY(hp_config_origin(config, &origin, err));
	pthread_mutex_lock(&pool->lock);
	hsmpool_config *old = pool->origin;
	pool->origin = origin;
	pool->adapt_options = adapt;
	pthread_mutex_unlock(&pool->lock);
	hsmpool_config_close(&old);
	return HSMPOOL_OK;
}

/* What waits in a pool between the two steps. */
struct hp_fresh_options {
	struct hp_pool_options options;
	struct hp_policy_set *policies;
	bool has_other_keys; /* sections that are read when a program starts */
	bool has_other_proxy;
};

static void keep_fresh(hsmpool *pool, struct hp_fresh_options *fresh)
{
	pthread_mutex_lock(&pool->lock);
	struct hp_fresh_options *old = pool->fresh;
	pool->fresh = fresh;
	pthread_mutex_unlock(&pool->lock);
	hp_fresh_options_free(&old);
}

void hp_fresh_options_free(struct hp_fresh_options **fresh)
{
	if (!*fresh)
		return;
	hp_policy_free((*fresh)->policies);
	hp_pool_options_clear(&(*fresh)->options);
	free(*fresh);
	*fresh = NULL;
}

/* It is not exchanged any more once it is there. */
static const hsmpool_config *origin_of(hsmpool *pool, hp_adapt_options *adapt)
{
	pthread_mutex_lock(&pool->lock);
	const hsmpool_config *origin = pool->origin;
	*adapt = pool->adapt_options;
	pthread_mutex_unlock(&pool->lock);
	return origin;
}

static hsmpool_status read_fresh(hsmpool *pool, const hsmpool_config *config,
				 struct hp_fresh_options *fresh, hsmpool_error *err)
{
	hp_adapt_options adapt;
	const hsmpool_config *origin = origin_of(pool, &adapt);
	HP_TRY(hp_config_pool(config, pool->options.name, &fresh->options, err));
	fresh->has_other_keys = origin && !hp_config_has_same(config, origin, "key");
	fresh->has_other_proxy =
		origin && adapt && !hp_config_has_same(config, origin, "proxy");
	if (adapt)
		adapt(&fresh->options, config);
	struct hp_token token;
	hp_pool_token(pool, &token);
	return hp_policy_compile(&fresh->policies, pool->options.name,
				 fresh->options.policies, fresh->options.policy_count,
				 &token, err);
}

hsmpool_status hp_pool_prepare_reload(hsmpool *pool, const hsmpool_config *config,
				      hsmpool_error *err)
{
	hsmpool_config *renewed = NULL;
	hp_adapt_options adapt;
	const hsmpool_config *origin = origin_of(pool, &adapt);
	if (!config) {
		HP_CHECK(origin, err, HSMPOOL_ERR_USAGE,
			 "[pool%s%s] was configured by the program: there is no file to "
			 "read again",
			 *pool->options.name ? " " : "", pool->options.name);
		HP_TRY(hp_config_renew(origin, &renewed, err));
	}
	struct hp_fresh_options *fresh = calloc(1, sizeof(*fresh));
	hsmpool_status status =
		fresh ? read_fresh(pool, config ? config : renewed, fresh, err)
		      : hp_fail(err, HSMPOOL_ERR_SYSTEM, "no memory for the options");
	hsmpool_config_close(&renewed);
	if (status == HSMPOOL_OK)
		keep_fresh(pool, fresh);
	else
		hp_fresh_options_free(&fresh);
	return status;
}

/* --- taking it over --------------------------------------------------------------------
 */

static void add_word(char *list, size_t cap, const char *word)
{
	size_t len = strlen(list);
	snprintf(list + len, cap - len, "%s%s", len ? " " : "", word);
}
#define ADD_WORD(list, word) add_word((list), sizeof(list), (word))

/* What the options ask for, as far as the pool was made for it. */
static void fit(const hsmpool *pool, struct hp_pool_options *options)
{
	if (options->max_sessions > pool->options.max_sessions)
		options->max_sessions = pool->options.max_sessions;
	if (options->min_sessions > options->max_sessions)
		options->min_sessions = options->max_sessions;
}

static bool is_live(const char *key)
{
#define IS_IT(type, field, name)    \
	if (strcmp(key, name) == 0) \
		return true;
	HP_LIVE_OPTIONS(IS_IT)
#undef IS_IT
	return false;
}

static void report_restarts(const hsmpool *pool, const struct hp_fresh_options *f,
			    struct hp_reload_report *report)
{
	const struct hp_pool_options *fresh = &f->options;
	const struct hp_option_info *info;
	for (size_t i = 0; (info = hp_option_at(i)); i++)
		if (strcmp(info->section, "pool") == 0 && !is_live(info->key) &&
		    hp_option_differs(i, &pool->options, fresh))
			ADD_WORD(report->needs_restart, info->key);
	if (fresh->max_sessions > pool->options.max_sessions)
		ADD_WORD(report->needs_restart, "max-sessions");
	if (f->has_other_keys)
		ADD_WORD(report->needs_restart, "[key]");
	if (f->has_other_proxy)
		ADD_WORD(report->needs_restart, "[proxy]");
}

void hp_live_init(struct hp_pool_live *live, const struct hp_pool_options *options)
{
#define INIT(type, field, key) atomic_init(&live->field, options->field);
	HP_LIVE_OPTIONS(INIT)
#undef INIT
}

static void store_live(struct hp_pool_live *live, const struct hp_pool_options *fresh,
		       struct hp_reload_report *report)
{
#define STORE(type, field, key)                                          \
	if (atomic_exchange(&live->field, fresh->field) != fresh->field) \
		ADD_WORD(report->changed, key);
	HP_LIVE_OPTIONS(STORE)
#undef STORE
}

/* What was computed from options that are others now. */
static void follow_locked(hsmpool *pool, const struct hp_pool_options *fresh)
{
	int64_t lifetime = fresh->max_lifetime;
	pool->tick_ns = hp_pool_choose_tick(fresh);
	pool->next_retire_ns = 0;
	for (uint32_t i = 0; i < pool->entry_count; i++) {
		struct hsmpool_session *e = &pool->entries[i];
		e->probe_ns = 0; /* chosen anew when upkeep looks */
		e->retire_ns =
			lifetime ? hp_time_add(e->opened_ns, hp_jitter(lifetime, 25))
				 : HP_FOREVER;
	}
	hp_waiters_wake_all_locked(pool); /* there may be room now */
}

static void exchange_policies_locked(hsmpool *pool, struct hp_fresh_options *fresh,
				     struct hp_reload_report *report)
{
	struct hp_policy_set *now = atomic_load(&pool->policies);
	if (hp_policy_is_same(now, fresh->policies))
		return;
	hp_policy_keep(fresh->policies, now);
	atomic_store_explicit(&pool->policies, hp_take(&fresh->policies),
			      memory_order_release);
	ADD_WORD(report->changed, "[policy]");
}

static void tell(const hsmpool *pool, const struct hp_reload_report *report)
{
	HP_LOG(NOTICE, "pool-reloaded", "[pool%s%s] changed: %s; needs a restart: %s",
	       *pool->options.name ? " " : "", pool->options.name,
	       *report->changed ? report->changed : "nothing",
	       *report->needs_restart ? report->needs_restart : "nothing");
}

void hp_pool_finish_reload(hsmpool *pool, struct hp_reload_report *report)
{
	*report = (struct hp_reload_report){ 0 };
	pthread_mutex_lock(&pool->lock);
	struct hp_fresh_options *fresh = hp_take(&pool->fresh);
	pthread_mutex_unlock(&pool->lock);
	if (!fresh)
		return;
	int before = atomic_load(&pool->live.log_level);
	report_restarts(pool, fresh, report);
	fit(pool, &fresh->options);
	pthread_mutex_lock(&pool->lock);
	store_live(&pool->live, &fresh->options, report);
	if (*report->changed)
		follow_locked(pool, &fresh->options);
	exchange_policies_locked(pool, fresh, report);
	pthread_mutex_unlock(&pool->lock);
	if (fresh->options.log && before != (int)fresh->options.log_level)
		hsmpool_log_set_level(fresh->options.log_level);
	hp_fresh_options_free(&fresh);
	tell(pool, report);
}

/* --- for programs ----------------------------------------------------------------------
 */

static _Atomic uint64_t went_well, went_wrong, counting_epoch;

/* What the parent counted is the parent's. */
static void forget_in_child(void)
{
	uint64_t epoch = hp_process_epoch();
	if (atomic_exchange(&counting_epoch, epoch) == epoch)
		return;
	atomic_store(&went_well, 0);
	atomic_store(&went_wrong, 0);
}

static void write_counts(struct hp_exposition *x)
{
	static const struct hp_family family = {
		"hsmpool_config_reload", HP_FAMILY_COUNTER, NULL,
		"How often the configuration was read again, and whether it was taken over."
	};
	uint64_t well, failed;
	hp_reload_get_counts(&well, &failed);
	hp_exposition_begin_family(x, &family);
	hp_exposition_add(x, (const struct hp_label[]){ { "result", "ok" }, { 0 } },
			  well);
	hp_exposition_add(x, (const struct hp_label[]){ { "result", "failed" }, { 0 } },
			  failed);
}

void hp_reload_count(bool is_well)
{
	forget_in_child();
	atomic_fetch_add_explicit(is_well ? &went_well : &went_wrong, 1,
				  memory_order_relaxed);
}

void hp_reload_get_counts(uint64_t *well, uint64_t *failed)
{
	forget_in_child();
	*well = atomic_load_explicit(&went_well, memory_order_relaxed);
	*failed = atomic_load_explicit(&went_wrong, memory_order_relaxed);
}

void hp_pool_catch_up(hsmpool *pool)
{
	struct hp_reload_report report;
	hsmpool_error err;
	uint64_t well, failed;
	hp_reload_get_counts(&well, &failed);
	if (well == 0)
		return;
	if (hp_pool_prepare_reload(pool, NULL, &err) == HSMPOOL_OK)
		hp_pool_finish_reload(pool, &report);
	else
		HP_LOG(WARNING, "reload-failed", "%s", err.text);
}

hsmpool_status hsmpool_reload(hsmpool *pool, const hsmpool_config *config,
			      hsmpool_error *err)
{
	struct hp_reload_report report;
	hp_error_clear(err);
	HP_TRY(hp_pool_check_usable(pool, err));
	hsmpool_status status = hp_pool_prepare_reload(pool, config, err);
	hp_reload_count(status == HSMPOOL_OK);
	if (status == HSMPOOL_OK)
		hp_pool_finish_reload(pool, &report);
	return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See status.h. Names are those of hsmpool_stats and of hsmpool-cli status.
 */
#include "control/status.h"

#include <hsmpool/metrics.h>
#include "base/memory.h"
#include "p11/rv.h"
#include "pool/figures.h"
#include "pool/pool.h"

static void add_figures(struct hp_reply *reply, const char *name,
			const hsmpool_stats *stats, enum hp_figure_kind kind)
{
	const struct hp_figure *figure;
	hp_json_begin(reply, name, '{');
	for (size_t i = 0; (figure = hp_figure_at(i)); i++)
		if (figure->kind == kind)
			hp_json_number(reply, figure->name,
				       hp_stat_get(stats, &figure->stat));
	hp_json_end(reply, '}');
}

/* The upper bound of the bucket that the share of all falls into. */
static uint64_t quantile_ns(const uint64_t *buckets, uint64_t all, unsigned percent)
{
	uint64_t wanted = (all * percent + 99) / 100, seen = 0;
	for (unsigned i = 0; i < HSMPOOL_HISTOGRAM_BUCKETS; i++) {
		seen += buckets[i];
		if (seen >= wanted)
			return UINT64_C(1000) << i;
	}
	return 0;
}

/* How long something took: seconds that half of all, and so on, took at most. Ends the
 * object that its caller began. */
static void add_quantiles(struct hp_reply *reply, const uint64_t *buckets)
{
	uint64_t all = 0;
	for (unsigned i = 0; i < HSMPOOL_HISTOGRAM_BUCKETS; i++)
		all += buckets[i];
	hp_json_number(reply, "count", all);
	if (all > 0) {
		hp_json_seconds(reply, "p50", quantile_ns(buckets, all, 50));
		hp_json_seconds(reply, "p90", quantile_ns(buckets, all, 90));
		hp_json_seconds(reply, "p99", quantile_ns(buckets, all, 99));
	}
	hp_json_end(reply, '}');
}

static void add_times(struct hp_reply *reply, const char *name, const uint64_t *buckets)
{
	hp_json_begin(reply, name, '{');
	add_quantiles(reply, buckets);
}

static void add_operations(struct hp_reply *reply, hsmpool *pool)
{
	hsmpool_operation_stats use = { .size = sizeof(use) };
	hp_json_begin(reply, "operations", '[');
	for (size_t i = 0; hsmpool_get_operation_stats(pool, i, &use); i++) {
		hp_json_begin(reply, NULL, '{');
		hp_json_text(reply, "function", use.function);
		add_quantiles(reply, use.time_ns);
	}
	hp_json_end(reply, ']');
}

static void add_errors(struct hp_reply *reply, hsmpool *pool)
{
	hsmpool_error_stats error = { .size = sizeof(error) };
	hp_json_begin(reply, "errors", '{');
	for (size_t i = 0; hsmpool_get_error_stats(pool, i, &error); i++)
		hp_json_number(reply, error.name, error.count);
	hp_json_end(reply, '}');
}

static void add_audit(struct hp_reply *reply, const hsmpool *pool)
{
	struct hp_audit *audit = hp_pool_audit(pool);
	struct hp_audit_figures figures;
	if (!audit) {
		hp_json_null(reply, "audit");
		return;
	}
	hp_audit_get_figures(audit, &figures);
	hp_json_begin(reply, "audit", '{');
	hp_json_number(reply, "records", figures.records);
	hp_json_number(reply, "lost", figures.lost);
	hp_json_number(reply, "refused", figures.refused);
	hp_json_number(reply, "failures", figures.failures);
	hp_json_number(reply, "unauthenticated", figures.unauthenticated);
	hp_json_bool(reply, "failing", figures.is_failing);
	hp_json_end(reply, '}');
}

static void add_token(struct hp_reply *reply, hsmpool *pool)
{
	struct hp_token token;
	char text[33];
	hp_pool_token(pool, &token);
	hp_json_begin(reply, "token", '{');
	hp_token_text(token.info.label, sizeof(token.info.label), text);
	hp_json_text(reply, "label", text);
	hp_token_text(token.info.serialNumber, sizeof(token.info.serialNumber), text);
	hp_json_text(reply, "serial", text);
	hp_token_text(token.info.model, sizeof(token.info.model), text);
	hp_json_text(reply, "model", text);
	hp_json_number(reply, "slot", token.slot);
	hp_json_text(reply, "module", token.module->path);
	hp_json_end(reply, '}');
}

static void add_last_error(struct hp_reply *reply, const hsmpool_stats *stats)
{
	char name[32];
	if (!stats->last_error) {
		hp_json_null(reply, "last-error");
		return;
	}
	hp_json_begin(reply, "last-error", '{');
	hp_json_text(reply, "name", hp_rv_name(stats->last_error, name));
	hp_json_seconds(reply, "age", stats->last_error_age_ns);
	hp_json_end(reply, '}');
}

const char *hp_control_pool_name(const hsmpool *pool)
{
	const char *name = hp_pool_options(pool)->name;
	return name && *name ? name : HP_CONTROL_UNNAMED;
}

void hp_control_add_pool(struct hp_reply *reply, hsmpool *pool)
{
	static const char *const breakers[] = { "closed", "open", "half-open" };
	hsmpool_stats stats = { .size = sizeof(stats) };
	hsmpool_get_stats(pool, &stats);
	hp_json_begin(reply, NULL, '{');
	hp_json_text(reply, "name", hp_control_pool_name(pool));
	add_token(reply, pool);
	hp_json_text(reply, "login", hp_pool_login_word(pool));
	hp_json_text(reply, "breaker",
		     stats.breaker < HP_ARRAY_LEN(breakers) ? breakers[stats.breaker]
							    : "?");
	hp_json_bool(reply, "paused", stats.paused != 0);
	hp_json_number(reply, "generation", stats.generation);
	add_figures(reply, "sessions", &stats, HP_FIGURE_SESSIONS);
	hp_json_number(reply, "waiters", stats.waiters);
	hp_json_seconds(reply, "oldest-wait", stats.oldest_wait_ns);
	add_figures(reply, "totals", &stats, HP_FIGURE_TOTAL);
	add_times(reply, "wait", stats.wait_ns);
	add_times(reply, "held", stats.held_ns);
	add_operations(reply, pool);
	add_errors(reply, pool);
	add_last_error(reply, &stats);
	add_audit(reply, pool);
	hp_json_end(reply, '}');
}

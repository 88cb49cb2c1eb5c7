/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See figures.h. No state, no locks.
 */
#include "pool/figures.h"

#include <string.h>
#include "base/memory.h"

static const struct hp_figure figures[] = {
#define ROW(kind, name, member)                         \
	{                                               \
		name, HP_FIGURE_##kind, HP_STAT(member) \
	}
	/* clang-format off */
	ROW(SESSIONS, "open", open),
	ROW(SESSIONS, "idle", idle),
	ROW(SESSIONS, "used", used),
	ROW(SESSIONS, "attached", attached),
	ROW(SESSIONS, "testing", testing),
	ROW(SESSIONS, "opening", opening),
	ROW(SESSIONS, "closing", closing),
	ROW(SESSIONS, "stuck", stuck),
	ROW(SESSIONS, "limit", limit),
	ROW(SESSIONS, "peak", peak),
	ROW(NOW, "waiters", waiters),
	ROW(NOW, "overdue", overdue),
	ROW(WORST, "paused", paused),
	ROW(WORST, "breaker", breaker),
	ROW(WORST, "latched", latched),
	ROW(WORST, "generation", generation),
	ROW(TOTAL, "borrowed-direct", borrowed_direct),
	ROW(TOTAL, "borrowed-waited", borrowed_waited),
	ROW(TOTAL, "borrow-timeouts", borrow_timeouts),
	ROW(TOTAL, "borrow-rejected", borrow_rejected),
	ROW(TOTAL, "borrow-closed", borrow_closed),
	ROW(TOTAL, "returned", returned),
	ROW(TOTAL, "opened", opened),
	ROW(TOTAL, "open-failures", open_failures),
	ROW(TOTAL, "closed-idle", closed_idle),
	ROW(TOTAL, "closed-lifetime", closed_lifetime),
	ROW(TOTAL, "closed-broken", closed_broken),
	ROW(TOTAL, "closed-stuck", closed_stuck),
	ROW(TOTAL, "closed-shutdown", closed_shutdown),
	ROW(TOTAL, "closed-other", closed_other),
	ROW(TOTAL, "validated", validated),
	ROW(TOTAL, "validation-failures", validation_failures),
	ROW(TOTAL, "logins", logins),
	ROW(TOTAL, "login-failures", login_failures),
	ROW(TOTAL, "logins-refused", logins_refused),
	ROW(TOTAL, "leaks-suspected", leaks_suspected),
	ROW(TOTAL, "retries", retries),
	ROW(TOTAL, "hung-calls", hung_calls),
	ROW(TOTAL, "breaker-opened", breaker_opened),
	ROW(TOTAL, "lost-sessions", lost_sessions),
	ROW(TOTAL, "lost-logins", lost_logins),
	ROW(TOTAL, "lost-tokens", lost_tokens),
	ROW(TOTAL, "module-restarts", module_restarts),
/* clang-format on */
#undef ROW
};

const struct hp_figure *hp_figure_at(size_t index)
{
	return index < HP_ARRAY_LEN(figures) ? &figures[index] : NULL;
}

uint64_t hp_stat_get(const hsmpool_stats *stats, const struct hp_stat *stat)
{
	const char *at = (const char *)stats + stat->offset;
	uint64_t wide = 0;
	uint32_t narrow = 0;
	if (stat->size == sizeof(wide))
		memcpy(&wide, at, sizeof(wide));
	else if (stat->size == sizeof(narrow))
		memcpy(&narrow, at, sizeof(narrow));
	return wide + narrow;
}

static void set(hsmpool_stats *stats, const struct hp_stat *stat, uint64_t value)
{
	char *at = (char *)stats + stat->offset;
	uint32_t narrow = (uint32_t)value;
	if (stat->size == sizeof(value))
		memcpy(at, &value, sizeof(value));
	else
		memcpy(at, &narrow, sizeof(narrow));
}

void hp_figures_join(hsmpool_stats *to, const hsmpool_stats *from,
		     enum hp_figure_kind kind)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(figures); i++) {
		const struct hp_stat *stat = &figures[i].stat;
		uint64_t ours = hp_stat_get(to, stat), theirs = hp_stat_get(from, stat);
		if (figures[i].kind != kind)
			continue;
		if (kind != HP_FIGURE_WORST)
			set(to, stat, ours + theirs);
		else if (theirs > ours)
			set(to, stat, theirs);
	}
}

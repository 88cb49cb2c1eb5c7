/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers of hsmpool_stats as a table: what each is called, and what several pools'
 * come to together. Who shows, adds up or exports them has no list of his own.
 */
#ifndef HP_POOL_FIGURES_H
#define HP_POOL_FIGURES_H

#include <stddef.h>
#include <stdint.h>
#include <hsmpool/pool.h>

/* Where in hsmpool_stats a number is, of 4 or 8 bytes; 0 bytes: nowhere. */
struct hp_stat {
	size_t offset, size;
};
#define HP_STAT(member)                                                               \
	{                                                                             \
		offsetof(hsmpool_stats, member), sizeof(((hsmpool_stats *)0)->member) \
	}
#define HP_NO_STAT   \
	{            \
		0, 0 \
	}

/* 0 for HP_NO_STAT. */
uint64_t hp_stat_get(const hsmpool_stats *stats, const struct hp_stat *stat);

enum hp_figure_kind {
	HP_FIGURE_SESSIONS, /* sessions, now */
	HP_FIGURE_NOW,      /* what else there is now: of several pools the sum counts, */
	HP_FIGURE_WORST,    /* or the greatest */
	HP_FIGURE_TOTAL,    /* since the start */
};

struct hp_figure {
	const char *name; /* "borrow-timeouts" */
	enum hp_figure_kind kind;
	struct hp_stat stat;
};

/* NULL past the end. All there are but for times. */
const struct hp_figure *hp_figure_at(size_t index);

/* Another pool's figures of that kind join those in *to. */
void hp_figures_join(hsmpool_stats *to, const hsmpool_stats *from,
		     enum hp_figure_kind kind);

#endif

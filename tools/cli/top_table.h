/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The figures as top prints them: a table of the pools, their errors, or JSON.
 *
 * Everything foreign is made harmless for a terminal.
 */
#ifndef CLI_TOP_TABLE_H
#define CLI_TOP_TABLE_H

#include <stddef.h>
#include <stdio.h>
#include "top_figures.h"

enum top_order {
	TOP_BY_PROCESS,
	TOP_BY_OPERATIONS,
	TOP_BY_WAITERS,
	TOP_BY_ERRORS,
	TOP_ORDERS,
};
extern const char *const top_order_names[TOP_ORDERS];

/* What is written in front of every line: a time, or "". */
void top_write_title(FILE *out, const char *before);
void top_write_table(FILE *out, const struct top_figures *figures, enum top_order order,
		     const char *before);
/* Of which pool, with what, how often; nothing if there were none. */
void top_write_errors(FILE *out, const struct top_figures *figures, enum top_order order,
		      const char *before);
/* All in one line. */
void top_write_sum(FILE *out, const struct top_figures *figures);

struct json_object;
struct json_object *top_make_json(const struct top_figures *figures);

#endif

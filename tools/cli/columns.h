/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --column COLUMN=METHOD[:OPTION=VALUE,...]: which column becomes what.
 *
 * COLUMN is a name, or #3, or a name in quotes: "name" may hold = and anything else, a
 * quote doubled. So may a VALUE that holds a comma.
 */
#ifndef CLI_COLUMNS_H
#define CLI_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>
#include <hsmpool/pseudonym.h>

/* Zeroed: none. */
struct columns {
	hsmpool_column *at;
	size_t count;
	char **texts; /* what the columns' texts point into, one for each */
};

hsmpool_status columns_add(struct columns *columns, const char *argument,
			   hsmpool_error *err);
/* Allow tokens of fewer than 64 bits. */
void columns_allow_short_tokens(struct columns *columns);
/* Whether any of them needs a key. */
bool columns_need_key(const struct columns *columns);
void columns_clear(struct columns *columns);

#endif

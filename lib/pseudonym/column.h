/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether an hsmpool_column makes sense in itself.
 *
 * Owns: what belongs to which method, domains, how a column is called in a text. Must
 * not: look at keys or values.
 */
#ifndef HP_PSEUDONYM_COLUMN_H
#define HP_PSEUDONYM_COLUMN_H

#include <stdbool.h>
#include <hsmpool/pseudonym.h>

enum {
	HP_DOMAIN_MAX = 255, /* bytes */
	HP_PREFIX_MAX = 64,  /* bytes */
	HP_COLUMN_ABOUT = 96
};

/* "column 'email'", "column 3": for texts; about is returned. */
const char *hp_column_about(const hsmpool_column *column, char about[HP_COLUMN_ABOUT]);

/* All that is wrong without the alphabet: USAGE, the text begins with the column. */
hsmpool_status hp_column_check(const hsmpool_column *column, bool is_reverse,
			       hsmpool_error *err);

/* Of a column that was checked, and needs one. */
hsmpool_bytes hp_column_domain(const hsmpool_column *column);

#endif

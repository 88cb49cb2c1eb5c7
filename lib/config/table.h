/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option table as the rest of this room uses it; options.c holds it.
 *
 * An option is its index in the table, a value the text that a file or program gave.
 */
#ifndef HP_CONFIG_TABLE_H
#define HP_CONFIG_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <hsmpool/status.h>
#include "config/options.h"

#define HP_OPTION_COUNT 62 /* options.c asserts it */

/* The index, or HP_OPTION_COUNT. kind is a section's: "pool", "key" ... */
size_t hp_option_find(const char *kind, const char *key);

/* "; did you mean 'max-sessions'?", or what else helps, or "". */
void hp_option_hint(const char *kind, const char *key, char *hint, size_t size);

/*
 * Parse, check and store value in the structure of the option's section. Texts are
 * copied, one that was there is freed. options NULL: only check.
 */
hsmpool_status hp_option_apply(size_t index, const char *value, void *options,
			       hsmpool_error *err);

#endif

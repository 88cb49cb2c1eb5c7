/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values: what the option table's types are made of. hp_parse_duration() and
 * hp_parse_size(), which other rooms use, are declared in options.h.
 */
#ifndef HP_CONFIG_VALUE_H
#define HP_CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decimal digits and nothing else; false otherwise, or if it does not fit. */
bool hp_parse_number(const char *text, uint64_t *value);

/* The position of value among "a|b|c", or -1. */
int hp_parse_choice(const char *choices, const char *value);

/* How many single-character edits lead from a to b; SIZE_MAX for over-long texts. */
size_t hp_edit_distance(const char *a, const char *b);

#endif

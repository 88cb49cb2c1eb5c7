/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values: from text to numbers, durations, sizes and choices.
 *
 * Owns: the units. Must not: know options or make error texts. No state, no locks;
 * independent of the locale.
 */
#include "config/value.h"

#include "base/memory.h"
#include "base/time.h"
#include "config/options.h"

#include <string.h>

#define LONGEST_NAME 64

/* Leading digits; false if there are none or they do not fit. */
static bool parse_digits(const char **at, uint64_t *value)
{
	const char *start = *at;
	uint64_t sum = 0;
	while (**at >= '0' && **at <= '9') {
		if (__builtin_mul_overflow(sum, 10, &sum) ||
		    __builtin_add_overflow(sum, (uint64_t)(**at - '0'), &sum))
			return false;
		(*at)++;
	}
	*value = sum;
	return *at != start;
}

bool hp_parse_number(const char *text, uint64_t *value)
{
	uint64_t number;
	if (!parse_digits(&text, &number) || *text)
		return false;
	*value = number;
	return true;
}

struct unit {
	const char *name;
	uint64_t factor;
};

static bool parse_with_unit(const char *text, const struct unit *units, size_t unit_count,
			    uint64_t *value)
{
	uint64_t number;
	if (!parse_digits(&text, &number))
		return false;
	for (size_t i = 0; i < unit_count; i++)
		if (strcmp(text, units[i].name) == 0)
			return !__builtin_mul_overflow(number, units[i].factor, value);
	return false;
}

bool hp_parse_duration(const char *text, int64_t *ns)
{
	static const struct unit units[] = {
		{ "us", HP_US },           { "ms", HP_MS },
		{ "s", HP_SECOND },        { "m", 60 * HP_SECOND },
		{ "h", 3600 * HP_SECOND }, { "d", 86400 * HP_SECOND },
	};
	uint64_t value = 0;
	if (strcmp(text, "0") != 0 &&
	    !parse_with_unit(text, units, HP_ARRAY_LEN(units), &value))
		return false;
	if (value > INT64_MAX)
		return false;
	*ns = (int64_t)value;
	return true;
}

bool hp_parse_size(const char *text, uint64_t *bytes)
{
	static const struct unit units[] = {
		{ "", 1 },          { "B", 1 },         { "KiB", 1024 },
		{ "MiB", 1 << 20 }, { "GiB", 1 << 30 },
	};
	uint64_t value;
	if (!parse_with_unit(text, units, HP_ARRAY_LEN(units), &value))
		return false;
	*bytes = value;
	return true;
}

int hp_parse_choice(const char *choices, const char *value)
{
	size_t len = strlen(value);
	for (int i = 0; len > 0; i++) {
		size_t choice_len = strcspn(choices, "|");
		if (choice_len == len && strncmp(choices, value, len) == 0)
			return i;
		if (!choices[choice_len])
			break;
		choices += choice_len + 1;
	}
	return -1;
}

static size_t smallest(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;
	return least < c ? least : c;
}

size_t hp_edit_distance(const char *a, const char *b)
{
	size_t width = strlen(b);
	if (strlen(a) > LONGEST_NAME || width > LONGEST_NAME)
		return SIZE_MAX;
	size_t row[LONGEST_NAME + 1];
	for (size_t i = 0; i <= width; i++)
		row[i] = i;
	for (size_t y = 1; a[y - 1]; y++) {
		size_t diagonal = row[0];
		row[0] = y;
		for (size_t x = 1; x <= width; x++) {
			size_t replaced = diagonal + (a[y - 1] != b[x - 1]);
			diagonal = row[x];
			row[x] = smallest(row[x] + 1, row[x - 1] + 1, replaced);
		}
	}
	return row[width];
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of metrics' text: see sample.h. */
#include "sample.h"

#include <stdlib.h>
#include <string.h>

#define MAX_NUMBER 64 /* characters */

/* --- pieces of text ------------------------------------------------------------------
 */

bool slice_is(struct slice slice, const char *text)
{
	return slice.len == strlen(text) && memcmp(slice.at, text, slice.len) == 0;
}

bool slices_equal(struct slice a, struct slice b)
{
	return a.len == b.len && memcmp(a.at, b.at, a.len) == 0;
}

void slice_skip(struct slice *rest, size_t len)
{
	rest->at += len;
	rest->len -= len;
}

bool slice_take_text(struct slice *rest, const char *text)
{
	size_t len = strlen(text);

	if (rest->len < len || memcmp(rest->at, text, len) != 0)
		return false;
	slice_skip(rest, len);
	return true;
}

struct slice slice_take_until(struct slice *rest, char end)
{
	const char *found = memchr(rest->at, end, rest->len);
	struct slice taken = { rest->at, found ? (size_t)(found - rest->at) : rest->len };

	slice_skip(rest, taken.len);
	return taken;
}

static bool is_name_character(char c, bool is_first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
	       (!is_first && c >= '0' && c <= '9');
}

struct slice slice_take_name(struct slice *rest)
{
	struct slice name = { rest->at, 0 };

	while (name.len < rest->len &&
	       is_name_character(rest->at[name.len], name.len == 0))
		name.len++;
	slice_skip(rest, name.len);
	return name;
}

/* --- labels --------------------------------------------------------------------------
 */

/* Up to the quote that ends it, which goes too: with no escape but \\, \" and \n. */
static bool take_label_value(struct slice *rest, struct slice *value)
{
	value->at = rest->at;
	while (rest->len > 0 && *rest->at != '"') {
		bool is_escape = *rest->at == '\\';

		if (is_escape && (rest->len < 2 || !strchr("\\\"n", rest->at[1])))
			return false;
		slice_skip(rest, is_escape ? 2 : 1);
	}
	value->len = (size_t)(rest->at - value->at);
	return slice_take_text(rest, "\"");
}

static bool take_label(struct slice *rest, struct slice *name, struct slice *value)
{
	*name = slice_take_name(rest);
	return name->len > 0 && slice_take_text(rest, "=\"") &&
	       take_label_value(rest, value);
}

/* {name="value",...}, or nothing. */
static bool take_labels(struct slice *rest, struct slice *labels)
{
	struct slice name, value;

	*labels = (struct slice){ rest->at, 0 };
	if (!slice_take_text(rest, "{"))
		return true;
	labels->at = rest->at;
	if (slice_take_text(rest, "}"))
		return true;
	do {
		if (!take_label(rest, &name, &value))
			return false;
	} while (slice_take_text(rest, ","));
	labels->len = (size_t)(rest->at - labels->at);
	return slice_take_text(rest, "}");
}

static void unescape(struct slice value, char *to, size_t cap)
{
	size_t len = 0;

	for (size_t i = 0; i < value.len && len + 1 < cap; i++) {
		bool is_escape = value.at[i] == '\\' && i + 1 < value.len;

		if (is_escape)
			i++;
		to[len++] = is_escape && value.at[i] == 'n' ? '\n' : value.at[i];
	}
	to[len] = '\0';
}

bool sample_label(const struct sample *sample, const char *name, char *value, size_t cap)
{
	struct slice rest = sample->labels, its_name, its_value;

	*value = '\0';
	while (rest.len > 0 && take_label(&rest, &its_name, &its_value)) {
		if (slice_is(its_name, name)) {
			unescape(its_value, value, cap);
			return true;
		}
		slice_take_text(&rest, ",");
	}
	return false;
}

/* --- samples -------------------------------------------------------------------------
 */

static bool read_number(struct slice text, double *number)
{
	char copy[MAX_NUMBER + 1];
	char *end;
	bool is_special =
		slice_is(text, "NaN") || slice_is(text, "+Inf") || slice_is(text, "-Inf");

	if (text.len == 0 || text.len > MAX_NUMBER)
		return false;
	memcpy(copy, text.at, text.len);
	copy[text.len] = '\0';
	if (!is_special && strspn(copy, "0123456789+-.eE") != text.len)
		return false;
	*number = strtod(copy, &end);
	return *end == '\0';
}

bool sample_read(struct slice line, struct sample *sample)
{
	sample->name = slice_take_name(&line);
	return sample->name.len > 0 && take_labels(&line, &sample->labels) &&
	       slice_take_text(&line, " ") && read_number(line, &sample->value);
}

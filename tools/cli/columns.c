/* SPDX-License-Identifier: Apache-2.0 */
/* See columns.h. A copy of the argument is cut into its texts in place. */
#include "columns.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"

static const char *const methods[] = {
	[HSMPOOL_COLUMN_HMAC] = "hmac",
	[HSMPOOL_COLUMN_FPE] = "fpe",
	[HSMPOOL_COLUMN_REDACT] = "redact",
	[HSMPOOL_COLUMN_DROP] = "drop",
};

enum column_option { DOMAIN, ALPHABET, LENGTH, PREFIX, TEXT };
static const char *const option_names[] = { "domain", "alphabet", "length", "prefix",
					    "text" };

/* ---- cutting ---- */

/* The text in quotes at *at, made plain in place; *at then points behind it. NULL: the
 * quotes are not closed. */
static char *cut_quoted(char **at)
{
	char *text = *at, *to = *at;
	const char *from = *at + 1;

	for (;; *to++ = *from++) {
		if (*from == '\0')
			return NULL;
		if (*from == '"' && *++from != '"')
			break;
	}
	*at += from - *at;
	/* The closing quote lies between the two, so there is room. */
	*to = '\0';
	return text;
}

/* The text at *at up to one of the bytes in ends, or its end; *end is the byte that
 * ended it, *at points behind that. */
static hsmpool_status cut(char **at, const char *ends, char **text, char *end,
			  hsmpool_error *err)
{
	*text = *at;
	if (**at == '"')
		*text = cut_quoted(at);
	else
		*at += strcspn(*at, ends);
	HP_CHECK(*text, err, HSMPOOL_ERR_USAGE, "a quote is not closed");
	*end = **at;
	HP_CHECK(*end == '\0' || strchr(ends, *end), err, HSMPOOL_ERR_USAGE,
		 "behind a closing quote comes %s, not '%c'", ends, *end);
	if (*end != '\0')
		*(*at)++ = '\0';
	return HSMPOOL_OK;
}

/* ---- the parts ---- */

static hsmpool_status read_number(const char *text, uint32_t *number, hsmpool_error *err)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	HP_CHECK(*text >= '1' && *text <= '9' && *end == '\0' && value <= UINT32_MAX, err,
		 HSMPOOL_ERR_USAGE, "'%s' is not a number from 1", text);
	*number = (uint32_t)value;
	return HSMPOOL_OK;
}

static hsmpool_status read_which(hsmpool_column *column, char **at, hsmpool_error *err)
{
	bool is_number = **at == '#';
	char *text, end;

	HP_TRY(cut(at, "=", &text, &end, err));
	HP_CHECK(end == '=', err, HSMPOOL_ERR_USAGE, "say COLUMN=METHOD: %s",
		 "hmac, fpe, redact or drop");
	HP_CHECK(*text, err, HSMPOOL_ERR_USAGE, "a column has a name, or a number: #1");
	if (is_number)
		return read_number(text + 1, &column->number, err);
	column->name = text;
	return HSMPOOL_OK;
}

static hsmpool_status read_method(hsmpool_column *column, char **at, bool *has_options,
				  hsmpool_error *err)
{
	char *text, end;

	HP_TRY(cut(at, ":", &text, &end, err));
	*has_options = end == ':';
	for (size_t i = 0; i < HP_ARRAY_LEN(methods); i++) {
		if (strcmp(text, methods[i]) != 0)
			continue;
		column->method = (hsmpool_column_method)i;
		return HSMPOOL_OK;
	}
	return hp_fail(err, HSMPOOL_ERR_USAGE,
		       "there is no method '%s': hmac, fpe, redact or drop", text);
}

static hsmpool_status set_option(hsmpool_column *column, const char *name,
				 const char *value, hsmpool_error *err)
{
	const char **texts[] = {
		[DOMAIN] = &column->domain,
		[ALPHABET] = &column->alphabet,
		[PREFIX] = &column->prefix,
		[TEXT] = &column->text,
	};
	size_t i = 0;

	while (i < HP_ARRAY_LEN(option_names) && strcmp(name, option_names[i]) != 0)
		i++;
	HP_CHECK(i < HP_ARRAY_LEN(option_names), err, HSMPOOL_ERR_USAGE,
		 "there is no option '%s': domain, alphabet, length, prefix or text",
		 name);
	HP_CHECK(i == LENGTH ? !column->length : !*texts[i], err, HSMPOOL_ERR_USAGE,
		 "'%s' is said twice", name);
	if (i == LENGTH)
		return read_number(value, &column->length, err);
	*texts[i] = value;
	return HSMPOOL_OK;
}

static hsmpool_status read_options(hsmpool_column *column, char **at, hsmpool_error *err)
{
	char *name, *value, end;

	do {
		HP_TRY(cut(at, "=,", &name, &end, err));
		HP_CHECK(end == '=', err, HSMPOOL_ERR_USAGE, "say OPTION=VALUE, not '%s'",
			 name);
		HP_TRY(cut(at, ",", &value, &end, err));
		HP_TRY(set_option(column, name, value, err));
	} while (end == ',');
	return HSMPOOL_OK;
}

static hsmpool_status read_column(hsmpool_column *column, char *text, hsmpool_error *err)
{
	bool has_options;

	HP_TRY(read_which(column, &text, err));
	HP_TRY(read_method(column, &text, &has_options, err));
	return has_options ? read_options(column, &text, err) : HSMPOOL_OK;
}

/* ---- all of them ---- */

static hsmpool_status make_room(struct columns *columns, hsmpool_error *err)
{
	size_t count = columns->count + 1;
	hsmpool_column *at = reallocarray(columns->at, count, sizeof(*at));
	char **texts = reallocarray(columns->texts, count, sizeof(*texts));

	if (at)
		columns->at = at;
	if (texts)
		columns->texts = texts;
	HP_CHECK(at && texts, err, HSMPOOL_ERR_SYSTEM, "no memory for a column");
	return HSMPOOL_OK;
}

hsmpool_status columns_add(struct columns *columns, const char *argument,
			   hsmpool_error *err)
{
	hsmpool_column column = { .size = sizeof(column) };
	char *text;
	hsmpool_status status;

	HP_TRY(make_room(columns, err));
	text = strdup(argument);
	HP_CHECK(text, err, HSMPOOL_ERR_SYSTEM, "no memory for a column");
	status = read_column(&column, text, err);
	columns->at[columns->count] = column;
	columns->texts[columns->count++] = text;
	if (status != HSMPOOL_OK)
		hp_error_prefix(err, "--column '%.80s'", argument);
	return status;
}

void columns_allow_short_tokens(struct columns *columns)
{
	for (size_t i = 0; i < columns->count; i++)
		if (columns->at[i].method == HSMPOOL_COLUMN_HMAC)
			columns->at[i].flags |= HSMPOOL_COLUMN_SHORT_TOKENS;
}

bool columns_need_key(const struct columns *columns)
{
	for (size_t i = 0; i < columns->count; i++)
		if (columns->at[i].method == HSMPOOL_COLUMN_HMAC ||
		    columns->at[i].method == HSMPOOL_COLUMN_FPE)
			return true;
	return false;
}

void columns_clear(struct columns *columns)
{
	for (size_t i = 0; i < columns->count; i++)
		free(columns->texts[i]);
	free(columns->texts);
	free(columns->at);
	*columns = (struct columns){ 0 };
}

/* SPDX-License-Identifier: Apache-2.0 */
/* See column.h. No state, no lock. */
#include "pseudonym/column.h"
#include <stdio.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"

/* What of an hsmpool_column a method looks at. */
enum {
	USES_DOMAIN = 1u << 0,
	USES_ALPHABET = 1u << 1,
	USES_LENGTH = 1u << 2,
	USES_PREFIX = 1u << 3,
	USES_TEXT = 1u << 4,
	USES_SHORT_TOKENS = 1u << 5,
};

static const struct {
	const char *name;
	unsigned uses;
	bool is_reversible;
} methods[] = {
	[HSMPOOL_COLUMN_HMAC] = { "hmac",
				  USES_DOMAIN | USES_ALPHABET | USES_LENGTH |
					  USES_PREFIX | USES_SHORT_TOKENS,
				  false },
	[HSMPOOL_COLUMN_FPE] = { "fpe", USES_DOMAIN | USES_ALPHABET, true },
	[HSMPOOL_COLUMN_REDACT] = { "redact", USES_TEXT, false },
	[HSMPOOL_COLUMN_DROP] = { "drop", 0, false },
};

const char *hp_column_about(const hsmpool_column *column, char about[HP_COLUMN_ABOUT])
{
	if (column->name)
		snprintf(about, HP_COLUMN_ABOUT, "column '%.64s'", column->name);
	else
		snprintf(about, HP_COLUMN_ABOUT, "column %u", column->number);
	return about;
}

static unsigned given(const hsmpool_column *column)
{
	return (column->domain ? USES_DOMAIN : 0) |
	       (column->alphabet ? USES_ALPHABET : 0) |
	       (column->length ? USES_LENGTH : 0) | (column->prefix ? USES_PREFIX : 0) |
	       (column->text ? USES_TEXT : 0) | (column->flags ? USES_SHORT_TOKENS : 0);
}

static const char *name_of_use(unsigned uses)
{
	static const char *const names[] = { "a domain", "an alphabet",
					     "a length", "a prefix",
					     "a text",   "permission for short tokens" };
	return names[__builtin_ctz(uses)];
}

static hsmpool_status check_which(const hsmpool_column *column, hsmpool_error *err)
{
	HP_CHECK(column->size == sizeof(*column), err, HSMPOOL_ERR_USAGE,
		 "hsmpool_column.size is %zu, set it to sizeof: %zu", column->size,
		 sizeof(*column));
	HP_CHECK(column->name || column->number, err, HSMPOOL_ERR_USAGE,
		 "a column needs a name, or a number from 1");
	HP_CHECK(!column->name || !column->number, err, HSMPOOL_ERR_USAGE,
		 "column '%.64s' has a number too: choose one", column->name);
	return HSMPOOL_OK;
}

static hsmpool_status check_method(const hsmpool_column *column, bool is_reverse,
				   hsmpool_error *err)
{
	unsigned method = (unsigned)column->method;
	HP_CHECK(method < HP_ARRAY_LEN(methods), err, HSMPOOL_ERR_USAGE,
		 "there is no method %u", method);
	HP_CHECK(!is_reverse || methods[method].is_reversible, err, HSMPOOL_ERR_USAGE,
		 "what %s did cannot be undone, only fpe can", methods[method].name);
	HP_CHECK((column->flags & ~(uint32_t)HSMPOOL_COLUMN_SHORT_TOKENS) == 0, err,
		 HSMPOOL_ERR_USAGE, "unknown flags %#x", column->flags);
	unsigned beyond = given(column) & ~methods[method].uses;
	HP_CHECK(beyond == 0, err, HSMPOOL_ERR_USAGE, "%s has no use for %s",
		 methods[method].name, name_of_use(beyond));
	return HSMPOOL_OK;
}

static hsmpool_status check_texts(const hsmpool_column *column, hsmpool_error *err)
{
	if (column->prefix)
		HP_CHECK(strlen(column->prefix) <= HP_PREFIX_MAX, err, HSMPOOL_ERR_USAGE,
			 "the prefix has %zu bytes, %d are allowed",
			 strlen(column->prefix), HP_PREFIX_MAX);
	if (!(methods[column->method].uses & USES_DOMAIN))
		return HSMPOOL_OK;
	hsmpool_bytes domain = hp_column_domain(column);
	HP_CHECK(domain.data, err, HSMPOOL_ERR_USAGE,
		 "a column that is chosen by number needs a domain");
	HP_CHECK(domain.len >= 1 && domain.len <= HP_DOMAIN_MAX, err, HSMPOOL_ERR_USAGE,
		 "its domain%s has %zu bytes, 1 to %d are allowed",
		 column->domain ? "" : " (the name, as no other is given)", domain.len,
		 HP_DOMAIN_MAX);
	return HSMPOOL_OK;
}

hsmpool_status hp_column_check(const hsmpool_column *column, bool is_reverse,
			       hsmpool_error *err)
{
	char about[HP_COLUMN_ABOUT];
	HP_TRY(check_which(column, err));
	hsmpool_status status = check_method(column, is_reverse, err);
	if (status == HSMPOOL_OK)
		status = check_texts(column, err);
	if (status != HSMPOOL_OK)
		hp_error_prefix(err, "%s", hp_column_about(column, about));
	return status;
}

hsmpool_bytes hp_column_domain(const hsmpool_column *column)
{
	const char *domain = column->domain ? column->domain : column->name;
	return (hsmpool_bytes){ (const uint8_t *)domain, domain ? strlen(domain) : 0 };
}

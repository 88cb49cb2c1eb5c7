/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See plan.h. Where a name is not found the nearest is told only if it is much like it:
 * without a header row the first row is people's data.
 */
#include "pseudonym/plan.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/error.h"
#include "base/memory.h"
#include "config/value.h"
#include "pseudonym/column.h"

enum { NAME_SHOWN = 64 };

/* ---- finding the field ---- */

static bool is_name(const struct hp_csv_field *field, const char *name)
{
	size_t len = strlen(name);
	return field->value.len == len && memcmp(field->value.data, name, len) == 0;
}

/* A near miss: half of the name at most is another, or capitals are. Or all of the row is
 * one field, for a reader who looks for another delimiter. */
static void hint_at_nearest(const struct hp_csv_row *header, const char *name, char *hint,
			    size_t cap)
{
	size_t best = strlen(name) / 2 + 1;
	snprintf(hint, cap, "%s",
		 header->field_count == 1 ? "; it has one only: is the delimiter another?"
					  : "");
	for (size_t i = 0; i < header->field_count; i++) {
		hsmpool_bytes value = header->fields[i].value;
		char text[NAME_SHOWN];
		if (value.len >= sizeof(text) || strlen(name) >= sizeof(text))
			continue;
		snprintf(text, sizeof(text), "%.*s", (int)value.len,
			 (const char *)value.data);
		size_t distance =
			strcasecmp(name, text) == 0 ? 0 : hp_edit_distance(name, text);
		if (distance >= best)
			continue;
		best = distance;
		snprintf(hint, cap, "; did you mean '%s'?", text);
	}
}

static hsmpool_status find_by_name(const struct hp_csv_row *header, const char *name,
				   size_t *field, hsmpool_error *err)
{
	size_t found = 0;
	for (size_t i = 0; i < header->field_count; i++) {
		if (!is_name(&header->fields[i], name))
			continue;
		HP_CHECK(found == 0, err, HSMPOOL_ERR_USAGE,
			 "the header has two columns '%.64s', #%zu and #%zu: choose by "
			 "number",
			 name, found, i + 1);
		found = i + 1;
	}
	*field = found - 1;
	if (found > 0)
		return HSMPOOL_OK;
	char hint[NAME_SHOWN + 32];
	hint_at_nearest(header, name, hint, sizeof(hint));
	return hp_fail(err, HSMPOOL_ERR_USAGE, "the header has no column '%.64s'%s", name,
		       hint);
}

static hsmpool_status find_field(const struct hp_csv_row *first,
				 const hsmpool_column *column, size_t *field,
				 hsmpool_error *err)
{
	if (column->name)
		return find_by_name(first, column->name, field, err);
	HP_CHECK(column->number <= first->field_count, err, HSMPOOL_ERR_USAGE,
		 "there is no column %" PRIu32 ": line %" PRIu64 " has %zu",
		 column->number, first->line, first->field_count);
	*field = column->number - 1;
	return HSMPOOL_OK;
}

/* ---- making ---- */

/* As it was chosen: what is taken for the header row may be people's data. */
static char *name_of(const hsmpool_column *column)
{
	char *name = NULL;
	if (column->name)
		return strdup(column->name);
	return asprintf(&name, "#%" PRIu32, column->number) < 0 ? NULL : name;
}

static int compare_fields(const void *a, const void *b)
{
	const struct hp_plan_column *left = a, *right = b;
	return (left->field > right->field) - (left->field < right->field);
}

static hsmpool_status find_all(struct hp_plan *plan, const hsmpool_column *columns,
			       const struct hp_csv_row *first, hsmpool_error *err)
{
	for (size_t i = 0; i < plan->column_count; i++) {
		struct hp_plan_column *column = &plan->columns[i];
		column->column = &columns[i];
		HP_TRY(find_field(first, &columns[i], &column->field, err));
		column->name = name_of(&columns[i]);
		HP_CHECK(column->name, err, HSMPOOL_ERR_SYSTEM, "no memory for a column");
	}
	qsort(plan->columns, plan->column_count, sizeof(*plan->columns), compare_fields);
	return HSMPOOL_OK;
}

static hsmpool_status check_fields(struct hp_plan *plan, hsmpool_error *err)
{
	size_t dropped = 0;
	for (size_t i = 0; i < plan->column_count; i++) {
		struct hp_plan_column *column = &plan->columns[i];
		HP_CHECK(i == 0 || column[-1].field != column->field, err,
			 HSMPOOL_ERR_USAGE, "column #%zu is chosen twice",
			 column->field + 1);
		if (column->column->method != HSMPOOL_COLUMN_DROP)
			continue;
		column->is_leading = column->field == dropped;
		dropped++;
	}
	HP_CHECK(dropped < plan->field_count, err, HSMPOOL_ERR_USAGE,
		 "all %zu columns would be dropped, and nothing be left", dropped);
	plan->leaves_one = dropped > 0 && dropped + 1 == plan->field_count;
	return HSMPOOL_OK;
}

hsmpool_status hp_plan_check(const hsmpool_column *columns, size_t count, bool has_header,
			     bool is_reverse, hsmpool_error *err)
{
	HP_CHECK(columns || count == 0, err, HSMPOOL_ERR_USAGE, "there are no columns");
	for (size_t i = 0; i < count; i++) {
		HP_TRY(hp_column_check(&columns[i], is_reverse, err));
		HP_CHECK(has_header || !columns[i].name, err, HSMPOOL_ERR_USAGE,
			 "column '%.64s' is chosen by name, but there is no header row",
			 columns[i].name);
	}
	return HSMPOOL_OK;
}

hsmpool_status hp_plan_make(struct hp_plan *plan, const struct hp_method_ground *ground,
			    const hsmpool_column *columns, size_t count,
			    const struct hp_csv_row *first, bool has_header,
			    hsmpool_error *err)
{
	*plan = (struct hp_plan){ .field_count = first->field_count,
				  .has_header = has_header };
	if (count == 0)
		return HSMPOOL_OK;
	plan->columns = calloc(count, sizeof(*plan->columns));
	HP_CHECK(plan->columns, err, HSMPOOL_ERR_SYSTEM, "no memory for %zu columns",
		 count);
	plan->column_count = count;
	HP_TRY(find_all(plan, columns, first, err));
	HP_TRY(check_fields(plan, err));
	for (size_t i = 0; i < count; i++)
		HP_TRY(hp_method_open(&plan->columns[i].method, ground,
				      plan->columns[i].column, err));
	return HSMPOOL_OK;
}

void hp_plan_clear(struct hp_plan *plan)
{
	for (size_t i = 0; i < plan->column_count; i++) {
		hp_method_close(&plan->columns[i].method);
		free(plan->columns[i].name);
	}
	free(plan->columns);
	*plan = (struct hp_plan){ 0 };
}

bool hp_plan_takes_hsm(const struct hp_plan *plan)
{
	for (size_t i = 0; i < plan->column_count; i++)
		if (hp_method_takes_hsm(plan->columns[i].method))
			return true;
	return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which field of a row becomes what: the columns of a run, looked up in the first row.
 *
 * Made once, read-only then. Owns: names and numbers of columns, their methods, which
 * delimiter goes with a dropped field. Must not: change a row.
 */
#ifndef HP_PSEUDONYM_PLAN_H
#define HP_PSEUDONYM_PLAN_H

#include <stdbool.h>
#include <hsmpool/pseudonym.h>
#include "pseudonym/csv.h"
#include "pseudonym/method.h"

struct hp_plan_column {
	const hsmpool_column *column;
	size_t field; /* from 0 */
	char *name;   /* as it was chosen, or "#3" */
	struct hp_method *method;
	/* Dropped: all fields in front of it are, too, so the delimiter behind it goes
	 * with it; otherwise the one in front. */
	bool is_leading;
};

struct hp_plan {
	struct hp_plan_column *columns; /* in the order of their fields */
	size_t column_count;
	size_t field_count; /* of each row */
	bool has_header;
	bool leaves_one; /* of the fields of a row, where the others are dropped */
};

/* The columns as such, before there is a row. */
hsmpool_status hp_plan_check(const hsmpool_column *columns, size_t count, bool has_header,
			     bool is_reverse, hsmpool_error *err);

/* From the first row. The columns are not copied. On failure the plan is to be cleared
 * too. Errors: as hsmpool_pseudonymize(). */
hsmpool_status hp_plan_make(struct hp_plan *plan, const struct hp_method_ground *ground,
			    const hsmpool_column *columns, size_t count,
			    const struct hp_csv_row *first, bool has_header,
			    hsmpool_error *err);
void hp_plan_clear(struct hp_plan *plan);

/* Whether rows are asked for at the HSM. */
bool hp_plan_takes_hsm(const struct hp_plan *plan);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* See batch.h. */
#include "pseudonym/batch.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/secret.h"

/* A buffer above this is not kept for the next batch. */
#define KEPT_MAX ((size_t)8 * HP_BATCH_BYTES)

/* ---- taking rows in ---- */

static hsmpool_status call_bad(struct hp_batch *batch, struct hp_batch_row *row,
			       const char *column, const char *reason, hsmpool_error *err)
{
	row->is_bad = true;
	row->column = column;
	row->reason = batch->reasons.len;
	batch->bad_count++;
	return hp_text_append(&batch->reasons, reason, strlen(reason) + 1, err);
}

static hsmpool_status call_malformed(struct hp_batch *batch, struct hp_batch_row *row,
				     const struct hp_csv_row *from, hsmpool_error *err)
{
	char reason[160];
	snprintf(reason, sizeof(reason), "field %zu: %s", from->field_count + 1,
		 from->fault);
	return call_bad(batch, row, NULL, reason, err);
}

static hsmpool_status call_uneven(struct hp_batch *batch, struct hp_batch_row *row,
				  const struct hp_plan *plan, size_t field_count,
				  hsmpool_error *err)
{
	char reason[160];
	snprintf(reason, sizeof(reason), "it has %zu field%s, the %s row has %zu",
		 field_count, field_count == 1 ? "" : "s",
		 plan->has_header ? "header" : "first", plan->field_count);
	return call_bad(batch, row, NULL, reason, err);
}

static hsmpool_status add_cell(struct hp_batch *batch, const struct hp_batch_row *row,
			       const struct hp_csv_field *field, hsmpool_error *err)
{
	struct hp_batch_cell cell = {
		.start = row->start + field->start,
		.len = field->len,
		.is_quoted = field->is_quoted,
		.value = row->start + field->start + field->is_quoted,
		.value_len = field->value.len,
		.has_value =
			field->value.len + 2 * (size_t)field->is_quoted != field->len,
	};
	if (cell.has_value) {
		cell.value = batch->values.len;
		HP_TRY(hp_text_append(&batch->values, field->value.data, field->value.len,
				      err));
	}
	return hp_text_append(&batch->cells, &cell, sizeof(cell), err);
}

static hsmpool_status add_cells(struct hp_batch *batch, const struct hp_plan *plan,
				const struct hp_batch_row *row,
				const struct hp_csv_row *from, hsmpool_error *err)
{
	for (size_t i = 0; i < plan->column_count; i++)
		HP_TRY(add_cell(batch, row, &from->fields[plan->columns[i].field], err));
	return HSMPOOL_OK;
}

hsmpool_status hp_batch_add(struct hp_batch *batch, const struct hp_plan *plan,
			    const struct hp_csv_row *from, hsmpool_error *err)
{
	struct hp_batch_row *row = &batch->rows[batch->row_count];
	*row = (struct hp_batch_row){
		.start = batch->bytes.len,
		.len = from->bytes.len,
		.line = from->line,
		.cells = batch->cells.len,
		.is_blank = from->field_count == 0 && !from->fault,
	};
	HP_TRY(hp_text_append(&batch->bytes, from->bytes.data, from->bytes.len, err));
	batch->row_count++;
	batch->blank_count += row->is_blank;
	if (row->is_blank)
		return HSMPOOL_OK;
	if (from->fault)
		return call_malformed(batch, row, from, err);
	if (from->field_count != plan->field_count)
		return call_uneven(batch, row, plan, from->field_count, err);
	return add_cells(batch, plan, row, from, err);
}

/* ---- transforming ---- */

static struct hp_batch_cell *cell_of(const struct hp_batch *batch,
				     const struct hp_batch_row *row, size_t column)
{
	void *cells = batch->cells.data + row->cells;
	return (struct hp_batch_cell *)cells + column;
}

static bool is_dropped(const struct hp_plan_column *column)
{
	return hp_method_is_drop(column->method);
}

hsmpool_status hp_batch_worker_new(struct hp_batch_worker **out,
				   const struct hp_plan *plan, hsmpool_error *err)
{
	struct hp_batch_worker *worker = calloc(1, sizeof(*worker));
	HP_CHECK(worker, err, HSMPOOL_ERR_SYSTEM, "no memory for a worker");
	worker->count = plan->column_count;
	worker->methods = calloc(worker->count + 1, sizeof(struct hp_method_worker *));
	hsmpool_status status = HSMPOOL_OK;
	if (!worker->methods) {
		worker->count = 0;
		status = hp_fail(err, HSMPOOL_ERR_SYSTEM, "no memory for a worker");
	}
	for (size_t i = 0; status == HSMPOOL_OK && i < worker->count; i++)
		if (!is_dropped(&plan->columns[i]))
			status = hp_method_worker_new(&worker->methods[i],
						      plan->columns[i].method, err);
	if (status != HSMPOOL_OK)
		hp_batch_worker_free(&worker);
	*out = worker;
	return status;
}

void hp_batch_worker_free(struct hp_batch_worker **worker)
{
	struct hp_batch_worker *old = hp_take(worker);
	if (!old)
		return;
	for (size_t i = 0; i < old->count; i++)
		hp_method_worker_free(&old->methods[i]);
	free(old->methods);
	hp_text_clear(&old->value);
	free(old);
}

/* Where the bytes end that stay in front of the column's field, and where those behind
 * it begin. A dropped field takes one delimiter along. */
static void find_cut(const struct hp_plan_column *column, size_t start, size_t len,
		     size_t *before, size_t *behind)
{
	bool goes = is_dropped(column);
	*before = start - (goes && !column->is_leading);
	*behind = start + len + (goes && column->is_leading);
}

static hsmpool_bytes value_of(const struct hp_batch *batch,
			      const struct hp_batch_cell *cell)
{
	const struct hp_text *text = cell->has_value ? &batch->values : &batch->bytes;
	return (hsmpool_bytes){ text->data + cell->value, cell->value_len };
}

/* A value that is transformed: neither dropped nor empty. */
static bool is_transformed(const struct hp_plan_column *column,
			   const struct hp_batch_cell *cell)
{
	return cell->value_len > 0 && !is_dropped(column);
}

static bool takes_hsm(const struct hp_plan_column *column,
		      const struct hp_batch_cell *cell)
{
	return is_transformed(column, cell) && hp_method_takes_hsm(column->method);
}

static hsmpool_status tell_place(hsmpool_error *err, hsmpool_status status,
				 const struct hp_batch_row *row,
				 const struct hp_plan_column *column)
{
	hp_error_prefix(err, "line %" PRIu64 ", column '%.64s'", row->line, column->name);
	return status;
}

/* ---- first the HMACs ---- */

typedef hsmpool_status get_mac(const struct hp_method *method,
			       struct hp_method_worker *worker, hsmpool_bytes value,
			       struct hp_method_mac *mac, hsmpool_error *err);

static hsmpool_status get_row(struct hp_batch *batch, const struct hp_plan *plan,
			      struct hp_batch_worker *worker,
			      const struct hp_batch_row *row, get_mac *get,
			      hsmpool_error *err)
{
	for (size_t i = 0; i < plan->column_count; i++) {
		const struct hp_plan_column *column = &plan->columns[i];
		struct hp_batch_cell *cell = cell_of(batch, row, i);
		if (!takes_hsm(column, cell))
			continue;
		hsmpool_status status = get(column->method, worker->methods[i],
					    value_of(batch, cell), &cell->mac, err);
		if (status != HSMPOOL_OK)
			return tell_place(err, status, row, column);
	}
	return HSMPOOL_OK;
}

static hsmpool_status get_all(struct hp_batch *batch, const struct hp_plan *plan,
			      struct hp_batch_worker *worker, get_mac *get,
			      hsmpool_error *err)
{
	for (size_t i = 0; i < batch->row_count; i++) {
		const struct hp_batch_row *row = &batch->rows[i];
		if (!row->is_bad && !row->is_blank)
			HP_TRY(get_row(batch, plan, worker, row, get, err));
	}
	return HSMPOOL_OK;
}

hsmpool_status hp_batch_look(struct hp_batch *batch, const struct hp_plan *plan,
			     struct hp_batch_worker *worker, hsmpool_error *err)
{
	return get_all(batch, plan, worker, hp_method_look, err);
}

hsmpool_status hp_batch_ask(struct hp_batch *batch, const struct hp_plan *plan,
			    struct hp_batch_worker *worker, hsmpool_error *err)
{
	return get_all(batch, plan, worker, hp_method_ask, err);
}

/* ---- then the rest ---- */

/* worker->value becomes the pseudonym; or the row bad. */
static hsmpool_status transform_cell(struct hp_batch *batch, const struct hp_plan *plan,
				     struct hp_batch_worker *worker,
				     struct hp_batch_row *row, size_t i,
				     hsmpool_error *err)
{
	const struct hp_plan_column *column = &plan->columns[i];
	const struct hp_batch_cell *cell = cell_of(batch, row, i);
	bool is_bad = false;
	worker->value.len = 0;
	hsmpool_status status =
		hp_method_apply(column->method, worker->methods[i], value_of(batch, cell),
				&cell->mac, &worker->value, &is_bad, err);
	if (status != HSMPOOL_OK && is_bad)
		return call_bad(batch, row, column->name, err->text, err);
	return status == HSMPOOL_OK ? HSMPOOL_OK : tell_place(err, status, row, column);
}

static hsmpool_status check_row(struct hp_batch *batch, const struct hp_plan *plan,
				struct hp_batch_worker *worker, struct hp_batch_row *row,
				hsmpool_error *err)
{
	for (size_t i = 0; i < plan->column_count && !row->is_bad; i++)
		if (is_transformed(&plan->columns[i], cell_of(batch, row, i)) &&
		    !hp_method_takes_hsm(plan->columns[i].method))
			HP_TRY(transform_cell(batch, plan, worker, row, i, err));
	return HSMPOOL_OK;
}

static hsmpool_status copy(struct hp_batch *batch, size_t from, size_t to,
			   hsmpool_error *err)
{
	return hp_text_append(&batch->out, batch->bytes.data + from, to - from, err);
}

static hsmpool_status transform_row(struct hp_batch *batch, const struct hp_plan *plan,
				    struct hp_batch_worker *worker,
				    struct hp_batch_row *row, char delimiter,
				    hsmpool_error *err)
{
	size_t at = row->start, out_start = batch->out.len;
	for (size_t i = 0; i < plan->column_count; i++) {
		const struct hp_batch_cell *cell = cell_of(batch, row, i);
		size_t before, behind;
		find_cut(&plan->columns[i], cell->start, cell->len, &before, &behind);
		if (cell->value_len == 0 && !is_dropped(&plan->columns[i]))
			continue; /* copied with what follows */
		HP_TRY(copy(batch, at, before, err));
		at = behind;
		if (!is_transformed(&plan->columns[i], cell))
			continue;
		HP_TRY(transform_cell(batch, plan, worker, row, i, err));
		if (row->is_bad)
			return HSMPOOL_OK;
		const hsmpool_bytes value = { worker->value.data, worker->value.len };
		HP_TRY(hp_csv_write_field(&batch->out, value, cell->is_quoted, delimiter,
					  err));
	}
	HP_TRY(copy(batch, at, row->start + row->len, err));
	return plan->leaves_one ? hp_csv_quote_lone_field(&batch->out, out_start, err)
				: HSMPOOL_OK;
}

hsmpool_status hp_batch_transform(struct hp_batch *batch, const struct hp_plan *plan,
				  struct hp_batch_worker *worker, char delimiter,
				  bool only_check, hsmpool_error *err)
{
	for (size_t i = 0; i < batch->row_count; i++) {
		struct hp_batch_row *row = &batch->rows[i];
		size_t len = batch->out.len;
		if (row->is_bad)
			continue;
		if (row->is_blank)
			HP_TRY(copy(batch, row->start, row->start + row->len, err));
		else if (only_check)
			HP_TRY(check_row(batch, plan, worker, row, err));
		else
			HP_TRY(transform_row(batch, plan, worker, row, delimiter, err));
		if (row->is_bad)
			batch->out.len = len;
	}
	return HSMPOOL_OK;
}

hsmpool_status hp_batch_write_header(const struct hp_plan *plan,
				     const struct hp_csv_row *header, struct hp_text *out,
				     hsmpool_error *err)
{
	size_t at = 0;
	for (size_t i = 0; i < plan->column_count; i++) {
		const struct hp_csv_field *field =
			&header->fields[plan->columns[i].field];
		size_t before, behind;
		if (!is_dropped(&plan->columns[i]))
			continue;
		find_cut(&plan->columns[i], field->start, field->len, &before, &behind);
		HP_TRY(hp_text_append(out, header->bytes.data + at, before - at, err));
		at = behind;
	}
	HP_TRY(hp_text_append(out, header->bytes.data + at, header->bytes.len - at, err));
	return plan->leaves_one ? hp_csv_quote_lone_field(out, 0, err) : HSMPOOL_OK;
}

/* ---- used again ---- */

static void empty(struct hp_text *text)
{
	text->len = 0;
	if (text->cap > KEPT_MAX)
		hp_text_clear(text);
}

void hp_batch_reset(struct hp_batch *batch)
{
	empty(&batch->bytes);
	empty(&batch->values);
	empty(&batch->reasons);
	empty(&batch->out);
	empty(&batch->cells);
	batch->row_count = batch->blank_count = batch->bad_count = 0;
}

void hp_batch_free(struct hp_batch **batch)
{
	struct hp_batch *old = hp_take(batch);
	if (!old)
		return;
	hp_text_clear(&old->bytes);
	hp_text_clear(&old->values);
	hp_text_clear(&old->reasons);
	hp_text_clear(&old->out);
	hp_text_clear(&old->cells);
	free(old);
}

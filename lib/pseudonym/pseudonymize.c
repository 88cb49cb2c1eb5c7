/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool_pseudonymize and back: rows in, batches of them through the workers, rows out.
 *
 * Owns: the order of the work, what a bad row does to the run, the counts. The calling
 * thread reads, splits into rows, reports and writes; workers transform batches.
 * Locking: is_doomed alone is shared with the workers, and only spares them work; the
 * workers' turn at the HSM guards no data.
 */
#include <hsmpool/pseudonym.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "base/error.h"
#include "base/memory.h"
#include "crypto/key.h"
#include "observe/request.h"
#include "pool/pool.h"
#include "pseudonym/batch.h"
#include "pseudonym/cache.h"
#include "pseudonym/csv.h"
#include "pseudonym/keyed.h"
#include "pseudonym/plan.h"
#include "stream/caller.h"
#include "stream/pipeline.h"
#include "stream/plan.h"

enum {
	INPUT_BYTES = 64 << 10,
	IN_FLIGHT_MAX = 16 << 20, /* hp_batch_size(); with so much the next one waits */
	THREADS_MAX = 256,
	THREADS_USUAL_MAX = 32, /* more only if asked for */
	/* So few that a table that is not long keeps all sessions busy to its end even
	 * where an HMAC takes a millisecond. */
	FAR_BATCH_ROWS = 16,
};

struct table {
	struct hp_method_ground ground;
	const hsmpool_column *columns;
	size_t column_count;
	hsmpool_table_options options;
	struct hp_source source;
	struct hp_sink sink;

	struct hp_csv *csv;
	struct hp_text input; /* what was read last */
	hsmpool_bytes rest;   /* of it, not yet taken into rows */
	struct hp_plan plan;
	struct hp_text header; /* the header row as it stood, behind the mark */
	bool has_first; /* without a header row: the row that the plan was made of */
	struct hp_csv_row first;
	hsmpool_table_counts counts;
	size_t in_flight; /* hp_batch_size() of those on their way */
	/* At a token that computes on this machine threads that ask at once are slower
	 * together than one alone, for its locks: there one at a time asks, for a whole
	 * batch, while another does the rest of the work. */
	bool takes_turns;
	size_t batch_rows;
	pthread_mutex_t turn; /* held by who asks */
	/* The run will fail for a bad row: nothing is written, no HSM asked any more.
	 * Written by the calling thread. */
	_Atomic bool is_doomed;
	hsmpool_error first_bad;
};

static bool has_header(const struct table *table)
{
	return (table->options.flags & HSMPOOL_TABLE_NO_HEADER) == 0;
}

static bool skips_bad_rows(const struct table *table)
{
	return (table->options.flags & HSMPOOL_TABLE_SKIP_BAD_ROWS) != 0;
}

static bool is_doomed(const struct table *table)
{
	return atomic_load_explicit(&table->is_doomed, memory_order_relaxed);
}

/* ---- rows ---- */

static hsmpool_status read_more(struct table *table, hsmpool_error *err)
{
	size_t have = 0;
	HP_TRY(hp_source_fill(&table->source, table->input.data, table->input.cap, 1,
			      &have, err));
	table->input.len = have;
	table->rest = (hsmpool_bytes){ table->input.data, have };
	table->counts.bytes_read += have;
	return HSMPOOL_OK;
}

static hsmpool_status next_row(struct table *table, struct hp_csv_row *row, bool *is_end,
			       hsmpool_error *err)
{
	for (;;) {
		switch (hp_csv_next(table->csv, &table->rest, table->source.is_at_end,
				    row, err)) {
		case HP_CSV_ROW:
			*is_end = false;
			return HSMPOOL_OK;
		case HP_CSV_END:
			*is_end = true;
			return HSMPOOL_OK;
		case HP_CSV_FAILED:
			return err->status;
		case HP_CSV_MORE:
			HP_TRY(read_more(table, err));
		}
	}
}

/* ---- the first row ---- */

static hsmpool_status write_out(struct table *table, const uint8_t *data, size_t len,
				hsmpool_error *err)
{
	HP_TRY(hp_sink_write(&table->sink, data, len, err));
	table->counts.bytes_written += len;
	return HSMPOOL_OK;
}

/* A byte order mark and blank lines in front of it are passed on. */
static hsmpool_status find_first_row(struct table *table, struct hp_csv_row *row,
				     bool *is_end, hsmpool_error *err)
{
	HP_TRY(next_row(table, row, is_end, err));
	hsmpool_bytes mark = hp_csv_mark(table->csv);
	HP_TRY(write_out(table, mark.data, mark.len, err));
	while (!*is_end && row->field_count == 0 && !row->fault) {
		HP_TRY(write_out(table, row->bytes.data, row->bytes.len, err));
		HP_TRY(next_row(table, row, is_end, err));
	}
	HP_CHECK(!*is_end || !has_header(table), err, HSMPOOL_ERR_DATA,
		 "the input is empty: there is no header row");
	HP_CHECK(*is_end || !row->fault, err, HSMPOOL_ERR_DATA,
		 "line %" PRIu64 ", the %s row: field %zu: %s", row->line,
		 has_header(table) ? "header" : "first", row->field_count + 1,
		 row->fault);
	return HSMPOOL_OK;
}

static hsmpool_status write_header(struct table *table, const struct hp_csv_row *row,
				   hsmpool_error *err)
{
	hsmpool_bytes mark = hp_csv_mark(table->csv);
	struct hp_text out = { 0 };
	HP_TRY(hp_text_append(&table->header, mark.data, mark.len, err));
	HP_TRY(hp_text_append(&table->header, row->bytes.data, row->bytes.len, err));
	hsmpool_status status = hp_batch_write_header(&table->plan, row, &out, err);
	if (status == HSMPOOL_OK)
		status = write_out(table, out.data, out.len, err);
	hp_text_clear(&out);
	return status;
}

/* *is_end: the input is empty, and that is all right. */
static hsmpool_status begin(struct table *table, bool *is_end, hsmpool_error *err)
{
	struct hp_csv_row row;
	HP_TRY(find_first_row(table, &row, is_end, err));
	if (*is_end)
		return HSMPOOL_OK;
	HP_TRY(hp_plan_make(&table->plan, &table->ground, table->columns,
			    table->column_count, &row, has_header(table), err));
	if (has_header(table))
		return write_header(table, &row, err);
	table->has_first = true;
	table->first = row;
	return HSMPOOL_OK;
}

/* ---- bad rows ---- */

static void remember_first(struct table *table, const hsmpool_bad_row *bad)
{
	if (table->first_bad.status != HSMPOOL_OK)
		return;
	hp_fail(&table->first_bad, HSMPOOL_ERR_DATA, "line %" PRIu64 "%s%.64s%s: %s",
		bad->line, bad->column ? ", column '" : "",
		bad->column ? bad->column : "", bad->column ? "'" : "", bad->reason);
}

static hsmpool_status fail_for_bad_rows(const struct table *table, hsmpool_error *err)
{
	return hp_fail(
		err, HSMPOOL_ERR_DATA, "%" PRIu64 " bad row%s of %" PRIu64 ", %s%s",
		table->counts.bad_rows, table->counts.bad_rows == 1 ? "" : "s",
		table->counts.rows,
		table->counts.bad_rows == 1 ? "" : "the first: ", table->first_bad.text);
}

static hsmpool_status tell(const struct table *table, const hsmpool_bad_row *bad,
			   hsmpool_error *err)
{
	if (!table->options.bad_row)
		return skips_bad_rows(table) ? HSMPOOL_OK : fail_for_bad_rows(table, err);
	hp_error_clear(err);
	hsmpool_status status =
		table->options.bad_row(table->options.bad_row_user, bad, err);
	if (status != HSMPOOL_OK && !err->text[0])
		return hp_fail(err, status, "the function for bad rows failed");
	return status;
}

static hsmpool_status report_row(struct table *table, const struct hp_batch *batch,
				 const struct hp_batch_row *row, hsmpool_error *err)
{
	const hsmpool_bad_row bad = {
		.line = row->line,
		.column = row->column,
		.reason = hp_batch_reason_of(batch, row),
		.bytes = hp_batch_bytes_of(batch, row),
		.header = { table->header.data, table->header.len },
	};
	table->counts.bad_rows++;
	remember_first(table, &bad);
	if (!skips_bad_rows(table))
		atomic_store_explicit(&table->is_doomed, true, memory_order_relaxed);
	return tell(table, &bad, err);
}

static hsmpool_status report_bad_rows(struct table *table, const struct hp_batch *batch,
				      hsmpool_error *err)
{
	for (size_t i = 0; batch->bad_count > 0 && i < batch->row_count; i++)
		if (batch->rows[i].is_bad)
			HP_TRY(report_row(table, batch, &batch->rows[i], err));
	return HSMPOOL_OK;
}

/* ---- the pipeline ---- */

static hsmpool_status fill(void *job, void *slot, uint64_t index, bool *is_last,
			   hsmpool_error *err)
{
	struct table *table = job;
	struct hp_batch *batch = slot;
	struct hp_csv_row row;
	(void)index;
	if (table->has_first)
		HP_TRY(hp_batch_add(batch, &table->plan, &table->first, err));
	table->has_first = false;
	while (!*is_last && !hp_batch_is_full(batch, table->batch_rows)) {
		HP_TRY(next_row(table, &row, is_last, err));
		if (!*is_last)
			HP_TRY(hp_batch_add(batch, &table->plan, &row, err));
	}
	table->in_flight += hp_batch_size(batch);
	return HSMPOOL_OK;
}

static hsmpool_status get_macs(struct table *table, struct hp_batch_worker *worker,
			       struct hp_batch *batch, hsmpool_error *err)
{
	HP_TRY(hp_batch_look(batch, &table->plan, worker, err));
	if (table->takes_turns)
		pthread_mutex_lock(&table->turn);
	hsmpool_status status = hp_batch_ask(batch, &table->plan, worker, err);
	if (table->takes_turns)
		pthread_mutex_unlock(&table->turn);
	return status;
}

static hsmpool_status work(void *job, void *worker, void *slot, hsmpool_error *err)
{
	struct table *table = job;
	bool only_check = is_doomed(table);
	if (!only_check)
		HP_TRY(get_macs(table, worker, slot, err));
	return hp_batch_transform(slot, &table->plan, worker, table->options.delimiter,
				  only_check, err);
}

static hsmpool_status tell_progress(struct table *table, hsmpool_error *err)
{
	if (table->ground.cache)
		hp_cache_get_counts(table->ground.cache, &table->counts.cached_macs,
				    &table->counts.hsm_macs);
	if (!table->options.progress ||
	    table->options.progress(table->options.progress_user, &table->counts) == 0)
		return HSMPOOL_OK;
	return hp_fail(err, HSMPOOL_ERR_CLOSED, "stopped after %" PRIu64 " rows",
		       table->counts.rows);
}

static hsmpool_status drain(void *job, void *slot, hsmpool_error *err)
{
	struct table *table = job;
	struct hp_batch *batch = slot;
	table->counts.rows += batch->row_count - batch->blank_count;
	HP_TRY(report_bad_rows(table, batch, err));
	if (!is_doomed(table))
		HP_TRY(write_out(table, batch->out.data, batch->out.len, err));
	table->in_flight -= hp_batch_size(batch);
	hp_batch_reset(batch);
	return tell_progress(table, err);
}

/* A row may be as long as many batches: what is bounded is the memory of them all. */
static bool is_full(void *job)
{
	const struct table *table = job;
	return table->in_flight >= IN_FLIGHT_MAX;
}

static hsmpool_status slot_new(void *job, void **out, hsmpool_error *err)
{
	(void)job;
	*out = calloc(1, sizeof(struct hp_batch));
	HP_CHECK(*out, err, HSMPOOL_ERR_SYSTEM, "no memory for rows");
	return HSMPOOL_OK;
}

static void slot_free(void *job, void *slot)
{
	struct hp_batch *batch = slot;
	(void)job;
	hp_batch_free(&batch);
}

static hsmpool_status worker_new(void *job, void **out, hsmpool_error *err)
{
	const struct table *table = job;
	struct hp_batch_worker *worker;
	HP_TRY(hp_batch_worker_new(&worker, &table->plan, err));
	*out = worker;
	return HSMPOOL_OK;
}

static void worker_free(void *job, void *worker)
{
	struct hp_batch_worker *old = worker;
	(void)job;
	hp_batch_worker_free(&old);
}

static const struct hp_pipeline_ops pipeline = {
	.fill = fill,
	.work = work,
	.drain = drain,
	.is_full = is_full,
	.slot_new = slot_new,
	.slot_free = slot_free,
	.worker_new = worker_new,
	.worker_free = worker_free,
	.work_waits = true,
};

/* ---- the run ---- */

/* Sessions that are far away: more of them than processors are of use. */
static unsigned thread_count(const struct table *table)
{
	hsmpool_stats stats = { .size = sizeof(stats) };
	unsigned count = hp_processors();
	if (table->options.threads > 0)
		return table->options.threads;
	if (table->ground.deadline == HSMPOOL_NO_WAIT)
		return 1; /* threads of one run may have to wait for each other */
	if (table->ground.pool && !table->takes_turns)
		hsmpool_get_stats(table->ground.pool, &stats);
	if (stats.limit > count)
		count = stats.limit;
	return count < THREADS_USUAL_MAX ? count : THREADS_USUAL_MAX;
}

static bool is_local(const struct table *table)
{
	const struct hp_method_ground *ground = &table->ground;
	return table->options.threads != 1 && ground->deadline != HSMPOOL_NO_WAIT &&
	       hp_plan_takes_hsm(&table->plan) &&
	       hp_keyed_is_local(ground->pool, ground->key, ground->deadline);
}

static hsmpool_status run_batches(struct table *table, hsmpool_error *err)
{
	table->takes_turns = is_local(table);
	table->batch_rows = table->takes_turns ? HP_BATCH_ROWS : FAR_BATCH_ROWS;
	unsigned threads = thread_count(table);
	pthread_mutex_init(&table->turn, NULL);
	hsmpool_status status = hp_pipeline_run(&pipeline, table, threads,
						threads + threads / 2 + 2, err);
	pthread_mutex_destroy(&table->turn);
	return status;
}

static hsmpool_status run_table(struct table *table, hsmpool_error *err)
{
	HP_AUTO_REQUEST outer = hp_request_enter();
	bool is_end;
	table->csv = hp_csv_new(table->options.delimiter);
	table->ground.cache = hp_cache_new(HP_CACHE_BYTES);
	HP_CHECK(table->csv && table->ground.cache, err, HSMPOOL_ERR_SYSTEM,
		 "no memory to read CSV");
	HP_TRY(hp_text_reserve(&table->input, INPUT_BYTES, err));
	HP_TRY(begin(table, &is_end, err));
	if (is_end)
		return tell_progress(table, err);
	HP_TRY(run_batches(table, err));
	return is_doomed(table) ? fail_for_bad_rows(table, err) : HSMPOOL_OK;
}

static void clear_table(struct table *table)
{
	hp_plan_clear(&table->plan);
	hp_cache_free(&table->ground.cache);
	hp_csv_free(&table->csv);
	hp_text_clear(&table->input);
	hp_text_clear(&table->header);
}

static hsmpool_status read_options(const hsmpool_table_options *given,
				   hsmpool_table_options *out, hsmpool_error *err)
{
	const uint32_t known = HSMPOOL_TABLE_NO_HEADER | HSMPOOL_TABLE_SKIP_BAD_ROWS;
	*out = (hsmpool_table_options){ .size = sizeof(*out) };
	if (given) {
		HP_CHECK(given->size >= sizeof(*out), err, HSMPOOL_ERR_USAGE,
			 "hsmpool_table_options.size is %zu, set it to sizeof: %zu",
			 given->size, sizeof(*out));
		*out = *given;
	}
	if (out->delimiter == '\0')
		out->delimiter = ',';
	HP_CHECK(hp_csv_is_delimiter(out->delimiter), err, HSMPOOL_ERR_USAGE,
		 "the delimiter is one ASCII character, but no quote and no line's end");
	HP_CHECK((out->flags & ~known) == 0, err, HSMPOOL_ERR_USAGE,
		 "unknown flags %#" PRIx32, out->flags);
	HP_CHECK(out->threads <= THREADS_MAX, err, HSMPOOL_ERR_USAGE,
		 "a table has at most %d threads, not %" PRIu32, THREADS_MAX,
		 out->threads);
	return HSMPOOL_OK;
}

static hsmpool_status check_pool(const struct hp_method_ground *ground,
				 hsmpool_error *err)
{
	if (!ground->key)
		return HSMPOOL_OK;
	HP_CHECK(ground->pool && hp_key_pool(ground->key) == ground->pool, err,
		 HSMPOOL_ERR_USAGE, "the key is no key of this pool");
	return hp_pool_check_usable(ground->pool, err);
}

static hsmpool_status transform_table(struct table *table,
				      const hsmpool_table_options *options,
				      hsmpool_error *err)
{
	hsmpool_error unseen;
	if (!err)
		err = &unseen;
	hp_error_clear(err);
	HP_CHECK(table->source.read && table->sink.write, err, HSMPOOL_ERR_USAGE,
		 "a table needs a read and a write function");
	HP_TRY(check_pool(&table->ground, err));
	HP_TRY(read_options(options, &table->options, err));
	HP_TRY(hp_plan_check(table->columns, table->column_count, has_header(table),
			     table->ground.is_reverse, err));
	hsmpool_status status = run_table(table, err);
	if (status == HSMPOOL_OK)
		hp_error_clear(err); /* of values that were skipped */
	clear_table(table);
	return status;
}

hsmpool_status hsmpool_pseudonymize(hsmpool *pool, hsmpool_key *key,
				    const hsmpool_column *columns, size_t column_count,
				    const hsmpool_table_options *options,
				    hsmpool_read_fn read, void *read_user,
				    hsmpool_write_fn write, void *write_user,
				    hsmpool_deadline deadline, hsmpool_error *err)
{
	struct table table = {
		.ground = { .pool = pool, .key = key, .deadline = deadline },
		.columns = columns,
		.column_count = column_count,
		.source = { .read = read, .user = read_user },
		.sink = { .write = write, .user = write_user },
	};
	return transform_table(&table, options, err);
}

hsmpool_status hsmpool_depseudonymize(hsmpool *pool, hsmpool_key *key,
				      const hsmpool_column *columns, size_t column_count,
				      const hsmpool_table_options *options,
				      hsmpool_read_fn read, void *read_user,
				      hsmpool_write_fn write, void *write_user,
				      hsmpool_deadline deadline, hsmpool_error *err)
{
	struct table table = {
		.ground = { .pool = pool,
			    .key = key,
			    .is_reverse = true,
			    .deadline = deadline },
		.columns = columns,
		.column_count = column_count,
		.source = { .read = read, .user = read_user },
		.sink = { .write = write, .user = write_user },
	};
	return transform_table(&table, options, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole tables through hsmpool_pseudonymize(), on the mock: bits of enum bit, columns
 * that are transformed, one bit each, then CSV. What no column names comes out byte for
 * byte; threads and pieces make no difference; what FPE changed comes back.
 */
#include "fuzz.h"
#include "ground.h"

#include <stdlib.h>
#include <string.h>
#include <hsmpool/pseudonym.h>
#include "pseudonym/cache.h"
#include "pseudonym/text.h"

enum bit {
	NO_HEADER = 1,
	SKIP_BAD_ROWS = 2,
	SEMICOLON = 4,
	TELL_BAD_ROWS = 8,
	IN_PIECES = 16,
	BY_NAME = 32,
	ON_THREADS = 64,
};

/* The n-th bit of the second byte chooses the n-th of these. */
static const hsmpool_column methods[] = {
	{ .method = HSMPOOL_COLUMN_FPE, .number = 1, .name = "a", .domain = "d" },
	{ .method = HSMPOOL_COLUMN_FPE,
	  .number = 2,
	  .name = "b",
	  .domain = "d",
	  .alphabet = "chars:abc\xc3\xa4\xe2\x82\xac" },
	{ .method = HSMPOOL_COLUMN_HMAC, .number = 3, .name = "c", .domain = "d" },
	{ .method = HSMPOOL_COLUMN_REDACT, .number = 4, .name = "d", .text = "x,\"y" },
	{ .method = HSMPOOL_COLUMN_DROP, .number = 5, .name = "e" },
};
enum { METHODS = sizeof(methods) / sizeof(methods[0]), FPE_ONLY = 3 };

/* A small one: quickly made, and soon full. */
struct hp_cache *__real_hp_cache_new(size_t bytes);
struct hp_cache *__wrap_hp_cache_new(size_t bytes);
struct hp_cache *__wrap_hp_cache_new(size_t bytes)
{
	return __real_hp_cache_new(bytes < 4096 ? bytes : 4096);
}

/* One run over a table. */
struct run {
	hsmpool_bytes in;
	size_t read;
	size_t piece;
	uint64_t last_bad_line;
	uint64_t bad_rows;
	hsmpool_table_counts counts;
	struct hp_text out;
};

static hsmpool_status read_table(void *user, uint8_t *data, size_t cap, size_t *len,
				 hsmpool_error *err)
{
	(void)err;
	struct run *run = user;
	*len = run->in.len - run->read;
	if (*len > cap)
		*len = cap;
	if (*len > run->piece)
		*len = run->piece;
	if (*len > 0)
		memcpy(data, run->in.data + run->read, *len);
	run->read += *len;
	return HSMPOOL_OK;
}

static hsmpool_status write_table(void *user, const uint8_t *data, size_t len,
				  hsmpool_error *err)
{
	struct run *run = user;
	return hp_text_append(&run->out, data, len, err);
}

static hsmpool_status note_bad_row(void *user, const hsmpool_bad_row *row,
				   hsmpool_error *err)
{
	struct run *run = user;
	(void)err;
	MUST(row->line > run->last_bad_line);
	MUST(row->reason && row->bytes.len > 0);
	run->last_bad_line = row->line;
	run->bad_rows++;
	return HSMPOOL_OK;
}

static int note_progress(void *user, const hsmpool_table_counts *counts)
{
	struct run *run = user;
	run->counts = *counts;
	return 0;
}

static size_t choose_columns(uint8_t bits, uint8_t chosen,
			     hsmpool_column columns[METHODS])
{
	size_t count = 0;
	for (size_t i = 0; i < METHODS; i++) {
		if (!(chosen & 1U << i))
			continue;
		columns[count] = methods[i];
		columns[count].size = sizeof(columns[count]);
		if (bits & BY_NAME)
			columns[count].number = 0;
		else
			columns[count].name = NULL;
		count++;
	}
	return count;
}

typedef hsmpool_status table_fn(hsmpool *, hsmpool_key *, const hsmpool_column *, size_t,
				const hsmpool_table_options *, hsmpool_read_fn, void *,
				hsmpool_write_fn, void *, hsmpool_deadline,
				hsmpool_error *);

static hsmpool_status run_table(struct run *run, table_fn *table, hsmpool_bytes in,
				uint8_t bits, uint8_t chosen)
{
	hsmpool_column columns[METHODS];
	size_t count = choose_columns(bits, chosen, columns);
	hsmpool_error err = { 0 };
	*run = (struct run){ .in = in, .piece = bits & IN_PIECES ? 3 : SIZE_MAX };
	const hsmpool_table_options options = {
		.size = sizeof(options),
		.flags = (bits & NO_HEADER ? HSMPOOL_TABLE_NO_HEADER : 0) |
			 (bits & SKIP_BAD_ROWS ? HSMPOOL_TABLE_SKIP_BAD_ROWS : 0),
		.delimiter = bits & SEMICOLON ? ';' : ',',
		.threads = bits & ON_THREADS ? 3 : 1,
		.bad_row = bits & TELL_BAD_ROWS ? note_bad_row : NULL,
		.bad_row_user = run,
		.progress = note_progress,
		.progress_user = run,
	};
	hsmpool_status status =
		table(ground_pool(), ground_mac_key(), columns, count, &options,
		      read_table, run, write_table, run, HSMPOOL_DEFAULT, &err);
	fuzz_must_explain(status, &err);
	MUST(status == HSMPOOL_OK || status == HSMPOOL_ERR_DATA ||
	     status == HSMPOOL_ERR_USAGE);
	if (status == HSMPOOL_OK) {
		MUST(run->counts.bytes_read == in.len);
		MUST(run->counts.bytes_written == run->out.len);
		MUST(run->bad_rows == run->counts.bad_rows || !(bits & TELL_BAD_ROWS));
		MUST(run->counts.bad_rows == 0 || (bits & SKIP_BAD_ROWS));
	}
	return status;
}

static void must_be_same(const struct run *run, hsmpool_bytes bytes)
{
	MUST(run->out.len == bytes.len);
	MUST(bytes.len == 0 || memcmp(run->out.data, bytes.data, bytes.len) == 0);
}

/* Cut and divided in another way, it is the same table, or refused as before. */
static void must_be_made_alike(const struct run *run, hsmpool_status status, uint8_t bits,
			       uint8_t chosen)
{
	struct run again;
	uint8_t other = bits ^ IN_PIECES;
	MUST(run_table(&again, hsmpool_pseudonymize, run->in, other, chosen) == status);
	if (status == HSMPOOL_OK)
		must_be_same(&again, (hsmpool_bytes){ run->out.data, run->out.len });
	MUST(again.bad_rows == run->bad_rows);
	hp_text_clear(&again.out);
}

static void must_come_back(const struct run *run, uint8_t bits, uint8_t chosen)
{
	struct run back;
	hsmpool_bytes made = { run->out.data, run->out.len };
	MUST(run_table(&back, hsmpool_depseudonymize, made, bits, chosen) == HSMPOOL_OK);
	must_be_same(&back, run->in);
	hp_text_clear(&back.out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_script script = { data, len };
	uint8_t bits = fuzz_take8(&script);
	uint8_t chosen = fuzz_take8(&script);
	uint8_t *copy = fuzz_copy(script.at, script.left);
	struct run run;
	hsmpool_status status =
		run_table(&run, hsmpool_pseudonymize,
			  (hsmpool_bytes){ copy, script.left }, bits, chosen);
	must_be_made_alike(&run, status, bits, chosen);
	if (status == HSMPOOL_OK && run.counts.bad_rows == 0) {
		if (chosen == 0)
			must_be_same(&run, run.in);
		else if ((chosen & ~FPE_ONLY) == 0)
			must_come_back(&run, bits, chosen);
	}
	hp_text_clear(&run.out);
	free(copy);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Whole tables over several threads and sessions: order, ends, failures, the callers'
 * functions. */
#include "pool_ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <hsmpool/pseudonym.h>
#include "pseudonym/text.h"

#define ROWS 5000

/* ---- the two ends of a table ---- */

struct ends {
	hsmpool_bytes in;
	size_t used, piece;
	bool fails_at_end;
	struct hp_text out;
	size_t writes_until_failure; /* 0: none fails */
	unsigned bad_rows, bad_rows_until_stop;
	uint64_t first_bad_line;
	hsmpool_table_counts counts;
	unsigned progress_until_stop;
	pthread_t caller;
};

static hsmpool_status give(void *user, uint8_t *data, size_t cap, size_t *len,
			   hsmpool_error *err)
{
	struct ends *ends = user;
	size_t left = ends->in.len - ends->used;
	(void)err;
	assert_true(pthread_equal(ends->caller, pthread_self()));
	*len = left < cap ? left : cap;
	if (ends->piece && *len > ends->piece)
		*len = ends->piece;
	if (left == 0 && ends->fails_at_end)
		return HSMPOOL_ERR_SYSTEM;
	if (*len > 0)
		memcpy(data, ends->in.data + ends->used, *len);
	ends->used += *len;
	return HSMPOOL_OK;
}

static hsmpool_status take(void *user, const uint8_t *data, size_t len,
			   hsmpool_error *err)
{
	struct ends *ends = user;
	(void)err;
	assert_true(pthread_equal(ends->caller, pthread_self()));
	if (ends->writes_until_failure > 0 && --ends->writes_until_failure == 0)
		return HSMPOOL_ERR_SYSTEM;
	return hp_text_append(&ends->out, data, len, NULL);
}

static hsmpool_status take_bad_row(void *user, const hsmpool_bad_row *row,
				   hsmpool_error *err)
{
	struct ends *ends = user;
	(void)err;
	assert_true(pthread_equal(ends->caller, pthread_self()));
	assert_true(row->bytes.len > 0 && row->reason[0]);
	if (ends->bad_rows++ == 0)
		ends->first_bad_line = row->line;
	return ends->bad_rows == ends->bad_rows_until_stop ? HSMPOOL_ERR_SPACE
							   : HSMPOOL_OK;
}

static int take_progress(void *user, const hsmpool_table_counts *counts)
{
	struct ends *ends = user;
	assert_true(pthread_equal(ends->caller, pthread_self()));
	assert_true(counts->rows >= ends->counts.rows);
	ends->counts = *counts;
	return ends->progress_until_stop > 0 && --ends->progress_until_stop == 0;
}

/* ---- tables ---- */

static struct hp_text table;

static void add_line(const char *line)
{
	assert_int_equal(hp_text_append(&table, line, strlen(line), NULL), HSMPOOL_OK);
}

/* Row number is_bad_at (0: none) has a phone number that is too short. */
static void make_table(unsigned rows, unsigned bad_at)
{
	table.len = 0;
	add_line("id,name,phone\n");
	for (unsigned i = 1; i <= rows; i++) {
		char line[80];
		snprintf(line, sizeof(line), "%u,\"name %u\",%010u\n", i, i % 400,
			 i == bad_at ? 0 : i * 7919);
		if (i == bad_at)
			snprintf(line, sizeof(line), "%u,\"name %u\",12\n", i, i % 400);
		add_line(line);
	}
}

static const hsmpool_column columns[] = {
	{ .size = sizeof(hsmpool_column), .name = "name" },
	{ .size = sizeof(hsmpool_column), .name = "phone", .method = HSMPOOL_COLUMN_FPE },
};

static hsmpool_key *open_key(hsmpool *pool)
{
	hsmpool_error err;
	hsmpool_key *key;
	assert_ok(
		hsmpool_key_open(&key, pool, "pkcs11:object=hmac", HSMPOOL_DEFAULT, &err),
		&err);
	return key;
}

static hsmpool_status run(hsmpool *pool, struct ends *ends, uint32_t threads,
			  uint32_t flags, hsmpool_error *err)
{
	const hsmpool_table_options options = {
		.size = sizeof(options),
		.flags = flags,
		.threads = threads,
		.bad_row = take_bad_row,
		.bad_row_user = ends,
		.progress = take_progress,
		.progress_user = ends,
	};
	hsmpool_key *key = open_key(pool);
	ends->in = (hsmpool_bytes){ table.data, table.len };
	ends->caller = pthread_self();
	hsmpool_status status =
		hsmpool_pseudonymize(pool, key, columns, 2, &options, give, ends, take,
				     ends, HSMPOOL_DEFAULT, err);
	hsmpool_key_close(&key);
	return status;
}

static void clear(struct ends *ends)
{
	hp_text_clear(&ends->out);
	hp_text_clear(&table);
}

/* ---- tests ---- */

static void output_is_the_same_for_any_number_of_threads_and_sessions(void **state)
{
	struct ground *g = *state;
	hsmpool *pool = ground_open(g, "max-sessions", "4", NULL);
	struct ends one = { 0 };
	hsmpool_error err;
	make_table(ROWS, 0);
	assert_ok(run(pool, &one, 1, 0, &err), &err);
	assert_int_equal(one.counts.rows, ROWS);
	for (uint32_t threads = 2; threads <= 16; threads *= 2) {
		struct ends many = { .piece = 1000 };
		assert_ok(run(pool, &many, threads, 0, &err), &err);
		assert_int_equal(many.out.len, one.out.len);
		assert_memory_equal(many.out.data, one.out.data, one.out.len);
		hp_text_clear(&many.out);
	}
	clear(&one);
}

static void way_back_gives_the_values_back(void **state)
{
	struct ground *g = *state;
	hsmpool *pool = ground_open(g, NULL);
	hsmpool_key *key = open_key(pool);
	struct ends there = { .caller = pthread_self() };
	struct ends back = { .caller = pthread_self() };
	hsmpool_error err;
	make_table(ROWS, 0);
	there.in = (hsmpool_bytes){ table.data, table.len };
	assert_ok(hsmpool_pseudonymize(pool, key, &columns[1], 1, NULL, give, &there,
				       take, &there, HSMPOOL_DEFAULT, &err),
		  &err);
	back.in = (hsmpool_bytes){ there.out.data, there.out.len };
	assert_ok(hsmpool_depseudonymize(pool, key, &columns[1], 1, NULL, give, &back,
					 take, &back, HSMPOOL_DEFAULT, &err),
		  &err);
	assert_int_equal(back.out.len, table.len);
	assert_memory_equal(back.out.data, table.data, table.len);
	hsmpool_key_close(&key);
	hp_text_clear(&back.out);
	clear(&there);
}

static void hsm_is_asked_once_for_equal_values(void **state)
{
	struct ground *g = *state;
	hsmpool *pool = ground_open(g, NULL);
	struct ends ends = { 0 };
	hsmpool_error err;
	make_table(ROWS, 0);
	assert_ok(run(pool, &ends, 1, 0, &err), &err);
	assert_int_equal(ends.counts.hsm_macs, 400);
	assert_int_equal(ends.counts.cached_macs, ROWS - 400);
	clear(&ends);
}

static void bad_row_fails_the_run_and_nothing_behind_it_is_written(void **state)
{
	struct ground *g = *state;
	hsmpool *pool = ground_open(g, NULL);
	struct ends ends = { 0 };
	hsmpool_error err;
	make_table(ROWS, 3000);
	assert_status(run(pool, &ends, 4, 0, &err), HSMPOOL_ERR_DATA);
	assert_non_null(strstr(err.text, "line 3001, column 'phone'"));
	assert_int_equal(ends.bad_rows, 1);
	assert_int_equal(ends.first_bad_line, 3001);
	assert_int_equal(ends.counts.rows, ROWS);
	assert_null(memmem(ends.out.data, ends.out.len, "\n3001,", 6));
	clear(&ends);
}

static void skipped_row_is_missing_and_no_other(void **state)
{
	struct ground *g = *state;
	hsmpool *pool = ground_open(g, NULL);
	struct ends ends = { 0 };
	hsmpool_error err;
	make_table(ROWS, 3000);
	assert_ok(run(pool, &ends, 4, HSMPOOL_TABLE_SKIP_BAD_ROWS, &err), &err);
	assert_null(memmem(ends.out.data, ends.out.len, "\n3000,", 6));
	assert_non_null(memmem(ends.out.data, ends.out.len, "\n2999,", 6));
	assert_non_null(memmem(ends.out.data, ends.out.len, "\n3001,", 6));
	assert_int_equal(ends.counts.bad_rows, 1);
	clear(&ends);
}

static void function_for_bad_rows_can_end_the_run(void **state)
{
	struct ground *g = *state;
	hsmpool *pool = ground_open(g, NULL);
	struct ends ends = { .bad_rows_until_stop = 1 };
	hsmpool_error err;
	make_table(ROWS, 10);
	assert_status(run(pool, &ends, 2, HSMPOOL_TABLE_SKIP_BAD_ROWS, &err),
		      HSMPOOL_ERR_SPACE);
	clear(&ends);
}

static void failing_ends_fail_the_run(void **state)
{
	struct ground *g = *state;
	hsmpool *pool = ground_open(g, NULL);
	struct ends reading = { .fails_at_end = true };
	struct ends writing = { .writes_until_failure = 3 };
	struct ends stopping = { .progress_until_stop = 2 };
	hsmpool_error err;
	make_table(ROWS, 0);
	assert_status(run(pool, &reading, 4, 0, &err), HSMPOOL_ERR_SYSTEM);
	assert_status(run(pool, &writing, 4, 0, &err), HSMPOOL_ERR_SYSTEM);
	assert_status(run(pool, &stopping, 4, 0, &err), HSMPOOL_ERR_CLOSED);
	assert_int_equal(ground_stats(g).used, 0);
	hp_text_clear(&reading.out);
	hp_text_clear(&writing.out);
	clear(&stopping);
}

static void lost_sessions_are_made_good(void **state)
{
	struct ground *g = *state;
	hsmpool *pool =
		ground_open(g, "max-sessions", "4", "sign-retry", "deterministic", NULL);
	struct ends whole = { 0 }, lossy = { 0 };
	hsmpool_error err;
	make_table(ROWS, 0);
	assert_ok(run(pool, &whole, 4, 0, &err), &err);
	ground_script(g, "fail=C_SignInit:50:CKR_SESSION_HANDLE_INVALID");
	assert_ok(run(pool, &lossy, 4, 0, &err), &err);
	assert_int_equal(lossy.out.len, whole.out.len);
	assert_memory_equal(lossy.out.data, whole.out.data, whole.out.len);
	hp_text_clear(&lossy.out);
	clear(&whole);
}

static void failing_hsm_is_told_with_line_and_column(void **state)
{
	struct ground *g = *state;
	hsmpool *pool = ground_open(g, NULL);
	struct ends ends = { 0 };
	hsmpool_error err;
	make_table(ROWS, 0);
	ground_script(g, "fail=C_Sign:200+:CKR_FUNCTION_FAILED");
	assert_int_not_equal(run(pool, &ends, 1, 0, &err), HSMPOOL_OK);
	assert_non_null(strstr(err.text, "column 'name'"));
	assert_non_null(strstr(err.text, "line "));
	clear(&ends);
}

static void misuse_is_refused(void **state)
{
	struct ground *g = *state;
	hsmpool *pool = ground_open(g, NULL);
	struct ends ends = { .in = { (const uint8_t *)"name,phone\n", 11 } };
	const hsmpool_table_options wrong[] = {
		{ .size = 4 },
		{ .size = sizeof(*wrong), .flags = 1u << 20 },
		{ .size = sizeof(*wrong), .delimiter = '"' },
		{ .size = sizeof(*wrong), .threads = 1000 },
		{ .size = sizeof(*wrong), .flags = HSMPOOL_TABLE_NO_HEADER },
	};
	hsmpool_error err;
	ends.caller = pthread_self();
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_status(hsmpool_pseudonymize(pool, NULL, columns, 2, &wrong[i],
						   give, &ends, take, &ends,
						   HSMPOOL_DEFAULT, &err),
			      HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_pseudonymize(pool, NULL, columns, 2, NULL, NULL, &ends,
					   take, &ends, HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_pseudonymize(pool, NULL, columns, 2, NULL, give, &ends,
					   take, &ends, HSMPOOL_DEFAULT, NULL),
		      HSMPOOL_ERR_KEY);
	assert_int_equal(ends.out.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(output_is_the_same_for_any_number_of_threads_and_sessions),
		GROUND_TEST(way_back_gives_the_values_back),
		GROUND_TEST(hsm_is_asked_once_for_equal_values),
		GROUND_TEST(bad_row_fails_the_run_and_nothing_behind_it_is_written),
		GROUND_TEST(skipped_row_is_missing_and_no_other),
		GROUND_TEST(function_for_bad_rows_can_end_the_run),
		GROUND_TEST(failing_ends_fail_the_run),
		GROUND_TEST(lost_sessions_are_made_good),
		GROUND_TEST(failing_hsm_is_told_with_line_and_column),
		GROUND_TEST(misuse_is_refused),
	};
	return cmocka_run_group_tests_name("pseudonymize", tests, NULL, NULL);
}

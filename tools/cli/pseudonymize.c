/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli pseudonymize, depseudonymize: columns of a CSV table, transformed.
 *
 * Owns: what is said of bad rows, and where they go. Values never reach a message. The
 * order of things: the input is opened, then the outputs, so that an existing file is
 * refused before any work; then pool and key; the outputs get their names last.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <json.h>
#include "base/error.h"
#include "base/time.h"
#include "cli.h"
#include "columns.h"
#include "csv_output.h"
#include "input.h"
#include "progress.h"
#include "stop.h"

#define BAD_ROWS_LISTED 100

enum {
	OPTION_COLUMN = CLI_OWN,
	OPTION_DELIMITER,
	OPTION_NO_HEADER,
	OPTION_BAD_ROWS,
	OPTION_REJECTS,
	OPTION_SHORT_TOKENS,
	OPTION_THREADS,
};

#define OPTION_ROW_COLUMN(methods)                              \
	{                                                       \
		"column", OPTION_COLUMN, "COLUMN=METHOD",       \
			"COLUMN is a name or #NUMBER; " methods \
			"; repeat it for several"               \
	}
#define OPTION_ROWS_TABLE                                                                        \
	{ "delimiter", OPTION_DELIMITER, "BYTE",                                                 \
	  "between fields: a comma, or tab, ; ..." },                                            \
		{ "no-header", OPTION_NO_HEADER, NULL,                                           \
		  "the first row is data: columns have numbers only" },                          \
		{ "bad-rows", OPTION_BAD_ROWS, "fail|skip",                                      \
		  "what a row that cannot be transformed does: the run fails (default), or it "  \
		  "is left out" },                                                               \
		{ "rejects", OPTION_REJECTS, "FILE",                                             \
		  "write the rows that are left out, as they were" },                            \
	{                                                                                        \
		"threads", OPTION_THREADS, "NUMBER",                                             \
			"work with so many sessions at once (as many as the pool has, up to 32)" \
	}

static const struct cli_option options[] = {
	OPTION_ROW_COLUMN("METHOD is hmac, fpe, redact or drop"),
	CLI_OPTION_KEY,
	CLI_OPTION_IN,
	CLI_OPTION_OUT,
	{ "force", CLI_FORCE, NULL,
	  "replace an existing FILE; allow tokens under 64 bits" },
	{ "allow-short-tokens", OPTION_SHORT_TOKENS, NULL,
	  "allow tokens under 64 bits, and nothing else" },
	OPTION_ROWS_TABLE,
	CLI_OPTION_LIMIT_RATE,
	CLI_OPTION_END,
};

static const struct cli_usage usage = {
	.synopsis = "--column COLUMN=METHOD[:OPTIONS]... [OPTION]...",
	.about = "Replace the values of columns of a CSV table; all else stays as it is, "
		 "byte for byte.",
	.options = options,
};

static const struct cli_option reverse_options[] = {
	OPTION_ROW_COLUMN("METHOD is fpe"),
	CLI_OPTION_KEY,
	CLI_OPTION_IN,
	CLI_OPTION_OUT,
	CLI_OPTION_FORCE,
	OPTION_ROWS_TABLE,
	CLI_OPTION_LIMIT_RATE,
	CLI_OPTION_END,
};

static const struct cli_usage reverse_usage = {
	.synopsis = "--column COLUMN=fpe[:OPTIONS]... [OPTION]...",
	.about = "Give the values of columns back that pseudonymize replaced by fpe.",
	.options = reverse_options,
};

/* One run of either verb. */
struct table {
	struct cli *cli;
	bool is_reverse;
	struct columns columns;
	const char *which; /* key */
	const char *in_path, *out_path, *rejects_path;
	bool is_forced;
	bool allows_short_tokens;
	struct rate_limit limit;
	hsmpool_table_options options;
	struct input in;
	struct csv_output out;
	struct output rejects;
	struct progress progress;
	hsmpool_table_counts counts;
	uint64_t bad_rows;
	int64_t start_ns;
};

static bool skips_bad_rows(const struct table *table)
{
	return table->options.flags & HSMPOOL_TABLE_SKIP_BAD_ROWS;
}

/* --- options ------------------------------------------------------------------------ */

static hsmpool_status set_delimiter(struct table *table, const char *text,
				    hsmpool_error *err)
{
	bool is_tab = strcmp(text, "tab") == 0 || strcmp(text, "\\t") == 0;

	HP_CHECK(is_tab || (strlen(text) == 1 && !strchr("\"\r\n", *text)), err,
		 HSMPOOL_ERR_USAGE,
		 "--delimiter is one byte like ; or the word tab, not '%s'", text);
	table->options.delimiter = is_tab ? '\t' : *text;
	return HSMPOOL_OK;
}

static hsmpool_status set_bad_rows(struct table *table, const char *text,
				   hsmpool_error *err)
{
	bool is_skip = strcmp(text, "skip") == 0;

	HP_CHECK(is_skip || strcmp(text, "fail") == 0, err, HSMPOOL_ERR_USAGE,
		 "--bad-rows is fail or skip, not '%s'", text);
	table->options.flags &= ~(uint32_t)HSMPOOL_TABLE_SKIP_BAD_ROWS;
	if (is_skip)
		table->options.flags |= HSMPOOL_TABLE_SKIP_BAD_ROWS;
	return HSMPOOL_OK;
}

static hsmpool_status set_threads(struct table *table, const char *text,
				  hsmpool_error *err)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	HP_CHECK(*text >= '1' && *text <= '9' && *end == '\0' && value <= 256, err,
		 HSMPOOL_ERR_USAGE, "--threads is a number from 1 to 256, not '%s'",
		 text);
	table->options.threads = (uint32_t)value;
	return HSMPOOL_OK;
}

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	struct table *table = user;

	switch (id) {
	case OPTION_COLUMN:
		return columns_add(&table->columns, argument, err);
	case OPTION_DELIMITER:
		return set_delimiter(table, argument, err);
	case OPTION_BAD_ROWS:
		return set_bad_rows(table, argument, err);
	case OPTION_THREADS:
		return set_threads(table, argument, err);
	case CLI_LIMIT_RATE:
		return rate_limit_parse(&table->limit, argument, err);
	case OPTION_NO_HEADER:
		table->options.flags |= HSMPOOL_TABLE_NO_HEADER;
		break;
	case OPTION_REJECTS:
		table->rejects_path = argument;
		break;
	case CLI_KEY:
		table->which = argument;
		break;
	case CLI_IN:
		table->in_path = argument;
		break;
	case CLI_OUT:
		table->out_path = argument;
		break;
	case CLI_FORCE:
		table->is_forced = table->allows_short_tokens = true;
		break;
	default:
		table->allows_short_tokens = true;
		break;
	}
	return HSMPOOL_OK;
}

static hsmpool_status read_command_line(struct table *table, int argc, char **argv,
					hsmpool_error *err)
{
	const struct cli_usage *mine = table->is_reverse ? &reverse_usage : &usage;

	HP_TRY(cli_parse(table->cli, mine, take_option, table, argc, argv, err));
	if (table->allows_short_tokens && !table->is_reverse)
		columns_allow_short_tokens(&table->columns);
	return HSMPOOL_OK;
}

static hsmpool_status check_options(const struct table *table, hsmpool_error *err)
{
	HP_CHECK(table->columns.count > 0, err, HSMPOOL_ERR_USAGE,
		 "which columns? say --column COLUMN=METHOD; see hsmpool-cli %s --help",
		 table->cli->verb);
	HP_CHECK(!table->rejects_path || skips_bad_rows(table), err, HSMPOOL_ERR_USAGE,
		 "--rejects needs --bad-rows skip");
	HP_CHECK(!table->rejects_path || strcmp(table->rejects_path, "-") != 0, err,
		 HSMPOOL_ERR_USAGE, "--rejects needs a file");
	return HSMPOOL_OK;
}

/* --- what the library calls ----------------------------------------------------------
 */

static hsmpool_status read_input(void *user, uint8_t *data, size_t cap, size_t *len,
				 hsmpool_error *err)
{
	struct table *table = user;

	return input_read(&table->in, data, cap, len, err);
}

static hsmpool_status write_table(void *user, const uint8_t *data, size_t len,
				  hsmpool_error *err)
{
	struct table *table = user;

	return csv_output_write(&table->out, data, len, err);
}

/* The header row once, so that the file is a table too. */
static hsmpool_status write_reject(struct table *table, const hsmpool_bad_row *row,
				   hsmpool_error *err)
{
	if (table->rejects.written == 0)
		HP_TRY(output_write(&table->rejects, row->header.data, row->header.len,
				    err));
	return output_write(&table->rejects, row->bytes.data, row->bytes.len, err);
}

static hsmpool_status on_bad_row(void *user, const hsmpool_bad_row *row,
				 hsmpool_error *err)
{
	struct table *table = user;

	table->bad_rows++;
	progress_end(&table->progress);
	if (table->bad_rows <= BAD_ROWS_LISTED)
		cli_message(table->cli, "line %" PRIu64 "%s%.64s%s: %s", row->line,
			    row->column ? ", column '" : "",
			    row->column ? row->column : "", row->column ? "'" : "",
			    row->reason);
	if (table->rejects_path)
		HP_TRY(write_reject(table, row, err));
	if (skips_bad_rows(table))
		return HSMPOOL_OK;
	csv_output_break(&table->out);
	HP_CHECK(table->bad_rows < BAD_ROWS_LISTED, err, HSMPOOL_ERR_DATA,
		 "%d bad rows: what follows line %" PRIu64 " was not looked at",
		 BAD_ROWS_LISTED, row->line);
	return HSMPOOL_OK;
}

static int on_progress(void *user, const hsmpool_table_counts *counts)
{
	struct table *table = user;

	table->counts = *counts;
	progress_update(&table->progress, counts->bytes_read);
	return stop_requested();
}

/* --- the run ------------------------------------------------------------------------ */

static hsmpool_status open_files(struct table *table, hsmpool_error *err)
{
	HP_TRY(input_open(&table->in, table->in_path, err));
	table->in.limit = table->limit;
	HP_TRY(csv_output_open(&table->out, table->out_path, table->is_forced,
			       table->in.fd, err));
	if (table->rejects_path)
		HP_TRY(output_open(&table->rejects, table->rejects_path, table->is_forced,
				   err));
	HP_CHECK(!output_is_same_place(&table->out.out, &table->rejects), err,
		 HSMPOOL_ERR_USAGE, "--out and --rejects name the same file");
	table->start_ns = hp_now_ns();
	progress_start(&table->progress, table->cli,
		       table->in.has_size ? table->in.size : 0);
	if (output_is_terminal(&table->out.out))
		table->progress.is_shown = false;
	return HSMPOOL_OK;
}

static hsmpool_status transform(struct table *table, hsmpool_error *err)
{
	CLI_AUTO_KEY *key = NULL;

	if (columns_need_key(&table->columns))
		HP_TRY(cli_open_key(table->cli, table->which, &key, err));
	return (table->is_reverse ? hsmpool_depseudonymize : hsmpool_pseudonymize)(
		table->cli->pool, key, table->columns.at, table->columns.count,
		&table->options, read_input, table, write_table, table, HSMPOOL_DEFAULT,
		err);
}

static void print_summary(const struct table *table)
{
	struct json_object *object = json_object_new_object();
	double seconds = (double)(hp_now_ns() - table->start_ns) / 1e9;
	hsmpool_stats stats = { .size = sizeof(stats) };

	if (table->cli->pool) /* redact and drop need none */
		hsmpool_get_stats(table->cli->pool, &stats);
	cli_add_text(object, "out", table->out.out.name);
	if (table->rejects_path)
		cli_add_text(object, "rejects", table->rejects.name);
	cli_add_number(object, "rows", table->counts.rows);
	cli_add_number(object, "bad-rows", table->counts.bad_rows);
	cli_add_number(object, "hsm-macs", table->counts.hsm_macs);
	cli_add_number(object, "cached-macs", table->counts.cached_macs);
	cli_add_number(object, "read-bytes", table->counts.bytes_read);
	cli_add_number(object, "written-bytes", table->counts.bytes_written);
	cli_add_seconds(object, "seconds", seconds);
	cli_add_number(object, "sessions-peak", stats.peak);
	cli_add_number(object, "retries", stats.retries);
	cli_print_summary(object, !table->out.out.path);
}

/* The table's own name comes last. */
static hsmpool_status commit(struct table *table, hsmpool_error *err)
{
	progress_end(&table->progress);
	if (table->rejects_path)
		HP_TRY(output_commit(&table->rejects, err));
	HP_TRY(csv_output_commit(&table->out, err));
	if (table->bad_rows > 0)
		cli_message(table->cli, "%" PRIu64 " bad row%s of %" PRIu64 " left out%s",
			    table->bad_rows, table->bad_rows == 1 ? "" : "s",
			    table->counts.rows,
			    table->bad_rows > BAD_ROWS_LISTED ? ", of which the first "
								"100 are listed"
							      : "");
	if (table->cli->is_json)
		print_summary(table);
	return HSMPOOL_OK;
}

static hsmpool_status run_table(struct table *table, hsmpool_error *err)
{
	HP_TRY(check_options(table, err));
	HP_TRY(open_files(table, err));
	HP_TRY(transform(table, err));
	return commit(table, err);
}

static int run_verb(struct cli *cli, int argc, char **argv, bool is_reverse)
{
	struct table table = {
		.cli = cli,
		.is_reverse = is_reverse,
		.options = { .size = sizeof(table.options) },
		.in.fd = -1,
		.out.out.fd = -1,
		.rejects.fd = -1,
	};
	hsmpool_error err = { 0 };
	hsmpool_status status;

	table.options.bad_row = on_bad_row;
	table.options.progress = on_progress;
	table.options.bad_row_user = table.options.progress_user = &table;
	status = read_command_line(&table, argc, argv, &err);
	if (status == HSMPOOL_OK)
		status = run_table(&table, &err);
	progress_end(&table.progress);
	input_close(&table.in);
	csv_output_close(&table.out);
	output_close(&table.rejects);
	columns_clear(&table.columns);
	return cli_finish(cli, status, &err);
}

int verb_pseudonymize(struct cli *cli, int argc, char **argv)
{
	return run_verb(cli, argc, argv, false);
}

int verb_depseudonymize(struct cli *cli, int argc, char **argv)
{
	return run_verb(cli, argc, argv, true);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Writing figures: see top_table.h. */
#include "top_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <json.h>
#include "base/memory.h"
#include "cli.h"

#define CELL 48 /* room for what is in a column */

const char *const top_order_names[TOP_ORDERS] = { "process", "operations", "waiters",
						  "errors" };

/* A pool, or a process that is silent or has none. */
struct row {
	const struct top_process *process;
	const struct top_pool *pool; /* NULL: there is none */
};

/* --- cells ---------------------------------------------------------------------------
 */

/* A character takes one column of a terminal and gives it no order: printable ASCII. One
 * '?' for each other character, not for each of its bytes. */
static void make_plain(const char *from, char *to, size_t cap)
{
	size_t len = 0;

	for (; *from && len + 1 < cap; from++) {
		unsigned char byte = (unsigned char)*from;

		if ((byte & 0xc0) != 0x80)
			to[len++] = (char)(byte >= ' ' && byte < 0x7f ? byte : '?');
	}
	to[len] = '\0';
}

static void format_seconds(double seconds, char *to)
{
	if (!(seconds > 0))
		snprintf(to, CELL, "-");
	else if (seconds < 0.001)
		snprintf(to, CELL, "%.0fus", seconds * 1e6);
	else if (seconds < 1)
		snprintf(to, CELL, "%.*fms", seconds < 0.1 ? 1 : 0, seconds * 1e3);
	else
		snprintf(to, CELL, "%.1fs", seconds);
}

static void cell_pid(const struct row *row, char *to)
{
	if (row->process->copy > 1)
		snprintf(to, CELL, "%d-%u", (int)row->process->pid, row->process->copy);
	else
		snprintf(to, CELL, "%d", (int)row->process->pid);
}

static void cell_user(const struct row *row, char *to)
{
	make_plain(row->process->user, to, CELL);
}

static void cell_program(const struct row *row, char *to)
{
	make_plain(*row->process->program ? row->process->program : "?", to, CELL);
}

static void cell_state(const struct row *row, char *to)
{
	snprintf(to, CELL, "%s",
		 row->pool                 ? top_pool_state(row->pool)
		 : row->process->is_silent ? "silent"
					   : "-");
}

static void cell_pool(const struct row *row, char *to)
{
	make_plain(row->pool->pool, to, CELL);
}

static void cell_token(const struct row *row, char *to)
{
	make_plain(row->pool->token, to, CELL);
}

static void cell_operations(const struct row *row, char *to)
{
	snprintf(to, CELL, row->pool->has_rates ? "%.1f" : "-",
		 row->pool->operation_rate);
}

static void cell_errors(const struct row *row, char *to)
{
	snprintf(to, CELL, row->pool->has_rates ? "%.1f" : "-", row->pool->error_rate);
}

static void cell_p50(const struct row *row, char *to)
{
	format_seconds(row->pool->p50_seconds, to);
}

static void cell_p99(const struct row *row, char *to)
{
	format_seconds(row->pool->p99_seconds, to);
}

#define CELL_OF(name, value)                                     \
	static void cell_##name(const struct row *row, char *to) \
	{                                                        \
		snprintf(to, CELL, "%.0f", row->pool->value);    \
	}
CELL_OF(used, sessions[TOP_USED])
CELL_OF(idle, sessions[TOP_IDLE])
CELL_OF(attached, sessions[TOP_ATTACHED])
CELL_OF(testing, sessions[TOP_TESTING])
CELL_OF(opening, sessions[TOP_OPENING])
CELL_OF(closing, sessions[TOP_CLOSING])
CELL_OF(stuck, sessions[TOP_STUCK])
CELL_OF(limit, limit)
CELL_OF(waiters, waiters)

/* What counts most stands within 80 columns: a terminal cuts the rest. */
static const struct column {
	const char *title;
	int width; /* negative: to the left */
	bool is_of_process;
	void (*format)(const struct row *row, char *to);
} columns[] = {
	{ "PID", 7, true, cell_pid },           { "PROGRAM", -10, true, cell_program },
	{ "POOL", -8, false, cell_pool },       { "STATE", -7, true, cell_state },
	{ "USED", 4, false, cell_used },        { "IDLE", 4, false, cell_idle },
	{ "MAX", 4, false, cell_limit },        { "WAIT", 4, false, cell_waiters },
	{ "OPS/S", 8, false, cell_operations }, { "P99", 6, false, cell_p99 },
	{ "ERR/S", 5, false, cell_errors },     { "P50", 6, false, cell_p50 },
	{ "ATT", 4, false, cell_attached },     { "TEST", 4, false, cell_testing },
	{ "OPEN", 4, false, cell_opening },     { "CLOS", 4, false, cell_closing },
	{ "STUCK", 5, false, cell_stuck },      { "USER", -8, true, cell_user },
	{ "TOKEN", -20, false, cell_token },
};

/* --- rows ----------------------------------------------------------------------------
 */

static double rank(const struct row *row, enum top_order order)
{
	if (!row->pool)
		return -1;
	return order == TOP_BY_OPERATIONS ? row->pool->operation_rate
	       : order == TOP_BY_WAITERS  ? row->pool->waiters
	       : order == TOP_BY_ERRORS   ? row->pool->error_rate
					  : 0;
}

/* The greatest first; those alike stay in the order of their numbers. */
static int compare_rows(const void *left, const void *right, void *order)
{
	const struct row *a = left, *b = right;
	double more =
		rank(b, *(enum top_order *)order) - rank(a, *(enum top_order *)order);

	if (more != 0)
		return more > 0 ? 1 : -1;
	if (a->process != b->process)
		return a->process < b->process ? -1 : 1;
	return (a->pool > b->pool) - (a->pool < b->pool);
}

/* NULL: no memory, or there are none. */
static struct row *make_rows(const struct top_figures *figures, enum top_order order,
			     size_t *count)
{
	struct row *rows;
	size_t most = 0;

	*count = 0;
	for (size_t i = 0; i < figures->count; i++)
		most += figures->list[i].count + 1;
	rows = calloc(most + 1, sizeof(*rows));
	if (!rows)
		return NULL;
	for (size_t i = 0; i < figures->count; i++) {
		const struct top_process *process = &figures->list[i];

		if (process->count == 0)
			rows[(*count)++] = (struct row){ process, NULL };
		for (size_t p = 0; p < process->count; p++)
			rows[(*count)++] = (struct row){ process, &process->pools[p] };
	}
	qsort_r(rows, *count, sizeof(*rows), compare_rows, &order);
	return rows;
}

static void write_cell(FILE *out, size_t column, const char *text)
{
	int width = columns[column].width;

	fprintf(out, "%s%*.*s", column > 0 ? " " : "", width, width < 0 ? -width : CELL,
		text);
}

static void write_row(FILE *out, const struct row *row)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(columns); i++) {
		char text[CELL] = "-";

		if (row->pool || columns[i].is_of_process)
			columns[i].format(row, text);
		write_cell(out, i, text);
	}
	fputc('\n', out);
}

void top_write_title(FILE *out, const char *before)
{
	fprintf(out, "%*s", (int)strlen(before), "");
	for (size_t i = 0; i < HP_ARRAY_LEN(columns); i++)
		write_cell(out, i, columns[i].title);
	fputc('\n', out);
}

void top_write_table(FILE *out, const struct top_figures *figures, enum top_order order,
		     const char *before)
{
	size_t count;
	HP_AUTO_FREE struct row *rows = make_rows(figures, order, &count);

	for (size_t i = 0; rows && i < count; i++) {
		fputs(before, out);
		write_row(out, &rows[i]);
	}
}

/* --- errors and the sum --------------------------------------------------------------
 */

static void write_errors_of(FILE *out, const struct row *row, const char *before)
{
	char pid[CELL], program[CELL], pool[CELL], name[CELL];

	cell_pid(row, pid);
	cell_program(row, program);
	cell_pool(row, pool);
	for (size_t i = 0; i < row->pool->error_count; i++) {
		const struct top_error *error = &row->pool->errors[i];

		make_plain(error->name, name, sizeof(name));
		fprintf(out, "%s%7s %-10.10s %-8.8s %-32s %8.0f %8.1f/s\n", before, pid,
			program, pool, name, error->count, error->rate);
	}
}

void top_write_errors(FILE *out, const struct top_figures *figures, enum top_order order,
		      const char *before)
{
	size_t count;
	HP_AUTO_FREE struct row *rows = make_rows(figures, order, &count);

	for (size_t i = 0; rows && i < count; i++)
		if (rows[i].pool)
			write_errors_of(out, &rows[i], before);
}

void top_write_sum(FILE *out, const struct top_figures *figures)
{
	double operations = 0, errors = 0, waiters = 0, used = 0;

	for (size_t i = 0; i < figures->count; i++)
		for (size_t p = 0; p < figures->list[i].count; p++) {
			const struct top_pool *pool = &figures->list[i].pools[p];

			operations += pool->operation_rate;
			errors += pool->error_rate;
			waiters += pool->waiters;
			used += pool->sessions[TOP_USED];
		}
	fprintf(out,
		"%zu process%s, %.0f sessions used, %.0f waiting, %.1f ops/s, %.1f err/s",
		figures->count, figures->count == 1 ? "" : "es", used, waiters,
		operations, errors);
}

/* --- JSON ----------------------------------------------------------------------------
 */

/* To the microsecond and the thousandth; what was not measured is null. */
static void add_real(struct json_object *object, const char *name, double value,
		     bool is_known)
{
	char text[40];

	snprintf(text, sizeof(text), "%.6f", value);
	json_object_object_add(object, name,
			       is_known && isfinite(value)
				       ? json_object_new_double_s(value, text)
				       : NULL);
}

static void add_whole(struct json_object *object, const char *name, double value)
{
	cli_add_number(object, name, value >= 0 && value < 1.8e19 ? (uint64_t)value : 0);
}

static struct json_object *errors_json(const struct top_pool *pool)
{
	struct json_object *errors = json_object_new_object();

	for (size_t i = 0; i < pool->error_count; i++) {
		struct json_object *error = json_object_new_object();

		add_whole(error, "count", pool->errors[i].count);
		add_real(error, "per-second", pool->errors[i].rate, pool->has_rates);
		json_object_object_add(errors, pool->errors[i].name, error);
	}
	return errors;
}

static struct json_object *pool_json(const struct top_pool *pool)
{
	struct json_object *object = json_object_new_object();
	struct json_object *sessions = json_object_new_object();
	bool has_times = pool->has_rates && pool->operation_rate > 0;

	cli_add_text(object, "name", pool->pool);
	cli_add_text(object, "token", pool->token);
	cli_add_text(object, "state", top_pool_state(pool));
	for (int i = 0; i < TOP_STATES; i++)
		add_whole(sessions, top_state_names[i], pool->sessions[i]);
	add_whole(sessions, "limit", pool->limit);
	json_object_object_add(object, "sessions", sessions);
	add_whole(object, "waiters", pool->waiters);
	add_real(object, "oldest-wait", pool->oldest_wait_seconds, true);
	add_whole(object, "operations", pool->operations);
	add_real(object, "operations-per-second", pool->operation_rate, pool->has_rates);
	add_real(object, "p50", pool->p50_seconds, has_times);
	add_real(object, "p99", pool->p99_seconds, has_times);
	add_real(object, "errors-per-second", pool->error_rate, pool->has_rates);
	json_object_object_add(object, "errors", errors_json(pool));
	return object;
}

static struct json_object *process_json(const struct top_process *process)
{
	struct json_object *object = json_object_new_object();
	struct json_object *pools = json_object_new_array();

	cli_add_number(object, "pid", (uint64_t)process->pid);
	cli_add_number(object, "copy", process->copy);
	cli_add_text(object, "program", process->program);
	cli_add_text(object, "user", process->user);
	json_object_object_add(object, "silent",
			       json_object_new_boolean(process->is_silent));
	for (size_t i = 0; i < process->count; i++)
		json_object_array_add(pools, pool_json(&process->pools[i]));
	json_object_object_add(object, "pools", pools);
	return object;
}

struct json_object *top_make_json(const struct top_figures *figures)
{
	struct json_object *object = json_object_new_object();
	struct json_object *list = json_object_new_array();
	time_t now = time(NULL);
	struct tm utc;
	char text[32] = "";

	if (gmtime_r(&now, &utc))
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
	cli_add_text(object, "time", text);
	for (size_t i = 0; i < figures->count; i++)
		json_object_array_add(list, process_json(&figures->list[i]));
	json_object_object_add(object, "processes", list);
	return object;
}

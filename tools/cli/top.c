/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli top: what all processes that use hsmpool do, as it happens.
 *
 * On a terminal a screen that is drawn again at each interval; elsewhere lines. It opens
 * no pool and touches no HSM: the figures come out of the processes' control sockets.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <json.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/time.h"
#include "cli.h"
#include "config/options.h"
#include "stop.h"
#include "top_figures.h"
#include "top_table.h"
#include "top_terminal.h"

#define SHORTEST (100 * HP_MS)
#define LONGEST  (3600 * HP_SECOND)
#define PATIENCE (1 * HP_SECOND) /* with a process that does not answer */
#define CLOCK    16              /* room for "14:05:09 " */

enum { INTERVAL = CLI_OWN, ONCE };

static const struct cli_option options[] = {
	{ "interval", INTERVAL, "DURATION", "how often: 100ms to 1h (2s)" },
	{ "once", ONCE, NULL, "only the first interval, then end" },
	CLI_OPTION_END,
};

static const struct cli_usage usage = {
	.synopsis = "[--interval DURATION] [--once]",
	.about =
		"Show what the processes of this user that use hsmpool do (for root, "
		"those of all\nusers): sessions, waiters, operations, times, errors. On a "
		"terminal the keys\nare: q quit, p hold the picture, s sort by the next "
		"column.",
	.options = options,
};

struct top {
	struct cli *cli;
	int64_t interval_ns;
	bool is_once;
	bool is_held; /* no new figures for now */
	enum top_order order;
	struct top_figures before, now;
};

/* --- figures -------------------------------------------------------------------------
 */

static hsmpool_status take(struct top *top, hsmpool_error *err)
{
	top_figures_free(&top->before);
	top->before = top->now;
	return top_figures_take(&top->now, &top->before, hp_now_ns() + PATIENCE, err);
}

static void format_clock(char clock[static CLOCK])
{
	time_t now = time(NULL);
	struct tm local;

	if (!localtime_r(&now, &local) || !strftime(clock, CLOCK, "%H:%M:%S ", &local))
		*clock = '\0';
}

/* --- the screen ----------------------------------------------------------------------
 */

static void write_picture(FILE *out, const struct top *top)
{
	char clock[CLOCK];

	format_clock(clock);
	fprintf(out, "hsmpool %s", clock);
	top_write_sum(out, &top->now);
	fprintf(out, ", by %s%s\n\n", top_order_names[top->order],
		top->is_held ? ", held" : "");
	top_write_title(out, "");
	top_write_table(out, &top->now, top->order, "");
	if (top->now.count == 0)
		fputs("\nNo process with a control socket is there.\n", out);
	fputc('\n', out);
	top_write_errors(out, &top->now, top->order, "");
}

static hsmpool_status draw(const struct top *top, hsmpool_error *err)
{
	HP_AUTO_FREE char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	bool is_whole;

	HP_CHECK(out, err, HSMPOOL_ERR_SYSTEM, "no memory for the picture");
	write_picture(out, top);
	is_whole = !ferror(out);
	HP_CHECK(fclose(out) == 0 && is_whole, err, HSMPOOL_ERR_SYSTEM,
		 "no memory for the picture");
	top_terminal_draw(text, 2);
	HP_CHECK(!ferror(stdout), err, HSMPOOL_ERR_SYSTEM, "the terminal is gone");
	return HSMPOOL_OK;
}

/* Draw at each key and new size until the interval is over. True: go on. */
static hsmpool_status show_until(struct top *top, int64_t deadline_ns, bool *is_over,
				 hsmpool_error *err)
{
	while (!*is_over) {
		HP_TRY(stop_check(err));
		HP_TRY(draw(top, err));
		switch (top_terminal_wait(deadline_ns)) {
		case 'q':
			*is_over = true;
			break;
		case 'p':
			top->is_held = !top->is_held;
			break;
		case 's':
			top->order = (top->order + 1) % TOP_ORDERS;
			break;
		default:
			if (hp_now_ns() >= deadline_ns)
				return stop_check(err);
		}
	}
	return HSMPOOL_OK;
}

static hsmpool_status run_screen(struct top *top, hsmpool_error *err)
{
	hsmpool_status status = HSMPOOL_OK;
	bool is_over = false;

	top_terminal_begin();
	while (status == HSMPOOL_OK && !is_over) {
		if (!top->is_held)
			status = take(top, err);
		/* From here on: a process that hangs leaves time for the keys. */
		if (status == HSMPOOL_OK)
			status = show_until(top, hp_now_ns() + top->interval_ns, &is_over,
					    err);
	}
	top_terminal_end();
	return status;
}

/* --- lines ---------------------------------------------------------------------------
 */

static void print_json(const struct top *top)
{
	struct json_object *object = top_make_json(&top->now);

	if (top->is_once) {
		cli_print_json(object);
		return;
	}
	puts(json_object_to_json_string_ext(
		object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}

static void print_lines(const struct top *top, bool is_first)
{
	char clock[CLOCK];

	format_clock(clock);
	if (is_first)
		top_write_title(stdout, clock);
	top_write_table(stdout, &top->now, TOP_BY_PROCESS, clock);
	top_write_errors(stdout, &top->now, TOP_BY_PROCESS, clock);
}

static hsmpool_status run_lines(struct top *top, hsmpool_error *err)
{
	HP_TRY(take(top, err));
	for (bool is_first = true;; is_first = false) {
		HP_TRY(stop_sleep(top->interval_ns, err));
		HP_TRY(take(top, err));
		if (top->cli->is_json)
			print_json(top);
		else
			print_lines(top, is_first);
		HP_CHECK(fflush(stdout) == 0, err, HSMPOOL_ERR_SYSTEM,
			 "cannot write standard output");
		if (top->is_once)
			return HSMPOOL_OK;
	}
}

/* --- the verb ------------------------------------------------------------------------
 */

static hsmpool_status set_interval(struct top *top, const char *text, hsmpool_error *err)
{
	HP_CHECK(hp_parse_duration(text, &top->interval_ns) &&
			 top->interval_ns >= SHORTEST && top->interval_ns <= LONGEST,
		 err, HSMPOOL_ERR_USAGE,
		 "--interval: '%s' is not a duration from 100ms to 1h", text);
	return HSMPOOL_OK;
}

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	struct top *top = user;

	if (id == INTERVAL)
		return set_interval(top, argument, err);
	top->is_once = true;
	return HSMPOOL_OK;
}

static hsmpool_status run(struct top *top, hsmpool_error *err)
{
	if (top->is_once || top->cli->is_json || !top_terminal_is_there())
		return run_lines(top, err);
	return run_screen(top, err);
}

int verb_top(struct cli *cli, int argc, char **argv)
{
	struct top top = { .cli = cli, .interval_ns = 2 * HP_SECOND };
	hsmpool_error err = { 0 };
	hsmpool_status status =
		cli_parse(cli, &usage, take_option, &top, argc, argv, &err);

	if (status == HSMPOOL_OK)
		status = run(&top, &err);
	top_figures_free(&top.before);
	top_figures_free(&top.now);
	return cli_finish(cli, status, &err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The invocation: configuration, pool and key opened on demand, messages, exit codes.
 *
 * Owns: what is printed on standard error, and in which form a verb ends.
 */
#include "cli.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <json.h>
#include "base/error.h"
#include "stop.h"

#define MAX_NAME 200 /* of a [pool NAME] */

/* --- messages ------------------------------------------------------------------------
 */

/* Of a character at text that a terminal obeys instead of showing it: the controls of
 * ASCII, those of Unicode (U+0080 to U+009F), and what changes the direction of writing
 * (U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069). 0: it is none. */
static size_t control_len(const char *text)
{
	const uint8_t *at = (const uint8_t *)text;

	if (at[0] < 0x20 || at[0] == 0x7f)
		return 1;
	if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f)
		return 2;
	if (at[0] == 0xe2 && at[1] == 0x80 &&
	    (at[2] == 0x8e || at[2] == 0x8f || (at[2] >= 0xaa && at[2] <= 0xae)))
		return 3;
	return at[0] == 0xe2 && at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9 ? 3 : 0;
}

void cli_put_printable(const char *text, FILE *stream)
{
	while (*text) {
		size_t len = control_len(text);

		putc(len > 0 ? '?' : *text, stream);
		text += len > 0 ? len : 1;
	}
}

static void print_line(const struct cli *cli, const char *kind, const char *message)
{
	char line[1024];

	snprintf(line, sizeof(line), "hsmpool-cli: %s%s%s%s", cli->verb ? cli->verb : "",
		 cli->verb ? ": " : "", kind, message);
	cli_put_printable(line, stderr);
	putc('\n', stderr);
}

void cli_message(const struct cli *cli, const char *format, ...)
{
	char message[800];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	print_line(cli, "", message);
}

void cli_add_text(struct json_object *object, const char *name, const char *value)
{
	json_object_object_add(object, name, json_object_new_string(value));
}

void cli_add_number(struct json_object *object, const char *name, uint64_t value)
{
	json_object_object_add(object, name, json_object_new_uint64(value));
}

void cli_add_seconds(struct json_object *object, const char *name, double seconds)
{
	char text[32];

	snprintf(text, sizeof(text), "%.6f", seconds);
	json_object_object_add(object, name, json_object_new_double_s(seconds, text));
}

void cli_print_json(struct json_object *object)
{
	puts(json_object_to_json_string_ext(
		object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}

void cli_print_summary(struct json_object *object, bool is_stdout_taken)
{
	if (!is_stdout_taken) {
		cli_print_json(object);
		return;
	}
	fprintf(stderr, "%s\n",
		json_object_to_json_string_ext(
			object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}

unsigned cli_sessions_in_use(const struct cli *cli)
{
	hsmpool_stats stats = { .size = sizeof(stats) };

	if (cli->pool)
		hsmpool_get_stats(cli->pool, &stats);
	return stats.used;
}

int cli_finish(struct cli *cli, hsmpool_status status, const hsmpool_error *err)
{
	if (cli->is_finished)
		return cli->exit_code;
	if (status == HSMPOOL_OK)
		return 0;
	if (stop_requested())
		return 128 + stop_signal();
	cli_message(cli, "%s", err->text);
	return hsmpool_status_exit_code(status);
}

static void print_verdict(const struct cli *cli, bool is_valid)
{
	struct json_object *object;

	if (!cli->is_json) {
		if (is_valid)
			puts("OK");
		return;
	}
	object = json_object_new_object();
	json_object_object_add(object, "valid", json_object_new_boolean(is_valid));
	cli_print_json(object);
}

int cli_finish_verdict(struct cli *cli, hsmpool_status status, const hsmpool_error *err)
{
	if (status == HSMPOOL_OK || status == HSMPOOL_ERR_DATA)
		print_verdict(cli, status == HSMPOOL_OK);
	return cli_finish(cli, status, err);
}

/* --- warnings ------------------------------------------------------------------------
 */

#define HELD_LINES 8

static struct {
	pthread_mutex_t lock;
	size_t count; /* guarded by lock, as line */
	char line[HELD_LINES][400];
} held = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void hold_line(void *user, hsmpool_log_level level, const char *event,
		      const char *text)
{
	(void)user;
	(void)event;
	if (level > HSMPOOL_LOG_WARNING)
		return;
	pthread_mutex_lock(&held.lock);
	if (held.count < HELD_LINES)
		snprintf(held.line[held.count++], sizeof(held.line[0]), "%s", text);
	pthread_mutex_unlock(&held.lock);
}

void cli_warnings_hold(struct cli *cli)
{
	const char *debug = getenv("HSMPOOL_DEBUG");

	if (cli->verbosity == 0 && (!debug || !*debug))
		hsmpool_log_set_callback(hold_line, NULL);
}

void cli_warnings_print(const struct cli *cli)
{
	hsmpool_log_set_callback(NULL, NULL);
	pthread_mutex_lock(&held.lock);
	for (size_t i = 0; i < held.count; i++)
		print_line(cli, "warning: ", held.line[i]);
	held.count = 0;
	pthread_mutex_unlock(&held.lock);
}

/* --- configuration, pool, key ---------------------------------------------------------
 */

void cli_pool_section(const struct cli *cli, char *section, size_t cap)
{
	if (cli->pool_name)
		snprintf(section, cap, "pool %s", cli->pool_name);
	else
		snprintf(section, cap, "pool");
}

/* The options of the command line that override the file's. */
static hsmpool_status apply_options(struct cli *cli, hsmpool_error *err)
{
	char section[256];

	cli_pool_section(cli, section, sizeof(section));
	if (cli->timeout)
		HP_TRY(hsmpool_config_set(cli->config, section, "borrow-timeout",
					  cli->timeout, err));
	if (cli->verbosity > 0)
		HP_TRY(hsmpool_config_set(cli->config, section, "log-level",
					  cli->verbosity > 1 ? "debug" : "info", err));
	return HSMPOOL_OK;
}

/* Only what would go to standard error anyway, and no more than warnings. */
static bool are_warnings_held(const struct cli *cli)
{
	char section[256];
	const char *log, *level;

	cli_pool_section(cli, section, sizeof(section));
	log = hsmpool_config_get(cli->config, section, "log");
	level = hsmpool_config_get(cli->config, section, "log-level");
	return (!log || strcmp(log, "stderr") == 0) &&
	       (!level || strcmp(level, "warning") == 0 || strcmp(level, "error") == 0);
}

hsmpool_status cli_open_config(struct cli *cli, hsmpool_error *err)
{
	if (cli->config)
		return HSMPOOL_OK;
	HP_CHECK(!cli->pool_name || strlen(cli->pool_name) < MAX_NAME, err,
		 HSMPOOL_ERR_USAGE, "--pool: the name is too long");
	HP_TRY(hsmpool_config_load(&cli->config, cli->config_path, err));
	HP_TRY(apply_options(cli, err));
	if (are_warnings_held(cli))
		cli_warnings_hold(cli);
	return HSMPOOL_OK;
}

hsmpool_status cli_open_pool(struct cli *cli, hsmpool_error *err)
{
	if (cli->pool)
		return HSMPOOL_OK;
	HP_TRY(cli_open_config(cli, err));
	HP_TRY(stop_check(err));
	return hsmpool_open(&cli->pool, cli->config, cli->pool_name, HSMPOOL_DEFAULT,
			    err);
}

hsmpool_status cli_open_key(struct cli *cli, const char *which, hsmpool_key **key,
			    hsmpool_error *err)
{
	*key = NULL;
	HP_TRY(cli_open_config(cli, err));
	HP_CHECK(which || hsmpool_config_get(cli->config, "key default", "uri"), err,
		 HSMPOOL_ERR_USAGE,
		 "which key? say --key KEY, or name one as [key default] in %s",
		 hsmpool_config_path(cli->config));
	HP_TRY(cli_open_pool(cli, err));
	return hsmpool_key_open(key, cli->pool, which ? which : "default",
				HSMPOOL_DEFAULT, err);
}

void cli_close(struct cli *cli)
{
	hsmpool_close(&cli->pool);
	hsmpool_config_close(&cli->config);
}

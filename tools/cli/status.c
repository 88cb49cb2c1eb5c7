/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli status: the token, its limits, and the figures of this command's own pool.
 *
 * Pools live inside programs: what another process's pool does is asked of that process,
 * by ctl and top, not here.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <json.h>
#include "base/error.h"
#include "base/memory.h"
#include "cli.h"
#include "latched.h"
#include "p11/rv.h"
#include "p11/token.h"
#include "pool/figures.h"
#include "pool/pool.h"

static const struct cli_usage usage = {
	.synopsis = "",
	.about =
		"Log in, and show the token, its limits and the figures of the pool that "
		"this\ncommand opened for itself.",
};

static const struct {
	CK_FLAGS flag;
	const char *name;
} flags[] = {
	{ CKF_RNG, "rng" },
	{ CKF_WRITE_PROTECTED, "write-protected" },
	{ CKF_LOGIN_REQUIRED, "login-required" },
	{ CKF_USER_PIN_INITIALIZED, "user-pin-initialized" },
	{ CKF_PROTECTED_AUTHENTICATION_PATH, "protected-authentication-path" },
	{ CKF_TOKEN_INITIALIZED, "token-initialized" },
	{ CKF_USER_PIN_COUNT_LOW, "user-pin-count-low" },
	{ CKF_USER_PIN_FINAL_TRY, "user-pin-final-try" },
	{ CKF_USER_PIN_LOCKED, "user-pin-locked" },
	{ CKF_USER_PIN_TO_BE_CHANGED, "user-pin-to-be-changed" },
};

/* All that is shown, collected before anything is printed. */
struct report {
	hsmpool_token_info token;
	hsmpool_stats stats;
	struct hp_token raw; /* for the limits that the public structure leaves out */
	CK_ULONG mechanisms;
	struct latched latched;
};

/* "16, limit 1024", "16, no limit", "number and limit not told". */
static void format_sessions(CK_ULONG now, CK_ULONG max, char *text, size_t cap)
{
	char limit[40];

	if (max == CK_UNAVAILABLE_INFORMATION)
		snprintf(limit, sizeof(limit), "limit not told");
	else if (max == CK_EFFECTIVELY_INFINITE)
		snprintf(limit, sizeof(limit), "no limit");
	else
		snprintf(limit, sizeof(limit), "limit %lu", max);
	if (now == CK_UNAVAILABLE_INFORMATION)
		snprintf(text, cap, "number not told, %s", limit);
	else
		snprintf(text, cap, "%lu open, %s", now, limit);
}

static void print_flags(unsigned long value)
{
	printf("  %-22s", "flags");
	for (size_t i = 0; i < HP_ARRAY_LEN(flags); i++)
		if (value & flags[i].flag)
			printf(" %s", flags[i].name);
	printf("\n");
}

static void print_row(const char *name, const char *value)
{
	printf("  %-22s %s\n", name, value);
}

static void print_text(const struct report *report)
{
	const hsmpool_token_info *token = &report->token;
	const CK_TOKEN_INFO *info = &report->raw.info;
	const struct hp_figure *figure;
	char text[96];

	printf("token\n");
	print_row("label", token->label);
	print_row("serial", token->serial);
	print_row("model", token->model);
	print_row("manufacturer", token->manufacturer);
	print_row("module", token->module);
	print_row("module description", token->module_description);
	snprintf(text, sizeof(text), "0x%lx", token->slot_id);
	print_row("slot", text);
	print_flags(token->flags);
	print_row("logged in", token->logged_in ? "yes" : "no");
	snprintf(text, sizeof(text), "%lu", report->mechanisms);
	print_row("mechanisms", text);
	format_sessions(info->ulSessionCount, info->ulMaxSessionCount, text,
			sizeof(text));
	print_row("sessions", text);
	format_sessions(info->ulRwSessionCount, info->ulMaxRwSessionCount, text,
			sizeof(text));
	print_row("read-write sessions", text);
	snprintf(text, sizeof(text), "%lu to %lu bytes", info->ulMinPinLen,
		 info->ulMaxPinLen);
	print_row("PIN length", text);
	latched_describe(&report->latched, text, sizeof(text));
	print_row("PIN latch", text);
	printf("\npool of this command\n");
	for (size_t i = 0; (figure = hp_figure_at(i)); i++)
		printf("  %-22s %" PRIu64 "\n", figure->name,
		       hp_stat_get(&report->stats, &figure->stat));
}

/* A count that the token does not tell is null. */
static void add_count(struct json_object *object, const char *name, CK_ULONG value)
{
	json_object_object_add(object, name,
			       value == CK_UNAVAILABLE_INFORMATION
				       ? NULL
				       : json_object_new_uint64(value));
}

static struct json_object *token_json(const struct report *report)
{
	const hsmpool_token_info *token = &report->token;
	const CK_TOKEN_INFO *info = &report->raw.info;
	struct json_object *object = json_object_new_object();
	struct json_object *list = json_object_new_array();

	cli_add_text(object, "label", token->label);
	cli_add_text(object, "serial", token->serial);
	cli_add_text(object, "model", token->model);
	cli_add_text(object, "manufacturer", token->manufacturer);
	cli_add_text(object, "module", token->module);
	cli_add_text(object, "module-description", token->module_description);
	add_count(object, "slot", token->slot_id);
	for (size_t i = 0; i < HP_ARRAY_LEN(flags); i++)
		if (token->flags & flags[i].flag)
			json_object_array_add(list,
					      json_object_new_string(flags[i].name));
	json_object_object_add(object, "flags", list);
	json_object_object_add(object, "logged-in",
			       json_object_new_boolean(token->logged_in != 0));
	add_count(object, "mechanisms", report->mechanisms);
	add_count(object, "sessions", info->ulSessionCount);
	add_count(object, "max-sessions", info->ulMaxSessionCount);
	add_count(object, "read-write-sessions", info->ulRwSessionCount);
	add_count(object, "max-read-write-sessions", info->ulMaxRwSessionCount);
	add_count(object, "latched-pins", report->latched.pins);
	json_object_object_add(object, "latch-damaged",
			       json_object_new_boolean(report->latched.is_damaged));
	return object;
}

/* How often each function was used, and how long that took. */
static struct json_object *operations_json(hsmpool *pool)
{
	struct json_object *list = json_object_new_array();
	hsmpool_operation_stats stats = { .size = sizeof(stats) };

	for (size_t i = 0; hsmpool_get_operation_stats(pool, i, &stats); i++) {
		struct json_object *one = json_object_new_object();
		cli_add_text(one, "function", stats.function);
		json_object_object_add(one, "count", json_object_new_uint64(stats.count));
		json_object_object_add(one, "total-ns",
				       json_object_new_uint64(stats.total_ns));
		json_object_array_add(list, one);
	}
	return list;
}

static struct json_object *errors_json(hsmpool *pool)
{
	struct json_object *object = json_object_new_object();
	hsmpool_error_stats stats = { .size = sizeof(stats) };

	for (size_t i = 0; hsmpool_get_error_stats(pool, i, &stats); i++)
		json_object_object_add(object, stats.name,
				       json_object_new_uint64(stats.count));
	return object;
}

static void print_json(hsmpool *of, const struct report *report)
{
	struct json_object *root = json_object_new_object();
	struct json_object *pool = json_object_new_object();
	const struct hp_figure *figure;

	for (size_t i = 0; (figure = hp_figure_at(i)); i++)
		cli_add_number(pool, figure->name,
			       hp_stat_get(&report->stats, &figure->stat));
	json_object_object_add(pool, "operations", operations_json(of));
	json_object_object_add(pool, "errors", errors_json(of));
	json_object_object_add(root, "token", token_json(report));
	json_object_object_add(root, "pool", pool);
	cli_print_json(root);
}

static hsmpool_status collect(struct cli *cli, struct report *report, hsmpool_error *err)
{
	CK_MECHANISM_TYPE *mechanisms = NULL;
	uint8_t byte;

	HP_TRY(cli_open_pool(cli, err));
	/* One real operation: the figures are those of a pool that worked. */
	HP_TRY(hsmpool_random(cli->pool, &byte, 1, HSMPOOL_DEFAULT, err));
	report->token.size = sizeof(report->token);
	HP_TRY(hsmpool_get_token_info(cli->pool, &report->token, err));
	report->stats.size = sizeof(report->stats);
	hsmpool_get_stats(cli->pool, &report->stats);
	hp_pool_token(cli->pool, &report->raw);
	hp_token_refresh(&report->raw);
	latched_read(hp_pool_options(cli->pool)->state_dir, &report->raw.info,
		     &report->latched);
	if (hp_token_mechanisms(&report->raw, &mechanisms, &report->mechanisms) != CKR_OK)
		report->mechanisms = 0;
	free(mechanisms);
	return HSMPOOL_OK;
}

static hsmpool_status show(struct cli *cli, hsmpool_error *err)
{
	struct report report = { 0 };

	HP_TRY(collect(cli, &report, err));
	if (cli->is_json)
		print_json(cli->pool, &report);
	else
		print_text(&report);
	return HSMPOOL_OK;
}

int verb_status(struct cli *cli, int argc, char **argv)
{
	hsmpool_error err = { 0 };
	hsmpool_status status = cli_parse(cli, &usage, NULL, NULL, argc, argv, &err);

	if (status == HSMPOOL_OK)
		status = show(cli, &err);
	return cli_finish(cli, status, &err);
}

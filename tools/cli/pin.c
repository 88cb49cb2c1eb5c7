/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli pin status, release: the latch on refused PINs that processes share.
 *
 * Works on the files in state-dir alone: no module is loaded, no PIN read or tried.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <json.h>
#include "base/error.h"
#include "base/memory.h"
#include "cli.h"
#include "config/options.h"
#include "p11/rv.h"
#include "p11/uri.h"
#include "pool/latch.h"

enum { TOKEN = CLI_OWN, ALL };

/* Whose latches are meant, and what there is of them. */
struct request {
	const char *token; /* a URI; NULL: the configuration's, if it names one */
	bool is_all;
	struct hp_pool_options options;
	struct hp_latch_file *files;
	size_t count;
	size_t others; /* files that were left out */
};

/* --- which files ---------------------------------------------------------------------
 */

static void pad(CK_UTF8CHAR *field, size_t len, const char *text)
{
	memset(field, ' ', len);
	memcpy(field, text, strnlen(text, len));
}

static bool is_of_token(const struct hp_latch_file *file, const struct hp_uri *uri)
{
	const struct hp_latch_record *record = &file->record;
	CK_TOKEN_INFO token = { 0 };

	pad(token.label, sizeof(token.label), record->label);
	pad(token.manufacturerID, sizeof(token.manufacturerID), record->manufacturer);
	pad(token.model, sizeof(token.model), record->model);
	pad(token.serialNumber, sizeof(token.serialNumber), record->serial);
	return !file->is_damaged && hp_uri_matches_token(uri, 0, &token);
}

static void leave_out_others(struct request *request, const struct hp_uri *uri)
{
	size_t kept = 0;

	for (size_t i = 0; i < request->count; i++)
		if (!uri || is_of_token(&request->files[i], uri))
			request->files[kept++] = request->files[i];
	request->others = request->count - kept;
	request->count = kept;
}

static hsmpool_status collect(struct cli *cli, struct request *request,
			      hsmpool_error *err)
{
	struct hp_uri *uri = NULL;
	const char *token;

	HP_TRY(cli_open_config(cli, err));
	HP_TRY(hp_config_pool(cli->config, cli->pool_name, &request->options, err));
	token = request->token ? request->token : request->options.token;
	if (token && !request->is_all)
		HP_TRY(hp_uri_parse(token, &uri, err));
	hsmpool_status status = hp_latch_list(request->options.state_dir, &request->files,
					      &request->count, err);
	if (status == HSMPOOL_OK)
		leave_out_others(request, uri);
	hp_uri_free(&uri);
	return status;
}

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	struct request *request = user;

	if (id == TOKEN)
		request->token = argument;
	else
		request->is_all = true;
	HP_CHECK(!request->token || !request->is_all, err, HSMPOOL_ERR_USAGE,
		 "say --token or --all, not both");
	return HSMPOOL_OK;
}

static int finish(struct cli *cli, struct request *request, hsmpool_status status,
		  const hsmpool_error *err)
{
	hp_pool_options_clear(&request->options);
	free(request->files);
	return cli_finish(cli, status, err);
}

static const struct cli_option options[] = {
	{ "token", TOKEN, "URI", "the token's, instead of the configuration's" },
	{ "all", ALL, NULL, "all tokens', and damaged files" },
	CLI_OPTION_END,
};

/* --- status --------------------------------------------------------------------------
 */

static const struct cli_usage status_usage = {
	.synopsis = "[--token URI | --all]",
	.about =
		"Show which PINs are not tried any more, because the token refused them, "
		"by any\nprogram that uses this state-dir. The HSM is not asked.",
	.options = options,
};

static const char *state_of(const struct hp_latch_pin *pin)
{
	return pin->state == HP_LATCH_REFUSED ? "refused" : "begun";
}

static void format_time(long long time_s, char *text, size_t cap)
{
	time_t time = (time_t)time_s;
	struct tm utc;

	if (!gmtime_r(&time, &utc) || !strftime(text, cap, "%Y-%m-%dT%H:%M:%SZ", &utc))
		snprintf(text, cap, "at an unknown time");
}

static void print_pin(const struct hp_latch_pin *pin)
{
	char when[40], name[32];

	format_time(pin->time_s, when, sizeof(when));
	if (pin->state == HP_LATCH_REFUSED)
		printf("  a PIN was refused (%s) at %s, to process %d%s\n",
		       hp_rv_name(pin->rv, name), when, pin->process,
		       pin->is_old ? "; another was accepted since" : "");
	else
		printf("  a PIN was tried at %s by process %d; how it ended is not "
		       "known\n",
		       when, pin->process);
}

static void print_file(const struct hp_latch_file *file)
{
	printf("token '%s', serial %s: %s\n", file->is_damaged ? "?" : file->record.label,
	       file->is_damaged ? "?" : file->record.serial,
	       file->is_damaged ? "the file is damaged, no PIN is tried" : "latched");
	for (size_t i = 0; i < HP_LATCH_PINS; i++)
		if (file->record.pins[i].state != HP_LATCH_NONE)
			print_pin(&file->record.pins[i]);
}

static struct json_object *pin_json(const struct hp_latch_pin *pin)
{
	struct json_object *object = json_object_new_object();
	char when[40], name[32];

	format_time(pin->time_s, when, sizeof(when));
	json_object_object_add(object, "state", json_object_new_string(state_of(pin)));
	if (pin->state == HP_LATCH_REFUSED)
		json_object_object_add(object, "answer",
				       json_object_new_string(hp_rv_name(pin->rv, name)));
	json_object_object_add(object, "time", json_object_new_string(when));
	json_object_object_add(object, "process", json_object_new_int(pin->process));
	json_object_object_add(object, "accepted-another-since",
			       json_object_new_boolean(pin->is_old));
	return object;
}

static struct json_object *file_json(const struct hp_latch_file *file)
{
	struct json_object *object = json_object_new_object();
	struct json_object *pins = json_object_new_array();

	json_object_object_add(object, "file", json_object_new_string(file->name));
	json_object_object_add(object, "damaged",
			       json_object_new_boolean(file->is_damaged));
	json_object_object_add(object, "token",
			       json_object_new_string(file->record.label));
	json_object_object_add(object, "serial",
			       json_object_new_string(file->record.serial));
	for (size_t i = 0; i < HP_LATCH_PINS; i++)
		if (file->record.pins[i].state != HP_LATCH_NONE)
			json_object_array_add(pins, pin_json(&file->record.pins[i]));
	json_object_object_add(object, "pins", pins);
	return object;
}

static void print_all(const struct cli *cli, const struct request *request)
{
	struct json_object *list = cli->is_json ? json_object_new_array() : NULL;

	for (size_t i = 0; i < request->count; i++) {
		if (list)
			json_object_array_add(list, file_json(&request->files[i]));
		else
			print_file(&request->files[i]);
	}
	if (list)
		cli_print_json(list);
	else if (request->count == 0)
		printf("no PIN is latched\n");
}

int verb_pin_status(struct cli *cli, int argc, char **argv)
{
	struct request request = { 0 };
	hsmpool_error err = { 0 };
	hsmpool_status status =
		cli_parse(cli, &status_usage, take_option, &request, argc, argv, &err);

	if (status == HSMPOOL_OK)
		status = collect(cli, &request, &err);
	if (status == HSMPOOL_OK)
		print_all(cli, &request);
	return finish(cli, &request, status, &err);
}

/* --- release -------------------------------------------------------------------------
 */

static const struct cli_usage release_usage = {
	.synopsis = "[--token URI | --all]",
	.about =
		"Let PINs that the token refused be tried again. Programs that run take "
		"notice\nwithin some seconds. Make sure first that the PIN is right: each "
		"wrong try counts.",
	.options = options,
};

static hsmpool_status release(const struct request *request, hsmpool_error *err)
{
	for (size_t i = 0; i < request->count; i++)
		HP_TRY(hp_latch_release(request->options.state_dir,
					request->files[i].name, err));
	return HSMPOOL_OK;
}

static void print_released(const struct cli *cli, const struct request *request)
{
	struct json_object *object;

	if (!cli->is_json) {
		printf("released: %zu\n", request->count);
		if (request->others > 0)
			printf("left as they are, of other tokens or damaged: %zu\n",
			       request->others);
		return;
	}
	object = json_object_new_object();
	json_object_object_add(object, "released",
			       json_object_new_uint64(request->count));
	json_object_object_add(object, "others", json_object_new_uint64(request->others));
	cli_print_json(object);
}

int verb_pin_release(struct cli *cli, int argc, char **argv)
{
	struct request request = { 0 };
	hsmpool_error err = { 0 };
	hsmpool_status status =
		cli_parse(cli, &release_usage, take_option, &request, argc, argv, &err);

	if (status == HSMPOOL_OK)
		status = collect(cli, &request, &err);
	if (status == HSMPOOL_OK)
		status = release(&request, &err);
	if (status == HSMPOOL_OK)
		print_released(cli, &request);
	return finish(cli, &request, status, &err);
}

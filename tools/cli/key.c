/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli key show, export, destroy: one key, named as operand or with --key.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <json.h>
#include "base/error.h"
#include "cli.h"
#include "keyspec.h"
#include "output.h"

#define MAX_PEM 16384

/* What the three verbs take. */
struct request {
	const char *which;
	const char *out_path;
	bool is_forced;
	bool is_yes;
};

/* Common parsing. False: the verb is over with cli->exit_code. */
static bool parse(struct cli *cli, const struct cli_usage *usage, int argc, char **argv,
		  struct request *request)
{
	hsmpool_error err = { 0 };
	hsmpool_status status;
	int id;

	while ((id = cli_next_option(cli, usage, argc, argv)) != -1) {
		if (id == CLI_KEY)
			request->which = optarg;
		else if (id == CLI_OUT)
			request->out_path = optarg;
		else if (id == CLI_FORCE)
			request->is_forced = true;
		else if (id == CLI_YES)
			request->is_yes = true;
	}
	if (cli->is_finished)
		return false;
	status = cli_operands(argc, request->which ? 0 : 1, argv, &err);
	if (optind < argc)
		request->which = argv[optind];
	cli->exit_code = cli_finish(cli, status, &err);
	return status == HSMPOOL_OK;
}

/* --- show ----------------------------------------------------------------------------
 */

static const struct cli_option show_options[] = { CLI_OPTION_KEY, CLI_OPTION_END };
static const struct cli_usage show_usage = {
	.synopsis = "[KEY]",
	.about = "Print the attributes of a key. Nothing secret is among them.",
	.options = show_options,
};

static hsmpool_status show(struct cli *cli, const struct request *request,
			   hsmpool_error *err)
{
	CLI_AUTO_KEY *key = NULL;

	HP_TRY(cli_open_key(cli, request->which, &key, err));
	return keyspec_print(cli, key, err);
}

int verb_key_show(struct cli *cli, int argc, char **argv)
{
	struct request request = { 0 };
	hsmpool_error err = { 0 };

	if (!parse(cli, &show_usage, argc, argv, &request))
		return cli->exit_code;
	return cli_finish(cli, show(cli, &request, &err), &err);
}

/* --- export --------------------------------------------------------------------------
 */

static const struct cli_option export_options[] = {
	CLI_OPTION_KEY,
	CLI_OPTION_OUT,
	CLI_OPTION_FORCE,
	CLI_OPTION_END,
};
static const struct cli_usage export_usage = {
	.synopsis = "[KEY] [--out FILE]",
	.about = "Print the public half of a key pair as PEM. Private and secret keys "
		 "stay in\nthe token; see wrap for carrying one to another token.",
	.options = export_options,
};

static hsmpool_status print_pem(struct cli *cli, const struct request *request,
				const char *pem, size_t len, hsmpool_error *err)
{
	struct json_object *object;

	if (!cli->is_json)
		return output_write_file(request->out_path, request->is_forced, pem, len,
					 err);
	object = json_object_new_object();
	json_object_object_add(object, "public-key", json_object_new_string(pem));
	cli_print_json(object);
	return HSMPOOL_OK;
}

static hsmpool_status export_public(struct cli *cli, const struct request *request,
				    hsmpool_error *err)
{
	CLI_AUTO_KEY *key = NULL;
	char text[MAX_PEM];
	hsmpool_buf pem = { .data = (uint8_t *)text, .cap = sizeof(text) };

	HP_CHECK(!cli->is_json || !request->out_path, err, HSMPOOL_ERR_USAGE,
		 "say --json or --out, not both");
	HP_TRY(cli_open_key(cli, request->which, &key, err));
	HP_TRY(hsmpool_key_export_public(key, &pem, HSMPOOL_DEFAULT, err));
	return print_pem(cli, request, text, pem.len, err);
}

int verb_key_export(struct cli *cli, int argc, char **argv)
{
	struct request request = { 0 };
	hsmpool_error err = { 0 };

	if (!parse(cli, &export_usage, argc, argv, &request))
		return cli->exit_code;
	return cli_finish(cli, export_public(cli, &request, &err), &err);
}

/* --- destroy -------------------------------------------------------------------------
 */

static const struct cli_option destroy_options[] = {
	CLI_OPTION_KEY,
	{ "yes", CLI_YES, NULL, "do not ask" },
	CLI_OPTION_END,
};
static const struct cli_usage destroy_usage = {
	.synopsis = "KEY [--yes]",
	.about = "Destroy a key: a secret key, or the private and the public half. There "
		 "is no way\nback. Asks on a terminal; elsewhere --yes is needed.",
	.options = destroy_options,
};

/* True if the answer on the terminal is "yes". */
static bool ask(const hsmpool_key_info *info)
{
	char answer[16];

	fprintf(stderr, "Destroy %s key '%s' for ever? Type yes: ", info->type,
		info->label);
	return fgets(answer, sizeof(answer), stdin) && strcmp(answer, "yes\n") == 0;
}

static hsmpool_status confirm(hsmpool_key *key, const struct request *request,
			      hsmpool_error *err)
{
	hsmpool_key_info info = { .size = sizeof(info) };

	if (request->is_yes)
		return HSMPOOL_OK;
	HP_CHECK(isatty(STDIN_FILENO), err, HSMPOOL_ERR_USAGE,
		 "destroying a key has no way back; say --yes");
	HP_TRY(hsmpool_key_get_info(key, &info, HSMPOOL_DEFAULT, err));
	HP_CHECK(ask(&info), err, HSMPOOL_ERR_USAGE, "not confirmed: the key stays");
	return HSMPOOL_OK;
}

static hsmpool_status destroy(struct cli *cli, const struct request *request,
			      hsmpool_error *err)
{
	CLI_AUTO_KEY *key = NULL;
	struct json_object *object;

	HP_CHECK(request->which, err, HSMPOOL_ERR_USAGE, "name the key to destroy");
	HP_TRY(cli_open_key(cli, request->which, &key, err));
	HP_TRY(confirm(key, request, err));
	HP_TRY(hsmpool_key_destroy(key, HSMPOOL_DEFAULT, err));
	if (cli->is_json) {
		object = json_object_new_object();
		json_object_object_add(object, "destroyed",
				       json_object_new_string(request->which));
		cli_print_json(object);
	}
	return HSMPOOL_OK;
}

int verb_key_destroy(struct cli *cli, int argc, char **argv)
{
	struct request request = { 0 };
	hsmpool_error err = { 0 };

	if (!parse(cli, &destroy_usage, argc, argv, &request))
		return cli->exit_code;
	return cli_finish(cli, destroy(cli, &request, &err), &err);
}

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
#include "base/memory.h"
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

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	struct request *request = user;

	(void)err;
	if (id == CLI_KEY)
		request->which = argument;
	else if (id == CLI_OUT)
		request->out_path = argument;
	else if (id == CLI_FORCE)
		request->is_forced = true;
	else if (id == CLI_YES)
		request->is_yes = true;
	return HSMPOOL_OK;
}

/* Read the command line, then run. */
static int run_verb(struct cli *cli, const struct cli_usage *usage, int argc, char **argv,
		    hsmpool_status (*run)(struct cli *cli, const struct request *request,
					  hsmpool_error *err))
{
	struct request request = { 0 };
	hsmpool_error err = { 0 };
	hsmpool_status status =
		cli_parse(cli, usage, take_option, &request, argc, argv, &err);

	if (status == HSMPOOL_OK)
		status = cli_operands(argc, request.which ? 0 : 1, argv, &err);
	if (status == HSMPOOL_OK && optind < argc)
		request.which = argv[optind];
	if (status == HSMPOOL_OK)
		status = run(cli, &request, &err);
	return cli_finish(cli, status, &err);
}

/* --- show ----------------------------------------------------------------------------
 */

static const struct cli_option show_options[] = { CLI_OPTION_KEY, CLI_OPTION_END };
static const struct cli_usage show_usage = {
	.synopsis = "[KEY]",
	.about = "Print the attributes of a key. Nothing secret is among them.",
	.options = show_options,
	.operands = 1,
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
	return run_verb(cli, &show_usage, argc, argv, show);
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
	.operands = 1,
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
	return run_verb(cli, &export_usage, argc, argv, export_public);
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
	.about =
		"Destroy a key: a secret key, or the private and the public half. There "
		"is no way\nback, and what only it opens is lost. Asks on a terminal for "
		"the key's label;\nelsewhere --yes is needed.",
	.options = destroy_options,
	.operands = 1,
};

/* The objects that the key's URI means, which are those that are destroyed. */
struct doomed {
	hsmpool_key_info at[2];
	size_t count;
};

static int note_doomed(void *user, const hsmpool_key_info *info)
{
	struct doomed *doomed = user;

	if (doomed->count < HP_ARRAY_LEN(doomed->at))
		doomed->at[doomed->count++] = *info;
	return 0;
}

/* A name stands for the URI of its section. */
static hsmpool_status find_doomed(const struct cli *cli, const char *which,
				  struct doomed *doomed, hsmpool_error *err)
{
	char section[256];
	const char *uri;

	snprintf(section, sizeof(section), "key %s", which);
	uri = hsmpool_config_get(cli->config, section, "uri");
	return hsmpool_key_list(cli->pool, uri ? uri : which, note_doomed, doomed,
				HSMPOOL_DEFAULT, err);
}

static void print_doomed(FILE *to, const hsmpool_key_info *info)
{
	char id[2 * sizeof(info->id) + 1];

	hp_hex_encode(info->id, info->id_len, id);
	fprintf(to, "%s '%s', %s%s%s\n", info->class_name, info->label, info->type,
		*id ? ", id " : "", id);
}

/* True if the label is typed; "yes" for a key that has none. */
static bool ask(const struct doomed *doomed)
{
	char answer[sizeof(doomed->at[0].label) + 2];
	const char *label = doomed->count > 0 ? doomed->at[0].label : "";

	fprintf(stderr, "This destroys for ever, with what only it opens:\n");
	for (size_t i = 0; i < doomed->count; i++) {
		fprintf(stderr, "  ");
		print_doomed(stderr, &doomed->at[i]);
	}
	fprintf(stderr, "Type %s to go on: ", *label ? "its label" : "yes");
	if (!fgets(answer, sizeof(answer), stdin))
		return false;
	answer[strcspn(answer, "\n")] = '\0';
	return strcmp(answer, *label ? label : "yes") == 0;
}

static hsmpool_status confirm(const struct doomed *doomed, const struct request *request,
			      hsmpool_error *err)
{
	if (request->is_yes)
		return HSMPOOL_OK;
	HP_CHECK(isatty(STDIN_FILENO), err, HSMPOOL_ERR_USAGE,
		 "destroying a key has no way back; say --yes");
	HP_CHECK(ask(doomed), err, HSMPOOL_ERR_USAGE, "not confirmed: the key stays");
	return HSMPOOL_OK;
}

static void print_destroyed(const struct cli *cli, const struct request *request,
			    const struct doomed *doomed)
{
	struct json_object *object, *list;

	for (size_t i = 0; i < doomed->count && !cli->is_json; i++) {
		printf("destroyed    ");
		print_doomed(stdout, &doomed->at[i]);
	}
	if (!cli->is_json)
		return;
	object = json_object_new_object();
	list = json_object_new_array();
	json_object_object_add(object, "destroyed",
			       json_object_new_string(request->which));
	for (size_t i = 0; i < doomed->count; i++)
		json_object_array_add(list, keyspec_json(&doomed->at[i]));
	json_object_object_add(object, "objects", list);
	cli_print_json(object);
}

static hsmpool_status destroy(struct cli *cli, const struct request *request,
			      hsmpool_error *err)
{
	CLI_AUTO_KEY *key = NULL;
	struct doomed doomed = { .count = 0 };

	HP_CHECK(request->which, err, HSMPOOL_ERR_USAGE, "name the key to destroy");
	HP_TRY(cli_open_key(cli, request->which, &key, err));
	HP_TRY(find_doomed(cli, request->which, &doomed, err));
	HP_TRY(confirm(&doomed, request, err));
	HP_TRY(hsmpool_key_destroy(key, HSMPOOL_DEFAULT, err));
	print_destroyed(cli, request, &doomed);
	return HSMPOOL_OK;
}

int verb_key_destroy(struct cli *cli, int argc, char **argv)
{
	return run_verb(cli, &destroy_usage, argc, argv, destroy);
}

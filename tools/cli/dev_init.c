/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli dev init: a private SoftHSM2 token, a key and a configuration, to try
 * hsmpool without an HSM. Everything lies in the user's folders (or --dir); nothing
 * existing is touched, and a failure leaves nothing behind.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <json.h>
#include "base/error.h"
#include "base/memory.h"
#include "cli.h"
#include "dev_place.h"
#include "output.h"
#include "p11/admin.h"
#include "p11/module.h"
#include "stop.h"

#define TOKEN_LABEL "hsmpool-dev"
#define KEY_LABEL   "default"

enum { OPTION_DIR = CLI_OWN, OPTION_MODULE };

static const struct cli_option options[] = {
	{ "dir", OPTION_DIR, "DIR", "put everything, hsmpool.conf too, into DIR" },
	{ "module", OPTION_MODULE, "FILE", "SoftHSM2's module (" CLI_SOFTHSM_MODULE ")" },
	CLI_OPTION_END,
};

static const struct cli_usage usage = {
	.synopsis = "[--dir DIR] [--module FILE]",
	.about = "Make a private SoftHSM2 token, an AES key 'default' and a "
		 "configuration, "
		 "under\n~/.local/share/hsmpool and ~/.config/hsmpool. For development: "
		 "keys of SoftHSM2\nare only as safe as the files they lie in.",
	.options = options,
};

struct request {
	const char *dir;
	const char *module;
};

/* --- files ----------------------------------------------------------------------------
 */

static hsmpool_status write_softhsm_conf(const struct dev_place *place,
					 hsmpool_error *err)
{
	char text[PATH_MAX + 200];
	int len = snprintf(text, sizeof(text),
			   "# Made by hsmpool-cli dev init.\n"
			   "directories.tokendir = %s\n"
			   "objectstore.backend = file\n"
			   "log.level = ERROR\n"
			   "slots.removable = false\n",
			   place->tokens);

	return output_write_file(place->softhsm_conf, false, text, (size_t)len, err);
}

static hsmpool_status write_config(const struct dev_place *place, const char *module,
				   hsmpool_error *err)
{
	char text[5 * PATH_MAX];
	int len = snprintf(text, sizeof(text),
			   "; Made by hsmpool-cli dev init. See hsmpool.conf(5).\n"
			   "[pool]\n"
			   "module = %s\n"
			   "module-env = SOFTHSM2_CONF=%s\n"
			   "token = pkcs11:token=" TOKEN_LABEL "\n"
			   "pin-source = file:%s\n"
			   "state-dir = %s\n"
			   "\n"
			   "[key default]\n"
			   "uri = pkcs11:object=" KEY_LABEL ";type=secret-key\n",
			   module, place->softhsm_conf, place->pin, place->state);

	HP_CHECK(len > 0 && (size_t)len < sizeof(text), err, HSMPOOL_ERR_USAGE,
		 "the paths are too long");
	return output_write_file(place->config, false, text, (size_t)len, err);
}

/* --- token and key ---------------------------------------------------------------------
 */

static hsmpool_status create_token(const struct dev_place *place,
				   struct hp_module *module, hsmpool_error *err)
{
	HP_AUTO_SECRET *pin = NULL;
	HP_AUTO_SECRET *so_pin = NULL;

	HP_TRY(dev_place_new_pin(place->pin, &pin, err));
	HP_TRY(dev_place_new_pin(place->so_pin, &so_pin, err));
	return hp_admin_create_token(module, TOKEN_LABEL, so_pin, pin, err);
}

/* Through the configuration just written: so it is known to work. */
static hsmpool_status create_key(struct cli *cli, hsmpool_key_info *info,
				 hsmpool_error *err)
{
	const hsmpool_key_spec spec = {
		.size = sizeof(spec),
		.type = "aes",
		.bits = 256,
		.label = KEY_LABEL,
	};
	CLI_AUTO_KEY *key = NULL;

	HP_TRY(cli_open_pool(cli, err));
	HP_TRY(hsmpool_key_generate(&key, cli->pool, &spec, HSMPOOL_DEFAULT, err));
	info->size = sizeof(*info);
	return hsmpool_key_get_info(key, info, HSMPOOL_DEFAULT, err);
}

static hsmpool_status make(struct cli *cli, const struct request *request,
			   struct dev_place *place, hsmpool_key_info *info,
			   hsmpool_error *err)
{
	struct hp_module *module = NULL;
	hsmpool_status status;

	HP_TRY(dev_place_make(place, request->dir, err));
	HP_TRY(write_softhsm_conf(place, err));
	/* Ours, whatever the caller's environment says. */
	if (setenv("SOFTHSM2_CONF", place->softhsm_conf, 1) < 0)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
				     "cannot set SOFTHSM2_CONF");
	HP_TRY(hp_module_open(&module, request->module, NULL, NULL, err));
	status = create_token(place, module, err);
	if (status == HSMPOOL_OK)
		status = write_config(place, request->module, err);
	if (status == HSMPOOL_OK) {
		cli->config_path = place->config;
		status = create_key(cli, info, err);
	}
	hp_module_close(&module);
	return status;
}

/* --- what is said ----------------------------------------------------------------------
 */

static void print_text(const struct dev_place *place, const hsmpool_key_info *info,
		       const char *option)
{
	printf("token          %s, in %s\n", TOKEN_LABEL, place->tokens);
	printf("PIN            %s\n", place->pin);
	printf("configuration  %s\n", place->config);
	printf("key            %s\n", info->uri);
	printf("\nTry:\n");
	printf("  hsmpool-cli%s%s encrypt --in FILE --out FILE.hsm\n", *option ? " " : "",
	       option);
	printf("  hsmpool-cli%s%s decrypt --in FILE.hsm --out FILE.back\n",
	       *option ? " " : "", option);
	printf("  hsmpool-cli%s%s doctor\n", *option ? " " : "", option);
}

static void print_json(const struct dev_place *place, const hsmpool_key_info *info)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "configuration",
			       json_object_new_string(place->config));
	json_object_object_add(object, "token", json_object_new_string(TOKEN_LABEL));
	json_object_object_add(object, "token-folder",
			       json_object_new_string(place->tokens));
	json_object_object_add(object, "pin-file", json_object_new_string(place->pin));
	json_object_object_add(object, "key", json_object_new_string(info->uri));
	cli_print_json(object);
}

static void print_made(const struct cli *cli, const struct request *request,
		       const struct dev_place *place, const hsmpool_key_info *info)
{
	char option[PATH_MAX + 16] = "";

	if (request->dir)
		snprintf(option, sizeof(option), "--config %s", place->config);
	if (cli->is_json)
		print_json(place, info);
	else
		print_text(place, info, option);
}

static bool is_set(const char *variable)
{
	const char *value = getenv(variable);

	return value && *value;
}

/* Variables that make the next command use something else than what was made. */
static void warn_of_environment(const struct cli *cli, const struct request *request,
				bool has_softhsm_conf)
{
	if (has_softhsm_conf)
		cli_message(cli,
			    "note: SOFTHSM2_CONF is set in your environment and wins "
			    "over this configuration; unset it");
	if (!request->dir && is_set("HSMPOOL_CONF"))
		cli_message(cli, "note: HSMPOOL_CONF is set in your environment and wins "
				 "over this configuration; unset it");
}

static hsmpool_status check_request(const struct cli *cli, struct request *request,
				    hsmpool_error *err)
{
	HP_CHECK(!cli->config_path && !cli->pool_name, err, HSMPOOL_ERR_USAGE,
		 "--config and --pool have no meaning here: use --dir DIR");
	if (!request->module)
		request->module = CLI_SOFTHSM_MODULE;
	HP_CHECK(!strpbrk(request->module, "#;\n"), err, HSMPOOL_ERR_USAGE,
		 "--module holds a character that a configuration cannot");
	return HSMPOOL_OK;
}

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	struct request *request = user;

	(void)err;
	if (id == OPTION_DIR)
		request->dir = argument;
	else if (id == OPTION_MODULE)
		request->module = argument;
	return HSMPOOL_OK;
}

int verb_dev_init(struct cli *cli, int argc, char **argv)
{
	struct request request = { 0 };
	struct dev_place place = { 0 };
	hsmpool_key_info info = { 0 };
	hsmpool_error err = { 0 };
	bool has_softhsm_conf = is_set("SOFTHSM2_CONF");
	hsmpool_status status =
		cli_parse(cli, &usage, take_option, &request, argc, argv, &err);

	if (status == HSMPOOL_OK)
		status = check_request(cli, &request, &err);
	if (status == HSMPOOL_OK)
		status = make(cli, &request, &place, &info, &err);
	if (status == HSMPOOL_OK) {
		print_made(cli, &request, &place, &info);
		warn_of_environment(cli, &request, has_softhsm_conf);
	} else {
		cli_close(cli);
		dev_place_remove(&place);
	}
	return cli_finish(cli, status, &err);
}

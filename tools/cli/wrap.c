/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli wrap: one key of the token, encrypted under another, to carry elsewhere.
 */
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "cli.h"
#include "encoding.h"
#include "output.h"
#include "wrapping.h"

enum { OPTION_TARGET = CLI_OWN };

static const struct cli_option options[] = {
	{ "key", CLI_KEY, "KEY", "the wrapping key (else [key default])" },
	{ "target", OPTION_TARGET, "KEY", "the key to carry; it must be extractable" },
	{ "scheme", CLI_SCHEME, "SCHEME",
	  "aes-kwp (default of aes keys), aes-kw, rsa-oaep-sha1, ..., rsa-pkcs1" },
	CLI_OPTION_OUT,
	CLI_OPTION_FORCE,
	CLI_OPTION_FORMAT,
	CLI_OPTION_END,
};

static const struct cli_usage usage = {
	.synopsis = "[--key KEY] --target KEY [--out FILE] [OPTION]...",
	.about = "Encrypt a key under another key, inside the HSM. unwrap is the way "
		 "back.",
	.options = options,
};

struct request {
	const char *which;
	const char *target;
	const char *scheme;
	const char *out_path;
	enum encoding encoding;
	bool is_forced;
};

hsmpool_status wrapping_choose_scheme(hsmpool_key *key, const char **scheme,
				      hsmpool_error *err)
{
	hsmpool_key_info info = { .size = sizeof(info) };

	if (*scheme)
		return HSMPOOL_OK;
	HP_TRY(hsmpool_key_get_info(key, &info, HSMPOOL_DEFAULT, err));
	HP_CHECK(strcmp(info.type, "aes") == 0, err, HSMPOOL_ERR_USAGE,
		 "key '%s' is of type %s: say which --scheme, rsa-oaep-sha256 or what "
		 "else the token has",
		 info.label, info.type);
	*scheme = "aes-kwp";
	return HSMPOOL_OK;
}

static hsmpool_status wrap(struct cli *cli, const struct request *request,
			   struct output *out, hsmpool_error *err)
{
	CLI_AUTO_KEY *key = NULL;
	CLI_AUTO_KEY *target = NULL;
	const char *scheme = request->scheme;
	uint8_t data[WRAPPING_MAX];
	hsmpool_buf wrapped = { .data = data, .cap = sizeof(data) };

	HP_CHECK(request->target, err, HSMPOOL_ERR_USAGE,
		 "which key shall be wrapped? say --target KEY");
	HP_TRY(cli_open_key(cli, request->which, &key, err));
	HP_TRY(cli_open_key(cli, request->target, &target, err));
	HP_TRY(wrapping_choose_scheme(key, &scheme, err));
	HP_TRY(hsmpool_key_wrap(key, scheme, target, &wrapped, HSMPOOL_DEFAULT, err));
	return encoding_write_result(cli, out, request->encoding, "wrapped-key", scheme,
				     data, wrapped.len, err);
}

static hsmpool_status take_option(struct request *request, int id, const char *argument,
				  hsmpool_error *err)
{
	if (id == CLI_KEY)
		request->which = argument;
	else if (id == OPTION_TARGET)
		request->target = argument;
	else if (id == CLI_SCHEME)
		request->scheme = argument;
	else if (id == CLI_OUT)
		request->out_path = argument;
	else if (id == CLI_FORCE)
		request->is_forced = true;
	else if (id == CLI_FORMAT)
		return encoding_parse(argument, &request->encoding, err);
	return HSMPOOL_OK;
}

int verb_wrap(struct cli *cli, int argc, char **argv)
{
	struct request request = { 0 };
	struct output out;
	hsmpool_error err = { 0 };
	hsmpool_status status = HSMPOOL_OK;
	int id;

	while (status == HSMPOOL_OK &&
	       (id = cli_next_option(cli, &usage, argc, argv)) != -1)
		status = take_option(&request, id, optarg, &err);
	if (cli->is_finished)
		return cli->exit_code;
	if (status == HSMPOOL_OK)
		status = cli_operands(argc, 0, argv, &err);
	if (status != HSMPOOL_OK)
		return cli_finish(cli, status, &err);
	status = output_open(&out, request.out_path, request.is_forced, &err);
	if (status == HSMPOOL_OK)
		status = wrap(cli, &request, &out, &err);
	output_close(&out);
	return cli_finish(cli, status, &err);
}

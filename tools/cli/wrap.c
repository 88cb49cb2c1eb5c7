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
#include "work.h"
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
	struct work work;
	const char *target;
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
			   hsmpool_error *err)
{
	const struct work *work = &request->work;
	OUTPUT_AUTO out = OUTPUT_NONE;
	CLI_AUTO_KEY *key = NULL;
	CLI_AUTO_KEY *target = NULL;
	const char *scheme = work->scheme;
	uint8_t data[WRAPPING_MAX];
	hsmpool_buf wrapped = { .data = data, .cap = sizeof(data) };

	HP_TRY(output_open(&out, work->out_path, work->is_forced, err));
	HP_CHECK(request->target, err, HSMPOOL_ERR_USAGE,
		 "which key shall be wrapped? say --target KEY");
	HP_TRY(cli_open_key(cli, work->which, &key, err));
	HP_TRY(cli_open_key(cli, request->target, &target, err));
	HP_TRY(wrapping_choose_scheme(key, &scheme, err));
	HP_TRY(hsmpool_key_wrap(key, scheme, target, &wrapped, HSMPOOL_DEFAULT, err));
	return encoding_write_result(cli, &out, work->encoding, "wrapped-key", scheme,
				     data, wrapped.len, err);
}

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	struct request *request = user;

	if (id != OPTION_TARGET)
		return work_option(&request->work, id, argument, err);
	request->target = argument;
	return HSMPOOL_OK;
}

int verb_wrap(struct cli *cli, int argc, char **argv)
{
	struct request request = { 0 };
	hsmpool_error err = { 0 };
	hsmpool_status status =
		cli_parse(cli, &usage, take_option, &request, argc, argv, &err);

	if (status == HSMPOOL_OK)
		status = wrap(cli, &request, &err);
	return cli_finish(cli, status, &err);
}

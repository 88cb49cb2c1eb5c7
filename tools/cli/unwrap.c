/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli unwrap: a key that was wrapped becomes a key of this token.
 */
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "cli.h"
#include "encoding.h"
#include "input.h"
#include "keyspec.h"
#include "wrapping.h"

static const struct cli_option options[] = {
	{ "key", CLI_KEY, "KEY", "the unwrapping key (else [key default])" },
	{ "scheme", CLI_SCHEME, "SCHEME", "as in wrap (aes keys: aes-kwp)" },
	CLI_OPTION_IN,
	{ "format", CLI_FORMAT, "FORMAT", "of the input: raw (default), hex or base64" },
	{ "type", KEYSPEC_TYPE, "TYPE", "of the new key: aes, generic, rsa, ec" },
	KEYSPEC_OPTIONS_NAME,
	KEYSPEC_OPTIONS_USE,
	CLI_OPTION_END,
};

static const struct cli_usage usage = {
	.synopsis = "[--key KEY] --type TYPE --label LABEL [--in FILE] [OPTION]...",
	.about = "Decrypt a wrapped key inside the HSM; it becomes a key of the token.",
	.options = options,
};

struct request {
	struct keyspec keyspec;
	const char *which;
	const char *scheme;
	const char *in_path;
	enum encoding encoding;
};

static hsmpool_status take_option(struct request *request, int id, const char *argument,
				  hsmpool_error *err)
{
	switch (id) {
	case CLI_KEY:
		request->which = argument;
		return HSMPOOL_OK;
	case CLI_SCHEME:
		request->scheme = argument;
		return HSMPOOL_OK;
	case CLI_IN:
		request->in_path = argument;
		return HSMPOOL_OK;
	case CLI_FORMAT:
		return encoding_parse(argument, &request->encoding, err);
	default:
		return keyspec_option(&request->keyspec, id, argument, err);
	}
}

static hsmpool_status unwrap(struct cli *cli, const struct request *request,
			     hsmpool_error *err)
{
	CLI_AUTO_KEY *key = NULL;
	CLI_AUTO_KEY *unwrapped = NULL;
	const char *scheme = request->scheme;
	HP_AUTO_FREE uint8_t *data = malloc(2 * WRAPPING_MAX);
	size_t len;

	HP_CHECK(data, err, HSMPOOL_ERR_SYSTEM, "no memory");
	HP_TRY(keyspec_check(&request->keyspec, err));
	HP_TRY(input_read_file(request->in_path, data, 2 * WRAPPING_MAX, &len, err));
	HP_TRY(encoding_decode(request->encoding, data, &len, "the wrapped key", err));
	HP_TRY(cli_open_key(cli, request->which, &key, err));
	HP_TRY(wrapping_choose_scheme(key, &scheme, err));
	HP_TRY(hsmpool_key_unwrap(&unwrapped, key, scheme, (hsmpool_bytes){ data, len },
				  &request->keyspec.spec, HSMPOOL_DEFAULT, err));
	return keyspec_print(cli, unwrapped, err);
}

int verb_unwrap(struct cli *cli, int argc, char **argv)
{
	struct request request = { 0 };
	hsmpool_error err = { 0 };
	hsmpool_status status = HSMPOOL_OK;
	int id;

	keyspec_init(&request.keyspec);
	while (status == HSMPOOL_OK &&
	       (id = cli_next_option(cli, &usage, argc, argv)) != -1)
		status = take_option(&request, id, optarg, &err);
	if (cli->is_finished)
		return cli->exit_code;
	if (status == HSMPOOL_OK)
		status = cli_operands(argc, 0, argv, &err);
	if (status == HSMPOOL_OK)
		status = unwrap(cli, &request, &err);
	return cli_finish(cli, status, &err);
}

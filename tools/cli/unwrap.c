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
#include "work.h"
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
	struct work work;
	struct keyspec keyspec;
};

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	struct request *request = user;

	return id >= CLI_KEY ? work_option(&request->work, id, argument, err)
			     : keyspec_option(&request->keyspec, id, argument, err);
}

static hsmpool_status unwrap(struct cli *cli, const struct request *request,
			     hsmpool_error *err)
{
	CLI_AUTO_KEY *key = NULL;
	CLI_AUTO_KEY *unwrapped = NULL;
	const char *scheme = request->work.scheme;
	HP_AUTO_FREE uint8_t *data = malloc(2 * WRAPPING_MAX);
	size_t len;

	HP_CHECK(data, err, HSMPOOL_ERR_SYSTEM, "no memory");
	HP_TRY(keyspec_check(&request->keyspec, err));
	HP_TRY(input_read_file(request->work.in_path, data, 2 * WRAPPING_MAX, &len, err));
	HP_TRY(encoding_decode(request->work.encoding, data, &len, "the wrapped key",
			       err));
	HP_TRY(cli_open_key(cli, request->work.which, &key, err));
	HP_TRY(wrapping_choose_scheme(key, &scheme, err));
	HP_TRY(hsmpool_key_unwrap(&unwrapped, key, scheme, (hsmpool_bytes){ data, len },
				  &request->keyspec.spec, HSMPOOL_DEFAULT, err));
	return keyspec_print(cli, unwrapped, err);
}

int verb_unwrap(struct cli *cli, int argc, char **argv)
{
	struct request request = { .keyspec = KEYSPEC_NONE };
	hsmpool_error err = { 0 };
	hsmpool_status status =
		cli_parse(cli, &usage, take_option, &request, argc, argv, &err);

	if (status == HSMPOOL_OK)
		status = unwrap(cli, &request, &err);
	return cli_finish(cli, status, &err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli key import: a public key (PEM or DER), or the bytes of a secret one.
 *
 * Secret bytes come from a file or a file descriptor into locked memory; never from the
 * command line, which everyone on the machine can read.
 */
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/secret.h"
#include "cli.h"
#include "encoding.h"
#include "input.h"
#include "keyspec.h"

#define MAX_PUBLIC 16384
#define MAX_SECRET 1024

enum { OPTION_PUBLIC = CLI_OWN, OPTION_SECRET_FILE, OPTION_SECRET_FD };

static const struct cli_option options[] = {
	{ "public", OPTION_PUBLIC, "FILE", "a public key, PEM or DER (- for stdin)" },
	{ "secret-file", OPTION_SECRET_FILE, "FILE", "the bytes of a secret key" },
	{ "secret-fd", OPTION_SECRET_FD, "N", "the same from file descriptor N" },
	{ "type", KEYSPEC_TYPE, "TYPE", "secret keys: aes or generic" },
	{ "format", CLI_FORMAT, "FORMAT", "of the secret: raw (default), hex or base64" },
	KEYSPEC_OPTIONS_NAME,
	KEYSPEC_OPTIONS_USE,
	CLI_OPTION_END,
};

static const struct cli_usage usage = {
	.synopsis = "--label LABEL --public FILE|--secret-file FILE [OPTION]...",
	.about = "Bring a key in. An imported secret key is sensitive and not "
		 "extractable, "
		 "but it\nwas outside the HSM, and the HSM remembers that.",
	.options = options,
};

struct request {
	struct keyspec keyspec;
	const char *public_path;
	const char *secret_path;
	int secret_fd; /* -1: not given */
	enum encoding encoding;
};

static hsmpool_status set_fd(struct request *request, const char *text,
			     hsmpool_error *err)
{
	char *end;
	long fd = strtol(text, &end, 10);

	HP_CHECK(*text >= '0' && *text <= '9' && *end == '\0' && fd <= INT32_MAX, err,
		 HSMPOOL_ERR_USAGE, "--secret-fd is a file descriptor's number, not '%s'",
		 text);
	request->secret_fd = (int)fd;
	return HSMPOOL_OK;
}

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	struct request *request = user;

	switch (id) {
	case OPTION_PUBLIC:
		request->public_path = argument;
		return HSMPOOL_OK;
	case OPTION_SECRET_FILE:
		request->secret_path = argument;
		return HSMPOOL_OK;
	case OPTION_SECRET_FD:
		return set_fd(request, argument, err);
	case CLI_FORMAT:
		return encoding_parse(argument, &request->encoding, err);
	default:
		return keyspec_option(&request->keyspec, id, argument, err);
	}
}

static hsmpool_status import_public(struct cli *cli, const struct request *request,
				    hsmpool_key **key, hsmpool_error *err)
{
	uint8_t data[MAX_PUBLIC];
	size_t len;

	HP_CHECK(request->keyspec.spec.label, err, HSMPOOL_ERR_USAGE,
		 "the key needs a name: say --label LABEL");
	HP_TRY(input_read_file(request->public_path, data, sizeof(data), &len, err));
	HP_TRY(cli_open_pool(cli, err));
	return hsmpool_key_import_public(key, cli->pool, &request->keyspec.spec,
					 (hsmpool_bytes){ data, len }, HSMPOOL_DEFAULT,
					 err);
}

static hsmpool_status import_secret(struct cli *cli, const struct request *request,
				    hsmpool_key **key, hsmpool_error *err)
{
	HP_AUTO_SECRET *secret = NULL;

	HP_TRY(keyspec_check(&request->keyspec, err));
	HP_TRY(input_read_secret(request->secret_path, request->secret_fd, MAX_SECRET,
				 &secret, err));
	HP_TRY(encoding_decode(request->encoding, secret->data, &secret->len,
			       "the secret key", err));
	HP_TRY(cli_open_pool(cli, err));
	return hsmpool_key_import_secret(key, cli->pool, &request->keyspec.spec,
					 (hsmpool_bytes){ secret->data, secret->len },
					 HSMPOOL_DEFAULT, err);
}

static hsmpool_status import(struct cli *cli, const struct request *request,
			     hsmpool_error *err)
{
	CLI_AUTO_KEY *key = NULL;
	int sources = (request->public_path != NULL) + (request->secret_path != NULL) +
		      (request->secret_fd >= 0);

	HP_CHECK(sources == 1, err, HSMPOOL_ERR_USAGE,
		 "say one of --public FILE, --secret-file FILE, --secret-fd N");
	if (request->public_path)
		HP_TRY(import_public(cli, request, &key, err));
	else
		HP_TRY(import_secret(cli, request, &key, err));
	return keyspec_print(cli, key, err);
}

int verb_key_import(struct cli *cli, int argc, char **argv)
{
	struct request request = { .keyspec = KEYSPEC_NONE, .secret_fd = -1 };
	hsmpool_error err = { 0 };
	hsmpool_status status =
		cli_parse(cli, &usage, take_option, &request, argc, argv, &err);

	if (status == HSMPOOL_OK)
		status = import(cli, &request, &err);
	return cli_finish(cli, status, &err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli sign: a signature over a file, standard input, or a digest.
 */
#include <stdlib.h>
#include <string.h>
#include <json.h>
#include "base/error.h"
#include "cli.h"
#include "encoding.h"
#include "message.h"
#include "output.h"
#include "work.h"

#define MAX_SIGNATURE 4096

enum { OPTION_DIGEST = CLI_OWN, OPTION_RAW };

static const struct cli_option options[] = {
	CLI_OPTION_KEY,
	CLI_OPTION_IN,
	CLI_OPTION_OUT,
	CLI_OPTION_FORCE,
	{ "scheme", CLI_SCHEME, "SCHEME",
	  "rsa-pkcs1-sha256, rsa-pss-sha256, ecdsa-sha256, ed25519, ... (by the key)" },
	{ "digest", OPTION_DIGEST, NULL, "the input is the digest already, in binary" },
	{ "raw", OPTION_RAW, NULL, "ecdsa: r || s instead of DER" },
	CLI_OPTION_FORMAT,
	CLI_OPTION_END,
};

static const struct cli_usage usage = {
	.synopsis = "[--key KEY] [--in FILE] [--out FILE] [OPTION]...",
	.about =
		"Sign. Input of more than 1 MiB is hashed here as a stream; ed25519 "
		"takes up to\n16 MiB. The signature is printed as it is, in hex on a terminal.",
	.options = options,
};

struct request {
	struct work work;
	bool is_digest;
	bool is_raw;
};

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	struct request *request = user;

	if (id == OPTION_DIGEST)
		request->is_digest = true;
	else if (id == OPTION_RAW)
		request->is_raw = true;
	else
		return work_option(&request->work, id, argument, err);
	return HSMPOOL_OK;
}

static hsmpool_status sign(struct cli *cli, const struct request *request,
			   hsmpool_error *err)
{
	const struct work *work = &request->work;
	OUTPUT_AUTO out = OUTPUT_NONE;
	CLI_AUTO_KEY *key = NULL;
	MESSAGE_AUTO message = { 0 };
	uint8_t data[MAX_SIGNATURE];
	hsmpool_buf signature = { .data = data, .cap = sizeof(data) };

	HP_TRY(output_open(&out, work->out_path, work->is_forced, err));
	HP_TRY(cli_open_key(cli, work->which, &key, err));
	HP_TRY(message_choose_scheme(&message, work->scheme, key, request->is_digest,
				     request->is_raw, err));
	HP_TRY(message_read(&message, work->in_path, err));
	HP_TRY(hsmpool_sign(cli->pool, key, message.scheme, message_bytes(&message),
			    &signature, HSMPOOL_DEFAULT, err));
	return encoding_write_result(cli, &out, work->encoding, "signature",
				     message.scheme, data, signature.len, err);
}

int verb_sign(struct cli *cli, int argc, char **argv)
{
	struct request request = { 0 };
	hsmpool_error err = { 0 };
	hsmpool_status status =
		cli_parse(cli, &usage, take_option, &request, argc, argv, &err);

	if (status == HSMPOOL_OK)
		status = sign(cli, &request, &err);
	return cli_finish(cli, status, &err);
}

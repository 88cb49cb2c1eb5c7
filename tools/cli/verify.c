/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli verify: is this the key's signature over the input? The exit code says it.
 */
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "cli.h"
#include "encoding.h"
#include "input.h"
#include "message.h"
#include "work.h"

#define MAX_SIGNATURE 8192 /* in base64 or hex, too */

enum { OPTION_DIGEST = CLI_OWN, OPTION_RAW, OPTION_SIGNATURE };

static const struct cli_option options[] = {
	CLI_OPTION_KEY,
	CLI_OPTION_IN,
	{ "signature", OPTION_SIGNATURE, "FILE", "the signature to verify" },
	{ "scheme", CLI_SCHEME, "SCHEME", "as in sign (by the key)" },
	{ "digest", OPTION_DIGEST, NULL, "the input is the digest already, in binary" },
	{ "raw", OPTION_RAW, NULL, "ecdsa: the signature is r || s instead of DER" },
	{ "format", CLI_FORMAT, "FORMAT",
	  "of the signature: raw (default), hex, base64" },
	CLI_OPTION_END,
};

static const struct cli_usage usage = {
	.synopsis = "[--key KEY] --signature FILE [--in FILE] [OPTION]...",
	.about = "Verify a signature: prints OK and ends with 0, or ends with 65.",
	.options = options,
};

struct request {
	struct work work;
	const char *signature_path;
	bool is_digest;
	bool is_raw;
};

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	struct request *request = user;

	if (id == OPTION_SIGNATURE)
		request->signature_path = argument;
	else if (id == OPTION_DIGEST)
		request->is_digest = true;
	else if (id == OPTION_RAW)
		request->is_raw = true;
	else
		return work_option(&request->work, id, argument, err);
	return HSMPOOL_OK;
}

static hsmpool_status read_signature(const struct request *request, uint8_t *data,
				     size_t cap, size_t *len, hsmpool_error *err)
{
	HP_CHECK(request->signature_path, err, HSMPOOL_ERR_USAGE,
		 "which signature? say --signature FILE");
	HP_TRY(input_read_file(request->signature_path, data, cap, len, err));
	return encoding_decode(request->work.encoding, data, len, request->signature_path,
			       err);
}

static hsmpool_status verify(struct cli *cli, const struct request *request,
			     hsmpool_error *err)
{
	CLI_AUTO_KEY *key = NULL;
	MESSAGE_AUTO message = { 0 };
	uint8_t signature[MAX_SIGNATURE];
	size_t len;

	HP_TRY(read_signature(request, signature, sizeof(signature), &len, err));
	HP_TRY(cli_open_key(cli, request->work.which, &key, err));
	HP_TRY(message_choose_scheme(&message, request->work.scheme, key,
				     request->is_digest, request->is_raw, err));
	HP_TRY(message_read(&message, request->work.in_path, err));
	HP_TRY(hsmpool_verify(cli->pool, key, message.scheme, message_bytes(&message),
			      (hsmpool_bytes){ signature, len }, HSMPOOL_DEFAULT, err));
	return HSMPOOL_OK;
}

int verb_verify(struct cli *cli, int argc, char **argv)
{
	struct request request = { 0 };
	hsmpool_error err = { 0 };
	hsmpool_status status =
		cli_parse(cli, &usage, take_option, &request, argc, argv, &err);

	if (status == HSMPOOL_OK)
		status = verify(cli, &request, &err);
	return cli_finish_verdict(cli, status, &err);
}

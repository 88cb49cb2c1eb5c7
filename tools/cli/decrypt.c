/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli decrypt: a container (docs/format.md) back into its data.
 *
 * To a pipe go verified chunks only, but the end may still turn out to be missing: the
 * exit code is the verdict. A file appears only if everything verified.
 */
#include "base/error.h"
#include "config/options.h"
#include "config/value.h"
#include "cli.h"
#include "transfer.h"

enum { OPTION_MAX_SIZE = CLI_OWN, OPTION_MAX_RATIO };

static const struct cli_option options[] = {
	{ "key", CLI_KEY, "KEY",
	  "pkcs11: URI or configured name (else found from the header)" },
	CLI_OPTION_IN,
	CLI_OPTION_OUT,
	CLI_OPTION_FORCE,
	{ "max-size", OPTION_MAX_SIZE, "SIZE",
	  "stop before more data than that comes out" },
	{ "max-ratio", OPTION_MAX_RATIO, "N",
	  "stop before data comes out that was compressed to less than 1/N" },
	TRANSFER_OPTION_THREADS,
	TRANSFER_OPTIONS_CONTEXT,
	CLI_OPTION_LIMIT_RATE,
	CLI_OPTION_END,
};

static const struct cli_usage usage = {
	.synopsis = "[--in FILE] [--out FILE] [OPTION]...",
	.about = "Decrypt and verify what encrypt wrote. On a pipe the exit code is the "
		 "verdict:\nwhat came before an error must be thrown away.",
	.options = options,
};

static hsmpool_status set_max_size(hsmpool_stream_options *stream, const char *text,
				   hsmpool_error *err)
{
	HP_CHECK(hp_parse_size(text, &stream->max_output) && stream->max_output > 0, err,
		 HSMPOOL_ERR_USAGE, "--max-size is not a size like 10MiB or 2GiB: '%s'",
		 text);
	return HSMPOOL_OK;
}

static hsmpool_status set_max_ratio(hsmpool_stream_options *stream, const char *text,
				    hsmpool_error *err)
{
	uint64_t ratio;

	HP_CHECK(hp_parse_number(text, &ratio) && ratio >= 1 && ratio <= UINT32_MAX, err,
		 HSMPOOL_ERR_USAGE, "--max-ratio is a number from 1, not '%s'", text);
	stream->max_ratio = (uint32_t)ratio;
	return HSMPOOL_OK;
}

struct request {
	struct transfer *transfer;
	const char *which; /* NULL: any key of the token */
};

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	struct request *request = user;
	struct transfer *transfer = request->transfer;

	if (transfer_option(transfer, id, argument))
		return HSMPOOL_OK;
	switch (id) {
	case OPTION_MAX_SIZE:
		return set_max_size(&transfer->options, argument, err);
	case OPTION_MAX_RATIO:
		return set_max_ratio(&transfer->options, argument, err);
	default:
		request->which = argument;
		return HSMPOOL_OK;
	}
}

static hsmpool_status decrypt(struct cli *cli, const struct request *request,
			      hsmpool_error *err)
{
	struct transfer *transfer = request->transfer;
	CLI_AUTO_KEY *key = NULL;

	HP_TRY(transfer_open(transfer, cli, err));
	HP_TRY(cli_open_pool(cli, err));
	if (request->which)
		HP_TRY(cli_open_key(cli, request->which, &key, err));
	return transfer_decrypt(transfer, key, err);
}

int verb_decrypt(struct cli *cli, int argc, char **argv)
{
	TRANSFER_AUTO *transfer = transfer_new();
	struct request request = { .transfer = transfer };
	hsmpool_error err = { 0 };
	hsmpool_status status;

	if (!transfer)
		return cli_finish(cli, hp_fail(&err, HSMPOOL_ERR_SYSTEM, "no memory"),
				  &err);
	status = cli_parse(cli, &usage, take_option, &request, argc, argv, &err);
	if (status == HSMPOOL_OK)
		status = decrypt(cli, &request, &err);
	progress_end(&transfer->progress);
	return cli_finish(cli, status, &err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli encrypt: data of any length into a container (docs/format.md).
 */
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "config/options.h"
#include "config/value.h"
#include "recipients.h"
#include "transfer.h"

enum { OPTION_MODE = CLI_OWN, OPTION_CHUNK_SIZE, OPTION_COMPRESS };

static const struct cli_option options[] = {
	{ "key", CLI_KEY, "KEY",
	  "recipient: pkcs11: URI or configured name (else [key default]); repeat it "
	  "for several" },
	CLI_OPTION_IN,
	CLI_OPTION_OUT,
	CLI_OPTION_FORCE,
	{ "mode", OPTION_MODE, "MODE",
	  "envelope: a data key wrapped by the HSM's (default); direct: every chunk "
	  "through the HSM's key" },
	{ "chunk-size", OPTION_CHUNK_SIZE, "SIZE",
	  "plaintext of one chunk (1MiB; direct: 64KiB)" },
	{ "compress", OPTION_COMPRESS, "METHOD",
	  "none (default), zstd or zstd:LEVEL, 1 to 19 (3); the container then shows how "
	  "well the data compresses" },
	TRANSFER_OPTION_THREADS,
	TRANSFER_OPTIONS_CONTEXT,
	CLI_OPTION_LIMIT_RATE,
	CLI_OPTION_END,
};

static const struct cli_usage usage = {
	.synopsis = "[--key KEY]... [--in FILE] [--out FILE] [OPTION]...",
	.about = "Encrypt and authenticate. Each of several keys alone opens the result.",
	.options = options,
};

/* No --key at all stands for [key default]: one recipient whose name is NULL. */
static hsmpool_status open_recipients(struct cli *cli, struct recipients *recipients,
				      hsmpool_error *err)
{
	if (recipients->count == 0)
		recipients->count = 1;
	return recipients_open(cli, recipients, err);
}

static hsmpool_status set_mode(hsmpool_stream_options *stream, const char *text,
			       hsmpool_error *err)
{
	if (strcmp(text, "envelope") == 0)
		stream->mode = HSMPOOL_STREAM_ENVELOPE;
	else if (strcmp(text, "direct") == 0)
		stream->mode = HSMPOOL_STREAM_DIRECT;
	else
		return hp_fail(err, HSMPOOL_ERR_USAGE,
			       "--mode is envelope or direct, not '%s'", text);
	return HSMPOOL_OK;
}

static hsmpool_status set_chunk_size(hsmpool_stream_options *stream, const char *text,
				     hsmpool_error *err)
{
	uint64_t bytes;

	HP_CHECK(hp_parse_size(text, &bytes) && bytes > 0 && bytes <= UINT32_MAX, err,
		 HSMPOOL_ERR_USAGE, "--chunk-size is not a size like 64KiB or 1MiB: '%s'",
		 text);
	stream->chunk_size = (uint32_t)bytes;
	return HSMPOOL_OK;
}

static hsmpool_status set_compression(hsmpool_stream_options *stream, const char *text,
				      hsmpool_error *err)
{
	uint64_t level = 0;
	bool is_zstd = strncmp(text, "zstd", 4) == 0 && (text[4] == ':' || !text[4]);

	HP_CHECK(is_zstd || strcmp(text, "none") == 0, err, HSMPOOL_ERR_USAGE,
		 "--compress is none, zstd or zstd:LEVEL, not '%s'", text);
	HP_CHECK(!is_zstd || !text[4] ||
			 (hp_parse_number(text + 5, &level) && level >= 1 && level <= 19),
		 err, HSMPOOL_ERR_USAGE,
		 "the level of --compress zstd:LEVEL is a number from 1 to 19, not '%s'",
		 text + 5);
	stream->compression =
		is_zstd ? HSMPOOL_COMPRESSION_ZSTD : HSMPOOL_COMPRESSION_NONE;
	stream->compression_level = (int)level;
	return HSMPOOL_OK;
}

struct request {
	struct transfer *transfer;
	struct recipients recipients;
};

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	struct request *request = user;
	struct transfer *transfer = request->transfer;

	if (transfer_option(transfer, id, argument))
		return HSMPOOL_OK;
	switch (id) {
	case CLI_KEY:
		return recipients_add(&request->recipients, argument, err);
	case OPTION_MODE:
		return set_mode(&transfer->options, argument, err);
	case OPTION_COMPRESS:
		return set_compression(&transfer->options, argument, err);
	default:
		return set_chunk_size(&transfer->options, argument, err);
	}
}

static hsmpool_status encrypt(struct cli *cli, struct request *request,
			      hsmpool_error *err)
{
	struct transfer *transfer = request->transfer;
	struct recipients *recipients = &request->recipients;

	HP_TRY(transfer_open(transfer, cli, err));
	HP_TRY(output_refuse_terminal(&transfer->out, err));
	HP_TRY(open_recipients(cli, recipients, err));
	return transfer_encrypt(transfer, recipients->keys, recipients->count, err);
}

int verb_encrypt(struct cli *cli, int argc, char **argv)
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
		status = encrypt(cli, &request, &err);
	recipients_close(&request.recipients);
	progress_end(&transfer->progress);
	return cli_finish(cli, status, &err);
}

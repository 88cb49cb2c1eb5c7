/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files in and out of the library's stream: see transfer.h.
 *
 * Owns: the order of things around a stream. The input is opened first, then the output
 * (so that an existing file is refused before any work), then the verb opens pool and
 * keys and runs the stream; the output gets its name last.
 */
#include "transfer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <json.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/time.h"
#include "config/value.h"
#include "stop.h"

static int on_progress(void *user, uint64_t bytes)
{
	struct transfer *transfer = user;

	output_begin_sync(&transfer->out);
	progress_update(&transfer->progress, transfer->is_encryption
						     ? bytes
						     : transfer->totals.container_bytes);
	return stop_requested();
}

struct transfer *transfer_new(void)
{
	struct transfer *transfer = calloc(1, sizeof(*transfer));

	if (!transfer)
		return NULL;
	transfer->in.fd = transfer->out.fd = -1;
	transfer->options.size = sizeof(transfer->options);
	transfer->options.progress = on_progress;
	transfer->options.progress_user = transfer;
	transfer->totals.size = sizeof(transfer->totals);
	transfer->options.totals = &transfer->totals;
	transfer->options.stop_fd = stop_fd();
	return transfer;
}

void transfer_free(struct transfer **transfer)
{
	if (!*transfer)
		return;
	progress_end(&(*transfer)->progress);
	input_close(&(*transfer)->in);
	output_close(&(*transfer)->out);
	free(*transfer);
	*transfer = NULL;
}

bool transfer_option(struct transfer *transfer, int id, const char *argument)
{
	switch (id) {
	case CLI_IN:
		transfer->in_path = argument;
		return true;
	case CLI_OUT:
		transfer->out_path = argument;
		return true;
	case CLI_FORCE:
		transfer->is_forced = true;
		return true;
	case TRANSFER_CONTEXT:
		transfer->options.context = argument;
		return true;
	case TRANSFER_CONTEXT_FILE:
		transfer->context_path = argument;
		return true;
	case TRANSFER_THREADS:
		transfer->threads = argument;
		return true;
	case CLI_LIMIT_RATE:
		transfer->rate_text = argument;
		return true;
	default:
		return false;
	}
}

static hsmpool_status read_context(struct transfer *transfer, hsmpool_error *err)
{
	size_t len;

	HP_CHECK(!transfer->options.context, err, HSMPOOL_ERR_USAGE,
		 "say --context or --context-file, not both");
	HP_TRY(input_read_file(transfer->context_path, (uint8_t *)transfer->context,
			       TRANSFER_MAX_CONTEXT, &len, err));
	if (len > 0 && transfer->context[len - 1] == '\n')
		len--;
	transfer->context[len] = '\0';
	HP_CHECK(strlen(transfer->context) == len, err, HSMPOOL_ERR_USAGE,
		 "%s is not text: it holds a zero byte", transfer->context_path);
	transfer->options.context = transfer->context;
	return HSMPOOL_OK;
}

static hsmpool_status read_threads(struct transfer *transfer, hsmpool_error *err)
{
	uint64_t number;

	HP_CHECK(hp_parse_number(transfer->threads, &number) && number >= 1 &&
			 number <= 64,
		 err, HSMPOOL_ERR_USAGE, "--threads is a number from 1 to 64, not '%s'",
		 transfer->threads);
	transfer->options.threads = (uint32_t)number;
	return HSMPOOL_OK;
}

hsmpool_status transfer_open(struct transfer *transfer, struct cli *cli,
			     hsmpool_error *err)
{
	struct rate_limit limit = { 0 };

	transfer->cli = cli;
	if (transfer->rate_text)
		HP_TRY(rate_limit_parse(&limit, transfer->rate_text, err));
	if (transfer->context_path)
		HP_TRY(read_context(transfer, err));
	if (transfer->threads)
		HP_TRY(read_threads(transfer, err));
	HP_TRY(input_open(&transfer->in, transfer->in_path, err));
	transfer->in.limit = limit;
	HP_TRY(output_open(&transfer->out, transfer->out_path, transfer->is_forced, err));
	HP_TRY(output_refuse_input(&transfer->out, transfer->in.fd, err));
	transfer->options.input_name = transfer->in.name;
	transfer->options.output_name = transfer->out.name;
	transfer->start_ns = hp_now_ns();
	progress_start(&transfer->progress, cli,
		       transfer->in.has_size ? transfer->in.size : 0);
	/* Terminal data mixed with a bar is of no use. */
	if (output_is_terminal(&transfer->out))
		transfer->progress.is_shown = false;
	return HSMPOOL_OK;
}

/* ---- the end ---- */

static void add_times(struct json_object *object, const struct transfer *transfer)
{
	double seconds = (double)(hp_now_ns() - transfer->start_ns) / 1e9;
	double rate = seconds > 0 ? (double)transfer->totals.plain_bytes / seconds : 0;

	cli_add_seconds(object, "seconds", seconds);
	cli_add_number(object, "plaintext-bytes-per-second", (uint64_t)rate);
}

static void print_summary(const struct transfer *transfer)
{
	const hsmpool_stream_totals *totals = &transfer->totals;
	struct json_object *object = json_object_new_object();
	hsmpool_stats stats = { .size = sizeof(stats) };

	hsmpool_get_stats(transfer->cli->pool, &stats);
	cli_add_text(object, "out", transfer->out.name);
	cli_add_text(object, "mode",
		     totals->mode == HSMPOOL_STREAM_DIRECT ? "direct" : "envelope");
	cli_add_number(object, "chunk-size", totals->chunk_size);
	cli_add_number(object, "chunks", totals->chunks);
	cli_add_text(object, "compression",
		     totals->compression == HSMPOOL_COMPRESSION_ZSTD ? "zstd" : "none");
	cli_add_number(object, "compressed-chunks", totals->compressed_chunks);
	cli_add_number(object, "plaintext-bytes", totals->plain_bytes);
	cli_add_number(object, "read-bytes",
		       transfer->is_encryption ? totals->plain_bytes
					       : totals->container_bytes);
	cli_add_number(object, "written-bytes",
		       transfer->is_encryption ? totals->container_bytes
					       : totals->plain_bytes);
	add_times(object, transfer);
	cli_add_number(object, "threads", totals->threads);
	cli_add_number(object, "sessions-peak", stats.peak);
	cli_add_number(object, "retries", stats.retries);
	cli_print_summary(object, !transfer->out.path);
}

static hsmpool_status commit(struct transfer *transfer, hsmpool_error *err)
{
	progress_end(&transfer->progress);
	HP_TRY(output_commit(&transfer->out, err));
	if (transfer->cli->is_json)
		print_summary(transfer);
	return HSMPOOL_OK;
}

/* ---- the stream ---- */

/* Where the rate is limited all goes through here, instead of by descriptors. */
static hsmpool_status read_limited(void *user, uint8_t *data, size_t cap, size_t *len,
				   hsmpool_error *err)
{
	struct transfer *transfer = user;

	return input_read(&transfer->in, data, cap, len, err);
}

static hsmpool_status write_limited(void *user, const uint8_t *data, size_t len,
				    hsmpool_error *err)
{
	struct transfer *transfer = user;

	return output_write(&transfer->out, data, len, err);
}

hsmpool_status transfer_encrypt(struct transfer *transfer, hsmpool_key *const *keys,
				size_t key_count, hsmpool_error *err)
{
	hsmpool *pool = transfer->cli->pool;

	transfer->is_encryption = true;
	if (transfer->rate_text)
		HP_TRY(hsmpool_stream_encrypt(pool, keys, key_count, &transfer->options,
					      read_limited, transfer, write_limited,
					      transfer, HSMPOOL_DEFAULT, err));
	else
		HP_TRY(hsmpool_stream_encrypt_fd(pool, keys, key_count,
						 &transfer->options, transfer->in.fd,
						 transfer->out.fd, HSMPOOL_DEFAULT, err));
	return commit(transfer, err);
}

hsmpool_status transfer_decrypt(struct transfer *transfer, hsmpool_key *key,
				hsmpool_error *err)
{
	hsmpool *pool = transfer->cli->pool;

	if (transfer->rate_text)
		HP_TRY(hsmpool_stream_decrypt(pool, key, &transfer->options, read_limited,
					      transfer, write_limited, transfer,
					      HSMPOOL_DEFAULT, err));
	else
		HP_TRY(hsmpool_stream_decrypt_fd(pool, key, &transfer->options,
						 transfer->in.fd, transfer->out.fd,
						 HSMPOOL_DEFAULT, err));
	return commit(transfer, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool_stream_encrypt: header, then chunk after chunk until the reader ends.
 *
 * Owns: what happens to a chunk on its way through the pipeline. One byte is read ahead,
 * so the last chunk is known as such when it is sealed; all but the last ones of a file
 * are read by the thread that seals them.
 *
 * Locking: none. What the threads share, struct encryption, is not changed while they
 * run but for the calling thread's own fields, which they do not look at.
 */
#include <hsmpool/stream.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <hsmpool/crypto.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/secret.h"
#include "crypto/key.h"
#include "observe/log.h"
#include "observe/request.h"
#include "pool/pool.h"
#include "stream/chunk.h"
#include "stream/compress.h"
#include "stream/container.h"
#include "stream/descriptor.h"
#include "stream/header.h"
#include "stream/pipeline.h"
#include "stream/plan.h"
#include "stream/schedule.h"

/* Chunks of one container in direct mode after which the key's owner is told. */
#define DIRECT_CHUNKS_WARNED (UINT64_C(1) << 20)

struct encryption {
	struct hp_header_terms terms;
	struct hp_container *container;
	struct hp_secret *secret; /* struct hp_keys; NULL in direct mode */
	struct hp_chunk_aad aad;

	/* the calling thread's */
	struct hp_source source;
	struct hp_sink sink;
	hsmpool_stream_totals totals;
};

/* One in flight. */
struct chunk {
	uint8_t *frame;
	uint8_t *plain; /* in the frame where the body goes, or of its own */
	size_t plain_touched;
	uint64_t index;
	size_t len;      /* of the plaintext */
	size_t body_len; /* the same, or less if it is compressed */
	bool is_last;
	bool is_claimed; /* not read yet: it is in the source's file */
	off_t at;
};

static bool is_direct(const struct encryption *e)
{
	return e->container->fixed.mode == HP_MODE_DIRECT;
}

/* What a thread needs for itself. */
struct worker {
	struct hp_chunk_worker sealing;
	struct hp_compressor compressor; /* with compression */
	uint8_t *packed;                 /* and in direct mode: what goes to the HSM */
};

static bool is_compressing(const struct encryption *e)
{
	return e->container->fixed.compression != HP_COMPRESSION_NONE;
}

static int compression_level(const struct encryption *e)
{
	int level = e->terms.options.compression_level;
	return level > 0 ? level : HP_COMPRESSION_LEVEL_DEFAULT;
}

static uint32_t chunk_size(const struct encryption *e)
{
	return e->container->fixed.chunk_size;
}

static size_t frame_cap(const struct encryption *e)
{
	return hp_chunk_frame_len(e->container->fixed.mode, chunk_size(e));
}

/* Plaintext that is sealed in place, in the frame, needs no room of its own. */
static bool has_own_plain(const struct encryption *e)
{
	return is_direct(e) || is_compressing(e);
}

/* ---- header ---- */

static hsmpool_status write_header(struct encryption *e, hsmpool_error *err)
{
	size_t len = hp_header_len(e->container);
	e->totals.container_bytes = len;
	return hp_sink_write(&e->sink, e->container->raw, len, err);
}

/* ---- chunks: the calling thread ---- */

static hsmpool_status new_chunk(void *job, void **out, hsmpool_error *err)
{
	const struct encryption *e = job;
	size_t plain_len = chunk_size(e);
	struct chunk *chunk = calloc(1, sizeof(*chunk));
	if (chunk)
		chunk->frame = hp_bulk_new(frame_cap(e));
	if (chunk && chunk->frame)
		chunk->plain = has_own_plain(e) ? hp_bulk_new(plain_len)
						: chunk->frame + HP_CHUNK_HEAD_LEN;
	*out = chunk;
	if (chunk && chunk->plain)
		return HSMPOOL_OK;
	if (chunk)
		hp_bulk_free(chunk->frame, frame_cap(e), 0);
	free(chunk);
	return hp_fail(err, HSMPOOL_ERR_SYSTEM, "no memory for chunks of %zu bytes",
		       plain_len);
}

static void free_chunk(void *job, void *slot)
{
	const struct encryption *e = job;
	struct chunk *chunk = slot;
	/* In the frame there may be plaintext too, if it was not sealed in the end. */
	if (has_own_plain(e))
		hp_bulk_free(chunk->plain, chunk_size(e), chunk->plain_touched);
	hp_bulk_free(chunk->frame, frame_cap(e),
		     HP_CHUNK_HEAD_LEN + chunk->plain_touched);
	free(chunk);
}

static void warn_of_many_ivs(const struct encryption *e, uint64_t index)
{
	if (is_direct(e) && index == DIRECT_CHUNKS_WARNED)
		HP_LOG(WARNING, "stream-many-ivs",
		       "a container in direct mode passes %" PRIu64 " chunks: key '%s' "
		       "must not encrypt more than 2^32 chunks and messages in its life; "
		       "larger chunks or envelope mode use fewer",
		       DIRECT_CHUNKS_WARNED, hp_key_name(e->terms.keys[0]));
}

/* One more chunk, which may be the last: does the format allow it? */
static hsmpool_status check_limit(const struct encryption *e, const struct chunk *chunk,
				  hsmpool_error *err)
{
	uint64_t limit = hp_chunk_limit(e->container->fixed.mode, chunk_size(e));
	HP_CHECK(chunk->is_last || chunk->index + 1 < limit, err, HSMPOOL_ERR_USAGE,
		 "the input is longer than the %" PRIu64 " chunks of %u bytes that a "
		 "container may have: use larger chunks%s",
		 limit, chunk_size(e), is_direct(e) ? " or envelope mode" : "");
	warn_of_many_ivs(e, chunk->index);
	return HSMPOOL_OK;
}

static void mark_touched(struct chunk *chunk)
{
	if (chunk->len > chunk->plain_touched)
		chunk->plain_touched = chunk->len;
}

static hsmpool_status read_plain(struct encryption *e, struct chunk *chunk,
				 hsmpool_error *err)
{
	chunk->len = 0;
	hsmpool_status status = hp_source_fill(&e->source, chunk->plain, chunk_size(e),
					       chunk_size(e), &chunk->len, err);
	mark_touched(chunk);
	HP_TRY(status);
	return hp_source_is_at_end(&e->source, &chunk->is_last, err);
}

static hsmpool_status fill_chunk(void *job, void *slot, uint64_t index, bool *is_last,
				 hsmpool_error *err)
{
	struct encryption *e = job;
	struct chunk *chunk = slot;
	chunk->index = index;
	chunk->is_last = false;
	chunk->len = chunk_size(e);
	chunk->is_claimed = hp_source_claim(&e->source, chunk->len, &chunk->at);
	if (chunk->is_claimed)
		mark_touched(chunk);
	else
		HP_TRY(read_plain(e, chunk, err));
	*is_last = chunk->is_last;
	return check_limit(e, chunk, err);
}

static hsmpool_status drain_chunk(void *job, void *slot, hsmpool_error *err)
{
	struct encryption *e = job;
	const struct chunk *chunk = slot;
	size_t frame_len = hp_chunk_frame_len(e->container->fixed.mode, chunk->body_len);
	HP_TRY(hp_sink_write(&e->sink, chunk->frame, frame_len, err));
	e->totals.chunks++;
	e->totals.compressed_chunks += chunk->body_len < chunk->len;
	e->totals.plain_bytes += chunk->len;
	e->totals.container_bytes += frame_len;
	return hp_stream_progress(&e->terms.options, &e->totals, err);
}

/* ---- chunks: any thread ---- */

static void free_worker(void *job, void *worker)
{
	const struct encryption *e = job;
	struct worker *own = worker;
	hp_chunk_worker_clear(&own->sealing);
	hp_compressor_clear(&own->compressor);
	hp_bulk_free(own->packed, chunk_size(e), chunk_size(e));
	free(own);
}

static hsmpool_status init_compression(const struct encryption *e, struct worker *own,
				       hsmpool_error *err)
{
	HP_TRY(hp_compressor_init(&own->compressor, compression_level(e), chunk_size(e),
				  err));
	if (!is_direct(e))
		return HSMPOOL_OK;
	own->packed = hp_bulk_new(chunk_size(e));
	HP_CHECK(own->packed, err, HSMPOOL_ERR_SYSTEM, "no memory to compress in");
	return HSMPOOL_OK;
}

static hsmpool_status new_worker(void *job, void **out, hsmpool_error *err)
{
	const struct encryption *e = job;
	const uint8_t *key = is_direct(e) ? NULL : hp_keys_in(e->secret)->payload;
	struct worker *own = calloc(1, sizeof(*own));
	HP_CHECK(own, err, HSMPOOL_ERR_SYSTEM, "no memory for a thread");
	hsmpool_status status =
		hp_chunk_worker_init(&own->sealing, &e->aad, key, true, err);
	if (status == HSMPOOL_OK && is_compressing(e))
		status = init_compression(e, own, err);
	if (status == HSMPOOL_OK)
		*out = own;
	else
		free_worker(job, own);
	return status;
}

/* What is sealed: the plaintext, or what it packs to if that is shorter. In envelope mode
 * it has to be in the frame, for there it is sealed. */
static hsmpool_status pack_chunk(const struct encryption *e, struct worker *own,
				 struct chunk *chunk, uint8_t **body, hsmpool_error *err)
{
	uint8_t *room = is_direct(e) ? own->packed : chunk->frame + HP_CHUNK_HEAD_LEN;
	HP_TRY(hp_compress(&own->compressor, chunk->plain, chunk->len, room,
			   &chunk->body_len, err));
	bool is_shorter = chunk->body_len > 0;
	if (!is_shorter)
		chunk->body_len = chunk->len;
	if (!is_shorter && !is_direct(e))
		memcpy(room, chunk->plain, chunk->len);
	*body = is_shorter || !is_direct(e) ? room : chunk->plain;
	return HSMPOOL_OK;
}

/* Through the HSM: IV, body and tag are what hsmpool_encrypt() writes. */
static hsmpool_status seal_direct(const struct encryption *e,
				  const struct hp_chunk_aad *aad, struct chunk *chunk,
				  const uint8_t *body, hsmpool_error *err)
{
	size_t sealed_len = HP_CHUNK_IV_LEN + chunk->body_len + HP_CHUNK_TAG_LEN;
	const hsmpool_params params = { .size = sizeof(params),
					.aad = { aad->bytes, aad->len } };
	const hsmpool_bytes input = { body, chunk->body_len };
	hsmpool_buf out = { chunk->frame + HP_CHUNK_HEAD_LEN, sealed_len, 0 };
	HP_TRY(hsmpool_encrypt(e->terms.pool, e->terms.keys[0], "aes-gcm", &params, input,
			       &out, e->terms.deadline, err));
	HP_CHECK(out.len == sealed_len, err, HSMPOOL_ERR_DOWN,
		 "the token's AES-GCM gives %zu bytes for %zu", out.len, chunk->body_len);
	return HSMPOOL_OK;
}

/* body, which envelope mode has in the frame, into a whole frame. */
static hsmpool_status seal_body(const struct encryption *e, struct hp_chunk_worker *own,
				struct chunk *chunk, uint8_t *body, hsmpool_error *err)
{
	const struct hp_chunk_head head = {
		.is_last = chunk->is_last,
		.is_compressed = chunk->body_len < chunk->len,
		.plain_len = (uint32_t)chunk->len,
		.body_len = (uint32_t)chunk->body_len,
	};
	hp_chunk_head_encode(&head, chunk->frame);
	hp_chunk_aad_set(&own->aad, chunk->index, chunk->frame);
	if (is_direct(e))
		return seal_direct(e, &own->aad, chunk, body, err);
	return hp_chunk_seal(&own->cipher, &own->aad, chunk->index, chunk->is_last, body,
			     chunk->body_len, body + chunk->body_len, err);
}

static hsmpool_status seal_chunk(void *job, void *worker, void *slot, hsmpool_error *err)
{
	const struct encryption *e = job;
	struct worker *own = worker;
	struct chunk *chunk = slot;
	uint8_t *body = chunk->plain;
	if (chunk->is_claimed)
		HP_TRY(hp_file_read_at(e->source.file, chunk->at, chunk->plain,
				       chunk->len, err));
	chunk->body_len = chunk->len;
	if (is_compressing(e))
		HP_TRY(pack_chunk(e, own, chunk, &body, err));
	return seal_body(e, &own->sealing, chunk, body, err);
}

static const struct hp_pipeline_ops chunk_ops = {
	.fill = fill_chunk,
	.work = seal_chunk,
	.drain = drain_chunk,
	.slot_new = new_chunk,
	.slot_free = free_chunk,
	.worker_new = new_worker,
	.worker_free = free_worker,
};

/* ---- the stream ---- */

/* What new_worker() takes, as far as it counts. */
static size_t worker_len(const struct encryption *e)
{
	if (!is_compressing(e))
		return 0;
	size_t packed_len = is_direct(e) ? chunk_size(e) : 0;
	return hp_compressor_len(compression_level(e), chunk_size(e)) + packed_len;
}

static hsmpool_status encrypt_chunks(struct encryption *e, hsmpool_error *err)
{
	size_t len = frame_cap(e);
	if (has_own_plain(e))
		len += chunk_size(e);
	struct hp_stream_plan plan = hp_stream_plan(
		e->terms.pool, e->container->fixed.mode, e->terms.options.threads, len,
		worker_len(e), e->terms.deadline);
	e->totals.threads = plan.threads;
	e->totals.chunk_size = (uint32_t)chunk_size(e);
	e->totals.mode = e->terms.options.mode;
	e->totals.compression = e->terms.options.compression;
	struct hp_pipeline_ops ops = chunk_ops;
	ops.work_waits = is_direct(e);
	return hp_pipeline_run(&ops, e, plan.threads, plan.slots, err);
}

/* The calls in direct mode are for whoever adds them up. */
static void log_end(const struct encryption *e)
{
	if (is_direct(e))
		HP_LOG(INFO, "stream-encrypted",
		       "%" PRIu64 " bytes by %" PRIu64 " AES-GCM calls, of 2^32 in the "
		       "life of key '%s'",
		       e->totals.plain_bytes, e->totals.chunks,
		       hp_key_name(e->terms.keys[0]));
	else
		HP_LOG(DEBUG, "stream-encrypted",
		       "%" PRIu64 " bytes in %" PRIu64 " chunks", e->totals.plain_bytes,
		       e->totals.chunks);
}

static hsmpool_status encrypt_all(struct encryption *e, hsmpool_error *err)
{
	HP_TRY(hp_header_make(&e->terms, e->container, &e->secret, err));
	HP_TRY(hp_chunk_aad_init(&e->aad, e->container, err));
	HP_TRY(write_header(e, err));
	HP_TRY(encrypt_chunks(e, err));
	log_end(e);
	return HSMPOOL_OK;
}

/* With the terms and both ends set. */
static hsmpool_status run_encryption(struct encryption *e, hsmpool_error *err)
{
	HP_AUTO_REQUEST outer = hp_request_enter();
	HP_TRY(hp_pool_check_usable(e->terms.pool, err));
	e->totals.size = sizeof(e->totals);
	e->container = calloc(1, sizeof(*e->container));
	HP_CHECK(e->container, err, HSMPOOL_ERR_SYSTEM,
		 "no memory for a container's header");
	hsmpool_status status = encrypt_all(e, err);
	if (status == HSMPOOL_OK)
		hp_error_clear(err); /* of keys and hashes that were tried */
	e->source.ahead = 0;
	hp_secret_free(&e->secret);
	free(e->container);
	return status;
}

hsmpool_status hsmpool_stream_encrypt(hsmpool *pool, hsmpool_key *const *keys,
				      size_t key_count,
				      const hsmpool_stream_options *options,
				      hsmpool_read_fn read, void *read_user,
				      hsmpool_write_fn write, void *write_user,
				      hsmpool_deadline deadline, hsmpool_error *err)
{
	struct encryption e = {
		.terms = { .pool = pool,
			   .keys = keys,
			   .key_count = key_count,
			   .deadline = deadline },
		.source = { .read = read, .user = read_user },
		.sink = { .write = write, .user = write_user },
	};
	hsmpool_error unseen;
	if (!err)
		err = &unseen;
	hp_error_clear(err);
	HP_CHECK(pool && read && write, err, HSMPOOL_ERR_USAGE,
		 "a stream needs a pool, a read and a write function");
	HP_TRY(hp_stream_options_read(options, &e.terms.options, err));
	return run_encryption(&e, err);
}

hsmpool_status hsmpool_stream_encrypt_fd(hsmpool *pool, hsmpool_key *const *keys,
					 size_t key_count,
					 const hsmpool_stream_options *options, int in,
					 int out, hsmpool_deadline deadline,
					 hsmpool_error *err)
{
	struct hp_file file;
	struct hp_descriptor to;
	struct encryption e = {
		.terms = { .pool = pool,
			   .keys = keys,
			   .key_count = key_count,
			   .deadline = deadline },
	};
	hsmpool_error unseen;
	if (!err)
		err = &unseen;
	hp_error_clear(err);
	HP_CHECK(pool, err, HSMPOOL_ERR_USAGE, "a stream needs a pool");
	HP_TRY(hp_stream_options_read(options, &e.terms.options, err));
	e.source = hp_source_on(&file, in, &e.terms.options);
	e.sink = hp_sink_on(&to, out, &e.terms.options);
	hsmpool_status status = run_encryption(&e, err);
	hp_source_leave(&e.source);
	return status;
}

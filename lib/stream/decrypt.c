/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool_stream_decrypt: header, key, then chunk after chunk to the proven end.
 *
 * Owns: the rule that nothing is written that is not verified: a chunk goes to the
 * writer after its tag fitted, the last one after nothing was found behind it. Heads are
 * read in order; the rest of a chunk of a file by the thread that opens it.
 *
 * Locking: none. What the threads share, struct decryption, is not changed while they
 * run but for the calling thread's own fields, which they do not look at; the key is
 * chosen before there are threads.
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
#include "stream/pipeline.h"
#include "stream/plan.h"
#include "stream/schedule.h"
#include "stream/unlock.h"

struct decryption {
	hsmpool *pool;
	hsmpool_key *key; /* the caller's, or NULL; direct mode: the one of the chunks */
	hsmpool_deadline deadline;
	hsmpool_stream_options options;

	struct hp_container *container;
	struct hp_secret *secret;     /* struct hp_keys; NULL in direct mode */
	struct hp_key_set candidates; /* direct mode without a key given */
	struct hp_chunk_aad aad;

	/* the calling thread's */
	struct hp_source source;
	struct hp_sink sink;
	hsmpool_stream_totals totals;
};

/* One in flight. */
struct chunk {
	uint8_t *frame;
	size_t frame_len;
	uint8_t *body;        /* decrypted, in the frame; direct mode: of its own */
	uint8_t *unpacked;    /* with compression: room for the plaintext */
	const uint8_t *plain; /* one of these, when it is opened */
	size_t touched;       /* of either, at most */
	struct hp_chunk_head head;
	uint64_t index;
	bool is_claimed; /* behind its head not read yet: it is in the source's file */
	off_t at;
};

/* What a thread needs for itself. */
struct worker {
	struct hp_chunk_worker opening;
	struct hp_decompressor decompressor; /* with compression */
};

static bool is_direct(const struct decryption *d)
{
	return d->container->fixed.mode == HP_MODE_DIRECT;
}

static bool is_compressed(const struct decryption *d)
{
	return d->container->fixed.compression != HP_COMPRESSION_NONE;
}

/* Of a chunk's own buffer for its body, in direct mode: some tokens want the tag's room
 * too. */
static size_t own_body_cap(const struct decryption *d)
{
	return (size_t)d->container->fixed.chunk_size + HP_CHUNK_TAG_LEN;
}

static size_t frame_cap(const struct decryption *d)
{
	return hp_chunk_frame_len(d->container->fixed.mode,
				  d->container->fixed.chunk_size);
}

/* ---- header and key ---- */

static hsmpool_status check_context(const struct decryption *d, hsmpool_error *err)
{
	static const uint8_t none[HP_HASH_LEN];
	const struct hp_fixed_part *fixed = &d->container->fixed;
	uint8_t hash[HP_HASH_LEN];
	HP_TRY(hp_context_hash(fixed->id, d->options.context, hash, err));
	if (memcmp(hash, fixed->context_hash, sizeof(hash)) == 0)
		return HSMPOOL_OK;
	if (!d->options.context)
		return hp_fail(
			err, HSMPOOL_ERR_DATA,
			"the container was made with a context: give the same one");
	bool has_none = memcmp(none, fixed->context_hash, sizeof(none)) == 0;
	return hp_fail(err, HSMPOOL_ERR_DATA,
		       has_none ? "the container was made without a context: give none"
				: "the container was made with another context");
}

/* The keys of the token that may have made a container in direct mode: the first
 * chunk tells which did. */
static hsmpool_status find_direct_key(struct decryption *d, hsmpool_error *err)
{
	if (d->key)
		return hp_unlock_check_direct(d->key, d->container, d->deadline, err);
	HP_TRY(hp_key_set_find(d->pool, &d->container->recipients.at[0], d->deadline,
			       &d->candidates, err));
	if (d->candidates.count == 0)
		return hp_unlock_not_found(d->container, NULL, err);
	if (d->candidates.count == 1)
		d->key = d->candidates.at[0];
	return HSMPOOL_OK;
}

static hsmpool_status find_data_key(struct decryption *d, hsmpool_error *err)
{
	d->secret = hp_keys_new();
	HP_CHECK(d->secret, err, HSMPOOL_ERR_SYSTEM, "no memory for a data key");
	struct hp_keys *keys = hp_keys_in(d->secret);
	return hp_unlock(d->pool, d->key, d->container, keys, d->deadline, err);
}

/* ---- chunks: any thread ---- */

static void free_worker(void *job, void *worker)
{
	(void)job;
	struct worker *own = worker;
	hp_chunk_worker_clear(&own->opening);
	hp_decompressor_clear(&own->decompressor);
	free(own);
}

static hsmpool_status new_worker(void *job, void **out, hsmpool_error *err)
{
	const struct decryption *d = job;
	const uint8_t *key = is_direct(d) ? NULL : hp_keys_in(d->secret)->payload;
	struct worker *own = calloc(1, sizeof(*own));
	HP_CHECK(own, err, HSMPOOL_ERR_SYSTEM, "no memory for a thread");
	hsmpool_status status =
		hp_chunk_worker_init(&own->opening, &d->aad, key, false, err);
	if (status == HSMPOOL_OK && is_compressed(d))
		status = hp_decompressor_init(&own->decompressor, err);
	if (status == HSMPOOL_OK)
		*out = own;
	else
		free_worker(job, own);
	return status;
}

static hsmpool_status read_claimed(const struct decryption *d, struct chunk *chunk,
				   hsmpool_error *err)
{
	if (!chunk->is_claimed)
		return HSMPOOL_OK;
	chunk->is_claimed = false;
	return hp_file_read_at(d->source.file, chunk->at,
			       chunk->frame + HP_CHUNK_HEAD_LEN,
			       chunk->frame_len - HP_CHUNK_HEAD_LEN, err);
}

static hsmpool_status open_direct(const struct decryption *d, hsmpool_key *key,
				  struct hp_chunk_aad *aad, struct chunk *chunk,
				  hsmpool_error *err)
{
	const hsmpool_params params = { .size = sizeof(params),
					.aad = { aad->bytes, aad->len } };
	const hsmpool_bytes sealed = { chunk->frame + HP_CHUNK_HEAD_LEN,
				       chunk->frame_len - HP_CHUNK_HEAD_LEN };
	hsmpool_buf out = { chunk->body, own_body_cap(d), 0 };
	hp_chunk_aad_set(aad, chunk->index, chunk->frame);
	hsmpool_status status = hsmpool_decrypt(d->pool, key, "aes-gcm", &params, sealed,
						&out, d->deadline, err);
	if (status == HSMPOOL_ERR_DATA ||
	    (status == HSMPOOL_OK && out.len != chunk->head.body_len))
		return hp_chunk_not_verified(chunk->index, err);
	return status;
}

/* Decrypted and verified, the body only. */
static hsmpool_status open_body(const struct decryption *d, struct hp_chunk_worker *own,
				struct chunk *chunk, hsmpool_error *err)
{
	if (is_direct(d))
		return open_direct(d, d->key, &own->aad, chunk, err);
	hp_chunk_aad_set(&own->aad, chunk->index, chunk->frame);
	return hp_chunk_open(&own->cipher, &own->aad, chunk->index, chunk->head.is_last,
			     chunk->body, chunk->head.body_len,
			     chunk->body + chunk->head.body_len, err);
}

static hsmpool_status open_chunk(void *job, void *worker, void *slot, hsmpool_error *err)
{
	const struct decryption *d = job;
	struct worker *own = worker;
	struct chunk *chunk = slot;
	HP_TRY(read_claimed(d, chunk, err));
	HP_TRY(open_body(d, &own->opening, chunk, err));
	chunk->plain = chunk->body;
	if (!chunk->head.is_compressed)
		return HSMPOOL_OK;
	chunk->plain = chunk->unpacked;
	return hp_decompress(&own->decompressor, chunk->body, chunk->head.body_len,
			     chunk->unpacked, chunk->head.plain_len, chunk->index, err);
}

/* ---- chunks: the calling thread ---- */

static void free_chunk(void *job, void *slot)
{
	const struct decryption *d = job;
	struct chunk *chunk = slot;
	size_t in_frame = is_direct(d) ? 0 : HP_CHUNK_HEAD_LEN + chunk->touched;
	if (is_direct(d))
		hp_bulk_free(chunk->body, own_body_cap(d), chunk->touched);
	hp_bulk_free(chunk->unpacked, d->container->fixed.chunk_size, chunk->touched);
	hp_bulk_free(chunk->frame, frame_cap(d), in_frame);
	free(chunk);
}

/* False: no memory for some part of it. */
static bool make_room(const struct decryption *d, struct chunk *chunk)
{
	const struct hp_fixed_part *fixed = &d->container->fixed;
	chunk->frame = hp_bulk_new(frame_cap(d));
	if (!chunk->frame)
		return false;
	chunk->body = is_direct(d) ? hp_bulk_new(own_body_cap(d))
				   : chunk->frame + HP_CHUNK_HEAD_LEN;
	if (is_compressed(d))
		chunk->unpacked = hp_bulk_new(fixed->chunk_size);
	return chunk->body && (chunk->unpacked || !is_compressed(d));
}

static hsmpool_status new_chunk(void *job, void **out, hsmpool_error *err)
{
	const struct decryption *d = job;
	struct chunk *chunk = calloc(1, sizeof(*chunk));
	if (chunk && make_room(d, chunk)) {
		*out = chunk;
		return HSMPOOL_OK;
	}
	if (chunk)
		free_chunk(job, chunk);
	return hp_fail(err, HSMPOOL_ERR_SYSTEM, "no memory for chunks of %u bytes",
		       d->container->fixed.chunk_size);
}

static hsmpool_status cut_short(uint64_t index, bool is_begun, hsmpool_error *err)
{
	return hp_fail(err, HSMPOOL_ERR_DATA,
		       "the container is cut %s chunk %" PRIu64 ": its end is missing",
		       is_begun ? "inside" : "before", index);
}

/* *have bytes of the frame are read; until there are need. */
static hsmpool_status read_frame_to(struct decryption *d, struct chunk *chunk,
				    size_t need, size_t *have, hsmpool_error *err)
{
	HP_TRY(hp_source_fill(&d->source, chunk->frame, need, need, have, err));
	return *have == need ? HSMPOOL_OK : cut_short(chunk->index, *have > 0, err);
}

/* What is behind the head, unless it is left to the thread that opens it. */
static hsmpool_status read_rest(struct decryption *d, struct chunk *chunk,
				hsmpool_error *err)
{
	bool is_at_end = false;
	size_t have = HP_CHUNK_HEAD_LEN;
	chunk->is_claimed =
		!chunk->head.is_last &&
		hp_source_claim(&d->source, chunk->frame_len - have, &chunk->at);
	if (chunk->is_claimed)
		return HSMPOOL_OK;
	HP_TRY(read_frame_to(d, chunk, chunk->frame_len, &have, err));
	if (!chunk->head.is_last)
		return HSMPOOL_OK;
	HP_TRY(hp_source_is_at_end(&d->source, &is_at_end, err));
	HP_CHECK(is_at_end, err, HSMPOOL_ERR_DATA,
		 "the container has bytes after its last chunk, %" PRIu64, chunk->index);
	return HSMPOOL_OK;
}

/* Which of several keys made the container? The first that opens its first chunk. */
static hsmpool_status choose_key(struct decryption *d, struct chunk *chunk,
				 hsmpool_error *err)
{
	struct hp_chunk_aad aad = d->aad;
	hsmpool_status status = HSMPOOL_ERR_KEY;
	HP_TRY(read_claimed(d, chunk, err));
	for (size_t i = 0; i < d->candidates.count; i++) {
		hsmpool_key *key = d->candidates.at[i];
		status = open_direct(d, key, &aad, chunk, err);
		if (status == HSMPOOL_OK)
			d->key = key;
		if (status != HSMPOOL_ERR_DATA && status != HSMPOOL_ERR_KEY)
			return status;
	}
	return status;
}

static hsmpool_status fill_chunk(void *job, void *slot, uint64_t index, bool *is_last,
				 hsmpool_error *err)
{
	struct decryption *d = job;
	struct chunk *chunk = slot;
	size_t have = 0;
	chunk->index = index;
	HP_TRY(read_frame_to(d, chunk, HP_CHUNK_HEAD_LEN, &have, err));
	HP_TRY(hp_chunk_head_decode(chunk->frame, &d->container->fixed, index,
				    &chunk->head, err));
	chunk->frame_len =
		hp_chunk_frame_len(d->container->fixed.mode, chunk->head.body_len);
	if (chunk->head.plain_len > chunk->touched)
		chunk->touched = chunk->head.plain_len;
	HP_TRY(read_rest(d, chunk, err));
	*is_last = chunk->head.is_last;
	return is_direct(d) && !d->key ? choose_key(d, chunk, err) : HSMPOOL_OK;
}

/* The caller's limits on what comes out, this chunk included. */
static hsmpool_status check_limits(const struct decryption *d, const struct chunk *chunk,
				   hsmpool_error *err)
{
	uint64_t out = d->totals.plain_bytes + chunk->head.plain_len;
	uint64_t in = d->totals.container_bytes + chunk->frame_len;
	uint64_t max = d->options.max_output, ratio = d->options.max_ratio;
	HP_CHECK(max == 0 || out <= max, err, HSMPOOL_ERR_DATA,
		 "stopped before chunk %" PRIu64 " of the container: its data is longer "
		 "than the %" PRIu64 " bytes that are allowed",
		 chunk->index, max);
	HP_CHECK(ratio == 0 || in >= out / ratio + (out % ratio != 0), err,
		 HSMPOOL_ERR_DATA,
		 "stopped at chunk %" PRIu64 " of the container: up to there it is "
		 "compressed to less than the 1/%" PRIu64 " that is allowed",
		 chunk->index, ratio);
	return HSMPOOL_OK;
}

static hsmpool_status drain_chunk(void *job, void *slot, hsmpool_error *err)
{
	struct decryption *d = job;
	const struct chunk *chunk = slot;
	HP_TRY(check_limits(d, chunk, err));
	HP_TRY(hp_sink_write(&d->sink, chunk->plain, chunk->head.plain_len, err));
	d->totals.chunks++;
	d->totals.compressed_chunks += chunk->head.is_compressed;
	d->totals.plain_bytes += chunk->head.plain_len;
	d->totals.container_bytes += chunk->frame_len;
	return hp_stream_progress(&d->options, &d->totals, err);
}

static const struct hp_pipeline_ops chunk_ops = {
	.fill = fill_chunk,
	.work = open_chunk,
	.drain = drain_chunk,
	.slot_new = new_chunk,
	.slot_free = free_chunk,
	.worker_new = new_worker,
	.worker_free = free_worker,
};

/* ---- the stream ---- */

static hsmpool_status decrypt_chunks(struct decryption *d, hsmpool_error *err)
{
	const struct hp_fixed_part *fixed = &d->container->fixed;
	size_t len = frame_cap(d);
	if (is_direct(d))
		len += own_body_cap(d);
	if (is_compressed(d))
		len += fixed->chunk_size;
	struct hp_stream_plan plan = hp_stream_plan(
		d->pool, fixed->mode, d->options.threads, len, 0, d->deadline);
	d->totals.threads = plan.threads;
	d->totals.chunk_size = fixed->chunk_size;
	d->totals.mode = is_direct(d) ? HSMPOOL_STREAM_DIRECT : HSMPOOL_STREAM_ENVELOPE;
	d->totals.compression =
		is_compressed(d) ? HSMPOOL_COMPRESSION_ZSTD : HSMPOOL_COMPRESSION_NONE;
	struct hp_pipeline_ops ops = chunk_ops;
	ops.work_waits = is_direct(d);
	return hp_pipeline_run(&ops, d, plan.threads, plan.slots, err);
}

static hsmpool_status decrypt_all(struct decryption *d, hsmpool_error *err)
{
	HP_TRY(hp_container_read(&d->source, d->container, err));
	d->totals.container_bytes = hp_header_len(d->container);
	HP_TRY(check_context(d, err));
	HP_TRY(is_direct(d) ? find_direct_key(d, err) : find_data_key(d, err));
	HP_TRY(hp_chunk_aad_init(&d->aad, d->container, err));
	HP_TRY(decrypt_chunks(d, err));
	HP_LOG(DEBUG, "stream-decrypted",
	       "%" PRIu64 " bytes in %" PRIu64 " chunks, %s mode", d->totals.plain_bytes,
	       d->totals.chunks, is_direct(d) ? "direct" : "envelope");
	return HSMPOOL_OK;
}

/* With pool, key, deadline, options and both ends set. */
static hsmpool_status run_decryption(struct decryption *d, hsmpool_error *err)
{
	HP_AUTO_REQUEST outer = hp_request_enter();
	HP_CHECK(!d->key || hp_key_pool(d->key) == d->pool, err, HSMPOOL_ERR_USAGE,
		 "the key is no key of this pool");
	HP_TRY(hp_pool_check_usable(d->pool, err));
	d->totals.size = sizeof(d->totals);
	d->container = calloc(1, sizeof(*d->container));
	HP_CHECK(d->container, err, HSMPOOL_ERR_SYSTEM,
		 "no memory for a container's header");
	hsmpool_status status = decrypt_all(d, err);
	if (status == HSMPOOL_OK)
		hp_error_clear(err); /* of keys and hashes that were tried */
	hp_key_set_clear(&d->candidates);
	hp_secret_free(&d->secret);
	free(d->container);
	return status;
}

hsmpool_status hsmpool_stream_decrypt(hsmpool *pool, hsmpool_key *key,
				      const hsmpool_stream_options *options,
				      hsmpool_read_fn read, void *read_user,
				      hsmpool_write_fn write, void *write_user,
				      hsmpool_deadline deadline, hsmpool_error *err)
{
	struct decryption d = {
		.pool = pool,
		.key = key,
		.deadline = deadline,
		.source = { .read = read, .user = read_user },
		.sink = { .write = write, .user = write_user },
	};
	hsmpool_error unseen;
	if (!err)
		err = &unseen;
	hp_error_clear(err);
	HP_CHECK(pool && read && write, err, HSMPOOL_ERR_USAGE,
		 "a stream needs a pool, a read and a write function");
	HP_TRY(hp_stream_options_read(options, &d.options, err));
	return run_decryption(&d, err);
}

hsmpool_status hsmpool_stream_decrypt_fd(hsmpool *pool, hsmpool_key *key,
					 const hsmpool_stream_options *options, int in,
					 int out, hsmpool_deadline deadline,
					 hsmpool_error *err)
{
	struct hp_file file;
	struct hp_descriptor to;
	struct decryption d = { .pool = pool, .key = key, .deadline = deadline };
	hsmpool_error unseen;
	if (!err)
		err = &unseen;
	hp_error_clear(err);
	HP_CHECK(pool, err, HSMPOOL_ERR_USAGE, "a stream needs a pool");
	HP_TRY(hp_stream_options_read(options, &d.options, err));
	d.source = hp_source_on(&file, in, &d.options);
	d.sink = hp_sink_on(&to, out, &d.options);
	hsmpool_status status = run_decryption(&d, err);
	hp_source_leave(&d.source);
	return status;
}

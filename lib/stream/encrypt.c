/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool_stream_encrypt: header, then chunk after chunk until the reader ends.
 *
 * Owns: the order of the work and its buffers: one of a frame, and in direct mode one
 * of plaintext, whatever the input's length. One byte is read ahead, so the last chunk
 * is known as such when it is written.
 */
#include <hsmpool/stream.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/rand.h>
#include <hsmpool/crypto.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/secret.h"
#include "crypto/key.h"
#include "observe/log.h"
#include "pool/pool.h"
#include "stream/chunk.h"
#include "stream/container.h"
#include "stream/schedule.h"
#include "stream/wrap.h"

/* Chunks of one container in direct mode after which the key's owner is told. */
#define DIRECT_CHUNKS_WARNED (UINT64_C(1) << 20)

struct encryption {
	hsmpool *pool;
	hsmpool_key *const *keys;
	size_t key_count;
	hsmpool_deadline deadline;
	hsmpool_stream_options options;
	struct hp_source source;
	struct hp_sink sink;

	struct hp_container *container;
	struct hp_named_key *recipients;
	struct hp_secret *secret; /* struct hp_keys; NULL in direct mode */
	struct hp_chunk_cipher cipher;
	struct hp_chunk_aad aad;
	uint8_t *frame;
	size_t frame_cap;
	uint8_t *direct_plain; /* direct mode: a buffer of its own */
	uint8_t *plain;        /* that, or inside frame, where the body goes */
	size_t plain_touched;
	uint64_t index;
	uint64_t bytes;
};

static bool is_direct(const struct encryption *e)
{
	return e->container->fixed.mode == HP_MODE_DIRECT;
}

static uint32_t chunk_size(const struct encryption *e)
{
	return e->container->fixed.chunk_size;
}

/* ---- header ---- */

static hsmpool_status start_fixed_part(struct encryption *e, hsmpool_error *err)
{
	struct hp_fixed_part *fixed = &e->container->fixed;
	bool direct = e->options.mode == HSMPOOL_STREAM_DIRECT;
	HP_CHECK(direct || e->options.mode == HSMPOOL_STREAM_ENVELOPE, err,
		 HSMPOOL_ERR_USAGE, "there is no stream mode %d", (int)e->options.mode);
	fixed->mode = direct ? HP_MODE_DIRECT : HP_MODE_ENVELOPE;
	fixed->suite = HP_SUITE_AES_256_GCM_SHA_256;
	fixed->compression = HP_COMPRESSION_NONE;
	fixed->chunk_size = e->options.chunk_size;
	if (fixed->chunk_size == 0)
		fixed->chunk_size =
			direct ? HP_CHUNK_SIZE_DIRECT : HP_CHUNK_SIZE_ENVELOPE;
	HP_CHECK(hp_chunk_size_is_valid(fixed->mode, fixed->chunk_size), err,
		 HSMPOOL_ERR_USAGE, "a chunk has %d bytes to %d MiB, not %u",
		 HP_CHUNK_SIZE_MIN,
		 (direct ? HP_CHUNK_SIZE_MAX_DIRECT : HP_CHUNK_SIZE_MAX) >> 20,
		 fixed->chunk_size);
	HP_CHECK(RAND_bytes(fixed->id, sizeof(fixed->id)) == 1, err, HSMPOOL_ERR_SYSTEM,
		 "OpenSSL has no random numbers");
	return hp_context_hash(fixed->id, e->options.context, fixed->context_hash, err);
}

/* A fresh data key, and the commitment to it. */
static hsmpool_status start_keys(struct encryption *e, hsmpool_error *err)
{
	if (is_direct(e))
		return HSMPOOL_OK;
	e->secret = hp_keys_new();
	HP_CHECK(e->secret, err, HSMPOOL_ERR_SYSTEM, "no memory for a data key");
	struct hp_keys *keys = hp_keys_in(e->secret);
	HP_CHECK(RAND_priv_bytes(keys->data, sizeof(keys->data)) == 1, err,
		 HSMPOOL_ERR_SYSTEM, "OpenSSL has no random numbers");
	hp_fixed_part_encode(&e->container->fixed, e->container->raw);
	HP_TRY(hp_keys_derive(keys, e->container, err));
	memcpy(e->container->fixed.commitment, keys->commitment, HP_HASH_LEN);
	return HSMPOOL_OK;
}

static hsmpool_status prepare_recipient(struct encryption *e, size_t i,
					hsmpool_error *err)
{
	struct hp_named_key *named = &e->recipients[i];
	HP_TRY(hp_named_key_read(e->keys[i], e->deadline, named, err));
	if (!is_direct(e))
		return hp_data_key_wrap(e->pool, e->keys[i], e->container,
					hp_keys_in(e->secret)->data, named, e->deadline,
					err);
	HP_CHECK(!hp_recipient_is_rsa(&named->view), err, HSMPOOL_ERR_KEY,
		 "key '%s' is an RSA key: direct mode needs an AES key",
		 hp_key_name(e->keys[i]));
	HP_CHECK(named->flags & HSMPOOL_KEY_CAN_ENCRYPT, err, HSMPOOL_ERR_KEY,
		 "key '%s' may not encrypt: direct mode needs one that may",
		 hp_key_name(e->keys[i]));
	named->view.type = HP_RECIPIENT_DIRECT;
	return HSMPOOL_OK;
}

static hsmpool_status make_header(struct encryption *e, hsmpool_error *err)
{
	struct hp_recipient views[HP_RECIPIENTS_MAX];
	for (size_t i = 0; i < e->key_count; i++) {
		HP_TRY(prepare_recipient(e, i, err));
		views[i] = e->recipients[i].view;
	}
	HP_TRY(hp_container_encode(e->container, views, e->key_count, err));
	if (!is_direct(e))
		HP_TRY(hp_header_mac(hp_keys_in(e->secret), e->container,
				     e->container->mac, err));
	return hp_chunk_aad_init(&e->aad, e->container, err);
}

static hsmpool_status write_header(const struct encryption *e, hsmpool_error *err)
{
	struct hp_container *c = e->container;
	size_t len = c->raw_len;
	if (!is_direct(e)) {
		memcpy(c->raw + len, c->mac, HP_HASH_LEN);
		len += HP_HASH_LEN;
	}
	return hp_sink_write(&e->sink, c->raw, len, err);
}

/* ---- chunks ---- */

static hsmpool_status make_buffers(struct encryption *e, hsmpool_error *err)
{
	e->frame_cap = hp_chunk_frame_len(e->container->fixed.mode, chunk_size(e));
	e->frame = malloc(e->frame_cap);
	if (is_direct(e))
		e->plain = e->direct_plain = malloc((size_t)chunk_size(e) + 1);
	else if (e->frame)
		e->plain = e->frame + HP_CHUNK_HEAD_LEN;
	HP_CHECK(e->frame && e->plain, err, HSMPOOL_ERR_SYSTEM,
		 "no memory for chunks of %u bytes", chunk_size(e));
	if (is_direct(e))
		return HSMPOOL_OK;
	return hp_chunk_cipher_init(&e->cipher, hp_keys_in(e->secret)->payload, true,
				    err);
}

/* Through the HSM: IV, body and tag are what hsmpool_encrypt() writes. */
static hsmpool_status seal_direct(struct encryption *e, size_t len, hsmpool_error *err)
{
	const hsmpool_params params = { .size = sizeof(params),
					.aad = { e->aad.bytes, e->aad.len } };
	const hsmpool_bytes plain = { e->plain, len };
	hsmpool_buf out = { e->frame + HP_CHUNK_HEAD_LEN,
			    e->frame_cap - HP_CHUNK_HEAD_LEN, 0 };
	HP_TRY(hsmpool_encrypt(e->pool, e->keys[0], "aes-gcm", &params, plain, &out,
			       e->deadline, err));
	HP_CHECK(out.len == HP_CHUNK_IV_LEN + len + HP_CHUNK_TAG_LEN, err,
		 HSMPOOL_ERR_DOWN, "the token's AES-GCM gives %zu bytes for %zu", out.len,
		 len);
	return HSMPOOL_OK;
}

static void warn_of_many_ivs(const struct encryption *e)
{
	if (is_direct(e) && e->index == DIRECT_CHUNKS_WARNED)
		HP_LOG(WARNING, "stream-many-ivs",
		       "a container in direct mode passes %" PRIu64 " chunks: key '%s' "
		       "must not encrypt more than 2^32 chunks and messages in its life; "
		       "larger chunks or envelope mode use fewer",
		       DIRECT_CHUNKS_WARNED, hp_key_name(e->keys[0]));
}

/* len bytes of plain into a whole frame. */
static hsmpool_status seal_chunk(struct encryption *e, size_t len, bool is_last,
				 hsmpool_error *err)
{
	uint64_t limit = hp_chunk_limit(e->container->fixed.mode, chunk_size(e));
	HP_CHECK(is_last || e->index + 1 < limit, err, HSMPOOL_ERR_USAGE,
		 "the input is longer than the %" PRIu64 " chunks of %u bytes that a "
		 "container may have: use larger chunks%s",
		 limit, chunk_size(e), is_direct(e) ? " or envelope mode" : "");
	const struct hp_chunk_head head = {
		.is_last = is_last,
		.plain_len = (uint32_t)len,
		.body_len = (uint32_t)len,
	};
	warn_of_many_ivs(e);
	hp_chunk_head_encode(&head, e->frame);
	hp_chunk_aad_set(&e->aad, e->index, e->frame);
	if (is_direct(e))
		return seal_direct(e, len, err);
	return hp_chunk_seal(&e->cipher, &e->aad, e->index, is_last, e->plain, len,
			     e->plain + len, err);
}

/* One chunk, of which *have bytes were read ahead; afterwards *have of the next. */
static hsmpool_status encrypt_chunk(struct encryption *e, size_t *have, bool *is_last,
				    hsmpool_error *err)
{
	size_t with_one_more = (size_t)chunk_size(e) + 1;
	HP_TRY(hp_source_fill(&e->source, e->plain, with_one_more, with_one_more, have,
			      err));
	if (*have > e->plain_touched)
		e->plain_touched = *have;
	*is_last = *have < with_one_more;
	size_t len = *is_last ? *have : chunk_size(e);
	uint8_t ahead = *is_last ? 0 : e->plain[len];
	HP_TRY(seal_chunk(e, len, *is_last, err));
	HP_TRY(hp_sink_write(&e->sink, e->frame,
			     hp_chunk_frame_len(e->container->fixed.mode, len), err));
	e->plain[0] = ahead;
	*have = *is_last ? 0 : 1;
	e->index++;
	e->bytes += len;
	return hp_stream_progress(&e->options, e->bytes, err);
}

/* The calls in direct mode are for whoever adds them up. */
static void log_end(const struct encryption *e)
{
	if (is_direct(e))
		HP_LOG(INFO, "stream-encrypted",
		       "%" PRIu64 " bytes by %" PRIu64 " AES-GCM calls, of 2^32 in the "
		       "life of key '%s'",
		       e->bytes, e->index, hp_key_name(e->keys[0]));
	else
		HP_LOG(DEBUG, "stream-encrypted",
		       "%" PRIu64 " bytes in %" PRIu64 " chunks", e->bytes, e->index);
}

static hsmpool_status encrypt_all(struct encryption *e, hsmpool_error *err)
{
	size_t have = 0;
	bool is_last = false;
	HP_TRY(start_fixed_part(e, err));
	HP_TRY(start_keys(e, err));
	HP_TRY(make_header(e, err));
	HP_TRY(make_buffers(e, err));
	HP_TRY(write_header(e, err));
	while (!is_last)
		HP_TRY(encrypt_chunk(e, &have, &is_last, err));
	log_end(e);
	return HSMPOOL_OK;
}

static void clear_encryption(struct encryption *e)
{
	if (e->plain)
		hp_wipe(e->plain, e->plain_touched);
	free(e->direct_plain);
	free(e->frame);
	hp_chunk_cipher_clear(&e->cipher);
	hp_secret_free(&e->secret);
	free(e->recipients);
	free(e->container);
}

static hsmpool_status check_keys(hsmpool *pool, hsmpool_key *const *keys,
				 size_t key_count, bool direct, hsmpool_error *err)
{
	HP_CHECK(keys && key_count >= 1 && key_count <= HP_RECIPIENTS_MAX, err,
		 HSMPOOL_ERR_USAGE, "a container has 1 to %d recipients, not %zu",
		 HP_RECIPIENTS_MAX, key_count);
	HP_CHECK(!direct || key_count == 1, err, HSMPOOL_ERR_USAGE,
		 "direct mode has one key, not %zu: use envelope mode", key_count);
	for (size_t i = 0; i < key_count; i++)
		HP_CHECK(keys[i] && hp_key_pool(keys[i]) == pool, err, HSMPOOL_ERR_USAGE,
			 "recipient %zu is no key of this pool", i + 1);
	return HSMPOOL_OK;
}

hsmpool_status hsmpool_stream_encrypt(hsmpool *pool, hsmpool_key *const *keys,
				      size_t key_count,
				      const hsmpool_stream_options *options,
				      hsmpool_read_fn read, void *read_user,
				      hsmpool_write_fn write, void *write_user,
				      hsmpool_deadline deadline, hsmpool_error *err)
{
	struct encryption e = {
		.pool = pool,
		.keys = keys,
		.key_count = key_count,
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
	HP_TRY(hp_pool_check_usable(pool, err));
	HP_TRY(hp_stream_options_read(options, &e.options, err));
	HP_TRY(check_keys(pool, keys, key_count, e.options.mode == HSMPOOL_STREAM_DIRECT,
			  err));
	e.container = calloc(1, sizeof(*e.container));
	e.recipients = calloc(key_count, sizeof(*e.recipients));
	hsmpool_status status = e.container && e.recipients
					? encrypt_all(&e, err)
					: hp_fail(err, HSMPOOL_ERR_SYSTEM,
						  "no memory for a container's header");
	if (status == HSMPOOL_OK)
		hp_error_clear(err); /* of keys and hashes that were tried */
	clear_encryption(&e);
	return status;
}

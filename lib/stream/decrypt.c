/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool_stream_decrypt: header, key, then chunk after chunk to the proven end.
 *
 * Owns: the rule that nothing is written that is not verified: a chunk goes to the
 * writer after its tag fitted, the last one after nothing was found behind it. Memory:
 * one frame and the next one's head, and in direct mode one chunk of plaintext.
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
#include "pool/pool.h"
#include "stream/chunk.h"
#include "stream/container.h"
#include "stream/schedule.h"
#include "stream/unlock.h"

struct decryption {
	hsmpool *pool;
	hsmpool_key *key; /* the caller's, or NULL */
	hsmpool_deadline deadline;
	hsmpool_stream_options options;
	struct hp_source source;
	struct hp_sink sink;

	struct hp_container *container;
	struct hp_secret *secret;     /* struct hp_keys; NULL in direct mode */
	struct hp_key_set candidates; /* direct mode without a key given */
	struct hp_chunk_cipher cipher;
	struct hp_chunk_aad aad;
	uint8_t *in;
	size_t in_cap;
	size_t in_len;
	uint8_t *plain; /* direct mode */
	size_t plain_cap;
	size_t in_touched;
	uint64_t index;
	uint64_t bytes;
};

static bool is_direct(const struct decryption *d)
{
	return d->container->fixed.mode == HP_MODE_DIRECT;
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
	return HSMPOOL_OK;
}

static hsmpool_status find_data_key(struct decryption *d, hsmpool_error *err)
{
	d->secret = hp_keys_new();
	HP_CHECK(d->secret, err, HSMPOOL_ERR_SYSTEM, "no memory for a data key");
	struct hp_keys *keys = hp_keys_in(d->secret);
	HP_TRY(hp_unlock(d->pool, d->key, d->container, keys, d->deadline, err));
	return hp_chunk_cipher_init(&d->cipher, keys->payload, false, err);
}

/* ---- chunks ---- */

static hsmpool_status make_buffers(struct decryption *d, hsmpool_error *err)
{
	uint32_t chunk_size = d->container->fixed.chunk_size;
	d->in_cap = hp_chunk_frame_len(d->container->fixed.mode, chunk_size) +
		    HP_CHUNK_HEAD_LEN;
	d->in = malloc(d->in_cap);
	if (is_direct(d)) {
		d->plain_cap = (size_t)chunk_size + HP_CHUNK_TAG_LEN;
		d->plain = malloc(d->plain_cap);
	}
	HP_CHECK(d->in && (d->plain || !is_direct(d)), err, HSMPOOL_ERR_SYSTEM,
		 "no memory for chunks of %u bytes", chunk_size);
	return HSMPOOL_OK;
}

static hsmpool_status cut_short(const struct decryption *d, hsmpool_error *err)
{
	return hp_fail(err, HSMPOOL_ERR_DATA,
		       "the container is cut %s chunk %" PRIu64 ": its end is missing",
		       d->in_len == 0 ? "before" : "inside", d->index);
}

static hsmpool_status fill(struct decryption *d, size_t need, hsmpool_error *err)
{
	HP_TRY(hp_source_fill(&d->source, d->in, d->in_cap, need, &d->in_len, err));
	if (d->in_len > d->in_touched)
		d->in_touched = d->in_len;
	return HSMPOOL_OK;
}

/* A whole frame into d->in; behind the last one there must be the end. */
static hsmpool_status read_frame(struct decryption *d, struct hp_chunk_head *head,
				 size_t *frame_len, hsmpool_error *err)
{
	HP_TRY(fill(d, HP_CHUNK_HEAD_LEN, err));
	if (d->in_len < HP_CHUNK_HEAD_LEN)
		return cut_short(d, err);
	HP_TRY(hp_chunk_head_decode(d->in, &d->container->fixed, d->index, head, err));
	*frame_len = hp_chunk_frame_len(d->container->fixed.mode, head->body_len);
	HP_TRY(fill(d, *frame_len + (head->is_last ? 1 : 0), err));
	if (d->in_len < *frame_len)
		return cut_short(d, err);
	HP_CHECK(!head->is_last || d->in_len == *frame_len, err, HSMPOOL_ERR_DATA,
		 "the container has bytes after its last chunk, %" PRIu64, d->index);
	return HSMPOOL_OK;
}

static hsmpool_status decrypt_with(struct decryption *d, hsmpool_key *key,
				   size_t frame_len, size_t plain_len, hsmpool_error *err)
{
	const hsmpool_params params = { .size = sizeof(params),
					.aad = { d->aad.bytes, d->aad.len } };
	const hsmpool_bytes sealed = { d->in + HP_CHUNK_HEAD_LEN,
				       frame_len - HP_CHUNK_HEAD_LEN };
	hsmpool_buf out = { d->plain, d->plain_cap, 0 };
	hsmpool_status status = hsmpool_decrypt(d->pool, key, "aes-gcm", &params, sealed,
						&out, d->deadline, err);
	if (status == HSMPOOL_ERR_DATA || (status == HSMPOOL_OK && out.len != plain_len))
		return hp_chunk_not_verified(d->index, err);
	return status;
}

/* The first of the candidates that opens the first chunk is the key from then on. */
static hsmpool_status choose_and_decrypt(struct decryption *d, size_t frame_len,
					 size_t plain_len, hsmpool_error *err)
{
	hsmpool_status status = HSMPOOL_ERR_KEY;
	for (size_t i = 0; i < d->candidates.count; i++) {
		hsmpool_key *key = d->candidates.at[i];
		status = decrypt_with(d, key, frame_len, plain_len, err);
		if (status == HSMPOOL_OK)
			d->key = key;
		if (status != HSMPOOL_ERR_DATA && status != HSMPOOL_ERR_KEY)
			return status;
	}
	return status;
}

static hsmpool_status open_frame(struct decryption *d, const struct hp_chunk_head *head,
				 size_t frame_len, uint8_t **plain, hsmpool_error *err)
{
	hp_chunk_aad_set(&d->aad, d->index, d->in);
	if (is_direct(d)) {
		*plain = d->plain;
		if (!d->key)
			return choose_and_decrypt(d, frame_len, head->plain_len, err);
		return decrypt_with(d, d->key, frame_len, head->plain_len, err);
	}
	*plain = d->in + HP_CHUNK_HEAD_LEN;
	return hp_chunk_open(&d->cipher, &d->aad, d->index, head->is_last, *plain,
			     head->body_len, *plain + head->body_len, err);
}

static hsmpool_status decrypt_chunk(struct decryption *d, bool *is_last,
				    hsmpool_error *err)
{
	struct hp_chunk_head head;
	size_t frame_len = 0;
	uint8_t *plain = NULL;
	HP_TRY(read_frame(d, &head, &frame_len, err));
	HP_TRY(open_frame(d, &head, frame_len, &plain, err));
	HP_TRY(hp_sink_write(&d->sink, plain, head.plain_len, err));
	d->in_len -= frame_len;
	memmove(d->in, d->in + frame_len, d->in_len);
	d->index++;
	d->bytes += head.plain_len;
	*is_last = head.is_last;
	return hp_stream_progress(&d->options, d->bytes, err);
}

static hsmpool_status decrypt_all(struct decryption *d, hsmpool_error *err)
{
	bool is_last = false;
	HP_TRY(hp_container_read(&d->source, d->container, err));
	HP_TRY(check_context(d, err));
	HP_TRY(is_direct(d) ? find_direct_key(d, err) : find_data_key(d, err));
	HP_TRY(hp_chunk_aad_init(&d->aad, d->container, err));
	HP_TRY(make_buffers(d, err));
	while (!is_last)
		HP_TRY(decrypt_chunk(d, &is_last, err));
	HP_LOG(DEBUG, "stream-decrypted",
	       "%" PRIu64 " bytes in %" PRIu64 " chunks, %s mode", d->bytes, d->index,
	       is_direct(d) ? "direct" : "envelope");
	return HSMPOOL_OK;
}

static void clear_decryption(struct decryption *d)
{
	if (d->in)
		hp_wipe(d->in, d->in_touched);
	if (d->plain)
		hp_wipe(d->plain,
			d->in_touched < d->plain_cap ? d->in_touched : d->plain_cap);
	free(d->in);
	free(d->plain);
	hp_key_set_clear(&d->candidates);
	hp_chunk_cipher_clear(&d->cipher);
	hp_secret_free(&d->secret);
	free(d->container);
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
	HP_CHECK(!key || hp_key_pool(key) == pool, err, HSMPOOL_ERR_USAGE,
		 "the key is no key of this pool");
	HP_TRY(hp_pool_check_usable(pool, err));
	HP_TRY(hp_stream_options_read(options, &d.options, err));
	d.container = calloc(1, sizeof(*d.container));
	HP_CHECK(d.container, err, HSMPOOL_ERR_SYSTEM,
		 "no memory for a container's header");
	hsmpool_status status = decrypt_all(&d, err);
	if (status == HSMPOOL_OK)
		hp_error_clear(err); /* of keys and hashes that were tried */
	clear_decryption(&d);
	return status;
}

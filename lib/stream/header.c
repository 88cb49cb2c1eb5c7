/* SPDX-License-Identifier: Apache-2.0 */
/* See header.h. The order is that of docs/format.md: fixed part, recipients, MAC. */
#include "stream/header.h"

#include <stdlib.h>
#include <string.h>
#include <openssl/rand.h>
#include "base/error.h"
#include "base/memory.h"
#include "crypto/key.h"
#include "stream/compress.h"
#include "stream/schedule.h"
#include "stream/wrap.h"

static bool is_direct(const struct hp_header_terms *terms)
{
	return terms->options.mode == HSMPOOL_STREAM_DIRECT;
}

/* ---- what was asked for ---- */

static hsmpool_status check_keys(const struct hp_header_terms *terms, hsmpool_error *err)
{
	size_t count = terms->key_count;
	HP_CHECK(terms->keys && count >= 1 && count <= HP_RECIPIENTS_MAX, err,
		 HSMPOOL_ERR_USAGE, "a container has 1 to %d recipients, not %zu",
		 HP_RECIPIENTS_MAX, count);
	HP_CHECK(!is_direct(terms) || count == 1, err, HSMPOOL_ERR_USAGE,
		 "direct mode has one key, not %zu: use envelope mode", count);
	for (size_t i = 0; i < count; i++)
		HP_CHECK(terms->keys[i] && hp_key_pool(terms->keys[i]) == terms->pool,
			 err, HSMPOOL_ERR_USAGE, "recipient %zu is no key of this pool",
			 i + 1);
	return HSMPOOL_OK;
}

static hsmpool_status check_compression(const hsmpool_stream_options *options,
					hsmpool_error *err)
{
	int level = options->compression_level;
	HP_CHECK(options->compression == HSMPOOL_COMPRESSION_ZSTD ||
			 options->compression == HSMPOOL_COMPRESSION_NONE,
		 err, HSMPOOL_ERR_USAGE, "there is no compression %d",
		 (int)options->compression);
	HP_CHECK(level == 0 || (level >= HP_COMPRESSION_LEVEL_MIN &&
				level <= HP_COMPRESSION_LEVEL_MAX),
		 err, HSMPOOL_ERR_USAGE, "a level of compression is %d to %d, not %d",
		 HP_COMPRESSION_LEVEL_MIN, HP_COMPRESSION_LEVEL_MAX, level);
	return HSMPOOL_OK;
}

static hsmpool_status check_options(const hsmpool_stream_options *options,
				    hsmpool_error *err)
{
	bool direct = options->mode == HSMPOOL_STREAM_DIRECT;
	enum hp_container_mode mode = direct ? HP_MODE_DIRECT : HP_MODE_ENVELOPE;
	HP_CHECK(direct || options->mode == HSMPOOL_STREAM_ENVELOPE, err,
		 HSMPOOL_ERR_USAGE, "there is no stream mode %d", (int)options->mode);
	HP_TRY(check_compression(options, err));
	HP_CHECK(options->chunk_size == 0 ||
			 hp_chunk_size_is_valid(mode, options->chunk_size),
		 err, HSMPOOL_ERR_USAGE, "a chunk has %d bytes to %d MiB, not %u",
		 HP_CHUNK_SIZE_MIN,
		 (direct ? HP_CHUNK_SIZE_MAX_DIRECT : HP_CHUNK_SIZE_MAX) >> 20,
		 options->chunk_size);
	return HSMPOOL_OK;
}

/* ---- the fixed part ---- */

static uint32_t chunk_size_of(const hsmpool_stream_options *options)
{
	if (options->chunk_size > 0)
		return options->chunk_size;
	return options->mode == HSMPOOL_STREAM_DIRECT ? HP_CHUNK_SIZE_DIRECT
						      : HP_CHUNK_SIZE_ENVELOPE;
}

/* All but the commitment. */
static hsmpool_status start_fixed_part(const hsmpool_stream_options *options,
				       struct hp_fixed_part *fixed, hsmpool_error *err)
{
	*fixed = (struct hp_fixed_part){
		.mode = options->mode == HSMPOOL_STREAM_DIRECT ? HP_MODE_DIRECT
							       : HP_MODE_ENVELOPE,
		.suite = HP_SUITE_AES_256_GCM_SHA_256,
		.compression = options->compression == HSMPOOL_COMPRESSION_ZSTD
				       ? HP_COMPRESSION_ZSTD
				       : HP_COMPRESSION_NONE,
		.chunk_size = chunk_size_of(options),
	};
	HP_CHECK(RAND_bytes(fixed->id, sizeof(fixed->id)) == 1, err, HSMPOOL_ERR_SYSTEM,
		 "OpenSSL has no random numbers");
	return hp_context_hash(fixed->id, options->context, fixed->context_hash, err);
}

/* A fresh data key, and the commitment to it. */
static hsmpool_status start_keys(struct hp_container *container,
				 struct hp_secret **secret, hsmpool_error *err)
{
	*secret = hp_keys_new();
	HP_CHECK(*secret, err, HSMPOOL_ERR_SYSTEM, "no memory for a data key");
	struct hp_keys *keys = hp_keys_in(*secret);
	HP_CHECK(RAND_priv_bytes(keys->data, sizeof(keys->data)) == 1, err,
		 HSMPOOL_ERR_SYSTEM, "OpenSSL has no random numbers");
	hp_fixed_part_encode(&container->fixed, container->raw);
	HP_TRY(hp_keys_derive(keys, container, err));
	memcpy(container->fixed.commitment, keys->commitment, HP_HASH_LEN);
	return HSMPOOL_OK;
}

/* ---- the recipients ---- */

static hsmpool_status check_direct_key(const hsmpool_key *key,
				       const struct hp_named_key *named,
				       hsmpool_error *err)
{
	HP_CHECK(!hp_recipient_is_rsa(&named->view), err, HSMPOOL_ERR_KEY,
		 "key '%s' is an RSA key: direct mode needs an AES key",
		 hp_key_name(key));
	HP_CHECK(named->flags & HSMPOOL_KEY_CAN_ENCRYPT, err, HSMPOOL_ERR_KEY,
		 "key '%s' may not encrypt: direct mode needs one that may",
		 hp_key_name(key));
	return HSMPOOL_OK;
}

static hsmpool_status name_recipient(const struct hp_header_terms *terms, size_t i,
				     const struct hp_container *container,
				     struct hp_secret *secret, struct hp_named_key *named,
				     hsmpool_error *err)
{
	hsmpool_key *key = terms->keys[i];
	HP_TRY(hp_named_key_read(key, terms->deadline, named, err));
	if (!is_direct(terms))
		return hp_data_key_wrap(terms->pool, key, container,
					hp_keys_in(secret)->data, named, terms->deadline,
					err);
	HP_TRY(check_direct_key(key, named, err));
	named->view.type = HP_RECIPIENT_DIRECT;
	return HSMPOOL_OK;
}

static hsmpool_status add_recipients(const struct hp_header_terms *terms,
				     struct hp_container *container,
				     struct hp_secret *secret, hsmpool_error *err)
{
	struct hp_recipient views[HP_RECIPIENTS_MAX];
	HP_AUTO_FREE struct hp_named_key *named =
		calloc(terms->key_count, sizeof(*named));
	HP_CHECK(named, err, HSMPOOL_ERR_SYSTEM, "no memory for a container's header");
	for (size_t i = 0; i < terms->key_count; i++) {
		HP_TRY(name_recipient(terms, i, container, secret, &named[i], err));
		views[i] = named[i].view;
	}
	return hp_container_encode(container, views, terms->key_count, err);
}

/* ---- all of it ---- */

hsmpool_status hp_header_make(const struct hp_header_terms *terms,
			      struct hp_container *container, struct hp_secret **secret,
			      hsmpool_error *err)
{
	HP_TRY(check_keys(terms, err));
	HP_TRY(check_options(&terms->options, err));
	HP_TRY(start_fixed_part(&terms->options, &container->fixed, err));
	if (is_direct(terms))
		return add_recipients(terms, container, NULL, err);
	HP_TRY(start_keys(container, secret, err));
	HP_TRY(add_recipients(terms, container, *secret, err));
	return hp_header_mac(hp_keys_in(*secret), container,
			     container->raw + container->raw_len, err);
}

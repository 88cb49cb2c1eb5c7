/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See chunk.h. Two functions per chunk reach OpenSSL's cipher; the key schedule and
 * the context are made once per container, and nothing is allocated on the way.
 */
#include "stream/chunk.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/evp.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/secret.h"
#include "stream/compress.h"
#include "stream/schedule.h"

enum { FLAG_LAST = 1, FLAG_COMPRESSED = 2 };

void hp_chunk_head_encode(const struct hp_chunk_head *head,
			  uint8_t out[HP_CHUNK_HEAD_LEN])
{
	out[0] = (uint8_t)((head->is_last ? FLAG_LAST : 0) |
			   (head->is_compressed ? FLAG_COMPRESSED : 0));
	hp_put_be32(out + 1, head->plain_len);
	hp_put_be32(out + 5, head->body_len);
}

/* Every chunk but the last is full, and only an empty input has an empty chunk: one
 * input has one division into chunks. */
static bool lengths_are_valid(const struct hp_chunk_head *head,
			      const struct hp_fixed_part *fixed, uint64_t index)
{
	if (head->plain_len > fixed->chunk_size)
		return false;
	if (!head->is_last && head->plain_len != fixed->chunk_size)
		return false;
	if (head->is_last && head->plain_len == 0 && index > 0)
		return false;
	if (head->is_compressed)
		return head->body_len >= hp_compressed_len_min(head->plain_len) &&
		       head->body_len < head->plain_len;
	return head->body_len == head->plain_len;
}

hsmpool_status hp_chunk_head_decode(const uint8_t bytes[HP_CHUNK_HEAD_LEN],
				    const struct hp_fixed_part *fixed, uint64_t index,
				    struct hp_chunk_head *out, hsmpool_error *err)
{
	uint64_t limit = hp_chunk_limit(fixed->mode, fixed->chunk_size);
	bool flags_are_known = (bytes[0] & ~(FLAG_LAST | FLAG_COMPRESSED)) == 0;
	out->is_last = bytes[0] & FLAG_LAST;
	out->is_compressed = bytes[0] & FLAG_COMPRESSED;
	out->plain_len = hp_get_be32(bytes + 1);
	out->body_len = hp_get_be32(bytes + 5);
	HP_CHECK(index < limit && (out->is_last || index + 1 < limit), err,
		 HSMPOOL_ERR_DATA,
		 "the container has more chunks than the %" PRIu64 " it may have", limit);
	bool may_be_compressed = fixed->compression != HP_COMPRESSION_NONE;
	HP_CHECK(flags_are_known && (may_be_compressed || !out->is_compressed) &&
			 lengths_are_valid(out, fixed, index),
		 err, HSMPOOL_ERR_DATA,
		 "chunk %" PRIu64 " of the container is damaged: its head is not valid",
		 index);
	return HSMPOOL_OK;
}

size_t hp_chunk_frame_len(enum hp_container_mode mode, size_t body_len)
{
	size_t iv_len = mode == HP_MODE_DIRECT ? HP_CHUNK_IV_LEN : 0;
	return HP_CHUNK_HEAD_LEN + iv_len + body_len + HP_CHUNK_TAG_LEN;
}

static void aad_put(struct hp_chunk_aad *aad, const void *data, size_t len)
{
	memcpy(aad->bytes + aad->len, data, len);
	aad->len += len;
}

hsmpool_status hp_chunk_aad_init(struct hp_chunk_aad *aad,
				 const struct hp_container *container, hsmpool_error *err)
{
	uint8_t hash[HP_HASH_LEN];
	static const uint8_t none[8 + HP_CHUNK_HEAD_LEN];
	_Static_assert(sizeof(HP_LABEL_CHUNK) <= 32 &&
			       sizeof(HP_LABEL_DIRECT_CHUNK) <= 32,
		       "HP_CHUNK_AAD_MAX has room for the label");
	HP_TRY(hp_header_hash(container, hash, err));
	aad->len = 0;
	if (container->fixed.mode == HP_MODE_DIRECT)
		aad_put(aad, HP_LABEL_DIRECT_CHUNK, sizeof(HP_LABEL_DIRECT_CHUNK));
	else
		aad_put(aad, HP_LABEL_CHUNK, sizeof(HP_LABEL_CHUNK));
	aad_put(aad, container->fixed.id, HP_CONTAINER_ID_LEN);
	aad->index_at = aad->len;
	aad_put(aad, none, sizeof(none));
	aad_put(aad, hash, sizeof(hash));
	return HSMPOOL_OK;
}

void hp_chunk_aad_set(struct hp_chunk_aad *aad, uint64_t index,
		      const uint8_t head[HP_CHUNK_HEAD_LEN])
{
	hp_put_be64(aad->bytes + aad->index_at, index);
	memcpy(aad->bytes + aad->index_at + 8, head, HP_CHUNK_HEAD_LEN);
}

static hsmpool_status cipher_failed(hsmpool_error *err)
{
	return hp_fail(err, HSMPOOL_ERR_SYSTEM,
		       "OpenSSL cannot do AES-256-GCM here: check its configuration "
		       "(openssl.cnf)");
}

hsmpool_status hp_chunk_cipher_init(struct hp_chunk_cipher *cipher,
				    const uint8_t payload_key[32], bool is_sealing,
				    hsmpool_error *err)
{
	EVP_CIPHER *aes = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	cipher->ctx = EVP_CIPHER_CTX_new();
	bool is_ok = aes && cipher->ctx &&
		     EVP_CipherInit_ex2(cipher->ctx, aes, payload_key, NULL, is_sealing,
					NULL) == 1;
	EVP_CIPHER_free(aes);
	if (is_ok)
		return HSMPOOL_OK;
	hp_chunk_cipher_clear(cipher);
	return cipher_failed(err);
}

void hp_chunk_cipher_clear(struct hp_chunk_cipher *cipher)
{
	EVP_CIPHER_CTX_free(cipher->ctx); /* wipes the key schedule */
	cipher->ctx = NULL;
}

/* 11 bytes counter, 1 byte last flag. Never used twice: the key is this container's
 * alone and index only grows. */
static void make_nonce(uint64_t index, bool is_last, uint8_t nonce[HP_CHUNK_IV_LEN])
{
	memset(nonce, 0, 3);
	hp_put_be64(nonce + 3, index);
	nonce[11] = is_last;
}

/* Nonce, additional data and the bulk: the same in both directions. */
static bool run_cipher(struct hp_chunk_cipher *cipher, const struct hp_chunk_aad *aad,
		       uint64_t index, bool is_last, uint8_t *data, size_t len)
{
	uint8_t nonce[HP_CHUNK_IV_LEN];
	int out_len = 0;
	make_nonce(index, is_last, nonce);
	if (EVP_CipherInit_ex2(cipher->ctx, NULL, NULL, nonce, -1, NULL) != 1 ||
	    EVP_CipherUpdate(cipher->ctx, NULL, &out_len, aad->bytes, (int)aad->len) != 1)
		return false;
	return len == 0 ||
	       EVP_CipherUpdate(cipher->ctx, data, &out_len, data, (int)len) == 1;
}

hsmpool_status hp_chunk_seal(struct hp_chunk_cipher *cipher,
			     const struct hp_chunk_aad *aad, uint64_t index, bool is_last,
			     uint8_t *data, size_t len, uint8_t tag[HP_CHUNK_TAG_LEN],
			     hsmpool_error *err)
{
	uint8_t none[16];
	int out_len = 0;
	bool is_ok = run_cipher(cipher, aad, index, is_last, data, len) &&
		     EVP_CipherFinal_ex(cipher->ctx, none, &out_len) == 1 &&
		     EVP_CIPHER_CTX_ctrl(cipher->ctx, EVP_CTRL_AEAD_GET_TAG,
					 HP_CHUNK_TAG_LEN, tag) == 1;
	return is_ok ? HSMPOOL_OK : cipher_failed(err);
}

hsmpool_status hp_chunk_open(struct hp_chunk_cipher *cipher,
			     const struct hp_chunk_aad *aad, uint64_t index, bool is_last,
			     uint8_t *data, size_t len,
			     const uint8_t tag[HP_CHUNK_TAG_LEN], hsmpool_error *err)
{
	uint8_t none[16];
	int out_len = 0;
	bool is_ok = run_cipher(cipher, aad, index, is_last, data, len) &&
		     EVP_CIPHER_CTX_ctrl(cipher->ctx, EVP_CTRL_AEAD_SET_TAG,
					 HP_CHUNK_TAG_LEN, (void *)tag) == 1 &&
		     EVP_CipherFinal_ex(cipher->ctx, none, &out_len) == 1;
	if (is_ok)
		return HSMPOOL_OK;
	hp_wipe(data, len);
	return hp_chunk_not_verified(index, err);
}

hsmpool_status hp_chunk_worker_init(struct hp_chunk_worker *worker,
				    const struct hp_chunk_aad *aad,
				    const uint8_t *payload_key, bool is_sealing,
				    hsmpool_error *err)
{
	*worker = (struct hp_chunk_worker){ .aad = *aad };
	if (!payload_key)
		return HSMPOOL_OK;
	return hp_chunk_cipher_init(&worker->cipher, payload_key, is_sealing, err);
}

void hp_chunk_worker_clear(struct hp_chunk_worker *worker)
{
	hp_chunk_cipher_clear(&worker->cipher);
}

hsmpool_status hp_chunk_not_verified(uint64_t index, hsmpool_error *err)
{
	return hp_fail(err, HSMPOOL_ERR_DATA,
		       "chunk %" PRIu64 " of the container does not verify: it was "
		       "altered, moved or belongs to another container",
		       index);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One chunk: its frame, what it is bound to, and its sealing by OpenSSL.
 *
 *   frame = head (9) | direct mode: IV (12) | body | tag (16)
 *   head  = flags u8 | plaintext length u32 | body length u32
 *
 * Owns: the rules a head must keep, the additional data, the nonce, the local cipher.
 * Must not: read, write or know keys of the HSM.
 */
#ifndef HP_STREAM_CHUNK_H
#define HP_STREAM_CHUNK_H

#include <stdbool.h>
#include <hsmpool/status.h>
#include "stream/container.h"

enum {
	HP_CHUNK_HEAD_LEN = 9,
	HP_CHUNK_IV_LEN = 12,
	HP_CHUNK_TAG_LEN = 16,
	/* label, container id, index, head, header hash */
	HP_CHUNK_AAD_MAX = 32 + HP_CONTAINER_ID_LEN + 8 + HP_CHUNK_HEAD_LEN + HP_HASH_LEN,
};

struct hp_chunk_head {
	bool is_last;
	bool is_compressed;
	uint32_t plain_len;
	uint32_t body_len;
};

void hp_chunk_head_encode(const struct hp_chunk_head *head,
			  uint8_t out[HP_CHUNK_HEAD_LEN]);
/* DATA unless a chunk of that index may have this head in this container. */
hsmpool_status hp_chunk_head_decode(const uint8_t bytes[HP_CHUNK_HEAD_LEN],
				    const struct hp_fixed_part *fixed, uint64_t index,
				    struct hp_chunk_head *out, hsmpool_error *err);

/* The whole frame's length: head, IV if there is one, body, tag. */
size_t hp_chunk_frame_len(enum hp_container_mode mode, size_t body_len);

/* What chunks of this container are bound to; _set puts in the one at hand. */
struct hp_chunk_aad {
	uint8_t bytes[HP_CHUNK_AAD_MAX];
	size_t len;
	size_t index_at;
};
hsmpool_status hp_chunk_aad_init(struct hp_chunk_aad *aad,
				 const struct hp_container *container,
				 hsmpool_error *err);
void hp_chunk_aad_set(struct hp_chunk_aad *aad, uint64_t index,
		      const uint8_t head[HP_CHUNK_HEAD_LEN]);

/* AES-256-GCM under the payload key, one direction. The context is set up once. */
struct evp_cipher_ctx_st;
struct hp_chunk_cipher {
	struct evp_cipher_ctx_st *ctx;
};
hsmpool_status hp_chunk_cipher_init(struct hp_chunk_cipher *cipher,
				    const uint8_t payload_key[32], bool is_sealing,
				    hsmpool_error *err);
void hp_chunk_cipher_clear(struct hp_chunk_cipher *cipher); /* accepts a zeroed one */

/* In place. tag is right behind data, or anywhere else. */
hsmpool_status hp_chunk_seal(struct hp_chunk_cipher *cipher,
			     const struct hp_chunk_aad *aad, uint64_t index, bool is_last,
			     uint8_t *data, size_t len, uint8_t tag[HP_CHUNK_TAG_LEN],
			     hsmpool_error *err);
/* In place; data is wiped, and DATA returned, if the tag does not fit. */
hsmpool_status hp_chunk_open(struct hp_chunk_cipher *cipher,
			     const struct hp_chunk_aad *aad, uint64_t index, bool is_last,
			     uint8_t *data, size_t len,
			     const uint8_t tag[HP_CHUNK_TAG_LEN], hsmpool_error *err);

/* What a thread needs to seal or open chunks: its own cipher and additional data. */
struct hp_chunk_worker {
	struct hp_chunk_cipher cipher; /* envelope mode */
	struct hp_chunk_aad aad;
};
/* payload_key NULL: direct mode. */
hsmpool_status hp_chunk_worker_init(struct hp_chunk_worker *worker,
				    const struct hp_chunk_aad *aad,
				    const uint8_t *payload_key, bool is_sealing,
				    hsmpool_error *err);
void hp_chunk_worker_clear(struct hp_chunk_worker *worker); /* accepts a zeroed one */

/* The one text for every chunk that fails to authenticate, in both modes. */
hsmpool_status hp_chunk_not_verified(uint64_t index, hsmpool_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key schedule: what is made of a container's data key, and the purpose labels
 * that keep every use of a key apart from every other.
 *
 * Owns: HKDF, commitment, header MAC. Secrets live in hp_secret pages only. Must not:
 * know the HSM.
 */
#ifndef HP_STREAM_SCHEDULE_H
#define HP_STREAM_SCHEDULE_H

#include <stdbool.h>
#include <hsmpool/status.h>
#include "base/secret.h"
#include "stream/recipient.h"

struct hp_container;

/* ASCII, no NUL inside, followed by one NUL byte wherever they are used: no label is
 * the beginning of another, so what follows can be of any form. Never change one. */
#define HP_LABEL_CONTEXT      "hsmpool v1 context"
#define HP_LABEL_WRAP         "hsmpool v1 data key wrap"
#define HP_LABEL_PAYLOAD      "hsmpool v1 payload key"
#define HP_LABEL_COMMITMENT   "hsmpool v1 key commitment"
#define HP_LABEL_HEADER       "hsmpool v1 header key"
#define HP_LABEL_CHUNK        "hsmpool v1 envelope chunk"
#define HP_LABEL_DIRECT_CHUNK "hsmpool v1 direct chunk"
#define HP_LABEL(text)                                \
	{                                             \
		(const uint8_t *)(text), sizeof(text) \
	}

/* The keys of one container, side by side in one locked page. */
struct hp_keys {
	uint8_t data[HP_DATA_KEY_LEN];
	uint8_t payload[32];
	uint8_t header[32];
	uint8_t commitment[32];
};

/* The secret that holds them, or NULL: no memory. hp_keys_in() is its view. */
struct hp_secret *hp_keys_new(void);
static inline struct hp_keys *hp_keys_in(struct hp_secret *secret)
{
	return (struct hp_keys *)(void *)secret->data;
}

/* Make the other three from keys->data and the container's fixed part. */
hsmpool_status hp_keys_derive(struct hp_keys *keys, const struct hp_container *container,
			      hsmpool_error *err);

/* Whether these keys are the ones the fixed part commits to. Constant time. */
bool hp_keys_are_committed(const struct hp_keys *keys,
			   const struct hp_container *container);

/* HMAC-SHA-256 under keys->header over fixed and recipient part. */
hsmpool_status hp_header_mac(const struct hp_keys *keys,
			     const struct hp_container *container, uint8_t out[32],
			     hsmpool_error *err);

hsmpool_status hp_sha256(const hsmpool_bytes *parts, size_t count, uint8_t out[32],
			 hsmpool_error *err);

#endif

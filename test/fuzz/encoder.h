/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An encoder of containers, written from docs/format.md and not from lib/stream, that
 * lies where it is told to: what it seals is what somebody can make who has the key.
 */
#ifndef TEST_FUZZ_ENCODER_H
#define TEST_FUZZ_ENCODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hsmpool/key.h>
#include "pseudonym/text.h"

struct encoder {
	hsmpool *pool; /* of the mock */
	hsmpool_key *key;
	bool is_direct;
	uint8_t compression;
	uint32_t chunk_size;
	const char *context; /* NULL: none */
	unsigned strangers;  /* recipients of a type nobody knows, in front */
	uint8_t mac_error;   /* is added to a byte of the header's MAC */
	uint8_t commitment_error;

	struct hp_text out; /* the container so far */
	uint8_t payload_key[32];
	uint8_t header_hash[32];
};

struct encoder_chunk {
	uint64_t index; /* that it is sealed for */
	uint8_t flags;
	uint32_t plain_len, body_len; /* as the head has them */
	hsmpool_bytes body;           /* that is sealed, of any length */
};

void encoder_begin(struct encoder *encoder);
void encoder_add(struct encoder *encoder, const struct encoder_chunk *chunk);

#endif

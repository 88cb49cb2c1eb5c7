/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container to be damaged: where its chunks are, other containers put together of
 * them, and the one thing that may come of it.
 *
 * Every helper fails the running test itself.
 */
#ifndef TEST_SOFTHSM_STREAM_SPECIMEN_H
#define TEST_SOFTHSM_STREAM_SPECIMEN_H

#include "stream_ground.h"

struct specimen {
	hsmpool_stream_options options;
	const uint8_t *plain; /* the caller's */
	size_t plain_len;
	struct ground_sink container;
	size_t header_len;
	size_t chunks;
	size_t *chunk_at; /* where each begins; after them the end */
};

void specimen_make(struct specimen *s, hsmpool *pool, hsmpool_key *key,
		   hsmpool_stream_options options, const uint8_t *plain, size_t len);
void specimen_clear(struct specimen *s);

/* How many bytes may come out of a container whose first wrong byte is at offset. */
size_t specimen_released_before(const struct specimen *s, size_t offset);

/*
 * Decryption of the len bytes must fail, and what came out must be the first `released`
 * bytes of the plaintext; `at` is for the message. key NULL: it is searched.
 */
void specimen_expect_failure(const struct specimen *s, hsmpool *pool, hsmpool_key *key,
			     const uint8_t *bytes, size_t len, size_t released,
			     size_t at);
/* The same with the specimen's own bytes, cut at len. */
void specimen_expect_cut_fails(const struct specimen *s, hsmpool *pool, hsmpool_key *key,
			       size_t len);
/* The same with the byte at `at` changed by mask. bytes: a copy of the container, which
 * is left as it was. */
void specimen_expect_flip_fails(const struct specimen *s, hsmpool *pool, hsmpool_key *key,
				uint8_t *bytes, size_t at, uint8_t mask);
uint8_t *specimen_copy(const struct specimen *s); /* free()d by the caller */

/* A chunk of a container, to be put behind the header of one. */
struct specimen_piece {
	const struct specimen *from;
	size_t chunk;
};

void specimen_expect_assembly_fails(const struct specimen *header, hsmpool *pool,
				    hsmpool_key *key, const struct specimen_piece *pieces,
				    size_t count, size_t released);

#endif

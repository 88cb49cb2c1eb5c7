/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the stream tests share: memory as the two ends of a stream, keys, patterns.
 *
 * Every helper fails the running test itself.
 */
#ifndef TEST_SOFTHSM_STREAM_GROUND_H
#define TEST_SOFTHSM_STREAM_GROUND_H

#include "support/fixture.h"

/* Bytes that grow: what a stream wrote. */
struct ground_sink {
	uint8_t *data;
	size_t len;
	size_t cap;
	size_t fail_after; /* writes until one fails; 0: none does */
};

/* Bytes to read, in pieces of at most piece bytes (0: as many as are asked for). */
struct ground_source {
	const uint8_t *data;
	size_t len;
	size_t used;
	size_t piece;
	size_t fail_at; /* offset at which reading fails; 0: none */
	unsigned reads_after_end;
};

hsmpool_status ground_read(void *user, uint8_t *data, size_t cap, size_t *len,
			   hsmpool_error *err);
hsmpool_status ground_write(void *user, const uint8_t *data, size_t len,
			    hsmpool_error *err);
void ground_sink_clear(struct ground_sink *sink);

/* len bytes, byte i being i mod 251; free()d by the caller. */
uint8_t *ground_pattern(size_t len);

/* The key 00 01 02 ... 1f on the token, extractable never, usage as given (0: default).
 */
#define GROUND_KEY_HEX "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
hsmpool_key *ground_known_key(hsmpool *pool, const char *label, const char *id,
			      uint32_t usage);
hsmpool_key *ground_generated_key(hsmpool *pool, const char *type, uint32_t bits,
				  const char *label, uint32_t usage);

/* Encrypt len bytes into a fresh sink; fails the test on error. */
void ground_encrypt(hsmpool *pool, hsmpool_key *const *keys, size_t key_count,
		    const hsmpool_stream_options *options, const uint8_t *plain,
		    size_t len, struct ground_sink *container);
hsmpool_status ground_decrypt(hsmpool *pool, hsmpool_key *key,
			      const hsmpool_stream_options *options,
			      const uint8_t *container, size_t len,
			      struct ground_sink *plain, hsmpool_error *err);
/* Decrypts and compares. */
void ground_expect(hsmpool *pool, hsmpool_key *key, const hsmpool_stream_options *options,
		   const struct ground_sink *container, const uint8_t *plain, size_t len);

hsmpool_stream_options ground_options(hsmpool_stream_mode mode, uint32_t chunk_size);

#endif

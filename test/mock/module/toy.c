/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The toy cryptography: reversible, deterministic, fast, and worth nothing.
 *
 * The hash gives the same value however its input is cut into pieces; the key stream
 * depends on the position alone. So one-shot and multi-part operations agree.
 */
#include "module.h"

#include <string.h>

#define TOY_MULTIPLIER UINT64_C(0x9E3779B97F4A7C15)

static inline uint64_t mix(uint64_t state, uint64_t word)
{
	state = (state ^ word) * TOY_MULTIPLIER;
	return state ^ (state >> 29);
}

void toy_hash_begin(struct toy_hash *hash, uint64_t seed)
{
	*hash = (struct toy_hash){ .state = seed ^ TOY_MULTIPLIER };
}

static void hash_byte(struct toy_hash *hash, uint8_t byte)
{
	hash->pending |= (uint64_t)byte << (8 * (hash->len & 7));
	if ((++hash->len & 7) == 0) {
		hash->state = mix(hash->state, hash->pending);
		hash->pending = 0;
	}
}

void toy_hash_update(struct toy_hash *hash, const uint8_t *data, size_t len)
{
	size_t at = 0;

	for (; at < len && (hash->len & 7) != 0; at++)
		hash_byte(hash, data[at]);
	for (; len - at >= 8; at += 8) {
		uint64_t word;
		memcpy(&word, data + at, 8);
		hash->state = mix(hash->state, word);
		hash->len += 8;
	}
	for (; at < len; at++)
		hash_byte(hash, data[at]);
}

uint64_t toy_hash_end(const struct toy_hash *hash)
{
	return mix(mix(mix(hash->state, hash->pending), hash->len), TOY_MULTIPLIER);
}

uint64_t toy_hash_of(uint64_t seed, const void *data, size_t len)
{
	struct toy_hash hash;

	toy_hash_begin(&hash, seed);
	toy_hash_update(&hash, data, len);
	return toy_hash_end(&hash);
}

static inline uint64_t word_at(uint64_t key, uint64_t index)
{
	uint64_t word = key + (index + 1) * TOY_MULTIPLIER;
	return word ^ (word >> 31);
}

void toy_expand(uint64_t value, uint8_t *out, size_t len)
{
	size_t at = 0;

	for (; len - at >= 8; at += 8) {
		uint64_t word = word_at(value, at >> 3);
		memcpy(out + at, &word, 8);
	}
	for (; at < len; at++)
		out[at] = (uint8_t)(word_at(value, at >> 3) >> (8 * (at & 7)));
}

static inline uint8_t stream_byte(uint64_t key, uint64_t position)
{
	return (uint8_t)(word_at(key, position >> 3) >> (8 * (position & 7)));
}

void toy_xor(uint64_t key, uint64_t position, const uint8_t *in, uint8_t *out, size_t len)
{
	size_t at = 0;

	for (; at < len && ((position + at) & 7) != 0; at++)
		out[at] = in[at] ^ stream_byte(key, position + at);
	for (; len - at >= 8; at += 8) {
		uint64_t word;
		memcpy(&word, in + at, 8);
		word ^= word_at(key, (position + at) >> 3);
		memcpy(out + at, &word, 8);
	}
	for (; at < len; at++)
		out[at] = in[at] ^ stream_byte(key, position + at);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* See stream_specimen.h. */
#include "stream_specimen.h"

#include "base/memory.h"
#include "stream/chunk.h"
#include "stream/container.h"

#include <stdlib.h>
#include <string.h>

/* Bytes of the chunk that begins here: its head says how long the body is. */
static size_t frame_len(const struct specimen *s, const uint8_t *head)
{
	size_t body = (size_t)head[5] << 24 | (size_t)head[6] << 16 |
		      (size_t)head[7] << 8 | head[8];
	return hp_chunk_frame_len(s->options.mode == HSMPOOL_STREAM_ENVELOPE
					  ? HP_MODE_ENVELOPE
					  : HP_MODE_DIRECT,
				  (uint32_t)body);
}

static void find_chunks(struct specimen *s)
{
	size_t at = s->header_len;

	s->chunk_at = calloc(s->container.len, sizeof(*s->chunk_at));
	assert_non_null(s->chunk_at);
	s->chunks = 0;
	while (at < s->container.len) {
		s->chunk_at[s->chunks++] = at;
		at += frame_len(s, s->container.data + at);
	}
	assert_int_equal(at, s->container.len);
	s->chunk_at[s->chunks] = at;
}

void specimen_make(struct specimen *s, hsmpool *pool, hsmpool_key *key,
		   hsmpool_stream_options options, const uint8_t *plain, size_t len)
{
	struct hp_container *c = malloc(sizeof(*c));
	hsmpool_error err;

	*s = (struct specimen){ .options = options, .plain = plain, .plain_len = len };
	ground_encrypt(pool, &key, 1, &options, plain, len, &s->container);
	assert_ok(hp_container_parse(s->container.data, s->container.len, c,
				     &s->header_len, &err),
		  &err);
	free(c);
	find_chunks(s);
}

void specimen_clear(struct specimen *s)
{
	ground_sink_clear(&s->container);
	free(s->chunk_at);
	s->chunk_at = NULL;
}

size_t specimen_released_before(const struct specimen *s, size_t offset)
{
	size_t whole = 0;

	while (whole < s->chunks && s->chunk_at[whole + 1] <= offset)
		whole++;
	size_t bytes = whole * s->options.chunk_size;
	return bytes < s->plain_len ? bytes : s->plain_len;
}

void specimen_expect_failure(const struct specimen *s, hsmpool *pool, hsmpool_key *key,
			     const uint8_t *bytes, size_t len, size_t released, size_t at)
{
	struct ground_sink out;
	hsmpool_error err = { 0 };
	hsmpool_status status = ground_decrypt(pool, key, NULL, bytes, len, &out, &err);

	if (status != HSMPOOL_ERR_DATA && status != HSMPOOL_ERR_KEY)
		fail_msg("damage at %zu: %s (%s)", at, hsmpool_status_name(status),
			 err.text);
	if (out.len != released)
		fail_msg("damage at %zu: %zu bytes came out, not %zu (%s)", at, out.len,
			 released, err.text);
	if (out.len > 0)
		assert_memory_equal(out.data, s->plain, out.len);
	assert_int_equal(err.status, status);
	assert_true(strlen(err.text) > 10);
	ground_sink_clear(&out);
}

void specimen_expect_cut_fails(const struct specimen *s, hsmpool *pool, hsmpool_key *key,
			       size_t len)
{
	/* the exact length on the heap: a read too far shows under ASan */
	uint8_t *cut = malloc(len ? len : 1);

	memcpy(cut, s->container.data, len);
	specimen_expect_failure(s, pool, key, cut, len, specimen_released_before(s, len),
				len);
	free(cut);
}

void specimen_expect_flip_fails(const struct specimen *s, hsmpool *pool, hsmpool_key *key,
				uint8_t *bytes, size_t at, uint8_t mask)
{
	bytes[at] ^= mask;
	specimen_expect_failure(s, pool, key, bytes, s->container.len,
				specimen_released_before(s, at), at);
	bytes[at] ^= mask;
}

uint8_t *specimen_copy(const struct specimen *s)
{
	uint8_t *bytes = malloc(s->container.len);

	assert_non_null(bytes);
	memcpy(bytes, s->container.data, s->container.len);
	return bytes;
}

void specimen_expect_assembly_fails(const struct specimen *header, hsmpool *pool,
				    hsmpool_key *key, const struct specimen_piece *pieces,
				    size_t count, size_t released)
{
	struct ground_sink whole = { 0 };

	ground_write(&whole, header->container.data, header->header_len, NULL);
	for (size_t i = 0; i < count; i++) {
		const struct specimen *from = pieces[i].from;
		size_t at = from->chunk_at[pieces[i].chunk];
		size_t end = from->chunk_at[pieces[i].chunk + 1];

		ground_write(&whole, from->container.data + at, end - at, NULL);
	}
	specimen_expect_failure(header, pool, key, whole.data, whole.len, released,
				whole.len);
	ground_sink_clear(&whole);
}

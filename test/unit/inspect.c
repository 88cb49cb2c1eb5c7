/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at a container without a key: what is told of a whole one, and of one that was
 * cut, extended or altered at every byte. Nothing here is encrypted: the bodies are zero.
 */
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "stream/chunk.h"
#include "stream/container.h"
#include "support/fixture.h"

enum { CHUNK = 1024, CHUNKS = 3, LAST = 10 };

#define BYTES(text)                                       \
	{                                                 \
		(const uint8_t *)(text), sizeof(text) - 1 \
	}

/* A container in memory, read to its end; skipping is counted. */
struct specimen {
	uint8_t *bytes;
	size_t len;
	size_t header_len;
	size_t used;
	size_t bytes_read;
	size_t piece;           /* most that one read gives; 0: no limit */
	hsmpool_status failure; /* of a read or skip that begins behind fail_at */
	size_t fail_at;
	bool lies; /* skip claims more than was asked */
};

static hsmpool_status read_bytes(void *user, uint8_t *data, size_t cap, size_t *len,
				 hsmpool_error *err)
{
	(void)err;
	struct specimen *s = user;
	size_t left = s->len - s->used;
	if (s->failure && s->used >= s->fail_at)
		return s->failure;
	if (s->piece > 0 && cap > s->piece)
		cap = s->piece;
	*len = left < cap ? left : cap;
	if (*len > 0)
		memcpy(data, s->bytes + s->used, *len);
	s->used += *len;
	s->bytes_read += *len;
	return HSMPOOL_OK;
}

static hsmpool_status skip_bytes(void *user, uint64_t len, uint64_t *skipped,
				 hsmpool_error *err)
{
	(void)err;
	struct specimen *s = user;
	size_t left = s->len - s->used;
	if (s->failure && s->used >= s->fail_at)
		return s->failure;
	*skipped = left < len ? left : len;
	s->used += (size_t)*skipped;
	if (s->lies)
		*skipped = len + 1;
	return HSMPOOL_OK;
}

static void append_chunk(struct specimen *s, enum hp_container_mode mode,
			 const struct hp_chunk_head *head)
{
	size_t frame_len = hp_chunk_frame_len(mode, head->body_len);
	s->bytes = realloc(s->bytes, s->len + frame_len);
	assert_non_null(s->bytes);
	memset(s->bytes + s->len, 0, frame_len);
	hp_chunk_head_encode(head, s->bytes + s->len);
	s->len += frame_len;
}

static const uint8_t wrapped[256];

static struct specimen make_specimen(enum hp_container_mode mode, uint32_t chunk_size,
				     unsigned chunks)
{
	const struct hp_recipient list[] = {
		{ .type = mode == HP_MODE_DIRECT ? HP_RECIPIENT_DIRECT
						 : HP_RECIPIENT_AES_GCM,
		  .id = BYTES("\x0a\x0b"),
		  .label = BYTES("all\x1b[2J of\nit"),
		  .check = BYTES("\x01\x02\x03"),
		  .wrapped = { wrapped, mode == HP_MODE_DIRECT ? 0 : 60 } },
		{ .type = HP_RECIPIENT_RSA_OAEP,
		  .parameter = HP_OAEP_SHA256,
		  .label = BYTES("recovery"),
		  .wrapped = { wrapped, 256 } },
		{ .type = 9 },
	};
	struct specimen s = { 0 };
	hsmpool_error err;
	struct hp_container *c = calloc(1, sizeof(*c));
	assert_non_null(c);
	c->fixed = (struct hp_fixed_part){ .mode = mode,
					   .suite = HP_SUITE_AES_256_GCM_SHA_256,
					   .chunk_size = chunk_size };
	c->fixed.id[0] = 0xa5;
	assert_ok(hp_container_encode(c, list, mode == HP_MODE_DIRECT ? 1 : 3, &err),
		  &err);
	s.len = s.header_len = hp_header_len(c);
	s.bytes = calloc(1, s.len);
	assert_non_null(s.bytes);
	memcpy(s.bytes, c->raw, c->raw_len);
	free(c);
	for (unsigned i = 0; i < chunks; i++) {
		bool is_last = i + 1 == chunks;
		uint32_t len = is_last ? LAST : chunk_size;
		const struct hp_chunk_head head = { .is_last = is_last,
						    .plain_len = len,
						    .body_len = len };
		append_chunk(&s, mode, &head);
	}
	return s;
}

static hsmpool_status inspect(struct specimen *s, hsmpool_skip_fn skip,
			      hsmpool_container_info *info)
{
	hsmpool_error err = { 0 };
	s->used = s->bytes_read = 0;
	*info = (hsmpool_container_info){ .size = sizeof(*info) };
	hsmpool_status status =
		hsmpool_container_inspect(read_bytes, skip, s, info, &err);
	if (status != HSMPOOL_OK)
		assert_true(strlen(err.text) > 10);
	assert_int_equal(err.status, status);
	return status;
}

static void assert_same(const hsmpool_container_info *a, const hsmpool_container_info *b)
{
	assert_int_equal(a->state, b->state);
	assert_int_equal(a->version, b->version);
	assert_int_equal(a->header_bytes, b->header_bytes);
	assert_int_equal(a->recipient_count, b->recipient_count);
	assert_memory_equal(a->recipients, b->recipients, sizeof(a->recipients));
	assert_int_equal(a->chunks, b->chunks);
	assert_int_equal(a->plain_bytes, b->plain_bytes);
	assert_int_equal(a->body_bytes, b->body_bytes);
	assert_int_equal(a->container_bytes, b->container_bytes);
}

/* The same answer by reading in any pieces and by skipping. */
static hsmpool_status inspect_all_ways(struct specimen *s, hsmpool_container_info *info)
{
	static const size_t pieces[] = { 0, 1, 7 };
	hsmpool_container_info other;
	hsmpool_status status = inspect(s, NULL, info);
	for (size_t i = 0; i < HP_ARRAY_LEN(pieces); i++) {
		s->piece = pieces[i];
		assert_status(inspect(s, skip_bytes, &other), status);
		assert_same(&other, info);
	}
	s->piece = 0;
	return status;
}

/* ---- whole ---- */

static void all_parts_of_a_whole_container_are_told(void **state)
{
	(void)state;
	struct specimen s = make_specimen(HP_MODE_ENVELOPE, CHUNK, CHUNKS);
	hsmpool_container_info info;
	assert_status(inspect_all_ways(&s, &info), HSMPOOL_OK);
	assert_int_equal(info.state, HSMPOOL_CONTAINER_WHOLE);
	assert_int_equal(info.version, 1);
	assert_int_equal(info.mode, HSMPOOL_STREAM_ENVELOPE);
	assert_int_equal(info.suite, 1);
	assert_int_equal(info.compression, HSMPOOL_COMPRESSION_NONE);
	assert_int_equal(info.chunk_size, CHUNK);
	assert_int_equal(info.needs_context, 0);
	assert_int_equal(info.id[0], 0xa5);
	assert_int_equal(info.header_bytes, s.header_len);
	assert_int_equal(info.recipient_count, 3);
	assert_int_equal(info.chunks, CHUNKS);
	assert_int_equal(info.compressed_chunks, 0);
	assert_int_equal(info.plain_bytes, 2 * CHUNK + LAST);
	assert_int_equal(info.body_bytes, info.plain_bytes);
	assert_int_equal(info.container_bytes, s.len);
	free(s.bytes);
}

static void direct_mode_and_a_context_are_told(void **state)
{
	(void)state;
	struct specimen s = make_specimen(HP_MODE_DIRECT, CHUNK, 1);
	hsmpool_container_info info;
	s.bytes[40] = 1; /* in the context hash */
	assert_status(inspect_all_ways(&s, &info), HSMPOOL_OK);
	assert_int_equal(info.mode, HSMPOOL_STREAM_DIRECT);
	assert_int_equal(info.needs_context, 1);
	assert_string_equal(info.recipients[0].kind, "direct");
	assert_int_equal(info.container_bytes, s.len);
	free(s.bytes);
}

/* Compressed, stored as it is, and a compressed last one. */
static void compressed_chunks_are_counted(void **state)
{
	(void)state;
	struct specimen s = make_specimen(HP_MODE_ENVELOPE, CHUNK, 0);
	const struct hp_chunk_head heads[] = {
		{ .is_compressed = true, .plain_len = CHUNK, .body_len = 100 },
		{ .plain_len = CHUNK, .body_len = CHUNK },
		{ .is_last = true,
		  .is_compressed = true,
		  .plain_len = LAST,
		  .body_len = 9 },
	};
	hsmpool_container_info info;
	s.bytes[11] = HP_COMPRESSION_ZSTD;
	for (size_t i = 0; i < HP_ARRAY_LEN(heads); i++)
		append_chunk(&s, HP_MODE_ENVELOPE, &heads[i]);
	assert_status(inspect_all_ways(&s, &info), HSMPOOL_OK);
	assert_int_equal(info.compression, HSMPOOL_COMPRESSION_ZSTD);
	assert_int_equal(info.chunks, 3);
	assert_int_equal(info.compressed_chunks, 2);
	assert_int_equal(info.plain_bytes, 2 * CHUNK + LAST);
	assert_int_equal(info.body_bytes, 100 + CHUNK + 9);
	assert_int_equal(info.container_bytes, s.len);
	free(s.bytes);
}

static void recipients_are_told_in_printable_characters(void **state)
{
	(void)state;
	struct specimen s = make_specimen(HP_MODE_ENVELOPE, CHUNK, 1);
	hsmpool_container_info info;
	assert_status(inspect(&s, NULL, &info), HSMPOOL_OK);
	assert_string_equal(info.recipients[0].kind, "aes-gcm");
	assert_string_equal(info.recipients[0].label, "all\\x1b[2J of\\x0ait");
	assert_string_equal(info.recipients[0].id, "0a0b");
	assert_string_equal(info.recipients[0].check, "010203");
	assert_string_equal(info.recipients[1].kind, "rsa-oaep-sha256");
	assert_string_equal(info.recipients[1].label, "recovery");
	assert_string_equal(info.recipients[1].id, "");
	assert_string_equal(info.recipients[2].kind, "type-9");
	free(s.bytes);
}

static void bodies_of_large_chunks_are_not_read(void **state)
{
	(void)state;
	enum { BIG = 128 << 10, COUNT = 40 };
	struct specimen s = make_specimen(HP_MODE_ENVELOPE, BIG, COUNT);
	hsmpool_container_info info;
	assert_status(inspect(&s, skip_bytes, &info), HSMPOOL_OK);
	assert_int_equal(info.chunks, COUNT);
	assert_int_equal(s.bytes_read, s.header_len + COUNT * HP_CHUNK_HEAD_LEN);
	assert_status(inspect(&s, NULL, &info), HSMPOOL_OK);
	assert_int_equal(s.bytes_read, s.len);
	assert_int_equal(info.chunks, COUNT);
	free(s.bytes);
}

/* ---- not whole ---- */

static uint64_t whole_chunks_before(const struct specimen *s, enum hp_container_mode mode,
				    size_t len)
{
	size_t frame_len = hp_chunk_frame_len(mode, CHUNK);
	return len < s->header_len ? 0 : (len - s->header_len) / frame_len;
}

static void cut_everywhere(enum hp_container_mode mode)
{
	struct specimen s = make_specimen(mode, CHUNK, CHUNKS);
	hsmpool_container_info info;
	size_t whole_len = s.len;
	for (s.len = 0; s.len < whole_len; s.len++) {
		assert_status(inspect_all_ways(&s, &info), HSMPOOL_ERR_DATA);
		assert_int_equal(info.state, s.len == 0 ? HSMPOOL_CONTAINER_NONE
							: HSMPOOL_CONTAINER_TRUNCATED);
		assert_int_equal(info.version, s.len >= HP_FIXED_LEN);
		assert_int_equal(info.recipient_count > 0, s.len >= s.header_len);
		assert_int_equal(info.chunks, whole_chunks_before(&s, mode, s.len));
		assert_int_equal(info.plain_bytes, info.chunks * CHUNK);
	}
	free(s.bytes);
}

static void a_container_cut_at_any_byte_is_told_as_far_as_it_goes(void **state)
{
	(void)state;
	cut_everywhere(HP_MODE_ENVELOPE);
	cut_everywhere(HP_MODE_DIRECT);
}

static void bytes_behind_the_end_are_told_with_where_it_is(void **state)
{
	(void)state;
	static const size_t extra[] = { 1, 9, 100000 };
	for (size_t i = 0; i < HP_ARRAY_LEN(extra); i++) {
		struct specimen s = make_specimen(HP_MODE_ENVELOPE, CHUNK, CHUNKS);
		size_t len = s.len;
		hsmpool_container_info info;
		s.bytes = realloc(s.bytes, len + extra[i]);
		assert_non_null(s.bytes);
		memset(s.bytes + len, 0, extra[i]);
		s.len += extra[i];
		assert_status(inspect_all_ways(&s, &info), HSMPOOL_ERR_DATA);
		assert_int_equal(info.state, HSMPOOL_CONTAINER_TRAILING);
		assert_int_equal(info.chunks, CHUNKS);
		assert_int_equal(info.container_bytes, len);
		free(s.bytes);
	}
}

static void something_else_is_no_container(void **state)
{
	(void)state;
	static const char *const others[] = { "x", "hello world", "\x89PNG\r\n\x1a\n" };
	for (size_t i = 0; i < HP_ARRAY_LEN(others); i++) {
		struct specimen s = { .bytes = (uint8_t *)(uintptr_t)others[i],
				      .len = strlen(others[i]) };
		hsmpool_container_info info;
		assert_status(inspect_all_ways(&s, &info), HSMPOOL_ERR_DATA);
		assert_int_equal(info.state, HSMPOOL_CONTAINER_NONE);
		assert_int_equal(info.version, 0);
	}
}

/* Every byte of the structure; in bodies and tags nothing can be seen. */
static void a_byte_altered_anywhere_is_told_or_does_not_matter(void **state)
{
	(void)state;
	struct specimen s = make_specimen(HP_MODE_ENVELOPE, CHUNK, CHUNKS);
	hsmpool_container_info info;
	size_t told = 0;
	for (size_t at = 0; at < s.len; at++) {
		s.bytes[at] ^= 0x84;
		if (inspect_all_ways(&s, &info) != HSMPOOL_OK) {
			told++;
			assert_int_not_equal(info.state, HSMPOOL_CONTAINER_WHOLE);
			assert_int_not_equal(info.state, HSMPOOL_CONTAINER_UNREAD);
		}
		s.bytes[at] ^= 0x84;
	}
	/* magic to compression, and the lengths of chunk heads, at the least */
	assert_true(told >= HP_MAGIC_LEN + 4 + CHUNKS * HP_CHUNK_HEAD_LEN);
	free(s.bytes);
}

static void a_damaged_recipient_leaves_the_fixed_part_to_be_told(void **state)
{
	(void)state;
	struct specimen s = make_specimen(HP_MODE_ENVELOPE, CHUNK, CHUNKS);
	hsmpool_container_info info;
	s.bytes[HP_FIXED_LEN + 4] = 0xff; /* the count */
	assert_status(inspect_all_ways(&s, &info), HSMPOOL_ERR_DATA);
	assert_int_equal(info.state, HSMPOOL_CONTAINER_DAMAGED);
	assert_int_equal(info.version, 1);
	assert_int_equal(info.recipient_count, 0);
	assert_int_equal(info.header_bytes, 0);
	free(s.bytes);
}

/* A head that promises 4 GiB makes nobody allocate or read them. */
static void a_head_that_lies_ends_the_walk(void **state)
{
	(void)state;
	struct specimen s = make_specimen(HP_MODE_ENVELOPE, CHUNK, CHUNKS);
	hsmpool_container_info info;
	hp_put_be32(s.bytes + s.header_len + 5, UINT32_MAX);
	assert_status(inspect_all_ways(&s, &info), HSMPOOL_ERR_DATA);
	assert_int_equal(info.state, HSMPOOL_CONTAINER_DAMAGED);
	assert_int_equal(info.recipient_count, 3);
	assert_int_equal(info.chunks, 0);
	free(s.bytes);
}

/* ---- the caller's functions ---- */

static void a_failing_read_or_skip_ends_the_walk_with_its_status(void **state)
{
	(void)state;
	struct specimen s = make_specimen(HP_MODE_ENVELOPE, 128 << 10, CHUNKS);
	hsmpool_container_info info;
	s.failure = HSMPOOL_ERR_CLOSED;
	for (s.fail_at = 0; s.fail_at < s.len; s.fail_at += 1 + s.fail_at / 2) {
		assert_status(inspect(&s, NULL, &info), HSMPOOL_ERR_CLOSED);
		assert_int_equal(info.state, HSMPOOL_CONTAINER_UNREAD);
		assert_status(inspect(&s, skip_bytes, &info), HSMPOOL_ERR_CLOSED);
		assert_int_equal(info.state, HSMPOOL_CONTAINER_UNREAD);
	}
	free(s.bytes);
}

static void a_skip_that_claims_too_much_is_refused(void **state)
{
	(void)state;
	struct specimen s = make_specimen(HP_MODE_ENVELOPE, 128 << 10, CHUNKS);
	hsmpool_container_info info;
	s.lies = true;
	assert_status(inspect(&s, skip_bytes, &info), HSMPOOL_ERR_USAGE);
	free(s.bytes);
}

static void an_unset_size_is_refused(void **state)
{
	(void)state;
	struct specimen s = make_specimen(HP_MODE_ENVELOPE, CHUNK, 1);
	hsmpool_container_info info = { 0 };
	hsmpool_error err;
	assert_status(hsmpool_container_inspect(read_bytes, NULL, &s, &info, &err),
		      HSMPOOL_ERR_USAGE);
	assert_int_equal(s.used, 0);
	free(s.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_parts_of_a_whole_container_are_told),
		cmocka_unit_test(direct_mode_and_a_context_are_told),
		cmocka_unit_test(compressed_chunks_are_counted),
		cmocka_unit_test(recipients_are_told_in_printable_characters),
		cmocka_unit_test(bodies_of_large_chunks_are_not_read),
		cmocka_unit_test(a_container_cut_at_any_byte_is_told_as_far_as_it_goes),
		cmocka_unit_test(bytes_behind_the_end_are_told_with_where_it_is),
		cmocka_unit_test(something_else_is_no_container),
		cmocka_unit_test(a_byte_altered_anywhere_is_told_or_does_not_matter),
		cmocka_unit_test(a_damaged_recipient_leaves_the_fixed_part_to_be_told),
		cmocka_unit_test(a_head_that_lies_ends_the_walk),
		cmocka_unit_test(a_failing_read_or_skip_ends_the_walk_with_its_status),
		cmocka_unit_test(a_skip_that_claims_too_much_is_refused),
		cmocka_unit_test(an_unset_size_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

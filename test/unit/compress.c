/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compressed bodies: every length and kind of data comes back, and no body but the one
 * form is taken, whatever it claims or holds. Bodies lie in memory of their exact
 * length, so that a sanitizer sees the first byte too many.
 */
#include "support/fixture.h"

#include "base/memory.h"
#include "stream/compress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define MIB ((size_t)1 << 20)

/* Debian's libzstd needs 93 KiB and its tables; far from any length a frame can claim. */
#define DECOMPRESSOR_MAX (512 * 1024)

/* Bytes that grow, in memory of their own. */
struct body {
	uint8_t *data;
	size_t len;
};

static void append(struct body *body, const void *data, size_t len)
{
	body->data = realloc(body->data, body->len + len + 1);
	assert_non_null(body->data);
	if (len > 0)
		memcpy(body->data + body->len, data, len);
	body->len += len;
}

static void append_zeros(struct body *body, size_t len)
{
	static const uint8_t zeros[4096];
	for (; len > sizeof(zeros); len -= sizeof(zeros))
		append(body, zeros, sizeof(zeros));
	append(body, zeros, len);
}

static void body_clear(struct body *body)
{
	free(body->data);
	*body = (struct body){ 0 };
}

/* ---- data ---- */

/* xorshift: the same in every run, and nothing to compress. */
static uint8_t *noise(size_t len)
{
	uint8_t *data = malloc(len + 8);
	uint64_t x = 0x9e3779b97f4a7c15;
	assert_non_null(data);
	for (size_t i = 0; i < len; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(data + i, &x, 8);
	}
	return data;
}

/* Lines that are alike and not the same. */
static uint8_t *text(size_t len)
{
	uint8_t *data = malloc(len + 64);
	assert_non_null(data);
	for (size_t at = 0, line = 0; at < len; line++)
		at += (size_t)snprintf((char *)data + at, 64,
				       "%zu,patient %zu,ward %zu\n", line,
				       line * 7919 % 1000, line % 12);
	return data;
}

static uint8_t *zeros(size_t len)
{
	uint8_t *data = calloc(1, len + 1);
	assert_non_null(data);
	return data;
}

/* ---- there and back ---- */

static struct hp_compressor compressor_of(int level, uint32_t chunk_size)
{
	struct hp_compressor compressor = { 0 };
	hsmpool_error err;
	assert_ok(hp_compressor_init(&compressor, level, chunk_size, &err), &err);
	return compressor;
}

/* The body in memory of its own; empty if the plaintext does not become shorter. */
static struct body compressed(struct hp_compressor *compressor, const uint8_t *plain,
			      size_t plain_len)
{
	struct body body = { 0 };
	hsmpool_error err;
	uint8_t *room = malloc(plain_len + 1);
	size_t len = 0;
	assert_non_null(room);
	assert_ok(hp_compress(compressor, plain, plain_len, room, &len, &err), &err);
	assert_true(len == 0 ||
		    (len >= hp_compressed_len_min(plain_len) && len < plain_len));
	append(&body, room, len);
	free(room);
	return body;
}

static struct body compressed_once(const uint8_t *plain, size_t plain_len)
{
	struct hp_compressor compressor = compressor_of(3, 1 << 20);
	struct body body = compressed(&compressor, plain, plain_len);
	hp_compressor_clear(&compressor);
	return body;
}

/* With a decompressor of its own, whose size is looked at. */
static hsmpool_status decompress(const struct body *body, uint8_t *plain,
				 size_t plain_len, hsmpool_error *err)
{
	struct hp_decompressor decompressor = { 0 };
	uint8_t *exact = malloc(body->len ? body->len : 1);
	assert_non_null(exact);
	memcpy(exact, body->data, body->len);
	assert_ok(hp_decompressor_init(&decompressor, err), err);
	hsmpool_status status =
		hp_decompress(&decompressor, exact, body->len, plain, plain_len, 7, err);
	assert_in_range(ZSTD_sizeof_DCtx(decompressor.ctx), 1, DECOMPRESSOR_MAX);
	hp_decompressor_clear(&decompressor);
	free(exact);
	return status;
}

static void expect_plain(const struct body *body, const uint8_t *plain, size_t plain_len)
{
	hsmpool_error err = { 0 };
	uint8_t *out = malloc(plain_len);
	assert_non_null(out);
	assert_ok(decompress(body, out, plain_len, &err), &err);
	assert_memory_equal(out, plain, plain_len);
	free(out);
}

/* DATA, a text that names the chunk, and no plaintext left. */
static void expect_refused(const struct body *body, size_t plain_len, const char *why)
{
	hsmpool_error err = { 0 };
	uint8_t *out = calloc(1, plain_len ? plain_len : 1);
	assert_non_null(out);
	assert_status(decompress(body, out, plain_len, &err), HSMPOOL_ERR_DATA);
	assert_non_null(strstr(err.text, "chunk 7 of the container"));
	if (!strstr(err.text, why))
		fail_msg("'%s' is not in: %s", why, err.text);
	assert_true(hp_bytes_are_zero(out, plain_len));
	free(out);
}

static void every_length_comes_back_through_one_compressor(void **state)
{
	(void)state;
	static const size_t lens[] = { 1,      2,      3,       10,   100,   255,
				       256,    257,    1000,    1024, 1025,  65535,
				       65536,  65537,  100,     1,    65792, 99999,
				       131071, 131073, MIB - 1, MIB,  5 };
	struct hp_compressor compressor = compressor_of(3, 1 << 20);
	for (size_t i = 0; i < HP_ARRAY_LEN(lens); i++) {
		uint8_t *data[] = { text(lens[i]), zeros(lens[i]), noise(lens[i]) };
		for (size_t kind = 0; kind < HP_ARRAY_LEN(data); kind++) {
			struct body body = compressed(&compressor, data[kind], lens[i]);
			if (body.len > 0)
				expect_plain(&body, data[kind], lens[i]);
			assert_true(body.len > 0 || kind == 2 || lens[i] < 257);
			body_clear(&body);
			free(data[kind]);
		}
	}
	hp_compressor_clear(&compressor);
}

static void every_level_and_chunk_size_makes_the_one_form(void **state)
{
	(void)state;
	static const uint32_t sizes[] = { 1024, 1025, 65536, 200000 };
	for (size_t i = 0; i < HP_ARRAY_LEN(sizes); i++) {
		uint8_t *data = text(sizes[i]);
		for (int level = HP_COMPRESSION_LEVEL_MIN;
		     level <= HP_COMPRESSION_LEVEL_MAX; level += 6) {
			struct hp_compressor compressor = compressor_of(level, sizes[i]);
			struct body body = compressed(&compressor, data, sizes[i]);
			assert_true(body.len > 0);
			expect_plain(&body, data, sizes[i]);
			body_clear(&body);
			hp_compressor_clear(&compressor);
		}
		free(data);
	}
}

/* Level 1 alone would take 512 KiB, and make no single segment of it. */
static void a_chunk_larger_than_a_level_s_own_window_comes_back(void **state)
{
	(void)state;
	const size_t len = 9 * MIB + 1;
	uint8_t *data = text(len);
	struct hp_compressor compressor = compressor_of(1, (uint32_t)len);
	struct body body = compressed(&compressor, data, len);
	expect_plain(&body, data, len);
	body_clear(&body);
	hp_compressor_clear(&compressor);
	free(data);
}

static void one_decompressor_goes_on_after_a_refusal(void **state)
{
	(void)state;
	struct hp_decompressor decompressor = { 0 };
	hsmpool_error err = { 0 };
	uint8_t *data = text(5000), *out = malloc(5000);
	struct body body = compressed_once(data, 5000);
	assert_ok(hp_decompressor_init(&decompressor, &err), &err);
	for (int i = 0; i < 3; i++) {
		body.data[body.len / 2] ^= 0x10;
		hsmpool_status ignored = hp_decompress(&decompressor, body.data, body.len,
						       out, 5000, 0, &err);
		(void)ignored; /* without a checksum some damage gives other text */
		body.data[body.len / 2] ^= 0x10;
		assert_status(hp_decompress(&decompressor, body.data, body.len - 1, out,
					    5000, 0, &err),
			      HSMPOOL_ERR_DATA);
		assert_ok(hp_decompress(&decompressor, body.data, body.len, out, 5000, 0,
					&err),
			  &err);
		assert_memory_equal(out, data, 5000);
	}
	hp_decompressor_clear(&decompressor);
	body_clear(&body);
	free(out);
	free(data);
}

static void check_memory(int level, uint32_t chunk_size, const uint8_t *plain,
			 uint8_t *body)
{
	struct hp_compressor compressor = { 0 };
	hsmpool_error err = { 0 };
	size_t len = 0;
	assert_ok(hp_compressor_init(&compressor, level, chunk_size, &err), &err);
	assert_ok(hp_compress(&compressor, plain, chunk_size, body, &len, &err), &err);
	assert_in_range(ZSTD_sizeof_CCtx(compressor.ctx), 1,
			hp_compressor_len(level, chunk_size));
	hp_compressor_clear(&compressor);
}

static void a_compressor_takes_no_more_memory_than_it_says(void **state)
{
	static const uint32_t chunk_sizes[] = { 1024, 65536, 256 << 10, MIB, 4 * MIB };
	uint8_t *plain = calloc(1, 4 * MIB), *body = malloc(4 * MIB);
	(void)state;
	assert_non_null(plain);
	assert_non_null(body);
	for (size_t i = 0; i < HP_ARRAY_LEN(chunk_sizes); i++)
		for (int level = 1; level <= HP_COMPRESSION_LEVEL_MAX; level++)
			check_memory(level, chunk_sizes[i], plain, body);
	free(plain);
	free(body);
}

static void what_does_not_become_shorter_is_left_alone(void **state)
{
	(void)state;
	static const size_t lens[] = { 0, 1, 2, 9, 100, 1024, 65536, MIB };
	for (size_t i = 0; i < HP_ARRAY_LEN(lens); i++) {
		uint8_t *data = noise(lens[i]);
		struct body body = compressed_once(data, lens[i]);
		assert_int_equal(body.len, 0);
		body_clear(&body);
		free(data);
	}
}

static void a_body_is_never_shorter_than_a_1024th(void **state)
{
	(void)state;
	static const size_t lens[] = { 1 << 16, MIB, 8 * MIB + 1 };
	assert_int_equal(hp_compressed_len_min(1), 1);
	assert_int_equal(hp_compressed_len_min(1024), 1);
	assert_int_equal(hp_compressed_len_min(1025), 2);
	assert_int_equal(hp_compressed_len_min(64 * MIB), 64 * 1024);
	for (size_t i = 0; i < HP_ARRAY_LEN(lens); i++) {
		uint8_t *data = zeros(lens[i]);
		struct hp_compressor compressor = compressor_of(3, (uint32_t)lens[i]);
		struct body body = compressed(&compressor, data, lens[i]);
		if (lens[i] > MIB)
			assert_int_equal(body.len, hp_compressed_len_min(lens[i]));
		expect_plain(&body, data, lens[i]);
		hp_compressor_clear(&compressor);
		body_clear(&body);
		free(data);
	}
}

/* ---- bodies made by hand ---- */

enum {
	SINGLE_SEGMENT = 0x20,
	CONTENT_SIZE_4 = 0x80, /* the header has four bytes of content size */
	CHECKSUM = 0x04,
	DICTIONARY_1 = 0x01, /* one byte of dictionary id */
	RAW = 0,
	RLE = 1,
};

static void append_le(struct body *body, uint32_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++, value >>= 8)
		append(body, &(uint8_t){ (uint8_t)value }, 1);
}

static void append_header(struct body *body, uint8_t descriptor, uint32_t content_size)
{
	append_le(body, 0xfd2fb528, 4);
	append_le(body, descriptor, 1);
	append_le(body, content_size, 4);
}

/* len times 'A'. */
static void append_block(struct body *body, unsigned type, uint32_t len, bool is_last)
{
	append_le(body, (uint32_t)is_last | type << 1 | len << 3, 3);
	for (uint32_t i = 0; i < (type == RLE ? 1 : len); i++)
		append(body, "A", 1);
}

/* A frame that claims so much and holds rle_blocks times 128 KiB. */
static struct body bomb(uint32_t claimed, unsigned rle_blocks)
{
	struct body body = { 0 };
	append_header(&body, CONTENT_SIZE_4 | SINGLE_SEGMENT, claimed);
	for (unsigned i = 0; i < rle_blocks; i++)
		append_block(&body, RLE, 128 * 1024, i + 1 == rle_blocks);
	return body;
}

static void a_frame_made_by_hand_is_taken(void **state)
{
	(void)state;
	struct body body = bomb(256 * 1024, 2);
	uint8_t *plain = malloc(256 * 1024);
	memset(plain, 'A', 256 * 1024);
	append_zeros(&body, 256 - body.len);
	expect_plain(&body, plain, 256 * 1024);
	free(plain);
	body_clear(&body);
}

static void a_frame_that_claims_more_or_less_is_refused(void **state)
{
	(void)state;
	static const uint32_t claims[] = { 0,      1,       256 * 1024 - 1,
					   262145, 1 << 30, UINT32_MAX };
	for (size_t i = 0; i < HP_ARRAY_LEN(claims); i++) {
		struct body body = bomb(claims[i], 2);
		append_zeros(&body, 256 - body.len);
		expect_refused(&body, 256 * 1024, "claims another length");
		body_clear(&body);
	}
}

/* The claim is right, the blocks hold 1 GiB: not a byte behind the buffer is written. */
static void a_frame_that_holds_more_than_it_claims_is_refused(void **state)
{
	(void)state;
	struct body body = bomb(128 * 1024, 8192);
	expect_refused(&body, 128 * 1024, "");
	body_clear(&body);
	body = bomb(256 * 1024, 3);
	append_zeros(&body, 256 - body.len);
	expect_refused(&body, 256 * 1024, "");
	body_clear(&body);
}

static void a_frame_that_holds_less_than_it_claims_is_refused(void **state)
{
	(void)state;
	struct body body = bomb(512 * 1024, 3);
	append_zeros(&body, 512 - body.len);
	expect_refused(&body, 512 * 1024, "");
	body_clear(&body);
}

static void more_than_1024_times_the_body_is_refused(void **state)
{
	(void)state;
	struct body body = bomb(MIB, 8);
	expect_refused(&body, MIB, "out of bounds");
	append_zeros(&body, 1023 - body.len);
	expect_refused(&body, MIB, "out of bounds");
	append_zeros(&body, 1);
	uint8_t *plain = malloc(MIB);
	memset(plain, 'A', MIB);
	expect_plain(&body, plain, MIB);
	free(plain);
	body_clear(&body);
}

static void a_body_as_long_as_its_plaintext_is_refused(void **state)
{
	(void)state;
	struct body body = { 0 };
	append_header(&body, CONTENT_SIZE_4 | SINGLE_SEGMENT, 100);
	append_block(&body, RLE, 100, true);
	expect_refused(&body, 0, "out of bounds");
	append_zeros(&body, 99 - body.len);
	uint8_t plain[100];
	memset(plain, 'A', sizeof(plain));
	expect_plain(&body, plain, sizeof(plain));
	append_zeros(&body, 1);
	expect_refused(&body, 100, "out of bounds");
	body_clear(&body);
}

static void anything_behind_the_frame_is_refused(void **state)
{
	(void)state;
	uint8_t *data = text(5000);
	struct body alone = compressed_once(data, 5000);
	struct body skippable = { 0 };
	append_le(&skippable, 0x184d2a50, 4);
	append_le(&skippable, 3, 4);
	append(&skippable, "abc", 3);
	const struct body tails[] = {
		{ (uint8_t *)"x", 1 },
		{ (uint8_t *)"\0\0\0\1", 4 },
		skippable,
		{ alone.data, alone.len },
	};
	for (size_t i = 0; i < HP_ARRAY_LEN(tails); i++) {
		struct body body = { 0 };
		append(&body, alone.data, alone.len);
		append(&body, tails[i].data, tails[i].len);
		expect_refused(&body, 5000, "behind the zstd frame");
		body_clear(&body);
	}
	append_zeros(&alone, 100);
	expect_plain(&alone, data, 5000);
	body_clear(&skippable);
	body_clear(&alone);
	free(data);
}

static void a_frame_cut_anywhere_is_refused(void **state)
{
	(void)state;
	uint8_t *data = text(3000);
	struct body whole = compressed_once(data, 3000);
	for (size_t len = 0; len < whole.len; len++) {
		struct body body = { 0 };
		append(&body, whole.data, len);
		expect_refused(&body, 3000, "");
		append_zeros(&body, 64); /* as padding would */
		hsmpool_error err = { 0 };
		uint8_t *out = malloc(3000);
		hsmpool_status status = decompress(&body, out, 3000, &err);
		/* zero bytes may happen to end the last block */
		assert_true(status == HSMPOOL_ERR_DATA || memcmp(out, data, 100) == 0);
		free(out);
		body_clear(&body);
	}
	body_clear(&whole);
	free(data);
}

static void frames_of_another_form_are_refused(void **state)
{
	(void)state;
	static const uint8_t descriptors[] = {
		CONTENT_SIZE_4,
		CONTENT_SIZE_4 | SINGLE_SEGMENT | CHECKSUM,
		CONTENT_SIZE_4 | SINGLE_SEGMENT | DICTIONARY_1,
		CONTENT_SIZE_4 | SINGLE_SEGMENT | 0x03,
		CONTENT_SIZE_4 | SINGLE_SEGMENT | 0x08,
		CONTENT_SIZE_4 | SINGLE_SEGMENT | 0x10,
		0,
	};
	for (size_t i = 0; i < HP_ARRAY_LEN(descriptors); i++) {
		struct body body = { 0 };
		append_header(&body, descriptors[i], 1000);
		append_block(&body, RLE, 1000, true);
		append_zeros(&body, 100);
		expect_refused(&body, 1000, "single segment");
		body_clear(&body);
	}
}

/* "Window_Descriptor" ff: 3.75 TiB. */
static void a_frame_with_a_huge_window_is_refused(void **state)
{
	(void)state;
	struct body body = { 0 };
	append_le(&body, 0xfd2fb528, 4);
	append_le(&body, CONTENT_SIZE_4, 1);
	append_le(&body, 0xff, 1);
	append_le(&body, 1000, 4);
	append_block(&body, RLE, 1000, true);
	expect_refused(&body, 1000, "single segment");
	body_clear(&body);
}

/* Skippable frames, and those of zstd 0.1 to 0.7, which libzstd can still read. */
static void frames_with_another_magic_number_are_refused(void **state)
{
	(void)state;
	static const uint32_t magics[] = {
		0x184d2a50, 0x184d2a5f, 0xfd2fb51e, 0xfd2fb522, 0xfd2fb523, 0xfd2fb524,
		0xfd2fb525, 0xfd2fb526, 0xfd2fb527, 0x28b52ffd, 0,          0x04224d18,
	};
	for (size_t i = 0; i < HP_ARRAY_LEN(magics); i++) {
		struct body body = { 0 };
		append_le(&body, magics[i], 4);
		append_le(&body, CONTENT_SIZE_4 | SINGLE_SEGMENT, 1);
		append_le(&body, 1000, 4);
		append_block(&body, RLE, 1000, true);
		append_zeros(&body, 100);
		expect_refused(&body, 1000, "no zstd frame");
		body_clear(&body);
	}
}

static void a_real_frame_behind_a_skippable_one_is_refused(void **state)
{
	(void)state;
	uint8_t *data = text(5000);
	struct body frame = compressed_once(data, 5000), body = { 0 };
	append_le(&body, 0x184d2a50, 4);
	append_le(&body, 0, 4);
	append(&body, frame.data, frame.len);
	expect_refused(&body, 5000, "no zstd frame");
	body_clear(&body);
	body_clear(&frame);
	free(data);
}

/* It was made with itself as raw content, so there is no id in its header: nothing but
 * references to what lies before the start. */
static void a_frame_that_needs_a_dictionary_is_refused(void **state)
{
	(void)state;
	uint8_t *data = noise(1000), *same = noise(1000), *room = malloc(1000);
	ZSTD_CCtx *ctx = ZSTD_createCCtx();
	struct body body = { 0 };
	size_t len = ZSTD_compress_usingDict(ctx, room, 1000, data, 1000, same, 1000, 3);
	assert_in_range(len, 1, 100);
	append(&body, room, len);
	expect_refused(&body, 1000, "");
	body_clear(&body);
	ZSTD_freeCCtx(ctx);
	free(room);
	free(same);
	free(data);
}

/* Other text may come out, never more or less of it than there should be. */
static void damage_anywhere_keeps_the_bounds(void **state)
{
	(void)state;
	uint8_t *data = text(20000);
	struct body body = compressed_once(data, 20000);
	uint8_t *out = malloc(20000);
	for (size_t i = 0; i < body.len; i++) {
		hsmpool_error err = { 0 };
		body.data[i] ^= (uint8_t)(1 << (i % 8));
		hsmpool_status status = decompress(&body, out, 20000, &err);
		assert_true(status == HSMPOOL_OK || status == HSMPOOL_ERR_DATA);
		body.data[i] ^= (uint8_t)(1 << (i % 8));
	}
	expect_plain(&body, data, 20000);
	free(out);
	body_clear(&body);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_length_comes_back_through_one_compressor),
		cmocka_unit_test(every_level_and_chunk_size_makes_the_one_form),
		cmocka_unit_test(a_chunk_larger_than_a_level_s_own_window_comes_back),
		cmocka_unit_test(one_decompressor_goes_on_after_a_refusal),
		cmocka_unit_test(a_compressor_takes_no_more_memory_than_it_says),
		cmocka_unit_test(what_does_not_become_shorter_is_left_alone),
		cmocka_unit_test(a_body_is_never_shorter_than_a_1024th),
		cmocka_unit_test(a_frame_made_by_hand_is_taken),
		cmocka_unit_test(a_frame_that_claims_more_or_less_is_refused),
		cmocka_unit_test(a_frame_that_holds_more_than_it_claims_is_refused),
		cmocka_unit_test(a_frame_that_holds_less_than_it_claims_is_refused),
		cmocka_unit_test(more_than_1024_times_the_body_is_refused),
		cmocka_unit_test(a_body_as_long_as_its_plaintext_is_refused),
		cmocka_unit_test(anything_behind_the_frame_is_refused),
		cmocka_unit_test(a_frame_cut_anywhere_is_refused),
		cmocka_unit_test(frames_of_another_form_are_refused),
		cmocka_unit_test(a_frame_with_a_huge_window_is_refused),
		cmocka_unit_test(frames_with_another_magic_number_are_refused),
		cmocka_unit_test(a_real_frame_behind_a_skippable_one_is_refused),
		cmocka_unit_test(a_frame_that_needs_a_dictionary_is_refused),
		cmocka_unit_test(damage_anywhere_keeps_the_bounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

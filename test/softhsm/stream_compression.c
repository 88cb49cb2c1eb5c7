/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers whose chunks are compressed: there and back in both modes, smaller where
 * that can be, damaged at every byte, and stopped where the caller's limits are.
 */
#include "stream_specimen.h"

#include "base/memory.h"
#include "stream/chunk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 4096, FLAG_COMPRESSED = 2 };

static struct fixture fixture;
static hsmpool *pool;
static hsmpool_key *key;

static int set_up(void **state)
{
	(void)state;
	fixture_softhsm(&fixture);
	pool = fixture_open(&fixture);
	key = ground_generated_key(pool, "aes", 256, "compression", 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	hsmpool_key_close(&key);
	hsmpool_close(&pool);
	fixture_remove(&fixture);
	return 0;
}

static hsmpool_stream_options zstd_options(hsmpool_stream_mode mode, uint32_t chunk_size)
{
	hsmpool_stream_options options = ground_options(mode, chunk_size);
	options.compression = HSMPOOL_COMPRESSION_ZSTD;
	return options;
}

/* xorshift: the same in every run, and nothing to compress. */
static void put_noise(uint8_t *data, size_t len)
{
	uint64_t x = 0x9e3779b97f4a7c15;
	for (size_t i = 0; i < len; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		data[i] = (uint8_t)x;
	}
}

static uint8_t *noise(size_t len)
{
	uint8_t *data = malloc(len + 1);
	assert_non_null(data);
	put_noise(data, len);
	return data;
}

static uint8_t *zeros(size_t len)
{
	uint8_t *data = calloc(1, len + 1);
	assert_non_null(data);
	return data;
}

/* Chunks in turn of noise, of zeros, and of a pattern. */
static uint8_t *mixture(size_t len, size_t chunk_size)
{
	uint8_t *data = ground_pattern(len);
	for (size_t at = 0; at < len; at += chunk_size) {
		size_t take = len - at < chunk_size ? len - at : chunk_size;
		if (at / chunk_size % 3 == 0)
			put_noise(data + at, take);
		else if (at / chunk_size % 3 == 1)
			memset(data + at, 0, take);
	}
	return data;
}

/* ---- there and back ---- */

static void expect_round_trip(const hsmpool_stream_options *options, const uint8_t *plain,
			      size_t len)
{
	struct ground_sink container;
	ground_encrypt(pool, &key, 1, options, plain, len, &container);
	ground_expect(pool, key, NULL, &container, plain, len);
	ground_expect(pool, NULL, NULL, &container, plain, len);
	ground_sink_clear(&container);
}

static void lengths_around_the_chunk_size_come_back(void **state)
{
	(void)state;
	static const size_t lens[] = { 0,
				       1,
				       2,
				       CHUNK - 1,
				       CHUNK,
				       CHUNK + 1,
				       2 * CHUNK,
				       3 * CHUNK + 1,
				       20 * CHUNK - 1 };
	for (int mode = 0; mode < 2; mode++) {
		hsmpool_stream_options options =
			zstd_options((hsmpool_stream_mode)mode, CHUNK);
		for (size_t i = 0; i < HP_ARRAY_LEN(lens); i++) {
			uint8_t *data[] = { zeros(lens[i]), ground_pattern(lens[i]),
					    noise(lens[i]), mixture(lens[i], CHUNK) };
			for (size_t kind = 0; kind < HP_ARRAY_LEN(data); kind++) {
				expect_round_trip(&options, data[kind], lens[i]);
				free(data[kind]);
			}
		}
	}
}

static void every_chunk_size_comes_back_at_any_level(void **state)
{
	(void)state;
	static const uint32_t sizes[] = { 0, 1024, 1025, 65537, 1 << 20, 3 << 20 };
	static const int levels[] = { 1, 9 };
	const size_t len = (4 << 20) + 5;
	for (size_t i = 0; i < HP_ARRAY_LEN(sizes); i++) {
		uint8_t *plain = mixture(len, sizes[i] ? sizes[i] : 1 << 20);
		for (size_t level = 0; level < HP_ARRAY_LEN(levels); level++) {
			hsmpool_stream_options options =
				zstd_options(HSMPOOL_STREAM_ENVELOPE, sizes[i]);
			options.compression_level = levels[level];
			expect_round_trip(&options, plain, len);
		}
		free(plain);
	}
}

static void any_number_of_threads_makes_chunks_of_the_same_lengths(void **state)
{
	(void)state;
	const size_t len = 50 * CHUNK + 7;
	uint8_t *plain = mixture(len, CHUNK);
	for (int mode = 0; mode < 2; mode++) {
		hsmpool_stream_options options =
			zstd_options((hsmpool_stream_mode)mode, CHUNK);
		struct ground_sink one, four;
		options.threads = 1;
		ground_encrypt(pool, &key, 1, &options, plain, len, &one);
		options.threads = 4;
		ground_encrypt(pool, &key, 1, &options, plain, len, &four);
		assert_int_equal(one.len, four.len);
		ground_expect(pool, key, &options, &one, plain, len);
		ground_expect(pool, key, &options, &four, plain, len);
		ground_sink_clear(&one);
		ground_sink_clear(&four);
	}
	free(plain);
}

/* ---- what is compressed, and how far ---- */

static void chunks_that_do_not_compress_are_stored_as_they_are(void **state)
{
	(void)state;
	const size_t len = 6 * CHUNK + 100;
	uint8_t *plain = mixture(len, CHUNK);
	for (int mode = 0; mode < 2; mode++) {
		struct specimen s;
		specimen_make(&s, pool, key,
			      zstd_options((hsmpool_stream_mode)mode, CHUNK), plain, len);
		assert_int_equal(s.chunks, 7);
		for (size_t i = 0; i < s.chunks; i++) {
			const uint8_t *head = s.container.data + s.chunk_at[i];
			bool is_compressed = head[0] & FLAG_COMPRESSED;
			assert_int_equal(is_compressed, i % 3 != 0);
			assert_int_equal(hp_get_be32(head + 1), i < 6 ? CHUNK : 100);
			if (!is_compressed)
				assert_memory_equal(head + 1, head + 5, 4);
			else
				assert_true(hp_get_be32(head + 5) < 300);
		}
		specimen_clear(&s);
	}
	free(plain);
}

static void data_that_does_not_compress_takes_no_byte_more(void **state)
{
	(void)state;
	const size_t len = 10 * CHUNK + 1;
	uint8_t *plain = noise(len);
	for (int mode = 0; mode < 2; mode++) {
		hsmpool_stream_options plain_options =
			ground_options((hsmpool_stream_mode)mode, CHUNK);
		hsmpool_stream_options options =
			zstd_options((hsmpool_stream_mode)mode, CHUNK);
		struct ground_sink with, without;
		ground_encrypt(pool, &key, 1, &options, plain, len, &with);
		ground_encrypt(pool, &key, 1, &plain_options, plain, len, &without);
		assert_int_equal(with.len, without.len);
		ground_sink_clear(&with);
		ground_sink_clear(&without);
	}
	free(plain);
}

static void without_being_asked_nothing_is_compressed(void **state)
{
	(void)state;
	const size_t len = 3 * CHUNK;
	uint8_t *plain = zeros(len);
	struct ground_sink container;
	hsmpool_stream_options options = ground_options(HSMPOOL_STREAM_ENVELOPE, CHUNK);
	options.compression_level = 9;
	ground_encrypt(pool, &key, 1, &options, plain, len, &container);
	assert_true(container.len > len);
	assert_int_equal(container.data[11], 0);
	ground_sink_clear(&container);
	free(plain);
}

static void unknown_methods_and_levels_are_refused(void **state)
{
	(void)state;
	static const struct {
		int compression, level;
	} bad[] = { { 2, 0 }, { -1, 0 }, { 1, 20 }, { 1, -1 }, { 0, 20 } };
	for (size_t i = 0; i < HP_ARRAY_LEN(bad); i++) {
		hsmpool_stream_options options =
			ground_options(HSMPOOL_STREAM_ENVELOPE, 0);
		struct ground_source source = { 0 };
		struct ground_sink sink = { 0 };
		hsmpool_error err;
		options.compression = (hsmpool_compression)bad[i].compression;
		options.compression_level = bad[i].level;
		assert_status(hsmpool_stream_encrypt(pool, &key, 1, &options, ground_read,
						     &source, ground_write, &sink,
						     HSMPOOL_DEFAULT, &err),
			      HSMPOOL_ERR_USAGE);
		assert_non_null(strstr(err.text, "compression"));
		assert_int_equal(sink.len, 0);
	}
}

/* ---- damage ---- */

static void a_compressed_container_damaged_at_any_byte_is_an_error(void **state)
{
	(void)state;
	const size_t len = 2 * 1024 + 300;
	uint8_t *plain = ground_pattern(len);
	for (int mode = 0; mode < 2; mode++) {
		struct specimen s;
		specimen_make(&s, pool, key,
			      zstd_options((hsmpool_stream_mode)mode, 1024), plain, len);
		assert_true(s.container.len < len);
		uint8_t *bytes = specimen_copy(&s);
		for (size_t at = 0; at < s.container.len; at++) {
			specimen_expect_cut_fails(&s, pool, key, at);
			specimen_expect_flip_fails(&s, pool, key, bytes, at,
						   (uint8_t)(1u << at % 8));
			specimen_expect_flip_fails(&s, pool, key, bytes, at, 2);
		}
		free(bytes);
		specimen_clear(&s);
	}
	free(plain);
}

/* ---- limits ---- */

static hsmpool_status decrypt_within(const struct ground_sink *container, uint64_t bytes,
				     uint32_t ratio, size_t *released)
{
	hsmpool_stream_options limits = { .size = sizeof(limits),
					  .max_output = bytes,
					  .max_ratio = ratio };
	struct ground_sink out;
	hsmpool_error err = { 0 };
	hsmpool_status status = ground_decrypt(pool, key, &limits, container->data,
					       container->len, &out, &err);
	if (status != HSMPOOL_OK)
		assert_non_null(strstr(err.text, "stopped"));
	*released = out.len;
	ground_sink_clear(&out);
	return status;
}

static void no_more_than_max_output_comes_out(void **state)
{
	(void)state;
	const size_t len = 5 * CHUNK + 10;
	uint8_t *plain = zeros(len);
	for (int mode = 0; mode < 2; mode++) {
		hsmpool_stream_options plain_options =
			ground_options((hsmpool_stream_mode)mode, CHUNK);
		hsmpool_stream_options packed_options =
			zstd_options((hsmpool_stream_mode)mode, CHUNK);
		const hsmpool_stream_options *both[] = { &plain_options,
							 &packed_options };
		for (size_t i = 0; i < HP_ARRAY_LEN(both); i++) {
			struct ground_sink c;
			size_t released;
			ground_encrypt(pool, &key, 1, both[i], plain, len, &c);
			assert_status(decrypt_within(&c, len, 0, &released), HSMPOOL_OK);
			assert_int_equal(released, len);
			assert_status(decrypt_within(&c, len - 1, 0, &released),
				      HSMPOOL_ERR_DATA);
			assert_int_equal(released, 5 * CHUNK);
			assert_status(decrypt_within(&c, 2 * CHUNK, 0, &released),
				      HSMPOOL_ERR_DATA);
			assert_int_equal(released, 2 * CHUNK);
			assert_status(decrypt_within(&c, 1, 0, &released),
				      HSMPOOL_ERR_DATA);
			assert_int_equal(released, 0);
			ground_sink_clear(&c);
		}
	}
	free(plain);
}

static void no_more_than_max_ratio_comes_out(void **state)
{
	(void)state;
	const size_t len = 20 * CHUNK;
	uint8_t *plain = zeros(len);
	hsmpool_stream_options options = zstd_options(HSMPOOL_STREAM_ENVELOPE, CHUNK);
	struct ground_sink c;
	size_t released;
	ground_encrypt(pool, &key, 1, &options, plain, len, &c);
	uint32_t whole = (uint32_t)(len / c.len);
	assert_true(whole > 20);
	assert_status(decrypt_within(&c, 0, whole + 1, &released), HSMPOOL_OK);
	assert_status(decrypt_within(&c, 0, UINT32_MAX, &released), HSMPOOL_OK);
	assert_status(decrypt_within(&c, 0, whole, &released), HSMPOOL_ERR_DATA);
	assert_int_equal(released, len - CHUNK);
	assert_status(decrypt_within(&c, 0, 1, &released), HSMPOOL_ERR_DATA);
	assert_int_equal(released, 0);
	ground_sink_clear(&c);
	options = ground_options(HSMPOOL_STREAM_ENVELOPE, CHUNK);
	ground_encrypt(pool, &key, 1, &options, plain, len, &c);
	assert_status(decrypt_within(&c, 0, 1, &released), HSMPOOL_OK);
	ground_sink_clear(&c);
	free(plain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lengths_around_the_chunk_size_come_back),
		cmocka_unit_test(every_chunk_size_comes_back_at_any_level),
		cmocka_unit_test(any_number_of_threads_makes_chunks_of_the_same_lengths),
		cmocka_unit_test(chunks_that_do_not_compress_are_stored_as_they_are),
		cmocka_unit_test(data_that_does_not_compress_takes_no_byte_more),
		cmocka_unit_test(without_being_asked_nothing_is_compressed),
		cmocka_unit_test(unknown_methods_and_levels_are_refused),
		cmocka_unit_test(a_compressed_container_damaged_at_any_byte_is_an_error),
		cmocka_unit_test(no_more_than_max_output_comes_out),
		cmocka_unit_test(no_more_than_max_ratio_comes_out),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers that were cut, changed, mixed: each is an error before a byte of the first
 * wrong chunk is released, at every byte, in both modes.
 */
#include "stream_specimen.h"

#include "base/memory.h"
#include "stream/container.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1024, PLAIN_LEN = 2 * CHUNK + 10 };

static struct fixture fixture;
static hsmpool *pool;
static hsmpool_key *key;
static uint8_t *plain;
static struct specimen specimens[2]; /* by mode, of three chunks */

static int set_up(void **state)
{
	(void)state;
	fixture_softhsm(&fixture);
	pool = fixture_open(&fixture);
	key = ground_generated_key(pool, "aes", 256, "damage", 0);
	plain = ground_pattern(PLAIN_LEN);
	for (int mode = 0; mode < 2; mode++) {
		specimen_make(&specimens[mode], pool, key,
			      ground_options((hsmpool_stream_mode)mode, CHUNK), plain,
			      PLAIN_LEN);
		assert_int_equal(specimens[mode].chunks, 3);
	}
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	specimen_clear(&specimens[0]);
	specimen_clear(&specimens[1]);
	free(plain);
	hsmpool_key_close(&key);
	hsmpool_close(&pool);
	fixture_remove(&fixture);
	return 0;
}

static void cut_everywhere(const struct specimen *s)
{
	for (size_t len = 0; len < s->container.len; len++)
		specimen_expect_cut_fails(s, pool, key, len);
}

static void a_container_cut_at_any_byte_is_an_error_in_envelope_mode(void **state)
{
	(void)state;
	cut_everywhere(&specimens[HSMPOOL_STREAM_ENVELOPE]);
}

static void a_container_cut_at_any_byte_is_an_error_in_direct_mode(void **state)
{
	(void)state;
	cut_everywhere(&specimens[HSMPOOL_STREAM_DIRECT]);
}

/* Every bit of the header, where each byte has a meaning; elsewhere a few per byte, each
 * of the eight in turn among them. */
static void flip_everywhere(const struct specimen *s)
{
	uint8_t *bytes = specimen_copy(s);
	for (size_t at = 0; at < s->container.len; at++) {
		for (unsigned bit = 0; bit < 8; bit++)
			if (at < s->header_len || bit == at % 8 || bit == 7)
				specimen_expect_flip_fails(s, pool, key, bytes, at,
							   (uint8_t)(1u << bit));
		specimen_expect_flip_fails(s, pool, key, bytes, at, 0xff);
	}
	free(bytes);
}

static void a_bit_flipped_in_any_byte_is_an_error_in_envelope_mode(void **state)
{
	(void)state;
	flip_everywhere(&specimens[HSMPOOL_STREAM_ENVELOPE]);
}

static void a_bit_flipped_in_any_byte_is_an_error_in_direct_mode(void **state)
{
	(void)state;
	flip_everywhere(&specimens[HSMPOOL_STREAM_DIRECT]);
}

/* The key is searched by what the damaged header says. */
static void a_header_bit_flipped_is_an_error_when_the_key_is_searched(void **state)
{
	(void)state;
	for (int mode = 0; mode < 2; mode++) {
		const struct specimen *s = &specimens[mode];
		uint8_t *bytes = specimen_copy(s);
		for (size_t at = 0; at < s->header_len; at++)
			specimen_expect_flip_fails(s, pool, NULL, bytes, at, 0x10);
		free(bytes);
	}
}

static void bytes_after_the_end_are_an_error_before_the_last_chunk(void **state)
{
	(void)state;
	for (int mode = 0; mode < 2; mode++) {
		const struct specimen *s = &specimens[mode];
		static const size_t extra[] = { 1, 9, 1000, 100000 };
		for (size_t i = 0; i < HP_ARRAY_LEN(extra); i++) {
			uint8_t *bytes = calloc(1, s->container.len + extra[i]);
			memcpy(bytes, s->container.data, s->container.len);
			specimen_expect_failure(s, pool, key, bytes,
						s->container.len + extra[i], 2 * CHUNK,
						s->container.len);
			free(bytes);
		}
	}
}

static void expect_assembly_fails(const struct specimen *header,
				  const struct specimen_piece *pieces, size_t count,
				  size_t released)
{
	specimen_expect_assembly_fails(header, pool, key, pieces, count, released);
}

static void chunks_reordered_repeated_or_dropped_are_errors(void **state)
{
	(void)state;
	for (int mode = 0; mode < 2; mode++) {
		const struct specimen *s = &specimens[mode];
		const struct specimen_piece swapped[] = { { s, 1 }, { s, 0 }, { s, 2 } };
		const struct specimen_piece repeated[] = {
			{ s, 0 }, { s, 0 }, { s, 1 }, { s, 2 }
		};
		const struct specimen_piece dropped[] = { { s, 0 }, { s, 2 } };
		const struct specimen_piece first_dropped[] = { { s, 1 }, { s, 2 } };
		const struct specimen_piece last_dropped[] = { { s, 0 }, { s, 1 } };
		const struct specimen_piece last_only[] = { { s, 2 } };
		const struct specimen_piece last_twice[] = {
			{ s, 0 }, { s, 1 }, { s, 2 }, { s, 2 }
		};
		expect_assembly_fails(s, swapped, 3, 0);
		expect_assembly_fails(s, repeated, 4, CHUNK);
		expect_assembly_fails(s, dropped, 2, CHUNK);
		expect_assembly_fails(s, first_dropped, 2, 0);
		expect_assembly_fails(s, last_dropped, 2, 2 * CHUNK);
		expect_assembly_fails(s, last_only, 1, 0);
		expect_assembly_fails(s, last_twice, 4, 2 * CHUNK);
		expect_assembly_fails(s, NULL, 0, 0);
	}
}

/* Same key, same input, same options: still two containers. */
static void chunks_of_another_container_of_the_same_key_are_errors(void **state)
{
	(void)state;
	for (int mode = 0; mode < 2; mode++) {
		const struct specimen *s = &specimens[mode];
		struct specimen other;
		specimen_make(&other, pool, key, s->options, plain, PLAIN_LEN);
		const struct specimen_piece middle[] = { { s, 0 },
							 { &other, 1 },
							 { s, 2 } };
		const struct specimen_piece end[] = { { s, 0 }, { s, 1 }, { &other, 2 } };
		const struct specimen_piece all[] = { { &other, 0 },
						      { &other, 1 },
						      { &other, 2 } };
		expect_assembly_fails(s, middle, 3, CHUNK);
		expect_assembly_fails(s, end, 3, 2 * CHUNK);
		expect_assembly_fails(s, all, 3, 0);
		specimen_clear(&other);
	}
}

/* The recipient part of one container in front of the chunks of another. */
static void recipients_of_another_container_are_an_error(void **state)
{
	(void)state;
	for (int mode = 0; mode < 2; mode++) {
		const struct specimen *s = &specimens[mode];
		struct ground_sink other;
		ground_encrypt(pool, &key, 1, &s->options, plain, PLAIN_LEN, &other);
		memcpy(other.data, s->container.data, HP_FIXED_LEN);
		specimen_expect_failure(s, pool, key, other.data, other.len, 0, 0);
		ground_sink_clear(&other);
	}
}

/* The wrapped key is sound, so only the header's MAC shows the change. */
static void a_recipient_added_without_the_data_key_is_an_error(void **state)
{
	(void)state;
	const struct specimen *s = &specimens[HSMPOOL_STREAM_ENVELOPE];
	hsmpool_error err;
	struct hp_container *c = malloc(sizeof(*c));
	struct hp_container *more = malloc(sizeof(*more));
	size_t used;
	assert_ok(hp_container_parse(s->container.data, s->container.len, c, &used, &err),
		  &err);
	struct hp_recipient list[2] = { c->recipients.at[0], c->recipients.at[0] };
	list[1].label = (hsmpool_bytes){ (const uint8_t *)"intruder", 8 };
	more->fixed = c->fixed;
	assert_ok(hp_container_encode(more, list, 2, &err), &err);
	size_t rest = s->container.len - c->raw_len; /* the MAC and the chunks */
	uint8_t *bytes = malloc(more->raw_len + rest);
	memcpy(bytes, more->raw, more->raw_len);
	memcpy(bytes + more->raw_len, s->container.data + c->raw_len, rest);
	struct ground_sink out;
	assert_status(
		ground_decrypt(pool, key, NULL, bytes, more->raw_len + rest, &out, &err),
		HSMPOOL_ERR_DATA);
	assert_non_null(strstr(err.text, "header does not verify"));
	assert_int_equal(out.len, 0);
	free(bytes);
	free(more);
	free(c);
}

static void files_of_other_kinds_are_no_containers(void **state)
{
	(void)state;
	static const char *const others[] = { "", "x", "hello, world\n",
					      "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
					      "MZ\x90 a program" };
	for (size_t i = 0; i < HP_ARRAY_LEN(others); i++) {
		struct ground_sink out;
		hsmpool_error err;
		assert_status(ground_decrypt(pool, NULL, NULL, (const uint8_t *)others[i],
					     strlen(others[i]), &out, &err),
			      HSMPOOL_ERR_DATA);
		assert_non_null(strstr(err.text, "not an hsmpool container"));
		assert_int_equal(out.len, 0);
	}
}

/* A wrong key, a changed wrapped key and a changed commitment: one text. */
static void what_fails_to_unwrap_is_not_told_apart(void **state)
{
	(void)state;
	const struct specimen *s = &specimens[HSMPOOL_STREAM_ENVELOPE];
	size_t in_wrapped = s->header_len - HP_HASH_LEN - 20;
	const size_t places[] = { in_wrapped, 64 };
	char first[512] = "";
	uint8_t *bytes = malloc(s->container.len);
	for (size_t i = 0; i < HP_ARRAY_LEN(places); i++) {
		struct ground_sink out;
		hsmpool_error err;
		memcpy(bytes, s->container.data, s->container.len);
		bytes[places[i]] ^= 1;
		assert_status(ground_decrypt(pool, key, NULL, bytes, s->container.len,
					     &out, &err),
			      HSMPOOL_ERR_DATA);
		if (i == 0)
			memcpy(first, err.text, sizeof(first));
		assert_string_equal(err.text, first);
		assert_true(err.ck_rv == 0);
	}
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_container_cut_at_any_byte_is_an_error_in_envelope_mode),
		cmocka_unit_test(a_container_cut_at_any_byte_is_an_error_in_direct_mode),
		cmocka_unit_test(a_bit_flipped_in_any_byte_is_an_error_in_envelope_mode),
		cmocka_unit_test(a_bit_flipped_in_any_byte_is_an_error_in_direct_mode),
		cmocka_unit_test(
			a_header_bit_flipped_is_an_error_when_the_key_is_searched),
		cmocka_unit_test(bytes_after_the_end_are_an_error_before_the_last_chunk),
		cmocka_unit_test(chunks_reordered_repeated_or_dropped_are_errors),
		cmocka_unit_test(chunks_of_another_container_of_the_same_key_are_errors),
		cmocka_unit_test(recipients_of_another_container_are_an_error),
		cmocka_unit_test(a_recipient_added_without_the_data_key_is_an_error),
		cmocka_unit_test(files_of_other_kinds_are_no_containers),
		cmocka_unit_test(what_fails_to_unwrap_is_not_told_apart),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Damage to containers of many chunks, which several threads work on at once: what comes
 * before the first wrong chunk comes out, in order and whole, and nothing after it,
 * wherever the damage is. Places are drawn from a seeded generator: every run has the
 * same ones, HSMPOOL_TEST_SEED draws others.
 */
#include "stream_specimen.h"

#include <stdio.h>
#include <stdlib.h>

enum { CHUNK = 4096, CHUNKS = 64, PLAIN_LEN = (CHUNKS - 1) * CHUNK + 100 };

static struct fixture fixture;
static hsmpool *pool;
static hsmpool_key *key;
static uint8_t *plain;
/* By mode; two of the same key and plaintext. */
static struct specimen specimens[2], others[2];
static uint64_t seed = 20250101;

/* xorshift64: good enough to choose places. */
static size_t draw(size_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (size_t)(seed % below);
}

static int set_up(void **state)
{
	const char *chosen = getenv("HSMPOOL_TEST_SEED");

	(void)state;
	if (chosen && strtoull(chosen, NULL, 10) != 0)
		seed = strtoull(chosen, NULL, 10);
	printf("# HSMPOOL_TEST_SEED=%llu\n", (unsigned long long)seed);
	fixture_softhsm(&fixture);
	pool = fixture_open(&fixture);
	key = ground_generated_key(pool, "aes", 256, "damage", 0);
	plain = ground_pattern(PLAIN_LEN);
	for (int mode = 0; mode < 2; mode++) {
		hsmpool_stream_options options =
			ground_options((hsmpool_stream_mode)mode, CHUNK);

		specimen_make(&specimens[mode], pool, key, options, plain, PLAIN_LEN);
		specimen_make(&others[mode], pool, key, options, plain, PLAIN_LEN);
		assert_int_equal(specimens[mode].chunks, CHUNKS);
	}
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (int mode = 0; mode < 2; mode++) {
		specimen_clear(&specimens[mode]);
		specimen_clear(&others[mode]);
	}
	free(plain);
	hsmpool_key_close(&key);
	hsmpool_close(&pool);
	fixture_remove(&fixture);
	return 0;
}

static void the_containers_open_when_they_are_whole(void **state)
{
	(void)state;
	for (int mode = 0; mode < 2; mode++)
		ground_expect(pool, key, NULL, &specimens[mode].container, plain,
			      PLAIN_LEN);
}

static void flip_in_places(const struct specimen *s, unsigned places)
{
	uint8_t *bytes = specimen_copy(s);

	for (unsigned i = 0; i < places; i++) {
		size_t chunk = draw(s->chunks);
		size_t at;

		if (i % 3 == 0) /* anywhere: mostly in a body */
			at = draw(s->container.len);
		else if (i % 3 == 1) /* the chunk's head, or the IV behind it */
			at = s->chunk_at[chunk] + draw(9 + 12);
		else /* its tag */
			at = s->chunk_at[chunk + 1] - 1 - draw(16);
		specimen_expect_flip_fails(s, pool, key, bytes, at,
					   (uint8_t)(1u << draw(8)));
	}
	free(bytes);
}

static void a_bit_flipped_is_an_error_in_envelope_mode(void **state)
{
	(void)state;
	flip_in_places(&specimens[HSMPOOL_STREAM_ENVELOPE], 300);
}

static void a_bit_flipped_is_an_error_in_direct_mode(void **state)
{
	(void)state;
	flip_in_places(&specimens[HSMPOOL_STREAM_DIRECT], 90);
}

/* What comes out of a file with these bytes, which the threads read themselves. */
static void expect_file_fails(const uint8_t *bytes, size_t len, size_t released)
{
	FILE *in = tmpfile(), *out = tmpfile();
	uint8_t *got = malloc(PLAIN_LEN);
	hsmpool_error err;

	assert_true(in && out && got);
	assert_int_equal(fwrite(bytes, 1, len, in), len);
	rewind(in);
	assert_status(hsmpool_stream_decrypt_fd(pool, key, NULL, fileno(in), fileno(out),
						HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_DATA);
	rewind(out);
	assert_int_equal(fread(got, 1, PLAIN_LEN, out), released);
	assert_memory_equal(got, plain, released);
	free(got);
	fclose(in);
	fclose(out);
}

static void damage_to_a_file_is_an_error(void **state)
{
	(void)state;
	for (int mode = 0; mode < 2; mode++) {
		const struct specimen *s = &specimens[mode];
		uint8_t *bytes = specimen_copy(s);

		for (unsigned i = 0; i < 40; i++) {
			size_t in_chunks = s->container.len - s->header_len;
			size_t at = s->header_len + draw(in_chunks);
			size_t released = specimen_released_before(s, at);

			bytes[at] ^= 0x20;
			expect_file_fails(bytes, s->container.len, released);
			bytes[at] ^= 0x20;
			expect_file_fails(bytes, at, released);
		}
		free(bytes);
	}
}

/* Whatever the order in which the two are found, it is the first that counts. */
static void of_two_bits_flipped_the_first_ends_what_comes_out(void **state)
{
	(void)state;
	for (int mode = 0; mode < 2; mode++) {
		const struct specimen *s = &specimens[mode];
		uint8_t *bytes = specimen_copy(s);

		for (unsigned i = 0; i < 30; i++) {
			size_t at = draw(s->container.len);
			size_t later = at + draw(s->container.len - at);

			if (later == at)
				continue;
			bytes[later] ^= 1;
			specimen_expect_flip_fails(s, pool, key, bytes, at, 1);
			bytes[later] ^= 1;
		}
		free(bytes);
	}
}

static void a_container_cut_anywhere_is_an_error(void **state)
{
	(void)state;
	for (int mode = 0; mode < 2; mode++) {
		const struct specimen *s = &specimens[mode];

		for (size_t chunk = 0; chunk < s->chunks; chunk++)
			specimen_expect_cut_fails(s, pool, key, s->chunk_at[chunk]);
		for (unsigned i = 0; i < 60; i++)
			specimen_expect_cut_fails(s, pool, key, draw(s->container.len));
	}
}

/* The container's own chunks in their order, for a test to make disorder in. */
static void fill_pieces(const struct specimen *s, struct specimen_piece *pieces)
{
	for (size_t i = 0; i < s->chunks; i++)
		pieces[i] = (struct specimen_piece){ s, i };
}

static void two_chunks_exchanged_are_an_error(void **state)
{
	struct specimen_piece pieces[CHUNKS];

	(void)state;
	for (int mode = 0; mode < 2; mode++)
		for (unsigned i = 0; i < 40; i++) {
			const struct specimen *s = &specimens[mode];
			size_t first = draw(CHUNKS - 1);
			size_t second = first + 1 + draw(CHUNKS - 1 - first);

			fill_pieces(s, pieces);
			pieces[first].chunk = second;
			pieces[second].chunk = first;
			specimen_expect_assembly_fails(s, pool, key, pieces, CHUNKS,
						       first * CHUNK);
		}
}

static void a_chunk_repeated_or_dropped_is_an_error(void **state)
{
	struct specimen_piece pieces[CHUNKS + 1];

	(void)state;
	for (int mode = 0; mode < 2; mode++)
		for (unsigned i = 0; i < 20; i++) {
			const struct specimen *s = &specimens[mode];
			size_t chunk = draw(CHUNKS - 1);

			fill_pieces(s, pieces);
			for (size_t at = CHUNKS; at > chunk; at--)
				pieces[at] = (struct specimen_piece){ s, at - 1 };
			specimen_expect_assembly_fails(s, pool, key, pieces, CHUNKS + 1,
						       (chunk + 1) * CHUNK);
			fill_pieces(s, pieces);
			for (size_t at = chunk; at < CHUNKS - 1; at++)
				pieces[at].chunk = at + 1;
			specimen_expect_assembly_fails(s, pool, key, pieces, CHUNKS - 1,
						       chunk * CHUNK);
		}
}

/* Same key, same plaintext, same place in the order: still not its chunk. */
static void chunks_of_another_container_are_an_error(void **state)
{
	struct specimen_piece pieces[CHUNKS];

	(void)state;
	for (int mode = 0; mode < 2; mode++)
		for (unsigned i = 0; i < 20; i++) {
			const struct specimen *s = &specimens[mode];
			size_t chunk = draw(CHUNKS);

			fill_pieces(s, pieces);
			pieces[chunk].from = &others[mode];
			specimen_expect_assembly_fails(s, pool, key, pieces, CHUNKS,
						       chunk * CHUNK);
			for (size_t at = chunk; at < CHUNKS; at++)
				pieces[at].from = &others[mode];
			specimen_expect_assembly_fails(s, pool, key, pieces, CHUNKS,
						       chunk * CHUNK);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_containers_open_when_they_are_whole),
		cmocka_unit_test(a_bit_flipped_is_an_error_in_envelope_mode),
		cmocka_unit_test(a_bit_flipped_is_an_error_in_direct_mode),
		cmocka_unit_test(damage_to_a_file_is_an_error),
		cmocka_unit_test(of_two_bits_flipped_the_first_ends_what_comes_out),
		cmocka_unit_test(a_container_cut_anywhere_is_an_error),
		cmocka_unit_test(two_chunks_exchanged_are_an_error),
		cmocka_unit_test(a_chunk_repeated_or_dropped_is_an_error),
		cmocka_unit_test(chunks_of_another_container_are_an_error),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}

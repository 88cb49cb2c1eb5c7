/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FF1: NIST's samples, and what every value of every length must keep to. Another
 * implementation is asked in test/softhsm/pseudonym_answers.c.
 */
#include "support/fixture.h"

#include "base/memory.h"
#include "pseudonym/ff1.h"

#include <inttypes.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers that a seed repeats ---- */

static uint64_t random_state;

static void seed_numbers(void)
{
	const char *given = getenv("HSMPOOL_TEST_SEED");
	if (given)
		random_state = strtoull(given, NULL, 0);
	else
		RAND_bytes((uint8_t *)&random_state, sizeof(random_state));
	printf("# HSMPOOL_TEST_SEED=%" PRIu64 "\n", random_state);
}

/* splitmix64 */
static uint64_t next_number(void)
{
	uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint32_t number_from(uint32_t least, uint32_t greatest)
{
	return least + (uint32_t)(next_number() % (greatest - least + 1));
}

static void fill_numerals(uint16_t *numerals, size_t count, uint32_t radix)
{
	for (size_t i = 0; i < count; i++)
		numerals[i] = (uint16_t)number_from(0, radix - 1);
}

/* ---- contexts ---- */

static struct hp_ff1 *new_ff1(const uint8_t *key, size_t key_len, uint32_t radix,
			      const void *tweak, size_t tweak_len)
{
	struct hp_ff1 *ff1 = NULL;
	hsmpool_error err;
	assert_ok(hp_ff1_new(&ff1, key, key_len, radix,
			     (hsmpool_bytes){ tweak, tweak_len }, &err),
		  &err);
	return ff1;
}

static struct hp_ff1 *some_ff1(uint32_t radix, const char *tweak)
{
	const uint8_t key[32] = { 1, 2, 3 };
	return new_ff1(key, sizeof(key), radix, tweak, strlen(tweak));
}

static void encrypt(struct hp_ff1 *ff1, uint16_t *numerals, size_t count)
{
	hsmpool_error err;
	assert_ok(hp_ff1_encrypt(ff1, numerals, count, &err), &err);
}

static void decrypt(struct hp_ff1 *ff1, uint16_t *numerals, size_t count)
{
	hsmpool_error err;
	assert_ok(hp_ff1_decrypt(ff1, numerals, count, &err), &err);
}

/* ---- NIST's samples ---- */

#define KEY128 "2b7e151628aed2a6abf7158809cf4f3c"
#define KEY192 KEY128 "ef4359d8d580aa4f"
#define KEY256 KEY192 "7f036d6f04fc6a94"

static const struct sample {
	const char *key, *tweak;
	uint32_t radix;
	const char *plain, *cipher;
} samples[] = {
	{ KEY128, "", 10, "0123456789", "2433477484" },
	{ KEY128, "39383736353433323130", 10, "0123456789", "6124200773" },
	{ KEY128, "3737373770717273373737", 36, "0123456789abcdefghi",
	  "a9tv40mll9kdu509eum" },
	{ KEY192, "", 10, "0123456789", "2830668132" },
	{ KEY192, "39383736353433323130", 10, "0123456789", "2496655549" },
	{ KEY192, "3737373770717273373737", 36, "0123456789abcdefghi",
	  "xbj3kv35jrawxv32ysr" },
	{ KEY256, "", 10, "0123456789", "6657667009" },
	{ KEY256, "39383736353433323130", 10, "0123456789", "1001623463" },
	{ KEY256, "3737373770717273373737", 36, "0123456789abcdefghi",
	  "xs8a0azh2avyalyzuwd" },
};

static const char alnum[] = "0123456789abcdefghijklmnopqrstuvwxyz";

static void expect_text(const uint16_t *numerals, const char *text)
{
	char got[64] = "";
	for (size_t i = 0; i < strlen(text); i++)
		got[i] = alnum[numerals[i]];
	assert_string_equal(got, text);
}

static void check_sample(const struct sample *sample)
{
	uint8_t key[32], tweak[32];
	uint16_t numerals[64];
	size_t key_len, tweak_len, count = strlen(sample->plain);
	assert_true(hp_hex_decode(sample->key, key, sizeof(key), &key_len));
	assert_true(hp_hex_decode(sample->tweak, tweak, sizeof(tweak), &tweak_len));
	for (size_t i = 0; i < count; i++)
		numerals[i] = (uint16_t)(strchr(alnum, sample->plain[i]) - alnum);
	struct hp_ff1 *ff1 = new_ff1(key, key_len, sample->radix, tweak, tweak_len);
	encrypt(ff1, numerals, count);
	expect_text(numerals, sample->cipher);
	decrypt(ff1, numerals, count);
	expect_text(numerals, sample->plain);
	hp_ff1_free(&ff1);
}

static void the_nine_samples_of_nist_come_out(void **state)
{
	(void)state;
	for (size_t i = 0; i < HP_ARRAY_LEN(samples); i++)
		check_sample(&samples[i]);
}

/* ---- properties ---- */

static void round_trip(uint32_t radix, size_t count)
{
	uint16_t plain[HP_FF1_LENGTH_MAX], numerals[HP_FF1_LENGTH_MAX];
	uint8_t key[32], tweak[64];
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)next_number();
	size_t tweak_len = number_from(0, sizeof(tweak));
	for (size_t i = 0; i < tweak_len; i++)
		tweak[i] = (uint8_t)next_number();
	fill_numerals(plain, count, radix);
	memcpy(numerals, plain, count * sizeof(*plain));
	struct hp_ff1 *ff1 = new_ff1(key, 32, radix, tweak, tweak_len);
	encrypt(ff1, numerals, count);
	for (size_t i = 0; i < count; i++)
		assert_true(numerals[i] < radix);
	decrypt(ff1, numerals, count);
	assert_memory_equal(numerals, plain, count * sizeof(*plain));
	hp_ff1_free(&ff1);
}

static void decryption_undoes_encryption_for_any_radix_and_length(void **state)
{
	(void)state;
	for (int i = 0; i < 400; i++) {
		uint32_t radix = number_from(2, i % 2 ? 100 : HP_FF1_RADIX_MAX);
		size_t least = hp_ff1_length_min(radix);
		round_trip(radix, least + number_from(0, 60));
	}
}

static void the_longest_and_shortest_values_come_back(void **state)
{
	(void)state;
	const uint32_t radixes[] = { 2, 10, 255, 256, 257, 65535, HP_FF1_RADIX_MAX };
	for (size_t i = 0; i < HP_ARRAY_LEN(radixes); i++) {
		round_trip(radixes[i], hp_ff1_length_min(radixes[i]));
		round_trip(radixes[i], HP_FF1_LENGTH_MAX - 1);
		round_trip(radixes[i], HP_FF1_LENGTH_MAX);
	}
}

/* 1000^2 is the smallest number of texts that is allowed. */
static void different_values_stay_different(void **state)
{
	(void)state;
	enum { RADIX = 1000, TRIED = 100000 };
	uint8_t *is_taken = calloc(RADIX, RADIX);
	assert_non_null(is_taken);
	struct hp_ff1 *ff1 = some_ff1(RADIX, "t");
	for (uint32_t i = 0; i < TRIED; i++) {
		uint16_t numerals[] = { (uint16_t)(i / RADIX), (uint16_t)(i % RADIX) };
		encrypt(ff1, numerals, 2);
		size_t at = numerals[0] * (size_t)RADIX + numerals[1];
		assert_int_equal(is_taken[at], 0);
		is_taken[at] = 1;
	}
	hp_ff1_free(&ff1);
	free(is_taken);
}

/* What is kept per length must not reach values of another. */
static void a_value_does_not_depend_on_those_before_it(void **state)
{
	(void)state;
	struct hp_ff1 *used = some_ff1(10, "a domain of more than sixteen bytes");
	for (size_t i = 0; i < 200; i++) {
		uint16_t a[64], b[64];
		size_t count = number_from(6, 64);
		fill_numerals(a, count, 10);
		memcpy(b, a, sizeof(a));
		struct hp_ff1 *fresh =
			some_ff1(10, "a domain of more than sixteen bytes");
		encrypt(used, a, count);
		encrypt(fresh, b, count);
		hp_ff1_free(&fresh);
		assert_memory_equal(a, b, count * sizeof(*a));
	}
	hp_ff1_free(&used);
}

static void another_tweak_gives_another_permutation(void **state)
{
	(void)state;
	const char *const tweaks[] = {
		"", "a", "b", "aa", "0123456789abcdef", "0123456789abcdef0"
	};
	uint16_t made[HP_ARRAY_LEN(tweaks)][20] = { 0 };
	for (size_t i = 0; i < HP_ARRAY_LEN(tweaks); i++) {
		struct hp_ff1 *ff1 = some_ff1(10, tweaks[i]);
		encrypt(ff1, made[i], 20);
		hp_ff1_free(&ff1);
		for (size_t j = 0; j < i; j++)
			assert_memory_not_equal(made[i], made[j], sizeof(made[i]));
	}
}

static void the_shortest_length_leaves_a_million_texts(void **state)
{
	(void)state;
	const struct {
		uint32_t radix;
		size_t length;
	} expected[] = { { 2, 20 },  { 10, 6 },  { 16, 5 },   { 26, 5 },
			 { 36, 4 },  { 62, 4 },  { 95, 4 },   { 99, 4 },
			 { 100, 3 }, { 999, 3 }, { 1000, 2 }, { 65536, 2 } };
	for (size_t i = 0; i < HP_ARRAY_LEN(expected); i++)
		assert_int_equal(hp_ff1_length_min(expected[i].radix),
				 expected[i].length);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_nine_samples_of_nist_come_out),
		cmocka_unit_test(decryption_undoes_encryption_for_any_radix_and_length),
		cmocka_unit_test(the_longest_and_shortest_values_come_back),
		cmocka_unit_test(different_values_stay_different),
		cmocka_unit_test(a_value_does_not_depend_on_those_before_it),
		cmocka_unit_test(another_tweak_gives_another_permutation),
		cmocka_unit_test(the_shortest_length_leaves_a_million_texts),
	};
	seed_numbers();
	return cmocka_run_group_tests_name("pseudonym_ff1", tests, NULL, NULL);
}

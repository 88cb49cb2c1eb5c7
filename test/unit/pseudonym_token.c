/* SPDX-License-Identifier: Apache-2.0 */
/* Alphabets and tokens: which there are, how long, and what an HMAC becomes. */
#include "support/fixture.h"

#include "base/memory.h"
#include "pseudonym/alphabet.h"
#include "pseudonym/token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct hp_alphabet *alphabet_of(const char *which)
{
	struct hp_alphabet *alphabet = NULL;
	hsmpool_error err;
	assert_ok(hp_alphabet_new(&alphabet, which, &err), &err);
	return alphabet;
}

/* The alphabet's characters in their order. */
static void expect_characters(const char *which, const char *characters)
{
	struct hp_alphabet *alphabet = alphabet_of(which);
	struct hp_text text = { 0 };
	hsmpool_error err;
	for (uint16_t i = 0; i < hp_alphabet_radix(alphabet); i++)
		assert_ok(hp_alphabet_write(alphabet, &i, 1, &text, &err), &err);
	assert_int_equal(text.len, strlen(characters));
	assert_memory_equal(text.data, characters, text.len);
	hp_text_clear(&text);
	hp_alphabet_free(&alphabet);
}

static void named_alphabets_are_what_the_header_says(void **state)
{
	(void)state;
	char printable[96] = "";
	for (int c = ' '; c <= '~'; c++)
		printable[c - ' '] = (char)c;
	expect_characters("digits", "0123456789");
	expect_characters("hex", "0123456789abcdef");
	expect_characters("lower", "abcdefghijklmnopqrstuvwxyz");
	expect_characters("upper", "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
	expect_characters("base32", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
	expect_characters("alnum", "0123456789abcdefghijklmnopqrstuvwxyz");
	expect_characters("base62", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "abcdefghijklmnopqrstuvwxyz");
	expect_characters("base64url", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "abcdefghijklmnopqrstuvwxyz0123456789-_");
	expect_characters("printable", printable);
}

static void characters_of_ones_own_keep_their_order(void **state)
{
	(void)state;
	expect_characters("chars:ba", "ba");
	expect_characters("chars:zürich €𝄞", "zürich €𝄞");
}

static void what_is_no_alphabet_is_refused(void **state)
{
	(void)state;
	const char *const bad[] = { "",
				    "digit",
				    "DIGITS",
				    "abc",
				    "chars:",
				    "chars:a",
				    "chars:aba",
				    "chars:ää",
				    "chars:a\nb",
				    "chars:ab\x7f",
				    "chars:ab\xc2\x85",     /* a control character */
				    "chars:ab\xc3",         /* cut off */
				    "chars:ab\xc0\x80",     /* longer than need be */
				    "chars:ab\xe0\x80\xaf", /* the same */
				    "chars:ab\xed\xa0\x80", /* half a pair of UTF-16 */
				    "chars:ab\xf4\x90\x80\x80",
				    "chars:ab\xff" };
	for (size_t i = 0; i < HP_ARRAY_LEN(bad); i++) {
		struct hp_alphabet *alphabet;
		hsmpool_error err;
		hsmpool_status status = hp_alphabet_new(&alphabet, bad[i], &err);
		if (status != HSMPOOL_ERR_USAGE)
			fail_msg("'%s': %s", bad[i], hsmpool_status_name(status));
		assert_null(alphabet);
	}
}

/* count characters from the first Chinese one on; free()d by the caller. */
static char *many_characters(size_t count)
{
	char *which = calloc(1, sizeof("chars:") + 3 * count);
	assert_non_null(which);
	memcpy(which, "chars:", 6);
	for (size_t i = 0; i < count; i++) {
		uint32_t point = 0x4e00 + (uint32_t)i;
		char *to = which + 6 + 3 * i;
		to[0] = (char)(0xe0 | point >> 12);
		to[1] = (char)(0x80 | (point >> 6 & 0x3f));
		to[2] = (char)(0x80 | (point & 0x3f));
	}
	return which;
}

static void an_alphabet_has_at_most_4096_characters(void **state)
{
	(void)state;
	hsmpool_error err;
	char *most = many_characters(HP_ALPHABET_MAX);
	char *more = many_characters(HP_ALPHABET_MAX + 1);
	struct hp_alphabet *alphabet = alphabet_of(most);
	assert_int_equal(hp_alphabet_radix(alphabet), 4096);
	hp_alphabet_free(&alphabet);
	assert_status(hp_alphabet_new(&alphabet, more, &err), HSMPOOL_ERR_USAGE);
	assert_non_null(strstr(err.text, "at most 4096"));
	free(most);
	free(more);
}

static void expect_numerals(const struct hp_alphabet *alphabet, const char *text,
			    bool is_whole, size_t count)
{
	uint16_t numerals[8];
	size_t got;
	hsmpool_bytes bytes = { (const uint8_t *)text, strlen(text) };
	assert_int_equal(hp_alphabet_read(alphabet, bytes, numerals, 8, &got), is_whole);
	assert_int_equal(got, count);
}

static void reading_stops_at_a_foreign_character(void **state)
{
	(void)state;
	struct hp_alphabet *alphabet = alphabet_of("chars:abä€");
	expect_numerals(alphabet, "", true, 0);
	expect_numerals(alphabet, "a€bä", true, 4);
	expect_numerals(alphabet, "a€bäc", false, 4);
	expect_numerals(alphabet, "aöb", false, 1);
	expect_numerals(alphabet, "ab\xe2\x82", false, 2);
	expect_numerals(alphabet, "aaaaaaaa", true, 8);
	expect_numerals(alphabet, "aaaaaaaaa", false, 8);
	hp_alphabet_free(&alphabet);
}

static hsmpool_status check_length(const char *which, uint32_t *length, bool may_be_short,
				   hsmpool_error *err)
{
	struct hp_alphabet *alphabet = alphabet_of(which);
	hsmpool_status status =
		hp_token_check_length(alphabet, length, may_be_short, err);
	hp_alphabet_free(&alphabet);
	return status;
}

static void the_usual_length_carries_128_bits(void **state)
{
	(void)state;
	const struct {
		const char *alphabet;
		uint32_t length;
	} expected[] = { { "digits", 39 },    { "hex", 32 },       { "lower", 28 },
			 { "base32", 26 },    { "alnum", 25 },     { "base62", 22 },
			 { "chars:01", 128 }, { "base64url", 22 }, { "printable", 20 } };
	for (size_t i = 0; i < HP_ARRAY_LEN(expected); i++) {
		uint32_t length = 0;
		hsmpool_error err;
		assert_ok(check_length(expected[i].alphabet, &length, false, &err), &err);
		assert_int_equal(length, expected[i].length);
	}
}

static void tokens_under_64_bits_must_be_asked_for(void **state)
{
	(void)state;
	hsmpool_error err;
	uint32_t length = 16;
	assert_ok(check_length("hex", &length, false, &err), &err);
	length = 15;
	assert_status(check_length("hex", &length, false, &err), HSMPOOL_ERR_USAGE);
	assert_ok(check_length("hex", &length, true, &err), &err);
	length = 20;
	assert_ok(check_length("digits", &length, false, &err), &err);
	length = 19;
	assert_status(check_length("digits", &length, false, &err), HSMPOOL_ERR_USAGE);
}

static void a_refused_short_token_says_when_people_are_mixed_up(void **state)
{
	(void)state;
	hsmpool_error err;
	uint32_t length = 8;
	assert_status(check_length("hex", &length, false, &err), HSMPOOL_ERR_USAGE);
	assert_non_null(strstr(err.text, "32 bits"));
	assert_non_null(strstr(err.text, "77163 values"));
	assert_non_null(strstr(err.text, "16 characters or more"));
}

static void no_token_is_longer_than_its_hmac(void **state)
{
	(void)state;
	const struct {
		const char *alphabet;
		uint32_t longest;
	} expected[] = { { "hex", 64 },      { "base32", 51 },    { "base64url", 42 },
			 { "digits", 57 },   { "chars:01", 256 }, { "base62", 32 },
			 { "printable", 29 } };
	for (size_t i = 0; i < HP_ARRAY_LEN(expected); i++) {
		hsmpool_error err;
		uint32_t length = expected[i].longest;
		assert_ok(check_length(expected[i].alphabet, &length, false, &err), &err);
		length++;
		assert_status(check_length(expected[i].alphabet, &length, true, &err),
			      HSMPOOL_ERR_USAGE);
	}
}

static void expect_token(const char *which, uint32_t length, const uint8_t mac[32],
			 const char *token)
{
	struct hp_alphabet *alphabet = alphabet_of(which);
	struct hp_text text = { 0 };
	hsmpool_error err;
	assert_ok(hp_token_write(alphabet, length, mac, &text, &err), &err);
	assert_int_equal(text.len, strlen(token));
	assert_memory_equal(text.data, token, text.len);
	hp_text_clear(&text);
	hp_alphabet_free(&alphabet);
}

/* 00 01 02 ... 1f, and the fractions that any calculator of long numbers gives. */
static void an_hmac_is_written_as_a_fraction(void **state)
{
	(void)state;
	uint8_t mac[32];
	for (size_t i = 0; i < sizeof(mac); i++)
		mac[i] = (uint8_t)i;
	expect_token("hex", 64, mac,
		     "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
	expect_token("hex", 7, mac, "0001020");
	expect_token("base32", 26, mac, "AAAQEAYEAUDAOCAJBIFQYDIOB4");
	expect_token("digits", 20, mac, "00001537870049980776");
	expect_token("base62", 22, mac, "003fEvoIsxmfnVwCMbzHtm");
	expect_token("chars:äö", 18, mac, "äääääääääääääääöää");
}

static void the_ends_of_the_range_are_first_and_last_token(void **state)
{
	(void)state;
	uint8_t mac[32];
	memset(mac, 0, sizeof(mac));
	expect_token("digits", 30, mac, "000000000000000000000000000000");
	memset(mac, 0xff, sizeof(mac));
	expect_token("digits", 30, mac, "999999999999999999999999999999");
	expect_token("chars:01234", 20, mac, "44444444444444444444");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(named_alphabets_are_what_the_header_says),
		cmocka_unit_test(characters_of_ones_own_keep_their_order),
		cmocka_unit_test(what_is_no_alphabet_is_refused),
		cmocka_unit_test(an_alphabet_has_at_most_4096_characters),
		cmocka_unit_test(reading_stops_at_a_foreign_character),
		cmocka_unit_test(the_usual_length_carries_128_bits),
		cmocka_unit_test(tokens_under_64_bits_must_be_asked_for),
		cmocka_unit_test(a_refused_short_token_says_when_people_are_mixed_up),
		cmocka_unit_test(no_token_is_longer_than_its_hmac),
		cmocka_unit_test(an_hmac_is_written_as_a_fraction),
		cmocka_unit_test(the_ends_of_the_range_are_first_and_last_token),
	};
	return cmocka_run_group_tests_name("pseudonym_token", tests, NULL, NULL);
}

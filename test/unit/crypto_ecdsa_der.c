/* SPDX-License-Identifier: Apache-2.0 */
/* ECDSA signatures in DER and back, against OpenSSL's reader: crypto/ecdsa_der.c. */
#include "support/fixture.h"

#include "crypto/ecdsa_der.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <string.h>

static uint32_t random_state = 0x2545f491;

static uint8_t random_byte(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return (uint8_t)(random_state >> 11);
}

static void fill(uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		data[i] = random_byte();
}

/* What OpenSSL makes of it: true and the numbers, if it takes it as the one encoding. */
static bool openssl_reads(const uint8_t *der, size_t len, size_t number_len, uint8_t *raw)
{
	const uint8_t *at = der;
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)len);
	uint8_t *again = NULL;
	int again_len = sig ? i2d_ECDSA_SIG(sig, &again) : -1;
	bool is_strict = sig && again_len == (int)len && memcmp(again, der, len) == 0;
	bool fits = is_strict &&
		    BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, (int)number_len) >= 0 &&
		    BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + number_len,
				 (int)number_len) >= 0 &&
		    !BN_is_negative(ECDSA_SIG_get0_r(sig)) &&
		    !BN_is_negative(ECDSA_SIG_get0_s(sig)) &&
		    !BN_is_zero(ECDSA_SIG_get0_r(sig)) &&
		    !BN_is_zero(ECDSA_SIG_get0_s(sig));
	OPENSSL_free(again);
	ECDSA_SIG_free(sig);
	return fits;
}

static void every_length_of_number_goes_there_and_back(void **state)
{
	(void)state;
	for (size_t number_len = 1; number_len <= HP_ECDSA_NUMBER_MAX; number_len++) {
		uint8_t raw[2 * HP_ECDSA_NUMBER_MAX], back[2 * HP_ECDSA_NUMBER_MAX];
		uint8_t der[HP_ECDSA_DER_MAX], by_openssl[2 * HP_ECDSA_NUMBER_MAX];
		size_t der_len, back_len;
		fill(raw, sizeof(raw));
		raw[0] = number_len % 2 ? 0x80 : 0x7f;
		memset(raw + number_len, 0, number_len / 2); /* leading zeros in s */
		assert_true(hp_ecdsa_to_der(raw, 2 * number_len, der, &der_len));
		assert_true(der_len <= hp_ecdsa_der_max(8 * number_len));
		assert_true(openssl_reads(der, der_len, number_len, by_openssl));
		assert_memory_equal(by_openssl, raw, 2 * number_len);
		assert_true(hp_ecdsa_from_der(der, der_len, number_len, back, &back_len));
		assert_int_equal(back_len, 2 * number_len);
		assert_memory_equal(back, raw, back_len);
	}
}

static void the_longest_signatures_are_as_long_as_promised(void **state)
{
	(void)state;
	assert_int_equal(hp_ecdsa_der_max(256), 72);
	assert_int_equal(hp_ecdsa_der_max(384), 104);
	assert_int_equal(hp_ecdsa_der_max(521), 139);
}

static void raw_signatures_of_odd_lengths_are_refused(void **state)
{
	(void)state;
	uint8_t raw[2 * HP_ECDSA_NUMBER_MAX + 2] = { 0 }, der[HP_ECDSA_DER_MAX];
	size_t len;
	assert_false(hp_ecdsa_to_der(raw, 0, der, &len));
	assert_false(hp_ecdsa_to_der(raw, 63, der, &len));
	assert_false(hp_ecdsa_to_der(raw, sizeof(raw), der, &len));
}

/* A number whose field's size is not known gets one that is in use. */
static void an_unknown_field_gets_the_least_usual_length(void **state)
{
	(void)state;
	uint8_t raw[2 * HP_ECDSA_NUMBER_MAX], der[HP_ECDSA_DER_MAX];
	size_t len, raw_len;
	memset(raw, 0x11, sizeof(raw));
	assert_true(hp_ecdsa_to_der(raw, 2 * 31, der, &len));
	assert_true(hp_ecdsa_from_der(der, len, 0, raw, &raw_len));
	assert_int_equal(raw_len, 64);
	assert_true(hp_ecdsa_to_der(raw, 2 * 65, der, &len));
	assert_true(hp_ecdsa_from_der(der, len, 0, raw, &raw_len));
	assert_int_equal(raw_len, 132);
}

/* Agree on one mutated encoding: what OpenSSL refuses we refuse, and the other way. */
static void compare_readers(const uint8_t *der, size_t len, size_t number_len)
{
	uint8_t ours[2 * HP_ECDSA_NUMBER_MAX], theirs[2 * HP_ECDSA_NUMBER_MAX];
	size_t ours_len;
	bool we_read = hp_ecdsa_from_der(der, len, number_len, ours, &ours_len);
	bool they_read = openssl_reads(der, len, number_len, theirs);
	assert_int_equal(we_read, they_read);
	if (we_read)
		assert_memory_equal(ours, theirs, ours_len);
}

static void mutilated_encodings_are_judged_as_openssl_judges_them(void **state)
{
	(void)state;
	static const size_t lengths[] = { 32, 48, 66 };
	for (int round = 0; round < 30000; round++) {
		size_t number_len = lengths[round % 3];
		uint8_t raw[2 * HP_ECDSA_NUMBER_MAX], der[HP_ECDSA_DER_MAX + 4] = { 0 };
		size_t len;
		fill(raw, 2 * number_len);
		if (number_len == 66)
			raw[0] = 1;
		assert_true(hp_ecdsa_to_der(raw, 2 * number_len, der, &len));
		size_t at = random_byte() % (round % 2 ? len : 8);
		if (round % 5)
			der[at] ^= (uint8_t)(1u << random_byte() % 8);
		else
			der[at] = random_byte();
		if (round % 7 == 0)
			len -= random_byte() % 4;
		if (round % 11 == 0)
			len += random_byte() % 4;
		compare_readers(der, len, number_len);
	}
}

/* Of no length that is known they would be a signature of no bytes. */
static void numbers_that_are_zero_are_refused(void **state)
{
	static const uint8_t both[] = { 0x30, 6, 2, 1, 0, 2, 1, 0 };
	static const uint8_t one[] = { 0x30, 6, 2, 1, 1, 2, 1, 0 };
	uint8_t raw[2 * HP_ECDSA_NUMBER_MAX];
	size_t len;
	(void)state;
	assert_false(hp_ecdsa_from_der(both, sizeof(both), 0, raw, &len));
	assert_false(hp_ecdsa_from_der(both, sizeof(both), 32, raw, &len));
	assert_false(hp_ecdsa_from_der(one, sizeof(one), 32, raw, &len));
}

static void every_truncation_is_refused(void **state)
{
	(void)state;
	uint8_t raw[2 * HP_ECDSA_NUMBER_MAX], der[HP_ECDSA_DER_MAX];
	size_t len, raw_len;
	fill(raw, 64);
	assert_true(hp_ecdsa_to_der(raw, 64, der, &len));
	for (size_t cut = 0; cut < len; cut++) {
		uint8_t exact[HP_ECDSA_DER_MAX]; /* ASan sees a read behind it */
		memcpy(exact + sizeof(exact) - cut, der, cut);
		assert_false(hp_ecdsa_from_der(exact + sizeof(exact) - cut, cut, 32, raw,
					       &raw_len));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_length_of_number_goes_there_and_back),
		cmocka_unit_test(the_longest_signatures_are_as_long_as_promised),
		cmocka_unit_test(raw_signatures_of_odd_lengths_are_refused),
		cmocka_unit_test(an_unknown_field_gets_the_least_usual_length),
		cmocka_unit_test(mutilated_encodings_are_judged_as_openssl_judges_them),
		cmocka_unit_test(numbers_that_are_zero_are_refused),
		cmocka_unit_test(every_truncation_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* See token.h. No state, no lock. Numbers are limbs of 32 bits, the lowest first. */
#include "pseudonym/token.h"
#include <inttypes.h>
#include "base/error.h"
#include "base/memory.h"

enum {
	BITS_USUAL = 128,
	BITS_SHORT = 64, /* fewer: only if asked for */
	BITS_FAIR = 192, /* leaves 64 bits of the HMAC to be fair with */
	BITS_EXACT = 256,
	LIMB_BITS = 32,
	LIMBS = HP_TOKEN_MAC_LEN * 8 / LIMB_BITS
};

/* n becomes the low limbs of n * factor; the rest is returned. */
static uint32_t multiply(uint32_t n[LIMBS], uint32_t factor)
{
	uint64_t carry = 0;
	for (size_t i = 0; i < LIMBS; i++) {
		carry += (uint64_t)n[i] * factor;
		n[i] = (uint32_t)carry;
		carry >>= LIMB_BITS;
	}
	return (uint32_t)carry;
}

/* How many tokens there are: n of them. False: 2^256 or more. */
static bool count_tokens(uint32_t radix, uint32_t length, uint32_t n[LIMBS])
{
	n[0] = 1;
	for (size_t i = 1; i < LIMBS; i++)
		n[i] = 0;
	for (uint32_t i = 0; i < length; i++)
		if (multiply(n, radix) > 0)
			return false;
	return true;
}

/* Whole bits that a token carries, up to 256. */
static unsigned carried_bits(uint32_t radix, uint32_t length)
{
	uint32_t n[LIMBS];
	if (!count_tokens(radix, length, n))
		return BITS_EXACT;
	unsigned i = LIMBS - 1;
	while (n[i] == 0)
		i--;
	return LIMB_BITS * i + LIMB_BITS - 1 - (unsigned)__builtin_clz(n[i]);
}

static uint32_t least_length(uint32_t radix, unsigned bits)
{
	uint32_t length = 1;
	while (carried_bits(radix, length) < bits)
		length++;
	return length;
}

/* The HMAC's 256 bits are all there is to write; where they do not divide evenly, some
 * of them are kept back. */
static uint32_t greatest_length(uint32_t radix)
{
	bool is_even = (radix & (radix - 1)) == 0;
	if (is_even)
		return BITS_EXACT / (uint32_t)__builtin_ctz(radix);
	return least_length(radix, BITS_FAIR) - 1;
}

static uint64_t square_root(uint64_t n)
{
	uint64_t root = 0;
	for (uint64_t bit = UINT64_C(1) << 31; bit > 0; bit >>= 1)
		if ((root + bit) * (root + bit) <= n)
			root += bit;
	return root;
}

/* Birthdays: among 1.1774 * sqrt(n) values of n two are equal with a chance of a half. */
static hsmpool_status refuse_short(uint32_t radix, uint32_t length, hsmpool_error *err)
{
	uint32_t n[LIMBS];
	count_tokens(radix, length, n);
	return hp_fail(err, HSMPOOL_ERR_USAGE,
		       "tokens of %" PRIu32 " characters carry %u bits: among %" PRIu64
		       " values two get the same token as likely as not, and whom they "
		       "belong to is mixed up. Take %" PRIu32
		       " characters or more, or allow short tokens on purpose (--force)",
		       length, carried_bits(radix, length),
		       square_root((uint64_t)n[1] << LIMB_BITS | n[0]) * 11774 / 10000 +
			       1,
		       least_length(radix, BITS_SHORT));
}

hsmpool_status hp_token_check_length(const struct hp_alphabet *alphabet, uint32_t *length,
				     bool may_be_short, hsmpool_error *err)
{
	uint32_t radix = hp_alphabet_radix(alphabet);
	if (*length == 0)
		*length = least_length(radix, BITS_USUAL);
	HP_CHECK(*length <= greatest_length(radix), err, HSMPOOL_ERR_USAGE,
		 "a token of this alphabet has at most %" PRIu32
		 " characters: more than one HMAC has to say would be for show",
		 greatest_length(radix));
	if (carried_bits(radix, *length) < BITS_SHORT && !may_be_short)
		return refuse_short(radix, *length, err);
	return HSMPOOL_OK;
}

hsmpool_status hp_token_write(const struct hp_alphabet *alphabet, uint32_t length,
			      const uint8_t mac[HP_TOKEN_MAC_LEN], struct hp_text *out,
			      hsmpool_error *err)
{
	uint16_t numerals[HP_TOKEN_LENGTH_MAX];
	uint32_t fraction[LIMBS];
	for (size_t i = 0; i < LIMBS; i++)
		fraction[i] = hp_get_be32(mac + 4 * (LIMBS - 1 - i));
	for (uint32_t i = 0; i < length; i++)
		numerals[i] = (uint16_t)multiply(fraction, hp_alphabet_radix(alphabet));
	return hp_alphabet_write(alphabet, numerals, length, out, err);
}

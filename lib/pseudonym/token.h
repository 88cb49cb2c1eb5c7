/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens: an HMAC written with the characters of an alphabet.
 *
 * Owns: how long a token may and should be, and the conversion. Must not: make HMACs.
 *
 * The HMAC is read as a fraction between 0 and 1, of which the token is the first digits
 * to the base of the alphabet: with "hex" its first hexadecimal digits. Of the tokens no
 * one is likelier than another by more than one part in 2^64; where the alphabet has 2^k
 * characters all are equally likely.
 */
#ifndef HP_PSEUDONYM_TOKEN_H
#define HP_PSEUDONYM_TOKEN_H

#include <stdbool.h>
#include "pseudonym/alphabet.h"

enum {
	HP_TOKEN_MAC_LEN = 32,
	HP_TOKEN_LENGTH_MAX = 256 /* of two characters */
};

/* *length 0 becomes the fewest characters that carry 128 bits. USAGE: it carries more
 * than the HMAC gives; or fewer than 64 bits, and that is not allowed. */
hsmpool_status hp_token_check_length(const struct hp_alphabet *alphabet, uint32_t *length,
				     bool may_be_short, hsmpool_error *err);

hsmpool_status hp_token_write(const struct hp_alphabet *alphabet, uint32_t length,
			      const uint8_t mac[HP_TOKEN_MAC_LEN], struct hp_text *out,
			      hsmpool_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alphabets: characters, UTF-8 ones too, and their numbers.
 *
 * Read-only once made. A character is a code point: what looks the same but is written
 * with other code points is another text, nothing is normalised.
 */
#ifndef HP_PSEUDONYM_ALPHABET_H
#define HP_PSEUDONYM_ALPHABET_H

#include <stdbool.h>
#include <hsmpool/status.h>
#include "pseudonym/text.h"

enum { HP_ALPHABET_MAX = 4096 /* characters */ };

struct hp_alphabet;

/* By the names of <hsmpool/pseudonym.h>, or "chars:...". USAGE: neither; or fewer than
 * two characters, one of them twice, control characters, not UTF-8. */
hsmpool_status hp_alphabet_new(struct hp_alphabet **out, const char *which,
			       hsmpool_error *err);
void hp_alphabet_free(struct hp_alphabet **alphabet);

/* How many characters. */
uint32_t hp_alphabet_radix(const struct hp_alphabet *alphabet);

/* The numbers of text's characters; *count of them. False: there is another character
 * in it, the one after the *count that were read, or there are more than cap. */
bool hp_alphabet_read(const struct hp_alphabet *alphabet, hsmpool_bytes text,
		      uint16_t *numerals, size_t cap, size_t *count);

/* Append the characters of these numbers, each below the radix. */
hsmpool_status hp_alphabet_write(const struct hp_alphabet *alphabet,
				 const uint16_t *numerals, size_t count,
				 struct hp_text *out, hsmpool_error *err);

#endif

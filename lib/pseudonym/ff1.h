/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FF1 of NIST SP 800-38G: a permutation of the texts of one length, under an AES key.
 *
 * Owns: the algorithm on numerals, on OpenSSL's AES and BIGNUM. Must not: know characters
 * or the HSM. One struct hp_ff1 is one thread's; nothing is allocated per value.
 *
 * How long a call takes depends on the numerals (BIGNUM's division does): whoever can
 * time single values from outside may learn about them. Nothing in FF1 hides that a value
 * occurs twice.
 */
#ifndef HP_PSEUDONYM_FF1_H
#define HP_PSEUDONYM_FF1_H

#include <stdbool.h>
#include <hsmpool/status.h>

enum {
	HP_FF1_RADIX_MIN = 2,
	HP_FF1_RADIX_MAX = 65536,
	HP_FF1_LENGTH_MAX = 1024,
	/* Fewer texts than that can be tried out (revision 1 of SP 800-38G asks for it).
	 */
	HP_FF1_TEXTS_MIN = 1000000
};

struct hp_ff1;

/* key_len: 16, 24 or 32; the tweak is copied, as is the key (into OpenSSL's AES context,
 * which wipes it when freed). SYSTEM: no memory, or OpenSSL offers no AES. */
hsmpool_status hp_ff1_new(struct hp_ff1 **out, const uint8_t *key, size_t key_len,
			  uint32_t radix, hsmpool_bytes tweak, hsmpool_error *err);
void hp_ff1_free(struct hp_ff1 **ff1);

/* The fewest numerals with HP_FF1_TEXTS_MIN texts of that length. */
size_t hp_ff1_length_min(uint32_t radix);

/* In place: count numerals, each below the radix; count from hp_ff1_length_min() to
 * HP_FF1_LENGTH_MAX. SYSTEM: OpenSSL has no memory. */
hsmpool_status hp_ff1_encrypt(struct hp_ff1 *ff1, uint16_t *numerals, size_t count,
			      hsmpool_error *err);
hsmpool_status hp_ff1_decrypt(struct hp_ff1 *ff1, uint16_t *numerals, size_t count,
			      hsmpool_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the HSM is asked: inputs of its HMAC, each for one purpose.
 *
 *   input = label || 00 || length of the domain (4 bytes, big-endian) || domain || rest
 *
 * A label holds no zero byte, so inputs of two labels differ, and those of two domains:
 * no token is the HMAC that a key is made of. docs/pseudonyms.md; never change one.
 */
#ifndef HP_PSEUDONYM_KEYED_H
#define HP_PSEUDONYM_KEYED_H

#include <stdbool.h>
#include <hsmpool/key.h>
#include "pseudonym/text.h"

#define HP_LABEL_TOKEN   "hsmpool v1 pseudonym token" /* rest: the value */
#define HP_LABEL_FF1_KEY "hsmpool v1 pseudonym FF1 key"
#define HP_LABEL_TRIAL   "hsmpool v1 pseudonym trial"

enum {
	HP_KEYED_LEN = 32,      /* HMAC-SHA-256 */
	HP_KEYED_BITS_MIN = 112 /* of the key: NIST SP 800-131A */
};

/* Append all but the rest. */
hsmpool_status hp_keyed_begin(struct hp_text *input, const char *label,
			      hsmpool_bytes domain, hsmpool_error *err);

hsmpool_status hp_keyed_mac(hsmpool *pool, hsmpool_key *key, const struct hp_text *input,
			    uint8_t mac[HP_KEYED_LEN], hsmpool_deadline deadline,
			    hsmpool_error *err);

/* Whether the key can do it at all, and is long enough: KEY. One HMAC. */
hsmpool_status hp_keyed_check(hsmpool *pool, hsmpool_key *key, hsmpool_deadline deadline,
			      hsmpool_error *err);

/*
 * Whether the token computes on this machine's own processors, as SoftHSM2 does, shown by
 * a few HMACs: the time that passed in one was mostly time of a processor. A real HSM
 * computes elsewhere: whoever asks it waits.
 */
bool hp_keyed_is_local(hsmpool *pool, hsmpool_key *key, hsmpool_deadline deadline);

#endif

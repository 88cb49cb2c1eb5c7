/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pool's token was found to have, so that the hot path need not try it out.
 *
 * Lies in the pool's attachment, all zero at the start. Atomics only, relaxed: two
 * threads may both ask the token at the first use and will store the same answer.
 */
#ifndef HP_CRYPTO_TOKEN_FACTS_H
#define HP_CRYPTO_TOKEN_FACTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "crypto/key.h"
#include "crypto/scheme.h"

enum hp_token_has { HP_TOKEN_HAS_UNKNOWN, HP_TOKEN_HAS_IT, HP_TOKEN_HAS_NOT };

struct hp_token_facts {
	/* by C_GetMechanismInfo: the mechanism that hashes and signs, or verifies */
	_Atomic uint8_t signs[HP_SCHEME_COUNT];
	_Atomic uint8_t verifies[HP_SCHEME_COUNT];
	/* by an encryption in the token: OAEP with this hash, without and with a label */
	_Atomic uint8_t oaep[HP_SCHEME_COUNT][2];
	/* the last IV that the HSM made, in the place of its key */
	_Atomic uint64_t last_iv[64];
};

/* Those of the pool. NULL if lib/crypto did not open it. */
struct hp_token_facts *hp_token_facts_of(const hsmpool *pool);

/* Whether the token has the mechanism that hashes and signs (or verifies). One module
 * call at the first use, an atomic load from then on. */
bool hp_token_hashes_itself(hsmpool *pool, const struct hp_scheme *scheme, bool to_sign);

/* OAEP with the scheme's hash. UNKNOWN too for such a pool. */
enum hp_token_has hp_token_has_oaep(const hsmpool *pool, const struct hp_scheme *scheme,
				    bool has_label);
void hp_token_note_oaep(const hsmpool *pool, const struct hp_scheme *scheme,
			bool has_label, enum hp_token_has has);

/* Take note of a 96-bit IV that the HSM made with key; false if it is all zero or the
 * one before, or cannot be noted. */
bool hp_token_iv_is_new(const hsmpool *pool, const hsmpool_key *key, const uint8_t *iv);

#endif

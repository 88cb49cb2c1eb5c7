/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking the token once what it has.
 *
 * Owns: the reading and writing of struct hp_token_facts. Must not: use a session or
 * lock; C_GetMechanismInfo is a call on the slot.
 */
#include "crypto/token_facts.h"

#include <string.h>
#include "base/memory.h"
#include "crypto/attachment.h"
#include "p11/token.h"

#define IV_LEN 12

struct hp_token_facts *hp_token_facts_of(const hsmpool *pool)
{
	struct hp_attachment *attachment = hp_attachment_of(pool);
	return attachment ? &attachment->token_facts : NULL;
}

/* A failure to answer is no answer: the mechanism is taken for present, unremembered. */
static enum hp_token_has ask_token(hsmpool *pool, CK_MECHANISM_TYPE type, CK_FLAGS use)
{
	struct hp_token token;
	CK_MECHANISM_INFO info = { 0 };
	hp_pool_token(pool, &token);
	CK_RV rv = hp_token_mechanism_info(&token, type, &info);
	if (rv == CKR_OK)
		return info.flags & use ? HP_TOKEN_HAS_IT : HP_TOKEN_HAS_NOT;
	return rv == CKR_MECHANISM_INVALID ? HP_TOKEN_HAS_NOT : HP_TOKEN_HAS_UNKNOWN;
}

bool hp_token_hashes_itself(hsmpool *pool, const struct hp_scheme *scheme, bool to_sign)
{
	struct hp_token_facts *facts = hp_token_facts_of(pool);
	if (!facts)
		return true;
	_Atomic uint8_t *known =
		to_sign ? &facts->signs[scheme->index] : &facts->verifies[scheme->index];
	uint8_t has = atomic_load_explicit(known, memory_order_relaxed);
	if (has == HP_TOKEN_HAS_UNKNOWN) {
		has = (uint8_t)ask_token(pool, scheme->entry->mechanism,
					 to_sign ? CKF_SIGN : CKF_VERIFY);
		atomic_store_explicit(known, has, memory_order_relaxed);
	}
	return has != HP_TOKEN_HAS_NOT;
}

enum hp_token_has hp_token_has_oaep(const hsmpool *pool, const struct hp_scheme *scheme,
				    bool has_label)
{
	struct hp_token_facts *facts = hp_token_facts_of(pool);
	if (!facts)
		return HP_TOKEN_HAS_UNKNOWN;
	return atomic_load_explicit(&facts->oaep[scheme->index][has_label],
				    memory_order_relaxed);
}

void hp_token_note_oaep(const hsmpool *pool, const struct hp_scheme *scheme,
			bool has_label, enum hp_token_has has)
{
	struct hp_token_facts *facts = hp_token_facts_of(pool);
	if (facts)
		atomic_store_explicit(&facts->oaep[scheme->index][has_label], has,
				      memory_order_relaxed);
}

/* The key's address is mixed in, so that two keys whose counters run alike are told
 * apart. */
bool hp_token_iv_is_new(const hsmpool *pool, const hsmpool_key *key, const uint8_t *iv)
{
	static const uint8_t zeros[IV_LEN];
	struct hp_token_facts *facts = hp_token_facts_of(pool);
	if (!facts || memcmp(iv, zeros, IV_LEN) == 0)
		return false;
	uint64_t mix = (uint64_t)(uintptr_t)key * UINT64_C(0x9e3779b97f4a7c15);
	uint64_t value = hp_get_be64(iv + 4) ^ hp_get_be32(iv) ^ mix;
	_Atomic uint64_t *last = &facts->last_iv[mix >> 58];
	return atomic_exchange_explicit(last, value, memory_order_relaxed) != value;
}

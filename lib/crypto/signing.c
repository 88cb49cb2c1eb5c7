/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is signed, and in which form signatures travel.
 *
 * Owns: the choice of where to hash, DigestInfo, cutting digests for small curves, DER
 * for ECDSA, the lengths of signatures. Must not: make a call on a session.
 */
#include "crypto/signing.h"

#include <assert.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "crypto/ecdsa_der.h"
#include "crypto/token_facts.h"

#define ED25519_SIGNATURE 64

/* --- the input ------------------------------------------------------------------- */

static bool wants_digest(const struct hp_scheme *scheme, hsmpool *pool,
			 enum hp_signing_use use)
{
	if (scheme->entry->family == HP_FAMILY_EDDSA)
		return false;
	return hp_scheme_takes_digest(scheme) ||
	       scheme->entry->family == HP_FAMILY_ECDSA || use == HP_SIGNING_OFFLOAD ||
	       !hp_token_hashes_itself(pool, scheme, use == HP_SIGNING_SIGN);
}

hsmpool_status hp_signing_parse(struct hp_signing *signing, hsmpool *pool,
				enum hp_signing_use use, const char *scheme,
				hsmpool_error *err)
{
	HP_TRY(hp_scheme_parse(HP_SCHEME_SIGNATURE, scheme, &signing->scheme, err));
	HP_TRY(hp_pool_check_usable(pool, err)); /* before the token is asked */
	signing->is_bare = wants_digest(&signing->scheme, pool, use);
	signing->input = (hsmpool_bytes){ 0 };
	signing->info_len = 0;
	signing->digest_len = 0;
	return HSMPOOL_OK;
}

void hp_signing_set_digest(struct hp_signing *signing, const uint8_t *digest)
{
	const struct hp_scheme_entry *entry = signing->scheme.entry;
	const struct hp_hash_info *hash = hp_hash_info(entry->hash);
	assert(signing->is_bare);
	if (entry->family == HP_FAMILY_RSA_PKCS1) {
		signing->info_len = hash->prefix_len;
		memcpy(signing->bare, hash->prefix, hash->prefix_len);
	}
	memcpy(signing->bare + signing->info_len, digest, hash->size);
	signing->digest_len = hash->size;
	signing->input.data = signing->bare;
	signing->input.len = signing->info_len + hash->size;
}

static hsmpool_status take_digest(struct hp_signing *signing, hsmpool_bytes digest,
				  hsmpool_error *err)
{
	const struct hp_scheme_entry *entry = signing->scheme.entry;
	size_t size = hp_hash_info(entry->hash)->size;
	HP_CHECK(digest.len == size, err, HSMPOOL_ERR_USAGE,
		 "scheme %s:digest takes a digest of %zu bytes, not %zu", entry->name,
		 size, digest.len);
	hp_signing_set_digest(signing, digest.data);
	return HSMPOOL_OK;
}

hsmpool_status hp_signing_prepare(struct hp_signing *signing, hsmpool *pool,
				  enum hp_signing_use use, const char *scheme,
				  hsmpool_bytes message, hsmpool_error *err)
{
	uint8_t digest[HP_HASH_MAX];
	HP_TRY(hp_signing_parse(signing, pool, use, scheme, err));
	if (!signing->is_bare) {
		signing->input = message;
		return HSMPOOL_OK;
	}
	if (hp_scheme_takes_digest(&signing->scheme))
		return take_digest(signing, message, err);
	HP_TRY(hp_hash_message(signing->scheme.entry->hash, message, digest, err));
	hp_signing_set_digest(signing, digest);
	return HSMPOOL_OK;
}

CK_MECHANISM_TYPE hp_signing_mechanism(const struct hp_signing *signing)
{
	const struct hp_scheme_entry *entry = signing->scheme.entry;
	return signing->is_bare ? entry->bare_mechanism : entry->mechanism;
}

hsmpool_bytes hp_signing_digest(const struct hp_signing *signing)
{
	return (hsmpool_bytes){ signing->bare + signing->info_len, signing->digest_len };
}

hsmpool_bytes hp_signing_input(const struct hp_signing *signing,
			       const struct hp_key_facts *facts)
{
	hsmpool_bytes input = signing->input;
	size_t order = hp_key_bytes(facts);
	bool is_cut = signing->scheme.entry->family == HP_FAMILY_ECDSA && order > 0 &&
		      facts->bits % 8 == 0 && input.len > order;
	if (is_cut)
		input.len = order;
	return input;
}

/* --- the key --------------------------------------------------------------------- */

/* RFC 8017, 9.1.1: hash, salt and two bytes must fit the encoded message. */
static hsmpool_status check_salt(const struct hp_signing *signing,
				 const struct hp_key_facts *facts, hsmpool_error *err)
{
	if (signing->scheme.entry->family != HP_FAMILY_RSA_PSS || facts->bits == 0)
		return HSMPOOL_OK;
	size_t encoded = ((size_t)facts->bits + 6) / 8;
	size_t used = hp_hash_info(signing->scheme.entry->hash)->size + 2;
	HP_CHECK(used + signing->scheme.salt_len <= encoded, err, HSMPOOL_ERR_USAGE,
		 "scheme %s: a salt of %u bytes does not fit an RSA key of %u bits",
		 signing->scheme.entry->name, signing->scheme.salt_len, facts->bits);
	return HSMPOOL_OK;
}

hsmpool_status hp_signing_check_key(const struct hp_signing *signing,
				    const hsmpool_key *key, enum hp_key_role role,
				    const struct hp_key_facts *facts, hsmpool_error *err)
{
	HP_TRY(hp_mechanism_check_key(&signing->scheme, key, role, facts, err));
	return check_salt(signing, facts, err);
}

enum hp_retry hp_signing_retry(const struct hp_signing *signing)
{
	switch (signing->scheme.entry->family) {
	case HP_FAMILY_RSA_PKCS1:
	case HP_FAMILY_EDDSA:
		return HP_RETRY_SIGNATURE_DETERMINISTIC;
	default:
		return HP_RETRY_SIGNATURE_RANDOMISED;
	}
}

/* --- the signature ----------------------------------------------------------------- */

static bool is_der(const struct hp_signing *signing)
{
	return signing->scheme.entry->family == HP_FAMILY_ECDSA &&
	       !hp_scheme_is_raw(&signing->scheme);
}

/* Bytes of the signature that the token makes; 0 if it does not tell the key's size. */
static size_t raw_length(const struct hp_signing *signing,
			 const struct hp_key_facts *facts)
{
	switch (signing->scheme.entry->family) {
	case HP_FAMILY_EDDSA:
		return ED25519_SIGNATURE;
	case HP_FAMILY_ECDSA:
		return 2 * hp_key_bytes(facts);
	default:
		return hp_key_bytes(facts);
	}
}

/* The longest form in which it reaches the caller. */
static size_t longest(const struct hp_signing *signing, const struct hp_key_facts *facts)
{
	if (is_der(signing))
		return facts->bits ? hp_ecdsa_der_max(facts->bits) : HP_ECDSA_DER_MAX;
	size_t len = raw_length(signing, facts);
	return len ? len : HP_SIGNATURE_MAX;
}

hsmpool_status hp_signing_check_room(const struct hp_signing *signing,
				     const struct hp_key_facts *facts, hsmpool_buf *out,
				     hsmpool_error *err)
{
	bool is_known = raw_length(signing, facts) > 0;
	if (out && out->data && !is_known)
		return HSMPOOL_OK; /* it may fit: only the token knows */
	return hp_buf_need(out, longest(signing, facts), err);
}

hsmpool_status hp_signing_deliver(const struct hp_signing *signing, const uint8_t *raw,
				  size_t raw_len, hsmpool_buf *out, hsmpool_error *err)
{
	uint8_t der[HP_ECDSA_DER_MAX];
	if (is_der(signing)) {
		HP_CHECK(hp_ecdsa_to_der(raw, raw_len, der, &raw_len), err,
			 HSMPOOL_ERR_DOWN,
			 "the module made an ECDSA signature of %zu bytes, which is none",
			 raw_len);
		raw = der;
	}
	HP_TRY(hp_buf_need(out, raw_len, err));
	if (raw_len > 0)
		memcpy(out->data, raw, raw_len);
	out->len = raw_len;
	return HSMPOOL_OK;
}

bool hp_signing_read(const struct hp_signing *signing, const struct hp_key_facts *facts,
		     hsmpool_bytes signature, uint8_t *raw, hsmpool_bytes *result)
{
	size_t expected = raw_length(signing, facts);
	if (is_der(signing)) {
		result->data = raw;
		return hp_ecdsa_from_der(signature.data, signature.len, expected / 2, raw,
					 &result->len);
	}
	*result = signature;
	return expected ? signature.len == expected : signature.len > 0;
}

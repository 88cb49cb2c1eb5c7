/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One signature or verification, prepared: what the token gets, what it gives.
 *
 * Shared by sign.c, offload.c and multipart.c. Decides where the message is hashed: in
 * the token where it has the mechanism, here otherwise and always for ECDSA.
 */
#ifndef HP_CRYPTO_SIGNING_H
#define HP_CRYPTO_SIGNING_H

#include <hsmpool/crypto.h>
#include "crypto/mechanism.h"

enum hp_signing_use {
	HP_SIGNING_SIGN,
	HP_SIGNING_VERIFY,
	HP_SIGNING_OFFLOAD, /* verification here: hashed here too */
};

struct hp_signing {
	struct hp_scheme scheme;
	bool is_bare;        /* the token gets a digest, not the message */
	hsmpool_bytes input; /* what it gets; points into bare[] or is the message */
	size_t info_len;     /* bytes of DigestInfo in front of the digest in bare[] */
	size_t digest_len;
	uint8_t bare[HP_DIGEST_INFO_MAX + HP_HASH_MAX];
};

/* signing points into itself: do not move it. USAGE: scheme, or a digest's length. */
hsmpool_status hp_signing_prepare(struct hp_signing *signing, hsmpool *pool,
				  enum hp_signing_use use, const char *scheme,
				  hsmpool_bytes message, hsmpool_error *err);

/* The scheme alone; then, for a message hashed elsewhere, its digest. */
hsmpool_status hp_signing_parse(struct hp_signing *signing, hsmpool *pool,
				enum hp_signing_use use, const char *scheme,
				hsmpool_error *err);
void hp_signing_set_digest(struct hp_signing *signing, const uint8_t *digest);

/* What the token is asked for. */
CK_MECHANISM_TYPE hp_signing_mechanism(const struct hp_signing *signing);

/* The digest in bare[]. */
hsmpool_bytes hp_signing_digest(const struct hp_signing *signing);

/* KEY: another type of key. USAGE: the salt does not fit. */
hsmpool_status hp_signing_check_key(const struct hp_signing *signing,
				    const hsmpool_key *key, enum hp_key_role role,
				    const struct hp_key_facts *facts, hsmpool_error *err);

/* What C_Sign gets: a digest longer than the curve's order is cut. */
hsmpool_bytes hp_signing_input(const struct hp_signing *signing,
			       const struct hp_key_facts *facts);

enum hp_retry hp_signing_retry(const struct hp_signing *signing);

/* SPACE unless out has room for the longest signature that can come of it. */
hsmpool_status hp_signing_check_room(const struct hp_signing *signing,
				     const struct hp_key_facts *facts, hsmpool_buf *out,
				     hsmpool_error *err);

/* The token's signature, as the scheme wants it, to the caller. */
hsmpool_status hp_signing_deliver(const struct hp_signing *signing, const uint8_t *raw,
				  size_t raw_len, hsmpool_buf *out, hsmpool_error *err);

/* A signature as the token wants to see it: into raw[], or the caller's own bytes.
 * False: it cannot be one of this key. */
bool hp_signing_read(const struct hp_signing *signing, const struct hp_key_facts *facts,
		     hsmpool_bytes signature, uint8_t *raw, hsmpool_bytes *result);

#endif

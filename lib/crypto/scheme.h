/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schemes by name: one table of what there is, and the parser of NAME[:OPTION,...].
 *
 * A name is parsed at each operation, so parsing allocates nothing, locks nothing and
 * costs a few comparisons. How a scheme becomes a CK_MECHANISM is mechanism.h's.
 */
#ifndef HP_CRYPTO_SCHEME_H
#define HP_CRYPTO_SCHEME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hsmpool/status.h>
#include "crypto/hash.h"

enum hp_scheme_kind {
	HP_SCHEME_CIPHER,
	HP_SCHEME_SIGNATURE,
	HP_SCHEME_MAC,
	HP_SCHEME_DIGEST,
	HP_SCHEME_KIND_COUNT
};

enum hp_family {
	HP_FAMILY_AES_GCM,
	HP_FAMILY_AES_CBC_PAD,
	HP_FAMILY_AES_CBC,
	HP_FAMILY_AES_CTR,
	HP_FAMILY_RSA_OAEP,
	HP_FAMILY_RSA_PKCS1, /* encryption and signature */
	HP_FAMILY_RSA_PSS,
	HP_FAMILY_ECDSA,
	HP_FAMILY_EDDSA,
	HP_FAMILY_HMAC,
	HP_FAMILY_CMAC,
	HP_FAMILY_DIGEST,
};

/* Options that a scheme understands, as bits. */
enum {
	HP_SCHEME_RAW = 1u << 0,       /* raw: r || s instead of DER */
	HP_SCHEME_DIGEST_IN = 1u << 1, /* digest: the message is the digest already */
	HP_SCHEME_SALT = 1u << 2,      /* salt=N bytes */
	HP_SCHEME_TAG = 1u << 3,       /* tag=N bytes */
};

/* One line of the table. */
struct hp_scheme_entry {
	const char *name;
	uint8_t name_len;
	uint8_t options; /* HP_SCHEME_*: what may follow the ':' */
	enum hp_scheme_kind kind;
	enum hp_family family;
	enum hp_hash hash;
	/* The mechanism that takes the data as it comes; for signatures, the one that
	 * hashes and signs. */
	CK_MECHANISM_TYPE mechanism;
	/* Signatures: the one that signs a digest made elsewhere; 0 if there is none. */
	CK_MECHANISM_TYPE bare_mechanism;
};

#define HP_SCHEME_COUNT 36 /* lines of the table */

/* A parsed name. */
struct hp_scheme {
	const struct hp_scheme_entry *entry;
	unsigned index;    /* of the entry: key of per-pool facts */
	uint8_t options;   /* HP_SCHEME_* that were given */
	uint32_t salt_len; /* PSS: in bytes */
	uint32_t tag_len;  /* GCM: in bytes */
};

/*
 * USAGE: not known, with the known ones and the nearest; known but of another kind; or
 * an option is wrong. text may be NULL (USAGE).
 */
hsmpool_status hp_scheme_parse(enum hp_scheme_kind kind, const char *text,
			       struct hp_scheme *out, hsmpool_error *err);

/* The table, for tests and documents: NULL past the end. */
const struct hp_scheme_entry *hp_scheme_at(size_t index);

static inline bool hp_scheme_is_raw(const struct hp_scheme *scheme)
{
	return (scheme->options & HP_SCHEME_RAW) != 0;
}

static inline bool hp_scheme_takes_digest(const struct hp_scheme *scheme)
{
	return (scheme->options & HP_SCHEME_DIGEST_IN) != 0;
}

#endif

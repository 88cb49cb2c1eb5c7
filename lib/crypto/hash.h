/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SHA family: what PKCS#11 and PKCS#1 call each member, and hashing here.
 *
 * Hashing runs in OpenSSL where the token only signs digests (ECDSA on most tokens) or
 * where a message is too long to carry to the HSM. Hashes are no secrets: nothing here
 * is wiped. The fetched algorithms are made once per process and never change.
 */
#ifndef HP_CRYPTO_HASH_H
#define HP_CRYPTO_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <hsmpool/status.h>
#include <p11-kit/pkcs11.h>

enum hp_hash {
	HP_HASH_NONE,
	HP_HASH_SHA1,
	HP_HASH_SHA224,
	HP_HASH_SHA256,
	HP_HASH_SHA384,
	HP_HASH_SHA512,
	HP_HASH_COUNT
};

#define HP_HASH_MAX        64 /* bytes of the longest digest */
#define HP_DIGEST_INFO_MAX 19 /* bytes in front of a digest in a DigestInfo */

struct hp_hash_info {
	const char *name; /* as OpenSSL knows it: "SHA256" */
	size_t size;      /* bytes of a digest */
	CK_MECHANISM_TYPE mechanism;
	CK_RSA_PKCS_MGF_TYPE mgf;
	/* DER of a DigestInfo (RFC 8017, 9.2) up to the digest itself */
	size_t prefix_len;
	uint8_t prefix[HP_DIGEST_INFO_MAX];
};

/* hash is not HP_HASH_NONE. */
const struct hp_hash_info *hp_hash_info(enum hp_hash hash);

struct evp_md_st;
struct evp_md_ctx_st;

/* OpenSSL's algorithm, owned by this file. NULL: OpenSSL is out of memory, or its
 * policy (FIPS) forbids it. */
const struct evp_md_st *hp_hash_md(enum hp_hash hash);

/* The digest of data: hp_hash_info(hash)->size bytes into digest. */
hsmpool_status hp_hash_message(enum hp_hash hash, hsmpool_bytes data,
			       uint8_t digest[HP_HASH_MAX], hsmpool_error *err);

/* In parts. begin: *ctx is freed with EVP_MD_CTX_free(). */
hsmpool_status hp_hash_begin(enum hp_hash hash, struct evp_md_ctx_st **ctx,
			     hsmpool_error *err);
hsmpool_status hp_hash_update(struct evp_md_ctx_st *ctx, hsmpool_bytes data,
			      hsmpool_error *err);
hsmpool_status hp_hash_final(struct evp_md_ctx_st *ctx, uint8_t digest[HP_HASH_MAX],
			     hsmpool_error *err);
/* The whole digest of data, and of the next data after it: without the counting of
 * references to the algorithm, which threads that hash much contend for. */
hsmpool_status hp_hash_again(struct evp_md_ctx_st *ctx, hsmpool_bytes data,
			     uint8_t digest[HP_HASH_MAX], hsmpool_error *err);

#endif

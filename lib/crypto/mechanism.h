/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scheme as the token wants it: CK_MECHANISM and parameters, sizes, fitting keys.
 *
 * Modules write into parameters, so a mechanism is built anew for each try.
 */
#ifndef HP_CRYPTO_MECHANISM_H
#define HP_CRYPTO_MECHANISM_H

#include <stdbool.h>
#include <hsmpool/crypto.h>
#include "crypto/key.h"
#include "crypto/operation.h"
#include "crypto/scheme.h"

#define HP_AES_BLOCK     16
#define HP_GCM_IV        12   /* bytes of an IV made here or by the HSM */
#define HP_IV_MAX        128  /* of a caller's GCM IV */
#define HP_SIGNATURE_MAX 2048 /* RSA of 16384 bits */

struct hp_mechanism {
	CK_MECHANISM ck;
	union {
		CK_GCM_PARAMS gcm;
		CK_AES_CTR_PARAMS ctr;
		CK_RSA_PKCS_OAEP_PARAMS oaep;
		CK_RSA_PKCS_PSS_PARAMS pss;
	} params;
	CK_BYTE iv[HP_IV_MAX];
};

/* What a cipher's mechanism is made of. The bytes are the caller's. */
struct hp_cipher_inputs {
	hsmpool_bytes iv; /* empty for RSA */
	hsmpool_bytes aad;
	hsmpool_bytes label;
};

/* m points into itself: do not move it. */
void hp_mechanism_cipher(struct hp_mechanism *m, const struct hp_scheme *scheme,
			 const struct hp_cipher_inputs *inputs);
/* is_bare: the token gets a digest (or DigestInfo) instead of the message. */
void hp_mechanism_signature(struct hp_mechanism *m, const struct hp_scheme *scheme,
			    bool is_bare);
/* MACs and digests have no parameters. */
void hp_mechanism_plain(struct hp_mechanism *m, const struct hp_scheme *scheme);

/* Bytes of a MAC (mac.c). */
size_t hp_mac_size(const struct hp_scheme *scheme);

/* Whether a key of these facts can do it in that role; else KEY, before any Init. */
hsmpool_status hp_mechanism_check_key(const struct hp_scheme *scheme,
				      const hsmpool_key *key, enum hp_key_role role,
				      const struct hp_key_facts *facts,
				      hsmpool_error *err);

/* Bytes of the modulus, of one ECDSA number: 0 if the token does not say. */
size_t hp_key_bytes(const struct hp_key_facts *facts);

/* Arguments that every function has. */
hsmpool_status hp_check_bytes(hsmpool_bytes bytes, const char *what, hsmpool_error *err);
hsmpool_status hp_check_key_of(hsmpool *pool, const hsmpool_key *key, hsmpool_error *err);

/* data, or a place to point to: modules refuse NULL even with length 0. */
const CK_BYTE *hp_nonnull(hsmpool_bytes bytes);

/* A module that claims to have written more than there was room for is not believed:
 * DOWN. */
hsmpool_status hp_check_written(size_t len, size_t cap, hsmpool_error *err);

/* After C_Decrypt, C_Verify: a code that blames the input in some other way becomes one
 * that makes the operation's answer uniform. */
CK_RV hp_uniform_rv(const struct hp_session *s, CK_RV rv);

#endif

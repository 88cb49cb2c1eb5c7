/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One encryption or decryption, prepared: scheme, IV, parameters, lengths.
 *
 * Shared by the one-shot functions (encrypt.c) and those in parts (multipart.c). Holds
 * the rules of hsmpool_encrypt() on IVs; makes no call on a session.
 */
#ifndef HP_CRYPTO_CIPHER_H
#define HP_CRYPTO_CIPHER_H

#include <hsmpool/crypto.h>
#include "crypto/mechanism.h"

/* Whose IV it is, and so where it goes. */
enum hp_iv_source {
	HP_IV_NONE,     /* RSA */
	HP_IV_CALLER,   /* given, not part of the text */
	HP_IV_OURS,     /* random, written in front */
	HP_IV_HSM,      /* made by the token, written in front */
	HP_IV_IN_FRONT, /* decryption: the text begins with it */
};

struct hp_cipher {
	struct hp_scheme scheme;
	bool is_encryption;
	enum hp_iv_source iv_source;
	size_t iv_len;
	uint8_t iv[HP_IV_MAX];
	hsmpool_bytes aad;   /* the caller's memory */
	hsmpool_bytes label; /* likewise */
};

/* What a text of a given length becomes; all without an IV in front. */
struct hp_cipher_sizes {
	size_t least;     /* the result has at least so many bytes */
	size_t most;      /* and at most so many; equal where it is known */
	size_t token_cap; /* room that tokens want to see */
};

/* Parse and check; for encryption a random IV is not drawn yet. USAGE. */
hsmpool_status hp_cipher_prepare(struct hp_cipher *cipher, const hsmpool *pool,
				 bool is_encryption, const char *scheme,
				 const hsmpool_params *params, hsmpool_error *err);

/* Bytes in front of the ciphertext. */
size_t hp_cipher_prefix(const struct hp_cipher *cipher);

/* Draw the IV where it is ours to make. */
hsmpool_status hp_cipher_draw_iv(struct hp_cipher *cipher, hsmpool_error *err);

static inline CK_MECHANISM_TYPE hp_cipher_mechanism_type(const struct hp_cipher *cipher)
{
	return cipher->scheme.entry->mechanism;
}

void hp_cipher_mechanism(const struct hp_cipher *cipher, struct hp_mechanism *m);

/*
 * The sizes for a text of len bytes (ciphertext: without the IV). facts are needed for
 * RSA only. USAGE: a plaintext of that length cannot be encrypted. Returns DATA, with
 * err untouched, for a ciphertext length that cannot be right.
 */
hsmpool_status hp_cipher_sizes(const struct hp_cipher *cipher,
			       const struct hp_key_facts *facts, size_t len,
			       struct hp_cipher_sizes *sizes, hsmpool_error *err);

static inline bool hp_cipher_is_rsa(const struct hp_cipher *cipher)
{
	return cipher->iv_source == HP_IV_NONE;
}

/*
 * The IV that the HSM put into m: taken into the cipher if it is one, else UNSUPPORTED
 * (SoftHSM2 silently uses a fixed one).
 */
hsmpool_status hp_cipher_take_hsm_iv(struct hp_cipher *cipher,
				     const struct hp_mechanism *m, hsmpool *pool,
				     const hsmpool_key *key, hsmpool_error *err);

/*
 * The token refused the Init with rv: if that is for an OAEP hash or label that it does
 * not have, fill err, set *own to UNSUPPORTED and return CKR_OK; else return rv.
 */
CK_RV hp_cipher_explain_init(const struct hp_cipher *cipher, const struct hp_session *s,
			     CK_RV rv, hsmpool_status *own, hsmpool_error *err);

/* OAEP that tokens may lack; all that have OAEP have it with SHA-1 and no label. */
bool hp_cipher_is_rare_oaep(const struct hp_cipher *cipher);
hsmpool_status hp_cipher_fail_oaep(const struct hp_cipher *cipher, hsmpool_error *err);

/* encrypt.c: an RSA encryption in the token; the way round OpenSSL (offload.c). */
hsmpool_status hp_encrypt_in_token(hsmpool *pool, hsmpool_key *key,
				   const struct hp_cipher *cipher,
				   hsmpool_bytes plaintext, hsmpool_buf *out,
				   hsmpool_deadline deadline, hsmpool_error *err);

#endif

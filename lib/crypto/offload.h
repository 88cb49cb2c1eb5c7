/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Public-key work in OpenSSL: verification and RSA encryption, offload-public = yes.
 *
 * The answers are those of the token's path: the same statuses and texts, also for
 * signatures that are no signatures, and no OAEP that this token could not undo.
 */
#ifndef HP_CRYPTO_OFFLOAD_H
#define HP_CRYPTO_OFFLOAD_H

#include "crypto/cipher.h"
#include "crypto/signing.h"

hsmpool_status hp_offload_verify(hsmpool *pool, hsmpool_key *key,
				 const struct hp_signing *signing, size_t message_len,
				 hsmpool_bytes signature, hsmpool_deadline deadline,
				 hsmpool_error *err);

hsmpool_status hp_offload_encrypt(hsmpool *pool, hsmpool_key *key,
				  const struct hp_cipher *cipher, hsmpool_bytes plaintext,
				  hsmpool_buf *out, hsmpool_deadline deadline,
				  hsmpool_error *err);

/* A use of the key that the token does not see, once its public half is here. The pool
 * is held in between. */
hsmpool_status hp_offload_begin(struct hp_use *use, hsmpool *pool, hsmpool_key *key,
				hsmpool_error *err);
void hp_offload_end(struct hp_use *use, hsmpool_status status, size_t output_len);

#endif

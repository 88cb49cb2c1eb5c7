/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Public keys between PKCS#11 attributes, OpenSSL and PEM/DER.
 */
#ifndef HP_CRYPTO_PUBLIC_H
#define HP_CRYPTO_PUBLIC_H

#include <openssl/types.h>
#include "crypto/curve.h"
#include "crypto/object.h"

/* A PEM or DER SubjectPublicKeyInfo, or NULL. */
EVP_PKEY *hp_public_decode(hsmpool_bytes encoded);

/* The bare point in a CKA_EC_POINT of a curve over a field of bits; data NULL if it is
 * none. Points into attribute. */
hsmpool_bytes hp_public_point(hsmpool_bytes attribute, uint32_t bits);

/* The point as a key; NULL if it is not on the curve. */
EVP_PKEY *hp_public_from_point(const struct hp_curve *curve, hsmpool_bytes point);

/* Have an EC key give its point uncompressed, whatever form it was read in. */
void hp_public_uncompress(EVP_PKEY *key);

#endif

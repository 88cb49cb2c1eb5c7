/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ECDSA signatures: r || s as tokens make them, DER (RFC 3279) as the world reads them.
 *
 * Reading is strict DER: one encoding per signature, nothing behind it.
 */
#ifndef HP_CRYPTO_ECDSA_DER_H
#define HP_CRYPTO_ECDSA_DER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HP_ECDSA_NUMBER_MAX 66 /* bytes of r or s on P-521 */
#define HP_ECDSA_DER_MAX    (3 + 2 * (3 + HP_ECDSA_NUMBER_MAX))

/* The longest DER of a signature whose numbers have so many bits. */
size_t hp_ecdsa_der_max(size_t bits);

/* raw_len is even, up to 2 * HP_ECDSA_NUMBER_MAX: false otherwise. */
bool hp_ecdsa_to_der(const uint8_t *raw, size_t raw_len, uint8_t der[HP_ECDSA_DER_MAX],
		     size_t *der_len);

/* Numbers of number_len bytes each into raw. 0: the least length of those in use that
 * both fit. False: not strict DER, or a number is zero, negative or too long. */
bool hp_ecdsa_from_der(const uint8_t *der, size_t der_len, size_t number_len,
		       uint8_t raw[2 * HP_ECDSA_NUMBER_MAX], size_t *raw_len);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The elliptic curves that keys may be on: names, sizes and CKA_EC_PARAMS.
 */
#ifndef HP_CRYPTO_CURVE_H
#define HP_CRYPTO_CURVE_H

#include <stddef.h>
#include <stdint.h>

struct hp_curve {
	const char *name;      /* "P-256" */
	const char *openssl;   /* OpenSSL's name of group or key type */
	uint32_t bits;         /* of the field */
	const uint8_t *params; /* DER object identifier */
	size_t params_len;
};

/* NULL for an unknown name; also takes OpenSSL's. */
const struct hp_curve *hp_curve_by_name(const char *name);
/* NULL for parameters of another curve. PKCS#11's curve name strings ("edwards25519")
 * are known too. */
const struct hp_curve *hp_curve_by_params(const uint8_t *params, size_t len);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of elliptic curves.
 */
#include "crypto/curve.h"

#include <string.h>
#include <strings.h>
#include "base/memory.h"

#define OID(...) \
	(const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })

static const struct hp_curve curves[] = {
	{ "P-256", "prime256v1", 256,
	  OID(0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07) },
	{ "P-384", "secp384r1", 384, OID(0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22) },
	{ "P-521", "secp521r1", 521, OID(0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23) },
	{ "P-224", "secp224r1", 224, OID(0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x21) },
	{ "secp256k1", "secp256k1", 256, OID(0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a) },
	{ "ed25519", "ED25519", 255, OID(0x06, 0x03, 0x2b, 0x65, 0x70) },
	/* PrintableString, as PKCS#11 3.0 allows besides the identifier */
	{ "ed25519", "ED25519", 255,
	  OID(0x13, 0x0c, 'e', 'd', 'w', 'a', 'r', 'd', 's', '2', '5', '5', '1', '9') },
};

const struct hp_curve *hp_curve_by_name(const char *name)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(curves); i++)
		if (strcasecmp(curves[i].name, name) == 0 ||
		    strcasecmp(curves[i].openssl, name) == 0)
			return &curves[i];
	return NULL;
}

const struct hp_curve *hp_curve_by_params(const uint8_t *params, size_t len)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(curves); i++)
		if (curves[i].params_len == len &&
		    memcmp(curves[i].params, params, len) == 0)
			return &curves[i];
	return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys that the own token comes with: "rsa", "ec" (both halves), "aes", "hmac".
 *
 * The material is fixed, so that tests repeat; the private and secret ones are
 * sensitive and cannot be extracted.
 */
#include "module.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t p256_oid[] = { 0x06, 0x08, 0x2a, 0x86, 0x48,
				    0xce, 0x3d, 0x03, 0x01, 0x07 };
/* The base point: a public key that other libraries accept. */
static const uint8_t p256_point[] = {
	0x04, 0x41, 0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8,
	0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d,
	0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f,
	0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c,
	0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb,
	0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
};

static void add_fixed(const char *label, uint8_t id, CK_OBJECT_CLASS class,
		      CK_KEY_TYPE type, const CK_ATTRIBUTE *material, CK_ULONG count)
{
	CK_BBOOL yes = CK_TRUE;
	CK_BBOOL is_private = class != CKO_PUBLIC_KEY;
	CK_ATTRIBUTE template[12] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_KEY_TYPE, &type, sizeof(type) },
		{ CKA_TOKEN, &yes, 1 },
		{ CKA_PRIVATE, &is_private, 1 },
		{ CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
		{ CKA_ID, &id, 1 },
		{ CKA_LOCAL, &yes, 1 },
	};
	struct mock_object *object;
	CK_ULONG used = 7;

	for (CK_ULONG i = 0; i < count; i++)
		template[used++] = material[i];
	if (is_private) {
		template[used++] = (CK_ATTRIBUTE){ CKA_ALWAYS_SENSITIVE, &yes, 1 };
		template[used++] = (CK_ATTRIBUTE){ CKA_NEVER_EXTRACTABLE, &yes, 1 };
	}
	if (mock_object_add(NULL, template, used, &object) != CKR_OK)
		abort();
}

void mock_objects_reset(void)
{
	uint8_t modulus[256], aes[32], hmac[64];
	uint8_t exponent[] = { 1, 0, 1 };
	CK_ULONG bits = 2048;
	CK_ATTRIBUTE rsa[] = {
		{ CKA_MODULUS, modulus, sizeof(modulus) },
		{ CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent) },
		{ CKA_MODULUS_BITS, &bits, sizeof(bits) },
	};
	CK_ATTRIBUTE ec[] = {
		{ CKA_EC_PARAMS, (void *)(uintptr_t)p256_oid, sizeof(p256_oid) },
		{ CKA_EC_POINT, (void *)(uintptr_t)p256_point, sizeof(p256_point) },
	};
	CK_ATTRIBUTE aes_value = { CKA_VALUE, aes, sizeof(aes) };
	CK_ATTRIBUTE hmac_value = { CKA_VALUE, hmac, sizeof(hmac) };

	for (size_t i = 1; i < MOCK_MAX_OBJECTS; i++)
		if (mock_object_at(i) != NULL)
			mock_object_free(mock_object_at(i));
	toy_expand(11, modulus, sizeof(modulus));
	modulus[0] |= 0x80;
	modulus[255] |= 1;
	toy_expand(12, aes, sizeof(aes));
	toy_expand(13, hmac, sizeof(hmac));
	add_fixed("rsa", 1, CKO_PRIVATE_KEY, CKK_RSA, rsa, 2);
	add_fixed("rsa", 1, CKO_PUBLIC_KEY, CKK_RSA, rsa, 3);
	add_fixed("ec", 2, CKO_PRIVATE_KEY, CKK_EC, ec, 2);
	add_fixed("ec", 2, CKO_PUBLIC_KEY, CKK_EC, ec, 2);
	add_fixed("aes", 3, CKO_SECRET_KEY, CKK_AES, &aes_value, 1);
	add_fixed("hmac", 4, CKO_SECRET_KEY, CKK_GENERIC_SECRET, &hmac_value, 1);
	atomic_store(&mock.created, 0);
	atomic_store(&mock.destroyed, 0);
}

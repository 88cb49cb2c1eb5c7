/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mechanisms that the calls use, good and bad.
 *
 * Parameters never hold a NULL pointer with a length: the reference may crash on it.
 */
#include "differential.h"

#include <string.h>

/* Where parameters are; used again for every call. */
static struct {
	CK_MECHANISM mechanism;
	CK_BYTE iv[32];
	CK_BYTE aad[32];
	CK_BYTE data[65];
	CK_AES_CTR_PARAMS ctr;
	CK_GCM_PARAMS gcm;
	CK_RSA_PKCS_OAEP_PARAMS oaep;
	CK_RSA_PKCS_PSS_PARAMS pss;
	CK_ECDH1_DERIVE_PARAMS ecdh;
	CK_KEY_DERIVATION_STRING_DATA string;
	CK_AES_CBC_ENCRYPT_DATA_PARAMS cbc_data;
} memory;

/* The generator of P-256: a point that everybody knows. */
static const CK_BYTE point[65] = {
	0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5,
	0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4,
	0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a,
	0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33,
	0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
};

static void parameter(CK_MECHANISM *mechanism, void *data, CK_ULONG len)
{
	mechanism->pParameter = data;
	mechanism->ulParameterLen = len;
}

static void fill_iv(CK_MECHANISM *m)
{
	parameter(m, memory.iv, 16);
}

static void fill_short_iv(CK_MECHANISM *m)
{
	parameter(m, memory.iv, 8);
}

static void fill_ctr(CK_MECHANISM *m)
{
	memory.ctr.ulCounterBits = 128;
	memcpy(memory.ctr.cb, memory.iv, sizeof(memory.ctr.cb));
	parameter(m, &memory.ctr, sizeof(memory.ctr));
}

static void fill_gcm(CK_MECHANISM *m)
{
	memory.gcm.pIv = memory.iv;
	memory.gcm.ulIvLen = 12;
	memory.gcm.ulIvBits = 96;
	memory.gcm.pAAD = memory.aad;
	memory.gcm.ulAADLen = 20;
	memory.gcm.ulTagBits = 128;
	parameter(m, &memory.gcm, sizeof(memory.gcm));
}

static void fill_gcm_short_tag(CK_MECHANISM *m)
{
	fill_gcm(m);
	memory.gcm.pAAD = NULL;
	memory.gcm.ulAADLen = 0;
	memory.gcm.ulTagBits = 96;
}

static void fill_oaep(CK_MECHANISM *m)
{
	memory.oaep.hashAlg = CKM_SHA_1;
	memory.oaep.mgf = CKG_MGF1_SHA1;
	memory.oaep.source = CKZ_DATA_SPECIFIED;
	parameter(m, &memory.oaep, sizeof(memory.oaep));
}

static void fill_oaep_label(CK_MECHANISM *m)
{
	fill_oaep(m);
	memory.oaep.pSourceData = memory.data;
	memory.oaep.ulSourceDataLen = 5;
}

static void fill_pss(CK_MECHANISM *m)
{
	memory.pss.hashAlg = CKM_SHA256;
	memory.pss.mgf = CKG_MGF1_SHA256;
	memory.pss.sLen = 24; /* no other draw is as long: random.c */
	parameter(m, &memory.pss, sizeof(memory.pss));
}

static void fill_pss_wrong_hash(CK_MECHANISM *m)
{
	fill_pss(m);
	memory.pss.hashAlg = CKM_SHA_1;
}

static void fill_ecdh(CK_MECHANISM *m)
{
	memory.ecdh.kdf = CKD_NULL;
	memory.ecdh.pPublicData = memory.data;
	memory.ecdh.ulPublicDataLen = sizeof(point);
	memcpy(memory.data, point, sizeof(memory.data));
	parameter(m, &memory.ecdh, sizeof(memory.ecdh));
}

static void fill_ecdh_bad_point(CK_MECHANISM *m)
{
	fill_ecdh(m);
	memory.data[20] ^= 1;
}

static void fill_ecb_data(CK_MECHANISM *m)
{
	memory.string.pData = memory.data;
	memory.string.ulLen = 32;
	parameter(m, &memory.string, sizeof(memory.string));
}

static void fill_cbc_data(CK_MECHANISM *m)
{
	memcpy(memory.cbc_data.iv, memory.iv, sizeof(memory.cbc_data.iv));
	memory.cbc_data.pData = memory.data;
	memory.cbc_data.length = 32;
	parameter(m, &memory.cbc_data, sizeof(memory.cbc_data));
}

static void fill_needless(CK_MECHANISM *m)
{
	parameter(m, memory.data, 5);
}

#define CIPHER  FAMILY_CIPHER
#define SIGN    FAMILY_SIGN
#define PUBLIC  OBJECT_RSA_PUBLIC
#define PRIVATE OBJECT_RSA_PRIVATE
#define EC      OBJECT_EC_PRIVATE, OBJECT_EC_PUBLIC
#define RSA     PRIVATE, PUBLIC
#define AES     OBJECT_AES, OBJECT_AES
#define HMAC    OBJECT_HMAC, OBJECT_HMAC
#define ROW(type, families, ...)                   \
	{                                          \
#type, type, families, __VA_ARGS__ \
	}
#define VARIANT(name, type, families, ...)                       \
	{                                                        \
#type " (" name ")", type, families, __VA_ARGS__ \
	}

/* clang-format off */
const struct mechanism_row mechanism_rows[] = {
	ROW(CKM_AES_ECB, CIPHER, AES, true, NULL),
	ROW(CKM_AES_CBC, CIPHER, AES, true, fill_iv),
	ROW(CKM_AES_CBC_PAD, CIPHER, AES, true, fill_iv),
	ROW(CKM_AES_CTR, CIPHER, AES, true, fill_ctr),
	ROW(CKM_AES_GCM, CIPHER, AES, true, fill_gcm),
	VARIANT("short tag", CKM_AES_GCM, CIPHER, AES, true, fill_gcm_short_tag),
	ROW(CKM_RSA_PKCS, CIPHER | SIGN | FAMILY_WRAP, RSA, false, NULL),
	ROW(CKM_RSA_PKCS_OAEP, CIPHER | FAMILY_WRAP, RSA, false, fill_oaep),
	ROW(CKM_RSA_X_509, CIPHER | SIGN, RSA, false, NULL),
	ROW(CKM_SHA1_RSA_PKCS, SIGN, RSA, true, NULL),
	ROW(CKM_SHA256_RSA_PKCS, SIGN, RSA, true, NULL),
	ROW(CKM_SHA256_RSA_PKCS_PSS, SIGN, RSA, true, fill_pss),
	ROW(CKM_ECDSA, SIGN, EC, false, NULL),
	ROW(CKM_AES_CMAC, SIGN, AES, true, NULL),
	ROW(CKM_SHA_1_HMAC, SIGN, HMAC, true, NULL),
	ROW(CKM_SHA256_HMAC, SIGN, HMAC, true, NULL),
	ROW(CKM_SHA512_HMAC, SIGN, HMAC, true, NULL),
	ROW(CKM_MD5, FAMILY_DIGEST, AES, true, NULL),
	ROW(CKM_SHA_1, FAMILY_DIGEST, AES, true, NULL),
	ROW(CKM_SHA256, FAMILY_DIGEST, AES, true, NULL),
	ROW(CKM_SHA384, FAMILY_DIGEST, AES, true, NULL),
	ROW(CKM_SHA512, FAMILY_DIGEST, AES, true, NULL),
	ROW(CKM_AES_KEY_GEN, FAMILY_GENERATE, AES, false, NULL),
	ROW(CKM_GENERIC_SECRET_KEY_GEN, FAMILY_GENERATE, AES, false, NULL),
	ROW(CKM_DES3_KEY_GEN, FAMILY_GENERATE, AES, false, NULL),
	ROW(CKM_EC_KEY_PAIR_GEN, FAMILY_GENERATE_PAIR, EC, false, NULL),
	ROW(CKM_RSA_PKCS_KEY_PAIR_GEN, FAMILY_GENERATE_PAIR, RSA, false, NULL),
	ROW(CKM_AES_KEY_WRAP, FAMILY_WRAP, AES, false, NULL),
	ROW(CKM_AES_KEY_WRAP_PAD, FAMILY_WRAP, AES, false, NULL),
	ROW(CKM_ECDH1_DERIVE, FAMILY_DERIVE, EC, false, fill_ecdh),
	ROW(CKM_AES_ECB_ENCRYPT_DATA, FAMILY_DERIVE, AES, false, fill_ecb_data),
	ROW(CKM_AES_CBC_ENCRYPT_DATA, FAMILY_DERIVE, AES, false, fill_cbc_data),
	VARIANT("no IV", CKM_AES_CBC, FAMILY_BAD, AES, true, NULL),
	VARIANT("short IV", CKM_AES_CBC_PAD, FAMILY_BAD, AES, true, fill_short_iv),
	VARIANT("no parameters", CKM_AES_GCM, FAMILY_BAD, AES, true, NULL),
	VARIANT("no parameters", CKM_RSA_PKCS_OAEP, FAMILY_BAD, RSA, false, NULL),
	VARIANT("label", CKM_RSA_PKCS_OAEP, FAMILY_BAD, RSA, false, fill_oaep_label),
	VARIANT("wrong hash", CKM_SHA256_RSA_PKCS_PSS, FAMILY_BAD, RSA, true, fill_pss_wrong_hash),
	VARIANT("bad point", CKM_ECDH1_DERIVE, FAMILY_BAD, EC, false, fill_ecdh_bad_point),
	VARIANT("needless parameter", CKM_SHA256_RSA_PKCS, FAMILY_BAD, RSA, true, fill_needless),
	VARIANT("needless parameter", CKM_SHA256, FAMILY_BAD, AES, true, fill_needless),
	ROW(CKM_ECDSA_SHA256, FAMILY_BAD, EC, true, NULL),
	ROW(CKM_DES3_CBC, FAMILY_BAD, AES, true, fill_short_iv),
	ROW(CKM_VENDOR_DEFINED, FAMILY_BAD, AES, true, NULL),
};
/* clang-format on */
const uint8_t mechanism_count = sizeof(mechanism_rows) / sizeof(mechanism_rows[0]);

CK_MECHANISM *mechanism_of(const struct call *call)
{
	const struct mechanism_row *row =
		&mechanism_rows[call->mechanism % mechanism_count];

	memset(&memory, 0, sizeof(memory));
	for (size_t i = 0; i < sizeof(memory.iv); i++)
		memory.iv[i] = (CK_BYTE)(i * 5 + 1);
	memset(memory.aad, 0x21, sizeof(memory.aad));
	memset(memory.data, 0x42, sizeof(memory.data));
	memory.mechanism.mechanism = row->type;
	if (row->fill != NULL)
		row->fill(&memory.mechanism);
	return &memory.mechanism;
}

void mechanism_memory_reuse(void)
{
	memset(&memory, 0xee, sizeof(memory));
}

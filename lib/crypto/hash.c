/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SHA family, and hashing in OpenSSL.
 *
 * Owns: the fetched EVP_MD of each hash, made once per process (an implicit fetch at
 * each use costs more than hashing a short message) and read-only from then on. Must
 * not: touch the token. Thread-safe; no lock but pthread_once.
 */
#include "crypto/hash.h"

#include <assert.h>
#include <pthread.h>
#include <openssl/evp.h>
#include "base/error.h"
#include "base/openssl_errors.h"

static const struct hp_hash_info hashes[HP_HASH_COUNT] = {
	[HP_HASH_SHA1] = { "SHA1",
			   20,
			   CKM_SHA_1,
			   CKG_MGF1_SHA1,
			   15,
			   { 0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02,
			     0x1a, 0x05, 0x00, 0x04, 0x14 } },
	[HP_HASH_SHA224] = { "SHA224",
			     28,
			     CKM_SHA224,
			     CKG_MGF1_SHA224,
			     19,
			     { 0x30, 0x2d, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
			       0x65, 0x03, 0x04, 0x02, 0x04, 0x05, 0x00, 0x04, 0x1c } },
	[HP_HASH_SHA256] = { "SHA256",
			     32,
			     CKM_SHA256,
			     CKG_MGF1_SHA256,
			     19,
			     { 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
			       0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20 } },
	[HP_HASH_SHA384] = { "SHA384",
			     48,
			     CKM_SHA384,
			     CKG_MGF1_SHA384,
			     19,
			     { 0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
			       0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0x04, 0x30 } },
	[HP_HASH_SHA512] = { "SHA512",
			     64,
			     CKM_SHA512,
			     CKG_MGF1_SHA512,
			     19,
			     { 0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
			       0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04, 0x40 } },
};

static const EVP_MD *fetched[HP_HASH_COUNT]; /* written by fetch_all() alone */
static pthread_once_t fetched_once = PTHREAD_ONCE_INIT;

static void fetch_all(void)
{
	HP_KEEP_OPENSSL_ERRORS;
	for (int hash = HP_HASH_SHA1; hash < HP_HASH_COUNT; hash++)
		fetched[hash] = EVP_MD_fetch(NULL, hashes[hash].name, NULL);
}

const struct hp_hash_info *hp_hash_info(enum hp_hash hash)
{
	assert(hash > HP_HASH_NONE && hash < HP_HASH_COUNT);
	return &hashes[hash];
}

const EVP_MD *hp_hash_md(enum hp_hash hash)
{
	assert(hash > HP_HASH_NONE && hash < HP_HASH_COUNT);
	pthread_once(&fetched_once, fetch_all);
	return fetched[hash];
}

static hsmpool_status find_md(enum hp_hash hash, const EVP_MD **md, hsmpool_error *err)
{
	*md = hp_hash_md(hash);
	HP_CHECK(*md, err, HSMPOOL_ERR_SYSTEM,
		 "OpenSSL offers no %s: see its configuration (FIPS mode?)",
		 hashes[hash].name);
	return HSMPOOL_OK;
}

hsmpool_status hp_hash_message(enum hp_hash hash, hsmpool_bytes data,
			       uint8_t digest[HP_HASH_MAX], hsmpool_error *err)
{
	const EVP_MD *md;
	HP_TRY(find_md(hash, &md, err));
	HP_CHECK(EVP_Digest(data.data, data.len, digest, NULL, md, NULL) == 1, err,
		 HSMPOOL_ERR_SYSTEM, "OpenSSL cannot hash with %s", hashes[hash].name);
	return HSMPOOL_OK;
}

hsmpool_status hp_hash_begin(enum hp_hash hash, EVP_MD_CTX **ctx, hsmpool_error *err)
{
	const EVP_MD *md;
	HP_TRY(find_md(hash, &md, err));
	EVP_MD_CTX *made = EVP_MD_CTX_new();
	if (!made || EVP_DigestInit_ex(made, md, NULL) != 1) {
		EVP_MD_CTX_free(made);
		return hp_fail(err, HSMPOOL_ERR_SYSTEM, "OpenSSL cannot hash with %s",
			       hashes[hash].name);
	}
	*ctx = made;
	return HSMPOOL_OK;
}

hsmpool_status hp_hash_update(EVP_MD_CTX *ctx, hsmpool_bytes data, hsmpool_error *err)
{
	HP_CHECK(EVP_DigestUpdate(ctx, data.data, data.len) == 1, err, HSMPOOL_ERR_SYSTEM,
		 "OpenSSL cannot hash on");
	return HSMPOOL_OK;
}

hsmpool_status hp_hash_final(EVP_MD_CTX *ctx, uint8_t digest[HP_HASH_MAX],
			     hsmpool_error *err)
{
	HP_CHECK(EVP_DigestFinal_ex(ctx, digest, NULL) == 1, err, HSMPOOL_ERR_SYSTEM,
		 "OpenSSL cannot finish a hash");
	return HSMPOOL_OK;
}

hsmpool_status hp_hash_again(EVP_MD_CTX *ctx, hsmpool_bytes data,
			     uint8_t digest[HP_HASH_MAX], hsmpool_error *err)
{
	HP_CHECK(EVP_DigestInit_ex(ctx, NULL, NULL) == 1, err, HSMPOOL_ERR_SYSTEM,
		 "OpenSSL cannot begin a hash again");
	HP_TRY(hp_hash_update(ctx, data, err));
	return hp_hash_final(ctx, digest, err);
}

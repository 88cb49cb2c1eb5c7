/* SPDX-License-Identifier: Apache-2.0 */
/* What OpenSSL says that the answers are. Whatever fails in it ends the program. */
#include "soak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/ecdsa.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#define GCM_IV  12
#define GCM_TAG 16

static void require(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "truth: %s\n", what);
	abort();
}

struct soak_truth *truth_new(void)
{
	struct soak_truth *truth = calloc(1, sizeof(*truth));
	require(truth && RAND_bytes(truth->aes, sizeof(truth->aes)) == 1 &&
			RAND_bytes(truth->hmac, sizeof(truth->hmac)) == 1,
		"no keys");
	return truth;
}

void truth_free(struct soak_truth *truth)
{
	EVP_PKEY_free(truth->rsa);
	EVP_PKEY_free(truth->ec);
	free(truth);
}

EVP_PKEY *truth_read_public(const uint8_t *pem, size_t len)
{
	BIO *bio = BIO_new_mem_buf(pem, (int)len);
	EVP_PKEY *key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
	BIO_free(bio);
	require(key != NULL, "not a public key");
	return key;
}

bool truth_is_digest(hsmpool_bytes input, hsmpool_bytes digest)
{
	uint8_t own[32];
	unsigned len = 0;
	require(EVP_Digest(input.data, input.len, own, &len, EVP_sha256(), NULL) == 1,
		"SHA-256");
	return digest.len == len && memcmp(own, digest.data, len) == 0;
}

bool truth_is_hmac(const struct soak_truth *truth, hsmpool_bytes input, hsmpool_bytes mac)
{
	uint8_t own[32];
	unsigned len = 0;
	require(HMAC(EVP_sha256(), truth->hmac, sizeof(truth->hmac), input.data,
		     input.len, own, &len) != NULL,
		"HMAC");
	return mac.len == len && memcmp(own, mac.data, len) == 0;
}

size_t truth_encrypt_cbc(const struct soak_truth *truth, const uint8_t iv[SOAK_IV],
			 hsmpool_bytes input, uint8_t *out)
{
	int len = 0, last = 0;
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	require(EVP_EncryptInit_ex(ctx, EVP_aes_256_cbc(), NULL, truth->aes, iv) == 1 &&
			EVP_EncryptUpdate(ctx, out, &len, input.data, (int)input.len) ==
				1 &&
			EVP_EncryptFinal_ex(ctx, out + len, &last) == 1,
		"AES-CBC");
	EVP_CIPHER_CTX_free(ctx);
	return (size_t)(len + last);
}

bool truth_opens_gcm(const struct soak_truth *truth, hsmpool_bytes sealed,
		     hsmpool_bytes input)
{
	uint8_t plain[SOAK_INPUT], tag[GCM_TAG];
	int len = 0;
	if (sealed.len != GCM_IV + input.len + GCM_TAG)
		return false;
	memcpy(tag, sealed.data + GCM_IV + input.len, GCM_TAG);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	require(EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, truth->aes,
				   sealed.data) == 1 &&
			EVP_DecryptUpdate(ctx, plain, &len, sealed.data + GCM_IV,
					  (int)input.len) == 1 &&
			EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, GCM_TAG, tag) ==
				1,
		"AES-GCM");
	bool opens = EVP_DecryptFinal_ex(ctx, plain + len, &len) == 1 &&
		     memcmp(plain, input.data, input.len) == 0;
	EVP_CIPHER_CTX_free(ctx);
	return opens;
}

bool truth_verifies(EVP_PKEY *key, hsmpool_bytes input, hsmpool_bytes signature)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	require(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1, "verify");
	bool verifies = EVP_DigestVerify(ctx, signature.data, signature.len, input.data,
					 input.len) == 1;
	EVP_MD_CTX_free(ctx);
	return verifies;
}

bool truth_verifies_raw(EVP_PKEY *key, hsmpool_bytes input, hsmpool_bytes signature)
{
	int half = (int)signature.len / 2;
	uint8_t *der = NULL;
	ECDSA_SIG *parts = ECDSA_SIG_new();
	ECDSA_SIG_set0(parts, BN_bin2bn(signature.data, half, NULL),
		       BN_bin2bn(signature.data + half, half, NULL));
	int len = i2d_ECDSA_SIG(parts, &der);
	ECDSA_SIG_free(parts);
	require(len > 0, "a signature in DER");
	bool verifies = truth_verifies(key, input, (hsmpool_bytes){ der, (size_t)len });
	OPENSSL_free(der);
	return verifies;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Token, keys and OpenSSL for the tests of operations. */
#include "crypto_ground.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

struct crypto_ground ground;

static int argument_count;
static char **arguments;

void crypto_arguments(int argc, char **argv)
{
	argument_count = argc;
	arguments = argv;
}

int crypto_setup(void **state)
{
	(void)state;
	fixture_softhsm(&ground.fixture);
	for (int i = 1; i + 1 < argument_count; i += 2)
		fixture_set(&ground.fixture, arguments[i], arguments[i + 1]);
	ground.pool = fixture_open(&ground.fixture);
	return 0;
}

int crypto_teardown(void **state)
{
	(void)state;
	hsmpool_close(&ground.pool);
	fixture_remove(&ground.fixture);
	return 0;
}

void crypto_reopen(const char *option, const char *value)
{
	hsmpool_close(&ground.pool);
	fixture_set(&ground.fixture, option, value);
	ground.pool = fixture_open(&ground.fixture);
}

hsmpool_key *crypto_generate(const char *type, uint32_t bits, const char *curve,
			     const char *label, uint32_t usage)
{
	hsmpool_error err;
	hsmpool_key *key;
	hsmpool_key_spec spec = { .size = sizeof(spec),
				  .type = type,
				  .bits = bits,
				  .curve = curve,
				  .label = label,
				  .usage = usage };
	assert_ok(hsmpool_key_generate(&key, ground.pool, &spec, HSMPOOL_DEFAULT, &err),
		  &err);
	return key;
}

hsmpool_key *crypto_import_secret(const char *type, const char *label,
				  const uint8_t *secret, size_t len)
{
	hsmpool_error err;
	hsmpool_key *key;
	hsmpool_key_spec spec = { .size = sizeof(spec),
				  .type = type,
				  .label = label,
				  .bits = (uint32_t)len * 8 };
	if (strcmp(type, "aes") == 0)
		spec.usage = HSMPOOL_KEY_CAN_ENCRYPT | HSMPOOL_KEY_CAN_DECRYPT |
			     HSMPOOL_KEY_CAN_SIGN | HSMPOOL_KEY_CAN_VERIFY;
	assert_ok(hsmpool_key_import_secret(&key, ground.pool, &spec, BYTES(secret, len),
					    HSMPOOL_DEFAULT, &err),
		  &err);
	return key;
}

hsmpool_key *crypto_open(const char *uri)
{
	hsmpool_error err;
	hsmpool_key *key;
	assert_ok(hsmpool_key_open(&key, ground.pool, uri, HSMPOOL_DEFAULT, &err), &err);
	return key;
}

EVP_PKEY *crypto_public_of(hsmpool_key *key)
{
	hsmpool_error err;
	uint8_t pem[8192];
	hsmpool_buf out = BUF(pem);
	assert_ok(hsmpool_key_export_public(key, &out, HSMPOOL_DEFAULT, &err), &err);
	BIO *bio = BIO_new_mem_buf(pem, (int)out.len);
	EVP_PKEY *pkey = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
	BIO_free(bio);
	assert_non_null(pkey);
	return pkey;
}

hsmpool_key *crypto_import_public(EVP_PKEY *pkey, const char *label)
{
	hsmpool_error err;
	hsmpool_key *key;
	hsmpool_key_spec spec = { .size = sizeof(spec), .label = label };
	if (EVP_PKEY_is_a(pkey, "RSA"))
		spec.usage = HSMPOOL_KEY_CAN_VERIFY | HSMPOOL_KEY_CAN_ENCRYPT;
	uint8_t *der = NULL;
	int len = i2d_PUBKEY(pkey, &der);
	assert_true(len > 0);
	assert_ok(hsmpool_key_import_public(&key, ground.pool, &spec,
					    BYTES(der, (size_t)len), HSMPOOL_DEFAULT,
					    &err),
		  &err);
	OPENSSL_free(der);
	return key;
}

uint8_t *crypto_pattern(size_t len, unsigned seed)
{
	uint8_t *data = malloc(len + 1);
	assert_non_null(data);
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(1 + (i * 7 + i / 251 + seed * 13) % 255);
	return data;
}

/* "rsa-pss-sha384" -> SHA384 */
static const EVP_MD *md_of(const char *scheme)
{
	const char *hash = strrchr(scheme, '-');
	if (!hash)
		return NULL; /* ed25519 */
	char name[16] = "";
	strncat(name, hash + 1, sizeof(name) - 1);
	const EVP_MD *md = EVP_get_digestbyname(name);
	assert_non_null(md);
	return md;
}

static void set_pss(EVP_PKEY_CTX *ctx, const char *scheme)
{
	if (strncmp(scheme, "rsa-pss", 7) != 0)
		return;
	assert_true(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) > 0);
	assert_true(EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) > 0);
}

bool openssl_verifies(EVP_PKEY *pkey, const char *scheme, hsmpool_bytes message,
		      hsmpool_bytes signature)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *ctx;
	assert_int_equal(EVP_DigestVerifyInit(md, &ctx, md_of(scheme), NULL, pkey), 1);
	set_pss(ctx, scheme);
	int verdict = EVP_DigestVerify(md, signature.data, signature.len, message.data,
				       message.len);
	EVP_MD_CTX_free(md);
	return verdict == 1;
}

size_t openssl_sign(EVP_PKEY *pkey, const char *scheme, hsmpool_bytes message,
		    uint8_t *signature, size_t cap)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *ctx;
	assert_int_equal(EVP_DigestSignInit(md, &ctx, md_of(scheme), NULL, pkey), 1);
	set_pss(ctx, scheme);
	assert_int_equal(EVP_DigestSign(md, signature, &cap, message.data, message.len),
			 1);
	EVP_MD_CTX_free(md);
	return cap;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of operations share: a token with a pool, keys known to both sides,
 * and OpenSSL as the other side. Every helper fails the running test itself.
 */
#ifndef TEST_SOFTHSM_CRYPTO_GROUND_H
#define TEST_SOFTHSM_CRYPTO_GROUND_H

#include "support/fixture.h"

#include <openssl/evp.h>
#include <stdbool.h>

struct crypto_ground {
	struct fixture fixture;
	hsmpool *pool;
};
extern struct crypto_ground ground;

/* The program's arguments are options of the pool, KEY VALUE KEY VALUE ...: the same
 * tests must hold whatever is set. */
void crypto_arguments(int argc, char **argv);

/* cmocka's group fixtures: a fresh token and ground.pool. */
int crypto_setup(void **state);
int crypto_teardown(void **state);
/* The pool anew, with one more option. */
void crypto_reopen(const char *option, const char *value);

/* Keys; bits and curve as hsmpool_key_spec has them. Closed by the caller. */
hsmpool_key *crypto_generate(const char *type, uint32_t bits, const char *curve,
			     const char *label, uint32_t usage);
hsmpool_key *crypto_import_secret(const char *type, const char *label,
				  const uint8_t *secret, size_t len);
hsmpool_key *crypto_open(const char *uri);

/* The public half in OpenSSL; an OpenSSL key's public half on the token. */
EVP_PKEY *crypto_public_of(hsmpool_key *key);
hsmpool_key *crypto_import_public(EVP_PKEY *pkey, const char *label);

/* len bytes, none of them zero, different for each seed; freed by the caller. */
uint8_t *crypto_pattern(size_t len, unsigned seed);

/* Signatures as hsmpool_sign() makes them: scheme names without options. */
bool openssl_verifies(EVP_PKEY *pkey, const char *scheme, hsmpool_bytes message,
		      hsmpool_bytes signature);
size_t openssl_sign(EVP_PKEY *pkey, const char *scheme, hsmpool_bytes message,
		    uint8_t *signature, size_t cap);

#define BYTES(pointer, length)                       \
	(hsmpool_bytes)                              \
	{                                            \
		(const uint8_t *)(pointer), (length) \
	}
#define TEXT(literal) BYTES(literal, sizeof(literal) - 1)
#define BUF(array)                        \
	(hsmpool_buf)                     \
	{                                 \
		(array), sizeof(array), 0 \
	}

#endif

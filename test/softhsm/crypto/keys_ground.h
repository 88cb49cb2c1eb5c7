/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ground of the key tests: one token and one pool per program, and what several of
 * them need. Tests of a program share the token, so each uses labels of its own.
 */
#ifndef TEST_SOFTHSM_KEYS_GROUND_H
#define TEST_SOFTHSM_KEYS_GROUND_H

#include <stdbool.h>
#include <openssl/types.h>
#include "support/fixture.h"

extern struct fixture ground;
extern hsmpool *pool;
extern hsmpool_error err;

/* Group setup and teardown: a token, the pool on it opened, and closed again. */
int keys_ground_up(void **state);
int keys_ground_down(void **state);
/* Close the pool and open it anew, after fixture_set(). */
void keys_ground_reopen(void);

hsmpool_bytes bytes_of(const void *data, size_t len);
hsmpool_bytes bytes_of_text(const char *text);

/* Keys; the test fails if they cannot be had. bits 0 and usage 0: the defaults. */
hsmpool_key *generate(const char *type, const char *label, uint32_t usage);
hsmpool_key *import_secret(const char *type, const char *label, hsmpool_bytes secret,
			   uint32_t usage, bool extractable);
hsmpool_key *open_label(const char *label);

/* How many key objects of the token have the label; which of "private", "public",
 * "secret-key" the last one was is left in last. */
unsigned count_label(const char *label);
extern hsmpool_key_info last;

/* The exported public half, as PEM and as OpenSSL has it. */
EVP_PKEY *public_of(hsmpool_key *key);

/* Calls of the module on a borrowed session, past the library's key functions. */
CK_ULONG raw_count(CK_ATTRIBUTE *template, CK_ULONG count);
void raw_destroy_label(const char *label);
/* A second AES key of a label that is taken. */
void raw_generate_aes(const char *label, CK_BYTE id);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The soak: threads of a program that uses the library and threads of one that uses the
 * PKCS#11 module, in one process, on a token that fails all the time, and what came of
 * every operation.
 *
 * main.c owns the weather, the threads and the verdict; library.c and module.c what the
 * threads do; truth.c the answers, which OpenSSL gives. Tallies are atomic, all else
 * is written before the threads start.
 */
#ifndef TEST_STRESS_SOAK_SOAK_H
#define TEST_STRESS_SOAK_SOAK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <openssl/evp.h>
#include "support/fixture.h"

#define SOAK_INPUT 100 /* bytes, at most, of what is signed, encrypted, digested */

/* What a failed operation may cost. */
enum soak_kind {
	SOAK_IDEMPOTENT, /* repeated as often as it takes: expected to succeed */
	SOAK_SIGNATURE,  /* repeated as sign-retry says */
	SOAK_ONCE,       /* never repeated: may fail when the weather is bad */
	SOAK_KINDS
};

enum soak_outcome {
	SOAK_DONE,
	SOAK_REFUSED, /* an error; the complaint says which */
	SOAK_WRONG,   /* an answer, and not the right one */
};

/* One thread. */
struct soak_worker {
	struct soak *soak;
	uint64_t dice;
	CK_SESSION_HANDLE session; /* the module's */
	uint8_t input[SOAK_INPUT];
	size_t input_len;
	char complaint[600];
};

struct soak_job {
	const char *name;
	enum soak_kind kind;
	unsigned weight; /* how often, of the sum of all weights of its table */
	enum soak_outcome (*run)(struct soak_worker *worker);
	uint64_t signatures; /* C_Sign that one run may cause */
	atomic_ullong tried, refused, wrong;
};

struct soak {
	const struct mock_control *mock;
	hsmpool *pool; /* the library's */
	hsmpool_key *aes, *hmac, *rsa, *ec;
	uint8_t message[32], signature[256]; /* by rsa, made in fair weather */
	size_t signature_len;
	CK_FUNCTION_LIST *module; /* hsmpool-pkcs11.so, initialised and logged in */
	CK_SESSION_HANDLE module_session; /* open all the time */
	CK_OBJECT_HANDLE module_aes, module_hmac, module_rsa, module_ec;
	struct soak_truth *truth;
	int64_t until_ns;
	uint64_t operations; /* stop after so many, whatever the time; 0: by time */
	atomic_ullong done;
	atomic_bool is_over;
};

/* The jobs, ended by one without a name. */
extern struct soak_job soak_library_jobs[];
extern struct soak_job soak_module_jobs[];

uint64_t soak_roll(struct soak_worker *worker, uint64_t sides);

/* Initialise the module and log in; open the pool and make its keys; find them. */
void soak_library_begin(struct soak *soak, struct fixture *f);
void soak_library_end(struct soak *soak);
void soak_module_begin(struct soak *soak, struct fixture *f, const char *pool_lines);
void soak_module_find_keys(struct soak *soak);
bool soak_module_join(struct soak_worker *worker);
void soak_module_end(struct soak *soak);

/* The keys as OpenSSL knows them. */
struct soak_truth {
	uint8_t aes[32], hmac[32];
	EVP_PKEY *rsa, *ec;
};
#define SOAK_IV 16
struct soak_truth *truth_new(void);
void truth_free(struct soak_truth *truth);
/* pem: a public key. */
EVP_PKEY *truth_read_public(const uint8_t *pem, size_t len);
bool truth_is_digest(hsmpool_bytes input, hsmpool_bytes digest);
bool truth_is_hmac(const struct soak_truth *truth, hsmpool_bytes input,
		   hsmpool_bytes mac);
/* AES-CBC with padding; out has room for len + 16. Returns its length. */
size_t truth_encrypt_cbc(const struct soak_truth *truth, const uint8_t iv[SOAK_IV],
			 hsmpool_bytes input, uint8_t *out);
/* IV || ciphertext || tag, as the library makes it. */
bool truth_opens_gcm(const struct soak_truth *truth, hsmpool_bytes sealed,
		     hsmpool_bytes input);
/* SHA-256, PKCS #1 v1.5 or ECDSA in DER; raw: r || s. */
bool truth_verifies(EVP_PKEY *key, hsmpool_bytes input, hsmpool_bytes signature);
bool truth_verifies_raw(EVP_PKEY *key, hsmpool_bytes input, hsmpool_bytes signature);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of an operation in parts, between multipart.c (life cycle, signatures,
 * digests) and multipart_cipher.c (IV, updates, sizes).
 */
#ifndef HP_CRYPTO_MULTIPART_H
#define HP_CRYPTO_MULTIPART_H

#include <hsmpool/crypto.h>
#include "crypto/cipher.h"
#include "crypto/signing.h"

/* Room that an update may need beyond the length of its input: IV and a block. */
#define HP_UPDATE_SLACK 32

struct hsmpool_multipart {
	hsmpool *pool;
	hsmpool_key *key; /* the caller's, NULL for a digest */
	hsmpool_multipart_kind kind;
	const char *verb;
	uint64_t epoch;             /* of the process that began it */
	struct hp_session *session; /* held until the end; NULL after it */
	struct hp_use use;          /* from begin to the end */
	CK_OBJECT_HANDLE handle;
	const struct hp_key_facts *facts;
	struct hp_mechanism mechanism; /* some modules keep pointers to its parameters */

	/* encryption, decryption */
	struct hp_cipher cipher;
	uint8_t *copies;      /* of AAD and label */
	bool is_started;      /* C_DecryptInit waits for the IV in front of the input */
	bool is_iv_sent;      /* encryption: the IV has been put out */
	size_t iv_have;       /* decryption: bytes of it that came */
	bool needs_wide_room; /* the token wants room for all that it holds back */
	uint64_t total_in;    /* without the IV */
	uint64_t total_out;

	/* signature, MAC, digest */
	struct hp_scheme scheme;    /* MAC, digest */
	struct hp_signing signing;  /* signature */
	bool is_signature;          /* not a MAC */
	struct evp_md_ctx_st *hash; /* hashing here; else NULL */

	/* what the final call gave, until the caller has room for it */
	uint8_t *result;
	size_t result_len;
	size_t result_cap;
	bool has_result;
};

/* The Init that the operation begins with, run by hp_operation_run(). */
CK_RV hp_multipart_cipher_start(hsmpool_multipart *op, struct hp_session *s,
				hsmpool_status *own, hsmpool_error *err);
hsmpool_status hp_multipart_cipher_prepare(hsmpool_multipart *op, const char *scheme,
					   const hsmpool_params *params,
					   hsmpool_error *err);
/* SPACE leaves the operation as it was; every other failure has ended it. */
hsmpool_status hp_multipart_cipher_update(hsmpool_multipart *op, hsmpool_bytes in,
					  hsmpool_buf *out, hsmpool_error *err);
/* Fill result; a failure has ended the operation. */
hsmpool_status hp_multipart_cipher_finish(hsmpool_multipart *op, hsmpool_error *err);

/* A call answered rv (not CKR_OK): give the session back and say so. */
hsmpool_status hp_multipart_fail(hsmpool_multipart *op, CK_RV rv, bool is_final,
				 hsmpool_error *err);
/* A failure of our own, err filled: give the session back; returns status. */
hsmpool_status hp_multipart_end(hsmpool_multipart *op, hsmpool_status status);
/* Room for the result. */
hsmpool_status hp_multipart_result_room(hsmpool_multipart *op, size_t cap,
					hsmpool_error *err);

#endif

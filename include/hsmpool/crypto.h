/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations: each borrows a session, does its work and gives the session back.
 *
 * Every function is thread-safe. A deadline bounds the wait for a session. What may
 * be repeated after a loss is repeated once within the same deadline; err->executed
 * tells whether the HSM may have done the work of a call that failed.
 *
 * Schemes, by name (a ':' adds options, several are joined by ','):
 *
 *   encryption  aes-gcm[:tag=N]  aes-cbc-pad  aes-cbc  aes-ctr
 *               rsa-oaep-{sha1,sha256,sha384,sha512}  rsa-pkcs1
 *               tag=N: bytes of the tag, 12 to 16 (16)
 *   signature   rsa-pkcs1-{sha1,sha224,sha256,sha384,sha512}
 *               rsa-pss-{sha1,sha224,sha256,sha384,sha512}[:salt=N]
 *               salt=N: bytes of the salt (as many as the digest has)
 *               ecdsa-{sha1,sha224,sha256,sha384,sha512}[:raw]  ed25519
 *               :digest on any of them but ed25519: the message is the digest already
 *               :raw on ecdsa: r || s instead of DER
 *   mac         hmac-{sha1,sha224,sha256,sha384,sha512}  aes-cmac
 *   digest      sha1 sha224 sha256 sha384 sha512
 *
 * Errors common to all, beside those of hsmpool_borrow():
 *
 * HSMPOOL_ERR_USAGE        unknown scheme or option, wrong length
 * HSMPOOL_ERR_KEY          the key's type or usage does not fit
 * HSMPOOL_ERR_DATA         it did not decrypt or verify; always the same text
 * HSMPOOL_ERR_SPACE        out->cap is too small; out->len says what is needed
 * HSMPOOL_ERR_UNSUPPORTED  the token does not have the mechanism
 */
#ifndef HSMPOOL_CRYPTO_H
#define HSMPOOL_CRYPTO_H

#include <hsmpool/key.h>
#include <hsmpool/pool.h>
#include <hsmpool/status.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
	/* The caller vouches that params->iv was never used with this key before. */
	HSMPOOL_CALLER_IV = 1u << 0,
};

/* Parameters of a cipher. NULL where a function takes one means: none. */
typedef struct hsmpool_params {
	size_t size;       /* sizeof(hsmpool_params) */
	uint32_t flags;    /* HSMPOOL_CALLER_IV */
	hsmpool_bytes aad; /* aes-gcm: authenticated, not encrypted */
	hsmpool_bytes iv;  /* see hsmpool_encrypt() */
	hsmpool_bytes oaep_label;
} hsmpool_params;

/*
 * hsmpool_encrypt, hsmpool_decrypt
 *
 * By default a random IV (96 bits for GCM, 128 for CBC and CTR) is made here and
 * written in front: the output is IV || ciphertext [|| tag], which hsmpool_decrypt()
 * takes back. With HSMPOOL_CALLER_IV the given params->iv is used and not written.
 * For decryption a given params->iv means the input does not begin with one.
 * Nothing of a ciphertext that does not verify is released.
 *
 * Input and output may overlap. An IV of the caller's has 1 to 128 bytes for GCM (use
 * 12), 16 for CBC and CTR. aes-cbc takes whole blocks.
 *
 * With offload-public = yes RSA encryption runs in OpenSSL on the public key.
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status
hsmpool_encrypt(hsmpool *pool, hsmpool_key *key, const char *scheme,
		const hsmpool_params *params, hsmpool_bytes plaintext, hsmpool_buf *out,
		hsmpool_deadline deadline, hsmpool_error *err);
HSMPOOL_API HSMPOOL_CHECK hsmpool_status
hsmpool_decrypt(hsmpool *pool, hsmpool_key *key, const char *scheme,
		const hsmpool_params *params, hsmpool_bytes ciphertext, hsmpool_buf *out,
		hsmpool_deadline deadline, hsmpool_error *err);

/*
 * hsmpool_sign, hsmpool_verify
 *
 * ECDSA signatures are DER (RFC 3279) unless the scheme says ":raw". A signature is
 * repeated after a loss only as the option sign-retry, of the pool or the key,
 * allows. hsmpool_verify() returns HSMPOOL_OK or HSMPOOL_ERR_DATA.
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status
hsmpool_sign(hsmpool *pool, hsmpool_key *key, const char *scheme, hsmpool_bytes message,
	     hsmpool_buf *signature, hsmpool_deadline deadline, hsmpool_error *err);
HSMPOOL_API HSMPOOL_CHECK hsmpool_status
hsmpool_verify(hsmpool *pool, hsmpool_key *key, const char *scheme, hsmpool_bytes message,
	       hsmpool_bytes signature, hsmpool_deadline deadline, hsmpool_error *err);

/* Full-length MACs; comparison in constant time, HSMPOOL_ERR_DATA if different. */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status
hsmpool_mac(hsmpool *pool, hsmpool_key *key, const char *scheme, hsmpool_bytes message,
	    hsmpool_buf *mac, hsmpool_deadline deadline, hsmpool_error *err);
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_mac_verify(
	hsmpool *pool, hsmpool_key *key, const char *scheme, hsmpool_bytes message,
	hsmpool_bytes mac, hsmpool_deadline deadline, hsmpool_error *err);

/* A digest made by the token. */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_digest(hsmpool *pool, const char *scheme,
							hsmpool_bytes message,
							hsmpool_buf *digest,
							hsmpool_deadline deadline,
							hsmpool_error *err);

/* Fill len bytes at data from the token's random number generator. */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_random(hsmpool *pool, uint8_t *data,
							size_t len,
							hsmpool_deadline deadline,
							hsmpool_error *err);

/* The raw ECDH secret with peer's public key (see hsmpool_key_derive()). The token
 * must allow the secret to be read. The caller wipes it. */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status
hsmpool_derive_secret(hsmpool *pool, hsmpool_key *private_key, hsmpool_bytes peer,
		      hsmpool_buf *secret, hsmpool_deadline deadline, hsmpool_error *err);

/*
 * Multi-part operations. One holds a session from begin to final or abort, and is
 * lost with it: an error ends the operation, nothing is repeated. One thread at a
 * time may use it; pool and key must outlive it. HSMPOOL_MULTIPART_SIGN takes signature
 * and mac schemes; the rsa-* encryptions, ed25519 and ":digest" work in one part only.
 */
typedef struct hsmpool_multipart hsmpool_multipart;

typedef enum hsmpool_multipart_kind {
	HSMPOOL_MULTIPART_ENCRYPT = 0,
	HSMPOOL_MULTIPART_DECRYPT = 1,
	HSMPOOL_MULTIPART_SIGN = 2,
	HSMPOOL_MULTIPART_DIGEST = 3,
} hsmpool_multipart_kind;

/*
 * hsmpool_multipart_begin - borrow a session and start.
 *
 * key is NULL for a digest. Encryption: the IV made here is the first output of the
 * first update. Decryption without params->iv: it is taken from the first input.
 * Decrypted data of an update is *not yet verified* where the cipher authenticates
 * only at the end: do not use it before final succeeded.
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_multipart_begin(
	hsmpool_multipart **out, hsmpool *pool, hsmpool_key *key,
	hsmpool_multipart_kind kind, const char *scheme, const hsmpool_params *params,
	hsmpool_deadline deadline, hsmpool_error *err);

/* Give input. out is ignored for sign and digest and may be NULL there; else it
 * needs room for in.len + 32 bytes apart from in. HSMPOOL_ERR_SPACE leaves the operation
 * going. */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_multipart_update(hsmpool_multipart *op,
								  hsmpool_bytes in,
								  hsmpool_buf *out,
								  hsmpool_error *err);

/* The last output (remaining data, signature, digest); returns the session and
 * clears *op, except on HSMPOOL_ERR_SPACE: then call again with more room. */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_multipart_final(hsmpool_multipart **op,
								 hsmpool_buf *out,
								 hsmpool_error *err);

/* Give up: the session is cleaned or replaced. Accepts NULL. */
HSMPOOL_API void hsmpool_multipart_abort(hsmpool_multipart **op);

#ifdef __cplusplus
}
#endif
#endif

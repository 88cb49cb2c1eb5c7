/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys: found by URI, generated, imported, wrapped, derived, destroyed.
 *
 * An hsmpool_key names a key, it does not hold one: it carries the selector of its
 * pkcs11: URI, finds the object when first used, and finds it again after the HSM
 * lost it. A private key and the public key of the same CKA_ID are one hsmpool_key.
 * Keys are thread-safe and must be closed before their pool.
 */
#ifndef HSMPOOL_KEY_H
#define HSMPOOL_KEY_H

#include <hsmpool/pool.h>
#include <hsmpool/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hsmpool_key hsmpool_key;

/*
 * hsmpool_key_open - name a key and see that it is there.
 *
 * which is an RFC 7512 URI ("pkcs11:object=payments;type=private"; id, object and
 * type select, the token's attributes must agree with the pool's token), or the
 * NAME of a [key NAME] section. Attributes pin-value, module-path and module-name
 * are refused.
 *
 * HSMPOOL_ERR_USAGE  not a URI and not a configured name
 * HSMPOOL_ERR_KEY    no object matches, or several different keys do (listed)
 * and the errors of hsmpool_borrow().
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_key_open(hsmpool_key **out,
							  hsmpool *pool,
							  const char *which,
							  hsmpool_deadline deadline,
							  hsmpool_error *err);

/* Frees and clears *key; the object on the token stays. Accepts NULL. */
HSMPOOL_API void hsmpool_key_close(hsmpool_key **key);

/* CKA_* facts, as bits of hsmpool_key_info.flags. */
enum {
	HSMPOOL_KEY_TOKEN = 1u << 0,
	HSMPOOL_KEY_PRIVATE = 1u << 1,
	HSMPOOL_KEY_SENSITIVE = 1u << 2,
	HSMPOOL_KEY_EXTRACTABLE = 1u << 3,
	HSMPOOL_KEY_NEVER_EXTRACTABLE = 1u << 4,
	HSMPOOL_KEY_LOCAL = 1u << 5,
	HSMPOOL_KEY_ALWAYS_AUTHENTICATE = 1u << 6,
	HSMPOOL_KEY_MODIFIABLE = 1u << 7,
	HSMPOOL_KEY_CAN_ENCRYPT = 1u << 8,
	HSMPOOL_KEY_CAN_DECRYPT = 1u << 9,
	HSMPOOL_KEY_CAN_SIGN = 1u << 10,
	HSMPOOL_KEY_CAN_VERIFY = 1u << 11,
	HSMPOOL_KEY_CAN_WRAP = 1u << 12,
	HSMPOOL_KEY_CAN_UNWRAP = 1u << 13,
	HSMPOOL_KEY_CAN_DERIVE = 1u << 14,
};

/* One key object of the token. */
typedef struct hsmpool_key_info {
	size_t size;         /* set to sizeof(hsmpool_key_info) before the call */
	char uri[512];       /* pkcs11: URI that selects exactly this object */
	char class_name[16]; /* "private", "public", "secret-key" */
	char type[24];       /* "aes", "rsa", "ec", "ed25519", "generic", "0x..." */
	char label[128];     /* bytes outside printable UTF-8 appear as '?' */
	char curve[24];      /* "P-256" ..., empty if not EC or not known */
	uint8_t id[64];
	size_t id_len;
	uint8_t check_value[32]; /* CKA_CHECK_VALUE, as far as the token gives one */
	size_t check_value_len;
	uint32_t bits;  /* key size; 0 if the token does not say */
	uint32_t flags; /* HSMPOOL_KEY_* */
} hsmpool_key_info;

/* The facts of the object that the key's private operations use (private or secret
 * key; the public one if there is no other). */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_key_get_info(hsmpool_key *key,
							      hsmpool_key_info *info,
							      hsmpool_deadline deadline,
							      hsmpool_error *err);

/* Called once per key object; no lock is held and no session borrowed. Return
 * nonzero to stop. info is valid during the call. */
typedef int (*hsmpool_key_fn)(void *user, const hsmpool_key_info *info);

/* Every key object that matches uri (NULL: all), in the token's order. */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_key_list(hsmpool *pool, const char *uri,
							  hsmpool_key_fn fn, void *user,
							  hsmpool_deadline deadline,
							  hsmpool_error *err);

/*
 * What a new key shall be. Zero the structure, set size, then what differs from
 * the default: a token object, private, sensitive, not extractable, with the least
 * usage that its type is for (aes: encrypt+decrypt; generic: sign+verify as a MAC
 * key; rsa and ec: sign/verify; ed25519: sign/verify).
 */
typedef struct hsmpool_key_spec {
	size_t size;       /* sizeof(hsmpool_key_spec) */
	const char *type;  /* "aes", "generic", "rsa", "ec", "ed25519" */
	uint32_t bits;     /* aes 128/192/256 (256), generic (256), rsa (3072) */
	const char *curve; /* "P-256" (default), "P-384", "P-521" */
	const char *label; /* at most 127 bytes; must not be taken on the token */
	const uint8_t *id; /* CKA_ID, 1 to 64 bytes; NULL: 16 random bytes */
	size_t id_len;
	uint32_t usage;               /* HSMPOOL_KEY_CAN_*; 0: the default of the type */
	uint32_t extractable;         /* 1: may be wrapped and leave the token */
	uint32_t always_authenticate; /* 1: PIN before each use (private keys) */
} hsmpool_key_spec;

/*
 * hsmpool_key_generate - make a key in the HSM, and open it.
 *
 * Never repeated automatically: after a failure with executed UNKNOWN look with
 * hsmpool_key_list() before trying again. Needs a read-write session.
 *
 * HSMPOOL_ERR_EXISTS       label or id is taken
 * HSMPOOL_ERR_USAGE        type, bits, curve or usage do not fit together
 * HSMPOOL_ERR_UNSUPPORTED  the token cannot make such a key
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status
hsmpool_key_generate(hsmpool_key **out, hsmpool *pool, const hsmpool_key_spec *spec,
		     hsmpool_deadline deadline, hsmpool_error *err);

/*
 * hsmpool_key_import_public, _secret - bring a key in.
 *
 * Public: a PEM or DER SubjectPublicKeyInfo (RSA, EC, Ed25519); type, bits and curve
 * are taken from it. Secret: the key's bytes, spec->type "aes" or "generic". The
 * imported secret key is sensitive and not extractable unless spec says so, but it
 * was outside the HSM: CKA_LOCAL is false for ever. Errors as hsmpool_key_generate().
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_key_import_public(
	hsmpool_key **out, hsmpool *pool, const hsmpool_key_spec *spec,
	hsmpool_bytes public_key, hsmpool_deadline deadline, hsmpool_error *err);
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_key_import_secret(
	hsmpool_key **out, hsmpool *pool, const hsmpool_key_spec *spec,
	hsmpool_bytes secret, hsmpool_deadline deadline, hsmpool_error *err);

/* The public half as PEM SubjectPublicKeyInfo, NUL-terminated (len without the NUL,
 * cap with it). HSMPOOL_ERR_KEY: a secret key, or no public part on the token. */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status
hsmpool_key_export_public(hsmpool_key *key, hsmpool_buf *pem, hsmpool_deadline deadline,
			  hsmpool_error *err);

/* Destroy the key's objects on the token: private and public half, or the secret
 * key. There is no way back. The hsmpool_key remains to be closed. */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_key_destroy(hsmpool_key *key,
							     hsmpool_deadline deadline,
							     hsmpool_error *err);

/*
 * hsmpool_key_wrap, _unwrap - carry a key out of and into the token, encrypted
 * under another key of the token.
 *
 * Schemes: "aes-kw", "aes-kwp", "rsa-oaep-sha1" (or another hash the token has),
 * "rsa-pkcs1". The wrapped key must be extractable. The unwrapped key is made by
 * spec (type, label, id, usage, extractable) as in hsmpool_key_generate().
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status
hsmpool_key_wrap(hsmpool_key *wrapping_key, const char *scheme, hsmpool_key *key,
		 hsmpool_buf *wrapped, hsmpool_deadline deadline, hsmpool_error *err);
HSMPOOL_API HSMPOOL_CHECK hsmpool_status
hsmpool_key_unwrap(hsmpool_key **out, hsmpool_key *unwrapping_key, const char *scheme,
		   hsmpool_bytes wrapped, const hsmpool_key_spec *spec,
		   hsmpool_deadline deadline, hsmpool_error *err);

/*
 * hsmpool_key_derive - ECDH with another party's public key.
 *
 * peer is that key as PEM or DER SubjectPublicKeyInfo, or as the uncompressed point.
 * With spec the shared secret becomes a token key ("aes" or "generic"; its leading
 * bytes are cut as PKCS#11 says) opened as *out; hsmpool_derive_secret() (crypto.h)
 * gives the bytes instead. The raw ECDH secret should go through a KDF.
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_key_derive(
	hsmpool_key **out, hsmpool_key *private_key, hsmpool_bytes peer,
	const hsmpool_key_spec *spec, hsmpool_deadline deadline, hsmpool_error *err);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key: selector, cached handle of a generation, facts and fingerprint.
 *
 * A handle is found by one search on a borrowed session (single flight per key, under
 * the key's own lock, which is never taken with a pool's lock held), accepted again
 * after a loss only if the fingerprint is equal. The hot path reads handle and
 * generation from atomics, without the lock.
 */
#ifndef HP_CRYPTO_KEY_H
#define HP_CRYPTO_KEY_H

#include <hsmpool/key.h>
#include "config/options.h"
#include "p11/identity.h"
#include "p11/session.h"

/* Which object of the key an operation uses. */
enum hp_key_role {
	HP_KEY_FOR_PRIVATE_USE, /* sign, decrypt, unwrap, derive: private, else secret */
	HP_KEY_FOR_PUBLIC_USE,  /* verify, encrypt, wrap: secret, else public */
	HP_KEY_ROLE_COUNT
};

/* What is known of the object of one role, read once, at the key's first use. */
struct hp_key_facts {
	CK_OBJECT_CLASS class;
	CK_KEY_TYPE type;
	uint32_t bits; /* RSA modulus, AES/generic key, EC field; 0 unknown */
	bool always_authenticate;
	bool is_token_object;
	uint8_t fingerprint[32]; /* SHA-256, see facts.c */
};

/*
 * The handle to use on the borrowed session s, of s->generation, searching for it on
 * s if the cached one is of another generation. *rv: the CK_RV behind a failure (to be
 * passed to hp_pool_return; CKR_OK for a failure of our own, with err filled). The
 * facts stay valid as long as the key.
 */
hsmpool_status hp_key_handle(hsmpool_key *key, struct hp_session *s,
			     enum hp_key_role role, int64_t deadline_ns,
			     CK_OBJECT_HANDLE *handle, const struct hp_key_facts **facts,
			     CK_RV *rv, hsmpool_error *err);

/* A module said that the handle is not valid: search at the next use. */
void hp_key_forget_handle(hsmpool_key *key, enum hp_key_role role);

/* With key-copies = session: have the session-object copy of this generation made (a
 * borrow of the anchor of its own, so call it before borrowing). Nothing to do in the
 * good case: one atomic load. Failing to copy is not an error: the original is used. */
void hp_key_prepare(hsmpool_key *key, enum hp_key_role role, int64_t deadline_ns);

/* Whether the handle in use may be that of a session-object copy, which dies with the
 * session that owns it, also under another thread's call. */
bool hp_key_may_be_copy(const hsmpool_key *key);

/* Who it is, in that role: after hp_key_handle() succeeded, as long as the key. */
const struct hp_key_identity *hp_key_identity(const hsmpool_key *key,
					      enum hp_key_role role);
/* The same at any time: what it was asked for by, as long as it was not found. */
const struct hp_key_identity *hp_key_known_as(hsmpool_key *key, enum hp_key_role role);
/* What it was asked for by: label and id of the URI, no fingerprint. */
const struct hp_key_identity *hp_key_selected(const hsmpool_key *key);

hsmpool *hp_key_pool(const hsmpool_key *key);
/* For texts: the configured name, or the label, or the URI. */
const char *hp_key_name(const hsmpool_key *key);
/* [key NAME] or the pool's. counting = yes is NO. */
enum hp_sign_retry hp_key_sign_retry(const hsmpool_key *key);
/* Each use is counted or limited: nothing that was submitted is ever repeated. */
bool hp_key_is_counting(const hsmpool_key *key);

/* What selects a key, from what a user names it by: which itself if it is a URI (*named
 * is NULL then), or the uri of [key WHICH]. */
hsmpool_status hp_key_which(hsmpool *pool, const char *which, const char **uri,
			    const struct hp_key_options **named, hsmpool_error *err);

/* The public half as an OpenSSL key (cached in the key; the caller owns a reference of
 * its own): for offload-public, PEM export and RSA recipients. */
struct evp_pkey_st;
hsmpool_status hp_key_public(hsmpool_key *key, hsmpool_deadline deadline,
			     struct evp_pkey_st **out, hsmpool_error *err);

#endif

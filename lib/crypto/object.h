/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key objects of the token as the key files (find, facts, key, copies, info, create)
 * pass them around (p11/fingerprint.h has the single one), and the inside of an
 * hsmpool_key.
 */
#ifndef HP_CRYPTO_OBJECT_H
#define HP_CRYPTO_OBJECT_H

#include <pthread.h>
#include <stdatomic.h>
#include "crypto/key.h"
#include "crypto/attachment.h"
#include "p11/fingerprint.h"
#include "p11/uri.h"

/* The objects that make up one key; handle CK_INVALID_HANDLE where there is none. */
struct hp_key_objects {
	struct hp_object own;         /* private or secret key */
	struct hp_object public_half; /* public key */
};

/* The cached object of one role. Written under key->lock; sequence is odd during a
 * write, so that the hot path reads a matching pair without the lock. */
struct hp_key_slot {
	_Atomic uint32_t sequence;
	_Atomic uint64_t generation; /* 0: none */
	_Atomic CK_OBJECT_HANDLE handle;
	/* Written once, before generation is first set; not changed after. */
	bool has_facts;
	struct hp_key_facts facts;
	struct hp_key_identity identity;
};

struct hsmpool_key {
	hsmpool *pool;
	struct hp_attachment *attachment; /* a reference */
	struct hp_uri *uri;
	struct hp_uri_object select; /* points into uri */
	char name[128];
	struct hp_key_identity selected; /* what select says of it */
	bool has_sign_retry;             /* else the pool's */
	enum hp_sign_retry sign_retry;
	bool is_counting;
	bool may_be_copied; /* key-copies = session, and nothing speaks against it yet */
	struct hp_key_slot slot[HP_KEY_ROLE_COUNT];
	struct evp_pkey_st *_Atomic public_key; /* public.c: NULL until asked for */

	pthread_mutex_t lock;
	/* guarded by lock: what the last search found, for a role's first use */
	struct hp_key_objects found;
	uint64_t found_generation; /* 0: nothing */

	/* copies.c */
	struct hp_copy *copy; /* guarded by lock: a reference */
	/* of each role: the generation for which it was decided whether a copy is used */
	uint64_t copy_generation[HP_KEY_ROLE_COUNT]; /* guarded by lock */
	_Atomic bool wants_copy[HP_KEY_ROLE_COUNT];  /* it is to be decided */
	_Atomic bool is_copying;
	_Atomic int64_t copy_retry_ns; /* coarse: do not try to make one before */
	_Atomic int64_t copy_check_ns; /* coarse: look at the original again then */
};

/* --- find.c -------------------------------------------------------------------- */

/* The token objects that are keys and that select picks, malloc()ed; at most cap of
 * them, *more says that there are others. */
CK_RV hp_find_keys(struct hp_session *s, const struct hp_uri_object *select, CK_ULONG cap,
		   struct hp_object **out, size_t *count, bool *more);

/* The one key that key's selector picks. KEY (with *rv CKR_OK) if there is none or
 * there are several. */
hsmpool_status hp_find_key(const hsmpool_key *key, struct hp_session *s,
			   struct hp_key_objects *out, CK_RV *rv, hsmpool_error *err);

/* A template for searches of token objects by select; room for 4 attributes. */
CK_ULONG hp_find_template(const struct hp_uri_object *select, CK_ATTRIBUTE *template);

/* --- facts.c ------------------------------------------------------------------- */

/* public_half: where the key has one it may be in there already; if not it is searched
 * for, as far as the fingerprint needs it. NULL: no fingerprint is needed. */
CK_RV hp_read_facts(struct hp_session *s, const struct hp_object *object,
		    const struct hp_object *public_half, struct hp_key_facts *facts);

/* --- key.c --------------------------------------------------------------------- */

/* A key for a URI or a configured name; nothing is searched. */
hsmpool_status hp_key_new(hsmpool *pool, const char *which, hsmpool_key **out,
			  hsmpool_error *err);
/* Before its first use: never work with a session copy of it. */
void hp_key_use_original(hsmpool_key *key);
/* What a creation made, so that the first use need not search. */
void hp_key_remember(hsmpool_key *key, const struct hp_key_objects *objects,
		     uint64_t generation);
/* Under key->lock: find the role's object on s, accept and publish it. Failures as
 * hp_key_handle(). */
hsmpool_status hp_key_resolve_locked(hsmpool_key *key, struct hp_session *s,
				     enum hp_key_role role, CK_OBJECT_HANDLE *handle,
				     CK_RV *rv, hsmpool_error *err);
/* Under key->lock: make handle the one that role uses in generation. */
void hp_key_publish(hsmpool_key *key, enum hp_key_role role, uint64_t generation,
		    CK_OBJECT_HANDLE handle);

/* "private", "public", "secret-key", or "" */
const char *hp_class_name(CK_OBJECT_CLASS class);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool_key: opened by URI or name, its handles cached per generation.
 *
 * Owns: the slots (one per role) and the rule under which a handle found again is
 * accepted: equal fingerprint, unique match. Lock: key->lock makes a search single
 * flight; it is taken with a session in hand and never held while one is waited for.
 */
#include "crypto/object.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <openssl/evp.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/time.h"
#include "crypto/copies.h"
#include "crypto/operation.h"
#include "pool/live.h"

hsmpool *hp_key_pool(const hsmpool_key *key)
{
	return key->pool;
}

const char *hp_key_name(const hsmpool_key *key)
{
	return key->name;
}

const struct hp_key_identity *hp_key_identity(const hsmpool_key *key,
					      enum hp_key_role role)
{
	return &key->slot[role].identity;
}

const struct hp_key_identity *hp_key_known_as(hsmpool_key *key, enum hp_key_role role)
{
	pthread_mutex_lock(&key->lock);
	bool is_found = key->slot[role].has_facts;
	pthread_mutex_unlock(&key->lock);
	return is_found ? &key->slot[role].identity : &key->selected;
}

const struct hp_key_identity *hp_key_selected(const hsmpool_key *key)
{
	return &key->selected;
}

enum hp_sign_retry hp_key_sign_retry(const hsmpool_key *key)
{
	return key->has_sign_retry
		       ? key->sign_retry
		       : (enum hp_sign_retry)hp_pool_live(key->pool)->sign_retry;
}

bool hp_key_is_counting(const hsmpool_key *key)
{
	return key->is_counting;
}

/* --- the cached handle ------------------------------------------------------------ */

/* The pair as one writer left it; false while one writes, or of another generation. */
static bool read_slot(const struct hp_key_slot *slot, uint64_t generation,
		      CK_OBJECT_HANDLE *handle)
{
	uint32_t before = atomic_load_explicit(&slot->sequence, memory_order_acquire);
	uint64_t of = atomic_load_explicit(&slot->generation, memory_order_acquire);

	*handle = atomic_load_explicit(&slot->handle, memory_order_acquire);
	return of == generation && (before & 1) == 0 &&
	       atomic_load_explicit(&slot->sequence, memory_order_relaxed) == before;
}

void hp_key_publish(hsmpool_key *key, enum hp_key_role role, uint64_t generation,
		    CK_OBJECT_HANDLE handle)
{
	struct hp_key_slot *slot = &key->slot[role];
	uint32_t sequence = atomic_load_explicit(&slot->sequence, memory_order_relaxed);

	atomic_store_explicit(&slot->sequence, sequence + 1, memory_order_relaxed);
	atomic_store_explicit(&slot->handle, handle, memory_order_release);
	atomic_store_explicit(&slot->generation, generation, memory_order_release);
	atomic_store_explicit(&slot->sequence, sequence + 2, memory_order_release);
}

void hp_key_forget_handle(hsmpool_key *key, enum hp_key_role role)
{
	atomic_store_explicit(&key->slot[role].generation, 0, memory_order_release);
}

void hp_key_use_original(hsmpool_key *key)
{
	key->may_be_copied = false;
	for (int role = 0; role < HP_KEY_ROLE_COUNT; role++)
		atomic_store(&key->wants_copy[role], false);
}

bool hp_key_may_be_copy(const hsmpool_key *key)
{
	return key->may_be_copied;
}

void hp_key_remember(hsmpool_key *key, const struct hp_key_objects *objects,
		     uint64_t generation)
{
	pthread_mutex_lock(&key->lock);
	key->found = *objects;
	key->found_generation = generation;
	pthread_mutex_unlock(&key->lock);
}

/* --- from selector to handle -------------------------------------------------------- */

/* The objects of the key in the session's generation: what was found when the key was
 * opened, for the first use of a role, else by a search. */
static hsmpool_status find_objects(hsmpool_key *key, struct hp_session *s,
				   const struct hp_key_slot *slot, CK_RV *rv,
				   hsmpool_error *err)
{
	*rv = CKR_OK;
	if (!slot->has_facts && key->found_generation == s->generation)
		return HSMPOOL_OK;
	key->found_generation = 0;
	HP_TRY(hp_find_key(key, s, &key->found, rv, err));
	key->found_generation = s->generation;
	return HSMPOOL_OK;
}

/* The object that role uses; its handle is invalid if the key has none. A URI that
 * names the private key still means the pair, whose public half has the same id. */
static const struct hp_object *object_of_role(hsmpool_key *key, struct hp_session *s,
					      enum hp_key_role role, CK_RV *rv)
{
	struct hp_key_objects *found = &key->found;

	if (role == HP_KEY_FOR_PRIVATE_USE || found->own.class == CKO_SECRET_KEY)
		return &found->own;
	if (found->public_half.handle == CK_INVALID_HANDLE &&
	    found->own.handle != CK_INVALID_HANDLE)
		*rv = hp_find_public_half(s, &found->own, &found->public_half);
	return &found->public_half;
}

static hsmpool_status refuse_missing_half(const hsmpool_key *key, enum hp_key_role role,
					  hsmpool_error *err)
{
	return hp_fail(
		err, HSMPOOL_ERR_KEY, "key '%s': %s", hp_key_name(key),
		role == HP_KEY_FOR_PRIVATE_USE
			? "only its public half is there, this needs the private key"
			: "its public half is not on the token; import it with the "
			  "same id");
}

/* Accept the object for the role: the first one sets facts and fingerprint, a later
 * one must be the same key. */
static hsmpool_status accept_object(hsmpool_key *key, struct hp_session *s,
				    enum hp_key_role role, const struct hp_object *object,
				    CK_RV *rv, hsmpool_error *err)
{
	struct hp_key_slot *slot = &key->slot[role];
	struct hp_key_facts facts;

	*rv = hp_read_facts(s, object, &key->found.public_half, &facts);
	if (*rv != CKR_OK) {
		key->found_generation = 0;
		return HSMPOOL_ERR_DOWN; /* the caller makes status and text of *rv */
	}
	if (!slot->has_facts) {
		slot->facts = facts;
		hp_key_identify(&slot->identity, object, facts.fingerprint);
		slot->has_facts = true;
	}
	HP_CHECK(memcmp(slot->facts.fingerprint, facts.fingerprint,
			sizeof(facts.fingerprint)) == 0,
		 err, HSMPOOL_ERR_KEY,
		 "key '%s' is another key now than the one that was used before; open it "
		 "again if that is meant",
		 hp_key_name(key));
	return HSMPOOL_OK;
}

/* Under key->lock: the handle of another generation that this one goes on with. */
static bool carry_over(hsmpool_key *key, const struct hp_session *s,
		       enum hp_key_role role, CK_OBJECT_HANDLE *handle)
{
	struct hp_key_slot *slot = &key->slot[role];
	uint64_t of = atomic_load(&slot->generation);

	*handle = atomic_load(&slot->handle);
	if (of == 0 || !hp_pool_carries(key->pool, of, s->generation, false))
		return false;
	if (of < s->generation) {
		hp_copies_carry(key, role, of, s->generation);
		hp_key_publish(key, role, s->generation, *handle);
	}
	return true;
}

/* Under key->lock. */
static hsmpool_status resolve(hsmpool_key *key, struct hp_session *s,
			      enum hp_key_role role, CK_OBJECT_HANDLE *handle, CK_RV *rv,
			      hsmpool_error *err)
{
	HP_TRY(find_objects(key, s, &key->slot[role], rv, err));
	const struct hp_object *object = object_of_role(key, s, role, rv);
	if (*rv != CKR_OK)
		return HSMPOOL_ERR_DOWN;
	if (object->handle == CK_INVALID_HANDLE) {
		/* Maybe it is hidden, because the login was lost: look again. */
		key->found_generation = 0;
		*rv = hp_pool_look(s);
		return *rv == CKR_OK ? refuse_missing_half(key, role, err)
				     : HSMPOOL_ERR_DOWN;
	}
	HP_TRY(accept_object(key, s, role, object, rv, err));
	*handle = object->handle;
	hp_key_publish(key, role, s->generation, *handle);
	return HSMPOOL_OK;
}

hsmpool_status hp_key_resolve_locked(hsmpool_key *key, struct hp_session *s,
				     enum hp_key_role role, CK_OBJECT_HANDLE *handle,
				     CK_RV *rv, hsmpool_error *err)
{
	*rv = CKR_OK;
	if (read_slot(&key->slot[role], s->generation, handle) ||
	    carry_over(key, s, role, handle))
		return HSMPOOL_OK;
	HP_TRY(resolve(key, s, role, handle, rv, err));
	if (key->may_be_copied && key->copy_generation[role] != s->generation)
		atomic_store(&key->wants_copy[role], true);
	return HSMPOOL_OK;
}

static hsmpool_status handle_by_search(hsmpool_key *key, struct hp_session *s,
				       enum hp_key_role role, int64_t deadline_ns,
				       CK_OBJECT_HANDLE *handle, CK_RV *rv,
				       hsmpool_error *err)
{
	HP_CHECK(hp_mutex_lock_until(&key->lock, deadline_ns), err, HSMPOOL_ERR_TIMEOUT,
		 "key '%s': another thread's search for it takes too long",
		 hp_key_name(key));
	hsmpool_status status = hp_key_resolve_locked(key, s, role, handle, rv, err);
	pthread_mutex_unlock(&key->lock);
	if (*rv != CKR_OK)
		status = hp_rv_fail(err, *rv, "find key '%s'", hp_key_name(key));
	return status;
}

hsmpool_status hp_key_handle(hsmpool_key *key, struct hp_session *s,
			     enum hp_key_role role, int64_t deadline_ns,
			     CK_OBJECT_HANDLE *handle, const struct hp_key_facts **facts,
			     CK_RV *rv, hsmpool_error *err)
{
	*rv = CKR_OK;
	if (facts)
		*facts = &key->slot[role].facts;
	if (key->may_be_copied)
		HP_TRY(hp_copies_check_original(key, s, rv, err));
	if (read_slot(&key->slot[role], s->generation, handle))
		return HSMPOOL_OK;
	return handle_by_search(key, s, role, deadline_ns, handle, rv, err);
}

/* --- open and close --------------------------------------------------------------- */

/* For texts: printable, cut at the field's end. */
static void set_name(hsmpool_key *key, const char *text, size_t len)
{
	size_t cap = sizeof(key->name) - 1;

	len = len < cap ? len : cap;
	for (size_t i = 0; i < len; i++)
		key->name[i] =
			(unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];
	key->name[len] = '\0';
}

static hsmpool_status check_token(hsmpool_key *key, const char *uri_text,
				  hsmpool_error *err)
{
	struct hp_token token;

	hp_pool_token(key->pool, &token);
	HP_CHECK(hp_uri_matches_token(key->uri, token.slot, &token.info), err,
		 HSMPOOL_ERR_KEY, "key '%s' is on another token than the pool's",
		 uri_text);
	return HSMPOOL_OK;
}

hsmpool_status hp_key_which(hsmpool *pool, const char *which, const char **uri,
			    const struct hp_key_options **named, hsmpool_error *err)
{
	*named = NULL;
	*uri = which;
	HP_CHECK(which, err, HSMPOOL_ERR_USAGE, "open a key: no URI or name is given");
	if (strncasecmp(which, "pkcs11:", 7) == 0)
		return HSMPOOL_OK;
	*named = hp_attachment_key(hp_attachment_of(pool), which);
	HP_CHECK(*named, err, HSMPOOL_ERR_USAGE,
		 "key '%.100s': neither a pkcs11: URI nor a [key %.100s] of the "
		 "configuration",
		 which, which);
	HP_CHECK((*named)->uri, err, HSMPOOL_ERR_CONFIG, "[key %.100s] has no uri",
		 which);
	*uri = (*named)->uri;
	return HSMPOOL_OK;
}

static void apply_options(hsmpool_key *key, const struct hp_key_options *named)
{
	const struct hp_pool_options *options = hp_pool_options(key->pool);

	key->has_sign_retry = named && (named->has_sign_retry || named->counting);
	if (named)
		key->sign_retry = named->sign_retry;
	if (named && named->counting) {
		key->is_counting = true;
		key->sign_retry = HP_SIGN_RETRY_NO;
	}
	key->may_be_copied = options->key_copies == HP_KEY_COPIES_SESSION &&
			     !key->is_counting && key->attachment;
	atomic_init(&key->copy_check_ns, HP_FOREVER);
	for (int role = 0; role < HP_KEY_ROLE_COUNT; role++)
		atomic_init(&key->wants_copy[role], key->may_be_copied);
}

static void note_selected(hsmpool_key *key)
{
	struct hp_object names = { .class = CK_UNAVAILABLE_INFORMATION,
				   .type = CK_UNAVAILABLE_INFORMATION };

	if (key->select.has_label && key->select.label_len <= sizeof(names.label))
		memcpy(names.label, key->select.label,
		       names.label_len = key->select.label_len);
	if (key->select.has_id && key->select.id_len <= sizeof(names.id))
		memcpy(names.id, key->select.id, names.id_len = key->select.id_len);
	hp_key_identify(&key->selected, &names, NULL);
}

static hsmpool_status set_selector(hsmpool_key *key, const char *uri_text,
				   const char *name, hsmpool_error *err)
{
	HP_TRY(hp_uri_parse(uri_text, &key->uri, err));
	hp_uri_object(key->uri, &key->select);
	note_selected(key);
	if (name)
		set_name(key, name, strlen(name));
	else if (key->select.has_label)
		set_name(key, key->select.label, key->select.label_len);
	else
		set_name(key, uri_text, strlen(uri_text));
	return check_token(key, uri_text, err);
}

hsmpool_status hp_key_new(hsmpool *pool, const char *which, hsmpool_key **out,
			  hsmpool_error *err)
{
	const struct hp_key_options *named;
	const char *uri_text;

	*out = NULL;
	HP_TRY(hp_key_which(pool, which, &uri_text, &named, err));
	hsmpool_key *key = calloc(1, sizeof(*key));
	HP_CHECK(key, err, HSMPOOL_ERR_SYSTEM, "open a key: no memory");
	key->pool = pool;
	key->attachment = hp_attachment_hold(hp_attachment_of(pool));
	pthread_mutex_init(&key->lock, NULL);
	apply_options(key, named);
	hsmpool_status status = set_selector(key, uri_text, named ? which : NULL, err);
	if (status != HSMPOOL_OK)
		hsmpool_key_close(&key);
	*out = key;
	return status;
}

static CK_RV run_open(struct hp_operation *op, struct hp_session *s,
		      CK_OBJECT_HANDLE handle, const struct hp_key_facts *facts,
		      enum hp_stage *stage, hsmpool_status *own, hsmpool_error *err)
{
	struct hp_key_objects objects;
	CK_RV rv;

	(void)handle;
	(void)facts;
	(void)stage;
	*own = hp_find_key(op->user, s, &objects, &rv, err);
	if (*own == HSMPOOL_OK)
		hp_key_remember(op->user, &objects, s->generation);
	return rv;
}

hsmpool_status hsmpool_key_open(hsmpool_key **out, hsmpool *pool, const char *which,
				hsmpool_deadline deadline, hsmpool_error *err)
{
	hsmpool_key *key;

	hp_error_clear(err);
	HP_CHECK(out, err, HSMPOOL_ERR_USAGE, "open a key: no place for the result");
	*out = NULL;
	HP_CHECK(pool, err, HSMPOOL_ERR_USAGE, "open a key: no pool");
	HP_TRY(hp_pool_check_usable(pool, err));
	HP_TRY(hp_key_new(pool, which, &key, err));
	struct hp_operation op = {
		.verb = "find key",
		.retry = HP_RETRY_IDEMPOTENT,
		.pool = pool,
		.about = key,
		.run = run_open,
		.user = key,
	};
	hsmpool_status status = hp_operation_run(&op, deadline, err);
	if (status != HSMPOOL_OK)
		hsmpool_key_close(&key);
	*out = key;
	return status;
}

void hsmpool_key_close(hsmpool_key **address)
{
	if (!address || !*address)
		return;
	hsmpool_key *key = hp_take(address);
	hp_copies_leave(key);
	hp_attachment_drop(&key->attachment);
	hp_uri_free(&key->uri);
	EVP_PKEY_free(key->public_key);
	pthread_mutex_destroy(&key->lock);
	free(key);
}

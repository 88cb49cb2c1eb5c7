/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Session-object copies of token keys: made, checked, shared, destroyed.
 *
 * Owns: which keys may be copied (secret and private ones that the token lets copy,
 * that no use is counted of and that want no PIN per use), the proof that a copy is
 * protected like its original, and the list of copies of a pool.
 *
 * A copy lives on the anchor session, which is never retired; it ends with the
 * generation. Locks: a copy is made under key->lock with the anchor in hand; the list's
 * lock is a leaf and never held over a module call. Failing to copy is never an error.
 */
#include "crypto/copies.h"

#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/time.h"
#include "crypto/object.h"
#include "observe/log.h"
#include "pool/live.h"

/* How long the making of a copy may wait for the anchor, and how long it is left alone
 * after it could not be had. */
#define ANCHOR_WAIT  (HP_SECOND / 10)
#define ANCHOR_RETRY HP_SECOND

struct hp_copy {
	struct hp_copy *next; /* all, guarded by attachment->lock */
	unsigned references;  /* keys that work with it */
	bool is_gone;         /* destroyed: not to be shared any more */
	CK_OBJECT_HANDLE handle;
	uint64_t generation;
	struct hp_session *owner;
	uint8_t fingerprint[32];
};

/* --- the list ---------------------------------------------------------------------- */

/* A living copy of the object in that generation, with a reference, or NULL. */
static struct hp_copy *share_copy(struct hp_attachment *attachment, uint64_t generation,
				  const uint8_t *fingerprint)
{
	struct hp_copy *copy;

	pthread_mutex_lock(&attachment->lock);
	for (copy = attachment->copies; copy; copy = copy->next)
		if (!copy->is_gone && copy->generation == generation &&
		    memcmp(copy->fingerprint, fingerprint, sizeof(copy->fingerprint)) ==
			    0)
			break;
	if (copy)
		copy->references++;
	pthread_mutex_unlock(&attachment->lock);
	return copy;
}

static void list_copy(struct hp_attachment *attachment, struct hp_copy *copy)
{
	pthread_mutex_lock(&attachment->lock);
	copy->next = attachment->copies;
	attachment->copies = copy;
	pthread_mutex_unlock(&attachment->lock);
}

/* Take one that no key works with off the list. */
static struct hp_copy *take_unused(struct hp_attachment *attachment)
{
	struct hp_copy *copy = NULL;

	pthread_mutex_lock(&attachment->lock);
	for (struct hp_copy **at = &attachment->copies; *at; at = &(*at)->next)
		if ((*at)->references == 0) {
			copy = *at;
			*at = copy->next;
			break;
		}
	pthread_mutex_unlock(&attachment->lock);
	return copy;
}

/* Mark one living copy of the object as gone; its handle and owner come out. */
static bool take_living(struct hp_attachment *attachment, uint64_t generation,
			const uint8_t *fingerprint, struct hp_copy *out)
{
	struct hp_copy *copy = share_copy(attachment, generation, fingerprint);

	if (!copy)
		return false;
	pthread_mutex_lock(&attachment->lock);
	*out = *copy;
	copy->is_gone = true;
	copy->references--;
	pthread_mutex_unlock(&attachment->lock);
	return !out->is_gone;
}

/* Whether the handle still names the copy. A loss may have ended it, or given its
 * handle to another object, so this is asked before anything is destroyed. */
static bool is_still_there(const struct hp_copy *copy, struct hp_session *s)
{
	CK_BBOOL is_token = CK_TRUE;
	CK_ATTRIBUTE token = { CKA_TOKEN, &is_token, sizeof(is_token) };
	const struct hp_object none = { 0 };
	struct hp_object object;
	struct hp_key_facts facts;

	return hp_read_attributes(s, copy->handle, &token, 1) == CKR_OK &&
	       token.ulValueLen == sizeof(is_token) && is_token == CK_FALSE &&
	       hp_read_identity(s, copy->handle, &object) == CKR_OK &&
	       hp_read_facts(s, &object, &none, &facts) == CKR_OK &&
	       memcmp(facts.fingerprint, copy->fingerprint, sizeof(copy->fingerprint)) ==
		       0;
}

/* Where the owner is another session its count stays too high, which only says that
 * the anchor is not to be closed: it never is. */
static void destroy_object(const struct hp_copy *copy, struct hp_session *s)
{
	if (copy->is_gone || !is_still_there(copy, s))
		return;
	CK_RV rv = hp_destroy_object(s, copy->handle);
	if (rv == CKR_OK && copy->owner == s && s->objects > 0)
		s->objects--;
}

static void destroy_unused(struct hp_attachment *attachment, struct hp_session *s)
{
	struct hp_copy *copy;

	while ((copy = take_unused(attachment))) {
		destroy_object(copy, s);
		free(copy);
	}
}

void hp_copies_destroy(struct hp_attachment *attachment, struct hp_session *s,
		       const uint8_t fingerprint[static 32])
{
	struct hp_copy copy;

	while (attachment && take_living(attachment, s->generation, fingerprint, &copy))
		destroy_object(&copy, s);
}

void hp_copies_free(struct hp_attachment *attachment)
{
	while (attachment->copies) {
		struct hp_copy *copy = attachment->copies;
		attachment->copies = copy->next;
		free(copy);
	}
}

/* Give the key's reference back; the object is destroyed at the next occasion. */
static void drop_reference(hsmpool_key *key)
{
	if (!key->copy)
		return;
	pthread_mutex_lock(&key->attachment->lock);
	key->copy->references--;
	pthread_mutex_unlock(&key->attachment->lock);
	key->copy = NULL;
}

void hp_copies_leave(hsmpool_key *key)
{
	struct hp_session *s = NULL;

	/* Of a pool that is closed or was left behind by fork() the list is not touched:
	 * its locks may be held for ever. */
	if (!key->copy || atomic_load(&key->attachment->is_closed) ||
	    hp_pool_check_usable(key->pool, NULL) != HSMPOOL_OK)
		return;
	drop_reference(key);
	if (hp_pool_borrow(key->pool, HP_WANT_ANY, "close key", HSMPOOL_NO_WAIT, &s,
			   NULL) != HSMPOOL_OK)
		return; /* cleared away by the next copy that is made, or the end */
	destroy_unused(key->attachment, s);
	hp_pool_return(s, CKR_OK);
}

void hp_copies_carry(hsmpool_key *key, enum hp_key_role role, uint64_t from, uint64_t to)
{
	if (key->copy_generation[role] == from)
		key->copy_generation[role] = to;
	if (!key->copy)
		return;
	pthread_mutex_lock(&key->attachment->lock);
	if (key->copy->generation == from)
		key->copy->generation = to;
	pthread_mutex_unlock(&key->attachment->lock);
}

/* --- making one -------------------------------------------------------------------- */

/* What protects a key: a copy must have the same. */
static const CK_ATTRIBUTE_TYPE protection[] = {
	CKA_PRIVATE,
	CKA_SENSITIVE,
	CKA_EXTRACTABLE,
	CKA_ALWAYS_SENSITIVE,
	CKA_NEVER_EXTRACTABLE,
	CKA_LOCAL,
	CKA_WRAP_WITH_TRUSTED,
	CKA_ENCRYPT,
	CKA_DECRYPT,
	CKA_SIGN,
	CKA_SIGN_RECOVER,
	CKA_VERIFY,
	CKA_VERIFY_RECOVER,
	CKA_WRAP,
	CKA_UNWRAP,
	CKA_DERIVE,
	CKA_ALWAYS_AUTHENTICATE,
};

/* One byte per attribute: its value, 0xff where the object does not have it. */
static CK_RV read_protection(struct hp_session *s, CK_OBJECT_HANDLE object,
			     CK_BBOOL values[static HP_ARRAY_LEN(protection)])
{
	CK_ATTRIBUTE template[HP_ARRAY_LEN(protection)];

	memset(values, 0, HP_ARRAY_LEN(protection));
	for (size_t i = 0; i < HP_ARRAY_LEN(protection); i++)
		template[i] =
			(CK_ATTRIBUTE){ protection[i], &values[i], sizeof(CK_BBOOL) };
	CK_RV rv = hp_read_attributes(s, object, template, HP_ARRAY_LEN(protection));
	for (size_t i = 0; rv == CKR_OK && i < HP_ARRAY_LEN(protection); i++)
		if (template[i].ulValueLen != sizeof(CK_BBOOL))
			values[i] = 0xff;
	return rv;
}

static CK_RV check_protection(struct hp_session *s, CK_OBJECT_HANDLE original,
			      CK_OBJECT_HANDLE copy)
{
	CK_BBOOL of_original[HP_ARRAY_LEN(protection)];
	CK_BBOOL of_copy[HP_ARRAY_LEN(protection)];
	CK_BBOOL is_token = CK_TRUE;
	CK_ATTRIBUTE token = { CKA_TOKEN, &is_token, sizeof(is_token) };

	CK_RV rv = read_protection(s, original, of_original);
	if (rv == CKR_OK)
		rv = read_protection(s, copy, of_copy);
	if (rv == CKR_OK)
		rv = hp_read_attributes(s, copy, &token, 1);
	if (rv == CKR_OK &&
	    (is_token != CK_FALSE || memcmp(of_original, of_copy, sizeof(of_copy)) != 0))
		rv = CKR_TEMPLATE_INCONSISTENT;
	return rv;
}

/* C_CopyObject, kept only if it is as well protected as the original. */
static CK_RV copy_object(struct hp_session *s, CK_OBJECT_HANDLE original,
			 CK_OBJECT_HANDLE *out)
{
	CK_BBOOL no = CK_FALSE;
	CK_BBOOL is_copyable = CK_TRUE;
	CK_ATTRIBUTE copyable = { CKA_COPYABLE, &is_copyable, sizeof(is_copyable) };
	CK_ATTRIBUTE session_object = { CKA_TOKEN, &no, sizeof(no) };

	CK_RV rv = hp_read_attributes(s, original, &copyable, 1);
	if (rv != CKR_OK)
		return rv;
	if (copyable.ulValueLen == sizeof(is_copyable) && is_copyable == CK_FALSE)
		return CKR_ACTION_PROHIBITED;
	rv = hp_copy_object(s, original, &session_object, 1, out);
	if (rv != CKR_OK)
		return rv;
	s->objects++;
	rv = check_protection(s, original, *out);
	if (rv != CKR_OK && hp_destroy_object(s, *out) == CKR_OK)
		s->objects--;
	return rv;
}

/* A new copy, with one reference, on the list; NULL with *rv if there can be none. */
static struct hp_copy *make_copy(hsmpool_key *key, struct hp_session *s,
				 const struct hp_key_slot *slot, CK_RV *rv)
{
	struct hp_copy *copy = calloc(1, sizeof(*copy));

	if (!copy)
		return NULL;
	*rv = copy_object(s, atomic_load(&slot->handle), &copy->handle);
	if (*rv != CKR_OK) {
		free(copy);
		return NULL;
	}
	copy->references = 1;
	copy->generation = s->generation;
	copy->owner = s;
	memcpy(copy->fingerprint, slot->facts.fingerprint, sizeof(copy->fingerprint));
	list_copy(key->attachment, copy);
	return copy;
}

static int64_t check_interval(const hsmpool_key *key)
{
	int64_t interval = hp_pool_live(key->pool)->revalidate_interval;

	return interval > 0 ? interval : 60 * HP_SECOND;
}

/* Have the role use a copy: the one that another key made, or a new one. */
static void adopt_copy(hsmpool_key *key, struct hp_session *s, enum hp_key_role role,
		       CK_RV *rv)
{
	struct hp_key_slot *slot = &key->slot[role];
	struct hp_copy *copy =
		share_copy(key->attachment, s->generation, slot->facts.fingerprint);

	if (!copy)
		copy = make_copy(key, s, slot, rv);
	if (!copy)
		return;
	drop_reference(key);
	key->copy = copy;
	atomic_store(&key->copy_check_ns, hp_now_coarse_ns() + check_interval(key));
	hp_key_publish(key, role, s->generation, copy->handle);
}

/* Whether the facts allow a copy. Public keys are left as they are. */
static bool is_copied(const struct hp_key_facts *facts)
{
	return (facts->class == CKO_SECRET_KEY || facts->class == CKO_PRIVATE_KEY) &&
	       !facts->always_authenticate;
}

/* With the anchor in hand: what the role uses from now on, in this generation. */
static CK_RV decide(hsmpool_key *key, struct hp_session *s, enum hp_key_role role,
		    int64_t deadline_ns)
{
	CK_OBJECT_HANDLE handle;
	CK_RV rv = CKR_OK;

	if (!hp_mutex_lock_until(&key->lock, deadline_ns))
		return CKR_OK;
	if (hp_key_resolve_locked(key, s, role, &handle, &rv, NULL) == HSMPOOL_OK) {
		if (is_copied(&key->slot[role].facts))
			adopt_copy(key, s, role, &rv);
		if (rv != CKR_OK)
			HP_LOG(DEBUG, "key-copy-refused",
			       "key '%s' is used as it is: no copy can be made",
			       hp_key_name(key));
		key->copy_generation[role] = s->generation;
		atomic_store(&key->wants_copy[role], false);
	}
	pthread_mutex_unlock(&key->lock);
	return rv;
}

static void prepare_on_anchor(hsmpool_key *key, enum hp_key_role role,
			      int64_t deadline_ns)
{
	struct hp_session *s = NULL;
	int64_t now = hp_now_ns();
	int64_t wait_until = now + ANCHOR_WAIT;

	if (deadline_ns < wait_until)
		wait_until = deadline_ns;
	if (hp_pool_borrow(key->pool, HP_WANT_ANCHOR, "copy key", wait_until, &s, NULL) !=
	    HSMPOOL_OK) {
		atomic_store(&key->copy_retry_ns, now + ANCHOR_RETRY);
		return;
	}
	CK_RV rv = decide(key, s, role, wait_until);
	destroy_unused(key->attachment, s);
	hp_pool_return(s, rv);
}

void hp_key_prepare(hsmpool_key *key, enum hp_key_role role, int64_t deadline_ns)
{
	if (!atomic_load_explicit(&key->wants_copy[role], memory_order_relaxed))
		return;
	if (hp_now_coarse_ns() < atomic_load(&key->copy_retry_ns) ||
	    atomic_exchange(&key->is_copying, true))
		return;
	prepare_on_anchor(key, role, deadline_ns);
	atomic_store(&key->is_copying, false);
}

/* --- the original, again ------------------------------------------------------------ */

/* Under key->lock: OK if the selector still finds the key that was copied. */
static hsmpool_status find_original(hsmpool_key *key, struct hp_session *s, CK_RV *rv,
				    hsmpool_error *err)
{
	struct hp_key_objects objects;
	struct hp_key_facts facts;

	HP_TRY(hp_find_key(key, s, &objects, rv, err));
	HP_CHECK(objects.own.handle != CK_INVALID_HANDLE, err, HSMPOOL_ERR_KEY,
		 "key '%s' was deleted on the token", hp_key_name(key));
	*rv = hp_read_facts(s, &objects.own, &objects.public_half, &facts);
	if (*rv != CKR_OK)
		return HSMPOOL_ERR_DOWN;
	HP_CHECK(memcmp(facts.fingerprint, key->copy->fingerprint,
			sizeof(facts.fingerprint)) == 0,
		 err, HSMPOOL_ERR_KEY,
		 "key '%s' is another key now than the one that was "
		 "used before; open it again if that is meant",
		 hp_key_name(key));
	return HSMPOOL_OK;
}

static void lose_copy(hsmpool_key *key, struct hp_session *s)
{
	hp_copies_destroy(key->attachment, s, key->copy->fingerprint);
	drop_reference(key);
	for (int role = 0; role < HP_KEY_ROLE_COUNT; role++)
		hp_key_forget_handle(key, role);
	atomic_store(&key->copy_check_ns, HP_FOREVER);
}

hsmpool_status hp_copies_check_original(hsmpool_key *key, struct hp_session *s, CK_RV *rv,
					hsmpool_error *err)
{
	int64_t now = hp_now_coarse_ns();
	int64_t due = atomic_load_explicit(&key->copy_check_ns, memory_order_relaxed);
	hsmpool_status status = HSMPOOL_OK;

	if (now < due ||
	    !atomic_compare_exchange_strong(&key->copy_check_ns, &due,
					    now + check_interval(key)) ||
	    pthread_mutex_trylock(&key->lock) != 0)
		return HSMPOOL_OK;
	if (key->copy && key->copy->generation == s->generation)
		status = find_original(key, s, rv, err);
	if (*rv != CKR_OK)
		status = hp_rv_fail(err, *rv, "find key '%s'", hp_key_name(key));
	else if (status != HSMPOOL_OK)
		lose_copy(key, s);
	pthread_mutex_unlock(&key->lock);
	return status;
}

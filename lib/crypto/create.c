/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making and destroying key objects.
 *
 * Owns: the order "refuse taken names, create, open" on one borrowed session, and what
 * is never begun again: everything here. Everything that can fail without the token
 * (the spec, the hsmpool_key, memory) is done before the object is made, so nothing
 * half-made is left behind. Creations of a pool run one after the other, from the look
 * at the names to the object, so that two threads cannot make the same name.
 */
#include "crypto/create.h"

#include <stdio.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/time.h"
#include "crypto/attachment.h"
#include "crypto/copies.h"

#define HITS_CAP       64
#define HANDLE_TO_COME (~CK_INVALID_HANDLE)

/* --- one creation --------------------------------------------------------------- */

struct creation_run {
	const struct hp_creation *creation;
	struct hp_key_objects made;
	uint64_t generation;
};

/* EXISTS if a key has what select asks for. */
static CK_RV refuse_taken(struct hp_session *s, const struct hp_uri_object *select,
			  const char *what, hsmpool_status *own, hsmpool_error *err)
{
	HP_AUTO_FREE struct hp_object *hits = NULL;
	size_t count;
	bool more;

	CK_RV rv = hp_find_keys(s, select, HITS_CAP, &hits, &count, &more);
	if (rv == CKR_OK && count > 0)
		*own = hp_fail(err, HSMPOOL_ERR_EXISTS,
			       "new key: its %s is taken by a %s key already; choose "
			       "another or destroy that one",
			       what, hp_class_name(hits[0].class));
	return rv;
}

static CK_RV check_names(struct hp_session *s, const struct hp_new_key *plan,
			 hsmpool_status *own, hsmpool_error *err)
{
	CK_RV rv = CKR_OK;
	struct hp_uri_object by_label = { .has_label = true,
					  .label = plan->label,
					  .label_len = plan->label_len };
	struct hp_uri_object by_id = { .has_id = true,
				       .id = plan->id,
				       .id_len = plan->id_len };

	if (plan->label_len)
		rv = refuse_taken(s, &by_label, "label", own, err);
	if (rv == CKR_OK && *own == HSMPOOL_OK && plan->is_id_given)
		rv = refuse_taken(s, &by_id, "id", own, err);
	return rv;
}

/* What is known of an object that was just made. */
static void describe_made(struct hp_object *object, CK_OBJECT_CLASS class,
			  const struct hp_new_key *plan)
{
	if (object->handle == CK_INVALID_HANDLE)
		return;
	object->class = class;
	object->type = plan->type;
	object->is_token = true;
	object->id_len = plan->id_len;
	object->label_len = plan->label_len;
	memcpy(object->id, plan->id, plan->id_len);
	memcpy(object->label, plan->label, plan->label_len);
}

static CK_RV run_create(struct hp_operation *op, struct hp_session *s,
			CK_OBJECT_HANDLE handle, const struct hp_key_facts *facts,
			enum hp_stage *stage, hsmpool_status *own, hsmpool_error *err)
{
	struct creation_run *run = op->user;
	const struct hp_new_key *plan = &run->creation->plan;

	if (run->creation->check)
		*own = run->creation->check(run->creation, facts, err);
	if (*own != HSMPOOL_OK)
		return CKR_OK;
	CK_RV rv = check_names(s, plan, own, err);
	if (rv != CKR_OK || *own != HSMPOOL_OK)
		return rv;
	*stage = HP_STAGE_SUBMITTED;
	rv = run->creation->make(run->creation, s, handle, &run->made);
	if (rv != CKR_OK)
		return rv;
	run->generation = s->generation;
	describe_made(&run->made.own, plan->class, plan);
	describe_made(&run->made.public_half, CKO_PUBLIC_KEY, plan);
	return CKR_OK;
}

/* Who it will be; what the token makes of it has no fingerprint yet. */
static void name_made(struct hp_key_identity *made, const struct hp_new_key *plan)
{
	struct hp_object object = { .handle = HANDLE_TO_COME };

	describe_made(&object, plan->class, plan);
	hp_key_identify(made, &object, NULL);
}

static hsmpool_status create_locked(const struct hp_creation *creation, hsmpool_key *key,
				    int64_t deadline_ns, hsmpool_error *err)
{
	struct creation_run run = { .creation = creation };
	struct hp_key_identity made;
	struct hp_operation op = {
		.verb = creation->verb,
		.retry = HP_RETRY_NEVER,
		.want = HP_WANT_READ_WRITE,
		.pool = creation->pool,
		.key = creation->using_key,
		.role = HP_KEY_FOR_PRIVATE_USE,
		.run = run_create,
		.user = &run,
		.use = creation->use,
		.is_uniform_failure = creation->is_uniform_failure,
		.is_answered_first = creation->is_uniform_failure,
	};
	name_made(&made, &creation->plan);
	op.use.kind = HP_USE_MANAGEMENT;
	op.use.target = &made;
	HP_TRY(hp_operation_run(&op, deadline_ns, err));
	hp_key_remember(key, &run.made, run.generation);
	return HSMPOOL_OK;
}

static hsmpool_status create_in_turn(const struct hp_creation *creation, hsmpool_key *key,
				     int64_t deadline_ns, hsmpool_error *err)
{
	struct hp_attachment *attachment = hp_attachment_of(creation->pool);

	if (!attachment)
		return create_locked(creation, key, deadline_ns, err);
	HP_CHECK(hp_mutex_lock_until(&attachment->creation, deadline_ns), err,
		 HSMPOOL_ERR_TIMEOUT, "%s: another creation on this pool takes too long",
		 creation->verb);
	hsmpool_status status = create_locked(creation, key, deadline_ns, err);
	pthread_mutex_unlock(&attachment->creation);
	return status;
}

/* The hsmpool_key of what is about to be made. */
static hsmpool_status name_new_key(const struct hp_creation *creation, hsmpool_key **out,
				   hsmpool_error *err)
{
	const struct hp_new_key *plan = &creation->plan;
	struct hp_token token;
	char uri[1024];

	hp_pool_token(creation->pool, &token);
	HP_CHECK(hp_uri_format(uri, sizeof(uri), &token.info, false, 0,
			       plan->label_len ? plan->label : NULL, plan->label_len,
			       plan->id, plan->id_len),
		 err, HSMPOOL_ERR_USAGE, "new key: label and id are too long for a URI");
	return hp_key_new(creation->pool, uri, out, err);
}

hsmpool_status hp_create(hsmpool_key **out, const struct hp_creation *creation,
			 hsmpool_deadline deadline, hsmpool_error *err)
{
	hsmpool_key *key;

	HP_TRY(hp_pool_check_usable(creation->pool, err));
	HP_TRY(name_new_key(creation, &key, err));
	hsmpool_status status = create_in_turn(
		creation, key, hp_pool_deadline(creation->pool, deadline), err);
	if (status != HSMPOOL_OK)
		hsmpool_key_close(&key);
	*out = key;
	return status;
}

/* --- destroying ----------------------------------------------------------------- */

struct destruction {
	hsmpool_key *key;
	unsigned destroyed;
	struct hp_key_identity identity;
};

/* One object; already gone is as good. */
static CK_RV destroy_half(struct hp_session *s, const struct hp_object *object,
			  struct destruction *d)
{
	if (object->handle == CK_INVALID_HANDLE)
		return CKR_OK;
	CK_RV rv = hp_destroy_object(s, object->handle);
	if (rv == CKR_OK)
		d->destroyed++;
	return rv == CKR_OBJECT_HANDLE_INVALID ? CKR_OK : rv;
}

/* Not another key that took the name since this one was used. */
static hsmpool_status check_same(hsmpool_key *key, const struct hp_object *object,
				 const struct hp_key_facts *facts, hsmpool_error *err)
{
	int role = object->class == CKO_PUBLIC_KEY ? HP_KEY_FOR_PUBLIC_USE
						   : HP_KEY_FOR_PRIVATE_USE;

	pthread_mutex_lock(&key->lock);
	const struct hp_key_slot *slot = &key->slot[role];
	bool is_same =
		!slot->has_facts || memcmp(slot->facts.fingerprint, facts->fingerprint,
					   sizeof(facts->fingerprint)) == 0;
	pthread_mutex_unlock(&key->lock);
	HP_CHECK(is_same, err, HSMPOOL_ERR_KEY,
		 "key '%s' is another key now than the one that was used before; it is "
		 "not destroyed",
		 hp_key_name(key));
	return HSMPOOL_OK;
}

static CK_RV run_destroy(struct hp_operation *op, struct hp_session *s,
			 CK_OBJECT_HANDLE handle, const struct hp_key_facts *unused,
			 enum hp_stage *stage, hsmpool_status *own, hsmpool_error *err)
{
	struct destruction *d = op->user;
	struct hp_key_objects objects;
	struct hp_key_facts facts;
	CK_RV rv;

	(void)handle;
	(void)unused;
	*own = hp_find_key(d->key, s, &objects, &rv, err);
	if (*own != HSMPOOL_OK)
		return rv;
	const struct hp_object *main = objects.own.handle != CK_INVALID_HANDLE
					       ? &objects.own
					       : &objects.public_half;
	rv = hp_read_facts(s, main, &objects.public_half, &facts);
	if (rv != CKR_OK)
		return rv;
	*own = check_same(d->key, main, &facts, err);
	if (*own != HSMPOOL_OK)
		return CKR_OK;
	hp_key_identify(&d->identity, main, facts.fingerprint);
	*own = hp_operation_begin_use(op, &d->identity, err);
	if (*own != HSMPOOL_OK)
		return CKR_OK;
	*stage = HP_STAGE_SUBMITTED;
	rv = destroy_half(s, &objects.own, d);
	if (rv == CKR_OK)
		hp_copies_destroy(hp_attachment_of(op->pool), s, facts.fingerprint);
	if (rv == CKR_OK)
		rv = destroy_half(s, &objects.public_half, d);
	return rv;
}

hsmpool_status hsmpool_key_destroy(hsmpool_key *key, hsmpool_deadline deadline,
				   hsmpool_error *err)
{
	struct destruction d = { .key = key };

	hp_error_clear(err);
	HP_CHECK(key, err, HSMPOOL_ERR_USAGE, "destroy a key: no key");
	struct hp_operation op = {
		.verb = "destroy key",
		.retry = HP_RETRY_NEVER,
		.want = HP_WANT_READ_WRITE,
		.pool = key->pool,
		.about = key,
		.run = run_destroy,
		.user = &d,
		.use = { .function = "C_DestroyObject", .kind = HP_USE_MANAGEMENT },
		.run_begins_use = true,
	};
	hsmpool_status status = hp_operation_run(&op, deadline, err);
	for (int role = 0; role < HP_KEY_ROLE_COUNT; role++)
		hp_key_forget_handle(key, role);
	if (status != HSMPOOL_OK && d.destroyed > 0)
		hp_error_prefix(err,
				"the private half is destroyed, the public half not");
	return status;
}

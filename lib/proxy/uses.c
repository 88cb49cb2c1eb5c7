/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the application's calls to uses: who the keys are, what an operation's use is
 * between its calls.
 *
 * Must not: make module calls, but for those that hp_object_real() makes at a key's first
 * use. Called with the virtual session taken.
 */
#include "proxy/uses.h"

#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "proxy/object.h"
#include "proxy/object_table.h"
#include "proxy/operations.h"
#include "proxy/template.h"

struct hp_use hp_use_describe(const struct hp_vsession *vs, const char *function,
			      const CK_MECHANISM *mechanism)
{
	return (struct hp_use){
		.pool = vs->pool,
		.function = function,
		.has_mechanism = mechanism != NULL,
		.mechanism = mechanism ? mechanism->mechanism : 0,
		.vsession = atomic_load_explicit(&vs->handle, memory_order_relaxed),
	};
}

CK_RV hp_use_begin_for(struct hp_use *use)
{
	hsmpool_error err;
	hp_error_clear(&err);
	hsmpool_status status = hp_use_begin(use, &err);
	return status == HSMPOOL_OK ? CKR_OK : hp_use_refusal(status, &err);
}

/* Who is behind an application's handle, as was read at its first use. */
static bool identify(CK_OBJECT_HANDLE handle, struct hp_key_identity *out)
{
	struct hp_vobject_view view;
	struct hp_vobject_names names;
	if (!hp_table_view(handle, &view, &names) || !view.has_names)
		return false;
	hp_key_identify(out, &names.object, names.fingerprint);
	return true;
}

/* Where it could not be read, because its fingerprint takes a search and another
 * operation is active: a policy must not depend on it. *is_there: the module does not say
 * that there is no such object, as of a private one after a logout. */
static bool identify_without(struct hp_session *s, CK_OBJECT_HANDLE real,
			     struct hp_key_identity *out, bool *is_there)
{
	struct hp_object object;
	CK_RV rv = hp_read_identity(s, real, &object);
	*is_there = hp_rv_class(&s->module->overrides, rv) != HP_RV_STALE_HANDLE;
	if (rv != CKR_OK)
		return false;
	hp_key_identify(out, &object, NULL);
	return true;
}

/* --- operations --------------------------------------------------------------------- */

static bool is_current(const struct hp_known_key *known, CK_OBJECT_HANDLE key)
{
	return known && known->handle == key && known->stamp != 0 &&
	       known->stamp == hp_table_stamp(key);
}

/* The stamp is taken first: what is read may be newer than it, not older. */
static bool know(struct hp_known_key *known, struct hp_session *s, CK_OBJECT_HANDLE key,
		 CK_OBJECT_HANDLE real, bool *is_there)
{
	known->handle = key;
	known->stamp = hp_table_stamp(key);
	if (identify(key, &known->identity))
		return true;
	known->stamp = 0; /* not for long */
	return identify_without(s, real, &known->identity, is_there);
}

const struct hp_key_identity *
hp_use_key_of_init(struct hp_vsession *vs, struct hp_session *s, struct hp_operation *op,
		   CK_OBJECT_HANDLE key, CK_OBJECT_HANDLE real, bool *is_there)
{
	struct hp_operations *ops = vs->operations;
	*is_there = true;
	if (key == CK_INVALID_HANDLE || !hp_use_wants_keys(vs->pool))
		return NULL;
	if (is_current(op->known, key))
		return &op->known->identity;
	/* The one that is kept may be that of an operation which goes on. */
	if (!ops->spare)
		ops->spare = malloc(sizeof(*ops->spare));
	bool is_known = ops->spare && know(ops->spare, s, key, real, is_there);
	return is_known ? &ops->spare->identity : NULL;
}

void hp_use_keep(struct hp_operations *ops, struct hp_operation *op,
		 const struct hp_use *use)
{
	op->use = *use;
	if (!ops->spare || use->key != &ops->spare->identity)
		return;
	struct hp_known_key *old = op->known;
	op->known = ops->spare;
	ops->spare = old;
}

void hp_uses_free(struct hp_operations *ops)
{
	for (unsigned kind = 0; kind < HP_KIND_COUNT; kind++)
		if (ops->of[kind])
			free(ops->of[kind]->known);
	free(ops->spare);
}

/* --- other calls -------------------------------------------------------------------- */

/* A name as the template gives it; one that is too long counts as empty. */
static void take_name(const struct hp_made *made, CK_ATTRIBUTE_TYPE type, uint8_t *to,
		      size_t cap, size_t *len)
{
	const CK_ATTRIBUTE *name = hp_attribute_find(made->template, made->count, type);
	if (!name)
		return;
	*len = name->pValue && name->ulValueLen <= cap ? name->ulValueLen : 0;
	if (*len > 0)
		memcpy(to, name->pValue, *len);
}

/* What the template says of it, as far as it is well-formed. like: what it is otherwise;
 * NULL: not known. */
static void identify_made(const struct hp_made *made, const struct hp_key_identity *like,
			  struct hp_key_identity *out)
{
	if (like)
		*out = *like;
	else
		*out = (struct hp_key_identity){ .class = made->class,
						 .type = CK_UNAVAILABLE_INFORMATION };
	out->fingerprint[0] = '\0';
	hp_attribute_bool(made->template, made->count, CKA_TOKEN, &out->is_token);
	hp_attribute_number(made->template, made->count, CKA_CLASS, &out->class);
	hp_attribute_number(made->template, made->count, CKA_KEY_TYPE, &out->type);
	take_name(made, CKA_LABEL, out->label, sizeof(out->label), &out->label_len);
	take_name(made, CKA_ID, out->id, sizeof(out->id), &out->id_len);
}

static bool has_same_names(const struct hp_key_identity *a,
			   const struct hp_key_identity *b)
{
	return a->label_len == b->label_len && a->id_len == b->id_len &&
	       memcmp(a->label, b->label, a->label_len) == 0 &&
	       memcmp(a->id, b->id, a->id_len) == 0;
}

static void name_made(struct hp_aside_run *run)
{
	const struct hp_aside_use *aside = run->aside;
	if (!aside->made.template)
		return;
	identify_made(&aside->made, aside->is_copy ? run->use.key : NULL, &run->target);
	run->use.target = &run->target;
	if (!aside->public_half.template)
		return;
	identify_made(&aside->public_half, NULL, &run->public_half);
	if (!has_same_names(&run->target, &run->public_half))
		run->use.public_half = &run->public_half;
}

/* Handles that there are. *is_there: the module knows it, as far as it can be told. */
static CK_RV find_out(struct hp_vsession *vs, struct hp_session *s,
		      CK_OBJECT_HANDLE handle, struct hp_key_identity *identity,
		      const struct hp_key_identity **who, bool *is_there)
{
	CK_OBJECT_HANDLE real = CK_INVALID_HANDLE;
	CK_RV rv = CKR_OK;
	if (handle != CK_INVALID_HANDLE)
		rv = hp_object_real(vs, s, handle, &real);
	*is_there = real != CK_INVALID_HANDLE;
	if (rv == CKR_OK && *is_there &&
	    (identify(handle, identity) || identify_without(s, real, identity, is_there)))
		*who = identity;
	return rv;
}

/* Who they are that it is done with. Of what is not there the module says so: nobody is
 * asked for leave. */
static CK_RV find_out_all(struct hp_aside_run *run, struct hp_vsession *vs,
			  struct hp_session *s)
{
	const struct hp_aside_use *aside = run->aside;
	bool has_key, has_target = false;
	CK_RV rv = find_out(vs, s, aside->key, &run->key, &run->use.key, &has_key);
	if (rv == CKR_OK)
		rv = find_out(vs, s, aside->target, &run->target, &run->use.target,
			      &has_target);
	name_made(run);
	if ((aside->needs_key && !has_key) || (aside->needs_target && !has_target))
		run->use.state = HP_USE_PERMITTED;
	return rv;
}

CK_RV hp_aside_use_begin(struct hp_aside_run *run, struct hp_vsession *vs,
			 struct hp_session *s)
{
	CK_RV rv = CKR_OK;
	if (!run->aside || run->use.state != HP_USE_NEW)
		return CKR_OK;
	if (hp_use_wants_keys(vs->pool))
		rv = find_out_all(run, vs, s);
	if (rv == CKR_OK)
		run->refusal = hp_use_begin_for(&run->use);
	return rv;
}

void hp_aside_use_end(struct hp_aside_run *run, CK_RV rv)
{
	const struct hp_aside_use *aside = run->aside;
	if (!aside)
		return;
	bool has_output = rv == CKR_OK && aside->output_len;
	if (rv == CKR_BUFFER_TOO_SMALL)
		hp_use_drop(&run->use);
	hp_use_end(&run->use, rv, HSMPOOL_OK, has_output ? *aside->output_len : 0);
}

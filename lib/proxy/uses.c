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

/* False: it was never read. */
static bool identify(CK_OBJECT_HANDLE handle, struct hp_key_identity *out)
{
	struct hp_vobject_view view;
	struct hp_vobject_names names;
	if (!hp_table_view(handle, &view, &names) || !view.has_names)
		return false;
	hp_key_identify(out, &names.object, names.fingerprint);
	return true;
}

/* --- operations --------------------------------------------------------------------- */

static bool is_current(const struct hp_known_key *known, CK_OBJECT_HANDLE key)
{
	return known && known->handle == key && known->stamp != 0 &&
	       known->stamp == hp_table_stamp(key);
}

/* The stamp is taken first: what is read may be newer than it, not older. */
static bool know(struct hp_known_key *known, CK_OBJECT_HANDLE key)
{
	known->handle = key;
	known->stamp = hp_table_stamp(key);
	return identify(key, &known->identity);
}

const struct hp_key_identity *
hp_use_key_of_init(struct hp_vsession *vs, struct hp_operation *op, CK_OBJECT_HANDLE key)
{
	struct hp_operations *ops = vs->operations;
	if (key == CK_INVALID_HANDLE || !hp_use_wants_keys(vs->pool))
		return NULL;
	if (is_current(op->known, key))
		return &op->known->identity;
	/* The one that is kept may be that of an operation which goes on. */
	if (!ops->spare)
		ops->spare = malloc(sizeof(*ops->spare));
	return ops->spare && know(ops->spare, key) ? &ops->spare->identity : NULL;
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

/* What the template says of it, as far as it is well-formed. is_token: if it says
 * nothing. */
static void identify_made(const struct hp_aside_use *aside, bool is_token,
			  struct hp_key_identity *out)
{
	struct hp_object object = { .class = CK_UNAVAILABLE_INFORMATION,
				    .type = CK_UNAVAILABLE_INFORMATION,
				    .is_token = is_token };
	const CK_ATTRIBUTE *label =
		hp_attribute_find(aside->made, aside->made_count, CKA_LABEL);
	const CK_ATTRIBUTE *id =
		hp_attribute_find(aside->made, aside->made_count, CKA_ID);
	hp_attribute_bool(aside->made, aside->made_count, CKA_TOKEN, &object.is_token);
	hp_attribute_number(aside->made, aside->made_count, CKA_CLASS, &object.class);
	hp_attribute_number(aside->made, aside->made_count, CKA_KEY_TYPE, &object.type);
	if (label && label->pValue && label->ulValueLen <= sizeof(object.label))
		memcpy(object.label, label->pValue, object.label_len = label->ulValueLen);
	if (id && id->pValue && id->ulValueLen <= sizeof(object.id))
		memcpy(object.id, id->pValue, object.id_len = id->ulValueLen);
	hp_key_identify(out, &object, NULL);
}

static CK_RV find_out(struct hp_vsession *vs, struct hp_session *s,
		      CK_OBJECT_HANDLE handle, struct hp_key_identity *identity,
		      const struct hp_key_identity **who)
{
	CK_OBJECT_HANDLE real;
	CK_RV rv = CKR_OK;
	if (handle == CK_INVALID_HANDLE)
		return CKR_OK;
	rv = hp_object_real(vs, s, handle, &real);
	if (rv == CKR_OK && real != CK_INVALID_HANDLE && identify(handle, identity))
		*who = identity;
	return rv;
}

CK_RV hp_aside_use_begin(struct hp_aside_run *run, struct hp_vsession *vs,
			 struct hp_session *s)
{
	const struct hp_aside_use *aside = run->aside;
	CK_RV rv = CKR_OK;
	if (!aside || run->use.state != HP_USE_NEW)
		return CKR_OK;
	if (hp_use_wants_keys(vs->pool)) {
		rv = find_out(vs, s, aside->key, &run->key, &run->use.key);
		if (rv == CKR_OK)
			rv = find_out(vs, s, aside->target, &run->target,
				      &run->use.target);
		if (aside->made) {
			bool is_copy_of_token =
				aside->is_copy && run->use.key && run->use.key->is_token;
			identify_made(aside, is_copy_of_token, &run->target);
			run->use.target = &run->target;
		}
	}
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

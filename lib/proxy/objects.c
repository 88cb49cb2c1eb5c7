/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C_CreateObject, C_CopyObject, C_DestroyObject, C_GetObjectSize, C_GetAttributeValue,
 * C_SetAttributeValue.
 *
 * The module answers with the application's own arguments; of ours are the handles, and
 * that read-only sessions change no token objects.
 */
#include "proxy/calls.h"

#include "proxy/creation.h"
#include "proxy/operation.h"
#include "proxy/template.h"

/* --- creating ------------------------------------------------------------------- */

static CK_RV submit_object(struct hp_session *s, struct hp_creation *c,
			   const struct hp_derived_key *want)
{
	(void)c;
	return hp_create_object(s, want->template, want->count, want->handle);
}

/* What must be there before a module looks at the session: the class, and what kind of
 * key or certificate it is. */
static bool is_shapeless(struct hp_session *s, const struct hp_creation *c)
{
	const struct hp_derived_key *want = &c->want[0];
	CK_ULONG class, type;
	CK_ATTRIBUTE_TYPE needed;
	(void)s;
	if (!hp_attribute_number(want->template, want->count, CKA_CLASS, &class))
		return true;
	switch (class) {
	case CKO_PUBLIC_KEY:
	case CKO_PRIVATE_KEY:
	case CKO_SECRET_KEY:
		needed = CKA_KEY_TYPE;
		break;
	case CKO_CERTIFICATE:
		needed = CKA_CERTIFICATE_TYPE;
		break;
	default:
		return false;
	}
	return !hp_attribute_number(want->template, want->count, needed, &type);
}

static bool any_reason(const struct hp_creation *c, CK_RV rv)
{
	(void)c;
	(void)rv;
	return true;
}

CK_RV hp_C_CreateObject(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count,
			CK_OBJECT_HANDLE *object)
{
	struct hp_vsession *vs = hp_vsession_take(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return hp_create_object(&none, template, count, object);
	}
	struct hp_creation c = {
		.vs = vs,
		.function = HP_FN_C_CreateObject,
		.objects = 1,
		.want = { { template, count, object } },
		.submit = submit_object,
		.may_fail_first = is_shapeless,
		.fails_first = any_reason,
	};
	CK_RV rv = hp_creation_run(&c);
	hp_vsession_give(vs);
	return rv;
}

static CK_RV submit_copy(struct hp_session *s, struct hp_creation *c,
			 const struct hp_derived_key *want)
{
	return hp_copy_object(s, c->real_base, want->template, want->count, want->handle);
}

/* Whether the object is there and may be copied at all comes first, and that a private
 * one does not become public. */
static bool may_be_uncopyable(struct hp_session *s, const struct hp_creation *c)
{
	CK_BBOOL is_copyable = CK_TRUE;
	CK_BBOOL is_private = CK_FALSE;
	CK_ATTRIBUTE copyable = { CKA_COPYABLE, &is_copyable, sizeof(is_copyable) };
	CK_ATTRIBUTE private = { CKA_PRIVATE, &is_private, sizeof(is_private) };
	bool stays_private = true;
	if (c->real_base == CK_INVALID_HANDLE)
		return true;
	CK_RV rv = hp_get_attributes(s, c->real_base, &copyable, 1);
	if (rv == CKR_OBJECT_HANDLE_INVALID || (rv == CKR_OK && !is_copyable))
		return true;
	hp_attribute_bool(c->want[0].template, c->want[0].count, CKA_PRIVATE,
			  &stays_private);
	return !stays_private &&
	       hp_get_attributes(s, c->real_base, &private, 1) == CKR_OK && is_private;
}

CK_RV hp_C_CopyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
		      CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *copy)
{
	struct hp_vsession *vs = hp_vsession_take(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return hp_copy_object(&none, object, template, count, copy);
	}
	struct hp_creation c = {
		.vs = vs,
		.function = HP_FN_C_CopyObject,
		.objects = 1,
		.want = { { template, count, copy } },
		.has_base = true,
		.base = object,
		.inherits_token = true,
		.submit = submit_copy,
		.may_fail_first = may_be_uncopyable,
		.fails_first = any_reason,
	};
	CK_RV rv = hp_creation_run(&c);
	hp_vsession_give(vs);
	return rv;
}

/* --- one object that there is --------------------------------------------------- */

struct object_call {
	struct hp_vsession *vs;
	CK_OBJECT_HANDLE object;
	CK_ATTRIBUTE *template;
	CK_ULONG count;
	CK_ULONG *size;
	bool is_submitted;
	struct hp_lengths lengths; /* before the first try */
	CK_RV rv;                  /* our own, where it is no verdict on the session */
};

static CK_RV run_get_size(struct hp_session *s, void *user)
{
	struct object_call *call = user;
	CK_OBJECT_HANDLE real;
	CK_RV rv = hp_object_real(call->vs, s, call->object, &real);
	return rv == CKR_OK ? hp_get_object_size(s, real, call->size) : rv;
}

CK_RV hp_C_GetObjectSize(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
			 CK_ULONG *size)
{
	struct hp_vsession *vs = hp_vsession_take(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return hp_get_object_size(&none, object, size);
	}
	struct object_call call = { .vs = vs, .object = object, .size = size };
	CK_RV rv = hp_operation_aside(
		vs, &(struct hp_aside){ .function = HP_FN_C_GetObjectSize,
					.want = HP_WANT_BESIDE,
					.run = run_get_size,
					.user = &call });
	hp_vsession_give(vs);
	return rv;
}

static bool restore_lengths(void *user)
{
	struct object_call *call = user;
	return !call->is_submitted ||
	       hp_lengths_restore(&call->lengths, call->template, call->count);
}

/* The application's own template: lengths and values come out as the module left them,
 * whatever it answered. */
static CK_RV run_get_attributes(struct hp_session *s, void *user)
{
	struct object_call *call = user;
	CK_OBJECT_HANDLE real;
	CK_RV rv = hp_object_real(call->vs, s, call->object, &real);
	if (rv != CKR_OK)
		return rv;
	if (real != CK_INVALID_HANDLE && !call->lengths.is_saved)
		hp_lengths_save(&call->lengths, call->template, call->count);
	call->is_submitted = true;
	rv = hp_get_attributes(s, real, call->template, call->count);
	bool is_unknown = hp_rv_class(&s->module->overrides, rv) == HP_RV_STALE_HANDLE;
	if (is_unknown && hp_object_has_moved(call->vs, s, call->object, &real) &&
	    restore_lengths(call))
		rv = hp_get_attributes(s, real, call->template, call->count);
	return rv;
}

CK_RV hp_C_GetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
			     CK_ATTRIBUTE *template, CK_ULONG count)
{
	struct hp_vsession *vs = hp_vsession_take(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return hp_get_attributes(&none, object, template, count);
	}
	struct object_call call = {
		.vs = vs, .object = object, .template = template, .count = count
	};
	CK_RV rv = hp_operation_aside(
		vs, &(struct hp_aside){ .function = HP_FN_C_GetAttributeValue,
					.want = HP_WANT_BESIDE,
					.run = run_get_attributes,
					.user = &call,
					.restore = restore_lengths });
	hp_vsession_give(vs);
	return rv;
}

/* Whether a read-only session may change it. The module refuses what is not there, and
 * missing arguments, itself. */
static CK_RV find_to_change(struct hp_session *s, struct object_call *call,
			    CK_OBJECT_HANDLE *real)
{
	struct hp_object_facts facts = { 0 };
	CK_RV rv = call->vs->is_read_write
			   ? hp_object_real(call->vs, s, call->object, real)
			   : hp_object_facts(call->vs, s, call->object, real, &facts);
	if (*real != CK_INVALID_HANDLE && facts.is_token)
		call->rv = CKR_SESSION_READ_ONLY;
	return rv;
}

static CK_RV run_set_attributes(struct hp_session *s, void *user)
{
	struct object_call *call = user;
	CK_OBJECT_HANDLE real = CK_INVALID_HANDLE;
	call->rv = CKR_OK;
	call->is_submitted = false;
	CK_RV rv = find_to_change(s, call, &real);
	if (rv != CKR_OK || (call->rv != CKR_OK && call->template))
		return rv;
	call->rv = CKR_OK;
	if (!hp_attributes_are_there(call->template, call->count)) {
		call->rv = CKR_ATTRIBUTE_VALUE_INVALID;
		return CKR_OK;
	}
	call->is_submitted = true;
	rv = hp_set_attributes(s, real, call->template, call->count);
	if (rv != CKR_OK)
		return rv;
	/* What it is now is read at once: after a loss it would be too late. */
	hp_object_changed(call->object);
	hp_object_real(call->vs, s, call->object, &real);
	return CKR_OK;
}

static CK_RV run_destroy(struct hp_session *s, void *user)
{
	struct object_call *call = user;
	CK_OBJECT_HANDLE real = CK_INVALID_HANDLE;
	call->rv = CKR_OK;
	call->is_submitted = false;
	CK_RV rv = find_to_change(s, call, &real);
	if (rv != CKR_OK || call->rv != CKR_OK)
		return rv;
	call->is_submitted = true;
	rv = hp_destroy_object(s, real);
	if (rv == CKR_OK)
		hp_object_forget(call->vs, call->object);
	return rv;
}

/* Who may be changed may not become anybody. */
static bool renames(const struct object_call *call)
{
	return call->template &&
	       (hp_attribute_find(call->template, call->count, CKA_LABEL) ||
		hp_attribute_find(call->template, call->count, CKA_ID));
}

static CK_RV run_change(struct object_call *call, enum hp_function function,
			CK_RV (*run)(struct hp_session *s, void *user))
{
	struct hp_aside_use use = { .kind = HP_USE_MANAGEMENT,
				    .key = call->object,
				    .needs_key = true };
	if (renames(call)) {
		use.made.template = call->template;
		use.made.count = call->count;
		use.is_copy = true;
	}
	return hp_operation_aside(call->vs,
				  &(struct hp_aside){ .function = function,
						      .want = HP_WANT_BESIDE,
						      .run = run,
						      .user = call,
						      .is_submitted = &call->is_submitted,
						      .use = &use,
						      .own = &call->rv });
}

CK_RV hp_C_SetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
			     CK_ATTRIBUTE *template, CK_ULONG count)
{
	struct hp_vsession *vs = hp_vsession_take(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return hp_set_attributes(&none, object, template, count);
	}
	struct object_call call = {
		.vs = vs, .object = object, .template = template, .count = count
	};
	CK_RV rv = run_change(&call, HP_FN_C_SetAttributeValue, run_set_attributes);
	hp_vsession_give(vs);
	return rv;
}

CK_RV hp_C_DestroyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
	struct hp_vsession *vs = hp_vsession_take(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return hp_destroy_object(&none, object);
	}
	struct object_call call = { .vs = vs, .object = object };
	CK_RV rv = run_change(&call, HP_FN_C_DestroyObject, run_destroy);
	hp_vsession_give(vs);
	return rv;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C_GenerateKey, C_GenerateKeyPair, C_WrapKey, C_UnwrapKey, C_DeriveKey.
 *
 * Owns: which of a module's reasons to refuse come before CKR_SESSION_READ_ONLY: those
 * about the mechanism, the keys that are used, and what kind of key is to be made.
 */
#include "proxy/calls.h"

#include "p11/slot.h"
#include "proxy/creation.h"
#include "proxy/key_rules.h"
#include "proxy/operation.h"
#include "proxy/process.h"
#include "proxy/template.h"

/* --- generating ----------------------------------------------------------------- */

static CK_RV submit_key(struct hp_session *s, struct hp_creation *c,
			const struct hp_derived_key *want)
{
	return hp_generate_key(s, c->real_mechanism, want->template, want->count,
			       want->handle);
}

static CK_RV submit_key_pair(struct hp_session *s, struct hp_creation *c,
			     const struct hp_derived_key *want)
{
	return hp_generate_key_pair(s, c->real_mechanism, want[0].template, want[0].count,
				    want[1].template, want[1].count, want[0].handle,
				    want[1].handle);
}

static bool is_class_wrong(const struct hp_derived_key *want, CK_OBJECT_CLASS right)
{
	CK_ULONG class;
	return hp_attribute_number(want->template, want->count, CKA_CLASS, &class) &&
	       class != right &&
	       !(right == CKO_SECRET_KEY && class == CKO_DOMAIN_PARAMETERS);
}

static bool is_any_class_wrong(const struct hp_creation *c)
{
	if (c->objects == 1)
		return is_class_wrong(&c->want[0], CKO_SECRET_KEY);
	return is_class_wrong(&c->want[0], CKO_PUBLIC_KEY) ||
	       is_class_wrong(&c->want[1], CKO_PRIVATE_KEY);
}

static bool names_key_type(const struct hp_creation *c)
{
	for (unsigned i = 0; i < c->objects; i++)
		if (hp_attribute_find(c->want[i].template, c->want[i].count,
				      CKA_KEY_TYPE))
			return true;
	return false;
}

/* A key is made for nothing only where the application names its type: it may be the
 * wrong one for the mechanism, which the module alone knows. */
static bool may_not_generate(struct hp_session *s, const struct hp_creation *c)
{
	CK_MECHANISM_INFO info;
	CK_FLAGS needed = c->objects == 1 ? CKF_GENERATE : CKF_GENERATE_KEY_PAIR;
	if (!c->mechanism ||
	    hp_slot_mechanism_info(s->module, s->slot, c->mechanism->mechanism, &info) !=
		    CKR_OK ||
	    !(info.flags & needed))
		return true;
	return is_any_class_wrong(c) || names_key_type(c);
}

static bool refuses_generation(const struct hp_creation *c, CK_RV rv)
{
	switch (rv) {
	case CKR_ARGUMENTS_BAD:
	case CKR_MECHANISM_INVALID:
	case CKR_TEMPLATE_INCONSISTENT:
	case CKR_FUNCTION_NOT_SUPPORTED:
		return true;
	case CKR_ATTRIBUTE_VALUE_INVALID:
		return is_any_class_wrong(c);
	default:
		return false;
	}
}

CK_RV hp_C_GenerateKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
		       CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *key)
{
	struct hp_vsession *vs = hp_vsession_take(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return hp_generate_key(&none, mechanism, template, count, key);
	}
	struct hp_creation c = {
		.vs = vs,
		.function = HP_FN_C_GenerateKey,
		.objects = 1,
		.want = { { template, count, key } },
		.mechanism = mechanism,
		.submit = submit_key,
		.may_fail_first = may_not_generate,
		.fails_first = refuses_generation,
	};
	CK_RV rv = hp_creation_run(&c);
	hp_vsession_give(vs);
	return rv;
}

CK_RV hp_C_GenerateKeyPair(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
			   CK_ATTRIBUTE *public_template, CK_ULONG public_count,
			   CK_ATTRIBUTE *private_template, CK_ULONG private_count,
			   CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
	struct hp_vsession *vs = hp_vsession_take(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return hp_generate_key_pair(&none, mechanism, public_template,
					    public_count, private_template, private_count,
					    public_key, private_key);
	}
	struct hp_creation c = {
		.vs = vs,
		.function = HP_FN_C_GenerateKeyPair,
		.objects = 2,
		.is_pair = true,
		.want = { { public_template, public_count, public_key },
			  { private_template, private_count, private_key } },
		.mechanism = mechanism,
		.submit = submit_key_pair,
		.may_fail_first = may_not_generate,
		.fails_first = refuses_generation,
	};
	CK_RV rv = hp_creation_run(&c);
	hp_vsession_give(vs);
	return rv;
}

/* --- unwrapping and deriving ---------------------------------------------------- */

/* That the keys or the mechanism do not do is seen before the session is looked at, and
 * only the module can tell. */
static bool may_always_fail(struct hp_session *s, const struct hp_creation *c)
{
	(void)s;
	(void)c;
	return true;
}

/* Class and key type must be named, to begin with. */
static bool is_shapeless(const struct hp_creation *c)
{
	CK_ULONG value;
	return !hp_attribute_number(c->want[0].template, c->want[0].count, CKA_CLASS,
				    &value) ||
	       !hp_attribute_number(c->want[0].template, c->want[0].count, CKA_KEY_TYPE,
				    &value);
}

static bool refuses_base(const struct hp_creation *c, CK_RV rv)
{
	switch (rv) {
	case CKR_ARGUMENTS_BAD:
	case CKR_FUNCTION_NOT_SUPPORTED:
	case CKR_MECHANISM_INVALID:
	case CKR_KEY_HANDLE_INVALID:
	case CKR_OBJECT_HANDLE_INVALID:
	case CKR_KEY_TYPE_INCONSISTENT:
	case CKR_KEY_FUNCTION_NOT_PERMITTED:
	case CKR_KEY_SIZE_RANGE:
	case CKR_UNWRAPPING_KEY_HANDLE_INVALID:
	case CKR_UNWRAPPING_KEY_SIZE_RANGE:
	case CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT:
	case CKR_WRAPPED_KEY_LEN_RANGE:
		return true;
	case CKR_ATTRIBUTE_VALUE_INVALID:
	case CKR_TEMPLATE_INCOMPLETE:
	case CKR_TEMPLATE_INCONSISTENT:
		return is_shapeless(c);
	default:
		return false;
	}
}

static CK_RV submit_unwrap(struct hp_session *s, struct hp_creation *c,
			   const struct hp_derived_key *want)
{
	return hp_unwrap_key(s, c->real_mechanism, c->real_base, c->wrapped,
			     c->wrapped_len, want->template, want->count, want->handle);
}

CK_RV hp_C_UnwrapKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
		     CK_OBJECT_HANDLE unwrapping_key, CK_BYTE *wrapped,
		     CK_ULONG wrapped_len, CK_ATTRIBUTE *template, CK_ULONG count,
		     CK_OBJECT_HANDLE *key)
{
	struct hp_vsession *vs = hp_vsession_take(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return hp_unwrap_key(&none, mechanism, unwrapping_key, wrapped,
				     wrapped_len, template, count, key);
	}
	struct hp_creation c = {
		.vs = vs,
		.function = HP_FN_C_UnwrapKey,
		.objects = 1,
		.want = { { template, count, key } },
		.mechanism = mechanism,
		.has_base = true,
		.base = unwrapping_key,
		.wrapped = wrapped,
		.wrapped_len = wrapped_len,
		.submit = submit_unwrap,
		.may_fail_first = may_always_fail,
		.fails_first = refuses_base,
	};
	CK_RV rv = hp_creation_run(&c);
	hp_vsession_give(vs);
	return rv;
}

/* Whether the key is of a type to derive from is looked at last. */
static bool refuses_to_derive(const struct hp_creation *c, CK_RV rv)
{
	return rv != CKR_KEY_TYPE_INCONSISTENT && refuses_base(c, rv);
}

static CK_RV submit_derive(struct hp_session *s, struct hp_creation *c,
			   const struct hp_derived_key *want)
{
	if (c->objects > 1)
		hp_mechanism_derive_to(&c->call, want + 1);
	return hp_derive_key(s, c->real_mechanism, c->real_base, want->template,
			     want->count, want->handle);
}

/* Keys that the mechanism derives besides. False: more than there is room for. */
static bool add_derived(struct hp_creation *c)
{
	const struct hp_derived_key *keys = NULL;
	CK_ULONG count = hp_mechanism_derives(c->mechanism, &keys);
	if (count >= HP_OBJECTS_MOST)
		return false;
	for (CK_ULONG i = 0; i < count; i++)
		c->want[c->objects++] = keys[i];
	return true;
}

CK_RV hp_C_DeriveKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
		     CK_OBJECT_HANDLE base, CK_ATTRIBUTE *template, CK_ULONG count,
		     CK_OBJECT_HANDLE *key)
{
	struct hp_vsession *vs = hp_vsession_take(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return hp_derive_key(&none, mechanism, base, template, count, key);
	}
	struct hp_creation c = {
		.vs = vs,
		.function = HP_FN_C_DeriveKey,
		.objects = 1,
		.want = { { template, count, key } },
		.mechanism = mechanism,
		.has_base = true,
		.base = base,
		.submit = submit_derive,
		.may_fail_first = may_always_fail,
		.fails_first = refuses_to_derive,
	};
	CK_RV rv = add_derived(&c) ? hp_creation_run(&c) : CKR_MECHANISM_PARAM_INVALID;
	hp_vsession_give(vs);
	return rv;
}

/* --- wrapping ------------------------------------------------------------------- */

struct wrap_call {
	struct hp_vsession *vs;
	CK_MECHANISM *mechanism;
	CK_OBJECT_HANDLE wrapping_key, key;
	CK_BYTE *out;
	CK_ULONG *out_len;
	/* before the first try */
	CK_ULONG given_len;
	struct hp_mechanism_before before;
};

static CK_RV run_wrap(struct hp_session *s, void *user)
{
	struct wrap_call *call = user;
	struct hp_mechanism_call real_call;
	CK_MECHANISM *mechanism = NULL;
	CK_OBJECT_HANDLE wrapping_key = CK_INVALID_HANDLE;
	CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
	CK_RV rv = hp_object_real(call->vs, s, call->wrapping_key, &wrapping_key);
	if (rv == CKR_OK)
		rv = hp_object_real(call->vs, s, call->key, &key);
	if (rv == CKR_OK && call->mechanism)
		rv = hp_mechanism_real(call->vs, s, call->mechanism, &real_call,
				       &mechanism);
	if (rv != CKR_OK)
		return rv;
	return hp_wrap_key(s, mechanism, wrapping_key, key, call->out, call->out_len);
}

static bool restore_wrap(void *user)
{
	struct wrap_call *call = user;
	if (hp_key_rules_of(call->vs, call->wrapping_key).is_counting)
		return false;
	if (call->out_len)
		*call->out_len = call->given_len;
	hp_mechanism_restore(&call->before, call->mechanism);
	return true;
}

CK_RV hp_C_WrapKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
		   CK_OBJECT_HANDLE wrapping_key, CK_OBJECT_HANDLE key, CK_BYTE *wrapped,
		   CK_ULONG *wrapped_len)
{
	struct hp_vsession *vs = hp_vsession_take(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return hp_wrap_key(&none, mechanism, wrapping_key, key, wrapped,
				   wrapped_len);
	}
	struct wrap_call call = {
		.vs = vs,
		.mechanism = mechanism,
		.wrapping_key = wrapping_key,
		.key = key,
		.out = wrapped,
		.out_len = wrapped_len,
		.given_len = wrapped_len ? *wrapped_len : 0,
	};
	hp_mechanism_save(&call.before, mechanism);
	struct hp_aside_use use = {
		.kind = HP_USE_MANAGEMENT,
		.mechanism = mechanism,
		.key = wrapping_key,
		.target = key,
		.needs_key = true,
		.needs_target = true,
		.output_len = wrapped_len,
	};
	/* Who asks for the size gets nothing. */
	CK_RV rv = hp_operation_aside(vs,
				      &(struct hp_aside){ .function = HP_FN_C_WrapKey,
							  .want = HP_WANT_BESIDE,
							  .run = run_wrap,
							  .user = &call,
							  .restore = restore_wrap,
							  .use = wrapped ? &use : NULL });
	hp_vsession_give(vs);
	return rv;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that are generated, wrapped, unwrapped, derived. */
#include "differential.h"

/* What is odd about a call. */
enum { ODD_NO_POINTER = 1, ODD_NO_TEMPLATE = 2, ODD_NO_MECHANISM = 3 };

static void keep_key(struct worker *w, uint8_t store, CK_RV rv, CK_OBJECT_HANDLE handle,
		     struct answer *answer)
{
	note(answer, "has handle", handle != 0);
	if (rv == CKR_OK && store < OBJECTS)
		w->objects[store] = handle;
	if (rv == CKR_OK)
		answer->about.made[answer->about.made[0] != 0] = handle;
}

static CK_MECHANISM *mechanism_if(const struct call *call)
{
	CK_MECHANISM *mechanism = mechanism_of(call);

	return call->oddity == ODD_NO_MECHANISM ? NULL : mechanism;
}

static CK_ATTRIBUTE *attributes_if(const struct call *call, struct template *t)
{
	return call->oddity == ODD_NO_TEMPLATE ? NULL : t->attributes;
}

CK_RV run_generate_key(struct worker *w, const struct call *call, struct answer *answer)
{
	struct template t;
	CK_OBJECT_HANDLE handle = 0;

	template_make(&t, FOR_KEY, call->template, call);
	CK_RV rv = w->module->C_GenerateKey(
		session_of(w, call), mechanism_if(call), attributes_if(call, &t), t.count,
		call->oddity == ODD_NO_POINTER ? NULL : &handle);
	keep_key(w, call->store, rv, handle, answer);
	return rv;
}

CK_RV run_generate_pair(struct worker *w, const struct call *call, struct answer *answer)
{
	struct template of_public;
	struct template of_private;
	CK_OBJECT_HANDLE public_key = 0;
	CK_OBJECT_HANDLE private_key = 0;

	template_make(&of_public, FOR_PUBLIC_HALF, call->template, call);
	template_make(&of_private, FOR_PRIVATE_HALF, call->template2, call);
	CK_RV rv = w->module->C_GenerateKeyPair(
		session_of(w, call), mechanism_if(call), attributes_if(call, &of_public),
		of_public.count, of_private.attributes, of_private.count,
		call->oddity == ODD_NO_POINTER ? NULL : &public_key, &private_key);
	keep_key(w, call->store, rv, public_key, answer);
	keep_key(w, (uint8_t)(call->store + 1), rv, private_key, answer);
	return rv;
}

CK_RV run_wrap(struct worker *w, const struct call *call, struct answer *answer)
{
	struct output out = output_of(w, call);

	CK_RV rv = w->module->C_WrapKey(
		session_of(w, call), mechanism_if(call), object_of(w, call->object),
		object_of(w, call->object2), out.data,
		call->output == OUTPUT_NO_LENGTH ? NULL : &out.len);
	output_came(w, call, &out, rv, answer);
	return rv;
}

CK_RV run_unwrap(struct worker *w, const struct call *call, struct answer *answer)
{
	struct template t;
	CK_OBJECT_HANDLE handle = 0;
	struct input wrapped = input_of(w, call->input);

	template_make(&t, FOR_KEY, call->template, call);
	CK_RV rv = w->module->C_UnwrapKey(
		session_of(w, call), mechanism_if(call), object_of(w, call->object),
		wrapped.data, wrapped.len, attributes_if(call, &t), t.count,
		call->oddity == ODD_NO_POINTER ? NULL : &handle);
	keep_key(w, call->store, rv, handle, answer);
	return rv;
}

CK_RV run_derive(struct worker *w, const struct call *call, struct answer *answer)
{
	struct template t;
	CK_OBJECT_HANDLE handle = 0;

	template_make(&t, FOR_KEY, call->template, call);
	CK_RV rv = w->module->C_DeriveKey(
		session_of(w, call), mechanism_if(call), object_of(w, call->object),
		attributes_if(call, &t), t.count,
		call->oddity == ODD_NO_POINTER ? NULL : &handle);
	keep_key(w, call->store, rv, handle, answer);
	return rv;
}

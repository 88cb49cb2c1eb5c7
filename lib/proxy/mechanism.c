/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Object handles in the parameters of mechanisms: the application's for the real ones.
 *
 * Must not: read what a length of the wrong size stands for.
 */
#include "proxy/mechanism.h"

#include <string.h>
#include "base/memory.h"

static CK_RV make_real(struct hp_vsession *vs, struct hp_session *s, CK_ULONG *word)
{
	CK_OBJECT_HANDLE real = CK_INVALID_HANDLE;
	/* Not every such handle is used: none is a legal value. */
	if (*word == CK_INVALID_HANDLE)
		return CKR_OK;
	CK_RV rv = hp_object_real(vs, s, *word, &real);
	*word = real;
	return rv;
}

static bool is_key(const struct hp_prf_data *data)
{
	return data->type == HP_PRF_DATA_KEY_HANDLE && data->value &&
	       data->value_len == sizeof(CK_OBJECT_HANDLE);
}

/* A row of data for a PRF, some of them keys. The application's own stays as it is. */
static CK_RV make_data_real(struct hp_vsession *vs, struct hp_session *s,
			    struct hp_mechanism_call *call, unsigned at, unsigned len)
{
	const struct hp_prf_data *given = hp_word_pointer(call->words, at);
	CK_ULONG count = call->words[len];
	struct hp_prf_data *copy = call->data;
	bool has_keys = false;
	for (CK_ULONG i = 0; i < count && !has_keys; i++)
		has_keys = is_key(&given[i]);
	if (!has_keys)
		return CKR_OK;
	if (count > HP_PRF_DATA_MOST)
		return CKR_MECHANISM_PARAM_INVALID;
	memcpy(copy, given, count * sizeof(*copy));
	for (CK_ULONG i = 0; i < count; i++) {
		if (!is_key(&copy[i]))
			continue;
		memcpy(&call->data_keys[i], copy[i].value, sizeof(CK_OBJECT_HANDLE));
		copy[i].value = &call->data_keys[i];
		CK_RV rv = make_real(vs, s, &call->data_keys[i]);
		if (rv != CKR_OK)
			return rv;
	}
	memcpy(&call->words[at], &copy, sizeof(copy));
	return CKR_OK;
}

static CK_RV make_field_real(struct hp_vsession *vs, struct hp_session *s,
			     struct hp_mechanism_call *call,
			     const struct hp_layout *layout, unsigned i)
{
	unsigned at = layout->fields[i].at;
	switch (layout->fields[i].kind) {
	case HP_FIELD_HANDLE:
		return make_real(vs, s, &call->words[at]);
	case HP_FIELD_PRF_DATA:
		return make_data_real(vs, s, call, at, layout->fields[i].len);
	default:
		return CKR_OK;
	}
}

CK_RV hp_mechanism_real(struct hp_vsession *vs, struct hp_session *s, CK_MECHANISM *given,
			struct hp_mechanism_call *call, CK_MECHANISM **use)
{
	*use = given;
	const struct hp_layout *layout = hp_layout_of(given);
	if (!layout)
		return CKR_OK;
	if (hp_layout_promises_bytes_at_null(layout, given->pParameter))
		return CKR_MECHANISM_PARAM_INVALID;
	if (!hp_layout_has(layout, HP_FIELD_HANDLE) &&
	    !hp_layout_has(layout, HP_FIELD_PRF_DATA))
		return CKR_OK;
	call->ck = *given;
	call->ck.pParameter = call->words;
	memcpy(call->words, given->pParameter, given->ulParameterLen);
	hp_for_each_field (i, layout) {
		CK_RV rv = make_field_real(vs, s, call, layout, i);
		if (rv != CKR_OK)
			return rv;
	}
	*use = &call->ck;
	return CKR_OK;
}

CK_RV hp_mechanism_adopt(struct hp_vsession *vs, struct hp_session *s,
			 struct hp_vsession *owner, CK_MECHANISM *given)
{
	const struct hp_layout *layout = hp_layout_of(given);
	if (!layout || layout->fields[0].kind != HP_FIELD_RETURNED)
		return CKR_OK;
	const void *pointer = hp_word_pointer(given->pParameter, layout->fields[0].at);
	CK_OBJECT_HANDLE *keys = (CK_OBJECT_HANDLE *)(uintptr_t)pointer;
	for (unsigned i = 0; keys && i < layout->fields[0].len; i++) {
		if (keys[i] == CK_INVALID_HANDLE)
			continue;
		CK_RV rv = hp_object_virtual(vs, s, keys[i], owner, &keys[i]);
		if (rv != CKR_OK)
			return rv;
	}
	return CKR_OK;
}

/* -1: the mechanism derives no more than one key. */
static int derived_field(const struct hp_layout *layout)
{
	if (layout)
		hp_for_each_field (i, layout)
			if (layout->fields[i].kind == HP_FIELD_DERIVED)
				return (int)i;
	return -1;
}

CK_ULONG hp_mechanism_derives(const CK_MECHANISM *given,
			      const struct hp_derived_key **keys)
{
	const struct hp_layout *layout = hp_layout_of(given);
	int i = derived_field(layout);
	if (i < 0)
		return 0;
	*keys = hp_word_pointer(given->pParameter, layout->fields[i].at);
	return *keys ? hp_word_at(given->pParameter, layout->fields[i].len) : 0;
}

void hp_mechanism_derive_to(struct hp_mechanism_call *call,
			    const struct hp_derived_key *keys)
{
	const struct hp_layout *layout = hp_layout_of(&call->ck);
	int i = derived_field(layout);
	if (i >= 0)
		memcpy(&call->words[layout->fields[i].at], &keys, sizeof(keys));
}

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

CK_RV hp_mechanism_real(struct hp_vsession *vs, struct hp_session *s, CK_MECHANISM *given,
			struct hp_mechanism_call *call, CK_MECHANISM **use)
{
	*use = given;
	const struct hp_layout *layout = hp_layout_of(given);
	if (!layout)
		return CKR_OK;
	if (hp_layout_promises_bytes_at_null(layout, given->pParameter))
		return CKR_MECHANISM_PARAM_INVALID;
	if (!hp_layout_has(layout, HP_FIELD_HANDLE))
		return CKR_OK;
	call->ck = *given;
	call->ck.pParameter = call->words;
	memcpy(call->words, given->pParameter, given->ulParameterLen);
	hp_for_each_field (i, layout) {
		if (layout->fields[i].kind != HP_FIELD_HANDLE)
			continue;
		CK_RV rv = make_real(vs, s, &call->words[layout->fields[i].at]);
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

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls about objects: find, read, change, create, copy, destroy.
 */
#include "p11/call.h"

#include <stdlib.h>
#include "base/memory.h"

/* No token has so many; a module that never says "no more" does. */
#define MOST_OBJECTS (1ul << 24)

/* Between Init and Final: what fits goes to found, the rest is counted. */
static CK_RV collect_objects(struct hp_session *s, CK_OBJECT_HANDLE *found, CK_ULONG cap,
			     CK_ULONG *len)
{
	CK_OBJECT_HANDLE uncollected[64];
	CK_ULONG batch = 0;
	do {
		bool fits = *len < cap;
		CK_OBJECT_HANDLE *to = fits ? found + *len : uncollected;
		CK_ULONG room = fits ? cap - *len : HP_ARRAY_LEN(uncollected);
		batch = 0;
		CK_RV rv = HP_SESSION_CALL(s, C_FindObjects, to, room, &batch);
		if (rv != CKR_OK)
			return rv;
		if (batch > room || *len > MOST_OBJECTS)
			return CKR_GENERAL_ERROR;
		*len += batch;
	} while (batch > 0);
	return CKR_OK;
}

CK_RV hp_find_objects_final(struct hp_session *s)
{
	bool was_begun = s->active & HP_OP_FIND;
	CK_RV rv = HP_SESSION_CALL(s, C_FindObjectsFinal);
	/* That there is nothing to end says nothing of the session. */
	if (rv == CKR_OPERATION_NOT_INITIALIZED && !was_begun)
		return rv;
	return hp_note_end(s, HP_OP_FIND, rv, true);
}

CK_RV hp_find_objects(struct hp_session *s, CK_ATTRIBUTE *template, CK_ULONG count,
		      CK_OBJECT_HANDLE *found, CK_ULONG cap, CK_ULONG *len)
{
	*len = 0;
	CK_RV rv = HP_SESSION_CALL(s, C_FindObjectsInit, template, count);
	if (hp_note_begin(s, HP_OP_FIND, rv) != CKR_OK)
		return rv;
	rv = collect_objects(s, found, cap, len);
	CK_RV final_rv = hp_find_objects_final(s);
	if (rv == CKR_OK)
		rv = final_rv;
	if (rv != CKR_OK)
		*len = 0;
	return rv;
}

CK_RV hp_find_objects_next(struct hp_session *s, CK_OBJECT_HANDLE *found, CK_ULONG cap,
			   CK_ULONG *len)
{
	return HP_SESSION_CALL(s, C_FindObjects, found, cap, len);
}

/* Between Init and Final, into a list that grows. */
static CK_RV collect_all(struct hp_session *s, CK_OBJECT_HANDLE **found, CK_ULONG *len)
{
	CK_ULONG cap = 0;
	for (CK_ULONG batch = 1; batch > 0; *len += batch) {
		if (*len == cap) {
			cap = cap ? 2 * cap : 32;
			CK_OBJECT_HANDLE *larger =
				*len > MOST_OBJECTS
					? NULL
					: realloc(*found, cap * sizeof(**found));
			if (!larger)
				return CKR_HOST_MEMORY;
			*found = larger;
		}
		batch = 0;
		CK_RV rv = hp_find_objects_next(s, *found + *len, cap - *len, &batch);
		if (rv != CKR_OK)
			return rv;
		if (batch > cap - *len)
			return CKR_GENERAL_ERROR;
	}
	return CKR_OK;
}

CK_RV hp_find_all_objects(struct hp_session *s, CK_ATTRIBUTE *template, CK_ULONG count,
			  CK_OBJECT_HANDLE **found, CK_ULONG *len)
{
	HP_AUTO_FREE CK_OBJECT_HANDLE *list = NULL;
	*found = NULL;
	*len = 0;
	CK_RV rv = HP_SESSION_CALL(s, C_FindObjectsInit, template, count);
	if (hp_note_begin(s, HP_OP_FIND, rv) != CKR_OK)
		return rv;
	rv = collect_all(s, &list, len);
	CK_RV final_rv = hp_find_objects_final(s);
	if (rv == CKR_OK)
		rv = final_rv;
	if (rv == CKR_OK && *len > 0)
		*found = hp_take(&list);
	else
		*len = 0;
	return rv;
}

CK_RV hp_get_object_size(struct hp_session *s, CK_OBJECT_HANDLE object, CK_ULONG *size)
{
	return HP_SESSION_CALL(s, C_GetObjectSize, object, size);
}

CK_RV hp_get_attributes(struct hp_session *s, CK_OBJECT_HANDLE object,
			CK_ATTRIBUTE *template, CK_ULONG count)
{
	return HP_SESSION_CALL(s, C_GetAttributeValue, object, template, count);
}

CK_RV hp_set_attributes(struct hp_session *s, CK_OBJECT_HANDLE object,
			CK_ATTRIBUTE *template, CK_ULONG count)
{
	return HP_SESSION_CALL(s, C_SetAttributeValue, object, template, count);
}

CK_RV hp_create_object(struct hp_session *s, CK_ATTRIBUTE *template, CK_ULONG count,
		       CK_OBJECT_HANDLE *object)
{
	return HP_SESSION_CALL(s, C_CreateObject, template, count, object);
}

CK_RV hp_copy_object(struct hp_session *s, CK_OBJECT_HANDLE object,
		     CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *copy)
{
	return HP_SESSION_CALL(s, C_CopyObject, object, template, count, copy);
}

CK_RV hp_destroy_object(struct hp_session *s, CK_OBJECT_HANDLE object)
{
	return HP_SESSION_CALL(s, C_DestroyObject, object);
}

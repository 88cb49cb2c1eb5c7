/* SPDX-License-Identifier: Apache-2.0 */
/* Objects, their attributes, searches. */
#include "differential.h"

#include <stdlib.h>
#include <string.h>

/* What is odd about a call. */
enum { ODD_NO_POINTER = 1, ODD_NO_TEMPLATE = 2, ODD_NO_COUNT = 3 };

enum { VALUE_ROOM = 512, QUERY_LIST = ATTRIBUTES };

static CK_ATTRIBUTE *attributes_of(const struct call *call, struct template *t)
{
	return call->oddity == ODD_NO_TEMPLATE ? NULL : t->attributes;
}

static void keep_object(struct worker *w, const struct call *call, CK_RV rv,
			CK_OBJECT_HANDLE handle, struct answer *answer)
{
	note(answer, "has handle", handle != 0);
	if (rv == CKR_OK && call->store < OBJECTS)
		w->objects[call->store] = handle;
	if (rv == CKR_OK)
		answer->about.made[0] = handle;
}

CK_RV run_create_object(struct worker *w, const struct call *call, struct answer *answer)
{
	struct template t;
	CK_OBJECT_HANDLE handle = 0;

	template_make(&t, FOR_CREATE, call->template, call);
	CK_RV rv = w->module->C_CreateObject(
		session_of(w, call), attributes_of(call, &t), t.count,
		call->oddity == ODD_NO_POINTER ? NULL : &handle);
	keep_object(w, call, rv, handle, answer);
	return rv;
}

CK_RV run_copy_object(struct worker *w, const struct call *call, struct answer *answer)
{
	struct template t;
	CK_OBJECT_HANDLE handle = 0;

	template_make(&t, FOR_COPY, call->template, call);
	CK_RV rv = w->module->C_CopyObject(
		session_of(w, call), object_of(w, call->object), attributes_of(call, &t),
		t.count, call->oddity == ODD_NO_POINTER ? NULL : &handle);
	keep_object(w, call, rv, handle, answer);
	return rv;
}

CK_RV run_destroy_object(struct worker *w, const struct call *call, struct answer *answer)
{
	(void)answer;
	return w->module->C_DestroyObject(session_of(w, call),
					  object_of(w, call->object));
}

CK_RV run_get_object_size(struct worker *w, const struct call *call,
			  struct answer *answer)
{
	CK_ULONG size = 7;

	CK_RV rv = w->module->C_GetObjectSize(
		session_of(w, call), object_of(w, call->object),
		call->oddity == ODD_NO_POINTER ? NULL : &size);
	note(answer, "size", size);
	return rv;
}

/* One bit pair of the number for each attribute: query, no room, too little, enough. */
static void give_room(struct template *t, CK_BYTE rooms[][VALUE_ROOM], uint32_t number)
{
	for (CK_ULONG i = 0; i < t->count; i++) {
		unsigned how = number >> (2 * i) & 3;
		memset(rooms[i], 0, VALUE_ROOM);
		t->attributes[i].pValue = how == 0 ? NULL : rooms[i];
		t->attributes[i].ulValueLen = how == 0 ? 0 : how == 1 ? 1 : VALUE_ROOM;
	}
}

CK_RV run_get_attributes(struct worker *w, const struct call *call, struct answer *answer)
{
	static CK_BYTE rooms[ATTRIBUTES][VALUE_ROOM];
	struct template t;

	template_to_read(&t, call);
	give_room(&t, rooms, call->number >> 4);
	CK_RV rv = w->module->C_GetAttributeValue(session_of(w, call),
						  object_of(w, call->object),
						  attributes_of(call, &t), t.count);
	for (CK_ULONG i = 0; i < t.count && 2 * i + 2 <= ITEMS; i++) {
		CK_ULONG len = t.attributes[i].ulValueLen;
		note(answer, "value len", len);
		note_bytes(answer, "value", rooms[i], VALUE_ROOM);
		if (i == 0 && rv == CKR_OK && len <= VALUE_ROOM &&
		    call->store < BUFFERS && t.attributes[i].pValue != NULL) {
			memcpy(w->buffers[call->store], rooms[i], len);
			w->buffer_len[call->store] = len;
		}
	}
	return rv;
}

CK_RV run_set_attributes(struct worker *w, const struct call *call, struct answer *answer)
{
	struct template t;
	(void)answer;

	template_to_change(&t, call);
	return w->module->C_SetAttributeValue(session_of(w, call),
					      object_of(w, call->object),
					      attributes_of(call, &t), t.count);
}

CK_RV run_find_init(struct worker *w, const struct call *call, struct answer *answer)
{
	struct template t;
	(void)answer;

	template_for_search(&t, call);
	CK_RV rv = w->module->C_FindObjectsInit(session_of(w, call),
						attributes_of(call, &t), t.count);
	if (rv == CKR_OK && call->session < SESSIONS)
		w->searches[call->session].count = 0;
	return rv;
}

/* The lowest register that holds it: handles of the same object must be the same. */
static uint8_t register_of(const struct worker *w, CK_OBJECT_HANDLE handle)
{
	uint8_t i = 0;

	while (i < OBJECTS && w->objects[i] != handle)
		i++;
	return i;
}

static int compare_bytes(const void *a, const void *b)
{
	return *(const uint8_t *)a - *(const uint8_t *)b;
}

/* The order of what is found is by chance, so all of it is compared at the end. */
static void note_found(const struct worker *w, const struct search *search,
		       struct answer *answer)
{
	uint8_t names[512];

	for (CK_ULONG i = 0; i < search->count; i++)
		names[i] = register_of(w, search->found[i]);
	qsort(names, search->count, 1, compare_bytes);
	note(answer, "found in all", search->count);
	note_bytes(answer, "of them known", names, search->count);
}

CK_RV run_find(struct worker *w, const struct call *call, struct answer *answer)
{
	CK_OBJECT_HANDLE found[128];
	CK_ULONG most = call->number % 5 == 4 ? 128 : call->number % 5;
	CK_ULONG count = 77;

	CK_RV rv = w->module->C_FindObjects(
		session_of(w, call), call->oddity == ODD_NO_POINTER ? NULL : found, most,
		call->oddity == ODD_NO_COUNT ? NULL : &count);
	note(answer, "count", count);
	if (rv != CKR_OK || call->session >= SESSIONS || count > most)
		return rv;

	struct search *search = &w->searches[call->session];
	for (CK_ULONG i = 0; i < count && search->count < 512; i++)
		search->found[search->count++] = found[i];
	if (count == most)
		return rv;
	note_found(w, search, answer);
	if (search->count == 1 && call->store < OBJECTS)
		w->objects[call->store] = search->found[0];
	return rv;
}

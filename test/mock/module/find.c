/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The own backend's object and search calls.
 */
#include "own.h"

#include <stdlib.h>
#include <string.h>

static bool is_secret_type(CK_ATTRIBUTE_TYPE type)
{
	switch (type) {
	case CKA_VALUE:
	case CKA_PRIVATE_EXPONENT:
	case CKA_PRIME_1:
	case CKA_PRIME_2:
	case CKA_EXPONENT_1:
	case CKA_EXPONENT_2:
	case CKA_COEFFICIENT:
		return true;
	default:
		return false;
	}
}

static bool is_hidden(const struct mock_object *object, CK_ATTRIBUTE_TYPE type)
{
	CK_OBJECT_CLASS class = atomic_load(&object->class);
	uint32_t traits = atomic_load(&object->traits);

	return is_secret_type(type) &&
	       (class == CKO_PRIVATE_KEY || class == CKO_SECRET_KEY) &&
	       ((traits & MOCK_TRAIT_SENSITIVE) || !(traits & MOCK_TRAIT_EXTRACTABLE));
}

static CK_RV get_attribute(const struct mock_object *object, CK_ATTRIBUTE *asked)
{
	const struct mock_attribute *a = mock_attribute_find(object, asked->type);
	CK_ULONG room = asked->ulValueLen;

	asked->ulValueLen = CK_UNAVAILABLE_INFORMATION;
	if (is_hidden(object, asked->type))
		return CKR_ATTRIBUTE_SENSITIVE;
	/* An EC private key shows no public part, as most tokens have it. */
	if (a == NULL || (asked->type == CKA_EC_POINT &&
			  atomic_load(&object->class) == CKO_PRIVATE_KEY))
		return CKR_ATTRIBUTE_TYPE_INVALID;
	if (asked->pValue == NULL) {
		asked->ulValueLen = a->len;
		return CKR_OK;
	}
	if (room < a->len)
		return CKR_BUFFER_TOO_SMALL;
	memcpy(asked->pValue, a->data, a->len);
	asked->ulValueLen = a->len;
	return CKR_OK;
}

CK_RV own_C_GetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle,
			      CK_ATTRIBUTE_PTR template, CK_ULONG count)
{
	CK_RV rv;

	(void)session;
	if (template == NULL || count == 0)
		return CKR_ARGUMENTS_BAD;
	mock_lock();
	struct mock_object *object =
		mock_object_find(handle, CKR_OBJECT_HANDLE_INVALID, &rv);
	for (CK_ULONG i = 0; object != NULL && i < count; i++) {
		CK_RV one = get_attribute(object, &template[i]);
		if (one != CKR_OK)
			rv = one;
	}
	mock_unlock();
	return rv;
}

/* Whether a value may be changed to this one, by C_SetAttributeValue or a copy. */
static bool is_change_allowed(const struct mock_object *object, const CK_ATTRIBUTE *to,
			      bool is_copy)
{
	uint32_t traits = atomic_load(&object->traits);
	bool value = to->ulValueLen == 1 && to->pValue != NULL &&
		     *(const CK_BBOOL *)to->pValue != CK_FALSE;

	switch (to->type) {
	case CKA_SENSITIVE:
		return value || !(traits & MOCK_TRAIT_SENSITIVE);
	case CKA_EXTRACTABLE:
		return !value || (traits & MOCK_TRAIT_EXTRACTABLE);
	case CKA_TOKEN:
	case CKA_PRIVATE:
	case CKA_MODIFIABLE:
	case CKA_DESTROYABLE:
		return is_copy;
	case CKA_CLASS:
	case CKA_KEY_TYPE:
	case CKA_VALUE:
	case CKA_VALUE_LEN:
	case CKA_MODULUS:
	case CKA_PUBLIC_EXPONENT:
	case CKA_EC_PARAMS:
	case CKA_EC_POINT:
	case CKA_LOCAL:
	case CKA_ALWAYS_SENSITIVE:
	case CKA_NEVER_EXTRACTABLE:
	case CKA_ALWAYS_AUTHENTICATE:
		return false;
	default:
		return true;
	}
}

static CK_RV check_changes(const struct mock_object *object, const CK_ATTRIBUTE *template,
			   CK_ULONG count, bool is_copy)
{
	for (CK_ULONG i = 0; i < count; i++)
		if (!is_change_allowed(object, &template[i], is_copy))
			return CKR_ATTRIBUTE_READ_ONLY;
	return CKR_OK;
}

static CK_RV set_attributes(const struct mock_session *s, struct mock_object *object,
			    const CK_ATTRIBUTE *template, CK_ULONG count)
{
	uint32_t traits = atomic_load(&object->traits);

	if ((traits & MOCK_TRAIT_TOKEN) && !(s->flags & CKF_RW_SESSION))
		return CKR_SESSION_READ_ONLY;
	if (!(traits & MOCK_TRAIT_MODIFIABLE))
		return CKR_ACTION_PROHIBITED;
	CK_RV rv = check_changes(object, template, count, false);
	for (CK_ULONG i = 0; rv == CKR_OK && i < count; i++)
		rv = mock_attribute_set(object, template[i].type, template[i].pValue,
					template[i].ulValueLen);
	mock_object_derive_fields(object);
	return rv;
}

CK_RV own_C_SetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle,
			      CK_ATTRIBUTE_PTR template, CK_ULONG count)
{
	CK_RV rv;

	if (template == NULL || count == 0)
		return CKR_ARGUMENTS_BAD;
	mock_lock();
	struct mock_session *s = mock_session_find(session);
	struct mock_object *object =
		mock_object_find(handle, CKR_OBJECT_HANDLE_INVALID, &rv);
	if (s == NULL)
		rv = CKR_SESSION_HANDLE_INVALID;
	else if (object != NULL)
		rv = set_attributes(s, object, template, count);
	mock_unlock();
	return rv;
}

static CK_RV check_new_object(const struct mock_session *s, const CK_ATTRIBUTE *template,
			      CK_ULONG count)
{
	const CK_ATTRIBUTE *class = mock_template_find(template, count, CKA_CLASS);

	if (class == NULL || class->ulValueLen != sizeof(CK_OBJECT_CLASS) ||
	    class->pValue == NULL)
		return CKR_TEMPLATE_INCOMPLETE;
	CK_OBJECT_CLASS value = *(const CK_OBJECT_CLASS *)class->pValue;
	bool is_key = value == CKO_PRIVATE_KEY || value == CKO_PUBLIC_KEY ||
		      value == CKO_SECRET_KEY;
	if (is_key && mock_template_find(template, count, CKA_KEY_TYPE) == NULL)
		return CKR_TEMPLATE_INCOMPLETE;
	if (value == CKO_SECRET_KEY &&
	    mock_template_find(template, count, CKA_VALUE) == NULL)
		return CKR_TEMPLATE_INCOMPLETE;
	return mock_template_allowed(s, template, count,
				     value == CKO_PRIVATE_KEY || value == CKO_SECRET_KEY);
}

CK_RV own_C_CreateObject(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR template,
			 CK_ULONG count, CK_OBJECT_HANDLE_PTR handle)
{
	struct mock_object *object = NULL;
	CK_RV rv = CKR_SESSION_HANDLE_INVALID;

	if (template == NULL || handle == NULL)
		return CKR_ARGUMENTS_BAD;
	mock_lock();
	struct mock_session *s = mock_session_find(session);
	if (s != NULL)
		rv = check_new_object(s, template, count);
	if (rv == CKR_OK)
		rv = mock_object_add(s, template, count, &object);
	if (rv == CKR_OK)
		*handle = atomic_load(&object->handle);
	mock_unlock();
	return rv;
}

/* The original's attributes, with the template's in place of theirs. mock.lock held. */
static CK_RV copy_object(const struct mock_session *s, const struct mock_object *object,
			 const CK_ATTRIBUTE *template, CK_ULONG count,
			 struct mock_object **copy)
{
	CK_ATTRIBUTE merged[64];
	CK_ULONG used = 0;

	if (!(atomic_load(&object->traits) & MOCK_TRAIT_COPYABLE))
		return CKR_ACTION_PROHIBITED;
	CK_RV rv = check_changes(object, template, count, true);
	if (rv == CKR_OK)
		rv = mock_template_allowed(s, template, count, false);
	if (rv != CKR_OK)
		return rv;
	if (object->count + count > 64)
		return CKR_HOST_MEMORY;
	for (size_t i = 0; i < object->count; i++)
		if (mock_template_find(template, count, object->attributes[i].type) ==
		    NULL)
			merged[used++] = (CK_ATTRIBUTE){ object->attributes[i].type,
							 object->attributes[i].data,
							 object->attributes[i].len };
	for (CK_ULONG i = 0; i < count; i++)
		merged[used++] = template[i];
	if (mock_template_bool(merged, used, CKA_TOKEN, false) &&
	    !(s->flags & CKF_RW_SESSION))
		return CKR_SESSION_READ_ONLY;
	return mock_object_add(s, merged, used, copy);
}

CK_RV own_C_CopyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle,
		       CK_ATTRIBUTE_PTR template, CK_ULONG count,
		       CK_OBJECT_HANDLE_PTR copy_handle)
{
	struct mock_object *copy = NULL;
	CK_RV rv;

	if (copy_handle == NULL || (template == NULL && count != 0))
		return CKR_ARGUMENTS_BAD;
	mock_lock();
	struct mock_session *s = mock_session_find(session);
	struct mock_object *object =
		mock_object_find(handle, CKR_OBJECT_HANDLE_INVALID, &rv);
	if (s == NULL)
		rv = CKR_SESSION_HANDLE_INVALID;
	else if (object != NULL)
		rv = copy_object(s, object, template, count, &copy);
	if (rv == CKR_OK)
		*copy_handle = atomic_load(&copy->handle);
	mock_unlock();
	return rv;
}

CK_RV own_C_DestroyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle)
{
	CK_RV rv;

	mock_lock();
	struct mock_session *s = mock_session_find(session);
	struct mock_object *object =
		mock_object_find(handle, CKR_OBJECT_HANDLE_INVALID, &rv);
	if (s == NULL)
		rv = CKR_SESSION_HANDLE_INVALID;
	else if (object != NULL && (atomic_load(&object->traits) & MOCK_TRAIT_TOKEN) &&
		 !(s->flags & CKF_RW_SESSION))
		rv = CKR_SESSION_READ_ONLY;
	else if (object != NULL &&
		 !(atomic_load(&object->traits) & MOCK_TRAIT_DESTROYABLE))
		rv = CKR_ACTION_PROHIBITED;
	if (rv == CKR_OK)
		mock_object_free(object);
	mock_unlock();
	return rv;
}

CK_RV own_C_GetObjectSize(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle,
			  CK_ULONG_PTR size)
{
	CK_RV rv;

	(void)session;
	if (size == NULL)
		return CKR_ARGUMENTS_BAD;
	mock_lock();
	struct mock_object *object =
		mock_object_find(handle, CKR_OBJECT_HANDLE_INVALID, &rv);
	if (object != NULL) {
		*size = 0;
		for (size_t i = 0; i < object->count; i++)
			*size += sizeof(CK_ATTRIBUTE) + object->attributes[i].len;
	}
	mock_unlock();
	return rv;
}

/* --- search ------------------------------------------------------------------ */

static bool matches(const struct mock_object *object, const CK_ATTRIBUTE *template,
		    CK_ULONG count)
{
	if ((atomic_load(&object->traits) & MOCK_TRAIT_PRIVATE) &&
	    atomic_load(&mock.user) != CKU_USER)
		return false;
	for (CK_ULONG i = 0; i < count; i++) {
		const struct mock_attribute *a =
			mock_attribute_find(object, template[i].type);
		if (a == NULL || is_hidden(object, template[i].type) ||
		    a->len != template[i].ulValueLen ||
		    (a->len != 0 && memcmp(a->data, template[i].pValue, a->len) != 0))
			return false;
	}
	return true;
}

CK_RV own_C_FindObjectsInit(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR template,
			    CK_ULONG count)
{
	struct mock_session *s = mock_session_find(session);

	if (s == NULL)
		return mock_dead_session_rv(session);
	if (template == NULL && count != 0)
		return CKR_ARGUMENTS_BAD;
	for (CK_ULONG i = 0; i < count; i++)
		if (template[i].pValue == NULL && template[i].ulValueLen != 0)
			return CKR_ATTRIBUTE_VALUE_INVALID;
	if (s->is_finding)
		return CKR_OPERATION_ACTIVE;
	s->found = malloc(MOCK_MAX_OBJECTS * sizeof(*s->found));
	if (s->found == NULL)
		return CKR_HOST_MEMORY;
	s->is_finding = true;
	s->found_count = s->found_next = 0;
	mock_lock();
	for (size_t i = 1; i < MOCK_MAX_OBJECTS; i++) {
		struct mock_object *object = mock_object_at(i);
		if (object != NULL && matches(object, template, count))
			s->found[s->found_count++] = atomic_load(&object->handle);
	}
	mock_unlock();
	return CKR_OK;
}

CK_RV own_C_FindObjects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE_PTR objects,
			CK_ULONG max, CK_ULONG_PTR count)
{
	struct mock_session *s = mock_session_find(session);

	if (s == NULL)
		return mock_dead_session_rv(session);
	if (objects == NULL || count == NULL)
		return CKR_ARGUMENTS_BAD;
	if (!s->is_finding)
		return CKR_OPERATION_NOT_INITIALIZED;
	for (*count = 0; *count < max && s->found_next < s->found_count; (*count)++)
		objects[*count] = s->found[s->found_next++];
	return CKR_OK;
}

CK_RV own_C_FindObjectsFinal(CK_SESSION_HANDLE session)
{
	struct mock_session *s = mock_session_find(session);

	if (s == NULL)
		return mock_dead_session_rv(session);
	if (!s->is_finding)
		return CKR_OPERATION_NOT_INITIALIZED;
	free(s->found);
	s->found = NULL;
	s->is_finding = false;
	return CKR_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The object store of the own token: in memory, gone with the process.
 *
 * Everything but mock_object_find() is called with mock.lock held. Records are never
 * freed, so that an operation which still looks at a destroyed key reads valid memory.
 * A handle is (serial << 12 | place); places are a table of their own, so that a
 * reboot can make an old handle name another object.
 */
#include "module.h"

#include <stdlib.h>
#include <string.h>

static struct mock_object records[MOCK_MAX_OBJECTS];
static _Atomic(struct mock_object *) places[MOCK_MAX_OBJECTS];
static _Atomic uint64_t handle_serial;

static void give_handle(struct mock_object *object, size_t place)
{
	uint64_t serial = atomic_fetch_add(&handle_serial, 1) + 1;

	atomic_store(&places[place], object);
	atomic_store(&object->handle, serial * MOCK_MAX_OBJECTS + place);
}

struct mock_object *mock_object_find(CK_OBJECT_HANDLE handle, CK_RV invalid, CK_RV *rv)
{
	struct mock_object *object = atomic_load_explicit(
		&places[handle & (MOCK_MAX_OBJECTS - 1)], memory_order_acquire);

	if (object == NULL || handle == 0 ||
	    atomic_load_explicit(&object->handle, memory_order_acquire) != handle) {
		uint64_t serial = handle / MOCK_MAX_OBJECTS;
		if (serial != 0 && serial <= atomic_load(&handle_serial))
			mock_count(&mock.dead_handles);
		*rv = invalid;
		return NULL;
	}
	if ((atomic_load_explicit(&object->traits, memory_order_relaxed) &
	     MOCK_TRAIT_PRIVATE) &&
	    atomic_load_explicit(&mock.user, memory_order_relaxed) != CKU_USER) {
		CK_RV answer = atomic_load(&mock.logged_out_rv);
		*rv = answer == CKR_KEY_HANDLE_INVALID ? invalid : answer;
		return NULL;
	}
	*rv = CKR_OK;
	return object;
}

struct mock_object *mock_object_at(size_t index)
{
	struct mock_object *object = &records[index];

	return atomic_load(&object->handle) != 0 ? object : NULL;
}

/* --- attributes -------------------------------------------------------------- */

struct mock_attribute *mock_attribute_find(const struct mock_object *object,
					   CK_ATTRIBUTE_TYPE type)
{
	for (size_t i = 0; i < object->count; i++)
		if (object->attributes[i].type == type)
			return &object->attributes[i];
	return NULL;
}

/* It may be a key's value. */
static void forget(struct mock_attribute *attribute)
{
	if (attribute->data != NULL)
		explicit_bzero(attribute->data, attribute->len);
	free(attribute->data);
}

CK_RV mock_attribute_set(struct mock_object *object, CK_ATTRIBUTE_TYPE type,
			 const void *data, CK_ULONG len)
{
	struct mock_attribute *found = mock_attribute_find(object, type);
	uint8_t *copy = malloc(len != 0 ? len : 1);

	if (copy == NULL)
		return CKR_HOST_MEMORY;
	if (found == NULL) {
		struct mock_attribute *longer = realloc(
			object->attributes, (object->count + 1) * sizeof(*longer));
		if (longer == NULL) {
			free(copy);
			return CKR_HOST_MEMORY;
		}
		object->attributes = longer;
		found = &longer[object->count++];
		*found = (struct mock_attribute){ .type = type };
	}
	if (len != 0)
		memcpy(copy, data, len);
	forget(found);
	found->data = copy;
	found->len = len;
	return CKR_OK;
}

static bool attribute_bool(const struct mock_object *object, CK_ATTRIBUTE_TYPE type)
{
	const struct mock_attribute *a = mock_attribute_find(object, type);

	return a != NULL && a->len == 1 && a->data[0] != 0;
}

static CK_ULONG attribute_number(const struct mock_object *object, CK_ATTRIBUTE_TYPE type,
				 CK_ULONG otherwise)
{
	const struct mock_attribute *a = mock_attribute_find(object, type);
	CK_ULONG value = otherwise;

	if (a != NULL && a->len == sizeof(value))
		memcpy(&value, a->data, sizeof(value));
	return value;
}

const CK_ATTRIBUTE *mock_template_find(const CK_ATTRIBUTE *template, CK_ULONG count,
				       CK_ATTRIBUTE_TYPE type)
{
	for (CK_ULONG i = 0; i < count; i++)
		if (template[i].type == type)
			return &template[i];
	return NULL;
}

bool mock_template_bool(const CK_ATTRIBUTE *template, CK_ULONG count,
			CK_ATTRIBUTE_TYPE type, bool otherwise)
{
	const CK_ATTRIBUTE *a = mock_template_find(template, count, type);

	if (a == NULL || a->pValue == NULL || a->ulValueLen != sizeof(CK_BBOOL))
		return otherwise;
	return *(const CK_BBOOL *)a->pValue != CK_FALSE;
}

CK_RV mock_template_allowed(const struct mock_session *session,
			    const CK_ATTRIBUTE *template, CK_ULONG count,
			    bool private_by_default)
{
	bool is_token = mock_template_bool(template, count, CKA_TOKEN, false);
	bool is_private =
		mock_template_bool(template, count, CKA_PRIVATE, private_by_default);

	for (CK_ULONG i = 0; i < count; i++)
		if (template[i].pValue == NULL && template[i].ulValueLen != 0)
			return CKR_ATTRIBUTE_VALUE_INVALID;
	if (is_token && !(session->flags & CKF_RW_SESSION))
		return CKR_SESSION_READ_ONLY;
	if (is_private && atomic_load(&mock.user) != CKU_USER)
		return CKR_USER_NOT_LOGGED_IN;
	return CKR_OK;
}

/* --- what operations read ---------------------------------------------------- */

static uint32_t read_traits(const struct mock_object *object)
{
	static const struct {
		CK_ATTRIBUTE_TYPE type;
		uint32_t trait;
	} table[] = {
		{ CKA_ENCRYPT, MOCK_TRAIT_ENCRYPT },
		{ CKA_DECRYPT, MOCK_TRAIT_DECRYPT },
		{ CKA_SIGN, MOCK_TRAIT_SIGN },
		{ CKA_VERIFY, MOCK_TRAIT_VERIFY },
		{ CKA_SIGN_RECOVER, MOCK_TRAIT_SIGN_RECOVER },
		{ CKA_VERIFY_RECOVER, MOCK_TRAIT_VERIFY_RECOVER },
		{ CKA_WRAP, MOCK_TRAIT_WRAP },
		{ CKA_UNWRAP, MOCK_TRAIT_UNWRAP },
		{ CKA_DERIVE, MOCK_TRAIT_DERIVE },
		{ CKA_PRIVATE, MOCK_TRAIT_PRIVATE },
		{ CKA_TOKEN, MOCK_TRAIT_TOKEN },
		{ CKA_SENSITIVE, MOCK_TRAIT_SENSITIVE },
		{ CKA_EXTRACTABLE, MOCK_TRAIT_EXTRACTABLE },
		{ CKA_ALWAYS_AUTHENTICATE, MOCK_TRAIT_ALWAYS_AUTH },
		{ CKA_MODIFIABLE, MOCK_TRAIT_MODIFIABLE },
		{ CKA_COPYABLE, MOCK_TRAIT_COPYABLE },
		{ CKA_DESTROYABLE, MOCK_TRAIT_DESTROYABLE },
	};
	uint32_t traits = 0;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (attribute_bool(object, table[i].type))
			traits |= table[i].trait;
	return traits;
}

static uint32_t signature_bytes(const struct mock_object *object)
{
	const struct mock_attribute *params = mock_attribute_find(object, CKA_EC_PARAMS);

	if (params == NULL || params->len != 7)
		return 64; /* P-256, Ed25519 */
	return params->data[6] == 0x22 ? 96 : params->data[6] == 0x23 ? 132 : 64;
}

/* The point without its OCTET STRING. */
static uint64_t seed_of_point(const struct mock_attribute *point)
{
	size_t skip = 0;

	if (point->len > 2 && point->data[0] == 0x04) {
		if (point->data[1] == point->len - 2)
			skip = 2;
		else if (point->data[1] == 0x81 && point->data[2] == point->len - 3)
			skip = 3;
	}
	return toy_hash_of(1, point->data + skip, point->len - skip);
}

void mock_object_derive_fields(struct mock_object *object)
{
	const struct mock_attribute *value = mock_attribute_find(object, CKA_VALUE);
	const struct mock_attribute *modulus = mock_attribute_find(object, CKA_MODULUS);
	const struct mock_attribute *point = mock_attribute_find(object, CKA_EC_POINT);
	uint64_t seed = 0;
	uint32_t bytes = 0;

	if (modulus != NULL) {
		seed = toy_hash_of(1, modulus->data, modulus->len);
		bytes = (uint32_t)modulus->len;
	} else if (point != NULL) {
		seed = seed_of_point(point);
		bytes = signature_bytes(object);
	} else if (value != NULL) {
		seed = toy_hash_of(1, value->data, value->len);
		bytes = mock_attribute_find(object, CKA_EC_PARAMS) != NULL
				? signature_bytes(object)
				: (uint32_t)value->len;
	}
	atomic_store(&object->seed, seed);
	atomic_store(&object->bytes, bytes);
	atomic_store(&object->class, attribute_number(object, CKA_CLASS, CKO_DATA));
	atomic_store(&object->key_type,
		     attribute_number(object, CKA_KEY_TYPE, (CK_KEY_TYPE)-1));
	atomic_store(&object->traits, read_traits(object));
}

/* --- making and destroying --------------------------------------------------- */

static const struct default_bool {
	CK_ATTRIBUTE_TYPE type;
	bool in_public, in_private, in_secret; /* whether the class has it */
	CK_BBOOL value;
} default_bools[] = {
	{ CKA_ENCRYPT, true, false, true, CK_TRUE },
	{ CKA_DECRYPT, false, true, true, CK_TRUE },
	{ CKA_SIGN, false, true, true, CK_TRUE },
	{ CKA_VERIFY, true, false, true, CK_TRUE },
	{ CKA_SIGN_RECOVER, false, true, false, CK_TRUE },
	{ CKA_VERIFY_RECOVER, true, false, false, CK_TRUE },
	{ CKA_WRAP, true, false, true, CK_TRUE },
	{ CKA_UNWRAP, false, true, true, CK_TRUE },
	{ CKA_DERIVE, true, true, true, CK_TRUE },
	{ CKA_SENSITIVE, false, true, true, CK_TRUE },
	{ CKA_EXTRACTABLE, false, true, true, CK_FALSE },
	{ CKA_ALWAYS_SENSITIVE, false, true, true, CK_FALSE },
	{ CKA_NEVER_EXTRACTABLE, false, true, true, CK_FALSE },
	{ CKA_ALWAYS_AUTHENTICATE, false, true, false, CK_FALSE },
	{ CKA_LOCAL, true, true, true, CK_FALSE },
};

static CK_RV set_default(struct mock_object *object, CK_ATTRIBUTE_TYPE type,
			 const void *data, CK_ULONG len)
{
	if (mock_attribute_find(object, type) != NULL)
		return CKR_OK;
	return mock_attribute_set(object, type, data, len);
}

static CK_RV set_default_bool(struct mock_object *object, CK_ATTRIBUTE_TYPE type,
			      CK_BBOOL value)
{
	return set_default(object, type, &value, sizeof(value));
}

static CK_RV set_key_defaults(struct mock_object *object, CK_OBJECT_CLASS class)
{
	CK_RV rv = CKR_OK;

	for (size_t i = 0; i < sizeof(default_bools) / sizeof(default_bools[0]); i++) {
		const struct default_bool *d = &default_bools[i];
		bool has_it = class == CKO_PUBLIC_KEY    ? d->in_public
			      : class == CKO_PRIVATE_KEY ? d->in_private
							 : d->in_secret;
		if (has_it && rv == CKR_OK)
			rv = set_default_bool(object, d->type, d->value);
	}
	const struct mock_attribute *value = mock_attribute_find(object, CKA_VALUE);
	if (class == CKO_SECRET_KEY && value != NULL && rv == CKR_OK) {
		CK_ULONG len = value->len;
		uint8_t check[3];
		toy_expand(toy_hash_of(2, value->data, value->len), check, sizeof(check));
		rv = mock_attribute_set(object, CKA_VALUE_LEN, &len, sizeof(len));
		if (rv == CKR_OK)
			rv = mock_attribute_set(object, CKA_CHECK_VALUE, check, 3);
	}
	return rv;
}

static CK_RV set_defaults(struct mock_object *object)
{
	CK_OBJECT_CLASS class = attribute_number(object, CKA_CLASS, CKO_DATA);
	bool is_key = class == CKO_PUBLIC_KEY || class == CKO_PRIVATE_KEY ||
		      class == CKO_SECRET_KEY;
	CK_BBOOL is_private = class == CKO_PRIVATE_KEY || class == CKO_SECRET_KEY;
	CK_RV rv = set_default_bool(object, CKA_TOKEN, CK_FALSE);

	if (rv == CKR_OK)
		rv = set_default_bool(object, CKA_PRIVATE, is_private);
	if (rv == CKR_OK)
		rv = set_default_bool(object, CKA_MODIFIABLE, CK_TRUE);
	if (rv == CKR_OK)
		rv = set_default_bool(object, CKA_COPYABLE, CK_TRUE);
	if (rv == CKR_OK)
		rv = set_default_bool(object, CKA_DESTROYABLE, CK_TRUE);
	if (rv == CKR_OK)
		rv = set_default(object, CKA_LABEL, "", 0);
	if (rv == CKR_OK && is_key)
		rv = set_default(object, CKA_ID, "", 0);
	if (rv == CKR_OK && is_key)
		rv = set_key_defaults(object, class);
	return rv;
}

static void free_attributes(struct mock_object *object)
{
	for (size_t i = 0; i < object->count; i++)
		forget(&object->attributes[i]);
	free(object->attributes);
	object->attributes = NULL;
	object->count = 0;
}

static size_t free_place(void)
{
	for (size_t i = 1; i < MOCK_MAX_OBJECTS; i++)
		if (atomic_load(&places[i]) == NULL &&
		    atomic_load(&records[i].handle) == 0)
			return i;
	return 0;
}

CK_RV mock_object_add(const struct mock_session *session, const CK_ATTRIBUTE *template,
		      CK_ULONG count, struct mock_object **out)
{
	size_t place = free_place();
	struct mock_object *object = &records[place];
	CK_RV rv = place != 0 ? CKR_OK : CKR_DEVICE_MEMORY;

	for (CK_ULONG i = 0; i < count && rv == CKR_OK; i++)
		rv = mock_attribute_set(object, template[i].type, template[i].pValue,
					template[i].ulValueLen);
	if (rv == CKR_OK)
		rv = set_defaults(object);
	if (rv != CKR_OK) {
		free_attributes(object);
		return rv;
	}
	mock_object_derive_fields(object);
	bool is_token = (atomic_load(&object->traits) & MOCK_TRAIT_TOKEN) != 0;
	object->owner = session == NULL || is_token ? 0 : atomic_load(&session->handle);
	give_handle(object, place);
	mock_count(&mock.created);
	*out = object;
	return CKR_OK;
}

void mock_object_free(struct mock_object *object)
{
	CK_OBJECT_HANDLE handle = atomic_load(&object->handle);

	atomic_store(&places[handle & (MOCK_MAX_OBJECTS - 1)], NULL);
	atomic_store(&object->handle, 0);
	free_attributes(object);
	mock_count(&mock.destroyed);
}

/* A token does not leave its keys in the process that used it. */
__attribute__((destructor)) static void forget_all(void)
{
	for (size_t i = 1; i < MOCK_MAX_OBJECTS; i++)
		if (mock_object_at(i) != NULL)
			free_attributes(mock_object_at(i));
}

/* --- losses ------------------------------------------------------------------ */

void mock_objects_drop_session(CK_SESSION_HANDLE owner)
{
	for (size_t i = 1; i < MOCK_MAX_OBJECTS; i++) {
		struct mock_object *object = mock_object_at(i);
		if (object != NULL &&
		    !(atomic_load(&object->traits) & MOCK_TRAIT_TOKEN) &&
		    (owner == 0 || object->owner == owner))
			mock_object_free(object);
	}
}

static void renew_handle(struct mock_object *object)
{
	give_handle(object, atomic_load(&object->handle) & (MOCK_MAX_OBJECTS - 1));
}

void mock_objects_log_out(void)
{
	bool do_die = !mock.is_rebooting &&
		      atomic_load(&mock.logged_out_rv) == CKR_KEY_HANDLE_INVALID;

	for (size_t i = 1; i < MOCK_MAX_OBJECTS; i++) {
		struct mock_object *object = mock_object_at(i);
		if (object == NULL ||
		    !(atomic_load(&object->traits) & MOCK_TRAIT_PRIVATE))
			continue;
		if (!(atomic_load(&object->traits) & MOCK_TRAIT_TOKEN))
			mock_object_free(object);
		else if (do_die)
			renew_handle(object);
	}
}

/* Each object takes the handle of the next one of its kind. */
static void rotate_handles(struct mock_object **objects, size_t count)
{
	if (count < 2)
		return;
	CK_OBJECT_HANDLE first = atomic_load(&objects[0]->handle);
	for (size_t i = 0; i < count; i++) {
		CK_OBJECT_HANDLE next =
			i + 1 < count ? atomic_load(&objects[i + 1]->handle) : first;
		atomic_store(&objects[i]->handle, next);
		atomic_store(&places[next & (MOCK_MAX_OBJECTS - 1)], objects[i]);
	}
}

static int by_kind(const void *a, const void *b)
{
	const struct mock_object *x = *(struct mock_object *const *)a;
	const struct mock_object *y = *(struct mock_object *const *)b;
	CK_ULONG x_kind = (atomic_load(&x->class) << 16) + atomic_load(&x->key_type);
	CK_ULONG y_kind = (atomic_load(&y->class) << 16) + atomic_load(&y->key_type);

	if (x_kind != y_kind)
		return x_kind < y_kind ? -1 : 1;
	return x < y ? -1 : x > y;
}

void mock_objects_renumber(enum mock_handles how)
{
	static struct mock_object *alive[MOCK_MAX_OBJECTS];
	size_t count = 0;

	if (how == MOCK_HANDLES_KEPT)
		return;
	for (size_t i = 1; i < MOCK_MAX_OBJECTS; i++)
		if (mock_object_at(i) != NULL)
			alive[count++] = mock_object_at(i);
	if (how == MOCK_HANDLES_ALIASED) {
		qsort(alive, count, sizeof(struct mock_object *), by_kind);
		rotate_handles(alive, count);
		return;
	}
	for (size_t i = 0; i < count; i++)
		renew_handle(alive[i]);
}

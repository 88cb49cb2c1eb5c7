/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other backend: a real module, behind virtual session and object handles.
 *
 * What dies in a reboot dies here: the virtual handle. The real session is closed as
 * soon as no call is inside it, the real login ended, unless it is to be kept; then a
 * session of our own keeps it. Handles are aliased by giving the old numbers, last one
 * first, to the objects that are seen next.
 *
 * object_lock guards the table of object handles; it is a leaf.
 */
#include "module.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SLOT 1 /* mock.slot when nothing has moved */

static CK_FUNCTION_LIST *real; /* set before the module is initialised */
static char real_path[512];
static _Atomic CK_SESSION_HANDLE anchor; /* keeps a login over a reboot; 0: none */
static _Atomic CK_SLOT_ID real_slot;     /* where the last session was opened */

static pthread_mutex_t object_lock = PTHREAD_MUTEX_INITIALIZER;
static CK_OBJECT_HANDLE objects[MOCK_MAX_OBJECTS * 16]; /* by virtual handle; 0: dead */
static CK_OBJECT_HANDLE next_object = 1;
static CK_OBJECT_HANDLE next_alias; /* handed out downwards before new ones; 0: none */
#define OBJECTS (sizeof(objects) / sizeof(objects[0]))

void mock_wrap_set(const char *path)
{
	if (path == NULL) {
		atomic_store(&mock.is_wrapping, false);
		return;
	}
	snprintf(real_path, sizeof(real_path), "%s", path);
	void *dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	CK_C_GetFunctionList get = NULL;
	if (dl != NULL)
		*(void **)&get = dlsym(dl, "C_GetFunctionList");
	if (get == NULL || get(&real) != CKR_OK) {
		fprintf(stderr, "hsmpool-mock: cannot wrap %s: %s\n", path, dlerror());
		abort();
	}
	atomic_store(&mock.is_wrapping, true);
}

static CK_SLOT_ID slot_offset(void)
{
	return atomic_load(&mock.slot) - FIRST_SLOT;
}

/* --- handles ----------------------------------------------------------------- */

static CK_RV to_real(CK_SESSION_HANDLE *session)
{
	struct mock_session *s = mock_session_find(*session);

	if (s == NULL)
		return mock_dead_session_rv(*session);
	*session = atomic_load(&s->real);
	return CKR_OK;
}

static CK_RV object_to_real(CK_OBJECT_HANDLE *object, CK_RV invalid)
{
	CK_OBJECT_HANDLE found = 0;

	pthread_mutex_lock(&object_lock);
	if (*object < next_object)
		found = objects[*object];
	if (found == 0 && *object != 0 && *object < next_object)
		mock_count(&mock.dead_handles);
	pthread_mutex_unlock(&object_lock);
	*object = found;
	return found != 0 ? CKR_OK : invalid;
}

static CK_OBJECT_HANDLE new_object_handle(void)
{
	if (next_alias != 0)
		return next_alias--;
	if (next_object == OBJECTS)
		abort();
	return next_object++;
}

static void object_to_virtual(CK_OBJECT_HANDLE *object)
{
	CK_OBJECT_HANDLE found = 1;

	pthread_mutex_lock(&object_lock);
	while (found < next_object && objects[found] != *object)
		found++;
	if (found == next_object)
		found = new_object_handle();
	objects[found] = *object;
	pthread_mutex_unlock(&object_lock);
	*object = found;
}

static void forget_objects(enum mock_handles how)
{
	if (how == MOCK_HANDLES_KEPT)
		return;
	pthread_mutex_lock(&object_lock);
	memset(objects, 0, sizeof(objects));
	next_alias = how == MOCK_HANDLES_ALIASED ? next_object - 1 : 0;
	pthread_mutex_unlock(&object_lock);
}

/* --- losses ------------------------------------------------------------------ */

/* Close the real sessions behind dead records that no call uses. */
static void sweep(void)
{
	for (unsigned i = 0; i < MOCK_MAX_SESSIONS; i++) {
		struct mock_session *s = &mock_sessions[i];
		if (atomic_load(&s->real) == 0)
			continue;
		mock_lock(); /* against a session that is being added in this record */
		CK_SESSION_HANDLE left = 0;
		if (atomic_load(&s->handle) == 0 && atomic_load(&s->inside) == 0)
			left = atomic_exchange(&s->real, 0);
		mock_unlock();
		if (left != 0)
			real->C_CloseSession(left);
	}
}

static CK_SESSION_HANDLE any_real_session(void)
{
	CK_SESSION_HANDLE found = atomic_load(&anchor);

	for (unsigned i = 0; i < MOCK_MAX_SESSIONS && found == 0; i++)
		found = atomic_load(&mock_sessions[i].real);
	return found;
}

void mock_wrap_log_out(void)
{
	CK_SESSION_HANDLE session = any_real_session();

	if (session != 0)
		real->C_Logout(session);
}

void mock_wrap_reboot(const struct mock_reboot *how)
{
	CK_SESSION_HANDLE kept = 0;

	if (how->keep_login && atomic_load(&anchor) == 0 && any_real_session() != 0 &&
	    real->C_OpenSession(atomic_load(&real_slot), CKF_SERIAL_SESSION, NULL, NULL,
				&kept) == CKR_OK)
		atomic_store(&anchor, kept);
	if (!how->keep_login) {
		mock_wrap_log_out();
		kept = atomic_exchange(&anchor, 0);
		if (kept != 0)
			real->C_CloseSession(kept);
	}
	forget_objects(how->handles);
	sweep();
}

/* --- the module and the token ------------------------------------------------ */

static CK_RV wrap_C_Initialize(CK_VOID_PTR arguments)
{
	const CK_C_INITIALIZE_ARGS *args = arguments;

	if (args != NULL && atomic_load(&mock.cant_lock) &&
	    (args->CreateMutex != NULL || (args->flags & CKF_OS_LOCKING_OK)))
		return CKR_CANT_LOCK;
	return real->C_Initialize(arguments);
}

static CK_RV wrap_C_Finalize(CK_VOID_PTR reserved)
{
	CK_RV rv = real->C_Finalize(reserved);

	if (rv != CKR_OK)
		return rv;
	for (unsigned i = 0; i < MOCK_MAX_SESSIONS; i++)
		atomic_store(&mock_sessions[i].real, 0);
	atomic_store(&anchor, 0);
	forget_objects(MOCK_HANDLES_NEW);
	return CKR_OK;
}

static CK_RV wrap_C_GetInfo(CK_INFO_PTR info)
{
	return real->C_GetInfo(info);
}

static CK_RV wrap_C_GetSlotList(CK_BBOOL present, CK_SLOT_ID_PTR list, CK_ULONG_PTR count)
{
	if (present && mock_is_absent() && count != NULL) {
		*count = 0;
		return CKR_OK;
	}
	CK_RV rv = real->C_GetSlotList(present, list, count);
	for (CK_ULONG i = 0; rv == CKR_OK && list != NULL && i < *count; i++)
		list[i] += slot_offset();
	return rv;
}

static CK_RV wrap_C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID_PTR slot,
				     CK_VOID_PTR nothing)
{
	return real->C_WaitForSlotEvent(flags, slot, nothing);
}

#define SLOT_WRAPPER(name, parameters, arguments) \
	static CK_RV plain_##name parameters      \
	{                                         \
		slot -= slot_offset();            \
		return real->name arguments;      \
	}
MOCK_SLOT_FUNCTIONS(SLOT_WRAPPER)

static CK_RV wrap_C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info)
{
	CK_RV rv = plain_C_GetTokenInfo(slot, info);

	if (rv != CKR_OK)
		return rv;
	mock_lock();
	if (mock.session_limit != 0)
		info->ulMaxSessionCount = info->ulMaxRwSessionCount = mock.session_limit;
	if (mock.has_reported_limit)
		info->ulMaxSessionCount = info->ulMaxRwSessionCount = mock.reported_limit;
	mock_unlock();
	info->flags |= mock_pin_flags();
	return CKR_OK;
}

static CK_RV wrap_C_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR application,
				CK_NOTIFY notify, CK_SESSION_HANDLE_PTR session)
{
	CK_SESSION_HANDLE opened;

	sweep();
	if (session == NULL)
		return CKR_ARGUMENTS_BAD;
	slot -= slot_offset();
	CK_RV rv = real->C_OpenSession(slot, flags, application, notify, &opened);
	if (rv != CKR_OK)
		return rv;
	atomic_store(&real_slot, slot);
	mock_lock();
	rv = mock_session_add(slot, flags, opened, session);
	mock_unlock();
	if (rv != CKR_OK)
		real->C_CloseSession(opened);
	return rv;
}

static CK_RV wrap_C_CloseSession(CK_SESSION_HANDLE session)
{
	struct mock_session *s = mock_session_find(session);
	CK_SESSION_HANDLE opened = s != NULL ? atomic_exchange(&s->real, 0) : 0;

	if (opened == 0)
		return mock_dead_session_rv(session);
	CK_RV rv = real->C_CloseSession(opened);
	mock_lock();
	mock_session_remove(s);
	mock_unlock();
	return rv;
}

static CK_RV wrap_C_CloseAllSessions(CK_SLOT_ID slot)
{
	CK_RV rv = plain_C_CloseAllSessions(slot);

	if (rv != CKR_OK)
		return rv;
	mock_lock();
	for (unsigned i = 0; i < MOCK_MAX_SESSIONS; i++)
		atomic_store(&mock_sessions[i].real, 0);
	atomic_store(&anchor, 0);
	mock_sessions_close_all();
	mock_unlock();
	return CKR_OK;
}

/* --- sessions ---------------------------------------------------------------- */

#define SESSION_WRAPPER(name, parameters, arguments)             \
	static CK_RV plain_##name parameters                     \
	{                                                        \
		CK_RV rv = to_real(&session);                    \
		return rv != CKR_OK ? rv : real->name arguments; \
	}
MOCK_SESSION_FUNCTIONS(SESSION_WRAPPER)

static CK_RV wrap_C_GetSessionInfo(CK_SESSION_HANDLE session, CK_SESSION_INFO_PTR info)
{
	CK_RV rv = plain_C_GetSessionInfo(session, info);

	if (rv == CKR_OK)
		info->slotID += slot_offset();
	return rv;
}

static CK_RV wrap_C_Login(CK_SESSION_HANDLE session, CK_USER_TYPE user,
			  CK_UTF8CHAR_PTR pin, CK_ULONG len)
{
	CK_RV rv = mock_pin_allowed(user);

	if (rv == CKR_OK)
		rv = plain_C_Login(session, user, pin, len);
	if (rv == CKR_OK || rv == CKR_PIN_INCORRECT || rv == CKR_PIN_LOCKED)
		mock_pin_result(user, rv);
	return rv;
}

static CK_RV wrap_C_Logout(CK_SESSION_HANDLE session)
{
	CK_RV rv = plain_C_Logout(session);

	if (rv == CKR_OK)
		mock_count(&mock.logouts);
	return rv;
}

#define KEY_WRAPPER(name)                                                               \
	static CK_RV wrap_##name(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, \
				 CK_OBJECT_HANDLE key)                                  \
	{                                                                               \
		CK_RV rv = object_to_real(&key, CKR_KEY_HANDLE_INVALID);                \
		return rv != CKR_OK ? rv : plain_##name(session, mechanism, key);       \
	}
KEY_WRAPPER(C_EncryptInit)
KEY_WRAPPER(C_DecryptInit)
KEY_WRAPPER(C_SignInit)
KEY_WRAPPER(C_SignRecoverInit)
KEY_WRAPPER(C_VerifyInit)
KEY_WRAPPER(C_VerifyRecoverInit)

static CK_RV wrap_C_DigestKey(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
	CK_RV rv = object_to_real(&key, CKR_KEY_HANDLE_INVALID);

	return rv != CKR_OK ? rv : plain_C_DigestKey(session, key);
}

static CK_RV wrap_C_CreateObject(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR template,
				 CK_ULONG count, CK_OBJECT_HANDLE_PTR object)
{
	CK_RV rv = plain_C_CreateObject(session, template, count, object);

	if (rv == CKR_OK) {
		object_to_virtual(object);
		mock_count(&mock.created);
	}
	return rv;
}

static CK_RV wrap_C_CopyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
			       CK_ATTRIBUTE_PTR template, CK_ULONG count,
			       CK_OBJECT_HANDLE_PTR copy)
{
	CK_RV rv = object_to_real(&object, CKR_OBJECT_HANDLE_INVALID);

	if (rv == CKR_OK)
		rv = plain_C_CopyObject(session, object, template, count, copy);
	if (rv == CKR_OK) {
		object_to_virtual(copy);
		mock_count(&mock.created);
	}
	return rv;
}

static CK_RV wrap_C_DestroyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
	CK_OBJECT_HANDLE dead = object;
	CK_RV rv = object_to_real(&object, CKR_OBJECT_HANDLE_INVALID);

	if (rv == CKR_OK)
		rv = plain_C_DestroyObject(session, object);
	if (rv == CKR_OK) {
		pthread_mutex_lock(&object_lock);
		objects[dead] = 0;
		pthread_mutex_unlock(&object_lock);
		mock_count(&mock.destroyed);
	}
	return rv;
}

static CK_RV wrap_C_GetObjectSize(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
				  CK_ULONG_PTR size)
{
	CK_RV rv = object_to_real(&object, CKR_OBJECT_HANDLE_INVALID);

	return rv != CKR_OK ? rv : plain_C_GetObjectSize(session, object, size);
}

static CK_RV wrap_C_GetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
				      CK_ATTRIBUTE_PTR template, CK_ULONG count)
{
	CK_RV rv = object_to_real(&object, CKR_OBJECT_HANDLE_INVALID);

	return rv != CKR_OK ? rv
			    : plain_C_GetAttributeValue(session, object, template, count);
}

static CK_RV wrap_C_SetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
				      CK_ATTRIBUTE_PTR template, CK_ULONG count)
{
	CK_RV rv = object_to_real(&object, CKR_OBJECT_HANDLE_INVALID);

	return rv != CKR_OK ? rv
			    : plain_C_SetAttributeValue(session, object, template, count);
}

static CK_RV wrap_C_FindObjects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE_PTR found,
				CK_ULONG max, CK_ULONG_PTR count)
{
	CK_RV rv = plain_C_FindObjects(session, found, max, count);

	for (CK_ULONG i = 0; rv == CKR_OK && i < *count; i++)
		object_to_virtual(&found[i]);
	return rv;
}

static CK_RV wrap_C_SetOperationState(CK_SESSION_HANDLE session, CK_BYTE_PTR in,
				      CK_ULONG in_len, CK_OBJECT_HANDLE encryption_key,
				      CK_OBJECT_HANDLE authentication_key)
{
	CK_RV rv = CKR_OK;

	if (encryption_key != 0)
		rv = object_to_real(&encryption_key, CKR_KEY_HANDLE_INVALID);
	if (rv == CKR_OK && authentication_key != 0)
		rv = object_to_real(&authentication_key, CKR_KEY_HANDLE_INVALID);
	return rv != CKR_OK
		       ? rv
		       : plain_C_SetOperationState(session, in, in_len, encryption_key,
						   authentication_key);
}

static CK_RV wrap_C_GenerateKey(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism,
				CK_ATTRIBUTE_PTR template, CK_ULONG count,
				CK_OBJECT_HANDLE_PTR key)
{
	CK_RV rv = plain_C_GenerateKey(session, mechanism, template, count, key);

	if (rv == CKR_OK) {
		object_to_virtual(key);
		mock_count(&mock.created);
	}
	return rv;
}

static CK_RV
wrap_C_GenerateKeyPair(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism,
		       CK_ATTRIBUTE_PTR public_template, CK_ULONG public_count,
		       CK_ATTRIBUTE_PTR private_template, CK_ULONG private_count,
		       CK_OBJECT_HANDLE_PTR public_key, CK_OBJECT_HANDLE_PTR private_key)
{
	CK_RV rv = plain_C_GenerateKeyPair(session, mechanism, public_template,
					   public_count, private_template, private_count,
					   public_key, private_key);

	if (rv == CKR_OK) {
		object_to_virtual(public_key);
		object_to_virtual(private_key);
		mock_count(&mock.created);
		mock_count(&mock.created);
	}
	return rv;
}

static CK_RV wrap_C_WrapKey(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism,
			    CK_OBJECT_HANDLE wrapping_key, CK_OBJECT_HANDLE key,
			    CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	CK_RV rv = object_to_real(&wrapping_key, CKR_WRAPPING_KEY_HANDLE_INVALID);

	if (rv == CKR_OK)
		rv = object_to_real(&key, CKR_KEY_HANDLE_INVALID);
	return rv != CKR_OK ? rv
			    : plain_C_WrapKey(session, mechanism, wrapping_key, key, out,
					      out_len);
}

static CK_RV wrap_C_UnwrapKey(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism,
			      CK_OBJECT_HANDLE unwrapping_key, CK_BYTE_PTR in,
			      CK_ULONG in_len, CK_ATTRIBUTE_PTR template, CK_ULONG count,
			      CK_OBJECT_HANDLE_PTR key)
{
	CK_RV rv = object_to_real(&unwrapping_key, CKR_UNWRAPPING_KEY_HANDLE_INVALID);

	if (rv == CKR_OK)
		rv = plain_C_UnwrapKey(session, mechanism, unwrapping_key, in, in_len,
				       template, count, key);
	if (rv == CKR_OK) {
		object_to_virtual(key);
		mock_count(&mock.created);
	}
	return rv;
}

static CK_RV wrap_C_DeriveKey(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism,
			      CK_OBJECT_HANDLE base, CK_ATTRIBUTE_PTR template,
			      CK_ULONG count, CK_OBJECT_HANDLE_PTR key)
{
	CK_RV rv = object_to_real(&base, CKR_KEY_HANDLE_INVALID);

	if (rv == CKR_OK)
		rv = plain_C_DeriveKey(session, mechanism, base, template, count, key);
	if (rv == CKR_OK) {
		object_to_virtual(key);
		mock_count(&mock.created);
	}
	return rv;
}

#define LIST_MEMBER(name, parameters, arguments) .name = plain_##name,
CK_FUNCTION_LIST mock_wrap_backend = { .version = { 2, 40 },
				       .C_Initialize = wrap_C_Initialize,
				       .C_Finalize = wrap_C_Finalize,
				       .C_GetInfo = wrap_C_GetInfo,
				       .C_GetSlotList = wrap_C_GetSlotList,
				       .C_WaitForSlotEvent = wrap_C_WaitForSlotEvent,
				       MOCK_SLOT_FUNCTIONS(LIST_MEMBER)
					       MOCK_SESSION_FUNCTIONS(LIST_MEMBER) };

/* Those with handles of objects, or with answers of our own. */
__attribute__((constructor)) static void replace_members(void)
{
#define REPLACE(name) mock_wrap_backend.name = wrap_##name
	REPLACE(C_GetTokenInfo);
	REPLACE(C_OpenSession);
	REPLACE(C_CloseSession);
	REPLACE(C_CloseAllSessions);
	REPLACE(C_GetSessionInfo);
	REPLACE(C_Login);
	REPLACE(C_Logout);
	REPLACE(C_EncryptInit);
	REPLACE(C_DecryptInit);
	REPLACE(C_SignInit);
	REPLACE(C_SignRecoverInit);
	REPLACE(C_VerifyInit);
	REPLACE(C_VerifyRecoverInit);
	REPLACE(C_DigestKey);
	REPLACE(C_CreateObject);
	REPLACE(C_CopyObject);
	REPLACE(C_DestroyObject);
	REPLACE(C_GetObjectSize);
	REPLACE(C_GetAttributeValue);
	REPLACE(C_SetAttributeValue);
	REPLACE(C_FindObjects);
	REPLACE(C_SetOperationState);
	REPLACE(C_GenerateKey);
	REPLACE(C_GenerateKeyPair);
	REPLACE(C_WrapKey);
	REPLACE(C_UnwrapKey);
	REPLACE(C_DeriveKey);
#undef REPLACE
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other backend: a real module, behind virtual session and object handles.
 *
 * What dies in a reboot dies here: the virtual handle. The real session is closed as
 * soon as no call is inside it, the real login ended, unless it is to be kept; then a
 * session of our own keeps it. Handles are aliased by giving the old numbers, last one
 * first, to the objects that are seen next.
 *
 * A reboot waits until no call is inside the real module: SoftHSM2 crashes if it is
 * logged out at under a call. object_lock guards the table of object handles; it is a
 * leaf.
 */
#include "wrap.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SLOT 1 /* mock.slot when nothing has moved */

CK_FUNCTION_LIST *mock_real; /* set before the module is initialised */
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
	if (get == NULL || get(&mock_real) != CKR_OK) {
		fprintf(stderr, "hsmpool-mock: cannot wrap %s: %s\n", path, dlerror());
		abort();
	}
	atomic_store(&mock.is_wrapping, true);
}

pthread_rwlock_t mock_real_lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

CK_SLOT_ID mock_slot_offset(void)
{
	return atomic_load(&mock.slot) - FIRST_SLOT;
}

/* --- handles ----------------------------------------------------------------- */

CK_RV mock_session_to_real(CK_SESSION_HANDLE *session)
{
	struct mock_session *s = mock_session_find(*session);

	if (s == NULL)
		return mock_dead_session_rv(*session);
	*session = atomic_load(&s->real);
	return CKR_OK;
}

CK_RV mock_object_to_real(CK_OBJECT_HANDLE *object, CK_RV invalid)
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

void mock_object_to_virtual(CK_OBJECT_HANDLE *object)
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

void mock_object_forget(CK_OBJECT_HANDLE handle)
{
	pthread_mutex_lock(&object_lock);
	objects[handle] = 0;
	pthread_mutex_unlock(&object_lock);
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
			mock_real->C_CloseSession(left);
	}
}

static CK_SESSION_HANDLE any_real_session(void)
{
	CK_SESSION_HANDLE found = atomic_load(&anchor);

	for (unsigned i = 0; i < MOCK_MAX_SESSIONS && found == 0; i++)
		found = atomic_load(&mock_sessions[i].real);
	return found;
}

static void log_out(void)
{
	CK_SESSION_HANDLE session = any_real_session();

	if (session != 0)
		mock_real->C_Logout(session);
}

void mock_wrap_log_out(void)
{
	pthread_rwlock_wrlock(&mock_real_lock);
	log_out();
	pthread_rwlock_unlock(&mock_real_lock);
}

void mock_wrap_reboot(const struct mock_reboot *how)
{
	CK_SESSION_HANDLE kept = 0;

	pthread_rwlock_wrlock(&mock_real_lock);
	if (how->keep_login && atomic_load(&anchor) == 0 && any_real_session() != 0 &&
	    mock_real->C_OpenSession(atomic_load(&real_slot), CKF_SERIAL_SESSION, NULL,
				     NULL, &kept) == CKR_OK)
		atomic_store(&anchor, kept);
	if (!how->keep_login) {
		log_out();
		kept = atomic_exchange(&anchor, 0);
		if (kept != 0)
			mock_real->C_CloseSession(kept);
	}
	forget_objects(how->handles);
	sweep();
	pthread_rwlock_unlock(&mock_real_lock);
}

/* --- the module and the token ------------------------------------------------ */

CK_RV wrap_C_Initialize(CK_VOID_PTR arguments)
{
	const CK_C_INITIALIZE_ARGS *args = arguments;

	if (args != NULL && atomic_load(&mock.cant_lock) &&
	    (args->CreateMutex != NULL || (args->flags & CKF_OS_LOCKING_OK)))
		return CKR_CANT_LOCK;
	return mock_real->C_Initialize(arguments);
}

CK_RV wrap_C_Finalize(CK_VOID_PTR reserved)
{
	CK_RV rv = mock_real->C_Finalize(reserved);

	if (rv != CKR_OK)
		return rv;
	for (unsigned i = 0; i < MOCK_MAX_SESSIONS; i++)
		atomic_store(&mock_sessions[i].real, 0);
	atomic_store(&anchor, 0);
	forget_objects(MOCK_HANDLES_NEW);
	return CKR_OK;
}

CK_RV wrap_C_GetInfo(CK_INFO_PTR info)
{
	return mock_real->C_GetInfo(info);
}

CK_RV wrap_C_GetSlotList(CK_BBOOL present, CK_SLOT_ID_PTR list, CK_ULONG_PTR count)
{
	if (present && mock_is_absent() && count != NULL) {
		*count = 0;
		return CKR_OK;
	}
	CK_RV rv = mock_real->C_GetSlotList(present, list, count);
	for (CK_ULONG i = 0; rv == CKR_OK && list != NULL && i < *count; i++)
		list[i] += mock_slot_offset();
	return rv;
}

CK_RV wrap_C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID_PTR slot, CK_VOID_PTR nothing)
{
	return mock_real->C_WaitForSlotEvent(flags, slot, nothing);
}

#define SLOT_WRAPPER(name, parameters, arguments) \
	CK_RV plain_##name parameters             \
	{                                         \
		slot -= mock_slot_offset();       \
		return mock_real->name arguments; \
	}
MOCK_SLOT_FUNCTIONS(SLOT_WRAPPER)

CK_RV wrap_C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info)
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

CK_RV wrap_C_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR application,
			 CK_NOTIFY notify, CK_SESSION_HANDLE_PTR session)
{
	CK_SESSION_HANDLE opened;

	sweep();
	if (session == NULL)
		return CKR_ARGUMENTS_BAD;
	slot -= mock_slot_offset();
	CK_RV rv = mock_real->C_OpenSession(slot, flags, application, notify, &opened);
	if (rv != CKR_OK)
		return rv;
	atomic_store(&real_slot, slot);
	mock_lock();
	rv = mock_session_add(slot, flags, opened, session);
	mock_unlock();
	if (rv != CKR_OK)
		mock_real->C_CloseSession(opened);
	return rv;
}

CK_RV wrap_C_CloseSession(CK_SESSION_HANDLE session)
{
	struct mock_session *s = mock_session_find(session);
	CK_SESSION_HANDLE opened = s != NULL ? atomic_exchange(&s->real, 0) : 0;

	if (opened == 0)
		return mock_dead_session_rv(session);
	CK_RV rv = mock_real->C_CloseSession(opened);
	mock_lock();
	mock_session_remove(s);
	mock_unlock();
	return rv;
}

CK_RV wrap_C_CloseAllSessions(CK_SLOT_ID slot)
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

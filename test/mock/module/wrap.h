/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What wrap.c and wrap_call.c share: the real module, the handles.
 */
#ifndef MOCK_WRAP_H
#define MOCK_WRAP_H

#include "module.h"

extern CK_FUNCTION_LIST *mock_real; /* set before the module is initialised */

/* Held by each call of a wrapped module; a reboot takes it for writing. */
extern pthread_rwlock_t mock_real_lock;

static inline void mock_wrap_enter(void)
{
	if (atomic_load_explicit(&mock.is_wrapping, memory_order_relaxed))
		pthread_rwlock_rdlock(&mock_real_lock);
}

static inline void mock_wrap_leave(void)
{
	if (atomic_load_explicit(&mock.is_wrapping, memory_order_relaxed))
		pthread_rwlock_unlock(&mock_real_lock);
}

CK_SLOT_ID mock_slot_offset(void);
CK_RV mock_session_to_real(CK_SESSION_HANDLE *session);
CK_RV mock_object_to_real(CK_OBJECT_HANDLE *object, CK_RV invalid);
void mock_object_to_virtual(CK_OBJECT_HANDLE *object);
void mock_object_forget(CK_OBJECT_HANDLE handle);

/* Slot translated, nothing else. */
#define MOCK_PLAIN_DECLARATION(name, parameters, arguments) CK_RV plain_##name parameters;
MOCK_SLOT_FUNCTIONS(MOCK_PLAIN_DECLARATION)
#undef MOCK_PLAIN_DECLARATION

CK_RV wrap_C_Initialize(CK_VOID_PTR arguments);
CK_RV wrap_C_Finalize(CK_VOID_PTR reserved);
CK_RV wrap_C_GetInfo(CK_INFO_PTR info);
CK_RV wrap_C_GetSlotList(CK_BBOOL present, CK_SLOT_ID_PTR list, CK_ULONG_PTR count);
CK_RV wrap_C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID_PTR slot, CK_VOID_PTR nothing);
CK_RV wrap_C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info);
CK_RV wrap_C_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR application,
			 CK_NOTIFY notify, CK_SESSION_HANDLE_PTR session);
CK_RV wrap_C_CloseSession(CK_SESSION_HANDLE session);
CK_RV wrap_C_CloseAllSessions(CK_SLOT_ID slot);

#endif

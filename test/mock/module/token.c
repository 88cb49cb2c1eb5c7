/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The own backend's module, slot and token: one slot, one initialised token.
 */
#include "own.h"

#include <string.h>
#include <time.h>

static void pad(CK_UTF8CHAR *field, size_t size, const char *text)
{
	size_t len = strlen(text);

	memset(field, ' ', size);
	memcpy(field, text, len < size ? len : size);
}

static CK_RV own_C_Initialize(CK_VOID_PTR arguments)
{
	const CK_C_INITIALIZE_ARGS *args = arguments;

	if (atomic_load(&mock.is_initialized))
		return CKR_CRYPTOKI_ALREADY_INITIALIZED;
	if (args == NULL)
		return CKR_OK;
	unsigned callbacks = (args->CreateMutex != NULL) + (args->DestroyMutex != NULL) +
			     (args->LockMutex != NULL) + (args->UnlockMutex != NULL);
	if (args->pReserved != NULL || (callbacks != 0 && callbacks != 4))
		return CKR_ARGUMENTS_BAD;
	if (atomic_load(&mock.cant_lock) &&
	    (callbacks != 0 || (args->flags & CKF_OS_LOCKING_OK)))
		return CKR_CANT_LOCK;
	return CKR_OK;
}

static CK_RV own_C_Finalize(CK_VOID_PTR reserved)
{
	if (reserved != NULL)
		return CKR_ARGUMENTS_BAD;
	return atomic_load(&mock.is_initialized) ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED;
}

CK_RV own_C_GetInfo(CK_INFO_PTR info)
{
	if (info == NULL)
		return CKR_ARGUMENTS_BAD;
	memset(info, 0, sizeof(*info));
	info->cryptokiVersion = (CK_VERSION){ 2, 40 };
	info->libraryVersion = (CK_VERSION){ 1, 0 };
	pad(info->manufacturerID, sizeof(info->manufacturerID), "hsmpool");
	pad(info->libraryDescription, sizeof(info->libraryDescription), "hsmpool mock");
	return CKR_OK;
}

CK_RV own_C_GetSlotList(CK_BBOOL present, CK_SLOT_ID_PTR list, CK_ULONG_PTR count)
{
	CK_ULONG slots = present && mock_is_absent() ? 0 : 1;

	if (count == NULL)
		return CKR_ARGUMENTS_BAD;
	CK_ULONG room = *count;
	*count = slots;
	if (list == NULL)
		return CKR_OK;
	if (room < slots)
		return CKR_BUFFER_TOO_SMALL;
	if (slots != 0)
		list[0] = atomic_load(&mock.slot);
	return CKR_OK;
}

static CK_RV check_slot(CK_SLOT_ID slot, const void *required)
{
	if (required == NULL)
		return CKR_ARGUMENTS_BAD;
	return slot == atomic_load(&mock.slot) ? CKR_OK : CKR_SLOT_ID_INVALID;
}

CK_RV own_C_GetSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO_PTR info)
{
	CK_RV rv = check_slot(slot, info);

	if (rv != CKR_OK)
		return rv;
	memset(info, 0, sizeof(*info));
	pad(info->slotDescription, sizeof(info->slotDescription), "hsmpool mock slot");
	pad(info->manufacturerID, sizeof(info->manufacturerID), "hsmpool");
	info->flags = CKF_HW_SLOT | CKF_REMOVABLE_DEVICE;
	if (!mock_is_absent())
		info->flags |= CKF_TOKEN_PRESENT;
	return CKR_OK;
}

static CK_ULONG open_read_write(void)
{
	CK_ULONG count = 0;

	for (unsigned i = 0; i < MOCK_MAX_SESSIONS; i++)
		if (atomic_load(&mock_sessions[i].handle) != 0 &&
		    (mock_sessions[i].flags & CKF_RW_SESSION))
			count++;
	return count;
}

/* With mock.lock held. */
static void fill_token_info(CK_TOKEN_INFO *info)
{
	CK_ULONG limit = mock.session_limit;

	if (mock.has_reported_limit)
		limit = mock.reported_limit;
	memset(info, 0, sizeof(*info));
	pad(info->label, sizeof(info->label), mock.label);
	pad(info->manufacturerID, sizeof(info->manufacturerID), "hsmpool");
	pad(info->model, sizeof(info->model), "mock");
	pad(info->serialNumber, sizeof(info->serialNumber), mock.serial);
	info->flags = CKF_RNG | CKF_LOGIN_REQUIRED | CKF_TOKEN_INITIALIZED;
	if (mock.is_pin_set)
		info->flags |= CKF_USER_PIN_INITIALIZED;
	info->ulMaxSessionCount = info->ulMaxRwSessionCount = limit;
	info->ulSessionCount = atomic_load(&mock.now);
	info->ulRwSessionCount = open_read_write();
	info->ulMaxPinLen = MOCK_PIN_LEN - 1;
	info->ulMinPinLen = 4;
	info->ulTotalPublicMemory = info->ulFreePublicMemory = CK_UNAVAILABLE_INFORMATION;
	info->ulTotalPrivateMemory = info->ulFreePrivateMemory =
		CK_UNAVAILABLE_INFORMATION;
	pad(info->utcTime, sizeof(info->utcTime), "");
}

CK_RV own_C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info)
{
	CK_RV rv = check_slot(slot, info);

	if (rv != CKR_OK)
		return rv;
	mock_lock();
	fill_token_info(info);
	mock_unlock();
	info->flags |= mock_pin_flags();
	return CKR_OK;
}

CK_RV own_C_GetMechanismList(CK_SLOT_ID slot, CK_MECHANISM_TYPE_PTR list,
			     CK_ULONG_PTR count)
{
	CK_RV rv = check_slot(slot, count);
	CK_ULONG all = 0;

	if (rv != CKR_OK)
		return rv;
	while (mock_mechanism_at(all) != NULL)
		all++;
	CK_ULONG room = *count;
	*count = all;
	if (list == NULL)
		return CKR_OK;
	if (room < all)
		return CKR_BUFFER_TOO_SMALL;
	for (CK_ULONG i = 0; i < all; i++)
		list[i] = mock_mechanism_at(i)->type;
	return CKR_OK;
}

CK_RV own_C_GetMechanismInfo(CK_SLOT_ID slot, CK_MECHANISM_TYPE type,
			     CK_MECHANISM_INFO_PTR info)
{
	CK_RV rv = check_slot(slot, info);
	const struct mock_mechanism *m = mock_mechanism_find(type);

	if (rv != CKR_OK)
		return rv;
	if (m == NULL)
		return CKR_MECHANISM_INVALID;
	*info = (CK_MECHANISM_INFO){ m->min, m->max, m->flags };
	return CKR_OK;
}

/* Events are not simulated: the answer is at once, or when the module is finalised. */
CK_RV own_C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID_PTR slot, CK_VOID_PTR nothing)
{
	static const struct timespec moment = { .tv_nsec = 2000000 };

	if (slot == NULL || nothing != NULL)
		return CKR_ARGUMENTS_BAD;
	if (flags & CKF_DONT_BLOCK)
		return CKR_NO_EVENT;
	while (atomic_load(&mock.is_initialized))
		nanosleep(&moment, NULL);
	return CKR_CRYPTOKI_NOT_INITIALIZED;
}

/* --- administration ---------------------------------------------------------- */

static CK_RV set_pin(char *to, const CK_UTF8CHAR *pin, CK_ULONG len)
{
	if (pin == NULL)
		return CKR_ARGUMENTS_BAD;
	if (len < 4 || len > MOCK_PIN_LEN - 1)
		return CKR_PIN_LEN_RANGE;
	memset(to, 0, MOCK_PIN_LEN);
	memcpy(to, pin, len);
	return CKR_OK;
}

static bool is_pin(const char *right, const CK_UTF8CHAR *pin, CK_ULONG len)
{
	return pin != NULL && len == strlen(right) && memcmp(pin, right, len) == 0;
}

CK_RV own_C_InitToken(CK_SLOT_ID slot, CK_UTF8CHAR_PTR pin, CK_ULONG len,
		      CK_UTF8CHAR_PTR label)
{
	CK_RV rv = check_slot(slot, label);

	if (rv != CKR_OK)
		return rv;
	mock_lock();
	if (atomic_load(&mock.now) != 0) {
		rv = CKR_SESSION_EXISTS;
	} else if (!is_pin(mock.so_pin, pin, len)) {
		rv = CKR_PIN_INCORRECT;
	} else {
		for (size_t i = 1; i < MOCK_MAX_OBJECTS; i++)
			if (mock_object_at(i) != NULL)
				mock_object_free(mock_object_at(i));
		memcpy(mock.label, label, 32);
		for (size_t end = 32; end > 0 && mock.label[end - 1] == ' '; end--)
			mock.label[end - 1] = '\0';
		mock.is_pin_set = false;
	}
	mock_unlock();
	return rv;
}

CK_RV own_C_InitPIN(CK_SESSION_HANDLE session, CK_UTF8CHAR_PTR pin, CK_ULONG len)
{
	CK_RV rv = CKR_USER_NOT_LOGGED_IN;

	(void)session;
	mock_lock();
	if (atomic_load(&mock.user) == CKU_SO)
		rv = set_pin(mock_pin()->text, pin, len);
	if (rv == CKR_OK) {
		mock.is_pin_set = true;
		atomic_store(&mock_pin()->left, atomic_load(&mock_pin()->tries));
		atomic_store(&mock_pin()->is_low, false);
	}
	mock_unlock();
	return rv;
}

CK_RV own_C_SetPIN(CK_SESSION_HANDLE session, CK_UTF8CHAR_PTR old_pin, CK_ULONG old_len,
		   CK_UTF8CHAR_PTR new_pin, CK_ULONG new_len)
{
	struct mock_session *s = mock_session_find(session);
	CK_RV rv;

	if (s == NULL)
		return mock_dead_session_rv(session);
	if (!(s->flags & CKF_RW_SESSION))
		return CKR_SESSION_READ_ONLY;
	mock_lock();
	char *pin = atomic_load(&mock.user) == CKU_SO ? mock.so_pin : mock_pin()->text;
	rv = is_pin(pin, old_pin, old_len) ? set_pin(pin, new_pin, new_len)
					   : CKR_PIN_INCORRECT;
	mock_unlock();
	return rv;
}

CK_RV own_C_GetFunctionStatus(CK_SESSION_HANDLE session)
{
	(void)session;
	return CKR_FUNCTION_NOT_PARALLEL;
}

CK_RV own_C_CancelFunction(CK_SESSION_HANDLE session)
{
	(void)session;
	return CKR_FUNCTION_NOT_PARALLEL;
}

#define LIST_MEMBER(name, parameters, arguments) .name = own_##name,
const CK_FUNCTION_LIST mock_own_backend = {
	.version = { 2, 40 },
	.C_Initialize = own_C_Initialize,
	.C_Finalize = own_C_Finalize,
	MOCK_GLOBAL_FUNCTIONS(LIST_MEMBER) MOCK_SLOT_FUNCTIONS(LIST_MEMBER)
		MOCK_SESSION_FUNCTIONS(LIST_MEMBER)
};

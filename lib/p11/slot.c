/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots and tokens: the application's arguments go through, the module answers.
 *
 * Must not: decide anything. Structures for output are zeroed first, because modules OR
 * into their flags; they are filled in a copy, so that a refused call changes nothing.
 */
#include "p11/slot.h"

#include <string.h>
#include "p11/call.h"
#include "p11/siblings.h"

/* One call that fills *info. */
#define FILL(module, function, info, ...)                                       \
	__extension__({                                                         \
		__typeof__(*(info)) fill_copy;                                  \
		memset(&fill_copy, 0, sizeof(fill_copy));                       \
		CK_RV fill_rv = HP_MODULE_CALL(module, function, ##__VA_ARGS__, \
					       (info) ? &fill_copy : NULL);     \
		if (fill_rv == CKR_OK && (info))                                \
			*(info) = fill_copy;                                    \
		fill_rv;                                                        \
	})

CK_RV hp_module_info(struct hp_module *module, CK_INFO *info)
{
	return FILL(module, C_GetInfo, info);
}

CK_RV hp_slot_list(struct hp_module *module, CK_BBOOL token_present, CK_SLOT_ID *list,
		   CK_ULONG *count)
{
	return HP_MODULE_CALL(module, C_GetSlotList, token_present, list, count);
}

CK_RV hp_slot_info(struct hp_module *module, CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
	return FILL(module, C_GetSlotInfo, info, slot);
}

CK_RV hp_slot_token_info(struct hp_module *module, CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
	bool is_our_turn = hp_siblings_begin(module);
	CK_RV rv = FILL(module, C_GetTokenInfo, info, slot);
	hp_siblings_end(is_our_turn);
	return rv;
}

CK_RV hp_slot_mechanisms(struct hp_module *module, CK_SLOT_ID slot,
			 CK_MECHANISM_TYPE *list, CK_ULONG *count)
{
	return HP_MODULE_CALL(module, C_GetMechanismList, slot, list, count);
}

CK_RV hp_slot_mechanism_info(struct hp_module *module, CK_SLOT_ID slot,
			     CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info)
{
	return FILL(module, C_GetMechanismInfo, info, slot, type);
}

CK_RV hp_slot_event(struct hp_module *module, CK_FLAGS flags, CK_SLOT_ID *slot,
		    void *reserved)
{
	return HP_MODULE_CALL(module, C_WaitForSlotEvent, flags, slot, reserved);
}

CK_RV hp_slot_init_token(struct hp_module *module, CK_SLOT_ID slot, CK_BYTE *pin,
			 CK_ULONG pin_len, CK_BYTE *label)
{
	return HP_MODULE_CALL(module, C_InitToken, slot, pin, pin_len, label);
}

CK_RV hp_slot_try_open(struct hp_module *module, CK_SLOT_ID slot, CK_FLAGS flags,
		       const CK_SESSION_HANDLE *out)
{
	CK_SESSION_HANDLE handle = CK_INVALID_HANDLE;
	CK_RV rv = HP_MODULE_CALL(module, C_OpenSession, slot, flags, NULL, NULL,
				  out ? &handle : NULL);
	if (rv == CKR_OK && out)
		HP_MODULE_CALL(module, C_CloseSession, handle);
	return rv;
}

CK_RV hp_slot_close_all(struct hp_module *module, CK_SLOT_ID slot)
{
	return HP_MODULE_CALL(module, C_CloseAllSessions, slot);
}

CK_RV hp_session_function_status(struct hp_session *s)
{
	return HP_SESSION_CALL(s, C_GetFunctionStatus);
}

CK_RV hp_session_cancel_function(struct hp_session *s)
{
	return HP_SESSION_CALL(s, C_CancelFunction);
}

CK_RV hp_session_init_pin(struct hp_session *s, CK_BYTE *pin, CK_ULONG pin_len)
{
	return HP_SESSION_CALL(s, C_InitPIN, pin, pin_len);
}

CK_RV hp_session_set_pin(struct hp_session *s, CK_BYTE *old_pin, CK_ULONG old_len,
			 CK_BYTE *new_pin, CK_ULONG new_len)
{
	return HP_SESSION_CALL(s, C_SetPIN, old_pin, old_len, new_pin, new_len);
}

CK_RV hp_session_info_as_asked(struct hp_session *s, CK_SESSION_INFO *info)
{
	CK_SESSION_INFO copy;
	memset(&copy, 0, sizeof(copy));
	CK_RV rv = HP_SESSION_CALL(s, C_GetSessionInfo, info ? &copy : NULL);
	if (rv == CKR_OK && info)
		*info = copy;
	return rv;
}

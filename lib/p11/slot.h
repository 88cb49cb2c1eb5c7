/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an application asks of slots and tokens, passed on as it came.
 *
 * For the PKCS#11 face, where the vendor's module answers: no argument is looked at,
 * none but structures for output is changed, the CK_RV is returned untouched. Each call
 * passes the module's gate. Also the calls on a session handle that no hp_session
 * stands for.
 */
#ifndef HP_P11_SLOT_H
#define HP_P11_SLOT_H

#include "p11/session.h"

CK_RV hp_module_info(struct hp_module *module, CK_INFO *info);
CK_RV hp_slot_list(struct hp_module *module, CK_BBOOL token_present, CK_SLOT_ID *list,
		   CK_ULONG *count);
CK_RV hp_slot_info(struct hp_module *module, CK_SLOT_ID slot, CK_SLOT_INFO *info);
CK_RV hp_slot_token_info(struct hp_module *module, CK_SLOT_ID slot, CK_TOKEN_INFO *info);
CK_RV hp_slot_mechanisms(struct hp_module *module, CK_SLOT_ID slot,
			 CK_MECHANISM_TYPE *list, CK_ULONG *count);
CK_RV hp_slot_mechanism_info(struct hp_module *module, CK_SLOT_ID slot,
			     CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info);
CK_RV hp_slot_event(struct hp_module *module, CK_FLAGS flags, CK_SLOT_ID *slot,
		    void *reserved);
CK_RV hp_slot_init_token(struct hp_module *module, CK_SLOT_ID slot, CK_BYTE *pin,
			 CK_ULONG pin_len, CK_BYTE *label);

/* C_OpenSession with the application's flags, to see what the module says to them; a
 * session that it opens is closed at once. out NULL goes through as NULL. */
CK_RV hp_slot_try_open(struct hp_module *module, CK_SLOT_ID slot, CK_FLAGS flags,
		       const CK_SESSION_HANDLE *out);
/* C_CloseAllSessions of a slot that the module does not know. */
CK_RV hp_slot_close_all(struct hp_module *module, CK_SLOT_ID slot);

/* The legacy functions, and those that change PINs. */
CK_RV hp_session_function_status(struct hp_session *s);
CK_RV hp_session_cancel_function(struct hp_session *s);
CK_RV hp_session_init_pin(struct hp_session *s, CK_BYTE *pin, CK_ULONG pin_len);
CK_RV hp_session_set_pin(struct hp_session *s, CK_BYTE *old_pin, CK_ULONG old_len,
			 CK_BYTE *new_pin, CK_ULONG new_len);
/* With the application's own pointer, NULL too. */
CK_RV hp_session_info_as_asked(struct hp_session *s, CK_SESSION_INFO *info);

#endif

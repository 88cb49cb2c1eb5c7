/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a token: C_InitToken in a free slot, then C_InitPIN as its security officer.
 *
 * Owns: the choice of the slot. Must not: touch an initialised token, keep or log a PIN.
 * Single-threaded use; every call passes the module's gate.
 */
#include "p11/admin.h"

#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "p11/gate.h"
#include "p11/session.h"

#define MAX_SLOTS 256

static bool is_free(struct hp_module *module, CK_SLOT_ID slot)
{
	CK_TOKEN_INFO info;

	memset(&info, 0, sizeof(info));
	return HP_MODULE_CALL(module, C_GetTokenInfo, slot, &info) == CKR_OK &&
	       !(info.flags & CKF_TOKEN_INITIALIZED);
}

static hsmpool_status find_free_slot(struct hp_module *module, CK_SLOT_ID *slot,
				     hsmpool_error *err)
{
	CK_SLOT_ID slots[MAX_SLOTS];
	CK_ULONG count = 0;
	CK_RV rv = HP_MODULE_CALL(module, C_GetSlotList, CK_TRUE, NULL, &count);

	count = MAX_SLOTS;
	if (rv == CKR_OK)
		rv = HP_MODULE_CALL(module, C_GetSlotList, CK_TRUE, slots, &count);
	if (rv != CKR_OK)
		return hp_rv_fail(err, rv, "module %s: cannot list its slots",
				  module->path);
	for (CK_ULONG i = 0; i < count; i++) {
		if (is_free(module, slots[i])) {
			*slot = slots[i];
			return HSMPOOL_OK;
		}
	}
	return hp_fail(err, HSMPOOL_ERR_DOWN,
		       "module %s has no slot with an uninitialised token", module->path);
}

static hsmpool_status init_token(struct hp_module *module, CK_SLOT_ID slot,
				 const char *label, const struct hp_secret *so_pin,
				 hsmpool_error *err)
{
	CK_UTF8CHAR padded[32];
	size_t len = strlen(label);
	CK_RV rv;

	HP_CHECK(len <= sizeof(padded), err, HSMPOOL_ERR_USAGE,
		 "a token's label has at most %zu bytes", sizeof(padded));
	memset(padded, ' ', sizeof(padded));
	memcpy(padded, label, len);
	rv = HP_MODULE_CALL(module, C_InitToken, slot, so_pin->data, so_pin->len, padded);
	if (rv != CKR_OK)
		return hp_rv_fail(err, rv, "cannot initialise token '%s'", label);
	return HSMPOOL_OK;
}

static CK_RV init_pin(struct hp_session *session, const struct hp_secret *pin)
{
	return HP_MODULE_CALL(session->module, C_InitPIN, session->handle, pin->data,
			      pin->len);
}

static hsmpool_status set_user_pin(struct hp_module *module, CK_SLOT_ID slot,
				   const char *label, const struct hp_secret *so_pin,
				   const struct hp_secret *user_pin, hsmpool_error *err)
{
	struct hp_session session = { 0 };
	CK_RV rv = hp_session_open(&session, module, slot, true);

	if (rv == CKR_OK)
		rv = hp_session_login(&session, CKU_SO, so_pin);
	if (rv == CKR_OK) {
		rv = init_pin(&session, user_pin);
		hp_session_logout(&session);
	}
	hp_session_close(&session);
	if (rv != CKR_OK)
		return hp_rv_fail(err, rv, "cannot set the user PIN of token '%s'",
				  label);
	return HSMPOOL_OK;
}

hsmpool_status hp_admin_create_token(struct hp_module *module, const char *label,
				     const struct hp_secret *so_pin,
				     const struct hp_secret *user_pin, hsmpool_error *err)
{
	CK_SLOT_ID slot = 0;

	HP_CHECK(module->is_ours, err, HSMPOOL_ERR_DOWN,
		 "module %s is in use by another part of this program", module->path);
	HP_TRY(find_free_slot(module, &slot, err));
	HP_TRY(init_token(module, slot, label, so_pin, err));
	return set_user_pin(module, slot, label, so_pin, user_pin, err);
}

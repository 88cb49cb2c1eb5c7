/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions, login and administration. */
#include "differential.h"

#include <string.h>
#include "support/fixture.h"

struct pin {
	CK_BYTE text[24];
	CK_BYTE *data;
	CK_ULONG len;
};

/* The PINs in use, and wrong ones; chosen by a number that the generator weights. */
static void pin_make(struct pin *pin, unsigned choice)
{
	static const char *const texts[] = {
		FIXTURE_USER_PIN, FIXTURE_SO_PIN, "user-5678",
		"so-87654321",    "wrong",        "x",
	};
	enum { TEXTS = sizeof(texts) / sizeof(texts[0]) };

	memset(pin, 0, sizeof(*pin));
	if (choice == TEXTS)
		return; /* none */
	pin->data = pin->text;
	if (choice < TEXTS) {
		pin->len = strlen(texts[choice]);
		memcpy(pin->text, texts[choice], pin->len);
	}
	/* Beyond: a pointer without a length, a length without a pointer. */
	if (choice == TEXTS + 2) {
		pin->data = NULL;
		pin->len = 5;
	}
}

CK_RV run_init_token(struct worker *w, const struct call *call, struct answer *answer)
{
	struct pin pin;
	CK_UTF8CHAR label[33] = "fixture                         ";
	(void)answer;

	pin_make(&pin, call->number & 0xf);
	label[7] = (CK_UTF8CHAR)('a' + (call->number >> 4) % 3);
	return w->module->C_InitToken(slot_of(w, call), pin.data, pin.len,
				      call->oddity == 1 ? NULL : label);
}

CK_RV run_init_pin(struct worker *w, const struct call *call, struct answer *answer)
{
	struct pin pin;
	(void)answer;

	pin_make(&pin, call->number & 0xf);
	return w->module->C_InitPIN(session_of(w, call), pin.data, pin.len);
}

CK_RV run_set_pin(struct worker *w, const struct call *call, struct answer *answer)
{
	struct pin old_pin;
	struct pin new_pin;
	(void)answer;

	pin_make(&old_pin, call->number & 0xf);
	pin_make(&new_pin, call->number >> 4 & 0xf);
	return w->module->C_SetPIN(session_of(w, call), old_pin.data, old_pin.len,
				   new_pin.data, new_pin.len);
}

/* The register is named by the session of the call. */
CK_RV run_open_session(struct worker *w, const struct call *call, struct answer *answer)
{
	CK_SESSION_HANDLE handle = 0;

	CK_RV rv = w->module->C_OpenSession(slot_of(w, call), call->number, NULL, NULL,
					    call->oddity == 1 ? NULL : &handle);
	note(answer, "has handle", handle != 0);
	if (rv == CKR_OK)
		stand_in_opened(w, handle);
	if (rv == CKR_OK && call->session < SESSIONS) {
		w->sessions[call->session] = handle;
		w->last_len[call->session] = 0;
	}
	return rv;
}

CK_RV run_close_all(struct worker *w, const struct call *call, struct answer *answer)
{
	(void)answer;

	CK_RV rv = w->module->C_CloseAllSessions(slot_of(w, call));
	if (rv == CKR_OK && call->slot == SLOT_TOKEN)
		stand_in_closed(w, w->stand_in.open);
	return rv;
}

CK_RV run_get_session_info(struct worker *w, const struct call *call,
			   struct answer *answer)
{
	CK_SESSION_INFO info = { 0, 0, 0, 0 };

	CK_RV rv = w->module->C_GetSessionInfo(session_of(w, call),
					       call->oddity == 1 ? NULL : &info);
	note(answer, "slot", info.slotID);
	note(answer, "state", info.state);
	note(answer, "flags", info.flags);
	note(answer, "device error", info.ulDeviceError);
	return rv;
}

CK_RV run_login(struct worker *w, const struct call *call, struct answer *answer)
{
	static const CK_USER_TYPE users[] = { CKU_USER, CKU_SO, CKU_CONTEXT_SPECIFIC, 7 };
	struct pin pin;
	(void)answer;

	pin_make(&pin, call->number & 0xf);
	CK_USER_TYPE user = users[call->number >> 4 & 3];
	if (user == CKU_USER)
		return stand_in_login(w, session_of(w, call), pin.data, pin.len);
	return w->module->C_Login(session_of(w, call), user, pin.data, pin.len);
}

CK_RV run_close_session(struct worker *w, const struct call *call, struct answer *answer)
{
	(void)answer;

	CK_RV rv = w->module->C_CloseSession(session_of(w, call));
	if (rv == CKR_OK)
		stand_in_closed(w, 1);
	return rv;
}

CK_RV run_logout(struct worker *w, const struct call *call, struct answer *answer)
{
	(void)answer;

	CK_RV rv = w->module->C_Logout(session_of(w, call));
	if (rv == CKR_OK)
		w->stand_in.is_login_unused = false;
	return rv;
}

CK_RV run_session_only(struct worker *w, const struct call *call, struct answer *answer)
{
	CK_C_CloseSession function = MODULE_FUNCTION(w, call, CK_C_CloseSession);
	(void)answer;

	return function(session_of(w, call));
}

CK_RV run_set_operation_state(struct worker *w, const struct call *call,
			      struct answer *answer)
{
	struct input state = input_of(w, call->input);
	(void)answer;

	return w->module->C_SetOperationState(session_of(w, call), state.data, state.len,
					      object_of(w, call->object),
					      object_of(w, call->object2));
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reference as it would be if somebody logged in for the application: what
 * login = automatic promises, in terms of the vendor's module.
 *
 * The first session is born logged in. The first C_Login finds the login that it wants,
 * and a PIN need not be given.
 */
#include "differential.h"

#include "support/fixture.h"

static CK_RV log_in(struct worker *w, CK_SESSION_HANDLE session)
{
	CK_UTF8CHAR pin[] = FIXTURE_USER_PIN;

	return w->module->C_Login(session, CKU_USER, pin, sizeof(pin) - 1);
}

void stand_in_opened(struct worker *w, CK_SESSION_HANDLE session)
{
	if (w->stand_in.is_there && w->stand_in.open++ == 0)
		w->stand_in.is_login_unused = log_in(w, session) == CKR_OK;
}

void stand_in_closed(struct worker *w, uint32_t sessions)
{
	w->stand_in.open -= w->stand_in.open < sessions ? w->stand_in.open : sessions;
}

CK_RV stand_in_login(struct worker *w, CK_SESSION_HANDLE session, CK_BYTE *pin,
		     CK_ULONG pin_len)
{
	CK_SESSION_INFO info;
	bool has_session = w->module->C_GetSessionInfo(session, &info) == CKR_OK;

	if (!w->stand_in.is_there || !has_session)
		return w->module->C_Login(session, CKU_USER, pin, pin_len);
	CK_RV rv = log_in(w, session);
	if (rv == CKR_USER_ALREADY_LOGGED_IN && w->stand_in.is_login_unused)
		rv = CKR_OK;
	w->stand_in.is_login_unused = false;
	return rv;
}

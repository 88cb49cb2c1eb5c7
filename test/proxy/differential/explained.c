/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the proxy's answers differ from the vendor module's on purpose. The titles are
 * those of a table in docs/proxy.md, where the reasons are; test/docs/house.py compares.
 */
#include "differential.h"

#include <string.h>

#define ANY_RV ((CK_RV)-1)

/* Searches too. */
static bool begins_operation(const struct function *function)
{
	size_t len = strlen(function->name);

	return function->uses & (USES_MECHANISM | USES_TEMPLATE) && len > 4 &&
	       strcmp(function->name + len - 4, "Init") == 0;
}

/* Where the session's last operation began, in both modules' opinion or the reference's;
 * or where the call is, if it had none. */
static uint32_t beginning_of(const struct moment *m)
{
	const struct call *calls = m->sequence->calls;

	for (uint32_t i = m->at; i > 0; i--)
		if (calls[i - 1].session == calls[m->at].session &&
		    begins_operation(&functions[calls[i - 1].function]) &&
		    m->references[i - 1].rv == CKR_OK)
			return i - 1;
	return m->at;
}

/* Since the session's operation began, somebody logged out. */
static bool has_logged_out_since(const struct moment *m)
{
	const struct call *calls = m->sequence->calls;
	bool has_logged_out = false;

	for (uint32_t i = m->at; i > 0; i--) {
		const struct call *call = &calls[i - 1];
		const struct function *function = &functions[call->function];
		if (m->references[i - 1].rv != CKR_OK)
			continue;
		if (strcmp(function->name, "C_Logout") == 0)
			has_logged_out = true;
		if (begins_operation(function) && call->session == calls[m->at].session)
			return has_logged_out;
	}
	return false;
}

/* Since the session's operation began, its key was destroyed or changed, or the session
 * closed whose object it was. */
static bool has_lost_key_since(const struct moment *m)
{
	const struct call *calls = m->sequence->calls;
	bool has_lost_one = false;

	for (uint32_t i = m->at; i > 0; i--) {
		const struct call *call = &calls[i - 1];
		const struct function *function = &functions[call->function];
		if (m->references[i - 1].rv != CKR_OK)
			continue;
		if (strcmp(function->name, "C_DestroyObject") == 0 ||
		    strcmp(function->name, "C_SetAttributeValue") == 0 ||
		    strcmp(function->name, "C_CloseSession") == 0)
			has_lost_one = true;
		if (begins_operation(function) && call->session == calls[m->at].session)
			return has_lost_one;
	}
	return false;
}

static bool is_security_officer(const struct moment *m)
{
	return !options.is_admin && (m->sequence->calls[m->at].number >> 4 & 3) == 1;
}

static bool is_init(const struct moment *m)
{
	return begins_operation(&functions[m->sequence->calls[m->at].function]);
}

/* A search is an operation of SoftHSM2's session, and C_EncryptFinal or C_DecryptFinal
 * without a place for the length ends whatever is active there. */
static bool has_ended_search(const struct moment *m)
{
	const struct call *calls = m->sequence->calls;

	for (uint32_t i = m->at; i > beginning_of(m); i--) {
		const struct function *function = &functions[calls[i - 1].function];
		if (calls[i - 1].session == calls[m->at].session &&
		    m->references[i - 1].rv == CKR_ARGUMENTS_BAD &&
		    function->uses & USES_OUTPUT)
			return strcmp(functions[calls[beginning_of(m)].function].name,
				      "C_FindObjectsInit") == 0;
	}
	return false;
}

/* Its last operation was given a parameter that nobody knows how to copy. */
static bool is_pinned(const struct moment *m, uint8_t session)
{
	const struct call *calls = m->sequence->calls;

	for (uint32_t i = m->at; i > 0; i--)
		if (calls[i - 1].session == session &&
		    begins_operation(&functions[calls[i - 1].function]) &&
		    m->references[i - 1].rv == CKR_OK)
			return strstr(mechanism_rows[calls[i - 1].mechanism].name,
				      "needless") != NULL;
	return false;
}

static bool are_all_pinned(const struct moment *m)
{
	uint32_t pinned = 0;

	for (uint8_t session = 0; session < SESSIONS; session++)
		pinned += is_pinned(m, session);
	return pinned >= ground_sessions;
}

static bool has_logged_out_and_begins(const struct moment *m)
{
	return is_init(m) && has_logged_out_since(m);
}

static bool has_logged_out_and_goes_on(const struct moment *m)
{
	return !is_init(m) && has_logged_out_since(m);
}

static bool has_lost_key_and_begins(const struct moment *m)
{
	return is_init(m) && has_lost_key_since(m);
}

static bool has_lost_key_and_goes_on(const struct moment *m)
{
	return !is_init(m) && has_lost_key_since(m);
}

static const char after_logout[] = "an operation with a private key, after C_Logout";
static const char after_change[] = "an operation whose key was destroyed or changed";
static const char search_ended[] = "a search, after C_EncryptFinal without a length";
static const char all_pinned[] = "operations that cannot be begun again, on all sessions";
static const char officer_refused[] = "the security officer, admin = no";

static const struct explanation table[] = {
	{ "C_", ANY_RV, CKR_OBJECT_HANDLE_INVALID, has_logged_out_and_goes_on, true,
	  after_logout },
	{ "C_", ANY_RV, CKR_KEY_HANDLE_INVALID, has_logged_out_and_goes_on, true,
	  after_logout },
	{ "C_", ANY_RV, CKR_OPERATION_NOT_INITIALIZED, has_logged_out_and_goes_on, true,
	  after_logout },
	{ "C_", CKR_OPERATION_ACTIVE, ANY_RV, has_logged_out_and_begins, true,
	  after_logout },
	{ "C_", ANY_RV, CKR_OBJECT_HANDLE_INVALID, has_lost_key_and_goes_on, true,
	  after_change },
	{ "C_", ANY_RV, CKR_KEY_HANDLE_INVALID, has_lost_key_and_goes_on, true,
	  after_change },
	{ "C_", ANY_RV, CKR_KEY_FUNCTION_NOT_PERMITTED, has_lost_key_and_goes_on, true,
	  after_change },
	{ "C_", ANY_RV, CKR_OPERATION_NOT_INITIALIZED, has_lost_key_and_goes_on, true,
	  after_change },
	{ "C_", CKR_OPERATION_ACTIVE, ANY_RV, has_lost_key_and_begins, true,
	  after_change },
	{ "C_", ANY_RV, CKR_OPERATION_ACTIVE, has_ended_search, true, search_ended },
	{ "C_FindObjects", CKR_OPERATION_NOT_INITIALIZED, ANY_RV, has_ended_search, true,
	  search_ended },
	{ "C_", ANY_RV, CKR_FUNCTION_FAILED, are_all_pinned, true, all_pinned },
	{ "C_Login", ANY_RV, CKR_ACTION_PROHIBITED, is_security_officer, false,
	  officer_refused },
	{ NULL, 0, 0, NULL, false, NULL },
};

static bool applies(const struct explanation *e, const struct moment *m)
{
	const char *name = functions[m->sequence->calls[m->at].function].name;

	return strncmp(e->functions, name, strlen(e->functions)) == 0 &&
	       (e->reference == ANY_RV || e->reference == m->references[m->at].rv) &&
	       (e->subject == ANY_RV || e->subject == m->subjects[m->at].rv) &&
	       (e->holds == NULL || e->holds(m));
}

const struct explanation *explained(const struct moment *moment)
{
	for (const struct explanation *e = table; e->title != NULL; e++)
		if (applies(e, moment))
			return e;
	return NULL;
}

/* SoftHSM2 leaves half-made session objects behind when it refuses a template; they end
 * with the real session, which is not one session's own here. Some make every search
 * fail. */
bool leaves_rubbish(const struct moment *moment)
{
	const unsigned makes = USES_STORE_OBJECT | USES_TEMPLATE;

	if ((functions[moment->sequence->calls[moment->at].function].uses & makes) !=
	    makes)
		return false;
	switch (moment->references[moment->at].rv) {
	case CKR_ATTRIBUTE_TYPE_INVALID:
	case CKR_ATTRIBUTE_VALUE_INVALID:
	case CKR_ATTRIBUTE_READ_ONLY:
	case CKR_TEMPLATE_INCOMPLETE:
	case CKR_TEMPLATE_INCONSISTENT:
	case CKR_GENERAL_ERROR:
	case CKR_FUNCTION_FAILED:
	case CKR_SESSION_READ_ONLY: /* found out by trying */
		return true;
	default:
		return false;
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the proxy's answers differ from the vendor module's on purpose. The same list,
 * with the reasons at length, is in docs/proxy.md.
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

static bool is_same_kind(const struct function *a, const struct function *b)
{
	enum { KIND = 6 }; /* C_Sign, C_Encr, ... */

	return strncmp(a->name, b->name, KIND) == 0;
}

/* C_SignFinal after C_SignInit of a mechanism without parts says that there is nothing to
 * be finished, and means: not in this way. */
static bool is_end_by_standard(const struct function *begun,
			       const struct function *function, CK_RV rv)
{
	if (rv == CKR_OPERATION_NOT_INITIALIZED)
		return is_same_kind(begun, function);
	return rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL && rv != CKR_OPERATION_ACTIVE;
}

/* Since the session's operation began, a call of it failed; by the standard that was its
 * end. */
static bool has_failed_before(const struct moment *m)
{
	const struct call *calls = m->sequence->calls;
	uint32_t begun = beginning_of(m);

	for (uint32_t i = begun + 1; i < m->at; i++)
		if (calls[i].session == calls[m->at].session &&
		    !begins_operation(&functions[calls[i].function]) &&
		    is_end_by_standard(&functions[calls[begun].function],
				       &functions[calls[i].function],
				       m->references[i].rv))
			return true;
	return false;
}

/* The session's operation is over, because of a call for another kind of operation. */
static bool has_failed_of_another_kind(const struct moment *m)
{
	const struct call *calls = m->sequence->calls;
	uint32_t begun = beginning_of(m);

	for (uint32_t i = begun + 1; i < m->at; i++)
		if (calls[i].session == calls[m->at].session &&
		    functions[calls[i].function].uses & USES_OUTPUT &&
		    !is_same_kind(&functions[calls[begun].function],
				  &functions[calls[i].function]) &&
		    m->references[i].rv == CKR_ARGUMENTS_BAD)
			return true;
	return false;
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

static bool has_objects(const struct moment *m)
{
	for (uint32_t i = 0; i < m->at; i++)
		if (functions[m->sequence->calls[i].function].uses & USES_STORE_OBJECT &&
		    functions[m->sequence->calls[i].function].uses & USES_TEMPLATE &&
		    m->references[i].rv == CKR_OK)
			return true;
	return false;
}

static bool is_security_officer(const struct moment *m)
{
	return !options.is_admin && (m->sequence->calls[m->at].number >> 4 & 3) == 1;
}

static const struct explanation table[] = {
	{ "C_", ANY_RV, CKR_OPERATION_NOT_INITIALIZED, has_failed_before, true,
	  "The module keeps an operation after an error that ends it by the standard; "
	  "the "
	  "proxy does too until another session needs the real one." },
	{ "C_", CKR_OPERATION_ACTIVE, ANY_RV, has_failed_before, true,
	  "The same, seen by the next operation." },
	{ "C_", CKR_OPERATION_NOT_INITIALIZED, ANY_RV, has_failed_of_another_kind, true,
	  "C_EncryptFinal and C_DecryptFinal without a place for the length end whatever is "
	  "active on the module's session; here only on the real one." },
	{ "C_", ANY_RV, CKR_OPERATION_ACTIVE, has_failed_of_another_kind, true,
	  "The same, seen by the next operation." },
	{ "C_", ANY_RV, ANY_RV, has_logged_out_since, true,
	  "The module goes on after C_Logout with an operation whose key is private; the "
	  "proxy does too until another session needs the real one." },
	{ "C_", ANY_RV, CKR_OBJECT_HANDLE_INVALID, has_lost_key_since, true,
	  "The module goes on with a key that was destroyed or changed meanwhile; the proxy "
	  "does too until another session needs the real one." },
	{ "C_", ANY_RV, CKR_KEY_HANDLE_INVALID, has_lost_key_since, true, "The same." },
	{ "C_", CKR_OPERATION_ACTIVE, ANY_RV, has_lost_key_since, true,
	  "The same, seen by the next operation." },
	{ "C_", ANY_RV, CKR_OPERATION_NOT_INITIALIZED, has_lost_key_since, true,
	  "The same." },
	{ "C_", ANY_RV, CKR_KEY_FUNCTION_NOT_PERMITTED, has_lost_key_since, true,
	  "The same." },
	{ "C_", ANY_RV, CKR_FUNCTION_FAILED, has_objects, true,
	  "Every real session is kept by session objects and has a signature that nobody "
	  "finished: the deadline passed." },
	{ "C_Login", ANY_RV, CKR_ACTION_PROHIBITED, is_security_officer, false,
	  "admin = no: the security officer is refused before anything else is "
	  "checked." },
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

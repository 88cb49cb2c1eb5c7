/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the proxy's answers differ from the vendor module's on purpose. The titles are
 * those of a table in docs/proxy.md, where the reasons are; test/docs/house.py compares.
 */
#include "differential.h"

#include <inttypes.h>
#include <string.h>

#define ANY_RV ((CK_RV)-1)

/* Searches too. */
static bool begins_operation(const struct function *function)
{
	size_t len = strlen(function->name);

	return function->uses & (USES_MECHANISM | USES_TEMPLATE) && len > 4 &&
	       strcmp(function->name + len - 4, "Init") == 0;
}

/* The handle, not the register, of both calls. */
static bool is_same_session(const struct moment *m, uint32_t i, uint32_t j)
{
	return m->references[i].about.session == m->references[j].about.session;
}

/* Where the session's last operation began, in both modules' opinion or the reference's;
 * or where the call is, if it had none. */
static uint32_t beginning_of(const struct moment *m)
{
	const struct call *calls = m->sequence->calls;

	for (uint32_t i = m->at; i > 0; i--)
		if (m->references[i - 1].rv == CKR_OK &&
		    is_same_session(m, i - 1, m->at) &&
		    begins_operation(&functions[calls[i - 1].function]))
			return i - 1;
	return m->at;
}

static bool is_named(const struct moment *m, uint32_t i, const char *name)
{
	return strcmp(functions[m->sequence->calls[i].function].name, name) == 0;
}

static bool succeeded(const struct moment *m, uint32_t i, const char *name)
{
	return m->references[i].rv == CKR_OK && is_named(m, i, name);
}

/* Did the session's operation get a key by call i? */
static bool gives_key(const struct moment *m, uint32_t i)
{
	const struct function *function = &functions[m->sequence->calls[i].function];
	bool takes_one = function->uses & USES_OBJECT &&
			 (begins_operation(function) ||
			  strcmp(function->name, "C_DigestKey") == 0);

	return takes_one && m->references[i].rv == CKR_OK && is_same_session(m, i, m->at);
}

/* The operation of the session has a key, from call i on, of which that is true. */
static bool has_key(const struct moment *m,
		    bool (*is_lost)(const struct moment *m, uint32_t since))
{
	for (uint32_t i = beginning_of(m); i < m->at; i++)
		if (gives_key(m, i) && is_lost(m, i))
			return true;
	return false;
}

/* A private one, and somebody logged out. */
static bool is_logged_out(const struct moment *m, uint32_t since)
{
	for (uint32_t i = since + 1; i < m->at; i++)
		if (succeeded(m, i, "C_Logout"))
			return m->references[since].about.is_private;
	return false;
}

/* Was it the session of call i that made the object? */
static bool is_maker(const struct moment *m, uint32_t i, CK_OBJECT_HANDLE object)
{
	for (uint32_t j = i; j > 0; j--) {
		const CK_OBJECT_HANDLE *made = m->references[j - 1].about.made;
		if (made[0] == object || made[1] == object)
			return is_same_session(m, j - 1, i);
	}
	return false;
}

/* It was destroyed or changed, or the session closed whose object it was. */
static bool is_changed(const struct moment *m, uint32_t since)
{
	CK_OBJECT_HANDLE key = m->references[since].about.object;

	for (uint32_t i = since + 1; i < m->at; i++) {
		bool is_it = m->references[i].about.object == key;
		if (is_it && (succeeded(m, i, "C_DestroyObject") ||
			      succeeded(m, i, "C_SetAttributeValue")))
			return true;
		if (succeeded(m, i, "C_CloseSession") && is_maker(m, i, key))
			return true;
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
		if (is_same_session(m, i - 1, m->at) &&
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
	return is_init(m) && has_key(m, is_logged_out);
}

static bool has_logged_out_and_goes_on(const struct moment *m)
{
	return !is_init(m) && has_key(m, is_logged_out);
}

static bool has_lost_key_and_begins(const struct moment *m)
{
	return is_init(m) && has_key(m, is_changed);
}

static bool has_lost_key_and_goes_on(const struct moment *m)
{
	return !is_init(m) && has_key(m, is_changed);
}

/* Only in that flag. */
static bool shows_automatic_login(const struct moment *m)
{
	const struct answer *reference = &m->references[m->at];
	const struct answer *subject = &m->subjects[m->at];

	for (uint32_t i = 1; i < reference->count; i++)
		if (reference->items[i].value != subject->items[i].value)
			return false;
	return options.is_automatic &&
	       subject->items[0].value ==
		       (reference->items[0].value | CKF_PROTECTED_AUTHENTICATION_PATH);
}

/* The slot where a token may be made, or the list. */
static bool is_of_free_slot(const struct moment *m)
{
	return options.is_automatic && m->sequence->calls[m->at].slot == SLOT_FREE;
}

static bool lists_slots(const struct moment *m)
{
	(void)m;
	return options.is_automatic;
}

static const char after_logout[] = "an operation with a private key, after C_Logout";
static const char after_change[] = "an operation whose key was destroyed or changed";
static const char search_ended[] = "a search, after C_EncryptFinal without a length";
static const char all_pinned[] = "operations that cannot be begun again, on all sessions";
static const char needs_no_pin[] = "C_GetTokenInfo, login = automatic";
static const char other_slots[] = "slots of no token or another, login = automatic";
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
	{ "C_GetTokenInfo", CKR_OK, CKR_OK, shows_automatic_login, false, needs_no_pin },
	{ "C_GetSlotList", CKR_OK, CKR_OK, lists_slots, false, other_slots },
	{ "C_GetSlotList", CKR_BUFFER_TOO_SMALL, ANY_RV, lists_slots, false,
	  other_slots },
	{ "C_", ANY_RV, CKR_SLOT_ID_INVALID, is_of_free_slot, false, other_slots },
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

static uint64_t counts[sizeof(table) / sizeof(table[0])];

void explained_count(const struct explanation *why)
{
	counts[why - table]++;
}

/* Rows of one title stand together. */
void explained_print(void)
{
	uint64_t count = 0;

	for (const struct explanation *e = table; e->title != NULL; e++) {
		count += counts[e - table];
		if (e[1].title == e->title || count == 0)
			continue;
		printf("%8" PRIu64 " %s\n", count, e->title);
		count = 0;
	}
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

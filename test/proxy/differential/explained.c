/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the proxy's answers differ from the vendor module's on purpose. The same list,
 * with the reasons at length, is in docs/proxy.md.
 */
#include "differential.h"

#include <string.h>

#define ANY_RV ((CK_RV)-1)

static bool begins_operation(const struct function *function)
{
	size_t len = strlen(function->name);

	return function->uses & USES_MECHANISM && len > 4 &&
	       strcmp(function->name + len - 4, "Init") == 0;
}

static bool is_end_by_standard(CK_RV rv)
{
	return rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL &&
	       rv != CKR_OPERATION_NOT_INITIALIZED && rv != CKR_OPERATION_ACTIVE;
}

/* Since the session's operation began, a call of it failed; by the standard that was its
 * end. */
static bool has_failed_before(const struct moment *m)
{
	const struct call *calls = m->sequence->calls;

	for (uint32_t i = m->at; i > 0; i--) {
		const struct call *call = &calls[i - 1];
		const struct function *function = &functions[call->function];
		if (call->session != calls[m->at].session)
			continue;
		if (begins_operation(function) && m->references[i - 1].rv == CKR_OK)
			return false;
		if (!begins_operation(function) &&
		    is_end_by_standard(m->references[i - 1].rv))
			return true;
	}
	return false;
}

static const struct explanation table[] = {
	{ "C_", ANY_RV, CKR_OPERATION_NOT_INITIALIZED, has_failed_before, true,
	  "The module keeps an operation after an error that ends it by the standard; "
	  "the "
	  "proxy does too until another session needs the real one." },
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
	for (const struct explanation *e = table; e->reason != NULL; e++)
		if (applies(e, moment))
			return e;
	return NULL;
}

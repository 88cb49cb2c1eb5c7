/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C_FindObjectsInit, C_FindObjects, C_FindObjectsFinal.
 *
 * A search is run to its end at Init, and what it found is kept with the virtual session,
 * as virtual handles. So a search holds no real session, and a restart of the HSM in the
 * middle of it goes unnoticed. What we have no answer to (no search, no place to write
 * to) the module is asked.
 */
#include "proxy/calls.h"

#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "proxy/hiding.h"
#include "proxy/object.h"
#include "proxy/operation.h"
#include "proxy/template.h"

struct hp_search {
	CK_ULONG next;
	CK_ULONG count;
	CK_OBJECT_HANDLE *handles; /* malloc()ed; NULL if count is 0 */
};

/* One call on a real session: the arguments, and what came of it. */
struct search_call {
	struct hp_vsession *vs;
	CK_ATTRIBUTE *template;
	CK_ULONG count;
	CK_OBJECT_HANDLE *found;
	CK_ULONG *len;
	CK_ULONG cap;
	CK_RV rv; /* where it is no verdict on the session */
	struct hp_search result;
};

/* --- init ----------------------------------------------------------------------- */

/* A logged-out application sees no private objects, although the session does. */
static CK_RV find_all(struct hp_session *s, struct search_call *call)
{
	static const CK_BBOOL is_private = CK_FALSE;
	struct hp_search *result = &call->result;
	bool is_hiding = hp_vsession_hides_private(call->vs);
	bool asks_for_private = false;
	CK_ULONG count = call->count;
	HP_AUTO_FREE CK_ATTRIBUTE *public_only = NULL;
	if (is_hiding) {
		hp_attribute_bool(call->template, call->count, CKA_PRIVATE,
				  &asks_for_private);
		public_only = hp_attributes_with(call->template, call->count, CKA_PRIVATE,
						 &is_private, &count);
		if (!public_only)
			return CKR_HOST_MEMORY;
	}
	CK_RV rv = hp_find_all_objects(s, public_only ? public_only : call->template,
				       count, &result->handles, &result->count);
	if (asks_for_private)
		result->count = 0;
	return rv;
}

static CK_RV run_search(struct hp_session *s, void *user)
{
	struct search_call *call = user;
	free(call->result.handles);
	call->result = (struct hp_search){ 0 };
	CK_RV rv = find_all(s, call);
	/* A token that lost the login during the search shows nothing private. */
	if (rv == CKR_OK && call->result.count == 0)
		return hp_pool_look(s);
	if (rv == CKR_OK)
		rv = hp_objects_found(call->vs, s, call->result.handles,
				      call->result.count);
	return rv;
}

/* A module that has one operation per session refuses a search beside another. */
static enum hp_want want_for_search(const struct hp_vsession *vs)
{
	return vs->slot->is_exclusive ? HP_WANT_ANY : HP_WANT_BESIDE;
}

static CK_RV begin(struct hp_vsession *vs, struct search_call *call)
{
	HP_AUTO_FREE struct hp_search *search = calloc(1, sizeof(*search));
	CK_RV rv = CKR_HOST_MEMORY;
	if (search)
		rv = hp_operation_aside(
			vs, &(struct hp_aside){ .function = HP_FN_C_FindObjectsInit,
						.want = want_for_search(vs),
						.run = run_search,
						.user = call });
	if (rv != CKR_OK) {
		free(call->result.handles);
		return rv;
	}
	*search = call->result;
	vs->search = hp_take(&search);
	return CKR_OK;
}

/* A module that has one operation per session counts searches among them. */
static bool is_busy(const struct hp_vsession *vs)
{
	return vs->search || (vs->slot->is_exclusive && hp_operation_any_active(vs));
}

CK_RV hp_C_FindObjectsInit(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template,
			   CK_ULONG count)
{
	struct hp_vsession *vs = hp_vsession_take(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		CK_OBJECT_HANDLE *found;
		CK_ULONG len;
		return hp_find_all_objects(&none, template, count, &found, &len);
	}
	struct search_call call = { .vs = vs, .template = template, .count = count };
	CK_RV rv;
	if (!template && count > 0)
		rv = CKR_ARGUMENTS_BAD;
	else if (is_busy(vs))
		rv = CKR_OPERATION_ACTIVE;
	else if (!hp_attributes_are_there(template, count))
		rv = CKR_ATTRIBUTE_VALUE_INVALID;
	else
		rv = begin(vs, &call);
	hp_vsession_give(vs);
	return rv;
}

/* --- the results ---------------------------------------------------------------- */

static CK_RV run_next(struct hp_session *s, void *user)
{
	struct search_call *call = user;
	call->rv = hp_find_objects_next(s, call->found, call->cap, call->len);
	return CKR_OK;
}

/* What the module says to these arguments where there is no search. */
static CK_RV ask_for_next(struct hp_vsession *vs, CK_OBJECT_HANDLE *found, CK_ULONG cap,
			  CK_ULONG *len)
{
	struct search_call call = { .found = found, .cap = cap, .len = len };
	CK_RV rv = hp_operation_aside(vs,
				      &(struct hp_aside){ .function = HP_FN_C_FindObjects,
							  .run = run_next,
							  .user = &call });
	return rv == CKR_OK ? call.rv : rv;
}

static CK_RV hand_out(struct hp_search *search, CK_OBJECT_HANDLE *found, CK_ULONG cap,
		      CK_ULONG *len)
{
	CK_ULONG left = search->count - search->next;
	*len = left < cap ? left : cap;
	if (*len > 0)
		memcpy(found, search->handles + search->next, *len * sizeof(*found));
	search->next += *len;
	return CKR_OK;
}

/* With nowhere to write to no module can do anything; some say first that there is no
 * search, which is not true here. */
static CK_RV refuse(struct hp_vsession *vs, CK_OBJECT_HANDLE *found, CK_ULONG cap,
		    CK_ULONG *len)
{
	CK_RV rv = ask_for_next(vs, found, cap, len);
	return rv == CKR_OPERATION_NOT_INITIALIZED || rv == CKR_OK ? CKR_ARGUMENTS_BAD
								   : rv;
}

CK_RV hp_C_FindObjects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *found, CK_ULONG cap,
		       CK_ULONG *count)
{
	struct hp_vsession *vs = hp_vsession_take(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return hp_find_objects_next(&none, found, cap, count);
	}
	CK_RV rv;
	if (!vs->search)
		rv = ask_for_next(vs, found, cap, count);
	else if (!found || !count)
		rv = refuse(vs, found, cap, count);
	else
		rv = hand_out(vs->search, found, cap, count);
	hp_vsession_give(vs);
	return rv;
}

/* --- the end -------------------------------------------------------------------- */

static CK_RV run_final(struct hp_session *s, void *user)
{
	struct search_call *call = user;
	call->rv = hp_find_objects_final(s);
	return CKR_OK;
}

void hp_search_abandon(struct hp_vsession *vs)
{
	if (!vs->search)
		return;
	free(vs->search->handles);
	free(vs->search);
	vs->search = NULL;
}

CK_RV hp_C_FindObjectsFinal(CK_SESSION_HANDLE session)
{
	struct hp_vsession *vs = hp_vsession_take(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return hp_find_objects_final(&none);
	}
	CK_RV rv = CKR_OK;
	if (vs->search) {
		hp_search_abandon(vs);
	} else {
		struct search_call call = { 0 };
		rv = hp_operation_aside(
			vs, &(struct hp_aside){ .function = HP_FN_C_FindObjectsFinal,
						.run = run_final,
						.user = &call });
		rv = rv == CKR_OK ? call.rv : rv;
	}
	hp_vsession_give(vs);
	return rv;
}

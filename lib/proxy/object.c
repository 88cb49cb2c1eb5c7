/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the application's handle to the real one: reading what an object is at its first
 * use, and finding it again by that after a loss.
 *
 * Module calls are made on the session that the caller has in hand, with no lock of ours
 * held; another thread may do the same for the same object meanwhile, which does no
 * harm. Must not: borrow, decide on retries.
 */
#include "proxy/object.h"

#include "base/memory.h"
#include "p11/rv.h"
#include "proxy/object_table.h"
#include "proxy/operations.h"
#include "proxy/retry.h"

/* What a search reads of the objects that it found costs two calls each. */
#define MOST_READ 64

/* --- what it is ----------------------------------------------------------------- */

/* Answers that concern the session, not the object. */
static bool is_session_lost(struct hp_session *s, CK_RV rv)
{
	return hp_class_is_plain_loss(hp_rv_class(&s->module->overrides, rv));
}

/* Answers that may be others next time: not logged in, another operation is active. */
static bool is_passing(struct hp_session *s, CK_RV rv)
{
	enum hp_rv_class class = hp_rv_class(&s->module->overrides, rv);
	return class == HP_RV_LOGIN_LOST || class == HP_RV_STALE_HANDLE ||
	       class == HP_RV_OP_LOST;
}

/* For a module that allows one operation at a time, a search in the middle of another:
 * its refusal says nothing of the session. */
static CK_RV read_names(struct hp_session *s, CK_OBJECT_HANDLE real,
			struct hp_vobject_names *names)
{
	bool has_material = false;
	bool was_unsure = s->is_unsure;
	CK_RV rv = hp_read_fingerprint(s, real, &names->object, names->fingerprint,
				       &has_material);
	if (rv == CKR_OPERATION_ACTIVE)
		s->is_unsure = was_unsure;
	names->can_be_found =
		has_material || names->object.id_len > 0 || names->object.label_len > 0;
	return rv;
}

/* First use. *names is good if view->has_names. */
static CK_RV read_at_first_use(struct hp_session *s, CK_OBJECT_HANDLE handle,
			       struct hp_vobject_view *view,
			       struct hp_vobject_names *names)
{
	CK_RV rv = read_names(s, view->real, names);
	if (rv != CKR_OK) {
		if (is_session_lost(s, rv))
			return rv;
		if (!is_passing(s, rv))
			hp_table_settle(handle, view, NULL);
		return CKR_OK;
	}
	view->has_names = true;
	if (view->must_be_public && names->object.is_private) {
		hp_table_drop(handle, true);
		view->real = CK_INVALID_HANDLE;
		return CKR_OK;
	}
	hp_table_settle(handle, view, names);
	return CKR_OK;
}

/* Answers that leave open whether there is such an object. */
static bool is_no_answer(struct hp_session *s, CK_RV rv)
{
	return rv == CKR_OPERATION_ACTIVE ||
	       hp_rv_is_loss(hp_rv_class(&s->module->overrides, rv));
}

/* Where nothing is found the token may be just being logged in to again, and show nothing
 * private yet: it is searched again when it is known to be logged in. */
static CK_RV search_for(struct hp_session *s, const struct hp_vobject_names *names,
			CK_OBJECT_HANDLE *real)
{
	*real = CK_INVALID_HANDLE;
	if (!names->can_be_found)
		return CKR_OK;
	CK_RV rv = hp_find_by_fingerprint(s, &names->object, names->fingerprint, real);
	if (rv == CKR_OK && *real == CK_INVALID_HANDLE) {
		rv = hp_pool_look(s);
		if (rv == CKR_OK)
			rv = hp_find_by_fingerprint(s, &names->object, names->fingerprint,
						    real);
	}
	return is_no_answer(s, rv) ? rv : CKR_OK;
}

static CK_RV find_again(struct hp_session *s, CK_OBJECT_HANDLE handle,
			struct hp_vobject_view *view,
			const struct hp_vobject_names *names)
{
	view->real = CK_INVALID_HANDLE;
	if (!view->has_names)
		return CKR_OK;
	CK_RV rv = search_for(s, names, &view->real);
	if (rv == CKR_OK && view->real != CK_INVALID_HANDLE)
		hp_table_move(handle, view->real, s->generation);
	return rv;
}

/* A session object lives as long as the session that made it, whatever became of others.
 */
static CK_RV follow_maker(struct hp_session *s, CK_OBJECT_HANDLE handle,
			  struct hp_vobject_view *view)
{
	bool is_alive = view->maker == s ? hp_session_opening(s) == view->opening
					 : hp_pool_confirm(view->maker, view->opening);
	if (is_alive)
		hp_table_move(handle, view->real, s->generation);
	else
		view->real = CK_INVALID_HANDLE;
	return CKR_OK;
}

/* The generation began without a loss, as far as that can be known. What could not be
 * found again, or only by way of its maker, is worth waiting for. */
static bool is_carried_over(struct hp_vsession *vs, struct hp_session *s,
			    CK_OBJECT_HANDLE handle, struct hp_vobject_view *view)
{
	bool may_wait = view->maker || !view->has_names;
	if (!hp_pool_carries(vs->pool, view->generation, s->generation, may_wait))
		return false;
	hp_table_move(handle, view->real, s->generation);
	view->generation = s->generation;
	return true;
}

/* The real handle in view->real. What it is is read unless only its end is wanted. */
static CK_RV resolve(struct hp_vsession *vs, struct hp_session *s,
		     CK_OBJECT_HANDLE handle, bool wants_names,
		     struct hp_vobject_view *view, struct hp_vobject_names *names)
{
	bool is_known = hp_table_view(handle, view, names) && view->slot == vs->slot;
	if (!is_known) {
		*view = (struct hp_vobject_view){ .real = CK_INVALID_HANDLE };
		return CKR_OK;
	}
	if (view->generation < s->generation && !is_carried_over(vs, s, handle, view))
		return view->maker ? follow_maker(s, handle, view)
				   : find_again(s, handle, view, names);
	if (view->is_settled || !wants_names)
		return CKR_OK;
	return read_at_first_use(s, handle, view, names);
}

CK_RV hp_object_real(struct hp_vsession *vs, struct hp_session *s,
		     CK_OBJECT_HANDLE handle, CK_OBJECT_HANDLE *real)
{
	if (__builtin_expect(hp_table_look_up(vs->slot, s->generation, handle, real), 1))
		return CKR_OK;
	struct hp_vobject_view view;
	struct hp_vobject_names names;
	CK_RV rv = resolve(vs, s, handle, true, &view, &names);
	*real = view.real;
	return rv;
}

bool hp_object_has_moved(struct hp_vsession *vs, struct hp_session *s,
			 CK_OBJECT_HANDLE handle, CK_OBJECT_HANDLE *real)
{
	struct hp_vobject_view view;
	struct hp_vobject_names names;
	CK_OBJECT_HANDLE now = CK_INVALID_HANDLE;
	bool is_named = hp_table_view(handle, &view, &names) && view.slot == vs->slot &&
			view.has_names && !view.maker;
	if (!is_named || search_for(s, &names, &now) != CKR_OK ||
	    now == CK_INVALID_HANDLE || now == *real)
		return false;
	hp_table_move(handle, now, s->generation);
	*real = now;
	return true;
}

/* Where what it is could not be read now, because that takes a search and another
 * operation is active: RO rules must not depend on it. */
static void read_facts(struct hp_session *s, CK_OBJECT_HANDLE real,
		       struct hp_object_facts *facts)
{
	CK_BBOOL is_token = CK_FALSE;
	CK_BBOOL is_private = CK_FALSE;
	CK_ATTRIBUTE wanted[] = {
		{ CKA_TOKEN, &is_token, sizeof(is_token) },
		{ CKA_PRIVATE, &is_private, sizeof(is_private) },
	};
	hp_get_attributes(s, real, wanted, 2);
	facts->is_token = is_token != CK_FALSE;
	facts->is_private = is_private != CK_FALSE;
}

CK_RV hp_object_facts(struct hp_vsession *vs, struct hp_session *s,
		      CK_OBJECT_HANDLE handle, CK_OBJECT_HANDLE *real,
		      struct hp_object_facts *facts)
{
	struct hp_vobject_view view;
	struct hp_vobject_names names;
	*facts = (struct hp_object_facts){ 0 };
	CK_RV rv = resolve(vs, s, handle, true, &view, &names);
	*real = view.real;
	if (rv == CKR_OK && view.has_names) {
		facts->is_token = names.object.is_token;
		facts->is_private = names.object.is_private;
	} else if (rv == CKR_OK && view.real != CK_INVALID_HANDLE) {
		read_facts(s, view.real, facts);
	}
	return rv;
}

/* --- handles -------------------------------------------------------------------- */

CK_RV hp_object_virtual(struct hp_vsession *vs, struct hp_session *s,
			CK_OBJECT_HANDLE real, struct hp_vsession *owner,
			CK_OBJECT_HANDLE *handle)
{
	struct hp_vobject_place place = { vs->slot, real, s->generation };
	*handle = hp_table_handle(&place, owner != NULL);
	if (*handle == CK_INVALID_HANDLE)
		return CKR_HOST_MEMORY;
	if (owner)
		hp_table_set_owner(*handle, owner, s);
	return CKR_OK;
}

/* Is the handle's object the one at this place? If not, the handle is none. */
static CK_RV confirm(struct hp_vsession *vs, struct hp_session *s,
		     const struct hp_vobject_place *place, CK_OBJECT_HANDLE *handle)
{
	CK_OBJECT_HANDLE real = CK_INVALID_HANDLE;
	if (*handle == CK_INVALID_HANDLE)
		return CKR_OK;
	CK_RV rv = hp_object_real(vs, s, *handle, &real);
	if (rv == CKR_OK && real != place->real)
		hp_object_has_moved(vs, s, *handle, &real);
	if (rv == CKR_OK && real != place->real)
		*handle = CK_INVALID_HANDLE;
	return rv;
}

/* After a loss: which handle did this object have before? It keeps it. */
static CK_RV recognise(struct hp_vsession *vs, struct hp_session *s,
		       const struct hp_vobject_place *place, CK_OBJECT_HANDLE *handle)
{
	struct hp_vobject_names names;
	*handle = hp_table_recognise(place, NULL);
	CK_RV rv = confirm(vs, s, place, handle);
	if (rv != CKR_OK || *handle != CK_INVALID_HANDLE)
		return rv;
	rv = read_names(s, place->real, &names);
	if (rv != CKR_OK)
		return is_no_answer(s, rv) ? rv : hp_pool_look(s);
	*handle = hp_table_recognise(place, &names);
	return confirm(vs, s, place, handle);
}

static CK_RV handle_of_found(struct hp_vsession *vs, struct hp_session *s,
			     CK_OBJECT_HANDLE *handle)
{
	struct hp_vobject_place place = { vs->slot, *handle, s->generation };
	CK_RV rv = CKR_OK;
	*handle = hp_table_handle_at(&place);
	if (*handle == CK_INVALID_HANDLE && place.generation != HP_FIRST_GENERATION)
		rv = recognise(vs, s, &place, handle);
	/* Before it counts as another object: was it found where nothing is any more? */
	if (rv == CKR_OK && *handle == CK_INVALID_HANDLE &&
	    hp_pool_generation(vs->pool) != place.generation)
		rv = hp_pool_look(s);
	if (rv == CKR_OK && *handle == CK_INVALID_HANDLE)
		*handle = hp_table_handle(&place, false);
	if (rv == CKR_OK && *handle == CK_INVALID_HANDLE)
		rv = CKR_HOST_MEMORY;
	return rv;
}

/* A search counts as the first use of what it found, so that an application which keeps
 * handles can go on with them after a loss: the first ones, and once for each object. */
static CK_RV read_found(struct hp_vsession *vs, struct hp_session *s,
			const CK_OBJECT_HANDLE *handles, CK_ULONG count)
{
	CK_OBJECT_HANDLE real;
	CK_RV rv = CKR_OK;
	for (CK_ULONG i = 0; rv == CKR_OK && i < count; i++)
		rv = hp_object_real(vs, s, handles[i], &real);
	return rv;
}

CK_RV hp_objects_found(struct hp_vsession *vs, struct hp_session *s,
		       CK_OBJECT_HANDLE *handles, CK_ULONG count)
{
	CK_ULONG first = count < MOST_READ ? count : MOST_READ;
	CK_RV rv = CKR_OK;
	hp_table_drop_nameless(vs->slot, hp_pool_whole_since(vs->pool));
	for (CK_ULONG i = 0; rv == CKR_OK && i < first; i++)
		rv = handle_of_found(vs, s, &handles[i]);
	if (rv != CKR_OK)
		return rv;
	if (!hp_table_handles(vs->slot, s->generation, handles + first, count - first))
		return CKR_HOST_MEMORY;
	return read_found(vs, s, handles, first);
}

void hp_object_changed(CK_OBJECT_HANDLE handle)
{
	hp_table_unsettle(handle);
}

void hp_object_forget(struct hp_vsession *vs, CK_OBJECT_HANDLE handle)
{
	(void)vs;
	hp_table_drop(handle, true);
}

/* --- the end -------------------------------------------------------------------- */

/* Gone, or what the module says why it stays. */
static CK_RV destroy_one(struct hp_vsession *vs, struct hp_session *s,
			 CK_OBJECT_HANDLE handle)
{
	struct hp_vobject_view view;
	struct hp_vobject_names names;
	CK_RV rv = resolve(vs, s, handle, false, &view, &names);
	if (rv == CKR_OK && view.real != CK_INVALID_HANDLE)
		rv = hp_destroy_object(s, view.real);
	if (is_session_lost(s, rv))
		return rv;
	bool is_gone = rv == CKR_OK ||
		       hp_rv_class(&s->module->overrides, rv) == HP_RV_STALE_HANDLE;
	hp_table_drop(handle, is_gone);
	return CKR_OK;
}

static CK_RV destroy_all(struct hp_session *s, void *user)
{
	struct hp_vsession *vs = user;
	CK_OBJECT_HANDLE handle;
	CK_RV rv = CKR_OK;
	while (rv == CKR_OK && (handle = hp_table_first_of(vs)) != CK_INVALID_HANDLE)
		rv = destroy_one(vs, s, handle);
	return rv;
}

void hp_objects_of_session_destroy(struct hp_vsession *vs)
{
	CK_OBJECT_HANDLE handle;
	if (hp_table_first_of(vs) == CK_INVALID_HANDLE)
		return;
	hp_operation_aside(vs, &(struct hp_aside){ .function = HP_FN_C_CloseSession,
						   .want = HP_WANT_BESIDE,
						   .run = destroy_all,
						   .user = vs });
	/* Without a session they stay on the module, and their owner open, but nobody
	 * knows them any more. */
	while ((handle = hp_table_first_of(vs)) != CK_INVALID_HANDLE)
		hp_table_drop(handle, false);
}

void hp_objects_forget_private(struct hp_vslot *slot)
{
	hp_table_drop_private(slot);
}

void hp_objects_forget_all(struct hp_vslot *slot)
{
	hp_table_drop_all(slot);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls beside the operations of a virtual session, and its end.
 *
 * A call that is no operation runs on the session that the virtual one is attached to, so
 * that the module sees one session's calls on one session, and a pool of one can serve
 * them. Saved states and context-specific logins are about what is active: it is made
 * live first. A restored state is the module's own: it stays on its session.
 */
#include "proxy/operations.h"

#include <stdlib.h>
#include "base/memory.h"

typedef CK_RV (*aside_fn)(struct hp_session *s, void *user);

/* --- calls that are no operation ---------------------------------------------------- */

/* On the attached session: what is active on it goes on, unless the session is lost. */
static CK_RV run_attached(struct hp_vsession *vs, struct hp_session *s, aside_fn run,
			  void *user, enum hp_rv_class *class)
{
	bool was_unsure = s->is_unsure;
	CK_RV rv = run(s, user);
	s->is_unsure = was_unsure;
	*class = hp_rv_class(&s->module->overrides, rv);
	if (hp_class_is_loss(*class) && hp_operations_outlast(vs, *class))
		*class = HP_RV_CALLER;
	if (!hp_class_is_loss(*class)) {
		hp_operations_leave(vs, s);
		return rv;
	}
	*class = hp_operations_give_up(vs, s, rv);
	return rv;
}

static enum hp_want clean(enum hp_want want)
{
	return want == HP_WANT_READ_WRITE ? HP_WANT_CLEAN_READ_WRITE : HP_WANT_CLEAN;
}

static CK_RV run_aside(struct hp_vsession *vs, enum hp_want want, const char *tag,
		       aside_fn run, void *user, bool repeats)
{
	struct hp_attempt attempt = { .vs = vs, .tag = tag };
	for (;;) {
		enum hp_rv_class class;
		struct hp_session *s = hp_operations_take_up(&attempt);
		bool is_attached = s != NULL;
		CK_RV rv = s ? CKR_OK : hp_attempt_borrow(&attempt, want, &s);
		if (rv != CKR_OK)
			return rv;
		if (is_attached) {
			rv = run_attached(vs, s, run, user, &class);
		} else {
			rv = run(s, user);
			class = hp_pool_return(s, rv);
		}
		bool is_lost = hp_class_is_loss(class);
		bool did_not_run = rv == CKR_OPERATION_ACTIVE && !is_attached;
		if (attempt.tries >= HP_MOST_TRIES ||
		    !(did_not_run || (is_lost && repeats)))
			return is_lost ? hp_answer_to_loss(rv) : rv;
		if (did_not_run)
			want = clean(want); /* others may have leftovers too */
		hp_pool_count_retry(vs->pool);
	}
}

CK_RV hp_operation_aside(struct hp_vsession *vs, enum hp_want want, const char *tag,
			 aside_fn run, void *user)
{
	return run_aside(vs, want, tag, run, user, false);
}

CK_RV hp_operation_aside_again(struct hp_vsession *vs, enum hp_want want, const char *tag,
			       aside_fn run, void *user)
{
	return run_aside(vs, want, tag, run, user, true);
}

/* --- calls about what is active ------------------------------------------------------
 */

/* All active operations live on one session; run; on it stays what was there. */
static CK_RV run_on_all(struct hp_vsession *vs, const char *tag, aside_fn run, void *user)
{
	struct hp_attempt attempt = { .vs = vs, .tag = tag };
	struct hp_session *s = hp_operations_take_up(&attempt);
	CK_RV rv = hp_operations_attach(&attempt, HP_KINDS_ALL, HP_WANT_CLEAN, &s);
	if (rv != CKR_OK)
		return rv;
	enum hp_rv_class class;
	rv = run_attached(vs, s, run, user, &class);
	return hp_class_is_loss(class) ? hp_answer_to_loss(rv) : rv;
}

struct context_login {
	struct hp_operations *ops;
	const CK_BYTE *pin;
	CK_ULONG len;
};

/* The PIN is not kept, so nothing of it can be begun again. */
static CK_RV run_context_login(struct hp_session *s, void *user)
{
	const struct context_login *login = user;
	CK_RV rv =
		hp_session_login_bytes(s, CKU_CONTEXT_SPECIFIC, login->pin, login->len);
	if (rv != CKR_OK || !login->ops)
		return rv;
	for (unsigned kind = 0; kind < HP_KIND_COUNT; kind++)
		if (login->ops->live & HP_KIND_BIT(kind))
			hp_operation_pin(login->ops->of[kind]);
	return rv;
}

CK_RV hp_operation_context_login(struct hp_vsession *vs, const CK_BYTE *pin,
				 CK_ULONG pin_len)
{
	struct context_login login = { .ops = vs->operations,
				       .pin = pin,
				       .len = pin_len };
	return run_on_all(vs, "context-login", run_context_login, &login);
}

struct state_bytes {
	CK_BYTE *data;
	CK_ULONG *len;
};

static CK_RV run_save(struct hp_session *s, void *user)
{
	const struct state_bytes *state = user;
	return hp_get_operation_state(s, state->data, state->len);
}

CK_RV hp_operation_save(struct hp_vsession *vs, CK_BYTE *state, CK_ULONG *state_len)
{
	struct state_bytes bytes = { .data = state, .len = state_len };
	return run_on_all(vs, "save-state", run_save, &bytes);
}

struct restoration {
	struct hp_vsession *vs;
	const CK_BYTE *state;
	CK_ULONG len;
	CK_OBJECT_HANDLE keys[2];
};

static CK_RV run_restore(struct hp_session *s, void *user)
{
	struct restoration *r = user;
	CK_OBJECT_HANDLE real[2] = { CK_INVALID_HANDLE, CK_INVALID_HANDLE };
	CK_RV rv = CKR_OK;
	for (unsigned i = 0; i < 2 && rv == CKR_OK; i++)
		if (r->keys[i] != CK_INVALID_HANDLE)
			rv = hp_object_real(r->vs, s, r->keys[i], &real[i]);
	return rv == CKR_OK
		       ? hp_set_operation_state(s, r->state, r->len, real[0], real[1])
		       : rv;
}

CK_RV hp_operation_restore(struct hp_vsession *vs, const CK_BYTE *state,
			   CK_ULONG state_len, CK_OBJECT_HANDLE encryption_key,
			   CK_OBJECT_HANDLE authentication_key)
{
	struct restoration r = {
		.vs = vs,
		.state = state,
		.len = state_len,
		.keys = { encryption_key, authentication_key },
	};
	struct hp_attempt attempt = { .vs = vs, .tag = "restore-state" };
	struct hp_operations *ops = hp_operations_of(vs);
	if (!ops)
		return CKR_HOST_MEMORY;
	struct hp_session *s = hp_operations_take_up(&attempt);
	CK_RV rv = hp_operations_attach(&attempt, HP_KINDS_ALL, HP_WANT_CLEAN, &s);
	if (rv != CKR_OK)
		return rv;
	rv = run_restore(s, &r);
	enum hp_rv_class class = hp_rv_class(&s->module->overrides, rv);
	if (hp_class_is_loss(class)) {
		class = hp_operations_give_up(vs, s, rv);
		return hp_class_is_loss(class) ? hp_answer_to_loss(rv) : rv;
	}
	if (rv == CKR_OK) {
		/* What was active may have been replaced: ask the module from now on. */
		hp_operations_end(ops, HP_KINDS_ALL);
		ops->lingering = HP_KINDS_ALL;
		ops->is_restored = true;
	}
	hp_operations_leave(vs, s);
	return rv;
}

/* --- the end ------------------------------------------------------------------------ */

/* Errors leave a doubt that would cost the session. Where a second operation of any kind
 * is refused, an Init that cannot succeed tells whether there is a first one. */
static void settle_doubt(struct hp_vsession *vs, struct hp_session *s)
{
	struct hp_operations *ops = vs->operations;
	CK_MECHANISM unknown = { .mechanism = ~0ul };
	if (!ops->lingering || !vs->slot->is_exclusive)
		return;
	ops->lingering = 0;
	s->is_unsure = hp_digest_init(s, &unknown) == CKR_OPERATION_ACTIVE;
}

/* A session that must be closed to be clean, but owns session objects, waits until they
 * are gone: nobody takes it until then. */
static bool must_wait_for_objects(const struct hp_session *s)
{
	return s->objects > 0 && (s->active & (HP_OP_SIGN | HP_OP_SIGN_RECOVER));
}

void hp_operations_abandon(struct hp_vsession *vs)
{
	struct hp_operations *ops = vs->operations;
	if (!ops)
		return;
	struct hp_attempt attempt = { .vs = vs, .tag = "abandon" };
	struct hp_session *s = hp_operations_take_up(&attempt);
	if (s && must_wait_for_objects(s)) {
		struct hp_lease nobodys;
		hp_pool_leave_attached(s, 0, &nobodys);
	} else if (s) {
		settle_doubt(vs, s);
		hp_pool_return(s, CKR_OK);
	}
	hp_operations_end(ops, HP_KINDS_ALL);
	for (unsigned kind = 0; kind < HP_KIND_COUNT; kind++)
		free(ops->of[kind]);
	free(ops);
	vs->operations = NULL;
}

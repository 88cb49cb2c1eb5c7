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

/* --- one try ------------------------------------------------------------------------ */

/* What is to be done once at most is not given to a session that is dead already. */
static CK_RV look_first(struct hp_session *s, const struct hp_aside *aside)
{
	if (hp_function_retry(aside->function) != HP_RETRY_NEVER)
		return CKR_OK;
	CK_RV rv = hp_pool_look(s);
	enum hp_rv_class class = hp_rv_class(&s->module->overrides, rv);
	return hp_rv_is_loss(class) ? rv : CKR_OK;
}

static CK_RV look_and_run(struct hp_vsession *vs, struct hp_session *s,
			  const struct hp_aside *aside, struct hp_aside_run *used,
			  struct hp_failure *failure)
{
	CK_RV rv = look_first(s, aside);
	if (rv == CKR_OK)
		rv = hp_aside_use_begin(used, vs, s);
	failure->rv = rv;
	if (rv != CKR_OK || used->refusal != CKR_OK)
		return rv;
	failure->rv = rv = aside->run(s, aside->user);
	failure->is_submitted = aside->is_submitted ? *aside->is_submitted : true;
	return rv;
}

/* On the attached session: what is active on it goes on, unless the session is lost. */
static CK_RV run_attached(struct hp_vsession *vs, struct hp_session *s,
			  const struct hp_aside *aside, struct hp_aside_run *used,
			  struct hp_failure *failure)
{
	bool was_unsure = s->is_unsure;
	uint64_t generation = s->generation;
	CK_RV rv = look_and_run(vs, s, aside, used, failure);
	s->is_unsure = was_unsure;
	failure->class = hp_rv_class(&s->module->overrides, rv);
	/* That an operation is active, or is not, is about those of vs. */
	bool is_doubt_left = failure->class == HP_RV_AMBIGUOUS && failure->is_submitted &&
			     hp_function_is_answered_first(aside->function);
	if (hp_operations_outlast(vs, failure->class) || is_doubt_left ||
	    failure->class == HP_RV_OP_LOST)
		failure->class = HP_RV_CALLER;
	else if (rv != CKR_OK)
		failure->class = hp_pool_judge(s, rv);
	failure->is_outdated = hp_pool_has_lost_since(vs->pool, generation);
	if (hp_failure_is_loss(failure))
		failure->class = hp_operations_give_up(vs, s, rv);
	else
		hp_operations_leave(vs, s);
	return rv;
}

/* Beside what another may have active there, on which this is no verdict. */
static CK_RV run_borrowed(struct hp_vsession *vs, struct hp_session *s,
			  const struct hp_aside *aside, struct hp_aside_run *used,
			  struct hp_failure *failure)
{
	uint64_t generation = s->generation;
	bool is_visit = s->active != 0;
	bool was_unsure = s->is_unsure;
	CK_RV rv = look_and_run(vs, s, aside, used, failure);
	if (is_visit)
		s->is_unsure = was_unsure;
	failure->class =
		failure->is_submitted && hp_function_is_answered_first(aside->function)
			? hp_pool_return_unprobed(s, rv)
			: hp_pool_return(s, rv);
	failure->is_outdated = hp_pool_has_lost_since(vs->pool, generation);
	/* Somebody else's leftover kept it from running. */
	if (rv == CKR_OPERATION_ACTIVE)
		failure->is_submitted = false;
	else if (failure->class == HP_RV_OP_LOST)
		failure->class = HP_RV_CALLER;
	return rv;
}

/* --- calls that are no operation ---------------------------------------------------- */

static enum hp_want clean(enum hp_want want)
{
	return want == HP_WANT_READ_WRITE ? HP_WANT_CLEAN_READ_WRITE : HP_WANT_CLEAN;
}

static CK_RV run_once(struct hp_attempt *attempt, const struct hp_aside *aside,
		      struct hp_aside_run *used, enum hp_want want,
		      struct hp_failure *failure)
{
	struct hp_vsession *vs = attempt->vs;
	struct hp_session *s = hp_operations_take_up(attempt);
	bool is_attached = s != NULL || aside->needs_operations;
	CK_RV rv = CKR_OK;
	if (aside->needs_operations)
		rv = hp_operations_attach(attempt, HP_KINDS_ALL, HP_WANT_CLEAN, &s);
	else if (!s)
		rv = hp_attempt_borrow(attempt, want, &s);
	if (rv != CKR_OK)
		return rv;
	return is_attached ? run_attached(vs, s, aside, used, failure)
			   : run_borrowed(vs, s, aside, used, failure);
}

static CK_RV run_aside(struct hp_vsession *vs, const struct hp_aside *aside,
		       struct hp_aside_run *used)
{
	struct hp_attempt attempt = { .vs = vs,
				      .tag = hp_function_name(aside->function) };
	enum hp_want want = aside->want;
	for (;;) {
		struct hp_failure failure = { .function = aside->function };
		CK_RV rv = run_once(&attempt, aside, used, want, &failure);
		if (used->refusal != CKR_OK)
			return used->refusal;
		if (rv == CKR_OK)
			return aside->own ? *aside->own : CKR_OK;
		bool repeats = attempt.tries < HP_MOST_TRIES &&
			       hp_retry_is_allowed(&failure) &&
			       (!aside->restore || aside->restore(aside->user));
		if (!repeats)
			return hp_rv_is_loss(failure.class) ? hp_answer_to_loss(rv) : rv;
		if (rv == CKR_OPERATION_ACTIVE)
			want = clean(want); /* others may have leftovers too */
		hp_pool_count_retry(vs->pool, rv);
	}
}

CK_RV hp_operation_aside(struct hp_vsession *vs, const struct hp_aside *aside)
{
	struct hp_aside_run used;
	used.aside = aside->use;
	used.refusal = CKR_OK;
	if (aside->use) {
		used.use = hp_use_describe(vs, hp_function_name(aside->function),
					   aside->use->mechanism);
		used.use.kind = aside->use->kind;
		used.use.input_len = aside->use->input_len;
		hp_use_enter(&used.use);
	}
	CK_RV rv = run_aside(vs, aside, &used);
	hp_aside_use_end(&used, rv);
	return rv;
}

/* --- calls about what is active ------------------------------------------------------
 */

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
	return hp_operation_aside(vs, &(struct hp_aside){ .function = HP_FN_C_Login,
							  .run = run_context_login,
							  .user = &login,
							  .needs_operations = true });
}

struct state_bytes {
	CK_BYTE *data;
	CK_ULONG *len;
	CK_ULONG given_len;
};

static bool restore_state_len(void *user)
{
	const struct state_bytes *state = user;
	if (state->len)
		*state->len = state->given_len;
	return true;
}

static CK_RV run_save(struct hp_session *s, void *user)
{
	const struct state_bytes *state = user;
	return hp_get_operation_state(s, state->data, state->len);
}

CK_RV hp_operation_save(struct hp_vsession *vs, CK_BYTE *state, CK_ULONG *state_len)
{
	struct state_bytes bytes = { .data = state,
				     .len = state_len,
				     .given_len = state_len ? *state_len : 0 };
	return hp_operation_aside(
		vs, &(struct hp_aside){ .function = HP_FN_C_GetOperationState,
					.run = run_save,
					.user = &bytes,
					.restore = restore_state_len,
					.needs_operations = true });
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
	struct hp_operations *ops = r->vs->operations;
	CK_OBJECT_HANDLE real[2] = { CK_INVALID_HANDLE, CK_INVALID_HANDLE };
	CK_RV rv = CKR_OK;
	for (unsigned i = 0; i < 2 && rv == CKR_OK; i++)
		if (r->keys[i] != CK_INVALID_HANDLE)
			rv = hp_object_real(r->vs, s, r->keys[i], &real[i]);
	if (rv == CKR_OK)
		rv = hp_set_operation_state(s, r->state, r->len, real[0], real[1]);
	if (rv != CKR_OK)
		return rv;
	/* What was active may have been replaced: ask the module from now on. */
	hp_operations_end(ops, HP_KINDS_ALL);
	ops->lingering = HP_KINDS_ALL;
	ops->is_restored = true;
	return CKR_OK;
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
	if (!hp_operations_of(vs))
		return CKR_HOST_MEMORY;
	/* What follows is known to the module alone, so this names the keys. */
	struct hp_aside_use use = { .key = encryption_key, .input_len = state_len };
	if (encryption_key == CK_INVALID_HANDLE)
		use.key = authentication_key;
	else
		use.target = authentication_key;
	return hp_operation_aside(
		vs, &(struct hp_aside){ .function = HP_FN_C_SetOperationState,
					.run = run_restore,
					.user = &r,
					.needs_operations = true,
					.use = &use });
}

/* --- the end ------------------------------------------------------------------------ */

/* Errors leave a doubt that would cost the session. Where a second operation of any kind
 * is refused, an Init that cannot succeed tells whether there is a first one. */
static void settle_doubt(struct hp_vsession *vs, struct hp_session *s)
{
	struct hp_operations *ops = vs->operations;
	if (!ops->lingering || !vs->slot->is_exclusive)
		return;
	ops->lingering = 0;
	s->is_unsure = hp_session_is_occupied(s);
}

void hp_operations_abandon(struct hp_vsession *vs)
{
	struct hp_operations *ops = vs->operations;
	if (!ops)
		return;
	struct hp_attempt attempt = { .vs = vs, .tag = "abandon" };
	struct hp_session *s = hp_operations_take_up(&attempt);
	if (s) {
		settle_doubt(vs, s);
		hp_pool_return(s, CKR_OK);
	}
	hp_operations_end(ops, HP_KINDS_ALL);
	hp_uses_free(ops);
	for (unsigned kind = 0; kind < HP_KIND_COUNT; kind++)
		free(ops->of[kind]);
	free(ops);
	vs->operations = NULL;
}

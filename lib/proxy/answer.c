/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the module's answer to a step means: gone on, over, or once more elsewhere.
 *
 * Once the call that ends an operation was submitted and lost, it is submitted again only
 * if its row says so (retry.h); else the operation is over. The module's answer is the
 * application's, but for a session's death, which it must not see.
 */
#include "proxy/step.h"

#include "proxy/process.h"
#include "proxy/retry.h"

/* --- classes -------------------------------------------------------------------- */

bool hp_operations_outlast(const struct hp_vsession *vs, enum hp_rv_class class)
{
	return !hp_class_is_plain_loss(class) && vs->operations &&
	       hp_operations_are_pinned(vs->operations);
}

CK_RV hp_answer_to_loss(CK_RV rv)
{
	switch (rv) {
	case CKR_SESSION_HANDLE_INVALID:
	case CKR_SESSION_CLOSED:
	case CKR_CRYPTOKI_NOT_INITIALIZED:
		return hp_proxy_is_ending() ? CKR_CRYPTOKI_NOT_INITIALIZED
					    : CKR_DEVICE_ERROR;
	default:
		return rv;
	}
}

/* --- of an operation that is active --------------------------------------------- */

/* It came to its end: nothing of it is left on s. Of a restored state it may have been
 * all there was. */
static void note_ended(struct hp_vsession *vs, struct hp_session *s, uint32_t kinds)
{
	struct hp_operations *ops = vs->operations;
	bool lingered = ops->lingering != 0;
	hp_operations_end(ops, kinds);
	ops->lingering &= vs->slot->is_exclusive ? 0 : ~kinds;
	ops->is_restored = false;
	if (lingered && ops->lingering == 0)
		s->is_unsure = false;
}

static void settle_ok(struct hp_vsession *vs, struct hp_session *s, struct hp_step *step)
{
	if (hp_step_is_question(step))
		hp_step_take_back_input(vs, step);
	else if (hp_step_ends_operation(step))
		note_ended(vs, s, step->mask);
	else
		hp_step_note_taken(vs, step);
	hp_operations_leave(vs, s);
}

bool hp_session_is_occupied(struct hp_session *s)
{
	CK_MECHANISM mechanism = { CKM_RSA_PKCS, NULL, 0 };
	bool was_unsure = s->is_unsure;
	CK_RV rv = hp_sign_init(s, &mechanism, CK_INVALID_HANDLE);
	s->is_unsure = was_unsure;
	return rv == CKR_OPERATION_ACTIVE;
}

/* A wrong padding must not take longer than a right one: after the end of a decryption
 * the module is asked no more, unless it looked at no data. */
static bool may_ask_module(const struct hp_vsession *vs, const struct hp_step *step,
			   CK_RV rv)
{
	bool is_oracle = (step->mask & HP_KIND_BIT(HP_KIND_DECRYPT)) &&
			 rv != CKR_ARGUMENTS_BAD && rv != CKR_OPERATION_NOT_INITIALIZED &&
			 rv != CKR_FUNCTION_NOT_SUPPORTED;
	return vs->slot->is_exclusive && (vs->operations->live & step->mask) &&
	       !is_oracle;
}

/* By the standard an error ends the operation. Whether the module thinks so too it says
 * where it has one at a time: one that it keeps goes on, here and on any session. */
static void settle_error(struct hp_vsession *vs, struct hp_session *s,
			 const struct hp_step *step)
{
	if (hp_session_is_occupied(s))
		s->active = step->was_active;
	else
		hp_operations_end(vs->operations, step->mask);
	s->is_unsure = step->was_unsure;
	hp_operations_leave(vs, s);
}

/* Elsewhere nobody can tell. That the module says there is no operation proves nothing:
 * SoftHSM2 says so to a part of one that has no parts. */
static void linger(struct hp_vsession *vs, struct hp_session *s, struct hp_step *step,
		   CK_RV rv)
{
	struct hp_operations *ops = vs->operations;
	uint32_t were_live = ops->live & step->mask;
	hp_operations_end(ops, step->mask);
	ops->lingering |= were_live;
	if (rv != CKR_OPERATION_NOT_INITIALIZED)
		ops->is_restored = false;
	hp_operations_leave(vs, s);
}

/* Does the module deny an operation that it began, and that has such a part? */
static bool is_denied(const struct hp_vsession *vs, const struct hp_step *step, CK_RV rv)
{
	const struct hp_operations *ops = vs->operations;
	enum hp_kind kind = step->kinds[0];
	if (rv != CKR_OPERATION_NOT_INITIALIZED || step->count > 1 ||
	    !(ops->live & HP_KIND_BIT(kind)))
		return false;
	if (kind == HP_KIND_DIGEST)
		return true; /* all of them can be made either way */
	return ops->of[kind]->is_multipart != (step->part == HP_PART_SINGLE);
}

static enum hp_rv_class judge(struct hp_vsession *vs, struct hp_session *s,
			      const struct hp_step *step, CK_RV rv)
{
	enum hp_rv_class class = hp_rv_class(&s->module->overrides, rv);
	if (class == HP_RV_OP_LOST)
		return is_denied(vs, step, rv) ? class : HP_RV_CALLER;
	bool is_doubt_left = class == HP_RV_AMBIGUOUS && !hp_step_is_question(step) &&
			     hp_function_is_answered_first(step->call->function);
	return is_doubt_left ? HP_RV_CALLER : hp_pool_judge(s, rv);
}

static void fill_in_signature(const struct hp_vsession *vs, const struct hp_step *step,
			      struct hp_failure *failure)
{
	const struct hp_operation *op = vs->operations->of[step->kinds[0]];
	failure->sign_retry = op ? op->sign_retry : HP_SIGN_RETRY_NO;
	failure->is_deterministic =
		op && hp_mechanism_is_deterministic(op->mechanism.ck.mechanism);
}

/* The session is lost. True: the call is made again, elsewhere. */
static bool settle_loss(struct hp_vsession *vs, struct hp_session *s,
			struct hp_step *step, struct hp_failure *failure, CK_RV *rv)
{
	if (hp_function_retry(failure->function) == HP_RETRY_SIGNATURE)
		fill_in_signature(vs, step, failure);
	bool repeats = hp_step_is_whole(vs, step) && hp_retry_is_allowed(failure);
	if (!repeats)
		hp_operations_end(vs->operations, step->mask);
	hp_operations_give_up(vs, s, *rv);
	*rv = hp_answer_to_loss(*rv);
	return repeats;
}

bool hp_step_settle(struct hp_vsession *vs, struct hp_session *s, struct hp_step *step,
		    CK_RV *rv)
{
	if (*rv == CKR_OK) {
		settle_ok(vs, s, step);
		return false;
	}
	hp_step_take_back_input(vs, step);
	if (*rv == CKR_BUFFER_TOO_SMALL) {
		hp_operations_leave(vs, s);
		return false;
	}
	struct hp_failure failure = {
		.function = step->call->function,
		.is_submitted = true,
		.rv = *rv,
		.class = judge(vs, s, step, *rv),
		.is_outdated = hp_pool_has_lost_since(vs->pool, s->generation),
	};
	if (hp_failure_is_loss(&failure))
		return settle_loss(vs, s, step, &failure, rv);
	if (may_ask_module(vs, step, *rv))
		settle_error(vs, s, step);
	else
		linger(vs, s, step, *rv);
	return false;
}

/* --- where none is -------------------------------------------------------------- */

/* Of a module with one operation at a time: a call for another one may have ended it. */
static void note_ended_in_vain(struct hp_vsession *vs, struct hp_session *s)
{
	struct hp_operations *ops = vs->operations;
	if (!vs->slot->is_exclusive || !ops || !ops->live || hp_session_is_occupied(s))
		return;
	hp_operations_end(ops, HP_KINDS_ALL);
	s->active = 0;
}

CK_RV hp_step_ask_in_vain(struct hp_vsession *vs, struct hp_session *s,
			  struct hp_step *step)
{
	bool was_unsure = s->is_unsure;
	uint32_t was_active = s->active;
	CK_RV rv = step->call->run(s, step->call);
	enum hp_rv_class class = hp_rv_class(&s->module->overrides, rv);
	s->active = was_active;
	s->is_unsure = was_unsure || rv == CKR_OK;
	if (hp_rv_is_loss(class)) {
		class = vs->operations ? hp_operations_give_up(vs, s, rv)
				       : hp_pool_return(s, rv);
		return hp_rv_is_loss(class) ? hp_answer_to_loss(rv) : rv;
	}
	note_ended_in_vain(vs, s);
	hp_operations_leave(vs, s);
	return rv;
}

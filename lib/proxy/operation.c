/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call goes on with its operation, or ends it. How one begins: begin.c.
 *
 * Owns: the states of operations, the tries of a call, its part in a use. Must not:
 * choose sessions (replay.c), know functions of PKCS#11 by name.
 */
#include "proxy/step.h"

#include <stdlib.h>
#include <string.h>
#include "base/secret.h"

/* --- state ---------------------------------------------------------------------- */

struct hp_operations *hp_operations_of(struct hp_vsession *vs)
{
	if (!vs->operations)
		vs->operations = calloc(1, sizeof(*vs->operations));
	return vs->operations;
}

void hp_operation_pin(struct hp_operation *op)
{
	op->is_replayable = false;
	hp_journal_drop(&op->journal);
}

void hp_operation_mark(const struct hp_operation *op, struct hp_session *s,
		       enum hp_kind kind)
{
	if (kind == HP_KIND_SIGN || kind == HP_KIND_SIGN_RECOVER)
		s->may_finish_signature = op->may_be_finished;
}

/* Not by a call of its own, which tells what came of it itself. */
static void end_unfinished(struct hp_use *use)
{
	if (use->is_inside)
		return;
	if (use->state == HP_USE_BEGUN)
		hp_use_end(use, CKR_FUNCTION_CANCELED, HSMPOOL_OK, 0);
	else
		hp_use_drop(use);
}

void hp_operations_end(struct hp_operations *ops, uint32_t kinds)
{
	kinds &= ops->active;
	for (unsigned kind = 0; kinds >> kind; kind++) {
		if (!(kinds & HP_KIND_BIT(kind)))
			continue;
		struct hp_operation *op = ops->of[kind];
		end_unfinished(&op->use);
		hp_mechanism_copy_wipe(&op->mechanism);
		if (op->journal.data)
			hp_journal_drop(&op->journal);
		if (op->output_len > 0)
			hp_wipe(op->output_end, sizeof(op->output_end));
	}
	ops->active &= ~kinds;
	ops->live &= ~kinds;
}

bool hp_operation_is_active(const struct hp_vsession *vs, enum hp_kind kind)
{
	return vs->operations && (vs->operations->active & HP_KIND_BIT(kind));
}

bool hp_operation_any_active(const struct hp_vsession *vs)
{
	return vs->operations && vs->operations->active;
}

/* --- going on: the tries -------------------------------------------------------- */

static CK_RV run_step(const struct hp_attempt *attempt, struct hp_session *s,
		      struct hp_step *step)
{
	struct hp_vsession *vs = attempt->vs;
	struct hp_call *call = step->call;
	if (attempt->is_again)
		hp_step_restore_arguments(step);
	else
		hp_step_keep_arguments(step);
	step->was_active = s->active;
	step->was_unsure = s->is_unsure;
	hp_step_add_input(vs, step);
	if (step->part == HP_PART_KEY) {
		CK_RV rv = hp_object_real(vs, s, call->key, &call->real_key);
		if (rv != CKR_OK)
			return rv;
	}
	return call->run(s, call);
}

/* One that was pinned, and went with its session, since its last call. */
static bool was_lost(struct hp_vsession *vs, uint32_t kinds)
{
	struct hp_operations *ops = vs->operations;
	if (__builtin_expect(!ops || !(ops->lost & kinds), 1))
		return false;
	ops->lost &= ~kinds;
	return true;
}

static bool is_in_vain(const struct hp_vsession *vs, const struct hp_step *step)
{
	const struct hp_operations *ops = vs->operations;
	return !ops || !((ops->active | ops->lingering) & step->mask);
}

/* Which operations must be live for the module to answer. */
static uint32_t concerned(const struct hp_vsession *vs, const struct hp_step *step)
{
	return is_in_vain(vs, step) && vs->slot->is_exclusive ? HP_KINDS_ALL : step->mask;
}

/* No session could be had, or too many were lost: the application gets an error, by which
 * its operation is over, and may begin another. */
static void end_failed(struct hp_vsession *vs, const struct hp_step *step)
{
	if (vs->operations)
		hp_operations_end(vs->operations, step->mask);
}

/* Where a try begins: on *s; or it is over with *rv, which needed no session or got none;
 * or it begins anew. */
enum start { ON_SESSION, OVER, ANEW };

static enum start attach(struct hp_attempt *attempt, const struct hp_step *step,
			 struct hp_session **s, CK_RV *rv)
{
	struct hp_vsession *vs = attempt->vs;
	uint32_t kinds = concerned(vs, step);
	bool had_any = hp_operation_any_active(vs);
	*rv = hp_operations_attach(attempt, kinds, HP_WANT_CLEAN, s);
	if (*rv == CKR_OK)
		return ON_SESSION;
	if (kinds != step->mask && had_any && !hp_operation_any_active(vs))
		return ANEW; /* what could not be begun again is over, not this */
	end_failed(vs, step);
	return OVER;
}

static enum start begin_try(struct hp_attempt *attempt, struct hp_step *step,
			    struct hp_session **s, CK_RV *rv)
{
	struct hp_vsession *vs = attempt->vs;
	*rv = CKR_OK;
	if (hp_step_take_detached(vs, step))
		return OVER;
	*s = hp_operations_take_up(attempt);
	if (!*s && hp_step_take_detached(vs, step))
		return OVER;
	if (!was_lost(vs, step->mask))
		return attach(attempt, step, s, rv);
	if (*s)
		hp_operations_leave(vs, *s);
	*rv = CKR_DEVICE_ERROR;
	return OVER;
}

static CK_RV run_steps(struct hp_vsession *vs, struct hp_step *step)
{
	struct hp_attempt attempt = { .vs = vs, .tag = hp_kind_name(step->kinds[0]) };
	for (;;) {
		struct hp_session *s;
		CK_RV rv;
		enum start start = begin_try(&attempt, step, &s, &rv);
		if (start == OVER)
			return rv;
		if (start == ANEW)
			continue;
		if (is_in_vain(vs, step))
			return hp_step_ask_in_vain(vs, s, step);
		rv = run_step(&attempt, s, step);
		CK_RV answer = rv;
		if (!hp_step_settle(vs, s, step, &rv))
			return rv;
		if (attempt.tries >= HP_MOST_TRIES) {
			end_failed(vs, step);
			return rv;
		}
		attempt.is_again = true;
		hp_pool_count_retry(vs->pool, answer);
	}
}

/* --- going on: as a use --------------------------------------------------------- */

/* The use that the i-th kind's operation is; NULL: none is active. */
static struct hp_use *use_of(const struct hp_vsession *vs, const struct hp_step *step,
			     unsigned i)
{
	return hp_operation_is_active(vs, step->kinds[i])
		       ? &vs->operations->of[step->kinds[i]]->use
		       : NULL;
}

/* May something come out of it, for the i-th kind? */
static bool gives_result(const struct hp_step *step, unsigned i)
{
	bool is_cipher =
		step->kinds[i] == HP_KIND_ENCRYPT || step->kinds[i] == HP_KIND_DECRYPT;
	return hp_step_ends_operation(step) ||
	       (step->part == HP_PART_STREAM && is_cipher && !hp_step_is_question(step));
}

static struct hp_use *describe_unknown(const struct hp_vsession *vs, const char *function,
				       struct hp_use *unknown)
{
	if (unknown->function)
		return unknown;
	*unknown = hp_use_describe(vs, function, NULL);
	unknown->state = HP_USE_PERMITTED; /* when the operation began */
	return unknown;
}

/* uses[i]: what the step is for. An operation that is not there, or that the module alone
 * knows, has one for this call. */
static CK_RV begin_uses(const struct hp_vsession *vs, const struct hp_step *step,
			struct hp_use **uses, struct hp_use *unknown)
{
	const char *function = hp_function_name(step->call->function);
	CK_RV rv = CKR_OK;
	unknown->function = NULL;
	for (unsigned i = 0; i < step->count; i++) {
		uses[i] = use_of(vs, step, i);
		if (!uses[i])
			uses[i] = describe_unknown(vs, function, unknown);
		hp_use_enter(uses[i]);
		uses[i]->function = function;
		if (rv == CKR_OK && gives_result(step, i))
			rv = hp_use_begin_for(uses[i]);
	}
	return rv;
}

static void end_use(const struct hp_vsession *vs, const struct hp_step *step, unsigned i,
		    struct hp_use *use, CK_RV rv)
{
	struct hp_call *call = step->call;
	bool is_taken = rv == CKR_OK && !hp_step_is_question(step);
	bool has_output = is_taken && i == 0 && call->out && call->out_len;
	bool is_own = use_of(vs, step, i) != use;
	if (is_taken)
		use->input_len += call->in_len;
	if (has_output)
		use->output_len += *call->out_len;
	if (!is_own)
		hp_use_leave(use); /* it goes on */
	else if (is_taken || (rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL))
		hp_use_end(use, rv, HSMPOOL_OK, 0);
	else
		hp_use_drop(use);
}

/* By the standard an error ends the operation, a refusal of ours too. */
static void end_refused(struct hp_vsession *vs, const struct hp_step *step,
			struct hp_use **uses)
{
	for (unsigned i = 0; i < step->count; i++)
		hp_use_leave(uses[i]);
	if (!vs->operations)
		return;
	struct hp_attempt attempt = { .vs = vs, .tag = "refused" };
	struct hp_session *s = hp_operations_take_up(&attempt);
	hp_operations_end(vs->operations, step->mask);
	if (s)
		hp_operations_leave(vs, s);
}

static CK_RV run_used(struct hp_vsession *vs, struct hp_step *step)
{
	struct hp_use *uses[2];
	struct hp_use unknown;
	CK_RV rv = begin_uses(vs, step, uses, &unknown);
	if (rv != CKR_OK) {
		end_refused(vs, step, uses);
		return rv;
	}
	rv = run_steps(vs, step);
	for (unsigned i = 0; i < step->count; i++)
		end_use(vs, step, i, uses[i], rv);
	return rv;
}

CK_RV hp_operation_step(struct hp_vsession *vs, const enum hp_kind *kinds, unsigned count,
			enum hp_part part, struct hp_call *call)
{
	struct hp_step step = {
		.kinds = kinds, .count = count, .part = part, .call = call
	};
	for (unsigned i = 0; i < count; i++)
		step.mask |= HP_KIND_BIT(kinds[i]);
	CK_RV rv = run_used(vs, &step);
	if (step.has_kept)
		hp_journal_drop(&step.kept);
	return rv;
}

/* --- by the application's session handle ---------------------------------------- */

CK_RV hp_operation_begin_on(CK_SESSION_HANDLE session, enum hp_kind kind,
			    CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	struct hp_vsession *vs = hp_vsession_take(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return hp_kind_init(&none, kind, mechanism, key);
	}
	CK_RV rv = hp_operation_begin(vs, kind, mechanism, key);
	hp_vsession_give(vs);
	return rv;
}

CK_RV hp_operation_step_on(CK_SESSION_HANDLE session, const enum hp_kind *kinds,
			   unsigned count, enum hp_part part, struct hp_call *call)
{
	struct hp_vsession *vs = hp_vsession_take(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return call->run(&none, call);
	}
	CK_RV rv = hp_operation_step(vs, kinds, count, part, call);
	hp_vsession_give(vs);
	return rv;
}

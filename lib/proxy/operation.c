/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a call means for its operation: gone on, or over. How one begins: begin.c.
 *
 * Owns: the states of operations, the journal's contents, the decision to ask the module
 * once more. Must not: choose sessions (replay.c), know functions of PKCS#11 by name. The
 * module's answer is the application's, but for a session's death, which it must not see.
 *
 * Once the call that ends an operation was submitted and lost, it is submitted again only
 * if its row says so (retry.h); else the operation is over.
 */
#include "proxy/operations.h"

#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "base/secret.h"
#include "proxy/process.h"
#include "proxy/retry.h"

/* --- state ------------------------------------------------------------------------- */

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

/* --- classes ----------------------------------------------------------------------- */

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

/* --- going on: the journal --------------------------------------------------------- */

/* A step while it runs. */
struct step {
	const enum hp_kind *kinds;
	unsigned count;
	uint32_t mask;
	enum hp_part part;
	struct hp_call *call;
	/* Where the journals of kinds stood before, and whether they took the input. */
	struct hp_journal_mark marks[2];
	bool is_added[2];
	/* Before the first try. The input, if the output may be written over it. */
	CK_ULONG out_len;
	bool has_kept;
	struct hp_journal kept;
	/* The book of its session before. */
	uint32_t was_active;
	bool was_unsure;
};

static bool has_input(const struct step *step)
{
	return step->part == HP_PART_UPDATE || step->part == HP_PART_STREAM;
}

/* With a decryption the second operation is fed with what comes out. */
static bool takes_output(const struct step *step, unsigned i)
{
	return i == 1 && step->kinds[0] == HP_KIND_DECRYPT;
}

/* An output buffer that is NULL asks for the size: nothing is taken in. */
static bool is_question(const struct step *step)
{
	bool has_output = step->part == HP_PART_STREAM || step->call->out_len;
	return has_output && !step->call->out;
}

/* May what the module writes change what it was to read? */
static bool overlaps(const struct hp_call *call)
{
	return call->in && call->out && call->out_len &&
	       hp_bytes_overlap(call->in, call->in_len, call->out, *call->out_len);
}

/* Before the first try, for another one. */
static void keep_arguments(struct step *step)
{
	const struct hp_proxy_options *options = hp_proxy_options();
	struct hp_call *call = step->call;
	step->out_len = call->out_len ? *call->out_len : 0;
	if (overlaps(call))
		step->has_kept =
			hp_journal_add(&step->kept, call->in, call->in_len, false,
				       options->journal_limit, options->journal_total);
}

static void restore_arguments(struct step *step)
{
	struct hp_call *call = step->call;
	struct hp_journal_piece piece;
	size_t at = 0;
	if (call->out_len)
		*call->out_len = step->out_len;
	if (step->has_kept && hp_journal_next(&step->kept, &at, &piece))
		call->in = piece.data;
}

/* The record of the i-th kind, if its journal is to be kept up. */
static struct hp_operation *journaled(const struct hp_vsession *vs,
				      const struct step *step, unsigned i)
{
	const struct hp_operations *ops = vs->operations;
	if (!ops || !(ops->active & HP_KIND_BIT(step->kinds[i])))
		return NULL;
	struct hp_operation *op = ops->of[step->kinds[i]];
	return op->is_replayable ? op : NULL;
}

static bool add(struct hp_operation *op, enum hp_kind kind, const CK_BYTE *data,
		CK_ULONG len)
{
	const struct hp_proxy_options *options = hp_proxy_options();
	bool is_cipher = kind == HP_KIND_ENCRYPT || kind == HP_KIND_DECRYPT;
	return hp_journal_add(&op->journal, data, len, !is_cipher, options->journal_limit,
			      options->journal_total);
}

/* Before the module is asked: output may be written over the input. */
static void add_input(struct hp_vsession *vs, struct step *step)
{
	for (unsigned i = 0; i < step->count; i++) {
		struct hp_operation *op = journaled(vs, step, i);
		step->is_added[i] = false;
		bool has_none = !step->call->in && step->call->in_len > 0;
		if (!op || takes_output(step, i) || has_none)
			continue;
		step->marks[i] = hp_journal_mark(&op->journal);
		step->is_added[i] =
			add(op, step->kinds[i], step->call->in, step->call->in_len);
	}
}

static void take_back_input(struct hp_vsession *vs, struct step *step)
{
	for (unsigned i = 0; i < step->count; i++)
		if (step->is_added[i])
			hp_journal_rewind(&vs->operations->of[step->kinds[i]]->journal,
					  &step->marks[i]);
}

/* The module took the input in. What the journal had no room for pins the operation. */
static void note_taken(struct hp_vsession *vs, struct step *step)
{
	struct hp_call *call = step->call;
	CK_ULONG out_len = call->out && call->out_len ? *call->out_len : 0;
	for (unsigned i = 0; i < step->count; i++) {
		struct hp_operation *op = journaled(vs, step, i);
		if (!op)
			continue;
		op->is_multipart = true;
		if (step->part == HP_PART_KEY)
			step->is_added[i] =
				hp_journal_add_key(&op->journal, call->key,
						   hp_proxy_options()->journal_limit,
						   hp_proxy_options()->journal_total);
		else if (takes_output(step, i))
			step->is_added[i] = add(op, step->kinds[i], call->out, out_len);
		if (!step->is_added[i])
			hp_operation_pin(op);
		else if (i == 0 && step->part == HP_PART_STREAM)
			hp_operation_note_output(op, call->out, out_len);
	}
}

/* Input that gives no output, for an operation that the module has accepted such input
 * for before, needs no session: it waits in the journal. */
static bool take_detached(struct hp_vsession *vs, struct step *step)
{
	struct hp_operations *ops = vs->operations;
	struct hp_call *call = step->call;
	if (step->part != HP_PART_UPDATE || !ops || !(ops->active & step->mask) ||
	    (ops->live & step->mask) || !call->in)
		return false;
	struct hp_operation *op = ops->of[step->kinds[0]];
	return op->is_multipart && op->is_replayable &&
	       add(op, step->kinds[0], call->in, call->in_len);
}

/* --- going on: the module's answer -------------------------------------------------- */

static bool ends_operation(const struct step *step)
{
	return (step->part == HP_PART_SINGLE || step->part == HP_PART_FINAL) &&
	       !is_question(step);
}

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

static void settle_ok(struct hp_vsession *vs, struct hp_session *s, struct step *step)
{
	if (is_question(step))
		take_back_input(vs, step);
	else if (ends_operation(step))
		note_ended(vs, s, step->mask);
	else
		note_taken(vs, step);
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
static bool may_ask_module(const struct hp_vsession *vs, const struct step *step,
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
			 const struct step *step)
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
static void linger(struct hp_vsession *vs, struct hp_session *s, struct step *step,
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
static bool is_denied(const struct hp_vsession *vs, const struct step *step, CK_RV rv)
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
			      const struct step *step, CK_RV rv)
{
	enum hp_rv_class class = hp_rv_class(&s->module->overrides, rv);
	if (class == HP_RV_OP_LOST)
		return is_denied(vs, step, rv) ? class : HP_RV_CALLER;
	bool is_doubt_left = class == HP_RV_AMBIGUOUS && !is_question(step) &&
			     hp_function_is_answered_first(step->call->function);
	return is_doubt_left ? HP_RV_CALLER : hp_pool_judge(s, rv);
}

/* Can all that this step is part of be begun again? */
static bool is_whole(const struct hp_vsession *vs, const struct step *step)
{
	uint32_t wanted = vs->operations->active & step->mask;
	for (unsigned i = 0; i < step->count; i++)
		if ((wanted & HP_KIND_BIT(step->kinds[i])) && !journaled(vs, step, i))
			return false;
	return wanted != 0;
}

static void fill_in_signature(const struct hp_vsession *vs, const struct step *step,
			      struct hp_failure *failure)
{
	const struct hp_operation *op = vs->operations->of[step->kinds[0]];
	failure->sign_retry = op ? op->sign_retry : HP_SIGN_RETRY_NO;
	failure->is_deterministic =
		op && hp_mechanism_is_deterministic(op->mechanism.ck.mechanism);
}

/* The session is lost. True: the call is made again, elsewhere. */
static bool settle_loss(struct hp_vsession *vs, struct hp_session *s, struct step *step,
			struct hp_failure *failure, CK_RV *rv)
{
	bool is_kept = !overlaps(step->call) || step->has_kept;
	if (hp_function_retry(failure->function) == HP_RETRY_SIGNATURE)
		fill_in_signature(vs, step, failure);
	bool repeats = is_whole(vs, step) && is_kept && hp_retry_is_allowed(failure);
	if (!repeats)
		hp_operations_end(vs->operations, step->mask);
	hp_operations_give_up(vs, s, *rv);
	*rv = hp_answer_to_loss(*rv);
	return repeats;
}

static bool settle(struct hp_vsession *vs, struct hp_session *s, struct step *step,
		   CK_RV *rv)
{
	if (*rv == CKR_OK) {
		settle_ok(vs, s, step);
		return false;
	}
	take_back_input(vs, step);
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

/* Of a module with one operation at a time: a call for another one may have ended it. */
static void note_ended_in_vain(struct hp_vsession *vs, struct hp_session *s)
{
	struct hp_operations *ops = vs->operations;
	if (!vs->slot->is_exclusive || !ops || !ops->live || hp_session_is_occupied(s))
		return;
	hp_operations_end(ops, HP_KINDS_ALL);
	s->active = 0;
}

/* Nothing is active for this call: the module says so in its own way. */
static CK_RV ask_in_vain(struct hp_vsession *vs, struct hp_session *s, struct step *step)
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

static CK_RV run_step(struct hp_vsession *vs, struct hp_session *s, struct step *step)
{
	struct hp_call *call = step->call;
	step->was_active = s->active;
	step->was_unsure = s->is_unsure;
	if (has_input(step))
		add_input(vs, step);
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

static bool is_in_vain(const struct hp_vsession *vs, const struct step *step)
{
	const struct hp_operations *ops = vs->operations;
	return !ops || !((ops->active | ops->lingering) & step->mask);
}

/* Which operations must be live for the module to answer. */
static uint32_t concerned(const struct hp_vsession *vs, const struct step *step)
{
	return is_in_vain(vs, step) && vs->slot->is_exclusive ? HP_KINDS_ALL : step->mask;
}

/* No session could be had, or too many were lost: the application gets an error, by which
 * its operation is over, and may begin another. */
static void end_failed(struct hp_vsession *vs, const struct step *step)
{
	if (vs->operations)
		hp_operations_end(vs->operations, step->mask);
}

static CK_RV run_steps(struct hp_vsession *vs, struct step *step)
{
	struct hp_attempt attempt = { .vs = vs, .tag = hp_kind_name(step->kinds[0]) };
	for (;;) {
		if (take_detached(vs, step))
			return CKR_OK;
		struct hp_session *s = hp_operations_take_up(&attempt);
		if (!s && take_detached(vs, step))
			return CKR_OK;
		if (was_lost(vs, step->mask)) {
			if (s)
				hp_operations_leave(vs, s);
			return CKR_DEVICE_ERROR;
		}
		uint32_t kinds = concerned(vs, step);
		bool had_any = hp_operation_any_active(vs);
		CK_RV rv = hp_operations_attach(&attempt, kinds, HP_WANT_CLEAN, &s);
		bool are_over = had_any && !hp_operation_any_active(vs);
		if (rv != CKR_OK && kinds != step->mask && are_over)
			continue; /* what could not be begun again is over, not this */
		if (rv != CKR_OK) {
			end_failed(vs, step);
			return rv;
		}
		if (is_in_vain(vs, step))
			return ask_in_vain(vs, s, step);
		if (attempt.is_again)
			restore_arguments(step);
		else
			keep_arguments(step);
		rv = run_step(vs, s, step);
		CK_RV answer = rv;
		if (!settle(vs, s, step, &rv))
			return rv;
		if (attempt.tries >= HP_MOST_TRIES) {
			end_failed(vs, step);
			return rv;
		}
		attempt.is_again = true;
		hp_pool_count_retry(vs->pool, answer);
	}
}

/* --- going on: as a use ------------------------------------------------------------- */

/* The use that the i-th kind's operation is; NULL: none is active. */
static struct hp_use *use_of(const struct hp_vsession *vs, const struct step *step,
			     unsigned i)
{
	return hp_operation_is_active(vs, step->kinds[i])
		       ? &vs->operations->of[step->kinds[i]]->use
		       : NULL;
}

/* May something come out of it, for the i-th kind? */
static bool gives_result(const struct step *step, unsigned i)
{
	bool is_cipher =
		step->kinds[i] == HP_KIND_ENCRYPT || step->kinds[i] == HP_KIND_DECRYPT;
	return ends_operation(step) ||
	       (step->part == HP_PART_STREAM && is_cipher && !is_question(step));
}

/* uses[i]: what the step is for. An operation that is not there, or that the module alone
 * knows, has one for this call. */
static CK_RV begin_uses(const struct hp_vsession *vs, const struct step *step,
			struct hp_use **uses, struct hp_use *unknown)
{
	const char *function = hp_function_name(step->call->function);
	CK_RV rv = CKR_OK;
	*unknown = hp_use_describe(vs, function, NULL);
	unknown->state = HP_USE_PERMITTED; /* when the operation began */
	for (unsigned i = 0; i < step->count; i++) {
		struct hp_use *use = use_of(vs, step, i);
		uses[i] = use ? use : unknown;
		hp_use_enter(uses[i]);
		uses[i]->function = function;
		if (rv == CKR_OK && gives_result(step, i))
			rv = hp_use_begin_for(uses[i]);
	}
	return rv;
}

static void end_use(const struct hp_vsession *vs, const struct step *step, unsigned i,
		    struct hp_use *use, CK_RV rv)
{
	struct hp_call *call = step->call;
	bool is_taken = rv == CKR_OK && !is_question(step);
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
static void end_refused(struct hp_vsession *vs, const struct step *step,
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

static CK_RV run_used(struct hp_vsession *vs, struct step *step)
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
	struct step step = { .kinds = kinds, .count = count, .part = part, .call = call };
	for (unsigned i = 0; i < count; i++)
		step.mask |= HP_KIND_BIT(kinds[i]);
	CK_RV rv = run_used(vs, &step);
	if (step.has_kept)
		hp_journal_drop(&step.kept);
	return rv;
}

/* --- by the application's session handle ---------------------------------------------
 */

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

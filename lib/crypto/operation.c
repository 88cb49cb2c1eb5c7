/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operation loop: borrow, handle, run, return, and once more where the table says.
 *
 * Owns: the order of these steps, the one deadline they share, the decision to repeat
 * (by class of return value, stage and kind of operation), the error that the caller
 * sees. Must not: know mechanisms, hold a lock, allocate or format in the good case.
 *
 * What a failure proves. At stage NOTHING_RAN (a failure at or before the Init) the
 * HSM did nothing. After submission only three answers of a *signature* prove the
 * same; a dead session proves nothing.
 */
#include "crypto/operation.h"

#include <stdio.h>
#include <string.h>
#include "base/error.h"
#include "observe/log.h"
#include "observe/request.h"

/* What has not run may begin again as often as the HSM loses sessions; a storm of losses
 * is the breaker's and the deadline's to end, this is the bound in case of neither. What
 * was submitted, or names an object that is gone, is tried twice. */
#define MOST_TRIES           4
#define MOST_SUBMITTED_TRIES 2
#define MOST_STALE_TRIES     2

struct tries {
	unsigned begun;
	unsigned submitted;
	unsigned stale; /* answered that there is no such object */
};

/* How one attempt ended. */
struct outcome {
	hsmpool_status status; /* of our own making when rv is CKR_OK */
	CK_RV rv;
	enum hp_rv_class told;  /* rv by the table alone */
	enum hp_rv_class class; /* as the pool judged it after looking at the session */
	enum hp_stage stage;
};

static bool is_signature(const struct hp_operation *op)
{
	return op->retry == HP_RETRY_SIGNATURE_DETERMINISTIC ||
	       op->retry == HP_RETRY_SIGNATURE_RANDOMISED;
}

/* These answers of C_Sign say that it looked for key, login or operation and did not
 * find it: no signature was made. They are the only ones that prove it. */
static bool proves_nothing_ran(const struct hp_operation *op, CK_RV rv)
{
	return is_signature(op) &&
	       (rv == CKR_USER_NOT_LOGGED_IN || rv == CKR_KEY_HANDLE_INVALID ||
		rv == CKR_OPERATION_NOT_INITIALIZED);
}

/* Classes after which a new session, login or handle can make the same call succeed.
 * AMBIGUOUS is here as what the pool leaves of it when its probe failed. */
static bool is_loss(enum hp_rv_class class)
{
	return class == HP_RV_OP_LOST || class == HP_RV_STALE_HANDLE ||
	       hp_rv_is_loss(class);
}

static bool may_repeat_submitted(const struct hp_operation *op)
{
	if (op->key && hp_key_is_counting(op->key))
		return false;
	if (!is_signature(op))
		return op->retry == HP_RETRY_IDEMPOTENT;

	enum hp_sign_retry allowed = hp_key_sign_retry(op->key);
	return allowed == HP_SIGN_RETRY_YES ||
	       (allowed == HP_SIGN_RETRY_DETERMINISTIC &&
		op->retry == HP_RETRY_SIGNATURE_DETERMINISTIC);
}

/* What an Init says of a copy that dies meanwhile means nothing: SoftHSM2 reads the
 * attributes of what is left and answers KEY_FUNCTION_NOT_PERMITTED. */
static bool may_be_dying_copy(const struct hp_operation *op, const struct outcome *o)
{
	return op->key && o->rv != CKR_OK && o->stage == HP_STAGE_NOTHING_RAN &&
	       o->class == HP_RV_CALLER && hp_key_may_be_copy(op->key);
}

/* The same of the operation itself, by a catch-all code. */
static bool may_have_lost_copy(const struct hp_operation *op, const struct outcome *o)
{
	return op->key && o->stage == HP_STAGE_SUBMITTED && o->told == HP_RV_AMBIGUOUS &&
	       o->class == HP_RV_CALLER && !op->is_uniform_failure &&
	       hp_key_may_be_copy(op->key);
}

static void count_try(struct tries *tries, const struct hp_operation *op,
		      const struct outcome *o)
{
	tries->begun++;
	tries->submitted += o->stage == HP_STAGE_SUBMITTED;
	tries->stale += o->class == HP_RV_STALE_HANDLE || may_be_dying_copy(op, o);
}

static bool may_repeat(const struct hp_operation *op, const struct outcome *o,
		       const struct tries *tries)
{
	bool may_pass = is_loss(o->class) || may_be_dying_copy(op, o) ||
			may_have_lost_copy(op, o);
	if (o->rv == CKR_OK || !may_pass || tries->begun >= MOST_TRIES ||
	    tries->stale >= MOST_STALE_TRIES)
		return false;
	return o->stage == HP_STAGE_NOTHING_RAN ||
	       (tries->submitted < MOST_SUBMITTED_TRIES && may_repeat_submitted(op));
}

/* The HSM said no, in so many words: nothing was done. (A CALLER that the pool only
 * concluded from a passed probe proves nothing.) */
static bool is_plain_refusal(const struct outcome *o)
{
	return o->told == HP_RV_FLOW ||
	       (o->told == HP_RV_CALLER && o->class == HP_RV_CALLER);
}

static hsmpool_executed executed_by(const struct outcome *o)
{
	if (o->stage == HP_STAGE_NOTHING_RAN)
		return HSMPOOL_EXECUTED_NO;
	if (o->rv == CKR_OK || o->status == HSMPOOL_ERR_DATA)
		return HSMPOOL_EXECUTED_YES;
	return is_plain_refusal(o) ? HSMPOOL_EXECUTED_NO : HSMPOOL_EXECUTED_UNKNOWN;
}

/* Bad input in the eyes of the token: a DATA answer, or, of the operation itself, one
 * of the catch-all codes (SoftHSM2 gives GENERAL_ERROR for a wrong GCM tag and RSA
 * padding) on a session that the pool then found well. */
static bool is_bad_data(const struct hp_operation *op, const struct outcome *o)
{
	if (!op->is_uniform_failure || o->class != HP_RV_CALLER)
		return false;
	if (o->told == HP_RV_AMBIGUOUS)
		return o->stage == HP_STAGE_SUBMITTED;
	const struct hp_rv_info *info = hp_rv_find(o->rv);
	return info && info->status == HSMPOOL_ERR_DATA;
}

static const char *hint_for(const struct outcome *o)
{
	if (o->told == HP_RV_LOGIN_LOST && o->class == HP_RV_CALLER)
		return "; the login is in place, so the key wants its PIN at each use";
	if (o->told == HP_RV_AMBIGUOUS && o->class == HP_RV_CALLER)
		return "; the token is well otherwise, so check the input and the key";
	if (o->told == HP_RV_STALE_HANDLE)
		return "; was the key deleted?";
	if (o->stage == HP_STAGE_SUBMITTED && is_loss(o->class))
		return "; it may have been done";
	return "";
}

/* "sign with key 'payments' on token 'bank': CKR_...: text; hint" */
static hsmpool_status fail_with_rv(const struct hp_operation *op, const struct outcome *o,
				   hsmpool_error *err)
{
	struct hp_token token;
	char label[sizeof(token.info.label) + 1];

	hp_pool_token(op->pool, &token);
	hp_token_text(token.info.label, sizeof(token.info.label), label);
	const hsmpool_key *about = op->key ? op->key : op->about;
	hsmpool_status status =
		about ? hp_rv_fail(err, o->rv, "%s%s '%s' on token '%s'", op->verb,
				   op->key ? " with key" : "", hp_key_name(about), label)
		      : hp_rv_fail(err, o->rv, "%s on token '%s'", op->verb, label);
	if (o->told == HP_RV_LOGIN_LOST && o->class == HP_RV_CALLER)
		status = HSMPOOL_ERR_KEY;
	if (!err)
		return status;
	hp_error_append(err, hint_for(o));
	err->status = status;
	return status;
}

hsmpool_status hp_fail_data(hsmpool_error *err, const char *verb, const hsmpool_key *key)
{
	return hp_fail(
		err, HSMPOOL_ERR_DATA,
		"%s with key '%s': it does not decrypt or verify: altered, cut off, "
		"or of another key or scheme",
		verb, hp_key_name(key));
}

/* Turn what happened into the caller's error. o->status is set to what is returned. */
static hsmpool_status conclude(const struct hp_operation *op, struct outcome *o,
			       hsmpool_executed before, hsmpool_error *err)
{
	if (o->rv != CKR_OK && is_bad_data(op, o))
		o->status = hp_fail_data(err, op->verb, op->key);
	else if (o->rv != CKR_OK)
		o->status = fail_with_rv(op, o, err);
	if (err && o->status != HSMPOOL_OK) {
		err->executed = executed_by(o);
		if (before == HSMPOOL_EXECUTED_UNKNOWN &&
		    err->executed == HSMPOOL_EXECUTED_NO)
			err->executed = HSMPOOL_EXECUTED_UNKNOWN;
	}
	return o->status;
}

hsmpool_status hp_operation_begin_use(struct hp_operation *op,
				      const struct hp_key_identity *key,
				      hsmpool_error *err)
{
	if (op->use.state != HP_USE_NEW)
		return HSMPOOL_OK; /* run again after a loss */
	op->use.key = key;
	return hp_use_begin(&op->use, err);
}

/* The handle and the run, on a session that is borrowed. */
static void run_on(struct hp_operation *op, struct hp_session *s, struct outcome *o,
		   hsmpool_error *err)
{
	CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
	const struct hp_key_facts *facts = NULL;

	if (op->key) {
		o->status = hp_key_handle(op->key, s, op->role, op->deadline_ns, &handle,
					  &facts, &o->rv, err);
		if (o->status != HSMPOOL_OK)
			return;
	}
	if (!op->run_begins_use)
		o->status = hp_operation_begin_use(
			op, op->key ? hp_key_identity(op->key, op->role) : NULL, err);
	if (o->status != HSMPOOL_OK)
		return;
	o->rv = op->run(op, s, handle, facts, &o->stage, &o->status, err);
}

/* With its session gone nothing else keeps the pool from being freed, and what went wrong
 * is still to be said. */
static void hold_pool(struct hp_operation *op)
{
	if (!op->is_held)
		hp_pool_hold(op->pool);
	op->is_held = true;
}

static void give_back(struct hp_operation *op, struct hp_session *s, struct outcome *o)
{
	if (o->rv != CKR_OK || o->status != HSMPOOL_OK)
		hold_pool(op);
	o->told = o->class = HP_RV_OK;
	if (o->rv != CKR_OK)
		o->told = hp_rv_class(&s->module->overrides, o->rv);
	if (op->must_discard_session) {
		op->must_discard_session = false;
		o->class = o->told;
		hp_pool_return_verdict(s, HSMPOOL_VERDICT_RESET);
		return;
	}
	o->class = op->is_answered_first && o->stage == HP_STAGE_SUBMITTED
			   ? hp_pool_return_unprobed(s, o->rv)
			   : hp_pool_return(s, o->rv);
}

/* While a session or a hold keeps the pool. Without a key that was found it is told as
 * what it was asked for by. */
static void end_use(struct hp_operation *op, const struct outcome *o)
{
	const hsmpool_key *key = op->key ? op->key : op->about;

	if (!op->use.key && key)
		op->use.key = hp_key_selected(key);
	if (o->status == HSMPOOL_ERR_SPACE && o->stage == HP_STAGE_NOTHING_RAN)
		hp_use_drop(&op->use); /* it is asked for again, with room */
	else
		hp_use_end(&op->use, o->rv, o->status,
			   op->output_len ? *op->output_len : 0);
}

/* A session, or nothing but a hold on the pool. */
static struct hp_session *borrow(struct hp_operation *op, struct outcome *o,
				 hsmpool_error *err)
{
	struct hp_session *s = NULL;
	bool is_held;

	o->status = hp_pool_borrow_or_hold(op->pool, op->want, op->verb, op->deadline_ns,
					   &s, &is_held, err);
	if (is_held && op->is_held)
		hp_pool_let_go(op->pool);
	op->is_held |= is_held;
	return s;
}

/* Borrow, run, return. False: no session was had, o->status says why. */
static bool attempt(struct hp_operation *op, struct outcome *o, hsmpool_error *err)
{
	*o = (struct outcome){ .stage = HP_STAGE_NOTHING_RAN };
	if (op->key)
		hp_key_prepare(op->key, op->role, op->deadline_ns);
	struct hp_session *s = borrow(op, o, err);
	if (!s)
		return false;
	s->cut_ns = op->cut_ns;
	run_on(op, s, o, err);
	bool is_done = o->rv == CKR_OK && o->status == HSMPOOL_OK;
	if (is_done && op->keep_session) {
		*op->keep_session = s;
		hp_use_leave(&op->use);
		return true;
	}
	if (is_done)
		end_use(op, o);
	give_back(op, s, o);
	if (o->rv != CKR_OK && proves_nothing_ran(op, o->rv) &&
	    !hp_key_is_counting(op->key))
		o->stage = HP_STAGE_NOTHING_RAN;
	/* A login that is gone may take the handles along (SoftHSM2 answers 0x82 then).
	 */
	if (op->key && (o->told == HP_RV_STALE_HANDLE || o->class == HP_RV_STALE_HANDLE ||
			may_be_dying_copy(op, o) || may_have_lost_copy(op, o)))
		hp_key_forget_handle(op->key, op->role);
	return true;
}

static hsmpool_status run_until_done(struct hp_operation *op, struct outcome *o,
				     hsmpool_error *err)
{
	struct tries tries = { 0 };

	hsmpool_executed before = HSMPOOL_EXECUTED_NO;

	while (attempt(op, o, err)) {
		if (o->rv == CKR_OK && o->status == HSMPOOL_OK)
			return HSMPOOL_OK;
		count_try(&tries, op, o);
		if (!may_repeat(op, o, &tries))
			return conclude(op, o, before, err);
		if (o->stage == HP_STAGE_SUBMITTED)
			before = HSMPOOL_EXECUTED_UNKNOWN;
		hp_pool_count_retry(op->pool, o->rv);
		HP_LOG(INFO, "operation-retry", "%s is begun again after %s", op->verb,
		       hp_rv_class_name(o->class));
	}
	if (err)
		err->executed = before;
	return o->status;
}

hsmpool_status hp_operation_run(struct hp_operation *op, hsmpool_deadline deadline,
				hsmpool_error *err)
{
	struct outcome o;

	HP_TRY(hp_pool_check_usable(op->pool, err));
	op->deadline_ns = hp_pool_deadline(op->pool, deadline);
	op->cut_ns = deadline > 0 ? deadline : 0;
	op->must_discard_session = false;
	op->is_held = false;
	uint64_t outer = hp_request_enter();
	op->use.pool = op->pool;
	hsmpool_status status = run_until_done(op, &o, err);
	if (op->is_held)
		end_use(op, &o);
	hp_request_set(outer);
	if (op->is_held)
		hp_pool_let_go(op->pool);
	return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C_XInit: an operation is begun, or the module says why not.
 *
 * Owns: what is recorded of an operation to begin it again, and which failures are worth
 * another try: nothing ran yet, so any loss is. What is active already is made live
 * first where the module's answer depends on it.
 */
#include "proxy/operations.h"

#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "proxy/key_rules.h"

static struct hp_operation *operation_of(struct hp_operations *ops, enum hp_kind kind)
{
	if (!ops->of[kind])
		ops->of[kind] = calloc(1, sizeof(*ops->of[kind]));
	return ops->of[kind];
}

static const enum hp_function functions[HP_KIND_COUNT] = {
	[HP_KIND_ENCRYPT] = HP_FN_C_EncryptInit,
	[HP_KIND_DECRYPT] = HP_FN_C_DecryptInit,
	[HP_KIND_DIGEST] = HP_FN_C_DigestInit,
	[HP_KIND_SIGN] = HP_FN_C_SignInit,
	[HP_KIND_SIGN_RECOVER] = HP_FN_C_SignRecoverInit,
	[HP_KIND_VERIFY] = HP_FN_C_VerifyInit,
	[HP_KIND_VERIFY_RECOVER] = HP_FN_C_VerifyRecoverInit,
};

/* What an Init was asked with, and what came of it on one session. */
struct beginning {
	enum hp_kind kind;
	CK_MECHANISM *mechanism;
	CK_OBJECT_HANDLE key;
	bool leaves_nonce;
	uint64_t generation;
	struct hp_use use;
};

/* Which operations must be live for the module to know whether one more may be begun. */
static uint32_t rivals(const struct hp_vsession *vs, enum hp_kind kind)
{
	return vs->slot->is_exclusive ? HP_KINDS_ALL : HP_KIND_BIT(kind);
}

static bool is_unknown_key(struct hp_session *s, CK_RV rv)
{
	return hp_rv_class(&s->module->overrides, rv) == HP_RV_STALE_HANDLE;
}

/* That nothing comes of an Init alone lets it do without room for a record. A key that is
 * not there is the module's to refuse. */
static CK_RV permit(struct hp_vsession *vs, struct hp_session *s, struct beginning *b,
		    CK_OBJECT_HANDLE key)
{
	hsmpool_error err;
	bool is_there;
	if (b->kind != HP_KIND_DIGEST && key == CK_INVALID_HANDLE)
		return CKR_OK;
	hp_error_clear(&err);
	b->use.key = hp_use_key_of_init(vs, s, vs->operations->of[b->kind], b->key, key,
					&is_there);
	if (!is_there)
		return CKR_OK;
	hsmpool_status status = hp_use_permit(&b->use, &err);
	return status == HSMPOOL_OK ? CKR_OK : hp_use_refusal(status, &err);
}

static CK_RV init_on(struct hp_vsession *vs, struct hp_session *s, struct beginning *b)
{
	struct hp_mechanism_call call;
	CK_MECHANISM *mechanism;
	CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
	CK_RV rv = CKR_OK;
	bool was_unsure = s->is_unsure;
	if (b->kind != HP_KIND_DIGEST)
		rv = hp_object_real(vs, s, b->key, &key);
	b->generation = s->generation;
	if (rv == CKR_OK)
		rv = hp_mechanism_real(vs, s, b->mechanism, &call, &mechanism);
	if (rv != CKR_OK)
		return rv;
	rv = permit(vs, s, b, key);
	if (rv != CKR_OK)
		return rv;
	b->leaves_nonce =
		b->kind == HP_KIND_ENCRYPT && hp_mechanism_leaves_nonce(mechanism);
	rv = hp_kind_init(s, b->kind, mechanism, key);
	if (is_unknown_key(s, rv) && hp_object_has_moved(vs, s, b->key, &key)) {
		rv = permit(vs, s, b, key);
		if (rv == CKR_OK)
			rv = hp_kind_init(s, b->kind, mechanism, key);
	}
	/* What is active is known here. */
	if (rv == CKR_OPERATION_ACTIVE && vs->operations->live)
		s->is_unsure = was_unsure;
	return rv;
}

/* Does a signature leave the key as it was? Not those of hashes alone; a vendor's own may
 * do anything. */
static bool is_stateless(CK_MECHANISM_TYPE mechanism)
{
	enum { HSS = 0x4033, XMSS = 0x4036, XMSSMT = 0x4037 }; /* of PKCS#11 3.x */
	return mechanism < CKM_VENDOR_DEFINED && mechanism != HSS && mechanism != XMSS &&
	       mechanism != XMSSMT;
}

/* What it takes to begin it again, and whether that may be. */
static void remember(struct hp_operation *op, const struct hp_vsession *vs,
		     const struct beginning *b)
{
	struct hp_key_rules rules = hp_key_rules_of(vs, b->key);
	bool makes_nonce = b->kind == HP_KIND_ENCRYPT &&
			   b->mechanism->mechanism == CKM_AES_GCM &&
			   hp_pool_options(vs->pool)->hsm_iv;
	op->key = b->key;
	hp_mechanism_copy(&op->mechanism, b->mechanism);
	op->is_replayable = op->mechanism.is_faithful && !b->leaves_nonce &&
			    !makes_nonce && !rules.is_counting;
	op->may_be_finished = !rules.is_counting && is_stateless(b->mechanism->mechanism);
	op->sign_retry = rules.sign_retry;
	op->is_multipart = false;
	op->output_len = 0;
	memset(op->output_end, 0, sizeof(op->output_end));
}

/* The module began it. */
static void record(struct hp_vsession *vs, struct hp_session *s, struct beginning *b)
{
	struct hp_operations *ops = vs->operations;
	struct hp_operation *op = ops->of[b->kind];
	uint32_t bit = HP_KIND_BIT(b->kind);
	hp_use_leave(&b->use); /* until the next call */
	/* Where one operation is all there can be, this is it. */
	hp_operations_end(ops, vs->slot->is_exclusive ? HP_KINDS_ALL : bit);
	hp_use_keep(ops, op, &b->use);
	remember(op, vs, b);
	hp_operation_mark(op, s, b->kind);
	ops->active |= bit;
	ops->live |= bit;
	ops->lingering &= ~bit;
	if (vs->slot->is_exclusive) {
		ops->lingering = 0;
		ops->is_restored = false;
		s->is_unsure = false;
	}
}

/* A 3.x module takes an Init without a mechanism as the end of the operation. */
static void note_cancelled(struct hp_operations *ops, struct hp_session *s,
			   enum hp_kind kind)
{
	static const uint32_t op_of[HP_KIND_COUNT] = {
		[HP_KIND_ENCRYPT] = HP_OP_ENCRYPT,
		[HP_KIND_DECRYPT] = HP_OP_DECRYPT,
		[HP_KIND_DIGEST] = HP_OP_DIGEST,
		[HP_KIND_SIGN] = HP_OP_SIGN,
		[HP_KIND_SIGN_RECOVER] = HP_OP_SIGN_RECOVER,
		[HP_KIND_VERIFY] = HP_OP_VERIFY,
		[HP_KIND_VERIFY_RECOVER] = HP_OP_VERIFY_RECOVER,
	};
	s->active &= ~op_of[kind];
	hp_operations_end(ops, HP_KIND_BIT(kind));
	ops->lingering &= ~HP_KIND_BIT(kind);
}

static CK_RV settle_ok(struct hp_vsession *vs, struct hp_session *s, struct beginning *b)
{
	if (b->mechanism)
		record(vs, s, b);
	else
		note_cancelled(vs->operations, s, b->kind);
	hp_operations_leave(vs, s);
	return CKR_OK;
}

/* After an Init that failed on s, which is left or given up: is it worth another try?
 * Nothing ran, so any loss is. */
static bool settle_refusal(struct hp_vsession *vs, struct hp_session *s,
			   const struct beginning *b, CK_RV *rv)
{
	const struct hp_operations *ops = vs->operations;
	bool is_ours = ops->live | ops->lingering;
	struct hp_failure failure = {
		.function = functions[b->kind],
		.rv = *rv,
		.class = hp_rv_class(&s->module->overrides, *rv),
		.is_outdated = hp_pool_has_lost_since(vs->pool, b->generation),
	};
	if (failure.class == HP_RV_OP_LOST) {
		/* Somebody else's leftover, or our own. */
		if (*rv != CKR_OPERATION_ACTIVE || is_ours)
			failure.class = HP_RV_CALLER;
	} else if (hp_operations_outlast(vs, failure.class)) {
		failure.class = HP_RV_CALLER;
	} else {
		failure.class = hp_pool_judge(s, *rv);
	}
	if (!hp_retry_is_allowed(&failure)) {
		hp_operations_leave(vs, s);
		return false;
	}
	hp_operations_give_up(vs, s, *rv);
	*rv = hp_answer_to_loss(*rv);
	return true;
}

/* A virtual search counts as an operation where the module counts a real one. A missing
 * mechanism it would notice first, but not for functions that it does not have. */
static bool is_kept_by_search(const struct hp_vsession *vs, enum hp_kind kind,
			      const CK_MECHANISM *mechanism)
{
	bool is_recovery = kind == HP_KIND_SIGN_RECOVER || kind == HP_KIND_VERIFY_RECOVER;
	return vs->search && vs->slot->is_exclusive && (mechanism || is_recovery);
}

static CK_RV begin(struct hp_vsession *vs, struct beginning *b)
{
	struct hp_operations *ops = hp_operations_of(vs);
	enum hp_kind kind = b->kind;
	CK_MECHANISM *mechanism = b->mechanism;
	if (!ops || !operation_of(ops, kind))
		return CKR_HOST_MEMORY;
	if (is_kept_by_search(vs, kind, mechanism))
		return CKR_OPERATION_ACTIVE;
	struct hp_attempt attempt = { .vs = vs, .tag = hp_kind_name(kind) };
	struct hp_mechanism_before as_given;
	hp_mechanism_save(&as_given, mechanism);
	ops->lost &= ~HP_KIND_BIT(kind);
	/* Where a leftover would be noticed, a session that may have one will do. */
	enum hp_want want = vs->slot->is_exclusive ? HP_WANT_ANY : HP_WANT_CLEAN;
	for (;;) {
		struct hp_session *s = hp_operations_take_up(&attempt);
		uint32_t before = ops->active;
		CK_RV rv = hp_operations_attach(&attempt, rivals(vs, kind), want, &s);
		if (rv != CKR_OK && ops->active != before)
			continue; /* what could not be begun again is over, not this */
		if (rv != CKR_OK)
			return rv;
		rv = init_on(vs, s, b);
		if (rv == CKR_OK)
			return settle_ok(vs, s, b);
		CK_RV answer = rv;
		if (!settle_refusal(vs, s, b, &rv) || attempt.tries >= HP_MOST_TRIES)
			return rv;
		want = HP_WANT_CLEAN; /* others may have leftovers too, and keep them */
		hp_mechanism_restore(&as_given, mechanism);
		hp_pool_count_retry(vs->pool, answer);
	}
}

/* One that fails is a use of its own; one that does not is the beginning of one. */
CK_RV hp_operation_begin(struct hp_vsession *vs, enum hp_kind kind,
			 CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	struct beginning b = {
		.kind = kind,
		.mechanism = mechanism,
		.key = key,
		.use = hp_use_describe(vs, hp_function_name(functions[kind]), mechanism),
	};
	hp_use_enter(&b.use);
	CK_RV rv = begin(vs, &b);
	if (rv != CKR_OK)
		hp_use_end(&b.use, rv, HSMPOOL_OK, 0);
	else
		hp_use_leave(&b.use);
	return rv;
}

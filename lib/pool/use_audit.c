/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A use as the audit trail records it.
 *
 * Must not: know more of a use than struct hp_use has, which holds no data and no PIN.
 */
#include "pool/use.h"

#include "base/error.h"
#include "base/time.h"
#include "config/mechanisms.h"
#include "observe/request.h"
#include "p11/rv.h"
#include "pool/internal.h"

static const enum hp_audit_event events[] = {
	[HP_USE_OPERATION] = HP_AUDIT_OPERATION,
	[HP_USE_MANAGEMENT] = HP_AUDIT_MANAGEMENT,
	[HP_USE_LOGIN] = HP_AUDIT_LOGIN,
};

/* Of a use that makes a key, and has no other, that is the key. */
static void name_keys(const struct hp_use *use, struct hp_audit_facts *facts)
{
	const struct hp_key_identity *key = use->key ? use->key : use->target;

	if (!key)
		return;
	facts->key_label = (const char *)key->label;
	facts->key_id = key->id;
	facts->key_id_len = key->id_len;
	facts->key_fingerprint = key->fingerprint;
	if (use->key && use->target)
		facts->target = (const char *)use->target->label;
}

static void describe(const struct hp_use *use, struct hp_audit_facts *facts,
		     char mechanism[static HP_MECHANISM_TEXT])
{
	*facts = (struct hp_audit_facts){
		.event = events[use->kind],
		.request = use->request,
		.session = use->vsession,
		.input_len = use->input_len,
		.pool = use->pool->options.name,
		.token = use->pool->audit_token,
		.function = use->function,
	};
	if (use->has_mechanism)
		facts->mechanism = hp_mechanism_name(use->mechanism, mechanism);
	name_keys(use, facts);
}

bool hp_use_reserve_record(struct hp_use *use)
{
	char mechanism[HP_MECHANISM_TEXT];
	struct hp_audit_facts facts;

	if (!use->pool->audit)
		return true;
	describe(use, &facts, mechanism);
	use->first_function = use->function;
	return hp_audit_begin(use->pool->audit, &facts, &use->entry);
}

void hp_use_write_record(struct hp_use *use, CK_RV rv, hsmpool_status status)
{
	char code[32];
	char mechanism[HP_MECHANISM_TEXT];
	struct hp_audit_facts facts;
	bool has_entry = use->first_function != NULL;
	struct hp_audit_result result = {
		.result = rv != CKR_OK || status == HSMPOOL_OK
				  ? hp_rv_name(rv, code)
				  : hsmpool_status_name(status),
		.is_failure = rv != CKR_OK || status != HSMPOOL_OK,
		.input_len = use->input_len,
		.output_len = use->output_len,
		.duration_ns = use->spent_ns,
	};

	/* That it failed before it began is told as far as that can be. */
	if (!has_entry && !hp_use_reserve_record(use))
		return;
	/* The call that ends it is another than the one it began with. */
	if (has_entry && use->first_function != use->function) {
		describe(use, &facts, mechanism);
		result.facts = &facts;
	}
	hp_audit_end(&use->entry, &result);
}

/* --- without a pool ------------------------------------------------------------------
 */

hsmpool_status hp_use_open_trail(struct hp_audit **out,
				 const struct hp_pool_options *options,
				 hsmpool_error *err)
{
	const struct hp_audit_options audit = {
		.folder = options->audit,
		.records = options->audit_records,
		.failure = options->audit_failure,
		.rotate_size = options->audit_rotate_size,
		.rotate_after = options->audit_rotate_after,
		.keep = options->audit_keep,
		.keep_size = options->audit_keep_size,
		.has_thread = options->keeper,
	};

	*out = NULL;
	return options->audit ? hp_audit_open(out, &audit, err) : HSMPOOL_OK;
}

static hsmpool_status reserve_bare(struct hp_bare_use *use,
				   const struct hp_pool_options *options,
				   const struct hp_audit_facts *facts, hsmpool_error *err)
{
	HP_TRY(hp_use_open_trail(&use->audit, options, err));
	if (hp_audit_begin(use->audit, facts, &use->entry))
		return HSMPOOL_OK;
	hp_audit_close(&use->audit);
	return hp_fail(err, HSMPOOL_ERR_SYSTEM,
		       "the audit trail in %s cannot be written, and audit-failure = "
		       "refuse: nothing was done; make room there",
		       options->audit);
}

hsmpool_status hp_bare_use_begin(struct hp_bare_use *use,
				 const struct hp_pool_options *options,
				 const char *function, const struct hp_token *token,
				 const char *label, hsmpool_error *err)
{
	struct hp_audit_facts facts = {
		.event = HP_AUDIT_MANAGEMENT,
		.request = hp_request_draw(),
		.pool = options->name,
		.token = label,
		.function = function,
	};

	*use = (struct hp_bare_use){ .since_ns = hp_now_ns() };
	HP_TRY(reserve_bare(use, options, &facts, err));
	hsmpool_status status = hp_bare_use_ask_policy(options, function, token, err);
	if (status != HSMPOOL_OK)
		hp_bare_use_end(use, hp_use_refusal(status, err));
	return status;
}

void hp_bare_use_end(struct hp_bare_use *use, CK_RV rv)
{
	char code[32];
	struct hp_audit_result result = {
		.result = hp_rv_name(rv, code),
		.is_failure = rv != CKR_OK,
		.duration_ns = hp_now_ns() - use->since_ns,
	};

	hp_audit_end(&use->entry, &result);
	hp_audit_close(&use->audit);
}

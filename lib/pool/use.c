/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam behind which policy, audit trail, metrics and request ids live.
 *
 * Owns: their order, and the clock of a use, which stands still between the calls of an
 * operation in parts. Must not: take a lock, or make a module call.
 */
#include "pool/use.h"

#include "base/error.h"
#include "base/time.h"
#include "observe/request.h"
#include "pool/internal.h"
#include "pool/metrics.h"

/* --- one call ----------------------------------------------------------------------- */

void hp_use_enter(struct hp_use *use)
{
	if (use->is_inside || !use->function)
		return;
	use->outer_request = hp_request_current();
	if (use->request == 0)
		use->request =
			use->outer_request ? use->outer_request : hp_request_draw();
	hp_request_set(use->request);
	use->since_ns = hp_now_ns();
	use->is_inside = true;
}

void hp_use_leave(struct hp_use *use)
{
	if (!use->is_inside)
		return;
	use->spent_ns += hp_now_ns() - use->since_ns;
	hp_request_set(use->outer_request);
	use->is_inside = false;
}

/* --- the beginning ----------------------------------------------------------------- */

bool hp_use_wants_keys(const hsmpool *pool)
{
	return pool->audit ||
	       atomic_load_explicit(&pool->policies, memory_order_relaxed) != NULL;
}

hsmpool_status hp_use_permit(struct hp_use *use, hsmpool_error *err)
{
	if (use->state != HP_USE_NEW || !use->function)
		return HSMPOOL_OK;
	hsmpool_status status = hp_use_ask_policy(use, err);
	if (status == HSMPOOL_OK)
		use->state = HP_USE_PERMITTED;
	else
		hp_use_end(use, CKR_OK, status, 0);
	return status;
}

hsmpool_status hp_use_begin(struct hp_use *use, hsmpool_error *err)
{
	if (use->state >= HP_USE_BEGUN || !use->function)
		return HSMPOOL_OK;
	hp_use_enter(use);
	HP_TRY(hp_use_permit(use, err));
	if (hp_use_reserve_record(use)) {
		use->state = HP_USE_BEGUN;
		return HSMPOOL_OK;
	}
	hp_use_leave(use);
	use->state = HP_USE_OVER;
	return hp_fail(err, HSMPOOL_ERR_SYSTEM,
		       "the audit trail in %s cannot be written, and audit-failure = "
		       "refuse: nothing was done; make room there",
		       use->pool->options.audit);
}

CK_RV hp_use_refusal(hsmpool_status status, const hsmpool_error *err)
{
	bool is_told = status != HSMPOOL_OK && err && err->ck_rv != CKR_OK;
	return is_told ? err->ck_rv : CKR_DEVICE_ERROR;
}

/* --- the end ----------------------------------------------------------------------- */

/* Who wants to know: the audit trail, then the metrics. */
static void tell(struct hp_use *use, bool has_entered, CK_RV rv, hsmpool_status status)
{
	if (use->pool->audit)
		hp_use_write_record(use, rv, status);
	hp_metrics_count_use(use->pool, use->function, has_entered ? use->spent_ns : -1,
			     rv, status);
}

void hp_use_end(struct hp_use *use, CK_RV rv, hsmpool_status status, uint64_t output_len)
{
	if (use->state == HP_USE_OVER || !use->function)
		return;
	bool has_entered = use->request != 0;
	hp_use_enter(use);
	hp_use_leave(use);
	use->output_len += output_len;
	use->state = HP_USE_OVER;
	tell(use, has_entered, rv, status);
}

void hp_use_drop(struct hp_use *use)
{
	hp_use_leave(use);
	use->state = HP_USE_OVER;
	hp_audit_drop(&use->entry);
}

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
	return atomic_load_explicit(&pool->policies, memory_order_relaxed) != NULL;
}

/* Room in the audit trail. */
static hsmpool_status reserve_record(struct hp_use *use, hsmpool_error *err)
{
	(void)use;
	(void)err;
	return HSMPOOL_OK;
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
	hsmpool_status status = reserve_record(use, err);
	use->state = status == HSMPOOL_OK ? HP_USE_BEGUN : HP_USE_OVER;
	if (status != HSMPOOL_OK)
		hp_use_leave(use);
	return status;
}

CK_RV hp_use_refusal(hsmpool_status status, const hsmpool_error *err)
{
	bool is_told = status != HSMPOOL_OK && err && err->ck_rv != CKR_OK;
	return is_told ? err->ck_rv : CKR_DEVICE_ERROR;
}

/* --- the end ----------------------------------------------------------------------- */

/* Who wants to know: the audit trail, then the metrics. */
static void tell(const struct hp_use *use, bool has_entered, CK_RV rv,
		 hsmpool_status status)
{
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
}

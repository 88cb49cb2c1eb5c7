/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam behind which policy, audit trail, metrics and request ids live.
 *
 * Owns: their order, and the clock of a use, which stands still between the calls of an
 * operation in parts. Must not: take a lock, or make a module call.
 */
#include "pool/use.h"

#include "base/time.h"
#include "observe/request.h"
#include "pool/metrics.h"

/* --- the clock and the request ----------------------------------------------------- */

static void start_call(struct hp_use *use)
{
	use->outer_request = hp_request_current();
	if (use->request == 0)
		use->request =
			use->outer_request ? use->outer_request : hp_request_draw();
	hp_request_set(use->request);
	use->since_ns = hp_now_ns();
	use->state = HP_USE_RUNNING;
}

static void stop_call(struct hp_use *use, enum hp_use_state state)
{
	use->spent_ns += hp_now_ns() - use->since_ns;
	hp_request_set(use->outer_request);
	use->state = state;
}

/* --- the beginning ----------------------------------------------------------------- */

/* What may say no, in this order: the policy; the audit trail, which reserves the room
 * for the record. */
static hsmpool_status ask_leave(struct hp_use *use, hsmpool_error *err)
{
	return hp_use_ask_policy(use, err);
}

hsmpool_status hp_use_begin(struct hp_use *use, hsmpool_error *err)
{
	if (!use->function)
		return HSMPOOL_OK;
	start_call(use);
	hsmpool_status status = ask_leave(use, err);
	if (status != HSMPOOL_OK)
		stop_call(use, HP_USE_OVER);
	return status;
}

/* --- between calls ----------------------------------------------------------------- */

void hp_use_pause(struct hp_use *use)
{
	if (use->state == HP_USE_RUNNING)
		stop_call(use, HP_USE_PAUSED);
}

void hp_use_resume(struct hp_use *use)
{
	if (use->state == HP_USE_PAUSED)
		start_call(use);
}

/* --- the end ----------------------------------------------------------------------- */

/* Who wants to know: the audit trail, then the metrics. */
static void tell(const struct hp_use *use, bool has_begun, CK_RV rv,
		 hsmpool_status status, uint64_t output_len)
{
	(void)output_len;
	hp_metrics_count_use(use->pool, use->function, has_begun ? use->spent_ns : -1, rv,
			     status);
}

void hp_use_end(struct hp_use *use, CK_RV rv, hsmpool_status status, uint64_t output_len)
{
	if (use->state == HP_USE_OVER || !use->function)
		return;
	bool has_begun = use->state != HP_USE_NEW;
	if (use->state != HP_USE_RUNNING)
		start_call(use);
	stop_call(use, HP_USE_OVER);
	tell(use, has_begun, rv, status, output_len);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One value through one method, both halves of the work. */
#ifndef TEST_SUPPORT_PSEUDONYMIZED_H
#define TEST_SUPPORT_PSEUDONYMIZED_H

#include "pseudonym/method.h"

static inline hsmpool_status pseudonymized(const struct hp_method *method,
					   struct hp_method_worker *worker,
					   hsmpool_bytes value, struct hp_text *out,
					   bool *is_bad, hsmpool_error *err)
{
	struct hp_method_mac mac = { .is_known = false };
	hsmpool_status status = HSMPOOL_OK;
	*is_bad = false;
	if (hp_method_takes_hsm(method))
		status = hp_method_look(method, worker, value, &mac, err);
	if (hp_method_takes_hsm(method) && status == HSMPOOL_OK)
		status = hp_method_ask(method, worker, value, &mac, err);
	if (status != HSMPOOL_OK)
		return status;
	return hp_method_apply(method, worker, value, &mac, out, is_bad, err);
}

#endif

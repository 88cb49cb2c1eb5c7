/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting uses among the pools' metrics; everything else is counted in hsmpool_stats.
 */
#ifndef HP_POOL_METRICS_H
#define HP_POOL_METRICS_H

#include "pool/pool.h"

/* How a use ended. function: static; ns < 0: it never began, so that it took no time. No
 * lock; may be called while the pool is held only. */
void hp_metrics_count_use(hsmpool *pool, const char *function, int64_t ns, CK_RV rv,
			  hsmpool_status status);

#endif

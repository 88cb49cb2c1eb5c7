/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The canary probe: a real operation with a named key on an idle session.
 */
#ifndef HP_CRYPTO_CANARY_H
#define HP_CRYPTO_CANARY_H

#include "pool/pool.h"

/* Open the key, see that an operation with it works, hand the probe to the pool. */
hsmpool_status hp_canary_start(hsmpool *pool, const char *which,
			       hsmpool_deadline deadline, hsmpool_error *err);

#endif

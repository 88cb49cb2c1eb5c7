/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints of the audit trail: its head, authenticated by a key of the HSM.
 *
 * Whoever can write the files can forge a chain of hashes from any place on; not what a
 * key in the HSM said of its head. Made in the background as the chore of the audited
 * pool (pool/pool.h), so that no operation waits for it or fails by it.
 */
#ifndef HP_CRYPTO_CHECKPOINT_H
#define HP_CRYPTO_CHECKPOINT_H

#include <stddef.h>
#include <stdint.h>
#include <hsmpool/config.h>
#include "config/options.h"
#include "observe/audit.h"
#include "pool/pool.h"

/* How a key of a type authenticates, or verifies by the scheme of crypto.h. */
struct hp_checkpoint_way {
	CK_KEY_TYPE type;
	CK_MECHANISM_TYPE mechanism;
	const char *name;   /* of the mechanism, as records have it */
	const char *scheme; /* for hsmpool_mac_verify() and hsmpool_verify() */
	bool is_mac;
	bool takes_digest; /* SHA-256 of the message */
};
/* NULL: there is none of that name. */
const struct hp_checkpoint_way *hp_checkpoint_way(const char *mechanism);

/* The options of the pool that `audit-pool` names, into *out, which is cleared by the
 * caller; it stays as it is (zeroed) if the audited pool has the key itself, or there is
 * none. CONFIG: there is no such pool. */
hsmpool_status hp_checkpoint_options(const hsmpool_config *config,
				     const struct hp_pool_options *audited,
				     struct hp_pool_options *out, hsmpool_error *err);

/*
 * Have checkpoints made of pool's trail, if it has one. keeper: the options of the pool
 * whose token has the key, which are copied; NULL: it is the pool itself. That pool is
 * opened with the first checkpoint, so a token that is away disturbs nobody.
 */
hsmpool_status hp_checkpoint_start(hsmpool *pool, const struct hp_pool_options *keeper,
				   hsmpool_error *err);

#endif

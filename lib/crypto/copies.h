/* SPDX-License-Identifier: Apache-2.0 */
/*
 * key-copies = session: work with a session-object copy of a token key.
 *
 * SoftHSM2 reads two files for every use of a token key; a copy lives in its memory.
 * A copy is made on the pool's anchor session, one per key object, pool and
 * generation, and shared by every hsmpool_key that names the object.
 */
#ifndef HP_CRYPTO_COPIES_H
#define HP_CRYPTO_COPIES_H

#include "crypto/key.h"

/* Once per revalidate-interval, on the borrowed session: is the original still there,
 * and the same? KEY if not, and the copy goes. In the good case two atomic loads. */
hsmpool_status hp_copies_check_original(hsmpool_key *key, struct hp_session *s, CK_RV *rv,
					hsmpool_error *err);

/* A handle of the key was refused: do not offer the copy again in this generation. */
void hp_copies_forget(hsmpool_key *key);

/* The key is being closed: give up its part in the copy. */
void hp_copies_leave(hsmpool_key *key);

/* The original was destroyed: the copies of it go, whichever key holds them. */
void hp_copies_destroy_all(hsmpool *pool, const uint8_t fingerprint[static 32],
			   int64_t deadline_ns);

#endif

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

#include "crypto/attachment.h"
#include "crypto/key.h"

/* Once per revalidate-interval, on the borrowed session: is the original still there,
 * and the same? KEY if not, and the copy goes. In the good case one atomic load and
 * one look at the coarse clock. */
hsmpool_status hp_copies_check_original(hsmpool_key *key, struct hp_session *s, CK_RV *rv,
					hsmpool_error *err);

/* Under key->lock: what was true of the role's copy in generation from is so in to. */
void hp_copies_carry(hsmpool_key *key, enum hp_key_role role, uint64_t from, uint64_t to);

/* The key is being closed: give up its part in the copy. */
void hp_copies_leave(hsmpool_key *key);

/* The original is gone: destroy the copies of it, on session s, whoever holds them. */
void hp_copies_destroy(struct hp_attachment *attachment, struct hp_session *s,
		       const uint8_t fingerprint[static 32]);

/* Free what is left of the list; the objects died with the pool's sessions. */
void hp_copies_free(struct hp_attachment *attachment);

#endif

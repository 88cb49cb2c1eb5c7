/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a header to the key that opens it.
 *
 * Owns: which recipients are tried with which keys, how many, and what is said when
 * none fits. The header is not verified yet: it may only narrow a search on the token,
 * and what it makes the token do is bounded here.
 */
#ifndef HP_STREAM_UNLOCK_H
#define HP_STREAM_UNLOCK_H

#include <hsmpool/key.h>
#include "stream/container.h"
#include "stream/schedule.h"

enum {
	HP_CANDIDATES_MAX = 4,   /* keys of the token per recipient */
	HP_UNLOCK_TRIES_MAX = 32 /* private operations per container */
};

/*
 * Envelope: find the data key and derive the others into keys; the commitment and the
 * header's MAC are verified then. key NULL: the recipients' keys are looked for.
 *
 * KEY   no recipient is this key, or a key of this token
 * DATA  a recipient is, but does not unwrap; or the header was altered
 */
hsmpool_status hp_unlock(hsmpool *pool, hsmpool_key *key,
			 const struct hp_container *container, struct hp_keys *keys,
			 hsmpool_deadline deadline, hsmpool_error *err);

struct hp_key_set {
	size_t count;
	hsmpool_key *at[HP_CANDIDATES_MAX];
};

/* The token's keys that a recipient may mean: by id, else by label, and not of another
 * check value. None is not an error. */
hsmpool_status hp_key_set_find(hsmpool *pool, const struct hp_recipient *recipient,
			       hsmpool_deadline deadline, struct hp_key_set *out,
			       hsmpool_error *err);
void hp_key_set_clear(struct hp_key_set *set);

/* Direct: whether the key may be the one recipient's; KEY if it certainly is not. */
hsmpool_status hp_unlock_check_direct(hsmpool_key *key,
				      const struct hp_container *container,
				      hsmpool_deadline deadline, hsmpool_error *err);

/* KEY: no key of this token opens it, and which are asked for. */
hsmpool_status hp_unlock_not_found(const struct hp_container *container,
				   const hsmpool_key *key, hsmpool_error *err);

#endif

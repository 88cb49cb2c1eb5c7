/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lib/crypto keeps per pool: the configured key names, the lock that makes
 * "is it taken? then create" one step, the session-object copies of keys, and what the
 * token was found to have.
 *
 * It is the pool's attachment. Keys hold references, so a key that is closed after
 * its pool finds it alive and closed.
 */
#ifndef HP_CRYPTO_ATTACHMENT_H
#define HP_CRYPTO_ATTACHMENT_H

#include <pthread.h>
#include <stdatomic.h>
#include "config/options.h"
#include "crypto/token_facts.h"
#include "pool/pool.h"

struct hp_copy;

struct hp_attachment {
	atomic_uint references;
	atomic_bool is_closed; /* the pool is gone: make no call on it */
	struct hp_key_options *names;
	size_t name_count;
	/* Held over a creation, before a session is borrowed, never while one is held. */
	pthread_mutex_t creation;
	/* A leaf lock, held for list work only. */
	pthread_mutex_t lock;
	struct hp_copy *copies;            /* guarded by lock */
	struct hp_token_facts token_facts; /* atomics only */
};

/* Make it the pool's attachment; takes names over, also on failure. */
hsmpool_status hp_attachment_make(hsmpool *pool, struct hp_key_options *names,
				  size_t name_count, hsmpool_error *err);
/* NULL if the pool was opened without one. */
struct hp_attachment *hp_attachment_of(const hsmpool *pool);
struct hp_attachment *hp_attachment_hold(struct hp_attachment *attachment);
void hp_attachment_drop(struct hp_attachment **attachment);

/* The [key NAME] of that name, or NULL. */
const struct hp_key_options *hp_attachment_key(const struct hp_attachment *attachment,
					       const char *name);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the keeper does between two looks at the pools: a room above may have its thread
 * wait for something else besides.
 *
 * The guest must come back at the time that it is given, or when it is woken, and must
 * not be kept waiting by anybody. While it is not ready the keeper waits by itself.
 */
#ifndef HP_POOL_KEEPER_H
#define HP_POOL_KEEPER_H

#include <stdbool.h>
#include <stdint.h>
#include <hsmpool/pool.h>

/* All but serve and abandon are called with the keeper's lock held, one at a time. None
 * is called before the first pool is kept, nor between leave and the next. */
struct hp_keeper_guest {
	/* On the keeper's thread: can it be woken, and is there something to serve? */
	bool (*is_ready)(void);
	/* On the keeper's thread, without a lock, until until_ns. */
	void (*serve)(int64_t until_ns);
	/* From any thread: end serve(), also one that has not begun to wait yet. */
	void (*wake)(void);
	/* No pool is kept any more: nor does the keeper's thread exist. */
	void (*leave)(void);
	/* In a forked child: nothing of it is the child's. */
	void (*abandon)(void);
};

/* guest is static. There is one. */
void hp_keeper_invite(const struct hp_keeper_guest *guest);

/* From serve() only: each pool that is kept, which is not closed meanwhile. */
void hp_keeper_visit(void (*visit)(hsmpool *pool, void *user), void *user);

#endif

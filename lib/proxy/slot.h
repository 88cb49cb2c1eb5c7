/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual slots: the vendor module's, one by one, each with the pool of its token.
 *
 * A virtual slot id is the real one as first seen and stays when the real one moves. The
 * pool is made when the first virtual session is opened. The slot knows what the
 * application sees of it: how many virtual sessions are open, who is logged in.
 */
#ifndef HP_PROXY_SLOT_H
#define HP_PROXY_SLOT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include "pool/pool.h"

enum hp_vlogin { HP_VLOGIN_PUBLIC, HP_VLOGIN_USER, HP_VLOGIN_SO };

struct hp_vslot {
	CK_SLOT_ID id; /* the application's */
	pthread_mutex_t lock;
	/* guarded by lock */
	hsmpool *pool; /* NULL until first use; constant from then to C_Finalize or an
			* administrative call */
	enum hp_vlogin login;
	uint32_t sessions;    /* virtual ones that are open */
	uint32_t read_only;   /* of them */
	/* How the vendor's sessions behave, learned when the pool is made: a second
	 * operation of another kind on one session is refused (SoftHSM2). */
	bool is_exclusive;
	struct hp_vslot *next;
};

/* NULL: no such slot; the caller asks the vendor what it says to that. */
struct hp_vslot *hp_vslot_find(CK_SLOT_ID id);

/* The slot's pool, made if need be; the CK_RV is the vendor's. Not under slot->lock. */
CK_RV hp_vslot_pool(struct hp_vslot *slot, hsmpool **pool);

/* The id that the module knows it by now. */
CK_SLOT_ID hp_vslot_real_id(struct hp_vslot *slot);

CK_STATE hp_vslot_state(const struct hp_vslot *slot, bool is_read_write);

/* Every slot; used by C_Finalize and the tables. */
struct hp_vslot *hp_vslot_first(void);
void hp_vslots_free(void);

#endif

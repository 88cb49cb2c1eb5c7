/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual slots: the vendor module's, one by one, each with the pool of its token.
 *
 * A virtual slot id is the real one as first seen and stays when the real one moves. The
 * pool is made when the first virtual session is opened. The slot knows what the
 * application sees of it: how many virtual sessions are open, who is logged in. Slots
 * are made when first heard of, and stay until C_Finalize.
 */
#ifndef HP_PROXY_SLOT_H
#define HP_PROXY_SLOT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "pool/pool.h"

enum hp_vlogin { HP_VLOGIN_PUBLIC, HP_VLOGIN_USER, HP_VLOGIN_SO };

struct hp_vslot {
	CK_SLOT_ID id; /* the application's */
	/* Held over module calls: by who opens or ends virtual sessions, logs in or out,
	 * administers. Outside every other lock but the process's. */
	pthread_mutex_t change;
	pthread_mutex_t lock;
	/* guarded by lock */
	hsmpool *pool;   /* NULL until first use; constant from then to C_Finalize or an
			  * administrative call */
	CK_SLOT_ID real; /* the module's, as last seen */
	enum hp_vlogin login;
	bool has_logged_in; /* automatic login: the application called C_Login */
	bool is_refused;    /* automatic login: the PIN was, so no pool is tried again */
	uint32_t sessions;  /* virtual ones that are open */
	uint32_t read_only; /* of them */
	_Atomic uint32_t
		alive; /* virtual sessions, those that are closed but in use too */
	/* How the vendor's sessions behave, learned when the pool is made: a second
	 * operation of another kind on one session is refused (SoftHSM2). Constant while
	 * there are sessions. */
	bool is_exclusive;
	struct hp_vslot *next;
};

/* NULL: no such slot; the caller asks the vendor what it says to that. */
struct hp_vslot *hp_vslot_find(CK_SLOT_ID id);

/* The slot that the module knows by that id. NULL: it is not shown, or no memory. */
struct hp_vslot *hp_vslot_of_real(CK_SLOT_ID real);

/* A slot id that the module does not know, for asking it about one that is not shown. */
#define HP_NO_SLOT ((CK_SLOT_ID)~0ul)

/* The slot's pool, made if need be; the CK_RV is the vendor's. With slot->change held.
 * flags are those of the application's C_OpenSession. */
CK_RV hp_vslot_pool(struct hp_vslot *slot, CK_FLAGS flags, hsmpool **pool);
/* Close it: for administrative calls. With slot->change held, and no session open. */
void hp_vslot_drop_pool(struct hp_vslot *slot);

/* The id that the module knows it by now. */
CK_SLOT_ID hp_vslot_real_id(struct hp_vslot *slot);

CK_STATE hp_vslot_state(struct hp_vslot *slot, bool is_read_write);
enum hp_vlogin hp_vslot_login(struct hp_vslot *slot);
void hp_vslot_set_login(struct hp_vslot *slot, enum hp_vlogin login);

/* For C_Finalize: end every wait for a session; close and free all; forget all, because
 * some thread still uses them. */
void hp_vslots_shut(void);
void hp_vslots_free(void);
void hp_vslots_forget(void);
/* In a forked child. */
void hp_vslots_renew_lock(void);

#endif

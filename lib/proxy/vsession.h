/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual sessions: what the application holds; memory, no real session.
 *
 * The table maps handles to them. A call takes its session with hp_vsession_take(), so
 * that it has it alone (two threads on one session take turns), and gives it back.
 * C_CloseSession of a session in use takes it out of the table and returns; the call
 * that is inside cleans up when it ends. The memory of a session is never freed before
 * C_Finalize, only used again, so a look-up needs no lock.
 */
#ifndef HP_PROXY_VSESSION_H
#define HP_PROXY_VSESSION_H

#include <pthread.h>
#include <stdatomic.h>
#include "proxy/slot.h"

struct hp_search;     /* search.c */
struct hp_operations; /* operation.c */
struct hp_vobject;    /* object.c */

struct hp_vsession {
	/* 0 once closed, and while the place in the table is free */
	_Atomic CK_SESSION_HANDLE handle;
	/* constant while open */
	struct hp_vslot *slot;
	hsmpool *pool;
	bool is_read_write;
	/* References, the table's own and one for each call that is inside, and flags:
	 * vsession.c. */
	_Atomic uint32_t use;
	/* of who has taken it */
	struct hp_search *search;         /* NULL: none */
	struct hp_operations *operations; /* NULL: none was ever begun */
	struct hp_vobject *objects;       /* session objects that it made */
	/* the table's */
	uint32_t index;
	uint32_t generation;
	uint64_t life; /* of the table that it belongs to */
	struct hp_vsession *next_free;
};

/* NULL: no such session. Else it is the caller's alone until hp_vsession_give(). */
struct hp_vsession *hp_vsession_take(CK_SESSION_HANDLE handle);
void hp_vsession_give(struct hp_vsession *vs);

/* The same with slot->change held too, taken first: for login and administration. */
struct hp_vsession *hp_vsession_take_to_change(CK_SESSION_HANDLE handle);
void hp_vsession_give_changed(struct hp_vsession *vs);

/* search.c: the session ends, and its search with it. */
void hp_search_abandon(struct hp_vsession *vs);

/*
 * A real session that the vendor does not know either, to forward a call to that names
 * no session of ours: its handle is 0, and the module says what it says to that.
 */
struct hp_session hp_vsession_none(void);

/* How many are open. */
uint32_t hp_vsessions_count(void);

/* Where the table stands over C_Finalize and fork: free all when nobody is inside;
 * forget all, and leave what is in use behind; a child's lock. */
void hp_vsessions_free(void);
void hp_vsessions_forget(void);
void hp_vsessions_renew_lock(void);

/* Asking the vendor: the answer it gives to these arguments with a session handle that
 * does not exist. For calls on a session that we do not know either. */
#define HP_NO_SESSION ((CK_SESSION_HANDLE)0)

#endif

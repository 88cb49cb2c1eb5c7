/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual sessions: what the application holds; memory, no real session.
 *
 * The table maps handles to them. A call takes its session with hp_vsession_take(),
 * which locks it (two threads on one session take turns, S35), and gives it back.
 * C_CloseSession of a session in use takes it out of the table, marks it and returns;
 * the call that is inside cleans up when it ends.
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
	CK_SESSION_HANDLE handle;
	struct hp_vslot *slot;
	hsmpool *pool;
	bool is_read_write;
	_Atomic uint32_t references;
	_Atomic bool is_closed;
	pthread_mutex_t lock;
	/* guarded by lock */
	struct hp_search *search;         /* NULL: none */
	struct hp_operations *operations; /* NULL: none was ever begun */
	struct hp_vobject *objects;       /* session objects that it made */
};

/* NULL: no such session. Locked, referenced; hp_vsession_give() undoes both. */
struct hp_vsession *hp_vsession_take(CK_SESSION_HANDLE handle);
void hp_vsession_give(struct hp_vsession *vs);

CK_RV hp_vsession_open(struct hp_vslot *slot, CK_FLAGS flags, CK_SESSION_HANDLE *handle);
CK_RV hp_vsession_close(CK_SESSION_HANDLE handle);
CK_RV hp_vsession_close_all(struct hp_vslot *slot);

/*
 * Asking the vendor: the answer it gives to these arguments with a session handle that
 * does not exist. For calls on a session that we do not know either.
 */
#define HP_NO_SESSION ((CK_SESSION_HANDLE)0)

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual object handles: what the application holds, and the real handle behind it.
 *
 * In the good case a table look-up: same object, same handle, for as long as the vendor
 * module would keep it. After a loss (the pool's generation rose) the object is found
 * again by selector and fingerprint on the session at hand, and refused if anything
 * differs. Session objects belong to the virtual session that made them and are destroyed
 * with it; the real session that owns them is marked (session->objects).
 *
 * The table's lock is a leaf, not held over module calls.
 */
#ifndef HP_PROXY_OBJECT_H
#define HP_PROXY_OBJECT_H

#include "p11/session.h"
#include "proxy/vsession.h"

/* The real handle to use on s. An unknown virtual handle gives CK_INVALID_HANDLE and
 * CKR_OK: the module then says what it says to that. */
CK_RV hp_object_real(struct hp_vsession *vs, struct hp_session *s, CK_OBJECT_HANDLE handle,
		     CK_OBJECT_HANDLE *real);

/* The virtual handle of a real one that a search on s found, or of a new object. For
 * session objects that this call made, owner is the virtual session, else NULL. */
CK_RV hp_object_virtual(struct hp_vsession *vs, struct hp_session *s, CK_OBJECT_HANDLE real,
			struct hp_vsession *owner, CK_OBJECT_HANDLE *handle);

/* It was destroyed. */
void hp_object_forget(struct hp_vsession *vs, CK_OBJECT_HANDLE handle);
/* Destroy the session objects of a virtual session that ends. */
void hp_objects_of_session_destroy(struct hp_vsession *vs);
/* Logout: private ones; the last session's end: all. */
void hp_objects_forget_private(struct hp_vslot *slot);
void hp_objects_forget_all(struct hp_vslot *slot);

#endif

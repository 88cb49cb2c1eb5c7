/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual object handles: what the application holds, and the real handle behind it.
 *
 * In the good case a table look-up without a lock: same object, same handle, for as long
 * as the vendor module would keep it. What an object is, is read when it is first used,
 * or found by a search that is not too large. After a loss (the pool's generation rose)
 * it is found again by that on the session at hand, and refused if anything differs; what
 * was never read cannot be found again.
 *
 * Session objects belong to the virtual session that made them and are destroyed with
 * it; the real session that owns them is marked (session->objects).
 *
 * The table's lock is a leaf, not held over module calls.
 */
#ifndef HP_PROXY_OBJECT_H
#define HP_PROXY_OBJECT_H

#include "p11/session.h"
#include "proxy/vsession.h"

/* The real handle to use on s, a session of vs->pool. A virtual handle that is unknown,
 * or whose object is gone, gives CK_INVALID_HANDLE and CKR_OK: the module then says what
 * it says to that. Not CKR_OK: the session was lost while the object was looked for. */
CK_RV hp_object_real(struct hp_vsession *vs, struct hp_session *s,
		     CK_OBJECT_HANDLE handle, CK_OBJECT_HANDLE *real);

/* After the module said that it does not know *real: it may be from before a restart that
 * nobody has noticed yet. True: the object was found elsewhere, and *real is where. */
bool hp_object_has_moved(struct hp_vsession *vs, struct hp_session *s,
			 CK_OBJECT_HANDLE handle, CK_OBJECT_HANDLE *real);

/* What is known of it, read on s if need be. The same answers; *facts is all zeros where
 * the module does not tell. */
struct hp_object_facts {
	bool is_token;
	bool is_private;
};
CK_RV hp_object_facts(struct hp_vsession *vs, struct hp_session *s,
		      CK_OBJECT_HANDLE handle, CK_OBJECT_HANDLE *real,
		      struct hp_object_facts *facts);

/* The virtual handle of a real one that a search on s found, or of a new object. For
 * session objects that this call made, owner is the virtual session, else NULL. Fails
 * with CKR_HOST_MEMORY only. */
CK_RV hp_object_virtual(struct hp_vsession *vs, struct hp_session *s,
			CK_OBJECT_HANDLE real, struct hp_vsession *owner,
			CK_OBJECT_HANDLE *handle);

/* The same for all that a search on s found, in place. Objects that were used before a
 * loss are found again first, so that they keep their handles. */
CK_RV hp_objects_found(struct hp_vsession *vs, struct hp_session *s,
		       CK_OBJECT_HANDLE *handles, CK_ULONG count);

/* It was changed: what it is must be read again. */
void hp_object_changed(CK_OBJECT_HANDLE handle);
/* It was destroyed. */
void hp_object_forget(struct hp_vsession *vs, CK_OBJECT_HANDLE handle);

/* Destroy the session objects of a virtual session that ends, while its login stands.
 * With it taken, or when nobody else can use it any more. */
void hp_objects_of_session_destroy(struct hp_vsession *vs);

/* After a logout: private ones. At the last session's end, before the pool goes: all. */
void hp_objects_forget_private(struct hp_vslot *slot);
void hp_objects_forget_all(struct hp_vslot *slot);

/* Where the table stands over C_Finalize and fork: free all when nobody is inside; leave
 * it behind and begin anew when somebody is; a child's lock. */
void hp_objects_free(void);
void hp_objects_abandon(void);
void hp_objects_renew_lock(void);

#endif

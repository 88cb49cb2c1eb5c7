/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of virtual objects, for object.c.
 *
 * Owns: the numbers, the look-up both ways (virtual to entry, real to entry), what is
 * known of each object, whose session object it is. Knows nothing of PKCS#11 calls.
 *
 * Entries are never freed before C_Finalize, only used again under another number, so
 * the look-up by number needs no lock: what it read is good if the sequence did not
 * change meanwhile. Everything else is done under the table's lock, a leaf.
 */
#ifndef HP_PROXY_OBJECT_TABLE_H
#define HP_PROXY_OBJECT_TABLE_H

#include "proxy/object_names.h"
#include "proxy/vsession.h"

/* A copy of an entry, to work with outside the lock. */
struct hp_vobject_view {
	struct hp_vslot *slot;
	CK_OBJECT_HANDLE real;
	uint64_t generation;
	bool is_settled;     /* was read, or cannot be */
	bool must_be_public; /* not used before a logout: a private one is gone */
	bool has_names;
	/* Of a session object: the real session that it is gone with. */
	struct hp_session *maker;
	uint32_t opening;
};

/* Which object it is on the module. */
struct hp_vobject_place {
	struct hp_vslot *slot;
	CK_OBJECT_HANDLE real;
	uint64_t generation;
};

/* The hot path: true if the handle is good in that slot and generation, and settled. */
bool hp_table_look_up(const struct hp_vslot *slot, uint64_t generation,
		      CK_OBJECT_HANDLE handle, CK_OBJECT_HANDLE *real);

/* Another number whenever the object may be another, or something else is known of it.
 * 0: no such handle. Takes no lock. */
uint32_t hp_table_stamp(CK_OBJECT_HANDLE handle);

/* False: no such handle. names may be NULL. */
bool hp_table_view(CK_OBJECT_HANDLE handle, struct hp_vobject_view *view,
		   struct hp_vobject_names *names);

/* The handles of objects, made where there is none yet; 0: no memory. is_new: whatever
 * had that place is gone. */
CK_OBJECT_HANDLE hp_table_handle(const struct hp_vobject_place *place, bool is_new);
/* 0: there is none yet. */
CK_OBJECT_HANDLE hp_table_handle_at(const struct hp_vobject_place *place);
/* For many of one slot and generation, in place. False: no memory. */
bool hp_table_handles(struct hp_vslot *slot, uint64_t generation,
		      CK_OBJECT_HANDLE *handles, CK_ULONG count);

/* What it is was read (names), or cannot be (NULL); or must be read again. Nothing if
 * the entry has changed since the view was taken. */
void hp_table_settle(CK_OBJECT_HANDLE handle, const struct hp_vobject_view *view,
		     const struct hp_vobject_names *names);
void hp_table_unsettle(CK_OBJECT_HANDLE handle);
/* It was found again. */
void hp_table_move(CK_OBJECT_HANDLE handle, CK_OBJECT_HANDLE real, uint64_t generation);

/* A session object of owner that was made on s. */
void hp_table_set_owner(CK_OBJECT_HANDLE handle, struct hp_vsession *owner,
			struct hp_session *s);
/* One of owner's; 0: none. */
CK_OBJECT_HANDLE hp_table_first_of(const struct hp_vsession *owner);

/* is_destroyed: a real session that owned it does so no longer. */
void hp_table_drop(CK_OBJECT_HANDLE handle, bool is_destroyed);
void hp_table_drop_private(struct hp_vslot *slot);
void hp_table_drop_all(struct hp_vslot *slot);

/*
 * After a loss. Which handle that was given in another generation may be the object at
 * this place: one with these names, or, names being NULL, a session object that was
 * there. 0: none.
 */
CK_OBJECT_HANDLE hp_table_recognise(const struct hp_vobject_place *place,
				    const struct hp_vobject_names *names);
/* Drop what is older and cannot be found again; once per slot and generation. */
void hp_table_drop_nameless(struct hp_vslot *slot, uint64_t generation);

#endif

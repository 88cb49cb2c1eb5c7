/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of virtual objects.
 *
 * A number is an entry's index and how often it was used before. Entries live in chunks
 * that double in size and do not move; readers without the lock load an entry's fields
 * between two loads of its sequence, which is odd while a writer is at it.
 */
#include "proxy/object_table.h"

#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "proxy/object.h"

#define INDEX_BITS  24
#define INDEX_MASK  (((CK_OBJECT_HANDLE)1 << INDEX_BITS) - 1)
#define FIRST_CHUNK 64u
#define CHUNKS      18 /* 64 * (2^18 - 1) is nearly 2^24 */
#define CAPACITY    (FIRST_CHUNK * ((1u << CHUNKS) - 1))

struct hp_vobject {
	_Atomic uint32_t sequence;
	/* Written under table.lock, with an odd sequence; read without. */
	_Atomic bool is_settled;
	_Atomic CK_OBJECT_HANDLE handle; /* 0: free */
	_Atomic CK_OBJECT_HANDLE real;
	_Atomic uint64_t generation;
	struct hp_vslot *_Atomic slot;
	/* guarded by table.lock */
	bool must_be_public;
	bool is_listed; /* in its bucket; not if another entry has the same place */
	uint32_t index;
	struct hp_vobject *next; /* of the bucket, or of the free ones */
	struct hp_packed_names *names;
	struct hp_vsession *owner;
	struct hp_vobject *owner_next, *owner_previous;
	struct hp_session *maker; /* the real session that owns it */
	uint32_t opening;         /* of the maker */
	uint32_t uses;            /* how often the entry was used before */
	uint64_t born;            /* which of all handles this one was */
};

static struct {
	pthread_mutex_t lock;
	struct hp_vobject *_Atomic chunks[CHUNKS];
	/* guarded by lock */
	uint32_t used; /* entries that were ever in use */
	uint32_t live;
	uint64_t born;
	struct hp_vobject *free;
	struct hp_vobject **buckets;
	uint32_t bucket_count; /* a power of two, or 0 */
	/* which slots' outdated handles were asked for, and in which generation */
	struct {
		struct hp_vslot *slot;
		uint64_t generation;
	} refreshed[16];
} table = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* --- by number ------------------------------------------------------------------ */

static struct hp_vobject *entry_at(uint32_t index)
{
	uint32_t from_first = index + FIRST_CHUNK;
	unsigned chunk =
		(unsigned)(__builtin_clz(FIRST_CHUNK) - __builtin_clz(from_first));
	struct hp_vobject *entries =
		atomic_load_explicit(&table.chunks[chunk], memory_order_acquire);
	return entries ? &entries[from_first - (FIRST_CHUNK << chunk)] : NULL;
}

/* The entry that the number would be of. */
static struct hp_vobject *entry_of(CK_OBJECT_HANDLE handle)
{
	uint32_t number = (uint32_t)(handle & INDEX_MASK);
	return number == 0 || number > CAPACITY ? NULL : entry_at(number - 1);
}

bool hp_table_look_up(const struct hp_vslot *slot, uint64_t generation,
		      CK_OBJECT_HANDLE handle, CK_OBJECT_HANDLE *real)
{
	struct hp_vobject *e = entry_of(handle);
	if (!e)
		return false;
	/* What follows is read no earlier (acquire), the sequence again no earlier than
	 * that (acquire of the fields). */
	uint32_t sequence = atomic_load_explicit(&e->sequence, memory_order_acquire);
	bool is_good = atomic_load_explicit(&e->handle, memory_order_acquire) == handle &&
		       atomic_load_explicit(&e->slot, memory_order_acquire) == slot &&
		       atomic_load_explicit(&e->generation, memory_order_acquire) ==
			       generation &&
		       atomic_load_explicit(&e->is_settled, memory_order_acquire);
	*real = atomic_load_explicit(&e->real, memory_order_acquire);
	return is_good && !(sequence & 1) &&
	       atomic_load_explicit(&e->sequence, memory_order_relaxed) == sequence;
}

uint32_t hp_table_stamp(CK_OBJECT_HANDLE handle)
{
	struct hp_vobject *e = entry_of(handle);
	if (!e)
		return 0;
	uint32_t sequence = atomic_load_explicit(&e->sequence, memory_order_acquire);
	bool is_good = atomic_load_explicit(&e->handle, memory_order_acquire) == handle;
	return is_good && !(sequence & 1) ? sequence + 1 : 0;
}

static void begin_write(struct hp_vobject *e)
{
	atomic_fetch_add_explicit(&e->sequence, 1, memory_order_relaxed);
}

static void end_write(struct hp_vobject *e)
{
	atomic_fetch_add_explicit(&e->sequence, 1, memory_order_release);
}

/* Stores that no reader sees before the odd sequence. */
#define SET(field, value) atomic_store_explicit(&(field), (value), memory_order_release)
/* Under the lock. */
#define GET(field) atomic_load_explicit(&(field), memory_order_relaxed)

static struct hp_vobject *find_locked(CK_OBJECT_HANDLE handle)
{
	struct hp_vobject *e = entry_of(handle);
	return e && handle != CK_INVALID_HANDLE && GET(e->handle) == handle ? e : NULL;
}

/* The slot's next entry from *at on, which is moved behind it; NULL: there is none. */
static struct hp_vobject *next_of_locked(const struct hp_vslot *slot, uint32_t *at)
{
	while (*at < table.used) {
		struct hp_vobject *e = entry_at((*at)++);
		if (GET(e->handle) && GET(e->slot) == slot)
			return e;
	}
	return NULL;
}

/* --- by place ------------------------------------------------------------------- */

static struct hp_vobject **bucket_of(const struct hp_vobject_place *place)
{
	uint64_t x = (uint64_t)place->real * 0x9e3779b97f4a7c15u;
	x ^= (uint64_t)(uintptr_t)place->slot + place->generation;
	x *= 0xff51afd7ed558ccdu;
	return &table.buckets[(x >> 32) & (table.bucket_count - 1)];
}

static struct hp_vobject_place place_of(const struct hp_vobject *e)
{
	return (struct hp_vobject_place){ GET(e->slot), GET(e->real),
					  GET(e->generation) };
}

static struct hp_vobject *find_place_locked(const struct hp_vobject_place *place)
{
	if (table.bucket_count == 0)
		return NULL;
	struct hp_vobject *e = *bucket_of(place);
	while (e && !(GET(e->real) == place->real && GET(e->slot) == place->slot &&
		      GET(e->generation) == place->generation))
		e = e->next;
	return e;
}

static void list_locked(struct hp_vobject *e)
{
	struct hp_vobject_place place = place_of(e);
	struct hp_vobject **bucket = bucket_of(&place);
	e->next = *bucket;
	*bucket = e;
	e->is_listed = true;
}

static void unlist_locked(struct hp_vobject *e)
{
	if (!e->is_listed)
		return;
	struct hp_vobject_place place = place_of(e);
	struct hp_vobject **at = bucket_of(&place);
	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	e->is_listed = false;
}

/* Room for one more; the buckets that there are do, if there is no memory for others. */
static bool grow_buckets_locked(void)
{
	if (table.live < table.bucket_count)
		return true;
	uint32_t count = table.bucket_count ? 2 * table.bucket_count : FIRST_CHUNK;
	struct hp_vobject **buckets = calloc(count, sizeof(struct hp_vobject *));
	if (!buckets)
		return table.bucket_count > 0;
	free(table.buckets);
	table.buckets = buckets;
	table.bucket_count = count;
	for (uint32_t i = 0; i < table.used; i++) {
		struct hp_vobject *e = entry_at(i);
		if (e->is_listed)
			list_locked(e);
	}
	return true;
}

/* --- entries -------------------------------------------------------------------- */

/* One that was never used. */
static struct hp_vobject *unused_entry_locked(void)
{
	if (table.used >= CAPACITY)
		return NULL;
	struct hp_vobject *e = entry_at(table.used);
	if (!e) {
		/* the first of its chunk: as many as all before it, and 64 more */
		struct hp_vobject *entries =
			calloc(table.used + FIRST_CHUNK, sizeof(*entries));
		if (!entries)
			return NULL;
		unsigned chunk = (unsigned)(__builtin_clz(FIRST_CHUNK) -
					    __builtin_clz(table.used + FIRST_CHUNK));
		SET(table.chunks[chunk], entries);
		e = entries;
	}
	e->index = table.used++;
	SET(e->handle, 0);
	return e;
}

/* No number is given twice. */
static CK_OBJECT_HANDLE number_of(const struct hp_vobject *e)
{
	return ((CK_OBJECT_HANDLE)e->uses << INDEX_BITS) | (e->index + 1);
}

static struct hp_vobject *add_locked(const struct hp_vobject_place *place)
{
	if (!grow_buckets_locked())
		return NULL;
	struct hp_vobject *e = table.free;
	if (e)
		table.free = e->next;
	else
		e = unused_entry_locked();
	if (!e)
		return NULL;
	table.live++;
	e->must_be_public = false;
	e->born = table.born++;
	begin_write(e);
	SET(e->slot, place->slot);
	SET(e->real, place->real);
	SET(e->generation, place->generation);
	SET(e->is_settled, false);
	SET(e->handle, number_of(e));
	end_write(e);
	list_locked(e);
	return e;
}

static void leave_owner_locked(struct hp_vobject *e)
{
	if (!e->owner)
		return;
	if (e->owner_previous)
		e->owner_previous->owner_next = e->owner_next;
	else
		e->owner->objects = e->owner_next;
	if (e->owner_next)
		e->owner_next->owner_previous = e->owner_previous;
	e->owner = NULL;
	e->owner_next = e->owner_previous = NULL;
}

static void drop_locked(struct hp_vobject *e, bool is_destroyed)
{
	if (e->maker && is_destroyed)
		hp_session_object_gone(e->maker, e->opening);
	leave_owner_locked(e);
	unlist_locked(e);
	free(e->names);
	e->names = NULL;
	e->maker = NULL;
	begin_write(e);
	SET(e->handle, 0);
	SET(e->is_settled, false);
	end_write(e);
	e->uses++;
	e->next = table.free;
	table.free = e;
	table.live--;
}

/* --- what is known of an object -------------------------------------------------- */

bool hp_table_view(CK_OBJECT_HANDLE handle, struct hp_vobject_view *view,
		   struct hp_vobject_names *names)
{
	pthread_mutex_lock(&table.lock);
	const struct hp_vobject *e = find_locked(handle);
	if (e) {
		*view = (struct hp_vobject_view){
			.slot = GET(e->slot),
			.real = GET(e->real),
			.generation = GET(e->generation),
			.is_settled = GET(e->is_settled),
			.must_be_public = e->must_be_public,
			.has_names = e->names,
			.maker = e->maker,
			.opening = e->opening,
		};
		if (names && e->names)
			hp_names_unpack(e->names, names);
	}
	pthread_mutex_unlock(&table.lock);
	return e;
}

static void set_settled(struct hp_vobject *e, bool is_settled)
{
	begin_write(e);
	SET(e->is_settled, is_settled);
	end_write(e);
}

void hp_table_settle(CK_OBJECT_HANDLE handle, const struct hp_vobject_view *view,
		     const struct hp_vobject_names *names)
{
	struct hp_packed_names *packed = names ? hp_names_pack(names) : NULL;
	pthread_mutex_lock(&table.lock);
	struct hp_vobject *e = find_locked(handle);
	bool is_as_seen = e && GET(e->generation) == view->generation &&
			  GET(e->real) == view->real && !GET(e->is_settled);
	if (is_as_seen && (packed || !names)) {
		struct hp_packed_names *old = e->names;
		e->names = packed;
		packed = old;
		set_settled(e, true);
	}
	pthread_mutex_unlock(&table.lock);
	free(packed);
}

void hp_table_unsettle(CK_OBJECT_HANDLE handle)
{
	pthread_mutex_lock(&table.lock);
	struct hp_vobject *e = find_locked(handle);
	if (e) {
		free(e->names);
		e->names = NULL;
		set_settled(e, false);
	}
	pthread_mutex_unlock(&table.lock);
}

/* Two handles of one object: searches give the one that was there first. */
static void take_place_locked(struct hp_vobject *e)
{
	struct hp_vobject_place place = place_of(e);
	struct hp_vobject *other = find_place_locked(&place);
	if (other && other->born < e->born)
		return;
	if (other)
		unlist_locked(other);
	list_locked(e);
}

static void move_locked(struct hp_vobject *e, CK_OBJECT_HANDLE real, uint64_t generation)
{
	unlist_locked(e);
	begin_write(e);
	SET(e->real, real);
	SET(e->generation, generation);
	end_write(e);
	take_place_locked(e);
}

/* A search in a restart that nobody had noticed yet may have given the object a second
 * handle: as there is only one of these names, it is that of both. */
static void move_twins_locked(const struct hp_vobject *moved)
{
	struct hp_vobject *e;
	for (uint32_t at = 0; (e = next_of_locked(GET(moved->slot), &at));) {
		if (e != moved && !e->owner &&
		    GET(e->generation) <= GET(moved->generation) &&
		    hp_names_are_same(e->names, moved->names))
			move_locked(e, GET(moved->real), GET(moved->generation));
	}
}

void hp_table_move(CK_OBJECT_HANDLE handle, CK_OBJECT_HANDLE real, uint64_t generation)
{
	pthread_mutex_lock(&table.lock);
	struct hp_vobject *e = find_locked(handle);
	if (e && GET(e->generation) <= generation) {
		move_locked(e, real, generation);
		if (!e->owner)
			move_twins_locked(e);
	}
	pthread_mutex_unlock(&table.lock);
}

/* --- handles -------------------------------------------------------------------- */

static CK_OBJECT_HANDLE handle_locked(const struct hp_vobject_place *place, bool is_new)
{
	struct hp_vobject *e = find_place_locked(place);
	if (e && is_new) {
		drop_locked(e, true);
		e = NULL;
	}
	if (!e)
		e = add_locked(place);
	return e ? GET(e->handle) : CK_INVALID_HANDLE;
}

CK_OBJECT_HANDLE hp_table_handle_at(const struct hp_vobject_place *place)
{
	pthread_mutex_lock(&table.lock);
	const struct hp_vobject *e = find_place_locked(place);
	CK_OBJECT_HANDLE handle = e ? GET(e->handle) : CK_INVALID_HANDLE;
	pthread_mutex_unlock(&table.lock);
	return handle;
}

CK_OBJECT_HANDLE hp_table_handle(const struct hp_vobject_place *place, bool is_new)
{
	pthread_mutex_lock(&table.lock);
	CK_OBJECT_HANDLE handle = handle_locked(place, is_new);
	pthread_mutex_unlock(&table.lock);
	return handle;
}

bool hp_table_handles(struct hp_vslot *slot, uint64_t generation,
		      CK_OBJECT_HANDLE *handles, CK_ULONG count)
{
	bool ok = true;
	pthread_mutex_lock(&table.lock);
	for (CK_ULONG i = 0; ok && i < count; i++) {
		struct hp_vobject_place place = { slot, handles[i], generation };
		handles[i] = handle_locked(&place, false);
		ok = handles[i] != CK_INVALID_HANDLE;
	}
	pthread_mutex_unlock(&table.lock);
	return ok;
}

/* --- session objects ------------------------------------------------------------ */

void hp_table_set_owner(CK_OBJECT_HANDLE handle, struct hp_vsession *owner,
			struct hp_session *s)
{
	pthread_mutex_lock(&table.lock);
	struct hp_vobject *e = find_locked(handle);
	if (e && !e->owner) {
		e->maker = s;
		e->opening = hp_session_object_made(s);
		e->owner = owner;
		e->owner_next = owner->objects;
		if (owner->objects)
			owner->objects->owner_previous = e;
		owner->objects = e;
	}
	pthread_mutex_unlock(&table.lock);
}

CK_OBJECT_HANDLE hp_table_first_of(const struct hp_vsession *owner)
{
	pthread_mutex_lock(&table.lock);
	CK_OBJECT_HANDLE handle =
		owner->objects ? GET(owner->objects->handle) : CK_INVALID_HANDLE;
	pthread_mutex_unlock(&table.lock);
	return handle;
}

/* --- the end of handles --------------------------------------------------------- */

void hp_table_drop(CK_OBJECT_HANDLE handle, bool is_destroyed)
{
	pthread_mutex_lock(&table.lock);
	struct hp_vobject *e = find_locked(handle);
	if (e)
		drop_locked(e, is_destroyed);
	pthread_mutex_unlock(&table.lock);
}

static void log_out_locked(struct hp_vobject *e)
{
	if (e->names && e->names->is_private) {
		drop_locked(e, true);
	} else if (!e->names) {
		e->must_be_public = true;
		set_settled(e, false);
	}
}

void hp_table_drop_private(struct hp_vslot *slot)
{
	struct hp_vobject *e;
	pthread_mutex_lock(&table.lock);
	for (uint32_t at = 0; (e = next_of_locked(slot, &at));)
		log_out_locked(e);
	pthread_mutex_unlock(&table.lock);
}

void hp_table_drop_all(struct hp_vslot *slot)
{
	struct hp_vobject *e;
	pthread_mutex_lock(&table.lock);
	for (uint32_t at = 0; (e = next_of_locked(slot, &at));)
		drop_locked(e, true);
	pthread_mutex_unlock(&table.lock);
}

/* --- after a loss --------------------------------------------------------------- */

/* In the same generation it may have moved in a restart that nobody has noticed yet;
 * another thread may have found it in a newer one already. */
static bool may_be_at(const struct hp_vobject *e, const struct hp_vobject_place *place,
		      const struct hp_vobject_names *names)
{
	bool is_there = GET(e->real) == place->real;
	if (!names)
		return e->owner && is_there && GET(e->generation) != place->generation;
	return !e->owner && hp_names_match(e->names, names) &&
	       (is_there || GET(e->generation) <= place->generation);
}

CK_OBJECT_HANDLE hp_table_recognise(const struct hp_vobject_place *place,
				    const struct hp_vobject_names *names)
{
	CK_OBJECT_HANDLE found = CK_INVALID_HANDLE;
	const struct hp_vobject *e;
	uint32_t at = 0;
	pthread_mutex_lock(&table.lock);
	while (found == CK_INVALID_HANDLE && (e = next_of_locked(place->slot, &at)))
		if (may_be_at(e, place, names))
			found = GET(e->handle);
	pthread_mutex_unlock(&table.lock);
	return found;
}

/* Whether this is the first time that it is asked for the slot and generation. (Two
 * slots that share a place only ask more often.) */
static bool begin_refresh_locked(struct hp_vslot *slot, uint64_t generation)
{
	size_t at = ((uintptr_t)slot >> 6) % HP_ARRAY_LEN(table.refreshed);
	if (table.refreshed[at].slot == slot &&
	    table.refreshed[at].generation >= generation)
		return false;
	table.refreshed[at].slot = slot;
	table.refreshed[at].generation = generation;
	return true;
}

void hp_table_drop_nameless(struct hp_vslot *slot, uint64_t generation)
{
	struct hp_vobject *e;
	pthread_mutex_lock(&table.lock);
	bool is_first = begin_refresh_locked(slot, generation);
	for (uint32_t at = 0; is_first && (e = next_of_locked(slot, &at));) {
		bool is_known = e->owner || (e->names && e->names->can_be_found);
		if (GET(e->generation) < generation && !is_known)
			drop_locked(e, false);
	}
	pthread_mutex_unlock(&table.lock);
}

/* --- the table itself ----------------------------------------------------------- */

static void empty_locked(void)
{
	for (unsigned i = 0; i < CHUNKS; i++)
		SET(table.chunks[i], NULL);
	table.used = table.live = table.bucket_count = 0;
	table.free = NULL;
	table.buckets = NULL;
	memset(table.refreshed, 0, sizeof(table.refreshed));
}

void hp_objects_free(void)
{
	pthread_mutex_lock(&table.lock);
	for (uint32_t i = 0; i < table.used; i++)
		free(entry_at(i)->names);
	for (unsigned i = 0; i < CHUNKS; i++)
		free(GET(table.chunks[i]));
	free(table.buckets);
	empty_locked();
	pthread_mutex_unlock(&table.lock);
}

void hp_objects_abandon(void)
{
	pthread_mutex_lock(&table.lock);
	empty_locked();
	pthread_mutex_unlock(&table.lock);
}

void hp_objects_renew_lock(void)
{
	pthread_mutex_init(&table.lock, NULL);
}

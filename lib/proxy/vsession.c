/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of virtual sessions: opening, finding, closing them.
 *
 * Owns: the table, the counts in the slots, what happens when the last session closes.
 * A handle is a place in the table and the generation of its use, so an old handle is
 * not mistaken for a new session's. Places are used again in the order of their release.
 *
 * Locks: slot->change is held by who opens or has closed; table.lock is a leaf, and so is
 * turns.lock, which only those take who meet another in the same session. A look-up takes
 * none: places are never freed while someone is inside.
 */
#include "proxy/vsession.h"

#include <stdlib.h>
#include <string.h>
#include "p11/slot.h"
#include "proxy/calls.h"
#include "proxy/login.h"
#include "proxy/object.h"
#include "proxy/operation.h"
#include "proxy/process.h"

#define CHUNK       256
#define MOST_CHUNKS 4096 /* a million sessions */
#define INDEX_BITS  20
/* Handles fit 31 bits: some programs keep them in an int. */
#define MOST_GENERATIONS 2047

static struct {
	_Atomic(struct hp_vsession *) chunks[MOST_CHUNKS];
	pthread_mutex_t lock;
	/* guarded by lock */
	uint32_t count; /* places that exist */
	uint64_t life;  /* of the table: what was left behind belongs to an older one */
	struct hp_vsession *oldest_free, *newest_free;
} table = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* For the metrics. */
static _Atomic uint32_t open_count;

/* --- places ------------------------------------------------------------------------- */

static struct hp_vsession *add_chunk_locked(void)
{
	uint32_t number = table.count / CHUNK;
	if (number == MOST_CHUNKS)
		return NULL;
	struct hp_vsession *chunk = calloc(CHUNK, sizeof(*chunk));
	if (!chunk)
		return NULL;
	for (uint32_t i = 0; i < CHUNK; i++) {
		chunk[i].index = number * CHUNK + i;
		chunk[i].life = table.life;
	}
	atomic_store(&table.chunks[number], chunk);
	return chunk;
}

static struct hp_vsession *take_place(void)
{
	pthread_mutex_lock(&table.lock);
	struct hp_vsession *vs = table.oldest_free;
	if (vs) {
		table.oldest_free = vs->next_free;
		if (!table.oldest_free)
			table.newest_free = NULL;
	} else {
		uint32_t at = table.count % CHUNK;
		struct hp_vsession *chunk =
			at ? atomic_load(&table.chunks[table.count / CHUNK])
			   : add_chunk_locked();
		vs = chunk ? &chunk[at] : NULL;
		table.count += vs != NULL;
	}
	pthread_mutex_unlock(&table.lock);
	return vs;
}

static void free_place(struct hp_vsession *vs)
{
	pthread_mutex_lock(&table.lock);
	if (vs->life == table.life) {
		vs->next_free = NULL;
		if (table.newest_free)
			table.newest_free->next_free = vs;
		else
			table.oldest_free = vs;
		table.newest_free = vs;
	}
	pthread_mutex_unlock(&table.lock);
}

static CK_SESSION_HANDLE next_handle(struct hp_vsession *vs)
{
	vs->generation = vs->generation % MOST_GENERATIONS + 1;
	return (CK_SESSION_HANDLE)vs->generation << INDEX_BITS | vs->index;
}

static struct hp_vsession *place_of(CK_SESSION_HANDLE handle)
{
	CK_ULONG index = handle & ((1ul << INDEX_BITS) - 1);
	struct hp_vsession *chunk =
		atomic_load_explicit(&table.chunks[index / CHUNK], memory_order_acquire);
	return chunk && handle ? &chunk[index % CHUNK] : NULL;
}

/* --- use ---------------------------------------------------------------------------- */

/*
 * vs->use: how many references there are, and what goes on. One atomic step takes a
 * session that nobody is inside of, and one gives it back.
 */
#define OPEN    (1u << 31) /* has not ended: who gives the last reference back ends it */
#define TAKEN   (1u << 30) /* a call has it alone */
#define AWAITED (1u << 29) /* and others wait for it to be given back */

/* For all sessions: two threads in one of them are rare. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t given; /* a session that was AWAITED */
} turns = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER };

/* Nobody is inside, and nobody gets in any more. */
static void end_session(struct hp_vsession *vs)
{
	hp_operations_abandon(vs);
	hp_search_abandon(vs);
	hp_objects_of_session_destroy(vs);
	atomic_fetch_sub(&vs->slot->alive, 1);
	free_place(vs);
}

/* A look-up may hold a free place for a moment, or one that is about to be free: of those
 * who see the last reference go one ends the session, and never the next one's. */
static void drop_reference(struct hp_vsession *vs)
{
	uint32_t unused = OPEN;
	if (atomic_fetch_sub(&vs->use, 1) == (OPEN | 1) &&
	    atomic_compare_exchange_strong(&vs->use, &unused, 0))
		end_session(vs);
}

static struct hp_vsession *hold(CK_SESSION_HANDLE handle)
{
	struct hp_vsession *vs = place_of(handle);
	if (!vs)
		return NULL;
	atomic_fetch_add(&vs->use, 1);
	if (__builtin_expect(atomic_load(&vs->handle) == handle, 1))
		return vs;
	drop_reference(vs);
	return NULL;
}

/* One more look under turns.lock, which is released while somebody has it. */
static bool try_turn_locked(struct hp_vsession *vs)
{
	uint32_t use = atomic_load(&vs->use);
	bool is_free = !(use & TAKEN);
	if (!atomic_compare_exchange_strong(&vs->use, &use,
					    use | (is_free ? TAKEN : AWAITED)))
		return false;
	if (!is_free)
		pthread_cond_wait(&turns.given, &turns.lock);
	return is_free;
}

/* With a reference to it. */
static void await_turn(struct hp_vsession *vs)
{
	pthread_mutex_lock(&turns.lock);
	while (!try_turn_locked(vs))
		;
	pthread_mutex_unlock(&turns.lock);
}

static void end_turn(struct hp_vsession *vs)
{
	uint32_t use = atomic_fetch_and(&vs->use, ~(TAKEN | AWAITED));
	if (!(use & AWAITED))
		return;
	pthread_mutex_lock(&turns.lock);
	pthread_cond_broadcast(&turns.given);
	pthread_mutex_unlock(&turns.lock);
}

/* The same as hold() and a turn where the table's is the only reference. */
static struct hp_vsession *take_unused(CK_SESSION_HANDLE handle)
{
	uint32_t unused = OPEN | 1;
	struct hp_vsession *vs = place_of(handle);
	bool is_taken =
		vs && atomic_compare_exchange_strong(&vs->use, &unused, OPEN | TAKEN | 2);
	return is_taken ? vs : NULL;
}

struct hp_vsession *hp_vsession_take(CK_SESSION_HANDLE handle)
{
	struct hp_vsession *vs = take_unused(handle);
	if (__builtin_expect(!vs, 0)) {
		vs = hold(handle);
		if (!vs)
			return NULL;
		await_turn(vs);
	}
	if (__builtin_expect(atomic_load(&vs->handle) == handle, 1))
		return vs;
	hp_vsession_give(vs); /* another's place by now, or closed meanwhile */
	return NULL;
}

void hp_vsession_give(struct hp_vsession *vs)
{
	uint32_t undisturbed = OPEN | TAKEN | 2;
	if (__builtin_expect(
		    atomic_compare_exchange_strong(&vs->use, &undisturbed, OPEN | 1), 1))
		return;
	end_turn(vs);
	drop_reference(vs);
}

struct hp_vsession *hp_vsession_take_to_change(CK_SESSION_HANDLE handle)
{
	struct hp_vsession *held = hold(handle);
	if (!held)
		return NULL;
	struct hp_vslot *slot = held->slot;
	pthread_mutex_lock(&slot->change);
	struct hp_vsession *vs = hp_vsession_take(handle);
	drop_reference(held);
	if (!vs)
		pthread_mutex_unlock(&slot->change);
	return vs;
}

void hp_vsession_give_changed(struct hp_vsession *vs)
{
	struct hp_vslot *slot = vs->slot;
	hp_vsession_give(vs);
	pthread_mutex_unlock(&slot->change);
}

struct hp_session hp_vsession_none(void)
{
	return (struct hp_session){ .module = hp_proxy_module(),
				    .handle = HP_NO_SESSION };
}

/* --- opening ------------------------------------------------------------------------ */

static void count_session(struct hp_vslot *slot, bool is_read_write, int by)
{
	pthread_mutex_lock(&slot->lock);
	slot->sessions += (uint32_t)by;
	slot->read_only += is_read_write ? 0 : (uint32_t)by;
	pthread_mutex_unlock(&slot->lock);
}

/* Its place, with all that a session begins with. */
static CK_RV settle(struct hp_vslot *slot, hsmpool *pool, bool is_read_write,
		    CK_SESSION_HANDLE *handle)
{
	struct hp_vsession *vs = take_place();
	if (!vs)
		return CKR_HOST_MEMORY;
	vs->slot = slot;
	vs->pool = pool;
	vs->is_read_write = is_read_write;
	vs->search = NULL;
	vs->operations = NULL;
	vs->objects = NULL;
	atomic_fetch_add(&vs->use, OPEN | 1);
	*handle = next_handle(vs);
	atomic_store(&vs->handle, *handle);
	atomic_fetch_add(&open_count, 1);
	count_session(slot, is_read_write, 1);
	atomic_fetch_add(&slot->alive, 1);
	return CKR_OK;
}

/* With slot->change held. */
static CK_RV open_session(struct hp_vslot *slot, CK_FLAGS flags,
			  CK_SESSION_HANDLE *handle)
{
	hsmpool *pool;
	bool is_read_write = flags & CKF_RW_SESSION;
	CK_RV rv = hp_vslot_pool(slot, flags, &pool);
	if (rv != CKR_OK)
		return rv;
	if (slot->sessions == 0)
		rv = hp_login_at_first_session(slot, pool);
	if (rv != CKR_OK)
		return rv;
	if (!is_read_write && hp_vslot_login(slot) == HP_VLOGIN_SO)
		return CKR_SESSION_READ_WRITE_SO_EXISTS;
	return settle(slot, pool, is_read_write, handle);
}

/* Real sessions are opened by the pool alone, so the module is asked only what it says
 * to arguments that it refuses. */
CK_RV hp_C_OpenSession(CK_SLOT_ID slot_id, CK_FLAGS flags, void *application,
		       CK_NOTIFY notify, CK_SESSION_HANDLE *session)
{
	(void)application; /* nothing ever calls back */
	(void)notify;
	if (!hp_proxy_module())
		return session ? CKR_SLOT_ID_INVALID : CKR_ARGUMENTS_BAD;
	struct hp_vslot *slot = hp_vslot_find(slot_id);
	if (!slot || !session || !(flags & CKF_SERIAL_SESSION)) {
		CK_SLOT_ID real = slot ? hp_vslot_real_id(slot) : HP_NO_SLOT;
		CK_RV rv = hp_slot_try_open(hp_proxy_module(), real, flags, session);
		return rv != CKR_OK ? rv : CKR_SESSION_PARALLEL_NOT_SUPPORTED;
	}
	pthread_mutex_lock(&slot->change);
	CK_RV rv = open_session(slot, flags, session);
	pthread_mutex_unlock(&slot->change);
	return rv;
}

/* --- closing ------------------------------------------------------------------------ */

/* Of several that close it at once, one does. */
static bool close_place(struct hp_vsession *vs, CK_SESSION_HANDLE handle)
{
	if (!atomic_compare_exchange_strong(&vs->handle, &handle, HP_NO_SESSION))
		return false;
	atomic_fetch_sub(&open_count, 1);
	count_session(vs->slot, vs->is_read_write, -1);
	drop_reference(vs); /* the table's */
	return true;
}

/* With slot->change held: the application has no session on the token any more. */
static void end_if_last(struct hp_vslot *slot)
{
	if (slot->sessions > 0 || !slot->pool)
		return;
	hp_login_end(slot, slot->pool);
	hp_objects_forget_all(slot);
}

CK_RV hp_C_CloseSession(CK_SESSION_HANDLE session)
{
	struct hp_vsession *vs = hold(session);
	if (!vs)
		return CKR_SESSION_HANDLE_INVALID;
	struct hp_vslot *slot = vs->slot;
	pthread_mutex_lock(&slot->change);
	bool has_closed = close_place(vs, session);
	drop_reference(vs);
	if (has_closed)
		end_if_last(slot);
	pthread_mutex_unlock(&slot->change);
	return has_closed ? CKR_OK : CKR_SESSION_HANDLE_INVALID;
}

static uint32_t count_places(void)
{
	pthread_mutex_lock(&table.lock);
	uint32_t count = table.count;
	pthread_mutex_unlock(&table.lock);
	return count;
}

static void close_all(const struct hp_vslot *slot)
{
	uint32_t count = count_places();
	for (uint32_t i = 0; i < count; i++) {
		struct hp_vsession *chunk = atomic_load(&table.chunks[i / CHUNK]);
		struct hp_vsession *vs = &chunk[i % CHUNK];
		CK_SESSION_HANDLE handle = atomic_load(&vs->handle);
		struct hp_vsession *held = handle ? hold(handle) : NULL;
		if (!held)
			continue;
		if (held->slot == slot)
			close_place(held, handle);
		drop_reference(held);
	}
}

CK_RV hp_C_CloseAllSessions(CK_SLOT_ID slot_id)
{
	struct hp_vslot *slot = hp_vslot_find(slot_id);
	if (!slot)
		return hp_proxy_module()
			       ? hp_slot_close_all(hp_proxy_module(), HP_NO_SLOT)
			       : CKR_SLOT_ID_INVALID;
	pthread_mutex_lock(&slot->change);
	close_all(slot);
	end_if_last(slot);
	pthread_mutex_unlock(&slot->change);
	return CKR_OK;
}

/* --- the table's own life ------------------------------------------------------------
 */

void hp_vsessions_forget(void)
{
	for (uint32_t i = 0; i < MOST_CHUNKS && atomic_load(&table.chunks[i]); i++)
		atomic_store(&table.chunks[i], NULL);
	pthread_mutex_lock(&table.lock);
	table.life++;
	table.count = 0;
	table.oldest_free = table.newest_free = NULL;
	pthread_mutex_unlock(&table.lock);
	atomic_store(&open_count, 0);
}

uint32_t hp_vsessions_count(void)
{
	return atomic_load(&open_count);
}

/* Sessions that are open end without a word to the module: C_Finalize ends its own. */
void hp_vsessions_free(void)
{
	uint32_t count = count_places();
	for (uint32_t i = 0; i < count; i++) {
		struct hp_vsession *chunk = atomic_load(&table.chunks[i / CHUNK]);
		struct hp_vsession *vs = &chunk[i % CHUNK];
		CK_SESSION_HANDLE handle = atomic_load(&vs->handle);
		if (handle)
			close_place(vs, handle);
	}
	for (uint32_t i = 0; i < MOST_CHUNKS && atomic_load(&table.chunks[i]); i++)
		free(atomic_load(&table.chunks[i]));
	hp_vsessions_forget();
}

void hp_vsessions_renew_lock(void)
{
	pthread_mutex_init(&table.lock, NULL);
	pthread_mutex_init(&turns.lock, NULL);
	pthread_cond_init(&turns.given, NULL);
}

/* --- what a session says of itself ----------------------------------------------------
 */

CK_RV hp_C_GetSessionInfo(CK_SESSION_HANDLE session, CK_SESSION_INFO *info)
{
	struct hp_vsession *vs = hold(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return hp_session_info_as_asked(&none, info);
	}
	if (info) {
		memset(info, 0, sizeof(*info));
		info->slotID = vs->slot->id;
		info->state = hp_vslot_state(vs->slot, vs->is_read_write);
		info->flags =
			CKF_SERIAL_SESSION | (vs->is_read_write ? CKF_RW_SESSION : 0);
	}
	drop_reference(vs);
	return info ? CKR_OK : CKR_ARGUMENTS_BAD;
}

static bool is_open(CK_SESSION_HANDLE session)
{
	struct hp_vsession *vs = hold(session);
	if (vs)
		drop_reference(vs);
	return vs != NULL;
}

/* Nothing of ours runs in parallel. */
CK_RV hp_C_GetFunctionStatus(CK_SESSION_HANDLE session)
{
	struct hp_session none = hp_vsession_none();
	return is_open(session) ? CKR_FUNCTION_NOT_PARALLEL
				: hp_session_function_status(&none);
}

CK_RV hp_C_CancelFunction(CK_SESSION_HANDLE session)
{
	struct hp_session none = hp_vsession_none();
	return is_open(session) ? CKR_FUNCTION_NOT_PARALLEL
				: hp_session_cancel_function(&none);
}

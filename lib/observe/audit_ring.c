/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See audit_ring.h. The file: one page of header, then the slots.
 */
#include "observe/audit_ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/state_dir.h"

#define HEADER_SIZE 4096
#define RING_SIZE   (HEADER_SIZE + HP_AUDIT_SLOTS * sizeof(struct hp_audit_slot))

static const char MAGIC[8] = "hspaud1";

_Static_assert(sizeof(struct hp_ring_header) <= HEADER_SIZE, "the header is one page");
_Static_assert((HP_AUDIT_SLOTS & (HP_AUDIT_SLOTS - 1)) == 0, "places are ticket % slots");

/* --- the file ----------------------------------------------------------------------- */

bool hp_audit_ring_is_valid(const struct hp_ring_header *header, uint64_t file_size)
{
	return file_size >= RING_SIZE &&
	       memcmp(header->magic, MAGIC, sizeof MAGIC) == 0 &&
	       header->slot_count == HP_AUDIT_SLOTS &&
	       header->slot_size == sizeof(struct hp_audit_slot) &&
	       memchr(header->chain, 0, sizeof header->chain) != NULL &&
	       memchr(header->writer.host, 0, sizeof header->writer.host) != NULL &&
	       memchr(header->writer.program, 0, sizeof header->writer.program) != NULL;
}

struct hp_audit_slot *hp_audit_ring_slots(struct hp_ring_header *header)
{
	return (void *)((char *)header + HEADER_SIZE);
}

static void make_empty(struct hp_ring_header *header)
{
	memset(header, 0, RING_SIZE);
	header->slot_count = HP_AUDIT_SLOTS;
	header->slot_size = sizeof(struct hp_audit_slot);
	/* Last: a header that is not finished is none. */
	atomic_signal_fence(memory_order_release);
	memcpy(header->magic, MAGIC, sizeof MAGIC);
}

static hsmpool_status lock_and_size(int file, const char *name, hsmpool_error *err)
{
	if (flock(file, LOCK_EX | LOCK_NB) != 0)
		return hp_fail_errno(err,
				     errno == EWOULDBLOCK ? HSMPOOL_ERR_TIMEOUT
							  : HSMPOOL_ERR_SYSTEM,
				     errno, "audit: %s cannot be locked", name);
	/* Blocks for all of it: a page without one would kill the host when touched. */
	int failure = posix_fallocate(file, 0, RING_SIZE);
	if (failure)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, failure,
				     "audit: no room for %s", name);
	return HSMPOOL_OK;
}

/*
 * A lock by flock() belongs to the open file, and a mapping keeps that open. So the
 * descriptor can go: a host program that closes all it does not know does not unlock the
 * chain, and a child, which does not get the mapping, does not keep it locked.
 */
hsmpool_status hp_audit_ring_open(struct hp_audit_ring *ring, int folder,
				  const char *name, bool *is_new, hsmpool_error *err)
{
	*ring = (struct hp_audit_ring){ 0 };
	HP_AUTO_FD int file = -1;
	HP_TRY(hp_owned_file_open("audit", folder, name, true, &file, err));
	HP_TRY(lock_and_size(file, name, err));
	void *map = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (map == MAP_FAILED)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
				     "audit: %s cannot be mapped", name);
	madvise(map, RING_SIZE, MADV_DONTFORK);
	madvise(map, RING_SIZE, MADV_DONTDUMP);
	ring->header = map;
	ring->slots = hp_audit_ring_slots(map);
	*is_new = !hp_audit_ring_is_valid(ring->header, RING_SIZE);
	if (*is_new)
		make_empty(ring->header);
	return HSMPOOL_OK;
}

void hp_audit_ring_close(struct hp_audit_ring *ring)
{
	if (ring->header)
		munmap(ring->header, RING_SIZE);
	ring->header = NULL;
	ring->slots = NULL;
}

/* --- free slots --------------------------------------------------------------------- */

/*
 * A stack. Its head carries a tag that grows with every change, so that a head that was
 * taken and put back meanwhile is not mistaken for the one that was read: next_free may
 * be read of a slot that another thread takes at that moment, and the exchange then
 * fails. Releasing on the way in and acquiring on the way out, whoever takes a slot sees
 * all that was done to it before.
 */
static void push_free(struct hp_audit_ring *ring, uint32_t slot)
{
	uint64_t head = atomic_load_explicit(&ring->free_list, memory_order_relaxed);
	uint64_t mine;
	do {
		atomic_store_explicit(&ring->next_free[slot], (uint32_t)head,
				      memory_order_relaxed);
		mine = ((head >> 32) + 1) << 32 | (slot + 1);
	} while (!atomic_compare_exchange_weak_explicit(&ring->free_list, &head, mine,
							memory_order_release,
							memory_order_relaxed));
}

struct hp_audit_slot *hp_audit_ring_take(struct hp_audit_ring *ring)
{
	uint64_t head = atomic_load_explicit(&ring->free_list, memory_order_acquire);
	uint64_t rest;
	do {
		if ((uint32_t)head == 0)
			return NULL;
		uint32_t next = atomic_load_explicit(&ring->next_free[(uint32_t)head - 1],
						     memory_order_relaxed);
		rest = ((head >> 32) + 1) << 32 | next;
	} while (!atomic_compare_exchange_weak_explicit(&ring->free_list, &head, rest,
							memory_order_acquire,
							memory_order_acquire));
	return &ring->slots[(uint32_t)head - 1];
}

void hp_audit_ring_free(struct hp_audit_ring *ring, struct hp_audit_slot *slot)
{
	atomic_store_explicit(&slot->state, HP_SLOT_FREE, memory_order_release);
	push_free(ring, (uint32_t)(slot - ring->slots));
}

void hp_audit_ring_start(struct hp_audit_ring *ring)
{
	uint64_t ticket = 0;
	for (uint32_t i = HP_AUDIT_SLOTS; i-- > 0;) {
		const struct hp_audit_slot *slot = &ring->slots[i];
		if (atomic_load(&slot->state) == HP_SLOT_FREE)
			push_free(ring, i);
		else if (slot->ticket >= ticket)
			ticket = slot->ticket + 1;
	}
	atomic_store(&ring->next_ticket, ticket);
	atomic_store(&ring->next_written, ticket);
}

uint32_t hp_audit_ring_used(const struct hp_audit_ring *ring)
{
	uint32_t used = 0;
	for (uint32_t i = 0; i < HP_AUDIT_SLOTS; i++)
		used += atomic_load_explicit(&ring->slots[i].state,
					     memory_order_relaxed) != HP_SLOT_FREE;
	return used;
}

/* --- the order of endings ----------------------------------------------------------- */

/*
 * States are for whoever maps the file after our death: stores to a mapping are seen in
 * order by others, so a state that says BEGUN or DONE comes with all it promises.
 */
void hp_audit_ring_begin(struct hp_audit_slot *slot)
{
	atomic_store_explicit(&slot->state, HP_SLOT_BEGUN, memory_order_release);
}

/*
 * Tickets number the endings. The place of a ticket is free when it is drawn: at most
 * HP_AUDIT_SLOTS slots are in use, so the ticket drawn that many before has had its slot
 * freed, which the writer does after clearing the place, and which happens before this
 * slot's taking or an earlier one's.
 *
 * The last store is sequentially consistent for the sake of the writer's sleep: it
 * first says that it sleeps and then looks for work once more, we first give it work and
 * then look whether it sleeps, so one of us sees the other.
 */
void hp_audit_ring_finish(struct hp_audit_ring *ring, struct hp_audit_slot *slot)
{
	uint64_t ticket =
		atomic_fetch_add_explicit(&ring->next_ticket, 1, memory_order_acq_rel);
	slot->ticket = ticket;
	slot->seq = 0;
	atomic_store_explicit(&slot->state, HP_SLOT_DONE, memory_order_release);
	atomic_store_explicit(&ring->order[ticket % HP_AUDIT_SLOTS],
			      (uint32_t)(slot - ring->slots) + 1, memory_order_seq_cst);
}

struct hp_audit_slot *hp_audit_ring_peek(struct hp_audit_ring *ring, uint64_t ahead)
{
	if (ahead >= HP_AUDIT_SLOTS)
		return NULL;
	uint64_t ticket =
		atomic_load_explicit(&ring->next_written, memory_order_relaxed) + ahead;
	uint32_t slot = atomic_load_explicit(&ring->order[ticket % HP_AUDIT_SLOTS],
					     memory_order_seq_cst);
	return slot ? &ring->slots[slot - 1] : NULL;
}

void hp_audit_ring_advance(struct hp_audit_ring *ring, uint64_t count)
{
	uint64_t ticket = atomic_load_explicit(&ring->next_written, memory_order_relaxed);
	for (uint64_t i = 0; i < count; i++, ticket++) {
		struct hp_audit_slot *slot = hp_audit_ring_peek(ring, 0);
		atomic_store_explicit(&ring->order[ticket % HP_AUDIT_SLOTS], 0,
				      memory_order_relaxed);
		atomic_store_explicit(&ring->next_written, ticket + 1,
				      memory_order_relaxed);
		hp_audit_ring_free(ring, slot);
	}
}

/* --- what another process left ------------------------------------------------------ */

static int compare_tickets(const void *a, const void *b, void *slots)
{
	const struct hp_audit_slot *all = slots;
	const struct hp_audit_slot *one = &all[*(const uint32_t *)a];
	const struct hp_audit_slot *two = &all[*(const uint32_t *)b];
	if (one->ticket != two->ticket)
		return one->ticket < two->ticket ? -1 : 1;
	return 0;
}

static uint32_t collect(const struct hp_audit_slot *slots, uint32_t state,
			uint64_t last_seq, uint32_t *indexes)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < HP_AUDIT_SLOTS; i++) {
		bool is_written = slots[i].seq != 0 && slots[i].seq <= last_seq;
		if (atomic_load(&slots[i].state) == state && !is_written)
			indexes[count++] = i;
	}
	return count;
}

uint32_t hp_audit_ring_leftovers(const struct hp_audit_slot *slots, uint64_t last_seq,
				 uint32_t *indexes)
{
	uint32_t done = collect(slots, HP_SLOT_DONE, last_seq, indexes);
	qsort_r(indexes, done, sizeof *indexes, compare_tickets, (void *)slots);
	return done + collect(slots, HP_SLOT_BEGUN, last_seq, indexes + done);
}

/* --- the head ----------------------------------------------------------------------- */

void hp_audit_ring_get_head(const struct hp_ring_header *header,
			    struct hp_ring_head *head)
{
	uint32_t which = atomic_load_explicit(&header->which, memory_order_acquire);
	*head = header->heads[which & 1];
}

/* Two copies: whoever is killed in the middle of one leaves the other valid. */
void hp_audit_ring_set_head(struct hp_ring_header *header,
			    const struct hp_ring_head *head)
{
	uint32_t other =
		1 - (atomic_load_explicit(&header->which, memory_order_relaxed) & 1);
	header->heads[other] = *head;
	atomic_store_explicit(&header->which, other, memory_order_release);
}

/* --- texts -------------------------------------------------------------------------- */

static const uint8_t bounds[HP_TEXT_COUNT] = {
	[HP_TEXT_POOL] = 48,        [HP_TEXT_TOKEN] = 32,  [HP_TEXT_FUNCTION] = 32,
	[HP_TEXT_MECHANISM] = 48,   [HP_TEXT_LABEL] = 64,  [HP_TEXT_ID] = 32,
	[HP_TEXT_FINGERPRINT] = 64, [HP_TEXT_TARGET] = 64, [HP_TEXT_RESULT] = 46,
};
_Static_assert(48 + 32 + 32 + 48 + 64 + 32 + 64 + 64 + 46 <= 430, "all texts fit a slot");

/* Lengths may be anything in a ring that others wrote: nothing is read outside text[]. */
static size_t length_of(const struct hp_audit_slot *slot, size_t which)
{
	return slot->lengths[which] < bounds[which] ? slot->lengths[which]
						    : bounds[which];
}

static size_t offset_of(const struct hp_audit_slot *slot, enum hp_slot_text which)
{
	size_t offset = 0;
	for (size_t i = 0; i < (size_t)which; i++)
		offset += length_of(slot, i);
	return offset;
}

/* The process may be killed between any two of these stores: a length is there only while
 * its text and all before it are. */
void hp_audit_slot_clear(struct hp_audit_slot *slot)
{
	memset(slot->lengths, 0, sizeof slot->lengths);
	atomic_signal_fence(memory_order_seq_cst);
}

void hp_audit_slot_add(struct hp_audit_slot *slot, enum hp_slot_text which,
		       const void *text, size_t len)
{
	len = len < bounds[which] ? len : bounds[which];
	if (len)
		memcpy(slot->text + offset_of(slot, which), text, len);
	atomic_signal_fence(memory_order_seq_cst);
	slot->lengths[which] = (uint8_t)len;
}

const char *hp_audit_slot_text(const struct hp_audit_slot *slot, enum hp_slot_text which,
			       size_t *len)
{
	*len = length_of(slot, which);
	return slot->text + offset_of(slot, which);
}

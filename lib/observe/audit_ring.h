/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring of a chain: records from the moment a use begins until they are in the file.
 *
 * Owns: the file `chain-NNNN.ring`, its mapping, which slot is free, the order in which
 * records end. It is the lock of the chain as well. The mapping lives in the page cache,
 * so what is in it survives the process; whoever takes the chain next finds it.
 *
 * Must not: format or write records.
 *
 * No lock. A slot is in one hand at a time: of the thread that took it, from
 * hp_audit_ring_take() to _finish(); then of the one that writes, to _free(). What makes
 * that right is said at those functions in audit_ring.c.
 */
#ifndef HP_OBSERVE_AUDIT_RING_H
#define HP_OBSERVE_AUDIT_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "observe/audit.h"

#define HP_AUDIT_SLOTS 4096 /* uses that may be under way or unwritten at once */

enum hp_slot_state {
	HP_SLOT_FREE,  /* nothing; or facts that are just being written */
	HP_SLOT_BEGUN, /* facts; the use may be under way */
	HP_SLOT_DONE,  /* facts and result, not known to be in the file */
};

enum hp_slot_text {
	HP_TEXT_POOL,
	HP_TEXT_TOKEN,
	HP_TEXT_FUNCTION,
	HP_TEXT_MECHANISM,
	HP_TEXT_LABEL,
	HP_TEXT_ID, /* bytes */
	HP_TEXT_FINGERPRINT,
	HP_TEXT_TARGET,
	HP_TEXT_RESULT,
	HP_TEXT_COUNT
};

/* The texts follow one another in text[], without separators. */
struct hp_audit_slot {
	_Atomic uint32_t state; /* enum hp_slot_state */
	uint32_t pid;
	uint64_t ticket; /* DONE: the place in the order of endings */
	uint64_t seq;    /* the record's number once it is given; 0: not yet */
	int64_t time_ns;
	int64_t duration_ns;
	uint64_t request;
	uint64_t session;
	uint64_t input_len;
	uint64_t output_len;
	uint8_t event; /* enum hp_audit_event */
	uint8_t lengths[HP_TEXT_COUNT];
	char text[430];
};
_Static_assert(sizeof(struct hp_audit_slot) == 512, "slots are 512 bytes");

/* Who writes a chain: the same in every record. */
struct hp_audit_writer {
	uint32_t pid;
	uint32_t uid;
	char host[64];
	char program[128];
};

/* The end of the chain, for whoever comes next. */
struct hp_ring_head {
	uint64_t seq;
	uint8_t hash[HP_AUDIT_HASH_LEN];
};

/* The first page of the file. */
struct hp_ring_header {
	char magic[8];
	uint32_t slot_count;
	uint32_t slot_size;
	char chain[HP_AUDIT_CHAIN_LEN + 1];
	struct hp_audit_writer writer; /* of the records in the slots */
	int64_t file_begun_ns;         /* the current file's first record, realtime */
	struct hp_ring_head heads[2];  /* the valid one is heads[which] */
	_Atomic uint32_t which;
	uint64_t synced_up_to; /* files that begin before this record are on the disk */
};

struct hp_audit_ring {
	struct hp_ring_header *header;
	struct hp_audit_slot *slots; /* HP_AUDIT_SLOTS */

	/* Private to the process, rebuilt from the states of the slots.
	 * The arrays keep what different threads change on different cache lines. */
	_Atomic uint64_t free_list;                 /* tag << 32 | slot + 1; 0: empty */
	_Atomic uint32_t next_free[HP_AUDIT_SLOTS]; /* slot + 1 */
	_Atomic uint64_t next_ticket;
	_Atomic uint32_t order[HP_AUDIT_SLOTS]; /* by ticket: slot + 1; 0: not yet */
	_Atomic uint64_t next_written;          /* the writer's: next ticket */
};

/*
 * Map the ring `name` in the folder and lock it. is_new: its content was not valid and is
 * empty now. TIMEOUT: somebody else has it. The lock lasts as long as the mapping, and no
 * descriptor stays open that a host program could close or a child inherit.
 */
hsmpool_status hp_audit_ring_open(struct hp_audit_ring *ring, int folder,
				  const char *name, bool *is_new, hsmpool_error *err);
void hp_audit_ring_close(struct hp_audit_ring *ring);

/* Slots that are FREE become takable, and tickets follow on those left over by another
 * process. To be called once. */
void hp_audit_ring_start(struct hp_audit_ring *ring);

/* A slot whose facts may be written, or NULL. */
struct hp_audit_slot *hp_audit_ring_take(struct hp_audit_ring *ring);
/* The facts are there: from now on the use is known to anyone. */
void hp_audit_ring_begin(struct hp_audit_slot *slot);
/* The result is there: give it its place in the order of writing. */
void hp_audit_ring_finish(struct hp_audit_ring *ring, struct hp_audit_slot *slot);
/* Nothing is to be recorded after all, or it is in the file. */
void hp_audit_ring_free(struct hp_audit_ring *ring, struct hp_audit_slot *slot);

/* For the writer alone (audit->turn): the record at next_written + ahead, or NULL. */
struct hp_audit_slot *hp_audit_ring_peek(struct hp_audit_ring *ring, uint64_t ahead);
/* The first count of them are in the file: their slots become free. */
void hp_audit_ring_advance(struct hp_audit_ring *ring, uint64_t count);

static inline bool hp_audit_ring_has_work(struct hp_audit_ring *ring)
{
	return hp_audit_ring_peek(ring, 0) != NULL;
}

/* Slots left by a process that is gone, in the order in which to write them: those DONE
 * that are not in the file, whose last record is last_seq, then those BEGUN. Returns how
 * many; indexes has room for HP_AUDIT_SLOTS. */
uint32_t hp_audit_ring_leftovers(const struct hp_audit_slot *slots, uint64_t last_seq,
				 uint32_t *indexes);

/* Tell, and note, the end of the chain. */
void hp_audit_ring_get_head(const struct hp_ring_header *header,
			    struct hp_ring_head *head);
void hp_audit_ring_set_head(struct hp_ring_header *header,
			    const struct hp_ring_head *head);

/* The slots behind a header. */
struct hp_audit_slot *hp_audit_ring_slots(struct hp_ring_header *header);

/* Whether a header in memory is one of ours. */
bool hp_audit_ring_is_valid(const struct hp_ring_header *header, uint64_t file_size);

/* Texts of a slot: remove all; append one (cut at its bound; in the order of the enum,
 * each at most once), read one. */
void hp_audit_slot_clear(struct hp_audit_slot *slot);
void hp_audit_slot_add(struct hp_audit_slot *slot, enum hp_slot_text which,
		       const void *text, size_t len);
const char *hp_audit_slot_text(const struct hp_audit_slot *slot, enum hp_slot_text which,
			       size_t *len);

/* Slots that are not free: a look at all of them. */
uint32_t hp_audit_ring_used(const struct hp_audit_ring *ring);

#endif

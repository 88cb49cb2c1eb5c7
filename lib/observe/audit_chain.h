/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chain that this process writes: its files, its head, and its ring.
 *
 * Owns: taking a chain over (with what its last writer left), adding lines, writing them
 * as a whole or not at all, going on in a new file. Must not: decide when; that is
 * audit.c.
 *
 * Locking: all but the ring is used by one thread at a time, the one that holds
 * audit->turn.
 */
#ifndef HP_OBSERVE_AUDIT_CHAIN_H
#define HP_OBSERVE_AUDIT_CHAIN_H

#include <sys/types.h>
#include "observe/audit_folder.h"
#include "observe/audit_line.h"
#include "observe/audit_ring.h"

#define HP_AUDIT_BATCH_SIZE (256 * 1024) /* lines that are written at once */

/* What the last writer left, and what was wrong; told in the record "recovered". */
struct hp_audit_recovery {
	uint32_t slots[HP_AUDIT_SLOTS]; /* to be recorded, in this order */
	uint32_t count;
	uint32_t written;       /* of them, by now */
	uint32_t unknown;       /* of them, uses whose end nobody saw */
	uint64_t torn;          /* bytes cut off at the end of the file */
	uint64_t missing;       /* records that were written and are not there */
	bool is_altered;        /* the last line is not the one that was written */
	bool has_lost_its_ring; /* the ring was not there or not one */
};

struct hp_audit_chain {
	char *folder;
	unsigned number;
	char name[HP_AUDIT_CHAIN_LEN + 1];
	bool is_listed;                /* the list says that it was taken over */
	bool is_announced;             /* and the chain says so too */
	struct hp_ring_head list_head; /* of the list, when it said so */
	struct hp_audit_ring ring;
	struct hp_audit_recovery recovery;
	struct hp_audit_writer writer; /* this process */
	struct hp_line_hasher *hasher;

	char file_name[HP_AUDIT_NAME_SIZE];
	int file;
	dev_t device; /* whose descriptor `file` ought to be */
	ino_t inode;
	uint64_t size; /* of the whole lines */
	bool is_torn;  /* and there is more behind them */

	struct hp_ring_head head; /* in the file */
	struct hp_ring_head next; /* with the lines added */
	bool is_whole;            /* every line added has its hash */
	char *lines;
	size_t len;
	int failure; /* errno of the last write that failed */
};

/* Find a chain that nobody writes, or make one. */
hsmpool_status hp_audit_chain_take(struct hp_audit_chain *chain, const char *folder,
				   hsmpool_error *err);
/* Write what the last writer left, and that the chain is ours now. False: not all of it
 * could be written; to be repeated. */
bool hp_audit_chain_announce(struct hp_audit_chain *chain);
void hp_audit_chain_release(struct hp_audit_chain *chain);

/* Whether one more line fits. */
bool hp_audit_chain_has_room(const struct hp_audit_chain *chain);
/* A line of this process: number, time, host, pid, user and program are in it. */
struct hp_audit_line hp_audit_chain_begin_line(struct hp_audit_chain *chain,
					       int64_t time_ns);
void hp_audit_chain_end_line(struct hp_audit_chain *chain, struct hp_audit_line *line);
/* The line of a slot. writer: who filled it. */
void hp_audit_chain_add_slot(struct hp_audit_chain *chain, struct hp_audit_slot *slot,
			     const struct hp_audit_writer *writer);

/* Write the lines added. False: none is written, all are forgotten, chain->failure says
 * why. */
bool hp_audit_chain_write(struct hp_audit_chain *chain);

/* Make the descriptor of a file with `size` bytes of whole lines the current one. It is
 * the chain's then. 0, or errno. */
int hp_audit_chain_adopt(struct hp_audit_chain *chain, int file, uint64_t size);

/* End the current file and begin another. False: the current one goes on. The one that
 * ended is not on the disk yet: see hp_audit_chain_sync_files(). */
bool hp_audit_chain_rotate(struct hp_audit_chain *chain);

/* Bring those of chain `number`'s files to the disk that begin with record `first` or
 * later, and the list of chains; *last: where the newest begins. Takes as long as the
 * disk does: to be called without a lock. */
bool hp_audit_chain_sync_files(const char *folder, unsigned number, uint64_t first,
			       uint64_t *last);

#endif

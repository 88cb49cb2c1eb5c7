/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a trail and telling whether it is the one that was written.
 *
 * Works on a folder that is in use, and on a copy; writes nothing. What it cannot know
 * without the token, whether a checkpoint is authentic, its caller checks.
 */
#ifndef HP_OBSERVE_AUDIT_VERIFY_H
#define HP_OBSERVE_AUDIT_VERIFY_H

#include <stdbool.h>
#include <stdint.h>
#include "observe/audit.h"

enum hp_finding_kind {
	/* Something is wrong. */
	HP_FINDING_ALTERED,   /* a record is not as it was written */
	HP_FINDING_REMOVED,   /* records are missing, seq to last */
	HP_FINDING_INSERTED,  /* a line that no writer put there; seq: as it says, or 0 */
	HP_FINDING_REORDERED, /* a record is not at its place */
	HP_FINDING_MISSING_FILE, /* a file that must be there is not */
	HP_FINDING_UNREADABLE,   /* a file cannot be read */
	HP_FINDING_UNLISTED,     /* a file that the list of chains does not have */
	HP_FINDING_FOREIGN,      /* a chain or a ring has the name of another chain */
	HP_FINDING_TORN_END, /* the file ends within a line, though nobody writes it */
	/* To be known. */
	HP_FINDING_PENDING,    /* records of a process that ended without writing them */
	HP_FINDING_CHECKPOINT, /* one was found */
	HP_FINDING_HEAD,       /* the head that was asked for is that of this record */
	HP_FINDING_CHAIN,      /* a chain was read to its end */
};

/* A checkpoint can be compared with a record that lies at most so many before it. */
#define HP_AUDIT_COMPARABLE (1 << 17)

/* HP_FINDING_CHECKPOINT */
struct hp_checkpoint_found {
	struct hp_audit_head head; /* what it vouches for */
	bool is_right;             /* that record has this hash, in this chain */
	char key[256];             /* as recorded: JSON escapes are left in it */
	char mechanism[72];
	uint8_t mac[1024];
	size_t mac_len;
};

/* HP_FINDING_CHAIN */
struct hp_chain_read {
	struct hp_audit_head head; /* of its last record; seq 0: it has none */
	uint64_t records;          /* that were read */
	uint64_t deleted;          /* before them, by retention, as the list says */
	uint64_t last_checkpoint;  /* the record that the last right one vouches for; 0 */
	bool is_live;              /* a process writes it */
};

struct hp_audit_finding {
	enum hp_finding_kind kind;
	unsigned chain;   /* its number; 0: the list of chains */
	const char *file; /* its name; NULL: not about one */
	uint64_t line;    /* in the file, near where it was noticed; 0: not known */
	uint64_t seq, last;
	uint64_t bytes; /* TORN_END: of the torn line */
	unsigned other; /* FOREIGN: the chain that has the name by the list; 0: none */
	uint32_t done;  /* PENDING: records that are complete */
	uint32_t begun; /* PENDING: uses whose end nobody saw */
	const struct hp_checkpoint_found *checkpoint;
	const struct hp_chain_read *read;
};

static inline bool hp_finding_is_wrong(enum hp_finding_kind kind)
{
	return kind <= HP_FINDING_TORN_END;
}

/* "altered", "removed", ... */
const char *hp_finding_name(enum hp_finding_kind kind);

struct hp_verify_request {
	const char *folder;
	const uint8_t *head; /* a hash of HP_AUDIT_HASH_LEN to look for, or NULL */
	void (*tell)(void *user, const struct hp_audit_finding *finding);
	void *user;
};

/* OK: everything was read; what was found has been told. SYSTEM: the folder cannot be
 * read, or there is no memory. CONFIG: there is no trail in it. */
hsmpool_status hp_audit_verify(const struct hp_verify_request *request,
			       hsmpool_error *err);

/* The text that is authenticated by a checkpoint: "hsmpool v1 audit checkpoint" and
 * a zero byte, the chain's name, the number (8 bytes, big-endian) and the hash. Returns
 * its length. */
#define HP_AUDIT_CHECKPOINT_MAX 128
size_t hp_audit_checkpoint_text(const struct hp_audit_head *head,
				uint8_t text[HP_AUDIT_CHECKPOINT_MAX]);

#endif

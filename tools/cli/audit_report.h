/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What reading an audit trail brought to light, for `audit verify` and `audit status`.
 *
 * Of each chain the last few checkpoints are kept: a valid one vouches for everything
 * before it, earlier checkpoints included, so the key is asked from the last one back
 * until it agrees.
 */
#ifndef CLI_AUDIT_REPORT_H
#define CLI_AUDIT_REPORT_H

#include "cli.h"
#include "observe/audit_folder.h"
#include "observe/audit_verify.h"

#define AUDIT_RECENT 16

/* One thing that is wrong, or to be known. */
struct audit_note {
	const char *kind; /* "altered", ...: of enum hp_finding_kind, or our own */
	bool is_wrong;
	unsigned chain;
	char file[HP_AUDIT_NAME_SIZE]; /* "": about none */
	uint64_t line;                 /* 0: not known */
	uint64_t seq, last;
	char text[200]; /* what it means */
};

struct audit_checkpoint {
	char file[HP_AUDIT_NAME_SIZE];
	uint64_t line;
	uint64_t seq;
	struct hp_checkpoint_found found;
};

struct audit_chain {
	unsigned number;
	struct hp_chain_read read;
	uint64_t checkpoints;                          /* how many there are */
	struct audit_checkpoint *recent[AUDIT_RECENT]; /* by count % AUDIT_RECENT */
	uint64_t authenticated; /* the record that a valid one vouches for; 0: none */
};

struct audit_report {
	struct audit_note *notes;
	size_t note_count;
	size_t wrong_count;
	size_t omitted_count; /* of notes that are counted, but not kept */
	struct audit_chain *chains;
	size_t chain_count;
	bool has_found_head;
	struct audit_note head; /* where it is */
	bool has_failed;        /* no memory */
};

/* Read the trail. head: a hash to look for, or NULL. */
hsmpool_status audit_report_make(struct audit_report *report, const char *folder,
				 const uint8_t *head, hsmpool_error *err);
void audit_report_free(struct audit_report *report);

/* Add one; text in the manner of printf. */
void audit_report_note(struct audit_report *report, const struct audit_note *where,
		       const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The chain's last checkpoint but `back`, NULL: there is none, or it is not kept. */
const struct audit_checkpoint *audit_chain_checkpoint(const struct audit_chain *chain,
						      uint64_t back);

/* How many records follow the one that is vouched for, but for the checkpoint itself. */
uint64_t audit_chain_following(const struct audit_chain *chain, uint64_t vouched);

#endif

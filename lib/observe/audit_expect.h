/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the list of chains says there must be: files, and hashes of some records.
 *
 * Filled from the list's lines, asked while chains are read. No lock: one thread's.
 */
#ifndef HP_OBSERVE_AUDIT_EXPECT_H
#define HP_OBSERVE_AUDIT_EXPECT_H

#include "observe/audit_folder.h"
#include "observe/audit_line.h"
#include "observe/audit_ring.h"

struct hp_listed_file {
	struct hp_audit_file file;
	bool is_deleted;
	struct hp_ring_head last; /* where it is deleted: its last record */
};

/* A record of which the list knows the hash. */
struct hp_listed_record {
	unsigned chain;
	struct hp_ring_head head;
};

struct hp_expected {
	struct hp_listed_file *files; /* sorted, once, after hp_expected_sort() */
	size_t file_count, file_capacity;
	struct hp_listed_record *records; /* likewise */
	size_t record_count, record_capacity;
};

/* One line of the list. False: no memory. The list itself counts as chain 0. */
bool hp_expected_add(struct hp_expected *expected, const char *line, size_t len,
		     const struct hp_line_frame *frame);
/* To be called when all lines were added. */
void hp_expected_sort(struct hp_expected *expected);
void hp_expected_clear(struct hp_expected *expected);

/* The listed file, or NULL. */
const struct hp_listed_file *hp_expected_file(const struct hp_expected *expected,
					      const struct hp_audit_file *file);
/* Whether the list contradicts that a record has this hash. */
bool hp_expected_contradicts(const struct hp_expected *expected, unsigned chain,
			     uint64_t seq, const uint8_t *hash);
/* The last record that the list knows of; 0: none. */
uint64_t hp_expected_last(const struct hp_expected *expected, unsigned chain);

#endif

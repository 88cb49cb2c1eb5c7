/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the list of chains says there must be: files, names of chains, hashes of some
 * records.
 *
 * Owns: reading the list, and reading on where processes that go on writing have added to
 * it since. Must not: know the chains. No lock: one thread's.
 */
#ifndef HP_OBSERVE_AUDIT_EXPECT_H
#define HP_OBSERVE_AUDIT_EXPECT_H

#include "observe/audit_folder.h"
#include "observe/audit_line.h"
#include "observe/audit_lines.h"
#include "observe/audit_ring.h"
#include "observe/audit_walk.h"

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

struct hp_listed_name {
	char name[HP_AUDIT_CHAIN_LEN + 1];
	unsigned chain;
};

typedef void hp_expected_tell(void *user, enum hp_finding_kind kind, uint64_t seq,
			      uint64_t last);

struct hp_expected {
	hp_expected_tell *tell;
	void *user;
	struct hp_audit_lines lines;
	struct hp_walk *walk;
	bool has_failed; /* no memory */

	/* each sorted, and once only, when the list was read */
	struct hp_listed_file *files;
	size_t file_count, file_capacity;
	struct hp_listed_record *records; /* the list's own: of chain 0 */
	size_t record_count, record_capacity;
	struct hp_listed_name *names;
	size_t name_count, name_capacity;
};

/* Read the list in the folder; tell is told what is wrong with its lines. False: errno
 * says why it cannot be read. */
bool hp_expected_open(struct hp_expected *expected, int folder, hp_expected_tell *tell,
		      void *user);
/* Read what was added since. False: nothing was. Pointers into it are void then. */
bool hp_expected_read_on(struct hp_expected *expected);
/* The list has no more to tell. */
void hp_expected_end(struct hp_expected *expected);
void hp_expected_close(struct hp_expected *expected);

/* The first listed file of a chain that begins with record `first` or later, or NULL. */
const struct hp_listed_file *hp_expected_file_from(const struct hp_expected *expected,
						   unsigned chain, uint64_t first);
/* Whether this very file is listed. */
bool hp_expected_has_file(const struct hp_expected *expected,
			  const struct hp_audit_file *file);
/* The lowest chain that has this name; 0: none. */
unsigned hp_expected_chain(const struct hp_expected *expected, const char *name);
/* Whether the list contradicts that a record has this hash. */
bool hp_expected_contradicts(const struct hp_expected *expected, unsigned chain,
			     uint64_t seq, const uint8_t *hash);
/* The last record that the list knows of; 0: none. */
uint64_t hp_expected_last(const struct hp_expected *expected, unsigned chain);

#endif

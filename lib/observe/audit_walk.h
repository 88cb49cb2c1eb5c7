/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking along a chain: which line is not the one that was written there.
 *
 * Fed with the lines of a chain in order, tells what was altered, removed, inserted or
 * moved. One line is held back where something does not fit, because what it means shows
 * in the next one. Every change of a chain is found; how it is called is the simplest
 * explanation, and other records near it may be named too.
 *
 * Must not: touch files, or know what records mean.
 */
#ifndef HP_OBSERVE_AUDIT_WALK_H
#define HP_OBSERVE_AUDIT_WALK_H

#include "observe/audit_line.h"
#include "observe/audit_verify.h"

struct hp_walk;

/* What to do with findings (kind, seq and last are set), and with each record that has
 * its place: frame->hash is its hash as it is stated. */
struct hp_walk_hooks {
	void (*tell)(void *user, enum hp_finding_kind kind, uint64_t seq, uint64_t last);
	void (*accept)(void *user, const char *line, size_t len,
		       const struct hp_line_frame *frame);
	void *user;
};

struct hp_walk *hp_walk_new(const struct hp_walk_hooks *hooks); /* NULL: no memory */
void hp_walk_free(struct hp_walk *walk);

/* The next record is expected to have this number; the one before has this hash. NULL:
 * not known. */
void hp_walk_expect(struct hp_walk *walk, uint64_t seq, const uint8_t *hash);
uint64_t hp_walk_expected(const struct hp_walk *walk);

void hp_walk_line(struct hp_walk *walk, const char *line, size_t len);
/* There is no more at this place: what was held back is decided. */
void hp_walk_settle(struct hp_walk *walk);
/* There is no more at all; records up to `last` must have been there. */
void hp_walk_end(struct hp_walk *walk, uint64_t last);
/* There was no memory to remember what is missing: what was told is not complete. */
bool hp_walk_has_failed(const struct hp_walk *walk);

#endif

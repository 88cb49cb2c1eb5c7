/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of chains, `chains.jsonl`: which files there must be.
 *
 * Lines like those of a chain, chained among themselves. The event is one of
 *   chain    a chain was made
 *   begun    a file was begun; "head" is the hash before its first record, "last" its
 * number ended    a file was ended; "last" and "head" are its last record's taken    a
 * process took the chain over; "last" and "head" are where it stood deleted  a file was
 * deleted by retention; "last" and "head" are its last record's cut      a torn line at
 * the end of this list was cut off
 *
 * Locking: the file is locked, among threads too, from _open() to _close(); nothing else
 * is waited for meanwhile.
 */
#ifndef HP_OBSERVE_AUDIT_LIST_H
#define HP_OBSERVE_AUDIT_LIST_H

#include "observe/audit_line.h"
#include "observe/audit_ring.h"

struct hp_audit_list {
	int file;
	uint64_t size;
	struct hp_ring_head head; /* with the lines added */
	struct hp_line_hasher *hasher;
	bool is_whole; /* every line added has its hash */
	size_t len;
	char lines[4 * HP_AUDIT_LINE_MAX];
};

/* What is listed; NULL and zero where it does not apply. */
struct hp_list_entry {
	const char *event;
	unsigned number;
	const char *chain; /* its name */
	const char *file;
	const struct hp_ring_head *head;
	const char *reason;
};

/* Wait for the list and lock it, at most a few seconds. A torn end is cut off. */
hsmpool_status hp_audit_list_open(struct hp_audit_list *list, int folder,
				  hsmpool_error *err);
/* Add a line; at most four before they are written. */
void hp_audit_list_add(struct hp_audit_list *list, const struct hp_list_entry *entry);
/* All or nothing. */
hsmpool_status hp_audit_list_write(struct hp_audit_list *list, hsmpool_error *err);
void hp_audit_list_close(struct hp_audit_list *list);

#endif

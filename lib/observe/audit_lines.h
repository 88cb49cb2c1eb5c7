/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines of a file of a trail, one after the other, in bounded memory.
 *
 * The file may be anything that somebody put there: a link or a pipe is not opened, a
 * line that is longer than any of ours is cut. Must not: know what lines mean. No lock:
 * one thread's.
 */
#ifndef HP_OBSERVE_AUDIT_LINES_H
#define HP_OBSERVE_AUDIT_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hp_audit_lines {
	int file; /* -1: none */
	char *buffer;
	size_t begin, end; /* what of the buffer was not given out */
	uint64_t at;       /* where in the file that begins */
	uint64_t number;   /* of the line that was given out last, from 1 */
	uint64_t line_at;  /* where the current line begins */
	bool is_skipping;  /* the rest of one that was too long */
	size_t rest;       /* after the last: bytes behind it that are no line */
	int failure;       /* errno, why there was no more; 0: the file ends there */
};

/* Open a plain file for reading only. -1: errno says why; ELOOP for what is none. */
int hp_audit_open_to_read(int folder, const char *name);

/* False: errno says why. */
bool hp_audit_lines_open(struct hp_audit_lines *lines, int folder, const char *name);
void hp_audit_lines_close(struct hp_audit_lines *lines);

/* The next line, a NUL in place of its line feed; valid until the next call. One that is
 * too long comes as its beginning, longer than HP_AUDIT_LINE_MAX. False: there is none,
 * or none that is whole; it may come later. */
bool hp_audit_lines_next(struct hp_audit_lines *lines, const char **line, size_t *len);

#endif

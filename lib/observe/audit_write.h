/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Appending whole lines to a file, or nothing.
 *
 * The calls to the system are made through hp_audit_pwrite and hp_audit_truncate, which
 * tests replace to make a disk full.
 */
#ifndef HP_OBSERVE_AUDIT_WRITE_H
#define HP_OBSERVE_AUDIT_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Write len bytes at `size`, where the file ends. What was written of them is cut off
 * again if not all can be; *is_torn: that did not succeed either. 0, or errno. */
int hp_audit_append(int file, const char *lines, size_t len, uint64_t size,
		    bool *is_torn);

/* pwrite() and ftruncate(), but for tests. */
extern ssize_t (*hp_audit_pwrite)(int, const void *, size_t, off_t);
extern int (*hp_audit_truncate)(int, off_t);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Appending whole lines to a file, or nothing.
 */
#ifndef HP_OBSERVE_AUDIT_WRITE_H
#define HP_OBSERVE_AUDIT_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Write len bytes at `size`, where the file ends. What was written of them is cut off
 * again if not all can be; *is_torn: that did not succeed either. 0, or errno. */
int hp_audit_append(int file, const char *lines, size_t len, uint64_t size,
		    bool *is_torn);

#endif

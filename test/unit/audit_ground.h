/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of the audit trail start from: an empty folder, a trail in it, uses of a
 * token that never was.
 */
#ifndef TEST_UNIT_AUDIT_GROUND_H
#define TEST_UNIT_AUDIT_GROUND_H

#include "support/fixture.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/types.h>
#include "base/time.h"
#include "observe/audit.h"

/* A folder of its own for each test; scratch_remove() takes it away. */
const char *ground_new_folder(void);
int ground_set_up(void **state);              /* a new one, and pwrite() as it is */
int ground_remove_all(void **state);          /* after the last test */
struct hp_audit_options ground_options(void); /* of that folder */
struct hp_audit *ground_open(const struct hp_audit_options *options);

/* One whole use by this thread, recorded or not. */
bool ground_use(struct hp_audit *audit, const char *function);
bool ground_begin(struct hp_audit *audit, const char *function,
		  struct hp_audit_entry *entry);
void ground_end(struct hp_audit_entry *entry, const char *result);

/* What pwrite() does from now on, in all threads; NULL: what it always did. */
typedef ssize_t ground_pwrite_fn(int, const void *, size_t, off_t);
extern _Atomic(ground_pwrite_fn *) ground_pwrite;
ground_pwrite_fn ground_real_pwrite;

/* How many files were brought to the disk, which they are not. */
extern _Atomic unsigned ground_syncs;

/* A file of the folder as a text that the caller frees; "" if it is not there. */
char *ground_read(const char *name);
/* All files of chain `number`, in order. */
char *ground_read_chain(unsigned number);
unsigned ground_count(const char *text, const char *part);
/* How many entries of the folder's names contain part. */
unsigned ground_count_files(const char *part);

#endif

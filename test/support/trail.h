/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the audit trail of a pool that was closed tells of uses.
 */
#ifndef TEST_SUPPORT_TRAIL_H
#define TEST_SUPPORT_TRAIL_H

#include <stdbool.h>
#include <stddef.h>

/* All its chains in one text, which the caller frees. */
char *trail_read(const char *folder);

/* The n-th use recorded after the first `skip`, as "C_Sign CKR_OK", or NULL. The text is
 * good until the next call. */
const char *trail_use(const char *trail, size_t n);
size_t trail_count(const char *trail);
/* The line of it; NULL: there is none. Likewise. */
const char *trail_line(const char *trail, size_t n);

/* Fails the test unless the uses are these, "" being the end; first is how many are not
 * looked at. */
void trail_assert(const char *trail, size_t first, const char *const *expected);

#endif

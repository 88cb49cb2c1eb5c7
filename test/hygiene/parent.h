/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The side that searches: starts this program anew with a scenario, lets it run from stop
 * to stop, and looks into its memory at each. Where a scenario crashes, into its core
 * dump, in which there may be nothing.
 */
#ifndef TEST_HYGIENE_PARENT_H
#define TEST_HYGIENE_PARENT_H

#include "hygiene/subject.h"

/* Between the two sides. */
#define HYGIENE_FD_SAY   3
#define HYGIENE_FD_GO    4
#define HYGIENE_DISGUISE 0xa5

/* Run a scenario in the ground's folder; fails the test if it cannot be run. */
struct findings hygiene_run(const char *scenario, const struct hygiene_ground *ground);
/* The same, and search what it has written: files whose path has that in it. */
struct findings hygiene_run_and_read(const char *scenario,
				     const struct hygiene_ground *ground,
				     const char *part);
/* The same as the first; the test fails if anything leaked, or nothing was searched. */
void hygiene_check(const char *scenario, const struct hygiene_ground *ground);

#endif

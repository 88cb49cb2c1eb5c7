/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The side that searches: starts this program anew with a scenario, lets it run from stop
 * to stop, and looks into its memory at each.
 *
 * What may be found: the PIN, while it is needed, in pages that are locked and left out
 * of core dumps. Anything else fails the test, with the place and what is around it. At
 * the last stop the process is made to dump core, and in that there may be nothing.
 */
#ifndef TEST_HYGIENE_PARENT_H
#define TEST_HYGIENE_PARENT_H

#include <stdbool.h>
#include <stddef.h>

#define HYGIENE_FD_SAY   3
#define HYGIENE_FD_GO    4
#define HYGIENE_FOLDER   "HSMPOOL_TEST_FOLDER"
#define HYGIENE_DISGUISE 0xa5

/* What the searches of one scenario found. */
struct findings {
	unsigned stops;
	unsigned allowed; /* the PIN where it may be */
	unsigned leaked;
	bool has_core; /* one was made and searched */
};

/* On the mock, in a folder that is the child's working directory; the PIN is in its file
 * "pin". */
struct hygiene_ground {
	const char *pin_source; /* NULL: none */
	const char *lines; /* of the configuration, behind those of [pool]; or NULL */
	bool is_quiet;     /* leaks are counted, not reported */
};

/* Run a scenario; fails the test if it cannot be run. */
struct findings hygiene_run(const char *scenario, const struct hygiene_ground *ground);
/* The same; the test fails if anything leaked, or nothing was searched. */
void hygiene_check(const char *scenario, const struct hygiene_ground *ground);

#endif

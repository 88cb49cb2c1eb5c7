/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is searched for, where, and the verdict on what is found.
 *
 * Owns: the folder with PIN, configuration and the mock's file of the PIN. What may be
 * found: the PIN, while it is needed, in pages that are locked and left out of core
 * dumps; in the middle of an operation, its input in pages that are left out of them.
 */
#ifndef TEST_HYGIENE_SUBJECT_H
#define TEST_HYGIENE_SUBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "hygiene/search.h"

/* Variables of the environment. */
#define HYGIENE_FOLDER "HSMPOOL_TEST_FOLDER"
#define HYGIENE_PIN    "HSMPOOL_TEST_PIN"

/* On the mock; the PIN is in the file "pin" of the folder. */
struct hygiene_ground {
	const char *pin_source; /* NULL: none */
	/* Of the configuration, behind [pool]'s, or NULL; a '@' is the folder. */
	const char *lines;
	bool has_pin_in_environment; /* in HYGIENE_PIN, and may be there */
	bool is_quiet;               /* leaks are counted, not reported */
};

struct findings {
	unsigned stops;   /* searches */
	unsigned allowed; /* what was where it may be */
	unsigned leaked;
	bool has_core; /* one was made and searched */
};

/* At the moment of a search. */
enum subject_state {
	SUBJECT_CLEAN, /* nothing may be there */
	SUBJECT_HOLDS_PIN,
	SUBJECT_IS_BUSY, /* holds the PIN, and is in the middle of an operation */
};

struct subject {
	char folder[256];
	struct needles needles;
	struct hygiene_ground ground;
	struct findings findings;
	/* of the search that is going on */
	enum subject_state state;
	pid_t pid;
	const char *where;
};

/* A new folder, and the environment that leads there. */
void subject_begin(struct subject *s, const struct hygiene_ground *ground);
void subject_end(struct subject *s);
/* Valid until the next call. */
const char *subject_path(const struct subject *s, const char *name);
void subject_write(const struct subject *s, const char *name, const void *data,
		   size_t len);

/* Look for it from now on. A canary whose name begins with "pin" is one. */
void subject_add_canary(struct subject *s, const char *name);
void subject_add_secret(struct subject *s, const char *name, const uint8_t *secret,
			size_t len);

/* Fail the test if it is not possible. */
void subject_search(struct subject *s, pid_t pid, const char *where,
		    enum subject_state state);
void subject_search_core(struct subject *s, const char *path);
/* Every file of the folder whose path has this in it; how many there were. */
unsigned subject_search_files(struct subject *s, const char *part);

#endif

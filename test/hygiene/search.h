/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Searching the memory of a process, or a core file, for canaries.
 *
 * Every readable mapping is looked through, at every offset, for any HYGIENE_WINDOW bytes
 * in a row of a canary or a secret. What the kernel leaves out of a core dump, and what
 * is locked, is read from /proc/PID/smaps.
 */
#ifndef TEST_HYGIENE_SEARCH_H
#define TEST_HYGIENE_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define HYGIENE_WINDOW    12
#define HYGIENE_LONGEST   64 /* of a secret */
#define HYGIENE_MOST      256
#define HYGIENE_NAME_ROOM 48

struct needle {
	char name[HYGIENE_NAME_ROOM];
	uint8_t bytes[HYGIENE_LONGEST];
	size_t len;
	bool is_repeated; /* a canary: any number of times in a row */
	bool is_pin;
};

struct needles {
	struct needle at[HYGIENE_MOST];
	size_t count;
};

struct mapping {
	uint64_t from, to;
	bool is_readable, is_shared;
	bool is_locked;   /* VmFlags lo */
	bool is_undumped; /* VmFlags dd */
	char name[200];   /* "[heap]", a file, or "" */
};

struct hit {
	const struct needle *needle;
	const struct mapping *mapping;
	uint64_t address;
	size_t len;
	const uint8_t *around; /* around_len bytes, of which the first is at around_at */
	size_t around_len;
	uint64_t around_at;
};

typedef void (*hit_fn)(void *user, const struct hit *hit);

void needles_add(struct needles *needles, const struct needle *needle);
/* False: the process's memory cannot be read. */
bool search_process(pid_t pid, const struct needles *needles, hit_fn fn, void *user);
bool search_file(const char *path, const struct needles *needles, hit_fn fn, void *user);

#endif

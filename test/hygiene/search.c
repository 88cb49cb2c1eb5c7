/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See search.h.
 *
 * The first eight bytes of each window are looked up in a small table, after a bitmap of
 * their first two has let them pass: about a nanosecond for each byte of memory.
 */
#include "hygiene/search.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/memory.h"

#define PIECE  ((size_t)1 << 20)
#define BESIDE 256 /* bytes of a piece that are read again with the next */
#define SLOTS  16384

/* --- the table --------------------------------------------------------------------- */

struct window {
	uint64_t first; /* 0: the slot is free */
	const struct needle *needle;
	size_t offset; /* in the needle */
};

struct table {
	struct window at[SLOTS];
	uint8_t is_begun[65536 / 8];
};

static uint64_t load(const uint8_t *from)
{
	uint64_t value;
	memcpy(&value, from, sizeof(value));
	return value;
}

static size_t slot_of(uint64_t first)
{
	return (size_t)((first * UINT64_C(0x9e3779b97f4a7c15)) >> 32) % SLOTS;
}

static uint8_t byte_at(const struct needle *needle, size_t i)
{
	return needle->bytes[needle->is_repeated ? i % needle->len : i];
}

static void add_window(struct table *table, const struct needle *needle, size_t offset)
{
	uint8_t bytes[sizeof(uint64_t)];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = byte_at(needle, offset + i);
	uint64_t first = load(bytes);
	size_t slot = slot_of(first);
	while (table->at[slot].first)
		slot = (slot + 1) % SLOTS;
	table->at[slot] = (struct window){ first, needle, offset };
	table->is_begun[(uint16_t)first / 8] |= (uint8_t)(1 << (first % 8));
}

static struct table *table_new(const struct needles *needles)
{
	struct table *table = calloc(1, sizeof(*table));
	for (size_t n = 0; table && n < needles->count; n++) {
		const struct needle *needle = &needles->at[n];
		size_t windows = needle->is_repeated ? needle->len
						     : needle->len - HYGIENE_WINDOW + 1;
		for (size_t i = 0; i < windows; i++)
			add_window(table, needle, i);
	}
	return table;
}

/* How many bytes from there on are the needle's. */
static size_t match_len(const struct window *window, const uint8_t *at, size_t left)
{
	const struct needle *needle = window->needle;
	size_t most = needle->is_repeated ? left : needle->len - window->offset;
	size_t len = 0;
	while (len < left && len < most &&
	       at[len] == byte_at(needle, window->offset + len))
		len++;
	return len;
}

static const struct window *find(const struct table *table, const uint8_t *at,
				 size_t left, size_t *len)
{
	uint64_t first = load(at);
	if (!(table->is_begun[(uint16_t)first / 8] & (1 << (first % 8))))
		return NULL;
	for (size_t slot = slot_of(first); table->at[slot].first;
	     slot = (slot + 1) % SLOTS) {
		if (table->at[slot].first != first)
			continue;
		*len = match_len(&table->at[slot], at, left);
		if (*len >= HYGIENE_WINDOW)
			return &table->at[slot];
	}
	return NULL;
}

void needles_add(struct needles *needles, const struct needle *needle)
{
	for (size_t i = 0; i < needles->count; i++)
		if (strcmp(needles->at[i].name, needle->name) == 0) {
			needles->at[i] = *needle;
			return;
		}
	if (needles->count < HYGIENE_MOST)
		needles->at[needles->count++] = *needle;
}

/* --- pieces ------------------------------------------------------------------------ */

struct search {
	const struct table *table;
	hit_fn fn;
	void *user;
	int fd;
	uint8_t *data; /* PIECE */
};

static void report(const struct search *s, const struct mapping *mapping, uint64_t from,
		   const struct window *window, size_t at, size_t len, size_t data_len)
{
	size_t start = at < 64 ? 0 : at - 64;
	size_t shown = len < 64 ? len : 64;
	size_t end = at + shown + 64 < data_len ? at + shown + 64 : data_len;
	const struct hit hit = {
		.needle = window->needle,
		.mapping = mapping,
		.address = from + at,
		.len = len,
		.around = s->data + start,
		.around_len = end - start,
		.around_at = from + start,
	};
	s->fn(s->user, &hit);
}

/* Windows that begin before until. */
static void search_piece(const struct search *s, const struct mapping *mapping,
			 uint64_t from, size_t len, size_t until)
{
	for (size_t at = 0; at < until && at + HYGIENE_WINDOW <= len;) {
		size_t found = 0;
		const struct window *window =
			find(s->table, s->data + at, len - at, &found);
		if (window)
			report(s, mapping, from, window, at, found, len);
		at += window ? found : 1;
	}
}

static void search_mapping(const struct search *s, const struct mapping *mapping)
{
	for (uint64_t at = mapping->from; at < mapping->to;) {
		size_t want = mapping->to - at < PIECE ? mapping->to - at : PIECE;
		ssize_t got = pread(s->fd, s->data, want, (off_t)at);
		if (got <= 0) /* a guard page, or one of the kernel's */
			return;
		bool is_end = at + (uint64_t)got == mapping->to;
		size_t until =
			is_end || got <= BESIDE ? (size_t)got : (size_t)got - BESIDE;
		search_piece(s, mapping, at, (size_t)got, until);
		at += until;
	}
}

/* --- the mappings ------------------------------------------------------------------ */

/* "7f..-7f.. rw-p 00000000 00:00 0   [heap]"; false: another line of smaps. */
static bool read_head(const char *line, struct mapping *mapping)
{
	unsigned long from, to;
	char rights[5];
	int name_at = 0;
	if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %n", &from, &to, rights, &name_at) < 3)
		return false;
	*mapping = (struct mapping){ .from = from,
				     .to = to,
				     .is_readable = rights[0] == 'r',
				     .is_shared = rights[3] == 's' };
	snprintf(mapping->name, sizeof(mapping->name), "%s", line + name_at);
	mapping->name[strcspn(mapping->name, "\n")] = '\0';
	return true;
}

static void read_flags(const char *line, struct mapping *mapping)
{
	mapping->is_locked = strstr(line, " lo") != NULL;
	mapping->is_undumped = strstr(line, " dd") != NULL;
}

static void search_mappings(const struct search *s, FILE *smaps)
{
	char line[600];
	struct mapping mapping = { 0 };
	while (fgets(line, sizeof(line), smaps)) {
		if (read_head(line, &mapping) || strncmp(line, "VmFlags:", 8) != 0)
			continue;
		read_flags(line, &mapping);
		if (mapping.is_readable)
			search_mapping(s, &mapping);
	}
}

bool search_process(pid_t pid, const struct needles *needles, hit_fn fn, void *user)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	HP_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	FILE *smaps = fopen(path, "re");
	struct search s = { table_new(needles), fn, user, fd, malloc(PIECE) };
	bool is_possible = fd >= 0 && smaps && s.table && s.data;
	if (is_possible)
		search_mappings(&s, smaps);
	if (smaps)
		fclose(smaps);
	free((void *)(uintptr_t)s.table);
	free(s.data);
	return is_possible;
}

bool search_file(const char *path, const struct needles *needles, hit_fn fn, void *user)
{
	HP_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct search s = { table_new(needles), fn, user, fd, malloc(PIECE) };
	struct mapping whole = { 0 };
	bool is_possible = fd >= 0 && s.table && s.data;
	snprintf(whole.name, sizeof(whole.name), "%s", path);
	whole.to = is_possible ? (uint64_t)lseek(fd, 0, SEEK_END) : 0;
	search_mapping(&s, &whole);
	free((void *)(uintptr_t)s.table);
	free(s.data);
	return is_possible;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configuration as it is kept: sections that hold one text per option.
 *
 * Owns: the sections' names and which of them exist. Not thread-safe, as
 * <hsmpool/config.h> says. Texts are checked when they are assigned.
 */
#ifndef HP_CONFIG_SECTION_H
#define HP_CONFIG_SECTION_H

#include <stdbool.h>
#include <hsmpool/config.h>
#include "config/table.h"

#define HP_SECTION_NAME_MAX 40

struct hp_section {
	const char *kind; /* "pool", "key", "policy" or "proxy": static */
	char name[HP_SECTION_NAME_MAX + 1];
	char *values[HP_OPTION_COUNT]; /* NULL: not set here */
	bool is_own[HP_OPTION_COUNT];  /* by the program, not by the file */
	struct hp_section *next;
};

struct hsmpool_config {
	char *path;               /* NULL: no file */
	char *state_dir;          /* the default; NULL: no home folder */
	struct hp_section *first; /* in the order of appearance */
};

/* Which section does "pool NAME" mean? kind NULL-terminated static text, name copied. */
hsmpool_status hp_section_parse(const char *header, const char **kind,
				char name[static HP_SECTION_NAME_MAX + 1],
				hsmpool_error *err);

/* NULL if the configuration has none. */
struct hp_section *hp_section_find(const hsmpool_config *config, const char *kind,
				   const char *name);

/* Find the section of this header or make it. */
hsmpool_status hp_section_open(hsmpool_config *config, const char *header,
			       struct hp_section **out, hsmpool_error *err);

/* Set (value NULL: take back) one option. The error's text begins with the key. */
hsmpool_status hp_section_assign(struct hp_section *section, const char *key,
				 const char *value, hsmpool_error *err);

/* "[pool]", "[pool two]" */
void hp_section_title(const struct hp_section *section, char *title, size_t size);

void hp_section_free(struct hp_section *section);

/* The end of a path that is too long for a one-line message. */
const char *hp_path_tail(const char *path);

/*
 * A copy, to make it again later: with the file's whole path, and which values the
 * program set. Fails with SYSTEM: no memory.
 */
hsmpool_status hp_config_origin(const hsmpool_config *config, hsmpool_config **origin,
				hsmpool_error *err);
/* Read the file of an origin again, set what the program had set, and check the whole.
 * The environment is not asked: another thread may be changing it. */
hsmpool_status hp_config_renew(const hsmpool_config *origin, hsmpool_config **out,
			       hsmpool_error *err);

/* Do both have the same sections of that kind, with the same values? */
bool hp_config_has_same(const hsmpool_config *a, const hsmpool_config *b,
			const char *kind);

/* Read the file into config; file.c. path NULL: search. */
hsmpool_status hp_config_read(hsmpool_config *config, const char *path,
			      hsmpool_error *err);

#endif

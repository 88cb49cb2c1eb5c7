/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sections: their names, and the texts assigned in them.
 *
 * Owns: which headers are valid. Must not: read files or resolve inheritance. A section
 * is found again by kind and name, so a file may open one twice.
 */
#include "config/section.h"

#include "base/error.h"
#include "base/memory.h"
#include "config/value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLANKS          " \t"
#define LONGEST_MESSAGE 200 /* bytes of a path that a message repeats */

struct section_kind {
	const char *kind;
	bool can_be_bare;
	bool can_be_named;
};

static const struct section_kind kinds[] = {
	{ "pool", true, true },
	{ "key", false, true },
	{ "policy", false, true },
	{ "proxy", true, false },
};

const char *hp_path_tail(const char *path)
{
	size_t len = strlen(path);
	return len > LONGEST_MESSAGE ? path + len - LONGEST_MESSAGE : path;
}

static hsmpool_status refuse_kind(const char *header, hsmpool_error *err)
{
	size_t len = strcspn(header, BLANKS);
	char word[16];
	snprintf(word, sizeof(word), "%.*s", (int)(len < 15 ? len : 15), header);
	for (size_t i = 0; i < HP_ARRAY_LEN(kinds); i++)
		if (hp_edit_distance(word, kinds[i].kind) < 3)
			return hp_fail(err, HSMPOOL_ERR_CONFIG,
				       "unknown section [%.60s]; did you mean [%s%s]?",
				       header, kinds[i].kind,
				       kinds[i].can_be_bare ? "" : " NAME");
	return hp_fail(err, HSMPOOL_ERR_CONFIG,
		       "unknown section [%.60s]; there are [pool], [pool NAME], "
		       "[key NAME], [policy NAME] and [proxy]",
		       header);
}

/* Such a name is never mistaken for a URI or an option of a command line. */
static bool is_valid_name(const char *name)
{
	static const char characters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
					 "abcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t len = strlen(name);
	return len <= HP_SECTION_NAME_MAX && name[0] != '-' &&
	       strspn(name, characters) == len;
}

hsmpool_status hp_section_parse(const char *header, const char **kind,
				char name[static HP_SECTION_NAME_MAX + 1],
				hsmpool_error *err)
{
	header += strspn(header, BLANKS);
	size_t kind_len = strcspn(header, BLANKS);
	const struct section_kind *found = NULL;
	for (size_t i = 0; i < HP_ARRAY_LEN(kinds); i++)
		if (strlen(kinds[i].kind) == kind_len &&
		    memcmp(kinds[i].kind, header, kind_len) == 0)
			found = &kinds[i];
	if (!found)
		return refuse_kind(header, err);

	const char *rest = header + kind_len + strspn(header + kind_len, BLANKS);
	char trimmed[HP_SECTION_NAME_MAX + 2];
	size_t len = strcspn(rest, BLANKS);
	bool has_more = rest[len + strspn(rest + len, BLANKS)] != '\0';
	snprintf(trimmed, sizeof(trimmed), "%.*s", (int)(len < 50 ? len : 50), rest);
	HP_CHECK(len > 0 || found->can_be_bare, err, HSMPOOL_ERR_CONFIG,
		 "the section [%s] needs a name: [%s NAME]", found->kind, found->kind);
	HP_CHECK(len == 0 || found->can_be_named, err, HSMPOOL_ERR_CONFIG,
		 "the section [%s] takes no name", found->kind);
	HP_CHECK(is_valid_name(trimmed) && !has_more, err, HSMPOOL_ERR_CONFIG,
		 "the section name '%.60s' is not valid; use at most %d letters, digits, "
		 "'.', '_' and '-'",
		 rest, HP_SECTION_NAME_MAX);
	*kind = found->kind;
	memcpy(name, trimmed, len + 1);
	return HSMPOOL_OK;
}

struct hp_section *hp_section_find(const hsmpool_config *config, const char *kind,
				   const char *name)
{
	struct hp_section *at = config->first;
	while (at && (strcmp(at->kind, kind) != 0 || strcmp(at->name, name) != 0))
		at = at->next;
	return at;
}

hsmpool_status hp_section_open(hsmpool_config *config, const char *header,
			       struct hp_section **out, hsmpool_error *err)
{
	const char *kind = NULL;
	char name[HP_SECTION_NAME_MAX + 1] = "";
	HP_TRY(hp_section_parse(header, &kind, name, err));
	*out = hp_section_find(config, kind, name);
	if (*out)
		return HSMPOOL_OK;
	struct hp_section *made = calloc(1, sizeof(*made));
	HP_CHECK(made, err, HSMPOOL_ERR_SYSTEM, "no memory for the configuration");
	made->kind = kind;
	memcpy(made->name, name, sizeof(name));
	struct hp_section **end = &config->first;
	while (*end)
		end = &(*end)->next;
	*end = made;
	*out = made;
	return HSMPOOL_OK;
}

hsmpool_status hp_section_assign(struct hp_section *section, const char *key,
				 const char *value, hsmpool_error *err)
{
	size_t index = hp_option_find(section->kind, key);
	if (index == HP_OPTION_COUNT) {
		char hint[100];
		char title[HP_SECTION_NAME_MAX + 16];
		hp_option_hint(section->kind, key, hint, sizeof(hint));
		hp_section_title(section, title, sizeof(title));
		return hp_fail(err, HSMPOOL_ERR_CONFIG, "unknown key '%.60s' in %s%s",
			       key, title, hint);
	}
	char *copy = NULL;
	if (value) {
		HP_TRY(hp_option_apply(index, value, NULL, err));
		copy = strdup(value);
		HP_CHECK(copy, err, HSMPOOL_ERR_SYSTEM,
			 "no memory for the configuration");
	}
	free(section->values[index]);
	section->values[index] = copy;
	return HSMPOOL_OK;
}

void hp_section_title(const struct hp_section *section, char *title, size_t size)
{
	snprintf(title, size, "[%s%s%s]", section->kind, section->name[0] ? " " : "",
		 section->name);
}

void hp_section_free(struct hp_section *section)
{
	for (size_t i = 0; i < HP_OPTION_COUNT; i++)
		free(section->values[i]);
	free(section);
}

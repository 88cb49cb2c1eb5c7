/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a trail as text, without a look at its chain.
 */
#include "support/trail.h"

#include "support/fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void append_file(char **text, size_t *len, const char *folder, const char *name)
{
	char path[600];
	char buffer[4096];
	size_t got;
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	while ((got = fread(buffer, 1, sizeof(buffer), file)) > 0) {
		*text = realloc(*text, *len + got + 1);
		assert_non_null(*text);
		memcpy(*text + *len, buffer, got);
		*len += got;
	}
	(*text)[*len] = '\0';
	fclose(file);
}

static int is_chain(const struct dirent *entry)
{
	return strncmp(entry->d_name, "chain-", 6) == 0 &&
	       strstr(entry->d_name, ".jsonl");
}

char *trail_read(const char *folder)
{
	struct dirent **entries;
	char *text = calloc(1, 1);
	size_t len = 0;
	int count = scandir(folder, &entries, is_chain, alphasort);
	for (int i = 0; i < count; i++) {
		append_file(&text, &len, folder, entries[i]->d_name);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
	return text;
}

/* Records of the trail itself (open, checkpoint) name no function. */
const char *trail_line(const char *trail, size_t n)
{
	static char line[4096];
	while (*trail) {
		size_t len = strcspn(trail, "\n");
		snprintf(line, sizeof(line), "%.*s", (int)len, trail);
		if (strstr(line, "\"function\":") && n-- == 0)
			return line;
		trail += len + (trail[len] == '\n');
	}
	return NULL;
}

static void copy_member(const char *line, const char *name, char *to, size_t size)
{
	char opening[32];
	snprintf(opening, sizeof(opening), "\"%s\":\"", name);
	const char *at = strstr(line, opening);
	*to = '\0';
	if (!at)
		return;
	at += strlen(opening);
	snprintf(to, size, "%.*s", (int)strcspn(at, "\""), at);
}

const char *trail_use(const char *trail, size_t n)
{
	static char use[128];
	char function[60];
	char result[60];
	const char *line = trail_line(trail, n);
	if (!line)
		return NULL;
	copy_member(line, "function", function, sizeof(function));
	copy_member(line, "result", result, sizeof(result));
	snprintf(use, sizeof(use), "%s %s", function, result);
	return use;
}

size_t trail_count(const char *trail)
{
	size_t count = 0;
	while (trail_line(trail, count))
		count++;
	return count;
}

void trail_assert(const char *trail, size_t first, const char *const *expected)
{
	size_t i = 0;
	for (; expected[i][0]; i++) {
		const char *use = trail_use(trail, first + i);
		if (!use || strcmp(use, expected[i]) != 0)
			fail_msg("use %zu is '%s', not '%s', of\n%s", i, use ? use : "-",
				 expected[i], trail);
	}
	if (trail_use(trail, first + i))
		fail_msg("one use too many: '%s', of\n%s", trail_use(trail, first + i),
			 trail);
}

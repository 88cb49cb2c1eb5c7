/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See audit_folder.h.
 */
#include "observe/audit_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"
#include "observe/audit_line.h"

/* --- names -------------------------------------------------------------------------- */

void hp_audit_file_name(char name[HP_AUDIT_NAME_SIZE], unsigned chain, uint64_t first)
{
	snprintf(name, HP_AUDIT_NAME_SIZE, "chain-%04u.%012" PRIu64 ".jsonl", chain,
		 first);
}

void hp_audit_ring_name(char name[HP_AUDIT_NAME_SIZE], unsigned chain)
{
	snprintf(name, HP_AUDIT_NAME_SIZE, "chain-%04u.ring", chain);
}

/* The other way: what is scanned must give the same name again. */
bool hp_audit_file_parse(const char *name, struct hp_audit_file *file)
{
	char again[HP_AUDIT_NAME_SIZE];
	if (sscanf(name, "chain-%4u.%20" SCNu64 ".jsonl", &file->chain, &file->first) !=
	    2)
		return false;
	hp_audit_file_name(again, file->chain, file->first);
	return strcmp(again, name) == 0;
}

bool hp_audit_ring_parse(const char *name, unsigned *chain)
{
	char again[HP_AUDIT_NAME_SIZE];
	if (sscanf(name, "chain-%4u.ring", chain) != 1)
		return false;
	hp_audit_ring_name(again, *chain);
	return strcmp(again, name) == 0;
}

/* --- all of them -------------------------------------------------------------------- */

struct list {
	struct hp_audit_file *files;
	size_t count;
	size_t capacity;
};

static bool add_file(struct list *list, const struct hp_audit_file *file)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? 2 * list->capacity : 64;
		void *grown = reallocarray(list->files, capacity, sizeof *list->files);
		if (!grown)
			return false;
		list->files = grown;
		list->capacity = capacity;
	}
	list->files[list->count++] = *file;
	return true;
}

static bool add_all(struct list *list, DIR *dir)
{
	for (const struct dirent *entry; (entry = readdir(dir));) {
		struct hp_audit_file file;
		if (hp_audit_file_parse(entry->d_name, &file) && !add_file(list, &file))
			return false;
	}
	return true;
}

static int compare_files(const void *a, const void *b)
{
	const struct hp_audit_file *one = a;
	const struct hp_audit_file *two = b;
	if (one->chain != two->chain)
		return one->chain < two->chain ? -1 : 1;
	if (one->first != two->first)
		return one->first < two->first ? -1 : 1;
	return 0;
}

/* The folder's descriptor has a position; reading goes through one of its own. */
static DIR *open_listing(int folder)
{
	int own = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = own >= 0 ? fdopendir(own) : NULL;
	if (!dir && own >= 0)
		close(own);
	return dir;
}

hsmpool_status hp_audit_folder_files(int folder, struct hp_audit_file **files,
				     size_t *count, hsmpool_error *err)
{
	struct list list = { 0 };
	DIR *dir = open_listing(folder);
	if (!dir)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
				     "audit: the folder cannot be read");
	bool is_complete = add_all(&list, dir);
	closedir(dir);
	if (!is_complete) {
		free(list.files);
		return hp_fail(err, HSMPOOL_ERR_SYSTEM,
			       "audit: no memory for the list of files");
	}
	if (list.count)
		qsort(list.files, list.count, sizeof *list.files, compare_files);
	*files = list.files;
	*count = list.count;
	return HSMPOOL_OK;
}

/* --- how a file ends ---------------------------------------------------------------- */

static const char *last_feed(const char *text, size_t len)
{
	return len ? memrchr(text, '\n', len) : NULL;
}

/* Two of the longest lines: at least one whole and a torn one. */
bool hp_audit_read_tail(int file, struct hp_audit_tail *tail)
{
	char text[2 * HP_AUDIT_LINE_MAX];
	struct stat info;
	*tail = (struct hp_audit_tail){ 0 };
	if (fstat(file, &info) != 0)
		return false;
	tail->size = (uint64_t)info.st_size;
	uint64_t from = tail->size > sizeof text ? tail->size - sizeof text : 0;
	ssize_t got = pread(file, text, sizeof text, (off_t)from);
	if (got < 0 || (uint64_t)got != tail->size - from)
		return false;
	const char *end = last_feed(text, (size_t)got);
	tail->whole = end ? from + (uint64_t)(end - text) + 1 : from;
	tail->has_line = end != NULL || from > 0;
	if (!end)
		return true;
	const char *before = last_feed(text, (size_t)(end - text));
	const char *line = before ? before + 1 : text;
	struct hp_line_frame frame;
	tail->is_readable = hp_line_parse(line, (size_t)(end - line), &frame);
	if (tail->is_readable) {
		tail->seq = frame.seq;
		memcpy(tail->hash, frame.hash, sizeof tail->hash);
	}
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See audit_lines.h.
 */
#include "observe/audit_lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/memory.h"

#define BUFFER_SIZE ((size_t)64 * 1024)

int hp_audit_open_to_read(int folder, const char *name)
{
	struct stat info;
	HP_AUTO_FD int file =
		openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (file < 0 || fstat(file, &info) != 0)
		return -1;
	if (!S_ISREG(info.st_mode)) {
		errno = ELOOP;
		return -1;
	}
	int opened = file;
	file = -1;
	return opened;
}

bool hp_audit_lines_open(struct hp_audit_lines *lines, int folder, const char *name)
{
	*lines = (struct hp_audit_lines){ .file = hp_audit_open_to_read(folder, name) };
	if (lines->file < 0)
		return false;
	lines->buffer = malloc(BUFFER_SIZE + 1); /* and a NUL */
	if (lines->buffer)
		return true;
	hp_audit_lines_close(lines);
	errno = ENOMEM;
	return false;
}

void hp_audit_lines_close(struct hp_audit_lines *lines)
{
	if (lines->file >= 0)
		close(lines->file);
	lines->file = -1;
	free(lines->buffer);
	lines->buffer = NULL;
}

static void give_out(struct hp_audit_lines *lines, size_t len)
{
	lines->begin += len;
	lines->at += len;
}

/* False: there is no more. What is there stays to be read again: whoever writes the file
 * may cut it off and write another. */
static bool fill(struct hp_audit_lines *lines)
{
	size_t have = lines->end - lines->begin;
	ssize_t got;
	memmove(lines->buffer, lines->buffer + lines->begin, have);
	do
		got = pread(lines->file, lines->buffer + have, BUFFER_SIZE - have,
			    (off_t)(lines->at + have));
	while (got < 0 && errno == EINTR);
	lines->failure = got < 0 ? errno : 0;
	lines->begin = 0;
	lines->end = have + (got > 0 ? (size_t)got : 0);
	return got > 0;
}

/* A line, or as much of one as fits the buffer. */
static bool next_piece(struct hp_audit_lines *lines, const char **piece, size_t *len,
		       bool *is_end)
{
	for (;;) {
		size_t have = lines->end - lines->begin;
		*piece = lines->buffer + lines->begin;
		const char *feed = have ? memchr(*piece, '\n', have) : NULL;
		*is_end = feed != NULL;
		*len = feed ? (size_t)(feed - *piece) : have;
		if (feed || have == BUFFER_SIZE)
			break;
		if (!fill(lines)) {
			lines->rest = lines->at + lines->end - lines->line_at;
			lines->end = 0;
			return false;
		}
	}
	give_out(lines, *len + *is_end);
	return true;
}

bool hp_audit_lines_next(struct hp_audit_lines *lines, const char **line, size_t *len)
{
	bool is_rest, is_end;
	do {
		if (!lines->is_skipping)
			lines->line_at = lines->at;
		if (!next_piece(lines, line, len, &is_end))
			return false;
		lines->buffer[*line - lines->buffer + (ptrdiff_t)*len] = '\0';
		is_rest = lines->is_skipping;
		lines->is_skipping = !is_end;
	} while (is_rest);
	lines->number++;
	return true;
}

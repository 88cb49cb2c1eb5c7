/* SPDX-License-Identifier: Apache-2.0 */
/* See scratch.h. */
#include "scratch.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];

static void need(int succeeded, const char *what)
{
	if (succeeded)
		return;
	perror(what);
	abort();
}

const char *scratch_dir(void)
{
	if (!dir[0]) {
		snprintf(dir, sizeof(dir), "/tmp/hsmpool-unit-XXXXXX");
		need(mkdtemp(dir) != NULL, "mkdtemp");
	}
	return dir;
}

static int remove_entry(const char *path, const struct stat *info, int kind,
			struct FTW *position)
{
	(void)info;
	(void)kind;
	(void)position;
	return remove(path);
}

void scratch_remove(void)
{
	if (dir[0])
		nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	dir[0] = '\0';
}

const char *scratch_path(const char *name)
{
	static char paths[4][512];
	static unsigned next;
	char *path = paths[next++ % 4];
	snprintf(path, sizeof(paths[0]), "%s/%s", scratch_dir(), name);
	return path;
}

const char *scratch_write(const char *name, const void *data, size_t len, mode_t mode)
{
	const char *path = scratch_path(name);
	unlink(path);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	need(fd >= 0, path);
	need(write(fd, data, len) == (ssize_t)len, path);
	need(fchmod(fd, mode) == 0, path);
	close(fd);
	return path;
}

const char *scratch_text(const char *name, const char *text)
{
	return scratch_write(name, text, strlen(text), 0600);
}

void scratch_read(const char *name, char *to, size_t size)
{
	const char *path = scratch_path(name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	need(fd >= 0, path);
	ssize_t len = read(fd, to, size - 1);
	need(len >= 0, path);
	to[len] = '\0';
	close(fd);
}

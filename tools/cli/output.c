/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing files whole or not at all: see output.h.
 *
 * Owns: the temporary name, its removal, durability (fsync of file and folder), the rule
 * that nothing existing is replaced by accident. Knows nothing of what is written.
 */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"
#include "stop.h"

#define SYNC_STEP (8 << 20)

/* The folder that path lies in, into folder. */
static hsmpool_status folder_of(const char *path, char *folder, size_t cap,
				hsmpool_error *err)
{
	char copy[PATH_MAX];

	HP_CHECK(strlen(path) < sizeof(copy) - 32, err, HSMPOOL_ERR_USAGE,
		 "the name of the output file is too long");
	snprintf(copy, sizeof(copy), "%s", path);
	snprintf(folder, cap, "%s", dirname(copy));
	return HSMPOOL_OK;
}

static hsmpool_status create_temporary(struct output *out, hsmpool_error *err)
{
	char folder[PATH_MAX - 32];
	int failure;

	HP_TRY(folder_of(out->path, folder, sizeof(folder), err));
	snprintf(out->temporary_path, sizeof(out->temporary_path), "%s/.hsmpool-XXXXXX",
		 folder);
	stop_hold();
	out->fd = mkostemp(out->temporary_path, O_CLOEXEC);
	failure = errno;
	if (out->fd >= 0)
		stop_add_unfinished(out->temporary_path);
	stop_release();
	if (out->fd < 0)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, failure,
				     "cannot create a file in %s", folder);
	out->is_temporary = true;
	return HSMPOOL_OK;
}

static hsmpool_status open_directly(struct output *out, hsmpool_error *err)
{
	out->fd = open(out->path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	if (out->fd < 0)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno, "cannot open %s",
				     out->path);
	return HSMPOOL_OK;
}

/* What a symbolic link leads to is replaced, not the link: /dev/stdout is one. */
static hsmpool_status prepare_to_replace(struct output *out, const struct stat *existing,
					 hsmpool_error *err)
{
	HP_CHECK(out->is_forced, err, HSMPOOL_ERR_EXISTS,
		 "%s exists already; use --force to replace it", out->path);
	if (!S_ISLNK(existing->st_mode))
		return HSMPOOL_OK;
	if (!realpath(out->path, out->target))
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
				     "cannot find where the link %s leads to", out->path);
	out->path = out->target;
	return HSMPOOL_OK;
}

hsmpool_status output_open(struct output *out, const char *path, bool is_forced,
			   hsmpool_error *err)
{
	struct stat st;
	bool is_there;

	*out = (struct output){ .fd = STDOUT_FILENO,
				.name = "standard output",
				.is_forced = is_forced };
	if (!path || strcmp(path, "-") == 0)
		return HSMPOOL_OK;
	out->fd = -1;
	out->path = out->name = path;
	HP_CHECK(*path != '\0', err, HSMPOOL_ERR_USAGE, "the output file has no name");
	is_there = stat(path, &st) == 0;
	if (is_there && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return open_directly(out, err);
	HP_CHECK((!is_there || !S_ISDIR(st.st_mode)) && path[strlen(path) - 1] != '/',
		 err, HSMPOOL_ERR_USAGE, "%s is a folder", path);
	if (lstat(path, &st) == 0)
		HP_TRY(prepare_to_replace(out, &st, err));
	else if (errno != ENOENT)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno, "cannot create %s",
				     path);
	return create_temporary(out, err);
}

/* A file that is replaced is another one, and others (pipes, terminals) have no end to
 * run away from. */
hsmpool_status output_refuse_input(const struct output *out, int in, hsmpool_error *err)
{
	struct stat from, to;
	bool is_same = fstat(in, &from) == 0 && fstat(out->fd, &to) == 0 &&
		       from.st_dev == to.st_dev && from.st_ino == to.st_ino;

	HP_CHECK(!is_same || !(S_ISREG(to.st_mode) || S_ISBLK(to.st_mode)), err,
		 HSMPOOL_ERR_USAGE,
		 "the input is the output, %s: it would be overwritten while it is read; "
		 "use --out and --force",
		 out->name);
	return HSMPOOL_OK;
}

hsmpool_status output_write(struct output *out, const void *data, size_t len,
			    hsmpool_error *err)
{
	const uint8_t *at = data;

	while (len > 0) {
		ssize_t done;

		HP_TRY(stop_wait(out->fd, POLLOUT, err));
		done = write(out->fd, at, len);
		if (done < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (done < 0)
			return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
					     "cannot write %s", out->name);
		at += done;
		len -= (size_t)done;
		out->written += (uint64_t)done;
	}
	return HSMPOOL_OK;
}

void output_begin_sync(struct output *out)
{
	off_t at = out->is_temporary ? lseek(out->fd, 0, SEEK_CUR) : 0;

	if (at - out->sync_begun < SYNC_STEP)
		return;
	sync_file_range(out->fd, out->sync_begun, at - out->sync_begun,
			SYNC_FILE_RANGE_WRITE);
	out->sync_begun = at;
}

/* Where the file system cannot rename without replacing, a hard link can. */
static int link_and_unlink(const char *from, const char *to)
{
	if (link(from, to) < 0)
		return -1;
	unlink(from);
	return 0;
}

static int give_name(const struct output *out)
{
	int result;

	if (out->is_forced)
		return rename(out->temporary_path, out->path);
	result = renameat2(AT_FDCWD, out->temporary_path, AT_FDCWD, out->path,
			   RENAME_NOREPLACE);
	if (result < 0 && (errno == EINVAL || errno == ENOSYS))
		result = link_and_unlink(out->temporary_path, out->path);
	return result;
}

static hsmpool_status rename_to_final(struct output *out, hsmpool_error *err)
{
	int result;
	int failure;

	stop_hold();
	result = give_name(out);
	failure = errno;
	if (result == 0) {
		stop_forget_unfinished(out->temporary_path);
		out->is_temporary = false;
	}
	stop_release();
	if (result == 0)
		return HSMPOOL_OK;
	if (failure == EEXIST)
		return hp_fail(err, HSMPOOL_ERR_EXISTS,
			       "%s came into being meanwhile; use --force to replace it",
			       out->path);
	return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, failure, "cannot name %s",
			     out->path);
}

/* The rename must survive a power cut too. Some file systems cannot sync a folder. */
static hsmpool_status sync_folder(const struct output *out, hsmpool_error *err)
{
	char folder[PATH_MAX];
	HP_AUTO_FD int fd = -1;

	HP_TRY(folder_of(out->path, folder, sizeof(folder), err));
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && fsync(fd) < 0 && errno != EINVAL && errno != EROFS)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno, "cannot sync %s",
				     folder);
	return HSMPOOL_OK;
}

hsmpool_status output_commit(struct output *out, hsmpool_error *err)
{
	if (!out->is_temporary)
		return HSMPOOL_OK;
	HP_TRY(stop_check(err));
	if (fsync(out->fd) < 0)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno, "cannot write %s",
				     out->name);
	HP_TRY(rename_to_final(out, err));
	return sync_folder(out, err);
}

void output_close(struct output *out)
{
	if (out->is_temporary) {
		stop_hold();
		unlink(out->temporary_path);
		stop_forget_unfinished(out->temporary_path);
		stop_release();
		out->is_temporary = false;
	}
	if (out->path && out->fd >= 0)
		close(out->fd);
	out->fd = -1;
}

static bool find_folder(const struct output *out, struct stat *st)
{
	char folder[PATH_MAX - 32];
	hsmpool_error unseen;

	return out->is_temporary &&
	       folder_of(out->path, folder, sizeof(folder), &unseen) == HSMPOOL_OK &&
	       stat(folder, st) == 0;
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

bool output_is_same_place(const struct output *a, const struct output *b)
{
	struct stat of_a, of_b;

	return find_folder(a, &of_a) && find_folder(b, &of_b) &&
	       of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino &&
	       strcmp(last_part(a->path), last_part(b->path)) == 0;
}

bool output_is_terminal(const struct output *out)
{
	return isatty(out->fd) == 1;
}

hsmpool_status output_refuse_terminal(const struct output *out, hsmpool_error *err)
{
	HP_CHECK(out->is_forced || !output_is_terminal(out), err, HSMPOOL_ERR_USAGE,
		 "this would write binary data to a terminal; use --out FILE, a pipe, "
		 "or --force");
	return HSMPOOL_OK;
}

hsmpool_status output_write_file(const char *path, bool is_forced, const void *data,
				 size_t len, hsmpool_error *err)
{
	OUTPUT_AUTO out = OUTPUT_NONE;

	HP_TRY(output_open(&out, path, is_forced, err));
	HP_TRY(output_write(&out, data, len, err));
	return output_commit(&out, err);
}

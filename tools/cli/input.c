/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading files and standard input: see input.h.
 *
 * Owns: opening, EINTR, signals that come while a read blocks. Knows nothing of what is
 * read.
 */
#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"
#include "stop.h"

/* A folder can be opened, but not read: say so before anything is written. */
static hsmpool_status examine(struct input *in, hsmpool_error *err)
{
	struct stat st;
	off_t at;

	if (fstat(in->fd, &st) < 0)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno, "cannot read %s",
				     in->name);
	HP_CHECK(!S_ISDIR(st.st_mode), err, HSMPOOL_ERR_SYSTEM,
		 "cannot read %s: it is a folder", in->name);
	at = S_ISREG(st.st_mode) ? lseek(in->fd, 0, SEEK_CUR) : -1;
	if (at < 0 || at > st.st_size)
		return HSMPOOL_OK;
	in->has_size = true;
	in->size = (uint64_t)(st.st_size - at);
	return HSMPOOL_OK;
}

hsmpool_status input_open(struct input *in, const char *path, hsmpool_error *err)
{
	*in = (struct input){ .fd = STDIN_FILENO, .name = "standard input" };
	if (path && strcmp(path, "-") != 0) {
		int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

		if (fd < 0) {
			in->fd = -1;
			return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
					     "cannot open %s", path);
		}
		*in = (struct input){ .fd = fd, .is_owned = true, .name = path };
	}
	hsmpool_status status = examine(in, err);
	if (status != HSMPOOL_OK)
		input_close(in);
	return status;
}

void input_close(struct input *in)
{
	if (in->is_owned && in->fd >= 0)
		close(in->fd);
	in->fd = -1;
	in->is_owned = false;
}

hsmpool_status input_read(struct input *in, uint8_t *data, size_t cap, size_t *len,
			  hsmpool_error *err)
{
	ssize_t got;

	*len = 0;
	HP_TRY(rate_limit_wait(&in->limit, cap, &cap, err));
	do {
		HP_TRY(stop_wait(in->fd, POLLIN, err));
		got = read(in->fd, data, cap);
	} while (got < 0 && (errno == EINTR || errno == EAGAIN));
	if (got < 0)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno, "cannot read %s",
				     in->name);
	rate_limit_take(&in->limit, (size_t)got);
	in->done += (uint64_t)got;
	*len = (size_t)got;
	return HSMPOOL_OK;
}

hsmpool_status input_read_up_to(struct input *in, uint8_t *data, size_t cap, size_t *len,
				bool *is_end, hsmpool_error *err)
{
	size_t got;

	*len = 0;
	*is_end = false;
	while (*len < cap) {
		HP_TRY(input_read(in, data + *len, cap - *len, &got, err));
		if (got == 0) {
			*is_end = true;
			return HSMPOOL_OK;
		}
		*len += got;
	}
	return HSMPOOL_OK;
}

/* Fill data, and see that nothing is left over. */
static hsmpool_status read_whole(struct input *in, uint8_t *data, size_t cap, size_t *len,
				 hsmpool_error *err)
{
	uint8_t extra;
	size_t extra_len;
	bool is_end;

	HP_TRY(input_read_up_to(in, data, cap, len, &is_end, err));
	if (is_end)
		return HSMPOOL_OK;
	HP_TRY(input_read(in, &extra, 1, &extra_len, err));
	HP_CHECK(extra_len == 0, err, HSMPOOL_ERR_USAGE,
		 "%s is longer than the %zu bytes that are allowed here", in->name, cap);
	return HSMPOOL_OK;
}

hsmpool_status input_read_file(const char *path, uint8_t *data, size_t cap, size_t *len,
			       hsmpool_error *err)
{
	struct input in;
	hsmpool_status status;

	*len = 0;
	HP_TRY(input_open(&in, path, err));
	status = read_whole(&in, data, cap, len, err);
	input_close(&in);
	return status;
}

hsmpool_status input_read_secret(const char *path, int fd, size_t cap,
				 struct hp_secret **out, hsmpool_error *err)
{
	struct input in = { .fd = fd, .is_owned = true, .name = "the file descriptor" };
	HP_AUTO_SECRET *secret = hp_secret_new(cap);
	hsmpool_status status;

	*out = NULL;
	HP_CHECK(secret, err, HSMPOOL_ERR_SYSTEM, "no memory for the secret");
	if (path)
		HP_TRY(input_open(&in, path, err));
	status = read_whole(&in, secret->data, cap, &secret->len, err);
	input_close(&in);
	HP_TRY(status);
	*out = hp_take(&secret);
	return HSMPOOL_OK;
}

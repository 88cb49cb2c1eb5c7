/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See descriptor.h. A file is read by pread() throughout, so the order in which its
 * chunks are read does not matter; its offset is set once, at the end.
 */
#include "stream/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/error.h"

/* Of a file at once. Linux caches what one write brings in pages as large as it, and
 * large ones it has to look for: 1 MiB at once takes twice as long as in pieces. */
#define PIECE_LEN ((size_t)64 << 10)

/* A page: the size of files of /sys on the machines that there are. */
#define CLAIMED_BY_SYSFS (64 << 10)

/* Until the descriptor is ready for events; CLOSED if the stream is to stop. */
static hsmpool_status wait_for(const struct hp_descriptor *d, short events,
			       hsmpool_error *err)
{
	struct pollfd wait[] = {
		{ .fd = d->fd, .events = events },
		{ .fd = d->stop_fd > 0 ? d->stop_fd : -1, .events = POLLIN },
	};
	while (poll(wait, 2, -1) < 0 && errno == EINTR)
		;
	HP_CHECK(wait[1].revents == 0, err, HSMPOOL_ERR_CLOSED, "stopped at %s", d->name);
	return HSMPOOL_OK;
}

/* Before a read or write: is there something to stop it? A file is always ready. */
static hsmpool_status wait_if_stoppable(const struct hp_descriptor *d, short events,
					hsmpool_error *err)
{
	return d->stop_fd > 0 ? wait_for(d, events, err) : HSMPOOL_OK;
}

/* After one that failed: OK to try again. */
static hsmpool_status look_at_failure(const struct hp_descriptor *d, short events,
				      const char *verb, hsmpool_error *err)
{
	if (errno == EINTR)
		return wait_if_stoppable(d, events, err);
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return wait_for(d, events, err);
	return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno, "cannot %s %s", verb,
			     d->name);
}

static hsmpool_status read_descriptor(void *user, uint8_t *data, size_t cap, size_t *len,
				      hsmpool_error *err)
{
	const struct hp_descriptor *d = user;
	HP_TRY(wait_if_stoppable(d, POLLIN, err));
	ssize_t got = read(d->fd, data, cap);
	while (got < 0) {
		HP_TRY(look_at_failure(d, POLLIN, "read", err));
		got = read(d->fd, data, cap);
	}
	*len = (size_t)got;
	return HSMPOOL_OK;
}

static hsmpool_status write_descriptor(void *user, const uint8_t *data, size_t len,
				       hsmpool_error *err)
{
	const struct hp_descriptor *d = user;
	HP_TRY(wait_if_stoppable(d, POLLOUT, err));
	while (len > 0) {
		bool is_whole = !d->is_file || len < PIECE_LEN;
		ssize_t done = write(d->fd, data, is_whole ? len : PIECE_LEN);
		if (done < 0) {
			HP_TRY(look_at_failure(d, POLLOUT, "write", err));
			continue;
		}
		data += done;
		len -= (size_t)done;
		if (len > 0 && !d->is_file)
			HP_TRY(wait_if_stoppable(d, POLLOUT, err));
	}
	return HSMPOOL_OK;
}

/* --- regular files -------------------------------------------------------------------
 */

static hsmpool_status became_shorter(const struct hp_file *file, hsmpool_error *err)
{
	return hp_fail(err, HSMPOOL_ERR_SYSTEM,
		       "%s became shorter while it was read: leave it alone and try "
		       "again",
		       file->from.name);
}

/* *got == 0: the end. */
static hsmpool_status read_part(const struct hp_file *file, off_t at, uint8_t *data,
				size_t cap, size_t *got, hsmpool_error *err)
{
	ssize_t result;
	do {
		result = pread(file->from.fd, data, cap, at);
	} while (result < 0 && errno == EINTR);
	if (result < 0)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno, "cannot read %s",
				     file->from.name);
	*got = (size_t)result;
	if (result == 0 && at < file->size)
		return became_shorter(file, err);
	return HSMPOOL_OK;
}

static hsmpool_status read_file(void *user, uint8_t *data, size_t cap, size_t *len,
				hsmpool_error *err)
{
	struct hp_file *file = user;
	HP_TRY(read_part(file, file->at, data, cap, len, err));
	file->at += (off_t)*len;
	return HSMPOOL_OK;
}

hsmpool_status hp_file_read_at(const struct hp_file *file, off_t at, uint8_t *data,
			       size_t len, hsmpool_error *err)
{
	size_t got = 0;
	for (; len > 0; at += (off_t)got, data += got, len -= got)
		HP_TRY(read_part(file, at, data, len, &got, err));
	return HSMPOOL_OK;
}

bool hp_source_claim(struct hp_source *source, size_t len, off_t *at)
{
	struct hp_file *file = source->file;
	if (!file || source->has_ahead || file->at >= file->size ||
	    (uint64_t)(file->size - file->at) <= len)
		return false;
	*at = file->at;
	file->at += (off_t)len;
	return true;
}

/* --- the two ends --------------------------------------------------------------------
 */

static struct hp_descriptor on_descriptor(int fd, const char *name, struct stat *st,
					  const hsmpool_stream_options *options)
{
	bool is_known = fstat(fd, st) == 0;
	return (struct hp_descriptor){
		.fd = fd,
		.stop_fd = options->stop_fd,
		.name = name,
		.is_file = is_known && S_ISREG(st->st_mode),
	};
}

/* Those of /proc have no size, those of /sys claim a page whatever is in them. */
static bool has_true_size(const struct stat *st)
{
	return st->st_size > CLAIMED_BY_SYSFS || st->st_blocks > 0;
}

/* Files whose size does not tell where they end are read like pipes. */
struct hp_source hp_source_on(struct hp_file *file, int fd,
			      const hsmpool_stream_options *options)
{
	struct stat st;
	const char *name = options->input_name ? options->input_name : "the input";
	*file = (struct hp_file){ .from = on_descriptor(fd, name, &st, options) };
	file->at = file->from.is_file ? lseek(fd, 0, SEEK_CUR) : -1;
	if (file->at < 0 || file->at >= st.st_size || !has_true_size(&st))
		return (struct hp_source){ .read = read_descriptor, .user = &file->from };
	file->size = st.st_size;
	posix_fadvise(fd, file->at, 0, POSIX_FADV_SEQUENTIAL);
	return (struct hp_source){ .read = read_file, .user = file, .file = file };
}

void hp_source_leave(const struct hp_source *source)
{
	if (source->file)
		lseek(source->file->from.fd, source->file->at, SEEK_SET);
}

struct hp_sink hp_sink_on(struct hp_descriptor *to, int fd,
			  const hsmpool_stream_options *options)
{
	struct stat st;
	*to = on_descriptor(fd,
			    options->output_name ? options->output_name : "the output",
			    &st, options);
	return (struct hp_sink){ .write = write_descriptor, .user = to };
}

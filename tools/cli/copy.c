/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See copy.h. Owns: the size of pieces, and where they begin.
 *
 * Btrfs and XFS share blocks only if a piece begins at a block in both files. So where
 * the two positions lie equally far behind a block's beginning, the first piece ends at
 * one.
 */
#include "copy.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"
#include "stop.h"

enum {
	BLOCK_LEN = 4096,
	KERNEL_PIECE = 16 << 20, /* between two looks at signals and progress */
	BUFFER_LEN = 256 << 10,
};

static size_t piece_at(int in, int out)
{
	off_t from = lseek(in, 0, SEEK_CUR), to = lseek(out, 0, SEEK_CUR);
	off_t behind = from % BLOCK_LEN;

	if (from < 0 || to < 0 || to % BLOCK_LEN != behind || behind == 0)
		return KERNEL_PIECE;
	return (size_t)(BLOCK_LEN - behind);
}

/* Whatever ends this, the end of the file, an error, a kernel or file system that cannot:
 * reading and writing goes on from there, and tells an error by its right name. */
static hsmpool_status copy_by_kernel(const struct input *in, struct output *out,
				     struct progress *progress, struct copied *copied,
				     hsmpool_error *err)
{
	for (;;) {
		ssize_t done;

		HP_TRY(stop_check(err));
		done = copy_file_range(in->fd, NULL, out->fd, NULL,
				       piece_at(in->fd, out->fd), 0);
		if (done <= 0)
			return HSMPOOL_OK;
		out->written += (uint64_t)done;
		copied->bytes += (uint64_t)done;
		copied->by_kernel += (uint64_t)done;
		progress_update(progress, copied->bytes);
	}
}

static hsmpool_status copy_by_hand(struct input *in, struct output *out,
				   struct progress *progress, struct copied *copied,
				   uint8_t *buffer, hsmpool_error *err)
{
	size_t len;

	for (;;) {
		HP_TRY(input_read(in, buffer, BUFFER_LEN, &len, err));
		if (len == 0)
			return HSMPOOL_OK;
		HP_TRY(output_write(out, buffer, len, err));
		copied->bytes += len;
		progress_update(progress, copied->bytes);
	}
}

hsmpool_status copy_rest(struct input *in, struct output *out, struct progress *progress,
			 struct copied *copied, hsmpool_error *err)
{
	HP_AUTO_FREE uint8_t *buffer = malloc(BUFFER_LEN);

	*copied = (struct copied){ 0 };
	HP_CHECK(buffer, err, HSMPOOL_ERR_SYSTEM, "no memory to copy");
	/* A rate is kept to while reading. */
	if (in->limit.bytes_per_second == 0)
		HP_TRY(copy_by_kernel(in, out, progress, copied, err));
	return copy_by_hand(in, out, progress, copied, buffer, err);
}

/* A container in passing: the header, which is in the output already, then the input. */
struct passing {
	hsmpool_bytes header; /* what of it is not read yet */
	struct input *in;
	struct output *out;
	struct progress *progress;
	struct copied *copied;
};

static hsmpool_status read_passing(void *user, uint8_t *data, size_t cap, size_t *len,
				   hsmpool_error *err)
{
	struct passing *p = user;

	if (p->header.len > 0) {
		*len = cap < p->header.len ? cap : p->header.len;
		memcpy(data, p->header.data, *len);
		p->header.data += *len;
		p->header.len -= *len;
		return HSMPOOL_OK;
	}
	HP_TRY(input_read(p->in, data, cap, len, err));
	HP_TRY(output_write(p->out, data, *len, err));
	p->copied->bytes += *len;
	progress_update(p->progress, p->copied->bytes);
	return HSMPOOL_OK;
}

hsmpool_status copy_chunks(hsmpool_bytes header, struct input *in, struct output *out,
			   struct progress *progress, struct copied *copied,
			   hsmpool_error *err)
{
	hsmpool_container_info info = { .size = sizeof(info) };
	struct passing passing = { header, in, out, progress, copied };

	*copied = (struct copied){ 0 };
	return hsmpool_container_inspect(read_passing, NULL, &passing, &info, err);
}

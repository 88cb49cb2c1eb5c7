/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a verb writes: a file that appears whole or not at all, or standard output.
 *
 * A file is written 0600 under a temporary name in its own folder, fsynced and renamed
 * by output_commit(), never over an existing file unless forced, and removed by
 * output_close() without a commit, or when a signal ends the program. A symbolic link
 * stays, and the file that it leads to is replaced. A path that names a device, a FIFO or
 * a socket is written to directly.
 */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <hsmpool/status.h>

struct output {
	int fd;
	const char *path; /* NULL: standard output */
	const char *name; /* for messages */
	bool is_forced;
	bool is_temporary; /* temporary_path exists */
	uint64_t written;  /* by output_write() */
	off_t sync_begun;  /* up to where output_begin_sync() came */
	char temporary_path[PATH_MAX];
	char target[PATH_MAX]; /* path, if a link was followed */
};

#define OUTPUT_NONE      \
	{                \
		.fd = -1 \
	}
#define OUTPUT_AUTO __attribute__((cleanup(output_close))) struct output

/* path NULL or "-": standard output. An existing file is refused here already, with
 * EXISTS, so that no work is done in vain. */
hsmpool_status output_open(struct output *out, const char *path, bool is_forced,
			   hsmpool_error *err);
/* Refuse an output that is written directly and is the file that in reads. */
hsmpool_status output_refuse_input(const struct output *out, int in, hsmpool_error *err);
hsmpool_status output_write(struct output *out, const void *data, size_t len,
			    hsmpool_error *err);
/* Begin to bring to the disk what was written so far, by whomever: the less there is to
 * wait for at the end. */
void output_begin_sync(struct output *out);
/* All is written: make it last and give it its name. */
hsmpool_status output_commit(struct output *out, hsmpool_error *err);
/* Close; what was not committed is removed. */
void output_close(struct output *out);

/* Will both files have the same name in the same folder, however the paths say it? */
bool output_is_same_place(const struct output *a, const struct output *b);
bool output_is_terminal(const struct output *out);
/* Refuse to write bytes that are not text to a terminal, unless forced. */
hsmpool_status output_refuse_terminal(const struct output *out, hsmpool_error *err);

/* Open, write, commit, close. */
hsmpool_status output_write_file(const char *path, bool is_forced, const void *data,
				 size_t len, hsmpool_error *err);

#endif

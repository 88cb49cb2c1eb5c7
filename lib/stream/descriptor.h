/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File descriptors as the two ends of a stream.
 *
 * Owns: partial reads and writes, EINTR, O_NONBLOCK, the descriptor that says stop; and
 * for a regular file its reading at any place, so that threads can do it. Must not: know
 * the format, sync or close.
 */
#ifndef HP_STREAM_DESCRIPTOR_H
#define HP_STREAM_DESCRIPTOR_H

#include <stdbool.h>
#include <sys/types.h>
#include <hsmpool/stream.h>
#include "stream/caller.h"

struct hp_descriptor {
	int fd;
	int stop_fd; /* 0: none */
	const char *name;
	bool is_file; /* a regular one */
};

/* A regular file that is read by offset. */
struct hp_file {
	struct hp_descriptor from;
	off_t at;   /* what comes next */
	off_t size; /* at the start: it may grow, and must not shrink */
};

/* What a source or a sink reads from or writes to. */
struct hp_source hp_source_on(struct hp_file *file, int fd,
			      const hsmpool_stream_options *options);
struct hp_sink hp_sink_on(struct hp_descriptor *to, int fd,
			  const hsmpool_stream_options *options);

/* The stream is over: leave the file where a reader would. */
void hp_source_leave(const struct hp_source *source);

/*
 * Take the next len bytes of the source without reading them, if it is a file and they
 * are not its last ones: *at says where they are. Calling thread, like any read.
 */
bool hp_source_claim(struct hp_source *source, size_t len, off_t *at);
/* Read bytes that were claimed. Any thread. */
hsmpool_status hp_file_read_at(const struct hp_file *file, off_t at, uint8_t *data,
			       size_t len, hsmpool_error *err);

#endif

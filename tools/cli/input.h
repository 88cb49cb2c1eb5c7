/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a verb reads: a file or standard input. Reads end early when a signal comes, and
 * keep to limit, which may be set after input_open().
 */
#ifndef CLI_INPUT_H
#define CLI_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hsmpool/status.h>
#include "base/secret.h"
#include "rate_limit.h"

struct input {
	int fd;
	bool is_owned;    /* close fd at the end */
	const char *name; /* for messages */
	bool has_size;    /* a regular file */
	uint64_t size;    /* bytes from here to its end */
	uint64_t done;    /* bytes read so far */
	struct rate_limit limit;
};

/* path NULL or "-": standard input. */
hsmpool_status input_open(struct input *in, const char *path, hsmpool_error *err);
void input_close(struct input *in);

/* One read; *len 0 is the end. */
hsmpool_status input_read(struct input *in, uint8_t *data, size_t cap, size_t *len,
			  hsmpool_error *err);

/* Read until cap bytes or the end; *is_end tells which. */
hsmpool_status input_read_up_to(struct input *in, uint8_t *data, size_t cap, size_t *len,
				bool *is_end, hsmpool_error *err);

/* All of a small file into data; more than cap is refused. path as in input_open(). */
hsmpool_status input_read_file(const char *path, uint8_t *data, size_t cap, size_t *len,
			       hsmpool_error *err);

/* Into locked memory, from a file, or from file descriptor fd if path is NULL. */
hsmpool_status input_read_secret(const char *path, int fd, size_t cap,
				 struct hp_secret **out, hsmpool_error *err);

#endif

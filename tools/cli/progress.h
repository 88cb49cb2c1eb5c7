/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A progress bar with rate, time left and sessions in use, for long work and only on a
 * terminal.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli;

struct progress {
	const struct cli *cli; /* whose sessions at work it shows */
	bool is_shown;         /* standard error is a terminal that can do it */
	bool has_printed;      /* a line stands there and must be cleared */
	uint64_t total;        /* 0: not known */
	int64_t start_ns;
	int64_t next_ns; /* when to draw again */
};

/* Nothing is shown where log lines are: with -v. */
void progress_start(struct progress *progress, const struct cli *cli, uint64_t total);
void progress_update(struct progress *progress, uint64_t done);
/* Clear the line. */
void progress_end(struct progress *progress);

/* "1.5 MiB" into text. */
void progress_format_size(double bytes, char *text, size_t cap);

#endif

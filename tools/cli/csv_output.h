/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CSV on its way to a file or a pipe, of which no reader takes a part for the whole.
 *
 * What has gone into a pipe cannot be taken back, and a loader at the other end
 * (psql's \copy) takes its end for the table's end, even if we failed half-way. So a
 * failed run ends with a quote that opens a field and is never closed: the loader fails
 * too, and loads nothing. Where what was written ends inside quotes it is so already.
 */
#ifndef CLI_CSV_OUTPUT_H
#define CLI_CSV_OUTPUT_H

#include "output.h"

struct csv_output {
	struct output out;
	bool is_breakable; /* not a file that is removed, and no terminal */
	bool is_inside;    /* what was written ends inside quotes */
};

/* As output_open(), and output_refuse_input(). Close with csv_output_close(). */
hsmpool_status csv_output_open(struct csv_output *csv, const char *path, bool is_forced,
			       int in, hsmpool_error *err);
hsmpool_status csv_output_write(struct csv_output *csv, const uint8_t *data, size_t len,
				hsmpool_error *err);
/* The run has failed: see that the reader notices. Nothing may be written after it. */
void csv_output_break(struct csv_output *csv);
/* All is written. */
hsmpool_status csv_output_commit(struct csv_output *csv, hsmpool_error *err);
/* Without a commit: breaks. */
void csv_output_close(struct csv_output *csv);

#endif

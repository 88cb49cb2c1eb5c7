/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metrics as a file, for node_exporter's textfile collector: option metrics-file.
 *
 * Owns: when a file is written, and that nobody ever sees a part of one: it is written
 * under another name and renamed. In the Prometheus text format; a name with %p stands
 * for a file per process, whose samples carry the labels pid and program, and which is
 * removed in the end; what killed processes left is removed by the next one that begins.
 * Must not: be called with a lock held, or on an operation's way.
 */
#ifndef HP_OBSERVE_METRICS_FILE_H
#define HP_OBSERVE_METRICS_FILE_H

#include <stdint.h>
#include <hsmpool/status.h>

struct hp_metrics_file;

/* One more user of the file; it is written when hp_metrics_files_write() is called next,
 * and so on, as often as its most demanding user wants. */
hsmpool_status hp_metrics_file_open(struct hp_metrics_file **out, const char *path,
				    int64_t interval_ns, hsmpool_error *err);

/* The last one's close writes it once more, or removes it, unless another thread is
 * still writing at until_ns. *file may be NULL, and of a parent process. */
void hp_metrics_file_close(struct hp_metrics_file **file, int64_t until_ns);

/* Write those that are due. A failure is logged once, until it works again. */
void hp_metrics_files_write(int64_t now);

#endif

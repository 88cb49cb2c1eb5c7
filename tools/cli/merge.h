/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metrics of several processes as one text that Prometheus reads.
 *
 * Each process says its metrics as OpenMetrics 1.0 text. Here they become one: every
 * family once, with the samples of all processes side by side, and labels that tell whose
 * they are. A process is not trusted: its text must be what hsmpool writes, or nothing of
 * it is taken, so that one that is damaged, or pretends, does not spoil the others'.
 */
#ifndef CLI_MERGE_H
#define CLI_MERGE_H

#include <stddef.h>
#include <hsmpool/metrics.h>
#include <hsmpool/status.h>

struct merge;

/* NULL: no memory. */
struct merge *merge_new(void);
void merge_free(struct merge *merge);

/*
 * Add what a process said; text is copied. labels, as name="value",... and "" for none,
 * come in front of those of each sample. DATA: it is not what hsmpool writes, or has a
 * family that others have as another type; nothing of it was added.
 */
hsmpool_status merge_add(struct merge *merge, const char *labels, const char *text,
			 size_t len, hsmpool_error *err);

/* All of it, NUL-terminated, to be freed. */
hsmpool_status merge_render(const struct merge *merge, hsmpool_metrics_format format,
			    char **text, size_t *len, hsmpool_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The figures of this process as a monitoring system reads them.
 *
 * docs/metrics.md names every family. Counters live as long as the process: those of a
 * pool that was closed stay, and are added to when a pool of the same name is opened on
 * the same token again. A forked child begins at zero. Labels are the pool's section
 * ("default" for [pool]), the token's label, and what the family says: never a key, a
 * session or a user, so that their number is bounded.
 *
 * Every function is thread-safe and makes no module call; none delays an operation for
 * longer than it takes to copy a pool's figures.
 */
#ifndef HSMPOOL_METRICS_H
#define HSMPOOL_METRICS_H

#include <hsmpool/pool.h>
#include <hsmpool/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum hsmpool_metrics_format {
	/* OpenMetrics 1.0: application/openmetrics-text; version=1.0.0; charset=utf-8 */
	HSMPOOL_METRICS_OPENMETRICS = 0,
	/* Prometheus text format: text/plain; version=0.0.4; charset=utf-8. What files
	 * for node_exporter's textfile collector are written in. */
	HSMPOOL_METRICS_PROMETHEUS = 1,
} hsmpool_metrics_format;

/*
 * hsmpool_metrics_text - all families of all pools of this process.
 *
 * *text is malloc()ed, NUL-terminated and for the caller to free(); *len is its length in
 * bytes without the NUL, and may be NULL. On failure *text is NULL.
 *
 * HSMPOOL_ERR_USAGE   text is NULL; there is no such format
 * HSMPOOL_ERR_SYSTEM  no memory
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_metrics_text(char **text, size_t *len,
							      hsmpool_error *err);
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_metrics_text_as(
	hsmpool_metrics_format format, char **text, size_t *len, hsmpool_error *err);

/*
 * What hsmpool_stats does not say: how long the uses of each PKCS#11 function took, and
 * which return values they failed with. Both count since the process began, for all its
 * pools of this name on this token.
 */
typedef struct hsmpool_operation_stats {
	size_t size;       /* set to sizeof(hsmpool_operation_stats) before the call */
	char function[40]; /* "C_Sign"; "other": what there was no room to tell apart */
	uint64_t count;    /* of uses, failed ones too */
	uint64_t total_ns; /* that they took, waiting for a session excluded */
	uint64_t time_ns[HSMPOOL_HISTOGRAM_BUCKETS]; /* counts, as in hsmpool_stats */
} hsmpool_operation_stats;

typedef struct hsmpool_error_stats {
	size_t size; /* set to sizeof(hsmpool_error_stats) before the call */
	/* "CKR_DEVICE_ERROR"; "none": no answer of the HSM was the reason; "other" */
	char name[40];
	unsigned long ck_rv; /* 0 for the last two */
	uint64_t count;
} hsmpool_error_stats;

/* The index-th, from 0 on: 1, or 0 past the end, after fork(), or if size was not set.
 * New ones come at the end. */
HSMPOOL_API int hsmpool_get_operation_stats(hsmpool *pool, size_t index,
					    hsmpool_operation_stats *stats);
HSMPOOL_API int hsmpool_get_error_stats(hsmpool *pool, size_t index,
					hsmpool_error_stats *stats);

#ifdef __cplusplus
}
#endif
#endif

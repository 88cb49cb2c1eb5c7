/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What top shows: the figures of all processes at one moment, and what came between two.
 *
 * They are read out of the metrics that the processes' control sockets tell. Names in
 * them are others': to be made harmless before they reach a terminal.
 */
#ifndef CLI_TOP_FIGURES_H
#define CLI_TOP_FIGURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <hsmpool/status.h>

#define TOP_BUCKETS 40
#define TOP_ERRORS  34 /* what a process tells apart, and two more */

/* Of the real sessions; top_state_names has their names in the metrics. */
enum top_state {
	TOP_IDLE,
	TOP_USED,
	TOP_ATTACHED,
	TOP_TESTING,
	TOP_OPENING,
	TOP_CLOSING,
	TOP_STUCK,
	TOP_STATES,
};
extern const char *const top_state_names[TOP_STATES];

struct top_error {
	char name[40]; /* "CKR_DEVICE_ERROR" */
	double count;  /* since the process began */
	double rate;   /* per second, since the moment before; 0 if that is not known */
};

struct top_pool {
	char pool[64], token[40];
	double sessions[TOP_STATES];
	double limit, waiters, oldest_wait_seconds;
	double breaker, paused, pin_latched;
	double operations; /* since the process began, failed ones too */
	struct {
		double bound_seconds, count; /* of those that took up to bound */
	} times[TOP_BUCKETS];
	size_t time_count;
	struct top_error errors[TOP_ERRORS];
	size_t error_count;
	/* between the moment before and this one */
	bool has_rates; /* else they are 0 */
	double operation_rate, error_rate;
	double p50_seconds, p99_seconds; /* 0 without operations */
};

struct top_process {
	pid_t pid;
	unsigned copy; /* of the library in the process */
	uid_t uid;
	char program[32], user[40];
	bool is_silent; /* it did not tell its metrics */
	struct top_pool *pools;
	size_t count;
};

struct top_figures {
	int64_t at_ns;
	struct top_process *list; /* by pid and copy */
	size_t count;
};

/* Ask everyone, until deadline_ns at most; before: the figures to compare with, NULL
 * none. To be freed by top_figures_free(), also after a failure. */
hsmpool_status top_figures_take(struct top_figures *figures,
				const struct top_figures *before, int64_t deadline_ns,
				hsmpool_error *err);
void top_figures_free(struct top_figures *figures);

/* One word: "up", "down", "probing", "PIN", "paused". */
const char *top_pool_state(const struct top_pool *pool);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --limit-rate: so many bytes per second and no more.
 *
 * A token bucket that holds a tenth of a second: what was not used stays for that long,
 * so that a slow start is not followed by a rush. Bytes are let through in pieces of a
 * twentieth of a second, so that the flow is even at any rate. A wait ends at once when
 * a signal comes.
 */
#ifndef CLI_RATE_LIMIT_H
#define CLI_RATE_LIMIT_H

#include <stddef.h>
#include <stdint.h>
#include <hsmpool/status.h>

/* Zeroed: no limit. */
struct rate_limit {
	uint64_t bytes_per_second;
	int64_t free_at_ns; /* when what was taken is paid for */
};

/* "10MiB", as the sizes of other options. */
hsmpool_status rate_limit_parse(struct rate_limit *limit, const char *text,
				hsmpool_error *err);
/* Wait until bytes may pass; *piece is how many of the wanted ones, at least one. */
hsmpool_status rate_limit_wait(struct rate_limit *limit, size_t wanted, size_t *piece,
			       hsmpool_error *err);
/* So many have passed. */
void rate_limit_take(struct rate_limit *limit, size_t bytes);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes per second: see rate_limit.h. */
#include "rate_limit.h"

#include "base/error.h"
#include "base/time.h"
#include "config/options.h"
#include "stop.h"

#define SAVED_AT_MOST      (100 * HP_MS)
#define PIECES_A_SECOND    20
#define LARGEST_PIECE      (64 << 20)
#define MAX_BYTES_A_SECOND (UINT64_C(1) << 50)

hsmpool_status rate_limit_parse(struct rate_limit *limit, const char *text,
				hsmpool_error *err)
{
	uint64_t bytes;

	HP_CHECK(hp_parse_size(text, &bytes) && bytes > 0 && bytes <= MAX_BYTES_A_SECOND,
		 err, HSMPOOL_ERR_USAGE,
		 "--limit-rate is not a number of bytes per second like 512KiB or 10MiB: "
		 "'%s'",
		 text);
	limit->bytes_per_second = bytes;
	return HSMPOOL_OK;
}

hsmpool_status rate_limit_wait(struct rate_limit *limit, size_t wanted, size_t *piece,
			       hsmpool_error *err)
{
	uint64_t even = limit->bytes_per_second / PIECES_A_SECOND;
	int64_t now;

	*piece = wanted;
	if (limit->bytes_per_second == 0)
		return HSMPOOL_OK;
	if (even > LARGEST_PIECE)
		even = LARGEST_PIECE;
	if (even == 0)
		even = 1;
	if (wanted > even)
		*piece = (size_t)even;
	while ((now = hp_now_ns()) < limit->free_at_ns)
		HP_TRY(stop_sleep(limit->free_at_ns - now, err));
	if (limit->free_at_ns < now - SAVED_AT_MOST)
		limit->free_at_ns = now - SAVED_AT_MOST;
	return HSMPOOL_OK;
}

/* A piece is at most LARGEST_PIECE: the product stays far below 2^64. */
void rate_limit_take(struct rate_limit *limit, size_t bytes)
{
	if (limit->bytes_per_second > 0)
		limit->free_at_ns +=
			(int64_t)((uint64_t)bytes * HP_SECOND / limit->bytes_per_second);
}

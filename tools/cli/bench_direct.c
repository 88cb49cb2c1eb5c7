/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Direct mode: chunks of 64 KiB through the HSM's key, on one session and on many.
 *
 * The stream reads from memory and writes nowhere, and ends when its time is over; it is
 * compared with itself on one session, and with bare loops that encrypt as much.
 */
#include "bench.h"

#include <stdio.h>
#include <string.h>
#include "base/error.h"
#include "base/time.h"
#include "stop.h"

#define SESSIONS 16

struct endless {
	int64_t until_ns;
	hsmpool_stream_totals totals;
};

static hsmpool_status read_until(void *user, uint8_t *data, size_t cap, size_t *len,
				 hsmpool_error *err)
{
	const struct endless *endless = user;
	HP_TRY(stop_check(err));
	*len = hp_now_ns() < endless->until_ns ? cap : 0;
	memset(data, 1, *len);
	return HSMPOOL_OK;
}

static hsmpool_status write_nowhere(void *user, const uint8_t *data, size_t len,
				    hsmpool_error *err)
{
	(void)user;
	(void)data;
	(void)len;
	(void)err;
	return HSMPOOL_OK;
}

/* Chunks per second. */
static hsmpool_status run_stream(struct bench *bench, unsigned threads, double *rate,
				 hsmpool_error *err)
{
	int64_t from = hp_now_ns();
	struct endless endless = {
		.until_ns = from + (int64_t)(bench->seconds * 1e9),
		.totals = { .size = sizeof(endless.totals) },
	};
	const hsmpool_stream_options options = {
		.size = sizeof(options),
		.mode = HSMPOOL_STREAM_DIRECT,
		.chunk_size = BENCH_CHUNK,
		.threads = threads,
		.totals = &endless.totals,
	};
	hsmpool_key *keys[] = { bench->keys[BENCH_GCM] };
	HP_TRY(hsmpool_stream_encrypt(bench->pool, keys, 1, &options, read_until,
				      &endless, write_nowhere, NULL, HSMPOOL_DEFAULT,
				      err));
	*rate = (double)endless.totals.chunks * 1e9 / (double)(hp_now_ns() - from);
	return HSMPOOL_OK;
}

hsmpool_status bench_direct(struct bench *bench, hsmpool_error *err)
{
	const struct bench_load raw = { .op = BENCH_GCM,
					.threads = SESSIONS,
					.begin = bench_raw_begin,
					.step = bench_raw_chunk_step,
					.end = bench_raw_end };
	struct bench_ratios gain = { .count = 0 }, share = gain, speed = gain;
	struct bench_result of_raw;
	double one, many;
	HP_TRY(bench_open_pool(bench, SESSIONS, NULL, NULL, err));
	HP_TRY(run_stream(bench, SESSIONS, &many, err)); /* warm-up */
	for (unsigned i = 0; i < bench->pairs; i++) {
		HP_TRY(run_stream(bench, 1, &one, err));
		HP_TRY(run_stream(bench, SESSIONS, &many, err));
		HP_TRY(bench_run(bench, &raw, &of_raw, err));
		bench_add_ratio(&gain, many / one);
		bench_add_ratio(&share, many / of_raw.per_second);
		bench_add_ratio(&speed, many * BENCH_CHUNK / (1 << 20));
	}
	bench_report(bench, "direct", "64 KiB chunks, 16 sessions / 1 session", &gain,
		     "x", ">= 14 where a call takes 1 ms");
	bench_report(bench, "direct", "64 KiB chunks, 16 sessions / 16 bare threads",
		     &share, "x", ">= 0.9");
	bench_report(bench, "direct", "64 KiB chunks, 16 sessions", &speed, "MiB/s", "");
	return HSMPOOL_OK;
}

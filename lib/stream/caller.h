/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The caller's side of a stream: its options, and its functions made dependable.
 *
 * Owns: short reads, the end (asked for once, remembered), functions that misbehave or
 * fail without a text. All of the caller's functions are called in the calling thread.
 * Must not: know the format.
 */
#ifndef HP_STREAM_CALLER_H
#define HP_STREAM_CALLER_H

#include <stdbool.h>
#include <hsmpool/stream.h>

struct hp_source {
	hsmpool_read_fn read;
	void *user;
	/* What read reads, if it is a file that threads can read at any place; or NULL.
	 */
	struct hp_file *file;
	bool is_at_end;
	bool has_ahead; /* read to see whether there is more */
	uint8_t ahead;
};

/*
 * Add to the *have bytes in data until there are at least need, or the source ends;
 * up to cap are taken if they come along. *have < need afterwards means: the end.
 */
hsmpool_status hp_source_fill(struct hp_source *source, uint8_t *data, size_t cap,
			      size_t need, size_t *have, hsmpool_error *err);

/* Whether nothing more comes: reads a byte ahead, which stays in the source. */
hsmpool_status hp_source_is_at_end(struct hp_source *source, bool *is_at_end,
				   hsmpool_error *err);

struct hp_sink {
	hsmpool_write_fn write;
	void *user;
};

/* Nothing is written for len 0. */
hsmpool_status hp_sink_write(const struct hp_sink *sink, const uint8_t *data, size_t len,
			     hsmpool_error *err);

/* The options with their defaults: given may be NULL. USAGE: size is not set. */
hsmpool_status hp_stream_options_read(const hsmpool_stream_options *given,
				      hsmpool_stream_options *out, hsmpool_error *err);

/* A chunk went through: add it to the caller's totals, if it wants them, and tell it;
 * CLOSED if it wants no more. */
hsmpool_status hp_stream_progress(const hsmpool_stream_options *options,
				  const hsmpool_stream_totals *totals,
				  hsmpool_error *err);

#endif

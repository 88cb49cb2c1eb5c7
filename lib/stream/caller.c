/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See caller.h. A reader at its end is not asked again: a terminal would start anew.
 * err is never NULL here: the caller's functions may fill it without looking.
 */
#include "stream/caller.h"
#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include "base/error.h"

/* The caller's function failed: keep its text, or make one. */
static hsmpool_status callback_failed(hsmpool_error *err, hsmpool_status status,
				      const char *which)
{
	if (err->status == status && err->text[0])
		return status;
	return hp_fail(err, status, "the stream's %s function failed", which);
}

/* Up to cap bytes, at least one unless the source ends. */
static hsmpool_status read_some(struct hp_source *source, uint8_t *data, size_t cap,
				size_t *got, hsmpool_error *err)
{
	*got = 0;
	hp_error_clear(err);
	hsmpool_status status = source->read(source->user, data, cap, got, err);
	if (status != HSMPOOL_OK)
		return callback_failed(err, status, "read");
	HP_CHECK(*got <= cap, err, HSMPOOL_ERR_USAGE,
		 "the stream's read function claims %zu bytes where %zu fit", *got, cap);
	source->is_at_end = *got == 0;
	return HSMPOOL_OK;
}

hsmpool_status hp_source_fill(struct hp_source *source, uint8_t *data, size_t cap,
			      size_t need, size_t *have, hsmpool_error *err)
{
	size_t got = 0;
	if (source->has_ahead && *have < cap) {
		data[(*have)++] = source->ahead;
		source->has_ahead = false;
	}
	while (*have < need && !source->is_at_end) {
		HP_TRY(read_some(source, data + *have, cap - *have, &got, err));
		*have += got;
	}
	return HSMPOOL_OK;
}

hsmpool_status hp_source_is_at_end(struct hp_source *source, bool *is_at_end,
				   hsmpool_error *err)
{
	size_t got = 0;
	if (!source->has_ahead && !source->is_at_end) {
		HP_TRY(read_some(source, &source->ahead, 1, &got, err));
		source->has_ahead = got == 1;
	}
	*is_at_end = !source->has_ahead;
	return HSMPOOL_OK;
}

hsmpool_status hp_sink_write(const struct hp_sink *sink, const uint8_t *data, size_t len,
			     hsmpool_error *err)
{
	if (len == 0)
		return HSMPOOL_OK;
	hp_error_clear(err);
	hsmpool_status status = sink->write(sink->user, data, len, err);
	if (status != HSMPOOL_OK)
		return callback_failed(err, status, "write");
	return HSMPOOL_OK;
}

/* What the first callers were compiled with; fields behind it were added later. */
#define FIRST_OPTIONS_SIZE offsetof(hsmpool_stream_options, threads)

hsmpool_status hp_stream_options_read(const hsmpool_stream_options *given,
				      hsmpool_stream_options *out, hsmpool_error *err)
{
	*out = (hsmpool_stream_options){ .size = sizeof(*out) };
	if (!given)
		return HSMPOOL_OK;
	HP_CHECK(given->size >= FIRST_OPTIONS_SIZE, err, HSMPOOL_ERR_USAGE,
		 "hsmpool_stream_options.size is %zu, set it to sizeof: %zu", given->size,
		 sizeof(*out));
	memcpy(out, given, given->size < sizeof(*out) ? given->size : sizeof(*out));
	HP_CHECK(!out->totals || out->totals->size >= sizeof(*out->totals), err,
		 HSMPOOL_ERR_USAGE,
		 "hsmpool_stream_totals.size is %zu, set it to sizeof: %zu",
		 out->totals->size, sizeof(*out->totals));
	return HSMPOOL_OK;
}

hsmpool_status hp_stream_progress(const hsmpool_stream_options *options,
				  const hsmpool_stream_totals *totals, hsmpool_error *err)
{
	if (options->totals)
		*options->totals = *totals;
	if (!options->progress ||
	    options->progress(options->progress_user, totals->plain_bytes) == 0)
		return HSMPOOL_OK;
	return hp_fail(err, HSMPOOL_ERR_CLOSED, "stopped after %" PRIu64 " bytes",
		       totals->plain_bytes);
}

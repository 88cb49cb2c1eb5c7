/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See caller.h. A reader at its end is not asked again: a terminal would start anew.
 * err is never NULL here: the caller's functions may fill it without looking.
 */
#include "stream/caller.h"
#include <inttypes.h>
#include "base/error.h"

/* The caller's function failed: keep its text, or make one. */
static hsmpool_status callback_failed(hsmpool_error *err, hsmpool_status status,
				      const char *which)
{
	if (err->status == status && err->text[0])
		return status;
	return hp_fail(err, status, "the stream's %s function failed", which);
}

hsmpool_status hp_source_fill(struct hp_source *source, uint8_t *data, size_t cap,
			      size_t need, size_t *have, hsmpool_error *err)
{
	while (*have < need && !source->is_at_end) {
		size_t room = cap - *have;
		size_t got = 0;
		hp_error_clear(err);
		hsmpool_status status =
			source->read(source->user, data + *have, room, &got, err);
		if (status != HSMPOOL_OK)
			return callback_failed(err, status, "read");
		HP_CHECK(got <= room, err, HSMPOOL_ERR_USAGE,
			 "the stream's read function claims %zu bytes where %zu fit", got,
			 room);
		if (got == 0)
			source->is_at_end = true;
		*have += got;
	}
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

hsmpool_status hp_stream_options_read(const hsmpool_stream_options *given,
				      hsmpool_stream_options *out, hsmpool_error *err)
{
	*out = (hsmpool_stream_options){ .size = sizeof(*out) };
	if (!given)
		return HSMPOOL_OK;
	HP_CHECK(given->size >= sizeof(*out), err, HSMPOOL_ERR_USAGE,
		 "hsmpool_stream_options.size is %zu, set it to sizeof: %zu", given->size,
		 sizeof(*out));
	*out = *given;
	return HSMPOOL_OK;
}

hsmpool_status hp_stream_progress(const hsmpool_stream_options *options, uint64_t bytes,
				  hsmpool_error *err)
{
	if (!options->progress || options->progress(options->progress_user, bytes) == 0)
		return HSMPOOL_OK;
	return hp_fail(err, HSMPOOL_ERR_CLOSED, "stopped after %" PRIu64 " bytes", bytes);
}

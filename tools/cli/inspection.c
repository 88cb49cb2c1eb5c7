/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See inspection.h. Owns: how an input is passed over without being read.
 */
#include "inspection.h"
#include <errno.h>
#include <unistd.h>
#include "base/error.h"
#include "stop.h"

struct inspection {
	struct input *in;
	struct progress *progress;
	uint64_t at;
};

/* Files of /proc and the like are regular, but have no size to go by. */
bool inspection_can_seek(const struct input *in)
{
	return in->has_size && in->size > 0;
}

static hsmpool_status read_input(void *user, uint8_t *data, size_t cap, size_t *len,
				 hsmpool_error *err)
{
	struct inspection *inspection = user;

	HP_TRY(input_read(inspection->in, data, cap, len, err));
	inspection->at += *len;
	progress_update(inspection->progress, inspection->at);
	return HSMPOOL_OK;
}

static hsmpool_status skip_input(void *user, uint64_t len, uint64_t *skipped,
				 hsmpool_error *err)
{
	struct inspection *inspection = user;
	const struct input *in = inspection->in;
	uint64_t left = inspection->at < in->size ? in->size - inspection->at : 0;

	HP_TRY(stop_check(err));
	*skipped = len < left ? len : left;
	if (lseek(in->fd, (off_t)*skipped, SEEK_CUR) < 0)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno, "cannot read %s",
				     in->name);
	inspection->at += *skipped;
	progress_update(inspection->progress, inspection->at);
	return HSMPOOL_OK;
}

hsmpool_status inspection_run(struct input *in, struct progress *progress,
			      hsmpool_container_info *info, hsmpool_error *err)
{
	struct inspection inspection = { .in = in, .progress = progress };

	info->size = sizeof(*info);
	return hsmpool_container_inspect(read_input,
					 inspection_can_seek(in) ? skip_input : NULL,
					 &inspection, info, err);
}

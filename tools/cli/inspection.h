/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk through the container that an input holds, seeking where that is possible.
 */
#ifndef CLI_INSPECTION_H
#define CLI_INSPECTION_H

#include <hsmpool/container.h>
#include "input.h"
#include "progress.h"

/* Whether the walk needs to read only heads, and the input can be read again. */
bool inspection_can_seek(const struct input *in);

/* hsmpool_container_inspect() from where in stands; ended by a signal. */
hsmpool_status inspection_run(struct input *in, struct progress *progress,
			      hsmpool_container_info *info, hsmpool_error *err);

#endif

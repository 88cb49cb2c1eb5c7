/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rest of an input into an output, by the kernel where it can.
 */
#ifndef CLI_COPY_H
#define CLI_COPY_H

#include <hsmpool/container.h>
#include "input.h"
#include "output.h"
#include "progress.h"

struct copied {
	uint64_t bytes;
	uint64_t by_kernel; /* of these */
};

/*
 * From where in stands to its end; out->written counts on. copy_file_range() lets file
 * systems share the blocks of both files; what it does not do is read and written, and
 * everything where in's rate is limited. Ends
 * by a signal. progress is told copied->bytes.
 */
hsmpool_status copy_rest(struct input *in, struct output *out, struct progress *progress,
			 struct copied *copied, hsmpool_error *err);
/* The same for what follows the header of a container, looking at each chunk's head on
 * the way: DATA, at the place, if the container is not whole. */
hsmpool_status copy_chunks(hsmpool_bytes header, struct input *in, struct output *out,
			   struct progress *progress, struct copied *copied,
			   hsmpool_error *err);

#endif

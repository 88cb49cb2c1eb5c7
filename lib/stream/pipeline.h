/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ordered pipeline: one thread reads and writes, several work in between, and it too
 * where it has nothing else to do.
 *
 *     fill ──► work ──► drain          of every chunk, in that order
 *     caller   any      caller         in which thread
 *     0,1,2..  at once  0,1,2..        in which order
 *
 * Owns: the order, the bounded number of chunks in flight, the threads, and which of
 * several errors is told. Must not: know what a chunk is.
 *
 * Threads are started as chunks come, never for an input of one chunk or for work that is
 * over at once, with all signals blocked, and all have ended when hp_pipeline_run()
 * returns. They work on the request of the calling one (observe/request.h).
 */
#ifndef HP_STREAM_PIPELINE_H
#define HP_STREAM_PIPELINE_H

#include <stdbool.h>
#include <stdint.h>
#include <hsmpool/status.h>

/*
 * What is to be done. job is the caller's, the same everywhere; a slot holds one chunk on
 * its way and is used again for later ones; a worker holds what one thread needs for
 * itself, such as a cipher context. err is never NULL.
 */
struct hp_pipeline_ops {
	/* Calling thread: put chunk number index into the slot. is_last: no further one
	 * is asked for. */
	hsmpool_status (*fill)(void *job, void *slot, uint64_t index, bool *is_last,
			       hsmpool_error *err);
	/* Any thread, several at once on different slots and workers: do the work. */
	hsmpool_status (*work)(void *job, void *worker, void *slot, hsmpool_error *err);
	/* Calling thread, in the order of fill: take the result out. */
	hsmpool_status (*drain)(void *job, void *slot, hsmpool_error *err);
	/* Calling thread, after each fill and drain: shall the next fill wait for a
	 * drain, though there are slots? For chunks of very different sizes; never waits
	 * while no chunk is in flight. NULL: slots alone count. */
	bool (*is_full)(void *job);

	/* Calling thread. On failure *out is not looked at. */
	hsmpool_status (*slot_new)(void *job, void **out, hsmpool_error *err);
	void (*slot_free)(void *job, void *slot);
	/* Both may be NULL: worker is NULL then. */
	hsmpool_status (*worker_new)(void *job, void **out, hsmpool_error *err);
	void (*worker_free)(void *job, void *worker);

	/* Work waits for an HSM rather than for a processor: once there are threads the
	 * calling one leaves it to them, so that none of them waits to be given a chunk.
	 */
	bool work_waits;
};

/*
 * Run until the last chunk is drained, or something fails.
 *
 * threads: how many chunks are worked on at once, the calling thread's own included; with
 * 0 or 1 no thread is started, and the caller does each chunk from fill to drain. So it
 * goes too where the system starts no thread. slots: how many chunks are in flight at
 * most; several times threads, or a slow one stops the others.
 *
 * The error told is that of the chunk with the lowest index: all chunks before it have
 * been drained, none behind it will be. While the caller is inside fill, finished chunks
 * wait: a reader that blocks holds them back until its next chunk is there.
 */
hsmpool_status hp_pipeline_run(const struct hp_pipeline_ops *ops, void *job,
			       unsigned threads, unsigned slots, hsmpool_error *err);

#endif

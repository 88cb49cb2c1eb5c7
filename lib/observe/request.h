/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request id: one number for all that a thread does on behalf of one call.
 *
 * Log lines and audit records that belong together carry the same id. A use of the HSM
 * (pool/use.h) draws one where its thread has none; a caller that makes several uses of
 * one thing enters before the first, and has threads that work for it set its id. Ids of
 * a process differ from each other and, being counted from a random number, from those of
 * every other. No lock.
 */
#ifndef HP_OBSERVE_REQUEST_H
#define HP_OBSERVE_REQUEST_H

#include <stdint.h>

#define HP_REQUEST_TEXT 17 /* 16 hex digits and the end */

extern _Thread_local uint64_t hp_request_of_thread;

/* The calling thread's; 0: none. */
static inline uint64_t hp_request_current(void)
{
	return hp_request_of_thread;
}

/* A new one; never 0. */
uint64_t hp_request_draw(void);

/* The thread works on id (0: on nothing) from now on. Returns what it worked on before,
 * which is to be set again afterwards. */
static inline uint64_t hp_request_set(uint64_t id)
{
	uint64_t before = hp_request_of_thread;
	hp_request_of_thread = id;
	return before;
}

/* Have an id: that of the thread, or a new one. Returns what hp_request_set() gets in
 * the end. */
static inline uint64_t hp_request_enter(void)
{
	uint64_t before = hp_request_of_thread;
	if (before == 0)
		hp_request_of_thread = hp_request_draw();
	return before;
}

static inline void hp_request_restore(const uint64_t *before)
{
	hp_request_set(*before);
}

/* HP_AUTO_REQUEST outer = hp_request_enter(): one id until the end of the block. */
#define HP_AUTO_REQUEST __attribute__((cleanup(hp_request_restore))) const uint64_t

void hp_request_format(uint64_t id, char text[static HP_REQUEST_TEXT]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request ids: a random start per process, and blocks of numbers per thread.
 *
 * Owns: the process's counter. A thread takes a block at a time, so that threads do not
 * write to one cache line at each request. A forked child starts anew.
 */
#include "observe/request.h"

#include <stdatomic.h>
#include <sys/random.h>
#include "base/process.h"
#include "base/time.h"

#define BLOCK 256

_Thread_local uint64_t hp_request_of_thread;

/* The numbers that a thread has left; of a process that forked meanwhile they are the
 * parent's. */
struct block {
	uint64_t epoch;
	uint64_t next;
	uint64_t end;
};

static _Thread_local struct block block;

/* Of the process with that epoch; whoever comes first in it draws the start. */
static _Atomic uint64_t counter_epoch;
static _Atomic uint64_t counter;

/* Of the kernel: a thread may come here while exit() ends OpenSSL. */
static uint64_t draw_start(void)
{
	uint64_t start;

	if (getrandom(&start, sizeof(start), GRND_NONBLOCK) != sizeof(start))
		return (uint64_t)hp_clock_ns(CLOCK_REALTIME);
	return start;
}

/* Two threads that come first at once both draw; their blocks are random numbers apart.
 */
static void take_block(uint64_t epoch)
{
	if (atomic_load(&counter_epoch) != epoch) {
		atomic_store(&counter, draw_start());
		atomic_store(&counter_epoch, epoch);
	}
	block.epoch = epoch;
	block.next = atomic_fetch_add(&counter, BLOCK);
	block.end = block.next + BLOCK;
}

uint64_t hp_request_draw(void)
{
	uint64_t epoch = hp_process_epoch();

	do {
		if (block.epoch != epoch || block.next == block.end)
			take_block(epoch);
	} while (block.next++ == 0);
	return block.next - 1;
}

void hp_request_format(uint64_t id, char text[static HP_REQUEST_TEXT])
{
	static const char digits[] = "0123456789abcdef";

	for (int at = 15; at >= 0; at--, id >>= 4)
		text[at] = digits[id & 15];
	text[16] = '\0';
}

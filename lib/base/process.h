/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which process is this? Fork detection without a system call per use.
 *
 * A page with MADV_WIPEONFORK holds the process's epoch; in a forked child, also one
 * made by a raw clone that runs no atfork handlers, it reads zero and a new epoch is
 * drawn. An object remembers the epoch it was made in and is foreign in any other.
 */
#ifndef HP_BASE_PROCESS_H
#define HP_BASE_PROCESS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* What is on the page. */
struct hp_epoch_page {
	_Atomic uint64_t epoch; /* 0: not drawn yet in this process */
};

/* NULL until the first use. */
extern _Atomic(struct hp_epoch_page *) hp_epoch_page;

/* Makes the page, draws the epoch, where it is not done yet. */
uint64_t hp_process_epoch_first(void);

/* Never 0. Two loads in the good case: every call asks several times. Thread-safe. */
static inline uint64_t hp_process_epoch(void)
{
	struct hp_epoch_page *page =
		atomic_load_explicit(&hp_epoch_page, memory_order_acquire);
	uint64_t epoch = 0;
	if (__builtin_expect(page != NULL, 1))
		epoch = atomic_load_explicit(&page->epoch, memory_order_acquire);
	return __builtin_expect(epoch != 0, 1) ? epoch : hp_process_epoch_first();
}

#endif

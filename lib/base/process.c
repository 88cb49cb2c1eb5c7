/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process's epoch, on a page that the kernel wipes in a forked child.
 *
 * Owns: the page, made at first use. Must not: take a lock or use pthread_once, either
 * of which a fork in the wrong moment would leave taken for ever in the child; all
 * steps are compare-and-swap.
 */
#include "base/process.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

_Atomic(struct hp_epoch_page *) hp_epoch_page;
static struct hp_epoch_page last_resort; /* no mapping: in the data segment */

/* How many epochs this line of ancestors has drawn; inherited, unlike the page. */
static _Atomic uint32_t epochs_drawn;

/* Only where the kernel cannot wipe: misses raw clones, nothing better exists. */
static void forget_epoch_in_child(void)
{
	struct hp_epoch_page *page = atomic_load(&hp_epoch_page);
	if (page)
		atomic_store(&page->epoch, 0);
}

static struct hp_epoch_page *map_page(size_t size)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	return map == MAP_FAILED ? NULL : map;
}

static struct hp_epoch_page *make_page(void)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	struct hp_epoch_page *made = map_page(size);
	bool wiped_by_kernel = made && madvise(made, size, MADV_WIPEONFORK) == 0;
	if (!wiped_by_kernel)
		pthread_atfork(NULL, NULL, forget_epoch_in_child); /* idempotent */

	struct hp_epoch_page *page = made ? made : &last_resort;
	struct hp_epoch_page *winner = NULL;
	if (atomic_compare_exchange_strong(&hp_epoch_page, &winner, page))
		return page;
	if (made)
		munmap(made, size);
	return winner;
}

/*
 * The upper half counts along the line of ancestors, so no epoch equals an ancestor's;
 * the lower half is random, so brothers differ too.
 */
static uint64_t draw_epoch(struct hp_epoch_page *page)
{
	uint32_t random = 0;
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random)) {
		struct timespec now;
		clock_gettime(CLOCK_MONOTONIC, &now);
		random = (uint32_t)now.tv_nsec ^ ((uint32_t)getpid() << 12);
	}
	uint64_t drawn =
		(uint64_t)(atomic_fetch_add(&epochs_drawn, 1) + 1) << 32 | random;
	uint64_t winner = 0;
	if (atomic_compare_exchange_strong(&page->epoch, &winner, drawn))
		return drawn;
	return winner;
}

uint64_t hp_process_epoch_first(void)
{
	struct hp_epoch_page *page =
		atomic_load_explicit(&hp_epoch_page, memory_order_acquire);
	if (!page)
		page = make_page();
	uint64_t epoch = atomic_load_explicit(&page->epoch, memory_order_acquire);
	if (epoch == 0)
		epoch = draw_epoch(page);
	return epoch;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mutex that forked children share with their parent.
 *
 * Owns: its page, made at the first use and kept for ever. Must not: be held over
 * anything but one call of a module.
 */
#include "p11/siblings.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include "base/time.h"

#define PATIENCE (1 * HP_SECOND)

static pthread_once_t once = PTHREAD_ONCE_INIT;
/* Inherited by children, who go on with it. NULL: there was no memory for it. */
static pthread_mutex_t *turn;
/* Somebody's call hangs: it was waited for once, and is not again until it ends. */
static _Atomic bool is_hanging;

static void make_turn(void)
{
	void *page = mmap(NULL, sizeof(*turn), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return;
	pthread_mutexattr_t attributes;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	if (pthread_mutex_init(page, &attributes) == 0)
		turn = page;
	else
		munmap(page, sizeof(*turn));
	pthread_mutexattr_destroy(&attributes);
}

bool hp_siblings_begin(void)
{
	pthread_once(&once, make_turn);
	if (!turn)
		return false;
	/* Whoever died in a call leaves nothing of ours to put right. */
	int64_t patience = atomic_load(&is_hanging) ? 0 : PATIENCE;
	bool has_begun = hp_mutex_lock_until(turn, hp_time_add(hp_now_ns(), patience));
	atomic_store(&is_hanging, !has_begun);
	return has_begun;
}

void hp_siblings_end(bool has_begun)
{
	if (has_begun)
		pthread_mutex_unlock(turn);
}

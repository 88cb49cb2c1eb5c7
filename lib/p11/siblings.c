/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mutex that forked children share with their parent, and a file that is locked.
 *
 * Owns: the mutex's page, made at the first use and kept for ever; the file, which is
 * opened anew for each turn, because programs close descriptors that they do not know.
 * Must not: be held over anything but one call of a module.
 */
#include "p11/siblings.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/state_dir.h"
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

/* --- processes that are not related --------------------------------------------- */

static _Atomic(char *) meeting_place; /* NULL: none */
static int file = -1;                 /* guarded by turn, like the next */
static bool was_there;                /* the folder, once */
static _Atomic bool is_file_hanging;

void hp_siblings_meet_in(const char *state_dir)
{
	char *none = NULL;
	if (!state_dir || atomic_load(&meeting_place))
		return;
	char *copy = strdup(state_dir);
	if (!atomic_compare_exchange_strong(&meeting_place, &none, copy))
		free(copy);
}

/* Made at the first turn only: a folder that was removed from under a process that runs
 * stays removed, until another is started and makes it again. */
static hsmpool_status open_folder(const char *path, int *dir, hsmpool_error *err)
{
	HP_TRY(hp_state_dir_open(path, !was_there, dir, err));
	was_there = true;
	HP_CHECK(*dir >= 0, err, HSMPOOL_ERR_SYSTEM, "state-dir %s was removed", path);
	return HSMPOOL_OK;
}

/* Without the file the turn is the family's alone. */
static void begin_on_file(void)
{
	const char *folder = atomic_load(&meeting_place);
	hsmpool_error err;
	HP_AUTO_FD int dir = -1;
	file = -1;
	if (!folder || open_folder(folder, &dir, &err) != HSMPOOL_OK ||
	    hp_state_file_open(dir, "turn", true, &file, &err) != HSMPOOL_OK)
		return;
	int64_t patience = atomic_load(&is_file_hanging) ? 0 : PATIENCE;
	hsmpool_status status =
		hp_state_file_lock(file, hp_time_add(hp_now_ns(), patience), &err);
	atomic_store(&is_file_hanging, status == HSMPOOL_ERR_TIMEOUT);
	if (status != HSMPOOL_OK)
		hp_state_file_close(&file);
}

/* --- all together --------------------------------------------------------------- */

bool hp_siblings_begin(const struct hp_module *module)
{
	pthread_once(&once, make_turn);
	if (!turn || module->is_hsmpool)
		return false;
	/* Whoever died in a call leaves nothing of ours to put right. */
	int64_t patience = atomic_load(&is_hanging) ? 0 : PATIENCE;
	bool has_begun = hp_mutex_lock_until(turn, hp_time_add(hp_now_ns(), patience));
	atomic_store(&is_hanging, !has_begun);
	if (has_begun)
		begin_on_file();
	return has_begun;
}

void hp_siblings_end(bool has_begun)
{
	if (!has_begun)
		return;
	hp_state_file_close(&file);
	pthread_mutex_unlock(turn);
}

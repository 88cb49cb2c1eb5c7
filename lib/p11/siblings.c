/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mutex that forked children share with their parent, and a file that is locked.
 *
 * Owns: the mutex's page, made at the first use and kept for ever; the file, which is
 * opened anew for each turn, because programs close descriptors that they do not know.
 * Must not: be held over anything but one call of a module.
 */
#include "p11/siblings.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/memory.h"
#include "base/time.h"

#define PATIENCE    (1 * HP_SECOND)
#define FIRST_PAUSE (200 * HP_US)
#define LAST_PAUSE  (5 * HP_MS)

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

/* --- processes that are not related --------------------------------------------------
 */

static _Atomic(char *) file_path; /* NULL: none */
static int file = -1;             /* guarded by turn */
static _Atomic bool is_file_hanging;

void hp_siblings_meet_in(const char *state_dir)
{
	char *path = NULL;
	char *none = NULL;
	if (!state_dir || atomic_load(&file_path))
		return;
	mkdir(state_dir, 0700);
	if (asprintf(&path, "%s/turn", state_dir) < 0)
		return;
	if (!atomic_compare_exchange_strong(&file_path, &none, path))
		free(path);
}

static void pause_for(int64_t ns)
{
	struct timespec span = { .tv_nsec = ns };
	clock_nanosleep(CLOCK_MONOTONIC, 0, &span, NULL);
}

static bool lock_file(int fd, int64_t deadline_ns)
{
	int64_t pause_ns = FIRST_PAUSE;
	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (hp_now_ns() >= deadline_ns)
			return false;
		pause_for(hp_jitter(pause_ns, 50));
		pause_ns = pause_ns * 2 < LAST_PAUSE ? pause_ns * 2 : LAST_PAUSE;
	}
	return true;
}

/* Without the file the turn is the family's alone. */
static void begin_on_file(void)
{
	const char *path = atomic_load(&file_path);
	file = -1;
	if (!path)
		return;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	int64_t patience = atomic_load(&is_file_hanging) ? 0 : PATIENCE;
	bool is_locked = lock_file(fd, hp_time_add(hp_now_ns(), patience));
	atomic_store(&is_file_hanging, !is_locked);
	if (is_locked)
		file = fd;
	else
		close(fd);
}

/* Unlocked by name: a child forked meanwhile has the descriptor too. */
static void end_on_file(void)
{
	if (file < 0)
		return;
	flock(file, LOCK_UN);
	close(file);
	file = -1;
}

/* --- all together --------------------------------------------------------------------
 */

bool hp_siblings_begin(void)
{
	pthread_once(&once, make_turn);
	if (!turn)
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
	end_on_file();
	pthread_mutex_unlock(turn);
}

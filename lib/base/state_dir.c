/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See state_dir.h.
 *
 * Owns: the checks that a folder and a file may be trusted, and the list of files that
 * are locked, which a forked child closes. Must not: know what is in the files. The
 * list is a table of atomics, because a fork may come at any moment.
 */
#include "base/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/time.h"

#define MOST_LOCKED 64
#define FIRST_PAUSE (200 * HP_US)
#define LAST_PAUSE  (10 * HP_MS)

/* --- files that are locked, and forks ----------------------------------------------- */

/* Descriptor + 1; 0: a free place. More than fit are not closed in a child, which
 * matters only if this process dies with the lock. */
static _Atomic int locked[MOST_LOCKED];

static void close_all_in_child(void)
{
	for (int i = 0; i < MOST_LOCKED; i++) {
		int file = atomic_exchange(&locked[i], 0) - 1;
		if (file >= 0)
			close(file);
	}
}

static void watch_forks(void)
{
	pthread_atfork(NULL, NULL, close_all_in_child);
}

static void note_locked(int file)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, watch_forks);
	for (int i = 0; i < MOST_LOCKED; i++) {
		int free_place = 0;
		if (atomic_compare_exchange_strong(&locked[i], &free_place, file + 1))
			return;
	}
}

static void note_unlocked(int file)
{
	for (int i = 0; i < MOST_LOCKED; i++) {
		int taken = file + 1;
		if (atomic_compare_exchange_strong(&locked[i], &taken, 0))
			return;
	}
}

/* --- the folder --------------------------------------------------------------------- */

/* Every folder of path that is missing; path is changed back. */
static int make_folders(char *path)
{
	for (char *at = path + 1;; at++) {
		char here = *at;
		if (here != '/' && here != '\0')
			continue;
		*at = '\0';
		int failure = mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : errno;
		*at = here;
		if (here == '\0')
			return failure;
		/* Another process may have made it, or it is there and not ours. */
		if (failure && failure != EACCES && failure != EROFS)
			return failure;
	}
}

/* Made only where it is missing: a folder may be given to us in one that is not. */
static hsmpool_status open_folder(const char *option, const char *path, bool can_make,
				  int *dir, hsmpool_error *err)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
	*dir = open(path, flags);
	if (*dir < 0 && errno == ENOENT && !can_make)
		return HSMPOOL_OK;
	if (*dir < 0 && errno == ENOENT) {
		HP_AUTO_FREE char *copy = strdup(path);
		HP_CHECK(copy, err, HSMPOOL_ERR_SYSTEM, "%s %s: no memory", option, path);
		int failure = make_folders(copy);
		if (failure)
			return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, failure,
					     "%s %s: cannot be made", option, path);
		*dir = open(path, flags);
	}
	if (*dir < 0)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
				     "%s %s: cannot be opened", option, path);
	return HSMPOOL_OK;
}

/* root may look after the state of a service that has a user of its own. */
static bool is_trusted_owner(uid_t owner)
{
	return owner == 0 || owner == geteuid() || geteuid() == 0;
}

static hsmpool_status check_folder(const char *option, int dir, const char *path,
				   hsmpool_error *err)
{
	struct stat folder;
	if (fstat(dir, &folder) != 0)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
				     "%s %s: cannot be examined", option, path);
	HP_CHECK(is_trusted_owner(folder.st_uid), err, HSMPOOL_ERR_SYSTEM,
		 "%s %s: belongs to user %u; it must belong to root or to the "
		 "user who runs this",
		 option, path, (unsigned)folder.st_uid);
	HP_CHECK((folder.st_mode & 022) == 0, err, HSMPOOL_ERR_SYSTEM,
		 "%s %s: mode %03o lets others write to it; run chmod 700 on it", option,
		 path, (unsigned)folder.st_mode & 0777);
	return HSMPOOL_OK;
}

hsmpool_status hp_owned_dir_open(const char *option, const char *path, bool can_make,
				 int *dir, hsmpool_error *err)
{
	*dir = -1;
	HP_CHECK(path && path[0] == '/', err, HSMPOOL_ERR_SYSTEM,
		 "there is no folder for state: set %s, or $HOME", option);
	HP_AUTO_FD int opened = -1;
	HP_TRY(open_folder(option, path, can_make, &opened, err));
	if (opened < 0)
		return HSMPOOL_OK;
	HP_TRY(check_folder(option, opened, path, err));
	*dir = opened;
	opened = -1;
	return HSMPOOL_OK;
}

/* --- a file ------------------------------------------------------------------------- */

/* What root makes in a service's folder the service must be able to use. */
static void give_to_owner_of(int dir, int file)
{
	struct stat folder;
	if (geteuid() == 0 && fstat(dir, &folder) == 0 && folder.st_uid != 0 &&
	    fchown(file, folder.st_uid, folder.st_gid) != 0)
		return; /* the service will say that it cannot open it */
}

static int open_or_make(int dir, const char *name, bool can_make)
{
	const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
	for (int attempt = 0;; attempt++) {
		int file = openat(dir, name, flags);
		if (file >= 0 || errno != ENOENT || !can_make || attempt == 3)
			return file;
		file = openat(dir, name, flags | O_CREAT | O_EXCL, 0600);
		if (file >= 0)
			give_to_owner_of(dir, file);
		if (file >= 0 || errno != EEXIST)
			return file;
	}
}

static hsmpool_status check_file(const char *option, int file, const char *name,
				 hsmpool_error *err)
{
	struct stat found;
	if (fstat(file, &found) != 0)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
				     "%s in the folder of %s: cannot be examined", name,
				     option);
	HP_CHECK(S_ISREG(found.st_mode) && found.st_nlink <= 1, err, HSMPOOL_ERR_SYSTEM,
		 "%s in the folder of %s: not a plain file with one name; move it away",
		 name, option);
	HP_CHECK(
		is_trusted_owner(found.st_uid) && (found.st_mode & 077) == 0, err,
		HSMPOOL_ERR_SYSTEM,
		"%s in the folder of %s: others may use it (owner %u, mode %03o); move it away",
		name, option, (unsigned)found.st_uid, (unsigned)found.st_mode & 0777);
	return HSMPOOL_OK;
}

hsmpool_status hp_owned_file_open(const char *option, int dir, const char *name,
				  bool can_make, int *file, hsmpool_error *err)
{
	*file = -1;
	HP_AUTO_FD int opened = open_or_make(dir, name, can_make);
	if (opened < 0 && errno == ENOENT && !can_make)
		return HSMPOOL_OK;
	if (opened < 0)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
				     "%s in the folder of %s: cannot be opened", name,
				     option);
	HP_TRY(check_file(option, opened, name, err));
	*file = opened;
	opened = -1;
	return HSMPOOL_OK;
}

hsmpool_status hp_state_file_lock(int file, int64_t deadline_ns, hsmpool_error *err)
{
	int64_t pause_ns = FIRST_PAUSE;
	note_locked(file);
	while (flock(file, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return hp_fail_errno(
				err, HSMPOOL_ERR_SYSTEM, errno,
				"a file that processes share cannot be locked");
		int64_t left_ns = deadline_ns - hp_now_ns();
		if (left_ns <= 0)
			return hp_fail(err, HSMPOOL_ERR_TIMEOUT,
				       "another process kept it locked");
		int64_t nap_ns = hp_jitter(pause_ns, 50);
		hp_pause(nap_ns < left_ns ? nap_ns : left_ns);
		pause_ns = pause_ns < LAST_PAUSE ? pause_ns * 2 : LAST_PAUSE;
	}
	return HSMPOOL_OK;
}

void hp_state_file_close(int *file)
{
	if (*file < 0)
		return;
	flock(*file, LOCK_UN);
	note_unlocked(*file);
	close(*file);
	*file = -1;
}

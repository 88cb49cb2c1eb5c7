/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small files that processes of one user on one host share: the option state-dir; and
 * the checks alone, for other folders that are named by an option.
 *
 * The folder belongs to root or the effective user, and nobody else may write to it.
 * Files in it are plain, have one name, and are read and written by their owner only.
 * A file is locked by flock(): the lock goes with the open file, so a forked child must
 * not keep it; those that are locked are closed in a child (raw clones run no handlers
 * and keep them).
 */
#ifndef HP_BASE_STATE_DIR_H
#define HP_BASE_STATE_DIR_H

#include <stdbool.h>
#include <stdint.h>
#include <hsmpool/status.h>

/* Open the folder. can_make: make it if it is missing; otherwise *dir is -1 and the
 * status OK if there is none. path NULL fails. On failure *dir is -1. Texts name the
 * option that the folder comes from. */
hsmpool_status hp_owned_dir_open(const char *option, const char *path, bool can_make,
				 int *dir, hsmpool_error *err);

/* The same of the file name in it, for reading and writing; made as the folder's owner's.
 * */
hsmpool_status hp_owned_file_open(const char *option, int dir, const char *name,
				  bool can_make, int *file, hsmpool_error *err);

static inline hsmpool_status hp_state_dir_open(const char *path, bool can_make, int *dir,
					       hsmpool_error *err)
{
	return hp_owned_dir_open("state-dir", path, can_make, dir, err);
}

static inline hsmpool_status hp_state_file_open(int dir, const char *name, bool can_make,
						int *file, hsmpool_error *err)
{
	return hp_owned_file_open("state-dir", dir, name, can_make, file, err);
}

/* Lock against other processes, and other openings in this one. TIMEOUT at deadline_ns;
 * SYSTEM where the file system has no locks. To be called with no lock held, and outside
 * every module's gate. */
hsmpool_status hp_state_file_lock(int file, int64_t deadline_ns, hsmpool_error *err);
/* Unlock (if it is locked) and close; *file becomes -1. */
void hp_state_file_close(int *file);

#endif

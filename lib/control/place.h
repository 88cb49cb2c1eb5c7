/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the control sockets of a user's processes are, and how one is reached.
 *
 * A folder, 0700 and its owner's, holds one socket per process (and per copy of this
 * library in it): PID.sock, or PID-2.sock and so on. Names in it are used through the
 * folder's open descriptor (/proc/self/fd/N/NAME): so a folder that was checked is not
 * exchanged afterwards, and its path may be longer than an address.
 */
#ifndef HP_CONTROL_PLACE_H
#define HP_CONTROL_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Of more copies of this library in one process the rest has none. */
#define HP_CONTROL_COPIES 16

/*
 * The effective user's: $XDG_RUNTIME_DIR/hsmpool if that variable names a folder of this
 * user's, else /run/hsmpool for root, else /tmp/hsmpool-UID. False: it does not fit cap.
 */
bool hp_control_dir(char *path, size_t cap);

/* Open the folder, made if it is missing and can_make. It must be owner's, a folder and
 * no link, and closed to everybody else. -1, and errno, else: EPERM if it is not so. */
int hp_control_open_dir(const char *path, uid_t owner, bool can_make);

/* "123.sock": 123, 1. "123-2.sock": 123, 2. */
bool hp_control_parse_name(const char *name, pid_t *pid, unsigned *copy);
void hp_control_make_name(char *name, size_t cap, pid_t pid, unsigned copy);

/* A non-blocking socket, bound to name in the folder, mode 0600, that listens. */
int hp_control_listen(int dir, const char *name);

/*
 * A non-blocking connection to the socket name, whose server is owner's. -1 and errno:
 * ECONNREFUSED: nobody listens there any more; EAGAIN: too many are waiting; EPERM: it is
 * not owner's.
 */
int hp_control_connect(int dir, const char *name, uid_t owner);

/* Remove it if nobody listens there. */
void hp_control_remove_stale(int dir, const char *name);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors in a host program that may close them behind our back and get their numbers
 * for files of its own: each is known by the file behind it, too.
 *
 * Between the look and the use another thread may still do it; that the library can only
 * make unlikely. Not thread-safe.
 */
#ifndef HP_CONTROL_DESCRIPTOR_H
#define HP_CONTROL_DESCRIPTOR_H

#include <stdbool.h>
#include <sys/types.h>

struct hp_descriptor {
	int fd; /* -1: none */
	dev_t device;
	ino_t inode;
};
#define HP_NO_DESCRIPTOR ((struct hp_descriptor){ .fd = -1 })

/* fd becomes d's, under a number that is not a standard descriptor's. False: there is
 * none left, and fd is closed. */
bool hp_descriptor_take(struct hp_descriptor *d, int fd);
/* Is it still what it was? */
bool hp_descriptor_is_ours(const struct hp_descriptor *d);
/* Close it if it is ours; there is none then in any case. */
void hp_descriptor_close(struct hp_descriptor *d);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listening socket, from what --listen says: ADDRESS:PORT, [ADDRESS]:PORT, :PORT (of
 * this machine only), or unix:PATH.
 *
 * A Unix socket is made 0660, in place of one where nobody listens any more, and removed
 * with the listener.
 */
#ifndef CLI_LISTENER_H
#define CLI_LISTENER_H

#include <stdbool.h>
#include <sys/types.h>
#include <hsmpool/status.h>

struct listener {
	int fd;
	bool is_local;   /* reached from this machine only */
	char where[160]; /* "http://127.0.0.1:9812", "unix:/run/x.sock": for people */
	char path[108];  /* of a Unix socket; "" else */
	dev_t device;    /* what path is, while it is ours */
	ino_t inode;
};

/* USAGE: text is no such thing. SYSTEM: it cannot be had. */
hsmpool_status listener_open(struct listener *listener, const char *text,
			     hsmpool_error *err);
void listener_close(struct listener *listener);

#endif

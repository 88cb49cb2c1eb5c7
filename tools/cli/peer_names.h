/* SPDX-License-Identifier: Apache-2.0 */
/* What a process is called, and its user: as the kernel says, not as it says itself. */
#ifndef CLI_PEER_NAMES_H
#define CLI_PEER_NAMES_H

#include <stddef.h>
#include "peers.h"

/* "" if it has ended. Any bytes: the program chooses it. */
void peer_read_program(const struct peer *peer, char *name, size_t cap);
/* The name, or the number. */
void peer_read_user(const struct peer *peer, char *name, size_t cap);

#endif

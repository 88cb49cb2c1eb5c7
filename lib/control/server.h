/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: one per process, made, served and removed here.
 *
 * It is made a moment after the first pool is kept, so short programs never make one, and
 * removed when no pool is left. A few peers at a time are served, of the same effective
 * user or root; each sends one line and gets one reply, within seconds, or is dropped.
 * Nothing here waits for a peer.
 *
 * All of it is the keeper's thread's (pool/keeper.h), but for what is begun here.
 */
#ifndef HP_CONTROL_SERVER_H
#define HP_CONTROL_SERVER_H

#include <stdint.h>
#include "control/reply.h"

/* Answer one request: what is in reply when it returns is the whole reply. */
typedef void (*hp_control_answer)(const char *request, struct hp_reply *reply);

/* From now on, in the folder dir. Once in a process: a forked child begins anew. */
void hp_control_begin(const char *dir, hp_control_answer answer);

/* How long after the keeper has begun the socket is made: for tests. */
void hp_control_set_delay(int64_t ns);

#endif

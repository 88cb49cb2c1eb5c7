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

#include <stdbool.h>
#include <stdint.h>
#include "control/reply.h"

/* Answer one request: what is in reply when it returns is the whole reply. */
typedef void (*hp_control_answer)(const char *request, struct hp_reply *reply);

/* Is it for the caller to begin? True for one, until no pool is kept any more; for a
 * forked child anew. Whoever asks has a pool that is kept. */
bool hp_control_claim(void);
/* Who claimed it: from now on, in the folder dir. */
void hp_control_begin(const char *dir, hp_control_answer answer);

/* For tests: how long after the keeper has begun the socket is made, and how long a peer
 * may take. */
void hp_control_hurry(int64_t delay_ns, int64_t patience_ns);

#endif

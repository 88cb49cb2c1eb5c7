/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns at a token that computes on this machine's own processors.
 *
 * A real HSM has processors of its own: several threads ask it at once, and wait. A token
 * in software makes HMACs in the calling thread, and behind locks of its own: threads
 * that ask it at once are slower together than one alone. There, one thread at a time
 * asks for the HMACs of a whole batch while the others do the rest of their work.
 *
 * Which of the two it is shows in the first turns: whether the time that passed is time
 * of a processor. Owns: that, and the lock. Thread-safe.
 */
#ifndef HP_PSEUDONYM_TURN_H
#define HP_PSEUDONYM_TURN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum hp_turn_kind {
	HP_TURN_UNKNOWN, /* taken, and measured */
	HP_TURN_TAKEN,   /* one at a time is best */
	HP_TURN_FREE,    /* all at once: nobody takes turns */
};

struct hp_turn {
	_Atomic enum hp_turn_kind kind;
	pthread_mutex_t lock;
	/* guarded by lock; while unknown */
	int64_t passed_ns, worked_ns; /* by the clock, by the processor */
	int64_t passed_at_ns, worked_at_ns;
};

/* is_alone: there is one thread, which has nobody to take turns with. */
void hp_turn_init(struct hp_turn *turn, bool is_alone);
void hp_turn_clear(struct hp_turn *turn);

/* False: turns are not taken. True: it is the caller's, until hp_turn_end(). Holding it,
 * a thread may call the HSM and must not ask for another turn. */
bool hp_turn_begin(struct hp_turn *turn);
void hp_turn_end(struct hp_turn *turn);

#endif

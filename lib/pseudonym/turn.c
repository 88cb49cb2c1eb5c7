/* SPDX-License-Identifier: Apache-2.0 */
/* See turn.h. */
#include "pseudonym/turn.h"
#include <time.h>
#include "base/time.h"

/* Turns are measured until this much time has passed in them. */
#define MEASURED_FOR (20 * HP_MS)

static int64_t processor_time_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (int64_t)now.tv_sec * HP_SECOND + now.tv_nsec;
}

void hp_turn_init(struct hp_turn *turn, bool is_alone)
{
	*turn = (struct hp_turn){ .lock = PTHREAD_MUTEX_INITIALIZER };
	atomic_init(&turn->kind, is_alone ? HP_TURN_FREE : HP_TURN_UNKNOWN);
}

void hp_turn_clear(struct hp_turn *turn)
{
	pthread_mutex_destroy(&turn->lock);
}

bool hp_turn_begin(struct hp_turn *turn)
{
	if (atomic_load(&turn->kind) == HP_TURN_FREE)
		return false;
	pthread_mutex_lock(&turn->lock);
	if (atomic_load(&turn->kind) == HP_TURN_UNKNOWN) {
		turn->passed_at_ns = hp_now_ns();
		turn->worked_at_ns = processor_time_ns();
	}
	return true;
}

static void measure(struct hp_turn *turn)
{
	turn->passed_ns += hp_now_ns() - turn->passed_at_ns;
	turn->worked_ns += processor_time_ns() - turn->worked_at_ns;
	if (turn->passed_ns < MEASURED_FOR)
		return;
	bool is_local = 2 * turn->worked_ns > turn->passed_ns;
	atomic_store(&turn->kind, is_local ? HP_TURN_TAKEN : HP_TURN_FREE);
}

void hp_turn_end(struct hp_turn *turn)
{
	if (atomic_load(&turn->kind) == HP_TURN_UNKNOWN)
		measure(turn);
	pthread_mutex_unlock(&turn->lock);
}

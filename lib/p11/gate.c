/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate's slow paths: waiting for a writer, and being one.
 *
 * Owns: the order of announcing and looking on which both sides rely. Must not: call
 * the module or log. A thread that is inside a call already never waits here, or a
 * writer would wait for it and it for the writer.
 */
#include "p11/gate.h"

#include "base/time.h"

_Thread_local struct hp_gate_thread hp_gate_thread;

void hp_gate_init(struct hp_gate *gate)
{
	for (unsigned i = 0; i < HP_GATE_SHARDS; i++)
		atomic_init(&gate->shard[i].inside, 0);
	for (unsigned i = 0; i < HP_GATE_PLACES; i++)
		atomic_init(&gate->stayers[i], NULL);
	hp_gate_init_in_child(gate);
}

void hp_gate_init_in_child(struct hp_gate *gate)
{
	atomic_store(&gate->closed, 0);
	atomic_store(&gate->holder, NULL);
	pthread_mutex_init(&gate->writer, NULL);
	pthread_mutex_init(&gate->drain_lock, NULL);
	hp_cond_init(&gate->drained);
}

uint32_t hp_gate_count(struct hp_gate *gate)
{
	uint32_t count = 0;
	for (unsigned i = 0; i < HP_GATE_SHARDS; i++)
		count += atomic_load(&gate->shard[i].inside);
	return count;
}

uint32_t hp_gate_count_own(struct hp_gate *gate)
{
	uint32_t own = hp_gate_thread.gate == gate ? hp_gate_thread.depth : 0;
	for (unsigned i = 0; i < HP_GATE_PLACES; i++)
		own += atomic_load(&gate->stayers[i]) == &hp_gate_thread;
	return own;
}

static void wait_for_writer(struct hp_gate *gate)
{
	pthread_mutex_lock(&gate->writer);
	pthread_mutex_unlock(&gate->writer);
}

/* Comes announced on the shard, and finds the gate closed. */
bool hp_gate_enter_slow(struct hp_module *module, unsigned shard)
{
	struct hp_gate *gate = &module->gate;
	_Atomic uint32_t *inside = &gate->shard[shard % HP_GATE_SHARDS].inside;
	bool is_inside = hp_gate_count_own(gate) > 0;
	while (!is_inside && atomic_load(&gate->closed)) {
		atomic_fetch_sub(inside, 1);
		hp_gate_leave_slow(gate);
		wait_for_writer(gate);
		if (module->is_poisoned || hp_process_epoch() != module->epoch)
			return false;
		atomic_fetch_add(inside, 1);
	}
	hp_gate_thread.gate = gate;
	hp_gate_thread.depth++;
	return true;
}

void hp_gate_leave_slow(struct hp_gate *gate)
{
	pthread_mutex_lock(&gate->drain_lock);
	pthread_cond_broadcast(&gate->drained);
	pthread_mutex_unlock(&gate->drain_lock);
}

/*
 * Once every shard was seen empty it stays so: who announces itself now sees the gate
 * closed and steps back. So the count is not looked at again, it may be such a one.
 */
static bool wait_until_empty(struct hp_gate *gate, int64_t deadline_ns)
{
	uint32_t own = hp_gate_count_own(gate);
	bool in_time = true;
	pthread_mutex_lock(&gate->drain_lock);
	bool is_empty = hp_gate_count(gate) <= own;
	while (!is_empty && in_time) {
		in_time = hp_cond_wait_until(&gate->drained, &gate->drain_lock,
					     deadline_ns);
		is_empty = hp_gate_count(gate) <= own;
	}
	pthread_mutex_unlock(&gate->drain_lock);
	return is_empty;
}

/* -1: all taken; the stay is then nobody's, and a fork by its thread waits in vain. */
static int take_place(struct hp_gate *gate)
{
	for (int i = 0; i < HP_GATE_PLACES; i++) {
		void *nobody = NULL;
		if (atomic_compare_exchange_strong(&gate->stayers[i], &nobody,
						   &hp_gate_thread))
			return i;
	}
	return -1;
}

bool hp_gate_begin_stay(struct hp_module *module, unsigned shard, int *place)
{
	if (!hp_gate_enter(module, shard))
		return false;
	*place = take_place(&module->gate);
	hp_gate_thread.depth--; /* from here on the place tells whose it is */
	return true;
}

void hp_gate_end_stay(struct hp_module *module, unsigned shard, int place)
{
	if (place >= 0)
		atomic_store(&module->gate.stayers[place], NULL);
	hp_gate_thread.depth++; /* of whichever thread this is */
	hp_gate_leave(module, shard);
}

bool hp_gate_close(struct hp_module *module, int64_t deadline_ns)
{
	struct hp_gate *gate = &module->gate;
	if (!hp_mutex_lock_until(&gate->writer, deadline_ns))
		return false;
	atomic_store(&gate->closed, 1);
	atomic_store(&gate->holder, &hp_gate_thread);
	if (wait_until_empty(gate, deadline_ns))
		return true;
	hp_gate_open(module);
	return false;
}

void hp_gate_open(struct hp_module *module)
{
	struct hp_gate *gate = &module->gate;
	if (!hp_gate_is_mine(gate))
		return; /* closed before a fork, and this is the child */
	atomic_store(&gate->holder, NULL);
	atomic_store(&gate->closed, 0);
	pthread_mutex_unlock(&gate->writer);
}

bool hp_gate_is_mine(struct hp_gate *gate)
{
	return atomic_load(&gate->holder) == &hp_gate_thread;
}

bool hp_gate_caught_a_call(struct hp_module *inherited)
{
	struct hp_gate *gate = &inherited->gate;
	if (inherited->is_poisoned || inherited->was_at_rest)
		return inherited->is_poisoned;
	return hp_gate_count(gate) > hp_gate_count_own(gate);
}

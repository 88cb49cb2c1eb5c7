/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate: every call into a module enters and leaves through it.
 *
 * Readers are calls: one atomic add on the way in, one on the way out. Writers are
 * fork's prepare handler and whoever finalises or initialises the module again: they
 * close the gate, wait a bounded time until nobody is inside, and open it again.
 * Locking: a reader may wait here for a writer, so no lock that a writer may want
 * (a pool's lock, the registry's) is held when entering.
 */
#ifndef HP_P11_GATE_H
#define HP_P11_GATE_H

#include "base/process.h"
#include "p11/module.h"

/* The shard for calls that belong to no session. */
#define HP_GATE_NO_SESSION (HP_GATE_SHARDS - 1)

/* What this thread is doing at gates. A thread is at one gate at a time. */
struct hp_gate_thread {
	struct hp_gate *gate; /* where it is inside, if depth > 0 */
	unsigned depth;       /* calls it is inside */
};
extern _Thread_local struct hp_gate_thread hp_gate_thread;

void hp_gate_init(struct hp_gate *gate);
/* In a forked child: all locks new, gate open. Counters of calls stay. */
void hp_gate_init_in_child(struct hp_gate *gate);
/* How many calls are inside, and how many of them are this thread's. */
uint32_t hp_gate_count(struct hp_gate *gate);
uint32_t hp_gate_count_own(struct hp_gate *gate);

/* The rest of hp_gate_enter(): waits while the gate is closed. */
bool hp_gate_enter_slow(struct hp_module *module, unsigned shard);
/* The rest of hp_gate_leave(): tells the writer. */
void hp_gate_leave_slow(struct hp_gate *gate);

/* False, and not entered: the module is poisoned, or of another process. */
static inline bool hp_gate_enter(struct hp_module *module, unsigned shard)
{
	struct hp_gate *gate = &module->gate;
	if (__builtin_expect(hp_process_epoch() != module->epoch, 0))
		return false;
	/* Dekker with the writer: announce first, then look. Both sequentially
	 * consistent, so that one of the two sees the other. */
	atomic_fetch_add(&gate->shard[shard % HP_GATE_SHARDS].inside, 1);
	if (__builtin_expect(atomic_load(&gate->closed) != 0, 0))
		return hp_gate_enter_slow(module, shard);
	hp_gate_thread.gate = gate;
	hp_gate_thread.depth++;
	return true;
}

static inline void hp_gate_leave(struct hp_module *module, unsigned shard)
{
	struct hp_gate *gate = &module->gate;
	hp_gate_thread.depth--;
	atomic_fetch_sub(&gate->shard[shard % HP_GATE_SHARDS].inside, 1);
	if (__builtin_expect(atomic_load(&gate->closed) != 0, 0))
		hp_gate_leave_slow(gate);
}

/*
 * Stay inside beyond a call, for a raw borrow, and end the stay from any thread. The
 * thread that began it may fork and make calls meanwhile without waiting for itself.
 * *place is for the end; false as hp_gate_enter().
 */
bool hp_gate_begin_stay(struct hp_module *module, unsigned shard, int *place);
void hp_gate_end_stay(struct hp_module *module, unsigned shard, int place);

/*
 * Of a module inherited from the parent process: whether a call was inside at the fork.
 * The counters tell it only where no fork handler ran: over a fork behind a closed gate
 * they may also hold calls that announced themselves, saw it closed, and stepped back.
 */
bool hp_gate_caught_a_call(struct hp_module *inherited);

/* As the writer: true when nobody else is inside any more. False at deadline_ns, and
 * the gate is open again. The same thread opens it. */
bool hp_gate_close(struct hp_module *module, int64_t deadline_ns);
void hp_gate_open(struct hp_module *module);
/* Whether this thread holds it closed. */
bool hp_gate_is_mine(struct hp_gate *gate);

/* Enter, and hold a module that cannot lock to one call at a time. */
static inline bool hp_call_begin(struct hp_module *module, unsigned shard)
{
	if (!hp_gate_enter(module, shard))
		return false;
	if (__builtin_expect(module->is_serialised, 0))
		pthread_mutex_lock(&module->serial);
	return true;
}

static inline void hp_call_end(struct hp_module *module, unsigned shard)
{
	if (__builtin_expect(module->is_serialised, 0))
		pthread_mutex_unlock(&module->serial);
	hp_gate_leave(module, shard);
}

/* One call of a function that the module may lack. */
#define HP_FL_CALL(module, function, ...)                             \
	((module)->fl->function ? (module)->fl->function(__VA_ARGS__) \
				: CKR_FUNCTION_NOT_SUPPORTED)

/* The same through the gate, for calls that belong to no session. */
#define HP_MODULE_CALL(module, function, ...)                                     \
	__extension__({                                                           \
		CK_RV hp_call_rv = CKR_CRYPTOKI_NOT_INITIALIZED;                  \
		if (hp_call_begin((module), HP_GATE_NO_SESSION)) {                \
			hp_call_rv = HP_FL_CALL((module), function, __VA_ARGS__); \
			hp_call_end((module), HP_GATE_NO_SESSION);                \
		}                                                                 \
		hp_call_rv;                                                       \
	})

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of modules, and the fork handlers that walk it.
 *
 * prepare: wait, bounded, until no call is inside any module, and keep the gates
 * closed. parent: open them. child: all locks new; a module that did not come to rest
 * is poisoned. A thread that forks from inside a call passes its own gate.
 */
#include "p11/registry.h"

#include "base/time.h"
#include "p11/gate.h"
#include "p11/instances.h"

#define FORK_PATIENCE   (5 * HP_SECOND)
#define FORK_IMPATIENCE (50 * HP_MS) /* with a call that hangs since an earlier fork */
#define CHANGE_PATIENCE (60 * HP_SECOND)

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct hp_module *modules; /* guarded by list_lock */

/* Of the thread that forks; inherited by the child, whose only thread it is. */
static _Thread_local struct {
	unsigned nesting;
	bool has_list_lock;
} forking;

static void close_for_fork(struct hp_module *module, int64_t deadline_ns)
{
	module->fork = HP_FORK_PASSED;
	if (module->epoch != hp_process_epoch() || module->is_poisoned)
		return;
	if (hp_gate_is_mine(&module->gate))
		return; /* forks from inside C_Finalize */
	if (module->is_hanging)
		deadline_ns = hp_time_add(hp_now_ns(), FORK_IMPATIENCE);
	module->is_hanging = !hp_gate_close(module, deadline_ns);
	module->fork = module->is_hanging ? HP_FORK_TIMED_OUT : HP_FORK_CLOSED;
}

static void before_fork(void)
{
	if (forking.nesting++ > 0)
		return;
	int64_t deadline_ns = hp_time_add(hp_now_ns(), FORK_PATIENCE);
	forking.has_list_lock = hp_mutex_lock_until(&list_lock, deadline_ns);
	if (!forking.has_list_lock)
		return; /* another thread's fork waits for a call that hangs */
	for (struct hp_module *m = modules; m; m = m->next)
		close_for_fork(m, deadline_ns);
}

static void after_fork_in_parent(void)
{
	if (--forking.nesting > 0 || !forking.has_list_lock)
		return;
	for (struct hp_module *m = modules; m; m = m->next)
		if (m->fork == HP_FORK_CLOSED)
			hp_gate_open(m);
	pthread_mutex_unlock(&list_lock);
}

static void after_fork_in_child(void)
{
	if (--forking.nesting > 0)
		return;
	for (struct hp_module *m = modules; m; m = m->next) {
		if (!forking.has_list_lock || m->fork == HP_FORK_TIMED_OUT)
			m->is_poisoned = true;
		if (forking.has_list_lock && m->fork == HP_FORK_CLOSED)
			m->was_at_rest = true;
		hp_gate_init_in_child(&m->gate);
		pthread_mutex_init(&m->serial, NULL);
	}
	pthread_mutex_init(&list_lock, NULL);
	hp_instances_renew_in_child();
}

bool hp_registry_watch_forks(void)
{
	static bool is_watching; /* guarded by the change lock; true in children too */
	if (!is_watching)
		is_watching = hp_registry_watch_forks_again();
	return is_watching;
}

bool hp_registry_watch_forks_again(void)
{
	return pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) ==
	       0;
}

void hp_registry_lock(void)
{
	pthread_mutex_lock(&list_lock);
}

void hp_registry_unlock(void)
{
	pthread_mutex_unlock(&list_lock);
}

void hp_registry_add(struct hp_module *module)
{
	module->next = modules;
	modules = module;
}

struct hp_module *hp_registry_find(const void *dl)
{
	for (struct hp_module *m = modules; m; m = m->next)
		if (m->dl == dl && m->epoch == hp_process_epoch())
			return m;
	return NULL;
}

struct hp_module *hp_registry_find_inherited(const void *dl)
{
	for (struct hp_module *m = modules; m; m = m->next)
		if (m->dl == dl && m->epoch != hp_process_epoch())
			return m;
	return NULL;
}

bool hp_registry_begin_change(void)
{
	return hp_mutex_lock_until(hp_instances_lock(),
				   hp_time_add(hp_now_ns(), CHANGE_PATIENCE));
}

void hp_registry_end_change(void)
{
	pthread_mutex_unlock(hp_instances_lock());
}

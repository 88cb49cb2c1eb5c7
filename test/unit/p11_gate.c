/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate, around a module that is made up: what a closed one holds back, what it
 * waits for, and what a fork does with a call that does not come back.
 */
#include "support/fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/time.h"
#include "p11/gate.h"
#include "p11/registry.h"

static char name[] = "made-up";

static struct hp_module *make_module(void)
{
	struct hp_module *module = aligned_alloc(64, sizeof(*module));
	assert_non_null(module);
	memset(module, 0, sizeof(*module));
	module->path = name;
	module->epoch = hp_process_epoch();
	hp_gate_init(&module->gate);
	pthread_mutex_init(&module->serial, NULL);
	return module;
}

static int64_t in_ms(int64_t ms)
{
	return hp_now_ns() + ms * HP_MS;
}

/* --- a call that stays inside until it is told ------------------------------------- */

struct caller {
	pthread_t thread;
	struct hp_module *module;
	unsigned shard;
	bool nests; /* makes a second call from inside the first, when told to leave */
	bool has_entered;
	bool has_nested;
	pthread_barrier_t entered;
	pthread_barrier_t leave;
};

static void *call(void *argument)
{
	struct caller *caller = argument;
	caller->has_entered = hp_gate_enter(caller->module, caller->shard);
	pthread_barrier_wait(&caller->entered);
	pthread_barrier_wait(&caller->leave);
	if (caller->nests) {
		caller->has_nested = hp_gate_enter(caller->module, caller->shard);
		hp_gate_leave(caller->module, caller->shard);
	}
	hp_gate_leave(caller->module, caller->shard);
	return NULL;
}

static void start_call(struct caller *caller, struct hp_module *module, unsigned shard)
{
	memset(caller, 0, sizeof(*caller));
	caller->module = module;
	caller->shard = shard;
	pthread_barrier_init(&caller->entered, NULL, 2);
	pthread_barrier_init(&caller->leave, NULL, 2);
	assert_int_equal(pthread_create(&caller->thread, NULL, call, caller), 0);
	pthread_barrier_wait(&caller->entered);
	assert_true(caller->has_entered);
}

static void end_call(struct caller *caller)
{
	pthread_barrier_wait(&caller->leave);
	pthread_join(caller->thread, NULL);
	pthread_barrier_destroy(&caller->entered);
	pthread_barrier_destroy(&caller->leave);
}

/* --- tests ------------------------------------------------------------------------- */

static void calls_pass_an_open_gate_and_are_counted(void **state)
{
	struct hp_module *module = make_module();
	(void)state;
	for (unsigned shard = 0; shard < 2 * HP_GATE_SHARDS; shard++)
		assert_true(hp_gate_enter(module, shard));
	assert_int_equal(hp_gate_count(&module->gate), 2 * HP_GATE_SHARDS);
	for (unsigned shard = 0; shard < 2 * HP_GATE_SHARDS; shard++)
		hp_gate_leave(module, shard);
	assert_int_equal(hp_gate_count(&module->gate), 0);
	assert_int_equal(hp_gate_thread.depth, 0);
	free(module);
}

static void a_module_of_another_process_is_not_entered(void **state)
{
	struct hp_module *module = make_module();
	(void)state;
	module->epoch++;
	assert_false(hp_gate_enter(module, 0));
	assert_int_equal(hp_gate_count(&module->gate), 0);
	free(module);
}

static void a_writer_gives_up_at_its_deadline_and_lets_calls_go_on(void **state)
{
	struct hp_module *module = make_module();
	struct caller caller;
	(void)state;
	start_call(&caller, module, 3);
	int64_t before = hp_now_ns();
	assert_false(hp_gate_close(module, in_ms(20)));
	assert_true(hp_now_ns() - before >= 20 * HP_MS);
	assert_true(hp_gate_enter(module, 3));
	hp_gate_leave(module, 3);
	end_call(&caller);
	assert_true(hp_gate_close(module, in_ms(0)));
	hp_gate_open(module);
	free(module);
}

static void *close_and_open(void *argument)
{
	struct hp_module *module = argument;
	bool is_closed = hp_gate_close(module, in_ms(60000));
	if (is_closed)
		hp_gate_open(module);
	return is_closed ? module : NULL;
}

static void wait_until_closing(struct hp_module *module)
{
	while (!atomic_load(&module->gate.closed))
		sched_yield();
}

static void a_writer_comes_in_when_the_last_call_has_left(void **state)
{
	struct hp_module *module = make_module();
	struct caller callers[3];
	pthread_t writer;
	void *closed = NULL;
	(void)state;
	for (unsigned i = 0; i < 3; i++)
		start_call(&callers[i], module, i);
	assert_int_equal(pthread_create(&writer, NULL, close_and_open, module), 0);
	wait_until_closing(module);
	for (unsigned i = 0; i < 3; i++)
		end_call(&callers[i]);
	pthread_join(writer, &closed);
	assert_ptr_equal(closed, module);
	free(module);
}

/* Else it would wait for the writer, and the writer for it. */
static void a_call_made_inside_a_call_does_not_wait_for_the_writer(void **state)
{
	struct hp_module *module = make_module();
	struct caller caller;
	pthread_t writer;
	void *closed = NULL;
	(void)state;
	start_call(&caller, module, 3);
	caller.nests = true;
	assert_int_equal(pthread_create(&writer, NULL, close_and_open, module), 0);
	wait_until_closing(module);
	end_call(&caller);
	assert_true(caller.has_nested);
	pthread_join(writer, &closed);
	assert_ptr_equal(closed, module);
	free(module);
}

/* Under TSan also: what the writer did is visible to whoever enters after it. */
struct guarded {
	struct hp_module *module;
	unsigned shard;
	uint64_t *value; /* the writer's, written while the gate is closed */
	bool has_failed;
};

#define ROUNDS 300

static void *read_guarded(void *argument)
{
	struct guarded *guarded = argument;
	uint64_t last = 0;
	while (last < ROUNDS && !guarded->has_failed) {
		if (!hp_gate_enter(guarded->module, guarded->shard)) {
			guarded->has_failed = true;
			break;
		}
		uint64_t value = *guarded->value;
		guarded->has_failed = value < last || *guarded->value != value;
		last = value;
		hp_gate_leave(guarded->module, guarded->shard);
		sched_yield();
	}
	return NULL;
}

static void a_closed_gate_keeps_everyone_out(void **state)
{
	struct hp_module *module = make_module();
	struct guarded readers[4];
	pthread_t threads[4];
	uint64_t value = 0;
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		readers[i] = (struct guarded){ module, i, &value, false };
		assert_int_equal(
			pthread_create(&threads[i], NULL, read_guarded, &readers[i]), 0);
	}
	for (int i = 0; i < ROUNDS; i++) {
		assert_true(hp_gate_close(module, in_ms(60000)));
		value++;
		hp_gate_open(module);
		sched_yield();
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_false(readers[i].has_failed);
	}
	free(module);
}

static void only_the_thread_that_closed_a_gate_opens_it(void **state)
{
	struct hp_module *module = make_module();
	(void)state;
	assert_true(hp_gate_close(module, in_ms(0)));
	assert_true(hp_gate_is_mine(&module->gate));
	hp_gate_open(module);
	assert_false(hp_gate_is_mine(&module->gate));
	hp_gate_open(module);
	assert_true(hp_gate_enter(module, 0));
	hp_gate_leave(module, 0);
	free(module);
}

static CK_RV answer_info(CK_INFO *info)
{
	info->flags++;
	return CKR_OK;
}

static void a_function_that_the_module_lacks_is_not_called(void **state)
{
	struct hp_module *module = make_module();
	CK_FUNCTION_LIST list = { .C_GetInfo = answer_info };
	CK_INFO info = { 0 };
	(void)state;
	module->fl = &list;
	assert_int_equal(HP_MODULE_CALL(module, C_GetInfo, &info), CKR_OK);
	assert_int_equal(HP_MODULE_CALL(module, C_Finalize, NULL),
			 CKR_FUNCTION_NOT_SUPPORTED);
	module->epoch++;
	assert_int_equal(HP_MODULE_CALL(module, C_GetInfo, &info),
			 CKR_CRYPTOKI_NOT_INITIALIZED);
	assert_int_equal(info.flags, 1);
	free(module);
}

/* --- stays ------------------------------------------------------------------------- */

struct stay {
	struct hp_module *module;
	int place;
};

static void *end_stay(void *argument)
{
	struct stay *stay = argument;
	hp_gate_end_stay(stay->module, 4, stay->place);
	return hp_gate_thread.depth == 0 ? stay : NULL;
}

/* A raw borrow may be given back by any thread. */
static void a_stay_is_ended_from_another_thread(void **state)
{
	struct stay stay = { .module = make_module() };
	pthread_t thread;
	void *balanced = NULL;
	(void)state;
	assert_true(hp_gate_begin_stay(stay.module, 4, &stay.place));
	assert_int_equal(hp_gate_thread.depth, 0);
	assert_int_equal(hp_gate_count(&stay.module->gate), 1);
	assert_int_equal(hp_gate_count_own(&stay.module->gate), 1);
	assert_int_equal(pthread_create(&thread, NULL, end_stay, &stay), 0);
	pthread_join(thread, &balanced);
	assert_non_null(balanced);
	assert_int_equal(hp_gate_count(&stay.module->gate), 0);
	assert_int_equal(hp_gate_count_own(&stay.module->gate), 0);
	free(stay.module);
}

static void a_writer_waits_for_a_stay_and_its_calls_go_on(void **state)
{
	struct hp_module *module = make_module();
	pthread_t writer;
	void *closed = NULL;
	int place;
	(void)state;
	assert_true(hp_gate_begin_stay(module, 4, &place));
	assert_int_equal(pthread_create(&writer, NULL, close_and_open, module), 0);
	wait_until_closing(module);
	assert_true(hp_gate_enter(module, 9));
	hp_gate_leave(module, 9);
	hp_gate_end_stay(module, 4, place);
	pthread_join(writer, &closed);
	assert_ptr_equal(closed, module);
	free(module);
}

static void more_stays_than_places_are_counted_all_the_same(void **state)
{
	static int places[HP_GATE_PLACES + 2];
	struct hp_module *module = make_module();
	const int count = HP_GATE_PLACES + 2;
	(void)state;
	for (int i = 0; i < count; i++)
		assert_true(hp_gate_begin_stay(module, (unsigned)i, &places[i]));
	assert_int_equal(hp_gate_count(&module->gate), count);
	assert_int_equal(hp_gate_count_own(&module->gate), HP_GATE_PLACES);
	for (int i = 0; i < count; i++)
		hp_gate_end_stay(module, (unsigned)i, places[i]);
	assert_int_equal(hp_gate_count(&module->gate), 0);
	assert_true(hp_gate_close(module, in_ms(0)));
	hp_gate_open(module);
	free(module);
}

/* --- fork -------------------------------------------------------------------------- */

enum { CHILD_CLEAN = 40, CHILD_POISONED = 41 };

static int fork_and_look(struct hp_module *module)
{
	int status = 0;
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		bool is_refused = !hp_gate_enter(module, 0);
		if (!is_refused)
			_exit(1);
		_exit(hp_gate_caught_a_call(module) ? CHILD_POISONED : CHILD_CLEAN);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static struct hp_module *registered_module(void)
{
	struct hp_module *module = make_module();
	hp_registry_lock();
	hp_registry_add(module); /* never freed */
	hp_registry_unlock();
	return module;
}

static void a_fork_with_nothing_inside_is_clean(void **state)
{
	struct hp_module *module = registered_module();
	(void)state;
	assert_int_equal(fork_and_look(module), CHILD_CLEAN);
	assert_true(hp_gate_enter(module, 0));
	hp_gate_leave(module, 0);
}

/* It waits its bounded time, then the child is told never to call the module. */
static void a_fork_with_a_call_that_hangs_poisons_the_child_only(void **state)
{
	struct hp_module *module = registered_module();
	struct caller caller;
	(void)state;
	start_call(&caller, module, 5);
	int64_t before = hp_now_ns();
	assert_int_equal(fork_and_look(module), CHILD_POISONED);
	int64_t waited = hp_now_ns() - before;
	assert_true(waited >= 4 * HP_SECOND);
	before = hp_now_ns();
	for (int i = 0; i < 10; i++)
		assert_int_equal(fork_and_look(module), CHILD_POISONED);
	assert_true(hp_now_ns() - before < 40 * HP_SECOND); /* not ten times more */
	assert_false(module->is_poisoned);
	assert_true(hp_gate_enter(module, 0));
	hp_gate_leave(module, 0);
	end_call(&caller);
	assert_int_equal(fork_and_look(module), CHILD_CLEAN);
}

/* A module's callback may fork: the thread must not wait for itself. */
static void a_thread_forks_from_inside_its_own_call_at_once(void **state)
{
	struct hp_module *module = registered_module();
	(void)state;
	assert_true(hp_gate_enter(module, 7));
	assert_int_equal(fork_and_look(module), CHILD_CLEAN); /* in vain: poisoned */
	hp_gate_leave(module, 7);
	assert_int_equal(hp_gate_count(&module->gate), 0);
}

static void a_thread_that_stays_inside_forks_at_once(void **state)
{
	struct hp_module *module = registered_module();
	int place;
	(void)state;
	assert_true(hp_gate_begin_stay(module, 7, &place));
	assert_int_equal(fork_and_look(module), CHILD_CLEAN);
	hp_gate_end_stay(module, 7, place);
}

/* A call that has announced itself, but not yet seen that the gate is closed. */
static struct hp_module *knocked_at;

static void knock_at_the_closed_gate(void)
{
	if (knocked_at)
		atomic_fetch_add(&knocked_at->gate.shard[3].inside, 1);
}

static void a_call_that_steps_back_from_a_fork_was_not_inside(void **state)
{
	struct hp_module *module = registered_module();
	(void)state;
	knocked_at = module;
	assert_int_equal(fork_and_look(module), CHILD_CLEAN);
	knocked_at = NULL;
	atomic_fetch_sub(&module->gate.shard[3].inside, 1);
	assert_int_equal(hp_gate_count(&module->gate), 0);
}

/* As C_Finalize might, which is called with the gate closed. */
static void a_writer_may_fork(void **state)
{
	struct hp_module *module = registered_module();
	(void)state;
	assert_true(hp_gate_close(module, in_ms(0)));
	assert_int_equal(fork_and_look(module), CHILD_CLEAN);
	hp_gate_open(module);
	assert_true(hp_gate_enter(module, 0));
	hp_gate_leave(module, 0);
}

/* Handlers are registered again for each module that is loaded. */
static void handlers_registered_several_times_act_once(void **state)
{
	struct hp_module *module = registered_module();
	(void)state;
	for (int i = 0; i < 3; i++)
		assert_true(hp_registry_watch_forks_again());
	assert_int_equal(fork_and_look(module), CHILD_CLEAN);
	assert_true(hp_gate_close(module, in_ms(0)));
	hp_gate_open(module);
}

static int watch_forks(void **state)
{
	(void)state;
	/* The first registered is the last to run before a fork. */
	pthread_atfork(knock_at_the_closed_gate, NULL, NULL);
	return hp_registry_watch_forks() ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_pass_an_open_gate_and_are_counted),
		cmocka_unit_test(a_module_of_another_process_is_not_entered),
		cmocka_unit_test(a_writer_gives_up_at_its_deadline_and_lets_calls_go_on),
		cmocka_unit_test(a_writer_comes_in_when_the_last_call_has_left),
		cmocka_unit_test(a_call_made_inside_a_call_does_not_wait_for_the_writer),
		cmocka_unit_test(a_closed_gate_keeps_everyone_out),
		cmocka_unit_test(only_the_thread_that_closed_a_gate_opens_it),
		cmocka_unit_test(a_function_that_the_module_lacks_is_not_called),
		cmocka_unit_test(a_stay_is_ended_from_another_thread),
		cmocka_unit_test(a_writer_waits_for_a_stay_and_its_calls_go_on),
		cmocka_unit_test(more_stays_than_places_are_counted_all_the_same),
		cmocka_unit_test(a_fork_with_nothing_inside_is_clean),
		cmocka_unit_test(a_fork_with_a_call_that_hangs_poisons_the_child_only),
		cmocka_unit_test(a_thread_forks_from_inside_its_own_call_at_once),
		cmocka_unit_test(a_thread_that_stays_inside_forks_at_once),
		cmocka_unit_test(a_call_that_steps_back_from_a_fork_was_not_inside),
		cmocka_unit_test(a_writer_may_fork),
		cmocka_unit_test(handlers_registered_several_times_act_once),
	};
	return cmocka_run_group_tests(tests, watch_forks, NULL);
}

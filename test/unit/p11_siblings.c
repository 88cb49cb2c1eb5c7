/* SPDX-License-Identifier: Apache-2.0 */
/* Turns of processes that are related by fork: p11/siblings.c. */
#include "support/fixture.h"

#include "base/time.h"
#include "p11/siblings.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* A child that has its turn and keeps it until it is killed. */
static pid_t start_greedy_child(void)
{
	int has_turn[2];
	assert_int_equal(pipe(has_turn), 0);
	pid_t child = fork();
	if (child == 0) {
		char told = hp_siblings_begin() ? 'y' : 'n';
		if (write(has_turn[1], &told, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	char told = 0;
	assert_int_equal(read(has_turn[0], &told, 1), 1);
	assert_int_equal(told, 'y');
	close(has_turn[0]);
	close(has_turn[1]);
	return child;
}

static void end_child(pid_t child)
{
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

/* The first turn of the family: children inherit what it makes. */
static void a_turn_ends(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		bool has_begun = hp_siblings_begin();
		assert_true(has_begun);
		hp_siblings_end(has_begun);
	}
}

static void a_killed_process_loses_its_turn(void **state)
{
	(void)state;
	end_child(start_greedy_child());
	for (int i = 0; i < 2; i++) {
		bool has_begun = hp_siblings_begin();
		assert_true(has_begun);
		hp_siblings_end(has_begun);
	}
}

static void nobody_waits_for_ever(void **state)
{
	(void)state;
	pid_t child = start_greedy_child();
	int64_t start_ns = hp_now_ns();
	bool has_begun = hp_siblings_begin();
	int64_t waited_ns = hp_now_ns() - start_ns;
	hp_siblings_end(has_begun);
	end_child(child);
	assert_false(has_begun);
	assert_true(waited_ns >= HP_SECOND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_turn_ends),
		cmocka_unit_test(a_killed_process_loses_its_turn),
		cmocka_unit_test(nobody_waits_for_ever),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

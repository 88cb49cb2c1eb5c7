/* SPDX-License-Identifier: Apache-2.0 */
/* Turns of processes, those that are related by fork and others: p11/siblings.c. */
#include "support/fixture.h"

#include "base/time.h"
#include "p11/siblings.h"
#include "scratch.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of the module nothing counts but whether it is another copy of us. */
static const struct hp_module vendors;
static const struct hp_module another_copy = { .is_hsmpool = true };

/* A child that has its turn and keeps it until it is killed. */
static pid_t start_greedy_child(void)
{
	int has_turn[2];
	assert_int_equal(pipe(has_turn), 0);
	pid_t child = fork();
	if (child == 0) {
		char told = hp_siblings_begin(&vendors) ? 'y' : 'n';
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
		bool has_begun = hp_siblings_begin(&vendors);
		assert_true(has_begun);
		hp_siblings_end(has_begun);
	}
}

/* That copy takes it, in the middle of this one's call. */
static void another_copy_of_us_is_called_without_a_turn(void **state)
{
	(void)state;
	bool has_begun = hp_siblings_begin(&another_copy);
	assert_false(has_begun);
	assert_true(hp_siblings_begin(&vendors));
	hp_siblings_end(has_begun);
	hp_siblings_end(true);
}

static void a_killed_process_loses_its_turn(void **state)
{
	(void)state;
	end_child(start_greedy_child());
	for (int i = 0; i < 2; i++) {
		bool has_begun = hp_siblings_begin(&vendors);
		assert_true(has_begun);
		hp_siblings_end(has_begun);
	}
}

static void nobody_waits_for_ever(void **state)
{
	(void)state;
	pid_t child = start_greedy_child();
	int64_t start_ns = hp_now_ns();
	bool has_begun = hp_siblings_begin(&vendors);
	int64_t waited_ns = hp_now_ns() - start_ns;
	hp_siblings_end(has_begun);
	end_child(child);
	assert_false(has_begun);
	assert_true(waited_ns >= HP_SECOND);
}

/* --- processes that are not related --------------------------------------------------
 */

/* What another program's turn looks like. -1: it is not free. */
static int lock_as_another(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	close(fd);
	return -1;
}

/* The last tests: where to meet is said once in a process. */
static void a_turn_is_had_against_unrelated_processes_too(void **state)
{
	(void)state;
	hp_siblings_meet_in(scratch_path("state"));
	bool has_begun = hp_siblings_begin(&vendors);
	assert_true(has_begun);
	assert_int_equal(lock_as_another(scratch_path("state/turn")), -1);
	hp_siblings_end(has_begun);
	int fd = lock_as_another(scratch_path("state/turn"));
	assert_true(fd >= 0);
	close(fd);
}

static void an_unrelated_process_is_not_waited_for_for_ever(void **state)
{
	(void)state;
	int fd = lock_as_another(scratch_path("state/turn"));
	int64_t start_ns = hp_now_ns();
	bool has_begun = hp_siblings_begin(&vendors);
	assert_true(hp_now_ns() - start_ns >= HP_SECOND);
	assert_true(has_begun); /* among its own it has its turn */
	hp_siblings_end(has_begun);
	close(fd);
	has_begun = hp_siblings_begin(&vendors);
	assert_int_equal(lock_as_another(scratch_path("state/turn")), -1);
	hp_siblings_end(has_begun);
}

static void have_a_turn(void)
{
	bool has_begun = hp_siblings_begin(&vendors);
	assert_true(has_begun);
	hp_siblings_end(has_begun);
}

/* Whoever removed it wants it gone; whoever makes it again wants it used. */
static void a_folder_that_was_removed_is_not_made_again(void **state)
{
	(void)state;
	assert_int_equal(unlink(scratch_path("state/turn")), 0);
	assert_int_equal(rmdir(scratch_path("state")), 0);
	have_a_turn();
	assert_int_equal(access(scratch_path("state"), F_OK), -1);
	assert_int_equal(mkdir(scratch_path("state"), 0700), 0);
	have_a_turn();
	assert_int_equal(access(scratch_path("state/turn"), F_OK), 0);
}

/* As one that may not write there: each turn is the family's alone. */
static void without_its_file_a_turn_is_had_all_the_same(void **state)
{
	(void)state;
	assert_int_equal(unlink(scratch_path("state/turn")), 0);
	assert_int_equal(rmdir(scratch_path("state")), 0);
	scratch_text("state", "not a folder");
	have_a_turn();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_turn_ends),
		cmocka_unit_test(another_copy_of_us_is_called_without_a_turn),
		cmocka_unit_test(a_killed_process_loses_its_turn),
		cmocka_unit_test(nobody_waits_for_ever),
		cmocka_unit_test(a_turn_is_had_against_unrelated_processes_too),
		cmocka_unit_test(an_unrelated_process_is_not_waited_for_for_ever),
		cmocka_unit_test(a_folder_that_was_removed_is_not_made_again),
		cmocka_unit_test(without_its_file_a_turn_is_had_all_the_same),
	};
	scratch_dir();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_remove();
	return failed;
}

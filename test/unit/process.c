/* SPDX-License-Identifier: Apache-2.0 */
/* The process's epoch: base/process.c. */
#include "support/fixture.h"

#include "base/process.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_FINE      0
#define CHILD_SAME      1 /* a forked process had its parent's epoch */
#define CHILD_NO_FILTER 77

static int wait_for(pid_t child)
{
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void an_epoch_is_constant_and_never_zero(void **state)
{
	(void)state;
	uint64_t epoch = hp_process_epoch();
	assert_true(epoch != 0);
	for (int i = 0; i < 1000; i++)
		assert_true(hp_process_epoch() == epoch);
}

static void *draw(void *result)
{
	*(uint64_t *)result = hp_process_epoch();
	return NULL;
}

/* In a fresh child, where no epoch is drawn yet: all threads race for the first. */
static void threads_agree_on_the_first_epoch(void **state)
{
	(void)state;
	pid_t child = fork();
	if (child == 0) {
		pthread_t threads[8];
		uint64_t epochs[8];
		for (int i = 0; i < 8; i++)
			pthread_create(&threads[i], NULL, draw, &epochs[i]);
		bool agree = true;
		for (int i = 0; i < 8; i++) {
			pthread_join(threads[i], NULL);
			agree = agree && epochs[i] == hp_process_epoch();
		}
		_exit(agree ? CHILD_FINE : CHILD_SAME);
	}
	assert_int_equal(wait_for(child), CHILD_FINE);
}

/* The exit code of a line of generations, each of which must have a new epoch. */
static int fork_generations(int depth, uint64_t parents[], int known)
{
	uint64_t epoch = hp_process_epoch();
	for (int i = 0; i < known; i++)
		if (parents[i] == epoch)
			return CHILD_SAME;
	parents[known] = epoch;
	if (depth == 0)
		return CHILD_FINE;
	pid_t child = fork();
	if (child == 0)
		_exit(fork_generations(depth - 1, parents, known + 1));
	int status;
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : CHILD_SAME;
}

static void every_generation_has_its_own_epoch(void **state)
{
	(void)state;
	uint64_t parents[8];
	uint64_t before = hp_process_epoch();
	assert_int_equal(fork_generations(6, parents, 0), CHILD_FINE);
	assert_true(hp_process_epoch() == before);
}

/* A raw clone runs no atfork handlers. */
static void a_raw_clone_has_an_epoch_of_its_own(void **state)
{
	(void)state;
	uint64_t epoch = hp_process_epoch();
	long child = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (child == 0)
		_exit(hp_process_epoch() == epoch ? CHILD_SAME : CHILD_FINE);
	assert_true(child > 0);
	assert_int_equal(wait_for((pid_t)child), CHILD_FINE);
}

/* Make madvise fail with EINVAL, as on a kernel without MADV_WIPEONFORK. */
static bool refuse_madvise(void)
{
	struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(rules) / sizeof(rules[0]), rules };
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* First of all tests: the page must not exist yet. */
static void without_wipeonfork_a_fork_is_noticed_by_a_handler(void **state)
{
	(void)state;
	pid_t child = fork();
	if (child == 0) {
		uint64_t parents[8];
		if (!refuse_madvise())
			_exit(CHILD_NO_FILTER);
		_exit(fork_generations(3, parents, 0));
	}
	int result = wait_for(child);
	if (result == CHILD_NO_FILTER) /* a skip would count as a failure */
		print_message("# no seccomp here: not shown\n");
	else
		assert_int_equal(result, CHILD_FINE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_wipeonfork_a_fork_is_noticed_by_a_handler),
		cmocka_unit_test(threads_agree_on_the_first_epoch),
		cmocka_unit_test(an_epoch_is_constant_and_never_zero),
		cmocka_unit_test(every_generation_has_its_own_epoch),
		cmocka_unit_test(a_raw_clone_has_an_epoch_of_its_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

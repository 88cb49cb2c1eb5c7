/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children of a process that is busy: with borrowing, logging in, recovering, in calls of
 * the module, and in one that hangs. Each works on a pool of its own or is told why not;
 * none hangs. With -Dsoak=true 1000 children of each kind.
 *
 * fork-storm mock|softhsm|hung. Rows 20, L29.
 */
#include "mock/pool_ground.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 4
/* A child that takes longer hangs. */
#define CHILD_SECONDS 60

enum verdict { WORKS, IS_TOLD, FAILED, HANGS, VERDICTS };

static struct fixture fixture;
static hsmpool *pool;
static unsigned children;
static atomic_bool stop;
static atomic_uint turns;

/* --- the parent ----------------------------------------------------------------------
 */

static void *operate(void *argument)
{
	hsmpool_error err;
	CK_RV rv;

	(void)argument;
	while (!atomic_load(&stop)) {
		ground_operate(pool, TEST_PATIENCE_MS, &rv, &err);
		atomic_fetch_add(&turns, 1);
	}
	return NULL;
}

/* The mock's controls are no calls of a module: nothing holds a fork back until they are
 * done with its lock, so that is for us to do. */
static pthread_mutex_t forking = PTHREAD_MUTEX_INITIALIZER;

static void disturb_mock(const struct mock_control *mock)
{
	pthread_mutex_lock(&forking);
	if (atomic_fetch_add(&turns, 1) % 4 == 0)
		mock->reboot(NULL);
	else
		mock->log_out();
	pthread_mutex_unlock(&forking);
}

/* Login and recovery go on all the time. */
static void *disturb(void *argument)
{
	const struct mock_control *mock = argument;

	while (!atomic_load(&stop)) {
		if (mock)
			disturb_mock(mock);
		else
			hsmpool_validate(pool);
		ground_nap();
	}
	return NULL;
}

/* --- a child --------------------------------------------------------------------------
 */

static enum verdict judge(hsmpool_status status, const hsmpool_error *err)
{
	if (status == HSMPOOL_OK)
		return WORKS;
	if (status == HSMPOOL_ERR_FORKED)
		return IS_TOLD;
	fprintf(stderr, "# child: %s\n", err->text);
	return FAILED;
}

static enum verdict work_in_child(void)
{
	hsmpool_session *none = NULL;
	hsmpool_error err = { 0 };
	hsmpool *own = NULL;
	CK_RV rv;

	if (hsmpool_borrow(pool, &none, 0, "child", HSMPOOL_NO_WAIT, &err) !=
	    HSMPOOL_ERR_FORKED)
		return FAILED;
	hsmpool_close(&pool);
	hsmpool_status status =
		hsmpool_open(&own, fixture.config, NULL, TEST_PATIENCE, &err);
	if (status == HSMPOOL_OK)
		status = ground_operate(own, TEST_PATIENCE_MS, &rv, &err);
	hsmpool_close(&own);
	return judge(status, &err);
}

static enum verdict fork_one(void)
{
	int status = 0;

	fflush(NULL);
	pthread_mutex_lock(&forking);
	pid_t child = fork();
	if (child != 0)
		pthread_mutex_unlock(&forking);
	if (child == 0) {
		alarm(CHILD_SECONDS);
		_exit(work_in_child());
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGALRM ? HANGS : FAILED;
	return (enum verdict)WEXITSTATUS(status);
}

static void fork_many(unsigned count, unsigned verdicts[static VERDICTS])
{
	for (unsigned i = 0; i < count; i++)
		verdicts[fork_one()]++;
}

/* --- the tests ------------------------------------------------------------------------
 */

static void none_of_many_children_of_a_busy_process_hangs(void **state)
{
	const struct mock_control *mock = *state;
	unsigned verdicts[VERDICTS] = { 0 };

	struct crew workers = crew_start(THREADS, operate, NULL);
	struct crew disturber = crew_start(1, disturb, (void *)(uintptr_t)mock);
	eventually(turns > 50);
	fork_many(children, verdicts);
	atomic_store(&stop, true);
	crew_join(&workers);
	crew_join(&disturber);
	print_message("# %u of %u children work, %u are told why not\n", verdicts[WORKS],
		      children, verdicts[IS_TOLD]);
	assert_int_equal(verdicts[HANGS], 0);
	assert_int_equal(verdicts[FAILED], 0);
	assert_true(verdicts[WORKS] > 0);
}

static void *operate_once(void *argument)
{
	hsmpool_error err;
	CK_RV rv;

	ground_operate(argument, TEST_PATIENCE_MS, &rv, &err);
	return NULL;
}

/* They must not touch the module, and hear so at once. */
static void children_of_a_process_with_a_hung_call_are_told(void **state)
{
	const struct mock_control *mock = *state;
	unsigned verdicts[VERDICTS] = { 0 };

	mock->hang("C_GenerateRandom", 1);
	struct crew crew = crew_start(1, operate_once, pool);
	eventually(mock->hung() == 1);
	fork_many(10, verdicts);
	mock->release();
	crew_join(&crew);
	assert_int_equal(verdicts[IS_TOLD], 10);
	assert_int_equal(fork_one(), WORKS);
}

/* --- ground ---------------------------------------------------------------------------
 */

static bool is_on_mock;

static int set_up(void **state)
{
	if (is_on_mock)
		fixture_mock(&fixture);
	else
		fixture_softhsm(&fixture);
	fixture_set(&fixture, "max-sessions", "4");
	fixture_set(&fixture, "revalidate-interval", "20ms");
	fixture_set(&fixture, "log-level", "error");
	pool = fixture_open(&fixture);
	atomic_store(&stop, false);
	atomic_store(&turns, 0);
	*state = is_on_mock ? (void *)(uintptr_t)fixture_mock_control() : NULL;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	hsmpool_close(&pool);
	fixture_remove(&fixture);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest busy[] = {
		cmocka_unit_test_setup_teardown(
			none_of_many_children_of_a_busy_process_hangs, set_up, tear_down),
	};
	const struct CMUnitTest hung[] = {
		cmocka_unit_test_setup_teardown(
			children_of_a_process_with_a_hung_call_are_told, set_up,
			tear_down),
	};

	is_on_mock = argc < 2 || strcmp(argv[1], "softhsm") != 0;
	const char *count = getenv("HSMPOOL_STORM_CHILDREN");
	children = count ? (unsigned)strtoul(count, NULL, 10) : 50;
	return is_on_mock && strcmp(argv[argc - 1], "hung") == 0
		       ? cmocka_run_group_tests(hung, NULL, NULL)
		       : cmocka_run_group_tests(busy, NULL, NULL);
}

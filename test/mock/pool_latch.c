/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PIN latch among the processes of a host: however many of them, and of their
 * threads, have a wrong PIN, the token sees one try. Rows L15 and L16.
 *
 * The processes are forked from this one, which has no thread and has not initialised the
 * module; they share the token's PIN and its counter through the mock's pin-file.
 */
#include "mock/direct.h"
#include "mock/pool_ground.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "pool/internal.h"
#include "support/sanitizers.h"

#if HAS_ADDRESS_SANITIZER || HAS_THREAD_SANITIZER
#define PROCESSES 8
#define THREADS   4
#else
#define PROCESSES 50
#define THREADS   8
#endif

#define WRONG_PIN "another"

/* What the processes of a test share. */
struct shared {
	atomic_uint ok, auth, other; /* how their threads fared */
	char last_other[600];        /* why, for the report */
	atomic_uint ready;           /* processes that are logged in */
	atomic_bool go;
};

static struct shared *shared;
static struct mock_pin *token_pin;
static char state_dir[300];

static void *map(const char *path, size_t size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(map != MAP_FAILED);
	close(fd);
	return map;
}

static int set_up(void **state)
{
	char path[300], script[400];
	ground_set_up(state);
	struct ground *g = *state;
	snprintf(state_dir, sizeof state_dir, "%s/state", g->fixture.dir);
	snprintf(path, sizeof path, "%s/shared", g->fixture.dir);
	shared = map(path, sizeof *shared);
	snprintf(path, sizeof path, "%s/token-pin", g->fixture.dir);
	token_pin = map(path, sizeof *token_pin);
	snprintf(token_pin->text, sizeof token_pin->text, FIXTURE_USER_PIN);
	token_pin->tries = token_pin->left = 10;
	snprintf(script, sizeof script, "pin-file=%s", path);
	ground_script(g, script);
	ground_set(g, "borrow-timeout", "60s", NULL);
	return 0;
}

static int tear_down(void **state)
{
	munmap(shared, sizeof *shared);
	int failure = ground_tear_down(state);
	munmap(token_pin, sizeof *token_pin);
	return failure;
}

static void change_pin(const char *pin)
{
	snprintf(token_pin->text, sizeof token_pin->text, "%s", pin);
}

/* --- processes -----------------------------------------------------------------------
 */

/* In a child, so without assertions: what it finds it counts. */
typedef void (*work_fn)(struct ground *g);

static void start(struct ground *g, pid_t *children, size_t count, work_fn work)
{
	for (size_t i = 0; i < count; i++) {
		children[i] = fork();
		assert_true(children[i] >= 0);
		if (children[i] > 0)
			continue;
		work(g);
		_exit(0);
	}
}

static void await(pid_t *children, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int status = 0;
		while (waitpid(children[i], &status, 0) < 0 && errno == EINTR)
			;
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			fail_msg("a process ended with 0x%x", (unsigned)status);
	}
}

static void count(hsmpool_status status, const hsmpool_error *err)
{
	atomic_fetch_add(status == HSMPOOL_OK         ? &shared->ok
			 : status == HSMPOOL_ERR_AUTH ? &shared->auth
						      : &shared->other,
			 1);
	if (status != HSMPOOL_OK && status != HSMPOOL_ERR_AUTH)
		snprintf(shared->last_other, sizeof shared->last_other, "%s: %s",
			 hsmpool_status_name(status), err->text);
}

static void assert_fared(unsigned ok, unsigned auth)
{
	if (shared->ok != ok || shared->auth != auth || shared->other != 0)
		fail_msg("%u ok, %u refused, %u else (%s)", shared->ok, shared->auth,
			 shared->other, shared->last_other);
}

static void await_go(void)
{
	while (!atomic_load(&shared->go))
		ground_nap();
}

static hsmpool_status open_pool(struct ground *g, hsmpool **pool, hsmpool_error *err)
{
	return hsmpool_open(pool, g->fixture.config, NULL, TEST_PATIENCE, err);
}

static void *open_own_pool(void *argument)
{
	hsmpool *pool = NULL;
	hsmpool_error err;
	await_go();
	count(open_pool(argument, &pool, &err), &err);
	hsmpool_close(&pool);
	return NULL;
}

static void run_threads(struct ground *g, void *(*run)(void *))
{
	pthread_t threads[THREADS];
	for (size_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, run, g) != 0)
			_exit(1);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void open_in_every_thread(struct ground *g)
{
	run_threads(g, open_own_pool);
}

/* Something that needs the login. */
static CK_RV use_login(struct hp_session *s)
{
	CK_SESSION_INFO info;
	CK_RV rv = hp_session_info(s, &info);
	bool is_in = rv == CKR_OK && hp_session_state_is_user(info.state);
	return rv == CKR_OK && !is_in ? CKR_USER_NOT_LOGGED_IN : rv;
}

/* The first calls find out that the HSM restarted, and fail. */
static void *operate(void *argument)
{
	struct ground *g = argument;
	int64_t until = hp_now_ns() + TEST_PATIENCE_NS;
	hsmpool_error err = { 0 };
	hsmpool_status status;
	CK_RV rv;
	do {
		struct hp_session *s;
		rv = CKR_OK;
		status = hp_pool_borrow(g->pool, HP_WANT_ANY, "operate", TEST_PATIENCE,
					&s, &err);
		if (status != HSMPOOL_OK)
			continue;
		rv = use_login(s);
		hp_pool_return(s, rv);
	} while ((rv != CKR_OK || status == HSMPOOL_ERR_DOWN) && hp_now_ns() < until);
	count(rv == CKR_OK ? status : HSMPOOL_ERR_DOWN, &err);
	return NULL;
}

static void work_after_a_restart(struct ground *g)
{
	hsmpool_error err;
	if (open_pool(g, &g->pool, &err) != HSMPOOL_OK)
		_exit(1);
	atomic_fetch_add(&shared->ready, 1);
	await_go();
	g->mock->reboot(NULL);
	run_threads(g, operate);
	hsmpool_close(&g->pool);
}

/* --- the tests ------------------------------------------------------------------------
 */

static void a_wrong_pin_in_all_processes_costs_one_try(void **state)
{
	struct ground *g = *state;
	pid_t children[PROCESSES];

	change_pin(WRONG_PIN);
	start(g, children, PROCESSES, open_in_every_thread);
	atomic_store(&shared->go, true);
	await(children, PROCESSES);
	assert_fared(0, PROCESSES * THREADS);
	assert_int_equal(token_pin->tried, 1);
	assert_int_equal(token_pin->refused, 1);
	assert_int_equal(token_pin->left, 9);
}

static void the_right_pin_serves_all_processes(void **state)
{
	struct ground *g = *state;
	pid_t children[PROCESSES];

	start(g, children, PROCESSES, work_after_a_restart);
	eventually(shared->ready == PROCESSES);
	atomic_store(&shared->go, true);
	await(children, PROCESSES);
	assert_fared(PROCESSES * THREADS, 0);
	assert_int_equal(token_pin->refused, 0);
}

/* Every process has logged in with it before. */
static void a_pin_that_was_changed_elsewhere_costs_one_try_in_all(void **state)
{
	struct ground *g = *state;
	pid_t children[PROCESSES];

	start(g, children, PROCESSES, work_after_a_restart);
	eventually(shared->ready == PROCESSES);
	change_pin(WRONG_PIN);
	atomic_store(&shared->go, true);
	await(children, PROCESSES);
	assert_fared(0, PROCESSES * THREADS);
	assert_int_equal(token_pin->refused, 1);
	assert_int_equal(token_pin->left, 9);
}

static void end_recheck_pause(hsmpool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->latch_recheck_ns = 0;
	pthread_mutex_unlock(&pool->lock);
}

static void release_all(void)
{
	struct hp_latch_file *files;
	size_t count_of_files;
	hsmpool_error err;
	assert_ok(hp_latch_list(state_dir, &files, &count_of_files, &err), &err);
	assert_int_equal(count_of_files, 1);
	assert_ok(hp_latch_release(state_dir, files[0].name, &err), &err);
	free(files);
}

/* By the same process, which has seen the refusal itself. */
static void a_released_pin_is_tried_again(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv;

	ground_open(g, NULL);
	change_pin(WRONG_PIN);
	g->mock->reboot(NULL);
	ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err);
	assert_status(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err),
		      HSMPOOL_ERR_AUTH);
	end_recheck_pause(g->pool);
	assert_status(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err),
		      HSMPOOL_ERR_AUTH);
	assert_int_equal(token_pin->refused, 1);

	change_pin(FIXTURE_USER_PIN);
	release_all();
	end_recheck_pause(g->pool);
	assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
	assert_int_equal(token_pin->refused, 1);
	/* And is remembered as good. */
	g->mock->reboot(NULL);
	ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err);
	assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
}

static void write_pin(struct ground *g, const char *pin)
{
	FILE *file = fopen(g->fixture.pin_file, "w");
	assert_non_null(file);
	assert_true(fputs(pin, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* The runbook's rotation: the token first, then the file; no restart. */
static void a_new_pin_in_the_file_is_taken_up_without_a_restart(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv;

	ground_open(g, NULL);
	change_pin(WRONG_PIN);
	g->mock->reboot(NULL);
	ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err);
	assert_status(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err),
		      HSMPOOL_ERR_AUTH);
	write_pin(g, WRONG_PIN);
	end_recheck_pause(g->pool);
	assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
	assert_int_equal(token_pin->refused, 1);
}

static void a_new_pin_of_a_command_is_taken_up_at_the_next_login(void **state)
{
	struct ground *g = *state;
	char command[400];
	hsmpool_error err;
	CK_RV rv;

	snprintf(command, sizeof command, "command:/bin/cat %s", g->fixture.pin_file);
	ground_open(g, "pin-source", command, NULL);
	change_pin(WRONG_PIN);
	write_pin(g, WRONG_PIN);
	g->mock->reboot(NULL);
	ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err);
	assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
	assert_int_equal(token_pin->refused, 0);
}

#if !HAS_THREAD_SANITIZER
/* --- a process that dies or hangs in its try ------------------------------------------
 */

static void hang_in_login(struct ground *g)
{
	hsmpool *pool = NULL;
	hsmpool_error err;
	g->mock->hang("C_Login", 1);
	open_pool(g, &pool, &err);
}

static bool has_begun(void)
{
	struct hp_latch_file *files = NULL;
	size_t count_of_files = 0;
	hsmpool_error err;
	bool is_begun =
		hp_latch_list(state_dir, &files, &count_of_files, &err) == HSMPOOL_OK &&
		count_of_files == 1 && files[0].record.pins[0].state == HP_LATCH_BEGUN;
	free(files);
	return is_begun;
}

static pid_t start_hanging(struct ground *g)
{
	pid_t child;
	start(g, &child, 1, hang_in_login);
	eventually(has_begun());
	return child;
}

static void kill_it(pid_t child)
{
	int status;
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
}

static void a_process_that_is_killed_in_its_login_does_not_stop_the_next(void **state)
{
	struct ground *g = *state;

	kill_it(start_hanging(g));
	ground_open(g, NULL);
	assert_int_equal(token_pin->tried, 1);
}

static void if_the_token_counted_its_try_there_is_no_other(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	kill_it(start_hanging(g));
	token_pin->is_low = true;
	token_pin->left = 9;
	assert_status(
		hsmpool_open(&g->pool, g->fixture.config, NULL, TEST_PATIENCE, &err),
		HSMPOOL_ERR_AUTH);
	assert_non_null(strstr(err.text, "ended while it tried"));
	assert_int_equal(token_pin->tried, 0);
}

static void a_login_that_hangs_elsewhere_is_waited_for_until_the_deadline(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	pid_t child = start_hanging(g);
	hsmpool_status status = hsmpool_open(&g->pool, g->fixture.config, NULL,
					     hsmpool_deadline_in(100), &err);
	kill_it(child);
	assert_status(status, HSMPOOL_ERR_TIMEOUT);
	assert_non_null(strstr(err.text, "another process"));
	assert_int_equal(token_pin->tried, 0);
}
#endif

/* --- context logins -------------------------------------------------------------------
 */

static hsmpool_status log_in_for_a_key(hsmpool *pool, hsmpool_error *err)
{
	struct hp_session *s;
	hsmpool_status status =
		hp_pool_borrow(pool, HP_WANT_ANY, "test", TEST_PATIENCE, &s, err);
	if (status != HSMPOOL_OK)
		return status;
	status = hp_pool_context_login(s, err);
	hp_pool_return(s, CKR_OK);
	return status;
}

static void find_out_by_a_context_login(struct ground *g)
{
	char error[200];
	hsmpool_error err;
	if (open_pool(g, &g->pool, &err) != HSMPOOL_OK ||
	    !g->mock->script("fail=C_Login:1:CKR_PIN_INCORRECT", error, sizeof error))
		_exit(1);
	atomic_fetch_add(&shared->ready, 1);
	await_go();
	count(log_in_for_a_key(g->pool, &err), &err);
	hsmpool_close(&g->pool);
}

/* L28. Both processes are logged in when one finds out. */
static void a_context_login_that_was_refused_elsewhere_is_not_tried(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	pid_t child;

	start(g, &child, 1, find_out_by_a_context_login);
	eventually(shared->ready == 1);
	ground_open(g, NULL);
	atomic_store(&shared->go, true);
	await(&child, 1);
	assert_fared(0, 1);
	uint64_t before = g->mock->calls("C_Login");
	assert_status(log_in_for_a_key(g->pool, &err), HSMPOOL_ERR_AUTH);
	assert_non_null(strstr(err.text, "refused this PIN before"));
	assert_int_equal(g->mock->calls("C_Login"), before);
}

/* --- what the token says --------------------------------------------------------------
 */

/* Row L16: it is a catch-all code, but the token counted a wrong PIN. */
static void a_wrong_pin_that_is_answered_vaguely_is_latched_too(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	change_pin(WRONG_PIN);
	ground_script(g, "fail=C_Login:1+:CKR_GENERAL_ERROR:after");
	assert_status(
		hsmpool_open(&g->pool, g->fixture.config, NULL, TEST_PATIENCE, &err),
		HSMPOOL_ERR_AUTH);
	assert_int_equal(token_pin->tried, 1);
}

static void the_last_try_is_left_to_people_whichever_process_it_is(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	token_pin->left = 1;
	token_pin->is_low = true;
	assert_status(
		hsmpool_open(&g->pool, g->fixture.config, NULL, TEST_PATIENCE, &err),
		HSMPOOL_ERR_AUTH);
	assert_int_equal(token_pin->tried, 0);
}

static void a_low_count_is_warned_of_once_until_the_next_login(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv;

	token_pin->is_low = true;
	ground_script(g, "fail=C_Login:1+3:CKR_DEVICE_ERROR");
	ground_open(g, NULL);
	assert_int_equal(g->mock->calls("C_Login"), 4);
	assert_int_equal(ground_logged("pin-count-low", NULL, 0), 1);
	token_pin->is_low = true;
	g->mock->reboot(NULL);
	ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err);
	assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
	assert_int_equal(ground_logged("pin-count-low", NULL, 0), 2);
}

#define LATCH_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LATCH_TEST(a_wrong_pin_in_all_processes_costs_one_try),
		LATCH_TEST(the_right_pin_serves_all_processes),
		LATCH_TEST(a_pin_that_was_changed_elsewhere_costs_one_try_in_all),
#if !HAS_THREAD_SANITIZER /* it does not know that a mutex's owner can die */
		LATCH_TEST(a_process_that_is_killed_in_its_login_does_not_stop_the_next),
		LATCH_TEST(if_the_token_counted_its_try_there_is_no_other),
		LATCH_TEST(a_login_that_hangs_elsewhere_is_waited_for_until_the_deadline),
#endif
		LATCH_TEST(a_released_pin_is_tried_again),
		LATCH_TEST(a_new_pin_in_the_file_is_taken_up_without_a_restart),
		LATCH_TEST(a_new_pin_of_a_command_is_taken_up_at_the_next_login),
		LATCH_TEST(a_context_login_that_was_refused_elsewhere_is_not_tried),
		LATCH_TEST(a_wrong_pin_that_is_answered_vaguely_is_latched_too),
		LATCH_TEST(the_last_try_is_left_to_people_whichever_process_it_is),
		LATCH_TEST(a_low_count_is_warned_of_once_until_the_next_login),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library, which this program contains, over the module as its vendor's, in one
 * process: two copies of hsmpool, one inside the calls of the other.
 */
#include "module_ground.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "support/patience.h"
#include "support/sanitizers.h"

static struct fixture mock;

static hsmpool_status draw(hsmpool *pool, hsmpool_error *err)
{
	uint8_t bytes[8];
	return hsmpool_random(pool, bytes, sizeof(bytes), TEST_PATIENCE, err);
}

static hsmpool_status sign(hsmpool *pool, hsmpool_key *key, hsmpool_error *err)
{
	uint8_t room[512];
	hsmpool_buf signature = { .data = room, .cap = sizeof(room) };
	hsmpool_bytes text = { (const uint8_t *)"text", 4 };
	return hsmpool_sign(pool, key, "rsa-pkcs1-sha256", text, &signature,
			    TEST_PATIENCE, err);
}

static void a_pool_may_stand_on_the_module(void **state)
{
	hsmpool_error err;
	CK_INFO info;
	(void)state;
	for (int round = 0; round < 3; round++) {
		hsmpool *pool = fixture_open(&mock);
		assert_ok(draw(pool, &err), &err);
		hsmpool_close(&pool);
		assert_rv(module_load()->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
	}
}

/* Both copies have lost everything; the inner one while the outer one logs in. */
static void it_goes_on_when_the_hsm_restarts(void **state)
{
	hsmpool_error err;
	hsmpool_key *key = NULL;
	(void)state;
	hsmpool *pool = fixture_open(&mock);
	assert_ok(hsmpool_key_open(&key, pool, "pkcs11:object=rsa;type=private",
				   TEST_PATIENCE, &err),
		  &err);
	assert_ok(sign(pool, key, &err), &err);
	for (int round = 0; round < 3; round++) {
		fixture_mock_control()->reboot(&(struct mock_reboot){
			.handles = MOCK_HANDLES_ALIASED, .move_slot = true });
		assert_ok(sign(pool, key, &err), &err);
		fixture_mock_control()->log_out();
		assert_ok(sign(pool, key, &err), &err);
	}
	hsmpool_key_close(&key);
	hsmpool_close(&pool);
}

/* --- fork ----------------------------------------------------------------------- */

/* As in fork.c: not where a sanitizer's allocator is in the way. */
#if !HAS_ADDRESS_SANITIZER

struct worker {
	pthread_t thread;
	hsmpool *pool;
	_Atomic bool stop;
	hsmpool_status status;
	hsmpool_error err;
};

static void *draw_until_told(void *argument)
{
	struct worker *w = argument;
	while (!atomic_load(&w->stop) && w->status == HSMPOOL_OK)
		w->status = draw(w->pool, &w->err);
	return NULL;
}

static int work_in_child(void)
{
	hsmpool *pool = NULL;
	hsmpool_error err;
	alarm(2 * TEST_PATIENCE_MS / 1000); /* ends one that hangs */
	if (hsmpool_open(&pool, mock.config, NULL, TEST_PATIENCE, &err) != HSMPOOL_OK ||
	    draw(pool, &err) != HSMPOOL_OK)
		return 1;
	hsmpool_close(&pool);
	return 0;
}

/* The outer gate closes before the inner one: who is inside the one needs the other. */
static void a_child_that_is_forked_meanwhile_can_use_it_too(void **state)
{
	struct worker workers[3] = { 0 };
	(void)state;
	hsmpool *pool = fixture_open(&mock);
	for (int i = 0; i < 3; i++) {
		workers[i].pool = pool;
		pthread_create(&workers[i].thread, NULL, draw_until_told, &workers[i]);
	}
	for (int i = 0; i < 6; i++) {
		int status = 0;
		pid_t child = fork();
		if (child == 0)
			_exit(work_in_child());
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
	}
	for (int i = 0; i < 3; i++) {
		atomic_store(&workers[i].stop, true);
		pthread_join(workers[i].thread, NULL);
		assert_ok(workers[i].status, &workers[i].err);
	}
	hsmpool_close(&pool);
}

#endif

/* --- where it cannot be --------------------------------------------------------- */

static void expect_refusal(const char *text)
{
	hsmpool *pool = NULL;
	hsmpool_error err;
	assert_status(hsmpool_open(&pool, mock.config, NULL, TEST_PATIENCE, &err),
		      HSMPOOL_ERR_CONFIG);
	assert_null(pool);
	if (!strstr(err.text, text))
		fail_msg("%s", err.text);
}

static void a_module_that_names_itself_is_refused(void **state)
{
	struct fixture itself = mock;
	(void)state;
	strcpy(itself.module, module_path());
	module_configure(&itself, NULL, NULL);
	expect_refusal("leads to no HSM: name the HSM vendor's module");
	module_configure(&mock, NULL, NULL);
	hsmpool *pool = fixture_open(&mock);
	hsmpool_close(&pool);
}

static void a_module_without_a_configuration_is_refused(void **state)
{
	(void)state;
	setenv("HSMPOOL_CONF", "", 1);
	setenv("XDG_CONFIG_HOME", mock.dir, 1);
	expect_refusal("leads to no HSM: name the HSM vendor's module");
}

static int configure(void **state)
{
	(void)state;
	fixture_mock(&mock);
	module_configure(&mock, NULL, NULL);
	fixture_set(&mock, "module", module_path());
	return 0;
}

static int clear_away(void **state)
{
	(void)state;
	fixture_remove(&mock);
	return 0;
}

#define test_case(test) cmocka_unit_test_setup_teardown(test, configure, clear_away)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test_case(a_pool_may_stand_on_the_module),
		test_case(it_goes_on_when_the_hsm_restarts),
#if !HAS_ADDRESS_SANITIZER
		test_case(a_child_that_is_forked_meanwhile_can_use_it_too),
#endif
		test_case(a_module_that_names_itself_is_refused),
		test_case(a_module_without_a_configuration_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

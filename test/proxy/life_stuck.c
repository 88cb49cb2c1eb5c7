/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C_Finalize while a call hangs in the vendor's module. What the hung call uses is left
 * behind on purpose, so this is a program of its own, and leaks are not looked for.
 */
#include "module_ground.h"

#include <pthread.h>
#include <sched.h>
#include "base/time.h"

__attribute__((visibility("default"))) int __lsan_is_turned_off(void);

int __lsan_is_turned_off(void)
{
	return 1;
}

struct user {
	pthread_t thread;
	CK_SESSION_HANDLE session;
	CK_RV rv;
};

static void *digest_in_thread(void *argument)
{
	struct user *user = argument;
	user->rv = module_digest(user->session);
	return NULL;
}

/* One hangs in the vendor's module, the other waits for the only session: it returns at
 * once, C_Finalize after a bounded time, and the module works again afterwards. */
static void c_finalize_wakes_who_waits_and_outlives_who_hangs(void **state)
{
	struct user hung = { 0 }, waiting = { 0 };
	struct fixture mock;
	(void)state;
	fixture_mock(&mock);
	module_configure(&mock, "max-sessions = 1\nborrow-timeout = 60s", NULL);
	module_begin();
	hung.session = module_session(RW);
	waiting.session = module_session(RW);
	fixture_mock_control()->hang("C_DigestInit", 1);
	pthread_create(&hung.thread, NULL, digest_in_thread, &hung);
	while (fixture_mock_control()->hung() == 0)
		sched_yield();
	pthread_create(&waiting.thread, NULL, digest_in_thread, &waiting);
	int64_t before = hp_now_ns();
	module_end();
	assert_true(hp_now_ns() - before < TEST_AT_ONCE_NS);
	pthread_join(waiting.thread, NULL);
	assert_rv(waiting.rv, CKR_CRYPTOKI_NOT_INITIALIZED);
	fixture_mock_control()->release();
	pthread_join(hung.thread, NULL);
	module_begin();
	assert_rv(module_digest(module_session(RW)), CKR_OK);
	module_end();
	fixture_remove(&mock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(c_finalize_wakes_who_waits_and_outlives_who_hangs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

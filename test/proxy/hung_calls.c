/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of the vendor's module that hang, with call-timeout. */
#include "module_ground.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/time.h"

static struct fixture mock;

static int set_up(void **state)
{
	(void)state;
	fixture_mock(&mock);
	module_configure(&mock, "max-sessions = 2\ncall-timeout = 1s", NULL);
	module_begin();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fixture_mock_control()->release();
	module_end();
	fixture_mock_control()->reset();
	fixture_remove(&mock);
	return 0;
}

static void who_calls_is_answered_and_works_on(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	(void)state;
	fixture_mock_control()->hang("C_DigestInit", 1);
	assert_rv(module_digest(session), CKR_FUNCTION_CANCELED);
	assert_rv(module_digest(session), CKR_OK);
	assert_rv(module_digest(module_session(RO)), CKR_OK);
}

static void an_operation_in_parts_is_over_and_another_begins(void **state)
{
	CK_FUNCTION_LIST *p11 = module_load();
	CK_SESSION_HANDLE session = module_session(RW);
	CK_MECHANISM sha256 = { CKM_SHA256, NULL, 0 };
	CK_BYTE part[16] = { 1 }, digest[32];
	CK_ULONG len = sizeof(digest);
	(void)state;
	assert_rv(p11->C_DigestInit(session, &sha256), CKR_OK);
	assert_rv(p11->C_DigestUpdate(session, part, sizeof(part)), CKR_OK);
	fixture_mock_control()->hang("C_DigestFinal", 1);
	assert_rv(p11->C_DigestFinal(session, digest, &len), CKR_FUNCTION_CANCELED);
	assert_rv(p11->C_DigestFinal(session, digest, &len),
		  CKR_OPERATION_NOT_INITIALIZED);
	assert_rv(module_digest(session), CKR_OK);
}

static void a_login_that_hangs_is_answered(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	(void)state;
	fixture_mock_control()->hang("C_Login", 1);
	assert_rv(module_login(session, CKU_USER, MOCK_USER_PIN), CKR_FUNCTION_CANCELED);
	fixture_mock_control()->release();
}

/* --- fork ------------------------------------------------------------------------------
 */

static void *digest(void *session)
{
	module_digest(*(CK_SESSION_HANDLE *)session);
	return NULL;
}

static int initialise_in_child(void)
{
	CK_ULONG count = 0;

	alarm(60);
	if (module_load()->C_GetSlotList(CK_FALSE, NULL, &count) !=
	    CKR_CRYPTOKI_NOT_INITIALIZED)
		return 1;
	CK_RV rv = module_load()->C_Initialize(NULL);
	if (rv != CKR_GENERAL_ERROR)
		fprintf(stderr, "# C_Initialize in the child: 0x%lx\n", rv);
	return rv == CKR_GENERAL_ERROR ? 0 : 2;
}

/* It must never call the vendor's module, in which that call holds locks for ever. */
static void a_child_of_a_process_with_a_hung_call_is_told(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	pthread_t thread;
	int status = 0;
	(void)state;
	fixture_mock_control()->hang("C_DigestInit", 1);
	pthread_create(&thread, NULL, digest, &session);
	while (fixture_mock_control()->hung() == 0)
		sched_yield();
	pid_t child = fork();
	if (child == 0)
		_exit(initialise_in_child());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	fixture_mock_control()->release();
	pthread_join(thread, NULL);
	assert_rv(module_digest(session), CKR_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_calls_is_answered_and_works_on,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			an_operation_in_parts_is_over_and_another_begins, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(a_login_that_hangs_is_answered, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			a_child_of_a_process_with_a_hung_call_is_told, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* C_Initialize, C_Finalize and the configuration (rows S22, S24, S25, S36). */
#include "module_ground.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct fixture fixture;

/* --- argument rules ------------------------------------------------------------------
 */

static CK_RV create_mutex(void **mutex)
{
	*mutex = malloc(1);
	return CKR_OK;
}

static CK_RV destroy_mutex(void *mutex)
{
	free(mutex);
	return CKR_OK;
}

static CK_RV use_mutex(void *mutex)
{
	(void)mutex;
	return CKR_OK;
}

static CK_RV initialize_with(CK_FUNCTION_LIST *p11, unsigned callbacks, CK_FLAGS flags)
{
	CK_C_INITIALIZE_ARGS args = {
		.CreateMutex = callbacks & 1 ? create_mutex : NULL,
		.DestroyMutex = callbacks & 2 ? destroy_mutex : NULL,
		.LockMutex = callbacks & 4 ? use_mutex : NULL,
		.UnlockMutex = callbacks & 8 ? use_mutex : NULL,
		.flags = flags,
	};
	CK_RV rv = p11->C_Initialize(&args);
	if (rv == CKR_OK)
		assert_rv(p11->C_Finalize(NULL), CKR_OK);
	return rv;
}

/* S25 */
static void every_combination_of_arguments_is_answered_as_by_the_vendor(void **state)
{
	(void)state;
	CK_FUNCTION_LIST *vendor = module_load_other(fixture.module);
	for (unsigned callbacks = 0; callbacks < 16; callbacks++)
		for (CK_FLAGS flags = 0; flags < 8; flags++)
			assert_rv(initialize_with(module_load(), callbacks, flags),
				  initialize_with(vendor, callbacks, flags));
}

/* SoftHSM2 refuses it, so it must have got there. */
static void the_reserved_argument_goes_through_to_the_vendor(void **state)
{
	CK_C_INITIALIZE_ARGS args = { .pReserved = (void *)(uintptr_t) "parameters" };
	(void)state;
	assert_rv(module_load()->C_Initialize(&args), CKR_ARGUMENTS_BAD);
	module_begin();
	module_end();
}

/* S24 */
static void nothing_works_before_c_initialize_and_after_c_finalize(void **state)
{
	CK_FUNCTION_LIST *p11 = module_load();
	CK_INFO info;
	CK_ULONG count;
	(void)state;
	for (int round = 0; round < 2; round++) {
		assert_rv(p11->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
		assert_rv(p11->C_GetSlotList(CK_TRUE, NULL, &count),
			  CKR_CRYPTOKI_NOT_INITIALIZED);
		assert_rv(p11->C_CloseSession(1), CKR_CRYPTOKI_NOT_INITIALIZED);
		assert_rv(p11->C_Finalize(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
		module_begin();
		module_end();
	}
}

static void a_second_c_initialize_is_refused_whatever_its_arguments(void **state)
{
	CK_C_INITIALIZE_ARGS args = { .CreateMutex = create_mutex };
	(void)state;
	module_begin();
	assert_rv(module_load()->C_Initialize(NULL), CKR_CRYPTOKI_ALREADY_INITIALIZED);
	assert_rv(module_load()->C_Initialize(&args), CKR_CRYPTOKI_ALREADY_INITIALIZED);
	assert_rv(module_load()->C_Finalize(&args), CKR_ARGUMENTS_BAD);
	module_end();
}

static void it_works_again_after_each_c_finalize(void **state)
{
	(void)state;
	for (int round = 0; round < 5; round++) {
		module_begin();
		CK_SESSION_HANDLE session = module_session(RW);
		assert_rv(module_digest(session), CKR_OK);
		module_end();
		assert_rv(module_load()->C_CloseSession(session),
			  CKR_CRYPTOKI_NOT_INITIALIZED);
	}
}

static void *initialize_in_thread(void *rv)
{
	*(CK_RV *)rv = module_load()->C_Initialize(NULL);
	return NULL;
}

/* SoftHSM2 crashes when it is initialised by two threads at once. */
static void of_many_threads_that_initialize_at_once_one_does(void **state)
{
	pthread_t threads[8];
	CK_RV rvs[8];
	unsigned done = 0;
	(void)state;
	for (int i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, initialize_in_thread, &rvs[i]);
	for (int i = 0; i < 8; i++) {
		pthread_join(threads[i], NULL);
		done += rvs[i] == CKR_OK;
		if (rvs[i] != CKR_OK)
			assert_rv(rvs[i], CKR_CRYPTOKI_ALREADY_INITIALIZED);
	}
	assert_int_equal(done, 1);
	module_end();
}

/* --- threads of ours -----------------------------------------------------------------
 */

static void no_thread_is_made_where_the_program_forbids_it(void **state)
{
	CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK |
					       CKF_LIBRARY_CANT_CREATE_OS_THREADS };
	(void)state;
	unsigned before = module_threads();
	assert_rv(module_load()->C_Initialize(&args), CKR_OK);
	assert_rv(module_digest(module_session(RW)), CKR_OK);
	assert_int_equal(module_threads(), before);
	module_end();
	module_begin();
	assert_int_equal(module_threads(), before); /* none before the first use */
	module_session(RW);
	assert_true(module_threads() > before);
	module_end();
	assert_int_equal(module_threads(), before);
}

/* --- the configuration ----------------------------------------------------------------
 */

/* stderr of run, as far as it fits. */
static void catch_stderr(void (*run)(void), char *text, size_t cap)
{
	char path[400];
	snprintf(path, sizeof(path), "%s/stderr", fixture.dir);
	int kept = dup(STDERR_FILENO);
	int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(kept >= 0 && file >= 0);
	dup2(file, STDERR_FILENO);
	run();
	dup2(kept, STDERR_FILENO);
	ssize_t len = pread(file, text, cap - 1, 0);
	text[len < 0 ? 0 : len] = '\0';
	close(kept);
	close(file);
}

static void fail_to_initialize(void)
{
	assert_rv(module_load()->C_Initialize(NULL), CKR_GENERAL_ERROR);
}

static void without_a_configuration_there_are_no_slots(void **state)
{
	CK_FUNCTION_LIST *p11 = module_load();
	CK_ULONG count = 7;
	CK_SLOT_ID slot;
	CK_SESSION_HANDLE session;
	CK_INFO info;
	(void)state;
	setenv("HSMPOOL_CONF", "", 1);
	setenv("XDG_CONFIG_HOME", fixture.dir, 1);
	module_begin();
	assert_rv(p11->C_GetSlotList(CK_FALSE, NULL, &count), CKR_OK);
	assert_int_equal(count, 0);
	assert_rv(p11->C_GetInfo(&info), CKR_OK);
	assert_rv(p11->C_GetInfo(NULL), CKR_ARGUMENTS_BAD);
	assert_rv(p11->C_OpenSession(0, RW, NULL, NULL, &session), CKR_SLOT_ID_INVALID);
	assert_rv(p11->C_CloseAllSessions(0), CKR_SLOT_ID_INVALID);
	assert_rv(p11->C_CloseSession(1), CKR_SESSION_HANDLE_INVALID);
	assert_rv(p11->C_SignFinal(1, NULL, &count), CKR_SESSION_HANDLE_INVALID);
	assert_rv(p11->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL), CKR_NO_EVENT);
	module_end();
}

static void a_configuration_that_is_named_must_be_there(void **state)
{
	char text[1000];
	(void)state;
	setenv("HSMPOOL_CONF", "/nowhere/hsmpool.conf", 1);
	setenv("HSMPOOL_DEBUG", "1", 1);
	catch_stderr(fail_to_initialize, text, sizeof(text));
	assert_non_null(strstr(text, "/nowhere/hsmpool.conf"));
}

static void a_wrong_configuration_is_an_error_with_a_text(void **state)
{
	char text[1000];
	(void)state;
	module_configure(&fixture, "max-session = 4", NULL);
	setenv("HSMPOOL_DEBUG", "1", 1);
	catch_stderr(fail_to_initialize, text, sizeof(text));
	assert_non_null(strstr(text, "max-session"));
	module_configure(&fixture, NULL, "login = automatic");
	catch_stderr(fail_to_initialize, text, sizeof(text));
	assert_non_null(strstr(text, "pin-source"));
}

/* S36 */
static void a_configuration_that_names_the_module_itself_is_refused(void **state)
{
	struct fixture itself = fixture;
	char text[1000];
	(void)state;
	snprintf(itself.module, sizeof(itself.module), "%s", module_path());
	module_configure(&itself, NULL, NULL);
	setenv("HSMPOOL_DEBUG", "1", 1);
	catch_stderr(fail_to_initialize, text, sizeof(text));
	assert_non_null(strstr(text, "hsmpool itself"));
}

/* --- the vendor's module, shared ------------------------------------------------------
 */

static void a_vendor_module_that_others_use_is_left_initialised(void **state)
{
	CK_FUNCTION_LIST *vendor = module_load_other(fixture.module);
	CK_INFO info;
	(void)state;
	assert_rv(vendor->C_Initialize(NULL), CKR_OK);
	module_begin();
	assert_rv(module_digest(module_session(RW)), CKR_OK);
	module_end();
	assert_rv(vendor->C_GetInfo(&info), CKR_OK);
	assert_rv(vendor->C_Finalize(NULL), CKR_OK);
}

/* --- C_Finalize while others are inside -----------------------------------------------
 */

struct waiter {
	pthread_t thread;
	_Atomic bool is_in;
	CK_RV rv;
};

static void *wait_for_event(void *argument)
{
	struct waiter *waiter = argument;
	CK_SLOT_ID slot;
	atomic_store(&waiter->is_in, true);
	waiter->rv = module_load()->C_WaitForSlotEvent(0, &slot, NULL);
	return NULL;
}

/* S22 */
static void c_finalize_ends_a_wait_for_a_slot_event(void **state)
{
	struct waiter waiter = { 0 };
	struct fixture mock;
	(void)state;
	fixture_mock(&mock);
	module_configure(&mock, NULL, NULL);
	module_begin();
	pthread_create(&waiter.thread, NULL, wait_for_event, &waiter);
	while (fixture_mock_control()->calls("C_WaitForSlotEvent") < 2)
		sched_yield();
	module_end();
	pthread_join(waiter.thread, NULL);
	assert_rv(waiter.rv, CKR_CRYPTOKI_NOT_INITIALIZED);
	fixture_remove(&mock);
}

static void a_wait_that_the_vendor_does_not_have_is_refused_as_there(void **state)
{
	CK_SLOT_ID slot;
	(void)state;
	module_begin();
	assert_rv(module_load()->C_WaitForSlotEvent(0, &slot, NULL),
		  CKR_FUNCTION_NOT_SUPPORTED);
	assert_rv(module_load()->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL),
		  CKR_NO_EVENT);
	module_end();
}

/* -------------------------------------------------------------------------------------
 */

static int set_up(void **state)
{
	(void)state;
	unsetenv("HSMPOOL_DEBUG");
	module_configure(&fixture, NULL, NULL);
	return 0;
}

static int make_token(void **state)
{
	(void)state;
	fixture_softhsm(&fixture);
	return 0;
}

static int remove_token(void **state)
{
	(void)state;
	fixture_remove(&fixture);
	return 0;
}

#define test_case(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test_case(every_combination_of_arguments_is_answered_as_by_the_vendor),
		test_case(the_reserved_argument_goes_through_to_the_vendor),
		test_case(nothing_works_before_c_initialize_and_after_c_finalize),
		test_case(a_second_c_initialize_is_refused_whatever_its_arguments),
		test_case(it_works_again_after_each_c_finalize),
		test_case(of_many_threads_that_initialize_at_once_one_does),
		test_case(no_thread_is_made_where_the_program_forbids_it),
		test_case(without_a_configuration_there_are_no_slots),
		test_case(a_configuration_that_is_named_must_be_there),
		test_case(a_wrong_configuration_is_an_error_with_a_text),
		test_case(a_configuration_that_names_the_module_itself_is_refused),
		test_case(a_vendor_module_that_others_use_is_left_initialised),
		test_case(a_wait_that_the_vendor_does_not_have_is_refused_as_there),
		test_case(c_finalize_ends_a_wait_for_a_slot_event),
	};
	return cmocka_run_group_tests(tests, make_token, remove_token);
}

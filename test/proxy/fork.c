/* SPDX-License-Identifier: Apache-2.0 */
/* Forks: children that initialise and those that do not, of a quiet parent and of a busy
 * one (row S24). A child's exit status says how far it came. */
#include "module_ground.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "support/sanitizers.h"

#define THREADS  4
#define CHILDREN 30 /* or what HSMPOOL_STORM_CHILDREN says */

static struct fixture fixture;

enum { FINE, ANSWERED, NO_START, NO_SLOT, NO_SESSION, NO_LOGIN, NO_DIGEST, NO_END };

static pid_t fork_child(int (*act)(void))
{
	pid_t child = fork();
	if (child == 0) {
		alarm(60); /* ends one that hangs */
		_exit(act());
	}
	assert_true(child > 0);
	return child;
}

static void expect_fine(pid_t child)
{
	int status = 0;
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFSIGNALED(status))
		fail_msg("a child was ended by signal %d", WTERMSIG(status));
	assert_int_equal(WEXITSTATUS(status), FINE);
}

/* --- what children do
 * ------------------------------------------------------------------------ */

static CK_SESSION_HANDLE inherited;

/* Every kind of call is answered alike, and nothing reaches the vendor's module. */
static int use_without_initializing(void)
{
	CK_FUNCTION_LIST *p11 = module_load();
	CK_ULONG count;
	CK_SESSION_INFO info;
	CK_RV rvs[] = {
		p11->C_GetSlotList(CK_TRUE, NULL, &count),
		p11->C_GetSessionInfo(inherited, &info),
		module_digest(inherited),
		module_login(inherited, CKU_USER, FIXTURE_USER_PIN),
		p11->C_CloseSession(inherited),
		p11->C_Finalize(NULL),
	};
	for (size_t i = 0; i < sizeof(rvs) / sizeof(rvs[0]); i++)
		if (rvs[i] != CKR_CRYPTOKI_NOT_INITIALIZED)
			return ANSWERED;
	return FINE;
}

static int open_in_child(CK_SESSION_HANDLE *session)
{
	CK_FUNCTION_LIST *p11 = module_load();
	CK_SLOT_ID slots[8];
	CK_ULONG count = 8;
	CK_SESSION_INFO info;
	if (p11->C_Initialize(NULL) != CKR_OK)
		return NO_START;
	if (p11->C_GetSlotList(CK_TRUE, slots, &count) != CKR_OK || count == 0)
		return NO_SLOT;
	if (p11->C_OpenSession(slots[0], RW, NULL, NULL, session) != CKR_OK)
		return NO_SESSION;
	/* The parent's login is not the child's. */
	if (p11->C_GetSessionInfo(*session, &info) != CKR_OK ||
	    info.state != CKS_RW_PUBLIC_SESSION)
		return NO_SESSION;
	return FINE;
}

static int work_in_child(void)
{
	CK_SESSION_HANDLE session;
	int opened = open_in_child(&session);
	if (opened != FINE)
		return opened;
	if (module_digest(session) != CKR_OK)
		return NO_DIGEST;
	return module_load()->C_Finalize(NULL) == CKR_OK ? FINE : NO_END;
}

/* --- tests
 * --------------------------------------------------------------------------------------
 */

static void a_child_is_not_initialised_until_it_initialises(void **state)
{
	(void)state;
	inherited = module_session(RW);
	assert_rv(module_login(inherited, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
	expect_fine(fork_child(use_without_initializing));
	assert_rv(module_digest(inherited), CKR_OK);
	assert_int_equal(module_state(inherited), CKS_RW_USER_FUNCTIONS);
}

/* No fork handler runs for it. */
static void a_child_of_a_raw_clone_is_told_apart_too(void **state)
{
	(void)state;
	inherited = module_session(RW);
	pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (child == 0)
		_exit(use_without_initializing());
	assert_true(child > 0);
	expect_fine(child);
	assert_rv(module_digest(inherited), CKR_OK);
}

static void a_child_of_a_parent_that_never_initialised_works(void **state)
{
	(void)state;
	module_end();
	expect_fine(fork_child(work_in_child));
	module_begin();
	expect_fine(fork_child(work_in_child));
}

/* The address sanitizer's malloc has a lock that gcc 12's runtime does not hold over
 * fork(): a child of a parent with threads may wait for it for ever. */
#if !HAS_ADDRESS_SANITIZER

static int log_in_in_child(void)
{
	CK_SESSION_HANDLE session;
	int opened = open_in_child(&session);
	if (opened != FINE)
		return opened;
	if (module_login(session, CKU_USER, FIXTURE_USER_PIN) != CKR_OK)
		return NO_LOGIN;
	return module_load()->C_Finalize(NULL) == CKR_OK ? FINE : NO_END;
}

static int fork_again(void)
{
	int status = 0;
	int first = work_in_child();
	if (first != FINE || module_load()->C_Initialize(NULL) != CKR_OK)
		return first != FINE ? first : NO_START;
	pid_t grandchild = fork();
	if (grandchild == 0)
		_exit(work_in_child());
	waitpid(grandchild, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != FINE)
		return WIFEXITED(status) ? WEXITSTATUS(status) : NO_START;
	return module_load()->C_Finalize(NULL) == CKR_OK ? FINE : NO_END;
}

/* As nginx and Apache do it: initialised before the fork, and in each worker. */
static void children_that_initialise_work_and_the_parent_goes_on(void **state)
{
	(void)state;
	inherited = module_session(RW);
	assert_rv(module_login(inherited, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
	for (int i = 0; i < 5; i++)
		expect_fine(fork_child(log_in_in_child));
	expect_fine(fork_child(fork_again));
	assert_rv(module_digest(inherited), CKR_OK);
	assert_int_equal(module_state(inherited), CKS_RW_USER_FUNCTIONS);
}

static _Atomic bool stop;

static CK_SLOT_ID slot; /* an assertion in another thread would end the program */

static void *work_in_thread(void *rv)
{
	while (!atomic_load(&stop) && *(CK_RV *)rv == CKR_OK) {
		CK_SESSION_HANDLE session = 0;
		CK_RV now = module_load()->C_OpenSession(slot, RW, NULL, NULL, &session);
		if (now == CKR_OK)
			now = module_digest(session);
		if (now == CKR_OK)
			now = module_load()->C_CloseSession(session);
		*(CK_RV *)rv = now;
	}
	return NULL;
}

static void children_of_a_busy_parent_work(void **state)
{
	pthread_t threads[THREADS];
	CK_RV rvs[THREADS] = { 0 };
	(void)state;
	inherited = module_session(RW);
	slot = module_slot();
	atomic_store(&stop, false);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, work_in_thread, &rvs[i]);
	const char *many = getenv("HSMPOOL_STORM_CHILDREN");
	unsigned children = many ? (unsigned)strtoul(many, NULL, 10) : CHILDREN;
	for (unsigned i = 0; i < children; i++)
		expect_fine(fork_child(work_in_child));
	atomic_store(&stop, true);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		assert_rv(rvs[i], CKR_OK);
	}
}

#endif

/* ---------------------------------------------------------------------------------------------------
 */

static int begin(void **state)
{
	(void)state;
	module_begin();
	return 0;
}

static int end(void **state)
{
	(void)state;
	module_end();
	return 0;
}

static int make_token(void **state)
{
	(void)state;
	fixture_softhsm(&fixture);
	module_configure(&fixture, "token = pkcs11:token=" FIXTURE_TOKEN, NULL);
	return 0;
}

static int remove_token(void **state)
{
	(void)state;
	fixture_remove(&fixture);
	return 0;
}

#define test_case(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test_case(a_child_is_not_initialised_until_it_initialises),
		test_case(a_child_of_a_raw_clone_is_told_apart_too),
		test_case(a_child_of_a_parent_that_never_initialised_works),
#if !HAS_ADDRESS_SANITIZER
		test_case(children_that_initialise_work_and_the_parent_goes_on),
		test_case(children_of_a_busy_parent_work),
#endif
	};
	return cmocka_run_group_tests(tests, make_token, remove_token);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that open, use, log in, log out and close without looking left or right, while
 * the program is finalised and initialised under them. Nothing crashes or hangs, each
 * answer is one that can be explained, and at rest everything is given back.
 */
#include "module_ground.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "base/time.h"

#define THREADS 8

static struct fixture mock;
static _Atomic bool stop;
static CK_SLOT_ID slot;

/* Sessions that any thread may use, or close under the others. */
static _Atomic CK_SESSION_HANDLE shared[16];

static CK_RV act(unsigned *seed)
{
	CK_FUNCTION_LIST *p11 = module_load();
	_Atomic CK_SESSION_HANDLE *place = &shared[rand_r(seed) % 16];
	CK_SESSION_HANDLE session = atomic_load(place);
	CK_SESSION_INFO info;
	CK_TOKEN_INFO token;
	CK_RV rv;
	switch (rand_r(seed) % 32) {
	case 0:
		return p11->C_CloseAllSessions(slot);
	case 1:
		return module_login(session, CKU_USER, FIXTURE_USER_PIN);
	case 2:
		return p11->C_Logout(session);
	case 3:
		return p11->C_GetTokenInfo(slot, &token);
	case 4:
	case 5:
	case 6:
		return p11->C_CloseSession(session);
	case 7:
	case 8:
		return p11->C_GetSessionInfo(session, &info);
	case 9:
	case 10:
	case 11:
	case 12:
	case 13:
	case 14:
		rv = p11->C_OpenSession(slot, rand_r(seed) % 2 ? RW : RO, NULL, NULL,
					&session);
		if (rv == CKR_OK)
			atomic_store(place, session);
		return rv;
	case 15:
		return module_count_private(session) == CK_UNAVAILABLE_INFORMATION
			       ? CKR_SESSION_HANDLE_INVALID
			       : CKR_OK;
	default:
		return module_digest(session);
	}
}

/* Two threads on one session see each other's operations; that apart, these are what
 * closed sessions, logins and C_Finalize explain. */
static bool is_explained(CK_RV rv)
{
	return rv == CKR_OK || rv == CKR_SESSION_HANDLE_INVALID ||
	       rv == CKR_CRYPTOKI_NOT_INITIALIZED || rv == CKR_USER_ALREADY_LOGGED_IN ||
	       rv == CKR_USER_NOT_LOGGED_IN || rv == CKR_OPERATION_ACTIVE ||
	       rv == CKR_OPERATION_NOT_INITIALIZED;
}

static void *act_on(void *argument)
{
	unsigned seed = (unsigned)(uintptr_t)argument;
	while (!atomic_load(&stop)) {
		CK_RV rv = act(&seed);
		if (!is_explained(rv))
			return (void *)rv;
	}
	return NULL;
}

static void storm(unsigned rounds, bool finalizes)
{
	pthread_t threads[THREADS];
	char why[200];
	fixture_mock(&mock);
	module_configure(&mock, "max-sessions = 3", NULL);
	module_begin();
	slot = module_slot();
	atomic_store(&stop, false);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, act_on, (void *)(i + 1));
	for (unsigned i = 0; i < rounds; i++) {
		nanosleep(&(struct timespec){ .tv_nsec = 20 * HP_MS }, NULL);
		if (finalizes) {
			module_end();
			module_begin();
		}
	}
	atomic_store(&stop, true);
	for (int i = 0; i < THREADS; i++) {
		void *rv;
		pthread_join(threads[i], &rv);
		assert_rv((CK_RV)rv, CKR_OK);
	}
	module_end();
	if (!fixture_mock_control()->check_balance(why, sizeof(why)))
		fail_msg("%s", why);
	struct mock_counters counters;
	fixture_mock_control()->counters(&counters);
	assert_true(counters.sessions_peak <= 3);
	fixture_remove(&mock);
}

static void threads_that_share_sessions_do_as_they_like(void **state)
{
	(void)state;
	storm(50, false);
}

static void c_finalize_during_calls_is_safe(void **state)
{
	(void)state;
	storm(50, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_that_share_sessions_do_as_they_like),
		cmocka_unit_test(c_finalize_during_calls_is_safe),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

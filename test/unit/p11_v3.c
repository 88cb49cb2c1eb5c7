/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is better with a module of PKCS#11 3.x: operations can be cancelled.
 */
#include "support/fixture.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "p11/session.h"

static struct hp_module *module;
static struct hp_session session;
static CK_FLAGS *cancelled;
static CK_RV *answer;
static CK_MECHANISM mechanism = { CKM_ECDSA, NULL, 0 };

static int open_module(void **state)
{
	char path[500];
	hsmpool_error err = { 0 };
	(void)state;
	snprintf(path, sizeof(path), "%s/test/unit/p11-v3.so",
		 getenv("HSMPOOL_TEST_BUILD"));
	assert_ok(hp_module_open(&module, path, NULL, NULL, &err), &err);
	cancelled = dlsym(module->dl, "v3_cancelled");
	answer = dlsym(module->dl, "v3_cancel_answer");
	assert_non_null(cancelled);
	assert_non_null(answer);
	return 0;
}

static int close_module(void **state)
{
	(void)state;
	hp_module_close(&module);
	return 0;
}

static int open_session(void **state)
{
	(void)state;
	*cancelled = 0;
	*answer = CKR_OK;
	return hp_session_open(&session, module, 0, false) == CKR_OK ? 0 : -1;
}

/* Without a cancel it would have to be closed. */
static void a_begun_signature_is_cancelled(void **state)
{
	(void)state;
	assert_int_equal(hp_sign_init(&session, &mechanism, 1), CKR_OK);
	assert_true(hp_session_clean(&session));
	assert_int_equal(session.active, 0);
	/* CKF_FIND_OBJECTS, CKF_ENCRYPT ... CKF_VERIFY_RECOVER */
	assert_int_equal(*cancelled, 0x40 | CKF_ENCRYPT | CKF_DECRYPT | CKF_DIGEST |
					     CKF_SIGN | CKF_SIGN_RECOVER | CKF_VERIFY |
					     CKF_VERIFY_RECOVER);
}

static void a_session_in_doubt_is_cancelled_and_trusted_again(void **state)
{
	(void)state;
	session.is_unsure = true;
	assert_true(hp_session_clean(&session));
	assert_false(session.is_unsure);
}

static void a_clean_session_costs_no_call(void **state)
{
	(void)state;
	assert_true(hp_session_clean(&session));
	assert_int_equal(*cancelled, 0);
}

static void a_cancel_that_fails_leaves_the_session_to_be_closed(void **state)
{
	(void)state;
	*answer = 0x202; /* CKR_OPERATION_CANCEL_FAILED */
	assert_int_equal(hp_sign_init(&session, &mechanism, 1), CKR_OK);
	assert_false(hp_session_clean(&session));
	assert_int_equal(session.active, HP_OP_SIGN);
}

#define TEST(function) cmocka_unit_test_setup(function, open_session)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_begun_signature_is_cancelled),
		TEST(a_session_in_doubt_is_cancelled_and_trusted_again),
		TEST(a_clean_session_costs_no_call),
		TEST(a_cancel_that_fails_leaves_the_session_to_be_closed),
	};
	return cmocka_run_group_tests(tests, open_module, close_module);
}

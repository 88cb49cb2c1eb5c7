/* SPDX-License-Identifier: Apache-2.0 */
/* C_Login and C_Logout in both modes (rows S1-S3, S6, S7, S33). */
#include "module_ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct fixture softhsm, mock;

static const char wrong_pin[] = "wrong-9999";

static uint64_t logins_tried(void)
{
	struct mock_counters counters;
	fixture_mock_control()->counters(&counters);
	return counters.logins_tried;
}

static uint64_t logouts(void)
{
	struct mock_counters counters;
	fixture_mock_control()->counters(&counters);
	return counters.logouts;
}

/* --- login = application: SoftHSM2's answers
 * --------------------------------------------- */

/* S1 */
static void a_login_counts_for_all_sessions_of_the_application(void **state)
{
	CK_SESSION_HANDLE read_only = module_session(RO), read_write = module_session(RW);
	(void)state;
	assert_rv(module_login(read_only, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
	assert_int_equal(module_state(read_only), CKS_RO_USER_FUNCTIONS);
	assert_int_equal(module_state(read_write), CKS_RW_USER_FUNCTIONS);
	assert_int_equal(module_state(module_session(RW)), CKS_RW_USER_FUNCTIONS);
	assert_rv(module_login(read_write, CKU_USER, FIXTURE_USER_PIN),
		  CKR_USER_ALREADY_LOGGED_IN);
	assert_rv(module_load()->C_Logout(read_write), CKR_OK);
	assert_int_equal(module_state(read_only), CKS_RO_PUBLIC_SESSION);
	assert_rv(module_login(read_write, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
}

static void wrong_logins_are_answered_by_the_token(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	(void)state;
	assert_rv(module_login(session, CKU_USER, wrong_pin), CKR_PIN_INCORRECT);
	assert_rv(module_load()->C_Login(session, CKU_USER, NULL, 0), CKR_ARGUMENTS_BAD);
	assert_rv(module_login(session, 77, FIXTURE_USER_PIN), CKR_USER_TYPE_INVALID);
	assert_rv(module_login(session, CKU_CONTEXT_SPECIFIC, FIXTURE_USER_PIN),
		  CKR_OPERATION_NOT_INITIALIZED);
	assert_rv(module_login(session + 1, CKU_USER, FIXTURE_USER_PIN),
		  CKR_SESSION_HANDLE_INVALID);
	assert_rv(module_load()->C_Logout(session + 1), CKR_SESSION_HANDLE_INVALID);
	assert_int_equal(module_state(session), CKS_RW_PUBLIC_SESSION);
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
}

/* S3 */
static void closing_the_last_session_logs_out(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	(void)state;
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
	assert_rv(module_load()->C_CloseSession(session), CKR_OK);
	session = module_session(RW);
	assert_int_equal(module_state(session), CKS_RW_PUBLIC_SESSION);
	assert_rv(module_login(session, CKU_USER, wrong_pin), CKR_PIN_INCORRECT);
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
	assert_rv(module_load()->C_CloseAllSessions(module_slot()), CKR_OK);
	assert_int_equal(module_state(module_session(RW)), CKS_RW_PUBLIC_SESSION);
}

/* S6, S7: real sessions are all read-write, so the rules are kept on virtual ones. */
static void read_only_sessions_and_the_so_exclude_each_other(void **state)
{
	CK_SESSION_HANDLE read_only = module_session(RO), read_write = module_session(RW);
	CK_SESSION_HANDLE more;
	(void)state;
	assert_rv(module_login(read_write, CKU_SO, FIXTURE_SO_PIN),
		  CKR_SESSION_READ_ONLY_EXISTS);
	assert_rv(module_load()->C_CloseSession(read_only), CKR_OK);
	assert_rv(module_login(read_write, CKU_SO, FIXTURE_SO_PIN), CKR_OK);
	assert_int_equal(module_state(read_write), CKS_RW_SO_FUNCTIONS);
	assert_rv(module_load()->C_OpenSession(module_slot(), RO, NULL, NULL, &more),
		  CKR_SESSION_READ_WRITE_SO_EXISTS);
	assert_int_equal(module_state(module_session(RW)), CKS_RW_SO_FUNCTIONS);
	assert_rv(module_login(read_write, CKU_USER, FIXTURE_USER_PIN),
		  CKR_USER_ANOTHER_ALREADY_LOGGED_IN);
	assert_rv(module_load()->C_Logout(read_write), CKR_OK);
	assert_rv(module_login(read_write, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
}

static void the_so_may_not_log_in_unless_it_is_allowed(void **state)
{
	(void)state;
	module_end();
	module_configure(&softhsm, NULL, "admin = no");
	module_begin();
	CK_SESSION_HANDLE session = module_session(RW);
	assert_rv(module_login(session, CKU_SO, FIXTURE_SO_PIN), CKR_ACTION_PROHIBITED);
	assert_rv(module_login(session, CKU_SO, wrong_pin), CKR_ACTION_PROHIBITED);
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
}

/* --- login = application: what becomes of it
 * ---------------------------------------------- */

static void private_objects_show_while_the_user_is_logged_in(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	(void)state;
	assert_int_equal(module_count_private(session), 0);
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
	assert_true(module_count_private(session) > 0);
	assert_rv(module_load()->C_Logout(session), CKR_OK);
	assert_int_equal(module_count_private(session), 0);
	assert_int_equal(logouts(), 1);
}

static void after_a_loss_the_pool_logs_in_with_the_pin_that_succeeded(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	(void)state;
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
	fixture_mock_control()->reboot(NULL);
	assert_true(module_count_private(session) > 0);
	assert_int_equal(module_state(session), CKS_RW_USER_FUNCTIONS);
	assert_int_equal(logins_tried(), 2);
}

static void an_application_that_logged_out_is_not_logged_in_again(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	(void)state;
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
	assert_rv(module_load()->C_Logout(session), CKR_OK);
	fixture_mock_control()->reboot(NULL);
	assert_rv(module_digest(session), CKR_OK);
	assert_int_equal(logins_tried(), 1);
}

static void a_pin_that_failed_is_not_remembered(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	(void)state;
	fixture_mock_control()->pin_tries(3);
	assert_rv(module_login(session, CKU_USER, wrong_pin), CKR_PIN_INCORRECT);
	fixture_mock_control()->reboot(NULL);
	assert_rv(module_digest(session), CKR_OK);
	assert_int_equal(logins_tried(), 1);
	assert_rv(module_login(session, CKU_USER, wrong_pin), CKR_PIN_INCORRECT);
	assert_rv(module_login(session, CKU_USER, wrong_pin), CKR_PIN_INCORRECT);
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_PIN_LOCKED);
}

/* The PIN changed while the token was away: one automatic try, then it is the
 * application's turn, and never the latch that answers it. */
static void a_refused_login_after_a_loss_is_not_repeated(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	(void)state;
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
	fixture_mock_control()->pin("another-pin");
	fixture_mock_control()->reboot(NULL);
	for (int i = 0; i < 5; i++)
		assert_rv(module_digest(session), CKR_USER_NOT_LOGGED_IN);
	assert_int_equal(logins_tried(), 2);
	assert_rv(module_login(session, CKU_USER, "another-pin"), CKR_OK);
	assert_rv(module_digest(session), CKR_OK);
}

/* L15: the latch is for the pool's own logins. */
static void
a_login_of_the_application_reaches_the_token_and_releases_its_pin(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	(void)state;
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
	fixture_mock_control()->pin("another-pin");
	fixture_mock_control()->reboot(NULL);
	assert_rv(module_digest(session), CKR_USER_NOT_LOGGED_IN);
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_PIN_INCORRECT);
	fixture_mock_control()->pin(FIXTURE_USER_PIN);
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
	assert_int_equal(logins_tried(), 4);
	fixture_mock_control()->reboot(NULL);
	assert_rv(module_digest(session), CKR_OK);
	assert_int_equal(logins_tried(), 5);
}

/* --- login = automatic
 * --------------------------------------------------------------------- */

/* S33 */
static void with_automatic_login_sessions_are_born_logged_in(void **state)
{
	CK_SESSION_HANDLE session = module_session(RO);
	CK_TOKEN_INFO info;
	(void)state;
	assert_int_equal(module_state(session), CKS_RO_USER_FUNCTIONS);
	assert_true(module_count_private(session) > 0);
	assert_rv(module_load()->C_GetTokenInfo(module_slot(), &info), CKR_OK);
	assert_true(info.flags & CKF_PROTECTED_AUTHENTICATION_PATH);
	assert_true(info.flags & CKF_LOGIN_REQUIRED);
}

static void with_automatic_login_no_pin_or_the_right_one_is_welcome(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	(void)state;
	assert_rv(module_login(session, CKU_USER, NULL), CKR_OK);
	assert_rv(module_login(session, CKU_USER, NULL), CKR_USER_ALREADY_LOGGED_IN);
	assert_rv(module_load()->C_CloseSession(session), CKR_OK);
	session = module_session(RW);
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN),
		  CKR_USER_ALREADY_LOGGED_IN);
	assert_int_equal(logins_tried(), 1);
}

static void with_automatic_login_a_wrong_pin_never_reaches_the_token(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	(void)state;
	for (int i = 0; i < 10; i++)
		assert_rv(module_login(session, CKU_USER, wrong_pin), CKR_PIN_INCORRECT);
	assert_int_equal(module_state(session), CKS_RW_USER_FUNCTIONS);
	assert_int_equal(logins_tried(), 1);
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
}

/* S2 */
static void with_automatic_login_a_logout_makes_the_application_public(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	(void)state;
	assert_rv(module_load()->C_Logout(session), CKR_OK);
	assert_int_equal(module_state(session), CKS_RW_PUBLIC_SESSION);
	assert_int_equal(module_count_private(session), 0);
	assert_rv(module_login(session, CKU_USER, wrong_pin), CKR_PIN_INCORRECT);
	assert_int_equal(module_count_private(session), 0);
	assert_int_equal(logins_tried(), 1);
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
	assert_true(module_count_private(session) > 0);
}

static void with_automatic_login_the_next_first_session_is_logged_in_again(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	(void)state;
	assert_rv(module_load()->C_Logout(session), CKR_OK);
	assert_rv(module_load()->C_CloseSession(session), CKR_OK);
	session = module_session(RW);
	assert_int_equal(module_state(session), CKS_RW_USER_FUNCTIONS);
	assert_true(module_count_private(session) > 0);
}

static void with_automatic_login_the_so_can_take_the_users_place(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	(void)state;
	assert_rv(module_login(session, CKU_SO, wrong_pin), CKR_PIN_INCORRECT);
	assert_int_equal(module_state(session), CKS_RW_USER_FUNCTIONS);
	assert_true(module_count_private(session) > 0);
	assert_rv(module_login(session, CKU_SO, MOCK_SO_PIN), CKR_OK);
	assert_int_equal(module_state(session), CKS_RW_SO_FUNCTIONS);
	assert_rv(module_load()->C_Logout(session), CKR_OK);
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
	assert_true(module_count_private(session) > 0);
}

/* The source's PIN is the user's: given as the SO's it would spend a try. (L20) */
static void with_automatic_login_the_so_is_logged_in_again_with_its_own_pin(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	struct mock_counters counters;
	(void)state;
	assert_rv(module_login(session, CKU_SO, MOCK_SO_PIN), CKR_OK);
	fixture_mock_control()->reboot(NULL);
	assert_rv(module_digest(session), CKR_OK);
	assert_int_equal(module_state(session), CKS_RW_SO_FUNCTIONS);
	fixture_mock_control()->counters(&counters);
	assert_int_equal(counters.logins_failed, 0);
}

static void with_automatic_login_a_refused_pin_source_is_tried_once(void **state)
{
	CK_SESSION_HANDLE session;
	(void)state;
	fixture_mock_control()->pin("another-pin");
	for (int i = 0; i < 3; i++)
		assert_rv(module_load()->C_OpenSession(module_slot(), RW, NULL, NULL,
						       &session),
			  CKR_FUNCTION_FAILED);
	assert_int_equal(logins_tried(), 1);
}

/* -------------------------------------------------------------------------------------------
 */

static int begin_on_softhsm(void **state)
{
	(void)state;
	module_configure(&softhsm, NULL, "admin = yes");
	module_begin();
	return 0;
}

static int begin_on_mock(void **state)
{
	(void)state;
	fixture_mock(&mock);
	module_configure(&mock, "max-sessions = 2\nkeeper = no", NULL);
	module_begin();
	return 0;
}

static int begin_automatic(void **state)
{
	char lines[500];
	(void)state;
	fixture_mock(&mock);
	snprintf(lines, sizeof(lines), "pin-source = file:%s\nkeeper = no",
		 mock.pin_file);
	module_configure(&mock, lines, "login = automatic\nadmin = yes");
	module_begin();
	return 0;
}

static int end(void **state)
{
	(void)state;
	module_end();
	return 0;
}

static int end_on_mock(void **state)
{
	char why[200];
	(void)state;
	module_end();
	bool is_balanced = fixture_mock_control()->check_balance(why, sizeof(why));
	if (!is_balanced)
		print_error("%s\n", why);
	fixture_remove(&mock);
	return is_balanced ? 0 : -1;
}

static int make_token(void **state)
{
	(void)state;
	fixture_softhsm(&softhsm);
	return 0;
}

static int remove_token(void **state)
{
	(void)state;
	fixture_remove(&softhsm);
	return 0;
}

#define on_softhsm(name) cmocka_unit_test_setup_teardown(name, begin_on_softhsm, end)
#define on_mock(name)    cmocka_unit_test_setup_teardown(name, begin_on_mock, end_on_mock)
#define automatic(name) \
	cmocka_unit_test_setup_teardown(name, begin_automatic, end_on_mock)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_softhsm(a_login_counts_for_all_sessions_of_the_application),
		on_softhsm(wrong_logins_are_answered_by_the_token),
		on_softhsm(closing_the_last_session_logs_out),
		on_softhsm(read_only_sessions_and_the_so_exclude_each_other),
		on_softhsm(the_so_may_not_log_in_unless_it_is_allowed),
		on_mock(private_objects_show_while_the_user_is_logged_in),
		on_mock(after_a_loss_the_pool_logs_in_with_the_pin_that_succeeded),
		on_mock(an_application_that_logged_out_is_not_logged_in_again),
		on_mock(a_pin_that_failed_is_not_remembered),
		on_mock(a_refused_login_after_a_loss_is_not_repeated),
		on_mock(a_login_of_the_application_reaches_the_token_and_releases_its_pin),
		automatic(with_automatic_login_sessions_are_born_logged_in),
		automatic(with_automatic_login_no_pin_or_the_right_one_is_welcome),
		automatic(with_automatic_login_a_wrong_pin_never_reaches_the_token),
		automatic(with_automatic_login_a_logout_makes_the_application_public),
		automatic(with_automatic_login_the_next_first_session_is_logged_in_again),
		automatic(with_automatic_login_the_so_can_take_the_users_place),
		automatic(
			with_automatic_login_the_so_is_logged_in_again_with_its_own_pin),
		automatic(with_automatic_login_a_refused_pin_source_is_tried_once),
	};
	return cmocka_run_group_tests(tests, make_token, remove_token);
}

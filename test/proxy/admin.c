/* SPDX-License-Identifier: Apache-2.0 */
/* C_InitToken, C_InitPIN, C_SetPIN (row S7). */
#include "module_ground.h"

#include <stdio.h>
#include <string.h>

static struct fixture softhsm, mock;

static const char new_pin[] = "another-5678";
static CK_UTF8CHAR label[] = "fresh                           ";

static CK_BYTE *bytes(const char *text)
{
	return (CK_BYTE *)(uintptr_t)text;
}

static CK_RV init_token(CK_SLOT_ID slot, const char *so_pin)
{
	return module_load()->C_InitToken(slot, bytes(so_pin), strlen(so_pin), label);
}

static CK_RV set_pin(CK_SESSION_HANDLE session, const char *from, const char *to)
{
	return module_load()->C_SetPIN(session, bytes(from), strlen(from), bytes(to),
				       strlen(to));
}

static CK_RV init_pin(CK_SESSION_HANDLE session, const char *pin)
{
	return module_load()->C_InitPIN(session, bytes(pin), strlen(pin));
}

static uint64_t logins_failed(void)
{
	struct mock_counters counters;
	fixture_mock_control()->counters(&counters);
	return counters.logins_failed;
}

/* --- refused
 * ------------------------------------------------------------------------------ */

static void without_permission_each_is_refused_with_one_code(void **state)
{
	(void)state;
	module_end();
	module_configure(&softhsm, NULL, NULL);
	module_begin();
	CK_SLOT_ID slot = module_slot();
	CK_SESSION_HANDLE session = module_session(RW);
	assert_rv(set_pin(session, FIXTURE_USER_PIN, new_pin), CKR_ACTION_PROHIBITED);
	assert_rv(init_pin(session, new_pin), CKR_ACTION_PROHIBITED);
	assert_rv(module_login(session, CKU_SO, FIXTURE_SO_PIN), CKR_ACTION_PROHIBITED);
	assert_rv(module_load()->C_CloseSession(session), CKR_OK);
	assert_rv(init_token(slot, FIXTURE_SO_PIN), CKR_ACTION_PROHIBITED);
	session = module_session(RW);
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
}

static void a_module_that_others_use_too_is_not_administered(void **state)
{
	CK_FUNCTION_LIST *vendor = module_load_other(softhsm.module);
	(void)state;
	module_end();
	assert_rv(vendor->C_Initialize(NULL), CKR_OK);
	module_begin();
	assert_rv(init_token(module_slot(), FIXTURE_SO_PIN), CKR_ACTION_PROHIBITED);
	module_end();
	assert_rv(vendor->C_Finalize(NULL), CKR_OK);
	module_begin();
}

static void unknown_sessions_and_slots_get_the_vendors_answer(void **state)
{
	(void)state;
	assert_rv(init_token(4711, FIXTURE_SO_PIN), CKR_SLOT_ID_INVALID);
	assert_rv(init_pin(4711, new_pin), CKR_SESSION_HANDLE_INVALID);
	assert_rv(set_pin(4711, FIXTURE_USER_PIN, new_pin), CKR_SESSION_HANDLE_INVALID);
}

static void a_read_only_session_changes_no_pin(void **state)
{
	CK_SESSION_HANDLE session = module_session(RO);
	(void)state;
	assert_rv(set_pin(session, FIXTURE_USER_PIN, new_pin), CKR_SESSION_READ_ONLY);
	assert_rv(set_pin(session, FIXTURE_USER_PIN, "1"), CKR_PIN_LEN_RANGE);
	assert_rv(module_load()->C_SetPIN(session, NULL, 0, bytes(new_pin), 12),
		  CKR_ARGUMENTS_BAD);
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
}

/* --- done
 * ----------------------------------------------------------------------------------- */

/* The application's sessions count; the pool's own are closed first. */
static void a_token_is_initialised_once_the_applications_sessions_are_closed(void **state)
{
	CK_SLOT_ID slot = module_slot();
	CK_SESSION_HANDLE session = module_session(RW);
	CK_TOKEN_INFO info;
	(void)state;
	assert_rv(module_digest(session), CKR_OK);
	assert_rv(init_token(slot, FIXTURE_SO_PIN), CKR_SESSION_EXISTS);
	assert_rv(module_load()->C_CloseSession(session), CKR_OK);
	assert_rv(init_token(slot, "not-the-so-pin"), CKR_PIN_INCORRECT);
	assert_rv(module_load()->C_InitToken(slot, bytes(FIXTURE_SO_PIN), 11, NULL),
		  CKR_ARGUMENTS_BAD);
	assert_rv(init_token(slot, FIXTURE_SO_PIN), CKR_OK);
	assert_rv(module_load()->C_GetTokenInfo(slot, &info), CKR_OK);
	assert_memory_equal(info.label, label, 32);
	assert_false(info.flags & CKF_USER_PIN_INITIALIZED);
	assert_rv(module_load()->C_OpenSession(slot, RW, NULL, NULL, &session), CKR_OK);
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN),
		  CKR_USER_PIN_NOT_INITIALIZED);
	assert_rv(init_pin(session, FIXTURE_USER_PIN), CKR_USER_NOT_LOGGED_IN);
	assert_rv(module_login(session, CKU_SO, FIXTURE_SO_PIN), CKR_OK);
	assert_rv(init_pin(session, "1"), CKR_PIN_LEN_RANGE);
	assert_rv(init_pin(session, FIXTURE_USER_PIN), CKR_OK);
	assert_rv(module_load()->C_Logout(session), CKR_OK);
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
}

static void a_free_slot_becomes_a_token(void **state)
{
	CK_SLOT_ID slots[8];
	CK_ULONG count = 8;
	CK_TOKEN_INFO info;
	(void)state;
	assert_rv(module_load()->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
	for (CK_ULONG i = 0; i < count; i++) {
		assert_rv(module_load()->C_GetTokenInfo(slots[i], &info), CKR_OK);
		if (!(info.flags & CKF_TOKEN_INITIALIZED))
			assert_rv(init_token(slots[i], FIXTURE_SO_PIN), CKR_OK);
	}
	CK_ULONG more = 8;
	assert_rv(module_load()->C_GetSlotList(CK_TRUE, NULL, &more), CKR_OK);
	assert_int_equal(more, count + 1);
	assert_rv(module_load()->C_GetSlotList(CK_TRUE, slots, &more), CKR_OK);
	for (CK_ULONG i = 0; i < more; i++)
		assert_rv(module_load()->C_GetTokenInfo(slots[i], &info), CKR_OK);
}

static void a_pin_is_changed_by_user_and_so(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	(void)state;
	assert_rv(set_pin(session, "not-the-pin", new_pin), CKR_PIN_INCORRECT);
	assert_rv(set_pin(session, FIXTURE_USER_PIN, new_pin), CKR_OK); /* public, too */
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_PIN_INCORRECT);
	assert_rv(module_login(session, CKU_USER, new_pin), CKR_OK);
	assert_rv(set_pin(session, new_pin, FIXTURE_USER_PIN), CKR_OK);
	assert_rv(module_load()->C_Logout(session), CKR_OK);
	assert_rv(module_login(session, CKU_SO, FIXTURE_SO_PIN), CKR_OK);
	assert_rv(set_pin(session, FIXTURE_SO_PIN, FIXTURE_SO_PIN), CKR_OK);
}

/* --- what the pool remembers
 * ------------------------------------------------------------------ */

static void after_a_change_the_pool_logs_in_with_the_new_pin_only(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	(void)state;
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
	assert_rv(set_pin(session, FIXTURE_USER_PIN, new_pin), CKR_OK);
	fixture_mock_control()->reboot(NULL);
	assert_true(module_count_private(session) > 0);
	assert_int_equal(logins_failed(), 0);
}

static void after_the_sos_login_is_lost_it_is_made_again(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	(void)state;
	assert_rv(module_login(session, CKU_SO, MOCK_SO_PIN), CKR_OK);
	fixture_mock_control()->reboot(NULL);
	assert_rv(module_digest(session), CKR_OK);
	assert_rv(init_pin(session, new_pin), CKR_OK);
	assert_int_equal(logins_failed(), 0);
}

/* It was changed, but the answer said that the session is dead. */
static void set_pin_without_an_answer(CK_SESSION_HANDLE session)
{
	const struct mock_failure failure = { .function = "C_SetPIN",
					      .rv = CKR_SESSION_HANDLE_INVALID,
					      .after = true };
	(fixture_mock_control()->fail)(&failure);
	assert_rv(set_pin(session, FIXTURE_USER_PIN, new_pin), CKR_DEVICE_ERROR);
}

static void after_a_change_without_an_answer_no_pin_is_tried(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	(void)state;
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
	set_pin_without_an_answer(session);
	fixture_mock_control()->reboot(NULL);
	assert_rv(module_digest(session), CKR_USER_NOT_LOGGED_IN);
	assert_int_equal(logins_failed(), 0);
	assert_rv(module_login(session, CKU_USER, new_pin), CKR_OK);
	fixture_mock_control()->reboot(NULL);
	assert_true(module_count_private(session) > 0);
	assert_int_equal(logins_failed(), 0);
}

static void after_a_change_without_an_answer_the_source_is_read_again(void **state)
{
	char lines[500];
	(void)state;
	module_end();
	snprintf(lines, sizeof(lines), "pin-source = file:%s\nkeeper = no",
		 mock.pin_file);
	module_configure(&mock, lines, "login = automatic\nadmin = yes");
	module_begin();
	CK_SESSION_HANDLE session = module_session(RW);
	set_pin_without_an_answer(session);
	FILE *file = fopen(mock.pin_file, "w");
	assert_non_null(file);
	fputs(new_pin, file);
	assert_int_equal(fclose(file), 0);
	fixture_mock_control()->reboot(NULL);
	assert_true(module_count_private(session) > 0);
	assert_int_equal(logins_failed(), 0);
}

/* The PIN's source still has the old one. */
static void an_automatic_login_follows_a_change_of_the_pin(void **state)
{
	char lines[500];
	(void)state;
	module_end();
	snprintf(lines, sizeof(lines), "pin-source = file:%s\nkeeper = no",
		 mock.pin_file);
	module_configure(&mock, lines, "login = automatic\nadmin = yes");
	module_begin();
	CK_SESSION_HANDLE session = module_session(RW);
	assert_rv(module_login(session, CKU_SO, MOCK_SO_PIN), CKR_OK);
	assert_rv(init_pin(session, new_pin), CKR_OK);
	assert_rv(module_load()->C_Logout(session), CKR_OK);
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_PIN_INCORRECT);
	assert_rv(module_login(session, CKU_USER, new_pin), CKR_OK);
	assert_true(module_count_private(session) > 0);
	fixture_mock_control()->reboot(NULL);
	assert_true(module_count_private(session) > 0);
	assert_int_equal(logins_failed(), 0);
}

/* -----------------------------------------------------------------------------------------------
 */

static int begin_on_softhsm(void **state)
{
	(void)state;
	fixture_softhsm(&softhsm);
	module_configure(&softhsm, NULL, "admin = yes");
	module_begin();
	return 0;
}

static int end_on_softhsm(void **state)
{
	(void)state;
	module_end();
	fixture_remove(&softhsm);
	return 0;
}

static int begin_on_mock(void **state)
{
	(void)state;
	fixture_mock(&mock);
	module_configure(&mock, "keeper = no", "admin = yes");
	module_begin();
	return 0;
}

static int end_on_mock(void **state)
{
	(void)state;
	module_end();
	fixture_remove(&mock);
	return 0;
}

#define on_softhsm(name) \
	cmocka_unit_test_setup_teardown(name, begin_on_softhsm, end_on_softhsm)
#define on_mock(name) cmocka_unit_test_setup_teardown(name, begin_on_mock, end_on_mock)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_softhsm(without_permission_each_is_refused_with_one_code),
		on_softhsm(a_module_that_others_use_too_is_not_administered),
		on_softhsm(unknown_sessions_and_slots_get_the_vendors_answer),
		on_softhsm(a_read_only_session_changes_no_pin),
		on_softhsm(
			a_token_is_initialised_once_the_applications_sessions_are_closed),
		on_softhsm(a_free_slot_becomes_a_token),
		on_softhsm(a_pin_is_changed_by_user_and_so),
		on_mock(after_a_change_the_pool_logs_in_with_the_new_pin_only),
		on_mock(after_a_change_without_an_answer_no_pin_is_tried),
		on_mock(after_a_change_without_an_answer_the_source_is_read_again),
		on_mock(after_the_sos_login_is_lost_it_is_made_again),
		on_mock(an_automatic_login_follows_a_change_of_the_pin),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Slots, tokens and virtual sessions (rows S5, S6, S8-S11, S21, S32, S35). */
#include "module_ground.h"

#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include "base/time.h"

static struct fixture softhsm, mock;

/* --- slots and tokens ------------------------------------------------------------------
 */

/* S32 */
static void the_slot_list_follows_the_rules_of_size(void **state)
{
	CK_FUNCTION_LIST *p11 = module_load();
	CK_SLOT_ID slots[8], again[8];
	CK_ULONG count = 0, room = 1, again_count = 8;
	(void)state;
	assert_rv(p11->C_GetSlotList(CK_TRUE, NULL, NULL), CKR_ARGUMENTS_BAD);
	assert_rv(p11->C_GetSlotList(CK_TRUE, NULL, &count), CKR_OK);
	assert_int_equal(count, 2); /* SoftHSM2 shows a free slot */
	assert_rv(p11->C_GetSlotList(CK_TRUE, slots, &room), CKR_BUFFER_TOO_SMALL);
	assert_int_equal(room, 2);
	assert_rv(p11->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
	assert_rv(p11->C_GetSlotList(CK_FALSE, again, &again_count), CKR_OK);
	assert_int_equal(again_count, 2);
	assert_memory_equal(slots, again, 2 * sizeof(slots[0]));
}

static void the_vendor_is_who_answers_for_slots_and_tokens(void **state)
{
	CK_FUNCTION_LIST *p11 = module_load();
	CK_SLOT_ID slot = module_slot();
	CK_INFO info;
	CK_SLOT_INFO slot_info;
	CK_TOKEN_INFO token;
	CK_MECHANISM_INFO mechanism;
	CK_MECHANISM_TYPE types[200];
	CK_ULONG count = 1;
	(void)state;
	assert_rv(p11->C_GetInfo(&info), CKR_OK);
	assert_memory_equal(info.manufacturerID, "SoftHSM", 7);
	assert_int_equal(info.cryptokiVersion.major, 2);
	assert_rv(p11->C_GetSlotInfo(slot, &slot_info), CKR_OK);
	assert_true(slot_info.flags & CKF_TOKEN_PRESENT);
	assert_rv(p11->C_GetTokenInfo(slot, &token), CKR_OK);
	assert_memory_equal(token.label, FIXTURE_TOKEN " ", sizeof(FIXTURE_TOKEN));
	assert_false(token.flags & CKF_PROTECTED_AUTHENTICATION_PATH);
	assert_rv(p11->C_GetMechanismList(slot, types, &count), CKR_BUFFER_TOO_SMALL);
	count = 200;
	assert_rv(p11->C_GetMechanismList(slot, types, &count), CKR_OK);
	assert_rv(p11->C_GetMechanismInfo(slot, types[0], &mechanism), CKR_OK);
}

/* The vendor ORs into flags, so what was there before must not stay. */
static void structures_are_clean_before_the_vendor_fills_them(void **state)
{
	CK_TOKEN_INFO token;
	CK_MECHANISM_INFO mechanism;
	CK_SLOT_ID slot = module_slot();
	(void)state;
	memset(&token, 0xff, sizeof(token));
	memset(&mechanism, 0xff, sizeof(mechanism));
	assert_rv(module_load()->C_GetTokenInfo(slot, &token), CKR_OK);
	assert_false(token.flags & CKF_SO_PIN_LOCKED);
	assert_rv(module_load()->C_GetMechanismInfo(slot, CKM_SHA256, &mechanism),
		  CKR_OK);
	assert_int_equal(mechanism.flags, CKF_DIGEST);
}

static void unknown_slots_and_missing_arguments_get_the_vendors_answers(void **state)
{
	CK_FUNCTION_LIST *p11 = module_load();
	CK_SLOT_ID slot = module_slot(), none = 4711;
	CK_TOKEN_INFO token;
	CK_SESSION_HANDLE session;
	(void)state;
	assert_rv(p11->C_GetTokenInfo(none, &token), CKR_SLOT_ID_INVALID);
	assert_rv(p11->C_GetTokenInfo(slot, NULL), CKR_ARGUMENTS_BAD);
	assert_rv(p11->C_OpenSession(none, RW, NULL, NULL, &session),
		  CKR_SLOT_ID_INVALID);
	assert_rv(p11->C_OpenSession(none, RW, NULL, NULL, NULL), CKR_ARGUMENTS_BAD);
	assert_rv(p11->C_OpenSession(slot, RW, NULL, NULL, NULL), CKR_ARGUMENTS_BAD);
	assert_rv(p11->C_CloseAllSessions(none), CKR_SLOT_ID_INVALID);
}

static CK_SLOT_ID free_slot(void)
{
	CK_SLOT_ID slots[8];
	CK_ULONG count = 8;
	CK_TOKEN_INFO token;
	assert_rv(module_load()->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
	for (CK_ULONG i = 0; i < count; i++) {
		assert_rv(module_load()->C_GetTokenInfo(slots[i], &token), CKR_OK);
		if (!(token.flags & CKF_TOKEN_INITIALIZED))
			return slots[i];
	}
	fail_msg("no free slot");
	return 0;
}

static void a_token_that_is_not_initialised_has_no_sessions(void **state)
{
	CK_SESSION_HANDLE session;
	(void)state;
	int64_t before = hp_now_ns();
	assert_rv(module_load()->C_OpenSession(free_slot(), RW, NULL, NULL, &session),
		  CKR_TOKEN_NOT_RECOGNIZED);
	assert_true(hp_now_ns() - before < TEST_AT_ONCE_NS); /* nothing was waited for */
}

static void only_the_configured_token_is_shown(void **state)
{
	CK_FUNCTION_LIST *p11 = module_load();
	CK_SLOT_ID slot;
	CK_ULONG count = 1;
	CK_TOKEN_INFO token;
	(void)state;
	module_end();
	fixture_add_token(&softhsm, "another");
	module_configure(&softhsm, "token = pkcs11:token=another", NULL);
	module_begin();
	assert_rv(p11->C_GetSlotList(CK_TRUE, &slot, &count), CKR_OK);
	assert_int_equal(count, 1);
	assert_rv(p11->C_GetTokenInfo(slot, &token), CKR_OK);
	assert_memory_equal(token.label, "another ", 8);
	count = 0;
	assert_rv(p11->C_GetSlotList(CK_TRUE, &slot, &count), CKR_BUFFER_TOO_SMALL);
	assert_int_equal(count, 1);
	/* The other tokens' slots are there, but not for this application. */
	CK_FUNCTION_LIST *vendor = module_load_other(softhsm.module);
	CK_SLOT_ID all[8];
	CK_ULONG all_count = 8;
	assert_rv(vendor->C_GetSlotList(CK_TRUE, all, &all_count), CKR_OK);
	assert_int_equal(all_count, 3);
	for (CK_ULONG i = 0; i < all_count; i++)
		assert_rv(p11->C_GetTokenInfo(all[i], &token),
			  all[i] == slot ? CKR_OK : CKR_SLOT_ID_INVALID);
}

/* --- sessions --------------------------------------------------------------------------
 */

/* S9 */
static void a_session_must_be_serial(void **state)
{
	CK_SESSION_HANDLE session;
	(void)state;
	assert_rv(module_load()->C_OpenSession(module_slot(), CKF_RW_SESSION, NULL, NULL,
					       &session),
		  CKR_SESSION_PARALLEL_NOT_SUPPORTED);
}

/* S8 */
static void a_session_tells_of_itself_and_its_slot(void **state)
{
	CK_SESSION_HANDLE read_only = module_session(RO), read_write = module_session(RW);
	CK_SESSION_INFO info;
	(void)state;
	memset(&info, 0xff, sizeof(info));
	assert_rv(module_load()->C_GetSessionInfo(read_only, &info), CKR_OK);
	assert_int_equal(info.state, CKS_RO_PUBLIC_SESSION);
	assert_int_equal(info.flags, CKF_SERIAL_SESSION);
	assert_int_equal(info.slotID, module_slot());
	assert_int_equal(info.ulDeviceError, 0);
	assert_rv(module_load()->C_GetSessionInfo(read_write, &info), CKR_OK);
	assert_int_equal(info.state, CKS_RW_PUBLIC_SESSION);
	assert_int_equal(info.flags, RW);
	assert_rv(module_load()->C_GetSessionInfo(read_write, NULL), CKR_ARGUMENTS_BAD);
}

static void a_closed_session_is_gone_and_its_handle_not_used_again(void **state)
{
	CK_SESSION_HANDLE first = module_session(RW);
	CK_SESSION_INFO info;
	(void)state;
	assert_rv(module_load()->C_CloseSession(first), CKR_OK);
	assert_rv(module_load()->C_CloseSession(first), CKR_SESSION_HANDLE_INVALID);
	for (int i = 0; i < 1000; i++) {
		CK_SESSION_HANDLE next = module_session(RW);
		assert_int_not_equal(next, first);
		assert_rv(module_load()->C_CloseSession(next), CKR_OK);
	}
	assert_rv(module_load()->C_GetSessionInfo(first, &info),
		  CKR_SESSION_HANDLE_INVALID);
	assert_rv(module_digest(first), CKR_SESSION_HANDLE_INVALID);
	assert_rv(module_load()->C_GetSessionInfo(0, &info), CKR_SESSION_HANDLE_INVALID);
	assert_rv(module_load()->C_CloseSession(~0ul), CKR_SESSION_HANDLE_INVALID);
}

static void closing_all_sessions_closes_those_of_the_slot(void **state)
{
	CK_SESSION_HANDLE sessions[600];
	(void)state;
	for (int i = 0; i < 600; i++)
		sessions[i] = module_session(i % 2 ? RW : RO);
	assert_rv(module_load()->C_CloseAllSessions(free_slot()), CKR_OK);
	assert_int_equal(module_state(sessions[0]), CKS_RO_PUBLIC_SESSION);
	assert_rv(module_load()->C_CloseAllSessions(module_slot()), CKR_OK);
	for (int i = 0; i < 600; i++)
		assert_rv(module_load()->C_CloseSession(sessions[i]),
			  CKR_SESSION_HANDLE_INVALID);
}

/* S21 */
static void nothing_runs_in_parallel(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	(void)state;
	assert_rv(module_load()->C_GetFunctionStatus(session), CKR_FUNCTION_NOT_PARALLEL);
	assert_rv(module_load()->C_CancelFunction(session), CKR_FUNCTION_NOT_PARALLEL);
	assert_rv(module_load()->C_GetFunctionStatus(session + 1),
		  CKR_SESSION_HANDLE_INVALID);
}

/* --- virtual, not real
 * ------------------------------------------------------------------ */

/* S11 */
static void thousands_of_sessions_need_one_real_one_and_little_memory(void **state)
{
	enum { MANY = 20000 };
	static CK_SESSION_HANDLE sessions[MANY];
	CK_SLOT_ID slot = module_slot();
	struct mock_counters counters;
	(void)state;
	sessions[0] = module_session(RW);
	size_t before = mallinfo2().uordblks;
	for (int i = 1; i < MANY; i++)
		assert_rv(
			module_load()->C_OpenSession(slot, RW, NULL, NULL, &sessions[i]),
			CKR_OK);
	size_t each = (mallinfo2().uordblks - before) / MANY;
	assert_true(each < 512);
	fixture_mock_control()->counters(&counters);
	assert_int_equal(counters.sessions_peak, 1);
	assert_rv(module_digest(sessions[MANY - 1]), CKR_OK);
}

/* S10 */
static void the_token_counts_the_applications_sessions(void **state)
{
	CK_TOKEN_INFO info;
	(void)state;
	fixture_mock_control()->report_limit(8);
	for (int i = 0; i < 20; i++)
		module_session(i < 5 ? RO : RW);
	assert_rv(module_load()->C_GetTokenInfo(module_slot(), &info), CKR_OK);
	assert_int_equal(info.ulSessionCount, 20);
	assert_int_equal(info.ulRwSessionCount, 15);
	assert_int_equal(info.ulMaxSessionCount, CK_EFFECTIVELY_INFINITE);
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

/* S35 */
static void closing_a_session_in_use_does_not_wait_for_the_call(void **state)
{
	struct user user = { .session = module_session(RW) };
	(void)state;
	module_session(RW); /* not the last one */
	fixture_mock_control()->hang("C_DigestInit", 1);
	pthread_create(&user.thread, NULL, digest_in_thread, &user);
	while (fixture_mock_control()->hung() == 0)
		sched_yield();
	assert_rv(module_load()->C_CloseSession(user.session), CKR_OK);
	assert_rv(module_load()->C_CloseSession(user.session),
		  CKR_SESSION_HANDLE_INVALID);
	fixture_mock_control()->release();
	pthread_join(user.thread, NULL);
	/* C_DigestInit went through; C_Digest found the session closed. */
	assert_rv(user.rv, CKR_SESSION_HANDLE_INVALID);
}

static void *open_and_close(void *argument)
{
	CK_SLOT_ID slot = *(CK_SLOT_ID *)argument;
	for (int i = 0; i < 300; i++) {
		CK_SESSION_HANDLE session;
		CK_SESSION_INFO info;
		CK_RV rv = module_load()->C_OpenSession(slot, i % 2 ? RO : RW, NULL, NULL,
							&session);
		if (rv == CKR_OK)
			rv = module_load()->C_GetSessionInfo(session, &info);
		if (rv == CKR_OK)
			rv = module_digest(session);
		if (rv == CKR_OK)
			rv = module_load()->C_CloseSession(session);
		if (rv != CKR_OK)
			return (void *)rv;
	}
	return NULL;
}

static void threads_open_use_and_close_sessions_at_once(void **state)
{
	CK_SLOT_ID slot = module_slot();
	CK_TOKEN_INFO info;
	pthread_t threads[8];
	(void)state;
	module_load();
	for (int i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, open_and_close, &slot);
	for (int i = 0; i < 8; i++) {
		void *rv;
		pthread_join(threads[i], &rv);
		assert_rv((CK_RV)rv, CKR_OK);
	}
	fixture_mock_control()->report_limit(8);
	assert_rv(module_load()->C_GetTokenInfo(slot, &info), CKR_OK);
	assert_int_equal(info.ulSessionCount, 0);
	assert_int_equal(info.ulRwSessionCount, 0);
}

/* A session that the token lost is the pool's affair, not the application's. */
static void sessions_outlive_a_restart_of_the_token(void **state)
{
	CK_SESSION_HANDLE session = module_session(RW);
	(void)state;
	assert_rv(module_digest(session), CKR_OK);
	fixture_mock_control()->reboot(&(struct mock_reboot){ .move_slot = true });
	assert_rv(module_digest(session), CKR_OK);
	assert_int_equal(module_state(session), CKS_RW_PUBLIC_SESSION);
}

/* S32 */
static void a_slot_keeps_its_number_when_the_real_one_moves(void **state)
{
	CK_SLOT_ID before = module_slot();
	CK_SESSION_HANDLE session = module_session(RW);
	CK_TOKEN_INFO info;
	(void)state;
	fixture_mock_control()->reboot(&(struct mock_reboot){ .move_slot = true });
	assert_rv(module_digest(session), CKR_OK);
	assert_int_equal(module_slot(), before);
	assert_rv(module_load()->C_GetTokenInfo(before, &info), CKR_OK);
	assert_memory_equal(info.label, MOCK_TOKEN_LABEL " ", sizeof(MOCK_TOKEN_LABEL));
}

static void an_absent_token_is_reported_as_by_the_vendor(void **state)
{
	CK_SLOT_ID slot = module_slot();
	CK_SESSION_HANDLE session;
	(void)state;
	fixture_mock_control()->token_absent(MOCK_FOREVER);
	assert_rv(module_load()->C_OpenSession(slot, RW, NULL, NULL, &session),
		  CKR_TOKEN_NOT_PRESENT);
	fixture_mock_control()->token_present();
	assert_rv(module_digest(module_session(RW)), CKR_OK);
}

/* ----------------------------------------------------------------------------------------
 */

static int begin_on_softhsm(void **state)
{
	(void)state;
	module_configure(&softhsm, NULL, NULL);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_softhsm(the_slot_list_follows_the_rules_of_size),
		on_softhsm(the_vendor_is_who_answers_for_slots_and_tokens),
		on_softhsm(structures_are_clean_before_the_vendor_fills_them),
		on_softhsm(unknown_slots_and_missing_arguments_get_the_vendors_answers),
		on_softhsm(a_token_that_is_not_initialised_has_no_sessions),
		on_softhsm(a_session_must_be_serial),
		on_softhsm(a_session_tells_of_itself_and_its_slot),
		on_softhsm(a_closed_session_is_gone_and_its_handle_not_used_again),
		on_softhsm(closing_all_sessions_closes_those_of_the_slot),
		on_softhsm(nothing_runs_in_parallel),
		on_softhsm(only_the_configured_token_is_shown),
		on_mock(thousands_of_sessions_need_one_real_one_and_little_memory),
		on_mock(the_token_counts_the_applications_sessions),
		on_mock(closing_a_session_in_use_does_not_wait_for_the_call),
		on_mock(threads_open_use_and_close_sessions_at_once),
		on_mock(sessions_outlive_a_restart_of_the_token),
		on_mock(a_slot_keeps_its_number_when_the_real_one_moves),
		on_mock(an_absent_token_is_reported_as_by_the_vendor),
	};
	return cmocka_run_group_tests(tests, make_token, remove_token);
}

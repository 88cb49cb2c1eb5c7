/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each fault of the mock does what its control says, and the counters see it.
 */
#include "mock/direct.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static CK_MECHANISM ecdsa = { CKM_ECDSA, NULL, 0 };
static CK_BYTE digest[32];

struct ground {
	CK_SESSION_HANDLE session;
	CK_OBJECT_HANDLE key;
};

static struct ground lay(CK_FUNCTION_LIST *m)
{
	struct ground g = { .session = direct_session(m) };

	assert_rv(direct_login(m, g.session, MOCK_USER_PIN), CKR_OK);
	g.key = direct_find(m, g.session, CKO_PRIVATE_KEY, "ec");
	return g;
}

static CK_RV sign(CK_FUNCTION_LIST *m, struct ground g)
{
	CK_BYTE signature[64];
	CK_ULONG len = sizeof(signature);
	CK_RV rv = m->C_SignInit(g.session, &ecdsa, g.key);

	return rv == CKR_OK ? m->C_Sign(g.session, digest, 32, signature, &len) : rv;
}

static void script(const char *text)
{
	char error[200] = "";

	if (!fixture_mock_control()->script(text, error, sizeof(error)))
		fail_msg("%s", error);
}

static void a_failure_hits_the_nth_call_only(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	struct ground g = lay(m);
	const struct mock_control *mock = fixture_mock_control();

	script("fail=C_Sign:3:CKR_DEVICE_ERROR");
	assert_rv(sign(m, g), CKR_OK);
	assert_rv(sign(m, g), CKR_OK);
	assert_rv(sign(m, g), CKR_DEVICE_ERROR);
	assert_rv(sign(m, g), CKR_OK);
	assert_int_equal(mock->calls("C_Sign"), 4);
	assert_int_equal(mock->executed("C_Sign"), 3);
}

static void a_failure_may_last(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	struct ground g = lay(m);

	script("fail=C_SignInit:2+2:0x30");
	assert_rv(sign(m, g), CKR_OK);
	assert_rv(sign(m, g), CKR_DEVICE_ERROR);
	assert_rv(sign(m, g), CKR_DEVICE_ERROR);
	assert_rv(sign(m, g), CKR_OK);
	script("fail=C_SignInit:1+:CKR_GENERAL_ERROR");
	for (int i = 0; i < 5; i++)
		assert_rv(sign(m, g), CKR_GENERAL_ERROR);
}

static void a_probability_is_seeded_and_repeats(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	struct ground g = lay(m);
	int first = 0, second = 0;

	script("seed=42; fail=C_Sign:p0.25:CKR_DEVICE_ERROR");
	for (int i = 0; i < 400; i++)
		first += sign(m, g) != CKR_OK;
	assert_in_range(first, 60, 140);
	script("seed=42");
	for (int i = 0; i < 400; i++)
		second += sign(m, g) != CKR_OK;
	assert_int_equal(first, second);
}

static void a_failure_after_execution_counts_as_executed(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	struct ground g = lay(m);

	script("fail=C_Sign:1:CKR_DEVICE_ERROR:after");
	assert_rv(sign(m, g), CKR_DEVICE_ERROR);
	assert_int_equal(fixture_mock_control()->executed("C_Sign"), 1);
	assert_rv(sign(m, g), CKR_OK);
}

static void a_failure_may_leave_the_operation_active(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	struct ground g = lay(m);

	script("fail=C_Sign:1:CKR_DEVICE_ERROR"); /* L23 */
	assert_rv(sign(m, g), CKR_DEVICE_ERROR);
	assert_rv(sign(m, g), CKR_OK);
	script("fail=C_Sign:1:CKR_DEVICE_ERROR:leave-active");
	assert_rv(sign(m, g), CKR_DEVICE_ERROR);
	assert_rv(sign(m, g), CKR_OPERATION_ACTIVE);
}

static void latency_is_kept_exactly(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	struct ground g = lay(m);
	struct timespec before, after;

	script("latency=C_Sign:2ms");
	clock_gettime(CLOCK_MONOTONIC, &before);
	for (int i = 0; i < 10; i++)
		assert_rv(sign(m, g), CKR_OK);
	clock_gettime(CLOCK_MONOTONIC, &after);
	double ms = (double)(after.tv_sec - before.tv_sec) * 1e3 +
		    (double)(after.tv_nsec - before.tv_nsec) / 1e6;
	assert_true(ms >= 20.0);
}

static void the_session_limit_holds_and_shows(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	const struct mock_control *mock = fixture_mock_control();
	CK_SESSION_HANDLE s;
	CK_TOKEN_INFO info;

	script("sessions=2");
	direct_session(m);
	direct_session(m);
	assert_rv(m->C_OpenSession(direct_slot(m), CKF_SERIAL_SESSION, NULL, NULL, &s),
		  CKR_SESSION_COUNT);
	assert_rv(m->C_GetTokenInfo(direct_slot(m), &info), CKR_OK);
	assert_int_equal(info.ulMaxSessionCount, 2);
	mock->report_limit(CK_EFFECTIVELY_INFINITE);
	m->C_GetTokenInfo(direct_slot(m), &info);
	assert_int_equal(info.ulMaxSessionCount, CK_EFFECTIVELY_INFINITE);
	script("report-sessions=none");
	m->C_GetTokenInfo(direct_slot(m), &info);
	assert_int_equal(info.ulMaxSessionCount, CK_UNAVAILABLE_INFORMATION);
}

struct hanging {
	CK_FUNCTION_LIST *m;
	struct ground g;
	CK_RV rv;
};

static void *sign_in_thread(void *argument)
{
	struct hanging *h = argument;

	h->rv = sign(h->m, h->g);
	return NULL;
}

static void a_hanging_call_comes_back_when_released(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	struct hanging h = { .m = m, .g = lay(m) };
	pthread_t thread;

	script("hang=C_Sign:1");
	pthread_create(&thread, NULL, sign_in_thread, &h);
	for (int i = 0; i < 5000 && fixture_mock_control()->hung() == 0; i++)
		usleep(1000);
	assert_int_equal(fixture_mock_control()->hung(), 1);
	fixture_mock_control()->release();
	pthread_join(thread, NULL);
	assert_rv(h.rv, CKR_OK);
	assert_int_equal(fixture_mock_control()->hung(), 0);
}

static void a_session_that_dies_while_its_call_hangs_says_so(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	struct hanging h = { .m = m, .g = lay(m) };
	pthread_t thread;

	script("hang=C_Sign:1");
	pthread_create(&thread, NULL, sign_in_thread, &h);
	for (int i = 0; i < 5000 && fixture_mock_control()->hung() == 0; i++)
		usleep(1000);
	fixture_mock_control()->reboot(NULL);
	fixture_mock_control()->release();
	pthread_join(thread, NULL);
	assert_rv(h.rv, CKR_SESSION_HANDLE_INVALID);
}

static void a_reboot_kills_sessions_login_and_handles(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	struct ground g = lay(m);
	CK_SESSION_INFO info;
	struct mock_counters c;

	fixture_mock_control()->reboot(NULL);
	assert_rv(sign(m, g), CKR_SESSION_HANDLE_INVALID);
	CK_SESSION_HANDLE s = direct_session(m);
	assert_rv(m->C_GetSessionInfo(s, &info), CKR_OK);
	assert_int_equal(info.state, CKS_RW_PUBLIC_SESSION);
	direct_login(m, s, MOCK_USER_PIN);
	assert_rv(m->C_SignInit(s, &ecdsa, g.key), CKR_KEY_HANDLE_INVALID);
	fixture_mock_control()->counters(&c);
	assert_int_equal(c.sessions_killed, 1);
	assert_int_equal(c.dead_handles, 2);
}

static void a_reboot_may_keep_the_login_and_move_the_slot(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SLOT_ID before = direct_slot(m);
	struct ground g = lay(m);
	struct mock_reboot how = { .session_rv = CKR_DEVICE_REMOVED,
				   .keep_login = true,
				   .move_slot = true,
				   .handles = MOCK_HANDLES_KEPT };
	CK_SESSION_INFO info;

	fixture_mock_control()->reboot(&how);
	assert_rv(sign(m, g), CKR_DEVICE_REMOVED);
	assert_int_not_equal(direct_slot(m), before); /* L33 */
	g.session = direct_session(m);
	assert_rv(m->C_GetSessionInfo(g.session, &info), CKR_OK);
	assert_int_equal(info.state, CKS_RW_USER_FUNCTIONS);
	assert_rv(sign(m, g), CKR_OK);
}

static CK_BYTE id_of(CK_FUNCTION_LIST *m, CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object)
{
	CK_BYTE id = 0;
	CK_ATTRIBUTE ask = { CKA_ID, &id, 1 };

	assert_rv(m->C_GetAttributeValue(s, object, &ask, 1), CKR_OK);
	return id;
}

static void aliased_handles_name_other_objects(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	struct ground g = lay(m);
	struct mock_reboot how = { .handles = MOCK_HANDLES_ALIASED };

	CK_BYTE before = id_of(m, g.session, g.key);
	fixture_mock_control()->reboot(&how); /* L17 */
	CK_SESSION_HANDLE s = direct_session(m);
	direct_login(m, s, MOCK_USER_PIN);
	assert_int_not_equal(id_of(m, s, g.key), before);
}

static void a_reboot_can_be_scripted_by_the_count_of_calls(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	struct ground g = lay(m);

	script("reboot-after=3; session-rv=CKR_SESSION_CLOSED");
	assert_rv(sign(m, g), CKR_OK);
	assert_rv(sign(m, g), CKR_SESSION_CLOSED);
}

static void a_dead_module_lives_again_after_finalize_and_initialize(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	struct ground g = lay(m);
	CK_INFO info;

	fixture_mock_control()->kill_module(CKR_DEVICE_ERROR); /* L3 */
	assert_rv(sign(m, g), CKR_DEVICE_ERROR);
	assert_rv(m->C_GetInfo(&info), CKR_DEVICE_ERROR);
	assert_rv(m->C_Initialize(NULL), CKR_CRYPTOKI_ALREADY_INITIALIZED);
	assert_rv(m->C_GetInfo(&info), CKR_DEVICE_ERROR);
	assert_rv(m->C_Finalize(NULL), CKR_OK);
	assert_rv(m->C_Initialize(NULL), CKR_OK);
	fixture_mock_control()->reset();
	assert_rv(sign(m, lay(m)), CKR_OK);
}

static void an_absent_token_comes_back_without_its_sessions(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SLOT_ID slot = direct_slot(m);
	struct ground g = lay(m);
	CK_TOKEN_INFO info;
	CK_SESSION_HANDLE s;
	CK_ULONG count = 0;

	fixture_mock_control()->token_absent(MOCK_FOREVER);
	assert_rv(m->C_GetSlotList(CK_TRUE, NULL, &count), CKR_OK);
	assert_int_equal(count, 0);
	assert_rv(m->C_GetTokenInfo(slot, &info), CKR_TOKEN_NOT_PRESENT);
	assert_rv(m->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &s),
		  CKR_TOKEN_NOT_PRESENT);
	assert_rv(sign(m, g), CKR_DEVICE_REMOVED);
	fixture_mock_control()->token_present();
	assert_rv(sign(m, g), CKR_SESSION_HANDLE_INVALID);
	assert_rv(sign(m, lay(m)), CKR_OK);
}

static void session_info_may_lie_from_memory(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	struct ground g = lay(m);
	CK_SESSION_INFO info;

	script("local-session-info"); /* L7 */
	fixture_mock_control()->reboot(NULL);
	assert_rv(m->C_GetSessionInfo(g.session, &info), CKR_OK);
	assert_rv(sign(m, g), CKR_SESSION_HANDLE_INVALID);
	assert_rv(m->C_GetSessionInfo(g.session + 77 * 1024, &info),
		  CKR_SESSION_HANDLE_INVALID);
}

static void a_module_that_cannot_lock_refuses_and_watches(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK };
	struct mock_counters c;

	m->C_Finalize(NULL);
	script("cant-lock"); /* L31 */
	assert_rv(m->C_Initialize(&args), CKR_CANT_LOCK);
	assert_rv(m->C_Initialize(NULL), CKR_OK);
	struct hanging h = { .m = m, .g = lay(m) };
	pthread_t thread;
	script("hang=C_Sign:1");
	pthread_create(&thread, NULL, sign_in_thread, &h);
	for (int i = 0; i < 5000 && fixture_mock_control()->hung() == 0; i++)
		usleep(1000);
	direct_session(m);
	fixture_mock_control()->release();
	pthread_join(thread, NULL);
	fixture_mock_control()->counters(&c);
	assert_true(c.module_overlaps >= 1);
}

static void two_threads_on_one_session_are_noticed(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	struct hanging h = { .m = m, .g = lay(m) };
	CK_SESSION_INFO info;
	struct mock_counters c;
	pthread_t thread;

	script("hang=C_Sign:1");
	pthread_create(&thread, NULL, sign_in_thread, &h);
	for (int i = 0; i < 5000 && fixture_mock_control()->hung() == 0; i++)
		usleep(1000);
	m->C_GetSessionInfo(h.g.session, &info);
	fixture_mock_control()->release();
	pthread_join(thread, NULL);
	fixture_mock_control()->counters(&c);
	assert_int_equal(c.session_overlaps, 1);
}

static void the_balance_tells_of_an_open_session(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	char why[128] = "";
	CK_SESSION_HANDLE s = direct_session(m);

	assert_false(fixture_mock_control()->check_balance(why, sizeof(why)));
	assert_string_not_equal(why, "");
	m->C_CloseSession(s);
	assert_true(fixture_mock_control()->check_balance(why, sizeof(why)));
}

static void a_wrong_script_is_refused_with_its_text(void **state)
{
	static const char *const wrong[] = {
		"latancy=C_Sign:1ms", "latency=C_Singn:1ms",
		"latency=C_Sign:1",   "fail=C_Sign:3",
		"fail=C_Sign:x:0x30", "fail=C_Sign:1:CKR_NOPE",
		"sessions=many",      "keep-login=yes",
		"handles=lost",       "fail=C_Sign:1:0x30:twice",
	};
	char error[200];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		error[0] = '\0';
		assert_false(
			fixture_mock_control()->script(wrong[i], error, sizeof(error)));
		assert_non_null(strchr(error, '\''));
	}
}

static void the_report_has_one_line_per_finalize(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	char path[] = "/tmp/hsmpool-report-XXXXXX", item[100], line[512] = "";
	int fd = mkstemp(path);

	snprintf(item, sizeof(item), "report=%s", path);
	script(item);
	lay(m);
	m->C_Finalize(NULL);
	FILE *file = fdopen(fd, "r");
	assert_non_null(fgets(line, sizeof(line), file));
	assert_non_null(strstr(line, "opened=1 closed=0 killed=0 abandoned=1"));
	assert_non_null(strstr(line, "logins=1 "));
	fclose(file);
	unlink(path);
	assert_rv(m->C_Initialize(NULL), CKR_OK);
	fixture_mock_control()->reset();
}

static void nothing_armed_means_the_fast_path(void **state)
{
	(void)state;
	assert_false(fixture_mock_control()->armed());
	script("latency=*:1us");
	assert_true(fixture_mock_control()->armed());
	script("latency=*:0");
	assert_false(fixture_mock_control()->armed());
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, direct_set_up, direct_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_failure_hits_the_nth_call_only),
		TEST(a_failure_may_last),
		TEST(a_probability_is_seeded_and_repeats),
		TEST(a_failure_after_execution_counts_as_executed),
		TEST(a_failure_may_leave_the_operation_active),
		TEST(latency_is_kept_exactly),
		TEST(the_session_limit_holds_and_shows),
		TEST(a_hanging_call_comes_back_when_released),
		TEST(a_session_that_dies_while_its_call_hangs_says_so),
		TEST(a_reboot_kills_sessions_login_and_handles),
		TEST(a_reboot_may_keep_the_login_and_move_the_slot),
		TEST(aliased_handles_name_other_objects),
		TEST(a_reboot_can_be_scripted_by_the_count_of_calls),
		TEST(a_dead_module_lives_again_after_finalize_and_initialize),
		TEST(an_absent_token_comes_back_without_its_sessions),
		TEST(session_info_may_lie_from_memory),
		TEST(a_module_that_cannot_lock_refuses_and_watches),
		TEST(two_threads_on_one_session_are_noticed),
		TEST(the_balance_tells_of_an_open_session),
		TEST(a_wrong_script_is_refused_with_its_text),
		TEST(the_report_has_one_line_per_finalize),
		TEST(nothing_armed_means_the_fast_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

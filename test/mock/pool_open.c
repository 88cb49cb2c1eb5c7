/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening sessions and logging in: once, paced, within what the token gives, and never
 * with a PIN that was refused.
 */
#include "mock/direct.h"
#include "mock/pool_ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static hsmpool_status try_open(struct ground *g, hsmpool_error *err)
{
	return hsmpool_open(&g->pool, g->fixture.config, NULL, TEST_PATIENCE, err);
}

/* What cannot succeed is tried for so long. */
static hsmpool_status try_open_in_vain(struct ground *g, hsmpool_error *err)
{
	return hsmpool_open(&g->pool, g->fixture.config, NULL, hsmpool_deadline_in(2000),
			    err);
}

/* --- logging in ----------------------------------------------------------------- */

static void open_logs_in_once_and_opens_min_sessions(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", "8", "min-sessions", "3", NULL);
	assert_int_equal(ground_counters(g).sessions_now, 3); /* L13 */
	assert_int_equal(g->mock->calls("C_Login"), 1);
	assert_int_equal(ground_stats(g).logins, 1);
	assert_int_equal(ground_stats(g).open, 3);
}

static void later_sessions_need_no_login(void **state)
{
	struct ground *g = *state;
	hsmpool_session *s[4];

	ground_open(g, "max-sessions", "4", NULL);
	for (int i = 0; i < 4; i++)
		s[i] = ground_borrow(g);
	for (int i = 0; i < 4; i++)
		hsmpool_return(&s[i], HSMPOOL_VERDICT_CLEAN);
	assert_rv(ground_sign(g), CKR_OK);
	assert_int_equal(g->mock->calls("C_Login"), 1);
}

static void without_a_pin_source_the_pool_stays_public(void **state)
{
	struct ground *g = *state;
	CK_RV rv;
	hsmpool_error err;

	ground_open(g, "pin-source", NULL, NULL);
	assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
	assert_int_equal(g->mock->calls("C_Login"), 0);
	assert_rv(ground_sign(g), CKR_KEY_HANDLE_INVALID);
}

/* Row 13, L15. */
static void a_wrong_pin_is_tried_once_and_refused_at_once(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	g->mock->pin("another");
	int64_t before = hp_now_ns();
	assert_status(try_open(g, &err), HSMPOOL_ERR_AUTH);
	assert_true(hp_now_ns() - before < TEST_AT_ONCE_NS);
	assert_null(g->pool);
	assert_int_equal(ground_counters(g).logins_tried, 1);
	assert_non_null(strstr(err.text, "refused"));
	assert_null(strstr(err.text, FIXTURE_USER_PIN)); /* L37 */
	assert_int_equal(err.ck_rv, CKR_PIN_INCORRECT);
}

/* The PIN of the source may be right: it is something else that is to be corrected. */
static void a_pin_refused_for_another_reason_is_told_with_that(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	ground_script(g, "fail=C_Login:1:CKR_PIN_EXPIRED");
	assert_status(try_open(g, &err), HSMPOOL_ERR_AUTH);
	assert_non_null(strstr(err.text, "expired"));
	assert_int_equal(err.ck_rv, CKR_PIN_EXPIRED);
	/* Remembered, with the reason. */
	assert_status(try_open(g, &err), HSMPOOL_ERR_AUTH);
	assert_non_null(strstr(err.text, "expired"));
	assert_int_equal(err.ck_rv, CKR_PIN_EXPIRED);
	assert_int_equal(g->mock->calls("C_Login"), 1);
}

static void a_locked_pin_is_told_with_who_can_help(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	ground_script(g, "fail=C_Login:1:CKR_PIN_LOCKED");
	assert_status(try_open(g, &err), HSMPOOL_ERR_AUTH);
	assert_non_null(strstr(err.text, "security officer"));
}

static void *borrow_and_note(void *argument);

struct noted {
	struct ground *g;
	atomic_uint auth, ok, other;
};

/* Row 13, L15: also when a PIN that was good is refused later, by however many. */
static void a_pin_refused_later_latches_the_pool(void **state)
{
	struct ground *g = *state;
	struct noted noted = { .g = g };
	hsmpool_error err;
	CK_RV rv;

	ground_open(g, "max-sessions", "8", NULL);
	g->mock->pin("changed");
	g->mock->reboot(NULL);
	assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
	assert_rv(rv, CKR_SESSION_HANDLE_INVALID);
	for (int i = 0; i < 3; i++) {
		struct crew crew = crew_start(16, borrow_and_note, &noted);
		crew_join(&crew);
	}
	struct mock_counters c = ground_counters(g);
	assert_int_equal(noted.ok, 0);
	assert_int_equal(noted.other, 0);
	assert_int_equal(noted.auth, 48);
	assert_int_equal(c.logins_tried, 2); /* the good one, and one that was refused */
	assert_int_equal(c.logins_failed, 1);
}

static void *borrow_and_note(void *argument)
{
	struct noted *noted = argument;
	hsmpool_session *s = NULL;
	hsmpool_error err;
	hsmpool_status status = ground_try_borrow(noted->g, TEST_PATIENCE_MS, &s, &err);

	if (status == HSMPOOL_ERR_AUTH)
		atomic_fetch_add(&noted->auth, 1);
	else if (status == HSMPOOL_OK)
		atomic_fetch_add(&noted->ok, 1);
	else
		atomic_fetch_add(&noted->other, 1);
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
	return NULL;
}

static void spend_tries(struct ground *g, unsigned tries)
{
	CK_FUNCTION_LIST *m = direct_module();

	assert_rv(m->C_Initialize(NULL), CKR_OK);
	CK_SESSION_HANDLE s = direct_session(m);
	for (unsigned i = 0; i < tries; i++)
		assert_rv(direct_login(m, s, "wrong"), CKR_PIN_INCORRECT);
	m->C_CloseSession(s);
	m->C_Finalize(NULL);
	assert_int_equal(ground_counters(g).logins_tried, tries);
}

static void the_last_pin_try_is_not_spent(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	g->mock->pin_tries(3); /* L15 */
	spend_tries(g, 2);
	assert_status(try_open(g, &err), HSMPOOL_ERR_AUTH);
	assert_int_equal(ground_counters(g).logins_tried, 2);
	assert_non_null(strstr(err.text, "one PIN try left"));
}

static void a_locked_pin_is_not_tried(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	g->mock->pin_tries(3);
	spend_tries(g, 3);
	assert_status(try_open(g, &err), HSMPOOL_ERR_AUTH);
	assert_int_equal(ground_counters(g).logins_tried, 3);
	assert_non_null(strstr(err.text, "locked"));
}

static void a_low_pin_counter_warns_and_logs_in(void **state)
{
	struct ground *g = *state;

	g->mock->pin_tries(5);
	spend_tries(g, 1);
	ground_open(g, NULL);
	assert_int_equal(ground_logged("pin-count-low", NULL, 0), 1);
	assert_int_equal(ground_stats(g).logins, 1);
}

static void an_unreadable_pin_is_an_auth_error_without_a_login(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	ground_set(g, "pin-source", "file:/nonexistent/pin", NULL);
	assert_status(try_open(g, &err), HSMPOOL_ERR_AUTH);
	assert_int_equal(g->mock->calls("C_Login"), 0);
	assert_non_null(strstr(err.text, "/nonexistent/pin"));
}

struct signers {
	struct ground *g;
	atomic_uint good, bad;
};

static void *sign_once(void *argument)
{
	struct signers *signers = argument;

	atomic_fetch_add(
		ground_sign(signers->g) == CKR_OK ? &signers->good : &signers->bad, 1);
	return NULL;
}

/* Row 17, L14: all need a login at the same moment; one of them does it. */
static void many_threads_that_need_a_login_do_one(void **state)
{
	struct ground *g = *state;
	struct signers signers = { .g = g };
	CK_RV rv;
	hsmpool_error err;

	ground_open(g, "max-sessions", "16", "validate-after", "0", NULL);
	assert_int_equal(g->mock->calls("C_Login"), 1);
	g->mock->log_out();
	ground_script(g, "latency=C_Login:20ms");
	struct crew crew = crew_start(64, sign_once, &signers);
	crew_join(&crew);
	assert_int_equal(signers.good, 64);
	assert_int_equal(g->mock->calls("C_Login"), 2);
	assert_int_equal(ground_stats(g).logins, 2);
	assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
}

/* L13: a login by someone else in the process is as good as ours. */
static void a_login_by_another_user_of_the_module_is_adopted(void **state)
{
	struct ground *g = *state;
	CK_FUNCTION_LIST *m = direct_module();
	CK_SESSION_INFO info;

	assert_rv(m->C_Initialize(NULL), CKR_OK);
	CK_SESSION_HANDLE s = direct_session(m);
	assert_rv(direct_login(m, s, FIXTURE_USER_PIN), CKR_OK);
	ground_open(g, NULL);
	assert_rv(ground_sign(g), CKR_OK);
	hsmpool_close(&g->pool);
	assert_rv(m->C_GetSessionInfo(s, &info), CKR_OK); /* not finalised, not out */
	assert_int_equal(info.state, CKS_RW_USER_FUNCTIONS);
	assert_int_equal(ground_counters(g).logins_tried, 1);
	assert_int_equal(g->mock->calls("C_Finalize"), 0);
	assert_int_equal(g->mock->calls("C_CloseAllSessions"), 0);
	m->C_CloseSession(s);
	m->C_Finalize(NULL);
}

/* Row 11: a login that fails for reasons other than the PIN is tried again, soon. */
static void a_login_that_fails_in_passing_is_tried_again(void **state)
{
	struct ground *g = *state;

	ground_script(g, "fail=C_Login:1+2:CKR_DEVICE_ERROR");
	ground_open(g, NULL);
	assert_rv(ground_sign(g), CKR_OK);
	assert_int_equal(ground_counters(g).logins_failed, 0);
}

/* L22: a sick token is not hammered with logins while borrowers wait. */
static void failing_logins_are_paced(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	ground_script(g, "fail=C_Login:1+:CKR_DEVICE_ERROR");
	assert_status(try_open_in_vain(g, &err), HSMPOOL_ERR_DOWN);
	assert_in_range(g->mock->calls("C_Login"), 1, 100);
	assert_non_null(strstr(err.text, "CKR_DEVICE_ERROR"));
}

/* --- opening -------------------------------------------------------------------- */

struct takers {
	struct ground *g;
	atomic_uint held, failed;
	atomic_bool let_go;
};

static void *take_and_hold(void *argument)
{
	struct takers *takers = argument;
	hsmpool_session *s = NULL;
	hsmpool_error err;

	if (ground_try_borrow(takers->g, TEST_PATIENCE_MS, &s, &err) != HSMPOOL_OK) {
		atomic_fetch_add(&takers->failed, 1);
		return NULL;
	}
	atomic_fetch_add(&takers->held, 1);
	while (!atomic_load(&takers->let_go))
		ground_nap();
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
	return NULL;
}

/* Row 5: whoever waits is served when opening works again. */
static void opening_that_fails_and_recovers_serves_every_waiter(void **state)
{
	struct ground *g = *state;
	struct takers takers = { .g = g };

	ground_open(g, "max-sessions", "5", NULL);
	hsmpool_session *s = ground_borrow(g);
	ground_script(g, "fail=C_OpenSession:1+3:CKR_DEVICE_ERROR");
	struct crew crew = crew_start(4, take_and_hold, &takers);
	eventually(takers.held == 4);
	atomic_store(&takers.let_go, true);
	crew_join(&crew);
	assert_int_equal(takers.failed, 0);
	assert_int_equal(ground_stats(g).open_failures, 3);
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
}

static void opening_that_always_fails_is_paced_and_told(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	ground_script(g, "fail=C_OpenSession:1+:CKR_DEVICE_ERROR");
	assert_status(try_open_in_vain(g, &err), HSMPOOL_ERR_DOWN);
	assert_in_range(g->mock->calls("C_OpenSession"), 1, 20);
	assert_non_null(strstr(err.text, "CKR_DEVICE_ERROR"));
	assert_int_equal(err.ck_rv, CKR_DEVICE_ERROR);
}

static void one_thread_opens_at_a_time(void **state)
{
	struct ground *g = *state;
	struct takers takers = { .g = g };

	ground_open(g, "max-sessions", "8", NULL);
	hsmpool_session *s = ground_borrow(g);
	uint64_t before = g->mock->calls("C_OpenSession");
	ground_script(g, "hang=C_OpenSession:1");
	struct crew crew = crew_start(6, take_and_hold, &takers);
	eventually(g->mock->hung() == 1 && ground_stats(g).waiters == 5);
	assert_int_equal(g->mock->calls("C_OpenSession"), before + 1);
	assert_int_equal(ground_stats(g).opening, 1);
	g->mock->release();
	eventually(takers.held == 6);
	atomic_store(&takers.let_go, true);
	crew_join(&crew);
	assert_in_range(ground_counters(g).sessions_peak, 7, 7);
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
}

/* A session that comes back while another is being opened serves the waiter at once. */
static void a_slow_open_does_not_hold_up_who_could_be_served(void **state)
{
	struct ground *g = *state;
	struct takers takers = { .g = g };

	ground_open(g, "max-sessions", "4", NULL);
	hsmpool_session *s = ground_borrow(g);
	ground_script(g, "hang=C_OpenSession:1");
	struct crew crew = crew_start(2, take_and_hold, &takers);
	eventually(g->mock->hung() == 1 && ground_stats(g).waiters == 1);
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
	eventually(takers.held == 1);
	g->mock->release();
	atomic_store(&takers.let_go, true);
	crew_join(&crew);
	assert_int_equal(takers.held, 2);
}

/* --- limits --------------------------------------------------------------------- */

/* Row 21. */
static void a_token_with_one_session_is_enough(void **state)
{
	struct ground *g = *state;
	struct signers signers = { .g = g };

	g->mock->session_limit(1);
	ground_open(g, "max-sessions", "16", "min-sessions", "2", NULL);
	assert_int_equal(ground_stats(g).limit, 1);
	struct crew crew = crew_start(4, sign_once, &signers);
	crew_join(&crew);
	assert_int_equal(signers.good, 4);
	assert_int_equal(ground_counters(g).sessions_peak, 1);
}

/* Row 21: 0 is effectively infinite, ~0 unavailable: neither is a limit. */
static void a_limit_that_says_nothing_is_no_limit(void **state)
{
	struct ground *g = *state;

	g->mock->report_limit(CK_EFFECTIVELY_INFINITE);
	ground_open(g, "max-sessions", "7", NULL);
	assert_int_equal(ground_stats(g).limit, 7);
	hsmpool_close(&g->pool);
	g->mock->report_limit(CK_UNAVAILABLE_INFORMATION);
	ground_open(g, NULL);
	assert_int_equal(ground_stats(g).limit, 7);
}

static void a_reported_limit_lowers_the_bound(void **state)
{
	struct ground *g = *state;

	g->mock->session_limit(3);
	ground_open(g, "max-sessions", "16", NULL);
	assert_int_equal(ground_stats(g).limit, 3);
}

/* L11: others use the token's sessions too. */
static void a_limit_is_learned_from_the_tokens_refusal(void **state)
{
	struct ground *g = *state;
	struct signers signers = { .g = g };

	g->mock->session_limit(3);
	g->mock->report_limit(CK_UNAVAILABLE_INFORMATION);
	ground_open(g, "max-sessions", "8", NULL);
	ground_script(g, "latency=C_Sign:2ms");
	for (int i = 0; i < 4; i++) {
		struct crew crew = crew_start(12, sign_once, &signers);
		crew_join(&crew);
	}
	assert_int_equal(signers.good, 48);
	assert_int_equal(ground_stats(g).limit, 3);
	assert_in_range(g->mock->calls("C_OpenSession"), 4, 5);
}

static void a_learned_limit_is_probed_upward(void **state)
{
	struct ground *g = *state;
	struct takers takers = { .g = g };

	g->mock->session_limit(2);
	g->mock->report_limit(CK_UNAVAILABLE_INFORMATION);
	ground_open(g, "max-sessions", "4", "revalidate-interval", "20ms", NULL);
	struct crew crew = crew_start(4, take_and_hold, &takers);
	eventually(takers.held == 2 && ground_stats(g).open_failures >= 1);
	g->mock->session_limit(10);
	eventually(takers.held == 4);
	assert_int_equal(ground_stats(g).limit, 4);
	atomic_store(&takers.let_go, true);
	crew_join(&crew);
}

/* --- kinds ---------------------------------------------------------------------- */

static CK_FLAGS flags_of(hsmpool_session *s)
{
	CK_FUNCTION_LIST *m = hsmpool_session_functions(s);
	CK_SESSION_INFO info = { 0 };

	assert_rv(m->C_GetSessionInfo(hsmpool_session_handle(s), &info), CKR_OK);
	return info.flags;
}

static void sessions_are_read_only_until_more_is_asked_for(void **state)
{
	struct ground *g = *state;
	hsmpool_session *rw = NULL;
	hsmpool_error err;

	ground_open(g, "max-sessions", "2", NULL);
	hsmpool_session *ro = ground_borrow(g);
	assert_false(flags_of(ro) & CKF_RW_SESSION);
	assert_ok(hsmpool_borrow(g->pool, &rw, HSMPOOL_BORROW_READ_WRITE, "test",
				 TEST_PATIENCE, &err),
		  &err);
	assert_true(flags_of(rw) & CKF_RW_SESSION);
	hsmpool_return(&rw, HSMPOOL_VERDICT_CLEAN);
	hsmpool_return(&ro, HSMPOOL_VERDICT_CLEAN);
	assert_true(ground_counters(g).sessions_peak <= 2);
}

static void read_write_sessions_can_be_the_rule(void **state)
{
	struct ground *g = *state;

	ground_open(g, "sessions", "read-write", NULL); /* L36 */
	hsmpool_session *s = ground_borrow(g);
	assert_true(flags_of(s) & CKF_RW_SESSION);
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
}

/* L31. */
static void a_module_that_cannot_lock_is_called_by_one_thread_at_a_time(void **state)
{
	struct ground *g = *state;
	struct signers signers = { .g = g };

	g->mock->cant_lock(true);
	ground_open(g, "max-sessions", "4", NULL);
	ground_script(g, "latency=C_Sign:200us");
	struct crew crew = crew_start(8, sign_once, &signers);
	crew_join(&crew);
	assert_int_equal(signers.good, 8);
	assert_int_equal(ground_counters(g).module_overlaps, 0);
}

static void an_absent_token_is_told_of_at_open(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	ground_set(g, "token", "pkcs11:token=elsewhere", NULL);
	assert_status(try_open_in_vain(g, &err), HSMPOOL_ERR_DOWN);
	assert_non_null(strstr(err.text, MOCK_TOKEN_LABEL)); /* what there is instead */
	assert_null(g->pool);
}

static void what_is_missing_is_told_and_no_crash(void **state)
{
	struct ground *g = *state;
	hsmpool_session *session = NULL;
	hsmpool_stats stats = { .size = sizeof(stats), .open = 99 };
	hsmpool_token_info info = { .size = sizeof(info) };

	ground_open(g, NULL);
	assert_status(hsmpool_borrow(NULL, &session, 0, NULL, 0, NULL),
		      HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_borrow(g->pool, NULL, 0, NULL, 0, NULL), HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_pause(NULL, 0, NULL), HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_get_token_info(NULL, &info, NULL), HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_get_token_info(g->pool, NULL, NULL), HSMPOOL_ERR_USAGE);
	info.size = 0;
	assert_status(hsmpool_get_token_info(g->pool, &info, NULL), HSMPOOL_ERR_USAGE);
	hsmpool_resume(NULL);
	hsmpool_validate(NULL);
	hsmpool_get_stats(g->pool, NULL);
	hsmpool_get_stats(NULL, &stats);
	assert_int_equal(stats.open, 0);
	assert_int_equal(hsmpool_session_handle(NULL), 0);
	assert_null(hsmpool_session_functions(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(open_logs_in_once_and_opens_min_sessions),
		GROUND_TEST(later_sessions_need_no_login),
		GROUND_TEST(without_a_pin_source_the_pool_stays_public),
		GROUND_TEST(a_wrong_pin_is_tried_once_and_refused_at_once),
		GROUND_TEST(a_pin_refused_for_another_reason_is_told_with_that),
		GROUND_TEST(a_locked_pin_is_told_with_who_can_help),
		GROUND_TEST(a_pin_refused_later_latches_the_pool),
		GROUND_TEST(the_last_pin_try_is_not_spent),
		GROUND_TEST(a_locked_pin_is_not_tried),
		GROUND_TEST(a_low_pin_counter_warns_and_logs_in),
		GROUND_TEST(an_unreadable_pin_is_an_auth_error_without_a_login),
		GROUND_TEST(many_threads_that_need_a_login_do_one),
		GROUND_TEST(a_login_by_another_user_of_the_module_is_adopted),
		GROUND_TEST(a_login_that_fails_in_passing_is_tried_again),
		GROUND_TEST(failing_logins_are_paced),
		GROUND_TEST(opening_that_fails_and_recovers_serves_every_waiter),
		GROUND_TEST(opening_that_always_fails_is_paced_and_told),
		GROUND_TEST(one_thread_opens_at_a_time),
		GROUND_TEST(a_slow_open_does_not_hold_up_who_could_be_served),
		GROUND_TEST(a_token_with_one_session_is_enough),
		GROUND_TEST(a_limit_that_says_nothing_is_no_limit),
		GROUND_TEST(a_reported_limit_lowers_the_bound),
		GROUND_TEST(a_limit_is_learned_from_the_tokens_refusal),
		GROUND_TEST(a_learned_limit_is_probed_upward),
		GROUND_TEST(sessions_are_read_only_until_more_is_asked_for),
		GROUND_TEST(read_write_sessions_can_be_the_rule),
		GROUND_TEST(a_module_that_cannot_lock_is_called_by_one_thread_at_a_time),
		GROUND_TEST(an_absent_token_is_told_of_at_open),
		GROUND_TEST(what_is_missing_is_told_and_no_crash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

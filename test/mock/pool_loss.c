/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is lost and found again: sessions, the login, the token; and sessions that come
 * back in a bad state. Each operation here may fail once, where it met the loss.
 */
#include "mock/pool_ground.h"

#include <stdio.h>
#include <string.h>

#define assert_rv(call, expected) assert_int_equal((call), (expected))

static unsigned failures_until_it_works(struct ground *g)
{
	unsigned failures = 0;

	while (ground_sign(g) != CKR_OK)
		if (++failures > 20)
			fail_msg("the pool does not recover");
	return failures;
}

/* Row 6. */
static void all_sessions_killed_while_idle_are_replaced_at_the_next_borrow(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", "4", "min-sessions", "4", NULL);
	g->mock->reboot(NULL);
	int64_t before = hp_now_ns();
	assert_in_range(failures_until_it_works(g), 0, 4);
	assert_true(hp_now_ns() - before < TEST_AT_ONCE_NS);
	for (int i = 0; i < 20; i++)
		assert_rv(ground_sign(g), CKR_OK);
	assert_int_equal(ground_counters(g).logins_tried, 2);
}

/* One death makes the others doubtful: they are looked at, not handed out one by one. */
static void one_dead_session_is_enough_to_find_the_others(void **state)
{
	struct ground *g = *state;
	hsmpool_session *s[8];

	ground_open(g, "max-sessions", "8", "min-sessions", "8", NULL);
	g->mock->reboot(NULL);
	assert_in_range(failures_until_it_works(g), 0, 1);
	for (int i = 0; i < 8; i++)
		s[i] = ground_borrow(g);
	for (int i = 0; i < 8; i++)
		assert_rv(ground_use(s[i]), CKR_OK);
	for (int i = 0; i < 8; i++)
		hsmpool_return(&s[i], HSMPOOL_VERDICT_CLEAN);
}

/* Row 19, L1, L2: whatever a module says of its dead sessions. */
static void recovers_from(struct ground *g, CK_RV rv)
{
	struct mock_reboot how = { .session_rv = rv };

	ground_open(g, "max-sessions", "4", "min-sessions", "2", NULL);
	g->mock->reboot(&how);
	if (failures_until_it_works(g) > 6)
		fail_msg("0x%lx: recovered late", rv);
	for (int i = 0; i < 10; i++)
		assert_rv(ground_sign(g), CKR_OK);
	hsmpool_close(&g->pool);
}

static void dead_sessions_are_dropped_whatever_code_tells_of_them(void **state)
{
	static const CK_RV codes[] = {
		CKR_SESSION_HANDLE_INVALID,
		CKR_SESSION_CLOSED,
		CKR_DEVICE_ERROR,
		CKR_DEVICE_REMOVED,
		CKR_TOKEN_NOT_PRESENT,
		CKR_GENERAL_ERROR,
		CKR_FUNCTION_FAILED,
		CKR_OPERATION_NOT_INITIALIZED,
		0x80000042, /* a vendor's own */
	};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		recovers_from(*state, codes[i]);
}

struct load {
	struct ground *g;
	atomic_uint served, failed, refused;
	atomic_bool stop;
};

static void *operate_until_told(void *argument)
{
	struct load *load = argument;
	hsmpool_error err;
	CK_RV rv;

	while (!atomic_load(&load->stop)) {
		hsmpool_status status =
			ground_operate(load->g->pool, TEST_PATIENCE_MS, &rv, &err);
		atomic_fetch_add(status != HSMPOOL_OK ? &load->refused
				 : rv != CKR_OK       ? &load->failed
						      : &load->served,
				 1);
	}
	return NULL;
}

/* Row 19: under load a restart costs what was in flight, and no borrow is refused. */
static void a_reboot_under_load_costs_what_was_in_flight(void **state)
{
	struct ground *g = *state;
	struct load load = { .g = g };

	ground_open(g, "max-sessions", "4", "min-sessions", "4", NULL);
	ground_script(g, "latency=C_GenerateRandom:500us");
	struct crew crew = crew_start(8, operate_until_told, &load);
	for (int i = 1; i <= 5; i++) {
		unsigned served = load.served;
		eventually(load.served > served + 20);
		g->mock->reboot(NULL);
	}
	unsigned served = load.served;
	eventually(load.served > served + 50);
	atomic_store(&load.stop, true);
	crew_join(&crew);
	assert_int_equal(load.refused, 0);
	assert_in_range(load.failed, 1, 5 * 8);
	assert_true(ground_counters(g).sessions_peak <= 4);
	assert_true(ground_counters(g).logins_tried <= 6);
}

/* --- login ----------------------------------------------------------------------- */

static void a_logout_by_someone_else_is_noticed_and_mended(void **state)
{
	struct ground *g = *state;
	uint64_t generation;

	ground_open(g, "max-sessions", "4", NULL); /* L14 */
	assert_rv(ground_sign(g), CKR_OK);
	generation = ground_stats(g).generation;
	g->mock->logged_out_rv(CKR_USER_NOT_LOGGED_IN);
	g->mock->log_out();
	assert_in_range(failures_until_it_works(g), 0, 1);
	assert_true(ground_stats(g).generation > generation);
	assert_int_equal(ground_counters(g).logins_tried, 2);
	assert_int_equal(ground_stats(g).closed_broken, 0);
}

/* SoftHSM2's way: handles are invalid, nobody says "logged out". */
/* They died with the login: that is no reason to wait before the next try. */
static void dead_sessions_that_cannot_log_in_do_not_delay_the_login(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", "64", "min-sessions", "64", NULL);
	g->mock->log_out();
	ground_script(g, "fail=C_Login:1+63:CKR_SESSION_HANDLE_INVALID");
	int64_t before = hp_now_ns();
	assert_in_range(failures_until_it_works(g), 0, 1);
	/* Backoffs would take at least 14.9 s. */
	assert_true(hp_now_ns() - before < 10 * HP_SECOND);
	assert_int_equal(g->mock->calls("C_Login"), 65);
}

static void a_logout_that_shows_as_a_dead_handle_is_mended(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", "4", NULL);
	assert_rv(ground_sign(g), CKR_OK);
	g->mock->log_out();
	assert_in_range(failures_until_it_works(g), 0, 1);
	assert_int_equal(ground_counters(g).logins_tried, 2);
}

/* A key that wants its own login is no lost login: no storm of generations. */
static void user_not_logged_in_with_the_login_in_place_is_the_callers(void **state)
{
	struct ground *g = *state;
	CK_RV rv;
	hsmpool_error err;

	ground_open(g, NULL);
	uint64_t generation = ground_stats(g).generation;
	ground_script(g, "fail=C_GenerateRandom:1:CKR_USER_NOT_LOGGED_IN");
	assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
	assert_rv(rv, CKR_USER_NOT_LOGGED_IN);
	assert_int_equal(ground_stats(g).generation, generation);
	assert_int_equal(ground_counters(g).logins_tried, 1);
}

/* --- the token -------------------------------------------------------------------- */

static void an_absent_token_is_down_and_comes_back(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv = CKR_OK;

	ground_open(g, "max-sessions", "4", NULL);
	g->mock->token_absent(MOCK_FOREVER);
	ground_operate(g->pool, 500, &rv, &err);
	hsmpool_status status = ground_operate(g->pool, 500, &rv, &err);
	assert_status(status, HSMPOOL_ERR_DOWN);
	g->mock->token_present();
	eventually(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err) == HSMPOOL_OK &&
		   rv == CKR_OK);
	assert_rv(ground_sign(g), CKR_OK);
}

static void the_token_is_found_in_another_slot(void **state)
{
	struct ground *g = *state;
	struct mock_reboot how = { .session_rv = CKR_DEVICE_REMOVED, .move_slot = true };
	hsmpool_token_info before = { .size = sizeof(before) };
	hsmpool_token_info after = { .size = sizeof(after) };
	hsmpool_error err;

	ground_open(g, "max-sessions", "2", NULL); /* L33 */
	assert_ok(hsmpool_get_token_info(g->pool, &before, &err), &err);
	g->mock->reboot(&how);
	assert_in_range(failures_until_it_works(g), 0, 4);
	assert_ok(hsmpool_get_token_info(g->pool, &after, &err), &err);
	assert_int_not_equal(after.slot_id, before.slot_id);
	assert_string_equal(after.serial, before.serial);
}

/* The slot moved but the sessions only said that they are invalid. */
static void the_token_is_found_in_another_slot_after_plain_dead_sessions(void **state)
{
	struct ground *g = *state;
	struct mock_reboot how = { .move_slot = true };

	ground_open(g, "max-sessions", "2", NULL);
	g->mock->reboot(&how);
	assert_in_range(failures_until_it_works(g), 0, 4);
}

static void a_dead_module_fails_in_time_and_closes(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv;

	ground_open(g, "max-sessions", "2", "module-restart", "no", NULL);
	g->mock->kill_module(CKR_DEVICE_ERROR);
	int64_t before = hp_now_ns();
	for (int i = 0; i < 3; i++)
		if (ground_operate(g->pool, 300, &rv, &err) == HSMPOOL_OK)
			assert_int_not_equal(rv, CKR_OK);
	assert_true(hp_now_ns() - before < TEST_AT_ONCE_NS);
	hsmpool_close(&g->pool);
	g->is_uneven = true; /* a dead module closes nothing */
}

/* --- sessions in a bad state ---------------------------------------------------------
 */

static CK_RV begin_signing(struct hp_session *session)
{
	CK_MECHANISM ecdsa = { CKM_ECDSA, NULL, 0 };
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_LABEL, (void *)(uintptr_t) "ec", 2 },
	};
	CK_OBJECT_HANDLE key = 0;
	CK_ULONG count = 0;
	CK_RV rv = hp_find_objects(session, template, 2, &key, 1, &count);

	return rv == CKR_OK ? hp_sign_init(session, &ecdsa, key) : rv;
}

/* A sign operation is not finished for its owner: keys may count. */
static void an_operation_left_active_does_not_reach_the_next_borrower(void **state)
{
	struct ground *g = *state;
	struct hp_session *session;
	hsmpool_error err;

	ground_open(g, "max-sessions", "1", NULL); /* L23 */
	assert_ok(hp_pool_borrow(g->pool, HP_WANT_ANY, "test", TEST_PATIENCE, &session,
				 &err),
		  &err);
	g->mock->latency("C_InitToken", 1); /* signatures are counted from now on */
	assert_rv(begin_signing(session), CKR_OK);
	hp_pool_return(session, CKR_OK);
	assert_int_equal(ground_counters(g).signatures, 0);
	assert_rv(ground_sign(g), CKR_OK);
}

/* L23: a failed operation may still be active on a sloppy HSM. */
static void a_raw_borrower_gets_no_session_whose_last_operation_failed(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", "1", NULL);
	ground_script(g, "fail=C_Sign:1:CKR_DATA_LEN_RANGE:leave-active");
	assert_rv(ground_sign(g), CKR_DATA_LEN_RANGE);
	hsmpool_session *raw = ground_borrow(g);
	CK_FUNCTION_LIST *m = hsmpool_session_functions(raw);
	CK_SESSION_HANDLE handle = hsmpool_session_handle(raw);
	CK_MECHANISM hmac = { CKM_SHA256_HMAC, NULL, 0 };
	CK_ATTRIBUTE label = { CKA_LABEL, (void *)(uintptr_t) "hmac", 4 };
	CK_OBJECT_HANDLE key = 0;
	CK_ULONG count = 0, len = 32;
	CK_BYTE mac[32];

	assert_rv(m->C_FindObjectsInit(handle, &label, 1), CKR_OK);
	assert_rv(m->C_FindObjects(handle, &key, 1, &count), CKR_OK);
	assert_rv(m->C_FindObjectsFinal(handle), CKR_OK);
	assert_rv(m->C_SignInit(handle, &hmac, key), CKR_OK);
	assert_rv(m->C_Sign(handle, mac, 5, mac, &len), CKR_OK);
	hsmpool_return(&raw, HSMPOOL_VERDICT_CLEAN);
}

static void a_callers_mistake_costs_no_session(void **state)
{
	static const char *const mistakes[] = {
		"CKR_DATA_INVALID",          "CKR_KEY_TYPE_INCONSISTENT",
		"CKR_MECHANISM_INVALID",     "CKR_SIGNATURE_INVALID",
		"CKR_TEMPLATE_INCONSISTENT",
	};
	struct ground *g = *state;
	CK_RV rv;
	hsmpool_error err;
	char script[100];

	ground_open(g, "max-sessions", "2", NULL);
	uint64_t generation = ground_stats(g).generation;
	for (size_t i = 0; i < 5; i++) {
		snprintf(script, sizeof(script), "fail=C_GenerateRandom:1:%s",
			 strcmp(mistakes[i], "CKR_TEMPLATE_INCONSISTENT") == 0
				 ? "0xd1"
				 : mistakes[i]);
		ground_script(g, script);
		assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
		assert_int_not_equal(rv, CKR_OK);
	}
	assert_int_equal(ground_counters(g).sessions_opened, 1);
	assert_int_equal(ground_stats(g).generation, generation);
	assert_int_equal(ground_stats(g).last_error, 0);
}

/* L16: SoftHSM2 says GENERAL_ERROR to a bad tag; it must cost nothing but a probe. */
static void an_ambiguous_error_on_a_healthy_session_costs_no_session(void **state)
{
	struct ground *g = *state;
	CK_RV rv;
	hsmpool_error err;

	ground_open(g, "max-sessions", "2", NULL);
	uint64_t generation = ground_stats(g).generation;
	for (int i = 0; i < 5; i++) {
		ground_script(g, "fail=C_GenerateRandom:1:CKR_GENERAL_ERROR");
		assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
		assert_rv(rv, CKR_GENERAL_ERROR);
	}
	assert_int_equal(ground_counters(g).sessions_opened, 1);
	assert_int_equal(ground_stats(g).generation, generation);
}

static void a_reset_verdict_closes_and_replaces(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", "1", NULL);
	hsmpool_session *s = ground_borrow(g);
	unsigned long before = hsmpool_session_handle(s);
	hsmpool_return(&s, HSMPOOL_VERDICT_RESET);
	s = ground_borrow(g);
	assert_int_not_equal(hsmpool_session_handle(s), before);
	assert_rv(ground_use(s), CKR_OK);
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
	assert_int_equal(ground_stats(g).closed_broken, 1);
	assert_int_equal(ground_counters(g).sessions_peak, 1);
}

static void verdicts_follow_the_table_of_return_values(void **state)
{
	(void)state;
	assert_int_equal(hsmpool_verdict_of(CKR_OK), HSMPOOL_VERDICT_CLEAN);
	assert_int_equal(hsmpool_verdict_of(CKR_DATA_INVALID), HSMPOOL_VERDICT_CLEAN);
	assert_int_equal(hsmpool_verdict_of(CKR_OPERATION_ACTIVE), HSMPOOL_VERDICT_RESET);
	assert_int_equal(hsmpool_verdict_of(CKR_DEVICE_ERROR), HSMPOOL_VERDICT_RESET);
	assert_int_equal(hsmpool_verdict_of(CKR_SESSION_HANDLE_INVALID),
			 HSMPOOL_VERDICT_DEAD);
	assert_int_equal(hsmpool_verdict_of(CKR_BUFFER_TOO_SMALL), HSMPOOL_VERDICT_RESET);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(
			all_sessions_killed_while_idle_are_replaced_at_the_next_borrow),
		GROUND_TEST(one_dead_session_is_enough_to_find_the_others),
		GROUND_TEST(dead_sessions_are_dropped_whatever_code_tells_of_them),
		GROUND_TEST(a_reboot_under_load_costs_what_was_in_flight),
		GROUND_TEST(a_logout_by_someone_else_is_noticed_and_mended),
		GROUND_TEST(dead_sessions_that_cannot_log_in_do_not_delay_the_login),
		GROUND_TEST(a_logout_that_shows_as_a_dead_handle_is_mended),
		GROUND_TEST(user_not_logged_in_with_the_login_in_place_is_the_callers),
		GROUND_TEST(an_absent_token_is_down_and_comes_back),
		GROUND_TEST(the_token_is_found_in_another_slot),
		GROUND_TEST(the_token_is_found_in_another_slot_after_plain_dead_sessions),
		GROUND_TEST(a_dead_module_fails_in_time_and_closes),
		GROUND_TEST(an_operation_left_active_does_not_reach_the_next_borrower),
		GROUND_TEST(a_raw_borrower_gets_no_session_whose_last_operation_failed),
		GROUND_TEST(a_callers_mistake_costs_no_session),
		GROUND_TEST(an_ambiguous_error_on_a_healthy_session_costs_no_session),
		GROUND_TEST(a_reset_verdict_closes_and_replaces),
		GROUND_TEST(verdicts_follow_the_table_of_return_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fault matrix (row 24): every class of return value, at every function that the
 * pool calls, before and after execution. Whatever happens meanwhile: afterwards the
 * pool works again, its counts are right, and every session it opened is closed.
 */
#include "mock/pool_ground.h"

#include <stdio.h>
#include <string.h>

/* One of each class, some of two. */
static const CK_RV codes[] = {
	CKR_ARGUMENTS_BAD,
	CKR_OPERATION_ACTIVE,
	CKR_OBJECT_HANDLE_INVALID,
	CKR_KEY_HANDLE_INVALID,
	CKR_SESSION_HANDLE_INVALID,
	CKR_SESSION_CLOSED,
	CKR_USER_NOT_LOGGED_IN,
	CKR_USER_ALREADY_LOGGED_IN,
	CKR_SESSION_COUNT,
	CKR_HOST_MEMORY,
	CKR_TOKEN_NOT_PRESENT,
	CKR_DEVICE_REMOVED,
	CKR_DEVICE_ERROR,
	CKR_GENERAL_ERROR,
	CKR_FUNCTION_FAILED,
	CKR_CRYPTOKI_NOT_INITIALIZED,
	0x80000042,
};

/* Try everything once that a pool does; what it answers does not matter here. */
static void exercise(struct ground *g)
{
	hsmpool_session *s[2] = { NULL, NULL };
	hsmpool_error err;
	struct hp_session *session;
	CK_RV rv;

	g->mock->log_out();
	for (int i = 0; i < 2; i++) {
		if (hp_pool_borrow(g->pool, HP_WANT_ANY, "faults",
				   hsmpool_deadline_in(60), &session,
				   &err) == HSMPOOL_OK) {
			CK_BYTE byte;
			hp_pool_return(session, hp_generate_random(session, &byte, 1));
		}
		ground_operate(g->pool, 60, &rv, &err);
	}
	for (int i = 0; i < 2; i++)
		if (ground_try_borrow(g, 60, &s[i], &err) == HSMPOOL_OK)
			ground_use(s[i]);
	hsmpool_return(&s[0], HSMPOOL_VERDICT_RESET);
	hsmpool_return(&s[1], HSMPOOL_VERDICT_CLEAN);
}

static bool signs(struct ground *g)
{
	struct hp_session *session;
	hsmpool_error err;

	if (hp_pool_borrow(g->pool, HP_WANT_ANY, "signs", hsmpool_deadline_in(300),
			   &session, &err) != HSMPOOL_OK)
		return false;
	hp_pool_return(session, CKR_OK);
	return ground_sign(g) == CKR_OK;
}

static void check_rest(struct ground *g, const char *what)
{
	int64_t until = hp_now_ns() + 5 * HP_SECOND;
	char why[128] = "";

	while (!signs(g))
		if (hp_now_ns() > until)
			fail_msg("%s: the pool does not work again", what);
	hsmpool_stats stats = ground_stats(g);
	if (stats.idle != stats.open || stats.used != 0 || stats.peak > 2)
		fail_msg("%s: idle %u of %u, used %u, peak %u", what, stats.idle,
			 stats.open, stats.used, stats.peak);
	if (stats.returned != stats.borrowed_direct + stats.borrowed_waited)
		fail_msg("%s: borrowed and returned differ", what);
	hsmpool_close(&g->pool);
	if (!g->mock->check_balance(why, sizeof(why)))
		fail_msg("%s: %s", what, why);
}

static void inject(struct ground *g, const char *function, CK_RV rv, bool after)
{
	struct mock_failure failure = {
		.function = function, .rv = rv, .count = 2, .after = after
	};
	char what[100];

	snprintf(what, sizeof(what), "%s answers 0x%lx %s", function, rv,
		 after ? "having done it" : "undone");
	g->mock->reset();
	g->mock->pin(FIXTURE_USER_PIN);
	ground_open(g, "max-sessions", "2", "validate-after", "0", NULL);
	(g->mock->fail)(&failure);
	exercise(g);
	g->mock->clear_failures();
	check_rest(g, what);
}

static void try_all_codes(struct ground *g, const char *function, bool can_after)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		inject(g, function, codes[i], false);
		if (can_after)
			inject(g, function, codes[i], true);
	}
}

static void failures_of_operations_leave_the_pool_whole(void **state)
{
	try_all_codes(*state, "C_GenerateRandom", true);
}

static void failures_of_session_info_leave_the_pool_whole(void **state)
{
	try_all_codes(*state, "C_GetSessionInfo", true);
}

static void failures_of_token_info_leave_the_pool_whole(void **state)
{
	try_all_codes(*state, "C_GetTokenInfo", true);
}

static void failures_of_the_slot_list_leave_the_pool_whole(void **state)
{
	try_all_codes(*state, "C_GetSlotList", true);
}

/* Not "after": a session that the module opened without telling is nobody's. */
static void failures_to_open_leave_the_pool_whole(void **state)
{
	try_all_codes(*state, "C_OpenSession", false);
}

static void failures_to_log_in_leave_the_pool_whole(void **state)
{
	try_all_codes(*state, "C_Login", true);
}

/* Not "undone": that session stays open on the token whatever the pool does. */
static void failures_to_close_leave_the_pool_whole(void **state)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		inject(*state, "C_CloseSession", codes[i], true);
}

/* Everything fails now and then, for a while. */
static void a_shower_of_failures_leaves_the_pool_whole(void **state)
{
	struct ground *g = *state;

	for (uint64_t seed = 1; seed <= 5; seed++) {
		g->mock->reset();
		g->mock->pin(FIXTURE_USER_PIN);
		ground_open(g, "max-sessions", "2", "validate-after", "0",
			    "revalidate-interval", "5ms", "idle-timeout", "5ms", NULL);
		g->mock->seed(seed);
		ground_script(g, "fail=C_GenerateRandom:p0.1:CKR_DEVICE_ERROR;"
				 "fail=C_GetSessionInfo:p0.1:CKR_SESSION_HANDLE_INVALID;"
				 "fail=C_GetTokenInfo:p0.1:CKR_TOKEN_NOT_PRESENT;"
				 "fail=C_Login:p0.1:CKR_FUNCTION_FAILED;"
				 "fail=C_OpenSession:p0.1:CKR_SESSION_COUNT");
		for (int i = 0; i < 10; i++)
			exercise(g);
		g->mock->clear_failures();
		eventually(ground_stats(g).idle == ground_stats(g).open &&
			   ground_stats(g).opening == 0);
		while (!signs(g))
			ground_nap();
		hsmpool_close(&g->pool);
		assert_true(ground_counters(g).sessions_peak <= 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(failures_of_operations_leave_the_pool_whole),
		GROUND_TEST(failures_of_session_info_leave_the_pool_whole),
		GROUND_TEST(failures_of_token_info_leave_the_pool_whole),
		GROUND_TEST(failures_of_the_slot_list_leave_the_pool_whole),
		GROUND_TEST(failures_to_open_leave_the_pool_whole),
		GROUND_TEST(failures_to_log_in_leave_the_pool_whole),
		GROUND_TEST(failures_to_close_leave_the_pool_whole),
		GROUND_TEST(a_shower_of_failures_leaves_the_pool_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

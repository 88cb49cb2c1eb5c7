/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shower of failures: everything fails now and then, and the pool is whole afterwards.
 * What each single failure does is in fault_matrix.c.
 */
#include "mock/pool_ground.h"

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
		eventually(ground_sign(g) == CKR_OK);
		hsmpool_stats stats = ground_stats(g);
		assert_int_equal(stats.returned,
				 stats.borrowed_direct + stats.borrowed_waited);
		hsmpool_close(&g->pool);
		assert_true(ground_counters(g).sessions_peak <= 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(a_shower_of_failures_leaves_the_pool_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

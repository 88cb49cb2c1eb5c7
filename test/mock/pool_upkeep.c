/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens in the background: revalidation, refill, retirement, warnings; and that
 * none of it costs a borrower anything in the steady state.
 */
#include "mock/pool_ground.h"
#include "pool/internal.h"
#include "support/sanitizers.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define assert_rv(call, expected) assert_int_equal((call), (expected))

static void borrow_many(struct ground *g, hsmpool_session **s, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		s[i] = ground_borrow(g);
}

static void return_all(hsmpool_session **s, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		hsmpool_return(&s[i], HSMPOOL_VERDICT_CLEAN);
}

/* --- going ----------------------------------------------------------------------- */

static void idle_sessions_go_until_min_sessions_are_left(void **state)
{
	struct ground *g = *state;
	hsmpool_session *s[6];

	ground_open(g, "max-sessions", "6", "min-sessions", "2", "idle-timeout", "30ms",
		    NULL);
	borrow_many(g, s, 6);
	return_all(s, 6);
	eventually(ground_counters(g).sessions_now == 2);
	hsmpool_stats stats = ground_stats(g); /* upkeep may have opened one more */
	assert_true(stats.closed_idle >= 4);
	assert_int_equal(stats.closed_idle, stats.opened - 2);
	for (int i = 0; i < 60; i++)
		ground_nap();
	assert_int_equal(ground_counters(g).sessions_now, 2);
}

/* Row 18, L12: the last session out would log everyone out. */
static void the_anchor_keeps_login_and_handles_when_all_others_go(void **state)
{
	struct ground *g = *state;
	hsmpool_session *s[4];

	ground_open(g, "max-sessions", "4", "min-sessions", "0", "idle-timeout", "30ms",
		    NULL);
	borrow_many(g, s, 4);
	return_all(s, 4);
	eventually(ground_counters(g).sessions_now == 1);
	for (int i = 0; i < 60; i++)
		ground_nap();
	assert_int_equal(ground_counters(g).sessions_now, 1);
	assert_rv(ground_sign(g), CKR_OK);
	assert_int_equal(g->mock->calls("C_Login"), 1);
	assert_int_equal(ground_counters(g).dead_handles, 0);
}

/* Row 9: spikes farther apart than idle-timeout. */
static void spikes_are_served_although_sessions_go_in_between(void **state)
{
	struct ground *g = *state;
	hsmpool_session *s[6];

	ground_open(g, "max-sessions", "6", "min-sessions", "2", "idle-timeout", "20ms",
		    NULL);
	for (int spike = 0; spike < 3; spike++) {
		borrow_many(g, s, 6);
		return_all(s, 6);
		eventually(ground_stats(g).open == 2);
	}
	assert_int_equal(ground_counters(g).sessions_peak, 6);
	assert_int_equal(g->mock->calls("C_Login"), 1);
}

static void upkeep_at(struct ground *g, int64_t now)
{
	for (struct hsmpool_session *next, *e = hp_upkeep_decide(g->pool, now); e;
	     e = next) {
		next = e->next_job;
		hp_upkeep_do(e);
	}
}

/* Row 10, L35: opened at once, they must not expire at once. Upkeep is done by hand, at
 * moments of a day when all are past their lifetime. */
static void lifetimes_end_one_after_the_other_and_not_the_anchors(void **state)
{
	struct ground *g = *state;
	hsmpool_session *s[8];

	ground_open(g, "max-sessions", "8", "min-sessions", "0", "max-lifetime", "1h",
		    "keeper", "no", NULL);
	borrow_many(g, s, 8);
	return_all(s, 8);
	int64_t now = hp_now_ns() + 24 * 3600 * HP_SECOND;
	for (unsigned closed = 1; closed <= 7; closed++) {
		upkeep_at(g, now);
		upkeep_at(g, now + 60 * HP_SECOND); /* too soon for the next one */
		assert_int_equal(ground_stats(g).closed_lifetime, closed);
		now += 3600 * HP_SECOND / (4 * 8);
	}
	upkeep_at(g, now);
	assert_int_equal(ground_stats(g).closed_lifetime, 7);
	assert_int_equal(ground_counters(g).sessions_now, 1);
}

static void a_lent_session_is_not_retired_before_it_is_back(void **state)
{
	struct ground *g = *state;
	hsmpool_session *s[2];

	ground_open(g, "max-sessions", "2", "min-sessions", "0", "max-lifetime", "20ms",
		    NULL);
	borrow_many(g, s, 2);
	for (int i = 0; i < 80; i++)
		ground_nap();
	assert_rv(ground_use(s[0]), CKR_OK);
	assert_rv(ground_use(s[1]), CKR_OK);
	assert_int_equal(ground_counters(g).sessions_now, 2);
	return_all(s, 2);
	eventually(ground_counters(g).sessions_now == 1);
}

/* --- coming ---------------------------------------------------------------------- */

static void the_pool_is_refilled_to_min_sessions(void **state)
{
	struct ground *g = *state;
	hsmpool_session *s[3];

	ground_open(g, "max-sessions", "6", "min-sessions", "3", "revalidate-interval",
		    "20ms", NULL);
	borrow_many(g, s, 3);
	for (int i = 0; i < 3; i++)
		hsmpool_return(&s[i], HSMPOOL_VERDICT_RESET);
	eventually(ground_counters(g).sessions_now == 3 && ground_stats(g).idle == 3);
	assert_rv(ground_sign(g), CKR_OK);
}

/* --- looking --------------------------------------------------------------------- */

/* The issue of every competitor: a health check on the way of each operation. */
static void in_the_steady_state_only_the_operation_is_called(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv;

	ground_open(g, "validate-after", "1h", NULL); /* L8 */
	assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
	uint64_t before = ground_counters(g).calls;
	for (int i = 0; i < 100; i++)
		assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
	assert_int_equal(ground_counters(g).calls - before, 100);
}

static void a_session_idle_for_long_is_looked_at_before_it_is_lent(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv;

	ground_open(g, "validate-after", "0", NULL);
	uint64_t before = g->mock->calls("C_GetSessionInfo");
	for (int i = 0; i < 10; i++)
		assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
	assert_int_equal(g->mock->calls("C_GetSessionInfo") - before, 10);
	assert_true(ground_stats(g).validated >= 10);
}

static void a_dead_session_is_replaced_before_it_is_lent(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv;

	ground_open(g, "max-sessions", "3", "min-sessions", "3", "validate-after", "0",
		    NULL);
	g->mock->reboot(NULL);
	for (int i = 0; i < 10; i++) {
		assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
		assert_rv(rv, CKR_OK);
	}
	assert_rv(ground_sign(g), CKR_OK);
	assert_true(ground_stats(g).validation_failures >= 1);
}

static void probe_calls(struct ground *g, const char *probe, const char *function)
{
	ground_open(g, "min-sessions", "2", "revalidate-interval", "20ms", "probe", probe,
		    NULL);
	uint64_t before = g->mock->calls(function);
	uint64_t validated = ground_stats(g).validated;
	eventually(g->mock->calls(function) >= before + 4);
	eventually(ground_stats(g).validated >= validated + 4);
	assert_int_equal(ground_stats(g).validation_failures, 0);
	assert_int_equal(ground_counters(g).sessions_now, 2);
}

static void idle_sessions_are_probed_by_session_info(void **state)
{
	probe_calls(*state, "session-info", "C_GetSessionInfo");
}

static void idle_sessions_are_probed_by_token_info(void **state)
{
	probe_calls(*state, "token-info", "C_GetTokenInfo");
}

static void idle_sessions_are_probed_by_random_bytes(void **state)
{
	probe_calls(*state, "random", "C_GenerateRandom");
}

static void idle_sessions_are_probed_by_a_real_operation(void **state)
{
	probe_calls(*state, "canary:pkcs11:object=ec;type=private", "C_Sign");
}

/* L7: the module's memory says fine, the token knows nothing of it. */
static void a_deep_probe_finds_what_session_info_hides(void **state)
{
	struct ground *g = *state;

	g->mock->local_session_info(true);
	ground_open(g, "min-sessions", "2", "revalidate-interval", "20ms", "probe",
		    "random", NULL);
	uint64_t opened = ground_stats(g).opened;
	g->mock->reboot(NULL);
	eventually(ground_stats(g).validation_failures > 0);
	eventually(ground_stats(g).opened >= opened + 2);
	eventually(ground_counters(g).sessions_now == 2);
	g->mock->local_session_info(false);
	eventually(ground_sign(g) == CKR_OK);
}

/* The keeper's purpose: no borrower meets a session that died while idle. */
static void sessions_that_died_idle_are_replaced_before_anyone_asks(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", "4", "min-sessions", "4", "revalidate-interval",
		    "20ms", NULL);
	uint64_t opened = ground_counters(g).sessions_opened;
	g->mock->reboot(NULL);
	eventually(ground_counters(g).sessions_opened >= opened + 4 &&
		   ground_counters(g).sessions_now == 4 && ground_stats(g).idle == 4);
	eventually(ground_counters(g).logins_tried == 2);
	for (int i = 0; i < 8; i++)
		assert_rv(ground_sign(g), CKR_OK);
	assert_int_equal(ground_counters(g).logins_tried, 2);
}

static void validate_probes_every_idle_session_at_once(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", "3", "min-sessions", "3", NULL);
	uint64_t before = ground_stats(g).validated;
	hsmpool_validate(g->pool);
	eventually(ground_stats(g).validated == before + 3);
	eventually(ground_stats(g).idle == 3);
}

static void a_probe_that_hangs_holds_up_no_borrower(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv;

	ground_open(g, "max-sessions", "3", "min-sessions", "2", NULL);
	ground_script(g, "hang=C_GetTokenInfo:1");
	hsmpool_validate(g->pool);
	eventually(g->mock->hung() == 1);
	assert_int_equal(ground_stats(g).testing, 1);
	for (int i = 0; i < 10; i++)
		assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
	g->mock->release();
	eventually(ground_stats(g).testing == 0);
}

/* --- warning --------------------------------------------------------------------- */

static void a_borrow_that_lasts_is_warned_of_with_its_tag(void **state)
{
	struct ground *g = *state;
	hsmpool_session *s = NULL;
	hsmpool_error err;
	char text[512] = "";

	ground_open(g, "leak-warn", "20ms", NULL);
	assert_ok(hsmpool_borrow(g->pool, &s, 0, "forgetful", TEST_PATIENCE, &err), &err);
	eventually(ground_logged("borrow-overdue", text, sizeof(text)) == 1);
	assert_non_null(strstr(text, "forgetful"));
	assert_int_equal(ground_stats(g).leaks_suspected, 1);
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
	eventually(ground_logged("borrow-returned", text, sizeof(text)) == 1);
	assert_non_null(strstr(text, "forgetful"));
}

/* --- without threads ---------------------------------------------------------------- */

static unsigned threads_now(void)
{
	unsigned count = 0;
	DIR *tasks = opendir("/proc/self/task");

	assert_non_null(tasks);
	for (struct dirent *entry; (entry = readdir(tasks)) != NULL;)
		count += entry->d_name[0] != '.';
	closedir(tasks);
	return count;
}

static void without_the_keeper_upkeep_happens_on_return(void **state)
{
	struct ground *g = *state;
	hsmpool_session *s[4];
	hsmpool_error err;
	CK_RV rv;
	unsigned before = threads_now();

	ground_open(g, "keeper", "no", "max-sessions", "4", "idle-timeout", "20ms",
		    NULL); /* L30 */
	assert_int_equal(threads_now(), before);
	borrow_many(g, s, 4);
	return_all(s, 4);
	eventually(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err) == HSMPOOL_OK &&
		   ground_counters(g).sessions_now <= 2);
}

static void the_background_threads_end_with_the_last_pool(void **state)
{
	struct ground *g = *state;
	unsigned before = threads_now();

	/* With the first of a program comes the sanitizer's own. */
	ground_open(g, NULL);
	assert_in_range(threads_now() - before, 2, 2 + HAS_THREAD_SANITIZER);
	hsmpool_close(&g->pool);
	eventually(threads_now() <= before + HAS_THREAD_SANITIZER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* First: they count threads, and those of a closed pool take a moment to
		   end. */
		GROUND_TEST(without_the_keeper_upkeep_happens_on_return),
		GROUND_TEST(the_background_threads_end_with_the_last_pool),
		GROUND_TEST(idle_sessions_go_until_min_sessions_are_left),
		GROUND_TEST(the_anchor_keeps_login_and_handles_when_all_others_go),
		GROUND_TEST(spikes_are_served_although_sessions_go_in_between),
		GROUND_TEST(lifetimes_end_one_after_the_other_and_not_the_anchors),
		GROUND_TEST(a_lent_session_is_not_retired_before_it_is_back),
		GROUND_TEST(the_pool_is_refilled_to_min_sessions),
		GROUND_TEST(in_the_steady_state_only_the_operation_is_called),
		GROUND_TEST(a_session_idle_for_long_is_looked_at_before_it_is_lent),
		GROUND_TEST(a_dead_session_is_replaced_before_it_is_lent),
		GROUND_TEST(idle_sessions_are_probed_by_session_info),
		GROUND_TEST(idle_sessions_are_probed_by_token_info),
		GROUND_TEST(idle_sessions_are_probed_by_random_bytes),
		GROUND_TEST(idle_sessions_are_probed_by_a_real_operation),
		GROUND_TEST(a_deep_probe_finds_what_session_info_hides),
		GROUND_TEST(sessions_that_died_idle_are_replaced_before_anyone_asks),
		GROUND_TEST(validate_probes_every_idle_session_at_once),
		GROUND_TEST(a_probe_that_hangs_holds_up_no_borrower),
		GROUND_TEST(a_borrow_that_lasts_is_warned_of_with_its_tag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

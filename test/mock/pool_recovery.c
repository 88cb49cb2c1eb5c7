/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The upper rungs of the ladder: a token that is away for long, and how soon it is used
 * again when it is back.
 */
#include "mock/direct.h"
#include "mock/pool_ground.h"
#include "pool/internal.h"

#include <signal.h>

#include <stdio.h>
#include <string.h>

/* Opens soon; tries the token often; the keeper looks often too. */
static void open_impatiently(struct ground *g)
{
	ground_open(g, "max-sessions", "4", "breaker-after", "1ms", "breaker-failures",
		    "2", "breaker-probe", "20ms", "breaker-probe-max", "40ms",
		    "stuck-after", "1s", "module-restart", "no", NULL);
}

static bool is_refused(struct ground *g, hsmpool_error *err)
{
	CK_RV rv;
	return ground_operate(g->pool, TEST_PATIENCE_MS, &rv, err) == HSMPOOL_ERR_DOWN;
}

/* L22. A caller who comes later hears at once what the last try heard. */
static void a_token_that_stays_away_is_reported_down_at_once_with_the_reason(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	char text[512];
	CK_RV rv;

	open_impatiently(g);
	g->mock->token_absent(MOCK_FOREVER);
	ground_operate(g->pool, 1, &rv, &err);
	eventually(ground_stats(g).breaker != HSMPOOL_BREAKER_CLOSED);
	int64_t before = hp_now_ns();
	assert_true(is_refused(g, &err));
	assert_true(hp_now_ns() - before < TEST_AT_ONCE_NS); /* of the minute it had */
	assert_non_null(strstr(err.text, "the token is gone"));
	assert_int_not_equal(err.ck_rv, CKR_OK);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_NO);
	assert_int_equal(ground_stats(g).breaker_opened, 1);
	eventually(ground_logged("breaker-open", text, sizeof(text)) == 1);
}

static void a_token_that_is_back_is_found_by_the_probe_and_used_at_once(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv;

	open_impatiently(g);
	g->mock->token_absent(MOCK_FOREVER);
	ground_operate(g->pool, 1, &rv, &err);
	eventually(ground_stats(g).breaker != HSMPOOL_BREAKER_CLOSED);
	assert_true(is_refused(g, &err));
	g->mock->token_present();
	/* Without any caller asking. */
	eventually(ground_stats(g).breaker == HSMPOOL_BREAKER_CLOSED);
	assert_rv(ground_sign(g), CKR_OK);
	eventually(ground_logged("breaker-closed", NULL, 0) == 1);
}

struct patient {
	struct ground *g;
	atomic_uint served, refused;
};

static void *operate_patiently(void *argument)
{
	struct patient *patient = argument;
	hsmpool_error err;
	CK_RV rv;
	hsmpool_status status =
		ground_operate(patient->g->pool, TEST_PATIENCE_MS, &rv, &err);

	atomic_fetch_add(status == HSMPOOL_OK ? &patient->served : &patient->refused, 1);
	return NULL;
}

/* They asked when there was hope, and their deadlines are theirs to choose. */
static void who_waits_when_the_breaker_opens_waits_on(void **state)
{
	struct ground *g = *state;
	struct patient patient = { .g = g };
	hsmpool_error err;

	open_impatiently(g);
	hsmpool_session *only[4];
	for (int i = 0; i < 4; i++)
		only[i] = ground_borrow(g);
	struct crew crew = crew_start(4, operate_patiently, &patient);
	eventually(ground_stats(g).waiters == 4);
	g->mock->token_absent(MOCK_FOREVER);
	for (int i = 0; i < 4; i++)
		hsmpool_return(&only[i], HSMPOOL_VERDICT_DEAD);
	eventually(ground_stats(g).breaker != HSMPOOL_BREAKER_CLOSED);
	assert_true(is_refused(g, &err));
	eventually(ground_stats(g).waiters == 4);
	g->mock->token_present();
	crew_join(&crew);
	assert_int_equal(patient.served, 4);
	assert_int_equal(patient.refused, 0);
}

static void without_background_threads_a_borrower_whose_turn_it_is_tries(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv;

	ground_set(g, "keeper", "no", NULL);
	open_impatiently(g);
	g->mock->token_absent(MOCK_FOREVER);
	eventually(ground_operate(g->pool, 1, &rv, &err) == HSMPOOL_ERR_DOWN &&
		   ground_stats(g).breaker == HSMPOOL_BREAKER_OPEN);
	g->mock->token_present();
	eventually(ground_operate(g->pool, 0, &rv, &err) == HSMPOOL_OK && rv == CKR_OK);
	assert_int_equal(ground_stats(g).breaker, HSMPOOL_BREAKER_CLOSED);
}

static void what_callers_do_wrong_never_opens_the_breaker(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv;

	open_impatiently(g);
	ground_script(g, "fail=C_GenerateRandom:1+:CKR_DATA_INVALID");
	for (int i = 0; i < 50; i++)
		assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
	assert_int_equal(ground_stats(g).breaker_opened, 0);
}

static void with_breaker_after_0_everyone_waits_until_its_deadline(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv;

	ground_open(g, "breaker-after", "0", "breaker-failures", "1", "module-restart",
		    "no", NULL);
	g->mock->token_absent(MOCK_FOREVER);
	ground_operate(g->pool, 1, &rv, &err);
	eventually(ground_stats(g).open_failures > 3);
	assert_int_equal(ground_stats(g).breaker, HSMPOOL_BREAKER_CLOSED);
}

/* --- the module ------------------------------------------------------------------------
 */

static bool works_again(struct ground *g)
{
	hsmpool_error err;
	CK_RV rv;
	return ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err) == HSMPOOL_OK &&
	       rv == CKR_OK;
}

/* L3, whatever a module says when it is dead. */
static void a_module_that_is_dead_until_c_finalize_is_restarted(void **state)
{
	static const CK_RV codes[] = {
		CKR_CRYPTOKI_NOT_INITIALIZED, CKR_DEVICE_ERROR,      CKR_GENERAL_ERROR,
		CKR_FUNCTION_FAILED,          CKR_TOKEN_NOT_PRESENT, 0x80000042
	};
	struct ground *g = *state;

	g->is_uneven = true; /* a dead module closes nothing */
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		ground_open(g, "max-sessions", "4", "min-sessions", "2", NULL);
		g->mock->kill_module(codes[i]);
		eventually(works_again(g));
		assert_int_equal(ground_stats(g).module_restarts, 1);
		assert_rv(ground_sign(g), CKR_OK);
		hsmpool_close(&g->pool);
	}
}

static void a_dead_module_is_restarted_without_background_threads_too(void **state)
{
	struct ground *g = *state;

	g->is_uneven = true;
	ground_open(g, "keeper", "no", NULL);
	g->mock->kill_module(CKR_DEVICE_ERROR);
	eventually(works_again(g));
	assert_int_equal(ground_stats(g).module_restarts, 1);
}

static void module_restart_no_leaves_a_dead_module_alone(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	CK_RV rv;

	g->is_uneven = true;
	ground_open(g, "module-restart", "no", NULL);
	g->mock->kill_module(CKR_CRYPTOKI_NOT_INITIALIZED);
	eventually(ground_operate(g->pool, 20, &rv, &err) == HSMPOOL_ERR_DOWN);
	eventually(ground_stats(g).open_failures > 3);
	assert_int_equal(ground_counters(g).finalizes, 0);
}

/* Both must be at rest, and both find their way back. */
static void all_pools_of_a_module_take_part_in_its_restart(void **state)
{
	struct ground *g = *state;
	hsmpool *first = ground_open(g, NULL);
	hsmpool *second = ground_open(g, NULL);
	hsmpool_error err;
	CK_RV rv;

	g->is_uneven = true;
	g->mock->kill_module(CKR_GENERAL_ERROR);
	eventually(works_again(g));
	assert_ok(ground_operate(first, TEST_PATIENCE_MS, &rv, &err), &err);
	assert_rv(rv, CKR_OK);
	assert_int_equal(ground_counters(g).finalizes, 1);
	hsmpool_close(&first);
	g->pool = second;
}

static void a_pool_that_is_well_keeps_another_from_restarting_the_module(void **state)
{
	struct ground *g = *state;
	hsmpool *well = ground_open(g, NULL);
	hsmpool_error err;
	CK_RV rv;

	ground_open(g, NULL);
	hsmpool_session *lost = ground_borrow(g);
	ground_script(g, "fail=C_OpenSession:1+:CKR_DEVICE_ERROR");
	hsmpool_return(&lost, HSMPOOL_VERDICT_DEAD);
	eventually(ground_logged("module-not-restarted", NULL, 0) > 0);
	assert_int_equal(ground_counters(g).finalizes, 0);
	assert_ok(ground_operate(well, TEST_PATIENCE_MS, &rv, &err), &err);
	assert_rv(rv, CKR_OK);
	g->mock->clear_failures();
	hsmpool_close(&well);
}

/* L4: no restart under a borrower, and soon after it. */
static void a_borrowed_session_puts_a_restart_off_until_it_is_back(void **state)
{
	struct ground *g = *state;

	g->is_uneven = true;
	ground_open(g, "max-sessions", "2", NULL);
	hsmpool_session *raw = ground_borrow(g);
	g->mock->kill_module(CKR_DEVICE_ERROR);
	hsmpool_error err;
	CK_RV rv;
	eventually(ground_operate(g->pool, 20, &rv, &err) != HSMPOOL_OK &&
		   ground_stats(g).open_failures > 4);
	assert_int_equal(ground_counters(g).finalizes, 0);
	hsmpool_return(&raw, HSMPOOL_VERDICT_DEAD);
	eventually(works_again(g));
	assert_int_equal(ground_counters(g).finalizes, 1);
}

/* S24: it is not ours to finalise, and the error says whose turn it is. */
static void a_module_that_the_application_initialised_is_not_finalised(void **state)
{
	struct ground *g = *state;
	CK_FUNCTION_LIST *module = direct_module();
	hsmpool_error err;
	CK_RV rv;

	g->is_uneven = true;
	assert_rv(module->C_Initialize(NULL), CKR_OK);
	ground_open(g, NULL);
	g->mock->kill_module(CKR_CRYPTOKI_NOT_INITIALIZED);
	eventually(ground_operate(g->pool, 20, &rv, &err) == HSMPOOL_ERR_DOWN &&
		   strstr(err.text, "initialised by another part of this program"));
	assert_int_equal(ground_counters(g).finalizes, 0);
	/* Which does it. */
	module->C_Finalize(NULL);
	assert_rv(module->C_Initialize(NULL), CKR_OK);
	eventually(works_again(g));
	hsmpool_close(&g->pool);
	module->C_Finalize(NULL);
}

struct storm {
	struct ground *g;
	atomic_uint served, failed, refused;
	atomic_bool stop;
};

static void *operate_in_storm(void *argument)
{
	struct storm *storm = argument;
	hsmpool_error err;
	CK_RV rv;

	while (!atomic_load(&storm->stop)) {
		hsmpool_status status =
			ground_operate(storm->g->pool, TEST_PATIENCE_MS, &rv, &err);
		atomic_fetch_add(status != HSMPOOL_OK ? &storm->refused
				 : rv != CKR_OK       ? &storm->failed
						      : &storm->served,
				 1);
	}
	return NULL;
}

/* No call crosses a restart: the mock tells sessions used by two threads (its handles
 * begin anew). Who borrows waits. */
static void restarts_under_load_cost_what_was_in_flight(void **state)
{
	struct ground *g = *state;
	struct storm storm = { .g = g };

	g->is_uneven = true;
	ground_open(g, "max-sessions", "4", "min-sessions", "4", NULL);
	struct crew crew = crew_start(16, operate_in_storm, &storm);
	for (int i = 1; i <= 3; i++) {
		unsigned served = storm.served;
		eventually(storm.served > served + 20);
		g->mock->kill_module(i == 2 ? CKR_DEVICE_ERROR
					    : CKR_CRYPTOKI_NOT_INITIALIZED);
		eventually(ground_counters(g).finalizes == (uint64_t)i);
	}
	unsigned served = storm.served;
	eventually(storm.served > served + 20);
	atomic_store(&storm.stop, true);
	crew_join(&crew);
	assert_int_equal(storm.refused, 0);
	assert_int_equal(ground_counters(g).session_overlaps, 0);
}

/* --- time and signals ------------------------------------------------------------------
 */

/* As after a suspend: CLOCK_BOOTTIME went on alone. False: upkeep has not looked at the
 * clocks yet. */
static bool pretend_suspend(hsmpool *pool)
{
	pthread_mutex_lock(&pool->lock);
	bool has_looked = pool->boot_ahead_ns != 0;
	if (has_looked)
		pool->boot_ahead_ns -= 60 * HP_SECOND;
	pthread_mutex_unlock(&pool->lock);
	return has_looked;
}

static void after_a_suspend_every_session_is_tested_before_use(void **state)
{
	static const char *const keeper[] = { "yes", "no" };
	struct ground *g = *state;

	for (int i = 0; i < 2; i++) {
		ground_open(g, "keeper", keeper[i], "leak-warn", "20ms", NULL);
		assert_rv(ground_sign(g), CKR_OK);
		uint64_t validated = ground_stats(g).validated;
		eventually(pretend_suspend(g->pool));
		/* While nobody uses a session: one in use proves itself by its answer. */
		if (i == 0)
			eventually(ground_logged("suspend-noticed", NULL, 0) == 1);
		eventually(ground_sign(g) == CKR_OK &&
			   ground_stats(g).validated > validated);
		hsmpool_close(&g->pool);
	}
	eventually(ground_logged("suspend-noticed", NULL, 0) == 2);
}

static atomic_uint interruptions;

static void note_interruption(int number)
{
	(void)number;
	atomic_fetch_add(&interruptions, 1);
}

/* Without SA_RESTART: what can be interrupted is. */
static void signals_during_a_wait_change_nothing(void **state)
{
	struct ground *g = *state;
	struct patient patient = { .g = g };
	struct sigaction noted = { .sa_handler = note_interruption };

	sigaction(SIGUSR1, &noted, NULL);
	ground_open(g, "max-sessions", "1", NULL);
	hsmpool_session *only = ground_borrow(g);
	struct crew crew = crew_start(4, operate_patiently, &patient);
	eventually(ground_stats(g).waiters == 4);
	for (unsigned i = 1; i <= 50; i++) {
		pthread_kill(crew.threads[i % 4], SIGUSR1);
		eventually(atomic_load(&interruptions) == i);
	}
	assert_int_equal(ground_stats(g).waiters, 4);
	hsmpool_return(&only, HSMPOOL_VERDICT_CLEAN);
	crew_join(&crew);
	assert_int_equal(patient.served, 4);
	signal(SIGUSR1, SIG_DFL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(
			a_token_that_stays_away_is_reported_down_at_once_with_the_reason),
		GROUND_TEST(a_token_that_is_back_is_found_by_the_probe_and_used_at_once),
		GROUND_TEST(who_waits_when_the_breaker_opens_waits_on),
		GROUND_TEST(without_background_threads_a_borrower_whose_turn_it_is_tries),
		GROUND_TEST(what_callers_do_wrong_never_opens_the_breaker),
		GROUND_TEST(with_breaker_after_0_everyone_waits_until_its_deadline),
		GROUND_TEST(a_module_that_is_dead_until_c_finalize_is_restarted),
		GROUND_TEST(a_dead_module_is_restarted_without_background_threads_too),
		GROUND_TEST(module_restart_no_leaves_a_dead_module_alone),
		GROUND_TEST(all_pools_of_a_module_take_part_in_its_restart),
		GROUND_TEST(a_pool_that_is_well_keeps_another_from_restarting_the_module),
		GROUND_TEST(a_borrowed_session_puts_a_restart_off_until_it_is_back),
		GROUND_TEST(a_module_that_the_application_initialised_is_not_finalised),
		GROUND_TEST(restarts_under_load_cost_what_was_in_flight),
		GROUND_TEST(after_a_suspend_every_session_is_tested_before_use),
		GROUND_TEST(signals_during_a_wait_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

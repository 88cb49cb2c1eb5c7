/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking a changed configuration over while the pool is in use: all of it, or nothing.
 */
#include "mock/pool_ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/memory.h"
#include "observe/log.h"
#include "pool/live.h"

/* --- a file ---------------------------------------------------------------------- */

static const char *path_of(const struct ground *g)
{
	static char path[320];

	snprintf(path, sizeof(path), "%s/reload.conf", g->fixture.dir);
	return path;
}

/* The fixture's module, token and PIN, and what the test says. */
static void write_file(const struct ground *g, const char *more)
{
	static const char *const keys[] = { "module", "token", "pin-source",
					    "state-dir" };
	FILE *file = fopen(path_of(g), "w");

	assert_non_null(file);
	fprintf(file, "[pool]\n");
	for (size_t i = 0; i < HP_ARRAY_LEN(keys); i++) {
		const char *value =
			hsmpool_config_get(g->fixture.config, "pool", keys[i]);
		if (value)
			fprintf(file, "%s = %s\n", keys[i], value);
	}
	fprintf(file, "%s\n", more);
	assert_int_equal(fclose(file), 0);
	chmod(path_of(g), 0600);
}

static void open_from_file(struct ground *g, const char *more)
{
	hsmpool_config *config;
	hsmpool_error err;

	write_file(g, more);
	assert_ok(hsmpool_config_load(&config, path_of(g), &err), &err);
	assert_ok(hsmpool_open(&g->pool, config, NULL, HSMPOOL_DEFAULT, &err), &err);
	hsmpool_config_close(&config);
}

static void reload(struct ground *g, const char *more)
{
	hsmpool_error err;

	write_file(g, more);
	assert_ok(hsmpool_reload(g->pool, NULL, &err), &err);
}

static hsmpool_status reload_badly(struct ground *g, const char *more, hsmpool_error *err)
{
	write_file(g, more);
	return hsmpool_reload(g->pool, NULL, err);
}

static void assert_told(const char *part)
{
	char text[1200] = "";

	assert_true(ground_logged("pool-reloaded", text, sizeof(text)) > 0);
	if (!strstr(text, part))
		fail_msg("'%s' is not in '%s'", part, text);
}

/* --- what changes ------------------------------------------------------------------ */

static void the_borrow_timeout_changes(void **state)
{
	struct ground *g = *state;
	hsmpool_session *held, *none;
	hsmpool_error err;

	open_from_file(g, "max-sessions = 1\nborrow-timeout = 1h");
	held = ground_borrow(g);
	reload(g, "max-sessions = 1\nborrow-timeout = 10ms");
	assert_told("changed: borrow-timeout;");
	assert_told("needs a restart: nothing");
	assert_status(hsmpool_borrow(g->pool, &none, HSMPOOL_BORROW_ANY, "test",
				     HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_TIMEOUT);
	hsmpool_return(&held, HSMPOOL_VERDICT_CLEAN);
}

static void the_limit_falls_and_rises_up_to_what_it_was(void **state)
{
	struct ground *g = *state;
	hsmpool_session *held[4];

	open_from_file(g, "max-sessions = 4\nrevalidate-interval = 40ms");
	for (int i = 0; i < 4; i++)
		held[i] = ground_borrow(g);
	for (int i = 0; i < 4; i++)
		hsmpool_return(&held[i], HSMPOOL_VERDICT_CLEAN);
	reload(g, "max-sessions = 2\nrevalidate-interval = 40ms");
	assert_int_equal(ground_stats(g).limit, 2);
	eventually(ground_stats(g).open == 2);
	reload(g, "max-sessions = 9\nrevalidate-interval = 40ms");
	assert_int_equal(ground_stats(g).limit, 4);
	assert_told("needs a restart: max-sessions");
}

static void who_waits_gets_a_session_of_a_raised_limit(void **state)
{
	struct ground *g = *state;
	hsmpool_session *first, *second;

	open_from_file(g, "max-sessions = 2");
	reload(g, "max-sessions = 1");
	first = ground_borrow(g);
	reload(g, "max-sessions = 2");
	second = ground_borrow(g);
	hsmpool_return(&first, HSMPOOL_VERDICT_CLEAN);
	hsmpool_return(&second, HSMPOOL_VERDICT_CLEAN);
}

static void min_sessions_are_opened_and_kept(void **state)
{
	struct ground *g = *state;

	open_from_file(g, "min-sessions = 1\nrevalidate-interval = 40ms");
	assert_int_equal(ground_stats(g).open, 1);
	reload(g, "min-sessions = 3\nrevalidate-interval = 40ms");
	eventually(ground_stats(g).open == 3);
}

static void upkeep_takes_up_a_new_interval(void **state)
{
	struct ground *g = *state;

	open_from_file(g, "revalidate-interval = 1h");
	reload(g, "revalidate-interval = 20ms");
	eventually(ground_stats(g).validated >= 3);
}

static void a_session_gets_a_new_lifetime(void **state)
{
	struct ground *g = *state;

	open_from_file(g,
		       "max-lifetime = 1h\nmin-sessions = 2\nrevalidate-interval = 40ms");
	reload(g, "max-lifetime = 20ms\nmin-sessions = 2\nrevalidate-interval = 40ms");
	eventually(ground_stats(g).closed_lifetime > 0);
}

static void the_level_of_the_log_changes_if_the_file_does(void **state)
{
	struct ground *g = *state;

	open_from_file(g, "log-level = notice");
	hsmpool_log_set_level(HSMPOOL_LOG_INFO);
	reload(g, "log-level = notice"); /* somebody set another one meanwhile: stays */
	assert_int_equal(atomic_load(&hp_log_level), HSMPOOL_LOG_INFO);
	reload(g, "log-level = debug");
	assert_int_equal(atomic_load(&hp_log_level), HSMPOOL_LOG_DEBUG);
}

static hsmpool_status draw(struct ground *g, hsmpool_error *err)
{
	uint8_t byte;

	return hsmpool_random(g->pool, &byte, 1, HSMPOOL_DEFAULT, err);
}

static void policies_come_change_and_go(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	open_from_file(g, "");
	assert_ok(draw(g, &err), &err);
	reload(g, "[policy p]\nfunctions = none");
	assert_status(draw(g, &err), HSMPOOL_ERR_DENIED);
	assert_status(reload_badly(g, "[policy p]\nkey = pkcs11:object=%zz", &err),
		      HSMPOOL_ERR_CONFIG);
	assert_status(draw(g, &err), HSMPOOL_ERR_DENIED);
	reload(g, "[policy p]\nfunctions = random");
	assert_ok(draw(g, &err), &err);
	reload(g, "[policy p]\nfunctions = !random");
	assert_status(draw(g, &err), HSMPOOL_ERR_DENIED);
	reload(g, "");
	assert_ok(draw(g, &err), &err);
}

/* However often it is read: what is in force already does not pile up. */
static void policies_that_are_in_force_already_are_no_change(void **state)
{
	struct ground *g = *state;

	open_from_file(g, "");
	reload(g, "[policy p]\nkey = pkcs11:object=a\nfunctions = sign");
	assert_told("changed: [policy];");
	reload(g, "[policy p]\nkey = pkcs11:object=a\nfunctions = sign");
	assert_told("changed: nothing;");
	reload(g, "");
	assert_told("changed: [policy];");
}

static void what_needs_a_restart_is_named(void **state)
{
	struct ground *g = *state;

	open_from_file(g, "probe = random");
	reload(g, "probe = token-info\nkeeper = no\nmax-waiters = 7\n"
		  "[key new]\nuri = pkcs11:object=new");
	assert_told("changed: max-waiters;");
	assert_told("needs a restart: probe keeper [key]");
}

/* --- what does not change ------------------------------------------------------------
 */

static void a_wrong_file_changes_nothing(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	open_from_file(g, "max-waiters = 5");
	assert_status(reload_badly(g, "max-waiters = 6\nmax-sesions = 4", &err),
		      HSMPOOL_ERR_CONFIG);
	assert_non_null(strstr(err.text, "max-sesions"));
	assert_status(
		reload_badly(g, "max-waiters = 6\n[pool two]\nmax-sessions = 0", &err),
		HSMPOOL_ERR_CONFIG);
	assert_status(reload_badly(g, "max-waiters = 6\nmin-sessions = 17", &err),
		      HSMPOOL_ERR_CONFIG);
	assert_int_equal(unlink(path_of(g)), 0);
	assert_status(hsmpool_reload(g->pool, NULL, &err), HSMPOOL_ERR_CONFIG);
	assert_int_equal(hp_pool_live(g->pool)->max_waiters, 5);
}

static void what_the_program_set_stays(void **state)
{
	struct ground *g = *state;
	hsmpool_config *config;
	hsmpool_error err;

	write_file(g, "max-waiters = 5");
	assert_ok(hsmpool_config_load(&config, path_of(g), &err), &err);
	assert_ok(hsmpool_config_set(config, "pool", "max-waiters", "6", &err), &err);
	assert_ok(hsmpool_open(&g->pool, config, NULL, HSMPOOL_DEFAULT, &err), &err);
	hsmpool_config_close(&config);
	reload(g, "max-waiters = 7\nleak-warn = 5m");
	assert_int_equal(hp_pool_live(g->pool)->max_waiters, 6);
	assert_told("changed: leak-warn;");
}

static void a_pool_without_a_file_is_told_its_configuration(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	ground_open(g, "max-waiters", "5", NULL);
	assert_status(hsmpool_reload(g->pool, NULL, &err), HSMPOOL_ERR_USAGE);
	fixture_set(&g->fixture, "max-waiters", "8");
	assert_ok(hsmpool_reload(g->pool, g->fixture.config, &err), &err);
	assert_int_equal(hp_pool_live(g->pool)->max_waiters, 8);
}

/* --- under load -----------------------------------------------------------------------
 */

static _Atomic bool is_over;

static void *work(void *user)
{
	struct ground *g = user;
	CK_RV rv;
	hsmpool_error err;

	while (!is_over)
		assert_ok(ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err), &err);
	return NULL;
}

static void reloads_disturb_no_operation(void **state)
{
	struct ground *g = *state;
	static const char *const files[] = {
		"max-sessions = 4\nmin-sessions = 1\nfair = yes\nidle-timeout = 20ms",
		"max-sessions = 2\nmin-sessions = 2\nmax-lifetime = 20ms",
		"max-sessions = 1\nmin-sessions = 0\nrevalidate-interval = 20ms",
		"max-sessions = 3\nmin-sessions = 3\nstuck-after = 1s\nleak-warn = 1s",
	};

	open_from_file(g, files[0]);
	is_over = false;
	struct crew crew = crew_start(6, work, g);
	for (int i = 0; i < 100; i++)
		reload(g, files[i % 4]);
	is_over = true;
	crew_join(&crew);
	assert_int_equal(ground_stats(g).open_failures, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(the_borrow_timeout_changes),
		GROUND_TEST(the_limit_falls_and_rises_up_to_what_it_was),
		GROUND_TEST(who_waits_gets_a_session_of_a_raised_limit),
		GROUND_TEST(min_sessions_are_opened_and_kept),
		GROUND_TEST(upkeep_takes_up_a_new_interval),
		GROUND_TEST(a_session_gets_a_new_lifetime),
		GROUND_TEST(the_level_of_the_log_changes_if_the_file_does),
		GROUND_TEST(policies_come_change_and_go),
		GROUND_TEST(policies_that_are_in_force_already_are_no_change),
		GROUND_TEST(what_needs_a_restart_is_named),
		GROUND_TEST(a_wrong_file_changes_nothing),
		GROUND_TEST(what_the_program_set_stays),
		GROUND_TEST(a_pool_without_a_file_is_told_its_configuration),
		GROUND_TEST(reloads_disturb_no_operation),
	};

	hsmpool_log_set_level(HSMPOOL_LOG_NOTICE);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe = canary: a real operation with a named key proves an idle session.
 */
#include "softhsm/crypto/keys_ground.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static hsmpool_status open_with_canary(const char *label)
{
	char value[200];

	hsmpool_close(&pool);
	snprintf(value, sizeof(value), "canary:pkcs11:object=%s", label);
	fixture_set(&ground, "probe", value);
	return hsmpool_open(&pool, ground.config, NULL, TEST_PATIENCE, &err);
}

static int without_canary(void **state)
{
	(void)state;
	hsmpool_close(&pool);
	fixture_set(&ground, "probe", "token-info");
	pool = fixture_open(&ground);
	return 0;
}

/* Have the upkeep thread probe, and wait until it did. */
static hsmpool_stats probe_idle_sessions(void)
{
	hsmpool_stats before = { .size = sizeof(before) };
	hsmpool_stats after = { .size = sizeof(after) };
	struct timespec begun, now;

	hsmpool_get_stats(pool, &before);
	hsmpool_validate(pool);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	do {
		struct timespec pause = { .tv_nsec = 1000000 };
		nanosleep(&pause, NULL);
		hsmpool_get_stats(pool, &after);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (
		(after.validated - before.validated < before.idle || after.testing > 0) &&
		now.tv_sec - begun.tv_sec < 20);
	assert_true(after.validated - before.validated >= before.idle);
	after.validated -= before.validated;
	after.validation_failures -= before.validation_failures;
	return after;
}

static void every_type_of_key_serves(void **state)
{
	static const char *const types[][2] = {
		{ "aes", "canary-aes" },         { "generic", "canary-generic" },
		{ "rsa", "canary-rsa" },         { "ec", "canary-ec" },
		{ "ed25519", "canary-ed25519" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		hsmpool_key *key = generate(types[i][0], types[i][1], 0);
		hsmpool_key_close(&key);
		assert_ok(open_with_canary(types[i][1]), &err);
		hsmpool_stats stats = probe_idle_sessions();
		assert_true(stats.validated > 0);
		assert_int_equal(stats.validation_failures, 0);
	}
}

static void a_key_that_only_decrypts_serves_too(void **state)
{
	hsmpool_key *key = generate("rsa", "canary-decrypts", HSMPOOL_KEY_CAN_DECRYPT);

	(void)state;
	hsmpool_key_close(&key);
	assert_ok(open_with_canary("canary-decrypts"), &err);
	assert_int_equal(probe_idle_sessions().validation_failures, 0);
}

static void a_missing_canary_is_told_when_the_pool_opens(void **state)
{
	(void)state;
	assert_status(open_with_canary("no-canary"), HSMPOOL_ERR_KEY);
	assert_null(pool);
	assert_non_null(strstr(err.text, "probe = canary"));
	assert_non_null(strstr(err.text, "no-canary"));
}

static void a_key_that_cannot_be_used_alone_is_no_canary(void **state)
{
	hsmpool_key *key = generate("ec", "derive-only", HSMPOOL_KEY_CAN_DERIVE);

	(void)state;
	hsmpool_key_close(&key);
	assert_status(open_with_canary("derive-only"), HSMPOOL_ERR_KEY);
	assert_null(pool);
}

/* The token is well: its sessions must not be thrown away for a deleted key. */
static void a_deleted_canary_does_not_kill_healthy_sessions(void **state)
{
	hsmpool_key *key = generate("aes", "canary-deleted", 0);
	hsmpool_error mine;
	hsmpool_key *other = NULL;

	(void)state;
	hsmpool_key_close(&key);
	assert_ok(open_with_canary("canary-deleted"), &err);
	raw_destroy_label("canary-deleted");
	assert_int_equal(probe_idle_sessions().validation_failures, 0);
	assert_status(hsmpool_key_open(&other, pool, "pkcs11:object=canary-deleted",
				       TEST_PATIENCE, &mine),
		      HSMPOOL_ERR_KEY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(every_type_of_key_serves, without_canary),
		cmocka_unit_test_teardown(a_key_that_only_decrypts_serves_too,
					  without_canary),
		cmocka_unit_test_teardown(a_missing_canary_is_told_when_the_pool_opens,
					  without_canary),
		cmocka_unit_test_teardown(a_key_that_cannot_be_used_alone_is_no_canary,
					  without_canary),
		cmocka_unit_test_teardown(a_deleted_canary_does_not_kill_healthy_sessions,
					  without_canary),
	};
	return cmocka_run_group_tests(tests, keys_ground_up, keys_ground_down);
}

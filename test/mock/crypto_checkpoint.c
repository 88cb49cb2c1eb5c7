/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints of the audit trail: made in the background, by themselves again after a
 * failure, and no operation fails or waits because of one.
 */
#include "mock/pool_ground.h"

#include <stdio.h>
#include <string.h>
#include "observe/audit.h"

#define NEVER "1h" /* does a checkpoint come by itself */

/* A pool with a trail, whose checkpoints are made with the key of this name. */
static void open_audited(struct ground *g, const char *key, const char *interval,
			 const char *option, const char *value)
{
	char folder[300], uri[100];

	snprintf(folder, sizeof(folder), "%s/trail", g->fixture.dir);
	snprintf(uri, sizeof(uri), "pkcs11:object=%s", key);
	ground_open(g, "audit", folder, "audit-key", uri, "audit-checkpoint", interval,
		    option, value, NULL);
}

static uint64_t unauthenticated(const struct ground *g)
{
	struct hp_audit_figures figures;

	hp_audit_sync(hp_pool_audit(g->pool));
	hp_audit_get_figures(hp_pool_audit(g->pool), &figures);
	return figures.unauthenticated;
}

static uint64_t records(const struct ground *g)
{
	struct hp_audit_figures figures;

	hp_audit_get_figures(hp_pool_audit(g->pool), &figures);
	return figures.records;
}

static hsmpool_status draw(struct ground *g, hsmpool_error *err)
{
	uint8_t bytes[8];

	return hsmpool_random(g->pool, bytes, sizeof(bytes), TEST_PATIENCE, err);
}

static void a_checkpoint_follows_what_was_done(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	open_audited(g, "hmac", "10ms", "stuck-after", "40ms");
	assert_ok(draw(g, &err), &err);
	eventually(unauthenticated(g) == 0);
	assert_in_range(g->mock->calls("C_Sign"), 1, 3);
}

static void a_checkpoint_calls_for_no_other(void **state)
{
	struct ground *g = *state;

	open_audited(g, "hmac", NEVER, "keeper", "yes");
	hp_pool_finish_chore(g->pool);
	assert_int_equal(unauthenticated(g), 0);
	uint64_t count = records(g);
	for (int i = 0; i < 3; i++)
		hp_pool_finish_chore(g->pool);
	assert_int_equal(records(g), count);
	assert_int_equal(g->mock->calls("C_Sign"), 1);
}

static void every_type_of_key_authenticates(void **state)
{
	struct ground *g = *state;
	static const char *const keys[] = { "hmac", "rsa", "ec" };

	for (size_t i = 0; i < 3; i++) {
		open_audited(g, keys[i], NEVER, "keeper", "yes");
		hp_pool_finish_chore(g->pool);
		assert_int_equal(unauthenticated(g), 0);
		hsmpool_close(&g->pool);
	}
}

static void a_checkpoint_that_fails_is_tried_again(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	char text[300];

	open_audited(g, "hmac", NEVER, "keeper", "yes");
	ground_catch_log(g);
	(g->mock->fail)(&(struct mock_failure){ .function = "C_Sign",
						.rv = CKR_KEY_FUNCTION_NOT_PERMITTED,
						.count = MOCK_FOREVER });
	hp_pool_finish_chore(g->pool);
	assert_true(ground_logged("audit-checkpoint-failed", text, sizeof(text)) > 0);
	assert_non_null(strstr(text, "audit-key pkcs11:object=hmac"));
	assert_true(unauthenticated(g) > 0);
	assert_ok(draw(g, &err), &err);
	g->mock->clear_failures();
	hp_pool_finish_chore(g->pool);
	assert_int_equal(unauthenticated(g), 0);
}

static void a_key_that_makes_no_proof_is_told(void **state)
{
	struct ground *g = *state;
	char text[300];

	open_audited(g, "aes", NEVER, "keeper", "yes");
	ground_catch_log(g);
	hp_pool_finish_chore(g->pool);
	assert_true(ground_logged("audit-checkpoint-failed", text, sizeof(text)) > 0);
	assert_non_null(strstr(text, "not this type"));
}

static void no_operation_waits_for_a_checkpoint_that_hangs(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	open_audited(g, "hmac", "10ms", "stuck-after", "40ms");
	g->mock->hang("C_Sign", 1);
	eventually(g->mock->hung() == 1);
	for (int i = 0; i < 50; i++)
		assert_ok(draw(g, &err), &err);
	g->mock->release();
	eventually(unauthenticated(g) == 0);
}

static void the_last_records_are_authenticated_at_the_end(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	open_audited(g, "hmac", NEVER, "keeper", "no");
	assert_ok(draw(g, &err), &err);
	uint64_t before = g->mock->calls("C_Sign");
	hsmpool_close(&g->pool);
	assert_int_equal(g->mock->calls("C_Sign"), before + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(a_checkpoint_follows_what_was_done),
		GROUND_TEST(a_checkpoint_calls_for_no_other),
		GROUND_TEST(every_type_of_key_authenticates),
		GROUND_TEST(a_checkpoint_that_fails_is_tried_again),
		GROUND_TEST(a_key_that_makes_no_proof_is_told),
		GROUND_TEST(no_operation_waits_for_a_checkpoint_that_hangs),
		GROUND_TEST(the_last_records_are_authenticated_at_the_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

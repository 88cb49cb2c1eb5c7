/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restarts of the HSM that nobody has noticed when a session is opened: the new session
 * is logged in, old object handles name other keys, old session handles other sessions.
 * A wrong key is never used.
 */
#include "pool_ground.h"

#include <stdio.h>
#include <string.h>

#define MESSAGE ((hsmpool_bytes){ (const uint8_t *)"message", 7 })

/* Unless a test before this did. */
static void generate(hsmpool *pool, const char *label)
{
	hsmpool_error err;
	hsmpool_key *key = NULL;
	hsmpool_key_spec spec = {
		.size = sizeof(spec), .type = "generic", .bits = 256, .label = label
	};

	hsmpool_status status =
		hsmpool_key_generate(&key, pool, &spec, HSMPOOL_DEFAULT, &err);
	if (status != HSMPOOL_ERR_EXISTS)
		assert_ok(status, &err);
	hsmpool_key_close(&key);
}

static hsmpool_key *open_key(hsmpool *pool)
{
	hsmpool_error err;
	hsmpool_key *key = NULL;

	assert_ok(
		hsmpool_key_open(&key, pool, "pkcs11:object=mine", HSMPOOL_DEFAULT, &err),
		&err);
	return key;
}

/* The pool afresh, on a token with two keys of a kind: one to use, one to confuse it
 * with. No prober may just have the session that is to be asked. */
static hsmpool *open_pool(struct ground *g)
{
	hsmpool *pool = ground_open(g, "max-sessions", "8", "keeper", "no", NULL);

	generate(pool, "mine");
	generate(pool, "other");
	hsmpool_close(&g->pool);
	g->pool = fixture_open(&g->fixture);
	return g->pool;
}

static void make_mac(hsmpool *pool, hsmpool_key *key, uint8_t mac[32])
{
	hsmpool_error err;
	hsmpool_buf out = { mac, 32, 0 };

	memset(mac, 0, 32);
	assert_ok(
		hsmpool_mac(pool, key, "hmac-sha256", MESSAGE, &out, TEST_PATIENCE, &err),
		&err);
}

static void reboot(struct ground *g, bool keep_login)
{
	const struct mock_reboot how = { .keep_login = keep_login,
					 .handles = MOCK_HANDLES_ALIASED,
					 .reuse_sessions = true };

	g->mock->reboot(&how);
}

static void a_session_opened_while_all_others_are_lent_uses_no_old_handle(void **state)
{
	struct ground *g = *state;
	uint8_t before[32], after[32];
	hsmpool *pool = open_pool(g);
	hsmpool_key *key = open_key(pool);
	make_mac(pool, key, before);
	hsmpool_session *lent[2] = { ground_borrow(g), ground_borrow(g) };
	const struct mock_reboot how = { .keep_login = true,
					 .handles = MOCK_HANDLES_ALIASED };
	g->mock->reboot(&how);
	make_mac(pool, key, after);
	assert_memory_equal(before, after, 32);
	hsmpool_return(&lent[0], HSMPOOL_VERDICT_CLEAN);
	hsmpool_return(&lent[1], HSMPOOL_VERDICT_CLEAN);
	make_mac(pool, key, after);
	assert_memory_equal(before, after, 32);
	hsmpool_key_close(&key);
}

/* The idle one cannot write, so another is opened. */
static void a_session_opened_beside_an_idle_one_uses_no_old_handle(void **state)
{
	struct ground *g = *state;
	uint8_t before[32], after[32];
	hsmpool_session *writer = NULL;
	hsmpool_error err;
	hsmpool *pool = open_pool(g);
	hsmpool_key *key = open_key(pool);
	make_mac(pool, key, before);
	reboot(g, true);
	assert_ok(hsmpool_borrow(pool, &writer, HSMPOOL_BORROW_READ_WRITE, "test",
				 HSMPOOL_DEFAULT, &err),
		  &err);
	hsmpool_return(&writer, HSMPOOL_VERDICT_CLEAN);
	make_mac(pool, key, after);
	assert_memory_equal(before, after, 32);
	hsmpool_key_close(&key);
}

/* Such a module says of a dead session that it is well: probe = random asks the HSM. */
static void a_module_that_remembers_its_sessions_misleads_nobody(void **state)
{
	struct ground *g = *state;
	uint8_t before[32], after[32];
	hsmpool_session *writer = NULL;
	hsmpool_error err;

	ground_set(g, "probe", "random", NULL);
	hsmpool *pool = open_pool(g);
	hsmpool_key *key = open_key(pool);
	make_mac(pool, key, before);
	g->mock->local_session_info(true);
	reboot(g, true);
	assert_ok(hsmpool_borrow(pool, &writer, HSMPOOL_BORROW_READ_WRITE, "test",
				 HSMPOOL_DEFAULT, &err),
		  &err);
	hsmpool_return(&writer, HSMPOOL_VERDICT_CLEAN);
	make_mac(pool, key, after);
	assert_memory_equal(before, after, 32);
	hsmpool_key_close(&key);
}

/* --- two pools of one process ------------------------------------------------- */

static void a_session_of_another_pool_with_the_old_handle_is_not_used(struct ground *g,
								      bool keep_login)
{
	uint8_t before[32], after[32];
	hsmpool *pool = open_pool(g);
	hsmpool_key *key = open_key(pool);
	hsmpool *other = fixture_open(&g->fixture);
	hsmpool_key *others = open_key(other);
	make_mac(pool, key, before);
	for (int i = 0; i < 5; i++) {
		reboot(g, keep_login);
		make_mac(i % 2 ? pool : other, i % 2 ? key : others, after);
		assert_memory_equal(before, after, 32);
		make_mac(i % 2 ? other : pool, i % 2 ? others : key, after);
		assert_memory_equal(before, after, 32);
	}
	hsmpool_key_close(&others);
	hsmpool_key_close(&key);
	hsmpool_close(&other);
}

static void another_pool_that_logged_in_again_misleads_nobody(void **state)
{
	a_session_of_another_pool_with_the_old_handle_is_not_used(*state, false);
}

static void two_pools_on_an_hsm_that_keeps_its_login_use_no_wrong_key(void **state)
{
	a_session_of_another_pool_with_the_old_handle_is_not_used(*state, true);
}

/* Two owners of one session would end each other's operations. */
static void a_handle_that_is_lent_is_not_given_to_another(void **state)
{
	struct ground *g = *state;
	hsmpool_session *of_other = NULL;
	hsmpool_error err;

	open_pool(g);
	hsmpool *other = fixture_open(&g->fixture);
	hsmpool_session *lent = ground_borrow(g);
	hsmpool_session *second = ground_borrow(g);
	unsigned long handle = hsmpool_session_handle(lent);
	reboot(g, false);
	assert_ok(hsmpool_borrow(other, &of_other, HSMPOOL_BORROW_READ_WRITE, "test",
				 TEST_PATIENCE, &err),
		  &err);
	assert_int_not_equal(hsmpool_session_handle(of_other), handle);
	assert_int_equal(ground_use(of_other), CKR_OK);
	hsmpool_return(&of_other, HSMPOOL_VERDICT_CLEAN);
	hsmpool_return(&lent, HSMPOOL_VERDICT_CLEAN);
	hsmpool_return(&second, HSMPOOL_VERDICT_CLEAN);
	hsmpool_close(&other);
}

/* --- what it costs where nothing was lost -------------------------------------- */

/* With all others lent nobody vouches for the new session at once: the key is searched
 * for at most once, and not again when one of them is back. */
static void a_pool_that_grows_keeps_its_handles(void **state)
{
	struct ground *g = *state;
	uint8_t mac[32];
	hsmpool_session *lent[7];
	hsmpool *pool = open_pool(g);

	hsmpool_key *key = open_key(pool);
	make_mac(pool, key, mac);
	uint64_t searches = g->mock->calls("C_FindObjectsInit");
	for (int i = 0; i < 7; i++)
		lent[i] = ground_borrow(g);
	for (int i = 0; i < 7; i++)
		hsmpool_return(&lent[i], HSMPOOL_VERDICT_CLEAN);
	for (int i = 0; i < 20; i++)
		make_mac(pool, key, mac);
	assert_int_equal(g->mock->calls("C_FindObjectsInit"), searches);
	assert_int_equal(ground_stats(g).lost_sessions, 0);
	hsmpool_key_close(&key);
}

static void a_session_opened_beside_an_idle_one_costs_one_call(void **state)
{
	struct ground *g = *state;
	hsmpool_session *writer = NULL;
	hsmpool_error err;
	hsmpool *pool = open_pool(g);

	uint64_t generation = ground_stats(g).generation;
	uint64_t looks = g->mock->calls("C_GetSessionInfo");
	assert_ok(hsmpool_borrow(pool, &writer, HSMPOOL_BORROW_READ_WRITE, "test",
				 HSMPOOL_DEFAULT, &err),
		  &err);
	assert_int_equal(g->mock->calls("C_GetSessionInfo") - looks, 2);
	assert_int_equal(ground_stats(g).generation, generation);
	hsmpool_return(&writer, HSMPOOL_VERDICT_CLEAN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(
			a_session_opened_while_all_others_are_lent_uses_no_old_handle),
		GROUND_TEST(a_session_opened_beside_an_idle_one_uses_no_old_handle),
		GROUND_TEST(a_module_that_remembers_its_sessions_misleads_nobody),
		GROUND_TEST(another_pool_that_logged_in_again_misleads_nobody),
		GROUND_TEST(two_pools_on_an_hsm_that_keeps_its_login_use_no_wrong_key),
		GROUND_TEST(a_handle_that_is_lent_is_not_given_to_another),
		GROUND_TEST(a_pool_that_grows_keeps_its_handles),
		GROUND_TEST(a_session_opened_beside_an_idle_one_costs_one_call),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

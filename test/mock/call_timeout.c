/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option call-timeout: who is inside a call that hangs is answered, too, and what the
 * call does late is put right. L32.
 */
#include "mock/pool_ground.h"

#include <stdlib.h>
#include <string.h>

#define assert_rv(call, expected) assert_int_equal((call), (expected))
#define TEXT(literal)             ((hsmpool_bytes){ (const uint8_t *)(literal), sizeof(literal) - 1 })

static hsmpool_key *open_key(struct ground *g, const char *uri)
{
	hsmpool_error err;
	hsmpool_key *key;

	assert_ok(hsmpool_key_open(&key, g->pool, uri, HSMPOOL_DEFAULT, &err), &err);
	return key;
}

static hsmpool_status sign_into(struct ground *g, hsmpool_key *key, uint8_t *data,
				size_t cap, hsmpool_deadline deadline, hsmpool_error *err)
{
	hsmpool_buf out = { data, cap, 0 };

	return hsmpool_sign(g->pool, key, "ecdsa-sha256", TEXT("message"), &out, deadline,
			    err);
}

static struct hp_session *borrow(struct ground *g)
{
	struct hp_session *session;
	hsmpool_error err;

	assert_ok(hp_pool_borrow(g->pool, HP_WANT_READ_WRITE, "test", TEST_PATIENCE,
				 &session, &err),
		  &err);
	return session;
}

/* --- the answer --------------------------------------------------------------------- */

static void who_calls_hears_in_time_that_it_may_have_run(void **state)
{
	struct ground *g = *state;
	uint8_t signature[512];
	hsmpool_error err;

	ground_open(g, "max-sessions", "2", "call-timeout", "1s", NULL);
	hsmpool_key *key = open_key(g, "pkcs11:object=ec");
	assert_ok(sign_into(g, key, signature, sizeof(signature), HSMPOOL_DEFAULT, &err),
		  &err);
	g->mock->hang("C_Sign", 1);
	memset(signature, 0x55, sizeof(signature));
	assert_status(
		sign_into(g, key, signature, sizeof(signature), HSMPOOL_DEFAULT, &err),
		HSMPOOL_ERR_TIMEOUT);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_UNKNOWN);
	assert_int_equal(err.ck_rv, CKR_FUNCTION_CANCELED);
	assert_int_equal(ground_stats(g).stuck, 1);
	assert_int_equal(ground_logged("call-given-up", NULL, 0), 1);
	g->mock->release();
	eventually(ground_stats(g).stuck == 0);
	for (size_t i = 0; i < sizeof(signature); i++)
		assert_int_equal(signature[i], 0x55); /* not written late */
	assert_ok(sign_into(g, key, signature, sizeof(signature), HSMPOOL_DEFAULT, &err),
		  &err);
	hsmpool_key_close(&key);
}

/* The address sanitizer sees what else there is to see. */
static void a_late_call_finds_its_arguments_though_they_are_freed(void **state)
{
	struct ground *g = *state;
	CK_BYTE *random = malloc(64);

	ground_open(g, "max-sessions", "2", "call-timeout", "1s", NULL);
	struct hp_session *s = borrow(g);
	g->mock->hang("C_GenerateRandom", 1);
	CK_RV rv = hp_generate_random(s, random, 64);
	free(random);
	assert_rv(rv, CKR_FUNCTION_CANCELED);
	assert_rv(hp_generate_random(s, NULL, 0), CKR_FUNCTION_CANCELED);
	hp_pool_return(s, rv);
	g->mock->release();
	eventually(ground_stats(g).stuck == 0);
}

static void the_callers_own_deadline_comes_first(void **state)
{
	struct ground *g = *state;
	uint8_t signature[512];
	hsmpool_error err;

	ground_open(g, "max-sessions", "2", "call-timeout", "10m", NULL);
	hsmpool_key *key = open_key(g, "pkcs11:object=ec");
	assert_ok(sign_into(g, key, signature, sizeof(signature), HSMPOOL_DEFAULT, &err),
		  &err);
	g->mock->hang("C_Sign", 1);
	assert_status(sign_into(g, key, signature, sizeof(signature),
				hsmpool_deadline_in(30), &err),
		      HSMPOOL_ERR_TIMEOUT);
	g->mock->release();
	eventually(ground_stats(g).stuck == 0);
	hsmpool_key_close(&key);
}

/* It ran at no time: nothing was submitted. */
static void a_hung_init_says_that_nothing_ran(void **state)
{
	struct ground *g = *state;
	uint8_t signature[512];
	hsmpool_error err;

	ground_open(g, "max-sessions", "2", "call-timeout", "1s", NULL);
	hsmpool_key *key = open_key(g, "pkcs11:object=ec");
	assert_ok(sign_into(g, key, signature, sizeof(signature), HSMPOOL_DEFAULT, &err),
		  &err);
	g->mock->hang("C_SignInit", 1);
	assert_status(
		sign_into(g, key, signature, sizeof(signature), HSMPOOL_DEFAULT, &err),
		HSMPOOL_ERR_TIMEOUT);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_NO);
	g->mock->release();
	hsmpool_key_close(&key);
}

struct user {
	struct ground *g;
	atomic_uint given_up, served;
};

static void *operate_once(void *argument)
{
	struct user *user = argument;
	hsmpool_error err;
	CK_RV rv;

	if (ground_operate(user->g->pool, TEST_PATIENCE_MS, &rv, &err) == HSMPOOL_OK)
		atomic_fetch_add(
			rv == CKR_FUNCTION_CANCELED ? &user->given_up : &user->served, 1);
	return NULL;
}

static void four_of_sixteen_hang_and_everyone_is_answered(void **state)
{
	struct ground *g = *state;
	struct user user = { .g = g };

	ground_open(g, "max-sessions", "16", "stuck-reserve", "4", "call-timeout", "2s",
		    NULL);
	for (unsigned i = 1; i <= 4; i++)
		g->mock->hang("C_GenerateRandom", i);
	struct crew crew = crew_start(20, operate_once, &user);
	crew_join(&crew);
	assert_int_equal(user.given_up, 4);
	assert_int_equal(user.served, 16);
	assert_int_equal(ground_stats(g).stuck, 4);
	g->mock->release();
	eventually(ground_stats(g).stuck == 0);
}

/* --- what was done late --------------------------------------------------------------
 */

static CK_RV create(struct hp_session *s, CK_BBOOL on_token)
{
	CK_OBJECT_CLASS class = CKO_DATA;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_TOKEN, &on_token, sizeof(on_token) },
		{ CKA_LABEL, (void *)(uintptr_t) "late one", 8 },
	};
	CK_OBJECT_HANDLE object;

	return hp_create_object(s, template, 3, &object);
}

static void a_session_object_made_late_is_destroyed(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", "2", "call-timeout", "1s", NULL);
	struct hp_session *s = borrow(g);
	g->mock->hang("C_CreateObject", 1);
	assert_rv(create(s, CK_FALSE), CKR_FUNCTION_CANCELED);
	hp_pool_return(s, CKR_FUNCTION_CANCELED);
	g->mock->release();
	eventually(ground_stats(g).stuck == 0);
	assert_int_equal(ground_counters(g).objects_created, 1);
	assert_int_equal(g->mock->executed("C_DestroyObject"), 1);
}

static void a_token_object_made_late_is_named_in_the_log(void **state)
{
	struct ground *g = *state;
	char text[256] = "";

	ground_open(g, "max-sessions", "2", "call-timeout", "1s", NULL);
	struct hp_session *s = borrow(g);
	g->mock->hang("C_CreateObject", 1);
	assert_rv(create(s, CK_TRUE), CKR_FUNCTION_CANCELED);
	hp_pool_return(s, CKR_FUNCTION_CANCELED);
	g->mock->release();
	eventually(ground_stats(g).stuck == 0);
	assert_int_equal(ground_logged("object-late", text, sizeof(text)), 1);
	assert_non_null(strstr(text, "late one"));
	assert_int_equal(g->mock->calls("C_DestroyObject"), 0);
}

static void a_login_that_succeeds_late_is_the_pools(void **state)
{
	struct ground *g = *state;
	hsmpool_session *none = NULL;
	hsmpool_error err;

	ground_open(g, "max-sessions", "3", "call-timeout", "1s", "validate-after", "0s",
		    NULL);
	g->mock->log_out();
	g->mock->hang("C_Login", 1);
	assert_status(ground_try_borrow(g, 100, &none, &err), HSMPOOL_ERR_TIMEOUT);
	assert_status(ground_try_borrow(g, 10, &none, &err), HSMPOOL_ERR_TIMEOUT);
	assert_int_equal(g->mock->calls("C_Login"), 2); /* one hangs, no more */
	g->mock->release();
	assert_rv(ground_sign(g), CKR_OK);
	assert_int_equal(ground_counters(g).logins_tried, 2);
	assert_int_equal(ground_stats(g).logins, 2);
}

/* The balance of the books is checked after each test. */
static void a_session_opened_late_is_closed(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", "3", "min-sessions", "1", "call-timeout", "1s",
		    NULL);
	hsmpool_session *first = ground_borrow(g);
	g->mock->hang("C_OpenSession", 1);
	hsmpool_session *second = ground_borrow(g); /* the next opening succeeds */
	hsmpool_return(&first, HSMPOOL_VERDICT_CLEAN);
	hsmpool_return(&second, HSMPOOL_VERDICT_CLEAN);
	assert_int_equal(ground_stats(g).stuck, 1);
	g->mock->release();
	eventually(ground_stats(g).stuck == 0);
	assert_true(ground_counters(g).sessions_peak <= 3);
}

static void a_session_closed_late_is_not_closed_twice(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	ground_open(g, "max-sessions", "2", "min-sessions", "2", "call-timeout", "1s",
		    NULL);
	g->mock->hang("C_CloseSession", 1);
	assert_ok(hsmpool_pause(g->pool, TEST_PATIENCE, &err), &err);
	hsmpool_resume(g->pool);
	assert_rv(ground_sign(g), CKR_OK);
	g->mock->release();
	eventually(ground_stats(g).stuck == 0);
	assert_int_equal(g->mock->calls("C_CloseSession"), 1);
	assert_int_equal(ground_counters(g).dead_handles, 0);
}

/* --- without threads -------------------------------------------------------------------
 */

static void without_threads_it_is_ignored_and_said_so(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", "2", "call-timeout", "1s", "keeper", "no", NULL);
	assert_int_equal(ground_logged("call-timeout-ignored", NULL, 0), 1);
	assert_rv(ground_sign(g), CKR_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(who_calls_hears_in_time_that_it_may_have_run),
		GROUND_TEST(a_late_call_finds_its_arguments_though_they_are_freed),
		GROUND_TEST(the_callers_own_deadline_comes_first),
		GROUND_TEST(a_hung_init_says_that_nothing_ran),
		GROUND_TEST(four_of_sixteen_hang_and_everyone_is_answered),
		GROUND_TEST(a_session_object_made_late_is_destroyed),
		GROUND_TEST(a_token_object_made_late_is_named_in_the_log),
		GROUND_TEST(a_login_that_succeeds_late_is_the_pools),
		GROUND_TEST(a_session_opened_late_is_closed),
		GROUND_TEST(a_session_closed_late_is_not_closed_twice),
		GROUND_TEST(without_threads_it_is_ignored_and_said_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

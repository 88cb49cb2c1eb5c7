/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib/p11 on a module that misbehaves: one that cannot lock, hangs, keeps operations
 * active after an error, or does not start.
 */
#include "support/fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include "base/memory.h"
#include "base/time.h"
#include "mock/mock.h"
#include "p11/gate.h"
#include "p11/session.h"
#include "p11/token.h"

static struct fixture fixture;
static const struct mock_control *mock;
static struct hp_module *module;
static struct hp_token token;
static CK_MECHANISM sha256 = { CKM_SHA256, NULL, 0 };
static const CK_BYTE data[16] = "sixteen bytes..";

static void open_module(void)
{
	hsmpool_error err = { 0 };
	struct hp_uri *uri = NULL;
	assert_ok(hp_module_open(&module, fixture.module, NULL, NULL, &err), &err);
	assert_ok(hp_uri_parse("pkcs11:token=" MOCK_TOKEN_LABEL, &uri, &err), &err);
	assert_ok(hp_token_find(module, uri, &token, &err), &err);
	hp_uri_free(&uri);
}

static void open_session(struct hp_session *s, unsigned shard)
{
	memset(s, 0, sizeof(*s));
	s->shard = shard;
	assert_int_equal(hp_session_open(s, module, token.slot, false), CKR_OK);
}

static CK_RV digest(struct hp_session *s)
{
	CK_BYTE out[64];
	CK_ULONG len = sizeof(out);
	CK_RV rv = hp_digest_init(s, &sha256);
	return rv != CKR_OK ? rv : hp_digest(s, data, sizeof(data), out, &len);
}

/* In brackets: cmocka has a macro of that name. */
static void fail_next(const char *function, CK_RV rv)
{
	struct mock_failure failure = { .function = function, .rv = rv };
	(mock->fail)(&failure);
}

/* --- a module that cannot lock ----------------------------------------------- */

#define THREADS 4
#define ROUNDS  500

static void *digest_often(void *argument)
{
	struct hp_session *s = argument;
	for (int i = 0; i < ROUNDS; i++)
		if (digest(s) != CKR_OK)
			return s;
	return NULL;
}

static void a_module_that_cannot_lock_gets_one_call_at_a_time(void **state)
{
	struct hp_session sessions[THREADS];
	pthread_t threads[THREADS];
	struct mock_counters counters;
	(void)state;
	mock->cant_lock(true);
	open_module();
	assert_true(module->is_serialised);
	assert_true(module->is_ours);
	for (unsigned i = 0; i < THREADS; i++) {
		open_session(&sessions[i], i);
		assert_int_equal(
			pthread_create(&threads[i], NULL, digest_often, &sessions[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		void *failed = NULL;
		pthread_join(threads[i], &failed);
		assert_null(failed);
		hp_session_close(&sessions[i]);
	}
	mock->counters(&counters);
	assert_int_equal(counters.module_overlaps, 0);
	hp_module_close(&module);
}

static void serialising_ends_when_the_module_can_lock_again(void **state)
{
	(void)state;
	mock->cant_lock(true);
	open_module();
	assert_true(module->is_serialised);
	hp_module_close(&module);
	mock->cant_lock(false);
	open_module();
	assert_false(module->is_serialised);
	hp_module_close(&module);
}

/* --- a module that does not start -------------------------------------------- */

static void a_module_that_does_not_start_is_reported_and_may_start_later(void **state)
{
	struct hp_module *failed = NULL;
	hsmpool_error err = { 0 };
	(void)state;
	fail_next("C_Initialize", CKR_DEVICE_ERROR);
	assert_status(hp_module_open(&failed, fixture.module, NULL, NULL, &err),
		      HSMPOOL_ERR_DOWN);
	assert_null(failed);
	assert_int_equal(err.ck_rv, CKR_DEVICE_ERROR);
	assert_non_null(strstr(err.text, fixture.module));
	assert_non_null(strstr(err.text, "CKR_DEVICE_ERROR"));
	open_module();
	hp_module_close(&module);
}

/* What was initialised on the way is finalised again. */
static void
a_module_that_fails_at_its_first_question_is_not_left_initialised(void **state)
{
	struct mock_counters counters;
	struct hp_module *failed = NULL;
	hsmpool_error err = { 0 };
	(void)state;
	fail_next("C_GetInfo", CKR_GENERAL_ERROR);
	assert_status(hp_module_open(&failed, fixture.module, NULL, NULL, &err),
		      HSMPOOL_ERR_DOWN);
	mock->counters(&counters);
	assert_int_equal(counters.initializes, 1);
	assert_int_equal(counters.finalizes, 1);
}

static void a_token_list_that_fails_is_an_error_with_its_name(void **state)
{
	hsmpool_error err = { 0 };
	(void)state;
	open_module();
	fail_next("C_GetSlotList", CKR_DEVICE_REMOVED);
	assert_status(hp_token_find(module, NULL, &token, &err), HSMPOOL_ERR_DOWN);
	assert_int_equal(err.ck_rv, CKR_DEVICE_REMOVED);
	hp_module_close(&module);
}

static void a_token_that_is_gone_for_a_while_is_found_again(void **state)
{
	hsmpool_error err = { 0 };
	struct mock_reboot moved = { .move_slot = true };
	(void)state;
	open_module();
	CK_SLOT_ID slot = token.slot;
	mock->token_absent(MOCK_FOREVER);
	assert_status(hp_token_find_again(&token, &err), HSMPOOL_ERR_DOWN);
	assert_int_equal(token.slot, slot);
	mock->token_present();
	mock->reboot(&moved);
	assert_ok(hp_token_find_again(&token, &err), &err);
	assert_int_not_equal(token.slot, slot);
	struct hp_session s;
	open_session(&s, 0);
	hp_session_close(&s);
	hp_module_close(&module);
}

/* SoftHSM2 overlooks a token whose file another process writes in that moment, until it
 * starts again. */
static void *return_the_token_after_a_restart(void *unused)
{
	struct mock_counters counters;
	do {
		hp_pause(HP_MS);
		mock->counters(&counters);
	} while (counters.initializes < 2);
	mock->token_present();
	return unused;
}

static void a_token_that_was_overlooked_at_the_start_is_found_by_a_restart(void **state)
{
	struct mock_counters counters;
	pthread_t thread;
	(void)state;
	mock->token_absent(MOCK_FOREVER);
	assert_int_equal(
		pthread_create(&thread, NULL, return_the_token_after_a_restart, NULL), 0);
	open_module();
	pthread_join(thread, NULL);
	mock->counters(&counters);
	assert_true(counters.initializes > 1);
	assert_int_equal(counters.finalizes, counters.initializes - 1);
	hp_module_close(&module);
}

/* Its other user would lose all sessions. */
static void a_module_with_another_user_is_not_restarted(void **state)
{
	struct hp_module *other = NULL;
	struct mock_counters counters;
	hsmpool_error err = { 0 };
	(void)state;
	open_module();
	assert_ok(hp_module_open(&other, fixture.module, NULL, NULL, &err), &err);
	mock->token_absent(MOCK_FOREVER);
	assert_status(hp_token_find(other, NULL, &token, &err), HSMPOOL_ERR_DOWN);
	mock->counters(&counters);
	assert_int_equal(counters.initializes, 1);
	hp_module_close(&other);
	hp_module_close(&module);
}

static void a_restart_that_fails_is_reported_and_the_module_starts_later(void **state)
{
	hsmpool_error err = { 0 };
	(void)state;
	open_module();
	mock->token_absent(MOCK_FOREVER);
	fail_next("C_Initialize", CKR_DEVICE_ERROR);
	assert_status(hp_token_find(module, NULL, &token, &err), HSMPOOL_ERR_DOWN);
	assert_int_equal(err.ck_rv, CKR_DEVICE_ERROR);
	mock->token_present();
	hp_module_close(&module);
	open_module();
	hp_module_close(&module);
}

/* --- a call that hangs ------------------------------------------------------- */

static void *digest_once(void *argument)
{
	return digest(argument) == CKR_OK ? NULL : argument;
}

static void a_call_is_stamped_from_its_begin_to_its_end(void **state)
{
	struct hp_session s;
	pthread_t thread;
	void *failed = NULL;
	(void)state;
	open_module();
	open_session(&s, 2);
	int64_t before = hp_now_coarse_ns();
	mock->hang("C_Digest", 1);
	assert_int_equal(pthread_create(&thread, NULL, digest_once, &s), 0);
	while (mock->hung() == 0)
		sched_yield();
	int64_t since = atomic_load(&s.call_since_ns);
	assert_true(since >= before && since <= hp_now_coarse_ns());
	assert_int_equal(hp_gate_count(&module->gate), 1);
	assert_false(hp_gate_close(module, hp_now_ns() + 10 * HP_MS));
	mock->release();
	pthread_join(thread, &failed);
	assert_null(failed);
	assert_int_equal(atomic_load(&s.call_since_ns), 0);
	assert_int_equal(hp_gate_count(&module->gate), 0);
	hp_session_close(&s);
	hp_module_close(&module);
}

/* --- operations that stay active --------------------------------------------- */

/* row 24: whatever fails and wherever, the book never calls a dirty session clean. */
static void a_failed_operation_is_never_taken_for_ended(void **state)
{
	static const CK_RV answers[] = { CKR_GENERAL_ERROR, CKR_DEVICE_ERROR,
					 CKR_FUNCTION_FAILED, CKR_DATA_LEN_RANGE };
	(void)state;
	open_module();
	for (size_t i = 0; i < HP_ARRAY_LEN(answers); i++) {
		struct hp_session s;
		struct mock_failure failure = { .function = "C_Digest",
						.rv = answers[i],
						.leave_active = true };
		open_session(&s, 0);
		(mock->fail)(&failure);
		assert_int_equal(digest(&s), answers[i]);
		assert_int_equal(s.active, 0);
		assert_true(s.is_unsure);
		assert_false(hp_session_clean(&s));
		assert_int_equal(digest(&s), CKR_OPERATION_ACTIVE);
		assert_false(hp_session_clean(&s));
		hp_session_close(&s);
	}
	hp_module_close(&module);
}

/* The finishing call fails, but a second one proves that nothing is left. */
static void the_module_is_asked_twice_before_a_session_is_given_up(void **state)
{
	struct hp_session s;
	(void)state;
	open_module();
	open_session(&s, 0);
	assert_int_equal(hp_digest_init(&s, &sha256), CKR_OK);
	fail_next("C_DigestFinal", CKR_GENERAL_ERROR);
	assert_true(hp_session_clean(&s));
	assert_int_equal(digest(&s), CKR_OK);

	struct mock_failure failure = { .function = "C_DigestFinal",
					.rv = CKR_GENERAL_ERROR,
					.count = 2,
					.leave_active = true };
	assert_int_equal(hp_digest_init(&s, &sha256), CKR_OK);
	(mock->fail)(&failure);
	assert_false(hp_session_clean(&s));
	hp_session_close(&s);
	hp_module_close(&module);
}

/* The search is ended although a step of it failed; its own answer is the one given. */
static void a_search_that_fails_half_way_leaves_no_search_active(void **state)
{
	struct hp_session s;
	CK_OBJECT_HANDLE found[4];
	CK_ULONG count = 99;
	(void)state;
	open_module();
	open_session(&s, 0);
	fail_next("C_FindObjects", CKR_DEVICE_MEMORY);
	assert_int_equal(hp_find_objects(&s, NULL, 0, found, 4, &count),
			 CKR_DEVICE_MEMORY);
	assert_int_equal(count, 0);
	assert_int_equal(s.active, 0);
	assert_int_equal(hp_find_objects(&s, NULL, 0, found, 4, &count), CKR_OK);
	fail_next("C_FindObjectsFinal", CKR_FUNCTION_FAILED);
	assert_int_equal(hp_find_objects(&s, NULL, 0, found, 4, &count),
			 CKR_FUNCTION_FAILED);
	assert_true(s.is_unsure);
	hp_session_close(&s);
	hp_module_close(&module);
}

static int reset_mock(void **state)
{
	(void)state;
	mock->reset();
	return 0;
}

/* L: opened equals closed, whatever was injected. */
static int check_balance(void **state)
{
	char why[200] = "";
	(void)state;
	bool is_balanced = mock->check_balance(why, sizeof(why));
	mock->reset();
	if (!is_balanced)
		fail_msg("%s", why);
	return 0;
}

static int make_ground(void **state)
{
	(void)state;
	fixture_mock(&fixture);
	mock = fixture_mock_control();
	return 0;
}

static int remove_ground(void **state)
{
	(void)state;
	fixture_remove(&fixture);
	return 0;
}

#define TEST(function) \
	cmocka_unit_test_setup_teardown(function, reset_mock, check_balance)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_module_that_cannot_lock_gets_one_call_at_a_time),
		TEST(serialising_ends_when_the_module_can_lock_again),
		TEST(a_module_that_does_not_start_is_reported_and_may_start_later),
		TEST(a_module_that_fails_at_its_first_question_is_not_left_initialised),
		TEST(a_token_list_that_fails_is_an_error_with_its_name),
		TEST(a_token_that_is_gone_for_a_while_is_found_again),
		TEST(a_token_that_was_overlooked_at_the_start_is_found_by_a_restart),
		TEST(a_module_with_another_user_is_not_restarted),
		TEST(a_restart_that_fails_is_reported_and_the_module_starts_later),
		TEST(a_call_is_stamped_from_its_begin_to_its_end),
		TEST(a_failed_operation_is_never_taken_for_ended),
		TEST(the_module_is_asked_twice_before_a_session_is_given_up),
		TEST(a_search_that_fails_half_way_leaves_no_search_active),
	};
	return cmocka_run_group_tests(tests, make_ground, remove_ground);
}

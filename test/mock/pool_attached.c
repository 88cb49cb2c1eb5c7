/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attached sessions: an operation keeps one between two of its calls, until somebody
 * else needs it.
 */
#include "mock/pool_ground.h"

#include <semaphore.h>
#include <stdio.h>
#include "mock/mock.h"

static struct hp_session *borrow_want(struct ground *g, enum hp_want want)
{
	struct hp_session *s = NULL;
	hsmpool_error err;
	assert_ok(hp_pool_borrow(g->pool, want, "test", TEST_PATIENCE, &s, &err), &err);
	return s;
}

static struct hp_session *borrow(struct ground *g)
{
	return borrow_want(g, HP_WANT_ANY);
}

/* A digest that is going on. */
static void begin_digest(struct hp_session *s)
{
	CK_MECHANISM sha256 = { CKM_SHA256, NULL, 0 };
	assert_int_equal(hp_digest_init(s, &sha256), CKR_OK);
	assert_int_equal(s->active, HP_OP_DIGEST);
}

static void begin_signature(struct hp_session *s)
{
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof class },
				    { CKA_LABEL, (void *)(uintptr_t) "ec", 2 } };
	CK_MECHANISM ecdsa = { CKM_ECDSA, NULL, 0 };
	CK_OBJECT_HANDLE key;
	CK_ULONG found;
	assert_int_equal(hp_find_objects(s, template, 2, &key, 1, &found), CKR_OK);
	assert_int_equal(found, 1);
	assert_int_equal(hp_sign_init(s, &ecdsa, key), CKR_OK);
}

static void the_owner_takes_up_the_session_it_left(void **state)
{
	struct ground *g = *state;
	struct hp_lease lease;
	ground_open(g, "max-sessions", "2", NULL);
	struct hp_session *s = borrow(g);
	begin_digest(s);
	hp_pool_leave_attached(s, 0, &lease);
	assert_int_equal(ground_stats(g).attached, 1);
	assert_int_equal(ground_stats(g).used, 0);
	assert_ptr_equal(hp_pool_take_up(g->pool, &lease, "test"), s);
	assert_int_equal(s->active, HP_OP_DIGEST);
	assert_null(lease.entry);
	hp_pool_return(s, CKR_OK);
}

static void an_operation_is_one_borrow_whoever_ends_it(void **state)
{
	struct ground *g = *state;
	struct hp_lease lease;
	ground_open(g, "max-sessions", "1", "min-sessions", "0", NULL);
	uint64_t before = ground_stats(g).returned;
	struct hp_session *s = borrow(g);
	begin_digest(s);
	hp_pool_leave_attached(s, 0, &lease);
	assert_int_equal(ground_stats(g).returned - before, 0);
	hp_pool_return(hp_pool_take_up(g->pool, &lease, "test"), CKR_OK);
	assert_int_equal(ground_stats(g).returned - before, 1);
	s = borrow(g);
	begin_digest(s);
	hp_pool_leave_attached(s, 0, &lease);
	s = borrow(g); /* takes it away */
	assert_int_equal(ground_stats(g).returned - before, 2);
	begin_digest(s);
	hp_pool_leave_attached(s, 0, &lease);
	hsmpool_error err;
	assert_ok(hsmpool_pause(g->pool, TEST_PATIENCE, &err), &err);
	hsmpool_resume(g->pool);
	hp_pool_return(borrow(g), CKR_OK);
	hsmpool_stats stats = ground_stats(g);
	assert_int_equal(stats.borrowed_direct + stats.borrowed_waited, stats.returned);
}

static void a_free_session_is_preferred_to_an_attached_one(void **state)
{
	struct ground *g = *state;
	struct hp_lease lease;
	ground_open(g, "max-sessions", "2", NULL);
	struct hp_session *s = borrow(g);
	begin_digest(s);
	hp_pool_leave_attached(s, 0, &lease);
	struct hp_session *other = borrow(g);
	assert_ptr_not_equal(other, s);
	assert_ptr_equal(hp_pool_take_up(g->pool, &lease, "test"), s);
	hp_pool_return(other, CKR_OK);
	hp_pool_return(s, CKR_OK);
}

static void who_finds_no_other_gets_it_clean(void **state)
{
	struct ground *g = *state;
	struct hp_lease lease;
	ground_open(g, "max-sessions", "1", NULL);
	struct hp_session *s = borrow(g);
	begin_digest(s);
	hp_pool_leave_attached(s, 0, &lease);
	struct hp_session *other = borrow_want(g, HP_WANT_CLEAN);
	assert_int_equal(other->active, 0);
	begin_digest(other);
	assert_null(hp_pool_take_up(g->pool, &lease, "test"));
	hp_pool_return(other, CKR_OK);
	assert_int_equal(ground_counters(g).sessions_peak, 1);
}

/* Counters and counting keys: a signature is given up, never finished. */
static void a_signature_is_not_finished_to_clean_up(void **state)
{
	struct ground *g = *state;
	struct hp_lease lease;
	ground_open(g, "max-sessions", "2", NULL);
	struct hp_session *anchor = borrow(g), *s = borrow(g);
	begin_signature(s);
	hp_pool_leave_attached(s, 0, &lease);
	struct hp_session *other = borrow(g);
	assert_int_equal(other->active, 0);
	assert_int_equal(g->mock->executed("C_Sign"), 0);
	assert_int_equal(g->mock->executed("C_SignFinal"), 0);
	hp_pool_return(other, CKR_OK);
	hp_pool_return(anchor, CKR_OK);
}

static void a_session_that_was_lent_and_came_back_is_not_the_owners_any_more(void **state)
{
	struct ground *g = *state;
	struct hp_lease lease;
	ground_open(g, "max-sessions", "1", NULL);
	struct hp_session *s = borrow(g);
	begin_digest(s);
	hp_pool_leave_attached(s, 0, &lease);
	hp_pool_return(borrow(g), CKR_OK);
	struct hp_lease second;
	struct hp_session *again = borrow(g);
	begin_digest(again);
	hp_pool_leave_attached(again, 0, &second);
	assert_null(hp_pool_take_up(g->pool, &lease, "test"));
	assert_ptr_equal(hp_pool_take_up(g->pool, &second, "test"), again);
	hp_pool_return(again, CKR_OK);
}

static void *wait_for_one(void *argument)
{
	struct ground *g = argument;
	hp_pool_return(borrow(g), CKR_OK);
	return NULL;
}

static void who_waits_gets_it_at_once(void **state)
{
	struct ground *g = *state;
	struct hp_lease lease;
	ground_open(g, "max-sessions", "1", NULL);
	struct hp_session *s = borrow(g);
	struct crew crew = crew_start(1, wait_for_one, g);
	eventually(ground_stats(g).waiters == 1);
	begin_digest(s);
	hp_pool_leave_attached(s, 0, &lease);
	crew_join(&crew);
	assert_null(hp_pool_take_up(g->pool, &lease, "test"));
}

static void a_pinned_one_is_not_taken_away_before_its_time(void **state)
{
	struct ground *g = *state;
	struct hp_lease lease;
	struct hp_session *other = NULL;
	hsmpool_error err;
	ground_open(g, "max-sessions", "1", NULL);
	struct hp_session *s = borrow(g);
	begin_digest(s);
	hp_pool_leave_attached(s, HP_FOREVER, &lease);
	assert_status(hp_pool_borrow(g->pool, HP_WANT_ANY, "test",
				     hsmpool_deadline_in(30), &other, &err),
		      HSMPOOL_ERR_TIMEOUT);
	assert_ptr_equal(hp_pool_take_up(g->pool, &lease, "test"), s);
	hp_pool_return(s, CKR_OK);
}

static void who_waits_for_a_pinned_one_gets_it_when_its_time_is_over(void **state)
{
	struct ground *g = *state;
	struct hp_lease lease;
	ground_open(g, "max-sessions", "1", "leak-warn", "20ms", NULL);
	struct hp_session *s = borrow(g);
	begin_digest(s);
	hp_pool_leave_attached(s, hp_now_ns() + 50 * HP_MS, &lease);
	hp_pool_return(borrow(g), CKR_OK);
	assert_null(hp_pool_take_up(g->pool, &lease, "test"));
}

/* Who has it holds it until the test lets go. */
struct holder {
	struct ground *g;
	sem_t let_go;
};

static void *hold_one(void *argument)
{
	struct holder *holder = argument;
	struct hp_session *s;
	if (hp_pool_borrow(holder->g->pool, HP_WANT_ANY, "test", TEST_PATIENCE, &s,
			   NULL) != HSMPOOL_OK)
		return NULL;
	sem_wait(&holder->let_go);
	hp_pool_return(s, CKR_OK);
	return NULL;
}

/* Of those who wait one watches what is attached; it may be served before the others. */
static void an_attached_one_is_not_forgotten_when_its_watcher_is_served(void **state)
{
	struct ground *g = *state;
	struct holder holder = { .g = g };
	struct hp_lease lease;
	sem_init(&holder.let_go, 0, 0);
	ground_open(g, "max-sessions", "2", "keeper", "no", NULL);
	struct hp_session *s = borrow(g), *other = borrow(g);
	struct crew crew = crew_start(2, hold_one, &holder);
	eventually(ground_stats(g).waiters == 2);
	begin_digest(s);
	hp_pool_leave_attached(s, hp_now_ns() + 50 * HP_MS, &lease);
	hp_pool_return(other, CKR_OK);
	eventually(ground_stats(g).used == 2);
	sem_post(&holder.let_go);
	sem_post(&holder.let_go);
	crew_join(&crew);
	sem_destroy(&holder.let_go);
	assert_null(hp_pool_take_up(g->pool, &lease, "test"));
}

/* It sleeps, and is told when the first is left. */
static void who_waited_before_anything_was_attached_gets_it(void **state)
{
	struct ground *g = *state;
	struct holder holder = { .g = g };
	struct hp_lease lease;
	sem_init(&holder.let_go, 0, 0);
	ground_open(g, "max-sessions", "2", "keeper", "no", NULL);
	struct hp_session *s = borrow(g), *other = borrow(g);
	struct crew crew = crew_start(2, hold_one, &holder);
	eventually(ground_stats(g).waiters == 2);
	hp_pool_return(other, CKR_OK);
	eventually(ground_stats(g).waiters == 1);
	begin_digest(s);
	hp_pool_leave_attached(s, 0, &lease);
	eventually(ground_stats(g).used == 2);
	sem_post(&holder.let_go);
	sem_post(&holder.let_go);
	crew_join(&crew);
	sem_destroy(&holder.let_go);
	assert_null(hp_pool_take_up(g->pool, &lease, "test"));
}

static void close_closes_attached_sessions(void **state)
{
	struct ground *g = *state;
	struct hp_lease lease;
	ground_open(g, "max-sessions", "2", NULL);
	struct hp_session *s = borrow(g);
	begin_digest(s);
	hp_pool_leave_attached(s, HP_FOREVER, &lease);
	hsmpool_close(&g->pool);
	assert_int_equal(ground_counters(g).sessions_now, 0);
}

static void a_paused_pool_lends_no_attached_session(void **state)
{
	struct ground *g = *state;
	struct hp_lease lease;
	hsmpool_error err;
	ground_open(g, "max-sessions", "2", NULL);
	struct hp_session *anchor = borrow(g), *s = borrow(g);
	begin_digest(s);
	hp_pool_leave_attached(s, 0, &lease);
	hp_pool_return(anchor, CKR_OK);
	assert_ok(hsmpool_pause(g->pool, TEST_PATIENCE, &err), &err);
	assert_null(hp_pool_take_up(g->pool, &lease, "test"));
	assert_int_equal(ground_stats(g).open, 1);
	hsmpool_resume(g->pool);
	hp_pool_return(borrow(g), CKR_OK);
}

static void the_token_is_lost_and_so_is_what_was_attached(void **state)
{
	struct ground *g = *state;
	struct hp_lease lease;
	ground_open(g, "max-sessions", "2", NULL);
	struct hp_session *s = borrow(g), *other = borrow(g);
	begin_digest(s);
	hp_pool_leave_attached(s, 0, &lease);
	assert_int_equal(hp_pool_return(other, CKR_DEVICE_REMOVED), HP_RV_TOKEN_GONE);
	assert_null(hp_pool_take_up(g->pool, &lease, "test"));
	hp_pool_return(borrow(g), CKR_OK);
}

/* --- the application's own login ------------------------------------------------------
 */

static CK_STATE state_of(struct hp_session *s)
{
	CK_SESSION_INFO info;
	assert_int_equal(hp_session_info(s, &info), CKR_OK);
	return info.state;
}

static void a_login_of_the_applications_own_is_repeated_after_a_loss(void **state)
{
	struct ground *g = *state;
	fixture_set(&g->fixture, "pin-source", NULL);
	ground_open(g, "max-sessions", "2", NULL);
	struct hp_session *s = borrow(g);
	assert_int_equal(state_of(s), CKS_RO_PUBLIC_SESSION);
	assert_int_equal(hp_pool_login_as(s, CKU_USER, (const CK_BYTE *)"9999", 4),
			 CKR_PIN_INCORRECT);
	assert_int_equal(hp_pool_login_as(s, CKU_USER, (const CK_BYTE *)FIXTURE_USER_PIN,
					  sizeof FIXTURE_USER_PIN - 1),
			 CKR_OK);
	hp_pool_return(s, CKR_OK);
	g->mock->reboot(NULL);
	/* The first to notice; the next borrower is logged in again. */
	s = borrow(g);
	hp_pool_return(s, CKR_SESSION_HANDLE_INVALID);
	s = borrow(g);
	assert_int_equal(state_of(s), CKS_RO_USER_FUNCTIONS);
	hp_pool_return(s, CKR_OK);
	assert_int_equal(ground_counters(g).logins_tried, 3);
}

/* Other processes that log in disturb SoftHSM2 in passing. */
static void a_login_that_fails_for_no_reason_is_tried_again(void **state)
{
	struct ground *g = *state;
	fixture_set(&g->fixture, "pin-source", NULL);
	ground_open(g, "max-sessions", "2", NULL);
	ground_script(g, "fail=C_Login:1+2:CKR_GENERAL_ERROR");
	struct hp_session *s = borrow(g);
	assert_int_equal(hp_pool_login_as(s, CKU_USER, (const CK_BYTE *)FIXTURE_USER_PIN,
					  sizeof FIXTURE_USER_PIN - 1),
			 CKR_OK);
	assert_int_equal(g->mock->calls("C_Login"), 3);
	hp_pool_return(s, CKR_OK);
}

/* L15: whatever it was, a token that counts is not asked again. */
static void a_login_that_may_have_spent_a_try_is_not_repeated(void **state)
{
	struct ground *g = *state;
	fixture_set(&g->fixture, "pin-source", NULL);
	ground_open(g, "max-sessions", "2", NULL);
	g->mock->pin_tries(5);
	struct hp_session *s = borrow(g);
	assert_int_equal(hp_pool_login_as(s, CKU_USER, (const CK_BYTE *)"9999", 4),
			 CKR_PIN_INCORRECT);
	ground_script(g, "fail=C_Login:1+2:CKR_GENERAL_ERROR");
	assert_int_equal(hp_pool_login_as(s, CKU_USER, (const CK_BYTE *)"9999", 4),
			 CKR_GENERAL_ERROR);
	assert_int_equal(g->mock->calls("C_Login"), 2);
	hp_pool_return(s, CKR_OK);
}

static void after_a_logout_nobody_logs_in_again(void **state)
{
	struct ground *g = *state;
	fixture_set(&g->fixture, "pin-source", NULL);
	ground_open(g, "max-sessions", "2", NULL);
	struct hp_session *s = borrow(g);
	assert_int_equal(hp_pool_login_as(s, CKU_USER, (const CK_BYTE *)FIXTURE_USER_PIN,
					  sizeof FIXTURE_USER_PIN - 1),
			 CKR_OK);
	assert_int_equal(hp_pool_logout(s), CKR_OK);
	hp_pool_return(s, CKR_SESSION_HANDLE_INVALID);
	s = borrow(g);
	assert_int_equal(state_of(s), CKS_RO_PUBLIC_SESSION);
	hp_pool_return(s, CKR_OK);
	assert_int_equal(ground_counters(g).logins_tried, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(the_owner_takes_up_the_session_it_left),
		GROUND_TEST(an_operation_is_one_borrow_whoever_ends_it),
		GROUND_TEST(a_free_session_is_preferred_to_an_attached_one),
		GROUND_TEST(who_finds_no_other_gets_it_clean),
		GROUND_TEST(a_signature_is_not_finished_to_clean_up),
		GROUND_TEST(
			a_session_that_was_lent_and_came_back_is_not_the_owners_any_more),
		GROUND_TEST(who_waits_gets_it_at_once),
		GROUND_TEST(a_pinned_one_is_not_taken_away_before_its_time),
		GROUND_TEST(who_waits_for_a_pinned_one_gets_it_when_its_time_is_over),
		GROUND_TEST(an_attached_one_is_not_forgotten_when_its_watcher_is_served),
		GROUND_TEST(who_waited_before_anything_was_attached_gets_it),
		GROUND_TEST(close_closes_attached_sessions),
		GROUND_TEST(a_paused_pool_lends_no_attached_session),
		GROUND_TEST(the_token_is_lost_and_so_is_what_was_attached),
		GROUND_TEST(a_login_of_the_applications_own_is_repeated_after_a_loss),
		GROUND_TEST(a_login_that_fails_for_no_reason_is_tried_again),
		GROUND_TEST(a_login_that_may_have_spent_a_try_is_not_repeated),
		GROUND_TEST(after_a_logout_nobody_logs_in_again),
	};
	return cmocka_run_group_tests_name("pool_attached", tests, NULL, NULL);
}

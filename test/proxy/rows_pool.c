/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many virtual sessions on very few real ones: nothing deadlocks, nothing is kept.
 *
 * Rows S11, S12, S23, S34 and S35 of the list of rules, on the mock.
 */
#include "operations_ground.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/time.h"
#include "support/sanitizers.h"

static struct ground *g;

static const struct mock_control *control(void)
{
	return fixture_mock_control();
}

static uint64_t peak(void)
{
	struct mock_counters counters;
	control()->counters(&counters);
	return counters.sessions_peak;
}

/* --- calls ----------------------------------------------------------------------------
 */

enum kind { ENCRYPT, DECRYPT, DIGEST, SIGN, SIGN_RECOVER, VERIFY, SEARCH, KINDS };

static CK_RV begin(CK_SESSION_HANDLE session, enum kind kind)
{
	CK_BYTE iv[16] = { 0 };
	CK_MECHANISM cbc = { CKM_AES_CBC_PAD, iv, sizeof(iv) };
	CK_MECHANISM sha = { CKM_SHA256, NULL, 0 };
	CK_MECHANISM mac = { CKM_SHA256_HMAC, NULL, 0 };
	CK_MECHANISM rsa = { CKM_RSA_PKCS, NULL, 0 };
	switch (kind) {
	case ENCRYPT:
		return g->p11->C_EncryptInit(session, &cbc, g->aes);
	case DECRYPT:
		return g->p11->C_DecryptInit(session, &cbc, g->aes);
	case DIGEST:
		return g->p11->C_DigestInit(session, &sha);
	case SIGN:
		return g->p11->C_SignInit(session, &mac, g->hmac);
	case SIGN_RECOVER:
		return g->p11->C_SignRecoverInit(session, &rsa, g->rsa);
	case VERIFY:
		return g->p11->C_VerifyInit(session, &mac, g->hmac);
	default:
		return g->p11->C_FindObjectsInit(session, NULL, 0);
	}
}

static CK_RV go_on(CK_SESSION_HANDLE session, enum kind kind)
{
	CK_BYTE in[32] = { 0 }, out[64];
	CK_ULONG len = sizeof(out);
	CK_OBJECT_HANDLE found;
	switch (kind) {
	case ENCRYPT:
		return g->p11->C_EncryptUpdate(session, in, sizeof(in), out, &len);
	case DECRYPT:
		return g->p11->C_DecryptUpdate(session, in, sizeof(in), out, &len);
	case DIGEST:
		return g->p11->C_DigestUpdate(session, in, sizeof(in));
	case SIGN:
		return g->p11->C_SignUpdate(session, in, sizeof(in));
	case SIGN_RECOVER:
		return CKR_OK;
	case VERIFY:
		return g->p11->C_VerifyUpdate(session, in, sizeof(in));
	default:
		return g->p11->C_FindObjects(session, &found, 1, &len);
	}
}

static CK_RV finish(CK_SESSION_HANDLE session, enum kind kind)
{
	CK_BYTE in[32] = { 0 }, out[512];
	CK_ULONG len = sizeof(out);
	CK_RV rv;
	switch (kind) {
	case ENCRYPT:
		return g->p11->C_EncryptFinal(session, out, &len);
	case DECRYPT: /* of nothing that was ever encrypted */
		rv = g->p11->C_DecryptFinal(session, out, &len);
		return rv == CKR_ENCRYPTED_DATA_INVALID || rv == CKR_GENERAL_ERROR
			       ? CKR_OK
			       : rv;
	case DIGEST:
		return g->p11->C_DigestFinal(session, out, &len);
	case SIGN:
		return g->p11->C_SignFinal(session, out, &len);
	case SIGN_RECOVER:
		return g->p11->C_SignRecover(session, in, sizeof(in), out, &len);
	case VERIFY:
		rv = g->p11->C_VerifyFinal(session, in, sizeof(in));
		return rv == CKR_SIGNATURE_INVALID ? CKR_OK : rv;
	default:
		return g->p11->C_FindObjectsFinal(session);
	}
}

static CK_RV digest(CK_SESSION_HANDLE session)
{
	CK_RV rv = begin(session, DIGEST);
	return rv == CKR_OK ? finish(session, DIGEST) : rv;
}

/* --- no deadlock -----------------------------------------------------------------------
 */

/* S12: of two virtual sessions, and of one with two kinds at once. */
static void no_two_operations_stand_in_each_others_way_on_a_pool_of_one(void **state)
{
	g = *state;
	ground_begin(g, 1, "borrow-timeout = 3s", NULL);
	CK_SESSION_HANDLE other = ground_session(g);
	for (enum kind a = 0; a < KINDS; a++) {
		for (enum kind b = 0; b < KINDS; b++) {
			for (int same = 0; same < 2; same++) {
				CK_SESSION_HANDLE second = same ? g->main : other;
				if (same && a == b)
					continue;
				assert_rv(begin(g->main, a), CKR_OK);
				assert_rv(begin(second, b), CKR_OK);
				assert_rv(go_on(g->main, a), CKR_OK);
				assert_rv(go_on(second, b), CKR_OK);
				assert_rv(finish(g->main, a), CKR_OK);
				assert_rv(finish(second, b), CKR_OK);
			}
		}
	}
	assert_int_equal(peak(), 1);
	ground_end(g);
}

struct walker {
	pthread_t thread;
	unsigned seed;
	unsigned steps;
	CK_RV rv;
	int at;
};

#define WALK_SESSIONS 6

/* One more session object, or one fewer. */
static CK_RV walk_object(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *object)
{
	CK_OBJECT_CLASS class = CKO_DATA;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_VALUE, (void *)(uintptr_t) "value", 5 },
	};
	CK_OBJECT_HANDLE old = *object;
	*object = CK_INVALID_HANDLE;
	return old != CK_INVALID_HANDLE
		       ? g->p11->C_DestroyObject(session, old)
		       : g->p11->C_CreateObject(session, template, 2, object);
}

static CK_RV walk_aside(CK_SESSION_HANDLE session, unsigned dice)
{
	CK_BYTE bytes[8];
	CK_OBJECT_CLASS class;
	CK_ATTRIBUTE look = { CKA_CLASS, &class, sizeof(class) };
	return dice % 2 ? g->p11->C_GenerateRandom(session, bytes, sizeof(bytes))
			: g->p11->C_GetAttributeValue(session, g->aes, &look, 1);
}

/* One step of a session that has these kinds active. */
static CK_RV walk_step(CK_SESSION_HANDLE *session, CK_OBJECT_HANDLE *object,
		       unsigned *active, unsigned dice)
{
	enum kind kind = (enum kind)(dice % KINDS);
	unsigned what = dice / KINDS % 16;
	CK_RV rv = CKR_OK;
	if (what == 0) { /* everything is abandoned */
		rv = g->p11->C_CloseSession(*session);
		*active = 0;
		*object = CK_INVALID_HANDLE;
		if (rv == CKR_OK)
			rv = g->p11->C_OpenSession(g->slot,
						   CKF_SERIAL_SESSION | CKF_RW_SESSION,
						   NULL, NULL, session);
	} else if (what == 1) {
		rv = walk_object(*session, object);
	} else if (what < 4) {
		rv = walk_aside(*session, dice / 1024);
	} else if (!(*active & (1u << kind))) {
		rv = begin(*session, kind);
		*active |= 1u << kind;
	} else if (what < 10) {
		rv = go_on(*session, kind);
	} else {
		rv = finish(*session, kind);
		*active &= ~(1u << kind);
	}
	return rv;
}

/* With several virtual sessions, at random, in every order. */
static void *walk(void *argument)
{
	struct walker *w = argument;
	CK_SESSION_HANDLE sessions[WALK_SESSIONS];
	CK_OBJECT_HANDLE objects[WALK_SESSIONS] = { 0 };
	unsigned active[WALK_SESSIONS] = { 0 };
	for (unsigned i = 0; i < WALK_SESSIONS && w->rv == CKR_OK; i++)
		w->rv = g->p11->C_OpenSession(g->slot,
					      CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL,
					      NULL, &sessions[i]);
	for (unsigned step = 0; step < w->steps && w->rv == CKR_OK; step++) {
		unsigned dice = (unsigned)rand_r(&w->seed);
		unsigned who = (unsigned)rand_r(&w->seed) % WALK_SESSIONS;
		w->rv = walk_step(&sessions[who], &objects[who], &active[who], dice);
		w->at = (int)(dice / KINDS % 16 * 100 + dice % KINDS);
	}
	return NULL;
}

static void walk_together(unsigned real_sessions, unsigned threads, unsigned steps)
{
	static struct walker walkers[8];
	ground_begin(g, real_sessions, "borrow-timeout = 5s", NULL);
	for (unsigned i = 0; i < threads; i++) {
		walkers[i] = (struct walker){ .seed = i + 1, .steps = steps };
		pthread_create(&walkers[i].thread, NULL, walk, &walkers[i]);
	}
	for (unsigned i = 0; i < threads; i++)
		pthread_join(walkers[i].thread, NULL);
	for (unsigned i = 0; i < threads; i++)
		if (walkers[i].rv != CKR_OK)
			fail_msg("thread %u: 0x%lx at %d", i, walkers[i].rv,
				 walkers[i].at);
	assert_true(peak() <= real_sessions);
	ground_end(g);
}

/* S12 */
static void one_thread_with_any_operations_goes_on_with_one_real_session(void **state)
{
	g = *state;
	walk_together(1, 1, 4000);
}

/* S12, S35 */
static void threads_with_any_operations_go_on_with_one_real_session(void **state)
{
	g = *state;
	walk_together(1, 8, 500);
}

static void threads_with_any_operations_go_on_with_two_real_sessions(void **state)
{
	g = *state;
	walk_together(2, 8, 1000);
}

/* --- deadlines
 * -------------------------------------------------------------------------- */

static void *hang_in_digest(void *session)
{
	digest(*(CK_SESSION_HANDLE *)session);
	return NULL;
}

/* S34: CKR_FUNCTION_FAILED, neither before its time nor long after. */
static void who_gets_no_session_in_time_is_told_that_the_function_failed(void **state)
{
	g = *state;
	ground_begin(g, 1, "borrow-timeout = 200ms", NULL);
	CK_SESSION_HANDLE other = ground_session(g);
	pthread_t thread;
	control()->hang("C_DigestInit", 1);
	pthread_create(&thread, NULL, hang_in_digest, &other);
	while (control()->hung() == 0)
		sched_yield();
	int64_t before = hp_now_ns();
	assert_rv(digest(g->main), CKR_FUNCTION_FAILED);
	int64_t waited = hp_now_ns() - before;
	assert_true(waited >= 190 * HP_MS && waited < 5 * HP_SECOND);
	control()->release();
	pthread_join(thread, NULL);
	assert_rv(digest(g->main), CKR_OK);
	ground_end(g);
}

/* S23, S34: while the token is away the application hears that, not of our sessions. */
static void an_absent_token_gives_the_codes_that_programs_know(void **state)
{
	g = *state;
	ground_begin(g, 2, "borrow-timeout = 200ms", NULL);
	control()->token_absent(MOCK_FOREVER);
	for (int i = 0; i < 3; i++) {
		CK_RV rv = digest(g->main);
		if (rv != CKR_TOKEN_NOT_PRESENT && rv != CKR_DEVICE_REMOVED &&
		    rv != CKR_DEVICE_ERROR)
			fail_msg("call %d: 0x%lx", i, rv);
	}
	control()->token_present();
	int64_t end = hp_now_ns() + TEST_PATIENCE_NS;
	CK_RV rv;
	do
		rv = digest(g->main);
	while (rv != CKR_OK && hp_now_ns() < end);
	assert_rv(rv, CKR_OK);
	ground_end(g);
}

/* --- nothing is kept
 * -------------------------------------------------------------------- */

/* S11, L27 */
static void abandoned_operations_never_keep_a_real_session(void **state)
{
	g = *state;
	ground_begin(g, 2, "borrow-timeout = 3s", NULL);
	for (unsigned i = 0; i < 200; i++) {
		CK_SESSION_HANDLE session = ground_session(g);
		assert_rv(begin(session, (enum kind)(i % KINDS)), CKR_OK);
		if (i % 2)
			assert_rv(go_on(session, (enum kind)(i % KINDS)), CKR_OK);
		if (i % 3 == 0)
			assert_rv(g->p11->C_CloseSession(session), CKR_OK);
	}
	/* Both at once are free for others. */
	CK_SESSION_HANDLE other = ground_session(g);
	pthread_t thread;
	control()->hang("C_DigestInit", 1);
	pthread_create(&thread, NULL, hang_in_digest, &other);
	while (control()->hung() == 0)
		sched_yield();
	assert_rv(digest(g->main), CKR_OK);
	control()->release();
	pthread_join(thread, NULL);
	assert_true(peak() <= 2);
	ground_end(g);
}

/* --- thousands
 * -------------------------------------------------------------------------- */

#define THREADS    64
#define PER_THREAD 32 /* 2,048 in all */

static _Atomic unsigned failures;

static void check(CK_RV rv)
{
	if (rv != CKR_OK)
		atomic_fetch_add(&failures, 1);
}

/* All sessions of a thread at once have an operation half done. */
static void *use_many(void *argument)
{
	CK_SESSION_HANDLE sessions[PER_THREAD];
	unsigned first = (unsigned)(uintptr_t)argument;
	for (unsigned i = 0; i < PER_THREAD; i++)
		check(g->p11->C_OpenSession(g->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION,
					    NULL, NULL, &sessions[i]));
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < PER_THREAD; i++)
			check(begin(sessions[i], (enum kind)((first + i) % KINDS)));
		for (unsigned i = 0; i < PER_THREAD; i++)
			check(go_on(sessions[i], (enum kind)((first + i) % KINDS)));
		for (unsigned i = 0; i < PER_THREAD; i++)
			check(finish(sessions[i], (enum kind)((first + i) % KINDS)));
	}
	return NULL;
}

/* S10, S11: the most that an HSM allows is never exceeded, however much is asked. */
static void two_thousand_sessions_in_64_threads_never_need_a_fifth_real_one(void **state)
{
	static pthread_t threads[THREADS];
	g = *state;
	ground_begin(g, 4, "borrow-timeout = 60s\nmax-waiters = 4096", NULL);
	control()->session_limit(4);
	atomic_store(&failures, 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, use_many, (void *)(uintptr_t)i);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&failures), 0);
	assert_true(peak() <= 4);
	CK_TOKEN_INFO info;
	control()->report_limit(8);
	assert_rv(g->p11->C_GetTokenInfo(g->slot, &info), CKR_OK);
	assert_int_equal(info.ulSessionCount, THREADS * PER_THREAD + 1);
	ground_end(g);
}

static void *sign_often(void *argument)
{
	CK_SESSION_HANDLE session = *(CK_SESSION_HANDLE *)argument;
	for (int i = 0; i < 200; i++) {
		check(begin(session, SIGN));
		check(finish(session, SIGN));
	}
	return NULL;
}

/* L8: others wait, but who comes back at once finds its session where it was. To take it
 * away would cost a closing, an opening and a second Init for each signature. */
static void a_crowd_costs_no_more_calls_than_one(void **state)
{
	enum { CROWD = 16 };
	pthread_t threads[CROWD];
	CK_SESSION_HANDLE sessions[CROWD];
	struct mock_counters counters;
	g = *state;
	ground_begin(g, 4, "borrow-timeout = 60s", NULL);
	control()->latency("C_SignFinal", 300000);
	atomic_store(&failures, 0);
	for (int i = 0; i < CROWD; i++) {
		sessions[i] = ground_session(g);
		pthread_create(&threads[i], NULL, sign_often, &sessions[i]);
	}
	for (int i = 0; i < CROWD; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&failures), 0);
	control()->counters(&counters);
	/* A busy machine may stop a thread between two calls. */
	assert_true(control()->calls("C_SignInit") < CROWD * 200 * 11 / 10);
	assert_true(counters.sessions_closed < CROWD * 200 / 10);
	ground_end(g);
}

/* The sanitizers' malloc does not tell. */
#if !HAS_ADDRESS_SANITIZER && !HAS_THREAD_SANITIZER

/* What so many sessions cost that each have signed and encrypted once. */
static size_t memory_of(unsigned count)
{
	size_t before = mallinfo2().uordblks;
	for (unsigned i = 0; i < count; i++) {
		CK_SESSION_HANDLE session = ground_session(g);
		assert_rv(begin(session, SIGN), CKR_OK);
		assert_rv(finish(session, SIGN), CKR_OK);
		assert_rv(begin(session, ENCRYPT), CKR_OK);
		assert_rv(finish(session, ENCRYPT), CKR_OK);
	}
	return mallinfo2().uordblks - before;
}

/* S11 */
static void a_used_virtual_session_costs_less_than_a_kibibyte(void **state)
{
	g = *state;
	ground_begin(g, 2, NULL, NULL);
	memory_of(500);
	size_t few = memory_of(2000), many = memory_of(20000);
	print_message("# of 2,000 %zu B each, of 20,000 more %zu B\n", few / 2000,
		      many / 20000);
	assert_true(few / 2000 < 1024);
	/* Linear: ten times as many cost ten times as much, a tenth to either side. */
	assert_true(many < few * 11 && many > few * 9);
	ground_end(g);
}

#endif

/* --- S35: two threads on one virtual session
 * --------------------------------------------
 */

struct sharer {
	pthread_t thread;
	unsigned done;
	CK_RV strange;
};

static _Atomic bool is_over;

/* Each may find the other's operation, or its own ended by the other; nothing else. */
static void *share(void *argument)
{
	struct sharer *sharer = argument;
	while (!atomic_load(&is_over) && sharer->strange == CKR_OK) {
		CK_RV rv = digest(g->main);
		if (rv == CKR_OK)
			sharer->done++;
		else if (rv != CKR_OPERATION_ACTIVE &&
			 rv != CKR_OPERATION_NOT_INITIALIZED)
			sharer->strange = rv;
	}
	return NULL;
}

/* S35 */
static void threads_that_share_a_session_find_it_coherent(void **state)
{
	struct sharer sharers[4] = { 0 };
	g = *state;
	ground_begin(g, 2, NULL, NULL);
	atomic_store(&is_over, false);
	for (unsigned i = 0; i < 4; i++)
		pthread_create(&sharers[i].thread, NULL, share, &sharers[i]);
	while (control()->calls("C_DigestInit") < 2000)
		sched_yield();
	atomic_store(&is_over, true);
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(sharers[i].thread, NULL);
		assert_rv(sharers[i].strange, CKR_OK);
	}
	struct mock_counters counters;
	control()->counters(&counters);
	assert_int_equal(counters.session_overlaps, 0);
	CK_RV rv = begin(g->main, DIGEST);
	assert_true(rv == CKR_OK || rv == CKR_OPERATION_ACTIVE);
	assert_rv(finish(g->main, DIGEST), CKR_OK);
	ground_end(g);
}

static void *digest_until_closed(void *session)
{
	CK_RV rv;
	do
		rv = digest(*(CK_SESSION_HANDLE *)session);
	while (rv == CKR_OK);
	return (void *)rv;
}

/* S35: the one inside is not disturbed, the next call finds it closed. */
static void a_session_that_is_closed_in_use_ends_cleanly(void **state)
{
	g = *state;
	ground_begin(g, 2, NULL, NULL);
	for (int round = 0; round < 100; round++) {
		CK_SESSION_HANDLE session = ground_session(g);
		pthread_t thread;
		void *rv;
		uint64_t before = control()->calls("C_DigestInit");
		pthread_create(&thread, NULL, digest_until_closed, &session);
		while (control()->calls("C_DigestInit") < before + 3)
			sched_yield();
		assert_rv(g->p11->C_CloseSession(session), CKR_OK);
		pthread_join(thread, &rv);
		assert_rv((CK_RV)rv, CKR_SESSION_HANDLE_INVALID);
	}
	assert_rv(digest(g->main), CKR_OK);
	assert_true(peak() <= 2);
	ground_end(g);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			no_two_operations_stand_in_each_others_way_on_a_pool_of_one),
		cmocka_unit_test(
			one_thread_with_any_operations_goes_on_with_one_real_session),
		cmocka_unit_test(threads_with_any_operations_go_on_with_one_real_session),
		cmocka_unit_test(
			threads_with_any_operations_go_on_with_two_real_sessions),
		cmocka_unit_test(
			who_gets_no_session_in_time_is_told_that_the_function_failed),
		cmocka_unit_test(an_absent_token_gives_the_codes_that_programs_know),
		cmocka_unit_test(abandoned_operations_never_keep_a_real_session),
		cmocka_unit_test(
			two_thousand_sessions_in_64_threads_never_need_a_fifth_real_one),
		cmocka_unit_test(a_crowd_costs_no_more_calls_than_one),
#if !HAS_ADDRESS_SANITIZER && !HAS_THREAD_SANITIZER
		cmocka_unit_test(a_used_virtual_session_costs_less_than_a_kibibyte),
#endif
		cmocka_unit_test(threads_that_share_a_session_find_it_coherent),
		cmocka_unit_test(a_session_that_is_closed_in_use_ends_cleanly),
	};
	size_t count = sizeof(tests) / sizeof(tests[0]);
	return ground_run("rows_pool", tests, count, count, argc, argv);
}

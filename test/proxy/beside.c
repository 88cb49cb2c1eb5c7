/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes on beside an operation that keeps the only real session, or was abandoned on
 * one that owns session objects; and keys that are declared counting.
 *
 * Rows S4, S11, S12, L9, L27 of the list of rules. Each test runs on the mock and on
 * SoftHSM2 unless it looks at what the mock counts.
 */
#include "operations_ground.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static struct ground *g;

#define COUNTING "[key metered]\nuri = pkcs11:object=hmac;type=secret-key\ncounting = yes"

#define COUNTING_RSA "[key metered]\nuri = pkcs11:object=rsa;type=private\ncounting = yes"

static const struct mock_control *control(void)
{
	return fixture_mock_control();
}

/* --- calls ----------------------------------------------------------------------------
 */

static CK_RV digest(CK_SESSION_HANDLE session)
{
	CK_MECHANISM sha = { CKM_SHA256, NULL, 0 };
	CK_BYTE in[4] = { 0 }, out[32];
	CK_ULONG len = sizeof(out);
	CK_RV rv = g->p11->C_DigestInit(session, &sha);
	return rv == CKR_OK ? g->p11->C_Digest(session, in, sizeof(in), out, &len) : rv;
}

static CK_RV make_object(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *object)
{
	CK_OBJECT_CLASS class = CKO_DATA;
	CK_BBOOL no = CK_FALSE;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_TOKEN, &no, 1 },
		{ CKA_LABEL, (void *)(uintptr_t) "kept", 4 },
		{ CKA_VALUE, (void *)(uintptr_t) "value", 5 },
	};
	return g->p11->C_CreateObject(session, template, 4, object);
}

static CK_RV look_at(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
	char label[8];
	CK_ATTRIBUTE look = { CKA_LABEL, label, sizeof(label) };
	return g->p11->C_GetAttributeValue(session, object, &look, 1);
}

static CK_RV random_bytes(CK_SESSION_HANDLE session)
{
	CK_BYTE bytes[8];
	return g->p11->C_GenerateRandom(session, bytes, sizeof(bytes));
}

static CK_RV begin_mac(CK_SESSION_HANDLE session)
{
	CK_MECHANISM mac = { CKM_SHA256_HMAC, NULL, 0 };
	return g->p11->C_SignInit(session, &mac, g->hmac);
}

/* And how often the mock was asked to by now. */
static uint64_t mac_begun(CK_SESSION_HANDLE session)
{
	assert_rv(begin_mac(session), CKR_OK);
	return g->is_mock ? control()->calls("C_SignInit") : 0;
}

static CK_RV feed_mac(CK_SESSION_HANDLE session)
{
	CK_BYTE in[16] = { 7 };
	return g->p11->C_SignUpdate(session, in, sizeof(in));
}

static CK_RV finish_mac(CK_SESSION_HANDLE session, CK_BYTE out[32])
{
	CK_ULONG len = 32;
	return g->p11->C_SignFinal(session, out, &len);
}

/* --- an abandoned signature beside session objects -------------------------------------
 */

/* With parts and without, fed and not. */
static CK_RV begin_way(CK_SESSION_HANDLE session, unsigned way)
{
	CK_MECHANISM ways[] = { { CKM_RSA_PKCS, NULL, 0 },
				{ CKM_SHA256_RSA_PKCS, NULL, 0 },
				{ CKM_SHA256_HMAC, NULL, 0 },
				{ CKM_SHA256_HMAC, NULL, 0 } };
	CK_RV rv = g->p11->C_SignInit(session, &ways[way], way < 2 ? g->rsa : g->hmac);
	return rv == CKR_OK && way == 3 ? feed_mac(session) : rv;
}

/* S11 */
static void it_keeps_neither_the_only_session_nor_costs_it_the_objects(void **state)
{
	CK_OBJECT_HANDLE object;
	g = *state;
	ground_begin(g, 1, "borrow-timeout = 3s", NULL);
	assert_rv(make_object(g->main, &object), CKR_OK);
	for (unsigned way = 0; way < 4; way++) {
		CK_SESSION_HANDLE other = ground_session(g);
		assert_rv(begin_way(other, way), CKR_OK);
		assert_rv(g->p11->C_CloseSession(other), CKR_OK);
		assert_rv(digest(g->main), CKR_OK);
		assert_rv(look_at(g->main, object), CKR_OK);
	}
	ground_end(g);
}

/* S12: who was only slow gets what it would have got. */
static void a_signature_taken_away_from_beside_them_goes_on(void **state)
{
	CK_OBJECT_HANDLE object;
	CK_BYTE expected[32], got[32];
	g = *state;
	ground_begin(g, 1, "borrow-timeout = 3s", NULL);
	CK_SESSION_HANDLE slow = ground_session(g);
	assert_rv(begin_mac(slow), CKR_OK);
	assert_rv(feed_mac(slow), CKR_OK);
	assert_rv(finish_mac(slow, expected), CKR_OK);
	assert_rv(make_object(g->main, &object), CKR_OK);
	assert_rv(begin_mac(slow), CKR_OK);
	assert_rv(digest(g->main), CKR_OK);
	assert_rv(feed_mac(slow), CKR_OK);
	assert_rv(digest(g->main), CKR_OK);
	assert_rv(finish_mac(slow, got), CKR_OK);
	assert_memory_equal(got, expected, 32);
	assert_rv(look_at(g->main, object), CKR_OK);
	ground_end(g);
}

/* What the mock ends by nothing but its end. */
static CK_RV begin_without_parts(CK_SESSION_HANDLE session)
{
	CK_MECHANISM rsa = { CKM_RSA_PKCS, NULL, 0 };
	return g->p11->C_SignRecoverInit(session, &rsa, g->rsa);
}

/* S4: with a counting key that stays, and the objects are all that it keeps. */
static void a_counting_one_stays_until_the_objects_are_gone(void **state)
{
	CK_OBJECT_HANDLE object, second;
	g = *state;
	ground_begin(g, 1, "borrow-timeout = 100ms", COUNTING_RSA);
	assert_rv(make_object(g->main, &object), CKR_OK);
	CK_SESSION_HANDLE other = ground_session(g);
	assert_rv(begin_without_parts(other), CKR_OK);
	assert_rv(g->p11->C_CloseSession(other), CKR_OK);
	assert_rv(digest(g->main), CKR_FUNCTION_FAILED);
	assert_rv(look_at(g->main, object), CKR_OK);
	assert_rv(random_bytes(g->main), CKR_OK);
	assert_rv(make_object(g->main, &second), CKR_OK);
	assert_rv(g->p11->C_DestroyObject(g->main, second), CKR_OK);
	assert_rv(digest(g->main), CKR_FUNCTION_FAILED);
	assert_rv(g->p11->C_DestroyObject(g->main, object), CKR_OK);
	assert_rv(digest(g->main), CKR_OK);
	ground_end(g);
}

static void the_owners_end_frees_what_a_counting_one_kept(void **state)
{
	CK_OBJECT_HANDLE object;
	g = *state;
	ground_begin(g, 1, "borrow-timeout = 100ms", COUNTING_RSA);
	CK_SESSION_HANDLE owner = ground_session(g), other = ground_session(g);
	assert_rv(make_object(owner, &object), CKR_OK);
	assert_rv(begin_without_parts(other), CKR_OK);
	assert_rv(g->p11->C_CloseSession(other), CKR_OK);
	assert_rv(digest(g->main), CKR_FUNCTION_FAILED);
	assert_rv(g->p11->C_CloseSession(owner), CKR_OK);
	assert_rv(digest(g->main), CKR_OK);
	ground_end(g);
}

/* --- beside a pinned operation ---------------------------------------------------------
 */

/* L9: what counts is begun once, so it keeps its session. */
static void a_counting_signature_is_not_taken_away(void **state)
{
	CK_BYTE out[32];
	g = *state;
	ground_begin(g, 1, "borrow-timeout = 100ms", COUNTING);
	CK_SESSION_HANDLE s = ground_session(g);
	uint64_t begun = mac_begun(s);
	assert_rv(digest(g->main), CKR_FUNCTION_FAILED);
	assert_rv(feed_mac(s), CKR_OK);
	assert_rv(digest(g->main), CKR_FUNCTION_FAILED);
	assert_rv(finish_mac(s, out), CKR_OK);
	assert_rv(digest(g->main), CKR_OK);
	if (g->is_mock) {
		assert_int_equal(control()->calls("C_SignInit"), begun);
		assert_int_equal(control()->executed("C_SignFinal"), 1);
	}
	ground_end(g);
}

/* S12 */
static void calls_that_are_no_operation_go_on_beside_it(void **state)
{
	CK_OBJECT_HANDLE object;
	CK_BYTE out[32];
	g = *state;
	ground_begin(g, 1, "borrow-timeout = 100ms", COUNTING);
	CK_SESSION_HANDLE s = ground_session(g);
	assert_rv(begin_mac(s), CKR_OK);
	assert_rv(random_bytes(g->main), CKR_OK);
	assert_rv(feed_mac(s), CKR_OK);
	assert_rv(make_object(g->main, &object), CKR_OK);
	assert_rv(look_at(g->main, object), CKR_OK);
	assert_rv(look_at(g->main, 999999), CKR_OBJECT_HANDLE_INVALID);
	assert_rv(g->p11->C_DestroyObject(g->main, object), CKR_OK);
	assert_rv(finish_mac(s, out), CKR_OK);
	ground_end(g);
}

static void *visit(void *session)
{
	return (void *)random_bytes(*(CK_SESSION_HANDLE *)session);
}

static _Atomic bool has_fed;

static void *feed_later(void *session)
{
	CK_RV rv = feed_mac(*(CK_SESSION_HANDLE *)session);
	atomic_store(&has_fed, true);
	return (void *)rv;
}

static void its_owner_waits_for_a_visitor(void **state)
{
	pthread_t visitor, owner;
	void *rv;
	CK_BYTE out[32];
	g = *state;
	ground_begin(g, 1, "borrow-timeout = 20s", COUNTING);
	CK_SESSION_HANDLE s = ground_session(g);
	uint64_t begun = mac_begun(s);
	control()->hang("C_GenerateRandom", 1);
	pthread_create(&visitor, NULL, visit, &g->main);
	while (control()->hung() == 0)
		sched_yield();
	atomic_store(&has_fed, false);
	pthread_create(&owner, NULL, feed_later, &s);
	for (int i = 0; i < 1000; i++)
		sched_yield();
	assert_false(atomic_load(&has_fed));
	control()->release();
	pthread_join(visitor, &rv);
	assert_rv((CK_RV)rv, CKR_OK);
	pthread_join(owner, &rv);
	assert_rv((CK_RV)rv, CKR_OK);
	assert_rv(finish_mac(s, out), CKR_OK);
	assert_int_equal(control()->calls("C_SignInit"), begun);
	ground_end(g);
}

static void a_visitor_that_finds_the_session_dead_tells_its_owner(void **state)
{
	CK_BYTE out[32];
	g = *state;
	ground_begin(g, 1, "borrow-timeout = 3s", COUNTING);
	CK_SESSION_HANDLE s = ground_session(g);
	uint64_t begun = mac_begun(s);
	control()->reboot(NULL);
	assert_rv(random_bytes(g->main), CKR_OK);
	assert_int_not_equal(feed_mac(s), CKR_OK);
	assert_int_equal(control()->calls("C_SignInit"), begun);
	assert_rv(begin_mac(s), CKR_OK);
	assert_rv(finish_mac(s, out), CKR_OK);
	ground_end(g);
}

/* L9: over a restart neither: one error, then it works again. */
static void a_counting_signature_is_not_begun_again_after_a_loss(void **state)
{
	CK_BYTE out[32];
	g = *state;
	ground_begin(g, 2, "borrow-timeout = 3s\nsign-retry = yes", COUNTING);
	CK_SESSION_HANDLE s = ground_session(g);
	uint64_t begun = mac_begun(s);
	assert_rv(feed_mac(s), CKR_OK);
	control()->reboot(NULL);
	assert_rv(feed_mac(s), CKR_DEVICE_ERROR);
	assert_int_equal(control()->calls("C_SignInit"), begun);
	assert_rv(begin_mac(s), CKR_OK);
	assert_rv(finish_mac(s, out), CKR_OK);
	assert_int_equal(control()->executed("C_SignFinal"), 1);
	ground_end(g);
}

static CK_RV search(CK_SESSION_HANDLE session)
{
	CK_OBJECT_HANDLE found;
	CK_ULONG count = 0;
	CK_RV rv = g->p11->C_FindObjectsInit(session, NULL, 0);
	if (rv == CKR_OK)
		rv = g->p11->C_FindObjects(session, &found, 1, &count);
	if (rv == CKR_OK)
		rv = g->p11->C_FindObjectsFinal(session);
	return rv == CKR_OK && count != 1 ? CKR_GENERAL_ERROR : rv;
}

/* S12: SoftHSM2 refuses a search beside another operation, so there it waits. */
static void a_search_goes_on_beside_it_where_the_module_lets_it(void **state)
{
	CK_BYTE expected[32], out[32];
	g = *state;
	ground_begin(g, 1, "borrow-timeout = 100ms", COUNTING);
	CK_SESSION_HANDLE s = ground_session(g);
	assert_rv(begin_mac(s), CKR_OK);
	assert_rv(feed_mac(s), CKR_OK);
	assert_rv(finish_mac(s, expected), CKR_OK);
	assert_rv(begin_mac(s), CKR_OK);
	assert_rv(search(g->main), g->is_mock ? CKR_OK : CKR_FUNCTION_FAILED);
	assert_rv(feed_mac(s), CKR_OK);
	assert_rv(finish_mac(s, out), CKR_OK);
	assert_memory_equal(out, expected, 32);
	assert_rv(search(g->main), CKR_OK);
	ground_end(g);
}

/* S12 */
static void logins_and_logouts_go_on_beside_it(void **state)
{
	CK_UTF8CHAR *pin = (CK_UTF8CHAR *)(uintptr_t)FIXTURE_USER_PIN;
	CK_ULONG len = strlen(FIXTURE_USER_PIN);
	CK_BYTE out[32];
	g = *state;
	ground_begin(g, 1, "borrow-timeout = 100ms", COUNTING);
	CK_SESSION_HANDLE s = ground_session(g);
	assert_rv(begin_mac(s), CKR_OK);
	assert_rv(g->p11->C_Login(g->main, CKU_USER, pin, len),
		  CKR_USER_ALREADY_LOGGED_IN);
	assert_rv(feed_mac(s), CKR_OK);
	assert_rv(finish_mac(s, out), CKR_OK);
	assert_rv(begin_mac(s), CKR_OK);
	assert_rv(g->p11->C_Logout(g->main), CKR_OK);
	assert_rv(g->p11->C_Login(g->main, CKU_USER, pin, len), CKR_OK);
	ground_end(g);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			it_keeps_neither_the_only_session_nor_costs_it_the_objects),
		cmocka_unit_test(a_signature_taken_away_from_beside_them_goes_on),
		cmocka_unit_test(a_counting_signature_is_not_taken_away),
		cmocka_unit_test(calls_that_are_no_operation_go_on_beside_it),
		cmocka_unit_test(a_search_goes_on_beside_it_where_the_module_lets_it),
		cmocka_unit_test(logins_and_logouts_go_on_beside_it),
		/* What only the mock counts or does. */
		cmocka_unit_test(a_counting_one_stays_until_the_objects_are_gone),
		cmocka_unit_test(the_owners_end_frees_what_a_counting_one_kept),
		cmocka_unit_test(its_owner_waits_for_a_visitor),
		cmocka_unit_test(a_visitor_that_finds_the_session_dead_tells_its_owner),
		cmocka_unit_test(a_counting_signature_is_not_begun_again_after_a_loss),
	};
	return ground_run("beside", tests, sizeof(tests) / sizeof(tests[0]), 5, argc,
			  argv);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Searches (row S15): kept virtually, in portions, holding no session. */
#include "objects_ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define p11 module_load()

static void make(CK_SESSION_HANDLE session, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		char label[32];
		CK_OBJECT_HANDLE object;
		snprintf(label, sizeof(label), "object-%u", i);
		assert_rv(objects_data(session, label, false, false, &object), CKR_OK);
	}
}

static void results_come_in_portions_and_end_with_none(void **state)
{
	CK_SESSION_HANDLE session = module_session(RO);
	CK_OBJECT_HANDLE found[8] = { 0 };
	CK_ULONG count = 9;
	(void)state;
	make(session, 7);
	assert_rv(p11->C_FindObjectsInit(session, NULL, 0), CKR_OK);
	assert_rv(p11->C_FindObjects(session, found, 0, &count), CKR_OK);
	assert_int_equal(count, 0);
	assert_rv(p11->C_FindObjects(session, found, 3, &count), CKR_OK);
	assert_int_equal(count, 3);
	assert_int_equal(found[3], 0);
	assert_rv(p11->C_FindObjects(session, found + 3, 5, &count), CKR_OK);
	assert_int_equal(count, 4);
	for (int i = 0; i < 7; i++)
		for (int j = 0; j < i; j++)
			assert_int_not_equal(found[i], found[j]);
	assert_rv(p11->C_FindObjects(session, found, 8, &count), CKR_OK);
	assert_int_equal(count, 0);
	assert_rv(p11->C_FindObjectsFinal(session), CKR_OK);
	assert_rv(p11->C_FindObjectsFinal(session), CKR_OPERATION_NOT_INITIALIZED);
}

/* As SoftHSM2 answers it. */
static void wrong_calls_get_the_vendors_answers(void **state)
{
	CK_SESSION_HANDLE session = module_session(RO);
	CK_OBJECT_HANDLE found[4];
	CK_ULONG count = 77;
	(void)state;
	assert_rv(p11->C_FindObjects(session, found, 4, &count),
		  CKR_OPERATION_NOT_INITIALIZED);
	assert_int_equal(count, 77);
	assert_rv(p11->C_FindObjects(session, NULL, 4, &count), CKR_ARGUMENTS_BAD);
	assert_rv(p11->C_FindObjectsFinal(session), CKR_OPERATION_NOT_INITIALIZED);
	assert_rv(p11->C_FindObjectsInit(session, NULL, 1), CKR_ARGUMENTS_BAD);
	assert_rv(p11->C_FindObjectsInit(session, NULL, 0), CKR_OK);
	assert_rv(p11->C_FindObjectsInit(session, NULL, 0), CKR_OPERATION_ACTIVE);
	assert_rv(p11->C_FindObjectsInit(session, NULL, 1), CKR_ARGUMENTS_BAD);
	assert_rv(p11->C_FindObjects(session, NULL, 4, &count), CKR_ARGUMENTS_BAD);
	assert_rv(p11->C_FindObjects(session, found, 4, NULL), CKR_ARGUMENTS_BAD);
	assert_rv(p11->C_FindObjectsFinal(session), CKR_OK);
	assert_rv(p11->C_FindObjectsInit(session + 1000, NULL, 0),
		  CKR_SESSION_HANDLE_INVALID);
	assert_rv(p11->C_FindObjects(session + 1000, found, 4, &count),
		  CKR_SESSION_HANDLE_INVALID);
	assert_rv(p11->C_FindObjectsFinal(session + 1000), CKR_SESSION_HANDLE_INVALID);
}

/* SoftHSM2 allows one operation per session, and counts searches. */
static void a_search_and_an_operation_exclude_each_other_as_on_the_vendor(void **state)
{
	CK_SESSION_HANDLE session = module_session(RO), other = module_session(RO);
	CK_MECHANISM sha = { CKM_SHA256, NULL, 0 };
	CK_BYTE digest[32];
	CK_ULONG len = sizeof(digest);
	(void)state;
	assert_rv(p11->C_FindObjectsInit(session, NULL, 0), CKR_OK);
	assert_rv(p11->C_DigestInit(session, &sha), CKR_OPERATION_ACTIVE);
	assert_rv(module_digest(other), CKR_OK);
	assert_rv(p11->C_FindObjectsFinal(session), CKR_OK);
	assert_rv(p11->C_DigestInit(session, &sha), CKR_OK);
	assert_rv(p11->C_FindObjectsInit(session, NULL, 0), CKR_OPERATION_ACTIVE);
	/* also while another session has the real one */
	assert_rv(module_digest(other), CKR_OK);
	assert_rv(p11->C_FindObjectsInit(session, NULL, 0), CKR_OPERATION_ACTIVE);
	assert_rv(p11->C_DigestFinal(session, digest, &len), CKR_OK);
	assert_rv(p11->C_FindObjectsInit(session, NULL, 0), CKR_OK);
}

static void many_searches_at_once_need_one_real_session(void **state)
{
	enum { SEARCHES = 50 };
	CK_SESSION_HANDLE sessions[SEARCHES];
	CK_OBJECT_HANDLE first[SEARCHES], found;
	CK_ULONG count;
	(void)state;
	for (int i = 0; i < SEARCHES; i++)
		sessions[i] = module_session(RO);
	make(sessions[0], 5);
	for (int i = 0; i < SEARCHES; i++) {
		assert_rv(p11->C_FindObjectsInit(sessions[i], NULL, 0), CKR_OK);
		assert_rv(p11->C_FindObjects(sessions[i], &first[i], 1, &count), CKR_OK);
		assert_int_equal(count, 1);
		assert_int_equal(first[i], first[0]);
	}
	for (unsigned portion = 1; portion < 5; portion++)
		for (int i = 0; i < SEARCHES; i++) {
			assert_rv(p11->C_FindObjects(sessions[i], &found, 1, &count),
				  CKR_OK);
			assert_int_equal(count, 1);
			assert_int_not_equal(found, first[i]);
		}
}

static void what_was_found_does_not_change_while_it_is_handed_out(void **state)
{
	CK_SESSION_HANDLE session = module_session(RO);
	CK_OBJECT_HANDLE found[4], later;
	CK_ULONG count;
	char label[16];
	(void)state;
	make(session, 2);
	assert_rv(p11->C_FindObjectsInit(session, NULL, 0), CKR_OK);
	make(session, 1);
	assert_rv(p11->C_FindObjects(session, found, 1, &count), CKR_OK);
	assert_rv(p11->C_DestroyObject(session, found[0]), CKR_OK);
	assert_rv(p11->C_FindObjects(session, found, 4, &count), CKR_OK);
	assert_int_equal(count, 1);
	assert_rv(objects_label(session, found[0], label, sizeof(label)), CKR_OK);
	assert_rv(p11->C_FindObjects(session, &later, 1, &count), CKR_OK);
	assert_int_equal(count, 0);
}

static void a_very_large_result_is_complete_and_its_handles_differ(void **state)
{
	enum { OBJECTS = 3000 };
	CK_SESSION_HANDLE session = module_session(RO);
	CK_OBJECT_CLASS class = CKO_DATA;
	CK_ATTRIBUTE data = { CKA_CLASS, &class, sizeof(class) };
	static CK_OBJECT_HANDLE found[OBJECTS + 1], again[OBJECTS + 1];
	CK_ULONG count;
	(void)state;
	make(session, OBJECTS);
	for (CK_OBJECT_HANDLE *to = found;; to = again) {
		assert_rv(p11->C_FindObjectsInit(session, &data, 1), CKR_OK);
		assert_rv(p11->C_FindObjects(session, to, OBJECTS + 1, &count), CKR_OK);
		assert_int_equal(count, OBJECTS);
		assert_rv(p11->C_FindObjectsFinal(session), CKR_OK);
		if (to == again)
			break;
	}
	assert_memory_equal(found, again, sizeof(found));
	assert_rv(p11->C_CloseSession(session), CKR_OK);
}

/* The mock closes nothing by itself: 1,000 wrong calls must not cost a session. */
static void calls_without_a_search_cost_no_real_session(void **state)
{
	CK_SESSION_HANDLE session = module_session(RO);
	struct mock_counters before, after;
	CK_OBJECT_HANDLE found;
	CK_ULONG count;
	(void)state;
	assert_rv(p11->C_FindObjectsFinal(session), CKR_OPERATION_NOT_INITIALIZED);
	fixture_mock_control()->counters(&before);
	for (int i = 0; i < 100; i++) {
		assert_rv(p11->C_FindObjects(session, &found, 1, &count),
			  CKR_OPERATION_NOT_INITIALIZED);
		assert_rv(p11->C_FindObjectsFinal(session),
			  CKR_OPERATION_NOT_INITIALIZED);
	}
	fixture_mock_control()->counters(&after);
	assert_int_equal(before.sessions_opened, after.sessions_opened);
	assert_int_equal(before.sessions_closed, after.sessions_closed);
}

static void a_search_is_begun_again_when_its_session_died(void **state)
{
	CK_SESSION_HANDLE session = objects_user();
	CK_OBJECT_HANDLE rsa = objects_key(session, CKO_PRIVATE_KEY, "rsa");
	(void)state;
	assert_int_not_equal(rsa, CK_INVALID_HANDLE);
	fixture_mock_control()->reboot(NULL);
	assert_int_not_equal(objects_key(session, CKO_PRIVATE_KEY, "rsa"),
			     CK_INVALID_HANDLE);
}

#define on_softhsm(name) \
	cmocka_unit_test_setup_teardown(name, objects_begin_softhsm, objects_end)
#define alone(name) \
	cmocka_unit_test_setup_teardown(name, objects_begin_softhsm_alone, objects_end)
#define on_mock(name) \
	cmocka_unit_test_setup_teardown(name, objects_begin_mock, objects_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_softhsm(results_come_in_portions_and_end_with_none),
		on_softhsm(wrong_calls_get_the_vendors_answers),
		on_softhsm(a_search_and_an_operation_exclude_each_other_as_on_the_vendor),
		alone(a_search_and_an_operation_exclude_each_other_as_on_the_vendor),
		alone(many_searches_at_once_need_one_real_session),
		on_softhsm(what_was_found_does_not_change_while_it_is_handed_out),
		on_mock(a_very_large_result_is_complete_and_its_handles_differ),
		on_mock(calls_without_a_search_cost_no_real_session),
		on_mock(a_search_is_begun_again_when_its_session_died),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mock keeps to PKCS#11 where pools rely on it: sessions, login, objects, and one
 * operation of a kind per session.
 */
#include "mock/direct.h"

#include <stdlib.h>
#include <string.h>

static CK_MECHANISM ecdsa = { CKM_ECDSA, NULL, 0 };
static CK_BYTE digest[32] = { 1, 2, 3 };

static void session_handles_are_never_used_again(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE seen[3000];

	for (int i = 0; i < 3000; i++) {
		seen[i] = direct_session(m);
		assert_rv(m->C_CloseSession(seen[i]), CKR_OK);
		for (int j = i - 1; j >= 0 && j > i - 5; j--)
			assert_int_not_equal(seen[i], seen[j]);
	}
	assert_int_not_equal(seen[0], seen[2999]);
	assert_rv(m->C_CloseSession(seen[0]), CKR_SESSION_HANDLE_INVALID);
}

static void open_refuses_a_parallel_session_and_a_wrong_slot(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE s;

	assert_rv(m->C_OpenSession(direct_slot(m), 0, NULL, NULL, &s),
		  CKR_SESSION_PARALLEL_NOT_SUPPORTED);
	assert_rv(m->C_OpenSession(999, CKF_SERIAL_SESSION, NULL, NULL, &s),
		  CKR_SLOT_ID_INVALID);
}

static void login_belongs_to_the_token_and_ends_with_the_last_session(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE a = direct_session(m), b = direct_session(m);
	CK_SESSION_INFO info;

	assert_int_equal(direct_find(m, a, CKO_PRIVATE_KEY, "ec"), 0);
	assert_rv(direct_login(m, a, MOCK_USER_PIN), CKR_OK);
	assert_rv(direct_login(m, b, MOCK_USER_PIN), CKR_USER_ALREADY_LOGGED_IN);
	assert_rv(m->C_GetSessionInfo(b, &info), CKR_OK);
	assert_int_equal(info.state, CKS_RW_USER_FUNCTIONS);
	CK_OBJECT_HANDLE key = direct_find(m, b, CKO_PRIVATE_KEY, "ec");
	assert_int_not_equal(key, 0);

	m->C_CloseSession(a);
	m->C_CloseSession(b);
	CK_SESSION_HANDLE c = direct_session(m);
	assert_rv(m->C_GetSessionInfo(c, &info), CKR_OK);
	assert_int_equal(info.state, CKS_RW_PUBLIC_SESSION);
	assert_rv(m->C_SignInit(c, &ecdsa, key), CKR_KEY_HANDLE_INVALID);
}

static void logout_kills_private_handles_and_ends_private_operations(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE s = direct_session(m);
	CK_BYTE signature[64];
	CK_ULONG len = sizeof(signature);

	assert_rv(direct_login(m, s, MOCK_USER_PIN), CKR_OK);
	CK_OBJECT_HANDLE key = direct_find(m, s, CKO_PRIVATE_KEY, "ec");
	assert_rv(m->C_SignInit(s, &ecdsa, key), CKR_OK);
	assert_rv(m->C_Logout(s), CKR_OK);
	assert_rv(m->C_Sign(s, digest, 32, signature, &len), CKR_USER_NOT_LOGGED_IN);
	assert_rv(direct_login(m, s, MOCK_USER_PIN), CKR_OK);
	assert_rv(m->C_SignInit(s, &ecdsa, key), CKR_KEY_HANDLE_INVALID);
}

static void private_handles_may_be_told_to_survive_a_logout(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE s = direct_session(m);

	fixture_mock_control()->logged_out_rv(CKR_USER_NOT_LOGGED_IN);
	assert_rv(direct_login(m, s, MOCK_USER_PIN), CKR_OK);
	CK_OBJECT_HANDLE key = direct_find(m, s, CKO_PRIVATE_KEY, "ec");
	fixture_mock_control()->log_out();
	assert_rv(m->C_SignInit(s, &ecdsa, key), CKR_USER_NOT_LOGGED_IN);
	assert_rv(direct_login(m, s, MOCK_USER_PIN), CKR_OK);
	assert_rv(m->C_SignInit(s, &ecdsa, key), CKR_OK);
}

static void wrong_pins_count_down_to_the_lock(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE s = direct_session(m);
	CK_SLOT_ID slot = direct_slot(m);
	CK_TOKEN_INFO info;
	struct mock_counters c;

	fixture_mock_control()->pin_tries(3);
	assert_rv(direct_login(m, s, "wrong"), CKR_PIN_INCORRECT);
	m->C_GetTokenInfo(slot, &info);
	assert_true(info.flags & CKF_USER_PIN_COUNT_LOW);
	assert_false(info.flags & CKF_USER_PIN_FINAL_TRY);
	assert_rv(direct_login(m, s, "wrong"), CKR_PIN_INCORRECT);
	m->C_GetTokenInfo(slot, &info);
	assert_true(info.flags & CKF_USER_PIN_FINAL_TRY);
	assert_rv(direct_login(m, s, "wrong"), CKR_PIN_INCORRECT);
	m->C_GetTokenInfo(slot, &info);
	assert_true(info.flags & CKF_USER_PIN_LOCKED);
	assert_rv(direct_login(m, s, MOCK_USER_PIN), CKR_PIN_LOCKED);
	fixture_mock_control()->counters(&c);
	assert_int_equal(c.logins_tried, 4);
	assert_int_equal(c.logins_failed, 4);
}

static void a_right_pin_restores_the_tries(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE s = direct_session(m);
	CK_TOKEN_INFO info;

	fixture_mock_control()->pin_tries(3);
	assert_rv(direct_login(m, s, "wrong"), CKR_PIN_INCORRECT);
	assert_rv(direct_login(m, s, MOCK_USER_PIN), CKR_OK);
	m->C_GetTokenInfo(direct_slot(m), &info);
	assert_false(info.flags & (CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY |
				   CKF_USER_PIN_LOCKED));
}

static void read_only_sessions_and_the_security_officer_exclude_each_other(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE rw = direct_session(m), ro;
	CK_UTF8CHAR pin[] = MOCK_SO_PIN;

	assert_rv(m->C_OpenSession(direct_slot(m), CKF_SERIAL_SESSION, NULL, NULL, &ro),
		  CKR_OK);
	assert_rv(m->C_Login(rw, CKU_SO, pin, sizeof(pin) - 1),
		  CKR_SESSION_READ_ONLY_EXISTS);
	m->C_CloseSession(ro);
	assert_rv(m->C_Login(rw, CKU_SO, pin, sizeof(pin) - 1), CKR_OK);
	assert_rv(m->C_OpenSession(direct_slot(m), CKF_SERIAL_SESSION, NULL, NULL, &ro),
		  CKR_SESSION_READ_WRITE_SO_EXISTS);
	assert_rv(direct_login(m, rw, MOCK_USER_PIN), CKR_USER_ANOTHER_ALREADY_LOGGED_IN);
}

static void a_second_operation_of_a_kind_is_refused(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE s = direct_session(m);
	CK_BYTE signature[64];
	CK_ULONG len = sizeof(signature);

	direct_login(m, s, MOCK_USER_PIN);
	CK_OBJECT_HANDLE key = direct_find(m, s, CKO_PRIVATE_KEY, "ec");
	assert_rv(m->C_Sign(s, digest, 32, signature, &len),
		  CKR_OPERATION_NOT_INITIALIZED);
	assert_rv(m->C_SignInit(s, &ecdsa, key), CKR_OK);
	assert_rv(m->C_SignInit(s, &ecdsa, key), CKR_OPERATION_ACTIVE);
	assert_rv(m->C_FindObjectsInit(s, NULL, 0), CKR_OK);
	assert_rv(m->C_FindObjectsInit(s, NULL, 0), CKR_OPERATION_ACTIVE);
	assert_rv(m->C_FindObjectsFinal(s), CKR_OK);
	assert_rv(m->C_Sign(s, digest, 32, signature, &len), CKR_OK);
}

static void
size_query_and_small_buffer_keep_the_operation_other_errors_end_it(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE s = direct_session(m);
	CK_BYTE signature[64];
	CK_ULONG len = 0;

	direct_login(m, s, MOCK_USER_PIN);
	CK_OBJECT_HANDLE key = direct_find(m, s, CKO_PRIVATE_KEY, "ec");
	assert_rv(m->C_SignInit(s, &ecdsa, key), CKR_OK); /* S13, S14 */
	assert_rv(m->C_Sign(s, digest, 32, NULL, &len), CKR_OK);
	assert_int_equal(len, 64);
	len = 10;
	assert_rv(m->C_Sign(s, digest, 32, signature, &len), CKR_BUFFER_TOO_SMALL);
	assert_int_equal(len, 64);
	assert_rv(m->C_Sign(s, digest, 32, signature, NULL), CKR_ARGUMENTS_BAD);
	assert_rv(m->C_Sign(s, digest, 32, signature, &len),
		  CKR_OPERATION_NOT_INITIALIZED);
}

static CK_OBJECT_HANDLE make_session_key(CK_FUNCTION_LIST *m, CK_SESSION_HANDLE s)
{
	CK_MECHANISM generate = { CKM_AES_KEY_GEN, NULL, 0 };
	CK_ULONG len = 32;
	CK_ATTRIBUTE template[] = { { CKA_VALUE_LEN, &len, sizeof(len) } };
	CK_OBJECT_HANDLE key = 0;

	assert_rv(m->C_GenerateKey(s, &generate, template, 1, &key), CKR_OK);
	return key;
}

static void session_objects_are_shared_and_die_with_their_session(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE a = direct_session(m), b = direct_session(m);
	CK_BBOOL is_token = CK_TRUE;
	CK_ATTRIBUTE ask = { CKA_TOKEN, &is_token, 1 };

	direct_login(m, a, MOCK_USER_PIN);
	CK_OBJECT_HANDLE key = make_session_key(m, a);
	assert_rv(m->C_GetAttributeValue(b, key, &ask, 1), CKR_OK);
	assert_int_equal(is_token, CK_FALSE);
	m->C_CloseSession(a);
	assert_rv(m->C_GetAttributeValue(b, key, &ask, 1), CKR_OBJECT_HANDLE_INVALID);
}

static void a_sensitive_value_is_hidden_while_the_others_are_filled(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE s = direct_session(m);
	CK_BYTE value[32], id[8];
	CK_ATTRIBUTE ask[] = { { CKA_VALUE, value, sizeof(value) },
			       { CKA_ID, id, sizeof(id) } };

	direct_login(m, s, MOCK_USER_PIN);
	CK_OBJECT_HANDLE key = direct_find(m, s, CKO_SECRET_KEY, "aes"); /* S16 */
	assert_rv(m->C_GetAttributeValue(s, key, ask, 2), CKR_ATTRIBUTE_SENSITIVE);
	assert_int_equal(ask[0].ulValueLen, CK_UNAVAILABLE_INFORMATION);
	assert_int_equal(ask[1].ulValueLen, 1);
	assert_int_equal(id[0], 3);
}

static void a_copy_cannot_shed_its_protection(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE s = direct_session(m);
	CK_BBOOL no = CK_FALSE;
	CK_ATTRIBUTE readable[] = { { CKA_TOKEN, &no, 1 }, { CKA_SENSITIVE, &no, 1 } };
	CK_OBJECT_HANDLE copy = 0;

	direct_login(m, s, MOCK_USER_PIN);
	CK_OBJECT_HANDLE key = direct_find(m, s, CKO_SECRET_KEY, "aes");
	assert_rv(m->C_CopyObject(s, key, readable, 2, &copy), CKR_ATTRIBUTE_READ_ONLY);
	assert_rv(m->C_CopyObject(s, key, readable, 1, &copy), CKR_OK);
	assert_rv(m->C_DestroyObject(s, copy), CKR_OK);
}

static void a_read_only_session_makes_no_token_object(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE ro;
	CK_MECHANISM generate = { CKM_AES_KEY_GEN, NULL, 0 };
	CK_ULONG len = 32;
	CK_BBOOL yes = CK_TRUE;
	CK_ATTRIBUTE template[] = { { CKA_VALUE_LEN, &len, sizeof(len) },
				    { CKA_TOKEN, &yes, 1 } };
	CK_OBJECT_HANDLE key;

	assert_rv(m->C_OpenSession(direct_slot(m), CKF_SERIAL_SESSION, NULL, NULL, &ro),
		  CKR_OK);
	direct_login(m, ro, MOCK_USER_PIN);
	assert_rv(m->C_GenerateKey(ro, &generate, template, 2, &key),
		  CKR_SESSION_READ_ONLY);
}

static void finalize_closes_everything(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE s = direct_session(m);
	CK_SESSION_INFO info;

	assert_rv(m->C_Initialize(NULL), CKR_CRYPTOKI_ALREADY_INITIALIZED);
	assert_rv(m->C_Finalize(NULL), CKR_OK);
	assert_rv(m->C_GetSessionInfo(s, &info), CKR_CRYPTOKI_NOT_INITIALIZED);
	assert_rv(m->C_Initialize(NULL), CKR_OK);
	assert_rv(m->C_GetSessionInfo(s, &info), CKR_SESSION_HANDLE_INVALID);
	assert_false(fixture_mock_control()->check_balance(NULL, 0));
	fixture_mock_control()->reset();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, direct_set_up, direct_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(session_handles_are_never_used_again),
		TEST(open_refuses_a_parallel_session_and_a_wrong_slot),
		TEST(login_belongs_to_the_token_and_ends_with_the_last_session),
		TEST(logout_kills_private_handles_and_ends_private_operations),
		TEST(private_handles_may_be_told_to_survive_a_logout),
		TEST(wrong_pins_count_down_to_the_lock),
		TEST(a_right_pin_restores_the_tries),
		TEST(read_only_sessions_and_the_security_officer_exclude_each_other),
		TEST(a_second_operation_of_a_kind_is_refused),
		TEST(size_query_and_small_buffer_keep_the_operation_other_errors_end_it),
		TEST(session_objects_are_shared_and_die_with_their_session),
		TEST(a_sensitive_value_is_hidden_while_the_others_are_filled),
		TEST(a_copy_cannot_shed_its_protection),
		TEST(a_read_only_session_makes_no_token_object),
		TEST(finalize_closes_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

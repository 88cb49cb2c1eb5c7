/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mock around SoftHSM2: real answers, virtual handles, the same faults.
 */
#include "mock/direct.h"

#include <stdlib.h>
#include <string.h>

static struct fixture ground;

static int set_up(void **state)
{
	CK_FUNCTION_LIST *m = direct_module();

	fixture_mock_over_softhsm(&ground);
	*state = m;
	return m->C_Initialize(NULL) == CKR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	int status = direct_tear_down(state);

	fixture_remove(&ground);
	return status;
}

static CK_SLOT_ID token_slot(CK_FUNCTION_LIST *m)
{
	CK_SLOT_ID slots[8];
	CK_ULONG count = 8;
	CK_TOKEN_INFO info;

	assert_rv(m->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
	for (CK_ULONG i = 0; i < count; i++) {
		assert_rv(m->C_GetTokenInfo(slots[i], &info), CKR_OK);
		if (memcmp(info.label, FIXTURE_TOKEN, strlen(FIXTURE_TOKEN)) == 0)
			return slots[i];
	}
	fail_msg("the token is not there");
	return 0;
}

static CK_SESSION_HANDLE session_on(CK_FUNCTION_LIST *m)
{
	CK_SESSION_HANDLE s = 0;

	assert_rv(m->C_OpenSession(token_slot(m), CKF_SERIAL_SESSION | CKF_RW_SESSION,
				   NULL, NULL, &s),
		  CKR_OK);
	return s;
}

static CK_OBJECT_HANDLE make_key(CK_FUNCTION_LIST *m, CK_SESSION_HANDLE s,
				 const char *label)
{
	CK_MECHANISM generate = { CKM_AES_KEY_GEN, NULL, 0 };
	CK_ULONG len = 32;
	CK_BBOOL yes = CK_TRUE;
	CK_ATTRIBUTE template[] = {
		{ CKA_TOKEN, &yes, 1 },
		{ CKA_ENCRYPT, &yes, 1 },
		{ CKA_DECRYPT, &yes, 1 },
		{ CKA_VALUE_LEN, &len, sizeof(len) },
		{ CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
	};
	CK_OBJECT_HANDLE key = 0;

	assert_rv(m->C_GenerateKey(s, &generate, template, 5, &key), CKR_OK);
	return key;
}

static CK_RV encrypt(CK_FUNCTION_LIST *m, CK_SESSION_HANDLE s, CK_OBJECT_HANDLE key)
{
	CK_BYTE iv[16] = { 0 }, in[16] = { 0 }, out[16];
	CK_MECHANISM cbc = { CKM_AES_CBC, iv, 16 };
	CK_ULONG len = sizeof(out);
	CK_RV rv = m->C_EncryptInit(s, &cbc, key);

	return rv == CKR_OK ? m->C_Encrypt(s, in, 16, out, &len) : rv;
}

static void real_keys_work_through_virtual_handles(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE s = session_on(m);

	assert_rv(direct_login(m, s, FIXTURE_USER_PIN), CKR_OK);
	CK_OBJECT_HANDLE key = make_key(m, s, "one");
	assert_rv(encrypt(m, s, key), CKR_OK);
	assert_int_equal(direct_find(m, s, CKO_SECRET_KEY, "one"), key);
	assert_rv(encrypt(m, s, key + 1000), CKR_KEY_HANDLE_INVALID);
}

static void a_reboot_ends_the_real_login_too(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE s = session_on(m);
	CK_SESSION_INFO info;

	direct_login(m, s, FIXTURE_USER_PIN);
	CK_OBJECT_HANDLE key = make_key(m, s, "one");
	fixture_mock_control()->reboot(NULL);
	assert_rv(encrypt(m, s, key), CKR_SESSION_HANDLE_INVALID);
	s = session_on(m);
	assert_rv(m->C_GetSessionInfo(s, &info), CKR_OK);
	assert_int_equal(info.state, CKS_RW_PUBLIC_SESSION);
	assert_rv(direct_login(m, s, FIXTURE_USER_PIN), CKR_OK);
	assert_rv(encrypt(m, s, key), CKR_KEY_HANDLE_INVALID);
	assert_rv(encrypt(m, s, direct_find(m, s, CKO_SECRET_KEY, "one")), CKR_OK);
}

static void a_reboot_may_keep_the_real_login_and_handles(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE s = session_on(m);
	struct mock_reboot how = { .keep_login = true,
				   .move_slot = true,
				   .handles = MOCK_HANDLES_KEPT };

	direct_login(m, s, FIXTURE_USER_PIN);
	CK_OBJECT_HANDLE key = make_key(m, s, "one");
	CK_SLOT_ID before = token_slot(m);
	fixture_mock_control()->reboot(&how);
	assert_int_not_equal(token_slot(m), before);
	assert_rv(encrypt(m, session_on(m), key), CKR_OK);
}

static void an_old_handle_may_name_another_real_key(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE s = session_on(m);
	struct mock_reboot how = { .handles = MOCK_HANDLES_ALIASED };

	direct_login(m, s, FIXTURE_USER_PIN);
	CK_OBJECT_HANDLE one = make_key(m, s, "one");
	CK_OBJECT_HANDLE two = make_key(m, s, "two");
	fixture_mock_control()->reboot(&how); /* L17 */
	s = session_on(m);
	direct_login(m, s, FIXTURE_USER_PIN);
	assert_int_equal(direct_find(m, s, CKO_SECRET_KEY, "one"), two);
	assert_int_equal(direct_find(m, s, CKO_SECRET_KEY, "two"), one);
}

static void the_limit_and_the_pin_counter_work_around_a_real_token(void **state)
{
	CK_FUNCTION_LIST *m = *state;
	CK_SESSION_HANDLE s = session_on(m), more;

	fixture_mock_control()->session_limit(1);
	assert_rv(m->C_OpenSession(token_slot(m), CKF_SERIAL_SESSION, NULL, NULL, &more),
		  CKR_SESSION_COUNT);
	fixture_mock_control()->pin_tries(1);
	assert_rv(direct_login(m, s, "wrong"), CKR_PIN_INCORRECT);
	assert_rv(direct_login(m, s, FIXTURE_USER_PIN), CKR_PIN_LOCKED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(real_keys_work_through_virtual_handles),
		TEST(a_reboot_ends_the_real_login_too),
		TEST(a_reboot_may_keep_the_real_login_and_handles),
		TEST(an_old_handle_may_name_another_real_key),
		TEST(the_limit_and_the_pin_counter_work_around_a_real_token),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

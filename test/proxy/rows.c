/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules that belong to no room alone: what is exported, what 3.x calls get, what an
 * operation that is lost for good tells its application, how PINs are counted.
 *
 * Rows S19, S23, S26, S27, S31 and L15 of the list of rules. (S28, S29 and S30 are about
 * calls of 3.x that are not offered; S37 is about clients in other processes.)
 */
#include "operations_ground.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const CK_BYTE text[200];

static const struct mock_control *control(void)
{
	return fixture_mock_control();
}

/* --- the interface ---------------------------------------------------------------------
 */

/* S31: who asks for 3.0 first gets a clean answer, and 2.40 is complete. */
static void what_is_offered_is_all_of_2_40_and_nothing_else(void **state)
{
	struct ground *g = *state;
	static const char *const newer[] = { "C_GetInterface", "C_GetInterfaceList",
					     "C_SessionCancel", "C_LoginUser",
					     "C_MessageSignInit" };
	char path[512];
	snprintf(path, sizeof(path), "%s/lib/proxy/hsmpool-pkcs11.so",
		 getenv("HSMPOOL_TEST_BUILD"));
	void *dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	assert_non_null(dl);
	for (size_t i = 0; i < sizeof(newer) / sizeof(newer[0]); i++)
		assert_null(dlsym(dl, newer[i]));
	ground_begin(g, 1, NULL, NULL);
	assert_int_equal(g->p11->version.major, 2);
	assert_int_equal(g->p11->version.minor, 40);
	const unsigned char *first = (const unsigned char *)&g->p11->C_Initialize;
	const unsigned char *last = (const unsigned char *)&g->p11->C_WaitForSlotEvent;
	size_t count = (size_t)(last - first) / sizeof(void *) + 1;
	assert_int_equal(count, 68);
	for (size_t i = 0; i < count; i++) {
		void *function;
		memcpy(&function, first + i * sizeof(void *), sizeof(void *));
		assert_non_null(function);
	}
	dlclose(dl);
	ground_end(g);
}

/* S26, S27: an Init without a mechanism ends nothing where the module knows no such end.
 */
static void an_init_without_a_mechanism_is_no_cancel(void **state)
{
	struct ground *g = *state;
	CK_MECHANISM sha = { CKM_SHA256, NULL, 0 };
	CK_BYTE in[4] = { 0 }, out[64];
	CK_ULONG len = sizeof(out);
	ground_begin(g, 1, NULL, NULL);
	assert_rv(g->p11->C_DigestInit(g->main, NULL), CKR_ARGUMENTS_BAD);
	assert_rv(g->p11->C_SignInit(g->main, NULL, g->hmac), CKR_ARGUMENTS_BAD);
	assert_rv(g->p11->C_DigestInit(g->main, &sha), CKR_OK);
	assert_rv(g->p11->C_DigestInit(g->main, NULL), CKR_ARGUMENTS_BAD);
	assert_rv(g->p11->C_Digest(g->main, in, sizeof(in), out, &len), CKR_OK);
	ground_end(g);
}

/* S19: of an operation that is not there, and by a module that saves none. */
static void a_state_is_saved_where_the_module_saves_it(void **state)
{
	struct ground *g = *state;
	CK_MECHANISM sha = { CKM_SHA256, NULL, 0 };
	CK_BYTE saved[4096];
	CK_ULONG len = sizeof(saved);
	ground_begin(g, 1, NULL, NULL);
	assert_rv(g->p11->C_GetOperationState(g->main, saved, &len),
		  g->is_mock ? CKR_OPERATION_NOT_INITIALIZED
			     : CKR_FUNCTION_NOT_SUPPORTED);
	assert_rv(g->p11->C_DigestInit(g->main, &sha), CKR_OK);
	len = sizeof(saved);
	assert_rv(g->p11->C_GetOperationState(g->main, saved, &len),
		  g->is_mock ? CKR_OK : CKR_FUNCTION_NOT_SUPPORTED);
	assert_rv(g->p11->C_GetOperationState(0, saved, &len),
		  CKR_SESSION_HANDLE_INVALID);
	ground_end(g);
}

/* --- lost for good
 * ---------------------------------------------------------------------- */

static CK_RV sign_at_once(struct ground *g, CK_BYTE out[32])
{
	CK_MECHANISM mac = { CKM_SHA256_HMAC, NULL, 0 };
	CK_ULONG len = 32;
	CK_RV rv = g->p11->C_SignInit(g->main, &mac, g->hmac);
	return rv ? rv
		  : g->p11->C_Sign(g->main, (CK_BYTE *)(uintptr_t)text, sizeof(text), out,
				   &len);
}

/* S23: one error, then the session is as good as new. */
static void a_pinned_operation_that_is_lost_gives_one_error(void **state)
{
	struct ground *g = *state;
	CK_MECHANISM mac = { CKM_SHA256_HMAC, NULL, 0 };
	CK_BYTE expected[32], out[32];
	CK_ULONG len = sizeof(out);
	ground_begin(g, 2, NULL, "journal-limit = 64B");
	assert_rv(sign_at_once(g, expected), CKR_OK);
	for (int round = 0; round < 2; round++) {
		assert_rv(g->p11->C_SignInit(g->main, &mac, g->hmac), CKR_OK);
		assert_rv(g->p11->C_SignUpdate(g->main, (CK_BYTE *)(uintptr_t)text,
					       sizeof(text)),
			  CKR_OK);
		control()->reboot(NULL);
		/* In the middle, or at its end. */
		CK_RV rv = round == 0 ? g->p11->C_SignUpdate(g->main,
							     (CK_BYTE *)(uintptr_t)text,
							     sizeof(text))
				      : g->p11->C_SignFinal(g->main, out, &len);
		assert_rv(rv, CKR_DEVICE_ERROR);
		assert_rv(g->p11->C_SignFinal(g->main, out, &len),
			  CKR_OPERATION_NOT_INITIALIZED);
		assert_rv(sign_at_once(g, out), CKR_OK);
		assert_memory_equal(out, expected, sizeof(out));
	}
	ground_end(g);
}

/* --- PINs
 * ------------------------------------------------------------------------------- */

static CK_RV log_in(struct ground *g, const char *pin)
{
	return g->p11->C_Login(g->main, CKU_USER, (CK_BYTE *)(uintptr_t)pin, strlen(pin));
}

static uint64_t tries(void)
{
	struct mock_counters counters;
	control()->counters(&counters);
	return counters.logins_tried;
}

/* L15, S1: each try of the application is one on the token; none is ours. */
static void the_token_counts_the_applications_tries_and_no_others(void **state)
{
	struct ground *g = *state;
	CK_TOKEN_INFO info;
	ground_begin(g, 2, NULL, NULL);
	assert_rv(g->p11->C_Logout(g->main), CKR_OK);
	control()->pin_tries(3);
	uint64_t before = tries();
	assert_rv(log_in(g, "wrong-1"), CKR_PIN_INCORRECT);
	assert_rv(log_in(g, "wrong-1"), CKR_PIN_INCORRECT);
	assert_int_equal(tries(), before + 2);
	assert_rv(g->p11->C_GetTokenInfo(g->slot, &info), CKR_OK);
	assert_true(info.flags & CKF_USER_PIN_FINAL_TRY);
	assert_rv(log_in(g, FIXTURE_USER_PIN), CKR_OK);
	assert_int_equal(tries(), before + 3);
	assert_rv(g->p11->C_Logout(g->main), CKR_OK);
	for (int i = 0; i < 3; i++)
		assert_rv(log_in(g, "wrong-2"), CKR_PIN_INCORRECT);
	assert_rv(log_in(g, FIXTURE_USER_PIN), CKR_PIN_LOCKED);
	assert_rv(g->p11->C_GetTokenInfo(g->slot, &info), CKR_OK);
	assert_true(info.flags & CKF_USER_PIN_LOCKED);
	ground_end(g);
}

/* S1, L14: after a loss one login for all, with the PIN that succeeded. */
static void a_loss_costs_one_login_however_many_sessions_there_are(void **state)
{
	struct ground *g = *state;
	CK_BYTE out[32];
	ground_begin(g, 4, NULL, NULL);
	for (int i = 0; i < 50; i++)
		ground_session(g);
	for (int i = 0; i < 5; i++) {
		uint64_t before = tries();
		control()->reboot(NULL);
		assert_rv(sign_at_once(g, out), CKR_OK);
		assert_rv(sign_at_once(g, out), CKR_OK);
		assert_int_equal(tries(), before + 1);
	}
	ground_end(g);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_offered_is_all_of_2_40_and_nothing_else),
		cmocka_unit_test(an_init_without_a_mechanism_is_no_cancel),
		cmocka_unit_test(a_state_is_saved_where_the_module_saves_it),
		/* What the mock can be told to do. */
		cmocka_unit_test(a_pinned_operation_that_is_lost_gives_one_error),
		cmocka_unit_test(the_token_counts_the_applications_tries_and_no_others),
		cmocka_unit_test(a_loss_costs_one_login_however_many_sessions_there_are),
	};
	return ground_run("rows", tests, sizeof(tests) / sizeof(tests[0]), 3, argc, argv);
}

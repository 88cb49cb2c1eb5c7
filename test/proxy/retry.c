/* SPDX-License-Identifier: Apache-2.0 */
/* The table of what is made again after a loss, by itself (rows L20, L21). */
#include "proxy/retry.h"

#include "proxy/template.h"
#include "support/fixture.h"

static bool is_allowed(enum hp_function function, bool is_submitted, CK_RV rv,
		       enum hp_rv_class class)
{
	const struct hp_failure failure = {
		.function = function,
		.is_submitted = is_submitted,
		.rv = rv,
		.class = class,
	};
	return hp_retry_is_allowed(&failure);
}

static void every_function_of_2_40_has_a_row(void **state)
{
	(void)state;
	/* The list's version, then one pointer for each. */
	size_t pointers =
		(sizeof(CK_FUNCTION_LIST) - sizeof(CK_VERSION)) / sizeof(void *);
	assert_int_equal(HP_FUNCTION_COUNT, pointers);
	assert_string_equal(hp_function_name(HP_FN_C_Initialize), "C_Initialize");
	assert_string_equal(hp_function_name(HP_FN_C_WaitForSlotEvent),
			    "C_WaitForSlotEvent");
}

static void before_it_reached_the_module_every_call_may_be_made(void **state)
{
	(void)state;
	for (int i = 0; i < HP_FUNCTION_COUNT; i++)
		assert_true(is_allowed((enum hp_function)i, false,
				       CKR_SESSION_HANDLE_INVALID, HP_RV_SESSION_DEAD));
}

static void what_creates_or_changes_is_never_made_twice(void **state)
{
	static const enum hp_function never[] = {
		HP_FN_C_InitToken,   HP_FN_C_InitPIN,         HP_FN_C_SetPIN,
		HP_FN_C_Login,       HP_FN_C_CreateObject,    HP_FN_C_CopyObject,
		HP_FN_C_GenerateKey, HP_FN_C_GenerateKeyPair, HP_FN_C_UnwrapKey,
		HP_FN_C_DeriveKey,   HP_FN_C_DestroyObject,   HP_FN_C_SetAttributeValue,
	};
	(void)state;
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		for (int class = 0; class < HP_RV_CLASS_COUNT; class ++)
			assert_false(is_allowed(never[i], true, CKR_DEVICE_ERROR,
						(enum hp_rv_class) class));
}

static void what_is_no_loss_is_the_answer(void **state)
{
	(void)state;
	assert_false(is_allowed(HP_FN_C_Encrypt, true, CKR_DATA_LEN_RANGE, HP_RV_CALLER));
	assert_false(
		is_allowed(HP_FN_C_Encrypt, false, CKR_BUFFER_TOO_SMALL, HP_RV_FLOW));
	assert_false(is_allowed(HP_FN_C_GetAttributeValue, true,
				CKR_OBJECT_HANDLE_INVALID, HP_RV_STALE_HANDLE));
	assert_true(is_allowed(HP_FN_C_Encrypt, true, CKR_DEVICE_ERROR, HP_RV_DEVICE));
}

/* A dead session proves nothing of a signature. */
static void a_signature_needs_a_proof_or_a_permission(void **state)
{
	struct hp_failure failure = {
		.function = HP_FN_C_Sign,
		.is_submitted = true,
		.rv = CKR_SESSION_HANDLE_INVALID,
		.class = HP_RV_SESSION_DEAD,
		.sign_retry = HP_SIGN_RETRY_NO,
		.is_deterministic = true,
	};
	(void)state;
	assert_false(hp_retry_is_allowed(&failure));
	failure.sign_retry = HP_SIGN_RETRY_DETERMINISTIC;
	assert_true(hp_retry_is_allowed(&failure));
	failure.is_deterministic = false;
	assert_false(hp_retry_is_allowed(&failure));
	failure.sign_retry = HP_SIGN_RETRY_YES;
	assert_true(hp_retry_is_allowed(&failure));
	failure.sign_retry = HP_SIGN_RETRY_NO;
	failure.rv = CKR_USER_NOT_LOGGED_IN;
	failure.class = HP_RV_LOGIN_LOST;
	assert_true(hp_retry_is_allowed(&failure));
}

static void lengths_are_put_back_those_of_inner_templates_too(void **state)
{
	CK_BYTE label[16], id[8];
	CK_ATTRIBUTE inner[] = { { CKA_ID, id, sizeof(id) } };
	CK_ATTRIBUTE template[] = {
		{ CKA_LABEL, label, sizeof(label) },
		{ CKA_WRAP_TEMPLATE, inner, sizeof(inner) },
		{ CKA_ALLOWED_MECHANISMS, label, sizeof(label) },
	};
	struct hp_lengths lengths;
	(void)state;
	hp_lengths_save(&lengths, template, 3);
	inner[0].ulValueLen = template[0].ulValueLen = CK_UNAVAILABLE_INFORMATION;
	template[1].ulValueLen = template[2].ulValueLen = 0;
	assert_true(hp_lengths_restore(&lengths, template, 3));
	assert_int_equal(template[0].ulValueLen, sizeof(label));
	assert_int_equal(template[1].ulValueLen, sizeof(inner));
	assert_int_equal(template[2].ulValueLen, sizeof(label));
	assert_int_equal(inner[0].ulValueLen, sizeof(id));
}

static void too_many_lengths_are_not_put_back(void **state)
{
	CK_ATTRIBUTE many[HP_LENGTHS_MOST + 1] = { 0 };
	struct hp_lengths lengths;
	(void)state;
	hp_lengths_save(&lengths, many, HP_LENGTHS_MOST);
	assert_true(hp_lengths_restore(&lengths, many, HP_LENGTHS_MOST));
	hp_lengths_save(&lengths, many, HP_LENGTHS_MOST + 1);
	assert_false(hp_lengths_restore(&lengths, many, HP_LENGTHS_MOST + 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_function_of_2_40_has_a_row),
		cmocka_unit_test(before_it_reached_the_module_every_call_may_be_made),
		cmocka_unit_test(what_creates_or_changes_is_never_made_twice),
		cmocka_unit_test(what_is_no_loss_is_the_answer),
		cmocka_unit_test(a_signature_needs_a_proof_or_a_permission),
		cmocka_unit_test(lengths_are_put_back_those_of_inner_templates_too),
		cmocka_unit_test(too_many_lengths_are_not_put_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of CK_RV: complete, sorted, sensible; and the option rv-class.
 */
#include "support/fixture.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "p11/rv.h"

/* --- completeness ------------------------------------------------------------------ */

/* "#define CKR_NAME (VALUE)" */
static bool parse_define(const char *line, char name[64], CK_RV *value)
{
	char text[64];
	if (sscanf(line, "#define %63s %63[^\n]", name, text) != 2 ||
	    strncmp(name, "CKR_", 4) != 0)
		return false;
	const char *number = text + strspn(text, "(");
	*value = strcmp(name, "CKR_VENDOR_DEFINED") == 0 ? CKR_VENDOR_DEFINED
							 : strtoul(number, NULL, 0);
	return true;
}

static void every_constant_of_the_header_is_in_the_table(void **state)
{
	(void)state;
	FILE *header = fopen(HP_PKCS11_HEADER, "r");
	assert_non_null(header);
	char line[256];
	size_t seen = 0;
	while (fgets(line, sizeof(line), header)) {
		char name[64];
		CK_RV rv = 0;
		if (!parse_define(line, name, &rv))
			continue;
		const struct hp_rv_info *info = hp_rv_find(rv);
		if (!info)
			fail_msg("%s is not in the table", name);
		assert_string_equal(info->name, name);
		seen++;
	}
	fclose(header);
	assert_true(seen >= 94);
}

/* The standard's values, which differ from p11-kit's header or are not in it. */
static void the_values_of_later_standards_are_in_the_table(void **state)
{
	static const struct {
		CK_RV rv;
		const char *name;
	} expected[] = {
		{ 0x42, "CKR_AEAD_DECRYPT_FAILED" },
		{ 0xf0, "CKR_UNWRAPPING_KEY_HANDLE_INVALID" },
		{ 0x1b5, "CKR_EXCEEDED_MAX_ITERATIONS" },
		{ 0x1b6, "CKR_FIPS_SELF_TEST_FAILED" },
		{ 0x1b7, "CKR_LIBRARY_LOAD_FAILED" },
		{ 0x1b8, "CKR_PIN_TOO_WEAK" },
		{ 0x1b9, "CKR_PUBLIC_KEY_INVALID" },
		{ 0x200, "CKR_FUNCTION_REJECTED" },
		{ 0x201, "CKR_TOKEN_RESOURCE_EXCEEDED" },
		{ 0x202, "CKR_OPERATION_CANCEL_FAILED" },
		{ 0x203, "CKR_KEY_EXHAUSTED" },
		{ 0x204, "CKR_PENDING" },
		{ 0x205, "CKR_SESSION_ASYNC_NOT_SUPPORTED" },
		{ 0x206, "CKR_SEED_RANDOM_REQUIRED" },
		{ 0x207, "CKR_OPERATION_NOT_VALIDATED" },
		{ 0x208, "CKR_TOKEN_NOT_INITIALIZED" },
		{ 0x209, "CKR_PARAMETER_SET_NOT_SUPPORTED" },
	};
	(void)state;
	for (size_t i = 0; i < HP_ARRAY_LEN(expected); i++) {
		const struct hp_rv_info *info = hp_rv_find(expected[i].rv);
		assert_non_null(info);
		assert_string_equal(info->name, expected[i].name);
	}
}

static void every_row_is_found_by_its_value_and_is_whole(void **state)
{
	(void)state;
	const struct hp_rv_info *info;
	CK_RV last = 0;
	size_t i = 0;
	for (; (info = hp_rv_at(i)) != NULL; i++) {
		assert_true(i == 0 || info->rv > last);
		last = info->rv;
		assert_ptr_equal(hp_rv_find(info->rv), info);
		assert_int_equal(strncmp(info->name, "CKR_", 4), 0);
		assert_true(strlen(info->text) > 0);
		assert_true(info->class < HP_RV_CLASS_COUNT);
		assert_int_equal(info->class == HP_RV_OK, info->rv == CKR_OK);
		assert_int_equal(info->status == HSMPOOL_OK, info->rv == CKR_OK);
		assert_int_equal(hp_rv_class(NULL, info->rv), info->class);
	}
	assert_true(i >= 110);
	assert_null(hp_rv_at(i));
}

/* --- classes ----------------------------------------------------------------------- */

/* A family of names has one status, and one class unless it is named below it. */
static const struct {
	const char *prefix;
	enum hp_rv_class class;
	hsmpool_status status;
} families[] = {
	{ "CKR_PIN_TOO_WEAK", HP_RV_CALLER, HSMPOOL_ERR_AUTH },
	{ "CKR_PIN_", HP_RV_PIN, HSMPOOL_ERR_AUTH },
	{ "CKR_USER_PIN_NOT_INITIALIZED", HP_RV_CALLER, HSMPOOL_ERR_AUTH },
	{ "CKR_USER_NOT_LOGGED_IN", HP_RV_LOGIN_LOST, HSMPOOL_ERR_AUTH },
	{ "CKR_USER_ALREADY_", HP_RV_LOGIN_RACE, HSMPOOL_ERR_AUTH },
	{ "CKR_USER_ANOTHER_", HP_RV_LOGIN_RACE, HSMPOOL_ERR_AUTH },
	{ "CKR_KEY_HANDLE_", HP_RV_STALE_HANDLE, HSMPOOL_ERR_KEY },
	{ "CKR_OBJECT_HANDLE_", HP_RV_STALE_HANDLE, HSMPOOL_ERR_KEY },
	{ "CKR_WRAPPING_KEY_HANDLE_", HP_RV_STALE_HANDLE, HSMPOOL_ERR_KEY },
	{ "CKR_UNWRAPPING_KEY_HANDLE_", HP_RV_STALE_HANDLE, HSMPOOL_ERR_KEY },
	{ "CKR_KEY_", HP_RV_CALLER, HSMPOOL_ERR_KEY },
	{ "CKR_WRAPPING_KEY_", HP_RV_CALLER, HSMPOOL_ERR_KEY },
	{ "CKR_UNWRAPPING_KEY_", HP_RV_CALLER, HSMPOOL_ERR_KEY },
	{ "CKR_ENCRYPTED_DATA_", HP_RV_CALLER, HSMPOOL_ERR_DATA },
	{ "CKR_AEAD_", HP_RV_CALLER, HSMPOOL_ERR_DATA },
	{ "CKR_SIGNATURE_", HP_RV_CALLER, HSMPOOL_ERR_DATA },
	{ "CKR_WRAPPED_KEY_", HP_RV_CALLER, HSMPOOL_ERR_DATA },
	{ "CKR_DATA_", HP_RV_CALLER, HSMPOOL_ERR_USAGE },
	{ "CKR_TEMPLATE_", HP_RV_CALLER, HSMPOOL_ERR_USAGE },
	{ "CKR_ARGUMENTS_", HP_RV_CALLER, HSMPOOL_ERR_USAGE },
	{ "CKR_MECHANISM_", HP_RV_CALLER, HSMPOOL_ERR_UNSUPPORTED },
	{ "CKR_FUNCTION_NOT_SUPPORTED", HP_RV_CALLER, HSMPOOL_ERR_UNSUPPORTED },
	{ "CKR_RANDOM_", HP_RV_CALLER, HSMPOOL_ERR_UNSUPPORTED },
	{ "CKR_SESSION_COUNT", HP_RV_CAPACITY, HSMPOOL_ERR_BUSY },
	{ "CKR_DEVICE_MEMORY", HP_RV_CAPACITY, HSMPOOL_ERR_BUSY },
	{ "CKR_SESSION_HANDLE_", HP_RV_SESSION_DEAD, HSMPOOL_ERR_DOWN },
	{ "CKR_SESSION_CLOSED", HP_RV_SESSION_DEAD, HSMPOOL_ERR_DOWN },
	{ "CKR_OPERATION_NOT_VALIDATED", HP_RV_CALLER, HSMPOOL_ERR_UNSUPPORTED },
	{ "CKR_OPERATION_", HP_RV_OP_LOST, HSMPOOL_ERR_DOWN },
	{ "CKR_DEVICE_REMOVED", HP_RV_TOKEN_GONE, HSMPOOL_ERR_DOWN },
	{ "CKR_DEVICE_ERROR", HP_RV_DEVICE, HSMPOOL_ERR_DOWN },
	{ "CKR_TOKEN_NOT_", HP_RV_TOKEN_GONE, HSMPOOL_ERR_DOWN },
	{ "CKR_SLOT_ID_", HP_RV_TOKEN_GONE, HSMPOOL_ERR_DOWN },
	{ "CKR_GENERAL_ERROR", HP_RV_AMBIGUOUS, HSMPOOL_ERR_DOWN },
	{ "CKR_FUNCTION_FAILED", HP_RV_AMBIGUOUS, HSMPOOL_ERR_DOWN },
	{ "CKR_VENDOR_DEFINED", HP_RV_AMBIGUOUS, HSMPOOL_ERR_DOWN },
	{ "CKR_CRYPTOKI_NOT_", HP_RV_MODULE_DEAD, HSMPOOL_ERR_DOWN },
	{ "CKR_MUTEX_", HP_RV_MODULE_DEAD, HSMPOOL_ERR_DOWN },
	{ "CKR_CANT_LOCK", HP_RV_MODULE_DEAD, HSMPOOL_ERR_DOWN },
	{ "CKR_LIBRARY_LOAD_", HP_RV_MODULE_DEAD, HSMPOOL_ERR_DOWN },
	{ "CKR_BUFFER_TOO_SMALL", HP_RV_FLOW, HSMPOOL_ERR_SPACE },
};

static void a_family_of_codes_has_one_class_and_status(void **state)
{
	(void)state;
	const struct hp_rv_info *info;
	bool is_used[HP_ARRAY_LEN(families)] = { false };
	for (size_t i = 0; (info = hp_rv_at(i)) != NULL; i++) {
		size_t f = 0;
		while (f < HP_ARRAY_LEN(families) &&
		       strncmp(info->name, families[f].prefix,
			       strlen(families[f].prefix)) != 0)
			f++;
		if (f == HP_ARRAY_LEN(families))
			continue;
		is_used[f] = true;
		if (info->class != families[f].class ||
		    info->status != families[f].status)
			fail_msg("%s: class %s, status %s", info->name,
				 hp_rv_class_name(info->class),
				 hsmpool_status_name(info->status));
	}
	for (size_t f = 0; f < HP_ARRAY_LEN(families); f++)
		assert_true(is_used[f]);
}

/* L1: what nobody knows is looked into, not guessed at. */
static void an_unknown_code_is_ambiguous(void **state)
{
	(void)state;
	assert_null(hp_rv_find(0x80000042));
	assert_int_equal(hp_rv_class(NULL, 0x80000042), HP_RV_AMBIGUOUS);
	assert_int_equal(hp_rv_class(NULL, 0x4), HP_RV_AMBIGUOUS);
	assert_int_equal(hp_rv_class(NULL, ~0ul), HP_RV_AMBIGUOUS);
}

static void every_class_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (int i = 0; i < HP_RV_CLASS_COUNT; i++)
		for (int j = 0; j < i; j++)
			assert_string_not_equal(hp_rv_class_name((enum hp_rv_class)i),
						hp_rv_class_name((enum hp_rv_class)j));
	assert_string_equal(hp_rv_class_name(HP_RV_CLASS_COUNT), "unknown");
}

/* --- texts ------------------------------------------------------------------------- */

static void a_name_is_given_for_any_value(void **state)
{
	char buf[32];
	(void)state;
	assert_string_equal(hp_rv_name(CKR_PIN_INCORRECT, buf), "CKR_PIN_INCORRECT");
	assert_string_equal(hp_rv_name(0x80000042, buf), "CKR 0x80000042");
	assert_string_equal(hp_rv_name(~0ul, buf), "CKR 0xffffffffffffffff");
}

static void a_failure_says_what_failed_the_name_and_the_text(void **state)
{
	hsmpool_error err = { .executed = HSMPOOL_EXECUTED_YES, .sys_errno = 5 };
	(void)state;
	assert_status(hp_rv_fail(&err, CKR_PIN_LOCKED, "token %s: login", "t"),
		      HSMPOOL_ERR_AUTH);
	assert_string_equal(err.text,
			    "token t: login: CKR_PIN_LOCKED: the PIN is locked; the "
			    "security officer must unlock it");
	assert_int_equal(err.ck_rv, CKR_PIN_LOCKED);
	assert_int_equal(err.status, HSMPOOL_ERR_AUTH);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_NO);
	assert_int_equal(err.sys_errno, 0);
	assert_status(hp_rv_fail(&err, 0x80000042, "x"), HSMPOOL_ERR_DOWN);
	assert_non_null(strstr(err.text, "x: CKR 0x80000042: "));
	assert_status(hp_rv_fail(NULL, CKR_ARGUMENTS_BAD, "x"), HSMPOOL_ERR_USAGE);
}

/* --- rv-class ---------------------------------------------------------------------- */

static void codes_are_reclassed_by_number_and_by_name(void **state)
{
	struct hp_rv_overrides overrides;
	hsmpool_error err = { 0 };
	(void)state;
	assert_ok(hp_rv_overrides_parse(
			  " 0x80000001=device,CKR_ARGUMENTS_BAD=capacity\t5=caller ",
			  &overrides, &err),
		  &err);
	assert_int_equal(overrides.count, 3);
	assert_int_equal(hp_rv_class(&overrides, 0x80000001), HP_RV_DEVICE);
	assert_int_equal(hp_rv_class(&overrides, CKR_ARGUMENTS_BAD), HP_RV_CAPACITY);
	assert_int_equal(hp_rv_class(&overrides, CKR_GENERAL_ERROR), HP_RV_CALLER);
	assert_int_equal(hp_rv_class(&overrides, CKR_DEVICE_ERROR), HP_RV_DEVICE);
	assert_int_equal(hp_rv_class(&overrides, CKR_OK), HP_RV_OK);
}

static void a_name_with_two_values_is_reclassed_in_both(void **state)
{
	struct hp_rv_overrides overrides;
	hsmpool_error err = { 0 };
	(void)state;
	assert_ok(hp_rv_overrides_parse("CKR_FIPS_SELF_TEST_FAILED=token-gone",
					&overrides, &err),
		  &err);
	assert_int_equal(hp_rv_class(&overrides, 0x1b6), HP_RV_TOKEN_GONE);
	assert_int_equal(hp_rv_class(&overrides, 0x1c1), HP_RV_TOKEN_GONE);
}

static void every_class_but_ok_can_be_chosen(void **state)
{
	(void)state;
	for (int i = HP_RV_OK + 1; i < HP_RV_CLASS_COUNT; i++) {
		struct hp_rv_overrides overrides;
		hsmpool_error err = { 0 };
		char text[64];
		snprintf(text, sizeof(text), "0x80000001=%s",
			 hp_rv_class_name((enum hp_rv_class)i));
		assert_ok(hp_rv_overrides_parse(text, &overrides, &err), &err);
		assert_int_equal(hp_rv_class(&overrides, 0x80000001), i);
	}
}

static void nothing_overrides_nothing(void **state)
{
	struct hp_rv_overrides overrides = { .count = 7 };
	hsmpool_error err = { 0 };
	(void)state;
	assert_ok(hp_rv_overrides_parse(NULL, &overrides, &err), &err);
	assert_int_equal(overrides.count, 0);
	overrides.count = 7;
	assert_ok(hp_rv_overrides_parse(" , ", &overrides, &err), &err);
	assert_int_equal(overrides.count, 0);
}

static void wrong_overrides_are_refused_with_the_word(void **state)
{
	static const char *const wrong[] = {
		"device",         "=device",         "0x80000001=",
		"0x80000001=ok",  "0=device",        "CKR_OK=device",
		"CKR_NO=device",  "0x8000000g=flow", "-1=device",
		"0x80000001=dev", "5=device=caller", "99999999999999999999=device",
	};
	(void)state;
	for (size_t i = 0; i < HP_ARRAY_LEN(wrong); i++) {
		struct hp_rv_overrides overrides;
		hsmpool_error err = { 0 };
		if (hp_rv_overrides_parse(wrong[i], &overrides, &err) !=
		    HSMPOOL_ERR_CONFIG)
			fail_msg("accepted: %s", wrong[i]);
		assert_non_null(strstr(err.text, "rv-class"));
	}
}

static void more_overrides_than_there_is_room_for_are_refused(void **state)
{
	struct hp_rv_overrides overrides;
	hsmpool_error err = { 0 };
	char text[33 * 20] = "";
	(void)state;
	for (int i = 1; i <= 33; i++) {
		size_t used = strlen(text);
		snprintf(text + used, sizeof(text) - used, "0x800000%02x=flow ", i);
	}
	assert_status(hp_rv_overrides_parse(text, &overrides, &err), HSMPOOL_ERR_CONFIG);
	text[32 * 16] = '\0';
	assert_ok(hp_rv_overrides_parse(text, &overrides, &err), &err);
	assert_int_equal(overrides.count, 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_constant_of_the_header_is_in_the_table),
		cmocka_unit_test(the_values_of_later_standards_are_in_the_table),
		cmocka_unit_test(every_row_is_found_by_its_value_and_is_whole),
		cmocka_unit_test(a_family_of_codes_has_one_class_and_status),
		cmocka_unit_test(an_unknown_code_is_ambiguous),
		cmocka_unit_test(every_class_has_a_name_of_its_own),
		cmocka_unit_test(a_name_is_given_for_any_value),
		cmocka_unit_test(a_failure_says_what_failed_the_name_and_the_text),
		cmocka_unit_test(codes_are_reclassed_by_number_and_by_name),
		cmocka_unit_test(a_name_with_two_values_is_reclassed_in_both),
		cmocka_unit_test(every_class_but_ok_can_be_chosen),
		cmocka_unit_test(nothing_overrides_nothing),
		cmocka_unit_test(wrong_overrides_are_refused_with_the_word),
		cmocka_unit_test(more_overrides_than_there_is_room_for_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

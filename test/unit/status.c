/* SPDX-License-Identifier: Apache-2.0 */
/* Status codes and the error report: base/status.c, base/error.c. */
#include "support/fixture.h"

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void every_status_has_its_name_text_and_exit_code(void **state)
{
	(void)state;
#define CHECK_ROW(row_name, value, exit_code, row_text)                         \
	assert_int_equal(HSMPOOL_##row_name, value);                            \
	assert_string_equal(hsmpool_status_name(HSMPOOL_##row_name),            \
			    "HSMPOOL_" #row_name);                              \
	assert_string_equal(hsmpool_status_text(HSMPOOL_##row_name), row_text); \
	assert_int_equal(hsmpool_status_exit_code(HSMPOOL_##row_name), exit_code);
	HSMPOOL_STATUS_MAP(CHECK_ROW)
#undef CHECK_ROW
}

static void exit_codes_are_unique(void **state)
{
	(void)state;
	for (int a = HSMPOOL_OK; a <= HSMPOOL_ERR_DENIED; a++)
		for (int b = a + 1; b <= HSMPOOL_ERR_DENIED; b++)
			assert_int_not_equal(hsmpool_status_exit_code((hsmpool_status)a),
					     hsmpool_status_exit_code((hsmpool_status)b));
}

static void an_unknown_status_is_answered_safely(void **state)
{
	(void)state;
	hsmpool_status unknown = (hsmpool_status)99;
	assert_string_equal(hsmpool_status_text(unknown), "unknown status");
	assert_int_equal(hsmpool_status_exit_code(unknown), 70);
	assert_non_null(hsmpool_status_name(unknown));
}

static void version_has_three_numbers(void **state)
{
	(void)state;
	int major, minor, patch, end = 0;
	assert_int_equal(
		sscanf(hsmpool_version(), "%d.%d.%d%n", &major, &minor, &patch, &end), 3);
	assert_int_equal(hsmpool_version()[end], '\0');
}

static void failing_fills_the_whole_report(void **state)
{
	(void)state;
	hsmpool_error err;
	memset(&err, 0xff, sizeof(err));
	assert_status(hp_fail(&err, HSMPOOL_ERR_KEY, "no key '%s'", "blue"),
		      HSMPOOL_ERR_KEY);
	assert_int_equal(err.status, HSMPOOL_ERR_KEY);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_NO);
	assert_int_equal(err.ck_rv, 0);
	assert_int_equal(err.sys_errno, 0);
	assert_string_equal(err.text, "no key 'blue'");
}

static void failing_without_a_report_still_returns_the_status(void **state)
{
	(void)state;
	assert_status(hp_fail(NULL, HSMPOOL_ERR_DATA, "x"), HSMPOOL_ERR_DATA);
	assert_status(hp_fail_errno(NULL, HSMPOOL_ERR_SYSTEM, ENOENT, "x"),
		      HSMPOOL_ERR_SYSTEM);
	hp_error_prefix(NULL, "x");
	hp_error_clear(NULL);
}

static void errno_is_named_in_the_text_and_kept(void **state)
{
	(void)state;
	hsmpool_error err;
	errno = EBUSY;
	hp_fail_errno(&err, HSMPOOL_ERR_SYSTEM, ENOENT, "cannot open '%s'", "/x");
	assert_string_equal(err.text, "cannot open '/x': No such file or directory");
	assert_int_equal(err.sys_errno, ENOENT);
	assert_int_equal(errno, EBUSY);
}

static void a_text_is_one_line_whatever_goes_into_it(void **state)
{
	(void)state;
	hsmpool_error err;
	hp_fail(&err, HSMPOOL_ERR_KEY, "no key '%s'", "a\nFAKE: all is well\x1b[2J\x7f");
	assert_string_equal(err.text, "no key 'a?FAKE: all is well?[2J?'");
	hp_error_prefix(&err, "b\rc");
	assert_string_equal(err.text, "b?c: no key 'a?FAKE: all is well?[2J?'");
}

static void a_long_text_is_cut_not_overrun(void **state)
{
	(void)state;
	char name[2000];
	hsmpool_error err;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	hp_fail(&err, HSMPOOL_ERR_KEY, "%s", name);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	hp_fail_errno(&err, HSMPOOL_ERR_KEY, ENOENT, "%s", name);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	hp_error_prefix(&err, "%s", name);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	hp_error_prefix(&err, "front");
	assert_memory_equal(err.text, "front: nnn", 10);
}

static void a_text_may_quote_the_text_before_it(void **state)
{
	(void)state;
	hsmpool_error err;
	hp_fail(&err, HSMPOOL_ERR_KEY, "inner");
	hp_fail(&err, HSMPOOL_ERR_DOWN, "outer: %s", err.text);
	assert_string_equal(err.text, "outer: inner");
}

static void a_prefix_keeps_status_and_numbers(void **state)
{
	(void)state;
	hsmpool_error err;
	hp_fail_errno(&err, HSMPOOL_ERR_SYSTEM, EIO, "reading");
	err.executed = HSMPOOL_EXECUTED_UNKNOWN;
	hp_error_prefix(&err, "file %d", 7);
	assert_string_equal(err.text, "file 7: reading: Input/output error");
	assert_int_equal(err.status, HSMPOOL_ERR_SYSTEM);
	assert_int_equal(err.sys_errno, EIO);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_UNKNOWN);
}

static void a_cleared_report_says_success(void **state)
{
	(void)state;
	hsmpool_error err;
	hp_fail_errno(&err, HSMPOOL_ERR_SYSTEM, EIO, "reading");
	hp_error_clear(&err);
	assert_int_equal(err.status, HSMPOOL_OK);
	assert_int_equal(err.sys_errno, 0);
	assert_string_equal(err.text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_status_has_its_name_text_and_exit_code),
		cmocka_unit_test(exit_codes_are_unique),
		cmocka_unit_test(an_unknown_status_is_answered_safely),
		cmocka_unit_test(version_has_three_numbers),
		cmocka_unit_test(failing_fills_the_whole_report),
		cmocka_unit_test(failing_without_a_report_still_returns_the_status),
		cmocka_unit_test(errno_is_named_in_the_text_and_kept),
		cmocka_unit_test(a_text_is_one_line_whatever_goes_into_it),
		cmocka_unit_test(a_long_text_is_cut_not_overrun),
		cmocka_unit_test(a_text_may_quote_the_text_before_it),
		cmocka_unit_test(a_prefix_keeps_status_and_numbers),
		cmocka_unit_test(a_cleared_report_says_success),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

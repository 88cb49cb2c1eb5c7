/* SPDX-License-Identifier: Apache-2.0 */
/* Columns that contradict themselves, and the two methods that need no key. */
#include "support/fixture.h"

#include "base/memory.h"
#include "pseudonym/column.h"
#include "pseudonym/method.h"
#include "support/pseudonymized.h"

#include <stdlib.h>
#include <string.h>

#define NAMED(column_name)      .size = sizeof(hsmpool_column), .name = (column_name)
#define NUMBERED(column_number) .size = sizeof(hsmpool_column), .number = (column_number)

static void expect_refused(hsmpool_column column, bool is_reverse, const char *because)
{
	hsmpool_error err;
	assert_status(hp_column_check(&column, is_reverse, &err), HSMPOOL_ERR_USAGE);
	if (!strstr(err.text, because))
		fail_msg("'%s' does not say '%s'", err.text, because);
}

static void expect_domain(hsmpool_column column, const char *domain)
{
	hsmpool_error err;
	assert_ok(hp_column_check(&column, false, &err), &err);
	hsmpool_bytes got = hp_column_domain(&column);
	assert_int_equal(got.len, strlen(domain));
	assert_memory_equal(got.data, domain, got.len);
}

static void a_column_has_a_name_or_a_number(void **state)
{
	(void)state;
	const hsmpool_column neither = { .size = sizeof(neither) };
	const hsmpool_column both = { NAMED("email"), .number = 2 };
	expect_refused(neither, false, "a name, or a number");
	expect_refused(both, false, "choose one");
}

static void the_domain_is_the_name_unless_another_is_given(void **state)
{
	(void)state;
	expect_domain((hsmpool_column){ NAMED("email") }, "email");
	expect_domain((hsmpool_column){ NAMED("email"), .domain = "person" }, "person");
	expect_domain((hsmpool_column){ NUMBERED(2), .domain = "person" }, "person");
}

static void a_column_by_number_needs_a_domain_where_one_is_used(void **state)
{
	(void)state;
	hsmpool_error err;
	hsmpool_column column = { NUMBERED(2) };
	expect_refused(column, false, "column 2: a column that is chosen by number");
	column.method = HSMPOOL_COLUMN_FPE;
	expect_refused(column, false, "needs a domain");
	column.method = HSMPOOL_COLUMN_REDACT;
	assert_ok(hp_column_check(&column, false, &err), &err);
	column.method = HSMPOOL_COLUMN_DROP;
	assert_ok(hp_column_check(&column, false, &err), &err);
}

static void a_domain_is_bounded(void **state)
{
	(void)state;
	char domain[HP_DOMAIN_MAX + 2];
	memset(domain, 'd', sizeof(domain));
	domain[HP_DOMAIN_MAX + 1] = '\0';
	expect_refused((hsmpool_column){ NAMED("a"), .domain = domain }, false,
		       "256 bytes");
	expect_refused((hsmpool_column){ NAMED(domain) }, false, "no other is given");
	expect_refused((hsmpool_column){ NAMED("a"), .domain = "" }, false, "0 bytes");
	expect_domain((hsmpool_column){ NAMED("a"), .domain = domain + 1 }, domain + 1);
}

static void what_a_method_has_no_use_for_is_refused(void **state)
{
	(void)state;
	const hsmpool_column columns[] = {
		{ NAMED("c"), .method = HSMPOOL_COLUMN_HMAC, .text = "t" },
		{ NAMED("c"), .method = HSMPOOL_COLUMN_FPE, .length = 8 },
		{ NAMED("c"), .method = HSMPOOL_COLUMN_FPE, .prefix = "p" },
		{ NAMED("c"), .method = HSMPOOL_COLUMN_FPE,
		  .flags = HSMPOOL_COLUMN_SHORT_TOKENS },
		{ NAMED("c"), .method = HSMPOOL_COLUMN_REDACT, .alphabet = "hex" },
		{ NAMED("c"), .method = HSMPOOL_COLUMN_REDACT, .domain = "d" },
		{ NAMED("c"), .method = HSMPOOL_COLUMN_DROP, .text = "t" },
	};
	for (size_t i = 0; i < HP_ARRAY_LEN(columns); i++)
		expect_refused(columns[i], false, "column 'c': ");
	expect_refused(columns[1], false, "fpe has no use for a length");
}

static void only_fpe_can_be_undone(void **state)
{
	(void)state;
	hsmpool_error err;
	hsmpool_column column = { NAMED("c"), .method = HSMPOOL_COLUMN_FPE };
	assert_ok(hp_column_check(&column, true, &err), &err);
	column.method = HSMPOOL_COLUMN_HMAC;
	expect_refused(column, true, "what hmac did cannot be undone");
	column.method = HSMPOOL_COLUMN_REDACT;
	expect_refused(column, true, "what redact did");
	column.method = HSMPOOL_COLUMN_DROP;
	expect_refused(column, true, "what drop did");
}

static void nonsense_is_refused(void **state)
{
	(void)state;
	char prefix[HP_PREFIX_MAX + 2];
	memset(prefix, 'p', sizeof(prefix));
	prefix[HP_PREFIX_MAX + 1] = '\0';
	expect_refused((hsmpool_column){ .size = 8, .name = "c" }, false, "sizeof");
	expect_refused((hsmpool_column){ NAMED("c"), .method = (hsmpool_column_method)4 },
		       false, "no method 4");
	expect_refused((hsmpool_column){ NAMED("c"), .flags = 6 }, false, "flags 0x6");
	expect_refused((hsmpool_column){ NAMED("c"), .prefix = prefix }, false,
		       "65 bytes");
}

/* ---- redact and drop ---- */

static const struct hp_method_ground nothing = { .deadline = HSMPOOL_DEFAULT };

static void expect_redacted(hsmpool_column column, const char *text)
{
	struct hp_method *method;
	struct hp_method_worker *worker;
	struct hp_text out = { 0 };
	hsmpool_error err;
	bool is_bad = true;
	assert_ok(hp_method_open(&method, &nothing, &column, &err), &err);
	assert_ok(hp_method_worker_new(&worker, method, &err), &err);
	assert_ok(pseudonymized(method, worker, (hsmpool_bytes){ NULL, 0 }, &out, &is_bad,
				&err),
		  &err);
	assert_false(is_bad);
	assert_int_equal(out.len, strlen(text));
	if (out.len > 0)
		assert_memory_equal(out.data, text, out.len);
	hp_text_clear(&out);
	hp_method_worker_free(&worker);
	hp_method_close(&method);
}

static void redaction_gives_the_same_text_without_a_key(void **state)
{
	(void)state;
	hsmpool_column column = { NAMED("c"), .method = HSMPOOL_COLUMN_REDACT };
	expect_redacted(column, "REDACTED");
	column.text = "";
	expect_redacted(column, "");
	column.text = "–";
	expect_redacted(column, "–");
}

static void a_dropped_column_says_so(void **state)
{
	(void)state;
	hsmpool_error err;
	hsmpool_column column = { NUMBERED(1), .method = HSMPOOL_COLUMN_DROP };
	struct hp_method *method;
	assert_ok(hp_method_open(&method, &nothing, &column, &err), &err);
	assert_true(hp_method_is_drop(method));
	hp_method_close(&method);
	assert_null(method);
	column.method = HSMPOOL_COLUMN_REDACT;
	assert_ok(hp_method_open(&method, &nothing, &column, &err), &err);
	assert_false(hp_method_is_drop(method));
	hp_method_close(&method);
}

static void a_method_with_a_key_asks_for_one(void **state)
{
	(void)state;
	hsmpool_error err;
	hsmpool_column column = { NAMED("c"), .method = HSMPOOL_COLUMN_HMAC };
	struct hp_method *method;
	assert_status(hp_method_open(&method, &nothing, &column, &err), HSMPOOL_ERR_KEY);
	assert_null(method);
	assert_non_null(strstr(err.text, "column 'c': a pseudonym needs a key"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_column_has_a_name_or_a_number),
		cmocka_unit_test(the_domain_is_the_name_unless_another_is_given),
		cmocka_unit_test(a_column_by_number_needs_a_domain_where_one_is_used),
		cmocka_unit_test(a_domain_is_bounded),
		cmocka_unit_test(what_a_method_has_no_use_for_is_refused),
		cmocka_unit_test(only_fpe_can_be_undone),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(redaction_gives_the_same_text_without_a_key),
		cmocka_unit_test(a_dropped_column_says_so),
		cmocka_unit_test(a_method_with_a_key_asks_for_one),
	};
	return cmocka_run_group_tests_name("pseudonym_column", tests, NULL, NULL);
}

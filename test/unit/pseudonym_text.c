/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that grow. */
#include "support/fixture.h"

#include "pseudonym/text.h"

#include <string.h>

static void what_was_appended_stays_while_it_grows(void **state)
{
	(void)state;
	struct hp_text text = { 0 };
	hsmpool_error err;
	for (unsigned i = 0; i < 10000; i++) {
		uint8_t byte = (uint8_t)(i % 251);
		assert_ok(hp_text_append(&text, &byte, 1, &err), &err);
	}
	assert_int_equal(text.len, 10000);
	for (unsigned i = 0; i < 10000; i++)
		assert_int_equal(text.data[i], i % 251);
	hp_text_clear(&text);
}

static void appending_nothing_needs_nothing(void **state)
{
	(void)state;
	struct hp_text text = { 0 };
	hsmpool_error err;
	assert_ok(hp_text_append(&text, NULL, 0, &err), &err);
	assert_null(text.data);
	hp_text_clear(&text);
}

static void room_that_was_reserved_is_there(void **state)
{
	(void)state;
	struct hp_text text = { 0 };
	hsmpool_error err;
	assert_ok(hp_text_append(&text, "abc", 3, &err), &err);
	assert_ok(hp_text_reserve(&text, 5000, &err), &err);
	assert_true(text.cap - text.len >= 5000);
	assert_int_equal(text.len, 3);
	memset(text.data + text.len, 'x', 5000);
	assert_memory_equal(text.data, "abc", 3);
	hp_text_clear(&text);
}

static void a_length_that_cannot_be_leaves_the_text_alone(void **state)
{
	(void)state;
	struct hp_text text = { 0 };
	hsmpool_error err;
	assert_ok(hp_text_append(&text, "abc", 3, &err), &err);
	assert_status(hp_text_reserve(&text, SIZE_MAX, &err), HSMPOOL_ERR_SYSTEM);
	assert_int_equal(text.len, 3);
	assert_memory_equal(text.data, "abc", 3);
	hp_text_clear(&text);
	assert_null(text.data);
	assert_int_equal(text.cap, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_appended_stays_while_it_grows),
		cmocka_unit_test(appending_nothing_needs_nothing),
		cmocka_unit_test(room_that_was_reserved_is_there),
		cmocka_unit_test(a_length_that_cannot_be_leaves_the_text_alone),
	};
	return cmocka_run_group_tests_name("pseudonym_text", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a PIN latch's file: what is written is read again, what is damaged is
 * noticed, and which PINs are kept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "pool/latch_record.h"

static struct hp_latch_record sample(void)
{
	struct hp_latch_record record = {
		.manufacturer = "SoftHSM project",
		.model = "SoftHSM v2",
		.serial = "5c1f1a2b3c4d5e6f",
		.label = "a label = of thirty-two bytes...",
		.salt = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255 },
	};
	struct hp_latch_pin *pin = hp_latch_record_add(&record, 0xffff);
	pin->state = HP_LATCH_REFUSED;
	pin->rv = 0xffffffffa0000001;
	pin->time_s = 1795000000;
	pin->process = 2147483647;
	pin->is_old = true;
	hp_latch_record_add(&record, 0)->unknown = 2;
	return record;
}

static void print_full(char text[HP_LATCH_TEXT_LEN])
{
	struct hp_latch_record record = sample();
	for (uint16_t mark = 1; mark <= HP_LATCH_PINS - 2; mark++) {
		struct hp_latch_pin *pin = hp_latch_record_add(&record, mark);
		*pin = record.pins[0];
		pin->mark = mark;
		pin->unknown = UINT32_MAX;
		pin->time_s = INT64_MIN;
	}
	hp_latch_record_print(&record, text);
}

static void what_is_printed_is_parsed_again(void **state)
{
	(void)state;
	struct hp_latch_record record = sample(), again;
	char text[HP_LATCH_TEXT_LEN];

	hp_latch_record_print(&record, text);
	assert_true(hp_latch_record_parse(text, sizeof text, &again));
	assert_string_equal(again.manufacturer, record.manufacturer);
	assert_string_equal(again.model, record.model);
	assert_string_equal(again.serial, record.serial);
	assert_string_equal(again.label, record.label);
	assert_memory_equal(again.salt, record.salt, sizeof record.salt);
	for (size_t i = 0; i < HP_LATCH_PINS; i++) {
		const struct hp_latch_pin *a = &record.pins[i], *b = &again.pins[i];
		assert_int_equal(a->state, b->state);
		assert_int_equal(a->mark, b->mark);
		assert_int_equal(a->is_old, b->is_old);
		assert_int_equal(a->unknown, b->unknown);
		assert_int_equal(a->rv, b->rv);
		assert_int_equal(a->time_s, b->time_s);
		assert_int_equal(a->process, b->process);
	}
}

static void the_longest_record_fits(void **state)
{
	(void)state;
	struct hp_latch_record again;
	char text[HP_LATCH_TEXT_LEN];

	print_full(text);
	assert_true(hp_latch_record_parse(text, sizeof text, &again));
	assert_int_equal(again.pins[HP_LATCH_PINS - 1].state, HP_LATCH_REFUSED);
}

static void every_changed_byte_is_noticed(void **state)
{
	(void)state;
	struct hp_latch_record again;
	char text[HP_LATCH_TEXT_LEN];

	print_full(text);
	size_t len = sizeof text;
	while (text[len - 1] == '\n')
		len--;
	for (size_t i = 0; i < len; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			text[i] = (char)(text[i] ^ (1 << bit));
			/* The digits of the checksum are the same in capitals. */
			bool is_case = i > len - 17 && bit == 5 &&
				       (text[i] | 0x20) >= 'a' && (text[i] | 0x20) <= 'f';
			if (!is_case && hp_latch_record_parse(text, sizeof text, &again))
				fail_msg("bit %u of byte %zu", bit, i);
			text[i] = (char)(text[i] ^ (1 << bit));
		}
}

static void every_shortened_text_is_noticed(void **state)
{
	(void)state;
	struct hp_latch_record again;
	char text[HP_LATCH_TEXT_LEN + 1] = "";

	print_full(text);
	for (size_t len = 0; len < HP_LATCH_TEXT_LEN; len++)
		assert_false(hp_latch_record_parse(text, len, &again));
	assert_false(hp_latch_record_parse(text, HP_LATCH_TEXT_LEN + 1, &again));
	memset(text, 0, sizeof text);
	assert_false(hp_latch_record_parse(text, HP_LATCH_TEXT_LEN, &again));
	memset(text, '\n', sizeof text);
	assert_false(hp_latch_record_parse(text, HP_LATCH_TEXT_LEN, &again));
}

static void control_characters_of_a_label_make_no_line(void **state)
{
	(void)state;
	struct hp_latch_record record = { 0 }, again;
	char text[HP_LATCH_TEXT_LEN];
	CK_TOKEN_INFO token;

	memset(&token, ' ', sizeof token);
	memcpy(token.label, "a\nsalt = b\x7f", 11);
	hp_latch_record_describe(&record, &token);
	assert_string_equal(record.label, "a?salt = b?");
	hp_latch_record_print(&record, text);
	assert_true(hp_latch_record_parse(text, sizeof text, &again));
	assert_string_equal(again.label, "a?salt = b?");
}

static void a_good_pin_makes_the_others_old_and_leaves_them_refused(void **state)
{
	(void)state;
	struct hp_latch_record record = { 0 };

	hp_latch_record_add(&record, 1)->state = HP_LATCH_REFUSED;
	hp_latch_record_add(&record, 2)->state = HP_LATCH_BEGUN;
	hp_latch_record_note_good(&record, 2);
	assert_null(hp_latch_record_find(&record, 2));
	assert_int_equal(hp_latch_record_find(&record, 1)->state, HP_LATCH_REFUSED);
	assert_true(hp_latch_record_find(&record, 1)->is_old);
	assert_false(hp_latch_record_is_clear(&record));
}

static void only_old_ones_make_room(void **state)
{
	(void)state;
	struct hp_latch_record record = { 0 };

	for (uint16_t mark = 0; mark < HP_LATCH_PINS; mark++)
		hp_latch_record_add(&record, mark)->state = HP_LATCH_REFUSED;
	assert_null(hp_latch_record_add(&record, 100));
	record.pins[3].is_old = record.pins[5].is_old = true;
	assert_non_null(hp_latch_record_add(&record, 100));
	assert_null(hp_latch_record_find(&record, 3));
	assert_non_null(hp_latch_record_find(&record, 100));
	assert_non_null(hp_latch_record_add(&record, 101));
	assert_null(hp_latch_record_find(&record, 5));
	assert_null(hp_latch_record_add(&record, 102));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_printed_is_parsed_again),
		cmocka_unit_test(the_longest_record_fits),
		cmocka_unit_test(every_changed_byte_is_noticed),
		cmocka_unit_test(every_shortened_text_is_noticed),
		cmocka_unit_test(control_characters_of_a_label_make_no_line),
		cmocka_unit_test(a_good_pin_makes_the_others_old_and_leaves_them_refused),
		cmocka_unit_test(only_old_ones_make_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal by itself: pieces, bounds, taking back, wiping.
 */
#include "proxy/journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define PLENTY (UINT64_C(1) << 30)

static bool add_text(struct hp_journal *journal, const char *text, bool may_join)
{
	return hp_journal_add(journal, (const CK_BYTE *)text, strlen(text), may_join,
			      PLENTY, PLENTY);
}

static void assert_piece(const struct hp_journal *journal, size_t *at, const char *text)
{
	struct hp_journal_piece piece;
	assert_true(hp_journal_next(journal, at, &piece));
	assert_false(piece.is_key);
	assert_int_equal(piece.len, strlen(text));
	assert_memory_equal(piece.data, text, piece.len);
}

static void assert_end(const struct hp_journal *journal, size_t *at)
{
	struct hp_journal_piece piece;
	assert_false(hp_journal_next(journal, at, &piece));
}

static void an_empty_journal_has_no_piece(void **state)
{
	(void)state;
	struct hp_journal journal = { 0 };
	size_t at = 0;
	assert_end(&journal, &at);
	hp_journal_drop(&journal);
}

static void pieces_of_a_cipher_stay_apart(void **state)
{
	(void)state;
	struct hp_journal journal = { 0 };
	size_t at = 0;
	assert_true(add_text(&journal, "one", false));
	assert_true(add_text(&journal, "", false));
	assert_true(add_text(&journal, "three", false));
	assert_piece(&journal, &at, "one");
	assert_piece(&journal, &at, "");
	assert_piece(&journal, &at, "three");
	assert_end(&journal, &at);
	hp_journal_drop(&journal);
}

static void pieces_of_a_digest_run_together_up_to_a_key(void **state)
{
	(void)state;
	struct hp_journal journal = { 0 };
	struct hp_journal_piece piece;
	size_t at = 0;
	assert_true(add_text(&journal, "one", true));
	assert_true(add_text(&journal, "two", true));
	assert_true(hp_journal_add_key(&journal, 77, PLENTY, PLENTY));
	assert_true(add_text(&journal, "three", true));
	assert_true(add_text(&journal, "four", true));
	assert_piece(&journal, &at, "onetwo");
	assert_true(hp_journal_next(&journal, &at, &piece));
	assert_true(piece.is_key);
	assert_int_equal(piece.key, 77);
	assert_piece(&journal, &at, "threefour");
	assert_end(&journal, &at);
	hp_journal_drop(&journal);
}

static void what_was_taken_back_is_gone(void **state)
{
	(void)state;
	struct hp_journal journal = { 0 };
	struct hp_journal_mark mark = hp_journal_mark(&journal);
	size_t at = 0;
	assert_true(add_text(&journal, "never", true));
	hp_journal_rewind(&journal, &mark);
	assert_end(&journal, &at);
	assert_true(add_text(&journal, "one", true));
	mark = hp_journal_mark(&journal);
	assert_true(add_text(&journal, "secret", true));
	const CK_BYTE *data = journal.data;
	hp_journal_rewind(&journal, &mark);
	for (size_t i = journal.len; i < journal.len + 6; i++)
		assert_int_equal(data[i], 0);
	assert_true(add_text(&journal, "two", true));
	assert_piece(&journal, &at, "onetwo");
	assert_end(&journal, &at);
	hp_journal_drop(&journal);
}

static void a_long_journal_keeps_its_contents_while_it_grows(void **state)
{
	(void)state;
	struct hp_journal journal = { 0 };
	struct hp_journal_piece piece;
	enum { COUNT = 40000 };
	size_t at = 0;
	for (unsigned i = 0; i < COUNT; i++)
		assert_true(hp_journal_add(&journal, (const CK_BYTE *)&i, sizeof(i),
					   (i / 100) % 2 == 0, PLENTY, PLENTY));
	unsigned next = 0;
	while (hp_journal_next(&journal, &at, &piece)) {
		assert_int_equal(piece.len % sizeof(next), 0);
		for (size_t i = 0; i < piece.len; i += sizeof(next), next++)
			assert_memory_equal(piece.data + i, &next, sizeof(next));
	}
	assert_int_equal(next, COUNT);
	hp_journal_drop(&journal);
}

static void the_limit_holds_and_nothing_changes_beyond_it(void **state)
{
	(void)state;
	static const CK_BYTE bytes[200];
	struct hp_journal journal = { 0 };
	size_t at = 0;
	assert_true(hp_journal_add(&journal, bytes, 100, true, 120, PLENTY));
	assert_false(hp_journal_add(&journal, bytes, 100, true, 120, PLENTY));
	assert_false(hp_journal_add(&journal, bytes, 100, false, 120, PLENTY));
	assert_false(hp_journal_add_key(&journal, 1, 120, PLENTY));
	assert_true(hp_journal_add(&journal, bytes, 12, true, 120, PLENTY));
	struct hp_journal_piece piece;
	assert_true(hp_journal_next(&journal, &at, &piece));
	assert_int_equal(piece.len, 112);
	hp_journal_drop(&journal);
}

static void lengths_that_overflow_are_refused(void **state)
{
	(void)state;
	CK_BYTE byte = 0;
	struct hp_journal journal = { 0 };
	assert_true(hp_journal_add(&journal, &byte, 1, true, UINT64_MAX, UINT64_MAX));
	assert_false(
		hp_journal_add(&journal, &byte, SIZE_MAX, true, UINT64_MAX, UINT64_MAX));
	assert_false(hp_journal_add(&journal, &byte, SIZE_MAX - 8, false, UINT64_MAX,
				    UINT64_MAX));
	hp_journal_drop(&journal);
}

static void all_journals_share_the_total(void **state)
{
	(void)state;
	static const CK_BYTE bytes[400];
	struct hp_journal one = { 0 }, two = { 0 }, three = { 0 };
	assert_int_equal(hp_journals_total(), 0);
	assert_true(hp_journal_add(&one, bytes, 400, true, PLENTY, 1024));
	assert_true(hp_journal_add(&two, bytes, 400, true, PLENTY, 1024));
	assert_int_equal(hp_journals_total(), 1024);
	assert_false(hp_journal_add(&three, bytes, 1, true, PLENTY, 1024));
	assert_false(hp_journal_add(&one, bytes, 400, true, PLENTY, 1024));
	hp_journal_drop(&two);
	assert_true(hp_journal_add(&three, bytes, 1, true, PLENTY, 1024));
	hp_journal_drop(&one);
	hp_journal_drop(&three);
	assert_int_equal(hp_journals_total(), 0);
}

/* The memory of the next journal is that of the last one. */
static void a_dropped_journal_is_wiped_and_its_memory_used_again(void **state)
{
	(void)state;
	struct hp_journal journal = { 0 };
	assert_true(add_text(&journal, "a secret of thirty-two bytes, yes", false));
	CK_BYTE *data = journal.data;
	size_t len = journal.len;
	hp_journal_drop(&journal);
	/* But for the link to the next free piece. */
	for (size_t i = sizeof(void *); i < len; i++)
		assert_int_equal(data[i], 0);
	assert_true(add_text(&journal, "x", false));
	assert_ptr_equal(journal.data, data);
	hp_journal_drop(&journal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_journal_has_no_piece),
		cmocka_unit_test(pieces_of_a_cipher_stay_apart),
		cmocka_unit_test(pieces_of_a_digest_run_together_up_to_a_key),
		cmocka_unit_test(what_was_taken_back_is_gone),
		cmocka_unit_test(a_long_journal_keeps_its_contents_while_it_grows),
		cmocka_unit_test(the_limit_holds_and_nothing_changes_beyond_it),
		cmocka_unit_test(lengths_that_overflow_are_refused),
		cmocka_unit_test(all_journals_share_the_total),
		cmocka_unit_test(a_dropped_journal_is_wiped_and_its_memory_used_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

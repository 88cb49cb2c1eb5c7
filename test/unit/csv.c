/* SPDX-License-Identifier: Apache-2.0 */
/* CSV: every byte in one row or the mark in front, fields and faults as they should be,
 * however it is cut. */
#include "support/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "pseudonym/csv.h"

#define MIB ((size_t)1 << 20)

/* ---- reading everything ---- */

/* What came of an input: rows as text, and all bytes, the byte order mark's too. */
struct reading {
	struct hp_text shown;
	struct hp_text bytes;
	size_t rows, faults;
	enum hp_csv_step end;
	hsmpool_error err;
};

static void show(struct hp_text *shown, const void *data, size_t len)
{
	assert_int_equal(hp_text_append(shown, data, len, NULL), HSMPOOL_OK);
}

static void show_text(struct hp_text *shown, const char *text)
{
	show(shown, text, strlen(text));
}

/* "3:a|'b c'|!why;" is line 3 with a plain and a quoted field and a fault. */
static void show_row(struct reading *reading, const struct hp_csv_row *row)
{
	char line[32];
	snprintf(line, sizeof(line), "%llu:", (unsigned long long)row->line);
	show_text(&reading->shown, line);
	for (size_t i = 0; i < row->field_count; i++) {
		const struct hp_csv_field *field = &row->fields[i];
		show_text(&reading->shown, i ? "|" : "");
		show_text(&reading->shown, field->is_quoted ? "'" : "");
		show(&reading->shown, field->value.data, field->value.len);
		show_text(&reading->shown, field->is_quoted ? "'" : "");
	}
	if (row->fault)
		show_text(&reading->shown, strstr(row->fault, "behind")   ? "!text"
					   : strstr(row->fault, "inside") ? "!quote"
					   : strstr(row->fault, "opened") ? "!open"
									  : row->fault);
	show_text(&reading->shown, ";");
}

/* A field written again is what it was. */
static void assert_fields_are_their_bytes(const struct hp_csv_row *row, char delimiter)
{
	for (size_t i = 0; i < row->field_count; i++) {
		const struct hp_csv_field *field = &row->fields[i];
		struct hp_text again = { 0 };
		if (!field->is_quoted)
			show(&again, field->value.data, field->value.len);
		else
			assert_int_equal(hp_csv_write_field(&again, field->value, true,
							    delimiter, NULL),
					 HSMPOOL_OK);
		assert_int_equal(again.len, field->len);
		if (again.len > 0)
			assert_memory_equal(again.data, row->bytes.data + field->start,
					    again.len);
		hp_text_clear(&again);
	}
}

static void take_row(struct reading *reading, const struct hp_csv_row *row,
		     char delimiter)
{
	reading->rows++;
	reading->faults += row->fault != NULL;
	show_row(reading, row);
	show(&reading->bytes, row->bytes.data, row->bytes.len);
	assert_fields_are_their_bytes(row, delimiter);
}

/* In pieces of that many bytes. */
static void read_all(struct reading *reading, const void *data, size_t len, size_t piece,
		     char delimiter)
{
	struct hp_csv *csv = hp_csv_new(delimiter);
	size_t given = 0;
	hsmpool_bytes input = { data, 0 };
	*reading = (struct reading){ .end = HP_CSV_MORE };
	while (reading->end == HP_CSV_MORE || reading->end == HP_CSV_ROW) {
		struct hp_csv_row row;
		if (reading->end == HP_CSV_MORE && given < len) {
			input.data = (const uint8_t *)data + given;
			input.len = piece < len - given ? piece : len - given;
			given += input.len;
		}
		reading->end =
			hp_csv_next(csv, &input, given == len, &row, &reading->err);
		hsmpool_bytes mark = hp_csv_mark(csv);
		if (reading->rows == 0 && reading->end != HP_CSV_MORE)
			show(&reading->bytes, mark.data, mark.len);
		if (reading->end == HP_CSV_ROW)
			take_row(reading, &row, delimiter);
	}
	hp_csv_free(&csv);
}

static void clear(struct reading *reading)
{
	hp_text_clear(&reading->shown);
	hp_text_clear(&reading->bytes);
}

static void assert_same(const struct hp_text *text, const void *data, size_t len)
{
	assert_int_equal(text->len, len);
	if (len > 0)
		assert_memory_equal(text->data, data, len);
}

/* ---- a table of inputs ---- */

struct example {
	const char *input;
	size_t len;
	const char *shown;
	char delimiter; /* 0: a comma */
};

#define EXAMPLE(input, shown)                      \
	{                                          \
		input, sizeof(input) - 1, shown, 0 \
	}

static const struct example examples[] = {
	EXAMPLE("", ""),
	EXAMPLE("a,b\n", "1:a|b;"),
	EXAMPLE("a,b", "1:a|b;"),
	EXAMPLE("a,b\r\nc,d\r\n", "1:a|b;2:c|d;"),
	EXAMPLE("a\rb\rc", "1:a;2:b;3:c;"),
	EXAMPLE("a\n\nb\n", "1:a;2:;3:b;"),
	EXAMPLE("a\r\n\r\nb", "1:a;2:;3:b;"),
	EXAMPLE("a\n\rb", "1:a;2:;3:b;"),
	EXAMPLE("\n", "1:;"),
	EXAMPLE(",\n", "1:|;"),
	EXAMPLE(",,", "1:||;"),
	EXAMPLE("\"\",\n", "1:''|;"),
	EXAMPLE("\"\"", "1:'';"),
	EXAMPLE(" a , b\n", "1: a | b;"),
	EXAMPLE("\ta\t,b \n", "1:\ta\t|b ;"),
	EXAMPLE("\"a,b\",c\n", "1:'a,b'|c;"),
	EXAMPLE("\"a\"\"b\",c\n", "1:'a\"b'|c;"),
	EXAMPLE("\"\"\"\"\n", "1:'\"';"),
	EXAMPLE("\"\"\"a\"\"\"\n", "1:'\"a\"';"),
	EXAMPLE("x,\"a\nb\r\nc\rd\"\ny\n", "1:x|'a\nb\r\nc\rd';5:y;"),
	EXAMPLE("\"a\r\n\"\r\nb\n", "1:'a\r\n';3:b;"),
	EXAMPLE("a\0b,\"\0\"\n", "1:a\0b|'\0';"),
	EXAMPLE("\xEF\xBB\xBFid,b\n1,2\n", "1:id|b;2:1|2;"),
	EXAMPLE("\xEF\xBB\xBF\"id\",b\n", "1:'id'|b;"),
	EXAMPLE("\xEF\xBB\xBF", ""),
	EXAMPLE("\xEF\xBB\xBF\n\xEF\xBB\xBF\n", "1:;2:\xEF\xBB\xBF;"),
	EXAMPLE("\xEF\xBB", "1:\xEF\xBB;"),
	EXAMPLE("\xEF\xBB,x\n", "1:\xEF\xBB|x;"),
	EXAMPLE("a,\xEF\xBB\xBF\n", "1:a|\xEF\xBB\xBF;"),
	EXAMPLE("\xC3\xA4\xFF,\xE2\x82\xAC\n", "1:\xC3\xA4\xFF|\xE2\x82\xAC;"),
	/* bad rows, and that the next is read again */
	EXAMPLE("a,b\"c,d\ne,f\n", "1:a!quote;2:e|f;"),
	EXAMPLE("a,b\"\ne\n", "1:a!quote;2:e;"),
	EXAMPLE("a, \"b\"\ne\n", "1:a!quote;2:e;"),
	EXAMPLE("\"a\"b,c\ne\n", "1:!text;2:e;"),
	EXAMPLE("\"a\" ,c\r\ne\n", "1:!text;2:e;"),
	EXAMPLE("x,\"a\nb\"c,\"d\ne\"\nf\n", "1:x!text;3:!quote;4:f;"),
	EXAMPLE("a\nb,\"c\nd,e\n", "1:a;2:b!open;"),
	EXAMPLE("a\n\"", "1:a;2:!open;"),
	EXAMPLE("a\n\"b\"\"", "1:a;2:!open;"),
	EXAMPLE("\"a\"\"b\"c\rd", "1:!text;2:d;"),
	/* other delimiters */
	{ "a;b,c\n", 6, "1:a|b,c;", ';' },
	{ "a\tb\t\n", 6, "1:a|b|;", '\t' },
	{ "a b\n", 4, "1:a|b;", ' ' },
};

static void assert_example(const struct example *example, size_t piece)
{
	struct reading reading;
	char delimiter = example->delimiter;
	read_all(&reading, example->input, example->len, piece,
		 delimiter ? delimiter : ',');
	assert_int_equal(reading.end, HP_CSV_END);
	assert_same(&reading.bytes, example->input, example->len);
	if (!memchr(example->input, 0, example->len))
		assert_same(&reading.shown, example->shown, strlen(example->shown));
	clear(&reading);
}

static void hostile_inputs_are_read_as_the_table_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < HP_ARRAY_LEN(examples); i++)
		for (size_t piece = 1; piece < 8; piece++)
			assert_example(&examples[i], piece);
}

static void zero_bytes_are_kept(void **state)
{
	(void)state;
	struct reading reading;
	read_all(&reading, "a\0b,\"\0\"\n", 8, 8, ',');
	assert_same(&reading.shown, "1:a\0b|'\0';", 10);
	clear(&reading);
}

/* ---- properties ---- */

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

static size_t make_random(uint32_t *seed, char *text, size_t cap)
{
	static const char letters[] = "ab,,,\"\"\"\"\n\n\r \xEF\xBB\xBF\0";
	size_t len = next_random(seed) % cap;
	for (size_t i = 0; i < len; i++)
		text[i] = letters[next_random(seed) % (sizeof(letters) - 1)];
	return len;
}

static void every_byte_is_in_one_row_wherever_the_input_is_cut(void **state)
{
	(void)state;
	uint32_t seed = 1;
	size_t good = 0;
	for (int round = 0; round < 20000; round++) {
		char text[40];
		struct reading whole, cut;
		size_t len = make_random(&seed, text, sizeof(text));
		read_all(&whole, text, len, sizeof(text), ',');
		read_all(&cut, text, len, 1 + next_random(&seed) % 3, ',');
		assert_same(&whole.bytes, text, len);
		assert_same(&cut.bytes, text, len);
		assert_same(&cut.shown, whole.shown.data, whole.shown.len);
		good += whole.rows - whole.faults;
		clear(&whole);
		clear(&cut);
	}
	assert_true(good > 10000);
}

/* ---- limits ---- */

static void endless_row_is_an_error_and_no_memory(void **state)
{
	(void)state;
	size_t len = HP_CSV_ROW_MAX + MIB;
	char *text = malloc(len);
	struct reading reading;
	memset(text, 'x', len);
	memcpy(text, "a\nb,\"", 5);
	read_all(&reading, text, len, 65536, ',');
	assert_int_equal(reading.end, HP_CSV_FAILED);
	assert_int_equal(reading.err.status, HSMPOOL_ERR_DATA);
	assert_non_null(strstr(reading.err.text, "line 2"));
	assert_int_equal(reading.rows, 1);
	clear(&reading);
	free(text);
}

static void row_of_the_greatest_length_is_read(void **state)
{
	(void)state;
	size_t len = HP_CSV_ROW_MAX;
	char *text = malloc(len);
	struct reading reading;
	memset(text, '"', len - 1); /* doubled quotes: as much work as there can be */
	text[len - 1] = '\n';
	text[1] = 'x';
	read_all(&reading, text, len, 65536, ',');
	assert_int_equal(reading.end, HP_CSV_END);
	assert_int_equal(reading.rows, 1);
	assert_same(&reading.bytes, text, len);
	clear(&reading);
	free(text);
}

static void too_many_fields_are_a_bad_row(void **state)
{
	(void)state;
	size_t len = HP_CSV_FIELDS_MAX + 3;
	char *text = malloc(len);
	struct reading reading;
	memset(text, ',', len);
	text[HP_CSV_FIELDS_MAX] = '\n';
	text[len - 2] = 'a';
	text[len - 1] = '\n';
	read_all(&reading, text, len, len, ',');
	assert_int_equal(reading.end, HP_CSV_END);
	assert_int_equal(reading.rows, 2);
	assert_int_equal(reading.faults, 1);
	clear(&reading);
	free(text);
}

/* ---- writing ---- */

static void assert_written(const char *value, bool is_quoted, const char *expected)
{
	struct hp_text out = { 0 };
	hsmpool_bytes bytes = { (const uint8_t *)value, strlen(value) };
	assert_int_equal(hp_csv_write_field(&out, bytes, is_quoted, ';', NULL),
			 HSMPOOL_OK);
	assert_same(&out, expected, strlen(expected));
	hp_text_clear(&out);
}

static void values_are_quoted_if_they_were_or_must_be(void **state)
{
	(void)state;
	assert_written("a", false, "a");
	assert_written("a", true, "\"a\"");
	assert_written("a,b", false, "a,b");
	assert_written("a;b", false, "\"a;b\"");
	assert_written("a\"b", false, "\"a\"\"b\"");
	assert_written("a\nb", false, "\"a\nb\"");
	assert_written("a\rb", false, "\"a\rb\"");
	assert_written(" a ", false, " a ");
	assert_written("", false, "\"\"");
	assert_written("\\.", false, "\"\\.\"");
}

static void quotes_and_line_ends_are_no_delimiters(void **state)
{
	(void)state;
	assert_true(hp_csv_is_delimiter(','));
	assert_true(hp_csv_is_delimiter('\t'));
	assert_true(hp_csv_is_delimiter('|'));
	assert_false(hp_csv_is_delimiter('"'));
	assert_false(hp_csv_is_delimiter('\r'));
	assert_false(hp_csv_is_delimiter('\n'));
	assert_false(hp_csv_is_delimiter('\0'));
	assert_false(hp_csv_is_delimiter((char)0xef)); /* of a byte order mark */
	assert_false(hp_csv_is_delimiter(0x7f));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile_inputs_are_read_as_the_table_says),
		cmocka_unit_test(zero_bytes_are_kept),
		cmocka_unit_test(every_byte_is_in_one_row_wherever_the_input_is_cut),
		cmocka_unit_test(endless_row_is_an_error_and_no_memory),
		cmocka_unit_test(row_of_the_greatest_length_is_read),
		cmocka_unit_test(too_many_fields_are_a_bad_row),
		cmocka_unit_test(values_are_quoted_if_they_were_or_must_be),
		cmocka_unit_test(quotes_and_line_ends_are_no_delimiters),
	};
	return cmocka_run_group_tests_name("csv", tests, NULL, NULL);
}

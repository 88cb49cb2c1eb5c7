/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CSV, as the reader of pseudonymize sees it: the first byte chooses the delimiter, the
 * second how long the pieces are in which the rest is read. Every byte is in one row or
 * in the byte order mark, the pieces make no difference, the fields of a good row lie
 * side by side, and a value that is written is read again as it was.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include "pseudonym/csv.h"

/* What of the rows must not depend on the pieces. */
struct rows {
	struct hp_text bytes; /* the byte order mark's too */
	uint64_t count, bad, fields, last_line;
	enum hp_csv_step end;
};

static bool is_same(hsmpool_bytes a, hsmpool_bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* A value written as a row's second field, read back. */
static void must_come_back(const struct hp_csv_field *field, char delimiter)
{
	const char start[] = { delimiter == 'a' ? 'b' : 'a', delimiter };
	struct hp_text written = { 0 };
	struct hp_csv_row row;
	struct hp_csv *csv = hp_csv_new(delimiter);
	MUST(csv && hp_text_append(&written, start, sizeof(start), NULL) == HSMPOOL_OK);
	MUST(hp_csv_write_field(&written, field->value, field->is_quoted, delimiter,
				NULL) == HSMPOOL_OK);
	hsmpool_bytes input = { written.data, written.len };
	MUST(hp_csv_next(csv, &input, true, &row, NULL) == HP_CSV_ROW);
	MUST(!row.fault && row.field_count == 2);
	MUST(is_same(row.fields[1].value, field->value));
	hp_csv_free(&csv);
	hp_text_clear(&written);
}

static bool is_line_end(hsmpool_bytes bytes, size_t start)
{
	static const char *const ends[] = { "", "\n", "\r", "\r\n" };
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (bytes.len - start == strlen(ends[i]) &&
		    memcmp(bytes.data + start, ends[i], strlen(ends[i])) == 0)
			return true;
	return false;
}

/* A quoted one, written again, is as it was; one without quotes is its value. */
static void must_be_its_bytes(const struct hp_csv_row *row,
			      const struct hp_csv_field *field, char delimiter)
{
	hsmpool_bytes bytes = { row->bytes.data + field->start, field->len };
	struct hp_text written = { 0 };
	MUST(field->start + field->len <= row->bytes.len);
	if (!field->is_quoted) {
		MUST(is_same(bytes, field->value));
		return;
	}
	MUST(hp_csv_write_field(&written, field->value, true, delimiter, NULL) ==
	     HSMPOOL_OK);
	MUST(is_same(bytes, (hsmpool_bytes){ written.data, written.len }));
	hp_text_clear(&written);
}

static void must_be_a_row(const struct hp_csv_row *row, char delimiter)
{
	size_t next = 0;
	for (size_t i = 0; i < row->field_count; i++) {
		const struct hp_csv_field *field = &row->fields[i];
		must_be_its_bytes(row, field, delimiter);
		must_come_back(field, delimiter);
		MUST(i == 0 || (field->start == next + 1 &&
				row->bytes.data[next] == (uint8_t)delimiter));
		next = field->start + field->len;
	}
	MUST(row->fault || row->field_count == 0 || is_line_end(row->bytes, next));
}

static void take_row(struct rows *rows, const struct hp_csv_row *row, char delimiter)
{
	MUST(row->bytes.len > 0 && row->line > rows->last_line);
	rows->last_line = row->line;
	rows->count++;
	rows->fields += row->field_count;
	rows->bad += row->fault != NULL;
	MUST(hp_text_append(&rows->bytes, row->bytes.data, row->bytes.len, NULL) ==
	     HSMPOOL_OK);
	must_be_a_row(row, delimiter);
}

static void take_mark(struct rows *rows, hsmpool_bytes mark)
{
	MUST(mark.len == 0 || mark.len == 3);
	MUST(hp_text_append(&rows->bytes, mark.data, mark.len, NULL) == HSMPOOL_OK);
}

static void read_rows(struct rows *rows, hsmpool_bytes all, size_t piece, char delimiter)
{
	struct hp_csv *csv = hp_csv_new(delimiter);
	hsmpool_error err = { 0 };
	hsmpool_bytes input = { all.data, 0 };
	size_t given = 0;
	MUST(csv);
	*rows = (struct rows){ .end = HP_CSV_MORE };
	while (rows->end == HP_CSV_MORE || rows->end == HP_CSV_ROW) {
		struct hp_csv_row row;
		if (rows->end == HP_CSV_MORE) {
			MUST(input.len == 0);
			size_t len = all.len - given < piece ? all.len - given : piece;
			input = (hsmpool_bytes){ all.data + given, len };
			given += len;
		}
		rows->end = hp_csv_next(csv, &input, given == all.len, &row, &err);
		if (rows->count == 0 && rows->end != HP_CSV_MORE)
			take_mark(rows, hp_csv_mark(csv));
		if (rows->end == HP_CSV_ROW)
			take_row(rows, &row, delimiter);
	}
	hp_csv_free(&csv);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char usual[] = ",;\t|";
	struct rows whole, cut;
	if (len < 2)
		return 0;
	char delimiter =
		hp_csv_is_delimiter((char)data[0]) ? (char)data[0] : usual[len % 4];
	size_t piece = 1 + data[1] % 16;
	uint8_t *copy = fuzz_copy(data + 2, len - 2);
	hsmpool_bytes all = { copy, len - 2 };
	read_rows(&whole, all, all.len, delimiter);
	read_rows(&cut, all, piece, delimiter);
	MUST(whole.end == HP_CSV_END && cut.end == HP_CSV_END);
	MUST(is_same((hsmpool_bytes){ whole.bytes.data, whole.bytes.len }, all));
	MUST(is_same((hsmpool_bytes){ cut.bytes.data, cut.bytes.len }, all));
	MUST(whole.count == cut.count && whole.bad == cut.bad &&
	     whole.fields == cut.fields);
	hp_text_clear(&whole.bytes);
	hp_text_clear(&cut.bytes);
	free(copy);
	return 0;
}

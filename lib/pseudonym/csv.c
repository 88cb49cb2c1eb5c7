/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See csv.h.
 *
 * libcsv decides what is a field and a row, but does not tell where in the input one
 * ended. So it is given runs of ordinary bytes in one call, and each delimiter, quote, CR
 * and LF in a call of its own: what it reports in such a call ended in front of that
 * byte.
 */
#include "pseudonym/csv.h"
#include <csv.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/secret.h"

#define QUOTE '"'
#define CR    '\r'
#define LF    '\n'

static const uint8_t byte_order_mark[] = { 0xEF, 0xBB, 0xBF };

enum row_state {
	BETWEEN,   /* no byte of a row was seen since the last */
	INSIDE,    /* libcsv is in the middle of one */
	BROKEN,    /* it is bad: up to the line's end everything belongs to it */
	AFTER_CR,  /* it is complete, unless an LF follows */
	COMPLETE,  /* the caller has it, or gets it now */
	EXHAUSTED, /* the input has ended and everything was handed out */
};

/* A field while the row may still move. */
struct span {
	size_t start, len;
	size_t value; /* where its value is in values, if it differs from its bytes */
	size_t value_len;
	bool has_value;
};

struct hp_csv {
	struct csv_parser parser;
	char delimiter;
	bool is_special[256];
	enum row_state state;
	size_t mark_len; /* bytes of a byte order mark seen at the start of the input */
	bool is_started; /* behind the place where that may be */

	/* What libcsv's last call reported, beside fields. */
	bool has_parser_ended_row;
	bool is_short_of_memory;

	uint64_t line;      /* of the next byte */
	bool is_after_cr;   /* an LF now is not another line */
	uint64_t row_line;  /* of the row's first byte */
	const char *fault;  /* of the row */
	struct hp_text raw; /* the row's bytes */
	size_t field_start; /* in raw */
	struct hp_text values;
	struct span *spans;
	struct hp_csv_field *fields; /* as many as spans */
	size_t field_count, field_cap;
};

/* ---- libcsv's memory, which holds values too ---- */

/* libcsv asks for a few bytes more each time: doubled, a long value costs no square. */
static void *wiping_realloc(void *old, size_t len)
{
	size_t old_len = old ? malloc_usable_size(old) : 0;
	if (old_len >= len)
		return old;
	void *new = malloc(len > 2 * old_len ? len : 2 * old_len);
	if (!new)
		return NULL;
	if (old)
		memcpy(new, old, old_len);
	hp_wipe_and_free(old);
	return new;
}

static int is_never_space(unsigned char byte)
{
	(void)byte;
	return 0;
}

static int start_parser(struct hp_csv *csv)
{
	if (csv_init(&csv->parser, CSV_STRICT | CSV_STRICT_FINI) != 0)
		return -1;
	csv_set_delim(&csv->parser, (unsigned char)csv->delimiter);
	csv_set_quote(&csv->parser, QUOTE);
	csv_set_space_func(&csv->parser, is_never_space);
	csv_set_realloc_func(&csv->parser, wiping_realloc);
	csv_set_free_func(&csv->parser, hp_wipe_and_free);
	csv_set_blk_size(&csv->parser, 4096);
	return 0;
}

/* ---- making and ending ---- */

bool hp_csv_is_delimiter(char delimiter)
{
	return delimiter > 0 && delimiter < 0x7f && delimiter != QUOTE &&
	       delimiter != CR && delimiter != LF;
}

struct hp_csv *hp_csv_new(char delimiter)
{
	struct hp_csv *csv = calloc(1, sizeof(*csv));
	if (!csv)
		return NULL;
	csv->delimiter = delimiter;
	csv->line = 1;
	csv->is_special[(unsigned char)delimiter] = true;
	csv->is_special[QUOTE] = csv->is_special[CR] = csv->is_special[LF] = true;
	if (start_parser(csv) != 0)
		hp_csv_free(&csv);
	return csv;
}

void hp_csv_free(struct hp_csv **csv)
{
	struct hp_csv *old = hp_take(csv);
	if (!old)
		return;
	csv_free(&old->parser);
	hp_text_clear(&old->raw);
	hp_text_clear(&old->values);
	free(old->spans);
	free(old->fields);
	free(old);
}

hsmpool_bytes hp_csv_mark(const struct hp_csv *csv)
{
	bool is_whole = csv->mark_len == sizeof(byte_order_mark);
	return (hsmpool_bytes){ byte_order_mark, is_whole ? csv->mark_len : 0 };
}

/* ---- what libcsv reports ---- */

static bool grow_fields(struct hp_csv *csv)
{
	size_t cap = csv->field_cap ? 2 * csv->field_cap : 64;
	struct span *spans = reallocarray(csv->spans, cap, sizeof(*spans));
	if (spans)
		csv->spans = spans;
	struct hp_csv_field *fields = reallocarray(csv->fields, cap, sizeof(*fields));
	if (fields)
		csv->fields = fields;
	if (!spans || !fields)
		return false;
	csv->field_cap = cap;
	return true;
}

/* Keep a quoted value that is not simply what lies between the quotes. */
static bool keep_value(struct hp_csv *csv, struct span *span, const void *data,
		       size_t len)
{
	bool is_quoted = csv->raw.data[span->start] == QUOTE;
	if (!is_quoted || len + 2 == span->len)
		return true;
	span->has_value = true;
	span->value = csv->values.len;
	span->value_len = len;
	return hp_text_append(&csv->values, data, len, NULL) == HSMPOOL_OK;
}

static void on_field(void *data, size_t len, void *user)
{
	struct hp_csv *csv = user;
	if (csv->field_count == HP_CSV_FIELDS_MAX) {
		csv->fault = "it has more than 65536 fields";
		return;
	}
	if (csv->field_count == csv->field_cap && !grow_fields(csv)) {
		csv->is_short_of_memory = true;
		return;
	}
	struct span *span = &csv->spans[csv->field_count];
	*span = (struct span){ .start = csv->field_start,
			       .len = csv->raw.len - csv->field_start };
	if (span->len > 0 && !keep_value(csv, span, data, len))
		csv->is_short_of_memory = true;
	else
		csv->field_count++;
}

static void on_row(int end, void *user)
{
	struct hp_csv *csv = user;
	(void)end;
	csv->has_parser_ended_row = true;
}

/* ---- bytes ---- */

static hsmpool_status too_long(const struct hp_csv *csv, hsmpool_error *err)
{
	return hp_fail(err, HSMPOOL_ERR_DATA,
		       "the row that begins on line %llu has more than %d MiB: is a "
		       "quote missing there?",
		       (unsigned long long)csv->row_line, HP_CSV_ROW_MAX >> 20);
}

static hsmpool_status keep_raw(struct hp_csv *csv, const uint8_t *data, size_t len,
			       hsmpool_error *err)
{
	if (csv->raw.len + len > HP_CSV_ROW_MAX)
		return too_long(csv, err);
	return hp_text_append(&csv->raw, data, len, err);
}

static void count_line(struct hp_csv *csv, uint8_t byte)
{
	if (byte == CR || (byte == LF && !csv->is_after_cr))
		csv->line++;
	csv->is_after_cr = byte == CR;
}

/* The row is bad from here; libcsv is made ready for the next. */
static void break_row(struct hp_csv *csv, uint8_t byte)
{
	csv->state = BROKEN;
	csv->fault = byte == QUOTE ? "a quote inside a field that begins without one"
				   : "text behind the quote that closes a field";
	csv_fini(&csv->parser, NULL, NULL, NULL);
}

/* Give bytes to libcsv: any number of ordinary ones, or one special. */
static hsmpool_status parse(struct hp_csv *csv, const uint8_t *data, size_t len,
			    hsmpool_error *err)
{
	csv->has_parser_ended_row = false;
	size_t done = csv_parse(&csv->parser, data, len, on_field, on_row, csv);
	if (done < len && csv_error(&csv->parser) == CSV_EPARSE) {
		break_row(csv, data[done]);
		return HSMPOOL_OK;
	}
	HP_CHECK(done == len && !csv->is_short_of_memory, err, HSMPOOL_ERR_SYSTEM,
		 "no memory for a row of CSV");
	return HSMPOOL_OK;
}

static hsmpool_status take_run(struct hp_csv *csv, const uint8_t *data, size_t len,
			       hsmpool_error *err)
{
	csv->is_after_cr = false;
	if (csv->state != BROKEN) {
		csv->state = INSIDE;
		HP_TRY(parse(csv, data, len, err));
	}
	return keep_raw(csv, data, len, err);
}

static void end_line(struct hp_csv *csv, uint8_t byte)
{
	csv->state = byte == CR ? AFTER_CR : COMPLETE;
}

/* One delimiter, quote, CR or LF. */
static hsmpool_status take_special(struct hp_csv *csv, uint8_t byte, hsmpool_error *err)
{
	bool is_line_end = byte == CR || byte == LF;
	count_line(csv, byte);
	if (csv->state == BROKEN || (csv->state == BETWEEN && is_line_end)) {
		HP_TRY(keep_raw(csv, &byte, 1, err));
		if (is_line_end)
			end_line(csv, byte);
		return HSMPOOL_OK;
	}
	csv->state = INSIDE;
	size_t count = csv->field_count;
	HP_TRY(parse(csv, &byte, 1, err));
	HP_TRY(keep_raw(csv, &byte, 1, err));
	if (csv->field_count > count)
		csv->field_start = csv->raw.len;
	if (csv->has_parser_ended_row)
		end_line(csv, byte);
	return HSMPOOL_OK;
}

/* ---- rows ---- */

static void begin_row(struct hp_csv *csv)
{
	csv->state = BETWEEN;
	csv->raw.len = csv->values.len = 0;
	csv->field_start = 0;
	csv->field_count = 0;
	csv->fault = NULL;
	csv->row_line = csv->line;
}

static void hand_out(struct hp_csv *csv, struct hp_csv_row *row)
{
	for (size_t i = 0; i < csv->field_count; i++) {
		const struct span *span = &csv->spans[i];
		struct hp_csv_field *field = &csv->fields[i];
		const uint8_t *bytes = csv->raw.data + span->start;
		bool is_quoted = span->len > 0 && bytes[0] == QUOTE;
		*field = (struct hp_csv_field){
			span->start, span->len, { bytes, span->len }, is_quoted
		};
		if (span->has_value)
			field->value = (hsmpool_bytes){ csv->values.data + span->value,
							span->value_len };
		else if (is_quoted)
			field->value = (hsmpool_bytes){ bytes + 1, span->len - 2 };
	}
	*row = (struct hp_csv_row){
		.bytes = { csv->raw.data, csv->raw.len },
		.line = csv->row_line,
		.fields = csv->fields,
		.field_count = csv->field_count,
		.fault = csv->fault,
	};
}

/* The end of the input is the end of a row, unless its last field is open. */
static hsmpool_status end_last_row(struct hp_csv *csv, hsmpool_error *err)
{
	if (csv->state == INSIDE) {
		if (csv_fini(&csv->parser, on_field, on_row, csv) != 0)
			csv->fault = "a field is opened by a quote and never closed";
		HP_CHECK(!csv->is_short_of_memory, err, HSMPOOL_ERR_SYSTEM,
			 "no memory for a row of CSV");
	}
	csv->state = csv->raw.len == 0 ? EXHAUSTED : COMPLETE;
	return HSMPOOL_OK;
}

static size_t run_len(const struct hp_csv *csv, hsmpool_bytes input)
{
	size_t len = 0;
	while (len < input.len && !csv->is_special[input.data[len]])
		len++;
	return len;
}

static void cut(hsmpool_bytes *input, size_t len)
{
	input->data += len;
	input->len -= len;
}

/* A byte order mark is in no row; bytes that only begin like one are a value. */
static hsmpool_status take_start(struct hp_csv *csv, hsmpool_bytes *input, bool is_end,
				 hsmpool_error *err)
{
	while (csv->mark_len < sizeof(byte_order_mark) && input->len > 0 &&
	       input->data[0] == byte_order_mark[csv->mark_len]) {
		csv->mark_len++;
		cut(input, 1);
	}
	if (csv->mark_len < sizeof(byte_order_mark) && input->len == 0 && !is_end)
		return HSMPOOL_OK;
	csv->is_started = true;
	begin_row(csv);
	if (csv->mark_len > 0 && hp_csv_mark(csv).len == 0)
		return take_run(csv, byte_order_mark, csv->mark_len, err);
	return HSMPOOL_OK;
}

static hsmpool_status take_some(struct hp_csv *csv, hsmpool_bytes *input,
				hsmpool_error *err)
{
	size_t len = run_len(csv, *input);
	if (len > 0)
		HP_TRY(take_run(csv, input->data, len, err));
	else
		HP_TRY(take_special(csv, input->data[len++], err));
	cut(input, len);
	return HSMPOOL_OK;
}

/* An LF behind the CR that ended the row belongs to it. */
static hsmpool_status take_after_cr(struct hp_csv *csv, hsmpool_bytes *input,
				    hsmpool_error *err)
{
	csv->state = COMPLETE;
	if (input->data[0] != LF)
		return HSMPOOL_OK;
	count_line(csv, LF);
	HP_TRY(keep_raw(csv, input->data, 1, err));
	cut(input, 1);
	return HSMPOOL_OK;
}

static hsmpool_status advance(struct hp_csv *csv, hsmpool_bytes *input, bool is_end,
			      hsmpool_error *err)
{
	if (!csv->is_started)
		HP_TRY(take_start(csv, input, is_end, err));
	while (input->len > 0 && csv->state != COMPLETE)
		HP_TRY(csv->state == AFTER_CR ? take_after_cr(csv, input, err)
					      : take_some(csv, input, err));
	if (input->len == 0 && is_end && csv->state != COMPLETE)
		return end_last_row(csv, err);
	return HSMPOOL_OK;
}

enum hp_csv_step hp_csv_next(struct hp_csv *csv, hsmpool_bytes *input, bool is_end,
			     struct hp_csv_row *row, hsmpool_error *err)
{
	if (csv->state == COMPLETE)
		begin_row(csv);
	if (advance(csv, input, is_end, err) != HSMPOOL_OK)
		return HP_CSV_FAILED;
	if (csv->state == EXHAUSTED)
		return HP_CSV_END;
	if (csv->state != COMPLETE)
		return HP_CSV_MORE;
	hand_out(csv, row);
	return HP_CSV_ROW;
}

/* ---- writing ---- */

/* What PostgreSQL takes for the end of a table, alone on its line. */
static const uint8_t end_of_data[] = { '\\', '.' };

static bool is_end_of_data(const uint8_t *data, size_t len)
{
	return len == sizeof(end_of_data) && memcmp(data, end_of_data, len) == 0;
}

static bool needs_quotes(hsmpool_bytes value, char delimiter)
{
	if (value.len == 0 || is_end_of_data(value.data, value.len))
		return true;
	for (size_t i = 0; i < value.len; i++) {
		uint8_t byte = value.data[i];
		if (byte == QUOTE || byte == CR || byte == LF ||
		    byte == (uint8_t)delimiter)
			return true;
	}
	return false;
}

hsmpool_status hp_csv_write_field(struct hp_text *out, hsmpool_bytes value,
				  bool is_quoted, char delimiter, hsmpool_error *err)
{
	if (!is_quoted && !needs_quotes(value, delimiter))
		return hp_text_append(out, value.data, value.len, err);
	const void *data = value.data ? (const void *)value.data : "";
	size_t len = csv_write(NULL, 0, data, value.len);
	HP_TRY(hp_text_reserve(out, len, err));
	out->len += csv_write(out->data + out->len, len, data, value.len);
	return HSMPOOL_OK;
}

static bool is_line_of_end_of_data(const uint8_t *line, size_t len)
{
	const size_t end = sizeof(end_of_data);
	return len >= end && is_end_of_data(line, end) &&
	       (len == end || line[end] == CR || line[end] == LF);
}

hsmpool_status hp_csv_quote_lone_field(struct hp_text *out, size_t start,
				       hsmpool_error *err)
{
	static const uint8_t quoted[] = { QUOTE, '\\', '.', QUOTE };
	const size_t more = sizeof(quoted) - sizeof(end_of_data);
	size_t len = out->len - start;
	if (len == 0 || !is_line_of_end_of_data(out->data + start, len))
		return HSMPOOL_OK;
	HP_TRY(hp_text_reserve(out, more, err));
	uint8_t *line = out->data + start;
	memmove(line + sizeof(quoted), line + sizeof(end_of_data),
		len - sizeof(end_of_data));
	memcpy(line, quoted, sizeof(quoted));
	out->len += more;
	return HSMPOOL_OK;
}

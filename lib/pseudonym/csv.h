/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CSV (RFC 4180) as rows and fields that know their own bytes.
 *
 * Owns: a strict reading of the format by libcsv, in which every byte of the input behind
 * a byte order mark is in exactly one row, so that what nobody changes can be written
 * again as it was; line numbers; the decision whether a value needs quotes. Knows no
 * column and no key.
 *
 * What is strict: a quote opens a field only as its first byte, and after the quote that
 * closes it comes a delimiter or the line's end. Blanks belong to the value. CR, LF and
 * CRLF end a row.
 */
#ifndef HP_PSEUDONYM_CSV_H
#define HP_PSEUDONYM_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hsmpool/status.h>
#include "pseudonym/text.h"

enum {
	HP_CSV_ROW_MAX = 4 << 20,  /* bytes; a row is in memory several times */
	HP_CSV_FIELDS_MAX = 65536, /* of one row */
};

struct hp_csv_field {
	size_t start; /* of the field as it stands, quotes included, in the row's bytes */
	size_t len;
	hsmpool_bytes value; /* without quotes */
	bool is_quoted;
};

/* One row, good until the next call on the reader. */
struct hp_csv_row {
	hsmpool_bytes bytes; /* as they stand, with the line's end */
	uint64_t line;       /* on which it begins; the first is 1 */
	const struct hp_csv_field *fields;
	size_t field_count; /* 0: a blank line. Of a bad row: those in front of the fault
			     */
	const char *fault;  /* NULL, or why it is no row of CSV. Holds no value. */
};

enum hp_csv_step {
	HP_CSV_MORE,   /* *input is used up: call again with more */
	HP_CSV_ROW,    /* there is a row */
	HP_CSV_END,    /* there was all of it */
	HP_CSV_FAILED, /* err says why; the reader is of no use any more */
};

struct hp_csv;

/* Any ASCII character but a quote, CR and LF can be the delimiter. Other bytes are parts
 * of characters, and of the byte order mark. */
bool hp_csv_is_delimiter(char delimiter);

/* NULL: no memory. What it held is wiped by hp_csv_free(). */
struct hp_csv *hp_csv_new(char delimiter);
void hp_csv_free(struct hp_csv **csv);

/* The byte order mark that the input begins with; of length 0: it has none. Known with
 * the first row, or the end. */
hsmpool_bytes hp_csv_mark(const struct hp_csv *csv);

/*
 * The next row, from *input, of which the bytes that were taken are cut off. is_end:
 * nothing follows after *input.
 *
 * A row that is no CSV has its fault, and ends with the line in which that is found; the
 * next is read as usual. So does one with too many fields. A row that is too long is an
 * error (DATA), because where it ends is not known; so is no memory (SYSTEM).
 */
enum hp_csv_step hp_csv_next(struct hp_csv *csv, hsmpool_bytes *input, bool is_end,
			     struct hp_csv_row *row, hsmpool_error *err);

/* Append value as a field: quoted if it shall be or must. Nothing at all is quoted too,
 * for without quotes it would be SQL's NULL; so is PostgreSQL's end of data. */
hsmpool_status hp_csv_write_field(struct hp_text *out, hsmpool_bytes value,
				  bool is_quoted, char delimiter, hsmpool_error *err);

/* Quote what out has from start on, a row of one field, if it is PostgreSQL's end of
 * data: beside other fields it was none. */
hsmpool_status hp_csv_quote_lone_field(struct hp_text *out, size_t start,
				       hsmpool_error *err);

#endif

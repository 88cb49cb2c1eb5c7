/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pseudonyms: values of a table's columns replaced under a key of the HSM.
 *
 * How each is computed, to the byte: docs/pseudonyms.md.
 */
#ifndef HSMPOOL_PSEUDONYM_H
#define HSMPOOL_PSEUDONYM_H

#include <hsmpool/key.h>
#include <hsmpool/pool.h>
#include <hsmpool/status.h>
#include <hsmpool/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What becomes of a column's values. */
typedef enum hsmpool_column_method {
	/* A token: HMAC-SHA-256 in the HSM. Equal values give equal tokens; no way back
	 * but guessing with the use of the key. */
	HSMPOOL_COLUMN_HMAC = 0,
	/* NIST SP 800-38G FF1: as many characters of the same alphabet; reversible. */
	HSMPOOL_COLUMN_FPE = 1,
	/* The same text in every row. */
	HSMPOOL_COLUMN_REDACT = 2,
	/* The column is left out. */
	HSMPOOL_COLUMN_DROP = 3,
} hsmpool_column_method;

enum {
	/* HMAC: tokens of fewer than 64 bits too, where two people soon get the same one:
	 * with 32 bits and 77 000 values it is as likely as not. */
	HSMPOOL_COLUMN_SHORT_TOKENS = 1u << 0,
};

/*
 * One column and its method. Zero the structure, set size and either name or number,
 * then what differs from the defaults. What does not belong to the method must be 0 or
 * NULL. Texts are UTF-8 and are copied.
 */
typedef struct hsmpool_column {
	size_t size;      /* sizeof(hsmpool_column), the same in a whole array */
	const char *name; /* as the header row has it; NULL: by number */
	uint32_t number;  /* from 1; 0: by name */
	hsmpool_column_method method;
	uint32_t flags; /* HSMPOOL_COLUMN_SHORT_TOKENS */
	/* HMAC, FPE: 1 to 255 bytes. Equal values of two columns get equal pseudonyms if
	 * their domains are equal (joins go on working), and unrelated ones otherwise.
	 * NULL: the name; a column by number needs one. */
	const char *domain;
	/* HMAC, FPE: a name of the list below, or "chars:" and the characters themselves,
	 * at least two, none twice. NULL: "hex" for HMAC, "digits" for FPE. A value with
	 * other characters cannot be pseudonymised by FPE. */
	const char *alphabet;
	/* HMAC: characters of a token, the prefix not counted. 0: the fewest that carry
	 * 128 bits. As many as carry 192 bits at most (256 if the alphabet has 2, 4, 8,
	 * 16, 32 ... characters). */
	uint32_t length;
	const char *prefix; /* HMAC: in front of each token; at most 64 bytes */
	const char *text;   /* REDACT: NULL is "REDACTED" */
} hsmpool_column;

/*
 * Alphabets, in the order that gives each character its number:
 *
 *   digits     0-9
 *   hex        0-9 a-f
 *   lower      a-z
 *   upper      A-Z
 *   base32     A-Z 2-7 (RFC 4648)
 *   alnum      0-9 a-z (36, the order of NIST's samples)
 *   base62     0-9 A-Z a-z
 *   base64url  A-Z a-z 0-9 - _ (RFC 4648)
 *   printable  the 95 ASCII characters from space to ~
 *
 * FPE takes values of 2 to 1024 characters, of which there must be 1 000 000 at least:
 * 6 digits, 5 hexadecimal digits or lower-case letters, 4 of alnum.
 */

/* ---- a whole table ---- */

/* A row that could not be transformed. Its texts live as long as the call. */
typedef struct hsmpool_bad_row {
	uint64_t line;        /* on which it begins; the first is 1 */
	const char *column;   /* as it was chosen: name or "#3"; NULL: no certain one */
	const char *reason;   /* "it has 4 characters, at least 6 are needed": no value */
	hsmpool_bytes bytes;  /* the row as it stood, with its line's end */
	hsmpool_bytes header; /* likewise, behind a byte order mark; of length 0: none */
} hsmpool_bad_row;

/* What was done so far; at the last call of the progress function: all of it. */
typedef struct hsmpool_table_counts {
	uint64_t bytes_read;
	uint64_t bytes_written;
	uint64_t rows; /* without the header row and blank lines, with bad ones */
	uint64_t bad_rows;
	uint64_t hsm_macs;    /* HMACs that the HSM made for values */
	uint64_t cached_macs; /* those that were known from an equal value */
} hsmpool_table_counts;

enum {
	/* The first row is data: columns are chosen by number. */
	HSMPOOL_TABLE_NO_HEADER = 1u << 0,
	/* Leave bad rows out, instead of failing. */
	HSMPOOL_TABLE_SKIP_BAD_ROWS = 1u << 1,
};

typedef struct hsmpool_table_options {
	size_t size; /* sizeof(hsmpool_table_options) */
	uint32_t flags;
	char delimiter; /* 0: a comma; ASCII, but no quote, CR or LF */
	/* How many batches of rows are worked on at once, each with one session at a
	 * time: 1 to 256. 0: as many as the pool has sessions, 32 at most, and at least
	 * one for each processor; 1 with HSMPOOL_NO_WAIT. */
	uint32_t threads;
	/* Told of each bad row, in their order; any status but HSMPOOL_OK ends the run
	 * with it. NULL: not told, and the first ends the run unless bad rows are
	 * skipped. */
	hsmpool_status (*bad_row)(void *user, const hsmpool_bad_row *row,
				  hsmpool_error *err);
	void *bad_row_user;
	/* Asked after each batch, and once at the end; nonzero stops with
	 * HSMPOOL_ERR_CLOSED. NULL: not asked. */
	int (*progress)(void *user, const hsmpool_table_counts *counts);
	void *progress_user;
} hsmpool_table_options;

/*
 * hsmpool_pseudonymize - read CSV (RFC 4180), transform columns, write CSV.
 *
 * key: a generic secret key that may make MACs; NULL if no column is HMAC or FPE. What
 * no column names comes out byte for byte: other fields, their quotes, blank lines, line
 * ends, a byte order mark. (A field \. is quoted if the others of its row are dropped:
 * alone on a line it would end the table for PostgreSQL.) A transformed value is quoted
 * if it was, or if it must be. An empty field without quotes (SQL's NULL) and the empty
 * string "" are never transformed and stay what they are. Rows keep their order; the
 * output does not depend on the number of threads or sessions. A row may have 4 MiB.
 * Memory: less than 64 MiB, however large the table and its rows are, for up to 64
 * threads.
 *
 * Bad is a row that is not CSV (a quote inside a field without quotes, text behind a
 * closing quote, a quote never closed), has another number of fields than the header (or
 * first) row, or a value that FPE cannot transform. If there is one, and bad rows are
 * not skipped, nothing more is written, the rest is read only to tell of other bad rows,
 * without the HSM, and the run fails.
 *
 * The functions are called by the calling thread alone. deadline bounds each wait for a
 * session, not the run. After an error what was written is not the table.
 *
 * HSMPOOL_ERR_USAGE  a column contradicts itself, is not in the table, is there twice
 *                    or chosen twice; nothing would be left of the table
 * HSMPOOL_ERR_KEY    key is NULL and needed, or of another kind
 * HSMPOOL_ERR_DATA   bad rows; a first row that is not CSV; no header row; a row of
 *                    more than 4 MiB
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status
hsmpool_pseudonymize(hsmpool *pool, hsmpool_key *key, const hsmpool_column *columns,
		     size_t column_count, const hsmpool_table_options *options,
		     hsmpool_read_fn read, void *read_user, hsmpool_write_fn write,
		     void *write_user, hsmpool_deadline deadline, hsmpool_error *err);

/*
 * hsmpool_depseudonymize - the way back, of HSMPOOL_COLUMN_FPE alone.
 *
 * With the same key, domains and alphabets. Nothing tells whether they were the right
 * ones: others give other values.
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status
hsmpool_depseudonymize(hsmpool *pool, hsmpool_key *key, const hsmpool_column *columns,
		       size_t column_count, const hsmpool_table_options *options,
		       hsmpool_read_fn read, void *read_user, hsmpool_write_fn write,
		       void *write_user, hsmpool_deadline deadline, hsmpool_error *err);

#ifdef __cplusplus
}
#endif
#endif

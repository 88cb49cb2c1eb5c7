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

#ifdef __cplusplus
}
#endif
#endif

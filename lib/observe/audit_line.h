/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line of the trail: appending members to it, its hash, and reading it back.
 *
 * A line is a JSON object that begins with "seq" and "time" and ends with "hash", and a
 * line feed. The hash is SHA-256 over the previous line's hash (32 bytes) and the line's
 * bytes up to and without `,"hash":`. The JSON is written by hand: a line is made for
 * each operation of a token.
 *
 * Must not: know what members mean, or touch files.
 */
#ifndef HP_OBSERVE_AUDIT_LINE_H
#define HP_OBSERVE_AUDIT_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "observe/audit.h"

#define HP_AUDIT_LINE_MAX                                             \
	8192 /* no line is longer; texts are bounded where they enter \
	      */

/* A line that grows at `at`. Whoever begins one has room for HP_AUDIT_LINE_MAX bytes. */
struct hp_audit_line {
	char *begin;
	char *at;
};

/* Members, each with the comma in front. name is a literal. */
#define HP_LINE_TEXT(line, name, text, len) \
	hp_line_text(line, ",\"" name "\":\"", sizeof(",\"" name "\":\"") - 1, text, len)
#define HP_LINE_NUMBER(line, name, number) \
	hp_line_number(line, ",\"" name "\":", sizeof(",\"" name "\":") - 1, number)
#define HP_LINE_HEX(line, name, bytes, len) \
	hp_line_hex(line, ",\"" name "\":\"", sizeof(",\"" name "\":\"") - 1, bytes, len)
#define HP_LINE_RAW(line, literal) hp_line_raw(line, literal, sizeof(literal) - 1)

void hp_line_begin(struct hp_audit_line *line, char *at, uint64_t seq, int64_t time_ns);
void hp_line_raw(struct hp_audit_line *line, const char *text, size_t len);
void hp_line_text(struct hp_audit_line *line, const char *opening, size_t opening_len,
		  const char *text, size_t len);
void hp_line_number(struct hp_audit_line *line, const char *opening, size_t opening_len,
		    uint64_t number);
void hp_line_hex(struct hp_audit_line *line, const char *opening, size_t opening_len,
		 const void *bytes, size_t len);

/* Computes hashes of lines; one per chain, reused for every line. */
struct hp_line_hasher;
struct hp_line_hasher *hp_line_hasher_new(void); /* NULL: out of memory, or no SHA-256 */
void hp_line_hasher_free(struct hp_line_hasher *hasher);
bool hp_line_hash(struct hp_line_hasher *hasher, const uint8_t *previous,
		  const char *body, size_t len, uint8_t *hash);

/* End the line with its hash, which becomes *hash; before the call it is the previous
 * line's. False: no hash could be made. */
bool hp_line_end(struct hp_audit_line *line, struct hp_line_hasher *hasher,
		 uint8_t hash[HP_AUDIT_HASH_LEN]);

/* The frame of a line that was read. */
struct hp_line_frame {
	uint64_t seq;
	size_t body_len; /* what is hashed */
	uint8_t hash[HP_AUDIT_HASH_LEN];
};

/* line without its line feed. False: not a line of a trail. */
bool hp_line_parse(const char *line, size_t len, struct hp_line_frame *frame);

/*
 * A member of a line's outermost object, as this file writes it: of a text what stands
 * between the quotes, escapes untouched; of a number its digits. No text can be mistaken
 * for a member, because a quote in a text has a backslash before it. NULL: none.
 */
const char *hp_line_member(const char *line, size_t line_len, const char *name,
			   size_t *len);
/* The same, as a text that is cut to size and ends with NUL; "" where there is none. */
void hp_line_member_text(const char *line, size_t line_len, const char *name, char *text,
			 size_t size);
/* 0 where there is none. */
uint64_t hp_line_member_number(const char *line, size_t line_len, const char *name);
/* False: there is none, or not of this length. */
bool hp_line_member_hash(const char *line, size_t line_len, const char *name,
			 uint8_t hash[HP_AUDIT_HASH_LEN]);

#endif

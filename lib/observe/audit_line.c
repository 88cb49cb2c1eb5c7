/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See audit_line.h. The text of the current second is kept per thread: lines come in the
 * thousands for each.
 */
#include "observe/audit_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <openssl/evp.h>
#include "base/memory.h"
#include "base/time.h"
#include "observe/utf8.h"

#define OPENING  "{\"seq\":"
#define CLOSING  ",\"hash\":\""
#define HASH_HEX (2 * HP_AUDIT_HASH_LEN)

/* --- numbers and times -------------------------------------------------------------- */

static const char DIGIT_PAIRS[] = "00010203040506070809101112131415161718192021222324"
				  "25262728293031323334353637383940414243444546474849"
				  "50515253545556575859606162636465666768697071727374"
				  "75767778798081828384858687888990919293949596979899";

static void put_number(struct hp_audit_line *line, uint64_t number)
{
	char digits[20];
	size_t at = sizeof digits;
	for (; number >= 100; number /= 100)
		memcpy(digits + (at -= 2), DIGIT_PAIRS + 2 * (number % 100), 2);
	if (number >= 10)
		memcpy(digits + (at -= 2), DIGIT_PAIRS + 2 * number, 2);
	else
		digits[--at] = (char)('0' + number);
	hp_line_raw(line, digits + at, sizeof digits - at);
}

/* "2026-11-21T08:00:00" */
#define SECOND_LEN 19

static const char *text_of_second(time_t second)
{
	static _Thread_local time_t known = -1;
	static _Thread_local char text[SECOND_LEN + 8];
	if (second != known) {
		struct tm utc;
		gmtime_r(&second, &utc);
		if (strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc) != SECOND_LEN)
			memcpy(text, "1970-01-01T00:00:00", SECOND_LEN + 1);
		known = second;
	}
	return text;
}

static void put_time(struct hp_audit_line *line, int64_t time_ns)
{
	uint64_t time = time_ns > 0 ? (uint64_t)time_ns : 0;
	uint32_t micros = (uint32_t)(time % (uint64_t)HP_SECOND / 1000);
	hp_line_raw(line, text_of_second((time_t)(time / (uint64_t)HP_SECOND)),
		    SECOND_LEN);
	char *at = line->at;
	at[0] = '.';
	memcpy(at + 1, DIGIT_PAIRS + 2 * (micros / 10000), 2);
	memcpy(at + 3, DIGIT_PAIRS + 2 * (micros / 100 % 100), 2);
	memcpy(at + 5, DIGIT_PAIRS + 2 * (micros % 100), 2);
	at[7] = 'Z';
	line->at = at + 8;
}

/* --- members ------------------------------------------------------------------------ */

void hp_line_raw(struct hp_audit_line *line, const char *text, size_t len)
{
	memcpy(line->at, text, len);
	line->at += len;
}

void hp_line_begin(struct hp_audit_line *line, char *at, uint64_t seq, int64_t time_ns)
{
	line->begin = line->at = at;
	HP_LINE_RAW(line, OPENING);
	put_number(line, seq);
	HP_LINE_RAW(line, ",\"time\":\"");
	put_time(line, time_ns);
	*line->at++ = '"';
}

void hp_line_number(struct hp_audit_line *line, const char *opening, size_t opening_len,
		    uint64_t number)
{
	hp_line_raw(line, opening, opening_len);
	put_number(line, number);
}

static void put_hex(struct hp_audit_line *line, const uint8_t *bytes, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	char *at = line->at;
	for (size_t i = 0; i < len; i++) {
		*at++ = hex[bytes[i] >> 4];
		*at++ = hex[bytes[i] & 15];
	}
	line->at = at;
}

void hp_line_hex(struct hp_audit_line *line, const char *opening, size_t opening_len,
		 const void *bytes, size_t len)
{
	hp_line_raw(line, opening, opening_len);
	put_hex(line, bytes, len);
	*line->at++ = '"';
}

/* Of the character at text, of which `left` bytes are there; 0: it is none. */
static size_t character_len(const char *text, size_t left)
{
	char character[5] = { 0 };
	memcpy(character, text, left < 4 ? left : 4);
	return hp_utf8_length(character);
}

/* A control character, or a byte that is no UTF-8: \u00XX. */
static void put_escaped(struct hp_audit_line *line, uint8_t byte)
{
	if (byte == '"' || byte == '\\') {
		*line->at++ = '\\';
		*line->at++ = (char)byte;
		return;
	}
	HP_LINE_RAW(line, "\\u00");
	put_hex(line, &byte, 1);
}

static bool is_plain(uint8_t byte)
{
	return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

void hp_line_text(struct hp_audit_line *line, const char *opening, size_t opening_len,
		  const char *text, size_t len)
{
	hp_line_raw(line, opening, opening_len);
	const uint8_t *at = (const uint8_t *)text;
	for (size_t i = 0; i < len;) {
		if (is_plain(at[i])) {
			*line->at++ = (char)at[i++];
			continue;
		}
		size_t sequence = character_len(text + i, len - i);
		if (sequence > 1)
			hp_line_raw(line, text + i, sequence);
		else
			put_escaped(line, at[i]);
		i += sequence > 1 ? sequence : 1;
	}
	*line->at++ = '"';
}

/* --- the hash ----------------------------------------------------------------------- */

struct hp_line_hasher {
	EVP_MD *sha256;
	EVP_MD_CTX *context;
};

struct hp_line_hasher *hp_line_hasher_new(void)
{
	struct hp_line_hasher *hasher = calloc(1, sizeof *hasher);
	if (!hasher)
		return NULL;
	hasher->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	hasher->context = EVP_MD_CTX_new();
	if (!hasher->sha256 || !hasher->context ||
	    EVP_DigestInit_ex2(hasher->context, hasher->sha256, NULL) != 1) {
		hp_line_hasher_free(hasher);
		return NULL;
	}
	return hasher;
}

void hp_line_hasher_free(struct hp_line_hasher *hasher)
{
	if (!hasher)
		return;
	EVP_MD_CTX_free(hasher->context);
	EVP_MD_free(hasher->sha256);
	free(hasher);
}

bool hp_line_hash(struct hp_line_hasher *hasher, const uint8_t *previous,
		  const char *body, size_t len, uint8_t *hash)
{
	unsigned hash_len = 0;
	return EVP_DigestInit_ex2(hasher->context, NULL, NULL) == 1 &&
	       EVP_DigestUpdate(hasher->context, previous, HP_AUDIT_HASH_LEN) == 1 &&
	       EVP_DigestUpdate(hasher->context, body, len) == 1 &&
	       EVP_DigestFinal_ex(hasher->context, hash, &hash_len) == 1;
}

bool hp_line_end(struct hp_audit_line *line, struct hp_line_hasher *hasher,
		 uint8_t hash[HP_AUDIT_HASH_LEN])
{
	if (!hp_line_hash(hasher, hash, line->begin, (size_t)(line->at - line->begin),
			  hash))
		return false;
	HP_LINE_RAW(line, CLOSING);
	put_hex(line, hash, HP_AUDIT_HASH_LEN);
	HP_LINE_RAW(line, "\"}\n");
	return true;
}

/* --- reading ------------------------------------------------------------------------ */

/* As it is written: no leading zero, no sign. The position behind it, or NULL. */
static const char *parse_seq(const char *at, const char *end, uint64_t *seq)
{
	const char *first = at;
	*seq = 0;
	for (; at < end && *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(*seq, 10, seq) ||
		    __builtin_add_overflow(*seq, (uint64_t)(*at - '0'), seq))
			return NULL;
	return at > first && *first != '0' ? at : NULL;
}

/* Lower case only: a changed letter is a changed record. */
static bool parse_hash(const char *text, uint8_t *hash)
{
	size_t len;
	char digits[HASH_HEX + 1];
	memcpy(digits, text, HASH_HEX);
	digits[HASH_HEX] = '\0';
	return strspn(digits, "0123456789abcdef") == HASH_HEX &&
	       hp_hex_decode(digits, hash, HP_AUDIT_HASH_LEN, &len);
}

bool hp_line_parse(const char *line, size_t len, struct hp_line_frame *frame)
{
	const size_t opening = sizeof OPENING - 1, closing = sizeof CLOSING - 1;
	const size_t tail = closing + HASH_HEX + 2;
	if (len < opening + 2 + tail || memcmp(line, OPENING, opening) != 0)
		return false;
	const char *end = line + len - tail;
	const char *after = parse_seq(line + opening, end, &frame->seq);
	frame->body_len = len - tail;
	return after && *after == ',' && frame->seq < UINT64_MAX && /* has a next one */
	       memcmp(end, CLOSING, closing) == 0 &&
	       memcmp(line + len - 2, "\"}", 2) == 0 &&
	       parse_hash(end + closing, frame->hash);
}

const char *hp_line_member(const char *line, size_t line_len, const char *name,
			   size_t *len)
{
	char opening[40];
	int opening_len = snprintf(opening, sizeof opening, ",\"%s\":", name);
	const char *end = line + line_len;
	const char *at = memmem(line, line_len, opening, (size_t)opening_len);
	if (!at || (at += opening_len) >= end)
		return NULL;
	if (*at != '"') {
		*len = strspn(at, "0123456789");
		return at;
	}
	const char *close = ++at;
	while (close < end && *close != '"')
		close += *close == '\\' ? 2 : 1;
	*len = (size_t)(close - at);
	return close < end ? at : NULL;
}

void hp_line_member_text(const char *line, size_t line_len, const char *name, char *text,
			 size_t size)
{
	size_t len = 0;
	const char *member = hp_line_member(line, line_len, name, &len);
	len = len < size ? len : size - 1;
	if (member)
		memcpy(text, member, len);
	text[member ? len : 0] = '\0';
}

uint64_t hp_line_member_number(const char *line, size_t line_len, const char *name)
{
	size_t len;
	uint64_t number = 0;
	const char *member = hp_line_member(line, line_len, name, &len);
	return member && parse_seq(member, member + len, &number) ? number : 0;
}

bool hp_line_member_hash(const char *line, size_t line_len, const char *name,
			 uint8_t hash[HP_AUDIT_HASH_LEN])
{
	size_t len;
	const char *member = hp_line_member(line, line_len, name, &len);
	return member && len == HASH_HEX && parse_hash(member, hash);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* See alphabet.h. ASCII characters are looked up, others searched. */
#include "pseudonym/alphabet.h"
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"

#define NO_NUMERAL UINT16_MAX
#define CUSTOM     "chars:"
#define LOWER      "abcdefghijklmnopqrstuvwxyz"
#define UPPER      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS     "0123456789"
#define NAMES_FOR_TEXT \
	"digits, hex, lower, upper, base32, alnum, base62, base64url, printable"

/* NIST's samples have 0-9a-z, RFC 4648 the orders of base32 and base64url. */
static const struct {
	const char *name;
	const char *characters;
} named[] = {
	{ "digits", DIGITS },
	{ "hex", DIGITS "abcdef" },
	{ "lower", LOWER },
	{ "upper", UPPER },
	{ "base32", UPPER "234567" },
	{ "alnum", DIGITS LOWER },
	{ "base62", DIGITS UPPER LOWER },
	{ "base64url", UPPER LOWER DIGITS "-_" },
	{ "printable",
	  " !\"#$%&'()*+,-./" DIGITS ":;<=>?@" UPPER "[\\]^_`" LOWER "{|}~" },
};

struct character {
	uint32_t point;
	uint16_t numeral;
	uint8_t len;
	uint8_t bytes[4];
};

struct hp_alphabet {
	uint32_t radix;
	struct character *at;     /* by numeral */
	struct character *sorted; /* by code point */
	uint16_t of_ascii[128];   /* numeral, or NO_NUMERAL */
};

/* ---- UTF-8 ---- */

/* Bytes of the sequence that begins with this one, by its high bits; 0: none does. */
static size_t sequence_len(uint8_t first)
{
	if (first < 0x80)
		return 1;
	if (first >= 0xc2 && first < 0xe0)
		return 2;
	if (first >= 0xe0 && first < 0xf0)
		return 3;
	return first >= 0xf0 && first < 0xf5 ? 4 : 0;
}

static bool is_code_point(uint32_t point, size_t len)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	bool is_surrogate = point >= 0xd800 && point < 0xe000;
	return point >= least[len] && point <= 0x10ffff && !is_surrogate;
}

/* The first character of text. 0: that is no UTF-8. */
static size_t decode(hsmpool_bytes text, uint32_t *point)
{
	size_t len = sequence_len(text.data[0]);
	if (len == 0 || len > text.len)
		return 0;
	*point = len == 1 ? text.data[0] : text.data[0] & (0xffu >> (len + 1));
	for (size_t i = 1; i < len; i++) {
		if ((text.data[i] & 0xc0) != 0x80)
			return 0;
		*point = *point << 6 | (text.data[i] & 0x3f);
	}
	return is_code_point(*point, len) ? len : 0;
}

/* ---- making one ---- */

static hsmpool_status find_characters(const char *which, hsmpool_bytes *out,
				      hsmpool_error *err)
{
	const char *characters = NULL;
	if (strncmp(which, CUSTOM, sizeof(CUSTOM) - 1) == 0)
		characters = which + sizeof(CUSTOM) - 1;
	for (size_t i = 0; i < HP_ARRAY_LEN(named); i++)
		if (strcmp(which, named[i].name) == 0)
			characters = named[i].characters;
	HP_CHECK(characters, err, HSMPOOL_ERR_USAGE,
		 "there is no alphabet '%.64s'; there are " NAMES_FOR_TEXT ", and " CUSTOM
		 "... for characters of your own",
		 which);
	*out = (hsmpool_bytes){ (const uint8_t *)characters, strlen(characters) };
	return HSMPOOL_OK;
}

static bool is_control(uint32_t point)
{
	return point < 0x20 || (point >= 0x7f && point < 0xa0);
}

static hsmpool_status take_characters(struct hp_alphabet *a, hsmpool_bytes left,
				      hsmpool_error *err)
{
	while (left.len > 0) {
		uint32_t point = 0;
		size_t len = decode(left, &point);
		HP_CHECK(len > 0 && !is_control(point), err, HSMPOOL_ERR_USAGE,
			 "character %u of the alphabet is %s", a->radix + 1,
			 len > 0 ? "a control character" : "not UTF-8");
		HP_CHECK(a->radix < HP_ALPHABET_MAX, err, HSMPOOL_ERR_USAGE,
			 "an alphabet has at most %d characters", HP_ALPHABET_MAX);
		struct character *c = &a->at[a->radix];
		*c = (struct character){
			point, (uint16_t)a->radix++, (uint8_t)len, { 0 }
		};
		memcpy(c->bytes, left.data, len);
		left = (hsmpool_bytes){ left.data + len, left.len - len };
	}
	HP_CHECK(a->radix >= 2, err, HSMPOOL_ERR_USAGE,
		 "an alphabet has at least two characters");
	return HSMPOOL_OK;
}

static int compare_points(const void *a, const void *b)
{
	uint32_t x = ((const struct character *)a)->point;
	uint32_t y = ((const struct character *)b)->point;
	return (x > y) - (x < y);
}

static hsmpool_status index_characters(struct hp_alphabet *a, hsmpool_error *err)
{
	memcpy(a->sorted, a->at, a->radix * sizeof(*a->at));
	qsort(a->sorted, a->radix, sizeof(*a->sorted), compare_points);
	for (size_t i = 1; i < a->radix; i++)
		HP_CHECK(a->sorted[i - 1].point != a->sorted[i].point, err,
			 HSMPOOL_ERR_USAGE, "the alphabet has '%.*s' twice",
			 a->sorted[i].len, (const char *)a->sorted[i].bytes);
	memset(a->of_ascii, 0xff, sizeof(a->of_ascii));
	for (size_t i = 0; i < a->radix && a->sorted[i].point < 128; i++)
		a->of_ascii[a->sorted[i].point] = a->sorted[i].numeral;
	return HSMPOOL_OK;
}

static hsmpool_status fill(struct hp_alphabet *a, hsmpool_bytes characters,
			   hsmpool_error *err)
{
	/* As many as bytes, at most; one more, because none is refused later. */
	a->at = calloc(characters.len + 1, sizeof(*a->at));
	a->sorted = calloc(characters.len + 1, sizeof(*a->sorted));
	HP_CHECK(a->at && a->sorted, err, HSMPOOL_ERR_SYSTEM,
		 "no memory for an alphabet");
	HP_TRY(take_characters(a, characters, err));
	return index_characters(a, err);
}

hsmpool_status hp_alphabet_new(struct hp_alphabet **out, const char *which,
			       hsmpool_error *err)
{
	hsmpool_bytes characters = { NULL, 0 };
	*out = NULL;
	HP_TRY(find_characters(which, &characters, err));
	struct hp_alphabet *a = calloc(1, sizeof(*a));
	HP_CHECK(a, err, HSMPOOL_ERR_SYSTEM, "no memory for an alphabet");
	hsmpool_status status = fill(a, characters, err);
	if (status != HSMPOOL_OK)
		hp_alphabet_free(&a);
	*out = a;
	return status;
}

void hp_alphabet_free(struct hp_alphabet **alphabet)
{
	struct hp_alphabet *old = hp_take(alphabet);
	if (!old)
		return;
	free(old->at);
	free(old->sorted);
	free(old);
}

uint32_t hp_alphabet_radix(const struct hp_alphabet *alphabet)
{
	return alphabet->radix;
}

/* ---- texts ---- */

/* The number of text's first character, and its bytes; 0: it has none. */
static size_t read_one(const struct hp_alphabet *a, hsmpool_bytes text, uint16_t *numeral)
{
	struct character key = { 0 };
	if (text.data[0] < 128) {
		*numeral = a->of_ascii[text.data[0]];
		return *numeral != NO_NUMERAL;
	}
	size_t len = decode(text, &key.point);
	const struct character *found =
		len ? bsearch(&key, a->sorted, a->radix, sizeof(key), compare_points)
		    : NULL;
	if (!found)
		return 0;
	*numeral = found->numeral;
	return len;
}

bool hp_alphabet_read(const struct hp_alphabet *alphabet, hsmpool_bytes text,
		      uint16_t *numerals, size_t cap, size_t *count)
{
	*count = 0;
	while (text.len > 0) {
		size_t len = 0;
		if (*count < cap)
			len = read_one(alphabet, text, &numerals[*count]);
		if (len == 0)
			return false;
		*count += 1;
		text = (hsmpool_bytes){ text.data + len, text.len - len };
	}
	return true;
}

hsmpool_status hp_alphabet_write(const struct hp_alphabet *alphabet,
				 const uint16_t *numerals, size_t count,
				 struct hp_text *out, hsmpool_error *err)
{
	HP_TRY(hp_text_reserve(out, count * sizeof(alphabet->at->bytes), err));
	for (size_t i = 0; i < count; i++) {
		const struct character *c = &alphabet->at[numerals[i]];
		memcpy(out->data + out->len, c->bytes, sizeof(c->bytes));
		out->len += c->len;
	}
	return HSMPOOL_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SEQUENCE { INTEGER r, INTEGER s }, there and back.
 *
 * Owns: nothing. Must not: accept what OpenSSL would refuse, nor read one byte beyond
 * its input, which is hostile. Signatures are public: no constant time needed.
 */
#include "crypto/ecdsa_der.h"

#include <string.h>

#define TAG_INTEGER  0x02
#define TAG_SEQUENCE 0x30

size_t hp_ecdsa_der_max(size_t bits)
{
	/* a full top byte may need a zero in front to stay positive */
	size_t number = 2 + (bits + 7) / 8 + (bits % 8 == 0);
	size_t content = 2 * number;
	return content + (content > 127 ? 3 : 2);
}

/* One INTEGER, shortest form; returns its length. */
static size_t put_integer(uint8_t *to, const uint8_t *number, size_t len)
{
	while (len > 1 && number[0] == 0) {
		number++;
		len--;
	}
	size_t pad = number[0] & 0x80 ? 1 : 0;
	to[0] = TAG_INTEGER;
	to[1] = (uint8_t)(len + pad);
	to[2] = 0;
	memcpy(to + 2 + pad, number, len);
	return 2 + pad + len;
}

bool hp_ecdsa_to_der(const uint8_t *raw, size_t raw_len, uint8_t der[HP_ECDSA_DER_MAX],
		     size_t *der_len)
{
	size_t half = raw_len / 2;
	if (raw_len % 2 != 0 || half == 0 || half > HP_ECDSA_NUMBER_MAX)
		return false;
	uint8_t content[2 * (3 + HP_ECDSA_NUMBER_MAX)];
	size_t len = put_integer(content, raw, half);
	len += put_integer(content + len, raw + half, half);

	size_t at = 0;
	der[at++] = TAG_SEQUENCE;
	if (len > 127)
		der[at++] = 0x81;
	der[at++] = (uint8_t)len;
	memcpy(der + at, content, len);
	*der_len = at + len;
	return true;
}

/* What is left to read. */
struct reader {
	const uint8_t *at;
	size_t left;
};

/* The header of one element whose content must be all there, in shortest form. */
static bool read_header(struct reader *in, uint8_t tag, size_t *len)
{
	if (in->left < 2 || in->at[0] != tag)
		return false;
	size_t header = 2;
	*len = in->at[1];
	if (*len == 0x81) {
		if (in->left < 3 || in->at[2] < 0x80)
			return false;
		*len = in->at[2];
		header = 3;
	} else if (*len > 0x7f) {
		return false;
	}
	in->at += header;
	in->left -= header;
	return *len <= in->left;
}

/* A number above zero, as those of signatures are, without its sign byte. */
static bool read_integer(struct reader *in, struct reader *number)
{
	size_t len;
	if (!read_header(in, TAG_INTEGER, &len) || len == 0 || in->at[0] & 0x80)
		return false;
	if (len > 1 && in->at[0] == 0 && !(in->at[1] & 0x80))
		return false;
	*number = (struct reader){ in->at, len };
	in->at += len;
	in->left -= len;
	if (number->at[0] == 0) {
		number->at++;
		number->left--;
	}
	return number->left > 0 && number->left <= HP_ECDSA_NUMBER_MAX;
}

/* Field sizes are multiples of four bytes, but for P-521's. */
static size_t usual_length(size_t a, size_t b)
{
	size_t longer = a > b ? a : b;
	size_t rounded = (longer + 3) / 4 * 4;
	return rounded > 64 ? HP_ECDSA_NUMBER_MAX : rounded;
}

bool hp_ecdsa_from_der(const uint8_t *der, size_t der_len, size_t number_len,
		       uint8_t raw[2 * HP_ECDSA_NUMBER_MAX], size_t *raw_len)
{
	struct reader in = { der, der_len };
	struct reader r, s;
	size_t content;
	if (!read_header(&in, TAG_SEQUENCE, &content) || content != in.left ||
	    !read_integer(&in, &r) || !read_integer(&in, &s) || in.left != 0)
		return false;
	if (number_len == 0)
		number_len = usual_length(r.left, s.left);
	if (number_len > HP_ECDSA_NUMBER_MAX || r.left > number_len ||
	    s.left > number_len)
		return false;
	memset(raw, 0, 2 * number_len);
	memcpy(raw + number_len - r.left, r.at, r.left);
	memcpy(raw + 2 * number_len - s.left, s.at, s.left);
	*raw_len = 2 * number_len;
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checked sizes, scoped cleanup, big-endian integers, hex, the output-buffer rule.
 *
 * Owns: no state. Must not: hold secrets (base/secret.h does).
 */
#include "base/memory.h"

#include "base/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool hp_size_add(size_t a, size_t b, size_t *sum)
{
	size_t result;
	if (__builtin_add_overflow(a, b, &result))
		return false;
	*sum = result;
	return true;
}

bool hp_size_mul(size_t a, size_t b, size_t *product)
{
	size_t result;
	if (__builtin_mul_overflow(a, b, &result))
		return false;
	*product = result;
	return true;
}

void hp_free_pointer(void *address_of_pointer)
{
	void *pointer;
	memcpy(&pointer, address_of_pointer, sizeof(pointer));
	free(pointer);
}

/* Runs at the end of a scope whose error may still be in errno. */
void hp_close_fd(int *fd)
{
	if (*fd < 0)
		return;
	int saved_errno = errno;
	close(*fd);
	*fd = -1;
	errno = saved_errno;
}

char *hp_strdup(const char *text)
{
	return text ? strdup(text) : NULL;
}

void hp_put_be16(uint8_t *to, uint16_t value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

void hp_put_be32(uint8_t *to, uint32_t value)
{
	hp_put_be16(to, (uint16_t)(value >> 16));
	hp_put_be16(to + 2, (uint16_t)value);
}

void hp_put_be64(uint8_t *to, uint64_t value)
{
	hp_put_be32(to, (uint32_t)(value >> 32));
	hp_put_be32(to + 4, (uint32_t)value);
}

uint16_t hp_get_be16(const uint8_t *from)
{
	return (uint16_t)(from[0] << 8 | from[1]);
}

uint32_t hp_get_be32(const uint8_t *from)
{
	return (uint32_t)hp_get_be16(from) << 16 | hp_get_be16(from + 2);
}

uint64_t hp_get_be64(const uint8_t *from)
{
	return (uint64_t)hp_get_be32(from) << 32 | hp_get_be32(from + 4);
}

bool hp_bytes_overlap(const void *a, size_t a_len, const void *b, size_t b_len)
{
	uintptr_t from_a = (uintptr_t)a;
	uintptr_t from_b = (uintptr_t)b;
	return a_len > 0 && b_len > 0 && from_a < from_b + b_len &&
	       from_b < from_a + a_len;
}

bool hp_bytes_are_zero(const uint8_t *bytes, size_t len)
{
	uint8_t any = 0;
	for (size_t i = 0; i < len; i++)
		any |= bytes[i];
	return any == 0;
}

void hp_hex_encode(const uint8_t *from, size_t len, char *to)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < len; i++) {
		to[2 * i] = digits[from[i] >> 4];
		to[2 * i + 1] = digits[from[i] & 15];
	}
	to[2 * len] = '\0';
}

/* The value of one hex digit, or -1. Not strtoul or isxdigit: no locale. */
static int hex_value(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	if (digit >= 'A' && digit <= 'F')
		return digit - 'A' + 10;
	return -1;
}

bool hp_hex_decode(const char *text, uint8_t *to, size_t cap, size_t *len)
{
	size_t digits = strlen(text);
	if (digits % 2 != 0 || digits / 2 > cap)
		return false;
	for (size_t i = 0; i < digits / 2; i++) {
		int high = hex_value(text[2 * i]);
		int low = hex_value(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		to[i] = (uint8_t)(high << 4 | low);
	}
	*len = digits / 2;
	return true;
}

hsmpool_status hp_buf_need(hsmpool_buf *out, size_t need, hsmpool_error *err)
{
	HP_CHECK(out, err, HSMPOOL_ERR_USAGE, "no output buffer was given");
	if (need == 0 || (out->data && out->cap >= need))
		return HSMPOOL_OK;
	out->len = need;
	return hp_fail(err, HSMPOOL_ERR_SPACE,
		       "the output buffer holds %zu bytes, %zu are needed",
		       out->data ? out->cap : 0, need);
}

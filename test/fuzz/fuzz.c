/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See fuzz.h. No cmocka here: a failed test would jump out of libFuzzer.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fuzz_fail(const char *condition, const char *file, int line)
{
	fprintf(stderr, "%s:%d: not true: %s\n", file, line, condition);
	abort();
}

void fuzz_must_explain(hsmpool_status status, const hsmpool_error *err)
{
	MUST(memchr(err->text, '\0', sizeof(err->text)));
	if (status == HSMPOOL_OK)
		return;
	MUST(err->status == status);
	MUST(strlen(err->text) > 10);
	for (const char *at = err->text; *at; at++)
		MUST((unsigned char)*at >= 0x20 && *at != 0x7f);
}

char *fuzz_text(const uint8_t *data, size_t len)
{
	size_t text_len = len > 0 ? strnlen((const char *)data, len) : 0;
	char *text = malloc(text_len + 1);
	MUST(text);
	if (text_len > 0)
		memcpy(text, data, text_len);
	text[text_len] = '\0';
	return text;
}

uint8_t *fuzz_copy(const uint8_t *data, size_t len)
{
	if (len == 0)
		return NULL;
	uint8_t *copy = malloc(len);
	MUST(copy);
	memcpy(copy, data, len);
	return copy;
}

const uint8_t *fuzz_take(struct fuzz_script *script, size_t len, size_t *taken)
{
	const uint8_t *at = script->at;
	*taken = len < script->left ? len : script->left;
	script->at += *taken;
	script->left -= *taken;
	return at;
}

uint8_t fuzz_take8(struct fuzz_script *script)
{
	size_t taken;
	const uint8_t *at = fuzz_take(script, 1, &taken);
	return taken == 1 ? *at : 0;
}

uint16_t fuzz_take16(struct fuzz_script *script)
{
	unsigned high = fuzz_take8(script);
	return (uint16_t)(high << 8 | fuzz_take8(script));
}

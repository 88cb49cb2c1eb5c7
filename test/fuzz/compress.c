/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compressed chunks: two bytes that say how much plaintext the head promised, then the
 * body, as somebody can make it who has the key. It decompresses to as many bytes, or is
 * refused, and the context is as good as new afterwards. What is compressed, here the
 * same bytes, comes back.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include "stream/compress.h"

enum { CHUNK_SIZE = 65536 };

static struct hp_compressor compressor;
static struct hp_decompressor decompressor;

static void clear(void)
{
	hp_compressor_clear(&compressor);
	hp_decompressor_clear(&decompressor);
}

static void make_contexts(void)
{
	if (compressor.ctx)
		return;
	MUST(hp_compressor_init(&compressor, 3, CHUNK_SIZE, NULL) == HSMPOOL_OK);
	MUST(hp_decompressor_init(&decompressor, NULL) == HSMPOOL_OK);
	atexit(clear);
}

/* In a place of its exact length; NULL if refused. */
static uint8_t *decompress(const uint8_t *body, size_t body_len, size_t plain_len)
{
	hsmpool_error err = { 0 };
	uint8_t *plain = malloc(plain_len > 0 ? plain_len : 1);
	MUST(plain);
	hsmpool_status status =
		hp_decompress(&decompressor, body, body_len, plain, plain_len, 7, &err);
	fuzz_must_explain(status, &err);
	MUST(status == HSMPOOL_OK || status == HSMPOOL_ERR_DATA);
	if (status == HSMPOOL_OK)
		return plain;
	free(plain);
	return NULL;
}

static void read_body(const uint8_t *body, size_t body_len, size_t plain_len)
{
	uint8_t *plain = decompress(body, body_len, plain_len);
	if (!plain)
		return;
	MUST(body_len < plain_len && body_len >= hp_compressed_len_min(plain_len));
	uint8_t *again = decompress(body, body_len, plain_len);
	MUST(again && memcmp(plain, again, plain_len) == 0);
	free(again);
	free(plain);
}

static void must_come_back(const uint8_t *plain, size_t plain_len)
{
	size_t body_len = 0;
	uint8_t *body = malloc(plain_len > 0 ? plain_len : 1);
	MUST(body);
	MUST(hp_compress(&compressor, plain, plain_len, body, &body_len, NULL) ==
	     HSMPOOL_OK);
	if (body_len > 0) {
		MUST(body_len < plain_len);
		MUST(body_len >= hp_compressed_len_min(plain_len));
		uint8_t *back = decompress(body, body_len, plain_len);
		MUST(back && memcmp(back, plain, plain_len) == 0);
		free(back);
	}
	free(body);
}

/* The bytes over and over: what compresses well. */
static void must_come_back_repeated(const uint8_t *data, size_t len, size_t plain_len)
{
	uint8_t *plain = malloc(plain_len > 0 ? plain_len : 1);
	MUST(plain);
	for (size_t i = 0; len > 0 && i < plain_len; i++)
		plain[i] = data[i % len];
	if (len > 0)
		must_come_back(plain, plain_len);
	free(plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_script script = { data, len };
	size_t plain_len = fuzz_take16(&script);
	uint8_t *copy = fuzz_copy(script.at, script.left);
	make_contexts();
	read_body(copy, script.left, plain_len);
	must_come_back(copy, script.left);
	must_come_back_repeated(copy, script.left, plain_len);
	free(copy);
	return 0;
}

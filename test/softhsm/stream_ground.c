/* SPDX-License-Identifier: Apache-2.0 */
/* See stream_ground.h. */
#include "stream_ground.h"

#include <stdlib.h>
#include <string.h>

hsmpool_status ground_read(void *user, uint8_t *data, size_t cap, size_t *len,
			   hsmpool_error *err)
{
	struct ground_source *source = user;
	size_t left = source->len - source->used;
	if (source->fail_at && source->used >= source->fail_at) {
		err->status = HSMPOOL_ERR_SYSTEM;
		strcpy(err->text, "the disk is on fire");
		return HSMPOOL_ERR_SYSTEM;
	}
	if (left == 0 && source->reads_after_end++ > 0)
		fail_msg("read was called after it had said the end");
	size_t take = left < cap ? left : cap;
	if (source->piece && take > source->piece)
		take = source->piece;
	if (take > 0)
		memcpy(data, source->data + source->used, take);
	source->used += take;
	*len = take;
	return HSMPOOL_OK;
}

hsmpool_status ground_write(void *user, const uint8_t *data, size_t len,
			    hsmpool_error *err)
{
	(void)err; /* a writer need not fill it */
	struct ground_sink *sink = user;
	if (sink->fail_after > 0 && --sink->fail_after == 0)
		return HSMPOOL_ERR_SYSTEM;
	if (sink->len + len > sink->cap) {
		sink->cap = (sink->len + len) * 2;
		sink->data = realloc(sink->data, sink->cap);
		assert_non_null(sink->data);
	}
	memcpy(sink->data + sink->len, data, len);
	sink->len += len;
	return HSMPOOL_OK;
}

void ground_sink_clear(struct ground_sink *sink)
{
	free(sink->data);
	*sink = (struct ground_sink){ 0 };
}

uint8_t *ground_pattern(size_t len)
{
	uint8_t *data = malloc(len ? len : 1);
	assert_non_null(data);
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i % 251);
	return data;
}

hsmpool_key *ground_known_key(hsmpool *pool, const char *label, const char *id,
			      uint32_t usage)
{
	uint8_t value[32];
	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (uint8_t)i;
	const hsmpool_key_spec spec = {
		.size = sizeof(spec),
		.type = "aes",
		.bits = 256,
		.label = label,
		.id = (const uint8_t *)id,
		.id_len = id ? strlen(id) : 0,
		.usage = usage,
	};
	hsmpool_key *key = NULL;
	hsmpool_error err;
	assert_ok(hsmpool_key_import_secret(&key, pool, &spec,
					    (hsmpool_bytes){ value, sizeof(value) },
					    HSMPOOL_DEFAULT, &err),
		  &err);
	return key;
}

hsmpool_key *ground_generated_key(hsmpool *pool, const char *type, uint32_t bits,
				  const char *label, uint32_t usage)
{
	const hsmpool_key_spec spec = {
		.size = sizeof(spec),
		.type = type,
		.bits = bits,
		.label = label,
		.usage = usage,
	};
	hsmpool_key *key = NULL;
	hsmpool_error err;
	assert_ok(hsmpool_key_generate(&key, pool, &spec, HSMPOOL_DEFAULT, &err), &err);
	return key;
}

void ground_encrypt(hsmpool *pool, hsmpool_key *const *keys, size_t key_count,
		    const hsmpool_stream_options *options, const uint8_t *plain,
		    size_t len, struct ground_sink *container)
{
	struct ground_source source = { .data = plain, .len = len };
	hsmpool_error err;
	*container = (struct ground_sink){ 0 };
	assert_ok(hsmpool_stream_encrypt(pool, keys, key_count, options, ground_read,
					 &source, ground_write, container,
					 HSMPOOL_DEFAULT, &err),
		  &err);
}

hsmpool_status ground_decrypt(hsmpool *pool, hsmpool_key *key,
			      const hsmpool_stream_options *options,
			      const uint8_t *container, size_t len,
			      struct ground_sink *plain, hsmpool_error *err)
{
	struct ground_source source = { .data = container, .len = len };
	*plain = (struct ground_sink){ 0 };
	return hsmpool_stream_decrypt(pool, key, options, ground_read, &source,
				      ground_write, plain, HSMPOOL_DEFAULT, err);
}

void ground_expect(hsmpool *pool, hsmpool_key *key, const hsmpool_stream_options *options,
		   const struct ground_sink *container, const uint8_t *plain, size_t len)
{
	struct ground_sink out;
	hsmpool_error err;
	assert_ok(ground_decrypt(pool, key, options, container->data, container->len,
				 &out, &err),
		  &err);
	assert_int_equal(out.len, len);
	if (len > 0)
		assert_memory_equal(out.data, plain, len);
	ground_sink_clear(&out);
}

hsmpool_stream_options ground_options(hsmpool_stream_mode mode, uint32_t chunk_size)
{
	return (hsmpool_stream_options){
		.size = sizeof(hsmpool_stream_options),
		.mode = mode,
		.chunk_size = chunk_size,
	};
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See container.h. Offsets are those of the tables in docs/format.md.
 */
#include "stream/container.h"
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "stream/schedule.h"

/* A high bit, a name, both line ends and DOS's end of file: what mail, FTP in text
 * mode and line-end conversions break, they break in the first bytes. */
static const uint8_t magic[HP_MAGIC_LEN] = { 0x89, 'H', 'S', 'M', 'P', '\r', '\n', 0x1a };

enum {
	AT_VERSION = 8,
	AT_MODE = 9,
	AT_SUITE = 10,
	AT_COMPRESSION = 11,
	AT_CHUNK_SIZE = 12,
	AT_ID = 16,
	AT_CONTEXT_HASH = 32,
	AT_COMMITMENT = 64,
};

bool hp_container_begins(const uint8_t *bytes, size_t len)
{
	size_t compared = len < HP_MAGIC_LEN ? len : HP_MAGIC_LEN;
	return compared > 0 && memcmp(bytes, magic, compared) == 0;
}

bool hp_chunk_size_is_valid(enum hp_container_mode mode, uint32_t chunk_size)
{
	uint32_t max =
		mode == HP_MODE_DIRECT ? HP_CHUNK_SIZE_MAX_DIRECT : HP_CHUNK_SIZE_MAX;
	return chunk_size >= HP_CHUNK_SIZE_MIN && chunk_size <= max;
}

uint64_t hp_chunk_limit(enum hp_container_mode mode, uint32_t chunk_size)
{
	const uint64_t direct = UINT64_C(1) << 24, envelope = UINT64_C(1) << 32;
	if (mode == HP_MODE_DIRECT)
		return direct;
	uint64_t by_bytes = (UINT64_C(1) << 52) / chunk_size;
	return by_bytes < envelope ? by_bytes : envelope;
}

void hp_fixed_part_encode(const struct hp_fixed_part *fixed, uint8_t out[HP_FIXED_LEN])
{
	memcpy(out, magic, HP_MAGIC_LEN);
	out[AT_VERSION] = HP_CONTAINER_VERSION;
	out[AT_MODE] = (uint8_t)fixed->mode;
	out[AT_SUITE] = fixed->suite;
	out[AT_COMPRESSION] = fixed->compression;
	hp_put_be32(out + AT_CHUNK_SIZE, fixed->chunk_size);
	memcpy(out + AT_ID, fixed->id, HP_CONTAINER_ID_LEN);
	memcpy(out + AT_CONTEXT_HASH, fixed->context_hash, HP_HASH_LEN);
	memcpy(out + AT_COMMITMENT, fixed->commitment, HP_HASH_LEN);
}

/* The four bytes that say how to read the rest. */
static hsmpool_status check_kind(const uint8_t *bytes, hsmpool_error *err)
{
	HP_CHECK(bytes[AT_VERSION] == HP_CONTAINER_VERSION, err, HSMPOOL_ERR_DATA,
		 "the container is of format version %u, this library knows %d: it is "
		 "damaged, or a newer hsmpool is needed",
		 bytes[AT_VERSION], HP_CONTAINER_VERSION);
	HP_CHECK(bytes[AT_MODE] == HP_MODE_ENVELOPE || bytes[AT_MODE] == HP_MODE_DIRECT,
		 err, HSMPOOL_ERR_DATA, "the container's header is damaged: no mode %u",
		 bytes[AT_MODE]);
	HP_CHECK(bytes[AT_SUITE] == HP_SUITE_AES_256_GCM_SHA_256, err, HSMPOOL_ERR_DATA,
		 "the container uses cipher suite %u, this library knows %d: it is "
		 "damaged, or a newer hsmpool is needed",
		 bytes[AT_SUITE], HP_SUITE_AES_256_GCM_SHA_256);
	HP_CHECK(bytes[AT_COMPRESSION] == HP_COMPRESSION_NONE ||
			 bytes[AT_COMPRESSION] == HP_COMPRESSION_ZSTD,
		 err, HSMPOOL_ERR_DATA,
		 "the container uses compression %u, this library knows %d (zstd): it is "
		 "damaged, or a newer hsmpool is needed",
		 bytes[AT_COMPRESSION], HP_COMPRESSION_ZSTD);
	return HSMPOOL_OK;
}

hsmpool_status hp_fixed_part_decode(const uint8_t bytes[HP_FIXED_LEN],
				    struct hp_fixed_part *out, hsmpool_error *err)
{
	HP_CHECK(hp_container_begins(bytes, HP_FIXED_LEN), err, HSMPOOL_ERR_DATA,
		 "the input is not an hsmpool container");
	HP_TRY(check_kind(bytes, err));
	enum hp_container_mode mode = bytes[AT_MODE];
	uint32_t chunk_size = hp_get_be32(bytes + AT_CHUNK_SIZE);
	HP_CHECK(hp_chunk_size_is_valid(mode, chunk_size), err, HSMPOOL_ERR_DATA,
		 "the container's header is damaged: no chunk size %u", chunk_size);
	HP_CHECK(mode != HP_MODE_DIRECT ||
			 hp_bytes_are_zero(bytes + AT_COMMITMENT, HP_HASH_LEN),
		 err, HSMPOOL_ERR_DATA,
		 "the container's header is damaged: a key commitment in direct mode");
	*out = (struct hp_fixed_part){
		.mode = mode,
		.suite = bytes[AT_SUITE],
		.compression = bytes[AT_COMPRESSION],
		.chunk_size = chunk_size,
	};
	memcpy(out->id, bytes + AT_ID, HP_CONTAINER_ID_LEN);
	memcpy(out->context_hash, bytes + AT_CONTEXT_HASH, HP_HASH_LEN);
	memcpy(out->commitment, bytes + AT_COMMITMENT, HP_HASH_LEN);
	return HSMPOOL_OK;
}

hsmpool_status hp_container_encode(struct hp_container *container,
				   const struct hp_recipient *recipients, size_t count,
				   hsmpool_error *err)
{
	size_t part_len = 0;
	hp_fixed_part_encode(&container->fixed, container->raw);
	HP_TRY(hp_recipients_encode(recipients, count, container->raw + HP_FIXED_LEN,
				    HP_RECIPIENT_PART_MAX, &part_len, err));
	container->raw_len = HP_FIXED_LEN + part_len;
	return hp_recipients_decode(container->raw + HP_FIXED_LEN, part_len,
				    container->fixed.mode == HP_MODE_DIRECT,
				    &container->recipients, err);
}

size_t hp_header_len(const struct hp_container *container)
{
	bool has_mac = container->fixed.mode == HP_MODE_ENVELOPE;
	return container->raw_len + (has_mac ? HP_HASH_LEN : 0);
}

/* Exactly up to len bytes of the header, so that the first chunk stays unread. */
static hsmpool_status read_header_to(struct hp_source *source, struct hp_container *c,
				     size_t len, hsmpool_error *err)
{
	HP_TRY(hp_source_fill(source, c->raw, len, len, &c->raw_len, err));
	HP_CHECK(c->raw_len == len, err, HSMPOOL_ERR_DATA,
		 "the container is cut inside its header");
	return HSMPOOL_OK;
}

/* Told apart first: a file that is something else, and one that is cut. */
static hsmpool_status read_magic(struct hp_source *source, struct hp_container *c,
				 hsmpool_error *err)
{
	HP_TRY(hp_source_fill(source, c->raw, HP_MAGIC_LEN, HP_MAGIC_LEN, &c->raw_len,
			      err));
	HP_CHECK(c->raw_len > 0, err, HSMPOOL_ERR_DATA,
		 "the input is empty, not an hsmpool container");
	HP_CHECK(hp_container_begins(c->raw, c->raw_len), err, HSMPOOL_ERR_DATA,
		 "the input is not an hsmpool container");
	return HSMPOOL_OK;
}

hsmpool_status hp_container_read(struct hp_source *source, struct hp_container *out,
				 hsmpool_error *err)
{
	uint8_t *part = out->raw + HP_FIXED_LEN;
	size_t part_len = 0;
	out->raw_len = 0;
	HP_TRY(read_magic(source, out, err));
	HP_TRY(read_header_to(source, out, HP_FIXED_LEN, err));
	HP_TRY(hp_fixed_part_decode(out->raw, &out->fixed, err));
	HP_TRY(read_header_to(source, out, HP_FIXED_LEN + 4, err));
	HP_TRY(hp_recipients_length(part, &part_len, err));
	HP_TRY(read_header_to(source, out, HP_FIXED_LEN + part_len, err));
	bool is_direct = out->fixed.mode == HP_MODE_DIRECT;
	HP_TRY(hp_recipients_decode(part, part_len, is_direct, &out->recipients, err));
	if (is_direct)
		return HSMPOOL_OK;
	HP_TRY(read_header_to(source, out, HP_FIXED_LEN + part_len + HP_HASH_LEN, err));
	out->raw_len -= HP_HASH_LEN;
	return HSMPOOL_OK;
}

struct memory_reader {
	const uint8_t *bytes;
	size_t len;
	size_t used;
};

static hsmpool_status read_memory(void *user, uint8_t *data, size_t cap, size_t *len,
				  hsmpool_error *err)
{
	(void)err;
	struct memory_reader *memory = user;
	size_t left = memory->len - memory->used;
	*len = left < cap ? left : cap;
	if (*len > 0)
		memcpy(data, memory->bytes + memory->used, *len);
	memory->used += *len;
	return HSMPOOL_OK;
}

hsmpool_status hp_container_parse(const uint8_t *bytes, size_t len,
				  struct hp_container *out, size_t *used,
				  hsmpool_error *err)
{
	struct memory_reader memory = { .bytes = bytes, .len = len };
	struct hp_source source = { .read = read_memory, .user = &memory };
	HP_TRY(hp_container_read(&source, out, err));
	*used = memory.used;
	return HSMPOOL_OK;
}

hsmpool_status hp_context_hash(const uint8_t id[HP_CONTAINER_ID_LEN], const char *context,
			       uint8_t out[HP_HASH_LEN], hsmpool_error *err)
{
	memset(out, 0, HP_HASH_LEN);
	if (!context)
		return HSMPOOL_OK;
	const hsmpool_bytes parts[] = {
		HP_LABEL(HP_LABEL_CONTEXT),
		{ id, HP_CONTAINER_ID_LEN },
		{ (const uint8_t *)context, strlen(context) },
	};
	return hp_sha256(parts, HP_ARRAY_LEN(parts), out, err);
}

hsmpool_status hp_header_hash(const struct hp_container *container,
			      uint8_t out[HP_HASH_LEN], hsmpool_error *err)
{
	bool is_direct = container->fixed.mode == HP_MODE_DIRECT;
	const hsmpool_bytes covered = { container->raw,
					is_direct ? container->raw_len : HP_FIXED_LEN };
	return hp_sha256(&covered, 1, out, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's header, as bytes and as a structure: docs/format.md.
 *
 * Owns: the layout, the limits, reading a header from a stream. Needs no key and no
 * pool: what is decoded here is well-formed, not yet verified, and everything in it
 * was chosen by whoever wrote the file. Must not: allocate by a length it read before
 * that length was bounded.
 */
#ifndef HP_STREAM_CONTAINER_H
#define HP_STREAM_CONTAINER_H

#include <hsmpool/stream.h>
#include "stream/recipient.h"
#include "stream/caller.h"

enum {
	HP_CONTAINER_VERSION = 1,
	HP_MAGIC_LEN = 8,
	HP_CONTAINER_ID_LEN = 16,
	HP_HASH_LEN = 32,  /* SHA-256, HMAC-SHA-256, the commitment */
	HP_BOUND_LEN = 64, /* the fixed part without the commitment */
	HP_FIXED_LEN = 96, /* the fixed part */
	HP_HEADER_MAX = HP_FIXED_LEN + HP_RECIPIENT_PART_MAX + HP_HASH_LEN,
	HP_CHUNK_SIZE_MIN = 1024,
	HP_CHUNK_SIZE_MAX = 64 << 20,
	HP_CHUNK_SIZE_MAX_DIRECT = 1 << 20,
	HP_CHUNK_SIZE_ENVELOPE = 1 << 20, /* the defaults */
	HP_CHUNK_SIZE_DIRECT = 64 << 10,
};

/* As the bytes say, not as the API numbers them. */
enum hp_container_mode { HP_MODE_ENVELOPE = 1, HP_MODE_DIRECT = 2 };
enum hp_container_suite { HP_SUITE_AES_256_GCM_SHA_256 = 1 };
enum hp_container_compression { HP_COMPRESSION_NONE = 0, HP_COMPRESSION_ZSTD = 1 };

struct hp_fixed_part {
	enum hp_container_mode mode;
	uint8_t suite;
	uint8_t compression;
	uint32_t chunk_size;
	uint8_t id[HP_CONTAINER_ID_LEN];
	uint8_t context_hash[HP_HASH_LEN]; /* all zero: no context */
	uint8_t commitment[HP_HASH_LEN];   /* all zero in direct mode */
};

/* A decoded header. Its recipients point into raw: do not copy the structure. */
struct hp_container {
	struct hp_fixed_part fixed;
	struct hp_recipient_list recipients;
	uint8_t raw[HP_HEADER_MAX];
	/* What the MAC and the header hash cover; in envelope mode the MAC is behind. */
	size_t raw_len;
};

void hp_fixed_part_encode(const struct hp_fixed_part *fixed, uint8_t out[HP_FIXED_LEN]);
/* DATA: not a container, or one of a version, mode, suite, compression or chunk size
 * that this library does not know; the text says which. */
hsmpool_status hp_fixed_part_decode(const uint8_t bytes[HP_FIXED_LEN],
				    struct hp_fixed_part *out, hsmpool_error *err);

/* Put fixed part and recipients into container->raw, from container->fixed and the
 * list given. The MAC is the caller's to add. USAGE if they do not fit. */
hsmpool_status hp_container_encode(struct hp_container *container,
				   const struct hp_recipient *recipients, size_t count,
				   hsmpool_error *err);

/* How long the header is, MAC included: where chunk 0 begins. */
size_t hp_header_len(const struct hp_container *container);

/* Read and decode a header, MAC included. Leaves the source at the first chunk. */
hsmpool_status hp_container_read(struct hp_source *source, struct hp_container *out,
				 hsmpool_error *err);

/* The same from memory; *used: how many bytes the header had. */
hsmpool_status hp_container_parse(const uint8_t *bytes, size_t len,
				  struct hp_container *out, size_t *used,
				  hsmpool_error *err);

/* What the fixed part says of a context: its hash under this container's id. NULL
 * gives all zero; a context of length zero is one. */
hsmpool_status hp_context_hash(const uint8_t id[HP_CONTAINER_ID_LEN], const char *context,
			       uint8_t out[HP_HASH_LEN], hsmpool_error *err);

/* What each chunk is bound to: SHA-256 of the fixed part (envelope), or of the fixed
 * and the recipient part (direct). */
hsmpool_status hp_header_hash(const struct hp_container *container,
			      uint8_t out[HP_HASH_LEN], hsmpool_error *err);

/* Whether these bytes, as far as there are any, begin as a container does. */
bool hp_container_begins(const uint8_t *bytes, size_t len);
/* The smallest and largest chunk that a mode allows. */
bool hp_chunk_size_is_valid(enum hp_container_mode mode, uint32_t chunk_size);
/* How many chunks a container may have: 2^24 direct; 2^32 or 2^52 bytes envelope. */
uint64_t hp_chunk_limit(enum hp_container_mode mode, uint32_t chunk_size);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chunk's plaintext as a zstd frame, and back: docs/format.md, section 6.
 *
 *   body = one zstd frame | zero bytes, if the frame is shorter than a body may be
 *
 * Owns: the form a frame must have, its bounds, zstd's contexts. One context belongs to
 * one worker and serves all its chunks; nothing here locks. Must not: know heads or keys.
 *
 * What a decompressor is given is authentic, but may be an enemy's all the same: he has
 * an RSA recipient's public key. It writes no byte behind the length the head promised
 * and keeps about 160 KiB, whatever the frame claims. libzstd's contexts hold pieces of
 * plaintext, in memory that it frees but does not wipe.
 */
#ifndef HP_STREAM_COMPRESS_H
#define HP_STREAM_COMPRESS_H

#include <stddef.h>
#include <stdint.h>
#include <hsmpool/status.h>

enum {
	HP_COMPRESSION_LEVEL_MIN = 1,
	HP_COMPRESSION_LEVEL_MAX = 19,
	HP_COMPRESSION_LEVEL_DEFAULT = 3,
	HP_COMPRESSION_RATIO_MAX = 1024, /* plaintext bytes for each byte of a body */
};

/* The shortest body that may stand for so many bytes of plaintext. */
size_t hp_compressed_len_min(size_t plain_len);

struct ZSTD_CCtx_s;
struct hp_compressor {
	struct ZSTD_CCtx_s *ctx;
};

/* Bytes that one takes, at most. */
size_t hp_compressor_len(int level, uint32_t chunk_size);
/* chunk_size: of the longest chunk. SYSTEM: no memory. */
hsmpool_status hp_compressor_init(struct hp_compressor *compressor, int level,
				  uint32_t chunk_size, hsmpool_error *err);
void hp_compressor_clear(struct hp_compressor *compressor); /* accepts a zeroed one */

/*
 * Make a body of plain_len bytes; body has room for as many, and does not overlap.
 * *body_len is 0 if it would not be shorter: such a chunk is stored as it is. Else it is
 * at least hp_compressed_len_min() and less than plain_len.
 */
hsmpool_status hp_compress(struct hp_compressor *compressor, const uint8_t *plain,
			   size_t plain_len, uint8_t *body, size_t *body_len,
			   hsmpool_error *err);

struct ZSTD_DCtx_s;
struct hp_decompressor {
	struct ZSTD_DCtx_s *ctx;
};

hsmpool_status hp_decompressor_init(struct hp_decompressor *decompressor,
				    hsmpool_error *err);
void hp_decompressor_clear(struct hp_decompressor *decompressor);

/*
 * The way back: exactly plain_len bytes into plain, which does not overlap the body.
 * index is the chunk's, for the text. DATA, with plain wiped, unless the body is what
 * docs/format.md says.
 */
hsmpool_status hp_decompress(struct hp_decompressor *decompressor, const uint8_t *body,
			     size_t body_len, uint8_t *plain, size_t plain_len,
			     uint64_t index, hsmpool_error *err);

#endif

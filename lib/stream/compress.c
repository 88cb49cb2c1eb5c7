/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See compress.h. Frames go through libzstd in one piece, from buffer to buffer: it
 * needs no window of its own then, so there is none whose size a frame could choose.
 */
#include "stream/compress.h"
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
/* For memory of our own, which the stable interface does not offer: functions that have
 * been the same since libzstd 1.0. */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
#include <zstd_errors.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/secret.h"

/* RFC 8878, 3.1.1: magic number, then the frame header's descriptor. */
enum {
	FRAME_DESCRIPTOR_AT = 4,
	/* window kept apart, unused and reserved bits, checksum, dictionary id */
	DESCRIPTOR_FORM_BITS = 0x3f,
	/* "Single_Segment_flag": the window is the content, whose size is stated */
	DESCRIPTOR_SINGLE_SEGMENT = 0x20,
	WINDOW_LOG_MIN = 10,
};

/* ---- a context's memory, in which pieces of plaintext are left ---- */

/* In front of what libzstd gets; it asks for the alignment of malloc(). */
union head {
	size_t len; /* with the head */
	max_align_t aligned;
};

static void *allocate(void *unused, size_t len)
{
	(void)unused;
	size_t whole;
	if (!hp_size_add(len, sizeof(union head), &whole))
		return NULL;
	union head *head = hp_bulk_new(whole);
	if (!head)
		return NULL;
	head->len = whole;
	return head + 1;
}

static void wipe_and_free(void *unused, void *memory)
{
	(void)unused;
	if (!memory)
		return;
	union head *head = (union head *)memory - 1;
	hp_bulk_free(head, head->len, head->len);
}

static const ZSTD_customMem wiped_memory = { allocate, wipe_and_free, NULL };

size_t hp_compressed_len_min(size_t plain_len)
{
	return plain_len / HP_COMPRESSION_RATIO_MAX +
	       (plain_len % HP_COMPRESSION_RATIO_MAX != 0);
}

/* ---- compression ---- */

static hsmpool_status compression_failed(size_t result, hsmpool_error *err)
{
	return hp_fail(err, HSMPOOL_ERR_SYSTEM, "zstd cannot compress: %s",
		       ZSTD_getErrorName(result));
}

/* As wide as a chunk: then libzstd makes a frame of a single segment at every level. */
static int window_log(uint32_t chunk_size)
{
	int log = WINDOW_LOG_MIN;
	while ((UINT32_C(1) << log) < chunk_size)
		log++;
	return log;
}

/* libzstd's tables grow with the chunk, up to a size that each level has for itself. */
size_t hp_compressor_len(int level, uint32_t chunk_size)
{
	/* In 256 KiB: measured with libzstd 1.5.4. */
	static const uint16_t at_most[HP_COMPRESSION_LEVEL_MAX + 1] = {
		0,  3,  3,   5,   11,  15,  15,  27,  27,  51,
		99, 99, 195, 131, 195, 259, 131, 195, 197, 326,
	};
	size_t by_level = (size_t)at_most[level] << 18;
	size_t by_chunk = 18 * (size_t)chunk_size + (1 << 20);
	return by_level < by_chunk ? by_level : by_chunk;
}

hsmpool_status hp_compressor_init(struct hp_compressor *compressor, int level,
				  uint32_t chunk_size, hsmpool_error *err)
{
	const struct {
		ZSTD_cParameter name;
		int value;
	} parameters[] = {
		{ ZSTD_c_compressionLevel, level },
		{ ZSTD_c_windowLog, window_log(chunk_size) },
		{ ZSTD_c_checksumFlag, 0 }, /* the tag is better */
	};
	compressor->ctx = ZSTD_createCCtx_advanced(wiped_memory);
	HP_CHECK(compressor->ctx, err, HSMPOOL_ERR_SYSTEM,
		 "no memory for zstd to compress");
	for (size_t i = 0; i < HP_ARRAY_LEN(parameters); i++) {
		size_t result = ZSTD_CCtx_setParameter(
			compressor->ctx, parameters[i].name, parameters[i].value);
		if (!ZSTD_isError(result))
			continue;
		hp_compressor_clear(compressor);
		return compression_failed(result, err);
	}
	return HSMPOOL_OK;
}

void hp_compressor_clear(struct hp_compressor *compressor)
{
	ZSTD_freeCCtx(compressor->ctx);
	compressor->ctx = NULL;
}

hsmpool_status hp_compress(struct hp_compressor *compressor, const uint8_t *plain,
			   size_t plain_len, uint8_t *body, size_t *body_len,
			   hsmpool_error *err)
{
	size_t min = hp_compressed_len_min(plain_len);
	*body_len = 0;
	if (plain_len < 2)
		return HSMPOOL_OK;
	size_t len =
		ZSTD_compress2(compressor->ctx, body, plain_len - 1, plain, plain_len);
	if (ZSTD_getErrorCode(len) == ZSTD_error_dstSize_tooSmall)
		return HSMPOOL_OK; /* no room to save a single byte */
	if (ZSTD_isError(len))
		return compression_failed(len, err);
	if (len < min) {
		memset(body + len, 0, min - len);
		len = min;
	}
	*body_len = len;
	return HSMPOOL_OK;
}

/* ---- decompression ---- */

hsmpool_status hp_decompressor_init(struct hp_decompressor *decompressor,
				    hsmpool_error *err)
{
	decompressor->ctx = ZSTD_createDCtx_advanced(wiped_memory);
	HP_CHECK(decompressor->ctx, err, HSMPOOL_ERR_SYSTEM,
		 "no memory for zstd to decompress");
	return HSMPOOL_OK;
}

void hp_decompressor_clear(struct hp_decompressor *decompressor)
{
	ZSTD_freeDCtx(decompressor->ctx);
	decompressor->ctx = NULL;
}

/* A frame, not a skippable one nor of an old zstd, of the one form that is allowed. */
static bool has_frame_header(const uint8_t *body, size_t len)
{
	static const uint8_t magic[FRAME_DESCRIPTOR_AT] = { 0x28, 0xb5, 0x2f, 0xfd };
	return len > FRAME_DESCRIPTOR_AT && memcmp(body, magic, sizeof(magic)) == 0 &&
	       (body[FRAME_DESCRIPTOR_AT] & DESCRIPTOR_FORM_BITS) ==
		       DESCRIPTOR_SINGLE_SEGMENT;
}

/* NULL if the body is one frame of that content and zero bytes, else what it is not.
 * The blocks are not looked into yet. */
static const char *find_fault(const uint8_t *body, size_t body_len, size_t plain_len,
			      size_t *frame_len)
{
	if (body_len < hp_compressed_len_min(plain_len) || body_len >= plain_len)
		return "its length is out of bounds";
	if (!has_frame_header(body, body_len))
		return "it is no zstd frame of a single segment";
	if (ZSTD_getFrameContentSize(body, body_len) != plain_len)
		return "the zstd frame claims another length";
	*frame_len = ZSTD_findFrameCompressedSize(body, body_len);
	if (ZSTD_isError(*frame_len))
		return ZSTD_getErrorName(*frame_len);
	if (!hp_bytes_are_zero(body + *frame_len, body_len - *frame_len))
		return "something is behind the zstd frame";
	return NULL;
}

hsmpool_status hp_decompress(struct hp_decompressor *decompressor, const uint8_t *body,
			     size_t body_len, uint8_t *plain, size_t plain_len,
			     uint64_t index, hsmpool_error *err)
{
	size_t frame_len = 0;
	const char *fault = find_fault(body, body_len, plain_len, &frame_len);
	if (!fault) {
		size_t len = ZSTD_decompressDCtx(decompressor->ctx, plain, plain_len,
						 body, frame_len);
		if (len == plain_len)
			return HSMPOOL_OK;
		hp_wipe(plain, plain_len);
		fault = ZSTD_isError(len) ? ZSTD_getErrorName(len)
					  : "it holds less than the head says";
	}
	return hp_fail(err, HSMPOOL_ERR_DATA,
		       "chunk %" PRIu64 " of the container does not decompress to the "
		       "%zu bytes it promises, so its maker was faulty or hostile: %s",
		       index, plain_len, fault);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole containers. The input is no container but a script that makes one, header, keys,
 * tags and all: so what lies behind a tag that fits is reached, and it is known what must
 * come out. A sound container gives its plaintext; of any other, what is handed out is
 * the plaintext of the sound chunks in front of the first wrong one, and no more. Only of
 * zstd frames of the script's own it is not known whether they are sound.
 *
 *   header  bits of enum header_bit; one byte that chooses the chunk size
 *   chunk   bits of enum chunk_bit; what they ask for, in their order; length or body
 */
#include "encoder.h"
#include "fuzz.h"
#include "ground.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <hsmpool/stream.h>

enum header_bit {
	DIRECT = 1,
	KEY_IS_SEARCHED = 2,
	MAC_IS_WRONG = 4,
	COMMITMENT_IS_WRONG = 8,
	CONTEXT_IS_ANOTHER = 16,
	HAS_STRANGERS = 32,
	IS_READ_IN_PIECES = 64,
	IS_COMPRESSED = 128,
};

enum chunk_bit {
	LAST = 1,
	SAYS_COMPRESSED = 2,
	SAYS_PLAIN_LEN = 4, /* 16 bits follow */
	SAYS_BODY_LEN = 8,  /* 16 bits */
	IS_DAMAGED = 16,    /* 16 bits: from the frame's end; 8 bits: exclusive or */
	IS_MOVED = 32,      /* 8 bits: the index */
	IS_CUT = 64,        /* 16 bits: bytes that are missing; nothing follows */
	HAS_BODY = 128,     /* 16 bits: length of a body that follows in the script */
};

enum { CHUNKS_MAX = 24, BODY_MAX = 65536 };

static const uint32_t chunk_sizes[] = { 1024,    1025,     4096, 65536,
					1 << 20, 64 << 20, 1023, (64 << 20) + 1 };

/* What is decrypted, and what must come of it. */
struct attempt {
	struct encoder encoder;
	struct hp_text plain; /* of the sound chunks in front of the first wrong one */
	bool is_sound;        /* nothing wrong so far */
	bool has_ended;       /* with a last chunk */
	bool is_cut;
	bool is_unsure;    /* a zstd frame of the script's own was met while sound */
	size_t unsure_len; /* plaintext that may come of that chunk, and those behind it
			    */
	uint64_t index;
	size_t read;
	size_t piece;
	struct hp_text out;
};

/* --- making ----------------------------------------------------------------------------
 */

static uint8_t make_header(struct attempt *attempt, struct fuzz_script *script)
{
	uint8_t bits = fuzz_take8(script);
	uint8_t size = fuzz_take8(script) % 8;
	bool is_direct = bits & DIRECT;
	attempt->encoder = (struct encoder){
		.pool = ground_pool(),
		.key = ground_aes_key(),
		.is_direct = is_direct,
		.compression = bits & IS_COMPRESSED ? 1 : 0,
		.chunk_size = chunk_sizes[size],
		.context = bits & CONTEXT_IS_ANOTHER ? "another" : "fuzz",
		.strangers = bits & HAS_STRANGERS ? 3 : 0,
		.mac_error = bits & MAC_IS_WRONG ? 1 : 0,
		.commitment_error = bits & COMMITMENT_IS_WRONG ? 1 : 0,
	};
	attempt->piece = bits & IS_READ_IN_PIECES ? 97 : SIZE_MAX;
	attempt->is_sound =
		(bits & (COMMITMENT_IS_WRONG | CONTEXT_IS_ANOTHER)) == 0 &&
		(is_direct || (bits & MAC_IS_WRONG) == 0) &&
		!(is_direct && (bits & HAS_STRANGERS)) && /* exactly one there */
		chunk_sizes[size] >= 1024 &&
		chunk_sizes[size] <= (is_direct ? 1U << 20 : 64U << 20);
	encoder_begin(&attempt->encoder);
	return bits;
}

/* The chunk's plaintext: the script's, or a pattern, full unless it is the last. */
static hsmpool_bytes make_body(const struct attempt *attempt, struct fuzz_script *script,
			       uint8_t bits, uint8_t body[BODY_MAX])
{
	uint32_t chunk_size = attempt->encoder.chunk_size;
	size_t len = chunk_size < BODY_MAX ? chunk_size : BODY_MAX;
	if (bits & HAS_BODY) {
		const uint8_t *given = fuzz_take(script, fuzz_take16(script), &len);
		return (hsmpool_bytes){ given, len };
	}
	if (bits & LAST)
		len = fuzz_take16(script) % (len + 1);
	for (size_t i = 0; i < len; i++)
		body[i] = (uint8_t)(i * 7 + attempt->index);
	return (hsmpool_bytes){ body, len };
}

/* As an encoder packs it, whether it becomes shorter or not. */
static hsmpool_bytes pack(hsmpool_bytes plain, uint8_t packed[BODY_MAX + 1024])
{
	size_t min = (plain.len + 1023) / 1024, len;
	ZSTD_CCtx *ctx = ZSTD_createCCtx();
	MUST(ctx && !ZSTD_isError(ZSTD_CCtx_setParameter(ctx, ZSTD_c_windowLog, 17)));
	len = ZSTD_compress2(ctx, packed, BODY_MAX + 1024, plain.data, plain.len);
	MUST(!ZSTD_isError(len));
	ZSTD_freeCCtx(ctx);
	for (; len < min; len++)
		packed[len] = 0;
	return (hsmpool_bytes){ packed, len };
}

/* What the head says is true and allowed, as far as heads go. */
static bool has_sound_head(const struct attempt *attempt,
			   const struct encoder_chunk *chunk, size_t plain_len)
{
	bool is_last = chunk->flags & LAST;
	bool is_packed = chunk->flags & SAYS_COMPRESSED;
	if (chunk->index != attempt->index || chunk->plain_len != plain_len ||
	    chunk->body_len != chunk->body.len)
		return false;
	if (is_packed &&
	    (attempt->encoder.compression == 0 || chunk->body.len >= plain_len ||
	     chunk->body.len < (plain_len + 1023) / 1024))
		return false;
	if (!is_packed && chunk->body.len != plain_len)
		return false;
	return is_last ? plain_len <= attempt->encoder.chunk_size &&
				 (plain_len > 0 || attempt->index == 0)
		       : plain_len == attempt->encoder.chunk_size;
}

/* What happens to the frame, of that length, behind its maker's back; false: nothing. */
static bool damage(struct attempt *attempt, struct fuzz_script *script, uint8_t bits,
		   size_t frame_len)
{
	struct hp_text *out = &attempt->encoder.out;
	bool is_damaged = false;
	if (bits & IS_DAMAGED) {
		size_t back = 1 + fuzz_take16(script) % frame_len;
		uint8_t error = fuzz_take8(script);
		out->data[out->len - back] ^= error;
		is_damaged = error != 0;
	}
	if (bits & IS_CUT) {
		size_t len = fuzz_take16(script) % (frame_len + 1);
		out->len -= len;
		attempt->is_cut = len > 0;
		is_damaged |= attempt->is_cut;
	}
	return is_damaged;
}

static void note_plain(struct attempt *attempt, const struct encoder_chunk *chunk,
		       hsmpool_bytes plain, bool is_unsure)
{
	if (attempt->is_sound && is_unsure)
		attempt->is_unsure = true;
	if (attempt->is_unsure)
		attempt->unsure_len += chunk->plain_len;
	else if (attempt->is_sound)
		MUST(hp_text_append(&attempt->plain, plain.data, plain.len, NULL) ==
		     HSMPOOL_OK);
}

static void make_chunk(struct attempt *attempt, struct fuzz_script *script)
{
	static uint8_t body[BODY_MAX], packed[BODY_MAX + 1024];
	uint8_t bits = fuzz_take8(script);
	uint16_t plain_len = bits & SAYS_PLAIN_LEN ? fuzz_take16(script) : 0;
	uint16_t body_len = bits & SAYS_BODY_LEN ? fuzz_take16(script) : 0;
	uint8_t index = bits & IS_MOVED ? fuzz_take8(script) : 0;
	bool is_packed = bits & SAYS_COMPRESSED;
	bool is_unsure = is_packed && (bits & HAS_BODY);
	hsmpool_bytes plain = make_body(attempt, script, bits, body);
	struct encoder_chunk chunk = {
		.index = bits & IS_MOVED ? index : attempt->index,
		.flags = bits & (LAST | SAYS_COMPRESSED),
		.body = is_packed && !is_unsure ? pack(plain, packed) : plain,
	};
	chunk.plain_len = bits & SAYS_PLAIN_LEN ? plain_len : (uint32_t)plain.len;
	chunk.body_len = bits & SAYS_BODY_LEN ? body_len : (uint32_t)chunk.body.len;
	bool is_sound =
		!attempt->has_ended &&
		has_sound_head(attempt, &chunk, is_unsure ? chunk.plain_len : plain.len);
	size_t start = attempt->encoder.out.len;
	encoder_add(&attempt->encoder, &chunk);
	if (damage(attempt, script, bits, attempt->encoder.out.len - start))
		is_sound = false;
	attempt->is_sound = attempt->is_sound && is_sound;
	attempt->has_ended |= bits & LAST;
	attempt->index++;
	note_plain(attempt, &chunk, plain, is_unsure);
}

/* --- decrypting ------------------------------------------------------------------------
 */

static hsmpool_status read_container(void *user, uint8_t *data, size_t cap, size_t *len,
				     hsmpool_error *err)
{
	(void)err;
	struct attempt *attempt = user;
	size_t left = attempt->encoder.out.len - attempt->read;
	*len = left < cap ? left : cap;
	if (*len > attempt->piece)
		*len = attempt->piece;
	if (*len > 0)
		memcpy(data, attempt->encoder.out.data + attempt->read, *len);
	attempt->read += *len;
	return HSMPOOL_OK;
}

static hsmpool_status write_plain(void *user, const uint8_t *data, size_t len,
				  hsmpool_error *err)
{
	struct attempt *attempt = user;
	return hp_text_append(&attempt->out, data, len, err);
}

static void must_give_what_is_sound(struct attempt *attempt, hsmpool_key *given)
{
	const hsmpool_stream_options options = { .size = sizeof(options),
						 .context = "fuzz" };
	hsmpool_error err = { 0 };
	hsmpool_status status = hsmpool_stream_decrypt(
		ground_pool(), given, &options, read_container, attempt, write_plain,
		attempt, HSMPOOL_DEFAULT, &err);
	fuzz_must_explain(status, &err);
	MUST(status == HSMPOOL_OK || status == HSMPOOL_ERR_DATA);
	bool is_whole = attempt->is_sound && attempt->has_ended;
	MUST(status == HSMPOOL_OK ? is_whole : !is_whole || attempt->is_unsure);
	size_t len = attempt->out.len, known = attempt->plain.len;
	MUST(len <= known + attempt->unsure_len);
	MUST(len == 0 || known == 0 ||
	     memcmp(attempt->out.data, attempt->plain.data, len < known ? len : known) ==
		     0);
	MUST(status != HSMPOOL_OK || len == known + attempt->unsure_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_script script = { data, len };
	struct attempt attempt = { 0 };
	uint8_t bits = make_header(&attempt, &script);
	while (script.left > 0 && attempt.index < CHUNKS_MAX && !attempt.is_cut)
		make_chunk(&attempt, &script);
	must_give_what_is_sound(&attempt,
				bits & KEY_IS_SEARCHED ? NULL : ground_aes_key());
	hp_text_clear(&attempt.encoder.out);
	hp_text_clear(&attempt.plain);
	hp_text_clear(&attempt.out);
	return 0;
}

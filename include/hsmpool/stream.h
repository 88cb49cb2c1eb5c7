/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data of any length into a container and back: docs/format.md.
 *
 * Memory is bounded by the chunk size, whatever the length. On decryption, data is
 * handed to the writer only chunk by chunk after each was verified; a truncated,
 * reordered, spliced or altered container is an error before the bad chunk's first
 * byte is released, and the caller must treat what it received before as incomplete.
 */
#ifndef HSMPOOL_STREAM_H
#define HSMPOOL_STREAM_H

#include <hsmpool/key.h>
#include <hsmpool/pool.h>
#include <hsmpool/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Read up to cap bytes into data and set *len; *len == 0 means the end, after which it
 * is not called again. Any status but HSMPOOL_OK stops the stream with it (err may be
 * filled in). */
typedef hsmpool_status (*hsmpool_read_fn)(void *user, uint8_t *data, size_t cap,
					  size_t *len, hsmpool_error *err);
/* Take all len bytes. */
typedef hsmpool_status (*hsmpool_write_fn)(void *user, const uint8_t *data, size_t len,
					   hsmpool_error *err);

typedef enum hsmpool_stream_mode {
	HSMPOOL_STREAM_ENVELOPE = 0, /* a data key wrapped by the HSM's, chunks here */
	HSMPOOL_STREAM_DIRECT = 1,   /* every chunk through the HSM's key */
} hsmpool_stream_mode;

typedef struct hsmpool_stream_options {
	size_t size; /* sizeof(hsmpool_stream_options) */
	hsmpool_stream_mode mode;
	/* Bytes of plaintext: 1024 to 64 MiB in envelope mode, to 1 MiB in direct mode;
	 * 0: 1 MiB envelope, 64 KiB direct. */
	uint32_t chunk_size;
	const char *context; /* authenticated, not stored: decryption needs the same */
	/* Asked after each chunk with the plaintext bytes so far; nonzero stops the
	 * stream with HSMPOOL_ERR_CLOSED. NULL: not asked. */
	int (*progress)(void *user, uint64_t bytes);
	void *progress_user;
} hsmpool_stream_options;

/*
 * hsmpool_stream_encrypt - read, encrypt, write until read says the end.
 *
 * keys: 1 to 16 recipients in envelope mode (AES keys and RSA public keys may be
 * mixed; each alone opens the container), exactly 1 AES key in direct mode.
 * options NULL: envelope with the defaults. deadline bounds each wait for a session,
 * not the whole stream. After an error what was written is not a container.
 *
 * An AES key that may encrypt wraps the data key by AES-GCM, one that may only wrap by
 * AES-KW or AES-KWP; RSA keys do by OAEP. In direct mode every chunk is one of the 2^32
 * AES-GCM calls that a key should make in its life: docs/format.md.
 *
 * HSMPOOL_ERR_USAGE  number of keys, chunk size or mode; or the input is longer than a
 *                    container with such chunks may be
 * HSMPOOL_ERR_KEY    neither an AES key nor an RSA key of 2048 bits or more, or one that
 *                    may neither encrypt nor wrap
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status
hsmpool_stream_encrypt(hsmpool *pool, hsmpool_key *const *keys, size_t key_count,
		       const hsmpool_stream_options *options, hsmpool_read_fn read,
		       void *read_user, hsmpool_write_fn write, void *write_user,
		       hsmpool_deadline deadline, hsmpool_error *err);

/*
 * hsmpool_stream_decrypt - the way back.
 *
 * key NULL: the recipients named in the header are looked for on the pool's token.
 * Of options only context and progress are used. deadline bounds each wait for a
 * session, not the whole stream.
 *
 * HSMPOOL_ERR_DATA  not a container, or not whole, or altered, or another context
 * HSMPOOL_ERR_KEY   key, or every key of this token, is none of the recipients, which
 *                   the text lists
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_stream_decrypt(
	hsmpool *pool, hsmpool_key *key, const hsmpool_stream_options *options,
	hsmpool_read_fn read, void *read_user, hsmpool_write_fn write, void *write_user,
	hsmpool_deadline deadline, hsmpool_error *err);

#ifdef __cplusplus
}
#endif
#endif

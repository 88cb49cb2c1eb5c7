/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data of any length into a container and back: docs/format.md.
 *
 * Several threads encrypt or decrypt; the order stays. Memory is bounded, whatever the
 * length: about 32 MiB of chunks, or one chunk if that is larger, and what compression
 * takes. On decryption, data is handed to the writer only chunk by chunk after each was
 * verified; a truncated, reordered, spliced or altered container is an error before the
 * bad chunk's first byte is released, and the caller must treat what it received before
 * as incomplete.
 *
 * The caller's functions are called in the calling thread only. While its reader waits
 * for input, chunks that are done wait too: what a slow source gave may come out only
 * when the next chunk is there, or the end. All threads have ended, and all sessions are
 * back in the pool, when a function here returns.
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

/* Each chunk by itself, before it is encrypted. The container then tells how well it
 * compresses: do not compress secrets together with text of strangers' choice, see
 * docs/format.md, section 9. */
typedef enum hsmpool_compression {
	HSMPOOL_COMPRESSION_NONE = 0,
	HSMPOOL_COMPRESSION_ZSTD = 1,
} hsmpool_compression;

/* What went through so far. */
typedef struct hsmpool_stream_totals {
	size_t size; /* set to sizeof(hsmpool_stream_totals) before the call */
	uint64_t plain_bytes;
	uint64_t container_bytes; /* header and all */
	uint64_t chunks;
	uint64_t compressed_chunks; /* of these; the others are stored as they are */
	uint32_t threads;           /* that were allowed to work at once */
	uint32_t chunk_size;        /* of the container */
	hsmpool_stream_mode mode;
	hsmpool_compression compression;
} hsmpool_stream_totals;

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
	/* How many chunks are worked on at once, 1 to 64 (more count as 64); 1 starts no
	 * thread. 0: in envelope mode one more than the processors that this thread may
	 * run on (on one processor 1), in direct mode the sessions that the pool may
	 * have. Fewer where chunks are large; of those not asked for, also where
	 * compression takes much memory, so that all together takes less than 48 MiB. */
	uint32_t threads;
	hsmpool_stream_totals *totals; /* kept current; NULL: not wanted */
	/* These are for the functions with descriptors. */
	int stop_fd;             /* stop with HSMPOOL_ERR_CLOSED when readable; 0: none */
	const char *input_name;  /* in errors; NULL: "the input" */
	const char *output_name; /* NULL: "the output" */
	/* Encryption. Chunks that do not become shorter are stored as they are. Each
	 * thread keeps memory for it: with chunks of 1 MiB about 4 MiB at level 3, 27 MiB
	 * at level 19. */
	hsmpool_compression compression;
	int compression_level; /* 1 (fast) to 19 (small); 0: 3 */
	/* Decryption: HSMPOOL_ERR_DATA before more plaintext is handed out, 0: no limit.
	 * Without, what comes out is at most 1024 times the container. */
	uint64_t max_output; /* bytes */
	uint32_t max_ratio; /* times the bytes of the container so far, header included */
} hsmpool_stream_options;

/*
 * hsmpool_stream_encrypt - read, encrypt, write until read says the end.
 *
 * keys: 1 to 16 recipients in envelope mode (AES keys and RSA public keys may be
 * mixed; each alone opens the container), exactly 1 AES key in direct mode.
 * options NULL: envelope with the defaults. deadline bounds each wait for a session,
 * not the whole stream; one that has passed leaves the work to the calling thread, for
 * threads may have to wait for each other. After an error what was written is not a
 * container.
 *
 * An AES key that may encrypt wraps the data key by AES-GCM, one that may only wrap by
 * AES-KW or AES-KWP; RSA keys do by OAEP. In direct mode every chunk is one of the 2^32
 * AES-GCM calls that a key should make in its life: docs/format.md.
 *
 * HSMPOOL_ERR_USAGE  number of keys, chunk size, mode, compression or its level; or the
 *                    input is longer than a container with such chunks may be
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
 * Of options mode, chunk_size and compression are not used. deadline as above.
 *
 * HSMPOOL_ERR_DATA  not a container, or not whole, or altered, or another context; or
 *                   more comes out than max_output and max_ratio allow
 * HSMPOOL_ERR_KEY   key, or every key of this token, is none of the recipients, which
 *                   the text lists
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_stream_decrypt(
	hsmpool *pool, hsmpool_key *key, const hsmpool_stream_options *options,
	hsmpool_read_fn read, void *read_user, hsmpool_write_fn write, void *write_user,
	hsmpool_deadline deadline, hsmpool_error *err);

/*
 * hsmpool_stream_encrypt_fd, hsmpool_stream_decrypt_fd - from one file descriptor to
 * another: files, pipes, sockets, terminals, blocking or not.
 *
 * in is read from where it stands to its end. Where it is a regular file, the threads
 * read their chunks themselves; what was appended since the start is read too, and a file
 * that became shorter is an error. Afterwards it stands behind what was read. out is
 * written from where it stands, and neither synced nor closed.
 *
 * With options->stop_fd a pipe, or an eventfd, ends the stream from a signal handler or
 * another thread. It is looked at before each chunk is written, before each read of what
 * may block, and while both wait; a write that blocks ends only by a signal (without
 * SA_RESTART), or if out is O_NONBLOCK.
 *
 * HSMPOOL_ERR_SYSTEM  reading or writing failed; err->sys_errno says why
 * HSMPOOL_ERR_CLOSED  stop_fd, or progress, stopped it
 * The others as above.
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status
hsmpool_stream_encrypt_fd(hsmpool *pool, hsmpool_key *const *keys, size_t key_count,
			  const hsmpool_stream_options *options, int in, int out,
			  hsmpool_deadline deadline, hsmpool_error *err);
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_stream_decrypt_fd(
	hsmpool *pool, hsmpool_key *key, const hsmpool_stream_options *options, int in,
	int out, hsmpool_deadline deadline, hsmpool_error *err);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container is and who can open it, without opening it: docs/format.md.
 *
 * hsmpool_stream_encrypt() and hsmpool_stream_decrypt() (stream.h) make and open
 * containers; the functions here look at one without any key, and change its recipients
 * without touching its data.
 */
#ifndef HSMPOOL_CONTAINER_H
#define HSMPOOL_CONTAINER_H

#include <hsmpool/key.h>
#include <hsmpool/pool.h>
#include <hsmpool/status.h>
#include <hsmpool/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HSMPOOL_CONTAINER_RECIPIENTS 16 /* the most that a container has */

/* Whether the structure of a container is whole. */
typedef enum hsmpool_container_state {
	HSMPOOL_CONTAINER_UNREAD = 0,    /* reading failed before that was known */
	HSMPOOL_CONTAINER_WHOLE = 1,     /* its last chunk is there, and then the end */
	HSMPOOL_CONTAINER_TRUNCATED = 2, /* the end comes before that of the last chunk */
	HSMPOOL_CONTAINER_TRAILING = 3,  /* bytes stand behind its last chunk */
	HSMPOOL_CONTAINER_DAMAGED = 4,   /* a part cannot be as it is, or is of a newer
					    format than this library's */
	HSMPOOL_CONTAINER_NONE = 5,      /* no container: it does not begin as one */
} hsmpool_container_state;

/* Who can open a container. The texts are printable ASCII whatever the bytes are:
 * others are written \xNN. */
typedef struct hsmpool_container_recipient {
	char kind[24];   /* "aes-gcm", "aes-kw", "aes-kwp", "rsa-oaep-sha256", "direct":
			    how the data key is wrapped; "type-N": not known here */
	char label[516]; /* CKA_LABEL of the key, "": not given */
	char id[130];    /* CKA_ID, in hex, "": not given */
	char check[66];  /* in hex: of an AES key 3 bytes of its check value, of an RSA
			    key the SHA-256 of its SubjectPublicKeyInfo; "": not given */
} hsmpool_container_recipient;

/* What a container says of itself. NOTHING OF IT IS VERIFIED: whoever wrote the bytes
 * chose it, and only opening the container tells whether it is true. */
typedef struct hsmpool_container_info {
	size_t size; /* set to sizeof(hsmpool_container_info) before the call */
	hsmpool_container_state state;
	/* The fixed part. version 0: it could not be read, and nothing below is set. */
	uint32_t version;
	hsmpool_stream_mode mode;
	uint32_t suite; /* 1: AES-256-GCM, HKDF-SHA-256, HMAC-SHA-256 */
	hsmpool_compression compression;
	uint32_t chunk_size;    /* plaintext bytes of every chunk but the last */
	uint32_t needs_context; /* 1: made with a context, which decryption needs too */
	uint8_t id[16];         /* random */
	/* The recipient part. header_bytes 0: it could not be read whole. */
	uint64_t header_bytes;
	uint32_t recipient_count;
	hsmpool_container_recipient recipients[HSMPOOL_CONTAINER_RECIPIENTS];
	/* Of the chunks that are whole. */
	uint64_t chunks;
	uint64_t compressed_chunks;
	uint64_t plain_bytes;     /* what they decrypt to */
	uint64_t body_bytes;      /* what stands for it: less, if compressed */
	uint64_t container_bytes; /* header and these chunks */
} hsmpool_container_info;

/* Pass over len bytes and set *skipped; *skipped < len means that the end came first.
 * Any status but HSMPOOL_OK stops with it (err may be filled in). */
typedef hsmpool_status (*hsmpool_skip_fn)(void *user, uint64_t len, uint64_t *skipped,
					  hsmpool_error *err);

/*
 * hsmpool_container_inspect - look at a container without any key, and without a pool.
 *
 * Reads the header, then the head of every chunk, and passes over what is between. skip
 * NULL: by reading it. With skip, which may seek, a container of large chunks is walked
 * in a few bytes per chunk; after skip said the end, neither is called again. Memory is
 * bounded.
 *
 * Also when it fails *info holds what could be read until then, and its state says why
 * reading stopped. A callback stops the walk by a status of its own.
 *
 * HSMPOOL_ERR_DATA   any state but HSMPOOL_CONTAINER_WHOLE; the text says which
 * HSMPOOL_ERR_USAGE  info->size is not set
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status
hsmpool_container_inspect(hsmpool_read_fn read, hsmpool_skip_fn skip, void *user,
			  hsmpool_container_info *info, hsmpool_error *err);

/* What shall become of the recipients of a container. */
typedef struct hsmpool_container_changes {
	size_t size; /* sizeof(hsmpool_container_changes) */
	/* New recipients, as in hsmpool_stream_encrypt(): AES keys and RSA public keys of
	 * the pool. They come behind those that stay. */
	hsmpool_key *const *add;
	size_t add_count;
	/* Recipients to take out, each by "#N", the N-th of them as inspected, from 1; or
	 * by a pkcs11: URI, or the name of a [key NAME] section, whose id and label are
	 * those in the header. The key need not be on the token any more. */
	const char *const *remove;
	size_t remove_count;
} hsmpool_container_changes;

/* What was done, and what is left. */
typedef struct hsmpool_container_changed {
	size_t size; /* set to sizeof(hsmpool_container_changed) before the call */
	uint64_t old_header_bytes;
	uint64_t new_header_bytes;
	uint32_t recipients; /* in the new header */
	uint32_t added;
	uint32_t removed;
} hsmpool_container_changed;

/*
 * hsmpool_container_rewrap - a new header for a container in envelope mode.
 *
 * Reads the header and not a byte more; unwraps the data key, verifies commitment and
 * header MAC; writes the new header in one call of write. The caller then copies what
 * follows, the chunks, from where the reader stands, unchanged: a new header in front of
 * the same chunks is a container. The chunks are not looked at; a context is not needed.
 * key: the one that opens the container; NULL: the recipients are looked for on the
 * token. changed may be NULL. On an error nothing was written.
 *
 * Taking a recipient out does not take away what it had: it can have kept the data key,
 * the plaintext or the old header, and an old header in front of the chunks still opens
 * them. To shut somebody out, encrypt anew.
 *
 * HSMPOOL_ERR_DATA         not a container, or its header was altered
 * HSMPOOL_ERR_UNSUPPORTED  in direct mode the HSM's key encrypts the chunks themselves
 * HSMPOOL_ERR_KEY          key, or every key of this token, is none of the recipients;
 *                          what is to be removed is none; what is to be added cannot be
 * HSMPOOL_ERR_EXISTS       a key to be added is a recipient already, or is given twice
 * HSMPOOL_ERR_USAGE        no change is asked for; nobody would be left, or more than 16;
 *                          what is to be removed fits several recipients
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_container_rewrap(
	hsmpool *pool, hsmpool_key *key, const hsmpool_container_changes *changes,
	hsmpool_read_fn read, void *read_user, hsmpool_write_fn write, void *write_user,
	hsmpool_container_changed *changed, hsmpool_deadline deadline,
	hsmpool_error *err);

#ifdef __cplusplus
}
#endif
#endif

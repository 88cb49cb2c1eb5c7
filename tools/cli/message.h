/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The message that sign and verify work on: whole if it is short, its digest if long.
 */
#ifndef CLI_MESSAGE_H
#define CLI_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hsmpool/hsmpool.h>

/* Up to this it goes to the HSM whole; above, it is hashed here as a stream. */
#define MESSAGE_WHOLE_MAX (1024 * 1024)
/* Schemes that need the whole message (ed25519) take no more than this. */
#define MESSAGE_LIMIT (16 * 1024 * 1024)

#define MESSAGE_MAX_SCHEME 64

struct message {
	uint8_t *data;
	size_t len;
	size_t touched;                  /* of data, at most: wiped */
	char scheme[MESSAGE_MAX_SCHEME]; /* the scheme to use, ":digest" added if hashed
					  */
};

/* The scheme, from --scheme or the key's type and curve, with ":digest" and ":raw"
 * appended as asked, into message->scheme. */
hsmpool_status message_choose_scheme(struct message *message, const char *scheme,
				     hsmpool_key *key, bool is_digest, bool is_raw,
				     hsmpool_error *err);

/* Read the message from path (NULL: standard input), after the scheme was chosen. */
hsmpool_status message_read(struct message *message, const char *path,
			    hsmpool_error *err);

void message_clear(struct message *message);
#define MESSAGE_AUTO __attribute__((cleanup(message_clear))) struct message

static inline hsmpool_bytes message_bytes(const struct message *message)
{
	return (hsmpool_bytes){ message->data, message->len };
}

#endif

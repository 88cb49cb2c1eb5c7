/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recipient part: who can open a container, as bytes and as a structure.
 *
 * Owns: its layout and limits, and the text that names a recipient to people. All of
 * it is written by a stranger: names are printed escaped and used for searching only.
 * Must not: touch keys.
 */
#ifndef HP_STREAM_RECIPIENT_H
#define HP_STREAM_RECIPIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hsmpool/status.h>

enum {
	HP_RECIPIENTS_MAX = 16,
	HP_RECIPIENT_PART_HEAD = 6, /* length and count */
	HP_RECIPIENT_PART_MAX = 65536,
	HP_RECIPIENT_ID_MAX = 64,
	HP_RECIPIENT_LABEL_MAX = 128,
	HP_RECIPIENT_CHECK_MAX = 32,
	HP_RECIPIENT_WRAPPED_MAX = 4096,
	HP_CHECK_VALUE_MAX = 3, /* of an AES key: more of it would help a forger */
	HP_DATA_KEY_LEN = 32,
	HP_GCM_WRAPPED_LEN = 12 + HP_DATA_KEY_LEN + 16,
	HP_KW_WRAPPED_LEN = HP_DATA_KEY_LEN + 8, /* KWP too */
};

enum hp_recipient_type {
	HP_RECIPIENT_AES_GCM = 1,
	HP_RECIPIENT_AES_KW = 2,
	HP_RECIPIENT_AES_KWP = 3,
	HP_RECIPIENT_RSA_OAEP = 4,
	HP_RECIPIENT_DIRECT = 5,
};

/* The parameter of HP_RECIPIENT_RSA_OAEP; 0 for the others. */
enum hp_oaep_hash {
	HP_OAEP_SHA1 = 1,
	HP_OAEP_SHA256 = 2,
	HP_OAEP_SHA384 = 3,
	HP_OAEP_SHA512 = 4,
};

/* The byte strings belong to someone else: the encoder's caller, the decoded part. */
struct hp_recipient {
	uint8_t type; /* may be one that this library does not know */
	uint8_t parameter;
	hsmpool_bytes id;
	hsmpool_bytes label;
	hsmpool_bytes check;   /* AES: CKA_CHECK_VALUE; RSA: hash of the public key */
	hsmpool_bytes wrapped; /* the data key; empty in direct mode */
};

struct hp_recipient_list {
	size_t count;
	struct hp_recipient at[HP_RECIPIENTS_MAX];
};

/* out has cap bytes; USAGE if it does not fit or a field is too long. */
hsmpool_status hp_recipients_encode(const struct hp_recipient *recipients, size_t count,
				    uint8_t *out, size_t cap, size_t *len,
				    hsmpool_error *err);

/* How long the whole part is, from its first 4 bytes; DATA if out of bounds. */
hsmpool_status hp_recipients_length(const uint8_t head[4], size_t *len,
				    hsmpool_error *err);

/* part is whole. The list points into it. is_direct: the container's mode, which says
 * which types may stand there. */
hsmpool_status hp_recipients_decode(const uint8_t *part, size_t len, bool is_direct,
				    struct hp_recipient_list *out, hsmpool_error *err);

/* Whether this library can use it, or skips it. */
bool hp_recipient_is_known(const struct hp_recipient *recipient);
bool hp_recipient_is_rsa(const struct hp_recipient *recipient);

/* Both there, and the same. */
bool hp_fields_match(hsmpool_bytes a, hsmpool_bytes b);
/* Check values are compared as far as both sides have one. */
bool hp_checks_differ(hsmpool_bytes a, hsmpool_bytes b);
/* Whether two entries name one key: of one kind, without differing check values, and
 * with the same id, or, where one of them has none, the same label. The same RSA key
 * under two ids is one. */
bool hp_recipients_are_one_key(const struct hp_recipient *a,
			       const struct hp_recipient *b);

/* How the data key is wrapped for it: "aes-gcm", "rsa-oaep-sha256", "type-9". */
void hp_recipient_kind(const struct hp_recipient *recipient, char *out, size_t cap);
/* Its label, printable whatever the bytes are: others, quotes and backslashes as \xNN. */
void hp_recipient_label(const struct hp_recipient *recipient, char *out, size_t cap);

/* "aes key id=0a0b label=backup check=1a2b3c": printable whatever the bytes are, cut
 * at cap, NUL-terminated. */
void hp_recipient_describe(const struct hp_recipient *recipient, char *out, size_t cap);
/* All of them, joined by "; ", cut at cap. */
void hp_recipients_describe(const struct hp_recipient_list *list, char *out, size_t cap);

#endif

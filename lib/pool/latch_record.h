/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a PIN latch's file says: the token, and the PINs that must not be tried.
 *
 * The file is text, for people to read, of a fixed length, so that rewriting it in place
 * needs no room on the disk; its last line is a checksum. A PIN is known by its mark, 16
 * bits of a salted scrypt: enough to tell it from another, too little to find it.
 * Pure functions on a structure; no files, no locks.
 */
#ifndef HP_POOL_LATCH_RECORD_H
#define HP_POOL_LATCH_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <p11-kit/pkcs11.h>

#define HP_LATCH_TEXT_LEN 2048
#define HP_LATCH_PINS     8
#define HP_LATCH_SALT_LEN 16

enum hp_latch_state {
	HP_LATCH_NONE,    /* a free place */
	HP_LATCH_BEGUN,   /* a try was begun; nobody wrote down how it ended */
	HP_LATCH_REFUSED, /* the token said no */
};

struct hp_latch_pin {
	enum hp_latch_state state;
	uint16_t mark;
	bool is_old;      /* the user logged in with another PIN since */
	unsigned unknown; /* BEGUN: tries of which nobody knows how they ended */
	unsigned long rv; /* REFUSED: what the token answered */
	long long time_s; /* of the clock on the wall; for people only */
	int process;      /* likewise */
};

struct hp_latch_record {
	char manufacturer[33], model[17], serial[17], label[33];
	uint8_t salt[HP_LATCH_SALT_LEN];
	struct hp_latch_pin pins[HP_LATCH_PINS]; /* the oldest first, free ones last */
};

/* False: damaged, or of a version to come. */
bool hp_latch_record_parse(const char *text, size_t len, struct hp_latch_record *out);
void hp_latch_record_print(const struct hp_latch_record *record,
			   char text[static HP_LATCH_TEXT_LEN]);

void hp_latch_record_describe(struct hp_latch_record *record, const CK_TOKEN_INFO *token);
bool hp_latch_record_is_clear(const struct hp_latch_record *record);

/* NULL: not there. */
struct hp_latch_pin *hp_latch_record_find(struct hp_latch_record *record, uint16_t mark);
/* A new one, at the cost of the oldest that is_old. NULL: no room. */
struct hp_latch_pin *hp_latch_record_add(struct hp_latch_record *record, uint16_t mark);
void hp_latch_record_remove(struct hp_latch_record *record, struct hp_latch_pin *pin);
/* The user logged in with that PIN. */
void hp_latch_record_note_good(struct hp_latch_record *record, uint16_t mark);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a reply as it grows, plain or JSON.
 *
 * What there is no memory for is dropped, and the whole with it: has_failed is looked at
 * in the end only. The JSON is written by hand, because this code runs inside any program
 * that loads a PKCS#11 module, where another JSON library's symbols may come first.
 */
#ifndef HP_CONTROL_REPLY_H
#define HP_CONTROL_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hp_reply {
	char *text; /* for who began it to free */
	size_t len, cap;
	bool has_failed;
};

void hp_reply_add(struct hp_reply *reply, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void hp_reply_add_bytes(struct hp_reply *reply, const char *bytes, size_t len);
/* Nothing of it, as if it had just begun. */
void hp_reply_clear(struct hp_reply *reply);

/* Values: of an object with their name, of an array (name NULL) without. Commas come by
 * themselves. bracket: '{' or '['; it is ended by hp_json_end() with '}' or ']'. */
void hp_json_begin(struct hp_reply *reply, const char *name, char bracket);
void hp_json_end(struct hp_reply *reply, char bracket);
void hp_json_text(struct hp_reply *reply, const char *name, const char *value);
void hp_json_number(struct hp_reply *reply, const char *name, uint64_t value);
/* In seconds, to the microsecond. */
void hp_json_seconds(struct hp_reply *reply, const char *name, uint64_t ns);
void hp_json_bool(struct hp_reply *reply, const char *name, bool value);
void hp_json_null(struct hp_reply *reply, const char *name);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an object is called and what it looks like: enough to find it again after a loss.
 *
 * A table of many objects keeps it packed, without what is not used of its fields.
 */
#ifndef HP_PROXY_OBJECT_NAMES_H
#define HP_PROXY_OBJECT_NAMES_H

#include "p11/fingerprint.h"

/* What an object is, as it was read. */
struct hp_vobject_names {
	bool can_be_found; /* it has something that tells it from others */
	struct hp_object object;
	uint8_t fingerprint[HP_FINGERPRINT_LEN];
};

struct hp_packed_names {
	CK_OBJECT_CLASS class;
	CK_KEY_TYPE type;
	bool can_be_found;
	bool is_token;
	bool is_private;
	uint16_t id_len;
	uint16_t label_len;
	uint8_t fingerprint[HP_FINGERPRINT_LEN];
	uint8_t bytes[]; /* id, label */
};

/* malloc()ed; NULL: no memory. */
struct hp_packed_names *hp_names_pack(const struct hp_vobject_names *from);
void hp_names_unpack(const struct hp_packed_names *from, struct hp_vobject_names *to);

/* May they be of one object, which can be told from others? Nobody's (NULL) are not. */
bool hp_names_match(const struct hp_packed_names *names,
		    const struct hp_vobject_names *wanted);
bool hp_names_are_same(const struct hp_packed_names *names,
		       const struct hp_packed_names *others);

#endif

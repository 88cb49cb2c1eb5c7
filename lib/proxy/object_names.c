/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packing names, and comparing them.
 */
#include "proxy/object_names.h"

#include <stdlib.h>
#include <string.h>

struct hp_packed_names *hp_names_pack(const struct hp_vobject_names *from)
{
	const struct hp_object *object = &from->object;
	struct hp_packed_names *to =
		malloc(sizeof(*to) + object->id_len + object->label_len);
	if (!to)
		return NULL;
	*to = (struct hp_packed_names){
		.class = object->class,
		.type = object->type,
		.can_be_found = from->can_be_found,
		.is_token = object->is_token,
		.is_private = object->is_private,
		.id_len = (uint16_t)object->id_len,
		.label_len = (uint16_t)object->label_len,
	};
	memcpy(to->fingerprint, from->fingerprint, sizeof(to->fingerprint));
	memcpy(to->bytes, object->id, object->id_len);
	memcpy(to->bytes + object->id_len, object->label, object->label_len);
	return to;
}

void hp_names_unpack(const struct hp_packed_names *from, struct hp_vobject_names *to)
{
	*to = (struct hp_vobject_names){
		.can_be_found = from->can_be_found,
		.object = { .class = from->class,
			    .type = from->type,
			    .is_token = from->is_token,
			    .is_private = from->is_private,
			    .id_len = from->id_len,
			    .label_len = from->label_len },
	};
	memcpy(to->fingerprint, from->fingerprint, sizeof(to->fingerprint));
	memcpy(to->object.id, from->bytes, from->id_len);
	memcpy(to->object.label, from->bytes + from->id_len, from->label_len);
}

static bool are(const struct hp_packed_names *names, bool is_token, bool is_private,
		const uint8_t fingerprint[static HP_FINGERPRINT_LEN])
{
	return names && names->can_be_found && names->is_token == is_token &&
	       names->is_private == is_private &&
	       memcmp(names->fingerprint, fingerprint, HP_FINGERPRINT_LEN) == 0;
}

bool hp_names_match(const struct hp_packed_names *names,
		    const struct hp_vobject_names *wanted)
{
	return are(names, wanted->object.is_token, wanted->object.is_private,
		   wanted->fingerprint);
}

bool hp_names_are_same(const struct hp_packed_names *names,
		       const struct hp_packed_names *others)
{
	return others &&
	       are(names, others->is_token, others->is_private, others->fingerprint);
}

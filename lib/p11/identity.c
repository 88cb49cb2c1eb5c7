/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what was read of a key to its identity.
 */
#include "p11/identity.h"

#include <string.h>
#include "base/memory.h"

void hp_key_identify(struct hp_key_identity *out, const struct hp_object *object,
		     const uint8_t *fingerprint)
{
	out->class = object->class;
	out->type = object->type;
	out->is_token = object->is_token;
	out->label_len = object->label_len;
	out->id_len = object->id_len;
	memcpy(out->label, object->label, object->label_len);
	out->label[object->label_len] = '\0';
	memcpy(out->id, object->id, object->id_len);
	out->fingerprint[0] = '\0';
	if (fingerprint)
		hp_hex_encode(fingerprint, HP_FINGERPRINT_LEN, out->fingerprint);
}

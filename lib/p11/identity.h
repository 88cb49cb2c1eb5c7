/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which key was it: what audit records say and policies select by.
 *
 * Made once per key and kept beside its handle, so that a use reads nothing.
 */
#ifndef HP_P11_IDENTITY_H
#define HP_P11_IDENTITY_H

#include "p11/fingerprint.h"

struct hp_key_identity {
	CK_OBJECT_CLASS class;
	CK_KEY_TYPE type;
	bool is_token;    /* not of a session */
	size_t label_len; /* bytes as the token has them, and a zero */
	size_t id_len;
	char fingerprint[2 * HP_FINGERPRINT_LEN + 1]; /* hex; "" if it is not known */
	uint8_t label[HP_LABEL_CAP + 1];
	uint8_t id[HP_ID_CAP];
};

/* fingerprint NULL: not known. */
void hp_key_identify(struct hp_key_identity *out, const struct hp_object *object,
		     const uint8_t *fingerprint);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a new key shall be, checked, and the attribute templates made of it.
 */
#ifndef HP_CRYPTO_TEMPLATE_H
#define HP_CRYPTO_TEMPLATE_H

#include "crypto/curve.h"
#include "crypto/object.h"

/* A CK_ATTRIBUTE list with room for its numbers. Points into itself: do not move. */
struct hp_template {
	CK_ULONG count;
	unsigned numbers_used;
	CK_ATTRIBUTE attributes[32];
	CK_ULONG numbers[8];
};

void hp_template_bool(struct hp_template *t, CK_ATTRIBUTE_TYPE type, bool value);
void hp_template_number(struct hp_template *t, CK_ATTRIBUTE_TYPE type, CK_ULONG value);
/* data must outlive the template. */
void hp_template_bytes(struct hp_template *t, CK_ATTRIBUTE_TYPE type, const void *data,
		       size_t len);

/* How the key comes to be: decides which halves there are. */
enum hp_origin {
	HP_ORIGIN_GENERATE,
	HP_ORIGIN_IMPORT_PUBLIC,
	HP_ORIGIN_IMPORT_SECRET,
	HP_ORIGIN_UNWRAP, /* secret or private half */
	HP_ORIGIN_DERIVE, /* secret */
};

/* An hsmpool_key_spec with its defaults filled in and found to be consistent. */
struct hp_new_key {
	CK_KEY_TYPE type;
	CK_OBJECT_CLASS class; /* of the main object: secret, private, or public alone */
	uint32_t bits;         /* 0 where the material decides */
	const struct hp_curve *curve;
	const char *label;
	size_t label_len; /* 0: none */
	uint8_t id[64];
	size_t id_len;
	bool is_id_given;
	uint32_t usage;
	bool is_extractable;
	bool is_always_authenticate;
};

/* USAGE if the parts do not fit together. label stays the spec's. */
hsmpool_status hp_new_key_plan(const hsmpool_key_spec *spec, enum hp_origin origin,
			       struct hp_new_key *out, hsmpool_error *err);

/* Class, type, name, protection and usage of the secret, private and public object. The
 * material (value, modulus bits, point) is added by who makes it. */
void hp_template_secret(struct hp_template *t, const struct hp_new_key *key);
void hp_template_private(struct hp_template *t, const struct hp_new_key *key);
void hp_template_public(struct hp_template *t, const struct hp_new_key *key);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an object of the token is: its names, and its fingerprint.
 *
 * The fingerprint tells, after a loss, whether a handle that a search found names the
 * object that was used before. It is SHA-256 over class, type, id and label, and over
 * what the token shows of the object itself (its material): an RSA modulus, an EC point
 * (a private key shows none on some tokens: the point of the one public key with the
 * same id), a non-empty check value of a secret key, the value of a certificate. Where
 * there is nothing of that kind, class, type, id and label must do: then who searches
 * has to refuse ambiguous ones.
 */
#ifndef HP_P11_FINGERPRINT_H
#define HP_P11_FINGERPRINT_H

#include "p11/session.h"

#define HP_ID_CAP    256
#define HP_LABEL_CAP 256
/* RSA to 16384 bits, points and parameters of every curve there is. */
#define HP_MATERIAL_CAP 2048

#define HP_FINGERPRINT_LEN 32

/* One object. An id or label longer than its field counts as empty. */
struct hp_object {
	CK_OBJECT_HANDLE handle;
	CK_OBJECT_CLASS class;
	CK_KEY_TYPE type;
	bool is_token;
	bool is_private;
	size_t id_len;
	size_t label_len;
	uint8_t id[HP_ID_CAP];
	uint8_t label[HP_LABEL_CAP];
};

/* The attributes that distinguish one object from another of its class and type. */
struct hp_material {
	CK_BBOOL always_authenticate;
	CK_ULONG value_len; /* of a secret key */
	size_t len;         /* modulus, point, check value, digest of a value */
	size_t params_len;
	uint8_t data[HP_MATERIAL_CAP];
	uint8_t params[256];
};

static inline bool hp_object_is_key(const struct hp_object *object)
{
	return object->class == CKO_PRIVATE_KEY || object->class == CKO_PUBLIC_KEY ||
	       object->class == CKO_SECRET_KEY;
}

static inline bool hp_object_is_elliptic(const struct hp_object *object)
{
	return hp_object_is_key(object) &&
	       (object->type == CKK_EC || object->type == CKK_EC_EDWARDS);
}

/* C_GetAttributeValue where attributes that are absent, hidden or too long are not an
 * error: their length becomes 0. */
CK_RV hp_read_attributes(struct hp_session *s, CK_OBJECT_HANDLE object,
			 CK_ATTRIBUTE *template, CK_ULONG count);

/* Class, type, id and label of an object that a search gave. */
CK_RV hp_read_identity(struct hp_session *s, CK_OBJECT_HANDLE handle,
		       struct hp_object *out);

/* The one public key with the non-empty id and the type of own, if there is just one:
 * out->handle says. A key of the token is looked for first. */
CK_RV hp_find_public_half(struct hp_session *s, const struct hp_object *own,
			  struct hp_object *out);

/* public_half: what shows the point of an elliptic key; may be NULL. */
CK_RV hp_read_material(struct hp_session *s, const struct hp_object *object,
		       const struct hp_object *public_half, struct hp_material *m);

/* False: no memory. */
bool hp_take_fingerprint(const struct hp_object *object, const struct hp_material *m,
			 uint8_t fingerprint[static HP_FINGERPRINT_LEN]);

/* All of it, for an object of any class. *has_material: its fingerprint tells it from
 * every other object, not from those of other names only. */
CK_RV hp_read_fingerprint(struct hp_session *s, CK_OBJECT_HANDLE handle,
			  struct hp_object *object,
			  uint8_t fingerprint[static HP_FINGERPRINT_LEN],
			  bool *has_material);

/* Find the object again: what has the same names and the same fingerprint.
 * CK_INVALID_HANDLE if there is none, or not just one. Of *names all but the handle
 * counts. */
CK_RV hp_find_by_fingerprint(struct hp_session *s, const struct hp_object *names,
			     const uint8_t fingerprint[static HP_FINGERPRINT_LEN],
			     CK_OBJECT_HANDLE *found);

#endif

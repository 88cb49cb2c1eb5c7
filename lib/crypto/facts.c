/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of a key object, and its fingerprint.
 *
 * The fingerprint tells, after a loss, whether a handle that the selector found names
 * the key that was used before. It is SHA-256 over class, type, id and label, and over
 * what the token shows of the key itself: an RSA modulus, an EC point (a private key
 * shows none on some tokens: the point of the one public key with the same id), a
 * non-empty check value of a secret key. Where there is nothing of that kind, class,
 * type, id and label must do; the search refuses ambiguous ones.
 */
#include "crypto/object.h"

#include <string.h>
#include <openssl/evp.h>
#include "base/memory.h"
#include "crypto/curve.h"

/* RSA to 16384 bits, points and parameters of every curve there is. */
#define MATERIAL_CAP 2048

/* The attributes that distinguish one key from another of its class and type. */
struct material {
	CK_BBOOL always_authenticate;
	CK_ULONG value_len; /* of a secret key */
	size_t len;         /* modulus, point or check value */
	size_t params_len;
	uint8_t data[MATERIAL_CAP];
	uint8_t params[256];
};

CK_RV hp_read_attributes(struct hp_session *s, CK_OBJECT_HANDLE object,
			 CK_ATTRIBUTE *template, CK_ULONG count)
{
	CK_RV rv = hp_get_attributes(s, object, template, count);

	if (rv != CKR_OK && hp_rv_class(NULL, rv) != HP_RV_FLOW)
		return rv;
	for (CK_ULONG i = 0; i < count; i++)
		if (template[i].ulValueLen == CK_UNAVAILABLE_INFORMATION)
			template[i].ulValueLen = 0;
	return CKR_OK;
}

static bool is_elliptic(CK_KEY_TYPE type)
{
	return type == CKK_EC || type == CKK_EC_EDWARDS;
}

static CK_RV read_secret(struct hp_session *s, CK_OBJECT_HANDLE object,
			 struct material *m)
{
	CK_ATTRIBUTE template[] = {
		{ CKA_VALUE_LEN, &m->value_len, sizeof(m->value_len) },
		{ CKA_CHECK_VALUE, m->data, sizeof(m->data) },
	};
	CK_RV rv = hp_read_attributes(s, object, template, HP_ARRAY_LEN(template));

	m->len = template[1].ulValueLen;
	if (template[0].ulValueLen != sizeof(m->value_len))
		m->value_len = 0;
	return rv;
}

static CK_RV read_rsa(struct hp_session *s, const struct hp_object *object,
		      struct material *m)
{
	CK_ATTRIBUTE template[] = {
		{ CKA_MODULUS, m->data, sizeof(m->data) },
		{ CKA_ALWAYS_AUTHENTICATE, &m->always_authenticate,
		  sizeof(m->always_authenticate) },
	};
	CK_ULONG count = object->class == CKO_PRIVATE_KEY ? 2 : 1;
	CK_RV rv = hp_read_attributes(s, object->handle, template, count);

	m->len = template[0].ulValueLen;
	return rv;
}

static CK_RV read_elliptic(struct hp_session *s, const struct hp_object *object,
			   const struct hp_object *public_half, struct material *m)
{
	CK_ATTRIBUTE params[] = {
		{ CKA_EC_PARAMS, m->params, sizeof(m->params) },
		{ CKA_ALWAYS_AUTHENTICATE, &m->always_authenticate,
		  sizeof(m->always_authenticate) },
	};
	CK_ATTRIBUTE point = { CKA_EC_POINT, m->data, sizeof(m->data) };
	CK_ULONG count = object->class == CKO_PRIVATE_KEY ? 2 : 1;

	CK_RV rv = hp_read_attributes(s, object->handle, params, count);
	if (rv != CKR_OK)
		return rv;
	m->params_len = params[0].ulValueLen;
	if (!public_half || public_half->handle == CK_INVALID_HANDLE)
		return CKR_OK;
	rv = hp_read_attributes(s, public_half->handle, &point, 1);
	m->len = point.ulValueLen;
	return rv;
}

static uint32_t bits_of_modulus(const uint8_t *modulus, size_t len)
{
	while (len > 0 && *modulus == 0) {
		modulus++;
		len--;
	}
	if (len == 0)
		return 0;
	return (uint32_t)(8 * len) - (uint32_t)(__builtin_clz(*modulus) - 24);
}

static uint32_t bits_of(const struct hp_object *object, const struct material *m)
{
	if (object->class == CKO_SECRET_KEY)
		return (uint32_t)(8 * m->value_len);
	if (object->type == CKK_RSA)
		return bits_of_modulus(m->data, m->len);
	const struct hp_curve *curve = hp_curve_by_params(m->params, m->params_len);
	return curve ? curve->bits : 0;
}

static void put_number(EVP_MD_CTX *hash, uint64_t value)
{
	uint8_t bytes[8];

	hp_put_be64(bytes, value);
	EVP_DigestUpdate(hash, bytes, sizeof(bytes));
}

static void put_bytes(EVP_MD_CTX *hash, const void *data, size_t len)
{
	put_number(hash, len);
	EVP_DigestUpdate(hash, data, len);
}

static bool take_fingerprint(const struct hp_object *object, const struct material *m,
			     uint8_t *fingerprint)
{
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	bool ok = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1;

	if (ok) {
		put_number(hash, object->class);
		put_number(hash, object->type);
		put_bytes(hash, object->id, object->id_len);
		put_bytes(hash, object->label, object->label_len);
		put_bytes(hash, m->data, m->len);
		ok = EVP_DigestFinal_ex(hash, fingerprint, NULL) == 1;
	}
	EVP_MD_CTX_free(hash);
	return ok;
}

static CK_RV read_material(struct hp_session *s, const struct hp_object *object,
			   const struct hp_object *public_half, struct material *m)
{
	if (object->class == CKO_SECRET_KEY)
		return read_secret(s, object->handle, m);
	if (object->type == CKK_RSA)
		return read_rsa(s, object, m);
	if (is_elliptic(object->type))
		return read_elliptic(s, object, public_half, m);
	return CKR_OK;
}

CK_RV hp_read_facts(struct hp_session *s, const struct hp_object *object,
		    const struct hp_object *public_half, struct hp_key_facts *facts)
{
	struct material m = { 0 };
	struct hp_object searched = { 0 };
	CK_RV rv = CKR_OK;

	if (object->class == CKO_PUBLIC_KEY)
		public_half = object;
	else if (public_half && public_half->handle == CK_INVALID_HANDLE &&
		 is_elliptic(object->type)) {
		rv = hp_find_public_half(s, object, &searched);
		public_half = &searched;
	}
	if (rv == CKR_OK)
		rv = read_material(s, object, public_half, &m);
	if (rv != CKR_OK)
		return rv;
	*facts = (struct hp_key_facts){
		.class = object->class,
		.type = object->type,
		.bits = bits_of(object, &m),
		.always_authenticate = m.always_authenticate == CK_TRUE,
		.is_token_object = true,
	};
	return take_fingerprint(object, &m, facts->fingerprint) ? CKR_OK
								: CKR_HOST_MEMORY;
}

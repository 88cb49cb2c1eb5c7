/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what an object is, and finding it again by that.
 *
 * Nothing is cached here. Searches run to their end, so they leave nothing active.
 */
#include "p11/fingerprint.h"

#include <stdlib.h>
#include <string.h>
#include <openssl/evp.h>
#include "base/memory.h"
#include "p11/rv.h"

/* More hits than this are not read to tell objects apart: they have no names. */
#define HITS_CAP 64
/* A certificate or data object that is larger is told by its names. */
#define VALUE_CAP (1ul << 20)

/* --- names ---------------------------------------------------------------------- */

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

/* What every key has. The class comes first: modules that stop at the first missing
 * attribute (certificates have no key type) have told it by then. */
CK_RV hp_read_identity(struct hp_session *s, CK_OBJECT_HANDLE handle,
		       struct hp_object *out)
{
	CK_BBOOL is_token = CK_FALSE;
	CK_BBOOL is_private = CK_FALSE;
	memset(out, 0, sizeof(*out));
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &out->class, sizeof(out->class) },
		{ CKA_TOKEN, &is_token, sizeof(is_token) },
		{ CKA_PRIVATE, &is_private, sizeof(is_private) },
		{ CKA_LABEL, out->label, sizeof(out->label) },
		{ CKA_ID, out->id, sizeof(out->id) },
		{ CKA_KEY_TYPE, &out->type, sizeof(out->type) },
	};
	CK_RV rv = hp_read_attributes(s, handle, template, HP_ARRAY_LEN(template));
	if (rv != CKR_OK)
		return rv;
	if (template[0].ulValueLen != sizeof(out->class))
		out->class = CKO_DATA; /* an object that does not say is not a key */
	out->handle = handle;
	out->is_token = template[1].ulValueLen == sizeof(is_token) && is_token;
	out->is_private = template[2].ulValueLen == sizeof(is_private) && is_private;
	out->label_len = template[3].ulValueLen;
	out->id_len = template[4].ulValueLen;
	return CKR_OK;
}

static CK_RV find_public_among(struct hp_session *s, const struct hp_object *own,
			       CK_BBOOL is_token, struct hp_object *out)
{
	CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
	CK_ATTRIBUTE template[] = {
		{ CKA_TOKEN, &is_token, sizeof(is_token) },
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_ID, (void *)own->id, own->id_len },
	};
	CK_OBJECT_HANDLE handle;
	CK_ULONG len;

	memset(out, 0, sizeof(*out));
	CK_RV rv = hp_find_objects(s, template, HP_ARRAY_LEN(template), &handle, 1, &len);
	if (rv != CKR_OK || len != 1)
		return rv;
	rv = hp_read_identity(s, handle, out);
	if (rv != CKR_OK || out->type != own->type)
		memset(out, 0, sizeof(*out));
	return rv == CKR_OBJECT_HANDLE_INVALID ? CKR_OK : rv; /* it vanished */
}

CK_RV hp_find_public_half(struct hp_session *s, const struct hp_object *own,
			  struct hp_object *out)
{
	memset(out, 0, sizeof(*out));
	if (own->id_len == 0)
		return CKR_OK;
	CK_RV rv = find_public_among(s, own, CK_TRUE, out);
	if (rv == CKR_OK && out->handle == CK_INVALID_HANDLE && !own->is_token)
		rv = find_public_among(s, own, CK_FALSE, out);
	return rv;
}

/* --- material ------------------------------------------------------------------- */

static CK_RV read_secret(struct hp_session *s, CK_OBJECT_HANDLE object,
			 struct hp_material *m)
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
		      struct hp_material *m)
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
			   const struct hp_object *public_half, struct hp_material *m)
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

/* The digest of what a certificate or data object holds, which may be long. */
static CK_RV read_value(struct hp_session *s, CK_OBJECT_HANDLE object,
			struct hp_material *m)
{
	unsigned len = 0;
	CK_ATTRIBUTE value = { CKA_VALUE, NULL, 0 };
	CK_RV rv = hp_read_attributes(s, object, &value, 1);

	if (rv != CKR_OK || value.ulValueLen == 0 || value.ulValueLen > VALUE_CAP)
		return rv;
	HP_AUTO_FREE uint8_t *bytes = malloc(value.ulValueLen);
	if (!bytes)
		return CKR_HOST_MEMORY;
	value.pValue = bytes;
	rv = hp_read_attributes(s, object, &value, 1);
	if (rv != CKR_OK || value.ulValueLen == 0)
		return rv;
	if (EVP_Digest(bytes, value.ulValueLen, m->data, &len, EVP_sha256(), NULL) != 1)
		return CKR_HOST_MEMORY;
	m->len = len;
	return CKR_OK;
}

CK_RV hp_read_material(struct hp_session *s, const struct hp_object *object,
		       const struct hp_object *public_half, struct hp_material *m)
{
	if (!hp_object_is_key(object))
		return read_value(s, object->handle, m);
	if (object->class == CKO_SECRET_KEY)
		return read_secret(s, object->handle, m);
	if (object->type == CKK_RSA)
		return read_rsa(s, object, m);
	if (hp_object_is_elliptic(object))
		return read_elliptic(s, object, public_half, m);
	return CKR_OK;
}

/* --- the fingerprint ------------------------------------------------------------ */

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

bool hp_take_fingerprint(const struct hp_object *object, const struct hp_material *m,
			 uint8_t fingerprint[static HP_FINGERPRINT_LEN])
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

/* object->handle and the names are there. */
static CK_RV read_rest(struct hp_session *s, const struct hp_object *object,
		       uint8_t fingerprint[static HP_FINGERPRINT_LEN], bool *has_material)
{
	struct hp_material m = { 0 };
	struct hp_object searched = { 0 };
	const struct hp_object *shows_point = object;
	CK_RV rv = CKR_OK;

	if (hp_object_is_elliptic(object) && object->class == CKO_PRIVATE_KEY) {
		rv = hp_find_public_half(s, object, &searched);
		shows_point = &searched;
	}
	if (rv == CKR_OK)
		rv = hp_read_material(s, object, shows_point, &m);
	if (rv != CKR_OK)
		return rv;
	*has_material = m.len > 0;
	return hp_take_fingerprint(object, &m, fingerprint) ? CKR_OK : CKR_HOST_MEMORY;
}

CK_RV hp_read_fingerprint(struct hp_session *s, CK_OBJECT_HANDLE handle,
			  struct hp_object *object,
			  uint8_t fingerprint[static HP_FINGERPRINT_LEN],
			  bool *has_material)
{
	CK_RV rv = hp_read_identity(s, handle, object);
	return rv == CKR_OK ? read_rest(s, object, fingerprint, has_material) : rv;
}

/* --- finding it again ----------------------------------------------------------- */

static CK_ULONG template_of(const struct hp_object *names, CK_BBOOL *is_token,
			    CK_ATTRIBUTE template[static 4])
{
	CK_ULONG count = 0;

	*is_token = names->is_token ? CK_TRUE : CK_FALSE;
	template[count++] = (CK_ATTRIBUTE){ CKA_TOKEN, is_token, sizeof(*is_token) };
	template[count++] =
		(CK_ATTRIBUTE){ CKA_CLASS, (void *)&names->class, sizeof(names->class) };
	if (names->label_len > 0)
		template[count++] = (CK_ATTRIBUTE){ CKA_LABEL, (void *)names->label,
						    names->label_len };
	if (names->id_len > 0)
		template[count++] =
			(CK_ATTRIBUTE){ CKA_ID, (void *)names->id, names->id_len };
	return count;
}

static CK_RV is_same(struct hp_session *s, CK_OBJECT_HANDLE hit,
		     const struct hp_object *names,
		     const uint8_t fingerprint[static HP_FINGERPRINT_LEN], bool *same)
{
	struct hp_object object;
	uint8_t of_hit[HP_FINGERPRINT_LEN];
	bool has_material;

	*same = false;
	CK_RV rv = hp_read_fingerprint(s, hit, &object, of_hit, &has_material);
	if (rv == CKR_OBJECT_HANDLE_INVALID)
		return CKR_OK; /* it vanished since the search */
	*same = rv == CKR_OK && object.is_private == names->is_private &&
		memcmp(of_hit, fingerprint, sizeof(of_hit)) == 0;
	return rv;
}

CK_RV hp_find_by_fingerprint(struct hp_session *s, const struct hp_object *names,
			     const uint8_t fingerprint[static HP_FINGERPRINT_LEN],
			     CK_OBJECT_HANDLE *found)
{
	CK_OBJECT_HANDLE hits[HITS_CAP];
	CK_ATTRIBUTE template[4];
	CK_BBOOL is_token;
	CK_ULONG len = 0;
	CK_ULONG matches = 0;

	*found = CK_INVALID_HANDLE;
	CK_ULONG count = template_of(names, &is_token, template);
	CK_RV rv = hp_find_objects(s, template, count, hits, HITS_CAP, &len);
	if (rv != CKR_OK || len > HITS_CAP)
		return rv;
	for (CK_ULONG i = 0; i < len; i++) {
		bool same;
		rv = is_same(s, hits[i], names, fingerprint, &same);
		if (rv != CKR_OK)
			return rv;
		matches += same;
		if (same)
			*found = hits[i];
	}
	if (matches != 1)
		*found = CK_INVALID_HANDLE;
	return CKR_OK;
}

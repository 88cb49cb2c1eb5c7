/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The own backend's keys: made, wrapped, unwrapped, derived; and random bytes.
 *
 * Key material is random bytes of the right length; the two halves of a pair share
 * their modulus or point. A made EC point does not lie on its curve.
 */
#include "operation.h"

#include <string.h>
#include <sys/random.h>

#define MAX_MERGED 64

struct merged {
	CK_ATTRIBUTE list[MAX_MERGED];
	CK_ULONG count;
};

/* The attributes that are ours first, then the caller's that do not clash. */
static CK_RV merge(struct merged *to, const CK_ATTRIBUTE *template, CK_ULONG count)
{
	for (CK_ULONG i = 0; i < count; i++) {
		const CK_ATTRIBUTE *ours =
			mock_template_find(to->list, to->count, template[i].type);
		if (ours == NULL) {
			if (to->count == MAX_MERGED)
				return CKR_HOST_MEMORY;
			to->list[to->count++] = template[i];
		} else if (ours->ulValueLen != template[i].ulValueLen ||
			   memcmp(ours->pValue, template[i].pValue, ours->ulValueLen) !=
				   0) {
			return CKR_TEMPLATE_INCONSISTENT;
		}
	}
	return CKR_OK;
}

static void add(struct merged *to, CK_ATTRIBUTE_TYPE type, void *data, CK_ULONG len)
{
	to->list[to->count++] = (CK_ATTRIBUTE){ type, data, len };
}

static CK_ULONG number_in(const CK_ATTRIBUTE *template, CK_ULONG count,
			  CK_ATTRIBUTE_TYPE type)
{
	const CK_ATTRIBUTE *a = mock_template_find(template, count, type);

	return a != NULL && a->ulValueLen == sizeof(CK_ULONG) && a->pValue != NULL
		       ? *(CK_ULONG *)a->pValue
		       : 0;
}

static CK_RV check_templates(const CK_ATTRIBUTE *template, CK_ULONG count)
{
	if (template == NULL && count != 0)
		return CKR_ARGUMENTS_BAD;
	for (CK_ULONG i = 0; i < count; i++)
		if (template[i].pValue == NULL && template[i].ulValueLen != 0)
			return CKR_ATTRIBUTE_VALUE_INVALID;
	return CKR_OK;
}

/* Add the object that merged describes to the session's token. */
static CK_RV create(CK_SESSION_HANDLE session, const struct merged *merged,
		    CK_OBJECT_HANDLE *handle)
{
	struct mock_object *object;
	CK_RV rv = CKR_SESSION_HANDLE_INVALID;
	CK_OBJECT_CLASS class = number_in(merged->list, merged->count, CKA_CLASS);

	mock_lock();
	struct mock_session *s = mock_session_find(session);
	if (s != NULL)
		rv = mock_template_allowed(s, merged->list, merged->count,
					   class != CKO_PUBLIC_KEY);
	if (rv == CKR_OK)
		rv = mock_object_add(s, merged->list, merged->count, &object);
	if (rv == CKR_OK)
		*handle = atomic_load(&object->handle);
	mock_unlock();
	return rv;
}

static void add_origin(struct merged *merged, const CK_ATTRIBUTE *template,
		       CK_ULONG count, CK_BBOOL flags[3])
{
	flags[0] = CK_TRUE;
	flags[1] = mock_template_bool(template, count, CKA_SENSITIVE, true);
	flags[2] = !mock_template_bool(template, count, CKA_EXTRACTABLE, false);
	add(merged, CKA_LOCAL, &flags[0], 1);
	add(merged, CKA_ALWAYS_SENSITIVE, &flags[1], 1);
	add(merged, CKA_NEVER_EXTRACTABLE, &flags[2], 1);
}

/* The object has a copy: what is left here goes. */
static CK_RV create_of_value(CK_SESSION_HANDLE session, struct merged *merged,
			     uint8_t *value, CK_ULONG len, const CK_ATTRIBUTE *template,
			     CK_ULONG count, CK_OBJECT_HANDLE *key)
{
	add(merged, CKA_VALUE, value, len);
	CK_RV rv = merge(merged, template, count);
	if (rv == CKR_OK)
		rv = create(session, merged, key);
	explicit_bzero(value, len);
	return rv;
}

CK_RV own_C_GenerateKey(CK_SESSION_HANDLE session, CK_MECHANISM_PTR m,
			CK_ATTRIBUTE_PTR template, CK_ULONG count,
			CK_OBJECT_HANDLE_PTR key)
{
	struct merged merged = { .count = 0 };
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_BBOOL origin[3];
	uint8_t value[512];
	CK_RV rv = check_templates(template, count);

	if (rv != CKR_OK || m == NULL || key == NULL)
		return rv != CKR_OK ? rv : CKR_ARGUMENTS_BAD;
	const struct mock_mechanism *mechanism = mock_mechanism_find(m->mechanism);
	if (mechanism == NULL || !(mechanism->flags & CKF_GENERATE))
		return CKR_MECHANISM_INVALID;
	CK_ULONG len = number_in(template, count, CKA_VALUE_LEN);
	if (len == 0)
		return CKR_TEMPLATE_INCOMPLETE;
	if (len < mechanism->min || len > mechanism->max ||
	    (mechanism->key_type == CKK_AES && len % 8 != 0))
		return CKR_KEY_SIZE_RANGE;
	CK_KEY_TYPE type = mechanism->key_type;
	const CK_ATTRIBUTE *asked = mock_template_find(template, count, CKA_KEY_TYPE);
	if (type == CKK_GENERIC_SECRET && asked != NULL &&
	    asked->ulValueLen == sizeof(type))
		memcpy(&type, asked->pValue, sizeof(type)); /* CKK_SHA256_HMAC ... */
	if (getrandom(value, len, 0) != (ssize_t)len)
		return CKR_DEVICE_ERROR;
	add(&merged, CKA_CLASS, &class, sizeof(class));
	add(&merged, CKA_KEY_TYPE, &type, sizeof(type));
	add_origin(&merged, template, count, origin);
	return create_of_value(session, &merged, value, len, template, count, key);
}

/* Modulus or point, with what belongs to it. */
struct pair_material {
	uint8_t bytes[520];
	uint8_t exponent[3];
	CK_ULONG len;
};

static CK_RV make_rsa(struct pair_material *material, const CK_ATTRIBUTE *template,
		      CK_ULONG count)
{
	CK_ULONG bits = number_in(template, count, CKA_MODULUS_BITS);

	if (bits == 0)
		return CKR_TEMPLATE_INCOMPLETE;
	if (bits < 1024 || bits > 4096 || bits % 8 != 0)
		return CKR_KEY_SIZE_RANGE;
	material->len = bits / 8;
	if (getrandom(material->bytes, material->len, 0) != (ssize_t)material->len)
		return CKR_DEVICE_ERROR;
	material->bytes[0] |= 0x80;
	material->bytes[material->len - 1] |= 1;
	memcpy(material->exponent, "\1\0\1", 3);
	return CKR_OK;
}

static CK_RV make_point(struct pair_material *material, const struct mock_mechanism *m,
			const CK_ATTRIBUTE *template, CK_ULONG count)
{
	const CK_ATTRIBUTE *params = mock_template_find(template, count, CKA_EC_PARAMS);
	uint8_t *at = material->bytes;

	if (params == NULL || params->ulValueLen < 2)
		return CKR_TEMPLATE_INCOMPLETE;
	uint8_t last = ((const uint8_t *)params->pValue)[params->ulValueLen - 1];
	CK_ULONG point = m->type != CKM_EC_KEY_PAIR_GEN ? 32
			 : params->ulValueLen != 7      ? 65
			 : last == 0x22                 ? 97
							: 133;
	*at++ = 0x04;
	if (point > 127)
		*at++ = 0x81;
	*at++ = (uint8_t)point;
	if (getrandom(at, point, 0) != (ssize_t)point)
		return CKR_DEVICE_ERROR;
	if (point != 32)
		*at = 0x04;
	material->len = (CK_ULONG)(at - material->bytes) + point;
	return CKR_OK;
}

static void add_material(struct merged *merged, struct pair_material *material,
			 bool is_rsa, const CK_ATTRIBUTE *params)
{
	if (is_rsa) {
		add(merged, CKA_MODULUS, material->bytes, material->len);
		add(merged, CKA_PUBLIC_EXPONENT, material->exponent, 3);
		return;
	}
	add(merged, CKA_EC_POINT, material->bytes, material->len);
	add(merged, CKA_EC_PARAMS, params->pValue, params->ulValueLen);
}

CK_RV own_C_GenerateKeyPair(CK_SESSION_HANDLE session, CK_MECHANISM_PTR m,
			    CK_ATTRIBUTE_PTR public_template, CK_ULONG public_count,
			    CK_ATTRIBUTE_PTR private_template, CK_ULONG private_count,
			    CK_OBJECT_HANDLE_PTR public_key,
			    CK_OBJECT_HANDLE_PTR private_key)
{
	struct merged open = { .count = 0 }, secret = { .count = 0 };
	struct pair_material material = { .len = 0 };
	CK_OBJECT_CLASS public_class = CKO_PUBLIC_KEY, private_class = CKO_PRIVATE_KEY;
	CK_BBOOL origin[3], yes = CK_TRUE;
	CK_RV rv = check_templates(public_template, public_count);

	if (rv == CKR_OK)
		rv = check_templates(private_template, private_count);
	if (rv != CKR_OK || m == NULL || public_key == NULL || private_key == NULL)
		return rv != CKR_OK ? rv : CKR_ARGUMENTS_BAD;
	const struct mock_mechanism *mechanism = mock_mechanism_find(m->mechanism);
	if (mechanism == NULL || !(mechanism->flags & CKF_GENERATE_KEY_PAIR))
		return CKR_MECHANISM_INVALID;
	CK_KEY_TYPE type = mechanism->key_type;
	bool is_rsa = type == CKK_RSA;
	rv = is_rsa ? make_rsa(&material, public_template, public_count)
		    : make_point(&material, mechanism, public_template, public_count);
	if (rv != CKR_OK)
		return rv;
	const CK_ATTRIBUTE *params =
		mock_template_find(public_template, public_count, CKA_EC_PARAMS);
	add(&open, CKA_CLASS, &public_class, sizeof(public_class));
	add(&open, CKA_KEY_TYPE, &type, sizeof(type));
	add(&open, CKA_LOCAL, &yes, 1);
	add_material(&open, &material, is_rsa, params);
	add(&secret, CKA_CLASS, &private_class, sizeof(private_class));
	add(&secret, CKA_KEY_TYPE, &type, sizeof(type));
	add_origin(&secret, private_template, private_count, origin);
	add_material(&secret, &material, is_rsa, params);
	rv = merge(&open, public_template, public_count);
	if (rv == CKR_OK)
		rv = merge(&secret, private_template, private_count);
	if (rv == CKR_OK)
		rv = create(session, &secret, private_key);
	if (rv != CKR_OK)
		return rv;
	rv = create(session, &open, public_key);
	if (rv != CKR_OK)
		own_C_DestroyObject(session, *private_key);
	return rv;
}

/* --- wrap, unwrap, derive ---------------------------------------------------- */

/* A throwaway operation of the mechanism with this key. */
static CK_RV prepare(struct mock_op *op, const CK_MECHANISM *m, CK_FLAGS flag,
		     uint32_t trait, CK_OBJECT_HANDLE handle, CK_RV invalid)
{
	CK_RV rv;

	memset(op, 0, sizeof(*op));
	op->mechanism = mock_mechanism_find(m->mechanism);
	if (op->mechanism == NULL || !(op->mechanism->flags & flag))
		return CKR_MECHANISM_INVALID;
	struct mock_object *key = mock_object_find(handle, invalid, &rv);
	if (key == NULL)
		return rv;
	if (!mock_key_fits(op->mechanism, key, flag == CKF_WRAP))
		return flag == CKF_WRAP     ? CKR_WRAPPING_KEY_TYPE_INCONSISTENT
		       : flag == CKF_UNWRAP ? CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT
					    : CKR_KEY_TYPE_INCONSISTENT;
	if (!(atomic_load(&key->traits) & trait))
		return CKR_KEY_FUNCTION_NOT_PERMITTED;
	op->key = atomic_load(&key->seed);
	op->key_bytes = atomic_load(&key->bytes);
	toy_hash_begin(&op->hash, op->key);
	return mock_op_absorb(op, m);
}

CK_RV own_C_WrapKey(CK_SESSION_HANDLE session, CK_MECHANISM_PTR m,
		    CK_OBJECT_HANDLE wrapping_key, CK_OBJECT_HANDLE handle,
		    CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	struct mock_op op;
	bool is_done;

	(void)session;
	if (m == NULL || out_len == NULL)
		return CKR_ARGUMENTS_BAD;
	CK_RV rv = prepare(&op, m, CKF_WRAP, MOCK_TRAIT_WRAP, wrapping_key,
			   CKR_WRAPPING_KEY_HANDLE_INVALID);
	if (rv != CKR_OK)
		return rv;
	mock_lock();
	struct mock_object *key = mock_object_find(handle, CKR_KEY_HANDLE_INVALID, &rv);
	if (key != NULL) {
		const struct mock_attribute *value = mock_attribute_find(key, CKA_VALUE);
		if (!(atomic_load(&key->traits) & MOCK_TRAIT_EXTRACTABLE))
			rv = CKR_KEY_UNEXTRACTABLE;
		else if (value == NULL)
			rv = CKR_KEY_NOT_WRAPPABLE;
		else
			rv = mock_encrypt(&op, value->data, value->len, out, out_len,
					  &is_done);
	}
	mock_unlock();
	return rv == CKR_DATA_LEN_RANGE ? CKR_KEY_SIZE_RANGE : rv;
}

static CK_RV unwrapped_rv(CK_RV rv)
{
	return rv == CKR_ENCRYPTED_DATA_INVALID     ? CKR_WRAPPED_KEY_INVALID
	       : rv == CKR_ENCRYPTED_DATA_LEN_RANGE ? CKR_WRAPPED_KEY_LEN_RANGE
						    : rv;
}

CK_RV own_C_UnwrapKey(CK_SESSION_HANDLE session, CK_MECHANISM_PTR m,
		      CK_OBJECT_HANDLE unwrapping_key, CK_BYTE_PTR in, CK_ULONG in_len,
		      CK_ATTRIBUTE_PTR template, CK_ULONG count, CK_OBJECT_HANDLE_PTR key)
{
	struct merged merged = { .count = 0 };
	struct mock_op op;
	uint8_t value[4096];
	CK_ULONG len = sizeof(value);
	bool is_done;

	if (m == NULL || in == NULL || key == NULL || in_len > sizeof(value) - 32)
		return CKR_ARGUMENTS_BAD;
	CK_RV rv = check_templates(template, count);
	if (rv != CKR_OK)
		return rv;
	if (number_in(template, count, CKA_CLASS) == 0 ||
	    mock_template_find(template, count, CKA_KEY_TYPE) == NULL)
		return CKR_TEMPLATE_INCOMPLETE;
	rv = prepare(&op, m, CKF_UNWRAP, MOCK_TRAIT_UNWRAP, unwrapping_key,
		     CKR_UNWRAPPING_KEY_HANDLE_INVALID);
	if (rv == CKR_OK)
		rv = mock_decrypt(&op, in, in_len, value, &len, &is_done);
	if (rv != CKR_OK) {
		explicit_bzero(value, sizeof(value));
		return unwrapped_rv(rv);
	}
	return create_of_value(session, &merged, value, len, template, count, key);
}

static uint64_t seed_of_peer(const CK_ECDH1_DERIVE_PARAMS *p)
{
	const uint8_t *point = p->pPublicData;
	CK_ULONG len = p->ulPublicDataLen;

	if (len > 2 && point[0] == 0x04 && point[1] == len - 2)
		return toy_hash_of(1, point + 2, len - 2);
	if (len > 3 && point[0] == 0x04 && point[1] == 0x81 && point[2] == len - 3)
		return toy_hash_of(1, point + 3, len - 3);
	return toy_hash_of(1, point, len);
}

/* SP 800-108 in counter mode: PKCS#11 3.0 has it, the header does not. */
struct kdf_params {
	CK_ULONG prf, data_count;
	const struct {
		CK_ULONG type;
		const void *value;
		CK_ULONG len;
	} * data;
	CK_ULONG key_count;
	const struct {
		CK_ATTRIBUTE *template;
		CK_ULONG count;
		CK_OBJECT_HANDLE *handle;
	} * keys;
};
#define KDF_KEY_HANDLE 5

/* What the data parameters stand for: of a key, its value. */
static CK_RV seed_of_data(const struct kdf_params *p, uint64_t *seed)
{
	CK_RV rv = CKR_OK;

	for (CK_ULONG i = 0; i < p->data_count; i++) {
		if (p->data[i].type != KDF_KEY_HANDLE) {
			*seed = toy_hash_of(*seed, p->data[i].value, p->data[i].len);
			continue;
		}
		CK_OBJECT_HANDLE handle = *(const CK_OBJECT_HANDLE *)p->data[i].value;
		mock_lock();
		struct mock_object *key =
			mock_object_find(handle, CKR_KEY_HANDLE_INVALID, &rv);
		*seed = key ? *seed + 3 * atomic_load(&key->seed) : 0;
		mock_unlock();
		if (rv != CKR_OK)
			return rv;
	}
	return CKR_OK;
}

static CK_RV create_derived(CK_SESSION_HANDLE session, uint64_t seed,
			    const CK_ATTRIBUTE *template, CK_ULONG count,
			    CK_OBJECT_HANDLE *key)
{
	struct merged merged = { .count = 0 };
	uint8_t value[132];
	CK_ULONG len = number_in(template, count, CKA_VALUE_LEN);
	CK_RV rv = check_templates(template, count);

	if (rv != CKR_OK || key == NULL)
		return rv != CKR_OK ? rv : CKR_ARGUMENTS_BAD;
	if (len == 0 || len > sizeof(value))
		return CKR_TEMPLATE_INCOMPLETE;
	toy_expand(seed, value, len);
	return create_of_value(session, &merged, value, len, template, count, key);
}

static CK_RV derive_by_kdf(CK_SESSION_HANDLE session, const CK_MECHANISM *m,
			   CK_OBJECT_HANDLE base, const CK_ATTRIBUTE *template,
			   CK_ULONG count, CK_OBJECT_HANDLE *key)
{
	const struct kdf_params *p = m->pParameter;
	struct mock_op op;
	CK_RV rv = prepare(&op, m, CKF_DERIVE, MOCK_TRAIT_DERIVE, base,
			   CKR_KEY_HANDLE_INVALID);

	if (rv == CKR_OK && (p == NULL || m->ulParameterLen != sizeof(*p)))
		rv = CKR_MECHANISM_PARAM_INVALID;
	if (rv != CKR_OK)
		return rv;
	uint64_t seed = op.key;
	rv = seed_of_data(p, &seed);
	if (rv == CKR_OK)
		rv = create_derived(session, seed, template, count, key);
	for (CK_ULONG i = 0; rv == CKR_OK && i < p->key_count; i++)
		rv = create_derived(session, seed + 1 + i, p->keys[i].template,
				    p->keys[i].count, p->keys[i].handle);
	return rv;
}

CK_RV own_C_DeriveKey(CK_SESSION_HANDLE session, CK_MECHANISM_PTR m,
		      CK_OBJECT_HANDLE base, CK_ATTRIBUTE_PTR template, CK_ULONG count,
		      CK_OBJECT_HANDLE_PTR key)
{
	struct merged merged = { .count = 0 };
	struct mock_op op;
	uint8_t value[132];
	CK_RV rv = check_templates(template, count);

	if (rv != CKR_OK || m == NULL || key == NULL)
		return rv != CKR_OK ? rv : CKR_ARGUMENTS_BAD;
	if (m->mechanism == MOCK_COUNTER_KDF)
		return derive_by_kdf(session, m, base, template, count, key);
	const CK_ECDH1_DERIVE_PARAMS *p = m->pParameter;
	rv = prepare(&op, m, CKF_DERIVE, MOCK_TRAIT_DERIVE, base, CKR_KEY_HANDLE_INVALID);
	if (rv != CKR_OK)
		return rv;
	if (p == NULL || m->ulParameterLen != sizeof(*p) || p->pPublicData == NULL ||
	    p->kdf != CKD_NULL)
		return CKR_MECHANISM_PARAM_INVALID;
	CK_ULONG len = number_in(template, count, CKA_VALUE_LEN);
	if (len == 0)
		len = op.key_bytes / 2;
	if (len > op.key_bytes / 2 || len > sizeof(value))
		return CKR_KEY_SIZE_RANGE;
	toy_expand(op.key + seed_of_peer(p), value, len);
	return create_of_value(session, &merged, value, len, template, count, key);
}

/* --- random ------------------------------------------------------------------ */

CK_RV own_C_SeedRandom(CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG len)
{
	(void)session;
	return in == NULL && len != 0 ? CKR_ARGUMENTS_BAD : CKR_OK;
}

CK_RV own_C_GenerateRandom(CK_SESSION_HANDLE session, CK_BYTE_PTR out, CK_ULONG len)
{
	(void)session;
	if (out == NULL)
		return CKR_ARGUMENTS_BAD;
	for (CK_ULONG done = 0; done < len;) {
		CK_ULONG piece = len - done < 256 ? len - done : 256;
		if (getrandom(out + done, piece, 0) != (ssize_t)piece)
			return CKR_DEVICE_ERROR;
		done += piece;
	}
	return CKR_OK;
}

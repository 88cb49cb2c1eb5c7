/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of a key object: its facts, the fingerprint (p11/fingerprint.h) among
 * them, read once at its first use.
 */
#include "crypto/object.h"

#include "crypto/curve.h"

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

static uint32_t bits_of(const struct hp_object *object, const struct hp_material *m)
{
	if (object->class == CKO_SECRET_KEY)
		return (uint32_t)(8 * m->value_len);
	if (object->type == CKK_RSA)
		return bits_of_modulus(m->data, m->len);
	const struct hp_curve *curve = hp_curve_by_params(m->params, m->params_len);
	return curve ? curve->bits : 0;
}

CK_RV hp_read_facts(struct hp_session *s, const struct hp_object *object,
		    const struct hp_object *public_half, struct hp_key_facts *facts)
{
	struct hp_material m = { 0 };
	struct hp_object searched = { 0 };
	CK_RV rv = CKR_OK;

	if (object->class == CKO_PUBLIC_KEY)
		public_half = object;
	else if (public_half && public_half->handle == CK_INVALID_HANDLE &&
		 hp_object_is_elliptic(object)) {
		rv = hp_find_public_half(s, object, &searched);
		public_half = &searched;
	}
	if (rv == CKR_OK)
		rv = hp_read_material(s, object, public_half, &m);
	if (rv != CKR_OK)
		return rv;
	*facts = (struct hp_key_facts){
		.class = object->class,
		.type = object->type,
		.bits = bits_of(object, &m),
		.always_authenticate = m.always_authenticate == CK_TRUE,
		.is_token_object = true,
	};
	return hp_take_fingerprint(object, &m, facts->fingerprint) ? CKR_OK
								   : CKR_HOST_MEMORY;
}

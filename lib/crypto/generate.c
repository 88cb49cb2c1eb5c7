/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New key material: generated in the token, or brought in from outside.
 */
#include <string.h>
#include <openssl/core_names.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/openssl_errors.h"
#include "crypto/create.h"
#include "crypto/public.h"

static const uint8_t exponent_65537[] = { 0x01, 0x00, 0x01 };

/* --- generate ------------------------------------------------------------------- */

static CK_MECHANISM_TYPE secret_mechanism(const struct hp_new_key *plan)
{
	return plan->type == CKK_AES ? CKM_AES_KEY_GEN : CKM_GENERIC_SECRET_KEY_GEN;
}

static CK_MECHANISM_TYPE pair_mechanism(const struct hp_new_key *plan)
{
	return plan->type == CKK_RSA  ? CKM_RSA_PKCS_KEY_PAIR_GEN
	       : plan->type == CKK_EC ? CKM_EC_KEY_PAIR_GEN
				      : CKM_EC_EDWARDS_KEY_PAIR_GEN;
}

static CK_RV make_secret(const struct hp_creation *creation, struct hp_session *s,
			 CK_OBJECT_HANDLE handle, struct hp_key_objects *made)
{
	const struct hp_new_key *plan = &creation->plan;
	struct hp_template t;
	CK_MECHANISM mechanism = { .mechanism = secret_mechanism(plan) };

	(void)handle;
	hp_template_secret(&t, plan);
	hp_template_number(&t, CKA_VALUE_LEN, plan->bits / 8);
	return hp_generate_key(s, &mechanism, t.attributes, t.count, &made->own.handle);
}

static CK_RV make_pair(const struct hp_creation *creation, struct hp_session *s,
		       CK_OBJECT_HANDLE handle, struct hp_key_objects *made)
{
	const struct hp_new_key *plan = &creation->plan;
	struct hp_template public_half;
	struct hp_template private_half;
	CK_MECHANISM mechanism = { .mechanism = pair_mechanism(plan) };

	(void)handle;
	hp_template_public(&public_half, plan);
	hp_template_private(&private_half, plan);
	if (plan->type == CKK_RSA) {
		hp_template_number(&public_half, CKA_MODULUS_BITS, plan->bits);
		hp_template_bytes(&public_half, CKA_PUBLIC_EXPONENT, exponent_65537,
				  sizeof(exponent_65537));
	} else {
		hp_template_bytes(&public_half, CKA_EC_PARAMS, plan->curve->params,
				  plan->curve->params_len);
	}
	return hp_generate_key_pair(s, &mechanism, public_half.attributes,
				    public_half.count, private_half.attributes,
				    private_half.count, &made->public_half.handle,
				    &made->own.handle);
}

hsmpool_status hsmpool_key_generate(hsmpool_key **out, hsmpool *pool,
				    const hsmpool_key_spec *spec,
				    hsmpool_deadline deadline, hsmpool_error *err)
{
	struct hp_creation creation = { .verb = "generate key", .pool = pool };

	hp_error_clear(err);
	HP_CHECK(out, err, HSMPOOL_ERR_USAGE, "generate a key: no place for the result");
	*out = NULL;
	HP_CHECK(pool, err, HSMPOOL_ERR_USAGE, "generate a key: no pool");
	HP_TRY(hp_new_key_plan(spec, HP_ORIGIN_GENERATE, &creation.plan, err));
	bool is_secret = creation.plan.class == CKO_SECRET_KEY;
	creation.make = is_secret ? make_secret : make_pair;
	creation.use = hp_use_of(is_secret ? "C_GenerateKey" : "C_GenerateKeyPair",
				 is_secret ? secret_mechanism(&creation.plan)
					   : pair_mechanism(&creation.plan),
				 0);
	return hp_create(out, &creation, deadline, err);
}

/* --- import a secret key -------------------------------------------------------- */

static CK_RV make_imported_secret(const struct hp_creation *creation,
				  struct hp_session *s, CK_OBJECT_HANDLE handle,
				  struct hp_key_objects *made)
{
	const hsmpool_bytes *secret = creation->input;
	struct hp_template t;

	(void)handle;
	hp_template_secret(&t, &creation->plan);
	hp_template_bytes(&t, CKA_VALUE, secret->data, secret->len);
	return hp_create_object(s, t.attributes, t.count, &made->own.handle);
}

hsmpool_status hsmpool_key_import_secret(hsmpool_key **out, hsmpool *pool,
					 const hsmpool_key_spec *spec,
					 hsmpool_bytes secret, hsmpool_deadline deadline,
					 hsmpool_error *err)
{
	struct hp_creation creation = {
		.verb = "import secret key",
		.pool = pool,
		.make = make_imported_secret,
		.input = &secret,
		.use = { .function = "C_CreateObject", .input_len = secret.len },
	};

	hp_error_clear(err);
	HP_CHECK(out, err, HSMPOOL_ERR_USAGE, "import a key: no place for the result");
	*out = NULL;
	HP_CHECK(pool, err, HSMPOOL_ERR_USAGE, "import a key: no pool");
	struct hp_new_key *plan = &creation.plan;
	HP_TRY(hp_new_key_plan(spec, HP_ORIGIN_IMPORT_SECRET, plan, err));
	HP_CHECK(secret.data && secret.len > 0 && secret.len <= 4096, err,
		 HSMPOOL_ERR_USAGE, "import a key: a secret key has 1 to 4096 bytes");
	HP_CHECK(plan->type != CKK_AES || secret.len == 16 || secret.len == 24 ||
			 secret.len == 32,
		 err, HSMPOOL_ERR_USAGE,
		 "import a key: an AES key has 16, 24 or 32 bytes, not %zu", secret.len);
	HP_CHECK(plan->bits == 0 || plan->bits == 8 * secret.len, err, HSMPOOL_ERR_USAGE,
		 "import a key: %zu bytes are not the %u bits that were asked for",
		 secret.len, plan->bits);
	return hp_create(out, &creation, deadline, err);
}

/* --- import a public key -------------------------------------------------------- */

/* What a public key object holds, taken out of an EVP_PKEY. */
struct public_material {
	size_t modulus_len, exponent_len, point_len;
	uint8_t modulus[2048];
	uint8_t exponent[2048];
	uint8_t point[512]; /* DER OCTET STRING */
};

static bool take_number(EVP_PKEY *key, const char *name, uint8_t *out, size_t cap,
			size_t *len)
{
	BIGNUM *number = NULL;
	bool ok = EVP_PKEY_get_bn_param(key, name, &number) == 1 &&
		  (size_t)BN_num_bytes(number) <= cap;

	if (ok)
		*len = (size_t)BN_bn2bin(number, out);
	BN_free(number);
	return ok;
}

/* The bare point behind an OCTET STRING header. */
static bool take_point(EVP_PKEY *key, struct public_material *m)
{
	uint8_t point[256];
	size_t len = sizeof(point);
	bool ok;

	if (EVP_PKEY_get_id(key) == EVP_PKEY_ED25519) {
		ok = EVP_PKEY_get_raw_public_key(key, point, &len) == 1;
	} else {
		hp_public_uncompress(key);
		ok = EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point,
						     sizeof(point), &len) == 1;
	}
	if (!ok)
		return false;
	size_t header = 0;
	m->point[header++] = 0x04;
	if (len >= 0x80)
		m->point[header++] = 0x81;
	m->point[header++] = (uint8_t)len;
	memcpy(m->point + header, point, len);
	m->point_len = header + len;
	return true;
}

/* Type and size of the key, as a spec would name them. */
static const char *type_of(EVP_PKEY *key, const struct hp_curve **curve)
{
	char group[40] = "";
	size_t len;

	*curve = NULL;
	switch (EVP_PKEY_get_base_id(key)) {
	case EVP_PKEY_RSA:
		return "rsa";
	case EVP_PKEY_ED25519:
		*curve = hp_curve_by_name("ed25519");
		return "ed25519";
	case EVP_PKEY_EC:
		if (EVP_PKEY_get_group_name(key, group, sizeof(group), &len) == 1)
			*curve = hp_curve_by_name(group);
		return *curve ? "ec" : NULL;
	default:
		return NULL;
	}
}

/* The spec with type, bits and curve as the key has them; it may not say otherwise. */
static hsmpool_status complete_spec(const hsmpool_key_spec *spec, EVP_PKEY *key,
				    hsmpool_key_spec *out, hsmpool_error *err)
{
	const struct hp_curve *curve;
	const char *type = type_of(key, &curve);

	HP_CHECK(spec && spec->size >= sizeof(*spec), err, HSMPOOL_ERR_USAGE,
		 "import a key: no spec, or its size is not sizeof(hsmpool_key_spec)");
	HP_CHECK(type, err, HSMPOOL_ERR_UNSUPPORTED,
		 "import a key: only RSA, EC on a NIST curve and Ed25519 are known");
	HP_CHECK(!spec->type || strcmp(spec->type, type) == 0, err, HSMPOOL_ERR_USAGE,
		 "import a key: it is of type '%s', not '%.40s'", type, spec->type);
	HP_CHECK(!spec->curve || (curve && hp_curve_by_name(spec->curve) == curve), err,
		 HSMPOOL_ERR_USAGE, "import a key: it is not on the curve '%.40s'",
		 spec->curve);
	HP_CHECK(spec->bits == 0 || spec->bits == (uint32_t)EVP_PKEY_get_bits(key), err,
		 HSMPOOL_ERR_USAGE, "import a key: it has %d bits, not %u",
		 EVP_PKEY_get_bits(key), spec->bits);
	*out = *spec;
	out->type = type;
	out->curve = curve ? curve->name : NULL;
	out->bits = 0;
	return HSMPOOL_OK;
}

static CK_RV make_imported_public(const struct hp_creation *creation,
				  struct hp_session *s, CK_OBJECT_HANDLE handle,
				  struct hp_key_objects *made)
{
	const struct public_material *m = creation->input;
	const struct hp_new_key *plan = &creation->plan;
	struct hp_template t;

	(void)handle;
	hp_template_public(&t, plan);
	if (plan->type == CKK_RSA) {
		hp_template_bytes(&t, CKA_MODULUS, m->modulus, m->modulus_len);
		hp_template_bytes(&t, CKA_PUBLIC_EXPONENT, m->exponent, m->exponent_len);
	} else {
		hp_template_bytes(&t, CKA_EC_PARAMS, plan->curve->params,
				  plan->curve->params_len);
		hp_template_bytes(&t, CKA_EC_POINT, m->point, m->point_len);
	}
	return hp_create_object(s, t.attributes, t.count, &made->public_half.handle);
}

static hsmpool_status import_decoded(hsmpool_key **out, hsmpool *pool,
				     const hsmpool_key_spec *spec, EVP_PKEY *key,
				     hsmpool_deadline deadline, hsmpool_error *err)
{
	struct public_material m = { 0 };
	struct hp_creation creation = {
		.verb = "import public key",
		.pool = pool,
		.make = make_imported_public,
		.input = &m,
		.use = { .function = "C_CreateObject" },
	};
	hsmpool_key_spec full;

	HP_TRY(complete_spec(spec, key, &full, err));
	HP_TRY(hp_new_key_plan(&full, HP_ORIGIN_IMPORT_PUBLIC, &creation.plan, err));
	bool ok = creation.plan.type == CKK_RSA
			  ? take_number(key, OSSL_PKEY_PARAM_RSA_N, m.modulus,
					sizeof(m.modulus), &m.modulus_len) &&
				    take_number(key, OSSL_PKEY_PARAM_RSA_E, m.exponent,
						sizeof(m.exponent), &m.exponent_len)
			  : take_point(key, &m);
	HP_CHECK(ok, err, HSMPOOL_ERR_UNSUPPORTED,
		 "import a key: it is larger than what is known here");
	return hp_create(out, &creation, deadline, err);
}

hsmpool_status hsmpool_key_import_public(hsmpool_key **out, hsmpool *pool,
					 const hsmpool_key_spec *spec,
					 hsmpool_bytes public_key,
					 hsmpool_deadline deadline, hsmpool_error *err)
{
	HP_KEEP_OPENSSL_ERRORS;
	hp_error_clear(err);
	HP_CHECK(out, err, HSMPOOL_ERR_USAGE, "import a key: no place for the result");
	*out = NULL;
	HP_CHECK(pool, err, HSMPOOL_ERR_USAGE, "import a key: no pool");
	EVP_PKEY *key = hp_public_decode(public_key);
	HP_CHECK(key, err, HSMPOOL_ERR_DATA,
		 "import a key: it is not a PEM or DER SubjectPublicKeyInfo");
	hsmpool_status status = import_decoded(out, pool, spec, key, deadline, err);
	EVP_PKEY_free(key);
	return status;
}

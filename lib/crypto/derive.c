/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ECDH with another party's public key: into a token key, or into bytes.
 *
 * The peer's point is checked to lie on the curve here too, whatever the token does
 * about it. The secret that is read out lives on the session for the length of the
 * borrow only; if it cannot be destroyed the session is closed with it.
 */
#include <string.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <hsmpool/crypto.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/openssl_errors.h"
#include "base/secret.h"
#include "crypto/create.h"
#include "crypto/public.h"

#define POINT_CAP  133 /* P-521, uncompressed */
#define SECRET_CAP 66

struct peer {
	uint32_t bits; /* of the curve's field */
	size_t len;
	uint8_t point[POINT_CAP]; /* uncompressed */
};

/* --- the peer's key ------------------------------------------------------------- */

static bool take_peer_point(EVP_PKEY *key, struct peer *out)
{
	if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC)
		return false;
	hp_public_uncompress(key);
	out->bits = (uint32_t)EVP_PKEY_get_bits(key);
	return EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, out->point,
					       sizeof(out->point), &out->len) == 1;
}

/* A bare point: on one of the curves of its length. */
static EVP_PKEY *decode_bare_point(hsmpool_bytes point)
{
	static const char *const names[] = { "P-256", "P-384", "P-521", "P-224",
					     "secp256k1" };
	EVP_PKEY *key = NULL;

	for (size_t i = 0; !key && i < HP_ARRAY_LEN(names); i++) {
		const struct hp_curve *curve = hp_curve_by_name(names[i]);
		if (point.len == 2 * (((size_t)curve->bits + 7) / 8) + 1)
			key = hp_public_from_point(curve, point);
	}
	return key;
}

static hsmpool_status decode_peer(hsmpool_bytes encoded, struct peer *out,
				  hsmpool_error *err)
{
	HP_KEEP_OPENSSL_ERRORS;
	EVP_PKEY *key = NULL;

	memset(out, 0, sizeof(*out));
	if (encoded.data && encoded.len > 0 && encoded.data[0] == 0x04)
		key = decode_bare_point(encoded);
	else if (encoded.data)
		key = hp_public_decode(encoded);
	bool ok = key && take_peer_point(key, out);
	EVP_PKEY_free(key);
	HP_CHECK(ok, err, HSMPOOL_ERR_DATA,
		 "derive: the peer's key is not an EC public key (PEM, DER, or an "
		 "uncompressed point on a known curve)");
	return HSMPOOL_OK;
}

static hsmpool_status check_private_key(const hsmpool_key *key,
					const struct hp_key_facts *facts,
					const struct peer *peer, hsmpool_error *err)
{
	HP_CHECK(facts->class == CKO_PRIVATE_KEY && facts->type == CKK_EC, err,
		 HSMPOOL_ERR_KEY, "key '%s' cannot derive: it is not an EC private key",
		 hp_key_name(key));
	HP_CHECK(facts->bits == 0 || facts->bits == peer->bits, err, HSMPOOL_ERR_KEY,
		 "key '%s' is on a curve of %u bits, the peer's key on one of %u",
		 hp_key_name(key), facts->bits, peer->bits);
	return HSMPOOL_OK;
}

static size_t secret_len(const struct peer *peer)
{
	return ((size_t)peer->bits + 7) / 8;
}

static void build_mechanism(const struct peer *peer, CK_ECDH1_DERIVE_PARAMS *params,
			    CK_MECHANISM *mechanism)
{
	*params = (CK_ECDH1_DERIVE_PARAMS){
		.kdf = CKD_NULL,
		.ulPublicDataLen = peer->len,
		.pPublicData = (CK_BYTE *)(uintptr_t)peer->point,
	};
	*mechanism = (CK_MECHANISM){ CKM_ECDH1_DERIVE, params, sizeof(*params) };
}

/* --- into a token key ----------------------------------------------------------- */

static hsmpool_status check_derivation(const struct hp_creation *creation,
				       const struct hp_key_facts *facts,
				       hsmpool_error *err)
{
	const struct peer *peer = creation->input;

	HP_CHECK(creation->plan.bits / 8 <= secret_len(peer), err, HSMPOOL_ERR_USAGE,
		 "derive: the shared secret has %zu bytes, too few for a key of %u bits",
		 secret_len(peer), creation->plan.bits);
	return check_private_key(creation->using_key, facts, peer, err);
}

static CK_RV make_derived(const struct hp_creation *creation, struct hp_session *s,
			  CK_OBJECT_HANDLE handle, struct hp_key_objects *made)
{
	CK_ECDH1_DERIVE_PARAMS params;
	CK_MECHANISM mechanism;
	struct hp_template t;

	build_mechanism(creation->input, &params, &mechanism);
	hp_template_secret(&t, &creation->plan);
	hp_template_number(&t, CKA_VALUE_LEN, creation->plan.bits / 8);
	return hp_derive_key(s, &mechanism, handle, t.attributes, t.count,
			     &made->own.handle);
}

hsmpool_status hsmpool_key_derive(hsmpool_key **out, hsmpool_key *private_key,
				  hsmpool_bytes peer, const hsmpool_key_spec *spec,
				  hsmpool_deadline deadline, hsmpool_error *err)
{
	struct peer decoded;
	struct hp_creation creation = {
		.verb = "derive key",
		.using_key = private_key,
		.check = check_derivation,
		.make = make_derived,
		.input = &decoded,
		.use = hp_use_of("C_DeriveKey", CKM_ECDH1_DERIVE, peer.len),
	};

	hp_error_clear(err);
	HP_CHECK(out, err, HSMPOOL_ERR_USAGE, "derive a key: no place for the result");
	*out = NULL;
	HP_CHECK(private_key, err, HSMPOOL_ERR_USAGE, "derive a key: no private key");
	HP_TRY(decode_peer(peer, &decoded, err));
	HP_TRY(hp_new_key_plan(spec, HP_ORIGIN_DERIVE, &creation.plan, err));
	creation.pool = hp_key_pool(private_key);
	return hp_create(out, &creation, deadline, err);
}

/* --- into bytes ----------------------------------------------------------------- */

struct derivation {
	struct peer peer;
	hsmpool_buf *out;
};

/* The object that may be read: nothing of it outlives the borrow. */
static CK_RV derive_readable(struct hp_session *s, CK_OBJECT_HANDLE private_key,
			     const struct peer *peer, CK_OBJECT_HANDLE *object)
{
	CK_ECDH1_DERIVE_PARAMS params;
	CK_MECHANISM mechanism;
	struct hp_template t = { 0 };

	build_mechanism(peer, &params, &mechanism);
	hp_template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
	hp_template_number(&t, CKA_KEY_TYPE, CKK_GENERIC_SECRET);
	hp_template_bool(&t, CKA_TOKEN, false);
	hp_template_bool(&t, CKA_PRIVATE, true);
	hp_template_bool(&t, CKA_SENSITIVE, false);
	hp_template_bool(&t, CKA_EXTRACTABLE, true);
	hp_template_number(&t, CKA_VALUE_LEN, secret_len(peer));
	CK_RV rv =
		hp_derive_key(s, &mechanism, private_key, t.attributes, t.count, object);
	if (rv == CKR_OK)
		s->objects++;
	return rv;
}

static CK_RV read_secret(struct hp_session *s, CK_OBJECT_HANDLE object, hsmpool_buf *out)
{
	uint8_t secret[SECRET_CAP];
	CK_ATTRIBUTE value = { CKA_VALUE, secret, sizeof(secret) };

	CK_RV rv = hp_get_attributes(s, object, &value, 1);
	if (rv == CKR_OK && value.ulValueLen > out->cap)
		rv = CKR_BUFFER_TOO_SMALL;
	if (rv == CKR_OK) {
		memcpy(out->data, secret, value.ulValueLen);
		out->len = value.ulValueLen;
	}
	hp_wipe(secret, sizeof(secret));
	return rv;
}

static void destroy_secret(struct hp_operation *op, struct hp_session *s,
			   CK_OBJECT_HANDLE object)
{
	if (hp_destroy_object(s, object) == CKR_OK)
		s->objects--;
	else
		op->must_discard_session = true;
}

static CK_RV run_derive(struct hp_operation *op, struct hp_session *s,
			CK_OBJECT_HANDLE handle, const struct hp_key_facts *facts,
			enum hp_stage *stage, hsmpool_status *own, hsmpool_error *err)
{
	struct derivation *d = op->user;
	CK_OBJECT_HANDLE object;

	*own = check_private_key(op->key, facts, &d->peer, err);
	if (*own != HSMPOOL_OK)
		return CKR_OK;
	*stage = HP_STAGE_SUBMITTED;
	CK_RV rv = derive_readable(s, handle, &d->peer, &object);
	if (rv != CKR_OK)
		return rv;
	rv = read_secret(s, object, d->out);
	destroy_secret(op, s, object);
	return rv;
}

hsmpool_status hsmpool_derive_secret(hsmpool *pool, hsmpool_key *private_key,
				     hsmpool_bytes peer, hsmpool_buf *secret,
				     hsmpool_deadline deadline, hsmpool_error *err)
{
	struct derivation d = { .out = secret };

	hp_error_clear(err);
	HP_CHECK(pool && private_key && secret, err, HSMPOOL_ERR_USAGE,
		 "derive a secret: no pool, no private key or no place for the result");
	HP_CHECK(hp_key_pool(private_key) == pool, err, HSMPOOL_ERR_USAGE,
		 "derive a secret: key '%s' belongs to another pool",
		 hp_key_name(private_key));
	HP_TRY(decode_peer(peer, &d.peer, err));
	HP_TRY(hp_buf_need(secret, secret_len(&d.peer), err));
	secret->len = 0;
	struct hp_operation op = {
		.verb = "derive secret",
		.retry = HP_RETRY_NEVER,
		.pool = pool,
		.key = private_key,
		.role = HP_KEY_FOR_PRIVATE_USE,
		.run = run_derive,
		.user = &d,
		.use = hp_use_of("C_DeriveKey", CKM_ECDH1_DERIVE, peer.len),
		.output_len = &secret->len,
	};
	op.use.kind = HP_USE_MANAGEMENT;
	return hp_operation_run(&op, deadline, err);
}

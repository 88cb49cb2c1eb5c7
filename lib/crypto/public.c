/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public half of a key as an OpenSSL key, and as PEM.
 *
 * Owns: the way from CKA_MODULUS, CKA_EC_POINT and their kin to an EVP_PKEY, and back
 * to the point that a peer's key holds. The EVP_PKEY is cached in the hsmpool_key: a
 * public key does not change, and what the selector finds later is checked to be the
 * same key.
 */
#include "crypto/public.h"

#include <string.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/openssl_errors.h"
#include "crypto/operation.h"
#include "observe/log.h"

#define FIELD_CAP 2048 /* a modulus of 16384 bits */

/* The attributes of a public key object. */
struct parts {
	size_t modulus_len, exponent_len, params_len, point_len;
	uint8_t modulus[FIELD_CAP];
	uint8_t exponent[FIELD_CAP];
	uint8_t params[256];
	uint8_t point[512];
};

/* --- from attributes to EVP_PKEY ------------------------------------------------ */

static EVP_PKEY *key_from_params(const char *type, OSSL_PARAM *params)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *key = NULL;

	if (ctx && params && EVP_PKEY_fromdata_init(ctx) == 1)
		EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

static EVP_PKEY *rsa_key(const struct parts *p)
{
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	BIGNUM *n = BN_bin2bn(p->modulus, (int)p->modulus_len, NULL);
	BIGNUM *e = BN_bin2bn(p->exponent, (int)p->exponent_len, NULL);
	OSSL_PARAM *params = NULL;

	if (builder && n && e &&
	    OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
	    OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e) == 1)
		params = OSSL_PARAM_BLD_to_param(builder);
	EVP_PKEY *key = key_from_params("RSA", params);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(builder);
	BN_free(n);
	BN_free(e);
	return key;
}

hsmpool_bytes hp_public_point(hsmpool_bytes attribute, uint32_t bits)
{
	const uint8_t *at = attribute.data;
	size_t len = attribute.len;
	size_t raw_len = bits == 255 ? 32 : 2 * (((size_t)bits + 7) / 8) + 1;

	/* A DER OCTET STRING as the standard says, or bare as some modules give it. */
	if (len == raw_len + 2 && at[0] == 0x04 && at[1] == raw_len && raw_len < 0x80)
		return (hsmpool_bytes){ at + 2, raw_len };
	if (len == raw_len + 3 && at[0] == 0x04 && at[1] == 0x81 && at[2] == raw_len)
		return (hsmpool_bytes){ at + 3, raw_len };
	if (len == raw_len)
		return attribute;
	return (hsmpool_bytes){ NULL, 0 };
}

EVP_PKEY *hp_public_from_point(const struct hp_curve *curve, hsmpool_bytes point)
{
	if (curve->bits == 255)
		return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, point.data,
						   point.len);

	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
						 (char *)(uintptr_t)curve->openssl, 0),
		OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY,
						  (void *)(uintptr_t)point.data,
						  point.len),
		OSSL_PARAM_construct_end(),
	};
	return key_from_params("EC", params);
}

void hp_public_uncompress(EVP_PKEY *key)
{
	EVP_PKEY_set_utf8_string_param(key, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
				       OSSL_PKEY_EC_POINT_CONVERSION_FORMAT_UNCOMPRESSED);
}

static EVP_PKEY *elliptic_key(const struct parts *p)
{
	const struct hp_curve *curve = hp_curve_by_params(p->params, p->params_len);

	if (!curve)
		return NULL;
	hsmpool_bytes point =
		hp_public_point((hsmpool_bytes){ p->point, p->point_len }, curve->bits);
	return point.data ? hp_public_from_point(curve, point) : NULL;
}

/* --- reading it ----------------------------------------------------------------- */

static CK_RV read_rsa_parts(struct hp_session *s, CK_OBJECT_HANDLE object,
			    struct parts *p)
{
	CK_ATTRIBUTE template[] = {
		{ CKA_MODULUS, p->modulus, sizeof(p->modulus) },
		{ CKA_PUBLIC_EXPONENT, p->exponent, sizeof(p->exponent) },
	};
	CK_RV rv = hp_read_attributes(s, object, template, HP_ARRAY_LEN(template));

	p->modulus_len = template[0].ulValueLen;
	p->exponent_len = template[1].ulValueLen;
	return rv;
}

static CK_RV read_elliptic_parts(struct hp_session *s, CK_OBJECT_HANDLE object,
				 struct parts *p)
{
	CK_ATTRIBUTE template[] = {
		{ CKA_EC_PARAMS, p->params, sizeof(p->params) },
		{ CKA_EC_POINT, p->point, sizeof(p->point) },
	};
	CK_RV rv = hp_read_attributes(s, object, template, HP_ARRAY_LEN(template));

	p->params_len = template[0].ulValueLen;
	p->point_len = template[1].ulValueLen;
	return rv;
}

/* The object that shows the public part: the public key; for RSA the private one, which
 * holds modulus and public exponent too, where there is no other. */
static const struct hp_object *
object_with_public_part(const struct hp_key_objects *objects)
{
	if (objects->public_half.handle != CK_INVALID_HANDLE)
		return &objects->public_half;
	if (objects->own.class == CKO_PRIVATE_KEY && objects->own.type == CKK_RSA)
		return &objects->own;
	return NULL;
}

struct public_request {
	hsmpool_key *key;
	EVP_PKEY *result;
};

static CK_RV read_public(struct hp_session *s, const struct hp_object *object,
			 EVP_PKEY **result)
{
	HP_KEEP_OPENSSL_ERRORS;
	struct parts p = { 0 };
	CK_RV rv = CKR_OK;

	if (object->type == CKK_RSA)
		rv = read_rsa_parts(s, object->handle, &p);
	else
		rv = read_elliptic_parts(s, object->handle, &p);
	if (rv != CKR_OK)
		return rv;
	*result = object->type == CKK_RSA ? rsa_key(&p) : elliptic_key(&p);
	return CKR_OK;
}

/* For those who want to know whose public half it is, while there is a session. */
static void identify(hsmpool_key *key, struct hp_session *s, int64_t deadline_ns)
{
	CK_OBJECT_HANDLE handle;
	hsmpool_error err;
	CK_RV rv;

	if (hp_use_wants_keys(key->pool) &&
	    hp_key_handle(key, s, HP_KEY_FOR_PUBLIC_USE, deadline_ns, &handle, NULL, &rv,
			  &err) != HSMPOOL_OK)
		HP_LOG(INFO, "key-unnamed", "%s", err.text);
}

static CK_RV run_public(struct hp_operation *op, struct hp_session *s,
			CK_OBJECT_HANDLE handle, const struct hp_key_facts *facts,
			enum hp_stage *stage, hsmpool_status *own, hsmpool_error *err)
{
	struct public_request *request = op->user;
	struct hp_key_objects objects;
	CK_RV rv;

	(void)handle;
	(void)facts;
	(void)stage;
	*own = hp_find_key(request->key, s, &objects, &rv, err);
	if (*own != HSMPOOL_OK)
		return rv;
	if (objects.own.class == CKO_PRIVATE_KEY &&
	    objects.public_half.handle == CK_INVALID_HANDLE)
		rv = hp_find_public_half(s, &objects.own, &objects.public_half);
	if (rv != CKR_OK)
		return rv;
	const struct hp_object *object = object_with_public_part(&objects);
	if (object)
		rv = read_public(s, object, &request->result);
	else
		*own = hp_fail(err, HSMPOOL_ERR_KEY, "key '%s': %s",
			       hp_key_name(request->key),
			       objects.own.class == CKO_SECRET_KEY
				       ? "a secret key has no public half"
				       : "its public half is not on the token");
	if (rv == CKR_OK && *own == HSMPOOL_OK)
		identify(request->key, s, op->deadline_ns);
	return rv;
}

static hsmpool_status fetch_public(hsmpool_key *key, hsmpool_deadline deadline,
				   EVP_PKEY **out, hsmpool_error *err)
{
	struct public_request request = { .key = key };
	struct hp_operation op = {
		.verb = "read public key",
		.retry = HP_RETRY_IDEMPOTENT,
		.pool = key->pool,
		.about = key,
		.run = run_public,
		.user = &request,
	};
	HP_TRY(hp_operation_run(&op, deadline, err));
	HP_CHECK(request.result, err, HSMPOOL_ERR_UNSUPPORTED,
		 "key '%s': its public half is of a type or curve that is not known here",
		 hp_key_name(key));
	*out = request.result;
	return HSMPOOL_OK;
}

hsmpool_status hp_key_public(hsmpool_key *key, hsmpool_deadline deadline, EVP_PKEY **out,
			     hsmpool_error *err)
{
	EVP_PKEY *known = atomic_load_explicit(&key->public_key, memory_order_acquire);

	if (known) {
		EVP_PKEY_up_ref(known);
		*out = known;
		return HSMPOOL_OK;
	}
	HP_TRY(fetch_public(key, deadline, out, err));
	EVP_PKEY_up_ref(*out); /* for the cache, unless another thread was first */
	if (!atomic_compare_exchange_strong(&key->public_key, &known, *out))
		EVP_PKEY_free(*out);
	return HSMPOOL_OK;
}

/* --- PEM and DER ---------------------------------------------------------------- */

EVP_PKEY *hp_public_decode(hsmpool_bytes encoded)
{
	HP_KEEP_OPENSSL_ERRORS;
	EVP_PKEY *key = NULL;
	const uint8_t *at = encoded.data;

	if (encoded.len == 0 || encoded.len > INT32_MAX)
		return NULL;
	BIO *bio = BIO_new_mem_buf(encoded.data, (int)encoded.len);
	if (bio)
		key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
	BIO_free(bio);
	if (!key) {
		key = d2i_PUBKEY(NULL, &at, (long)encoded.len);
		if (key && at != encoded.data + encoded.len) {
			EVP_PKEY_free(key);
			key = NULL;
		}
	}
	return key;
}

static hsmpool_status write_pem(EVP_PKEY *key, hsmpool_buf *pem, hsmpool_error *err)
{
	HP_KEEP_OPENSSL_ERRORS;
	hsmpool_status status = HSMPOOL_OK;
	char *text = NULL;
	BIO *bio = BIO_new(BIO_s_mem());
	long len = bio && PEM_write_bio_PUBKEY(bio, key) == 1
			   ? BIO_get_mem_data(bio, &text)
			   : -1;
	if (len < 0)
		status = hp_fail(err, HSMPOOL_ERR_SYSTEM, "write PEM: no memory");
	else
		status = hp_buf_need(pem, (size_t)len + 1, err);
	if (status == HSMPOOL_OK) {
		memcpy(pem->data, text, (size_t)len);
		pem->data[len] = '\0';
		pem->len = (size_t)len;
	}
	BIO_free(bio);
	return status;
}

hsmpool_status hsmpool_key_export_public(hsmpool_key *key, hsmpool_buf *pem,
					 hsmpool_deadline deadline, hsmpool_error *err)
{
	EVP_PKEY *public_key;

	hp_error_clear(err);
	HP_CHECK(key && pem, err, HSMPOOL_ERR_USAGE,
		 "export a public key: no key or no place for the result");
	HP_TRY(hp_key_public(key, deadline, &public_key, err));
	hsmpool_status status = write_pem(public_key, pem, err);
	EVP_PKEY_free(public_key);
	return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See wrap.h.
 *
 * AES-GCM is the default because it is one C_Encrypt: it can be repeated, and tokens
 * allow it that let nobody make or read secret objects. AES-KW and AES-KWP wrap key
 * objects only, so the data key becomes a session object for the length of one borrow;
 * if it cannot be destroyed again the session is closed, which destroys it.
 */
#include "stream/wrap.h"
#include <string.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <hsmpool/crypto.h>
#include "base/error.h"
#include "base/memory.h"
#include "crypto/offload.h"
#include "crypto/operation.h"
#include "p11/uri.h"
#include "stream/schedule.h"

/* ---- what a header says of a key ---- */

/* The exact label stands in the URI; info.label is made printable. */
static void read_label(const hsmpool_key_info *info, struct hp_named_key *out)
{
	struct hp_uri *uri = NULL;
	if (hp_uri_parse(info->uri, &uri, NULL) != HSMPOOL_OK)
		return; /* a label is a help, no need */
	struct hp_uri_object object;
	hp_uri_object(uri, &object);
	if (object.has_label && object.label_len <= sizeof(out->label)) {
		memcpy(out->label, object.label, object.label_len);
		out->view.label = (hsmpool_bytes){ out->label, object.label_len };
	}
	hp_uri_free(&uri);
}

/* SHA-256 of the SubjectPublicKeyInfo. A token that does not show the public half of
 * a private key leaves it empty: then id and label must do. */
static void read_fingerprint(hsmpool_key *key, hsmpool_deadline deadline,
			     struct hp_named_key *out)
{
	EVP_PKEY *public_key = NULL;
	uint8_t *der = NULL;
	if (hp_key_public(key, deadline, &public_key, NULL) != HSMPOOL_OK)
		return;
	int len = i2d_PUBKEY(public_key, &der);
	EVP_PKEY_free(public_key);
	if (len <= 0)
		return;
	const hsmpool_bytes whole = { der, (size_t)len };
	if (hp_sha256(&whole, 1, out->check, NULL) == HSMPOOL_OK)
		out->view.check = (hsmpool_bytes){ out->check, HP_HASH_LEN };
	OPENSSL_free(der);
}

/* PKCS#11's check value of an AES key is the start of E(0), and E(0) is the secret
 * that GCM authenticates with: three bytes are published, whatever the token shows. */
static void read_check_value(const hsmpool_key_info *info, struct hp_named_key *out)
{
	size_t len = info->check_value_len;
	if (len > HP_CHECK_VALUE_MAX)
		len = HP_CHECK_VALUE_MAX;
	memcpy(out->check, info->check_value, len);
	out->view.check = (hsmpool_bytes){ out->check, len };
}

hsmpool_status hp_named_key_read(hsmpool_key *key, hsmpool_deadline deadline,
				 struct hp_named_key *out, hsmpool_error *err)
{
	hsmpool_key_info info = { .size = sizeof(info) };
	HP_TRY(hsmpool_key_get_info(key, &info, deadline, err));
	bool is_rsa = strcmp(info.type, "rsa") == 0;
	HP_CHECK(is_rsa || strcmp(info.type, "aes") == 0, err, HSMPOOL_ERR_KEY,
		 "key '%s' is of type %s: a container needs an AES or RSA key",
		 hp_key_name(key), info.type);
	*out = (struct hp_named_key){ .flags = info.flags, .bits = info.bits };
	out->view.type = is_rsa ? HP_RECIPIENT_RSA_OAEP : HP_RECIPIENT_AES_GCM;
	if (info.id_len <= sizeof(out->id)) {
		memcpy(out->id, info.id, info.id_len);
		out->view.id = (hsmpool_bytes){ out->id, info.id_len };
	}
	read_label(&info, out);
	if (is_rsa)
		read_fingerprint(key, deadline, out);
	else
		read_check_value(&info, out);
	return HSMPOOL_OK;
}

/* ---- AES-GCM ---- */

static hsmpool_params
wrap_params(const struct hp_container *container,
	    uint8_t aad[sizeof(HP_LABEL_WRAP) + HP_CONTAINER_ID_LEN])
{
	memcpy(aad, HP_LABEL_WRAP, sizeof(HP_LABEL_WRAP));
	memcpy(aad + sizeof(HP_LABEL_WRAP), container->fixed.id, HP_CONTAINER_ID_LEN);
	return (hsmpool_params){
		.size = sizeof(hsmpool_params),
		.aad = { aad, sizeof(HP_LABEL_WRAP) + HP_CONTAINER_ID_LEN },
	};
}

static hsmpool_status wrap_gcm(hsmpool *pool, hsmpool_key *key,
			       const struct hp_container *container,
			       const uint8_t *data_key, struct hp_named_key *out,
			       hsmpool_deadline deadline, hsmpool_error *err)
{
	uint8_t aad[sizeof(HP_LABEL_WRAP) + HP_CONTAINER_ID_LEN];
	hsmpool_params params = wrap_params(container, aad);
	hsmpool_buf wrapped = { out->wrapped, sizeof(out->wrapped), 0 };
	const hsmpool_bytes plain = { data_key, HP_DATA_KEY_LEN };
	HP_TRY(hsmpool_encrypt(pool, key, "aes-gcm", &params, plain, &wrapped, deadline,
			       err));
	out->view.type = HP_RECIPIENT_AES_GCM;
	out->view.wrapped = (hsmpool_bytes){ out->wrapped, wrapped.len };
	return HSMPOOL_OK;
}

/* ---- AES-KW, AES-KWP ---- */

static const struct {
	enum hp_recipient_type type;
	CK_MECHANISM_TYPE mechanism;
} key_wraps[] = {
	{ HP_RECIPIENT_AES_KW, CKM_AES_KEY_WRAP },
	{ HP_RECIPIENT_AES_KWP, CKM_AES_KEY_WRAP_PAD },
};

/* What the two run functions work on. */
struct key_wrapping {
	uint8_t *data_key; /* in locked memory */
	const struct hp_recipient *recipient;
	struct hp_named_key *out;
};

/* A session object that can be read: the data key is on its way in or out. */
#define DATA_KEY_TEMPLATE                                                            \
	{ CKA_CLASS, &class, sizeof(class) }, { CKA_KEY_TYPE, &type, sizeof(type) }, \
		{ CKA_TOKEN, &no, sizeof(no) }, { CKA_PRIVATE, &yes, sizeof(yes) },  \
		{ CKA_SENSITIVE, &no, sizeof(no) },                                  \
	{                                                                            \
		CKA_EXTRACTABLE, &yes, sizeof(yes)                                   \
	}

static CK_RV create_data_key(struct hp_session *s, uint8_t *data_key,
			     CK_OBJECT_HANDLE *object)
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
	CK_ATTRIBUTE template[] = { DATA_KEY_TEMPLATE,
				    { CKA_VALUE, data_key, HP_DATA_KEY_LEN } };
	return hp_create_object(s, template, HP_ARRAY_LEN(template), object);
}

static void destroy_data_key(struct hp_operation *op, struct hp_session *s,
			     CK_OBJECT_HANDLE object)
{
	if (hp_destroy_object(s, object) != CKR_OK)
		op->must_discard_session = true; /* takes the object along */
}

/* The token may lack one of the two mechanisms. */
static CK_RV wrap_either_way(struct hp_session *s, CK_OBJECT_HANDLE key,
			     CK_OBJECT_HANDLE data_key, struct hp_named_key *out,
			     CK_MECHANISM_TYPE *tried)
{
	CK_RV rv = CKR_MECHANISM_INVALID;
	for (size_t i = 0; i < HP_ARRAY_LEN(key_wraps); i++) {
		CK_MECHANISM mechanism = { .mechanism = key_wraps[i].mechanism };
		CK_ULONG len = sizeof(out->wrapped);
		*tried = key_wraps[i].mechanism;
		rv = hp_wrap_key(s, &mechanism, key, data_key, out->wrapped, &len);
		if (rv == CKR_OK) {
			out->view.type = (uint8_t)key_wraps[i].type;
			out->view.wrapped = (hsmpool_bytes){ out->wrapped, len };
			return CKR_OK;
		}
		if (hp_rv_class(&s->module->overrides, rv) != HP_RV_CALLER)
			return rv;
	}
	return rv;
}

static CK_RV run_wrap(struct hp_operation *op, struct hp_session *s, CK_OBJECT_HANDLE key,
		      const struct hp_key_facts *facts, enum hp_stage *stage,
		      hsmpool_status *own, hsmpool_error *err)
{
	(void)facts;
	(void)own;
	(void)err;
	struct key_wrapping *w = op->user;
	CK_OBJECT_HANDLE data_key = CK_INVALID_HANDLE;
	*stage = HP_STAGE_SUBMITTED;
	CK_RV rv = create_data_key(s, w->data_key, &data_key);
	if (rv != CKR_OK)
		return rv;
	rv = wrap_either_way(s, key, data_key, w->out, &op->use.mechanism);
	destroy_data_key(op, s, data_key);
	return rv;
}

static hsmpool_status wrap_kw(hsmpool *pool, hsmpool_key *key, uint8_t *data_key,
			      struct hp_named_key *out, hsmpool_deadline deadline,
			      hsmpool_error *err)
{
	struct key_wrapping w = { .data_key = data_key, .out = out };
	struct hp_operation op = {
		.verb = "wrap a data key",
		.retry = HP_RETRY_IDEMPOTENT,
		.want = HP_WANT_ANY,
		.pool = pool,
		.key = key,
		.role = HP_KEY_FOR_PUBLIC_USE,
		.run = run_wrap,
		.user = &w,
		.use = hp_use_of("C_WrapKey", key_wraps[0].mechanism, HP_DATA_KEY_LEN),
		.output_len = &out->view.wrapped.len,
	};
	op.use.kind = HP_USE_MANAGEMENT;
	return hp_operation_run(&op, deadline, err);
}

static CK_MECHANISM_TYPE unwrap_mechanism(const struct hp_recipient *recipient)
{
	return key_wraps[recipient->type == key_wraps[1].type ? 1 : 0].mechanism;
}

static CK_RV unwrap_data_key(struct hp_session *s, CK_OBJECT_HANDLE key,
			     const struct hp_recipient *recipient,
			     CK_OBJECT_HANDLE *object)
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
	CK_ATTRIBUTE template[] = { DATA_KEY_TEMPLATE };
	CK_MECHANISM mechanism = { .mechanism = unwrap_mechanism(recipient) };
	return hp_unwrap_key(s, &mechanism, key, recipient->wrapped.data,
			     recipient->wrapped.len, template, HP_ARRAY_LEN(template),
			     object);
}

static CK_RV run_unwrap(struct hp_operation *op, struct hp_session *s,
			CK_OBJECT_HANDLE key, const struct hp_key_facts *facts,
			enum hp_stage *stage, hsmpool_status *own, hsmpool_error *err)
{
	(void)facts;
	struct key_wrapping *w = op->user;
	CK_OBJECT_HANDLE data_key = CK_INVALID_HANDLE;
	*stage = HP_STAGE_SUBMITTED;
	CK_RV rv = unwrap_data_key(s, key, w->recipient, &data_key);
	if (rv != CKR_OK)
		return rv;
	CK_ATTRIBUTE value = { CKA_VALUE, w->data_key, HP_DATA_KEY_LEN };
	rv = hp_get_attributes(s, data_key, &value, 1);
	destroy_data_key(op, s, data_key);
	if (rv == CKR_BUFFER_TOO_SMALL ||
	    (rv == CKR_OK && value.ulValueLen != HP_DATA_KEY_LEN)) {
		*own = hp_fail(err, HSMPOOL_ERR_DATA, "the wrapped key is no data key");
		return CKR_OK;
	}
	return rv;
}

static hsmpool_status unwrap_kw(hsmpool *pool, hsmpool_key *key,
				const struct hp_recipient *recipient, uint8_t *data_key,
				hsmpool_deadline deadline, hsmpool_error *err)
{
	struct key_wrapping w = { .data_key = data_key, .recipient = recipient };
	struct hp_operation op = {
		.verb = "unwrap a data key",
		.retry = HP_RETRY_IDEMPOTENT,
		.want = HP_WANT_ANY,
		.pool = pool,
		.key = key,
		.role = HP_KEY_FOR_PRIVATE_USE,
		.run = run_unwrap,
		.user = &w,
		.use = hp_use_of("C_UnwrapKey", unwrap_mechanism(recipient),
				 recipient->wrapped.len),
		.is_uniform_failure = true,
		.is_answered_first = true,
	};
	op.use.kind = HP_USE_MANAGEMENT;
	return hp_operation_run(&op, deadline, err);
}

/* ---- RSA-OAEP ---- */

static const char *const oaep_schemes[] = {
	[HP_OAEP_SHA1] = "rsa-oaep-sha1",
	[HP_OAEP_SHA256] = "rsa-oaep-sha256",
	[HP_OAEP_SHA384] = "rsa-oaep-sha384",
	[HP_OAEP_SHA512] = "rsa-oaep-sha512",
};

/* The key or the scheme does not suit, as opposed to: nothing works just now. */
static bool is_refusal(hsmpool_status status)
{
	return status == HSMPOOL_ERR_KEY || status == HSMPOOL_ERR_USAGE ||
	       status == HSMPOOL_ERR_UNSUPPORTED || status == HSMPOOL_ERR_DATA;
}

/* With the public key alone, in OpenSSL. SHA-1 is what every token can undo. */
static bool encrypt_oaep_sha1(EVP_PKEY *public_key, const uint8_t *data_key,
			      struct hp_named_key *out)
{
	size_t len = sizeof(out->wrapped);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(public_key, NULL);
	bool is_ok =
		ctx && EVP_PKEY_encrypt_init(ctx) == 1 &&
		EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
		EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha1()) == 1 &&
		EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha1()) == 1 &&
		EVP_PKEY_encrypt(ctx, out->wrapped, &len, data_key, HP_DATA_KEY_LEN) == 1;
	EVP_PKEY_CTX_free(ctx);
	out->view.parameter = HP_OAEP_SHA1;
	out->view.wrapped = (hsmpool_bytes){ out->wrapped, len };
	return is_ok;
}

static hsmpool_status wrap_oaep_here(hsmpool_key *key, const uint8_t *data_key,
				     struct hp_named_key *out, hsmpool_deadline deadline,
				     hsmpool_error *err)
{
	EVP_PKEY *public_key = NULL;
	struct hp_use use = hp_use_of("C_Encrypt", CKM_RSA_PKCS_OAEP, HP_DATA_KEY_LEN);
	HP_TRY(hp_key_public(key, deadline, &public_key, err));
	hsmpool_status status = hp_offload_begin(&use, hp_key_pool(key), key, err);
	bool is_ok = status == HSMPOOL_OK && encrypt_oaep_sha1(public_key, data_key, out);
	EVP_PKEY_free(public_key);
	HP_TRY(status);
	hp_offload_end(&use, is_ok ? HSMPOOL_OK : HSMPOOL_ERR_UNSUPPORTED,
		       is_ok ? out->view.wrapped.len : 0);
	HP_CHECK(is_ok, err, HSMPOOL_ERR_UNSUPPORTED,
		 "OpenSSL cannot encrypt to key '%s' with RSA-OAEP", hp_key_name(key));
	return HSMPOOL_OK;
}

/* The best hash that the token takes. A key that may not encrypt there, or has no
 * public object, is used here. */
static hsmpool_status wrap_oaep(hsmpool *pool, hsmpool_key *key, const uint8_t *data_key,
				struct hp_named_key *out, hsmpool_deadline deadline,
				hsmpool_error *err)
{
	static const enum hp_oaep_hash order[] = { HP_OAEP_SHA256, HP_OAEP_SHA1 };
	const hsmpool_bytes plain = { data_key, HP_DATA_KEY_LEN };
	HP_CHECK(out->bits == 0 || out->bits >= 2048, err, HSMPOOL_ERR_KEY,
		 "key '%s' has %u bits: an RSA recipient needs 2048 or more",
		 hp_key_name(key), out->bits);
	for (size_t i = 0; i < HP_ARRAY_LEN(order); i++) {
		hsmpool_buf wrapped = { out->wrapped, sizeof(out->wrapped), 0 };
		hsmpool_status status =
			hsmpool_encrypt(pool, key, oaep_schemes[order[i]], NULL, plain,
					&wrapped, deadline, err);
		if (status == HSMPOOL_OK) {
			out->view.parameter = (uint8_t)order[i];
			out->view.wrapped = (hsmpool_bytes){ out->wrapped, wrapped.len };
			return HSMPOOL_OK;
		}
		if (!is_refusal(status))
			return status;
	}
	hp_error_clear(err);
	return wrap_oaep_here(key, data_key, out, deadline, err);
}

/* ---- the two ways ---- */

hsmpool_status hp_data_key_wrap(hsmpool *pool, hsmpool_key *key,
				const struct hp_container *container,
				const uint8_t data_key[HP_DATA_KEY_LEN],
				struct hp_named_key *out, hsmpool_deadline deadline,
				hsmpool_error *err)
{
	if (hp_recipient_is_rsa(&out->view))
		return wrap_oaep(pool, key, data_key, out, deadline, err);
	bool can_encrypt = out->flags & HSMPOOL_KEY_CAN_ENCRYPT;
	bool can_decrypt = out->flags & HSMPOOL_KEY_CAN_DECRYPT;
	bool can_wrap = out->flags & HSMPOOL_KEY_CAN_WRAP;
	bool can_unwrap = out->flags & HSMPOOL_KEY_CAN_UNWRAP;
	/* A key that encrypts but cannot decrypt here may do so elsewhere. */
	if (can_encrypt && (can_decrypt || !(can_wrap && can_unwrap)))
		return wrap_gcm(pool, key, container, data_key, out, deadline, err);
	HP_CHECK(can_wrap, err, HSMPOOL_ERR_KEY,
		 "key '%s' may neither encrypt nor wrap: use one that may",
		 hp_key_name(key));
	HP_TRY(wrap_kw(pool, key, (uint8_t *)data_key, out, deadline, err));
	HP_CHECK(out->view.wrapped.len == HP_KW_WRAPPED_LEN, err, HSMPOOL_ERR_UNSUPPORTED,
		 "the token's key wrapping gives %zu bytes, not the %d of RFC 3394",
		 out->view.wrapped.len, HP_KW_WRAPPED_LEN);
	return HSMPOOL_OK;
}

/* What C_Decrypt gives is a data key only if it is as long as one. */
static hsmpool_status decrypt_data_key(hsmpool *pool, hsmpool_key *key,
				       const char *scheme, const hsmpool_params *params,
				       hsmpool_bytes wrapped, uint8_t *data_key,
				       hsmpool_deadline deadline, hsmpool_error *err)
{
	/* OAEP may ask for as much room as the modulus has. */
	HP_AUTO_SECRET *plain = hp_secret_new(2048);
	HP_CHECK(plain, err, HSMPOOL_ERR_SYSTEM, "no memory for a data key");
	hsmpool_buf out = { plain->data, plain->cap, 0 };
	HP_TRY(hsmpool_decrypt(pool, key, scheme, params, wrapped, &out, deadline, err));
	HP_CHECK(out.len == HP_DATA_KEY_LEN, err, HSMPOOL_ERR_DATA,
		 "the wrapped key is no data key");
	memcpy(data_key, plain->data, HP_DATA_KEY_LEN);
	return HSMPOOL_OK;
}

hsmpool_status hp_data_key_unwrap(hsmpool *pool, hsmpool_key *key,
				  const struct hp_container *container,
				  const struct hp_recipient *recipient,
				  uint8_t data_key[HP_DATA_KEY_LEN],
				  hsmpool_deadline deadline, hsmpool_error *err)
{
	uint8_t aad[sizeof(HP_LABEL_WRAP) + HP_CONTAINER_ID_LEN];
	hsmpool_params params = wrap_params(container, aad);
	switch (recipient->type) {
	case HP_RECIPIENT_AES_GCM:
		return decrypt_data_key(pool, key, "aes-gcm", &params, recipient->wrapped,
					data_key, deadline, err);
	case HP_RECIPIENT_AES_KW:
	case HP_RECIPIENT_AES_KWP:
		return unwrap_kw(pool, key, recipient, data_key, deadline, err);
	case HP_RECIPIENT_RSA_OAEP:
		return decrypt_data_key(pool, key, oaep_schemes[recipient->parameter],
					NULL, recipient->wrapped, data_key, deadline,
					err);
	default:
		return hp_fail(err, HSMPOOL_ERR_DATA,
			       "a recipient of type %u has no wrapped key",
			       recipient->type);
	}
}

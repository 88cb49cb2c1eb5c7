/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys out of and into the token, encrypted under another key of it.
 *
 * Owns: the wrapping schemes. Wrapping reads and may be repeated; unwrapping creates
 * and goes through hp_create(). A blob that does not unwrap is told without detail.
 */
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "crypto/create.h"
#include "crypto/mechanism.h"

/* PKCS#11 3.0; the header is of 2.40. SoftHSM2 gives RFC 5649 the older number. */
#define CKM_AES_KEY_WRAP_KWP_3_0 0x210bUL

struct wrap_scheme {
	const char *name;
	CK_MECHANISM_TYPE mechanism;
	CK_MECHANISM_TYPE hash;
	CK_ULONG mgf;
};

static const struct wrap_scheme schemes[] = {
	{ "aes-kw", CKM_AES_KEY_WRAP, 0, 0 },
	{ "aes-kwp", CKM_AES_KEY_WRAP_PAD, 0, 0 },
	{ "rsa-oaep-sha1", CKM_RSA_PKCS_OAEP, CKM_SHA_1, CKG_MGF1_SHA1 },
	{ "rsa-oaep-sha256", CKM_RSA_PKCS_OAEP, CKM_SHA256, CKG_MGF1_SHA256 },
	{ "rsa-oaep-sha384", CKM_RSA_PKCS_OAEP, CKM_SHA384, CKG_MGF1_SHA384 },
	{ "rsa-oaep-sha512", CKM_RSA_PKCS_OAEP, CKM_SHA512, CKG_MGF1_SHA512 },
	{ "rsa-pkcs1", CKM_RSA_PKCS, 0, 0 },
};

static hsmpool_status find_scheme(const char *name, const struct wrap_scheme **out,
				  hsmpool_error *err)
{
	for (size_t i = 0; name && i < HP_ARRAY_LEN(schemes); i++)
		if (strcmp(schemes[i].name, name) == 0) {
			*out = &schemes[i];
			return HSMPOOL_OK;
		}
	return hp_fail(err, HSMPOOL_ERR_USAGE,
		       "no wrapping scheme '%.40s'; there are aes-kw, aes-kwp, "
		       "rsa-oaep-{sha1,sha256,sha384,sha512} and rsa-pkcs1",
		       name ? name : "");
}

/* A mechanism with its parameters. Points into itself: do not move. */
struct wrap_mechanism {
	CK_MECHANISM ck;
	CK_RSA_PKCS_OAEP_PARAMS oaep;
};

static bool has_kwp_of_3_0(hsmpool *pool)
{
	struct hp_token token;
	CK_MECHANISM_INFO info;

	hp_pool_token(pool, &token);
	return hp_token_mechanism_info(&token, CKM_AES_KEY_WRAP_KWP_3_0, &info) == CKR_OK;
}

static void build_mechanism(const struct wrap_scheme *scheme, hsmpool *pool,
			    struct wrap_mechanism *out)
{
	memset(out, 0, sizeof(*out));
	out->ck.mechanism = scheme->mechanism;
	if (scheme->mechanism == CKM_AES_KEY_WRAP_PAD && has_kwp_of_3_0(pool))
		out->ck.mechanism = CKM_AES_KEY_WRAP_KWP_3_0;
	if (scheme->mechanism != CKM_RSA_PKCS_OAEP)
		return;
	out->oaep.hashAlg = scheme->hash;
	out->oaep.mgf = scheme->mgf;
	out->oaep.source = CKZ_DATA_SPECIFIED;
	out->ck.pParameter = &out->oaep;
	out->ck.ulParameterLen = sizeof(out->oaep);
}

static hsmpool_status check_wrapping_key(const struct wrap_scheme *scheme,
					 const hsmpool_key *key,
					 const struct hp_key_facts *facts,
					 hsmpool_error *err)
{
	bool is_aes = scheme->mechanism == CKM_AES_KEY_WRAP ||
		      scheme->mechanism == CKM_AES_KEY_WRAP_PAD;

	HP_CHECK(facts->type == (is_aes ? CKK_AES : CKK_RSA), err, HSMPOOL_ERR_KEY,
		 "key '%s': scheme %s needs an %s key", hp_key_name(key), scheme->name,
		 is_aes ? "AES" : "RSA");
	return HSMPOOL_OK;
}

/* --- wrap ----------------------------------------------------------------------- */

struct wrapping {
	const struct wrap_scheme *scheme;
	hsmpool_key *key; /* the one that is wrapped */
	hsmpool_buf *out;
};

/* Ask for the size, then wrap into memory of our own: the caller's buffer is written
 * only after success. */
static CK_RV wrap_into(struct hp_session *s, const struct wrapping *w, hsmpool *pool,
		       CK_OBJECT_HANDLE wrapping_key, CK_OBJECT_HANDLE key,
		       enum hp_stage *stage, hsmpool_status *own, hsmpool_error *err)
{
	struct wrap_mechanism m;
	CK_ULONG need = 0;

	build_mechanism(w->scheme, pool, &m);
	CK_RV rv = hp_wrap_key(s, &m.ck, wrapping_key, key, NULL, &need);
	if (rv != CKR_OK)
		return rv;
	*own = hp_buf_need(w->out, need, err);
	if (*own != HSMPOOL_OK)
		return CKR_OK;
	HP_AUTO_FREE CK_BYTE *wrapped = malloc(need + 1);
	if (!wrapped)
		return CKR_HOST_MEMORY;
	build_mechanism(w->scheme, pool, &m);
	*stage = HP_STAGE_SUBMITTED;
	CK_ULONG len = need;
	rv = hp_wrap_key(s, &m.ck, wrapping_key, key, wrapped, &len);
	if (rv == CKR_OK)
		*own = hp_check_written(len, need, err);
	if (rv != CKR_OK || *own != HSMPOOL_OK)
		return rv;
	if (len > 0)
		memcpy(w->out->data, wrapped, len);
	w->out->len = len;
	return CKR_OK;
}

static CK_RV run_wrap(struct hp_operation *op, struct hp_session *s,
		      CK_OBJECT_HANDLE handle, const struct hp_key_facts *facts,
		      enum hp_stage *stage, hsmpool_status *own, hsmpool_error *err)
{
	struct wrapping *w = op->user;
	CK_OBJECT_HANDLE wrapped_key;
	CK_RV rv;

	*own = check_wrapping_key(w->scheme, op->key, facts, err);
	if (*own != HSMPOOL_OK)
		return CKR_OK;
	*own = hp_key_handle(w->key, s, HP_KEY_FOR_PRIVATE_USE, op->deadline_ns,
			     &wrapped_key, NULL, &rv, err);
	if (*own != HSMPOOL_OK)
		return rv;
	op->use.target = hp_key_identity(w->key, HP_KEY_FOR_PRIVATE_USE);
	*own = hp_operation_begin_use(op, hp_key_identity(op->key, op->role), err);
	if (*own != HSMPOOL_OK)
		return CKR_OK;
	rv = wrap_into(s, w, op->pool, handle, wrapped_key, stage, own, err);
	/* The loop forgets the wrapping key's handle, this one is ours to forget. */
	if (hp_rv_class(&s->module->overrides, rv) == HP_RV_STALE_HANDLE)
		hp_key_forget_handle(w->key, HP_KEY_FOR_PRIVATE_USE);
	return rv;
}

hsmpool_status hsmpool_key_wrap(hsmpool_key *wrapping_key, const char *scheme,
				hsmpool_key *key, hsmpool_buf *wrapped,
				hsmpool_deadline deadline, hsmpool_error *err)
{
	struct wrapping w = { .key = key, .out = wrapped };

	hp_error_clear(err);
	HP_CHECK(wrapping_key && key && wrapped, err, HSMPOOL_ERR_USAGE,
		 "wrap a key: a key or the place for the result is missing");
	HP_CHECK(hp_key_pool(wrapping_key) == hp_key_pool(key), err, HSMPOOL_ERR_USAGE,
		 "wrap a key: the two keys are of different pools");
	wrapped->len = 0;
	HP_TRY(find_scheme(scheme, &w.scheme, err));
	struct hp_operation op = {
		.verb = "wrap key",
		.retry = HP_RETRY_IDEMPOTENT,
		.pool = hp_key_pool(wrapping_key),
		.key = wrapping_key,
		.role = HP_KEY_FOR_PUBLIC_USE,
		.run = run_wrap,
		.user = &w,
		.use = hp_use_of("C_WrapKey", w.scheme->mechanism, 0),
		.run_begins_use = true,
		.output_len = &wrapped->len,
	};
	op.use.kind = HP_USE_MANAGEMENT;
	return hp_operation_run(&op, deadline, err);
}

/* --- unwrap --------------------------------------------------------------------- */

struct unwrapping {
	const struct wrap_scheme *scheme;
	hsmpool_bytes wrapped;
};

static hsmpool_status check_unwrapping_key(const struct hp_creation *creation,
					   const struct hp_key_facts *facts,
					   hsmpool_error *err)
{
	const struct unwrapping *u = creation->input;

	return check_wrapping_key(u->scheme, creation->using_key, facts, err);
}

static CK_RV make_unwrapped(const struct hp_creation *creation, struct hp_session *s,
			    CK_OBJECT_HANDLE handle, struct hp_key_objects *made)
{
	const struct unwrapping *u = creation->input;
	struct wrap_mechanism m;
	struct hp_template t;

	build_mechanism(u->scheme, creation->pool, &m);
	if (creation->plan.class == CKO_SECRET_KEY)
		hp_template_secret(&t, &creation->plan);
	else
		hp_template_private(&t, &creation->plan);
	return hp_unwrap_key(s, &m.ck, handle, u->wrapped.data, u->wrapped.len,
			     t.attributes, t.count, &made->own.handle);
}

hsmpool_status hsmpool_key_unwrap(hsmpool_key **out, hsmpool_key *unwrapping_key,
				  const char *scheme, hsmpool_bytes wrapped,
				  const hsmpool_key_spec *spec, hsmpool_deadline deadline,
				  hsmpool_error *err)
{
	struct unwrapping u = { .wrapped = wrapped };
	struct hp_creation creation = {
		.verb = "unwrap key",
		.using_key = unwrapping_key,
		.check = check_unwrapping_key,
		.make = make_unwrapped,
		.input = &u,
		.is_uniform_failure = true,
	};

	hp_error_clear(err);
	HP_CHECK(out, err, HSMPOOL_ERR_USAGE, "unwrap a key: no place for the result");
	*out = NULL;
	HP_CHECK(unwrapping_key, err, HSMPOOL_ERR_USAGE,
		 "unwrap a key: no key to do it with");
	HP_CHECK(wrapped.data && wrapped.len > 0 && wrapped.len <= UINT16_MAX, err,
		 HSMPOOL_ERR_DATA, "unwrap a key: %zu bytes are not a wrapped key",
		 wrapped.len);
	HP_TRY(find_scheme(scheme, &u.scheme, err));
	creation.use = hp_use_of("C_UnwrapKey", u.scheme->mechanism, wrapped.len);
	HP_TRY(hp_new_key_plan(spec, HP_ORIGIN_UNWRAP, &creation.plan, err));
	creation.pool = hp_key_pool(unwrapping_key);
	return hp_create(out, &creation, deadline, err);
}

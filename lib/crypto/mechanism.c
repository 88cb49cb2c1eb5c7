/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From scheme to CK_MECHANISM; which keys fit; checks of arguments.
 *
 * Owns: the parameters of each mechanism. Must not: make a module call, keep state.
 */
#include "crypto/mechanism.h"

#include <string.h>
#include "base/error.h"

/* --- building -------------------------------------------------------------------- */

static void set_params(struct hp_mechanism *m, CK_MECHANISM_TYPE type, void *params,
		       size_t len)
{
	m->ck.mechanism = type;
	m->ck.pParameter = params;
	m->ck.ulParameterLen = len;
}

/* PKCS#11 has no const for what it only reads. */
static CK_BYTE *unconst(hsmpool_bytes bytes)
{
	union {
		const uint8_t *from;
		CK_BYTE *to;
	} pointer = { .from = bytes.len ? bytes.data : NULL };
	return pointer.to;
}

static void set_gcm(struct hp_mechanism *m, const struct hp_scheme *scheme,
		    const struct hp_cipher_inputs *inputs)
{
	m->params.gcm = (CK_GCM_PARAMS){
		.pIv = m->iv,
		.ulIvLen = inputs->iv.len,
		.ulIvBits = inputs->iv.len * 8,
		.pAAD = unconst(inputs->aad),
		.ulAADLen = inputs->aad.len,
		.ulTagBits = scheme->tag_len * 8,
	};
	set_params(m, CKM_AES_GCM, &m->params.gcm, sizeof(m->params.gcm));
}

/* The whole block counts: the first one is random, so it may wrap anywhere. */
static void set_ctr(struct hp_mechanism *m)
{
	m->params.ctr.ulCounterBits = 128;
	memcpy(m->params.ctr.cb, m->iv, sizeof(m->params.ctr.cb));
	set_params(m, CKM_AES_CTR, &m->params.ctr, sizeof(m->params.ctr));
}

static void set_oaep(struct hp_mechanism *m, const struct hp_scheme *scheme,
		     hsmpool_bytes label)
{
	const struct hp_hash_info *hash = hp_hash_info(scheme->entry->hash);
	m->params.oaep = (CK_RSA_PKCS_OAEP_PARAMS){
		.hashAlg = hash->mechanism,
		.mgf = hash->mgf,
		.source = CKZ_DATA_SPECIFIED,
		.pSourceData = unconst(label),
		.ulSourceDataLen = label.len,
	};
	set_params(m, CKM_RSA_PKCS_OAEP, &m->params.oaep, sizeof(m->params.oaep));
}

void hp_mechanism_cipher(struct hp_mechanism *m, const struct hp_scheme *scheme,
			 const struct hp_cipher_inputs *inputs)
{
	if (inputs->iv.len)
		memcpy(m->iv, inputs->iv.data, inputs->iv.len);
	switch (scheme->entry->family) {
	case HP_FAMILY_AES_GCM:
		set_gcm(m, scheme, inputs);
		break;
	case HP_FAMILY_AES_CTR:
		set_ctr(m);
		break;
	case HP_FAMILY_RSA_OAEP:
		set_oaep(m, scheme, inputs->label);
		break;
	case HP_FAMILY_RSA_PKCS1:
		hp_mechanism_plain(m, scheme);
		break;
	default: /* CBC */
		set_params(m, scheme->entry->mechanism, m->iv, HP_AES_BLOCK);
		break;
	}
}

void hp_mechanism_signature(struct hp_mechanism *m, const struct hp_scheme *scheme,
			    bool is_bare)
{
	const struct hp_scheme_entry *entry = scheme->entry;
	CK_MECHANISM_TYPE type = is_bare ? entry->bare_mechanism : entry->mechanism;
	if (entry->family != HP_FAMILY_RSA_PSS) {
		set_params(m, type, NULL, 0);
		return;
	}
	const struct hp_hash_info *hash = hp_hash_info(entry->hash);
	m->params.pss = (CK_RSA_PKCS_PSS_PARAMS){
		.hashAlg = hash->mechanism,
		.mgf = hash->mgf,
		.sLen = scheme->salt_len,
	};
	set_params(m, type, &m->params.pss, sizeof(m->params.pss));
}

void hp_mechanism_plain(struct hp_mechanism *m, const struct hp_scheme *scheme)
{
	set_params(m, scheme->entry->mechanism, NULL, 0);
}

/* --- keys ------------------------------------------------------------------------ */

static bool is_mac_key(enum hp_hash hash, CK_KEY_TYPE type)
{
	static const CK_KEY_TYPE own[HP_HASH_COUNT] = {
		[HP_HASH_SHA1] = CKK_SHA_1_HMAC,    [HP_HASH_SHA224] = CKK_SHA224_HMAC,
		[HP_HASH_SHA256] = CKK_SHA256_HMAC, [HP_HASH_SHA384] = CKK_SHA384_HMAC,
		[HP_HASH_SHA512] = CKK_SHA512_HMAC,
	};
	return type == CKK_GENERIC_SECRET || type == own[hash];
}

/* The kind of key that a family wants, as an error text calls it. */
static const char *wanted_key(const struct hp_scheme_entry *entry, CK_KEY_TYPE type,
			      bool *fits)
{
	switch (entry->family) {
	case HP_FAMILY_RSA_OAEP:
	case HP_FAMILY_RSA_PKCS1:
	case HP_FAMILY_RSA_PSS:
		*fits = type == CKK_RSA;
		return "an RSA";
	case HP_FAMILY_ECDSA:
		*fits = type == CKK_EC;
		return "an EC";
	case HP_FAMILY_EDDSA:
		*fits = type == CKK_EC_EDWARDS;
		return "an Ed25519";
	case HP_FAMILY_HMAC:
		*fits = is_mac_key(entry->hash, type);
		return "a generic secret";
	default:
		*fits = type == CKK_AES;
		return "an AES";
	}
}

static CK_OBJECT_CLASS wanted_class(CK_KEY_TYPE type, enum hp_key_role role)
{
	if (type != CKK_RSA && type != CKK_EC && type != CKK_EC_EDWARDS)
		return CKO_SECRET_KEY;
	return role == HP_KEY_FOR_PRIVATE_USE ? CKO_PRIVATE_KEY : CKO_PUBLIC_KEY;
}

hsmpool_status hp_mechanism_check_key(const struct hp_scheme *scheme,
				      const hsmpool_key *key, enum hp_key_role role,
				      const struct hp_key_facts *facts,
				      hsmpool_error *err)
{
	bool fits;
	const char *wanted = wanted_key(scheme->entry, facts->type, &fits);
	HP_CHECK(fits, err, HSMPOOL_ERR_KEY,
		 "scheme %s wants %s key, '%s' is of another type", scheme->entry->name,
		 wanted, hp_key_name(key));
	CK_OBJECT_CLASS class = wanted_class(facts->type, role);
	HP_CHECK(facts->class == class, err, HSMPOOL_ERR_KEY,
		 "scheme %s wants a %s key here, the token has none of key '%s'",
		 scheme->entry->name,
		 class == CKO_PRIVATE_KEY  ? "private"
		 : class == CKO_PUBLIC_KEY ? "public"
					   : "secret",
		 hp_key_name(key));
	return HSMPOOL_OK;
}

size_t hp_key_bytes(const struct hp_key_facts *facts)
{
	return ((size_t)facts->bits + 7) / 8;
}

/* --- arguments ------------------------------------------------------------------- */

hsmpool_status hp_check_bytes(hsmpool_bytes bytes, const char *what, hsmpool_error *err)
{
	HP_CHECK(bytes.data || bytes.len == 0, err, HSMPOOL_ERR_USAGE,
		 "the %s has a length of %zu but no data", what, bytes.len);
	HP_CHECK(bytes.len <= (CK_ULONG)-1 / 2 && bytes.len <= PTRDIFF_MAX, err,
		 HSMPOOL_ERR_USAGE, "the %s is longer than PKCS#11 can say: use parts",
		 what);
	return HSMPOOL_OK;
}

hsmpool_status hp_check_key_of(hsmpool *pool, const hsmpool_key *key, hsmpool_error *err)
{
	HP_CHECK(pool, err, HSMPOOL_ERR_USAGE, "no pool was given");
	HP_CHECK(key, err, HSMPOOL_ERR_USAGE, "no key was given");
	HP_CHECK(hp_key_pool(key) == pool, err, HSMPOOL_ERR_USAGE,
		 "key '%s' belongs to another pool", hp_key_name(key));
	return HSMPOOL_OK;
}

const CK_BYTE *hp_nonnull(hsmpool_bytes bytes)
{
	static const CK_BYTE nothing[1];
	return bytes.len ? bytes.data : nothing;
}

hsmpool_status hp_check_written(size_t len, size_t cap, hsmpool_error *err)
{
	HP_CHECK(len <= cap, err, HSMPOOL_ERR_DOWN,
		 "the module claims to have written %zu bytes where %zu had room: it is "
		 "not to be trusted",
		 len, cap);
	return HSMPOOL_OK;
}

CK_RV hp_uniform_rv(const struct hp_session *s, CK_RV rv)
{
	if (rv == CKR_OK || hp_rv_class(&s->module->overrides, rv) != HP_RV_CALLER)
		return rv;
	const struct hp_rv_info *info = hp_rv_find(rv);
	return info && info->status == HSMPOOL_ERR_USAGE ? CKR_ENCRYPTED_DATA_INVALID
							 : rv;
}

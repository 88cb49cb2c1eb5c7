/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of an encryption: whose IV, which parameters, what lengths.
 *
 * Owns: the IV rules (random and ours unless the caller vouches for his, or the module
 * is declared to make one and provably does), all sizes. Must not: make a call on a
 * session, borrow, or keep anything between two operations but the last HSM-made IV.
 */
#include "crypto/cipher.h"

#include <string.h>
#include "base/error.h"
#include "base/nonce.h"
#include "crypto/token_facts.h"

#define PKCS1_OVERHEAD 11

/* --- parameters ------------------------------------------------------------------ */

static bool is_aes(enum hp_family family)
{
	return family <= HP_FAMILY_AES_CTR;
}

static hsmpool_status check_params(const struct hp_cipher *cipher,
				   const hsmpool_params *params, hsmpool_error *err)
{
	const struct hp_scheme_entry *entry = cipher->scheme.entry;
	HP_CHECK(params->size == sizeof(*params), err, HSMPOOL_ERR_USAGE,
		 "hsmpool_params.size is %zu, not sizeof(hsmpool_params), %zu",
		 params->size, sizeof(*params));
	HP_CHECK((params->flags & ~HSMPOOL_CALLER_IV) == 0, err, HSMPOOL_ERR_USAGE,
		 "hsmpool_params.flags has unknown bits: 0x%x", params->flags);
	HP_TRY(hp_check_bytes(params->aad, "additional data (aad)", err));
	HP_TRY(hp_check_bytes(params->iv, "IV", err));
	HP_TRY(hp_check_bytes(params->oaep_label, "OAEP label", err));
	HP_CHECK(params->aad.len == 0 || entry->family == HP_FAMILY_AES_GCM, err,
		 HSMPOOL_ERR_USAGE,
		 "scheme %s does not authenticate additional data: use aes-gcm",
		 entry->name);
	HP_CHECK(params->oaep_label.len == 0 || entry->family == HP_FAMILY_RSA_OAEP, err,
		 HSMPOOL_ERR_USAGE, "scheme %s has no label: use rsa-oaep-*",
		 entry->name);
	HP_CHECK(params->iv.len == 0 || is_aes(entry->family), err, HSMPOOL_ERR_USAGE,
		 "scheme %s has no IV", entry->name);
	return HSMPOOL_OK;
}

static hsmpool_status take_callers_iv(struct hp_cipher *cipher, hsmpool_bytes iv,
				      hsmpool_error *err)
{
	const struct hp_scheme_entry *entry = cipher->scheme.entry;
	if (entry->family == HP_FAMILY_AES_GCM)
		HP_CHECK(iv.len <= HP_IV_MAX, err, HSMPOOL_ERR_USAGE,
			 "scheme %s takes an IV of 1 to %d bytes (12 are best), not %zu",
			 entry->name, HP_IV_MAX, iv.len);
	else
		HP_CHECK(iv.len == HP_AES_BLOCK, err, HSMPOOL_ERR_USAGE,
			 "scheme %s takes an IV of %d bytes, not %zu", entry->name,
			 HP_AES_BLOCK, iv.len);
	cipher->iv_source = HP_IV_CALLER;
	cipher->iv_len = iv.len;
	memcpy(cipher->iv, iv.data, iv.len);
	return HSMPOOL_OK;
}

/* The IV that stands in front of the text. */
static void choose_iv(struct hp_cipher *cipher, const hsmpool *pool)
{
	bool is_gcm = cipher->scheme.entry->family == HP_FAMILY_AES_GCM;
	cipher->iv_len = is_gcm ? HP_GCM_IV : HP_AES_BLOCK;
	if (!cipher->is_encryption)
		cipher->iv_source = HP_IV_IN_FRONT;
	else if (is_gcm && hp_pool_options(pool)->hsm_iv)
		cipher->iv_source = HP_IV_HSM;
	else
		cipher->iv_source = HP_IV_OURS;
}

static hsmpool_status settle_iv(struct hp_cipher *cipher, const hsmpool *pool,
				const hsmpool_params *params, hsmpool_error *err)
{
	bool vouched = params && (params->flags & HSMPOOL_CALLER_IV);
	bool given = params && params->iv.len > 0;
	HP_CHECK(!cipher->is_encryption || vouched || !given, err, HSMPOOL_ERR_USAGE,
		 "an IV of the caller's is used for encryption only with "
		 "HSMPOOL_CALLER_IV, "
		 "as a repeated one breaks the cipher: leave params->iv empty for a "
		 "random one");
	HP_CHECK(!vouched || given, err, HSMPOOL_ERR_USAGE,
		 "HSMPOOL_CALLER_IV is set but params->iv is empty");
	if (given)
		return take_callers_iv(cipher, params->iv, err);
	if (is_aes(cipher->scheme.entry->family))
		choose_iv(cipher, pool);
	return HSMPOOL_OK;
}

hsmpool_status hp_cipher_prepare(struct hp_cipher *cipher, const hsmpool *pool,
				 bool is_encryption, const char *scheme,
				 const hsmpool_params *params, hsmpool_error *err)
{
	cipher->is_encryption = is_encryption;
	cipher->iv_source = HP_IV_NONE;
	cipher->iv_len = 0;
	cipher->aad = cipher->label = (hsmpool_bytes){ 0 };
	HP_TRY(hp_scheme_parse(HP_SCHEME_CIPHER, scheme, &cipher->scheme, err));
	if (params) {
		HP_TRY(check_params(cipher, params, err));
		cipher->aad = params->aad;
		cipher->label = params->oaep_label;
	}
	return settle_iv(cipher, pool, params, err);
}

size_t hp_cipher_prefix(const struct hp_cipher *cipher)
{
	switch (cipher->iv_source) {
	case HP_IV_OURS:
	case HP_IV_HSM:
	case HP_IV_IN_FRONT:
		return cipher->iv_len;
	default:
		return 0;
	}
}

hsmpool_status hp_cipher_draw_iv(struct hp_cipher *cipher, hsmpool_error *err)
{
	if (cipher->iv_source == HP_IV_HSM)
		memset(cipher->iv, 0, cipher->iv_len); /* what such modules want to see */
	if (cipher->iv_source != HP_IV_OURS)
		return HSMPOOL_OK;
	HP_CHECK(hp_nonce_draw(cipher->iv, cipher->iv_len), err, HSMPOOL_ERR_SYSTEM,
		 "OpenSSL has no random bytes for an IV");
	return HSMPOOL_OK;
}

void hp_cipher_mechanism(const struct hp_cipher *cipher, struct hp_mechanism *m)
{
	const struct hp_cipher_inputs inputs = {
		.iv = { cipher->iv, cipher->iv_len },
		.aad = cipher->aad,
		.label = cipher->label,
	};
	hp_mechanism_cipher(m, &cipher->scheme, &inputs);
}

/* --- sizes ----------------------------------------------------------------------- */

static void set_exact(struct hp_cipher_sizes *sizes, size_t len)
{
	*sizes = (struct hp_cipher_sizes){ len, len, len };
}

static hsmpool_status aes_encrypted(const struct hp_cipher *cipher, size_t len,
				    struct hp_cipher_sizes *sizes, hsmpool_error *err)
{
	switch (cipher->scheme.entry->family) {
	case HP_FAMILY_AES_GCM:
		set_exact(sizes, len + cipher->scheme.tag_len);
		return HSMPOOL_OK;
	case HP_FAMILY_AES_CBC_PAD:
		set_exact(sizes, (len / HP_AES_BLOCK + 1) * HP_AES_BLOCK);
		return HSMPOOL_OK;
	case HP_FAMILY_AES_CBC:
		set_exact(sizes, len);
		HP_CHECK(len % HP_AES_BLOCK == 0, err, HSMPOOL_ERR_USAGE,
			 "scheme aes-cbc takes whole blocks of 16 bytes, not %zu bytes: "
			 "pad, "
			 "or use aes-cbc-pad",
			 len);
		return HSMPOOL_OK;
	default:
		set_exact(sizes, len);
		return HSMPOOL_OK;
	}
}

static hsmpool_status aes_decrypted(const struct hp_cipher *cipher, size_t len,
				    struct hp_cipher_sizes *sizes)
{
	size_t tag = cipher->scheme.tag_len;
	set_exact(sizes, len);
	switch (cipher->scheme.entry->family) {
	case HP_FAMILY_AES_GCM:
		if (len < tag)
			return HSMPOOL_ERR_DATA;
		sizes->least = sizes->most = len - tag;
		return HSMPOOL_OK;
	case HP_FAMILY_AES_CBC_PAD:
		if (len == 0 || len % HP_AES_BLOCK != 0)
			return HSMPOOL_ERR_DATA;
		sizes->least = len - HP_AES_BLOCK;
		sizes->most = len - 1;
		return HSMPOOL_OK;
	case HP_FAMILY_AES_CBC:
		return len % HP_AES_BLOCK == 0 ? HSMPOOL_OK : HSMPOOL_ERR_DATA;
	default:
		return HSMPOOL_OK;
	}
}

/* The longest plaintext under a modulus of so many bytes; 0 also if none fits. */
static size_t rsa_room(const struct hp_cipher *cipher, size_t modulus)
{
	size_t overhead = PKCS1_OVERHEAD;
	if (cipher->scheme.entry->family == HP_FAMILY_RSA_OAEP)
		overhead = 2 * hp_hash_info(cipher->scheme.entry->hash)->size + 2;
	return modulus > overhead ? modulus - overhead : 0;
}

static hsmpool_status rsa_sizes(const struct hp_cipher *cipher, size_t modulus,
				size_t len, struct hp_cipher_sizes *sizes,
				hsmpool_error *err)
{
	if (modulus == 0) { /* the token does not say */
		*sizes =
			(struct hp_cipher_sizes){ 0, HP_SIGNATURE_MAX, HP_SIGNATURE_MAX };
		return HSMPOOL_OK;
	}
	set_exact(sizes, modulus);
	size_t room = rsa_room(cipher, modulus);
	if (cipher->is_encryption) {
		HP_CHECK(len <= room, err, HSMPOOL_ERR_USAGE,
			 "scheme %s encrypts at most %zu bytes with this key, not %zu: "
			 "encrypt a data key with it, and the data with that",
			 cipher->scheme.entry->name, room, len);
		return HSMPOOL_OK;
	}
	sizes->least = 0;
	sizes->most = room;
	return len == modulus ? HSMPOOL_OK : HSMPOOL_ERR_DATA;
}

hsmpool_status hp_cipher_sizes(const struct hp_cipher *cipher,
			       const struct hp_key_facts *facts, size_t len,
			       struct hp_cipher_sizes *sizes, hsmpool_error *err)
{
	if (hp_cipher_is_rsa(cipher))
		return rsa_sizes(cipher, hp_key_bytes(facts), len, sizes, err);
	if (cipher->is_encryption)
		return aes_encrypted(cipher, len, sizes, err);
	return aes_decrypted(cipher, len, sizes);
}

/* --- what the token makes of it ------------------------------------------------- */

hsmpool_status hp_cipher_take_hsm_iv(struct hp_cipher *cipher,
				     const struct hp_mechanism *m, hsmpool *pool,
				     const hsmpool_key *key, hsmpool_error *err)
{
	HP_CHECK(hp_token_iv_is_new(pool, key, m->iv), err, HSMPOOL_ERR_UNSUPPORTED,
		 "hsm-iv = yes, but the token made no new IV for AES-GCM: set hsm-iv = "
		 "no");
	memcpy(cipher->iv, m->iv, HP_GCM_IV);
	return HSMPOOL_OK;
}

hsmpool_status hp_cipher_fail_oaep(const struct hp_cipher *cipher, hsmpool_error *err)
{
	return hp_fail(err, HSMPOOL_ERR_UNSUPPORTED,
		       "the token does not have %s%s: use rsa-oaep-sha1 without a label",
		       cipher->scheme.entry->name,
		       cipher->label.len ? " with a label" : "");
}

bool hp_cipher_is_rare_oaep(const struct hp_cipher *cipher)
{
	return cipher->scheme.entry->family == HP_FAMILY_RSA_OAEP &&
	       (cipher->scheme.entry->hash != HP_HASH_SHA1 || cipher->label.len > 0);
}

/* Mechanism or parameters are refused, not the key or the session. */
static bool is_refusal(const struct hp_session *s, CK_RV rv)
{
	const struct hp_rv_info *info = hp_rv_find(rv);
	return info && hp_rv_class(&s->module->overrides, rv) == HP_RV_CALLER &&
	       (info->status == HSMPOOL_ERR_USAGE ||
		info->status == HSMPOOL_ERR_UNSUPPORTED);
}

CK_RV hp_cipher_explain_init(const struct hp_cipher *cipher, const struct hp_session *s,
			     CK_RV rv, hsmpool_status *own, hsmpool_error *err)
{
	if (!hp_cipher_is_rare_oaep(cipher) || !is_refusal(s, rv))
		return rv;
	hp_token_note_oaep(hp_pool_of(s), &cipher->scheme, cipher->label.len > 0,
			   HP_TOKEN_HAS_NOT);
	*own = hp_cipher_fail_oaep(cipher, err);
	if (err)
		err->ck_rv = rv;
	return CKR_OK;
}

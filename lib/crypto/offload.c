/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verification and RSA encryption with OpenSSL on the key's public half.
 *
 * Owns: the translation of a prepared operation to EVP. Must not: borrow a session
 * (key.h does, once, to read the public half), or answer otherwise than the token:
 * an OAEP that not every token has goes through the token until one try succeeded, as
 * what the token does not have it could not decrypt later either. No lock.
 */
#include "crypto/offload.h"

#include <string.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/openssl_errors.h"
#include "crypto/ecdsa_der.h"
#include "crypto/token_facts.h"

static void free_pkey(EVP_PKEY **pkey)
{
	EVP_PKEY_free(*pkey);
}

static void free_pkey_ctx(EVP_PKEY_CTX **ctx)
{
	EVP_PKEY_CTX_free(*ctx);
}

static void free_md_ctx(EVP_MD_CTX **ctx)
{
	EVP_MD_CTX_free(*ctx);
}

#define AUTO_PKEY     __attribute__((cleanup(free_pkey))) EVP_PKEY
#define AUTO_PKEY_CTX __attribute__((cleanup(free_pkey_ctx))) EVP_PKEY_CTX
#define AUTO_MD_CTX   __attribute__((cleanup(free_md_ctx))) EVP_MD_CTX

/* The facts of the public key, as the token would tell them. */
static struct hp_key_facts read_facts(EVP_PKEY *pkey)
{
	struct hp_key_facts facts = { .class = CKO_PUBLIC_KEY,
				      .type = CK_UNAVAILABLE_INFORMATION };
	facts.bits = (uint32_t)EVP_PKEY_get_bits(pkey);
	if (EVP_PKEY_is_a(pkey, "RSA"))
		facts.type = CKK_RSA;
	else if (EVP_PKEY_is_a(pkey, "EC"))
		facts.type = CKK_EC;
	else if (EVP_PKEY_is_a(pkey, "ED25519"))
		facts.type = CKK_EC_EDWARDS;
	return facts;
}

static hsmpool_status open_public(hsmpool *pool, hsmpool_key *key,
				  hsmpool_deadline deadline, EVP_PKEY **pkey,
				  struct hp_key_facts *facts, hsmpool_error *err)
{
	HP_TRY(hp_pool_check_usable(pool, err));
	HP_TRY(hp_key_public(key, deadline, pkey, err));
	*facts = read_facts(*pkey);
	return HSMPOOL_OK;
}

/* --- as uses of the HSM's key ------------------------------------------------------- */

hsmpool_status hp_offload_begin(struct hp_use *use, hsmpool *pool, hsmpool_key *key,
				hsmpool_error *err)
{
	use->pool = pool;
	use->key = hp_key_known_as(key, HP_KEY_FOR_PUBLIC_USE);
	hp_pool_hold(pool);
	hsmpool_status status = hp_use_begin(use, err);
	if (status != HSMPOOL_OK)
		hp_pool_let_go(pool);
	return status;
}

void hp_offload_end(struct hp_use *use, hsmpool_status status, size_t output_len)
{
	hp_use_end(use, CKR_OK, status, output_len);
	hp_pool_let_go(use->pool);
}

/* --- verification ------------------------------------------------------------------ */

static bool set_rsa_padding(EVP_PKEY_CTX *ctx, const struct hp_signing *signing)
{
	const EVP_MD *md = hp_hash_md(signing->scheme.entry->hash);
	if (signing->scheme.entry->family == HP_FAMILY_RSA_PKCS1)
		return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) > 0 &&
		       EVP_PKEY_CTX_set_signature_md(ctx, md) > 0;
	return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) > 0 &&
	       EVP_PKEY_CTX_set_signature_md(ctx, md) > 0 &&
	       EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) > 0 &&
	       EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, (int)signing->scheme.salt_len) > 0;
}

static bool verifies_digest(EVP_PKEY *pkey, const struct hp_signing *signing,
			    hsmpool_bytes signature)
{
	AUTO_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
	hsmpool_bytes digest = hp_signing_digest(signing);
	if (!ctx || EVP_PKEY_verify_init(ctx) <= 0)
		return false;
	if (signing->scheme.entry->family != HP_FAMILY_ECDSA &&
	    !set_rsa_padding(ctx, signing))
		return false;
	return EVP_PKEY_verify(ctx, signature.data, signature.len, digest.data,
			       digest.len) == 1;
}

static bool verifies_message(EVP_PKEY *pkey, hsmpool_bytes message,
			     hsmpool_bytes signature)
{
	AUTO_MD_CTX *ctx = EVP_MD_CTX_new();
	return ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
	       EVP_DigestVerify(ctx, signature.data, signature.len, hp_nonnull(message),
				message.len) == 1;
}

/* OpenSSL reads ECDSA signatures as DER only. raw is as the token would get it. */
static bool verifies(EVP_PKEY *pkey, const struct hp_signing *signing, hsmpool_bytes raw)
{
	uint8_t der[HP_ECDSA_DER_MAX];
	hsmpool_bytes signature = raw;
	switch (signing->scheme.entry->family) {
	case HP_FAMILY_EDDSA:
		return verifies_message(pkey, signing->input, signature);
	case HP_FAMILY_ECDSA:
		signature.data = der;
		return hp_ecdsa_to_der(raw.data, raw.len, der, &signature.len) &&
		       verifies_digest(pkey, signing, signature);
	default:
		return verifies_digest(pkey, signing, signature);
	}
}

static hsmpool_status verify_here(hsmpool_key *key, EVP_PKEY *pkey,
				  const struct hp_key_facts *facts,
				  const struct hp_signing *signing,
				  hsmpool_bytes signature, hsmpool_error *err)
{
	HP_KEEP_OPENSSL_ERRORS;
	uint8_t buffer[2 * HP_ECDSA_NUMBER_MAX];
	hsmpool_bytes raw;
	HP_TRY(hp_signing_check_key(signing, key, HP_KEY_FOR_PUBLIC_USE, facts, err));
	if (hp_signing_read(signing, facts, signature, buffer, &raw) &&
	    verifies(pkey, signing, raw))
		return HSMPOOL_OK;
	return hp_fail_data(err, "verify", key);
}

hsmpool_status hp_offload_verify(hsmpool *pool, hsmpool_key *key,
				 const struct hp_signing *signing, size_t message_len,
				 hsmpool_bytes signature, hsmpool_deadline deadline,
				 hsmpool_error *err)
{
	AUTO_PKEY *pkey = NULL;
	struct hp_key_facts facts;
	struct hp_use use =
		hp_use_of("C_Verify", hp_signing_mechanism(signing), message_len);
	HP_TRY(open_public(pool, key, deadline, &pkey, &facts, err));
	HP_TRY(hp_offload_begin(&use, pool, key, err));
	hsmpool_status status = verify_here(key, pkey, &facts, signing, signature, err);
	hp_offload_end(&use, status, 0);
	return status;
}

/* --- RSA encryption ------------------------------------------------------------- */

/* OpenSSL takes the label over, and frees it. */
static bool set_label(EVP_PKEY_CTX *ctx, hsmpool_bytes label)
{
	if (label.len == 0)
		return true;
	uint8_t *copy = OPENSSL_memdup(label.data, label.len);
	if (copy && label.len <= INT32_MAX &&
	    EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, copy, (int)label.len) > 0)
		return true;
	OPENSSL_free(copy);
	return false;
}

static bool set_padding(EVP_PKEY_CTX *ctx, const struct hp_cipher *cipher)
{
	if (cipher->scheme.entry->family == HP_FAMILY_RSA_PKCS1)
		return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) > 0;
	const EVP_MD *md = hp_hash_md(cipher->scheme.entry->hash);
	return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) > 0 &&
	       EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md) > 0 &&
	       EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) > 0 && set_label(ctx, cipher->label);
}

static hsmpool_status check_encryption(hsmpool_key *key, const struct hp_cipher *cipher,
				       const struct hp_key_facts *facts, size_t len,
				       hsmpool_buf *out, hsmpool_error *err)
{
	struct hp_cipher_sizes sizes;
	HP_TRY(hp_mechanism_check_key(&cipher->scheme, key, HP_KEY_FOR_PUBLIC_USE, facts,
				      err));
	HP_TRY(hp_cipher_sizes(cipher, facts, len, &sizes, err));
	return hp_buf_need(out, sizes.most, err);
}

static hsmpool_status encrypt_with(EVP_PKEY *pkey, const hsmpool_key *key,
				   const struct hp_cipher *cipher,
				   hsmpool_bytes plaintext, hsmpool_buf *out,
				   hsmpool_error *err)
{
	HP_KEEP_OPENSSL_ERRORS;
	AUTO_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
	uint8_t result[HP_SIGNATURE_MAX];
	size_t len = sizeof(result);
	HP_CHECK(ctx && EVP_PKEY_encrypt_init(ctx) > 0 && set_padding(ctx, cipher) &&
			 EVP_PKEY_encrypt(ctx, result, &len, hp_nonnull(plaintext),
					  plaintext.len) > 0,
		 err, HSMPOOL_ERR_SYSTEM, "encrypt with key '%s': OpenSSL cannot do %s",
		 hp_key_name(key), cipher->scheme.entry->name);
	memcpy(out->data, result, len);
	out->len = len;
	return HSMPOOL_OK;
}

static hsmpool_status encrypt_here(hsmpool *pool, hsmpool_key *key,
				   const struct hp_cipher *cipher,
				   hsmpool_bytes plaintext, hsmpool_buf *out,
				   hsmpool_deadline deadline, hsmpool_error *err)
{
	AUTO_PKEY *pkey = NULL;
	struct hp_key_facts facts;
	struct hp_use use =
		hp_use_of("C_Encrypt", hp_cipher_mechanism_type(cipher), plaintext.len);
	HP_TRY(open_public(pool, key, deadline, &pkey, &facts, err));
	HP_TRY(check_encryption(key, cipher, &facts, plaintext.len, out, err));
	HP_TRY(hp_offload_begin(&use, pool, key, err));
	hsmpool_status status = encrypt_with(pkey, key, cipher, plaintext, out, err);
	hp_offload_end(&use, status, out->len);
	return status;
}

hsmpool_status hp_offload_encrypt(hsmpool *pool, hsmpool_key *key,
				  const struct hp_cipher *cipher, hsmpool_bytes plaintext,
				  hsmpool_buf *out, hsmpool_deadline deadline,
				  hsmpool_error *err)
{
	bool has_label = cipher->label.len > 0;
	if (!hp_cipher_is_rare_oaep(cipher))
		return encrypt_here(pool, key, cipher, plaintext, out, deadline, err);
	switch (hp_token_has_oaep(pool, &cipher->scheme, has_label)) {
	case HP_TOKEN_HAS_IT:
		return encrypt_here(pool, key, cipher, plaintext, out, deadline, err);
	case HP_TOKEN_HAS_NOT:
		return hp_cipher_fail_oaep(cipher, err);
	default:
		break;
	}
	hsmpool_status status =
		hp_encrypt_in_token(pool, key, cipher, plaintext, out, deadline, err);
	if (status == HSMPOOL_OK)
		hp_token_note_oaep(pool, &cipher->scheme, has_label, HP_TOKEN_HAS_IT);
	return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See schedule.h.
 *
 *   PRK        = HKDF-Extract(SHA-256, salt = container id, IKM = data key)
 *   payload    = HKDF-Expand(PRK, "hsmpool v1 payload key" 00 || bound part, 32)
 *   commitment = HKDF-Expand(PRK, "hsmpool v1 key commitment" 00 || bound part, 32)
 *   header     = HKDF-Expand(PRK, "hsmpool v1 header key" 00 || bound part, 32)
 *
 * bound part: the first 64 bytes of the container, that is all but the commitment.
 */
#include "stream/schedule.h"
#include <string.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include "base/error.h"
#include "base/memory.h"
#include "stream/container.h"

static hsmpool_status openssl_failed(hsmpool_error *err, const char *what)
{
	return hp_fail(err, HSMPOOL_ERR_SYSTEM,
		       "OpenSSL cannot do %s here: check its configuration (openssl.cnf)",
		       what);
}

struct hp_secret *hp_keys_new(void)
{
	struct hp_secret *secret = hp_secret_new(sizeof(struct hp_keys));
	if (secret)
		secret->len = sizeof(struct hp_keys);
	return secret;
}

hsmpool_status hp_sha256(const hsmpool_bytes *parts, size_t count, uint8_t out[32],
			 hsmpool_error *err)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool is_ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;
	for (size_t i = 0; is_ok && i < count; i++)
		is_ok = EVP_DigestUpdate(ctx, parts[i].data, parts[i].len) == 1;
	is_ok = is_ok && EVP_DigestFinal_ex(ctx, out, NULL) == 1;
	EVP_MD_CTX_free(ctx);
	return is_ok ? HSMPOOL_OK : openssl_failed(err, "SHA-256");
}

/* One output of the schedule. HKDF as a whole each time: three extracts more are a
 * few microseconds per container, and the PRK lives nowhere. */
static bool derive_one(EVP_KDF_CTX *ctx, const uint8_t *data_key,
		       const struct hp_container *container, const char *label,
		       size_t label_len, uint8_t out[32])
{
	uint8_t info[64 + HP_BOUND_LEN];
	char digest[] = "SHA256";
	memcpy(info, label, label_len);
	memcpy(info + label_len, container->raw, HP_BOUND_LEN);
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)data_key,
						  HP_DATA_KEY_LEN),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT,
						  (void *)container->fixed.id,
						  HP_CONTAINER_ID_LEN),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info,
						  label_len + HP_BOUND_LEN),
		OSSL_PARAM_construct_end(),
	};
	EVP_KDF_CTX_reset(ctx);
	return EVP_KDF_derive(ctx, out, 32, params) == 1;
}

hsmpool_status hp_keys_derive(struct hp_keys *keys, const struct hp_container *container,
			      hsmpool_error *err)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	bool is_ok = ctx &&
		     derive_one(ctx, keys->data, container, HP_LABEL_PAYLOAD,
				sizeof(HP_LABEL_PAYLOAD), keys->payload) &&
		     derive_one(ctx, keys->data, container, HP_LABEL_COMMITMENT,
				sizeof(HP_LABEL_COMMITMENT), keys->commitment) &&
		     derive_one(ctx, keys->data, container, HP_LABEL_HEADER,
				sizeof(HP_LABEL_HEADER), keys->header);
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return is_ok ? HSMPOOL_OK : openssl_failed(err, "HKDF-SHA-256");
}

bool hp_keys_are_committed(const struct hp_keys *keys,
			   const struct hp_container *container)
{
	return hp_equal_secret(keys->commitment, container->fixed.commitment,
			       sizeof(keys->commitment));
}

hsmpool_status hp_header_mac(const struct hp_keys *keys,
			     const struct hp_container *container, uint8_t out[32],
			     hsmpool_error *err)
{
	unsigned len = 0;
	const uint8_t *mac = HMAC(EVP_sha256(), keys->header, sizeof(keys->header),
				  container->raw, container->raw_len, out, &len);
	return mac && len == 32 ? HSMPOOL_OK : openssl_failed(err, "HMAC-SHA-256");
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See encoder.h. The numbers are sections of docs/format.md.
 */
#include "encoder.h"

#include <string.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <hsmpool/crypto.h>
#include "base/memory.h"
#include "fuzz.h"

enum { FIXED_LEN = 96, BOUND_LEN = 64, HEAD_LEN = 9, IV_LEN = 12, TAG_LEN = 16 };

/* Nothing is random, so that an input does the same each time. */
static const uint8_t data_key[32] = "the data key of every container";
static const uint8_t container_id[16] = "fuzzed container";
static const uint8_t direct_iv[IV_LEN] = "direct mode";

static void put(struct encoder *encoder, const void *data, size_t len)
{
	MUST(hp_text_append(&encoder->out, data, len, NULL) == HSMPOOL_OK);
}

static void put_number(struct encoder *encoder, uint64_t value, size_t len)
{
	uint8_t bytes[8];
	hp_put_be64(bytes, value);
	put(encoder, bytes + sizeof(bytes) - len, len);
}

/* --- 3, 5: hashes and keys -----------------------------------------------------------
 */

static void hash_context(const struct encoder *encoder, uint8_t hash[32])
{
	static const char label[] = "hsmpool v1 context";
	uint8_t text[sizeof(label) + sizeof(container_id) + 64];
	memset(hash, 0, 32);
	if (!encoder->context)
		return;
	size_t len = strlen(encoder->context);
	MUST(len <= 64);
	memcpy(text, label, sizeof(label));
	memcpy(text + sizeof(label), container_id, sizeof(container_id));
	memcpy(text + sizeof(label) + sizeof(container_id), encoder->context, len);
	SHA256(text, sizeof(label) + sizeof(container_id) + len, hash);
}

/* HKDF of one block of output. The bound part is what is written so far. */
static void derive(const struct encoder *encoder, const char *label, uint8_t key[32])
{
	uint8_t prk[32], info[128];
	size_t label_len = strlen(label) + 1;
	memcpy(info, label, label_len);
	memcpy(info + label_len, encoder->out.data, BOUND_LEN);
	info[label_len + BOUND_LEN] = 1;
	MUST(HMAC(EVP_sha256(), container_id, sizeof(container_id), data_key,
		  sizeof(data_key), prk, NULL));
	MUST(HMAC(EVP_sha256(), prk, sizeof(prk), info, label_len + BOUND_LEN + 1, key,
		  NULL));
}

/* --- 2: the fixed part ---------------------------------------------------------------
 */

static void put_fixed_part(struct encoder *encoder)
{
	uint8_t hash[32], commitment[32] = { 0 };
	const uint8_t kind[] = { 1, encoder->is_direct ? 2 : 1, 1, encoder->compression };
	put(encoder, "\x89HSMP\r\n\x1a", 8);
	put(encoder, kind, sizeof(kind));
	put_number(encoder, encoder->chunk_size, 4);
	put(encoder, container_id, sizeof(container_id));
	hash_context(encoder, hash);
	put(encoder, hash, sizeof(hash));
	if (!encoder->is_direct) {
		derive(encoder, "hsmpool v1 key commitment", commitment);
		derive(encoder, "hsmpool v1 payload key", encoder->payload_key);
	}
	commitment[0] = (uint8_t)(commitment[0] + encoder->commitment_error);
	put(encoder, commitment, sizeof(commitment));
	MUST(encoder->out.len == FIXED_LEN);
}

/* --- 4: recipients -------------------------------------------------------------------
 */

static void put_entry(struct encoder *encoder, uint8_t type, hsmpool_bytes id,
		      hsmpool_bytes wrapped)
{
	const uint8_t kind[] = { type, 0, (uint8_t)id.len };
	put_number(encoder, sizeof(kind) + id.len + 2 + 2 + wrapped.len, 2);
	put(encoder, kind, sizeof(kind));
	put(encoder, id.data, id.len);
	put_number(encoder, 0, 2); /* no label, no check value */
	put_number(encoder, wrapped.len, 2);
	put(encoder, wrapped.data, wrapped.len);
}

/* Sealed by the HSM's key: behind the IV. */
static size_t seal_in_hsm(const struct encoder *encoder, hsmpool_bytes aad,
			  hsmpool_bytes plain, uint8_t *out, size_t cap)
{
	const hsmpool_params params = { .size = sizeof(params),
					.flags = HSMPOOL_CALLER_IV,
					.aad = aad,
					.iv = { direct_iv, sizeof(direct_iv) } };
	hsmpool_buf sealed = { out, cap, 0 };
	hsmpool_error err = { 0 };
	MUST(hsmpool_encrypt(encoder->pool, encoder->key, "aes-gcm", &params, plain,
			     &sealed, HSMPOOL_DEFAULT, &err) == HSMPOOL_OK);
	return sealed.len;
}

static void wrap_data_key(const struct encoder *encoder, uint8_t wrapped[60])
{
	static const char label[] = "hsmpool v1 data key wrap";
	uint8_t aad[sizeof(label) + sizeof(container_id)];
	memcpy(aad, label, sizeof(label));
	memcpy(aad + sizeof(label), container_id, sizeof(container_id));
	memcpy(wrapped, direct_iv, IV_LEN);
	MUST(seal_in_hsm(encoder, (hsmpool_bytes){ aad, sizeof(aad) },
			 (hsmpool_bytes){ data_key, sizeof(data_key) }, wrapped + IV_LEN,
			 60 - IV_LEN) == 60 - IV_LEN);
}

static void put_recipients(struct encoder *encoder)
{
	hsmpool_key_info info = { .size = sizeof(info) };
	uint8_t wrapped[60];
	size_t start = encoder->out.len;
	const hsmpool_bytes stranger = { (const uint8_t *)"stranger", 8 };
	MUST(hsmpool_key_get_info(encoder->key, &info, HSMPOOL_DEFAULT, NULL) ==
	     HSMPOOL_OK);
	put_number(encoder, 0, 4);
	put_number(encoder, encoder->strangers + 1, 2);
	for (unsigned i = 0; i < encoder->strangers; i++)
		put_entry(encoder, 200, stranger, stranger);
	if (!encoder->is_direct)
		wrap_data_key(encoder, wrapped);
	put_entry(encoder, encoder->is_direct ? 5 : 1,
		  (hsmpool_bytes){ info.id, info.id_len },
		  (hsmpool_bytes){ wrapped, encoder->is_direct ? 0 : sizeof(wrapped) });
	hp_put_be32(encoder->out.data + start, (uint32_t)(encoder->out.len - start - 4));
}

void encoder_begin(struct encoder *encoder)
{
	uint8_t key[32], mac[32];
	put_fixed_part(encoder);
	put_recipients(encoder);
	SHA256(encoder->out.data, encoder->is_direct ? encoder->out.len : FIXED_LEN,
	       encoder->header_hash);
	if (encoder->is_direct)
		return;
	derive(encoder, "hsmpool v1 header key", key);
	MUST(HMAC(EVP_sha256(), key, sizeof(key), encoder->out.data, encoder->out.len,
		  mac, NULL));
	mac[31] = (uint8_t)(mac[31] + encoder->mac_error);
	put(encoder, mac, sizeof(mac));
}

/* --- 6: chunks -----------------------------------------------------------------------
 */

static size_t make_aad(const struct encoder *encoder, uint64_t index,
		       const uint8_t head[HEAD_LEN], uint8_t aad[128])
{
	const char *label = encoder->is_direct ? "hsmpool v1 direct chunk"
					       : "hsmpool v1 envelope chunk";
	uint8_t *at = aad;
	at = (uint8_t *)mempcpy(at, label, strlen(label) + 1);
	at = (uint8_t *)mempcpy(at, container_id, sizeof(container_id));
	hp_put_be64(at, index);
	at = (uint8_t *)mempcpy(at + 8, head, HEAD_LEN);
	at = (uint8_t *)mempcpy(at, encoder->header_hash, sizeof(encoder->header_hash));
	return (size_t)(at - aad);
}

static void seal_here(const struct encoder *encoder, const struct encoder_chunk *chunk,
		      hsmpool_bytes aad, uint8_t *out)
{
	uint8_t nonce[IV_LEN] = { 0 }, none[16];
	int len = 0;
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	hp_put_be64(nonce + 3, chunk->index);
	nonce[11] = chunk->flags & 1;
	MUST(ctx && EVP_EncryptInit_ex2(ctx, EVP_aes_256_gcm(), encoder->payload_key,
					nonce, NULL) == 1);
	MUST(EVP_EncryptUpdate(ctx, NULL, &len, aad.data, (int)aad.len) == 1);
	if (chunk->body.len > 0)
		MUST(EVP_EncryptUpdate(ctx, out, &len, chunk->body.data,
				       (int)chunk->body.len) == 1);
	MUST(EVP_EncryptFinal_ex(ctx, none, &len) == 1);
	MUST(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN,
				 out + chunk->body.len) == 1);
	EVP_CIPHER_CTX_free(ctx);
}

void encoder_add(struct encoder *encoder, const struct encoder_chunk *chunk)
{
	uint8_t head[HEAD_LEN], bytes[128];
	size_t sealed_len = chunk->body.len + TAG_LEN;
	head[0] = chunk->flags;
	hp_put_be32(head + 1, chunk->plain_len);
	hp_put_be32(head + 5, chunk->body_len);
	const hsmpool_bytes aad = { bytes, make_aad(encoder, chunk->index, head, bytes) };
	put(encoder, head, sizeof(head));
	if (encoder->is_direct)
		put(encoder, direct_iv, sizeof(direct_iv));
	MUST(hp_text_reserve(&encoder->out, sealed_len, NULL) == HSMPOOL_OK);
	uint8_t *out = encoder->out.data + encoder->out.len;
	if (encoder->is_direct)
		MUST(seal_in_hsm(encoder, aad, chunk->body, out, sealed_len) ==
		     sealed_len);
	else
		seal_here(encoder, chunk, aad, out);
	encoder->out.len += sealed_len;
}

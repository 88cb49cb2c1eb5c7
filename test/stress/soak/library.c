/* SPDX-License-Identifier: Apache-2.0 */
/* What the library's threads do: every operation with its deadline, each answer held
 * against OpenSSL's. */
#include "soak.h"

#include <stdio.h>
#include <string.h>
#include <openssl/rand.h>

#define PATIENCE hsmpool_deadline_in(20000)

static enum soak_outcome refused(struct soak_worker *worker, const hsmpool_error *err)
{
	snprintf(worker->complaint, sizeof(worker->complaint), "%s (executed: %d)",
		 err->text, (int)err->executed);
	return SOAK_REFUSED;
}

static enum soak_outcome answer(bool is_right)
{
	return is_right ? SOAK_DONE : SOAK_WRONG;
}

static hsmpool_bytes input_of(const struct soak_worker *worker)
{
	return (hsmpool_bytes){ worker->input, worker->input_len };
}

#define OUTPUT(name, room)         \
	uint8_t name##_data[room]; \
	hsmpool_buf name = { name##_data, sizeof(name##_data), 0 }
#define BYTES(name) ((hsmpool_bytes){ (name).data, (name).len })

static enum soak_outcome digest(struct soak_worker *w)
{
	hsmpool_error err;
	OUTPUT(out, 32);
	if (hsmpool_digest(w->soak->pool, "sha256", input_of(w), &out, PATIENCE, &err) !=
	    HSMPOOL_OK)
		return refused(w, &err);
	return answer(truth_is_digest(input_of(w), BYTES(out)));
}

static enum soak_outcome draw_random(struct soak_worker *w)
{
	static const uint8_t nothing[16];
	uint8_t drawn[16] = { 0 };
	hsmpool_error err;
	if (hsmpool_random(w->soak->pool, drawn, sizeof(drawn), PATIENCE, &err) !=
	    HSMPOOL_OK)
		return refused(w, &err);
	return answer(memcmp(drawn, nothing, sizeof(drawn)) != 0);
}

static enum soak_outcome encrypt_gcm(struct soak_worker *w)
{
	hsmpool_error err;
	OUTPUT(out, SOAK_INPUT + 28);
	if (hsmpool_encrypt(w->soak->pool, w->soak->aes, "aes-gcm", NULL, input_of(w),
			    &out, PATIENCE, &err) != HSMPOOL_OK)
		return refused(w, &err);
	return answer(truth_opens_gcm(w->soak->truth, BYTES(out), input_of(w)));
}

static enum soak_outcome decrypt_cbc(struct soak_worker *w)
{
	hsmpool_error err;
	uint8_t sealed[SOAK_IV + SOAK_INPUT + 16];
	OUTPUT(out, SOAK_INPUT + 16);
	RAND_bytes(sealed, SOAK_IV);
	size_t len = SOAK_IV + truth_encrypt_cbc(w->soak->truth, sealed, input_of(w),
						 sealed + SOAK_IV);
	if (hsmpool_decrypt(w->soak->pool, w->soak->aes, "aes-cbc-pad", NULL,
			    (hsmpool_bytes){ sealed, len }, &out, PATIENCE,
			    &err) != HSMPOOL_OK)
		return refused(w, &err);
	return answer(out.len == w->input_len &&
		      memcmp(out.data, w->input, out.len) == 0);
}

/* A signature that was made in fair weather. */
static enum soak_outcome verify(struct soak_worker *w)
{
	hsmpool_error err;
	struct soak *soak = w->soak;
	bool is_altered = soak_roll(w, 2) == 0;
	uint8_t message[sizeof(soak->message)];
	memcpy(message, soak->message, sizeof(message));
	message[0] ^= is_altered;
	hsmpool_status status = hsmpool_verify(
		soak->pool, soak->rsa, "rsa-pkcs1-sha256",
		(hsmpool_bytes){ message, sizeof(message) },
		(hsmpool_bytes){ soak->signature, soak->signature_len }, PATIENCE, &err);
	if (status == HSMPOOL_OK || status == HSMPOOL_ERR_DATA)
		return answer((status == HSMPOOL_ERR_DATA) == is_altered);
	return refused(w, &err);
}

static enum soak_outcome mac(struct soak_worker *w)
{
	hsmpool_error err;
	OUTPUT(out, 32);
	if (hsmpool_mac(w->soak->pool, w->soak->hmac, "hmac-sha256", input_of(w), &out,
			PATIENCE, &err) != HSMPOOL_OK)
		return refused(w, &err);
	return answer(truth_is_hmac(w->soak->truth, input_of(w), BYTES(out)));
}

static enum soak_outcome sign(struct soak_worker *w, hsmpool_key *key, EVP_PKEY *truth,
			      const char *scheme)
{
	hsmpool_error err;
	OUTPUT(out, 512);
	if (hsmpool_sign(w->soak->pool, key, scheme, input_of(w), &out, PATIENCE, &err) !=
	    HSMPOOL_OK)
		return refused(w, &err);
	return answer(truth_verifies(truth, input_of(w), BYTES(out)));
}

static enum soak_outcome sign_rsa(struct soak_worker *w)
{
	return sign(w, w->soak->rsa, w->soak->truth->rsa, "rsa-pkcs1-sha256");
}

static enum soak_outcome sign_ecdsa(struct soak_worker *w)
{
	return sign(w, w->soak->ec, w->soak->truth->ec, "ecdsa-sha256");
}

/* Made and destroyed: neither is ever repeated. */
static enum soak_outcome make_key(struct soak_worker *w)
{
	static atomic_uint number;
	hsmpool_key *key = NULL;
	hsmpool_error err;
	char label[32];
	snprintf(label, sizeof(label), "made-%u", atomic_fetch_add(&number, 1));
	hsmpool_key_spec spec = { .size = sizeof(spec), .type = "aes", .label = label };
	if (hsmpool_key_generate(&key, w->soak->pool, &spec, PATIENCE, &err) !=
	    HSMPOOL_OK)
		return refused(w, &err);
	hsmpool_status status = hsmpool_key_destroy(key, PATIENCE, &err);
	hsmpool_key_close(&key);
	return status == HSMPOOL_OK ? SOAK_DONE : refused(w, &err);
}

struct soak_job soak_library_jobs[] = {
	{ "library: digest", SOAK_IDEMPOTENT, 20, digest, 0, 0, 0, 0 },
	{ "library: random", SOAK_IDEMPOTENT, 20, draw_random, 0, 0, 0, 0 },
	{ "library: encrypt", SOAK_IDEMPOTENT, 20, encrypt_gcm, 0, 0, 0, 0 },
	{ "library: decrypt", SOAK_IDEMPOTENT, 20, decrypt_cbc, 0, 0, 0, 0 },
	{ "library: verify", SOAK_IDEMPOTENT, 10, verify, 0, 0, 0, 0 },
	{ "library: mac", SOAK_SIGNATURE, 20, mac, 1, 0, 0, 0 },
	{ "library: sign with RSA", SOAK_SIGNATURE, 3, sign_rsa, 1, 0, 0, 0 },
	{ "library: sign with ECDSA", SOAK_SIGNATURE, 10, sign_ecdsa, 1, 0, 0, 0 },
	{ "library: make a key", SOAK_ONCE, 1, make_key, 0, 0, 0, 0 },
	{ NULL, SOAK_ONCE, 0, NULL, 0, 0, 0, 0 },
};

static void require_ok(hsmpool_status status, const hsmpool_error *err)
{
	if (status != HSMPOOL_OK)
		fail_msg("%s", err->text);
}

static hsmpool_key *import(struct soak *soak, const char *type, const char *label,
			   const uint8_t *secret)
{
	hsmpool_key *key = NULL;
	hsmpool_error err;
	hsmpool_key_spec spec = { .size = sizeof(spec), .type = type, .label = label };
	require_ok(hsmpool_key_import_secret(&key, soak->pool, &spec,
					     (hsmpool_bytes){ secret, 32 }, PATIENCE,
					     &err),
		   &err);
	return key;
}

static hsmpool_key *generate(struct soak *soak, const char *type, const char *label,
			     EVP_PKEY **truth)
{
	hsmpool_key *key = NULL;
	hsmpool_error err;
	OUTPUT(pem, 2000);
	hsmpool_key_spec spec = { .size = sizeof(spec), .type = type, .label = label };
	if (strcmp(type, "rsa") == 0)
		spec.bits = 2048;
	require_ok(hsmpool_key_generate(&key, soak->pool, &spec, PATIENCE, &err), &err);
	require_ok(hsmpool_key_export_public(key, &pem, PATIENCE, &err), &err);
	*truth = truth_read_public(pem.data, pem.len);
	return key;
}

void soak_library_begin(struct soak *soak, struct fixture *f)
{
	soak->pool = fixture_open(f);
	soak->aes = import(soak, "aes", "soak-aes", soak->truth->aes);
	soak->hmac = import(soak, "generic", "soak-hmac", soak->truth->hmac);
	soak->rsa = generate(soak, "rsa", "soak-rsa", &soak->truth->rsa);
	soak->ec = generate(soak, "ec", "soak-ec", &soak->truth->ec);
	hsmpool_error err;
	hsmpool_buf signature = { soak->signature, sizeof(soak->signature), 0 };
	require_ok(hsmpool_sign(soak->pool, soak->rsa, "rsa-pkcs1-sha256",
				(hsmpool_bytes){ soak->message, sizeof(soak->message) },
				&signature, PATIENCE, &err),
		   &err);
	soak->signature_len = signature.len;
}

void soak_library_end(struct soak *soak)
{
	hsmpool_key_close(&soak->aes);
	hsmpool_key_close(&soak->hmac);
	hsmpool_key_close(&soak->rsa);
	hsmpool_key_close(&soak->ec);
	hsmpool_close(&soak->pool);
}

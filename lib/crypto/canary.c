/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The canary: probe an idle session by a real operation with a named key.
 *
 * When the pool opens, ways of using the key are tried until one works; from then on
 * the prober does that one. A key that is gone says nothing about a session: the probe
 * warns and passes, or every session of a healthy token would be thrown away.
 */
#include "crypto/canary.h"

#include <stdlib.h>
#include <string.h>
#include <openssl/rand.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/time.h"
#include "crypto/object.h"
#include "crypto/operation.h"
#include "observe/log.h"

#define KEY_LOCK_WAIT (5 * HP_SECOND)
#define OUTPUT_CAP    2048

enum use { ENCRYPTS, DECRYPTS, SIGNS };

/* One way to use a key of a type; 0 input bytes: as many as the modulus has. */
static const struct way {
	CK_KEY_TYPE type;
	enum use use;
	CK_MECHANISM_TYPE mechanism;
	CK_ULONG input_len;
} ways[] = {
	{ CKK_AES, ENCRYPTS, CKM_AES_GCM, 16 },
	{ CKK_AES, ENCRYPTS, CKM_AES_CBC, 16 },
	{ CKK_AES, SIGNS, CKM_AES_CMAC, 16 },
	{ CKK_GENERIC_SECRET, SIGNS, CKM_SHA256_HMAC, 16 },
	{ CKK_GENERIC_SECRET, SIGNS, CKM_SHA_1_HMAC, 16 },
	{ CKK_RSA, SIGNS, CKM_RSA_PKCS, 32 },
	{ CKK_RSA, SIGNS, CKM_SHA256_RSA_PKCS, 32 },
	{ CKK_RSA, DECRYPTS, CKM_RSA_X_509, 0 },
	{ CKK_EC, SIGNS, CKM_ECDSA, 32 },
	{ CKK_EC_EDWARDS, SIGNS, CKM_EDDSA, 32 },
};

struct canary {
	hsmpool_key *key;
	const struct way *way;
};

/* --- one use -------------------------------------------------------------------- */

/* The parameters of the ciphers; the data is random, nobody reads the result. */
struct use_parameters {
	CK_MECHANISM ck;
	CK_GCM_PARAMS gcm;
	CK_BYTE iv[16];
};

static void build_mechanism(const struct way *way, struct use_parameters *p)
{
	memset(p, 0, sizeof(*p));
	p->ck.mechanism = way->mechanism;
	if (way->use != ENCRYPTS || RAND_bytes(p->iv, sizeof(p->iv)) != 1)
		return;
	p->gcm = (CK_GCM_PARAMS){
		.pIv = p->iv, .ulIvLen = 12, .ulIvBits = 96, .ulTagBits = 128
	};
	p->ck.pParameter = p->iv;
	p->ck.ulParameterLen = sizeof(p->iv);
	if (way->mechanism == CKM_AES_GCM) {
		p->ck.pParameter = &p->gcm;
		p->ck.ulParameterLen = sizeof(p->gcm);
	}
}

static CK_RV use_key(struct hp_session *s, CK_OBJECT_HANDLE handle, const struct way *way,
		     uint32_t bits)
{
	/* A message that says what it is, should a signature of it ever be seen. */
	CK_BYTE input[OUTPUT_CAP] = "\0hsmpool canary";
	CK_BYTE output[OUTPUT_CAP];
	CK_ULONG input_len = way->input_len ? way->input_len : bits / 8;
	CK_ULONG output_len = sizeof(output);
	struct use_parameters p;

	if (input_len > sizeof(input))
		return CKR_KEY_SIZE_RANGE;
	build_mechanism(way, &p);
	CK_RV rv = way->use == ENCRYPTS   ? hp_encrypt_init(s, &p.ck, handle)
		   : way->use == DECRYPTS ? hp_decrypt_init(s, &p.ck, handle)
					  : hp_sign_init(s, &p.ck, handle);
	if (rv != CKR_OK)
		return rv;
	if (way->use == ENCRYPTS)
		return hp_encrypt(s, input, input_len, output, &output_len);
	if (way->use == DECRYPTS)
		return hp_decrypt(s, input, input_len, output, &output_len);
	return hp_sign(s, input, input_len, output, &output_len);
}

/* --- at open: which way works --------------------------------------------------- */

static CK_RV run_trial(struct hp_operation *op, struct hp_session *s,
		       CK_OBJECT_HANDLE handle, const struct hp_key_facts *facts,
		       enum hp_stage *stage, hsmpool_status *own, hsmpool_error *err)
{
	struct canary *canary = op->user;
	CK_RV rv = CKR_KEY_TYPE_INCONSISTENT;

	*stage = HP_STAGE_SUBMITTED;
	if (facts->always_authenticate) {
		*own = hp_fail(err, HSMPOOL_ERR_KEY,
			       "key '%s' asks for the PIN at each use: not for a probe",
			       hp_key_name(op->key));
		return CKR_OK;
	}
	for (size_t i = 0; i < HP_ARRAY_LEN(ways); i++) {
		if (ways[i].type != facts->type)
			continue;
		rv = use_key(s, handle, &ways[i], facts->bits);
		canary->way = &ways[i];
		if (rv == CKR_OK ||
		    hp_rv_class(&s->module->overrides, rv) != HP_RV_CALLER || s->active)
			break;
	}
	return rv;
}

static hsmpool_status try_ways(hsmpool *pool, struct canary *canary,
			       hsmpool_deadline deadline, hsmpool_error *err)
{
	struct hp_operation op = {
		.verb = "probe",
		.retry = HP_RETRY_IDEMPOTENT,
		.pool = pool,
		.key = canary->key,
		.role = HP_KEY_FOR_PRIVATE_USE,
		.run = run_trial,
		.user = canary,
	};
	return hp_operation_run(&op, deadline, err);
}

/* --- the probe ------------------------------------------------------------------ */

/* The handle, and one use. */
static CK_RV probe_once(const struct canary *canary, struct hp_session *s)
{
	const struct hp_key_facts *facts;
	CK_OBJECT_HANDLE handle;
	hsmpool_error err;
	CK_RV rv;

	if (hp_key_handle(canary->key, s, HP_KEY_FOR_PRIVATE_USE,
			  hp_time_add(hp_now_ns(), KEY_LOCK_WAIT), &handle, &facts, &rv,
			  &err) != HSMPOOL_OK) {
		if (rv == CKR_OK)
			HP_LOG(WARNING, "canary-failed", "the probe proves nothing: %s",
			       err.text);
		return rv;
	}
	return use_key(s, handle, canary->way, facts->bits);
}

/* A stale handle is the key's affair, not the session's: search once more. */
static CK_RV probe(void *user, struct hp_session *s)
{
	const struct canary *canary = user;
	CK_RV rv = probe_once(canary, s);

	if (hp_rv_class(&s->module->overrides, rv) != HP_RV_STALE_HANDLE)
		return rv;
	hp_key_forget_handle(canary->key, HP_KEY_FOR_PRIVATE_USE);
	return probe_once(canary, s);
}

static void release(void *user)
{
	struct canary *canary = user;

	hsmpool_key_close(&canary->key);
	free(canary);
}

hsmpool_status hp_canary_start(hsmpool *pool, const char *which,
			       hsmpool_deadline deadline, hsmpool_error *err)
{
	struct canary *canary = calloc(1, sizeof(*canary));

	HP_CHECK(canary, err, HSMPOOL_ERR_SYSTEM, "probe = canary: no memory");
	hsmpool_status status =
		hsmpool_key_open(&canary->key, pool, which, deadline, err);
	if (status == HSMPOOL_OK) {
		hp_key_use_original(canary->key);
		status = try_ways(pool, canary, deadline, err);
	}
	if (status == HSMPOOL_OK) {
		hp_pool_set_canary(pool, probe, canary, release);
		return HSMPOOL_OK;
	}
	hp_error_prefix(err, "probe = canary:%s", which ? which : "");
	release(canary);
	return status;
}

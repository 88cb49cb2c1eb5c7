/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool_sign and hsmpool_verify: one part, two module calls.
 *
 * Owns: what happens on the borrowed session. What is signed and how signatures look is
 * signing.c's. Must not: repeat a signature (the loop's rule), say why one did not
 * verify. No lock, no allocation.
 */
#include "base/error.h"
#include "crypto/ecdsa_der.h"
#include "crypto/offload.h"
#include "crypto/signing.h"

struct signature_run {
	struct hp_signing signing;
	hsmpool_buf *out;        /* sign */
	hsmpool_bytes signature; /* verify */
};

static CK_RV sign_input(struct signature_run *r, struct hp_session *s,
			const struct hp_key_facts *facts, hsmpool_status *own,
			hsmpool_error *err)
{
	CK_BYTE raw[HP_SIGNATURE_MAX];
	CK_ULONG len = sizeof(raw);
	hsmpool_bytes input = hp_signing_input(&r->signing, facts);
	CK_RV rv = hp_sign(s, hp_nonnull(input), input.len, raw, &len);
	if (rv == CKR_OK)
		*own = hp_check_written(len, sizeof(raw), err);
	if (rv == CKR_OK && *own == HSMPOOL_OK)
		*own = hp_signing_deliver(&r->signing, raw, len, r->out, err);
	return rv;
}

static CK_RV run_sign(struct hp_operation *op, struct hp_session *s,
		      CK_OBJECT_HANDLE handle, const struct hp_key_facts *facts,
		      enum hp_stage *stage, hsmpool_status *own, hsmpool_error *err)
{
	struct signature_run *r = op->user;
	struct hp_mechanism m;
	*own = hp_signing_check_key(&r->signing, op->key, op->role, facts, err);
	if (*own == HSMPOOL_OK)
		*own = hp_signing_check_room(&r->signing, facts, r->out, err);
	if (*own != HSMPOOL_OK)
		return CKR_OK;

	hp_mechanism_signature(&m, &r->signing.scheme, r->signing.is_bare);
	CK_RV rv = hp_sign_init(s, &m.ck, handle);
	if (rv == CKR_OK && facts->always_authenticate)
		*own = hp_pool_context_login(s, err);
	if (rv != CKR_OK || *own != HSMPOOL_OK)
		return rv;
	*stage = HP_STAGE_SUBMITTED;
	return sign_input(r, s, facts, own, err);
}

hsmpool_status hsmpool_sign(hsmpool *pool, hsmpool_key *key, const char *scheme,
			    hsmpool_bytes message, hsmpool_buf *signature,
			    hsmpool_deadline deadline, hsmpool_error *err)
{
	struct signature_run r;
	hp_error_clear(err);
	HP_TRY(hp_check_key_of(pool, key, err));
	HP_TRY(hp_check_bytes(message, "message", err));
	HP_CHECK(signature, err, HSMPOOL_ERR_USAGE,
		 "no buffer for the signature was given");
	signature->len = 0;
	HP_TRY(hp_signing_prepare(&r.signing, pool, HP_SIGNING_SIGN, scheme, message,
				  err));
	r.out = signature;
	struct hp_operation op = {
		.verb = "sign",
		.retry = hp_signing_retry(&r.signing),
		.want = HP_WANT_ANY,
		.pool = pool,
		.key = key,
		.role = HP_KEY_FOR_PRIVATE_USE,
		.run = run_sign,
		.user = &r,
		.use = hp_use_of("C_Sign", hp_signing_mechanism(&r.signing), message.len),
		.output_len = &signature->len,
	};
	return hp_operation_run(&op, deadline, err);
}

static CK_RV run_verify(struct hp_operation *op, struct hp_session *s,
			CK_OBJECT_HANDLE handle, const struct hp_key_facts *facts,
			enum hp_stage *stage, hsmpool_status *own, hsmpool_error *err)
{
	struct signature_run *r = op->user;
	struct hp_mechanism m;
	uint8_t raw[2 * HP_ECDSA_NUMBER_MAX];
	hsmpool_bytes signature;
	*own = hp_signing_check_key(&r->signing, op->key, op->role, facts, err);
	if (*own == HSMPOOL_OK &&
	    !hp_signing_read(&r->signing, facts, r->signature, raw, &signature))
		*own = hp_fail_data(err, op->verb, op->key);
	if (*own != HSMPOOL_OK)
		return CKR_OK;

	hp_mechanism_signature(&m, &r->signing.scheme, r->signing.is_bare);
	CK_RV rv = hp_verify_init(s, &m.ck, handle);
	if (rv != CKR_OK)
		return rv;
	hsmpool_bytes input = hp_signing_input(&r->signing, facts);
	*stage = HP_STAGE_SUBMITTED;
	rv = hp_verify(s, hp_nonnull(input), input.len, signature.data, signature.len);
	return hp_uniform_rv(s, rv);
}

hsmpool_status hsmpool_verify(hsmpool *pool, hsmpool_key *key, const char *scheme,
			      hsmpool_bytes message, hsmpool_bytes signature,
			      hsmpool_deadline deadline, hsmpool_error *err)
{
	struct signature_run r;
	hp_error_clear(err);
	HP_TRY(hp_check_key_of(pool, key, err));
	HP_TRY(hp_check_bytes(message, "message", err));
	HP_TRY(hp_check_bytes(signature, "signature", err));
	bool offloads = hp_pool_options(pool)->offload_public;
	HP_TRY(hp_signing_prepare(&r.signing, pool,
				  offloads ? HP_SIGNING_OFFLOAD : HP_SIGNING_VERIFY,
				  scheme, message, err));
	if (offloads)
		return hp_offload_verify(pool, key, &r.signing, message.len, signature,
					 deadline, err);
	r.signature = signature;
	struct hp_operation op = {
		.verb = "verify",
		.retry = HP_RETRY_IDEMPOTENT,
		.want = HP_WANT_ANY,
		.pool = pool,
		.key = key,
		.role = HP_KEY_FOR_PUBLIC_USE,
		.run = run_verify,
		.user = &r,
		.use = hp_use_of("C_Verify", hp_signing_mechanism(&r.signing),
				 message.len),
		.is_uniform_failure = true,
	};
	return hp_operation_run(&op, deadline, err);
}

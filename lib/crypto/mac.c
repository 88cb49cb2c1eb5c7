/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool_mac and hsmpool_mac_verify: HMAC and CMAC of the token.
 *
 * A MAC is verified by making it again and comparing here in constant time: tokens use
 * memcmp() (SoftHSM2 does). Only a key that may not make MACs is verified by C_Verify.
 * No lock, no allocation.
 */
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/secret.h"
#include "crypto/mechanism.h"

#define MAC_MAX HP_HASH_MAX

struct mac_run {
	struct hp_scheme scheme;
	size_t size;
	hsmpool_bytes message;
	hsmpool_buf *out;  /* mac */
	hsmpool_bytes mac; /* mac-verify */
};

size_t hp_mac_size(const struct hp_scheme *scheme)
{
	if (scheme->entry->family == HP_FAMILY_CMAC)
		return HP_AES_BLOCK;
	return hp_hash_info(scheme->entry->hash)->size;
}

static CK_RV begin_mac(struct mac_run *r, struct hp_session *s, CK_OBJECT_HANDLE handle)
{
	struct hp_mechanism m;
	hp_mechanism_plain(&m, &r->scheme);
	return hp_sign_init(s, &m.ck, handle);
}

/* The MAC of the message into made[]. */
static CK_RV make_mac(struct mac_run *r, struct hp_session *s, CK_BYTE made[MAC_MAX],
		      hsmpool_status *own, hsmpool_error *err)
{
	CK_ULONG len = MAC_MAX;
	CK_RV rv = hp_sign(s, hp_nonnull(r->message), r->message.len, made, &len);
	if (rv == CKR_OK && len != r->size)
		*own = hp_fail(err, HSMPOOL_ERR_DOWN,
			       "the module made a MAC of %lu bytes, %zu are right for %s",
			       len, r->size, r->scheme.entry->name);
	return rv;
}

static CK_RV run_mac(struct hp_operation *op, struct hp_session *s,
		     CK_OBJECT_HANDLE handle, const struct hp_key_facts *facts,
		     enum hp_stage *stage, hsmpool_status *own, hsmpool_error *err)
{
	struct mac_run *r = op->user;
	CK_BYTE made[MAC_MAX];
	*own = hp_mechanism_check_key(&r->scheme, op->key, op->role, facts, err);
	if (*own != HSMPOOL_OK)
		return CKR_OK;
	CK_RV rv = begin_mac(r, s, handle);
	if (rv != CKR_OK)
		return rv;
	*stage = HP_STAGE_SUBMITTED;
	rv = make_mac(r, s, made, own, err);
	if (rv == CKR_OK && *own == HSMPOOL_OK) {
		memcpy(r->out->data, made, r->size);
		r->out->len = r->size;
	}
	hp_wipe(made, sizeof(made)); /* it may be a key that is derived so */
	return rv;
}

static CK_RV verify_by_token(struct mac_run *r, struct hp_session *s,
			     CK_OBJECT_HANDLE handle, enum hp_stage *stage)
{
	struct hp_mechanism m;
	hp_mechanism_plain(&m, &r->scheme);
	CK_RV rv = hp_verify_init(s, &m.ck, handle);
	if (rv != CKR_OK)
		return rv;
	*stage = HP_STAGE_SUBMITTED;
	rv = hp_verify(s, hp_nonnull(r->message), r->message.len, r->mac.data,
		       r->mac.len);
	return hp_uniform_rv(s, rv);
}

static CK_RV run_mac_verify(struct hp_operation *op, struct hp_session *s,
			    CK_OBJECT_HANDLE handle, const struct hp_key_facts *facts,
			    enum hp_stage *stage, hsmpool_status *own, hsmpool_error *err)
{
	struct mac_run *r = op->user;
	CK_BYTE made[MAC_MAX];
	*own = hp_mechanism_check_key(&r->scheme, op->key, op->role, facts, err);
	if (*own == HSMPOOL_OK && r->mac.len != r->size)
		*own = hp_fail_data(err, op->verb, op->key);
	if (*own != HSMPOOL_OK)
		return CKR_OK;
	CK_RV rv = begin_mac(r, s, handle);
	if (rv == CKR_KEY_FUNCTION_NOT_PERMITTED)
		return verify_by_token(r, s, handle, stage);
	if (rv != CKR_OK)
		return rv;
	*stage = HP_STAGE_SUBMITTED;
	rv = make_mac(r, s, made, own, err);
	if (rv == CKR_OK && *own == HSMPOOL_OK &&
	    !hp_equal_secret(made, r->mac.data, r->size))
		*own = hp_fail_data(err, op->verb, op->key);
	hp_wipe(made, sizeof(made)); /* the right one is not for the caller */
	return hp_uniform_rv(s, rv);
}

static hsmpool_status run(struct mac_run *r, hsmpool *pool, hsmpool_key *key,
			  bool verifies, hsmpool_deadline deadline, hsmpool_error *err)
{
	struct hp_operation op = {
		.verb = verifies ? "mac-verify" : "mac",
		.retry = HP_RETRY_IDEMPOTENT,
		.want = HP_WANT_ANY,
		.pool = pool,
		.key = key,
		.role = HP_KEY_FOR_PRIVATE_USE,
		.run = verifies ? run_mac_verify : run_mac,
		.user = r,
		.use = hp_use_of(verifies ? "C_Verify" : "C_Sign",
				 r->scheme.entry->mechanism, r->message.len),
		.output_len = r->out ? &r->out->len : NULL,
		.is_uniform_failure = verifies,
	};
	return hp_operation_run(&op, deadline, err);
}

static hsmpool_status prepare(struct mac_run *r, hsmpool *pool, hsmpool_key *key,
			      const char *scheme, hsmpool_bytes message,
			      hsmpool_error *err)
{
	hp_error_clear(err);
	HP_TRY(hp_check_key_of(pool, key, err));
	HP_TRY(hp_check_bytes(message, "message", err));
	HP_TRY(hp_scheme_parse(HP_SCHEME_MAC, scheme, &r->scheme, err));
	r->out = NULL;
	r->size = hp_mac_size(&r->scheme);
	r->message = message;
	return HSMPOOL_OK;
}

hsmpool_status hsmpool_mac(hsmpool *pool, hsmpool_key *key, const char *scheme,
			   hsmpool_bytes message, hsmpool_buf *mac,
			   hsmpool_deadline deadline, hsmpool_error *err)
{
	struct mac_run r;
	HP_TRY(prepare(&r, pool, key, scheme, message, err));
	HP_TRY(hp_buf_need(mac, r.size, err));
	mac->len = 0;
	r.out = mac;
	return run(&r, pool, key, false, deadline, err);
}

hsmpool_status hsmpool_mac_verify(hsmpool *pool, hsmpool_key *key, const char *scheme,
				  hsmpool_bytes message, hsmpool_bytes mac,
				  hsmpool_deadline deadline, hsmpool_error *err)
{
	struct mac_run r;
	HP_TRY(prepare(&r, pool, key, scheme, message, err));
	HP_TRY(hp_check_bytes(mac, "MAC", err));
	r.mac = mac;
	return run(&r, pool, key, true, deadline, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool_digest and hsmpool_random: work of the token without a key.
 *
 * No lock, no allocation.
 */
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/secret.h"
#include "crypto/mechanism.h"

/* --- digest ---------------------------------------------------------------------- */

struct digest_run {
	struct hp_scheme scheme;
	size_t size;
	hsmpool_bytes message;
	hsmpool_buf *out;
};

static CK_RV run_digest(struct hp_operation *op, struct hp_session *s,
			CK_OBJECT_HANDLE handle, const struct hp_key_facts *facts,
			enum hp_stage *stage, hsmpool_status *own, hsmpool_error *err)
{
	struct digest_run *r = op->user;
	struct hp_mechanism m;
	CK_BYTE made[HP_HASH_MAX];
	CK_ULONG len = sizeof(made);
	(void)handle;
	(void)facts;
	hp_mechanism_plain(&m, &r->scheme);
	CK_RV rv = hp_digest_init(s, &m.ck);
	if (rv != CKR_OK)
		return rv;
	*stage = HP_STAGE_SUBMITTED;
	rv = hp_digest(s, hp_nonnull(r->message), r->message.len, made, &len);
	if (rv != CKR_OK)
		return rv;
	if (len != r->size) {
		*own = hp_fail(
			err, HSMPOOL_ERR_DOWN,
			"the module made a digest of %lu bytes, %zu are right for %s",
			len, r->size, r->scheme.entry->name);
		return CKR_OK;
	}
	memcpy(r->out->data, made, r->size);
	r->out->len = r->size;
	return CKR_OK;
}

hsmpool_status hsmpool_digest(hsmpool *pool, const char *scheme, hsmpool_bytes message,
			      hsmpool_buf *digest, hsmpool_deadline deadline,
			      hsmpool_error *err)
{
	struct digest_run r = { .message = message, .out = digest };
	hp_error_clear(err);
	HP_CHECK(pool, err, HSMPOOL_ERR_USAGE, "no pool was given");
	HP_TRY(hp_check_bytes(message, "message", err));
	HP_TRY(hp_scheme_parse(HP_SCHEME_DIGEST, scheme, &r.scheme, err));
	r.size = hp_hash_info(r.scheme.entry->hash)->size;
	HP_TRY(hp_buf_need(digest, r.size, err));
	digest->len = 0;
	struct hp_operation op = {
		.verb = "digest",
		.retry = HP_RETRY_IDEMPOTENT,
		.want = HP_WANT_ANY,
		.pool = pool,
		.run = run_digest,
		.user = &r,
		.use = hp_use_of("C_Digest", r.scheme.entry->mechanism, message.len),
		.output_len = &digest->len,
	};
	return hp_operation_run(&op, deadline, err);
}

/* --- random ---------------------------------------------------------------------- */

#define RANDOM_CHUNK 4096 /* devices have limits; SoftHSM2 has none */

struct random_run {
	uint8_t *data;
	size_t len;
};

static CK_RV run_random(struct hp_operation *op, struct hp_session *s,
			CK_OBJECT_HANDLE handle, const struct hp_key_facts *facts,
			enum hp_stage *stage, hsmpool_status *own, hsmpool_error *err)
{
	struct random_run *r = op->user;
	CK_RV rv = CKR_OK;
	(void)handle;
	(void)facts;
	(void)own;
	(void)err;
	*stage = HP_STAGE_SUBMITTED;
	for (size_t done = 0; done < r->len && rv == CKR_OK; done += RANDOM_CHUNK) {
		size_t left = r->len - done;
		rv = hp_generate_random(s, r->data + done,
					left < RANDOM_CHUNK ? left : RANDOM_CHUNK);
	}
	if (rv != CKR_OK)
		hp_wipe(r->data, r->len);
	return rv;
}

hsmpool_status hsmpool_random(hsmpool *pool, uint8_t *data, size_t len,
			      hsmpool_deadline deadline, hsmpool_error *err)
{
	struct random_run r = { data, len };
	hp_error_clear(err);
	HP_CHECK(pool, err, HSMPOOL_ERR_USAGE, "no pool was given");
	HP_CHECK(data || len == 0, err, HSMPOOL_ERR_USAGE,
		 "%zu random bytes are asked for, but no place for them is given", len);
	if (len == 0)
		return hp_pool_check_usable(pool, err);
	struct hp_operation op = {
		.verb = "random",
		.retry = HP_RETRY_IDEMPOTENT,
		.want = HP_WANT_ANY,
		.pool = pool,
		.run = run_random,
		.user = &r,
		.use = { .function = "C_GenerateRandom" },
		.output_len = &r.len,
	};
	return hp_operation_run(&op, deadline, err);
}

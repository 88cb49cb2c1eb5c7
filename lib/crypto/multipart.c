/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations in parts: begin, update, final, abort; signatures, MACs and digests.
 *
 * Owns: the session from begin to the end, and the rule that an error ends the
 * operation and gives the session back at once. begin may be repeated by the loop of
 * operation.c, nothing after it is. Must not: finish a signature that was given up. An
 * operation is one thread's at a time: no lock.
 */
#include "crypto/multipart.h"

#include <stdlib.h>
#include <string.h>
#include <openssl/evp.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/secret.h"

/* --- the use ---------------------------------------------------------------------- */

enum call { CALL_INIT, CALL_UPDATE, CALL_FINAL };

/* What the calls that make up the operation are to an auditor. */
static const char *const functions[][3] = {
	[HSMPOOL_MULTIPART_ENCRYPT] = { "C_EncryptInit", "C_EncryptUpdate",
					"C_EncryptFinal" },
	[HSMPOOL_MULTIPART_DECRYPT] = { "C_DecryptInit", "C_DecryptUpdate",
					"C_DecryptFinal" },
	[HSMPOOL_MULTIPART_SIGN] = { "C_SignInit", "C_SignUpdate", "C_SignFinal" },
	[HSMPOOL_MULTIPART_DIGEST] = { "C_DigestInit", "C_DigestUpdate",
				       "C_DigestFinal" },
};

static CK_MECHANISM_TYPE mechanism_of(const hsmpool_multipart *op)
{
	switch (op->kind) {
	case HSMPOOL_MULTIPART_SIGN:
		return op->is_signature ? hp_signing_mechanism(&op->signing)
					: op->scheme.entry->mechanism;
	case HSMPOOL_MULTIPART_DIGEST:
		return op->scheme.entry->mechanism;
	default:
		return hp_cipher_mechanism_type(&op->cipher);
	}
}

static void begin_call(hsmpool_multipart *op, enum call call, size_t input_len)
{
	hp_use_enter(&op->use);
	op->use.function = functions[op->kind][call];
	op->use.input_len += input_len;
}

/* --- the end --------------------------------------------------------------------- */

/* In a forked child the session is the parent's: nobody touches it. */
static bool is_foreign(const hsmpool_multipart *op)
{
	return op->epoch != hp_process_epoch();
}

/* Whatever goes on is cut off. */
static void drop_session(hsmpool_multipart *op)
{
	struct hp_session *s = op->session;
	op->session = NULL;
	if (!s || is_foreign(op))
		return;
	hp_pool_return_verdict(s, hp_session_clean(s) ? HSMPOOL_VERDICT_CLEAN
						      : HSMPOOL_VERDICT_RESET);
}

hsmpool_status hp_multipart_end(hsmpool_multipart *op, hsmpool_status status)
{
	if (!is_foreign(op))
		hp_use_end(&op->use, CKR_OK, status, op->total_out);
	drop_session(op);
	return status;
}

/* The answers that mean: the input did not decrypt. As operation.c judges them. */
static bool is_bad_data(const hsmpool_multipart *op, CK_RV rv, enum hp_rv_class told,
			enum hp_rv_class class)
{
	if (op->kind != HSMPOOL_MULTIPART_DECRYPT || !op->is_started ||
	    class != HP_RV_CALLER)
		return false;
	const struct hp_rv_info *info = hp_rv_find(rv);
	return told == HP_RV_AMBIGUOUS || (info && info->status == HSMPOOL_ERR_DATA);
}

static hsmpool_executed executed_by(enum hp_rv_class told, bool is_final)
{
	return is_final && told != HP_RV_CALLER ? HSMPOOL_EXECUTED_UNKNOWN
						: HSMPOOL_EXECUTED_NO;
}

hsmpool_status hp_multipart_fail(hsmpool_multipart *op, CK_RV rv, bool is_final,
				 hsmpool_error *err)
{
	struct hp_session *s = op->session;
	op->session = NULL;
	if (op->kind == HSMPOOL_MULTIPART_DECRYPT && op->is_started)
		rv = hp_uniform_rv(s, rv);
	hp_use_end(&op->use, rv, HSMPOOL_OK, op->total_out);
	enum hp_rv_class told = hp_rv_class(&s->module->overrides, rv);
	enum hp_rv_class class = op->kind == HSMPOOL_MULTIPART_DECRYPT && op->is_started
					 ? hp_pool_return_unprobed(s, rv)
					 : hp_pool_return(s, rv);
	if (told == HP_RV_STALE_HANDLE && op->key)
		hp_key_forget_handle(op->key, op->kind == HSMPOOL_MULTIPART_ENCRYPT
						      ? HP_KEY_FOR_PUBLIC_USE
						      : HP_KEY_FOR_PRIVATE_USE);
	if (is_bad_data(op, rv, told, class)) {
		hp_fail_data(err, op->verb, op->key);
		if (err)
			err->executed = HSMPOOL_EXECUTED_YES;
		return HSMPOOL_ERR_DATA;
	}
	hsmpool_status status = op->key ? hp_rv_fail(err, rv, "%s in parts with key '%s'",
						     op->verb, hp_key_name(op->key))
					: hp_rv_fail(err, rv, "%s in parts", op->verb);
	if (err)
		err->executed = executed_by(told, is_final);
	return status;
}

static void wipe_result(hsmpool_multipart *op)
{
	if (op->result)
		hp_wipe(op->result, op->result_cap);
	free(op->result);
	op->result = NULL;
	op->result_cap = 0;
}

hsmpool_status hp_multipart_result_room(hsmpool_multipart *op, size_t cap,
					hsmpool_error *err)
{
	wipe_result(op);
	op->result = malloc(cap);
	HP_CHECK(op->result, err, HSMPOOL_ERR_SYSTEM,
		 "%s in parts: no memory for %zu bytes", op->verb, cap);
	op->result_cap = cap;
	return HSMPOOL_OK;
}

void hsmpool_multipart_abort(hsmpool_multipart **address)
{
	hsmpool_multipart *op = address ? *address : NULL;
	if (!op)
		return;
	*address = NULL;
	if (op->session && !is_foreign(op))
		hp_use_end(&op->use, CKR_FUNCTION_CANCELED, HSMPOOL_OK, op->total_out);
	drop_session(op);
	wipe_result(op);
	EVP_MD_CTX_free(op->hash);
	free(op->copies);
	hp_wipe(&op->signing, sizeof(op->signing));
	free(op);
}

/* --- begin ----------------------------------------------------------------------- */

static hsmpool_status prepare_signature(hsmpool_multipart *op, const char *scheme,
					hsmpool_error *err)
{
	if (hp_scheme_parse(HP_SCHEME_MAC, scheme, &op->scheme, NULL) == HSMPOOL_OK)
		return HSMPOOL_OK;
	op->is_signature = true;
	HP_TRY(hp_signing_parse(&op->signing, op->pool, HP_SIGNING_SIGN, scheme, err));
	const struct hp_scheme_entry *entry = op->signing.scheme.entry;
	HP_CHECK(entry->family != HP_FAMILY_EDDSA, err, HSMPOOL_ERR_UNSUPPORTED,
		 "scheme %s works in one part only: use hsmpool_sign()", entry->name);
	HP_CHECK(!hp_scheme_takes_digest(&op->signing.scheme), err, HSMPOOL_ERR_USAGE,
		 "scheme %s: a digest is signed in one part: use hsmpool_sign()", scheme);
	if (op->signing.is_bare)
		return hp_hash_begin(entry->hash, &op->hash, err);
	return HSMPOOL_OK;
}

static hsmpool_status prepare(hsmpool_multipart *op, const char *scheme,
			      const hsmpool_params *params, hsmpool_error *err)
{
	static const char *const verbs[] = { "encrypt", "decrypt", "sign", "digest" };
	op->verb = verbs[op->kind];
	switch (op->kind) {
	case HSMPOOL_MULTIPART_SIGN:
		return prepare_signature(op, scheme, err);
	case HSMPOOL_MULTIPART_DIGEST:
		return hp_scheme_parse(HP_SCHEME_DIGEST, scheme, &op->scheme, err);
	default:
		return hp_multipart_cipher_prepare(op, scheme, params, err);
	}
}

static CK_RV start_signature(hsmpool_multipart *op, struct hp_session *s,
			     hsmpool_status *own, hsmpool_error *err)
{
	if (op->is_signature)
		hp_mechanism_signature(&op->mechanism, &op->signing.scheme,
				       op->signing.is_bare);
	else
		hp_mechanism_plain(&op->mechanism, &op->scheme);
	CK_RV rv = hp_sign_init(s, &op->mechanism.ck, op->handle);
	if (rv == CKR_OK && op->facts->always_authenticate)
		*own = hp_pool_context_login(s, err);
	return rv;
}

static hsmpool_status check_key(const hsmpool_multipart *op, enum hp_key_role role,
				hsmpool_error *err)
{
	if (op->kind == HSMPOOL_MULTIPART_SIGN && op->is_signature)
		return hp_signing_check_key(&op->signing, op->key, role, op->facts, err);
	return hp_mechanism_check_key(
		op->kind == HSMPOOL_MULTIPART_SIGN ? &op->scheme : &op->cipher.scheme,
		op->key, role, op->facts, err);
}

static CK_RV run_start(struct hp_operation *operation, struct hp_session *s,
		       CK_OBJECT_HANDLE handle, const struct hp_key_facts *facts,
		       enum hp_stage *stage, hsmpool_status *own, hsmpool_error *err)
{
	hsmpool_multipart *op = operation->user;
	(void)stage; /* an Init alone makes the HSM do nothing */
	op->handle = handle;
	op->facts = facts;
	if (op->kind == HSMPOOL_MULTIPART_DIGEST) {
		hp_mechanism_plain(&op->mechanism, &op->scheme);
		return hp_digest_init(s, &op->mechanism.ck);
	}
	*own = check_key(op, operation->role, err);
	if (*own != HSMPOOL_OK)
		return CKR_OK;
	if (op->kind == HSMPOOL_MULTIPART_SIGN)
		return start_signature(op, s, own, err);
	return hp_multipart_cipher_start(op, s, own, err);
}

/* Borrow a session, start on it, and keep it. */
static hsmpool_status start(hsmpool_multipart *op, hsmpool_deadline deadline,
			    hsmpool_error *err)
{
	struct hp_operation operation = {
		.verb = op->verb,
		.retry = HP_RETRY_NEVER,
		.want = HP_WANT_APART,
		.pool = op->pool,
		.key = op->key,
		.role = op->kind == HSMPOOL_MULTIPART_ENCRYPT ? HP_KEY_FOR_PUBLIC_USE
							      : HP_KEY_FOR_PRIVATE_USE,
		.run = run_start,
		.user = op,
		.use = hp_use_of(functions[op->kind][CALL_INIT], mechanism_of(op), 0),
		.keep_session = &op->session,
	};
	hsmpool_status status = hp_operation_run(&operation, deadline, err);
	op->use = operation.use;
	return status;
}

static hsmpool_status check_begin(hsmpool_multipart **out, hsmpool *pool,
				  const hsmpool_key *key, hsmpool_multipart_kind kind,
				  hsmpool_error *err)
{
	HP_CHECK(out, err, HSMPOOL_ERR_USAGE, "no place for the operation was given");
	*out = NULL;
	switch (kind) {
	case HSMPOOL_MULTIPART_DIGEST:
		HP_CHECK(pool, err, HSMPOOL_ERR_USAGE, "no pool was given");
		HP_CHECK(!key, err, HSMPOOL_ERR_USAGE, "a digest takes no key");
		return HSMPOOL_OK;
	case HSMPOOL_MULTIPART_ENCRYPT:
	case HSMPOOL_MULTIPART_DECRYPT:
	case HSMPOOL_MULTIPART_SIGN:
		return hp_check_key_of(pool, key, err);
	default:
		return hp_fail(err, HSMPOOL_ERR_USAGE, "no operation in parts of kind %d",
			       (int)kind);
	}
}

hsmpool_status hsmpool_multipart_begin(hsmpool_multipart **out, hsmpool *pool,
				       hsmpool_key *key, hsmpool_multipart_kind kind,
				       const char *scheme, const hsmpool_params *params,
				       hsmpool_deadline deadline, hsmpool_error *err)
{
	hp_error_clear(err);
	HP_TRY(check_begin(out, pool, key, kind, err));
	hsmpool_multipart *op = calloc(1, sizeof(*op));
	HP_CHECK(op, err, HSMPOOL_ERR_SYSTEM, "no memory for an operation in parts");
	op->pool = pool;
	op->key = key;
	op->kind = kind;
	op->epoch = hp_process_epoch();
	hsmpool_status status = prepare(op, scheme, params, err);
	if (status == HSMPOOL_OK)
		status = start(op, deadline, err);
	if (status != HSMPOOL_OK) {
		hsmpool_multipart_abort(&op);
		return status;
	}
	*out = op;
	return HSMPOOL_OK;
}

/* --- update ---------------------------------------------------------------------- */

static hsmpool_status check_alive(hsmpool_multipart *op, hsmpool_error *err)
{
	HP_CHECK(op, err, HSMPOOL_ERR_USAGE, "no operation in parts was given");
	HP_CHECK(!is_foreign(op), err, HSMPOOL_ERR_FORKED,
		 "%s in parts: begun by the parent process: begin a new one on a pool of "
		 "this process",
		 op->verb);
	if (op->has_result)
		return HSMPOOL_OK;
	HP_CHECK(op->session, err, HSMPOOL_ERR_USAGE,
		 "%s in parts: the operation has ended with an error before", op->verb);
	hsmpool_status status = hp_pool_check_usable(op->pool, err);
	return status == HSMPOOL_OK ? HSMPOOL_OK : hp_multipart_end(op, status);
}

static hsmpool_status take_input(hsmpool_multipart *op, hsmpool_bytes in,
				 hsmpool_error *err)
{
	if (op->hash) {
		hsmpool_status status = hp_hash_update(op->hash, in, err);
		return status == HSMPOOL_OK ? HSMPOOL_OK : hp_multipart_end(op, status);
	}
	CK_RV rv = CKR_OK;
	if (in.len > 0)
		rv = op->kind == HSMPOOL_MULTIPART_DIGEST
			     ? hp_digest_update(op->session, in.data, in.len)
			     : hp_sign_update(op->session, in.data, in.len);
	return rv == CKR_OK ? HSMPOOL_OK : hp_multipart_fail(op, rv, false, err);
}

static hsmpool_status update(hsmpool_multipart *op, hsmpool_bytes in, hsmpool_buf *out,
			     hsmpool_error *err)
{
	if (op->kind == HSMPOOL_MULTIPART_ENCRYPT ||
	    op->kind == HSMPOOL_MULTIPART_DECRYPT)
		return hp_multipart_cipher_update(op, in, out, err);
	if (out)
		out->len = 0;
	return take_input(op, in, err);
}

hsmpool_status hsmpool_multipart_update(hsmpool_multipart *op, hsmpool_bytes in,
					hsmpool_buf *out, hsmpool_error *err)
{
	hp_error_clear(err);
	HP_TRY(check_alive(op, err));
	HP_CHECK(!op->has_result, err, HSMPOOL_ERR_USAGE,
		 "%s in parts: hsmpool_multipart_final() was called already", op->verb);
	HP_TRY(hp_check_bytes(in, "input", err));
	begin_call(op, CALL_UPDATE, in.len);
	hsmpool_status status = update(op, in, out, err);
	if (status == HSMPOOL_ERR_SPACE)
		op->use.input_len -= in.len; /* to be given again */
	hp_use_leave(&op->use);
	return status;
}

/* --- final ----------------------------------------------------------------------- */

static CK_RV call_final(hsmpool_multipart *op, CK_BYTE *out, CK_ULONG *len)
{
	uint8_t digest[HP_HASH_MAX];
	if (op->kind == HSMPOOL_MULTIPART_DIGEST)
		return hp_digest_final(op->session, out, len);
	if (!op->hash)
		return hp_sign_final(op->session, out, len);
	if (hp_hash_final(op->hash, digest, NULL) != HSMPOOL_OK)
		return CKR_HOST_MEMORY;
	hp_signing_set_digest(&op->signing, digest);
	hsmpool_bytes input = hp_signing_input(&op->signing, op->facts);
	return hp_sign(op->session, input.data, input.len, out, len);
}

static hsmpool_status finish_signature(hsmpool_multipart *op, hsmpool_error *err)
{
	CK_BYTE raw[HP_SIGNATURE_MAX];
	CK_ULONG len = sizeof(raw);
	CK_RV rv = call_final(op, raw, &len);
	if (rv != CKR_OK)
		return hp_multipart_fail(op, rv, true, err);
	hsmpool_status status = hp_check_written(len, sizeof(raw), err);
	if (status == HSMPOOL_OK)
		status = hp_multipart_result_room(op, HP_SIGNATURE_MAX, err);
	hsmpool_buf result = { op->result, op->result_cap, 0 };
	if (status == HSMPOOL_OK && op->is_signature)
		status = hp_signing_deliver(&op->signing, raw, len, &result, err);
	else if (status == HSMPOOL_OK)
		memcpy(result.data, raw, result.len = len);
	op->result_len = result.len;
	if (status == HSMPOOL_OK)
		return HSMPOOL_OK;
	if (err)
		err->executed = HSMPOOL_EXECUTED_YES;
	return hp_multipart_end(op, status);
}

/* What is known to be needed is asked for before the token is: a signature counts. */
static hsmpool_status check_room(const hsmpool_multipart *op, hsmpool_buf *out,
				 hsmpool_error *err)
{
	if (op->kind == HSMPOOL_MULTIPART_DIGEST)
		return hp_buf_need(out, hp_hash_info(op->scheme.entry->hash)->size, err);
	if (op->kind != HSMPOOL_MULTIPART_SIGN)
		return HSMPOOL_OK;
	if (op->is_signature)
		return hp_signing_check_room(&op->signing, op->facts, out, err);
	return hp_buf_need(out, hp_mac_size(&op->scheme), err);
}

/* Get the result from the token; the session goes back then. */
static hsmpool_status finish(hsmpool_multipart *op, hsmpool_error *err)
{
	bool is_cipher = op->kind == HSMPOOL_MULTIPART_ENCRYPT ||
			 op->kind == HSMPOOL_MULTIPART_DECRYPT;
	begin_call(op, CALL_FINAL, 0);
	HP_TRY(is_cipher ? hp_multipart_cipher_finish(op, err)
			 : finish_signature(op, err));
	struct hp_session *s = op->session;
	op->session = NULL;
	op->has_result = true;
	hp_use_end(&op->use, CKR_OK, HSMPOOL_OK, op->total_out + op->result_len);
	hp_pool_return(s, CKR_OK);
	return HSMPOOL_OK;
}

static hsmpool_status final(hsmpool_multipart *op, hsmpool_buf *out, hsmpool_error *err)
{
	HP_TRY(check_alive(op, err));
	if (!op->has_result) {
		HP_TRY(check_room(op, out, err));
		HP_TRY(finish(op, err));
	}
	HP_TRY(hp_buf_need(out, op->result_len, err));
	if (op->result_len > 0)
		memcpy(out->data, op->result, op->result_len);
	out->len = op->result_len;
	return HSMPOOL_OK;
}

hsmpool_status hsmpool_multipart_final(hsmpool_multipart **address, hsmpool_buf *out,
				       hsmpool_error *err)
{
	hp_error_clear(err);
	HP_CHECK(address && *address, err, HSMPOOL_ERR_USAGE,
		 "no operation in parts was given");
	HP_CHECK(out, err, HSMPOOL_ERR_USAGE, "no output buffer was given");
	out->len = 0;
	hsmpool_status status = final(*address, out, err);
	if (status != HSMPOOL_ERR_SPACE)
		hsmpool_multipart_abort(address);
	return status;
}

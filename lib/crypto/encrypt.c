/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool_encrypt and hsmpool_decrypt: one part, two module calls.
 *
 * Owns: where the token writes, and what of it reaches the caller. The result goes
 * straight into the caller's buffer where there is room for what tokens want to see and
 * it lies apart from the input, else by way of a landing place of ours, which is wiped.
 * Must not: leave plaintext anywhere after a failure. No lock.
 */
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/secret.h"
#include "crypto/cipher.h"
#include "crypto/offload.h"
#include "crypto/token_facts.h"

#define SMALL_LANDING 512 /* RSA-4096 fits */

struct landing {
	CK_BYTE *data;
	size_t cap;
	bool is_direct; /* in the caller's buffer */
	CK_BYTE *heap;
	size_t heap_cap;
	CK_BYTE small[SMALL_LANDING];
};

struct transfer {
	struct hp_cipher cipher;
	struct hp_cipher_sizes sizes;
	size_t input_len; /* as the caller gave it */
	hsmpool_bytes in; /* without an IV in front */
	hsmpool_buf *out;
	size_t prefix; /* bytes of IV in front of the output */
	bool has_run;
	struct landing landing;
};

/* --- the landing place ---------------------------------------------------------- */

static bool can_land_directly(const struct transfer *t, size_t want)
{
	const hsmpool_buf *out = t->out;
	return out->data && out->cap >= t->prefix && out->cap - t->prefix >= want &&
	       !hp_bytes_overlap(out->data, out->cap, t->in.data, t->in.len) &&
	       !hp_bytes_overlap(out->data, out->cap, t->cipher.aad.data,
				 t->cipher.aad.len);
}

static void wipe_heap(struct landing *landing)
{
	if (!landing->heap)
		return;
	hp_wipe(landing->heap, landing->heap_cap);
	free(landing->heap);
	landing->heap = NULL;
	landing->heap_cap = 0;
}

static hsmpool_status land_on_heap(struct landing *landing, size_t want,
				   hsmpool_error *err)
{
	if (landing->heap_cap < want) {
		wipe_heap(landing);
		landing->heap = malloc(want);
		HP_CHECK(landing->heap, err, HSMPOOL_ERR_SYSTEM,
			 "no memory for a result of %zu bytes", want);
		landing->heap_cap = want;
	}
	landing->data = landing->heap;
	landing->cap = landing->heap_cap;
	return HSMPOOL_OK;
}

/* Choose where want bytes can be written. */
static hsmpool_status choose_landing(struct transfer *t, size_t want, hsmpool_error *err)
{
	struct landing *landing = &t->landing;
	landing->is_direct = can_land_directly(t, want);
	if (landing->is_direct) {
		landing->data = t->out->data + t->prefix;
		landing->cap = t->out->cap - t->prefix;
		return HSMPOOL_OK;
	}
	if (want > SMALL_LANDING)
		return land_on_heap(landing, want, err);
	landing->data = landing->small;
	landing->cap = SMALL_LANDING;
	return HSMPOOL_OK;
}

/* After a failure: the token may have written before it failed. */
static void wipe_landing(struct transfer *t)
{
	struct landing *landing = &t->landing;
	size_t len = landing->is_direct && t->sizes.token_cap < landing->cap
			     ? t->sizes.token_cap
			     : landing->cap;
	hp_wipe(landing->data, len);
}

/* --- on the borrowed session ---------------------------------------------------- */

static hsmpool_status check_room(const struct transfer *t, hsmpool_error *err)
{
	size_t least = t->prefix + t->sizes.least;
	size_t most = t->prefix + t->sizes.most;
	bool fits = most == 0 || (t->out->data && t->out->cap >= least);
	return fits ? HSMPOOL_OK : hp_buf_need(t->out, most, err);
}

/* What can be told of the lengths; DATA gets the text of a failed operation. */
static hsmpool_status check_sizes(struct transfer *t, const hsmpool_key *key,
				  const struct hp_key_facts *facts, hsmpool_error *err)
{
	hsmpool_status status =
		hp_cipher_sizes(&t->cipher, facts, t->in.len, &t->sizes, err);
	if (status == HSMPOOL_ERR_DATA)
		return hp_fail_data(err, "decrypt", key);
	if (status != HSMPOOL_OK)
		return status;
	return check_room(t, err);
}

static hsmpool_status prepare_run(struct transfer *t, struct hp_operation *op,
				  const struct hp_key_facts *facts, hsmpool_error *err)
{
	HP_TRY(hp_mechanism_check_key(&t->cipher.scheme, op->key, op->role, facts, err));
	if (hp_cipher_is_rsa(&t->cipher))
		HP_TRY(check_sizes(t, op->key, facts, err));
	if (t->has_run) /* never the same IV twice, be it for the same data */
		HP_TRY(hp_cipher_draw_iv(&t->cipher, err));
	t->has_run = true;
	return choose_landing(t, t->sizes.token_cap, err);
}

static CK_RV submit(struct transfer *t, struct hp_session *s, CK_ULONG *len)
{
	*len = t->landing.cap;
	if (t->cipher.is_encryption)
		return hp_encrypt(s, hp_nonnull(t->in), t->in.len, t->landing.data, len);
	return hp_decrypt(s, hp_nonnull(t->in), t->in.len, t->landing.data, len);
}

/* A token that wants more room than the result needs says how much, once. */
static CK_RV submit_with_room(struct transfer *t, struct hp_session *s, CK_ULONG *len,
			      hsmpool_status *own, hsmpool_error *err)
{
	CK_RV rv = submit(t, s, len);
	if (rv != CKR_BUFFER_TOO_SMALL || *len <= t->landing.cap)
		return rv;
	t->landing.is_direct = false;
	*own = land_on_heap(&t->landing, *len, err);
	return *own == HSMPOOL_OK ? submit(t, s, len) : CKR_OK;
}

static hsmpool_status deliver(struct transfer *t, struct hp_operation *op,
			      const struct hp_mechanism *m, size_t len,
			      hsmpool_error *err)
{
	if (t->cipher.iv_source == HP_IV_HSM)
		HP_TRY(hp_cipher_take_hsm_iv(&t->cipher, m, op->pool, op->key, err));
	HP_TRY(hp_check_written(len, t->landing.cap, err));
	if (!t->landing.is_direct) {
		HP_TRY(hp_buf_need(t->out, t->prefix + len, err));
		if (len > 0)
			memcpy(t->out->data + t->prefix, t->landing.data, len);
	}
	if (t->prefix > 0)
		memcpy(t->out->data, t->cipher.iv, t->prefix);
	t->out->len = t->prefix + len;
	return HSMPOOL_OK;
}

static CK_RV begin(struct transfer *t, struct hp_session *s, struct hp_mechanism *m,
		   CK_OBJECT_HANDLE handle, hsmpool_status *own, hsmpool_error *err)
{
	hp_cipher_mechanism(&t->cipher, m);
	CK_RV rv = t->cipher.is_encryption ? hp_encrypt_init(s, &m->ck, handle)
					   : hp_decrypt_init(s, &m->ck, handle);
	return rv == CKR_OK ? CKR_OK
			    : hp_cipher_explain_init(&t->cipher, s, rv, own, err);
}

static CK_RV run_transfer(struct hp_operation *op, struct hp_session *s,
			  CK_OBJECT_HANDLE handle, const struct hp_key_facts *facts,
			  enum hp_stage *stage, hsmpool_status *own, hsmpool_error *err)
{
	struct transfer *t = op->user;
	struct hp_mechanism m;
	*own = prepare_run(t, op, facts, err);
	if (*own != HSMPOOL_OK)
		return CKR_OK;
	CK_RV rv = begin(t, s, &m, handle, own, err);
	if (rv != CKR_OK || *own != HSMPOOL_OK)
		return rv;
	if (facts->always_authenticate)
		*own = hp_pool_context_login(s, err);
	if (*own != HSMPOOL_OK)
		return CKR_OK;

	CK_ULONG len = 0;
	*stage = HP_STAGE_SUBMITTED;
	rv = submit_with_room(t, s, &len, own, err);
	if (rv == CKR_OK && *own == HSMPOOL_OK)
		*own = deliver(t, op, &m, len, err);
	if (rv != CKR_OK || *own != HSMPOOL_OK)
		wipe_landing(t);
	return t->cipher.is_encryption ? rv : hp_uniform_rv(s, rv);
}

/* --- the public functions ------------------------------------------------------- */

/* A plaintext that fell short of its landing place is still there. */
static void end_transfer(struct transfer *t)
{
	if (!t->landing.is_direct && t->landing.data == t->landing.small)
		hp_wipe(t->landing.small, sizeof(t->landing.small));
	wipe_heap(&t->landing);
}

static hsmpool_status run(struct transfer *t, hsmpool *pool, hsmpool_key *key,
			  hsmpool_deadline deadline, hsmpool_error *err)
{
	bool is_encryption = t->cipher.is_encryption;
	struct hp_operation op = {
		.verb = is_encryption ? "encrypt" : "decrypt",
		.retry = HP_RETRY_IDEMPOTENT,
		.want = HP_WANT_ANY,
		.pool = pool,
		.key = key,
		.role = is_encryption ? HP_KEY_FOR_PUBLIC_USE : HP_KEY_FOR_PRIVATE_USE,
		.run = run_transfer,
		.user = t,
		.use = hp_use_of(is_encryption ? "C_Encrypt" : "C_Decrypt",
				 hp_cipher_mechanism_type(&t->cipher), t->input_len),
		.output_len = &t->out->len,
		.is_uniform_failure = !is_encryption,
		.is_answered_first = !is_encryption,
	};
	hsmpool_status status = hp_operation_run(&op, deadline, err);
	end_transfer(t);
	return status;
}

static hsmpool_status check_arguments(hsmpool *pool, const hsmpool_key *key,
				      hsmpool_bytes in, hsmpool_buf *out,
				      hsmpool_error *err)
{
	hp_error_clear(err);
	HP_TRY(hp_check_key_of(pool, key, err));
	HP_TRY(hp_check_bytes(in, "input", err));
	HP_CHECK(out, err, HSMPOOL_ERR_USAGE, "no output buffer was given");
	out->len = 0;
	return HSMPOOL_OK;
}

static void start_transfer(struct transfer *t, hsmpool_bytes in, hsmpool_buf *out)
{
	t->input_len = in.len;
	t->in = in;
	t->out = out;
	t->prefix = 0;
	t->has_run = false;
	t->landing.data = NULL;
	t->landing.cap = 0;
	t->landing.is_direct = false;
	t->landing.heap = NULL;
	t->landing.heap_cap = 0;
}

hsmpool_status hsmpool_encrypt(hsmpool *pool, hsmpool_key *key, const char *scheme,
			       const hsmpool_params *params, hsmpool_bytes plaintext,
			       hsmpool_buf *out, hsmpool_deadline deadline,
			       hsmpool_error *err)
{
	struct transfer t; /* not zeroed as a whole: it has a large buffer */
	HP_TRY(check_arguments(pool, key, plaintext, out, err));
	start_transfer(&t, plaintext, out);
	HP_TRY(hp_cipher_prepare(&t.cipher, pool, true, scheme, params, err));
	if (hp_cipher_is_rsa(&t.cipher))
		return hp_pool_options(pool)->offload_public
			       ? hp_offload_encrypt(pool, key, &t.cipher, plaintext, out,
						    deadline, err)
			       : hp_encrypt_in_token(pool, key, &t.cipher, plaintext, out,
						     deadline, err);
	t.prefix = hp_cipher_prefix(&t.cipher);
	HP_TRY(check_sizes(&t, key, NULL, err));
	HP_TRY(hp_cipher_draw_iv(&t.cipher, err));
	return run(&t, pool, key, deadline, err);
}

hsmpool_status hp_encrypt_in_token(hsmpool *pool, hsmpool_key *key,
				   const struct hp_cipher *cipher,
				   hsmpool_bytes plaintext, hsmpool_buf *out,
				   hsmpool_deadline deadline, hsmpool_error *err)
{
	struct transfer t;
	start_transfer(&t, plaintext, out);
	t.cipher = *cipher;
	return run(&t, pool, key, deadline, err);
}

/* Cut the IV off the front of the input; a text too short for one cannot be right. */
static hsmpool_status take_iv_in_front(struct transfer *t, const hsmpool_key *key,
				       hsmpool_error *err)
{
	size_t len = hp_cipher_prefix(&t->cipher);
	if (len == 0)
		return HSMPOOL_OK;
	if (t->in.len < len)
		return hp_fail_data(err, "decrypt", key);
	memcpy(t->cipher.iv, t->in.data, len);
	t->in.data += len;
	t->in.len -= len;
	return HSMPOOL_OK;
}

hsmpool_status hsmpool_decrypt(hsmpool *pool, hsmpool_key *key, const char *scheme,
			       const hsmpool_params *params, hsmpool_bytes ciphertext,
			       hsmpool_buf *out, hsmpool_deadline deadline,
			       hsmpool_error *err)
{
	struct transfer t;
	HP_TRY(check_arguments(pool, key, ciphertext, out, err));
	start_transfer(&t, ciphertext, out);
	HP_TRY(hp_cipher_prepare(&t.cipher, pool, false, scheme, params, err));
	HP_TRY(take_iv_in_front(&t, key, err));
	if (!hp_cipher_is_rsa(&t.cipher))
		HP_TRY(check_sizes(&t, key, NULL, err));
	return run(&t, pool, key, deadline, err);
}

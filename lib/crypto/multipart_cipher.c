/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encryption and decryption in parts.
 *
 * Owns: the IV in front of the ciphertext (put out with the first output; gathered from
 * the first inputs, however they are cut), and the sizes of updates. Must not: return
 * or borrow sessions itself. Used by one thread at a time.
 */
#include "crypto/multipart.h"

#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/secret.h"

/* --- begin ----------------------------------------------------------------------- */

/* The Init of a decryption comes after begin returned: keep what params point to. */
static hsmpool_status copy_inputs(hsmpool_multipart *op, hsmpool_error *err)
{
	hsmpool_bytes *aad = &op->cipher.aad;
	hsmpool_bytes *label = &op->cipher.label;
	if (aad->len + label->len == 0)
		return HSMPOOL_OK;
	op->copies = malloc(aad->len + label->len);
	HP_CHECK(op->copies, err, HSMPOOL_ERR_SYSTEM, "%s in parts: no memory", op->verb);
	if (aad->len > 0)
		memcpy(op->copies, aad->data, aad->len);
	if (label->len > 0)
		memcpy(op->copies + aad->len, label->data, label->len);
	label->data = op->copies + aad->len;
	aad->data = op->copies;
	return HSMPOOL_OK;
}

hsmpool_status hp_multipart_cipher_prepare(hsmpool_multipart *op, const char *scheme,
					   const hsmpool_params *params,
					   hsmpool_error *err)
{
	bool encrypts = op->kind == HSMPOOL_MULTIPART_ENCRYPT;
	HP_TRY(hp_cipher_prepare(&op->cipher, op->pool, encrypts, scheme, params, err));
	HP_CHECK(!hp_cipher_is_rsa(&op->cipher), err, HSMPOOL_ERR_UNSUPPORTED,
		 "scheme %s works in one part only: use hsmpool_%s()",
		 op->cipher.scheme.entry->name, op->verb);
	HP_TRY(copy_inputs(op, err));
	op->is_iv_sent = hp_cipher_prefix(&op->cipher) == 0;
	return hp_cipher_draw_iv(&op->cipher, err);
}

static CK_RV init_encryption(hsmpool_multipart *op, struct hp_session *s,
			     hsmpool_status *own, hsmpool_error *err)
{
	CK_RV rv = hp_encrypt_init(s, &op->mechanism.ck, op->handle);
	if (rv == CKR_OK && op->cipher.iv_source == HP_IV_HSM)
		*own = hp_cipher_take_hsm_iv(&op->cipher, &op->mechanism, op->pool,
					     op->key, err);
	return rv;
}

static CK_RV init(hsmpool_multipart *op, struct hp_session *s, hsmpool_status *own,
		  hsmpool_error *err)
{
	hp_cipher_mechanism(&op->cipher, &op->mechanism);
	CK_RV rv = op->cipher.is_encryption
			   ? init_encryption(op, s, own, err)
			   : hp_decrypt_init(s, &op->mechanism.ck, op->handle);
	op->is_started = rv == CKR_OK;
	if (rv == CKR_OK && *own == HSMPOOL_OK && op->facts->always_authenticate)
		*own = hp_pool_context_login(s, err);
	return rv;
}

CK_RV hp_multipart_cipher_start(hsmpool_multipart *op, struct hp_session *s,
				hsmpool_status *own, hsmpool_error *err)
{
	if (op->cipher.iv_source == HP_IV_IN_FRONT)
		return CKR_OK;
	return init(op, s, own, err);
}

/* --- update ---------------------------------------------------------------------- */

/* The handle of begin may be gone: a session-object copy is remade after any loss. */
static CK_RV init_anew(hsmpool_multipart *op, hsmpool_status *own, hsmpool_error *err)
{
	CK_RV rv = CKR_OK;
	*own = hp_key_handle(op->key, op->session, HP_KEY_FOR_PRIVATE_USE,
			     hp_pool_deadline(op->pool, HSMPOOL_DEFAULT), &op->handle,
			     &op->facts, &rv, err);
	return *own == HSMPOOL_OK ? init(op, op->session, own, err) : rv;
}

/* The Init that waited for the IV. */
static hsmpool_status start_late(hsmpool_multipart *op, hsmpool_error *err)
{
	hsmpool_status own = HSMPOOL_OK;
	CK_RV rv = init_anew(op, &own, err);
	enum hp_rv_class class = hp_rv_class(&op->session->module->overrides, rv);
	if (class == HP_RV_STALE_HANDLE ||
	    (class == HP_RV_CALLER && hp_key_may_be_copy(op->key))) {
		hp_key_forget_handle(op->key, HP_KEY_FOR_PRIVATE_USE);
		rv = init_anew(op, &own, err);
	}
	if (rv != CKR_OK)
		return hp_multipart_fail(op, rv, false, err);
	return own == HSMPOOL_OK ? HSMPOOL_OK : hp_multipart_end(op, own);
}

/* Cut what is missing of the IV off the input; with the last byte of it, start. */
static hsmpool_status gather_iv(hsmpool_multipart *op, hsmpool_bytes *in,
				hsmpool_error *err)
{
	size_t missing = op->cipher.iv_len - op->iv_have;
	size_t taken = in->len < missing ? in->len : missing;
	if (taken > 0) {
		memcpy(op->cipher.iv + op->iv_have, in->data, taken);
		op->iv_have += taken;
		in->data += taken;
		in->len -= taken;
	}
	bool is_whole = op->iv_have == op->cipher.iv_len;
	return is_whole && !op->is_started ? start_late(op, err) : HSMPOOL_OK;
}

static CK_RV call_update(hsmpool_multipart *op, hsmpool_bytes in, CK_BYTE *out,
			 CK_ULONG *len)
{
	if (in.len == 0) {
		*len = 0;
		return CKR_OK;
	}
	return op->cipher.is_encryption
		       ? hp_encrypt_update(op->session, in.data, in.len, out, len)
		       : hp_decrypt_update(op->session, in.data, in.len, out, len);
}

static size_t held_back(const hsmpool_multipart *op)
{
	uint64_t held = op->total_in > op->total_out ? op->total_in - op->total_out : 0;
	return held < SIZE_MAX / 2 ? (size_t)held : SIZE_MAX / 2;
}

/*
 * A token that holds everything back until the end (SoftHSM2: GCM decryption) wants to
 * see room for all of it at each update, though it gives nothing. Such room is ours.
 */
static CK_RV update_with_room(hsmpool_multipart *op, hsmpool_bytes in, CK_BYTE *out,
			      CK_ULONG cap, CK_ULONG *len, hsmpool_status *own,
			      hsmpool_error *err)
{
	size_t room_len = held_back(op) + in.len + HP_UPDATE_SLACK;
	CK_BYTE *room = malloc(room_len);
	if (!room) {
		*own = hp_fail(err, HSMPOOL_ERR_SYSTEM, "%s in parts: no memory",
			       op->verb);
		return CKR_OK;
	}
	*len = room_len;
	CK_RV rv = call_update(op, in, room, len);
	if (rv == CKR_OK)
		*own = hp_check_written(*len, cap, err);
	bool is_good = rv == CKR_OK && *own == HSMPOOL_OK;
	if (is_good)
		memcpy(out, room, *len);
	hp_wipe(room, is_good ? *len : room_len);
	free(room);
	return rv;
}

/* The token's update, into cap bytes at out. */
static hsmpool_status update(hsmpool_multipart *op, hsmpool_bytes in, CK_BYTE *out,
			     CK_ULONG cap, CK_ULONG *len, hsmpool_error *err)
{
	hsmpool_status own = HSMPOOL_OK;
	CK_RV rv = CKR_BUFFER_TOO_SMALL;
	*len = cap;
	if (!op->needs_wide_room)
		rv = call_update(op, in, out, len);
	if (rv == CKR_BUFFER_TOO_SMALL) {
		op->needs_wide_room = true;
		rv = update_with_room(op, in, out, cap, len, &own, err);
	} else if (rv == CKR_OK) {
		own = hp_check_written(*len, cap, err);
	}
	if (rv == CKR_OK && own == HSMPOOL_OK)
		return HSMPOOL_OK;
	hp_wipe(out, in.len);
	return rv == CKR_OK ? hp_multipart_end(op, own)
			    : hp_multipart_fail(op, rv, false, err);
}

/* Behind prefix bytes of IV. */
static hsmpool_status update_behind(hsmpool_multipart *op, hsmpool_bytes in,
				    size_t prefix, hsmpool_buf *out, hsmpool_error *err)
{
	CK_ULONG len = 0;
	HP_TRY(update(op, in, out->data + prefix, out->cap - prefix, &len, err));
	op->total_in += in.len;
	op->total_out += len;
	if (prefix > 0)
		memcpy(out->data, op->cipher.iv, prefix);
	op->is_iv_sent = true;
	out->len = prefix + len;
	return HSMPOOL_OK;
}

/* Bytes of IV that have to go out with the next output. */
static size_t prefix_to_send(const hsmpool_multipart *op)
{
	bool sends = op->cipher.is_encryption && !op->is_iv_sent;
	return sends ? hp_cipher_prefix(&op->cipher) : 0;
}

hsmpool_status hp_multipart_cipher_update(hsmpool_multipart *op, hsmpool_bytes in,
					  hsmpool_buf *out, hsmpool_error *err)
{
	HP_TRY(hp_buf_need(out, in.len + HP_UPDATE_SLACK, err));
	HP_CHECK(!hp_bytes_overlap(in.data, in.len, out->data, out->cap), err,
		 HSMPOOL_ERR_USAGE, "%s in parts: input and output overlap", op->verb);
	out->len = 0;
	if (op->cipher.iv_source == HP_IV_IN_FRONT)
		HP_TRY(gather_iv(op, &in, err));
	return update_behind(op, in, prefix_to_send(op), out, err);
}

/* --- final ----------------------------------------------------------------------- */

static CK_RV call_final(hsmpool_multipart *op, CK_BYTE *out, CK_ULONG *len)
{
	return op->cipher.is_encryption ? hp_encrypt_final(op->session, out, len)
					: hp_decrypt_final(op->session, out, len);
}

/* A token that wants more room says so, once. */
static CK_RV final_behind(hsmpool_multipart *op, size_t prefix, CK_ULONG *len,
			  hsmpool_status *own, hsmpool_error *err)
{
	*len = op->result_cap - prefix;
	CK_RV rv = call_final(op, op->result + prefix, len);
	if (rv != CKR_BUFFER_TOO_SMALL || *len <= op->result_cap - prefix)
		return rv;
	*own = hp_multipart_result_room(op, prefix + *len, err);
	return *own == HSMPOOL_OK ? call_final(op, op->result + prefix, len) : CKR_OK;
}

hsmpool_status hp_multipart_cipher_finish(hsmpool_multipart *op, hsmpool_error *err)
{
	if (!op->is_started)
		return hp_multipart_end(op, hp_fail_data(err, op->verb, op->key));
	size_t prefix = prefix_to_send(op);
	/* everything may still come, where a cipher authenticates at the end */
	hsmpool_status own = hp_multipart_result_room(
		op, prefix + held_back(op) + HP_UPDATE_SLACK, err);
	if (own != HSMPOOL_OK)
		return hp_multipart_end(op, own);

	CK_ULONG len = 0;
	CK_RV rv = final_behind(op, prefix, &len, &own, err);
	if (rv != CKR_OK)
		return hp_multipart_fail(op, rv, true, err);
	if (own == HSMPOOL_OK)
		own = hp_check_written(len, op->result_cap - prefix, err);
	if (own != HSMPOOL_OK)
		return hp_multipart_end(op, own);
	if (prefix > 0)
		memcpy(op->result, op->cipher.iv, prefix);
	op->result_len = prefix + len;
	return HSMPOOL_OK;
}

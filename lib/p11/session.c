/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every PKCS#11 call made on a session: gate, time stamp, call, book-keeping.
 *
 * Owns: the book of active operations. Must not: decide, retry or log; the CK_RV goes
 * back as it came. PKCS#11 takes pointers to input without const: they are cast here
 * and nowhere else. No lock but the one of a module that cannot lock itself.
 */
#include "p11/session.h"

#include <stdlib.h>
#include <string.h>
#include "base/time.h"
#include "p11/gate.h"

/* --- one call ---------------------------------------------------------------------- */

static inline bool begin_call(struct hp_session *s)
{
	if (!hp_call_begin(s->module, s->shard))
		return false;
	atomic_store_explicit(&s->call_since_ns, hp_now_coarse_ns(),
			      memory_order_relaxed);
	return true;
}

static inline void end_call(struct hp_session *s)
{
	atomic_store_explicit(&s->call_since_ns, 0, memory_order_relaxed);
	hp_call_end(s->module, s->shard);
}

#define CALL(s, function, ...)                                                   \
	__extension__({                                                          \
		CK_RV call_rv = CKR_CRYPTOKI_NOT_INITIALIZED;                    \
		if (begin_call(s)) {                                             \
			call_rv = HP_FL_CALL((s)->module, function, (s)->handle, \
					     ##__VA_ARGS__);                     \
			end_call(s);                                             \
		}                                                                \
		call_rv;                                                         \
	})

/* Input that PKCS#11 only reads. */
#define INPUT(pointer) ((CK_BYTE *)(uintptr_t)(pointer))

/* --- the book ---------------------------------------------------------------------- */

static inline CK_RV note_begin(struct hp_session *s, uint32_t op, CK_RV rv)
{
	if (rv == CKR_OK)
		s->active |= op;
	else if (rv == CKR_OPERATION_ACTIVE)
		s->is_unsure = true; /* something goes on that the book does not have */
	return rv;
}

/* A strict HSM ends the operation at any error but BUFFER_TOO_SMALL; a sloppy one may
 * not, so the session is not known to be clean. */
static inline CK_RV note_error(struct hp_session *s, uint32_t op, CK_RV rv)
{
	s->active &= ~op;
	s->is_unsure = true;
	return rv;
}

static inline CK_RV note_update(struct hp_session *s, uint32_t op, CK_RV rv)
{
	if (rv == CKR_OK || rv == CKR_BUFFER_TOO_SMALL)
		return rv;
	return note_error(s, op, rv);
}

/* After the call that ends it, unless it only asked for the size. */
static inline CK_RV note_end(struct hp_session *s, uint32_t op, CK_RV rv, bool has_output)
{
	if (rv == CKR_BUFFER_TOO_SMALL || (rv == CKR_OK && !has_output))
		return rv;
	if (rv != CKR_OK)
		return note_error(s, op, rv);
	s->active &= ~op;
	return rv;
}

/* "The signature is wrong" is a result, not a failure. */
static inline CK_RV note_verified(struct hp_session *s, CK_RV rv)
{
	if (rv != CKR_SIGNATURE_INVALID && rv != CKR_SIGNATURE_LEN_RANGE)
		return note_end(s, HP_OP_VERIFY, rv, true);
	s->active &= ~HP_OP_VERIFY;
	return rv;
}

/* --- the session itself ------------------------------------------------------------ */

CK_RV hp_session_open(struct hp_session *s, struct hp_module *module, CK_SLOT_ID slot,
		      bool read_write)
{
	CK_FLAGS flags = CKF_SERIAL_SESSION | (read_write ? CKF_RW_SESSION : 0);
	s->module = module;
	s->handle = CK_INVALID_HANDLE;
	s->slot = slot;
	s->is_read_write = read_write;
	s->active = 0;
	s->is_unsure = false;
	s->objects = 0;
	CK_RV rv = CKR_CRYPTOKI_NOT_INITIALIZED;
	if (begin_call(s)) {
		rv = HP_FL_CALL(module, C_OpenSession, slot, flags, NULL, NULL,
				&s->handle);
		end_call(s);
	}
	if (rv != CKR_OK)
		s->handle = CK_INVALID_HANDLE;
	return rv;
}

CK_RV hp_session_close(struct hp_session *s)
{
	if (s->handle == CK_INVALID_HANDLE)
		return CKR_OK;
	CK_RV rv = CALL(s, C_CloseSession);
	s->handle = CK_INVALID_HANDLE;
	s->active = 0;
	s->is_unsure = false;
	s->objects = 0;
	return rv;
}

CK_RV hp_session_info(struct hp_session *s, CK_SESSION_INFO *info)
{
	memset(info, 0, sizeof(*info));
	return CALL(s, C_GetSessionInfo, info);
}

bool hp_session_state_is_user(CK_STATE state)
{
	return state == CKS_RO_USER_FUNCTIONS || state == CKS_RW_USER_FUNCTIONS;
}

CK_RV hp_session_login(struct hp_session *s, CK_USER_TYPE user,
		       const struct hp_secret *pin)
{
	return CALL(s, C_Login, user, pin ? pin->data : NULL, pin ? pin->len : 0);
}

CK_RV hp_session_login_bytes(struct hp_session *s, CK_USER_TYPE user, const CK_BYTE *pin,
			     CK_ULONG pin_len)
{
	return CALL(s, C_Login, user, INPUT(pin), pin_len);
}

CK_RV hp_session_logout(struct hp_session *s)
{
	return CALL(s, C_Logout);
}

bool hp_session_begin_stay(struct hp_session *s)
{
	return hp_gate_begin_stay(s->module, s->shard, &s->place);
}

void hp_session_end_stay(struct hp_session *s)
{
	hp_gate_end_stay(s->module, s->shard, s->place);
}

/* --- making it clean --------------------------------------------------------------- */

typedef CK_RV (*final_fn)(struct hp_session *s, CK_BYTE *out, CK_ULONG *out_len);

/* A decryption may hold back its whole output until the end. */
#define LARGEST_THROWAWAY (64ul << 20)

static CK_RV finish_into_heap(struct hp_session *s, final_fn final, CK_ULONG need)
{
	if (need > LARGEST_THROWAWAY)
		return CKR_BUFFER_TOO_SMALL;
	CK_BYTE *out = malloc(need);
	if (!out)
		return CKR_HOST_MEMORY;
	CK_ULONG len = need;
	CK_RV rv = final(s, out, &len);
	hp_wipe(out, need);
	free(out);
	return rv;
}

/*
 * Finish, and throw the output away. After a failure (a cut-off ciphertext has no good
 * end) the book cannot tell whether the operation is over, but the module can: asked
 * to finish once more it must answer that nothing is there to be finished.
 */
static bool finish(struct hp_session *s, uint32_t op, final_fn final)
{
	if (!(s->active & op))
		return true;
	CK_BYTE throwaway[1024];
	CK_ULONG len = sizeof(throwaway);
	CK_RV rv = final(s, throwaway, &len);
	if (rv == CKR_BUFFER_TOO_SMALL)
		rv = finish_into_heap(s, final, len);
	bool is_over = rv == CKR_OK;
	if (!is_over) {
		len = sizeof(throwaway);
		is_over = final(s, throwaway, &len) == CKR_OPERATION_NOT_INITIALIZED;
	}
	hp_wipe(throwaway, sizeof(throwaway));
	if (is_over)
		s->is_unsure = false; /* was false when we came */
	return is_over;
}

static CK_RV verify_nonsense(struct hp_session *s)
{
	static const CK_BYTE nonsense[1];
	return hp_verify(s, nonsense, sizeof(nonsense), nonsense, sizeof(nonsense));
}

static bool finish_verify(struct hp_session *s)
{
	if (!(s->active & HP_OP_VERIFY))
		return true;
	verify_nonsense(s);
	bool is_over =
		!s->is_unsure || verify_nonsense(s) == CKR_OPERATION_NOT_INITIALIZED;
	if (is_over)
		s->is_unsure = false;
	return is_over;
}

static CK_RV end_find(struct hp_session *s)
{
	CK_RV rv = CALL(s, C_FindObjectsFinal);
	return note_end(s, HP_OP_FIND, rv, true);
}

/* A module of 3.x ends whatever is active, a signature too, without finishing it. */
static bool cancel_all(struct hp_session *s)
{
	CK_RV rv = CKR_FUNCTION_NOT_SUPPORTED;
	if (s->module->cancel && begin_call(s)) {
		rv = s->module->cancel(s->handle, HP_CANCEL_ALL);
		end_call(s);
	}
	if (rv != CKR_OK)
		return false;
	s->active = 0;
	s->is_unsure = false;
	return true;
}

bool hp_session_clean(struct hp_session *s)
{
	if (!s->is_unsure && s->active == 0)
		return true;
	if (cancel_all(s))
		return true;
	const uint32_t never_finished =
		HP_OP_SIGN | HP_OP_SIGN_RECOVER | HP_OP_VERIFY_RECOVER;
	if (s->is_unsure || (s->active & never_finished))
		return false;
	if ((s->active & HP_OP_FIND) && end_find(s) != CKR_OK)
		return false;
	return finish(s, HP_OP_DIGEST, hp_digest_final) &&
	       finish(s, HP_OP_ENCRYPT, hp_encrypt_final) &&
	       finish(s, HP_OP_DECRYPT, hp_decrypt_final) && finish_verify(s);
}

/* --- objects ----------------------------------------------------------------------- */

/* No token has so many; a module that never says "no more" does. */
#define MOST_OBJECTS (1ul << 24)

/* Between Init and Final: what fits goes to found, the rest is counted. */
static CK_RV collect_objects(struct hp_session *s, CK_OBJECT_HANDLE *found, CK_ULONG cap,
			     CK_ULONG *len)
{
	CK_OBJECT_HANDLE uncollected[64];
	CK_ULONG batch = 0;
	do {
		bool fits = *len < cap;
		CK_OBJECT_HANDLE *to = fits ? found + *len : uncollected;
		CK_ULONG room =
			fits ? cap - *len : sizeof(uncollected) / sizeof(uncollected[0]);
		batch = 0;
		CK_RV rv = CALL(s, C_FindObjects, to, room, &batch);
		if (rv != CKR_OK)
			return rv;
		if (batch > room || *len > MOST_OBJECTS)
			return CKR_GENERAL_ERROR;
		*len += batch;
	} while (batch > 0);
	return CKR_OK;
}

CK_RV hp_find_objects(struct hp_session *s, CK_ATTRIBUTE *template, CK_ULONG count,
		      CK_OBJECT_HANDLE *found, CK_ULONG cap, CK_ULONG *len)
{
	*len = 0;
	CK_RV rv = CALL(s, C_FindObjectsInit, template, count);
	if (note_begin(s, HP_OP_FIND, rv) != CKR_OK)
		return rv;
	rv = collect_objects(s, found, cap, len);
	CK_RV final_rv = end_find(s);
	if (rv == CKR_OK)
		rv = final_rv;
	if (rv != CKR_OK)
		*len = 0;
	return rv;
}

CK_RV hp_get_attributes(struct hp_session *s, CK_OBJECT_HANDLE object,
			CK_ATTRIBUTE *template, CK_ULONG count)
{
	return CALL(s, C_GetAttributeValue, object, template, count);
}

CK_RV hp_set_attributes(struct hp_session *s, CK_OBJECT_HANDLE object,
			CK_ATTRIBUTE *template, CK_ULONG count)
{
	return CALL(s, C_SetAttributeValue, object, template, count);
}

CK_RV hp_create_object(struct hp_session *s, CK_ATTRIBUTE *template, CK_ULONG count,
		       CK_OBJECT_HANDLE *object)
{
	return CALL(s, C_CreateObject, template, count, object);
}

CK_RV hp_copy_object(struct hp_session *s, CK_OBJECT_HANDLE object,
		     CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *copy)
{
	return CALL(s, C_CopyObject, object, template, count, copy);
}

CK_RV hp_destroy_object(struct hp_session *s, CK_OBJECT_HANDLE object)
{
	return CALL(s, C_DestroyObject, object);
}

/* --- encrypt, decrypt -------------------------------------------------------------- */

CK_RV hp_encrypt_init(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
	return note_begin(s, HP_OP_ENCRYPT, CALL(s, C_EncryptInit, m, key));
}

CK_RV hp_encrypt(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
		 CK_ULONG *out_len)
{
	CK_RV rv = CALL(s, C_Encrypt, INPUT(in), in_len, out, out_len);
	return note_end(s, HP_OP_ENCRYPT, rv, out != NULL);
}

CK_RV hp_encrypt_update(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len,
			CK_BYTE *out, CK_ULONG *out_len)
{
	CK_RV rv = CALL(s, C_EncryptUpdate, INPUT(in), in_len, out, out_len);
	return note_update(s, HP_OP_ENCRYPT, rv);
}

CK_RV hp_encrypt_final(struct hp_session *s, CK_BYTE *out, CK_ULONG *out_len)
{
	CK_RV rv = CALL(s, C_EncryptFinal, out, out_len);
	return note_end(s, HP_OP_ENCRYPT, rv, out != NULL);
}

CK_RV hp_decrypt_init(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
	return note_begin(s, HP_OP_DECRYPT, CALL(s, C_DecryptInit, m, key));
}

CK_RV hp_decrypt(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
		 CK_ULONG *out_len)
{
	CK_RV rv = CALL(s, C_Decrypt, INPUT(in), in_len, out, out_len);
	return note_end(s, HP_OP_DECRYPT, rv, out != NULL);
}

CK_RV hp_decrypt_update(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len,
			CK_BYTE *out, CK_ULONG *out_len)
{
	CK_RV rv = CALL(s, C_DecryptUpdate, INPUT(in), in_len, out, out_len);
	return note_update(s, HP_OP_DECRYPT, rv);
}

CK_RV hp_decrypt_final(struct hp_session *s, CK_BYTE *out, CK_ULONG *out_len)
{
	CK_RV rv = CALL(s, C_DecryptFinal, out, out_len);
	return note_end(s, HP_OP_DECRYPT, rv, out != NULL);
}

/* --- digest, sign, verify ---------------------------------------------------------- */

CK_RV hp_digest_init(struct hp_session *s, CK_MECHANISM *m)
{
	return note_begin(s, HP_OP_DIGEST, CALL(s, C_DigestInit, m));
}

CK_RV hp_digest(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
		CK_ULONG *out_len)
{
	CK_RV rv = CALL(s, C_Digest, INPUT(in), in_len, out, out_len);
	return note_end(s, HP_OP_DIGEST, rv, out != NULL);
}

CK_RV hp_digest_update(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len)
{
	CK_RV rv = CALL(s, C_DigestUpdate, INPUT(in), in_len);
	return note_update(s, HP_OP_DIGEST, rv);
}

CK_RV hp_digest_final(struct hp_session *s, CK_BYTE *out, CK_ULONG *out_len)
{
	CK_RV rv = CALL(s, C_DigestFinal, out, out_len);
	return note_end(s, HP_OP_DIGEST, rv, out != NULL);
}

CK_RV hp_sign_init(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
	return note_begin(s, HP_OP_SIGN, CALL(s, C_SignInit, m, key));
}

CK_RV hp_sign(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
	      CK_ULONG *out_len)
{
	CK_RV rv = CALL(s, C_Sign, INPUT(in), in_len, out, out_len);
	return note_end(s, HP_OP_SIGN, rv, out != NULL);
}

CK_RV hp_sign_update(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len)
{
	CK_RV rv = CALL(s, C_SignUpdate, INPUT(in), in_len);
	return note_update(s, HP_OP_SIGN, rv);
}

CK_RV hp_sign_final(struct hp_session *s, CK_BYTE *out, CK_ULONG *out_len)
{
	CK_RV rv = CALL(s, C_SignFinal, out, out_len);
	return note_end(s, HP_OP_SIGN, rv, out != NULL);
}

CK_RV hp_verify_init(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
	return note_begin(s, HP_OP_VERIFY, CALL(s, C_VerifyInit, m, key));
}

CK_RV hp_verify(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len,
		const CK_BYTE *signature, CK_ULONG signature_len)
{
	CK_RV rv = CALL(s, C_Verify, INPUT(in), in_len, INPUT(signature), signature_len);
	return note_verified(s, rv);
}

/* --- keys, random ------------------------------------------------------------------ */

CK_RV hp_generate_key(struct hp_session *s, CK_MECHANISM *m, CK_ATTRIBUTE *template,
		      CK_ULONG count, CK_OBJECT_HANDLE *key)
{
	return CALL(s, C_GenerateKey, m, template, count, key);
}

CK_RV hp_generate_key_pair(struct hp_session *s, CK_MECHANISM *m,
			   CK_ATTRIBUTE *public_template, CK_ULONG public_count,
			   CK_ATTRIBUTE *private_template, CK_ULONG private_count,
			   CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
	return CALL(s, C_GenerateKeyPair, m, public_template, public_count,
		    private_template, private_count, public_key, private_key);
}

CK_RV hp_wrap_key(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE wrapping_key,
		  CK_OBJECT_HANDLE key, CK_BYTE *out, CK_ULONG *out_len)
{
	return CALL(s, C_WrapKey, m, wrapping_key, key, out, out_len);
}

CK_RV hp_unwrap_key(struct hp_session *s, CK_MECHANISM *m,
		    CK_OBJECT_HANDLE unwrapping_key, const CK_BYTE *wrapped,
		    CK_ULONG wrapped_len, CK_ATTRIBUTE *template, CK_ULONG count,
		    CK_OBJECT_HANDLE *key)
{
	return CALL(s, C_UnwrapKey, m, unwrapping_key, INPUT(wrapped), wrapped_len,
		    template, count, key);
}

CK_RV hp_derive_key(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE base,
		    CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *key)
{
	return CALL(s, C_DeriveKey, m, base, template, count, key);
}

CK_RV hp_generate_random(struct hp_session *s, CK_BYTE *out, CK_ULONG len)
{
	return CALL(s, C_GenerateRandom, out, len);
}

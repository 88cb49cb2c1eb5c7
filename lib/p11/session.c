/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real sessions: opening, closing, login, and making one clean.
 *
 * Owns: what "clean" means. Must not: decide, retry or log; the CK_RV goes back as it
 * came. No lock but the one of a module that cannot lock itself.
 */
#include "p11/call.h"

#include <stdlib.h>
#include <string.h>
#include "p11/siblings.h"

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
	s->is_unsure = s->may_finish_signature = s->resists_cleaning = false;
	atomic_fetch_add(&s->openings, 1);
	atomic_store(&s->objects, 0);
	CK_RV rv = CKR_CRYPTOKI_NOT_INITIALIZED;
	if (s->worker) {
		rv = hp_guarded_C_OpenSession(s, flags);
	} else if (hp_session_call_begin(s)) {
		rv = HP_FL_CALL(module, C_OpenSession, slot, flags, NULL, NULL,
				&s->handle);
		hp_session_call_end(s);
	}
	if (rv != CKR_OK)
		s->handle = CK_INVALID_HANDLE;
	return rv;
}

CK_RV hp_session_close(struct hp_session *s)
{
	if (s->handle == CK_INVALID_HANDLE)
		return CKR_OK;
	CK_RV rv = HP_SESSION_CALL(s, C_CloseSession);
	if (s->is_abandoned)
		return rv; /* it is still needed */
	s->handle = CK_INVALID_HANDLE;
	s->active = 0;
	s->is_unsure = false;
	return rv;
}

uint32_t hp_session_object_made(struct hp_session *s)
{
	atomic_fetch_add(&s->objects, 1);
	return atomic_load(&s->openings);
}

uint32_t hp_session_opening(struct hp_session *s)
{
	return atomic_load(&s->openings);
}

void hp_session_object_gone(struct hp_session *s, uint32_t opening)
{
	uint32_t objects = atomic_load(&s->objects);
	do {
		if (objects == 0 || atomic_load(&s->openings) != opening)
			return;
	} while (!atomic_compare_exchange_weak(&s->objects, &objects, objects - 1));
}

CK_RV hp_session_info(struct hp_session *s, CK_SESSION_INFO *info)
{
	memset(info, 0, sizeof(*info));
	return HP_SESSION_CALL(s, C_GetSessionInfo, info);
}

CK_RV hp_session_token_info(struct hp_session *s, CK_TOKEN_INFO *info)
{
	memset(info, 0, sizeof(*info));
	bool is_our_turn = hp_siblings_begin(s->module);
	CK_RV rv = CKR_CRYPTOKI_NOT_INITIALIZED;
	if (s->worker) {
		rv = hp_guarded_C_GetTokenInfo(s, info);
	} else if (hp_session_call_begin(s)) {
		rv = HP_FL_CALL(s->module, C_GetTokenInfo, s->slot, info);
		hp_session_call_end(s);
	}
	hp_siblings_end(is_our_turn);
	return rv;
}

void hp_session_begin_errand(struct hp_session *s)
{
	atomic_store_explicit(&s->call_since_ns, hp_now_coarse_ns(),
			      memory_order_relaxed);
}

void hp_session_end_errand(struct hp_session *s)
{
	atomic_store_explicit(&s->call_since_ns, 0, memory_order_relaxed);
}

bool hp_session_state_is_user(CK_STATE state)
{
	return state == CKS_RO_USER_FUNCTIONS || state == CKS_RW_USER_FUNCTIONS;
}

CK_RV hp_session_login(struct hp_session *s, CK_USER_TYPE user,
		       const struct hp_secret *pin)
{
	return hp_session_login_bytes(s, user, pin ? pin->data : NULL,
				      pin ? pin->len : 0);
}

CK_RV hp_session_login_bytes(struct hp_session *s, CK_USER_TYPE user, const CK_BYTE *pin,
			     CK_ULONG pin_len)
{
	bool is_our_turn = user != CKU_CONTEXT_SPECIFIC && hp_siblings_begin(s->module);
	CK_RV rv = HP_SESSION_CALL(s, C_Login, user, HP_INPUT(pin), pin_len);
	hp_siblings_end(is_our_turn);
	return rv;
}

CK_RV hp_session_logout(struct hp_session *s)
{
	return HP_SESSION_CALL(s, C_Logout);
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
/* What RSA to 16384 bits gives. */
#define LARGEST_BLOCK 2048
/* Post-quantum ones are of kilobytes. */
#define LARGEST_SIGNATURE 8192

#define SIGNATURES ((uint32_t)(HP_OP_SIGN | HP_OP_SIGN_RECOVER))

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

typedef CK_RV (*single_fn)(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len,
			   CK_BYTE *out, CK_ULONG *out_len);

/*
 * Finish, and throw the output away. After a failure (a cut-off ciphertext has no good
 * end) the book cannot tell whether the operation is over, but the module can: asked
 * to finish once more it must answer that nothing is there to be finished. What has no
 * parts (RSA on SoftHSM2) is ended by doing all of it.
 */
static bool is_over_now(struct hp_session *s, final_fn final)
{
	CK_BYTE throwaway[1024];
	CK_ULONG len = sizeof(throwaway);
	CK_RV rv = final(s, throwaway, &len);
	hp_wipe(throwaway, sizeof(throwaway));
	return rv == CKR_OPERATION_NOT_INITIALIZED;
}

static bool finish_in_parts(struct hp_session *s, final_fn final)
{
	CK_BYTE throwaway[1024];
	CK_ULONG len = sizeof(throwaway);
	CK_RV rv = final(s, throwaway, &len);
	if (rv == CKR_BUFFER_TOO_SMALL)
		rv = finish_into_heap(s, final, len);
	hp_wipe(throwaway, sizeof(throwaway));
	return rv == CKR_OK || is_over_now(s, final);
}

static bool finish_at_once(struct hp_session *s, final_fn final, single_fn single)
{
	static const CK_BYTE nonsense[1];
	CK_BYTE throwaway[LARGEST_BLOCK];
	CK_ULONG len = sizeof(throwaway);
	single(s, nonsense, sizeof(nonsense), throwaway, &len);
	hp_wipe(throwaway, sizeof(throwaway));
	return is_over_now(s, final);
}

static bool finish(struct hp_session *s, uint32_t op, final_fn final, single_fn single)
{
	if (!(s->active & op))
		return true;
	bool is_over =
		finish_in_parts(s, final) || (single && finish_at_once(s, final, single));
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

static CK_RV recover_nonsense(struct hp_session *s)
{
	static const CK_BYTE nonsense[1];
	CK_BYTE throwaway[LARGEST_BLOCK];
	CK_ULONG len = sizeof(throwaway);
	CK_RV rv = hp_verify_recover(s, nonsense, sizeof(nonsense), throwaway, &len);
	hp_wipe(throwaway, sizeof(throwaway));
	return rv;
}

static bool finish_verify_recover(struct hp_session *s)
{
	if (!(s->active & HP_OP_VERIFY_RECOVER))
		return true;
	recover_nonsense(s);
	CK_RV rv = recover_nonsense(s);
	bool is_over =
		rv == CKR_OPERATION_NOT_INITIALIZED || rv == CKR_FUNCTION_NOT_SUPPORTED;
	if (is_over)
		s->is_unsure = false;
	return is_over;
}

/* A module of 3.x ends whatever is active, a signature too, without finishing it. */
static bool cancel_all(struct hp_session *s)
{
	CK_RV rv = CKR_FUNCTION_NOT_SUPPORTED;
	if (s->module->cancel && s->worker) {
		rv = hp_guarded_C_SessionCancel(s);
	} else if (s->module->cancel && hp_session_call_begin(s)) {
		rv = s->module->cancel(s->handle, HP_CANCEL_ALL);
		hp_session_call_end(s);
	}
	if (rv != CKR_OK)
		return false;
	s->active = 0;
	s->is_unsure = false;
	return true;
}

/* Asked in ways that sign nothing. */
static bool is_signing(struct hp_session *s)
{
	static const CK_BYTE nothing[1];
	CK_ULONG len = 0;
	if (hp_sign_update(s, nothing, 0) != CKR_OPERATION_NOT_INITIALIZED ||
	    hp_sign(s, nothing, sizeof(nothing), NULL, &len) !=
		    CKR_OPERATION_NOT_INITIALIZED)
		return true;
	CK_RV rv = hp_sign_recover(s, nothing, sizeof(nothing), NULL, &len);
	return rv != CKR_OPERATION_NOT_INITIALIZED && rv != CKR_FUNCTION_NOT_SUPPORTED;
}

/* One part, and then the question how long the signature of something at once would be:
 * an error by the standard, which ends the operation. A module that does not think so
 * has signed nothing either. */
static bool cancel_signature(struct hp_session *s)
{
	static const CK_BYTE nothing[1];
	CK_ULONG len = 0;
	hp_sign_update(s, nothing, sizeof(nothing));
	hp_sign(s, nothing, sizeof(nothing), NULL, &len);
	return !is_signing(s);
}

/* Nobody sees the signature. */
static bool finish_signature(struct hp_session *s)
{
	static const CK_BYTE nonsense[1];
	CK_BYTE throwaway[LARGEST_SIGNATURE];
	CK_ULONG len = sizeof(throwaway);
	hp_sign_final(s, throwaway, &len);
	len = sizeof(throwaway);
	if (is_signing(s)) /* it has no parts */
		hp_sign(s, nonsense, sizeof(nonsense), throwaway, &len);
	len = sizeof(throwaway);
	if (is_signing(s))
		hp_sign_recover(s, nonsense, sizeof(nonsense), throwaway, &len);
	hp_wipe(throwaway, sizeof(throwaway));
	return !is_signing(s);
}

/* Only to save what would go with the session, and without signing if that can be. True:
 * none is active any more. */
static bool end_signature(struct hp_session *s)
{
	bool was_unsure = s->is_unsure;
	bool has_objects = s->objects > 0;
	if (!has_objects && !s->is_last)
		return false;
	bool is_over = cancel_signature(s) ||
		       (has_objects && s->may_finish_signature && finish_signature(s));
	if (is_over)
		s->active &= ~SIGNATURES;
	s->is_unsure = was_unsure;
	return is_over;
}

bool hp_session_clean(struct hp_session *s)
{
	if (!s->is_unsure && s->active == 0)
		return true;
	if (cancel_all(s))
		return true;
	if (s->is_unsure)
		return false;
	if ((s->active & SIGNATURES) && !end_signature(s))
		return false;
	if ((s->active & HP_OP_FIND) && hp_find_objects_final(s) != CKR_OK)
		return false;
	return finish(s, HP_OP_DIGEST, hp_digest_final, NULL) &&
	       finish(s, HP_OP_ENCRYPT, hp_encrypt_final, hp_encrypt) &&
	       finish(s, HP_OP_DECRYPT, hp_decrypt_final, hp_decrypt) &&
	       finish_verify(s) && finish_verify_recover(s);
}

bool hp_session_clean_unknown(struct hp_session *s)
{
	if (cancel_all(s))
		return true;
	bool is_signature = (s->active & SIGNATURES) || is_signing(s);
	s->resists_cleaning = is_signature && !end_signature(s);
	if (s->resists_cleaning) {
		s->is_unsure = true;
		return false;
	}
	hp_find_objects_final(s);
	s->active = HP_OP_DIGEST | HP_OP_ENCRYPT | HP_OP_DECRYPT | HP_OP_VERIFY |
		    HP_OP_VERIFY_RECOVER;
	s->is_unsure = false;
	bool is_clean = hp_session_clean(s);
	s->active = 0;
	s->is_unsure = s->resists_cleaning = !is_clean;
	return is_clean;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The own backend's operations: beginning them all, and signing, verifying, digesting.
 *
 * No lock: a session is used by one thread at a time, and what is read of a key are
 * atomics. Every error but CKR_BUFFER_TOO_SMALL ends an operation.
 */
#include "operation.h"

#include <string.h>

static const uint32_t trait_of[MOCK_KINDS] = {
	[MOCK_ENCRYPT] = MOCK_TRAIT_ENCRYPT,
	[MOCK_DECRYPT] = MOCK_TRAIT_DECRYPT,
	[MOCK_SIGNING] = MOCK_TRAIT_SIGN,
	[MOCK_SIGN_RECOVER] = MOCK_TRAIT_SIGN_RECOVER,
	[MOCK_VERIFYING] = MOCK_TRAIT_VERIFY,
	[MOCK_VERIFY_RECOVER] = MOCK_TRAIT_VERIFY_RECOVER,
};

static const CK_FLAGS flag_of[MOCK_KINDS] = {
	[MOCK_ENCRYPT] = CKF_ENCRYPT,
	[MOCK_DECRYPT] = CKF_DECRYPT,
	[MOCK_DIGESTING] = CKF_DIGEST,
	[MOCK_SIGNING] = CKF_SIGN,
	[MOCK_SIGN_RECOVER] = CKF_SIGN_RECOVER,
	[MOCK_VERIFYING] = CKF_VERIFY,
	[MOCK_VERIFY_RECOVER] = CKF_VERIFY_RECOVER,
};

/* --- beginning --------------------------------------------------------------- */

static CK_RV absorb_gcm(struct mock_op *op, const CK_MECHANISM *m)
{
	const CK_GCM_PARAMS *gcm = m->pParameter;

	if (gcm == NULL || m->ulParameterLen != sizeof(*gcm) || gcm->pIv == NULL ||
	    gcm->ulIvLen == 0 || (gcm->pAAD == NULL && gcm->ulAADLen != 0) ||
	    gcm->ulTagBits > 128 || gcm->ulTagBits < 32)
		return CKR_MECHANISM_PARAM_INVALID;
	op->tag_len = (uint32_t)(gcm->ulTagBits / 8);
	op->key = toy_hash_of(op->key, gcm->pIv, gcm->ulIvLen);
	toy_hash_begin(&op->hash, toy_hash_of(op->key, gcm->pAAD, gcm->ulAADLen));
	return CKR_OK;
}

/* Structures that hold no pointers, or that we do not look into. */
static CK_RV absorb_flat(struct mock_op *op, const CK_MECHANISM *m, CK_ULONG len,
			 bool do_mix)
{
	if (m->ulParameterLen != len || (m->pParameter == NULL && len != 0))
		return CKR_MECHANISM_PARAM_INVALID;
	if (do_mix && len != 0)
		op->key = toy_hash_of(op->key, m->pParameter, len);
	return CKR_OK;
}

CK_RV mock_op_absorb(struct mock_op *op, const CK_MECHANISM *m)
{
	switch (m->mechanism) {
	case CKM_AES_GCM:
		return absorb_gcm(op, m);
	case CKM_AES_CBC:
	case CKM_AES_CBC_PAD:
		return absorb_flat(op, m, 16, true);
	case CKM_AES_CTR:
		return absorb_flat(op, m, sizeof(CK_AES_CTR_PARAMS), true);
	case CKM_RSA_PKCS_OAEP:
		return absorb_flat(op, m, sizeof(CK_RSA_PKCS_OAEP_PARAMS), false);
	case CKM_RSA_PKCS_PSS:
	case CKM_SHA1_RSA_PKCS_PSS:
	case CKM_SHA224_RSA_PKCS_PSS:
	case CKM_SHA256_RSA_PKCS_PSS:
	case CKM_SHA384_RSA_PKCS_PSS:
	case CKM_SHA512_RSA_PKCS_PSS:
		return absorb_flat(op, m, sizeof(CK_RSA_PKCS_PSS_PARAMS), true);
	default:
		return CKR_OK;
	}
}

static bool is_asymmetric(CK_KEY_TYPE type)
{
	return type == CKK_RSA || type == CKK_EC || type == 0x40UL;
}

bool mock_key_fits(const struct mock_mechanism *mechanism, const struct mock_object *key,
		   bool takes_public)
{
	CK_KEY_TYPE type = atomic_load_explicit(&key->key_type, memory_order_relaxed);
	CK_OBJECT_CLASS class = atomic_load_explicit(&key->class, memory_order_relaxed);

	if (type != mechanism->key_type &&
	    (mechanism->key_type != CKK_GENERIC_SECRET || type < CKK_MD5_HMAC ||
	     type > CKK_SHA224_HMAC))
		return false;
	if (is_asymmetric(type))
		return class == (takes_public ? CKO_PUBLIC_KEY : CKO_PRIVATE_KEY);
	return class == CKO_SECRET_KEY;
}

static CK_RV set_key(struct mock_op *op, enum mock_kind kind,
		     const struct mock_mechanism *mechanism, CK_OBJECT_HANDLE handle)
{
	CK_RV rv;
	bool takes_public = kind == MOCK_ENCRYPT || kind == MOCK_VERIFYING ||
			    kind == MOCK_VERIFY_RECOVER;
	struct mock_object *key = mock_object_find(handle, CKR_KEY_HANDLE_INVALID, &rv);

	if (key == NULL)
		return rv;
	if (!mock_key_fits(mechanism, key, takes_public))
		return CKR_KEY_TYPE_INCONSISTENT;
	uint32_t traits = atomic_load_explicit(&key->traits, memory_order_relaxed);
	if (!(traits & trait_of[kind]))
		return CKR_KEY_FUNCTION_NOT_PERMITTED;
	op->key = atomic_load_explicit(&key->seed, memory_order_relaxed);
	op->key_bytes = atomic_load_explicit(&key->bytes, memory_order_relaxed);
	op->is_private = (traits & MOCK_TRAIT_PRIVATE) != 0;
	op->needs_context_login = (traits & MOCK_TRAIT_ALWAYS_AUTH) != 0;
	return CKR_OK;
}

CK_RV mock_op_begin(CK_SESSION_HANDLE session, enum mock_kind kind, const CK_MECHANISM *m,
		    CK_OBJECT_HANDLE key)
{
	struct mock_session *s = mock_session_find(session);

	if (s == NULL)
		return mock_dead_session_rv(session);
	if (m == NULL)
		return CKR_ARGUMENTS_BAD;
	struct mock_op *op = &s->op[kind];
	if (op->is_active)
		return CKR_OPERATION_ACTIVE;
	const struct mock_mechanism *mechanism = op->mechanism;
	if (mechanism == NULL || mechanism->type != m->mechanism)
		mechanism = mock_mechanism_find(m->mechanism);
	if (mechanism == NULL || !(mechanism->flags & flag_of[kind]))
		return CKR_MECHANISM_INVALID;
	op->key = 0;
	op->is_private = op->needs_context_login = false;
	CK_RV rv = kind == MOCK_DIGESTING ? CKR_OK : set_key(op, kind, mechanism, key);
	if (rv != CKR_OK)
		return rv;
	op->mechanism = mechanism;
	toy_hash_begin(&op->hash, op->key);
	rv = mock_op_absorb(op, m);
	if (rv != CKR_OK)
		return rv;
	op->position = 0;
	op->held_len = 0;
	op->is_multipart = false;
	op->login_serial = atomic_load_explicit(&mock.login_serial, memory_order_relaxed);
	op->is_active = true;
	return CKR_OK;
}

/* --- going on and ending ----------------------------------------------------- */

CK_RV mock_op_find(CK_SESSION_HANDLE session, enum mock_kind kind, struct mock_op **out)
{
	struct mock_session *s = mock_session_find(session);

	if (s == NULL)
		return mock_dead_session_rv(session);
	struct mock_op *op = &s->op[kind];
	if (!op->is_active)
		return CKR_OPERATION_NOT_INITIALIZED;
	if ((op->is_private &&
	     op->login_serial !=
		     atomic_load_explicit(&mock.login_serial, memory_order_relaxed)) ||
	    op->needs_context_login)
		return mock_op_end(op, CKR_USER_NOT_LOGGED_IN);
	*out = op;
	return CKR_OK;
}

CK_RV mock_op_end(struct mock_op *op, CK_RV rv)
{
	if (rv != CKR_BUFFER_TOO_SMALL)
		op->is_active =
			rv != CKR_OK &&
			atomic_load_explicit(&mock.leave_active, memory_order_relaxed);
	return rv;
}

bool mock_has_room(const CK_BYTE *out, CK_ULONG *out_len, CK_ULONG need, CK_RV *rv)
{
	CK_ULONG room = *out_len;

	*out_len = need;
	*rv = out == NULL ? CKR_OK : CKR_BUFFER_TOO_SMALL;
	return out != NULL && room >= need;
}

/* Which functions end an operation, of which kind. */
void mock_end_operation(struct mock_session *session, enum mock_function function)
{
	static const uint8_t kind_of[MOCK_FUNCTION_COUNT] = {
		[MOCK_C_Encrypt] = 1 + MOCK_ENCRYPT,
		[MOCK_C_EncryptUpdate] = 1 + MOCK_ENCRYPT,
		[MOCK_C_EncryptFinal] = 1 + MOCK_ENCRYPT,
		[MOCK_C_Decrypt] = 1 + MOCK_DECRYPT,
		[MOCK_C_DecryptUpdate] = 1 + MOCK_DECRYPT,
		[MOCK_C_DecryptFinal] = 1 + MOCK_DECRYPT,
		[MOCK_C_Digest] = 1 + MOCK_DIGESTING,
		[MOCK_C_DigestUpdate] = 1 + MOCK_DIGESTING,
		[MOCK_C_DigestKey] = 1 + MOCK_DIGESTING,
		[MOCK_C_DigestFinal] = 1 + MOCK_DIGESTING,
		[MOCK_C_Sign] = 1 + MOCK_SIGNING,
		[MOCK_C_SignUpdate] = 1 + MOCK_SIGNING,
		[MOCK_C_SignFinal] = 1 + MOCK_SIGNING,
		[MOCK_C_SignRecover] = 1 + MOCK_SIGN_RECOVER,
		[MOCK_C_Verify] = 1 + MOCK_VERIFYING,
		[MOCK_C_VerifyUpdate] = 1 + MOCK_VERIFYING,
		[MOCK_C_VerifyFinal] = 1 + MOCK_VERIFYING,
		[MOCK_C_VerifyRecover] = 1 + MOCK_VERIFY_RECOVER,
	};

	if (session != NULL && kind_of[function] != 0)
		session->op[kind_of[function] - 1].is_active = false;
}

/* --- sign, verify, digest ---------------------------------------------------- */

static CK_ULONG result_len(const struct mock_op *op)
{
	bool is_fixed =
		op->mechanism->family == MOCK_MAC || op->mechanism->family == MOCK_DIGEST;

	return is_fixed ? op->mechanism->size : op->key_bytes;
}

static CK_RV one_shot_begin(CK_SESSION_HANDLE session, enum mock_kind kind,
			    const CK_BYTE *in, CK_ULONG in_len, const void *required,
			    struct mock_op **op)
{
	CK_RV rv = mock_op_find(session, kind, op);

	if (rv != CKR_OK)
		return rv;
	if (required == NULL || (in == NULL && in_len != 0))
		return mock_op_end(*op, CKR_ARGUMENTS_BAD);
	if ((*op)->is_multipart)
		return mock_op_end(*op, CKR_OPERATION_ACTIVE);
	if ((*op)->mechanism->family == MOCK_RSA_CIPHER &&
	    in_len > (*op)->key_bytes - (*op)->mechanism->size)
		return mock_op_end(*op, CKR_DATA_LEN_RANGE);
	return CKR_OK;
}

static CK_RV one_shot(CK_SESSION_HANDLE session, enum mock_kind kind, const CK_BYTE *in,
		      CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len)
{
	struct mock_op *op;
	CK_RV rv = one_shot_begin(session, kind, in, in_len, out_len, &op);

	if (rv != CKR_OK || !mock_has_room(out, out_len, result_len(op), &rv))
		return rv;
	toy_hash_update(&op->hash, in, in_len);
	toy_expand(toy_hash_end(&op->hash), out, *out_len);
	return mock_op_end(op, CKR_OK);
}

CK_RV mock_op_update(CK_SESSION_HANDLE session, enum mock_kind kind, const CK_BYTE *in,
		     CK_ULONG in_len)
{
	struct mock_op *op;
	CK_RV rv = mock_op_find(session, kind, &op);

	if (rv != CKR_OK)
		return rv;
	if (in == NULL && in_len != 0)
		return mock_op_end(op, CKR_ARGUMENTS_BAD);
	if (op->mechanism->family == MOCK_RSA_CIPHER)
		return mock_op_end(op, CKR_FUNCTION_NOT_SUPPORTED);
	op->is_multipart = true;
	toy_hash_update(&op->hash, in, in_len);
	return CKR_OK;
}

static CK_RV final(CK_SESSION_HANDLE session, enum mock_kind kind, CK_BYTE *out,
		   CK_ULONG *out_len)
{
	struct mock_op *op;
	CK_RV rv = mock_op_find(session, kind, &op);

	if (rv != CKR_OK)
		return rv;
	if (out_len == NULL)
		return mock_op_end(op, CKR_ARGUMENTS_BAD);
	if (!mock_has_room(out, out_len, result_len(op), &rv))
		return rv;
	toy_expand(toy_hash_end(&op->hash), out, *out_len);
	return mock_op_end(op, CKR_OK);
}

static CK_RV compare(struct mock_op *op, const CK_BYTE *signature, CK_ULONG len)
{
	uint8_t right[1024];
	CK_ULONG right_len = result_len(op);

	if (signature == NULL)
		return mock_op_end(op, CKR_ARGUMENTS_BAD);
	if (len != right_len || right_len > sizeof(right))
		return mock_op_end(op, CKR_SIGNATURE_LEN_RANGE);
	toy_expand(toy_hash_end(&op->hash), right, right_len);
	return mock_op_end(
		op, memcmp(right, signature, len) == 0 ? CKR_OK : CKR_SIGNATURE_INVALID);
}

CK_RV own_C_SignInit(CK_SESSION_HANDLE session, CK_MECHANISM_PTR m, CK_OBJECT_HANDLE key)
{
	return mock_op_begin(session, MOCK_SIGNING, m, key);
}

CK_RV own_C_Sign(CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len,
		 CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	return one_shot(session, MOCK_SIGNING, in, in_len, out, out_len);
}

CK_RV own_C_SignUpdate(CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len)
{
	return mock_op_update(session, MOCK_SIGNING, in, in_len);
}

CK_RV own_C_SignFinal(CK_SESSION_HANDLE session, CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	return final(session, MOCK_SIGNING, out, out_len);
}

CK_RV own_C_VerifyInit(CK_SESSION_HANDLE session, CK_MECHANISM_PTR m,
		       CK_OBJECT_HANDLE key)
{
	return mock_op_begin(session, MOCK_VERIFYING, m, key);
}

CK_RV own_C_Verify(CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len,
		   CK_BYTE_PTR signature, CK_ULONG signature_len)
{
	struct mock_op *op;
	CK_RV rv = one_shot_begin(session, MOCK_VERIFYING, in, in_len, signature, &op);

	if (rv != CKR_OK)
		return rv;
	toy_hash_update(&op->hash, in, in_len);
	return compare(op, signature, signature_len);
}

CK_RV own_C_VerifyUpdate(CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len)
{
	return mock_op_update(session, MOCK_VERIFYING, in, in_len);
}

CK_RV own_C_VerifyFinal(CK_SESSION_HANDLE session, CK_BYTE_PTR signature, CK_ULONG len)
{
	struct mock_op *op;
	CK_RV rv = mock_op_find(session, MOCK_VERIFYING, &op);

	return rv == CKR_OK ? compare(op, signature, len) : rv;
}

CK_RV own_C_DigestInit(CK_SESSION_HANDLE session, CK_MECHANISM_PTR m)
{
	return mock_op_begin(session, MOCK_DIGESTING, m, 0);
}

CK_RV own_C_Digest(CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len,
		   CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	return one_shot(session, MOCK_DIGESTING, in, in_len, out, out_len);
}

CK_RV own_C_DigestUpdate(CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len)
{
	return mock_op_update(session, MOCK_DIGESTING, in, in_len);
}

CK_RV own_C_DigestKey(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle)
{
	struct mock_op *op;
	CK_RV rv = mock_op_find(session, MOCK_DIGESTING, &op);

	if (rv != CKR_OK)
		return rv;
	struct mock_object *key = mock_object_find(handle, CKR_KEY_HANDLE_INVALID, &rv);
	if (key == NULL)
		return mock_op_end(op, rv);
	uint64_t seed = atomic_load(&key->seed);
	op->is_multipart = true;
	toy_hash_update(&op->hash, (const uint8_t *)&seed, sizeof(seed));
	return CKR_OK;
}

CK_RV own_C_DigestFinal(CK_SESSION_HANDLE session, CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	return final(session, MOCK_DIGESTING, out, out_len);
}

/* --- saved states ------------------------------------------------------------ */

struct saved_state {
	uint64_t magic;
	uint32_t kind;
	struct mock_op op;
};
#define SAVED_MAGIC UINT64_C(0x6d6f636b73746174)

CK_RV own_C_GetOperationState(CK_SESSION_HANDLE session, CK_BYTE_PTR out,
			      CK_ULONG_PTR out_len)
{
	struct mock_session *s = mock_session_find(session);
	struct saved_state state = { .magic = SAVED_MAGIC };
	CK_RV rv;

	if (s == NULL)
		return mock_dead_session_rv(session);
	if (out_len == NULL)
		return CKR_ARGUMENTS_BAD;
	while (state.kind < MOCK_KINDS && !s->op[state.kind].is_active)
		state.kind++;
	if (state.kind == MOCK_KINDS)
		return CKR_OPERATION_NOT_INITIALIZED;
	if (!mock_has_room(out, out_len, sizeof(state), &rv))
		return rv;
	state.op = s->op[state.kind];
	memcpy(out, &state, sizeof(state));
	return CKR_OK;
}

CK_RV own_C_SetOperationState(CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len,
			      CK_OBJECT_HANDLE encryption_key,
			      CK_OBJECT_HANDLE authentication_key)
{
	struct mock_session *s = mock_session_find(session);
	struct saved_state state;

	if (s == NULL)
		return mock_dead_session_rv(session);
	if (in == NULL)
		return CKR_ARGUMENTS_BAD;
	if (in_len != sizeof(state))
		return CKR_SAVED_STATE_INVALID;
	memcpy(&state, in, sizeof(state));
	if (state.magic != SAVED_MAGIC || state.kind >= MOCK_KINDS)
		return CKR_SAVED_STATE_INVALID;
	bool is_cipher = state.kind == MOCK_ENCRYPT || state.kind == MOCK_DECRYPT;
	CK_OBJECT_HANDLE key = is_cipher ? encryption_key : authentication_key;
	if (state.kind != MOCK_DIGESTING && key == 0)
		return CKR_KEY_NEEDED;
	s->op[state.kind] = state.op;
	return CKR_OK;
}

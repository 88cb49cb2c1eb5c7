/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copying arguments to a worker's task, and results back.
 *
 * Each function of PKCS#11 has here: how its copies are passed to the module, which
 * arguments are copied, and what comes back. What comes back is written only when the
 * call has returned in time. NULLs go through as they are: the module answers for them.
 */
#include "p11/guarded.h"

#include <string.h>
#include "base/memory.h"
#include "p11/call.h"
#include "p11/worker.h"

/* --- copies in ----------------------------------------------------------------- */

static bool put_in(struct hp_task *t, unsigned i, const CK_BYTE *data, CK_ULONG len)
{
	t->in[i] = (struct hp_bytes_copy){ .len = len };
	if (!data)
		return true;
	t->in[i].data = hp_task_take(t, len);
	if (t->in[i].data)
		memcpy(t->in[i].data, data, len);
	return t->in[i].data != NULL;
}

static bool put_out(struct hp_task *t, const CK_BYTE *out, const CK_ULONG *len)
{
	t->has_out_len = len != NULL;
	t->out = (struct hp_bytes_copy){ .len = len ? *len : 0 };
	if (!out || !len)
		return !out; /* whatever it is, the caller's call */
	t->out.data = hp_task_take(t, *len);
	return t->out.data != NULL;
}

static bool put_secret(struct hp_task *t, unsigned i, const CK_BYTE *pin, CK_ULONG len)
{
	t->in[i] = (struct hp_bytes_copy){ .len = len };
	if (!pin)
		return true;
	t->secret[i] = len <= 4096 ? hp_secret_new(len ? len : 1) : NULL;
	if (!t->secret[i])
		return false;
	memcpy(t->secret[i]->data, pin, len);
	t->secret[i]->len = len;
	t->in[i].data = t->secret[i]->data;
	return true;
}

#define MOST_ATTRIBUTES 1024

static bool put_template(struct hp_task *t, unsigned i, const CK_ATTRIBUTE *template,
			 CK_ULONG count)
{
	t->count[i] = count;
	t->template[i] = NULL;
	if (!template)
		return true;
	if (count > MOST_ATTRIBUTES)
		return false;
	CK_ATTRIBUTE *copy = hp_task_take(t, count * sizeof(*copy));
	if (!copy)
		return false;
	memcpy(copy, template, count * sizeof(*copy));
	for (CK_ULONG a = 0; a < count; a++) {
		if (!template[a].pValue)
			continue;
		if (template[a].type & CKF_ARRAY_ATTRIBUTE)
			return false;
		copy[a].pValue = hp_task_take(t, template[a].ulValueLen);
		if (!copy[a].pValue)
			return false;
		memcpy(copy[a].pValue, template[a].pValue, template[a].ulValueLen);
	}
	t->template[i] = copy;
	return true;
}

static bool put_mechanism(struct hp_task *t, struct hp_session *s, const CK_MECHANISM *m)
{
	t->mechanism = NULL;
	if (!m)
		return true;
	t->mechanism = hp_worker_copy_mechanism(s, m);
	return t->mechanism != NULL;
}

/* --- results back -------------------------------------------------------------- */

static void give_out(const struct hp_task *t, CK_RV rv, CK_BYTE *out, CK_ULONG *len)
{
	if (!len)
		return;
	CK_ULONG cap = *len;
	*len = t->out.len;
	if (rv == CKR_OK && out && t->out.len <= cap)
		memcpy(out, t->out.data, t->out.len);
}

static void give_handles(const struct hp_task *t, CK_RV rv, CK_OBJECT_HANDLE *first,
			 CK_OBJECT_HANDLE *second)
{
	if (rv != CKR_OK)
		return;
	if (first)
		*first = t->handle[0];
	if (second)
		*second = t->handle[1];
}

static void give_values(const struct hp_task *t, CK_ATTRIBUTE *template, CK_ULONG count)
{
	for (CK_ULONG i = 0; t->template[0] && i < count; i++) {
		const CK_ATTRIBUTE *from = &t->template[0][i];
		CK_ULONG cap = template[i].ulValueLen;
		template[i].ulValueLen = from->ulValueLen;
		if (template[i].pValue && from->ulValueLen <= cap)
			memcpy(template[i].pValue, from->pValue, from->ulValueLen);
	}
}

/* --- one function per function ------------------------------------------------- */

#define FUNCTION(t, name) ((t)->module->fl->name)
#define OUT_LEN(t)        ((t)->has_out_len ? &(t)->out.len : NULL)

/* How the worker calls it. */
#define RUN(name, ...)                                                    \
	static CK_RV run_##name(struct hp_task *t)                        \
	{                                                                 \
		return FUNCTION(t, name) ? FUNCTION(t, name)(__VA_ARGS__) \
					 : CKR_FUNCTION_NOT_SUPPORTED;    \
	}

/* put: copies the arguments; task_kind: what a late success is; give: copies results. */
#define CALL(name, task_kind, put, give, ...)                                \
	{                                                                    \
		struct hp_task *t = hp_task_begin(s, run_##name);            \
		if (!t)                                                      \
			return CKR_FUNCTION_CANCELED;                        \
		t->kind = task_kind;                                         \
		CK_RV rv;                                                    \
		if (put) {                                                   \
			rv = hp_task_do(s, t);                               \
			if (s->is_abandoned)                                 \
				return rv;                                   \
			if (rv != CKR_FUNCTION_CANCELED) {                   \
				give;                                        \
			}                                                    \
		} else {                                                     \
			rv = HP_SESSION_CALL_DIRECT(s, name, ##__VA_ARGS__); \
		}                                                            \
		hp_task_clear(t);                                            \
		return rv;                                                   \
	}

#define DEFINE_IN_OUT(name)                                                         \
	RUN(name, t->session, t->in[0].data, t->in[0].len, t->out.data, OUT_LEN(t)) \
	CK_RV hp_guarded_##name(struct hp_session *s, CK_BYTE *in, CK_ULONG in_len, \
				CK_BYTE *out, CK_ULONG *out_len)                    \
		CALL(name, HP_TASK_PLAIN,                                           \
		     put_in(t, 0, in, in_len) && put_out(t, out, out_len),          \
		     give_out(t, rv, out, out_len), in, in_len, out, out_len)
HP_GUARDED_IN_OUT(DEFINE_IN_OUT)

#define DEFINE_OUT(name)                                                               \
	RUN(name, t->session, t->out.data, OUT_LEN(t))                                 \
	CK_RV hp_guarded_##name(struct hp_session *s, CK_BYTE *out, CK_ULONG *out_len) \
		CALL(name, HP_TASK_PLAIN, put_out(t, out, out_len),                    \
		     give_out(t, rv, out, out_len), out, out_len)
HP_GUARDED_OUT(DEFINE_OUT)

#define DEFINE_IN(name)                                                             \
	RUN(name, t->session, t->in[0].data, t->in[0].len)                          \
	CK_RV hp_guarded_##name(struct hp_session *s, CK_BYTE *in, CK_ULONG in_len) \
		CALL(name, HP_TASK_PLAIN, put_in(t, 0, in, in_len), (void)0, in, in_len)
HP_GUARDED_IN(DEFINE_IN)

#define DEFINE_BEGIN(name)                                                           \
	RUN(name, t->session, t->mechanism, t->key[0])                               \
	CK_RV hp_guarded_##name(struct hp_session *s, CK_MECHANISM *m,               \
				CK_OBJECT_HANDLE key)                                \
		CALL(name, HP_TASK_PLAIN, (t->key[0] = key, put_mechanism(t, s, m)), \
		     hp_worker_give_mechanism(s, m), m, key)
HP_GUARDED_BEGIN(DEFINE_BEGIN)

#define DEFINE_PLAIN(name)                            \
	RUN(name, t->session)                         \
	CK_RV hp_guarded_##name(struct hp_session *s) \
		CALL(name, HP_TASK_PLAIN, true, (void)0)
HP_GUARDED_PLAIN(DEFINE_PLAIN)

#define DEFINE_OBJECT(name)                                                    \
	RUN(name, t->session, t->key[0])                                       \
	CK_RV hp_guarded_##name(struct hp_session *s, CK_OBJECT_HANDLE object) \
		CALL(name, HP_TASK_PLAIN, (t->key[0] = object, true), (void)0, object)
HP_GUARDED_OBJECT(DEFINE_OBJECT)

/* --- the session --------------------------------------------------------------- */

/* C_OpenSession and C_GetTokenInfo have a slot and no session. */
static CK_RV run_C_OpenSession(struct hp_task *t)
{
	return FUNCTION(t, C_OpenSession)(t->slot, t->flags, NULL, NULL, &t->handle[0]);
}

CK_RV hp_guarded_C_OpenSession(struct hp_session *s, CK_FLAGS flags)
{
	struct hp_task *t = hp_task_begin(s, run_C_OpenSession);
	if (!t)
		return CKR_FUNCTION_CANCELED;
	t->kind = HP_TASK_OPEN;
	t->flags = flags;
	CK_RV rv = hp_task_do(s, t);
	if (!s->is_abandoned)
		s->handle = t->handle[0];
	return rv;
}

static CK_RV run_C_GetTokenInfo(struct hp_task *t)
{
	return FUNCTION(t, C_GetTokenInfo)(t->slot, &t->info.token);
}

CK_RV hp_guarded_C_GetTokenInfo(struct hp_session *s, CK_TOKEN_INFO *info)
{
	struct hp_task *t = hp_task_begin(s, run_C_GetTokenInfo);
	if (!t)
		return CKR_FUNCTION_CANCELED;
	CK_RV rv = hp_task_do(s, t);
	if (!s->is_abandoned)
		*info = t->info.token;
	return rv;
}

RUN(C_CloseSession, t->session)

CK_RV hp_guarded_C_CloseSession(struct hp_session *s)
{
	CALL(C_CloseSession, HP_TASK_CLOSE, true, (void)0);
}

/* A function of 3.x. */
static CK_RV run_C_SessionCancel(struct hp_task *t)
{
	return t->module->cancel(t->session, HP_CANCEL_ALL);
}

CK_RV hp_guarded_C_SessionCancel(struct hp_session *s)
{
	struct hp_task *t = hp_task_begin(s, run_C_SessionCancel);
	return t ? hp_task_do(s, t) : CKR_FUNCTION_CANCELED;
}

RUN(C_GetSessionInfo, t->session, &t->info.session)

CK_RV hp_guarded_C_GetSessionInfo(struct hp_session *s, CK_SESSION_INFO *info)
{
	CALL(C_GetSessionInfo, HP_TASK_PLAIN, info != NULL, *info = t->info.session,
	     info);
}

RUN(C_Login, t->session, t->user, t->in[0].data, t->in[0].len)
CK_RV hp_guarded_C_Login(struct hp_session *s, CK_USER_TYPE user, CK_BYTE *pin,
			 CK_ULONG pin_len)
{
	CALL(C_Login, HP_TASK_LOGIN, (t->user = user, put_secret(t, 0, pin, pin_len)),
	     (void)0, user, pin, pin_len);
}

RUN(C_InitPIN, t->session, t->in[0].data, t->in[0].len)
CK_RV hp_guarded_C_InitPIN(struct hp_session *s, CK_BYTE *pin, CK_ULONG pin_len)
{
	CALL(C_InitPIN, HP_TASK_PLAIN, put_secret(t, 0, pin, pin_len), (void)0, pin,
	     pin_len);
}

RUN(C_SetPIN, t->session, t->in[0].data, t->in[0].len, t->in[1].data, t->in[1].len)
CK_RV hp_guarded_C_SetPIN(struct hp_session *s, CK_BYTE *old_pin, CK_ULONG old_len,
			  CK_BYTE *new_pin, CK_ULONG new_len)
{
	CALL(C_SetPIN, HP_TASK_PLAIN,
	     put_secret(t, 0, old_pin, old_len) && put_secret(t, 1, new_pin, new_len),
	     (void)0, old_pin, old_len, new_pin, new_len);
}

RUN(C_SetOperationState, t->session, t->in[0].data, t->in[0].len, t->key[0], t->key[1])
CK_RV hp_guarded_C_SetOperationState(struct hp_session *s, CK_BYTE *state, CK_ULONG len,
				     CK_OBJECT_HANDLE encryption_key,
				     CK_OBJECT_HANDLE authentication_key)
{
	CALL(C_SetOperationState, HP_TASK_PLAIN,
	     (t->key[0] = encryption_key, t->key[1] = authentication_key,
	      put_in(t, 0, state, len)),
	     (void)0, state, len, encryption_key, authentication_key);
}

/* --- objects ------------------------------------------------------------------- */

RUN(C_CreateObject, t->session, t->template[0], t -> count[0], &t -> handle[0])
CK_RV hp_guarded_C_CreateObject(struct hp_session *s, CK_ATTRIBUTE *template,
				CK_ULONG count, CK_OBJECT_HANDLE *object)
{
	CALL(C_CreateObject, HP_TASK_CREATE,
	     (t->handles = 1, object && put_template(t, 0, template, count)),
	     give_handles(t, rv, object, NULL), template, count, object);
}

RUN(C_CopyObject, t->session, t->key[0], t->template[0], t -> count[0], &t -> handle[0])
CK_RV hp_guarded_C_CopyObject(struct hp_session *s, CK_OBJECT_HANDLE object,
			      CK_ATTRIBUTE *template, CK_ULONG count,
			      CK_OBJECT_HANDLE *copy)
{
	CALL(C_CopyObject, HP_TASK_CREATE,
	     (t->handles = 1, t->key[0] = object,
	      copy && put_template(t, 0, template, count)),
	     give_handles(t, rv, copy, NULL), object, template, count, copy);
}

RUN(C_GetObjectSize, t->session, t->key[0], &t->out.len)
CK_RV hp_guarded_C_GetObjectSize(struct hp_session *s, CK_OBJECT_HANDLE object,
				 CK_ULONG *size)
{
	CALL(C_GetObjectSize, HP_TASK_PLAIN,
	     (t->key[0] = object, size && (t->out.len = *size, true)), *size = t->out.len,
	     object, size);
}

RUN(C_GetAttributeValue, t->session, t->key[0], t->template[0], t -> count[0])
CK_RV hp_guarded_C_GetAttributeValue(struct hp_session *s, CK_OBJECT_HANDLE object,
				     CK_ATTRIBUTE *template, CK_ULONG count)
{
	CALL(C_GetAttributeValue, HP_TASK_PLAIN,
	     (t->key[0] = object, put_template(t, 0, template, count)),
	     give_values(t, template, count), object, template, count);
}

RUN(C_SetAttributeValue, t->session, t->key[0], t->template[0], t -> count[0])
CK_RV hp_guarded_C_SetAttributeValue(struct hp_session *s, CK_OBJECT_HANDLE object,
				     CK_ATTRIBUTE *template, CK_ULONG count)
{
	CALL(C_SetAttributeValue, HP_TASK_PLAIN,
	     (t->key[0] = object, put_template(t, 0, template, count)), (void)0, object,
	     template, count);
}

RUN(C_FindObjectsInit, t->session, t->template[0], t -> count[0])
CK_RV hp_guarded_C_FindObjectsInit(struct hp_session *s, CK_ATTRIBUTE *template,
				   CK_ULONG count)
{
	CALL(C_FindObjectsInit, HP_TASK_PLAIN, put_template(t, 0, template, count),
	     (void)0, template, count);
}

/* The row of handles is an output of known size. */
static bool put_found(struct hp_task *t, const CK_OBJECT_HANDLE *found, CK_ULONG cap,
		      const CK_ULONG *len)
{
	bool is_sane = found && len && cap <= (1u << 20);
	t->count[0] = cap;
	t->out.len = len ? *len : 0;
	t->out.data = is_sane ? hp_task_take(t, cap * sizeof(*found)) : NULL;
	return t->out.data != NULL;
}

static void give_found(const struct hp_task *t, CK_RV rv, CK_OBJECT_HANDLE *found,
		       CK_ULONG cap, CK_ULONG *len)
{
	*len = t->out.len;
	if (rv == CKR_OK && t->out.len <= cap)
		memcpy(found, t->out.data, t->out.len * sizeof(*found));
}

RUN(C_FindObjects, t->session, (CK_OBJECT_HANDLE *)(void *)t->out.data, t->count[0],
    &t->out.len)

CK_RV hp_guarded_C_FindObjects(struct hp_session *s, CK_OBJECT_HANDLE *found,
			       CK_ULONG cap, CK_ULONG *len)
{
	CALL(C_FindObjects, HP_TASK_PLAIN, put_found(t, found, cap, len),
	     give_found(t, rv, found, cap, len), found, cap, len);
}

/* --- operations, keys ---------------------------------------------------------- */

RUN(C_DigestInit, t->session, t->mechanism)
CK_RV hp_guarded_C_DigestInit(struct hp_session *s, CK_MECHANISM *m)
{
	CALL(C_DigestInit, HP_TASK_PLAIN, put_mechanism(t, s, m),
	     hp_worker_give_mechanism(s, m), m);
}

RUN(C_Verify, t->session, t->in[0].data, t->in[0].len, t->in[1].data, t->in[1].len)
CK_RV hp_guarded_C_Verify(struct hp_session *s, CK_BYTE *in, CK_ULONG in_len,
			  CK_BYTE *signature, CK_ULONG signature_len)
{
	CALL(C_Verify, HP_TASK_PLAIN,
	     put_in(t, 0, in, in_len) && put_in(t, 1, signature, signature_len), (void)0,
	     in, in_len, signature, signature_len);
}

RUN(C_GenerateKey, t->session, t->mechanism, t->template[0], t -> count[0],
    &t -> handle[0])
CK_RV hp_guarded_C_GenerateKey(struct hp_session *s, CK_MECHANISM *m,
			       CK_ATTRIBUTE *template, CK_ULONG count,
			       CK_OBJECT_HANDLE *key)
{
	CALL(C_GenerateKey, HP_TASK_CREATE,
	     (t->handles = 1,
	      key && put_mechanism(t, s, m) && put_template(t, 0, template, count)),
	     (give_handles(t, rv, key, NULL), hp_worker_give_mechanism(s, m)), m,
	     template, count, key);
}

RUN(C_GenerateKeyPair, t->session, t->mechanism, t->template[0], t -> count[0],
    t -> template[1], t -> count[1], &t -> handle[0], &t -> handle[1])
CK_RV hp_guarded_C_GenerateKeyPair(struct hp_session *s, CK_MECHANISM *m,
				   CK_ATTRIBUTE *public_template, CK_ULONG public_count,
				   CK_ATTRIBUTE *private_template, CK_ULONG private_count,
				   CK_OBJECT_HANDLE *public_key,
				   CK_OBJECT_HANDLE *private_key)
{
	CALL(C_GenerateKeyPair, HP_TASK_CREATE,
	     (t->handles = 2,
	      public_key && private_key && put_mechanism(t, s, m) &&
		      put_template(t, 0, public_template, public_count) &&
		      put_template(t, 1, private_template, private_count)),
	     (give_handles(t, rv, public_key, private_key),
	      hp_worker_give_mechanism(s, m)),
	     m, public_template, public_count, private_template, private_count,
	     public_key, private_key);
}

RUN(C_WrapKey, t->session, t->mechanism, t->key[0], t->key[1], t->out.data, OUT_LEN(t))
CK_RV hp_guarded_C_WrapKey(struct hp_session *s, CK_MECHANISM *m,
			   CK_OBJECT_HANDLE wrapping_key, CK_OBJECT_HANDLE key,
			   CK_BYTE *out, CK_ULONG *out_len)
{
	CALL(C_WrapKey, HP_TASK_PLAIN,
	     (t->key[0] = wrapping_key, t->key[1] = key,
	      put_mechanism(t, s, m) && put_out(t, out, out_len)),
	     (give_out(t, rv, out, out_len), hp_worker_give_mechanism(s, m)), m,
	     wrapping_key, key, out, out_len);
}

RUN(C_UnwrapKey, t->session, t->mechanism, t->key[0], t->in[0].data, t->in[0].len,
    t->template[0], t -> count[0], &t -> handle[0])
CK_RV hp_guarded_C_UnwrapKey(struct hp_session *s, CK_MECHANISM *m,
			     CK_OBJECT_HANDLE unwrapping_key, CK_BYTE *wrapped,
			     CK_ULONG wrapped_len, CK_ATTRIBUTE *template, CK_ULONG count,
			     CK_OBJECT_HANDLE *key)
{
	CALL(C_UnwrapKey, HP_TASK_CREATE,
	     (t->handles = 1, t->key[0] = unwrapping_key,
	      key && put_mechanism(t, s, m) && put_in(t, 0, wrapped, wrapped_len) &&
		      put_template(t, 0, template, count)),
	     (give_handles(t, rv, key, NULL), hp_worker_give_mechanism(s, m)), m,
	     unwrapping_key, wrapped, wrapped_len, template, count, key);
}

RUN(C_DeriveKey, t->session, t->mechanism, t->key[0], t->template[0], t -> count[0],
    &t -> handle[0])
CK_RV hp_guarded_C_DeriveKey(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE base,
			     CK_ATTRIBUTE *template, CK_ULONG count,
			     CK_OBJECT_HANDLE *key)
{
	CALL(C_DeriveKey, HP_TASK_CREATE,
	     (t->handles = 1, t->key[0] = base,
	      key && put_mechanism(t, s, m) && put_template(t, 0, template, count)),
	     (give_handles(t, rv, key, NULL), hp_worker_give_mechanism(s, m)), m, base,
	     template, count, key);
}

RUN(C_GenerateRandom, t->session, t->out.data, t->out.len)
CK_RV hp_guarded_C_GenerateRandom(struct hp_session *s, CK_BYTE *out, CK_ULONG len)
{
	CALL(C_GenerateRandom, HP_TASK_PLAIN, put_out(t, out, &len),
	     give_out(t, rv, out, &len), out, len);
}

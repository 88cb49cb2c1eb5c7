/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One PKCS#11 call on a session, and the book of what it leaves active. For lib/p11 only.
 *
 * A call passes the gate and is stamped; what it answered is noted and handed on as it
 * came. PKCS#11 takes pointers to input without const: they are cast by HP_INPUT and
 * nowhere else.
 */
#ifndef HP_P11_CALL_H
#define HP_P11_CALL_H

#include "base/time.h"
#include "p11/gate.h"
#include "p11/guarded.h"

/* --- one call ---------------------------------------------------------------------- */

static inline bool hp_session_call_begin(struct hp_session *s)
{
	if (!hp_call_begin(s->module, s->shard))
		return false;
	atomic_store_explicit(&s->call_since_ns, hp_now_coarse_ns(),
			      memory_order_relaxed);
	return true;
}

static inline void hp_session_call_end(struct hp_session *s)
{
	atomic_store_explicit(&s->call_since_ns, 0, memory_order_relaxed);
	hp_call_end(s->module, s->shard);
}

/* By the calling thread; and by the session's worker if it has one. */
#define HP_SESSION_CALL_DIRECT(s, function, ...)                                 \
	__extension__({                                                          \
		CK_RV call_rv = CKR_CRYPTOKI_NOT_INITIALIZED;                    \
		if (hp_session_call_begin(s)) {                                  \
			call_rv = HP_FL_CALL((s)->module, function, (s)->handle, \
					     ##__VA_ARGS__);                     \
			hp_session_call_end(s);                                  \
		}                                                                \
		call_rv;                                                         \
	})

#define HP_SESSION_CALL(s, function, ...)                    \
	(__builtin_expect((s)->worker != NULL, 0)            \
		 ? hp_guarded_##function((s), ##__VA_ARGS__) \
		 : HP_SESSION_CALL_DIRECT((s), function, ##__VA_ARGS__))

/* Input that PKCS#11 only reads. */
#define HP_INPUT(pointer) ((CK_BYTE *)(uintptr_t)(pointer))

/* --- the book ---------------------------------------------------------------------- */

static inline CK_RV hp_note_begin(struct hp_session *s, uint32_t op, CK_RV rv)
{
	if (rv == CKR_OK)
		s->active |= op;
	else if (rv == CKR_OPERATION_ACTIVE)
		s->is_unsure = true; /* something goes on that the book does not have */
	return rv;
}

/* A strict HSM ends the operation at any error but BUFFER_TOO_SMALL; a sloppy one may
 * not, so the session is not known to be clean. */
static inline CK_RV hp_note_error(struct hp_session *s, uint32_t op, CK_RV rv)
{
	s->active &= ~op;
	s->is_unsure = true;
	return rv;
}

static inline CK_RV hp_note_update(struct hp_session *s, uint32_t op, CK_RV rv)
{
	if (rv == CKR_OK || rv == CKR_BUFFER_TOO_SMALL)
		return rv;
	return hp_note_error(s, op, rv);
}

/* After the call that ends it, unless it only asked for the size. */
static inline CK_RV hp_note_end(struct hp_session *s, uint32_t op, CK_RV rv,
				bool has_output)
{
	if (rv == CKR_BUFFER_TOO_SMALL || (rv == CKR_OK && !has_output))
		return rv;
	if (rv != CKR_OK)
		return hp_note_error(s, op, rv);
	s->active &= ~op;
	return rv;
}

/* "The signature is wrong" is a result, not a failure. */
static inline CK_RV hp_note_verified(struct hp_session *s, CK_RV rv)
{
	if (rv != CKR_SIGNATURE_INVALID && rv != CKR_SIGNATURE_LEN_RANGE)
		return hp_note_end(s, HP_OP_VERIFY, rv, true);
	s->active &= ~HP_OP_VERIFY;
	return rv;
}

#endif

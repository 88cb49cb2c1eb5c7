/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mechanisms of the application: object handles in their parameters, and deep copies.
 *
 * One table knows where parameters hold pointers and handles. What it does not know is
 * handed on as it came and counts as not faithfully copied: an operation with such
 * parameters is not begun a second time.
 */
#ifndef HP_PROXY_MECHANISM_H
#define HP_PROXY_MECHANISM_H

#include "proxy/object.h"

/* The longest structure with a handle in it. */
#define HP_MECHANISM_WORDS 11

/* A mechanism whose handles are those of a real session, for one call on it. */
struct hp_mechanism_call {
	CK_MECHANISM ck;
	CK_ULONG words[HP_MECHANISM_WORDS];
};

/*
 * hp_mechanism_real - what to hand to s for the application's mechanism, which may be
 * NULL.
 *
 * *use is given itself where no handle is to be replaced, so that a module that writes
 * into parameters writes into the application's. CKR_MECHANISM_PARAM_INVALID: there is a
 * NULL with a length where bytes should be (modules crash on it).
 */
CK_RV hp_mechanism_real(struct hp_vsession *vs, struct hp_session *s, CK_MECHANISM *given,
			struct hp_mechanism_call *call, CK_MECHANISM **use);

/* After CKR_OK: keys that the call left in the parameters get virtual handles there. */
CK_RV hp_mechanism_adopt(struct hp_vsession *vs, struct hp_session *s,
			 struct hp_vsession *owner, CK_MECHANISM *given);

/* A copy that lasts; its handles stay the application's. */
struct hp_mechanism_copy {
	CK_MECHANISM ck;
	bool is_faithful; /* all of it could be copied */
	CK_ULONG *heap;   /* what words has no room for */
	size_t heap_len;
	CK_ULONG words[14];
};

void hp_mechanism_copy(struct hp_mechanism_copy *copy, const CK_MECHANISM *given);
void hp_mechanism_copy_wipe(struct hp_mechanism_copy *copy);

/*
 * What a module may write to, at an Init or when it wraps: the IV, and where it says how
 * long that is. Saved before the first try, and put back before the next.
 */
#define HP_NONCE_MOST 64
struct hp_mechanism_before {
	CK_ULONG words_len; /* of words: the parameter itself */
	CK_ULONG words[HP_MECHANISM_WORDS];
	size_t nonce_len;
	CK_BYTE nonce[HP_NONCE_MOST];
};
void hp_mechanism_save(struct hp_mechanism_before *before, const CK_MECHANISM *given);
void hp_mechanism_restore(const struct hp_mechanism_before *before, CK_MECHANISM *given);

/* Is the same signed alike each time? (RSA without random padding, MACs.) */
bool hp_mechanism_is_deterministic(CK_MECHANISM_TYPE type);

/* Whether the module is asked to make up the nonce (none, or nothing but zeros): what
 * it makes up differs each time. */
bool hp_mechanism_leaves_nonce(const CK_MECHANISM *given);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations of virtual sessions: begun, attached, detached, replayed, ended.
 *
 * The real module answers every call; this file decides on which real session it is
 * asked. No operation active: any clean session, so the module's own checks and codes
 * are what the application sees. An operation active: the session it is attached to, or,
 * if that was taken away, another one on which the operation is begun again (Init and
 * the journal's input, output thrown away and compared).
 *
 * All operations of one virtual session live on one real session. Called with the
 * virtual session taken; no lock held.
 */
#ifndef HP_PROXY_OPERATION_H
#define HP_PROXY_OPERATION_H

#include "p11/session.h"
#include "proxy/retry.h"
#include "proxy/uses.h"
#include "proxy/vsession.h"

enum hp_kind {
	HP_KIND_ENCRYPT,
	HP_KIND_DECRYPT,
	HP_KIND_DIGEST,
	HP_KIND_SIGN,
	HP_KIND_SIGN_RECOVER,
	HP_KIND_VERIFY,
	HP_KIND_VERIFY_RECOVER,
	HP_KIND_COUNT
};

/* One call on a real session, with the application's arguments. */
struct hp_call {
	enum hp_function function;
	CK_RV (*run)(struct hp_session *s, struct hp_call *call);
	/* What run needs; in PKCS#11's order. */
	const CK_BYTE *in;
	CK_ULONG in_len;
	CK_BYTE *out;
	CK_ULONG *out_len;
	const CK_BYTE *signature;
	CK_ULONG signature_len;
	CK_OBJECT_HANDLE key;      /* the application's, for HP_PART_KEY */
	CK_OBJECT_HANDLE real_key; /* what it is on the session */
};

/* How a call takes part in its operation. */
enum hp_part {
	HP_PART_SINGLE, /* C_Sign: does all and ends it */
	HP_PART_UPDATE, /* C_SignUpdate: input, no output */
	HP_PART_STREAM, /* C_EncryptUpdate: input and output */
	HP_PART_FINAL,
	HP_PART_KEY, /* C_DigestKey */
};

/* C_XInit. mechanism and key are the application's. */
CK_RV hp_operation_begin(struct hp_vsession *vs, enum hp_kind kind,
			 CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key);

/* Any later call of the operation. kinds: one, or the two of a dual function, the cipher
 * first. */
CK_RV hp_operation_step(struct hp_vsession *vs, const enum hp_kind *kinds, unsigned count,
			enum hp_part part, struct hp_call *call);

/* The two above for a session handle of the application's; one that we do not know is
 * for the module to refuse. */
CK_RV hp_operation_begin_on(CK_SESSION_HANDLE session, enum hp_kind kind,
			    CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key);
CK_RV hp_operation_step_on(CK_SESSION_HANDLE session, const enum hp_kind *kinds,
			   unsigned count, enum hp_part part, struct hp_call *call);

/*
 * A call that belongs to no operation (find, generate, attributes...): on the session
 * that the virtual one is attached to if it is, else on a borrowed one; given back with
 * its verdict. Run again as far as the row of its function (retry.h) allows.
 */
struct hp_aside {
	enum hp_function function;
	enum hp_want want;
	CK_RV (*run)(struct hp_session *s, void *user);
	void *user;
	/* Whether run's last try made the call itself, or failed before; NULL: it did. */
	const bool *is_submitted;
	/* Before another try: what the first may have written to is made as it was.
	 * False: it cannot be, so there is no other try. NULL: there is nothing. */
	bool (*restore)(void *user);
	/* It is about what is active, which is made live first. */
	bool needs_operations;
	/* As a use of the HSM; NULL: it is none. */
	const struct hp_aside_use *use;
	/* The answer that run has of its own, where CKR_OK is its verdict on the session;
	 * NULL: none. */
	const CK_RV *own;
};
CK_RV hp_operation_aside(struct hp_vsession *vs, const struct hp_aside *aside);

/* C_GetOperationState, C_SetOperationState. */
CK_RV hp_operation_save(struct hp_vsession *vs, CK_BYTE *state, CK_ULONG *state_len);
CK_RV hp_operation_restore(struct hp_vsession *vs, const CK_BYTE *state,
			   CK_ULONG state_len, CK_OBJECT_HANDLE encryption_key,
			   CK_OBJECT_HANDLE authentication_key);

/* Context-specific login: on the attached session, which is pinned from then on. */
CK_RV hp_operation_context_login(struct hp_vsession *vs, const CK_BYTE *pin,
				 CK_ULONG pin_len);

bool hp_operation_is_active(const struct hp_vsession *vs, enum hp_kind kind);
bool hp_operation_any_active(const struct hp_vsession *vs);

/* The end of the virtual session: nothing is held any more. */
void hp_operations_abandon(struct hp_vsession *vs);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mechanisms of the application: the object handles in their parameters. What the table
 * in p11/parameters.h does not know is handed on as it came.
 */
#ifndef HP_PROXY_MECHANISM_H
#define HP_PROXY_MECHANISM_H

#include "p11/parameters.h"
#include "proxy/object.h"

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

#endif

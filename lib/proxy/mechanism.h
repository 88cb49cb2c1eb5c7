/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mechanisms of the application: the object handles in their parameters. What the table
 * in p11/parameters.h does not know is handed on as it came.
 */
#ifndef HP_PROXY_MECHANISM_H
#define HP_PROXY_MECHANISM_H

#include "p11/parameters.h"
#include "proxy/object.h"

/* Of SP 800-108, where one of them is a key. */
#define HP_PRF_DATA_MOST 32

/* A mechanism whose handles are those of a real session, for one call on it. */
struct hp_mechanism_call {
	CK_MECHANISM ck;
	CK_ULONG words[HP_MECHANISM_WORDS];
	struct hp_prf_data data[HP_PRF_DATA_MOST];
	CK_OBJECT_HANDLE data_keys[HP_PRF_DATA_MOST];
};

/*
 * hp_mechanism_real - what to hand to s for the application's mechanism, which may be
 * NULL.
 *
 * *use is given itself where no handle is to be replaced, so that a module that writes
 * into parameters writes into the application's. CKR_MECHANISM_PARAM_INVALID: there is a
 * NULL with a length where bytes should be (modules crash on it), or too much.
 */
CK_RV hp_mechanism_real(struct hp_vsession *vs, struct hp_session *s, CK_MECHANISM *given,
			struct hp_mechanism_call *call, CK_MECHANISM **use);

/* After CKR_OK: keys that the call left in the parameters get virtual handles there. */
CK_RV hp_mechanism_adopt(struct hp_vsession *vs, struct hp_session *s,
			 struct hp_vsession *owner, CK_MECHANISM *given);

/* The additional keys that the mechanism asks for: their number, and *keys; and, in one
 * from hp_mechanism_real(), others in their place. */
CK_ULONG hp_mechanism_derives(const CK_MECHANISM *given,
			      const struct hp_derived_key **keys);
void hp_mechanism_derive_to(struct hp_mechanism_call *call,
			    const struct hp_derived_key *keys);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that make objects: what C_CreateObject, C_CopyObject, C_GenerateKey,
 * C_GenerateKeyPair, C_UnwrapKey and C_DeriveKey have in common.
 *
 * Owns: who may create what (the real sessions are read-write, the virtual one may not
 * be), virtual handles for what was made, and whose session objects they are. A creation
 * that reached the module is never repeated.
 */
#ifndef HP_PROXY_CREATION_H
#define HP_PROXY_CREATION_H

#include "proxy/mechanism.h"
#include "proxy/object.h"
#include "proxy/retry.h"

/* What one call makes at most: a derivation gives several keys. */
#define HP_OBJECTS_MOST 17

struct hp_creation {
	struct hp_vsession *vs;
	enum hp_function function;
	unsigned objects; /* 1, 2 of a pair, more of a derivation */
	bool is_pair;
	/* The application's templates, and where its handles go. */
	struct hp_derived_key want[HP_OBJECTS_MOST];
	CK_MECHANISM *mechanism; /* the application's, or NULL */
	CK_OBJECT_HANDLE base;   /* the application's: copied, unwrapping, derived of */
	bool has_base;
	bool inherits_token; /* C_CopyObject: where the template does not tell */
	const CK_BYTE *wrapped;
	CK_ULONG wrapped_len;

	/* The call itself, with all handles real. made[i] is NULL where the application
	 * gave no place. */
	CK_RV(*submit)
	(struct hp_session *s, struct hp_creation *c, const struct hp_derived_key *want);
	/* Where an RO session asks for a token object: may the module have another reason
	 * to refuse, which comes first there? And is this answer such a reason? NULL: it
	 * never has. */
	bool (*may_fail_first)(struct hp_session *s, const struct hp_creation *c);
	bool (*fails_first)(const struct hp_creation *c, CK_RV rv);

	/* on the session, for submit */
	CK_MECHANISM *real_mechanism;
	CK_OBJECT_HANDLE real_base;
	/* of the run */
	bool is_submitted;
	CK_RV rv; /* our own, where it is no verdict on the session */
	struct hp_mechanism_call call;
};

CK_RV hp_creation_run(struct hp_creation *c);

#endif

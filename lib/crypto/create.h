/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a key object: "is the name taken?", make it, open it, as one step.
 */
#ifndef HP_CRYPTO_CREATE_H
#define HP_CRYPTO_CREATE_H

#include "crypto/operation.h"
#include "crypto/template.h"

struct hp_creation {
	const char *verb; /* "generate key" */
	hsmpool *pool;
	hsmpool_key *using_key; /* the key that unwraps or derives, or NULL */
	struct hp_new_key plan;
	/* Make it on s (handle: that of using_key) and set the handles of made. One call
	 * of the module that creates, so that there is nothing to undo when it fails. */
	CK_RV(*make)
	(const struct hp_creation *creation, struct hp_session *s,
	 CK_OBJECT_HANDLE handle, struct hp_key_objects *made);
	/* Refuse a using_key that does not fit, or NULL. */
	hsmpool_status (*check)(const struct hp_creation *creation,
				const struct hp_key_facts *facts, hsmpool_error *err);
	const void *input; /* check's and make's own */
	/* What the one call is: function, mechanism, input_len. */
	struct hp_use use;
	/* A refusal of the input is told without detail (unwrap). */
	bool is_uniform_failure;
};

/* EXISTS if label or given id are taken; else *out is the new key, opened. */
hsmpool_status hp_create(hsmpool_key **out, const struct hp_creation *creation,
			 hsmpool_deadline deadline, hsmpool_error *err);

#endif

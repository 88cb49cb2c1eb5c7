/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The application's calls as uses of the HSM (pool/use.h).
 *
 * Init and the call that ends the operation are one use, begun before the first call that
 * something may come of: input that gives no output is only taken in. The key is known by
 * what was read at its first use, copied once and kept beside the operation.
 */
#ifndef HP_PROXY_USES_H
#define HP_PROXY_USES_H

#include "pool/use.h"
#include "proxy/vsession.h"

/* Nothing is known of its keys yet. NULL mechanism: none. */
struct hp_use hp_use_describe(const struct hp_vsession *vs, const char *function,
			      const CK_MECHANISM *mechanism);

/* hp_use_begin() with what the application is told. */
CK_RV hp_use_begin_for(struct hp_use *use);

/* --- operations: begin.c, operation.c ----------------------------------------------- */

/* A copy of what is known of a key, good as long as the stamp is. */
struct hp_known_key {
	CK_OBJECT_HANDLE handle; /* the application's */
	uint32_t stamp;
	struct hp_key_identity identity;
};

struct hp_operation;
struct hp_operations;

/* For an Init of op on s with key, which hp_object_real() has found: NULL if nobody wants
 * to know, or nothing is known. Good until the next Init; and as long as the operation
 * lasts, if it is kept. *is_there false: the module says that there is no such key. */
const struct hp_key_identity *
hp_use_key_of_init(struct hp_vsession *vs, struct hp_session *s, struct hp_operation *op,
		   CK_OBJECT_HANDLE key, CK_OBJECT_HANDLE real, bool *is_there);
/* The Init succeeded: it is op's use from now on. */
void hp_use_keep(struct hp_operations *ops, struct hp_operation *op,
		 const struct hp_use *use);
void hp_uses_free(struct hp_operations *ops);

/* --- other calls: aside.c ------------------------------------------------------------
 */

/* What is made is not there yet: the template that names it. NULL: nothing is. */
struct hp_made {
	const CK_ATTRIBUTE *template;
	CK_ULONG count;
	CK_OBJECT_CLASS class; /* where the template does not tell */
};

struct hp_aside_use {
	enum hp_use_kind kind;
	const CK_MECHANISM *mechanism; /* NULL: none */
	/* The application's; CK_INVALID_HANDLE: none, or one that is missing. */
	CK_OBJECT_HANDLE key;    /* that works, or that it is done to */
	CK_OBJECT_HANDLE target; /* that is wrapped */
	bool needs_key;          /* without it the module refuses the call */
	bool needs_target;
	struct hp_made made; /* or what it is named from now on */
	struct hp_made public_half;
	bool is_copy; /* of key, with the attributes that made does not have */
	CK_ULONG input_len;
	const CK_ULONG *output_len; /* NULL: none */
};

/* A call's use while it runs. */
struct hp_aside_run {
	const struct hp_aside_use *aside; /* NULL: it is no use */
	struct hp_use use;
	struct hp_key_identity key;
	struct hp_key_identity target;
	struct hp_key_identity public_half;
	CK_RV refusal; /* CKR_OK: it may run */
};

/* On s, before the call itself. Not CKR_OK: the session was lost over it. */
CK_RV hp_aside_use_begin(struct hp_aside_run *run, struct hp_vsession *vs,
			 struct hp_session *s);
void hp_aside_use_end(struct hp_aside_run *run, CK_RV rv);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations of the own backend, as operation.c, stream.c and keys.c share them.
 */
#ifndef MOCK_OPERATION_H
#define MOCK_OPERATION_H

#include "own.h"

CK_RV mock_op_begin(CK_SESSION_HANDLE session, enum mock_kind kind, const CK_MECHANISM *m,
		    CK_OBJECT_HANDLE key);
/* Mix the mechanism's parameters into op->key, or refuse them. */
CK_RV mock_op_absorb(struct mock_op *op, const CK_MECHANISM *m);
/* The active operation, or why it cannot go on (it is then over). */
CK_RV mock_op_find(CK_SESSION_HANDLE session, enum mock_kind kind, struct mock_op **out);
/* It is over with rv, unless rv says otherwise. Returns rv. */
CK_RV mock_op_end(struct mock_op *op, CK_RV rv);
CK_RV mock_op_update(CK_SESSION_HANDLE session, enum mock_kind kind, const CK_BYTE *in,
		     CK_ULONG in_len);

/* Whether need bytes may be written to out; sets *out_len to need. If not, *rv is the
 * answer: OK to the question for the size, or CKR_BUFFER_TOO_SMALL. */
bool mock_has_room(const CK_BYTE *out, CK_ULONG *out_len, CK_ULONG need, CK_RV *rv);

bool mock_key_fits(const struct mock_mechanism *mechanism, const struct mock_object *key,
		   bool takes_public);

/* One-shot encryption and decryption by op's mechanism; op is not ended. */
CK_RV mock_encrypt(struct mock_op *op, const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
		   CK_ULONG *out_len, bool *is_done);
CK_RV mock_decrypt(struct mock_op *op, const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
		   CK_ULONG *out_len, bool *is_done);

#endif

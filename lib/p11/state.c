/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that save the operations of a session and restore them.
 */
#include "p11/call.h"

CK_RV hp_get_operation_state(struct hp_session *s, CK_BYTE *out, CK_ULONG *out_len)
{
	return HP_SESSION_CALL(s, C_GetOperationState, out, out_len);
}

/* What was restored is in the blob, which only the module can read: the session counts
 * as not clean until it is closed. */
CK_RV hp_set_operation_state(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len,
			     CK_OBJECT_HANDLE encryption_key,
			     CK_OBJECT_HANDLE authentication_key)
{
	CK_RV rv = HP_SESSION_CALL(s, C_SetOperationState, HP_INPUT(in), in_len,
				   encryption_key, authentication_key);
	if (rv == CKR_OK)
		s->is_unsure = true;
	return rv;
}

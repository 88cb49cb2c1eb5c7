/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls of a session that has a worker: one function per PKCS#11 function, with its
 * arguments, the session in place of the handle. For p11/call.h only.
 *
 * Arguments are copied before and results after, so that the module never sees memory of
 * the caller. A call whose arguments cannot be copied (parameters that the table does not
 * know, arrays of attributes, more than fits) is made by its caller.
 * CKR_FUNCTION_CANCELED: the call was given up; nothing of the caller's was written.
 */
#ifndef HP_P11_GUARDED_H
#define HP_P11_GUARDED_H

#include "p11/session.h"

#define HP_GUARDED_IN_OUT(X)     \
	X(C_Encrypt)             \
	X(C_EncryptUpdate)       \
	X(C_Decrypt)             \
	X(C_DecryptUpdate)       \
	X(C_Digest)              \
	X(C_Sign)                \
	X(C_SignRecover)         \
	X(C_VerifyRecover)       \
	X(C_DigestEncryptUpdate) \
	X(C_DecryptDigestUpdate) \
	X(C_SignEncryptUpdate)   \
	X(C_DecryptVerifyUpdate)
#define HP_GUARDED_OUT(X) \
	X(C_EncryptFinal) \
	X(C_DecryptFinal) X(C_DigestFinal) X(C_SignFinal) X(C_GetOperationState)
#define HP_GUARDED_IN(X)  \
	X(C_DigestUpdate) \
	X(C_SignUpdate) X(C_VerifyUpdate) X(C_VerifyFinal) X(C_SeedRandom)
#define HP_GUARDED_BEGIN(X) \
	X(C_EncryptInit)    \
	X(C_DecryptInit)    \
	X(C_SignInit) X(C_VerifyInit) X(C_SignRecoverInit) X(C_VerifyRecoverInit)
#define HP_GUARDED_PLAIN(X) \
	X(C_Logout) X(C_FindObjectsFinal) X(C_GetFunctionStatus) X(C_CancelFunction)
#define HP_GUARDED_OBJECT(X) X(C_DestroyObject) X(C_DigestKey)

#define HP_DECLARE_IN_OUT(f)                                                     \
	CK_RV hp_guarded_##f(struct hp_session *s, CK_BYTE *in, CK_ULONG in_len, \
			     CK_BYTE *out, CK_ULONG *out_len);
#define HP_DECLARE_OUT(f) \
	CK_RV hp_guarded_##f(struct hp_session *s, CK_BYTE *out, CK_ULONG *out_len);
#define HP_DECLARE_IN(f) \
	CK_RV hp_guarded_##f(struct hp_session *s, CK_BYTE *in, CK_ULONG in_len);
#define HP_DECLARE_BEGIN(f) \
	CK_RV hp_guarded_##f(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE key);
#define HP_DECLARE_PLAIN(f) CK_RV hp_guarded_##f(struct hp_session *s);
#define HP_DECLARE_OBJECT(f) \
	CK_RV hp_guarded_##f(struct hp_session *s, CK_OBJECT_HANDLE object);
HP_GUARDED_IN_OUT(HP_DECLARE_IN_OUT)
HP_GUARDED_OUT(HP_DECLARE_OUT)
HP_GUARDED_IN(HP_DECLARE_IN)
HP_GUARDED_BEGIN(HP_DECLARE_BEGIN)
HP_GUARDED_PLAIN(HP_DECLARE_PLAIN)
HP_GUARDED_OBJECT(HP_DECLARE_OBJECT)
#undef HP_DECLARE_IN_OUT
#undef HP_DECLARE_OUT
#undef HP_DECLARE_IN
#undef HP_DECLARE_BEGIN
#undef HP_DECLARE_PLAIN
#undef HP_DECLARE_OBJECT

CK_RV hp_guarded_C_OpenSession(struct hp_session *s, CK_FLAGS flags);
CK_RV hp_guarded_C_CloseSession(struct hp_session *s);
CK_RV hp_guarded_C_SessionCancel(struct hp_session *s);
CK_RV hp_guarded_C_GetSessionInfo(struct hp_session *s, CK_SESSION_INFO *info);
CK_RV hp_guarded_C_GetTokenInfo(struct hp_session *s, CK_TOKEN_INFO *info);
CK_RV hp_guarded_C_Login(struct hp_session *s, CK_USER_TYPE user, CK_BYTE *pin,
			 CK_ULONG pin_len);
CK_RV hp_guarded_C_InitPIN(struct hp_session *s, CK_BYTE *pin, CK_ULONG pin_len);
CK_RV hp_guarded_C_SetPIN(struct hp_session *s, CK_BYTE *old_pin, CK_ULONG old_len,
			  CK_BYTE *new_pin, CK_ULONG new_len);
CK_RV hp_guarded_C_SetOperationState(struct hp_session *s, CK_BYTE *state, CK_ULONG len,
				     CK_OBJECT_HANDLE encryption_key,
				     CK_OBJECT_HANDLE authentication_key);
CK_RV hp_guarded_C_CreateObject(struct hp_session *s, CK_ATTRIBUTE *template,
				CK_ULONG count, CK_OBJECT_HANDLE *object);
CK_RV hp_guarded_C_CopyObject(struct hp_session *s, CK_OBJECT_HANDLE object,
			      CK_ATTRIBUTE *template, CK_ULONG count,
			      CK_OBJECT_HANDLE *copy);
CK_RV hp_guarded_C_GetObjectSize(struct hp_session *s, CK_OBJECT_HANDLE object,
				 CK_ULONG *size);
CK_RV hp_guarded_C_GetAttributeValue(struct hp_session *s, CK_OBJECT_HANDLE object,
				     CK_ATTRIBUTE *template, CK_ULONG count);
CK_RV hp_guarded_C_SetAttributeValue(struct hp_session *s, CK_OBJECT_HANDLE object,
				     CK_ATTRIBUTE *template, CK_ULONG count);
CK_RV hp_guarded_C_FindObjectsInit(struct hp_session *s, CK_ATTRIBUTE *template,
				   CK_ULONG count);
CK_RV hp_guarded_C_FindObjects(struct hp_session *s, CK_OBJECT_HANDLE *found,
			       CK_ULONG cap, CK_ULONG *len);
CK_RV hp_guarded_C_DigestInit(struct hp_session *s, CK_MECHANISM *m);
CK_RV hp_guarded_C_Verify(struct hp_session *s, CK_BYTE *in, CK_ULONG in_len,
			  CK_BYTE *signature, CK_ULONG signature_len);
CK_RV hp_guarded_C_GenerateKey(struct hp_session *s, CK_MECHANISM *m,
			       CK_ATTRIBUTE *template, CK_ULONG count,
			       CK_OBJECT_HANDLE *key);
CK_RV hp_guarded_C_GenerateKeyPair(struct hp_session *s, CK_MECHANISM *m,
				   CK_ATTRIBUTE *public_template, CK_ULONG public_count,
				   CK_ATTRIBUTE *private_template, CK_ULONG private_count,
				   CK_OBJECT_HANDLE *public_key,
				   CK_OBJECT_HANDLE *private_key);
CK_RV hp_guarded_C_WrapKey(struct hp_session *s, CK_MECHANISM *m,
			   CK_OBJECT_HANDLE wrapping_key, CK_OBJECT_HANDLE key,
			   CK_BYTE *out, CK_ULONG *out_len);
CK_RV hp_guarded_C_UnwrapKey(struct hp_session *s, CK_MECHANISM *m,
			     CK_OBJECT_HANDLE unwrapping_key, CK_BYTE *wrapped,
			     CK_ULONG wrapped_len, CK_ATTRIBUTE *template, CK_ULONG count,
			     CK_OBJECT_HANDLE *key);
CK_RV hp_guarded_C_DeriveKey(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE base,
			     CK_ATTRIBUTE *template, CK_ULONG count,
			     CK_OBJECT_HANDLE *key);
CK_RV hp_guarded_C_GenerateRandom(struct hp_session *s, CK_BYTE *out, CK_ULONG len);

#endif

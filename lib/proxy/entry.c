/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of entry points: enter the process, do the call, leave.
 *
 * Owns: the CK_FUNCTION_LIST, and the one exported symbol. Must not: look at arguments.
 */
#include "proxy/calls.h"
#include "proxy/process.h"

#define ENTRY_BY(enter, function, parameters, arguments) \
	static CK_RV enter_##function parameters         \
	{                                                \
		CK_RV rv = enter();                      \
		if (__builtin_expect(rv != CKR_OK, 0))   \
			return rv;                       \
		rv = hp_##function arguments;            \
		hp_proxy_leave();                        \
		return rv;                               \
	}
/* With a session, which there is none of without a configuration; and without. */
#define ENTRY(...)      ENTRY_BY(hp_proxy_enter, __VA_ARGS__)
#define ENTRY_SLOT(...) ENTRY_BY(hp_proxy_enter_slots, __VA_ARGS__)

ENTRY_SLOT(C_GetInfo, (CK_INFO * info), (info))
ENTRY_SLOT(C_GetSlotList, (CK_BBOOL token_present, CK_SLOT_ID *list, CK_ULONG *count),
	   (token_present, list, count))
ENTRY_SLOT(C_GetSlotInfo, (CK_SLOT_ID slot, CK_SLOT_INFO *info), (slot, info))
ENTRY_SLOT(C_GetTokenInfo, (CK_SLOT_ID slot, CK_TOKEN_INFO *info), (slot, info))
ENTRY_SLOT(C_GetMechanismList,
	   (CK_SLOT_ID slot, CK_MECHANISM_TYPE *list, CK_ULONG *count),
	   (slot, list, count))
ENTRY_SLOT(C_GetMechanismInfo,
	   (CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info),
	   (slot, type, info))
ENTRY_SLOT(C_WaitForSlotEvent, (CK_FLAGS flags, CK_SLOT_ID *slot, void *reserved),
	   (flags, slot, reserved))
ENTRY_SLOT(C_InitToken, (CK_SLOT_ID slot, CK_BYTE *pin, CK_ULONG pin_len, CK_BYTE *label),
	   (slot, pin, pin_len, label))
ENTRY(C_InitPIN, (CK_SESSION_HANDLE session, CK_BYTE *pin, CK_ULONG pin_len),
      (session, pin, pin_len))
ENTRY(C_SetPIN,
      (CK_SESSION_HANDLE session, CK_BYTE *old_pin, CK_ULONG old_len, CK_BYTE *new_pin,
       CK_ULONG new_len),
      (session, old_pin, old_len, new_pin, new_len))
ENTRY_SLOT(C_OpenSession,
	   (CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
	    CK_SESSION_HANDLE *session),
	   (slot, flags, application, notify, session))
ENTRY(C_CloseSession, (CK_SESSION_HANDLE session), (session))
ENTRY_SLOT(C_CloseAllSessions, (CK_SLOT_ID slot), (slot))
ENTRY(C_GetSessionInfo, (CK_SESSION_HANDLE session, CK_SESSION_INFO *info),
      (session, info))
ENTRY(C_GetFunctionStatus, (CK_SESSION_HANDLE session), (session))
ENTRY(C_CancelFunction, (CK_SESSION_HANDLE session), (session))
ENTRY(C_Login,
      (CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_BYTE *pin, CK_ULONG pin_len),
      (session, user, pin, pin_len))
ENTRY(C_Logout, (CK_SESSION_HANDLE session), (session))
ENTRY(C_CreateObject,
      (CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count,
       CK_OBJECT_HANDLE *object),
      (session, template, count, object))
ENTRY(C_CopyObject,
      (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template,
       CK_ULONG count, CK_OBJECT_HANDLE *copy),
      (session, object, template, count, copy))
ENTRY(C_DestroyObject, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object),
      (session, object))
ENTRY(C_GetObjectSize,
      (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ULONG *size),
      (session, object, size))
ENTRY(C_GetAttributeValue,
      (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template,
       CK_ULONG count),
      (session, object, template, count))
ENTRY(C_SetAttributeValue,
      (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template,
       CK_ULONG count),
      (session, object, template, count))
ENTRY(C_FindObjectsInit,
      (CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count),
      (session, template, count))
ENTRY(C_FindObjects,
      (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *found, CK_ULONG cap, CK_ULONG *count),
      (session, found, cap, count))
ENTRY(C_FindObjectsFinal, (CK_SESSION_HANDLE session), (session))
ENTRY(C_GenerateKey,
      (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *template,
       CK_ULONG count, CK_OBJECT_HANDLE *key),
      (session, mechanism, template, count, key))
ENTRY(C_GenerateKeyPair,
      (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_template,
       CK_ULONG public_count, CK_ATTRIBUTE *private_template, CK_ULONG private_count,
       CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key),
      (session, mechanism, public_template, public_count, private_template, private_count,
       public_key, private_key))
ENTRY(C_WrapKey,
      (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping_key,
       CK_OBJECT_HANDLE key, CK_BYTE *wrapped, CK_ULONG *wrapped_len),
      (session, mechanism, wrapping_key, key, wrapped, wrapped_len))
ENTRY(C_UnwrapKey,
      (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
       CK_OBJECT_HANDLE unwrapping_key, CK_BYTE *wrapped, CK_ULONG wrapped_len,
       CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *key),
      (session, mechanism, unwrapping_key, wrapped, wrapped_len, template, count, key))
ENTRY(C_DeriveKey,
      (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
       CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *key),
      (session, mechanism, base, template, count, key))
ENTRY(C_SeedRandom, (CK_SESSION_HANDLE session, CK_BYTE *seed, CK_ULONG len),
      (session, seed, len))
ENTRY(C_GenerateRandom, (CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG len),
      (session, out, len))
ENTRY(C_EncryptInit,
      (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
      (session, mechanism, key))
ENTRY(C_Encrypt,
      (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
       CK_ULONG *out_len),
      (session, in, in_len, out, out_len))
ENTRY(C_EncryptUpdate,
      (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
       CK_ULONG *out_len),
      (session, in, in_len, out, out_len))
ENTRY(C_EncryptFinal, (CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len),
      (session, out, out_len))
ENTRY(C_DecryptInit,
      (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
      (session, mechanism, key))
ENTRY(C_Decrypt,
      (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
       CK_ULONG *out_len),
      (session, in, in_len, out, out_len))
ENTRY(C_DecryptUpdate,
      (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
       CK_ULONG *out_len),
      (session, in, in_len, out, out_len))
ENTRY(C_DecryptFinal, (CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len),
      (session, out, out_len))
ENTRY(C_DigestInit, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism),
      (session, mechanism))
ENTRY(C_Digest,
      (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
       CK_ULONG *out_len),
      (session, in, in_len, out, out_len))
ENTRY(C_DigestUpdate, (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len),
      (session, in, in_len))
ENTRY(C_DigestKey, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key), (session, key))
ENTRY(C_DigestFinal, (CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len),
      (session, out, out_len))
ENTRY(C_SignInit,
      (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
      (session, mechanism, key))
ENTRY(C_Sign,
      (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
       CK_ULONG *out_len),
      (session, in, in_len, out, out_len))
ENTRY(C_SignUpdate, (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len),
      (session, in, in_len))
ENTRY(C_SignFinal, (CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len),
      (session, out, out_len))
ENTRY(C_SignRecoverInit,
      (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
      (session, mechanism, key))
ENTRY(C_SignRecover,
      (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
       CK_ULONG *out_len),
      (session, in, in_len, out, out_len))
ENTRY(C_VerifyInit,
      (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
      (session, mechanism, key))
ENTRY(C_Verify,
      (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *signature,
       CK_ULONG signature_len),
      (session, in, in_len, signature, signature_len))
ENTRY(C_VerifyUpdate, (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len),
      (session, in, in_len))
ENTRY(C_VerifyFinal,
      (CK_SESSION_HANDLE session, CK_BYTE *signature, CK_ULONG signature_len),
      (session, signature, signature_len))
ENTRY(C_VerifyRecoverInit,
      (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
      (session, mechanism, key))
ENTRY(C_VerifyRecover,
      (CK_SESSION_HANDLE session, CK_BYTE *signature, CK_ULONG signature_len,
       CK_BYTE *out, CK_ULONG *out_len),
      (session, signature, signature_len, out, out_len))
ENTRY(C_DigestEncryptUpdate,
      (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
       CK_ULONG *out_len),
      (session, in, in_len, out, out_len))
ENTRY(C_DecryptDigestUpdate,
      (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
       CK_ULONG *out_len),
      (session, in, in_len, out, out_len))
ENTRY(C_SignEncryptUpdate,
      (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
       CK_ULONG *out_len),
      (session, in, in_len, out, out_len))
ENTRY(C_DecryptVerifyUpdate,
      (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
       CK_ULONG *out_len),
      (session, in, in_len, out, out_len))
ENTRY(C_GetOperationState,
      (CK_SESSION_HANDLE session, CK_BYTE *state, CK_ULONG *state_len),
      (session, state, state_len))
ENTRY(C_SetOperationState,
      (CK_SESSION_HANDLE session, CK_BYTE *state, CK_ULONG state_len,
       CK_OBJECT_HANDLE encryption_key, CK_OBJECT_HANDLE authentication_key),
      (session, state, state_len, encryption_key, authentication_key))

static CK_FUNCTION_LIST functions = {
	.version = { 2, 40 },
	.C_Initialize = hp_proxy_initialize,
	.C_Finalize = hp_proxy_finalize,
	.C_GetFunctionList = C_GetFunctionList,
	.C_GetInfo = enter_C_GetInfo,
	.C_GetSlotList = enter_C_GetSlotList,
	.C_GetSlotInfo = enter_C_GetSlotInfo,
	.C_GetTokenInfo = enter_C_GetTokenInfo,
	.C_GetMechanismList = enter_C_GetMechanismList,
	.C_GetMechanismInfo = enter_C_GetMechanismInfo,
	.C_InitToken = enter_C_InitToken,
	.C_InitPIN = enter_C_InitPIN,
	.C_SetPIN = enter_C_SetPIN,
	.C_OpenSession = enter_C_OpenSession,
	.C_CloseSession = enter_C_CloseSession,
	.C_CloseAllSessions = enter_C_CloseAllSessions,
	.C_GetSessionInfo = enter_C_GetSessionInfo,
	.C_GetOperationState = enter_C_GetOperationState,
	.C_SetOperationState = enter_C_SetOperationState,
	.C_Login = enter_C_Login,
	.C_Logout = enter_C_Logout,
	.C_CreateObject = enter_C_CreateObject,
	.C_CopyObject = enter_C_CopyObject,
	.C_DestroyObject = enter_C_DestroyObject,
	.C_GetObjectSize = enter_C_GetObjectSize,
	.C_GetAttributeValue = enter_C_GetAttributeValue,
	.C_SetAttributeValue = enter_C_SetAttributeValue,
	.C_FindObjectsInit = enter_C_FindObjectsInit,
	.C_FindObjects = enter_C_FindObjects,
	.C_FindObjectsFinal = enter_C_FindObjectsFinal,
	.C_EncryptInit = enter_C_EncryptInit,
	.C_Encrypt = enter_C_Encrypt,
	.C_EncryptUpdate = enter_C_EncryptUpdate,
	.C_EncryptFinal = enter_C_EncryptFinal,
	.C_DecryptInit = enter_C_DecryptInit,
	.C_Decrypt = enter_C_Decrypt,
	.C_DecryptUpdate = enter_C_DecryptUpdate,
	.C_DecryptFinal = enter_C_DecryptFinal,
	.C_DigestInit = enter_C_DigestInit,
	.C_Digest = enter_C_Digest,
	.C_DigestUpdate = enter_C_DigestUpdate,
	.C_DigestKey = enter_C_DigestKey,
	.C_DigestFinal = enter_C_DigestFinal,
	.C_SignInit = enter_C_SignInit,
	.C_Sign = enter_C_Sign,
	.C_SignUpdate = enter_C_SignUpdate,
	.C_SignFinal = enter_C_SignFinal,
	.C_SignRecoverInit = enter_C_SignRecoverInit,
	.C_SignRecover = enter_C_SignRecover,
	.C_VerifyInit = enter_C_VerifyInit,
	.C_Verify = enter_C_Verify,
	.C_VerifyUpdate = enter_C_VerifyUpdate,
	.C_VerifyFinal = enter_C_VerifyFinal,
	.C_VerifyRecoverInit = enter_C_VerifyRecoverInit,
	.C_VerifyRecover = enter_C_VerifyRecover,
	.C_DigestEncryptUpdate = enter_C_DigestEncryptUpdate,
	.C_DecryptDigestUpdate = enter_C_DecryptDigestUpdate,
	.C_SignEncryptUpdate = enter_C_SignEncryptUpdate,
	.C_DecryptVerifyUpdate = enter_C_DecryptVerifyUpdate,
	.C_GenerateKey = enter_C_GenerateKey,
	.C_GenerateKeyPair = enter_C_GenerateKeyPair,
	.C_WrapKey = enter_C_WrapKey,
	.C_UnwrapKey = enter_C_UnwrapKey,
	.C_DeriveKey = enter_C_DeriveKey,
	.C_SeedRandom = enter_C_SeedRandom,
	.C_GenerateRandom = enter_C_GenerateRandom,
	.C_GetFunctionStatus = enter_C_GetFunctionStatus,
	.C_CancelFunction = enter_C_CancelFunction,
	.C_WaitForSlotEvent = enter_C_WaitForSlotEvent,
};

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	if (!list)
		return CKR_ARGUMENTS_BAD;
	*list = &functions;
	return CKR_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the entry points call: one function per PKCS#11 function, of the same signature.
 *
 * entry.c has entered the process (initialised, not forked, not ending) before it calls
 * one and leaves it after. The rest, argument rules included, is the function's own.
 */
#ifndef HP_PROXY_CALLS_H
#define HP_PROXY_CALLS_H

#include <p11-kit/pkcs11.h>

/* The module itself, slots, tokens: slot.c, event.c */
CK_RV hp_C_GetInfo(CK_INFO *info);
CK_RV hp_C_GetSlotList(CK_BBOOL token_present, CK_SLOT_ID *list, CK_ULONG *count);
CK_RV hp_C_GetSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO *info);
CK_RV hp_C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO *info);
CK_RV hp_C_GetMechanismList(CK_SLOT_ID slot, CK_MECHANISM_TYPE *list, CK_ULONG *count);
CK_RV hp_C_GetMechanismInfo(CK_SLOT_ID slot, CK_MECHANISM_TYPE type,
			    CK_MECHANISM_INFO *info);
CK_RV hp_C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID *slot, void *reserved);

/* Administration: admin.c */
CK_RV hp_C_InitToken(CK_SLOT_ID slot, CK_BYTE *pin, CK_ULONG pin_len, CK_BYTE *label);
CK_RV hp_C_InitPIN(CK_SESSION_HANDLE session, CK_BYTE *pin, CK_ULONG pin_len);
CK_RV hp_C_SetPIN(CK_SESSION_HANDLE session, CK_BYTE *old_pin, CK_ULONG old_len,
		  CK_BYTE *new_pin, CK_ULONG new_len);

/* Sessions: vsession.c */
CK_RV hp_C_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, void *application,
		       CK_NOTIFY notify, CK_SESSION_HANDLE *session);
CK_RV hp_C_CloseSession(CK_SESSION_HANDLE session);
CK_RV hp_C_CloseAllSessions(CK_SLOT_ID slot);
CK_RV hp_C_GetSessionInfo(CK_SESSION_HANDLE session, CK_SESSION_INFO *info);
CK_RV hp_C_GetFunctionStatus(CK_SESSION_HANDLE session);
CK_RV hp_C_CancelFunction(CK_SESSION_HANDLE session);

/* Login: login.c */
CK_RV hp_C_Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_BYTE *pin,
		 CK_ULONG pin_len);
CK_RV hp_C_Logout(CK_SESSION_HANDLE session);

/* Objects: objects.c, search.c */
CK_RV hp_C_CreateObject(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count,
			CK_OBJECT_HANDLE *object);
CK_RV hp_C_CopyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
		      CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *copy);
CK_RV hp_C_DestroyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object);
CK_RV hp_C_GetObjectSize(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
			 CK_ULONG *size);
CK_RV hp_C_GetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
			     CK_ATTRIBUTE *template, CK_ULONG count);
CK_RV hp_C_SetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
			     CK_ATTRIBUTE *template, CK_ULONG count);
CK_RV hp_C_FindObjectsInit(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template,
			   CK_ULONG count);
CK_RV hp_C_FindObjects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *found, CK_ULONG cap,
		       CK_ULONG *count);
CK_RV hp_C_FindObjectsFinal(CK_SESSION_HANDLE session);

/* Keys and random: keys.c */
CK_RV hp_C_GenerateKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
		       CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *key);
CK_RV hp_C_GenerateKeyPair(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
			   CK_ATTRIBUTE *public_template, CK_ULONG public_count,
			   CK_ATTRIBUTE *private_template, CK_ULONG private_count,
			   CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key);
CK_RV hp_C_WrapKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
		   CK_OBJECT_HANDLE wrapping_key, CK_OBJECT_HANDLE key, CK_BYTE *wrapped,
		   CK_ULONG *wrapped_len);
CK_RV hp_C_UnwrapKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
		     CK_OBJECT_HANDLE unwrapping_key, CK_BYTE *wrapped,
		     CK_ULONG wrapped_len, CK_ATTRIBUTE *template, CK_ULONG count,
		     CK_OBJECT_HANDLE *key);
CK_RV hp_C_DeriveKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
		     CK_OBJECT_HANDLE base, CK_ATTRIBUTE *template, CK_ULONG count,
		     CK_OBJECT_HANDLE *key);
CK_RV hp_C_SeedRandom(CK_SESSION_HANDLE session, CK_BYTE *seed, CK_ULONG len);
CK_RV hp_C_GenerateRandom(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG len);

/* Ciphers: cipher.c */
CK_RV hp_C_EncryptInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
		       CK_OBJECT_HANDLE key);
CK_RV hp_C_Encrypt(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
		   CK_ULONG *out_len);
CK_RV hp_C_EncryptUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len,
			 CK_BYTE *out, CK_ULONG *out_len);
CK_RV hp_C_EncryptFinal(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len);
CK_RV hp_C_DecryptInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
		       CK_OBJECT_HANDLE key);
CK_RV hp_C_Decrypt(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
		   CK_ULONG *out_len);
CK_RV hp_C_DecryptUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len,
			 CK_BYTE *out, CK_ULONG *out_len);
CK_RV hp_C_DecryptFinal(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len);

/* Digests: digest.c */
CK_RV hp_C_DigestInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism);
CK_RV hp_C_Digest(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
		  CK_ULONG *out_len);
CK_RV hp_C_DigestUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len);
CK_RV hp_C_DigestKey(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key);
CK_RV hp_C_DigestFinal(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len);

/* Signatures: sign.c */
CK_RV hp_C_SignInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
		    CK_OBJECT_HANDLE key);
CK_RV hp_C_Sign(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
		CK_ULONG *out_len);
CK_RV hp_C_SignUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len);
CK_RV hp_C_SignFinal(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len);
CK_RV hp_C_SignRecoverInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
			   CK_OBJECT_HANDLE key);
CK_RV hp_C_SignRecover(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len,
		       CK_BYTE *out, CK_ULONG *out_len);
CK_RV hp_C_VerifyInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
		      CK_OBJECT_HANDLE key);
CK_RV hp_C_Verify(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len,
		  CK_BYTE *signature, CK_ULONG signature_len);
CK_RV hp_C_VerifyUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len);
CK_RV hp_C_VerifyFinal(CK_SESSION_HANDLE session, CK_BYTE *signature,
		       CK_ULONG signature_len);
CK_RV hp_C_VerifyRecoverInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
			     CK_OBJECT_HANDLE key);
CK_RV hp_C_VerifyRecover(CK_SESSION_HANDLE session, CK_BYTE *signature,
			 CK_ULONG signature_len, CK_BYTE *out, CK_ULONG *out_len);

/* Two operations in one call, and saved states: dual.c */
CK_RV hp_C_DigestEncryptUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len,
			       CK_BYTE *out, CK_ULONG *out_len);
CK_RV hp_C_DecryptDigestUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len,
			       CK_BYTE *out, CK_ULONG *out_len);
CK_RV hp_C_SignEncryptUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len,
			     CK_BYTE *out, CK_ULONG *out_len);
CK_RV hp_C_DecryptVerifyUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len,
			       CK_BYTE *out, CK_ULONG *out_len);
CK_RV hp_C_GetOperationState(CK_SESSION_HANDLE session, CK_BYTE *state,
			     CK_ULONG *state_len);
CK_RV hp_C_SetOperationState(CK_SESSION_HANDLE session, CK_BYTE *state,
			     CK_ULONG state_len, CK_OBJECT_HANDLE encryption_key,
			     CK_OBJECT_HANDLE authentication_key);

#endif

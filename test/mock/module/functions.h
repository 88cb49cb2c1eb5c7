/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions of a CK_FUNCTION_LIST, in its order, and their numbers here.
 *
 * X(name, parameters, arguments). Kinds: G global, L takes a slot id first, S takes a
 * session first. C_GetFunctionList, C_Initialize and C_Finalize have entries of their
 * own.
 */
#ifndef MOCK_FUNCTIONS_H
#define MOCK_FUNCTIONS_H

/* clang-format off */
#define MOCK_GLOBAL_FUNCTIONS(X)                                                         \
	X(C_GetInfo, (CK_INFO_PTR info), (info))                                         \
	X(C_GetSlotList, (CK_BBOOL present, CK_SLOT_ID_PTR list, CK_ULONG_PTR count),    \
	  (present, list, count))                                                        \
	X(C_WaitForSlotEvent, (CK_FLAGS flags, CK_SLOT_ID_PTR slot, CK_VOID_PTR nothing), \
	  (flags, slot, nothing))

#define MOCK_SLOT_FUNCTIONS(X)                                                           \
	X(C_GetSlotInfo, (CK_SLOT_ID slot, CK_SLOT_INFO_PTR info), (slot, info))         \
	X(C_GetTokenInfo, (CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info), (slot, info))       \
	X(C_GetMechanismList,                                                            \
	  (CK_SLOT_ID slot, CK_MECHANISM_TYPE_PTR list, CK_ULONG_PTR count),             \
	  (slot, list, count))                                                           \
	X(C_GetMechanismInfo,                                                            \
	  (CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR info),         \
	  (slot, type, info))                                                            \
	X(C_InitToken,                                                                   \
	  (CK_SLOT_ID slot, CK_UTF8CHAR_PTR pin, CK_ULONG pin_len, CK_UTF8CHAR_PTR label), \
	  (slot, pin, pin_len, label))                                                   \
	X(C_OpenSession,                                                                 \
	  (CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR application, CK_NOTIFY notify,   \
	   CK_SESSION_HANDLE_PTR session),                                               \
	  (slot, flags, application, notify, session))                                   \
	X(C_CloseAllSessions, (CK_SLOT_ID slot), (slot))

#define MOCK_SESSION_FUNCTIONS(X)                                                        \
	X(C_InitPIN, (CK_SESSION_HANDLE session, CK_UTF8CHAR_PTR pin, CK_ULONG len),     \
	  (session, pin, len))                                                           \
	X(C_SetPIN,                                                                      \
	  (CK_SESSION_HANDLE session, CK_UTF8CHAR_PTR old_pin, CK_ULONG old_len,         \
	   CK_UTF8CHAR_PTR new_pin, CK_ULONG new_len),                                   \
	  (session, old_pin, old_len, new_pin, new_len))                                 \
	X(C_CloseSession, (CK_SESSION_HANDLE session), (session))                        \
	X(C_GetSessionInfo, (CK_SESSION_HANDLE session, CK_SESSION_INFO_PTR info),       \
	  (session, info))                                                               \
	X(C_GetOperationState,                                                           \
	  (CK_SESSION_HANDLE session, CK_BYTE_PTR out, CK_ULONG_PTR out_len),            \
	  (session, out, out_len))                                                       \
	X(C_SetOperationState,                                                           \
	  (CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len,                   \
	   CK_OBJECT_HANDLE encryption_key, CK_OBJECT_HANDLE authentication_key),        \
	  (session, in, in_len, encryption_key, authentication_key))                     \
	X(C_Login,                                                                       \
	  (CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin,            \
	   CK_ULONG len),                                                                \
	  (session, user, pin, len))                                                     \
	X(C_Logout, (CK_SESSION_HANDLE session), (session))                              \
	X(C_CreateObject,                                                                \
	  (CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR template, CK_ULONG count,         \
	   CK_OBJECT_HANDLE_PTR object),                                                 \
	  (session, template, count, object))                                            \
	X(C_CopyObject,                                                                  \
	  (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR template, \
	   CK_ULONG count, CK_OBJECT_HANDLE_PTR copy),                                   \
	  (session, object, template, count, copy))                                      \
	X(C_DestroyObject, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object),         \
	  (session, object))                                                             \
	X(C_GetObjectSize,                                                               \
	  (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ULONG_PTR size),       \
	  (session, object, size))                                                       \
	X(C_GetAttributeValue,                                                           \
	  (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR template, \
	   CK_ULONG count),                                                              \
	  (session, object, template, count))                                            \
	X(C_SetAttributeValue,                                                           \
	  (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR template, \
	   CK_ULONG count),                                                              \
	  (session, object, template, count))                                            \
	X(C_FindObjectsInit,                                                             \
	  (CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR template, CK_ULONG count),        \
	  (session, template, count))                                                    \
	X(C_FindObjects,                                                                 \
	  (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE_PTR found, CK_ULONG max,          \
	   CK_ULONG_PTR count),                                                          \
	  (session, found, max, count))                                                \
	X(C_FindObjectsFinal, (CK_SESSION_HANDLE session), (session))                    \
	MOCK_INIT_FUNCTION(X, C_EncryptInit)                                             \
	MOCK_DATA_FUNCTION(X, C_Encrypt)                                                 \
	MOCK_DATA_FUNCTION(X, C_EncryptUpdate)                                           \
	MOCK_FINAL_FUNCTION(X, C_EncryptFinal)                                           \
	MOCK_INIT_FUNCTION(X, C_DecryptInit)                                             \
	MOCK_DATA_FUNCTION(X, C_Decrypt)                                                 \
	MOCK_DATA_FUNCTION(X, C_DecryptUpdate)                                           \
	MOCK_FINAL_FUNCTION(X, C_DecryptFinal)                                           \
	X(C_DigestInit, (CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism),         \
	  (session, mechanism))                                                          \
	MOCK_DATA_FUNCTION(X, C_Digest)                                                  \
	MOCK_UPDATE_FUNCTION(X, C_DigestUpdate)                                          \
	X(C_DigestKey, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key), (session, key)) \
	MOCK_FINAL_FUNCTION(X, C_DigestFinal)                                            \
	MOCK_INIT_FUNCTION(X, C_SignInit)                                                \
	MOCK_DATA_FUNCTION(X, C_Sign)                                                    \
	MOCK_UPDATE_FUNCTION(X, C_SignUpdate)                                            \
	MOCK_FINAL_FUNCTION(X, C_SignFinal)                                              \
	MOCK_INIT_FUNCTION(X, C_SignRecoverInit)                                         \
	MOCK_DATA_FUNCTION(X, C_SignRecover)                                             \
	MOCK_INIT_FUNCTION(X, C_VerifyInit)                                              \
	X(C_Verify,                                                                      \
	  (CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len,                   \
	   CK_BYTE_PTR signature, CK_ULONG signature_len),                               \
	  (session, in, in_len, signature, signature_len))                               \
	MOCK_UPDATE_FUNCTION(X, C_VerifyUpdate)                                          \
	MOCK_UPDATE_FUNCTION(X, C_VerifyFinal)                                           \
	MOCK_INIT_FUNCTION(X, C_VerifyRecoverInit)                                       \
	MOCK_DATA_FUNCTION(X, C_VerifyRecover)                                           \
	MOCK_DATA_FUNCTION(X, C_DigestEncryptUpdate)                                     \
	MOCK_DATA_FUNCTION(X, C_DecryptDigestUpdate)                                     \
	MOCK_DATA_FUNCTION(X, C_SignEncryptUpdate)                                       \
	MOCK_DATA_FUNCTION(X, C_DecryptVerifyUpdate)                                     \
	X(C_GenerateKey,                                                                 \
	  (CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism,                        \
	   CK_ATTRIBUTE_PTR template, CK_ULONG count, CK_OBJECT_HANDLE_PTR key),         \
	  (session, mechanism, template, count, key))                                    \
	X(C_GenerateKeyPair,                                                             \
	  (CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism,                        \
	   CK_ATTRIBUTE_PTR public_template, CK_ULONG public_count,                      \
	   CK_ATTRIBUTE_PTR private_template, CK_ULONG private_count,                    \
	   CK_OBJECT_HANDLE_PTR public_key, CK_OBJECT_HANDLE_PTR private_key),           \
	  (session, mechanism, public_template, public_count, private_template,          \
	   private_count, public_key, private_key))                                      \
	X(C_WrapKey,                                                                     \
	  (CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism,                        \
	   CK_OBJECT_HANDLE wrapping_key, CK_OBJECT_HANDLE key, CK_BYTE_PTR out,         \
	   CK_ULONG_PTR out_len),                                                        \
	  (session, mechanism, wrapping_key, key, out, out_len))                         \
	X(C_UnwrapKey,                                                                   \
	  (CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism,                        \
	   CK_OBJECT_HANDLE unwrapping_key, CK_BYTE_PTR in, CK_ULONG in_len,             \
	   CK_ATTRIBUTE_PTR template, CK_ULONG count, CK_OBJECT_HANDLE_PTR key),         \
	  (session, mechanism, unwrapping_key, in, in_len, template, count, key))        \
	X(C_DeriveKey,                                                                   \
	  (CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE base, \
	   CK_ATTRIBUTE_PTR template, CK_ULONG count, CK_OBJECT_HANDLE_PTR key),         \
	  (session, mechanism, base, template, count, key))                              \
	MOCK_UPDATE_FUNCTION(X, C_SeedRandom)                                            \
	MOCK_UPDATE_FUNCTION(X, C_GenerateRandom)                                        \
	X(C_GetFunctionStatus, (CK_SESSION_HANDLE session), (session))                   \
	X(C_CancelFunction, (CK_SESSION_HANDLE session), (session))

#define MOCK_INIT_FUNCTION(X, name)                                                      \
	X(name,                                                                          \
	  (CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key), \
	  (session, mechanism, key))
#define MOCK_DATA_FUNCTION(X, name)                                                      \
	X(name,                                                                          \
	  (CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len, CK_BYTE_PTR out,  \
	   CK_ULONG_PTR out_len),                                                        \
	  (session, in, in_len, out, out_len))
#define MOCK_UPDATE_FUNCTION(X, name)                                                    \
	X(name, (CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len),            \
	  (session, in, in_len))
#define MOCK_FINAL_FUNCTION(X, name)                                                     \
	X(name, (CK_SESSION_HANDLE session, CK_BYTE_PTR out, CK_ULONG_PTR out_len),      \
	  (session, out, out_len))
/* clang-format on */

enum mock_function {
	MOCK_C_Initialize,
	MOCK_C_Finalize,
#define MOCK_FUNCTION_NUMBER(name, parameters, arguments) MOCK_##name,
	MOCK_GLOBAL_FUNCTIONS(MOCK_FUNCTION_NUMBER)
		MOCK_SLOT_FUNCTIONS(MOCK_FUNCTION_NUMBER)
			MOCK_SESSION_FUNCTIONS(MOCK_FUNCTION_NUMBER) MOCK_FUNCTION_COUNT,
#undef MOCK_FUNCTION_NUMBER
};

#endif

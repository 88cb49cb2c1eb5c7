/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which call may be made once more, and when: one row for each function of PKCS#11.
 *
 * A call that did not reach the module may always be made on another session. For one
 * that did, and was lost, its row decides. All families of calls ask here; nobody else
 * decides. Must not: make calls, know sessions.
 */
#ifndef HP_PROXY_RETRY_H
#define HP_PROXY_RETRY_H

#include <stdbool.h>
#include "config/options.h"
#include "p11/rv.h"

enum hp_retry {
	/* Creates, destroys, changes, counts: once submitted, never. */
	HP_RETRY_NEVER,
	/* Reads, or gives the same however often it is done. */
	HP_RETRY_AGAIN,
	/* Makes a signature: as sign-retry says, or where none was made. */
	HP_RETRY_SIGNATURE,
	/* Answered without a session of the module's. */
	HP_RETRY_OURS,
};

#define HP_FUNCTIONS(X)                     \
	X(C_Initialize, OURS)               \
	X(C_Finalize, OURS)                 \
	X(C_GetInfo, OURS)                  \
	X(C_GetFunctionList, OURS)          \
	X(C_GetSlotList, OURS)              \
	X(C_GetSlotInfo, OURS)              \
	X(C_GetTokenInfo, OURS)             \
	X(C_GetMechanismList, OURS)         \
	X(C_GetMechanismInfo, OURS)         \
	X(C_InitToken, NEVER)               \
	X(C_InitPIN, NEVER)                 \
	X(C_SetPIN, NEVER)                  \
	X(C_OpenSession, OURS)              \
	X(C_CloseSession, AGAIN)            \
	X(C_CloseAllSessions, AGAIN)        \
	X(C_GetSessionInfo, OURS)           \
	X(C_GetOperationState, AGAIN)       \
	X(C_SetOperationState, AGAIN)       \
	X(C_Login, NEVER)                   \
	X(C_Logout, NEVER)                  \
	X(C_CreateObject, NEVER)            \
	X(C_CopyObject, NEVER)              \
	X(C_DestroyObject, NEVER)           \
	X(C_GetObjectSize, AGAIN)           \
	X(C_GetAttributeValue, AGAIN)       \
	X(C_SetAttributeValue, NEVER)       \
	X(C_FindObjectsInit, AGAIN)         \
	X(C_FindObjects, AGAIN)             \
	X(C_FindObjectsFinal, AGAIN)        \
	X(C_EncryptInit, AGAIN)             \
	X(C_Encrypt, AGAIN)                 \
	X(C_EncryptUpdate, AGAIN)           \
	X(C_EncryptFinal, AGAIN)            \
	X(C_DecryptInit, AGAIN)             \
	X(C_Decrypt, AGAIN)                 \
	X(C_DecryptUpdate, AGAIN)           \
	X(C_DecryptFinal, AGAIN)            \
	X(C_DigestInit, AGAIN)              \
	X(C_Digest, AGAIN)                  \
	X(C_DigestUpdate, AGAIN)            \
	X(C_DigestKey, AGAIN)               \
	X(C_DigestFinal, AGAIN)             \
	X(C_SignInit, AGAIN)                \
	X(C_Sign, SIGNATURE)                \
	X(C_SignUpdate, AGAIN)              \
	X(C_SignFinal, SIGNATURE)           \
	X(C_SignRecoverInit, AGAIN)         \
	X(C_SignRecover, SIGNATURE)         \
	X(C_VerifyInit, AGAIN)              \
	X(C_Verify, AGAIN)                  \
	X(C_VerifyUpdate, AGAIN)            \
	X(C_VerifyFinal, AGAIN)             \
	X(C_VerifyRecoverInit, AGAIN)       \
	X(C_VerifyRecover, AGAIN)           \
	X(C_DigestEncryptUpdate, AGAIN)     \
	X(C_DecryptDigestUpdate, AGAIN)     \
	X(C_SignEncryptUpdate, AGAIN)       \
	X(C_DecryptVerifyUpdate, AGAIN)     \
	X(C_GenerateKey, NEVER)             \
	X(C_GenerateKeyPair, NEVER)         \
	X(C_WrapKey, AGAIN)                 \
	X(C_UnwrapKey, NEVER)               \
	X(C_DeriveKey, NEVER)               \
	/* A seed that is mixed in twice */ \
	/* is as good as once. */           \
	X(C_SeedRandom, AGAIN)              \
	X(C_GenerateRandom, AGAIN)          \
	X(C_GetFunctionStatus, OURS)        \
	X(C_CancelFunction, OURS)           \
	X(C_WaitForSlotEvent, OURS)

enum hp_function {
#define HP_FUNCTION_ID(name, retry) HP_FN_##name,
	HP_FUNCTIONS(HP_FUNCTION_ID)
#undef HP_FUNCTION_ID
		HP_FUNCTION_COUNT
};

/* "C_Sign" */
const char *hp_function_name(enum hp_function function);
enum hp_retry hp_function_retry(enum hp_function function);

/* Does it take a key's work apart in the module, so that the time to a failure might tell
 * of the padding? Then a catch-all code is the answer at once, and looked into later. */
bool hp_function_is_answered_first(enum hp_function function);

/* How a call failed. */
struct hp_failure {
	enum hp_function function;
	bool is_submitted; /* the call itself reached the module */
	CK_RV rv;
	enum hp_rv_class class; /* as the pool judged rv */
	/* What its handles were found in is not what there is now: for STALE_HANDLE. */
	bool is_outdated;
	/* Of a signature. */
	enum hp_sign_retry sign_retry;
	bool is_deterministic;
};

/* Is something lost that another session, login or handle would bring back? */
bool hp_failure_is_loss(const struct hp_failure *failure);
/* And may the call be made again? */
bool hp_retry_is_allowed(const struct hp_failure *failure);

/* hp_rv_is_loss() without a doubt: the session itself is of no use any more. */
bool hp_class_is_plain_loss(enum hp_rv_class class);

#endif

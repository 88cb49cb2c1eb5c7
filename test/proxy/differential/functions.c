/* SPDX-License-Identifier: Apache-2.0 */
/* The 68 functions of PKCS#11 2.40: what each takes, how often it is strayed into. */
#include "differential.h"

#include <stdlib.h>
#include <string.h>

#define S   USES_SESSION
#define SM  (USES_SESSION | USES_MECHANISM)
#define SMK (USES_SESSION | USES_MECHANISM | USES_OBJECT)
#define SI  (USES_SESSION | USES_INPUT)
#define SO  (USES_SESSION | USES_OUTPUT | USES_STORE_BUFFER)
#define SIO (USES_SESSION | USES_INPUT | USES_OUTPUT | USES_STORE_BUFFER)
#define SK  (USES_SESSION | USES_OBJECT)
#define N   USES_NUMBER

#define FUNCTION(name, uses, weight, run)                                  \
	{                                                                  \
#name, offsetof(CK_FUNCTION_LIST, name), uses, weight, run \
	}

/* clang-format off */
const struct function functions[FUNCTION_COUNT] = {
	FUNCTION(C_Initialize, IS_DRASTIC, 1, run_initialize),
	FUNCTION(C_Finalize, IS_DRASTIC, 0, run_finalize),
	FUNCTION(C_GetInfo, 0, 1, run_get_info),
	FUNCTION(C_GetFunctionList, 0, 1, run_get_function_list),
	FUNCTION(C_GetSlotList, USES_OUTPUT | N, 2, run_get_slot_list),
	FUNCTION(C_GetSlotInfo, USES_SLOT, 2, run_get_slot_info),
	FUNCTION(C_GetTokenInfo, USES_SLOT, 4, run_get_token_info),
	FUNCTION(C_GetMechanismList, USES_SLOT | USES_OUTPUT, 2, run_get_mechanism_list),
	FUNCTION(C_GetMechanismInfo, USES_SLOT | USES_MECHANISM, 2, run_get_mechanism_info),
	FUNCTION(C_InitToken, USES_SLOT | N | IS_ADMIN, 2, run_init_token),
	FUNCTION(C_InitPIN, S | N | IS_ADMIN, 4, run_init_pin),
	FUNCTION(C_SetPIN, S | N | IS_ADMIN, 4, run_set_pin),
	FUNCTION(C_OpenSession, USES_SLOT | S | N, 6, run_open_session),
	FUNCTION(C_CloseSession, S, 2, run_close_session),
	FUNCTION(C_CloseAllSessions, USES_SLOT | IS_DRASTIC, 0, run_close_all),
	FUNCTION(C_GetSessionInfo, S, 8, run_get_session_info),
	FUNCTION(C_GetOperationState, SO, 3, run_out),
	FUNCTION(C_SetOperationState, SI | USES_OBJECT | USES_OBJECT2, 3, run_set_operation_state),
	FUNCTION(C_Login, S | N, 6, run_login),
	FUNCTION(C_Logout, S | IS_DRASTIC, 0, run_logout),
	FUNCTION(C_CreateObject, S | USES_TEMPLATE | USES_STORE_OBJECT | N, 6, run_create_object),
	FUNCTION(C_CopyObject, SK | USES_TEMPLATE | USES_STORE_OBJECT | N, 6, run_copy_object),
	FUNCTION(C_DestroyObject, SK, 2, run_destroy_object),
	FUNCTION(C_GetObjectSize, SK, 3, run_get_object_size),
	FUNCTION(C_GetAttributeValue, SK | USES_TEMPLATE | N, 10, run_get_attributes),
	FUNCTION(C_SetAttributeValue, SK | USES_TEMPLATE | N, 8, run_set_attributes),
	FUNCTION(C_FindObjectsInit, S | USES_TEMPLATE | N, 4, run_find_init),
	FUNCTION(C_FindObjects, S | N | USES_STORE_OBJECT, 5, run_find),
	FUNCTION(C_FindObjectsFinal, S, 4, run_session_only),
	FUNCTION(C_EncryptInit, SMK, 4, run_init),
	FUNCTION(C_Encrypt, SIO, 5, run_in_out),
	FUNCTION(C_EncryptUpdate, SIO, 5, run_in_out),
	FUNCTION(C_EncryptFinal, SO, 5, run_out),
	FUNCTION(C_DecryptInit, SMK, 4, run_init),
	FUNCTION(C_Decrypt, SIO, 5, run_in_out),
	FUNCTION(C_DecryptUpdate, SIO, 5, run_in_out),
	FUNCTION(C_DecryptFinal, SO, 5, run_out),
	FUNCTION(C_DigestInit, SM, 4, run_digest_init),
	FUNCTION(C_Digest, SIO, 5, run_in_out),
	FUNCTION(C_DigestUpdate, SI, 5, run_in),
	FUNCTION(C_DigestKey, SK, 5, run_digest_key),
	FUNCTION(C_DigestFinal, SO, 5, run_out),
	FUNCTION(C_SignInit, SMK, 4, run_init),
	FUNCTION(C_Sign, SIO, 5, run_in_out),
	FUNCTION(C_SignUpdate, SI, 5, run_in),
	FUNCTION(C_SignFinal, SO, 5, run_out),
	FUNCTION(C_SignRecoverInit, SMK, 2, run_init),
	FUNCTION(C_SignRecover, SIO, 2, run_in_out),
	FUNCTION(C_VerifyInit, SMK, 4, run_init),
	FUNCTION(C_Verify, SI | USES_INPUT2, 5, run_verify),
	FUNCTION(C_VerifyUpdate, SI, 5, run_in),
	FUNCTION(C_VerifyFinal, S | USES_INPUT2, 5, run_verify_final),
	FUNCTION(C_VerifyRecoverInit, SMK, 2, run_init),
	FUNCTION(C_VerifyRecover, SIO, 2, run_in_out),
	FUNCTION(C_DigestEncryptUpdate, SIO, 3, run_in_out),
	FUNCTION(C_DecryptDigestUpdate, SIO, 3, run_in_out),
	FUNCTION(C_SignEncryptUpdate, SIO, 3, run_in_out),
	FUNCTION(C_DecryptVerifyUpdate, SIO, 3, run_in_out),
	FUNCTION(C_GenerateKey, SM | USES_TEMPLATE | USES_STORE_OBJECT | N, 4, run_generate_key),
	FUNCTION(C_GenerateKeyPair, SM | USES_TEMPLATE | USES_TEMPLATE2 | USES_STORE_OBJECT | N, 1, run_generate_pair),
	FUNCTION(C_WrapKey, SMK | USES_OBJECT2 | USES_OUTPUT | USES_STORE_BUFFER, 4, run_wrap),
	FUNCTION(C_UnwrapKey, SMK | USES_INPUT | USES_TEMPLATE | USES_STORE_OBJECT | N, 4, run_unwrap),
	FUNCTION(C_DeriveKey, SMK | USES_TEMPLATE | USES_STORE_OBJECT | N, 4, run_derive),
	FUNCTION(C_SeedRandom, SI, 2, run_in),
	FUNCTION(C_GenerateRandom, SO | N, 3, run_generate_random),
	FUNCTION(C_GetFunctionStatus, S, 1, run_session_only),
	FUNCTION(C_CancelFunction, S, 1, run_session_only),
	FUNCTION(C_WaitForSlotEvent, 0, 1, run_wait_for_slot_event),
};
/* clang-format on */

uint8_t function_named(const char *name)
{
	for (uint8_t i = 0; i < FUNCTION_COUNT; i++)
		if (strcmp(functions[i].name, name) == 0)
			return i;
	fprintf(stderr, "differential: there is no function %s\n", name);
	exit(2);
}

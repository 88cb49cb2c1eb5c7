/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects for the tests of the module: made, found, used in one line each.
 */
#ifndef TEST_PROXY_OBJECTS_GROUND_H
#define TEST_PROXY_OBJECTS_GROUND_H

#include "module_ground.h"

/* For test groups: a module over a SoftHSM2 token, over the mock, over the mock with a
 * pool of one; initialised, nobody logged in. objects_end() is for all. */
int objects_begin_softhsm(void **state);
int objects_begin_softhsm_alone(void **state);
int objects_begin_mock(void **state);
int objects_end(void **state);

/* A read-write session, logged in. */
CK_SESSION_HANDLE objects_user(void);

/* CKO_DATA with that label; the answer. */
CK_RV objects_data(CK_SESSION_HANDLE session, const char *label, bool is_token,
		   bool is_private, CK_OBJECT_HANDLE *object);
/* An AES key that may do everything, with that label and its bytes all of that value. */
CK_RV objects_aes(CK_SESSION_HANDLE session, const char *label, CK_BYTE value,
		  bool is_token, bool is_private, CK_OBJECT_HANDLE *object);

/* How many objects have the label; the first of them in *first (may be NULL). */
CK_ULONG objects_find(CK_SESSION_HANDLE session, const char *label,
		      CK_OBJECT_HANDLE *first);
/* The key with that label of that class; 0 if there is not just one. */
CK_OBJECT_HANDLE objects_key(CK_SESSION_HANDLE session, CK_OBJECT_CLASS class,
			     const char *label);

/* C_GetAttributeValue of CKA_LABEL. */
CK_RV objects_label(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, char *label,
		    size_t cap);
/* CKM_AES_ECB of one block of zeros. */
CK_RV objects_use_aes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_BYTE out[16]);
/* CKM_SHA256_RSA_PKCS of a fixed text: the signature's first bytes. */
CK_RV objects_use_rsa(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_BYTE out[16]);

#endif

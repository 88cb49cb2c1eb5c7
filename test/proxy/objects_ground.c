/* SPDX-License-Identifier: Apache-2.0 */
/* Objects for the tests of the module: see objects_ground.h. */
#include "objects_ground.h"

#include <stdio.h>
#include <string.h>

static struct fixture fixture;

int objects_begin_softhsm(void **state)
{
	fixture_softhsm(&fixture);
	module_configure(&fixture, "max-sessions = 3", NULL);
	module_begin();
	*state = &fixture;
	return 0;
}

int objects_begin_softhsm_alone(void **state)
{
	fixture_softhsm(&fixture);
	module_configure(&fixture, "max-sessions = 1", NULL);
	module_begin();
	*state = &fixture;
	return 0;
}

int objects_begin_mock(void **state)
{
	fixture_mock(&fixture);
	module_configure(&fixture, "max-sessions = 3", NULL);
	module_begin();
	*state = &fixture;
	return 0;
}

int objects_end(void **state)
{
	(void)state;
	module_end();
	fixture_remove(&fixture);
	return 0;
}

CK_SESSION_HANDLE objects_user(void)
{
	CK_SESSION_HANDLE session = module_session(RW);
	assert_rv(module_login(session, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
	return session;
}

CK_RV objects_data(CK_SESSION_HANDLE session, const char *label, bool is_token,
		   bool is_private, CK_OBJECT_HANDLE *object)
{
	CK_OBJECT_CLASS class = CKO_DATA;
	CK_BBOOL token = is_token, private = is_private;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_TOKEN, &token, 1 },
		{ CKA_PRIVATE, &private, 1 },
		{ CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
		{ CKA_VALUE, (void *)(uintptr_t) "value", 5 },
	};
	return module_load()->C_CreateObject(session, template, 5, object);
}

CK_RV objects_aes(CK_SESSION_HANDLE session, const char *label, CK_BYTE value,
		  bool is_token, bool is_private, CK_OBJECT_HANDLE *object)
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	CK_BBOOL token = is_token, private = is_private, yes = CK_TRUE, no = CK_FALSE;
	CK_BYTE bytes[16];
	memset(bytes, value, sizeof(bytes));
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_KEY_TYPE, &type, sizeof(type) },
		{ CKA_TOKEN, &token, 1 },
		{ CKA_PRIVATE, &private, 1 },
		{ CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
		{ CKA_VALUE, bytes, sizeof(bytes) },
		{ CKA_SENSITIVE, &no, 1 },
		{ CKA_EXTRACTABLE, &yes, 1 },
		{ CKA_ENCRYPT, &yes, 1 },
		{ CKA_DECRYPT, &yes, 1 },
		{ CKA_WRAP, &yes, 1 },
		{ CKA_UNWRAP, &yes, 1 },
		{ CKA_DERIVE, &yes, 1 },
	};
	return module_load()->C_CreateObject(session, template, 13, object);
}

static CK_ULONG find(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count,
		     CK_OBJECT_HANDLE *first)
{
	CK_OBJECT_HANDLE found[8];
	CK_ULONG len = 0;
	CK_FUNCTION_LIST *p11 = module_load();
	assert_rv(p11->C_FindObjectsInit(session, template, count), CKR_OK);
	assert_rv(p11->C_FindObjects(session, found, 8, &len), CKR_OK);
	assert_rv(p11->C_FindObjectsFinal(session), CKR_OK);
	if (first)
		*first = len > 0 ? found[0] : CK_INVALID_HANDLE;
	return len;
}

CK_ULONG objects_find(CK_SESSION_HANDLE session, const char *label,
		      CK_OBJECT_HANDLE *first)
{
	CK_ATTRIBUTE template = { CKA_LABEL, (void *)(uintptr_t)label, strlen(label) };
	return find(session, &template, 1, first);
}

CK_OBJECT_HANDLE objects_key(CK_SESSION_HANDLE session, CK_OBJECT_CLASS class,
			     const char *label)
{
	CK_ATTRIBUTE template[] = {
		{ CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
		{ CKA_CLASS, &class, sizeof(class) },
	};
	CK_OBJECT_HANDLE key;
	return find(session, template, 2, &key) == 1 ? key : CK_INVALID_HANDLE;
}

CK_RV objects_label(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, char *label,
		    size_t cap)
{
	CK_ATTRIBUTE attribute = { CKA_LABEL, label, cap - 1 };
	memset(label, 0, cap);
	return module_load()->C_GetAttributeValue(session, object, &attribute, 1);
}

CK_RV objects_use_aes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_BYTE out[16])
{
	CK_MECHANISM mechanism = { CKM_AES_ECB, NULL, 0 };
	CK_BYTE zeros[16] = { 0 };
	CK_ULONG len = 16;
	CK_RV rv = module_load()->C_EncryptInit(session, &mechanism, key);
	return rv != CKR_OK ? rv
			    : module_load()->C_Encrypt(session, zeros, sizeof(zeros), out,
						       &len);
}

CK_RV objects_use_rsa(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_BYTE out[16])
{
	CK_MECHANISM mechanism = { CKM_SHA256_RSA_PKCS, NULL, 0 };
	CK_BYTE text[] = "text", signature[512];
	CK_ULONG len = sizeof(signature);
	CK_RV rv = module_load()->C_SignInit(session, &mechanism, key);
	if (rv == CKR_OK)
		rv = module_load()->C_Sign(session, text, sizeof(text), signature, &len);
	if (rv == CKR_OK)
		memcpy(out, signature, 16);
	return rv;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wrapping backend's calls on sessions: handles translated, then the real module.
 */
#include "wrap.h"

/* --- sessions ---------------------------------------------------------------- */

#define SESSION_WRAPPER(name, parameters, arguments)                  \
	static CK_RV plain_##name parameters                          \
	{                                                             \
		CK_RV rv = mock_session_to_real(&session);            \
		return rv != CKR_OK ? rv : mock_real->name arguments; \
	}
MOCK_SESSION_FUNCTIONS(SESSION_WRAPPER)

static CK_RV wrap_C_GetSessionInfo(CK_SESSION_HANDLE session, CK_SESSION_INFO_PTR info)
{
	CK_RV rv = plain_C_GetSessionInfo(session, info);

	if (rv == CKR_OK)
		info->slotID += mock_slot_offset();
	return rv;
}

static CK_RV wrap_C_Login(CK_SESSION_HANDLE session, CK_USER_TYPE user,
			  CK_UTF8CHAR_PTR pin, CK_ULONG len)
{
	CK_RV rv = mock_pin_allowed(user);

	if (rv == CKR_OK)
		rv = plain_C_Login(session, user, pin, len);
	if (rv == CKR_OK || rv == CKR_PIN_INCORRECT || rv == CKR_PIN_LOCKED)
		mock_pin_result(user, rv);
	return rv;
}

static CK_RV wrap_C_Logout(CK_SESSION_HANDLE session)
{
	CK_RV rv = plain_C_Logout(session);

	if (rv == CKR_OK)
		mock_count(&mock.logouts);
	return rv;
}

#define KEY_WRAPPER(name)                                                               \
	static CK_RV wrap_##name(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, \
				 CK_OBJECT_HANDLE key)                                  \
	{                                                                               \
		CK_RV rv = mock_object_to_real(&key, CKR_KEY_HANDLE_INVALID);           \
		return rv != CKR_OK ? rv : plain_##name(session, mechanism, key);       \
	}
KEY_WRAPPER(C_EncryptInit)
KEY_WRAPPER(C_DecryptInit)
KEY_WRAPPER(C_SignInit)
KEY_WRAPPER(C_SignRecoverInit)
KEY_WRAPPER(C_VerifyInit)
KEY_WRAPPER(C_VerifyRecoverInit)

static CK_RV wrap_C_DigestKey(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
	CK_RV rv = mock_object_to_real(&key, CKR_KEY_HANDLE_INVALID);

	return rv != CKR_OK ? rv : plain_C_DigestKey(session, key);
}

static CK_RV wrap_C_CreateObject(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR template,
				 CK_ULONG count, CK_OBJECT_HANDLE_PTR object)
{
	CK_RV rv = plain_C_CreateObject(session, template, count, object);

	if (rv == CKR_OK) {
		mock_object_to_virtual(object);
		mock_count(&mock.created);
	}
	return rv;
}

static CK_RV wrap_C_CopyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
			       CK_ATTRIBUTE_PTR template, CK_ULONG count,
			       CK_OBJECT_HANDLE_PTR copy)
{
	CK_RV rv = mock_object_to_real(&object, CKR_OBJECT_HANDLE_INVALID);

	if (rv == CKR_OK)
		rv = plain_C_CopyObject(session, object, template, count, copy);
	if (rv == CKR_OK) {
		mock_object_to_virtual(copy);
		mock_count(&mock.created);
	}
	return rv;
}

static CK_RV wrap_C_DestroyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
	CK_OBJECT_HANDLE dead = object;
	CK_RV rv = mock_object_to_real(&object, CKR_OBJECT_HANDLE_INVALID);

	if (rv == CKR_OK)
		rv = plain_C_DestroyObject(session, object);
	if (rv == CKR_OK) {
		mock_object_forget(dead);
		mock_count(&mock.destroyed);
	}
	return rv;
}

static CK_RV wrap_C_GetObjectSize(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
				  CK_ULONG_PTR size)
{
	CK_RV rv = mock_object_to_real(&object, CKR_OBJECT_HANDLE_INVALID);

	return rv != CKR_OK ? rv : plain_C_GetObjectSize(session, object, size);
}

static CK_RV wrap_C_GetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
				      CK_ATTRIBUTE_PTR template, CK_ULONG count)
{
	CK_RV rv = mock_object_to_real(&object, CKR_OBJECT_HANDLE_INVALID);

	return rv != CKR_OK ? rv
			    : plain_C_GetAttributeValue(session, object, template, count);
}

static CK_RV wrap_C_SetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
				      CK_ATTRIBUTE_PTR template, CK_ULONG count)
{
	CK_RV rv = mock_object_to_real(&object, CKR_OBJECT_HANDLE_INVALID);

	return rv != CKR_OK ? rv
			    : plain_C_SetAttributeValue(session, object, template, count);
}

static CK_RV wrap_C_FindObjects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE_PTR found,
				CK_ULONG max, CK_ULONG_PTR count)
{
	CK_RV rv = plain_C_FindObjects(session, found, max, count);

	for (CK_ULONG i = 0; rv == CKR_OK && i < *count; i++)
		mock_object_to_virtual(&found[i]);
	return rv;
}

static CK_RV wrap_C_SetOperationState(CK_SESSION_HANDLE session, CK_BYTE_PTR in,
				      CK_ULONG in_len, CK_OBJECT_HANDLE encryption_key,
				      CK_OBJECT_HANDLE authentication_key)
{
	CK_RV rv = CKR_OK;

	if (encryption_key != 0)
		rv = mock_object_to_real(&encryption_key, CKR_KEY_HANDLE_INVALID);
	if (rv == CKR_OK && authentication_key != 0)
		rv = mock_object_to_real(&authentication_key, CKR_KEY_HANDLE_INVALID);
	return rv != CKR_OK
		       ? rv
		       : plain_C_SetOperationState(session, in, in_len, encryption_key,
						   authentication_key);
}

static CK_RV wrap_C_GenerateKey(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism,
				CK_ATTRIBUTE_PTR template, CK_ULONG count,
				CK_OBJECT_HANDLE_PTR key)
{
	CK_RV rv = plain_C_GenerateKey(session, mechanism, template, count, key);

	if (rv == CKR_OK) {
		mock_object_to_virtual(key);
		mock_count(&mock.created);
	}
	return rv;
}

static CK_RV
wrap_C_GenerateKeyPair(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism,
		       CK_ATTRIBUTE_PTR public_template, CK_ULONG public_count,
		       CK_ATTRIBUTE_PTR private_template, CK_ULONG private_count,
		       CK_OBJECT_HANDLE_PTR public_key, CK_OBJECT_HANDLE_PTR private_key)
{
	CK_RV rv = plain_C_GenerateKeyPair(session, mechanism, public_template,
					   public_count, private_template, private_count,
					   public_key, private_key);

	if (rv == CKR_OK) {
		mock_object_to_virtual(public_key);
		mock_object_to_virtual(private_key);
		mock_count(&mock.created);
		mock_count(&mock.created);
	}
	return rv;
}

static CK_RV wrap_C_WrapKey(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism,
			    CK_OBJECT_HANDLE wrapping_key, CK_OBJECT_HANDLE key,
			    CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	CK_RV rv = mock_object_to_real(&wrapping_key, CKR_WRAPPING_KEY_HANDLE_INVALID);

	if (rv == CKR_OK)
		rv = mock_object_to_real(&key, CKR_KEY_HANDLE_INVALID);
	return rv != CKR_OK ? rv
			    : plain_C_WrapKey(session, mechanism, wrapping_key, key, out,
					      out_len);
}

static CK_RV wrap_C_UnwrapKey(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism,
			      CK_OBJECT_HANDLE unwrapping_key, CK_BYTE_PTR in,
			      CK_ULONG in_len, CK_ATTRIBUTE_PTR template, CK_ULONG count,
			      CK_OBJECT_HANDLE_PTR key)
{
	CK_RV rv =
		mock_object_to_real(&unwrapping_key, CKR_UNWRAPPING_KEY_HANDLE_INVALID);

	if (rv == CKR_OK)
		rv = plain_C_UnwrapKey(session, mechanism, unwrapping_key, in, in_len,
				       template, count, key);
	if (rv == CKR_OK) {
		mock_object_to_virtual(key);
		mock_count(&mock.created);
	}
	return rv;
}

static CK_RV wrap_C_DeriveKey(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism,
			      CK_OBJECT_HANDLE base, CK_ATTRIBUTE_PTR template,
			      CK_ULONG count, CK_OBJECT_HANDLE_PTR key)
{
	CK_RV rv = mock_object_to_real(&base, CKR_KEY_HANDLE_INVALID);

	if (rv == CKR_OK)
		rv = plain_C_DeriveKey(session, mechanism, base, template, count, key);
	if (rv == CKR_OK) {
		mock_object_to_virtual(key);
		mock_count(&mock.created);
	}
	return rv;
}

#define LIST_MEMBER(name, parameters, arguments) .name = plain_##name,
CK_FUNCTION_LIST mock_wrap_backend = { .version = { 2, 40 },
				       .C_Initialize = wrap_C_Initialize,
				       .C_Finalize = wrap_C_Finalize,
				       .C_GetInfo = wrap_C_GetInfo,
				       .C_GetSlotList = wrap_C_GetSlotList,
				       .C_WaitForSlotEvent = wrap_C_WaitForSlotEvent,
				       MOCK_SLOT_FUNCTIONS(LIST_MEMBER)
					       MOCK_SESSION_FUNCTIONS(LIST_MEMBER) };

/* Those with handles of objects, or with answers of our own. */
__attribute__((constructor)) static void replace_members(void)
{
#define REPLACE(name) mock_wrap_backend.name = wrap_##name
	REPLACE(C_GetTokenInfo);
	REPLACE(C_OpenSession);
	REPLACE(C_CloseSession);
	REPLACE(C_CloseAllSessions);
	REPLACE(C_GetSessionInfo);
	REPLACE(C_Login);
	REPLACE(C_Logout);
	REPLACE(C_EncryptInit);
	REPLACE(C_DecryptInit);
	REPLACE(C_SignInit);
	REPLACE(C_SignRecoverInit);
	REPLACE(C_VerifyInit);
	REPLACE(C_VerifyRecoverInit);
	REPLACE(C_DigestKey);
	REPLACE(C_CreateObject);
	REPLACE(C_CopyObject);
	REPLACE(C_DestroyObject);
	REPLACE(C_GetObjectSize);
	REPLACE(C_GetAttributeValue);
	REPLACE(C_SetAttributeValue);
	REPLACE(C_FindObjects);
	REPLACE(C_SetOperationState);
	REPLACE(C_GenerateKey);
	REPLACE(C_GenerateKeyPair);
	REPLACE(C_WrapKey);
	REPLACE(C_UnwrapKey);
	REPLACE(C_DeriveKey);
#undef REPLACE
}

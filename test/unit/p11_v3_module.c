/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A made-up module of PKCS#11 3.0 that can do next to nothing, but cancel.
 */
#include <stddef.h>
#include <p11-kit/pkcs11.h>

#define EXPORT __attribute__((visibility("default")))

/* Read and set by the test, through dlsym(). */
EXPORT CK_FLAGS v3_cancelled;
EXPORT CK_RV v3_cancel_answer;

static CK_RV initialize(void *args)
{
	(void)args;
	return CKR_OK;
}

static CK_RV get_info(CK_INFO *info)
{
	info->cryptokiVersion.major = 3;
	return CKR_OK;
}

static CK_RV get_slot_list(CK_BBOOL with_token, CK_SLOT_ID *slots, CK_ULONG *count)
{
	(void)with_token;
	(void)slots;
	*count = 0;
	return CKR_OK;
}

static CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
	(void)slot;
	(void)info;
	return CKR_SLOT_ID_INVALID;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *application,
			  CK_NOTIFY notify, CK_SESSION_HANDLE *session)
{
	(void)slot;
	(void)flags;
	(void)application;
	(void)notify;
	*session = 1;
	return CKR_OK;
}

static CK_RV close_session(CK_SESSION_HANDLE session)
{
	(void)session;
	return CKR_OK;
}

static CK_RV get_session_info(CK_SESSION_HANDLE session, CK_SESSION_INFO *info)
{
	(void)session;
	(void)info;
	return CKR_OK;
}

static CK_RV sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
		       CK_OBJECT_HANDLE key)
{
	(void)session;
	(void)mechanism;
	(void)key;
	return CKR_OK;
}

static CK_RV session_cancel(CK_SESSION_HANDLE session, CK_FLAGS flags)
{
	(void)session;
	v3_cancelled |= flags;
	return v3_cancel_answer;
}

#define FUNCTIONS(major, minor)                                                   \
	{                                                                         \
		.version = { (major), (minor) }, .C_Initialize = initialize,      \
		.C_Finalize = initialize, .C_GetInfo = get_info,                  \
		.C_GetSlotList = get_slot_list, .C_GetTokenInfo = get_token_info, \
		.C_OpenSession = open_session, .C_CloseSession = close_session,   \
		.C_GetSessionInfo = get_session_info, .C_SignInit = sign_init,    \
	}

static CK_FUNCTION_LIST functions_2_40 = FUNCTIONS(2, 40);

EXPORT CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	*list = &functions_2_40;
	return CKR_OK;
}

/* As 3.0 lays it out. */
static struct {
	CK_FUNCTION_LIST functions_2_40;
	void *get_interface_list;
	void *get_interface;
	void *login_user;
	CK_RV (*session_cancel)(CK_SESSION_HANDLE session, CK_FLAGS flags);
	void *more[20];
} functions_3_0 = {
	.functions_2_40 = FUNCTIONS(3, 0),
	.session_cancel = session_cancel,
};

static struct {
	const char *name;
	void *functions;
	CK_FLAGS flags;
} interface = { "PKCS 11", &functions_3_0, 0 };

EXPORT CK_RV C_GetInterface(const char *name, CK_VERSION *version, void **out,
			    CK_FLAGS flags);
EXPORT CK_RV C_GetInterface(const char *name, CK_VERSION *version, void **out,
			    CK_FLAGS flags)
{
	(void)name;
	(void)version;
	(void)flags;
	*out = &interface;
	return CKR_OK;
}

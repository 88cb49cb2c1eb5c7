/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See direct.h.
 */
#include "mock/direct.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

CK_FUNCTION_LIST *direct_module(void)
{
	CK_FUNCTION_LIST *list = NULL;
	CK_C_GetFunctionList get = NULL;
	char path[512];

	snprintf(path, sizeof(path), "%s/test/mock/hsmpool-mock.so",
		 getenv("HSMPOOL_TEST_BUILD"));
	void *dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (dl != NULL)
		*(void **)&get = dlsym(dl, "C_GetFunctionList");
	if (get == NULL || get(&list) != CKR_OK)
		abort();
	return list;
}

CK_SLOT_ID direct_slot(CK_FUNCTION_LIST *module)
{
	CK_SLOT_ID slots[8];
	CK_ULONG count = 8;

	assert_rv(module->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
	assert_true(count >= 1);
	return slots[0];
}

CK_SESSION_HANDLE direct_session(CK_FUNCTION_LIST *module)
{
	CK_SESSION_HANDLE session = 0;

	assert_rv(module->C_OpenSession(direct_slot(module),
					CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
					&session),
		  CKR_OK);
	return session;
}

CK_RV direct_login(CK_FUNCTION_LIST *module, CK_SESSION_HANDLE session, const char *pin)
{
	return module->C_Login(session, CKU_USER, (CK_UTF8CHAR *)(uintptr_t)pin,
			       strlen(pin));
}

CK_OBJECT_HANDLE direct_find(CK_FUNCTION_LIST *module, CK_SESSION_HANDLE session,
			     CK_OBJECT_CLASS class, const char *label)
{
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
	};
	CK_OBJECT_HANDLE found[2] = { 0, 0 };
	CK_ULONG count = 0;

	assert_rv(module->C_FindObjectsInit(session, template, 2), CKR_OK);
	assert_rv(module->C_FindObjects(session, found, 2, &count), CKR_OK);
	assert_rv(module->C_FindObjectsFinal(session), CKR_OK);
	assert_true(count <= 1);
	return found[0];
}

int direct_set_up(void **state)
{
	CK_FUNCTION_LIST *module = direct_module();

	fixture_mock_control()->reset();
	fixture_mock_control()->wrap(NULL);
	*state = module;
	return module->C_Initialize(NULL) == CKR_OK ? 0 : -1;
}

static void close_all(CK_FUNCTION_LIST *module)
{
	CK_SLOT_ID slots[8];
	CK_ULONG count = 8;

	if (module->C_GetSlotList(CK_FALSE, slots, &count) == CKR_OK)
		for (CK_ULONG i = 0; i < count; i++)
			module->C_CloseAllSessions(slots[i]);
}

int direct_tear_down(void **state)
{
	CK_FUNCTION_LIST *module = *state;
	char why[128] = "";

	fixture_mock_control()->release();
	fixture_mock_control()->clear_failures();
	close_all(module);
	module->C_Finalize(NULL);
	if (!fixture_mock_control()->check_balance(why, sizeof(why))) {
		print_error("%s\n", why);
		return -1;
	}
	fixture_mock_control()->reset();
	return 0;
}

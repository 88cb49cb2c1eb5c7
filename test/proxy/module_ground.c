/* SPDX-License-Identifier: Apache-2.0 */
/* Loading and configuring the module as a program does it, and its simplest calls. */
#include "module_ground.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "p11/rv.h"

const char *module_path(void)
{
	static char path[512];
	snprintf(path, sizeof(path), "%s/lib/proxy/hsmpool-pkcs11.so",
		 getenv("HSMPOOL_TEST_BUILD"));
	return path;
}

CK_FUNCTION_LIST *module_load_other(const char *path)
{
	CK_FUNCTION_LIST *functions = NULL;
	CK_C_GetFunctionList get = NULL;
	void *dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!dl)
		fail_msg("%s", dlerror());
	*(void **)&get = dlsym(dl, "C_GetFunctionList");
	assert_non_null(get);
	assert_rv(get(&functions), CKR_OK);
	return functions;
}

CK_FUNCTION_LIST *module_load(void)
{
	static CK_FUNCTION_LIST *functions;
	if (!functions)
		functions = module_load_other(module_path());
	return functions;
}

void module_configure(const struct fixture *f, const char *pool_lines,
		      const char *proxy_lines)
{
	char path[400];
	snprintf(path, sizeof(path), "%s/hsmpool.conf", f->dir);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file, "[pool]\nmodule = %s\nstate-dir = %s/state\n%s\n[proxy]\n%s\n",
		f->module, f->dir, pool_lines ? pool_lines : "",
		proxy_lines ? proxy_lines : "");
	assert_int_equal(fclose(file), 0);
	setenv("HSMPOOL_CONF", path, 1);
}

void module_begin(void)
{
	assert_rv(module_load()->C_Initialize(NULL), CKR_OK);
}

void module_end(void)
{
	assert_rv(module_load()->C_Finalize(NULL), CKR_OK);
}

CK_SLOT_ID module_slot(void)
{
	CK_SLOT_ID slots[16];
	CK_ULONG count = 16;
	assert_rv(module_load()->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
	for (CK_ULONG i = 0; i < count; i++) {
		CK_TOKEN_INFO info;
		assert_rv(module_load()->C_GetTokenInfo(slots[i], &info), CKR_OK);
		if (info.flags & CKF_TOKEN_INITIALIZED)
			return slots[i];
	}
	fail_msg("no slot with an initialised token");
	return 0;
}

CK_SESSION_HANDLE module_session(CK_FLAGS flags)
{
	CK_SESSION_HANDLE session = 0;
	assert_rv(
		module_load()->C_OpenSession(module_slot(), flags, NULL, NULL, &session),
		CKR_OK);
	return session;
}

CK_STATE module_state(CK_SESSION_HANDLE session)
{
	CK_SESSION_INFO info;
	assert_rv(module_load()->C_GetSessionInfo(session, &info), CKR_OK);
	return info.state;
}

CK_RV module_login(CK_SESSION_HANDLE session, CK_USER_TYPE user, const char *pin)
{
	return module_load()->C_Login(session, user, (CK_BYTE *)(uintptr_t)pin,
				      pin ? strlen(pin) : 0);
}

CK_RV module_digest(CK_SESSION_HANDLE session)
{
	CK_MECHANISM mechanism = { CKM_SHA256, NULL, 0 };
	CK_BYTE input[] = { 1 }, digest[32];
	CK_ULONG len = sizeof(digest);
	CK_RV rv = module_load()->C_DigestInit(session, &mechanism);
	return rv != CKR_OK ? rv
			    : module_load()->C_Digest(session, input, sizeof(input),
						      digest, &len);
}

CK_ULONG module_count_private(CK_SESSION_HANDLE session)
{
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE template = { CKA_CLASS, &class, sizeof(class) };
	CK_OBJECT_HANDLE found[16];
	CK_ULONG count = 0;
	if (module_load()->C_FindObjectsInit(session, &template, 1) != CKR_OK)
		return CK_UNAVAILABLE_INFORMATION;
	CK_RV rv = module_load()->C_FindObjects(session, found, 16, &count);
	module_load()->C_FindObjectsFinal(session);
	return rv == CKR_OK ? count : CK_UNAVAILABLE_INFORMATION;
}

unsigned module_threads(void)
{
	unsigned count = 0;
	DIR *tasks = opendir("/proc/self/task");
	assert_non_null(tasks);
	for (struct dirent *entry; (entry = readdir(tasks));)
		count += entry->d_name[0] != '.';
	closedir(tasks);
	return count;
}

void assert_rv_at(CK_RV rv, CK_RV expected, const char *what, const char *file, int line)
{
	char is[32], should[32];
	if (rv == expected)
		return;
	print_error("%s: %s, not %s\n", what, hp_rv_name(rv, is),
		    hp_rv_name(expected, should));
	_fail(file, line);
}

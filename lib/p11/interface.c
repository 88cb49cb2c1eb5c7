/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking a module for its 3.x interface.
 *
 * Owns: the layout of the 3.0 function list, as far as it is used. Must not: call
 * anything but C_GetInterface.
 */
#include "p11/interface.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>

/* CK_INTERFACE of 3.0 */
struct interface {
	const char *name;
	const void *functions;
	CK_FLAGS flags;
};

/* The beginning of CK_FUNCTION_LIST_3_0: that of 2.40, and four more. */
struct functions_3_0 {
	CK_FUNCTION_LIST functions_2_40;
	void *get_interface_list;
	void *get_interface;
	void *login_user;
	hp_cancel_fn session_cancel;
};

typedef CK_RV (*get_interface_fn)(const char *name, CK_VERSION *version,
				  struct interface **out, CK_FLAGS flags);

static const void *object_of(const void *address)
{
	Dl_info info;
	return dladdr(address, &info) ? info.dli_fbase : NULL;
}

hp_cancel_fn hp_interface_cancel(void *dl, const void *function_list)
{
	const void *symbol = dlsym(dl, "C_GetInterface");
	if (!symbol || object_of(symbol) != object_of(function_list))
		return NULL;
	get_interface_fn get = (get_interface_fn)(uintptr_t)symbol;
	struct interface *interface = NULL;
	CK_RV rv = get("PKCS 11", NULL, &interface, 0);
	if (rv != CKR_OK || !interface || !interface->functions)
		return NULL;
	const struct functions_3_0 *functions = interface->functions;
	return functions->functions_2_40.version.major == 3 ? functions->session_cancel
							    : NULL;
}

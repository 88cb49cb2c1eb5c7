/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the module itself start from: a token, a configuration file, and the
 * module as a program loads it.
 */
#ifndef TEST_PROXY_MODULE_GROUND_H
#define TEST_PROXY_MODULE_GROUND_H

#include "support/fixture.h"

#define RO CKF_SERIAL_SESSION
#define RW (CKF_SERIAL_SESSION | CKF_RW_SESSION)

/* The module's path, and its functions; the same each time. */
const char *module_path(void);
CK_FUNCTION_LIST *module_load(void);
/* Another module's functions, for comparison. */
CK_FUNCTION_LIST *module_load_other(const char *path);

/* Write hsmpool.conf with the fixture's module and these lines in [pool] and [proxy]
 * (NULL: none), and name it in HSMPOOL_CONF. */
void module_configure(const struct fixture *f, const char *pool_lines,
		      const char *proxy_lines);

/* C_Initialize, which must succeed; and C_Finalize. */
void module_begin(void);
void module_end(void);

/* The slot of the first initialised token. */
CK_SLOT_ID module_slot(void);
/* C_OpenSession there. */
CK_SESSION_HANDLE module_session(CK_FLAGS flags);
CK_STATE module_state(CK_SESSION_HANDLE session);
CK_RV module_login(CK_SESSION_HANDLE session, CK_USER_TYPE user, const char *pin);
/* Something that needs a real session and no login. */
CK_RV module_digest(CK_SESSION_HANDLE session);
/* How many private keys a session sees; CK_UNAVAILABLE_INFORMATION: it failed. */
CK_ULONG module_count_private(CK_SESSION_HANDLE session);

/* The threads of this process. */
unsigned module_threads(void);

void assert_rv_at(CK_RV rv, CK_RV expected, const char *what, const char *file, int line);
#define assert_rv(call, expected) \
	assert_rv_at((call), (expected), #call, __FILE__, __LINE__)

#endif

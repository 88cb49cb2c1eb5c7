/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of operations start from: the PKCS#11 module, loaded as a program loads
 * it, over the mock or a private SoftHSM2 token, with keys on it.
 */
#ifndef TEST_PROXY_OPERATIONS_GROUND_H
#define TEST_PROXY_OPERATIONS_GROUND_H

#include "support/fixture.h"

struct ground {
	struct fixture fixture;
	bool is_mock;
	CK_FUNCTION_LIST *p11;
	CK_SLOT_ID slot;
	CK_SESSION_HANDLE main; /* logged in */
	CK_OBJECT_HANDLE aes, hmac, rsa, rsa_public;
};

/* Runs the tests on "mock" or "softhsm", as the program's argument says; the last
 * mock_only of them on the mock alone. *state is the ground, its token made once. */
int ground_run(const char *name, const struct CMUnitTest *tests, size_t count,
	       size_t mock_only, int argc, char **argv);

/* C_Initialize with so many real sessions and these lines in [pool] and [proxy] (NULL:
 * none), a login, the keys. */
void ground_begin(struct ground *g, unsigned max_sessions, const char *pool_lines,
		  const char *proxy_lines);
void ground_end(struct ground *g);

CK_SESSION_HANDLE ground_session(struct ground *g);
/* Make somebody else use every real session, so that nothing stays attached unpinned. */
void ground_take_all_away(struct ground *g);

void assert_rv_at(CK_RV rv, CK_RV expected, const char *what, const char *file, int line);
#define assert_rv(call, expected) \
	assert_rv_at((call), (expected), #call, __FILE__, __LINE__)

#endif

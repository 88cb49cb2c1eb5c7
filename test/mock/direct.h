/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talking to the mock directly, without a pool: for the tests of the mock itself.
 */
#ifndef TEST_MOCK_DIRECT_H
#define TEST_MOCK_DIRECT_H

#include "support/fixture.h"

#define assert_rv(call, expected) assert_int_equal((call), (expected))

/* The mock's function list; aborts if there is none. */
CK_FUNCTION_LIST *direct_module(void);
/* C_OpenSession in the first slot with a token; read-write. */
CK_SESSION_HANDLE direct_session(CK_FUNCTION_LIST *module);
CK_SLOT_ID direct_slot(CK_FUNCTION_LIST *module);
CK_RV direct_login(CK_FUNCTION_LIST *module, CK_SESSION_HANDLE session, const char *pin);
/* The one object with this class and label; 0 if there is none. */
CK_OBJECT_HANDLE direct_find(CK_FUNCTION_LIST *module, CK_SESSION_HANDLE session,
			     CK_OBJECT_CLASS class, const char *label);

/* cmocka set-up and tear-down of a test: initialised module, everything reset; state
 * is the CK_FUNCTION_LIST. The tear-down finalises and checks the balance. */
int direct_set_up(void **state);
int direct_tear_down(void **state);

#endif

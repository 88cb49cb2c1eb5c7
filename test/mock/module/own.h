/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls of the own backend, as PKCS#11 has them; token.c makes a list of them.
 */
#ifndef MOCK_OWN_H
#define MOCK_OWN_H

#include "module.h"

#define MOCK_OWN_DECLARATION(name, parameters, arguments) CK_RV own_##name parameters;
MOCK_GLOBAL_FUNCTIONS(MOCK_OWN_DECLARATION)
MOCK_SLOT_FUNCTIONS(MOCK_OWN_DECLARATION)
MOCK_SESSION_FUNCTIONS(MOCK_OWN_DECLARATION)
#undef MOCK_OWN_DECLARATION

#endif

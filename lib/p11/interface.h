/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a module of PKCS#11 3.x has beyond the 2.40 function list.
 *
 * The headers are those of 2.40, so the little that is used of 3.x is declared here.
 */
#ifndef HP_P11_INTERFACE_H
#define HP_P11_INTERFACE_H

#include <p11-kit/pkcs11.h>

typedef CK_RV (*hp_cancel_fn)(CK_SESSION_HANDLE session, CK_FLAGS operations);

/* Every kind of operation that C_SessionCancel knows without the message functions:
 * find, encrypt, decrypt, digest, sign, sign recover, verify, verify recover. */
#define HP_CANCEL_ALL ((CK_FLAGS)0x7f40)

/* C_SessionCancel, or NULL. function_list: the module's C_GetFunctionList, to know the
 * module's own symbols from those of what it links. */
hp_cancel_fn hp_interface_cancel(void *dl, const void *function_list);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy in this process: C_Initialize, C_Finalize, fork, configuration.
 *
 * Owns the vendor module's reference, the options, the list of virtual slots. Every C_
 * function enters and leaves here; C_Finalize waits, a bounded time, until those inside
 * have left. A forked child is not initialised until it calls C_Initialize itself.
 *
 * Lock order in lib/proxy, outermost first: process.lock, slot->lock, vsession->lock
 * (taken only by the thread that is in a call on it), table locks (sessions, objects),
 * then the pool's. No table lock is held over a module call.
 */
#ifndef HP_PROXY_PROCESS_H
#define HP_PROXY_PROCESS_H

#include <stdbool.h>
#include <p11-kit/pkcs11.h>
#include "config/options.h"
#include "p11/module.h"

/* CKR_OK, or what the caller gets: CKR_CRYPTOKI_NOT_INITIALIZED. */
CK_RV hp_proxy_enter(void);
/* For calls that name no session: also without a configuration, when others get
 * CKR_SESSION_HANDLE_INVALID because there are no sessions. */
CK_RV hp_proxy_enter_slots(void);
void hp_proxy_leave(void);

/* True from the beginning of C_Finalize on: waits end. */
bool hp_proxy_is_ending(void);

/* Valid while inside. module is NULL without a configuration: there are no slots then,
 * and only calls that name no session get in. */
struct hp_module *hp_proxy_module(void);
const struct hp_proxy_options *hp_proxy_options(void);
/* login = automatic: sessions are born in the user state. */
bool hp_proxy_logs_in_automatically(void);

/* What the application gets when a borrow, or what else is needed, failed: TIMEOUT and
 * BUSY give CKR_FUNCTION_FAILED, DOWN the vendor's code if the caller can understand it
 * (a token that is not there), else CKR_DEVICE_ERROR. err may be NULL. */
CK_RV hp_proxy_answer(hsmpool_status status, const hsmpool_error *err);

CK_RV hp_proxy_initialize(void *init_args);
CK_RV hp_proxy_finalize(void *reserved);

#endif

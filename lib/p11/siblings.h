/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes take turns at what disturbs the others.
 *
 * Workers are forked and then all initialise the module and log in at the same moment,
 * each with its first request. SoftHSM2 rewrites the token's file at each login: who
 * reads it meanwhile, by C_Initialize, C_Login or C_GetTokenInfo, finds no token, or one
 * that fails from then on, until it is initialised again.
 * So a process waits for its turn; for a bounded time, as the call of another may hang.
 * Those that are related by fork share a mutex. Those that are not share a file in their
 * state-dir, if they have the same one and may write there. Where the module is another
 * copy of hsmpool it is that copy that takes turns, for what it calls.
 */
#ifndef HP_P11_SIBLINGS_H
#define HP_P11_SIBLINGS_H

#include "p11/module.h"

/* Where the file is to be. Said before the first turn; the first one that is said counts
 * for the whole process. NULL: nowhere. */
void hp_siblings_meet_in(const char *state_dir);

/* Before a call of the module, with no lock of ours held but those that order
 * C_Initialize. False: go on all the same. */
bool hp_siblings_begin(const struct hp_module *module);

/* By the thread that began, with what it was told. */
void hp_siblings_end(bool has_begun);

#endif

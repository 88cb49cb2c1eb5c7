/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the module's tokens are shown, and with which settings each is served.
 *
 * Owns: the pools of the configuration as the module understands them. [pool] is for the
 * token that it names, or, where it names none, for every token that no other section
 * names. A [pool NAME] with a token of its own is for that one. Where [pool] names a
 * token, and with automatic login (one PIN is for one token), nothing else is shown.
 *
 * Loaded and cleared with process.lock held; everything else is for threads inside.
 */
#ifndef HP_PROXY_CHOICE_H
#define HP_PROXY_CHOICE_H

#include <stdbool.h>
#include <stddef.h>
#include <hsmpool/pool.h>
#include <p11-kit/pkcs11.h>
#include "config/options.h"

hsmpool_status hp_choice_load(const hsmpool_config *config, bool is_automatic,
			      hsmpool_error *err);
void hp_choice_clear(void);
/* What is there may be in use for ever; the next load makes another. */
void hp_choice_forget(void);
/* No threads of ours: for all pools. */
void hp_choice_forbid_threads(void);

/* A pool with these settings was opened: how it gets newer ones. */
hsmpool_status hp_choice_furnish(hsmpool *pool, hsmpool_error *err);

/* [pool], for what concerns the module as a whole. */
const struct hp_pool_options *hp_choice_default(void);

/* Every slot of the module, also those without a token. */
bool hp_choice_shows_all(void);
/* Where not all are: the real ids of those that are shown, which are *count. CKR_OK, or
 * CKR_BUFFER_TOO_SMALL if a list is given and *count was less. */
CK_RV hp_choice_list(CK_SLOT_ID *list, CK_ULONG *count);
/* The settings for this slot's pool. NULL: it is not shown. */
const struct hp_pool_options *hp_choice_of(CK_SLOT_ID real);
/* The settings of the pool that has the audit-key of the one with these; NULL: it is the
 * same. Such a pool is not shown. */
const struct hp_pool_options *hp_choice_keeper(const struct hp_pool_options *options);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the [key NAME] sections of the configuration say of the application's keys:
 * counting and sign-retry.
 *
 * What is done with a counting key is begun once: never again from a journal, and never
 * only to end it.
 */
#ifndef HP_PROXY_KEY_RULES_H
#define HP_PROXY_KEY_RULES_H

#include "config/options.h"
#include "proxy/vsession.h"

struct hp_key_rules {
	bool is_counting;
	enum hp_sign_retry sign_retry; /* NO if it is counting */
};

hsmpool_status hp_key_rules_load(const hsmpool_config *config, hsmpool_error *err);
void hp_key_rules_clear(void);
/* What is there may be in use for ever; the next load makes another. */
void hp_key_rules_forget(void);

/* With the application's handle, which was used. Where several sections name the key the
 * most careful one counts, and all do for a key of which nothing could be read. */
struct hp_key_rules hp_key_rules_of(const struct hp_vsession *vs, CK_OBJECT_HANDLE key);

#endif

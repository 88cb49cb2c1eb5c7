/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys that the configuration declares counting: [key NAME] counting = yes.
 *
 * What is done with such a key is begun once: never again from a journal, and never only
 * to end it.
 */
#ifndef HP_PROXY_COUNTING_H
#define HP_PROXY_COUNTING_H

#include "config/options.h"
#include "proxy/vsession.h"

hsmpool_status hp_counting_load(const hsmpool_config *config, hsmpool_error *err);
void hp_counting_clear(void);
/* What is there may be in use for ever; the next load makes another. */
void hp_counting_forget(void);

/* With the application's handle, which was used. A key of which nothing could be read is
 * taken for a counting one where there are any. */
bool hp_key_is_declared_counting(const struct hp_vsession *vs, CK_OBJECT_HANDLE key);

#endif

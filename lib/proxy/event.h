/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for slot events without being inside the vendor's module.
 */
#ifndef HP_PROXY_EVENT_H
#define HP_PROXY_EVENT_H

/* C_Finalize: those who wait return. */
void hp_events_wake(void);
/* In a forked child. */
void hp_events_renew_lock(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All modules of this process, and what fork does to them.
 *
 * Owns: the list, its lock, the fork handlers. An entry is never unlinked or freed: a
 * forked child makes new ones, the inherited ones stay foreign for ever. The list's
 * lock is held for moments only, never over a module's call.
 */
#ifndef HP_P11_REGISTRY_H
#define HP_P11_REGISTRY_H

#include "p11/module.h"

/*
 * Have the fork handlers registered: the first before any module is loaded, and the
 * second after each new one was loaded and initialised, for prepare handlers run
 * last-registered first, and ours must close the gate before a handler of the module's
 * takes the module's locks. Nested runs of ours count as one. False: no memory. With the
 * change lock held.
 */
bool hp_registry_watch_forks(void);
bool hp_registry_watch_forks_again(void);

void hp_registry_lock(void);
void hp_registry_unlock(void);

/* With the lock held: */
void hp_registry_add(struct hp_module *module);
/* The entry of this process, or NULL. */
struct hp_module *hp_registry_find(const void *dl);
/* The youngest entry that an ancestor left behind, or NULL. */
struct hp_module *hp_registry_find_inherited(const void *dl);

/*
 * Opening and closing modules, one at a time, in all copies of us in this process: held
 * over the module's own C_Initialize and C_Finalize, so the wait for it is bounded.
 * False: another thread hangs there. Taken before the registry's lock.
 */
bool hp_registry_begin_change(void);
void hp_registry_end_change(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All copies of hsmpool in this process, and which modules they use.
 *
 * A program may load hsmpool-pkcs11.so by its path and, as another file, through p11-kit,
 * or link libhsmpool beside it. Each copy has its own variables, but the vendor's module
 * is one: whoever finalises it ends it for all, and crashes those who are inside. So the
 * copies share one table of who uses what, and only the last user finalises.
 *
 * A forked child's table is empty: the parent's uses are not its own.
 */
#ifndef HP_P11_INSTANCES_H
#define HP_P11_INSTANCES_H

#include <pthread.h>
#include <stdbool.h>
#include <p11-kit/pkcs11.h>

/* Held over C_Initialize, C_Finalize and all of what follows: the change lock of the
 * registry, one for all copies. Recursive: that module may be a copy itself. */
pthread_mutex_t *hp_instances_lock(void);

/* How many copies use the module. */
unsigned hp_instances_users(const CK_FUNCTION_LIST *fl);
/* One more, and one less. */
void hp_instances_join(const CK_FUNCTION_LIST *fl);
void hp_instances_leave(const CK_FUNCTION_LIST *fl);

/* Is there a copy of hsmpool in the program or library that the function is of? Its own
 * calls, nested in those of the copy that has it as its module, take turns, and have
 * files of their own, so that one does not wait for the other. */
bool hp_instances_has_copy(const void *function);

/* In a forked child: the lock is free, and nobody uses anything. */
void hp_instances_renew_in_child(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which process is this? Fork detection without a system call per use.
 *
 * A page with MADV_WIPEONFORK holds the process's epoch; in a forked child, also one
 * made by a raw clone that runs no atfork handlers, it reads zero and a new epoch is
 * drawn. An object remembers the epoch it was made in and is foreign in any other.
 */
#ifndef HP_BASE_PROCESS_H
#define HP_BASE_PROCESS_H

#include <stdint.h>

/* Never 0. One load in the good case. Thread-safe. */
uint64_t hp_process_epoch(void);

#endif

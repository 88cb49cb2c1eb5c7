/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One vendor module in this process, and the gate that every call into it passes.
 *
 * Owns: dlopen, C_Initialize, C_Finalize, the gate. A module is one per path and
 * process, shared by reference among pools. Only lib/p11 calls through fl.
 *
 * The gate is a reader/writer barrier: a call enters as a reader (one atomic add on
 * its own cache line), fork's prepare handler and re-initialisation as the writer, who
 * waits a bounded time for readers to leave and otherwise lets them go on. A thread
 * that is inside a call when it forks (a callback of the module) passes without it.
 * The gate is never entered with a pool's lock held.
 */
#ifndef HP_P11_MODULE_H
#define HP_P11_MODULE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <hsmpool/status.h>
#include <p11-kit/pkcs11.h>
#include "p11/rv.h"

#define HP_GATE_SHARDS 32

struct hp_gate {
	struct {
		_Alignas(64) _Atomic uint32_t inside;
	} shard[HP_GATE_SHARDS];
	_Alignas(64) _Atomic uint32_t closed; /* a writer waits or is in */
};

struct hp_module {
	CK_FUNCTION_LIST *fl;
	struct hp_gate gate;
	pthread_mutex_t serial; /* held over each call if is_serialised: a leaf lock */
	bool is_serialised;     /* the module refused CKF_OS_LOCKING_OK */
	bool is_ours;           /* we initialised it, so we may finalise it */
	bool is_poisoned;       /* forked with a call inside: never call it again */
	CK_INFO info;
	struct hp_rv_overrides overrides;
	char *path;
	uint64_t epoch;   /* hp_process_epoch() of C_Initialize */
	unsigned references; /* guarded by the registry's lock in module.c */
	void *dl;
	struct hp_module *next;
};

/*
 * hp_module_open - load and initialise, or share, the module.
 *
 * name_or_path: a path, or the NAME of a p11-kit NAME.module file. env: "NAME=value"
 * set before loading if NAME is not set yet, or NULL. A module that loads ourselves is
 * refused. overrides are those of the first opener.
 *
 * CKR_CRYPTOKI_ALREADY_INITIALIZED in the process that never forked since: someone
 * else in the process uses it; we use it too and do not finalise it. In a forked child
 * whose parent's instance was ours: C_Finalize and C_Initialize.
 */
hsmpool_status hp_module_open(struct hp_module **out, const char *name_or_path,
			      const char *env, const struct hp_rv_overrides *overrides,
			      hsmpool_error *err);

/* Drop the reference; the last one finalises what is ours, unless a call is stuck
 * inside (after a bounded wait) or this is a forked child. Never dlcloses. */
void hp_module_close(struct hp_module **module);

/* Enter and leave, on the shard of the session. Enter returns false (and has not
 * entered) only when the module is poisoned or foreign to this process. */
bool hp_gate_enter_slow(struct hp_module *module, unsigned shard);
void hp_gate_leave_slow(struct hp_module *module, unsigned shard);

/* The file that a module name or path stands for, malloc()ed. */
hsmpool_status hp_module_resolve(const char *name_or_path, char **path,
				 hsmpool_error *err);

#endif

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
#include "p11/interface.h"
#include "p11/rv.h"

#define HP_GATE_SHARDS 32
#define HP_GATE_PLACES 256 /* for who stays inside beyond a call */

/* Its functions: p11/gate.h. */
struct hp_gate {
	struct {
		_Alignas(64) _Atomic uint32_t inside;
	} shard[HP_GATE_SHARDS];
	_Alignas(64) _Atomic uint32_t closed; /* a writer waits or is in */
	pthread_mutex_t writer; /* held from close to open; readers queue on it */
	_Atomic(void *) holder; /* the writer's hp_gate_thread, to know it by */
	_Atomic(void *) stayers[HP_GATE_PLACES]; /* the hp_gate_threads of who stays */
	pthread_mutex_t drain_lock; /* a leaf; with drained, wakes the writer */
	pthread_cond_t drained;
};

struct hp_module {
	CK_FUNCTION_LIST *fl;
	hp_cancel_fn cancel; /* C_SessionCancel of a 3.x module, or NULL */
	struct hp_gate gate;
	pthread_mutex_t serial; /* held over each call if is_serialised: a leaf lock */
	bool is_serialised;     /* the module refused CKF_OS_LOCKING_OK */
	bool is_hsmpool;        /* another copy of us, over a vendor's module */
	bool has_handlers;      /* of ours for forks, registered after its own */
	/* Changed inside the gate only, so a fork sees them as the module is. */
	bool is_initialised;
	bool is_ours;               /* we initialised it */
	bool can_create_no_threads; /* as hp_module_start */
	bool had_reserved;
	_Atomic bool
		is_managed; /* we or another copy of us: its last user finalises it */
	bool is_poisoned;   /* forked with a call inside: never call it again */
	/* What fork's prepare handler did here; guarded by the registry's lock. */
	enum { HP_FORK_PASSED, HP_FORK_CLOSED, HP_FORK_TIMED_OUT } fork;
	bool is_hanging;  /* a fork waited in vain: the next ones hardly wait */
	bool was_at_rest; /* in a child: its parent's gate was closed over the fork */
	CK_INFO info;
	struct hp_rv_overrides overrides;
	char *path;
	uint64_t epoch;      /* hp_process_epoch() of C_Initialize */
	unsigned references; /* guarded by the registry's lock */
	void *dl;
	struct hp_module *next; /* in the registry; never unlinked, never freed */
};

/*
 * hp_module_open - load and initialise, or share, the module.
 *
 * name_or_path: a path, or the NAME of a p11-kit NAME.module file. env: "NAME=value"
 * set before loading if NAME is not set yet, or NULL. A module that loads ourselves is
 * refused. overrides are those of the first opener.
 *
 * CKR_CRYPTOKI_ALREADY_INITIALIZED in the process that never forked since: someone
 * else in the process uses it; we use it too and do not finalise it, unless that is
 * another copy of us (p11/instances.h), which is gone before we are. In a forked child
 * whose parent's instance was ours: C_Finalize and C_Initialize.
 */
hsmpool_status hp_module_open(struct hp_module **out, const char *name_or_path,
			      const char *env, const struct hp_rv_overrides *overrides,
			      hsmpool_error *err);

/* What an application gave to its own C_Initialize, for the module's. */
struct hp_module_start {
	void *reserved; /* goes through untouched */
	bool can_create_no_threads;
};

/* The same for an application that initialises; start may be NULL. err->ck_rv is the
 * module's answer if it refused. */
hsmpool_status hp_module_open_as(struct hp_module **out, const char *name_or_path,
				 const char *env, const struct hp_rv_overrides *overrides,
				 const struct hp_module_start *start, hsmpool_error *err);

/* Drop the reference; the last one finalises what is managed by us, unless another copy
 * of us uses it, a call is stuck inside (after a bounded wait) or this is a forked child.
 * Never dlcloses. */
void hp_module_close(struct hp_module **module);

/*
 * Finalise and initialise anew, for who opened the module alone and has no sessions
 * yet: some modules look for tokens only when they start. False, and nothing was done:
 * others use it too, or a call hangs inside. After OK or an error it was tried.
 */
bool hp_module_restart(struct hp_module *module, hsmpool_status *status,
		       hsmpool_error *err);

/*
 * Finalise and initialise anew a module whose users have come to rest: no session is lent
 * or will be touched again. The gate is closed over both, so no call crosses; that is
 * waited for only for a moment. *was_tried: C_Finalize was called, so that nothing is
 * left of before, whatever came after.
 *
 * HSMPOOL_ERR_UNSUPPORTED  it is not ours alone to finalise, or was initialised with
 *                          an application's own parameters, which cannot be repeated
 * HSMPOOL_ERR_BUSY         a call is inside
 */
hsmpool_status hp_module_renew(struct hp_module *module, bool *was_tried,
			       hsmpool_error *err);

/*
 * The file that a module name or path stands for, malloc()ed. A name is looked up as
 * p11-kit does it: NAME.module in the user's (not for root, not in set-user-id
 * programs), then the system's, then the packages' folder. "NAME.so" without a folder
 * is one in p11-kit's module folder, else left to dlopen's own search.
 */
hsmpool_status hp_module_resolve(const char *name_or_path, char **path,
				 hsmpool_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls on a thread of the session's own, for the option call-timeout.
 *
 * A worker is a thread that makes the module calls of one session while their caller
 * waits, at most for the timeout. It works on copies only (p11/guarded.c makes them), so
 * a call that returns late writes into memory that is still the worker's. Once a call was
 * given up its session is abandoned: every further call on it is refused with
 * CKR_FUNCTION_CANCELED, its owner leaves it to the worker, and the worker settles what
 * was done late.
 *
 * The task is its poster's until it is posted and again when it is done; one that was
 * given up is the worker's. worker->lock guards the state and is a leaf.
 */
#ifndef HP_P11_WORKER_H
#define HP_P11_WORKER_H

#include "base/secret.h"
#include "p11/parameters.h"
#include "p11/session.h"

/* What a late success may have left behind. */
enum hp_task_kind {
	HP_TASK_PLAIN,  /* nothing but the session */
	HP_TASK_OPEN,   /* a session: handle[0] */
	HP_TASK_CLOSE,  /* no session */
	HP_TASK_LOGIN,  /* user is logged in, with secret[0] */
	HP_TASK_CREATE, /* objects: handle[] */
};

struct hp_bytes_copy {
	CK_BYTE *data;
	CK_ULONG len;
};

/* One call: its function, and copies of its arguments. */
struct hp_task {
	CK_RV (*run)(struct hp_task *task);
	struct hp_module *module;
	CK_SESSION_HANDLE session;
	CK_SLOT_ID slot;
	enum hp_task_kind kind;
	CK_RV rv;
	struct hp_bytes_copy in[2], out;
	bool has_out_len;
	CK_ATTRIBUTE *template[2];
	CK_ULONG count[2];
	CK_MECHANISM *mechanism;
	CK_OBJECT_HANDLE key[2];    /* goes in */
	CK_OBJECT_HANDLE handle[2]; /* comes out */
	unsigned handles;           /* of them */
	CK_USER_TYPE user;
	CK_FLAGS flags;
	struct hp_secret *secret[2];
	union {
		CK_SESSION_INFO session;
		CK_TOKEN_INFO token;
	} info;
	/* Memory of the copies: small ones in room, others each in a piece. */
	size_t used;
	struct hp_task_piece *pieces;
	_Alignas(16) CK_BYTE room[4096];
};

/* What is left of a task that was given up and has returned. */
struct hp_late_result {
	enum hp_task_kind kind;
	CK_RV rv;
	CK_OBJECT_HANDLE handle[2];
	unsigned handles;
	CK_USER_TYPE user;
	struct hp_secret *secret; /* the receiver's to take; freed if it is left */
};

/* Runs on the worker's thread, which owns s now: calls on it are made directly. */
typedef void (*hp_settle_fn)(struct hp_session *s, struct hp_late_result *late);

/* NULL: no memory or no thread. */
struct hp_worker *hp_worker_start(int64_t timeout_ns, hp_settle_fn settle);
/* Ends and joins an idle one. */
void hp_worker_stop(struct hp_worker **worker);
/* In a forked child: the memory only; the thread stayed with the parent. */
void hp_worker_forget(struct hp_worker **worker);

/* An abandoned session's owner is done with it. From here on it is the worker's, which
 * may have settled everything before this returns. */
void hp_worker_take_over(struct hp_session *s);

/* --- for p11/guarded.c -------------------------------------------------------------- */
/* The session's task, cleared; NULL: the session is abandoned. */
struct hp_task *hp_task_begin(struct hp_session *s, CK_RV (*run)(struct hp_task *task));
/* Memory for a copy, or NULL. */
void *hp_task_take(struct hp_task *task, size_t len);
/* Run it on the worker. If s->is_abandoned afterwards the task is not to be touched. */
CK_RV hp_task_do(struct hp_session *s, struct hp_task *task);
/* Wipe all copies. */
void hp_task_clear(struct hp_task *task);
/* A copy of m, or NULL if it cannot be made faithfully. Modules may look at parameters,
 * and write into them, until the operation ends: it is kept as long as one is active. */
CK_MECHANISM *hp_worker_copy_mechanism(struct hp_session *s, const CK_MECHANISM *m);
/* Hand back to m what the call has written into its copy, the last that was made. */
void hp_worker_give_mechanism(struct hp_session *s, CK_MECHANISM *m);

#endif

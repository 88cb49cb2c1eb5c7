/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's thread, and handing calls to it.
 *
 * Owns: the task and all memory that the module gets to see. Must not: know any function
 * of PKCS#11, or what a late result means.
 */
#include "p11/worker.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "base/time.h"
#include "p11/gate.h"

/* Larger copies are refused: the call is then made by its caller. */
#define MOST_TAKEN (64ul << 20)

enum worker_state {
	IDLE,     /* waits for a task */
	POSTED,   /* a task, not begun */
	RUNNING,  /* inside the module; the poster waits */
	DONE,     /* the poster has not seen it yet */
	GIVEN_UP, /* posted or inside the module; nobody waits for it any more */
	LEFT,     /* the same, and its session is the worker's by now */
	STOPPED,
};

struct hp_worker {
	pthread_t thread;
	int64_t timeout_ns;
	hp_settle_fn settle;
	struct hp_session *session; /* of the task */
	struct hp_task task;
	struct kept_mechanism *mechanisms; /* the newest first; as the task */
	pthread_mutex_t lock;
	/* guarded by lock */
	enum worker_state state;
	pthread_cond_t changed; /* the worker's */
	pthread_cond_t done;    /* the poster's */
};

struct hp_task_piece {
	struct hp_task_piece *next;
	size_t len;
	_Alignas(16) CK_BYTE data[];
};

/* --- the task's memory -------------------------------------------------------------- */

void *hp_task_take(struct hp_task *task, size_t len)
{
	size_t padded = (len + 15) & ~(size_t)15;
	if (len <= sizeof(task->room) && padded <= sizeof(task->room) - task->used) {
		void *taken = task->room + task->used;
		task->used += padded;
		return taken;
	}
	struct hp_task_piece *piece =
		len <= MOST_TAKEN ? malloc(sizeof(*piece) + len) : NULL;
	if (!piece)
		return NULL;
	piece->len = len;
	piece->next = task->pieces;
	task->pieces = piece;
	return piece->data;
}

void hp_task_clear(struct hp_task *task)
{
	hp_wipe(task->room, task->used);
	task->used = 0;
	while (task->pieces) {
		struct hp_task_piece *piece = task->pieces;
		task->pieces = piece->next;
		hp_wipe(piece->data, piece->len);
		free(piece);
	}
	hp_secret_free(&task->secret[0]);
	hp_secret_free(&task->secret[1]);
}

/* --- parameters, which outlast a call ------------------------------------------- */

struct kept_mechanism {
	struct hp_mechanism_copy copy;
	struct kept_mechanism *next;
};

static void drop_mechanisms(struct hp_worker *worker)
{
	while (worker->mechanisms) {
		struct kept_mechanism *kept = worker->mechanisms;
		worker->mechanisms = kept->next;
		hp_mechanism_copy_wipe(&kept->copy);
		free(kept);
	}
}

CK_MECHANISM *hp_worker_copy_mechanism(struct hp_session *s, const CK_MECHANISM *m)
{
	struct hp_worker *worker = s->worker;
	if (s->active == 0)
		drop_mechanisms(worker);
	struct kept_mechanism *kept = calloc(1, sizeof(*kept));
	if (!kept)
		return NULL;
	kept->next = worker->mechanisms;
	worker->mechanisms = kept;
	hp_mechanism_copy(&kept->copy, m);
	return kept->copy.is_faithful ? &kept->copy.ck : NULL;
}

void hp_worker_give_mechanism(struct hp_session *s, CK_MECHANISM *m)
{
	if (m && s->worker->mechanisms)
		hp_mechanism_give_back(&s->worker->mechanisms->copy, m);
}

/* --- the thread ----------------------------------------------------------------- */

static CK_RV run_inside_gate(struct hp_worker *worker)
{
	struct hp_task *task = &worker->task;
	struct hp_session *s = worker->session;
	if (!hp_call_begin(task->module, s->shard))
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	atomic_store_explicit(&s->call_since_ns, hp_now_coarse_ns(),
			      memory_order_relaxed);
	CK_RV rv = task->run(task);
	atomic_store_explicit(&s->call_since_ns, 0, memory_order_relaxed);
	hp_call_end(task->module, s->shard);
	return rv;
}

static struct hp_late_result take_late_result(struct hp_task *task)
{
	struct hp_late_result late = {
		.kind = task->kind,
		.rv = task->rv,
		.handle = { task->handle[0], task->handle[1] },
		.handles = task->handles,
		.user = task->user,
		.secret = task->secret[0],
	};
	task->secret[0] = NULL;
	hp_task_clear(task);
	return late;
}

/* Ready for the next task before the session is given away: its next owner may post one
 * while this thread is still on its way back. */
static void settle_locked(struct hp_worker *worker)
{
	struct hp_session *s = worker->session;
	struct hp_late_result late = take_late_result(&worker->task);
	drop_mechanisms(worker);
	worker->state = IDLE;
	pthread_mutex_unlock(&worker->lock);
	s->is_abandoned = false;
	s->hangs_in_login = false;
	s->worker = NULL;
	worker->settle(s, &late);
	hp_secret_free(&late.secret);
	pthread_mutex_lock(&worker->lock);
}

static void *run_worker(void *argument)
{
	struct hp_worker *worker = argument;
	pthread_mutex_lock(&worker->lock);
	while (worker->state != STOPPED) {
		bool is_posted = worker->state == POSTED;
		if (!is_posted) {
			pthread_cond_wait(&worker->changed, &worker->lock);
			continue;
		}
		worker->state = RUNNING;
		pthread_mutex_unlock(&worker->lock);
		CK_RV rv = run_inside_gate(worker);
		hp_wipe_registers();
		pthread_mutex_lock(&worker->lock);
		worker->task.rv = rv;
		if (worker->state == RUNNING) {
			worker->state = DONE;
			pthread_cond_signal(&worker->done);
			continue;
		}
		while (worker->state == GIVEN_UP)
			pthread_cond_wait(&worker->changed, &worker->lock);
		settle_locked(worker);
	}
	pthread_mutex_unlock(&worker->lock);
	return NULL;
}

/* --- the poster ----------------------------------------------------------------- */

struct hp_task *hp_task_begin(struct hp_session *s, CK_RV (*run)(struct hp_task *task))
{
	if (s->is_abandoned)
		return NULL;
	struct hp_task *task = &s->worker->task;
	memset(task, 0, offsetof(struct hp_task, room));
	task->run = run;
	task->module = s->module;
	task->session = s->handle;
	task->slot = s->slot;
	return task;
}

/* The operation's own deadline comes first, unless it has passed already: then it was
 * one for the wait only. */
static int64_t find_deadline(const struct hp_session *s)
{
	int64_t now = hp_now_ns();
	int64_t deadline_ns = hp_time_add(now, s->worker->timeout_ns);
	return s->cut_ns > now && s->cut_ns < deadline_ns ? s->cut_ns : deadline_ns;
}

CK_RV hp_task_do(struct hp_session *s, struct hp_task *task)
{
	struct hp_worker *worker = s->worker;
	int64_t deadline_ns = find_deadline(s);
	bool is_in_time = true;
	enum hp_task_kind kind = task->kind;
	pthread_mutex_lock(&worker->lock);
	worker->session = s;
	worker->state = POSTED;
	pthread_cond_signal(&worker->changed);
	while (worker->state != DONE && is_in_time)
		is_in_time =
			hp_cond_wait_until(&worker->done, &worker->lock, deadline_ns);
	bool is_done = worker->state == DONE;
	bool is_running = worker->state == RUNNING;
	worker->state = is_running ? GIVEN_UP : IDLE; /* not begun: it never will be */
	pthread_mutex_unlock(&worker->lock);
	s->is_abandoned = is_running;
	s->hangs_in_login = is_running && kind == HP_TASK_LOGIN;
	return is_done ? task->rv : CKR_FUNCTION_CANCELED;
}

void hp_worker_take_over(struct hp_session *s)
{
	struct hp_worker *worker = s->worker;
	pthread_mutex_lock(&worker->lock);
	worker->state = LEFT;
	pthread_cond_signal(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
}

/* --- life ----------------------------------------------------------------------- */

struct hp_worker *hp_worker_start(int64_t timeout_ns, hp_settle_fn settle)
{
	struct hp_worker *worker = calloc(1, sizeof(*worker));
	sigset_t all, before;
	if (!worker)
		return NULL;
	worker->timeout_ns = timeout_ns;
	worker->settle = settle;
	pthread_mutex_init(&worker->lock, NULL);
	hp_cond_init(&worker->changed);
	hp_cond_init(&worker->done);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int failure = pthread_create(&worker->thread, NULL, run_worker, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failure) {
		free(worker);
		return NULL;
	}
	return worker;
}

void hp_worker_stop(struct hp_worker **worker_pointer)
{
	struct hp_worker *worker = *worker_pointer;
	*worker_pointer = NULL;
	if (!worker)
		return;
	pthread_mutex_lock(&worker->lock);
	worker->state = STOPPED;
	pthread_cond_signal(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
	pthread_join(worker->thread, NULL);
	drop_mechanisms(worker);
	pthread_cond_destroy(&worker->changed);
	pthread_cond_destroy(&worker->done);
	pthread_mutex_destroy(&worker->lock);
	free(worker);
}

void hp_worker_forget(struct hp_worker **worker)
{
	if (!*worker)
		return;
	hp_task_clear(&(*worker)->task);
	drop_mechanisms(*worker);
	free(*worker);
	*worker = NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two background threads of the process: keeper and prober.
 *
 * The keeper looks at every pool at its tick and decides; it makes no module call. The
 * prober does what needs one, a job at a time. Both exist only while a pool is open
 * that wants them, with all signals blocked. A forked child has neither: its list of
 * pools is emptied, and threads start with the first pool it opens. A prober that
 * hangs in a module is left to itself, and another takes over its work. Between two looks
 * the keeper waits, or serves its guest (keeper.h).
 *
 * keeper.lock is not held while a pool is looked at or a job done; a pool that is being
 * looked at is not removed from the list until that is over.
 */
#include "pool/keeper.h"

#include "pool/internal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "observe/log.h"
#include "observe/metrics_file.h"

static struct {
	pthread_mutex_t lock;
	/* guarded by lock, all below */
	pthread_cond_t kick;   /* the keeper's: look now, or stop */
	pthread_cond_t job;    /* the prober's */
	pthread_cond_t looked; /* looking_at changed */
	hsmpool *pools;        /* by next_kept */
	hsmpool *looking_at;
	struct hsmpool_session *jobs, **last_job; /* FIFO by next_job */
	bool is_running;
	bool is_leaving; /* the keeper of the life before has not ended yet */
	bool is_kicked;
	bool is_exiting;       /* the process: nothing is decided any more */
	uint64_t life;         /* threads of an earlier life end */
	uint64_t prober;       /* likewise for probers that were replaced */
	uint32_t members;      /* pools from hp_keeper_add() to _rest() */
	int64_t busy_since_ns; /* the prober does a job; else 0 */
	int64_t patience_ns;   /* how long it may take */
	uint64_t round;
	const struct hp_keeper_guest *guest; /* NULL: none */
	bool is_serving;                     /* the keeper is the guest's now */
	pthread_t keeper_thread, prober_thread;
} keeper = { .lock = PTHREAD_MUTEX_INITIALIZER };

static pthread_once_t prepare_once = PTHREAD_ONCE_INIT;

static void init_conditions(void)
{
	hp_cond_init(&keeper.kick);
	hp_cond_init(&keeper.job);
	hp_cond_init(&keeper.looked);
	keeper.last_job = &keeper.jobs;
}

static void forget_all_in_child(void)
{
	const struct hp_keeper_guest *guest = keeper.guest;
	memset(&keeper, 0, sizeof keeper);
	pthread_mutex_init(&keeper.lock, NULL);
	init_conditions();
	keeper.guest = guest;
	if (guest)
		guest->abandon();
}

static void prepare(void)
{
	init_conditions();
	pthread_atfork(NULL, NULL, forget_all_in_child);
}

/* --- the keeper --------------------------------------------------------------------- */

static void queue_jobs_locked(struct hsmpool_session *jobs)
{
	while (jobs) {
		struct hsmpool_session *e = jobs;
		jobs = e->next_job;
		e->next_job = NULL;
		*keeper.last_job = e;
		keeper.last_job = &e->next_job;
		pthread_cond_signal(&keeper.job);
	}
}

/* The list may change while a pool is looked at: those seen carry the round's number. */
static hsmpool *next_unseen_locked(void)
{
	hsmpool *pool = keeper.pools;
	while (pool && pool->kept_round == keeper.round)
		pool = pool->next_kept;
	if (pool)
		pool->kept_round = keeper.round;
	return pool;
}

static void *run_prober(void *number);

static int start_prober_locked(void)
{
	keeper.busy_since_ns = 0;
	void *number = (void *)(uintptr_t)++keeper.prober;
	return pthread_create(&keeper.prober_thread, NULL, run_prober, number);
}

/* A job that lasts longer than stuck-after hangs. The new thread has our signal mask:
 * all blocked. */
static void replace_hung_prober_locked(int64_t now)
{
	if (keeper.busy_since_ns == 0 || now - keeper.busy_since_ns <= keeper.patience_ns)
		return;
	pthread_t hung = keeper.prober_thread;
	int64_t since = keeper.busy_since_ns;
	if (start_prober_locked() == 0) {
		pthread_detach(hung);
	} else {
		keeper.prober--; /* the old one stays in office */
		keeper.prober_thread = hung;
		keeper.busy_since_ns = since;
	}
}

/* Each pool once, unlocked meanwhile; on the keeper's thread. */
static void visit_all_locked(void (*visit)(hsmpool *pool, void *user), void *user)
{
	keeper.round++;
	for (hsmpool *pool; (pool = next_unseen_locked());) {
		keeper.looking_at = pool;
		pthread_mutex_unlock(&keeper.lock);
		visit(pool, user);
		pthread_mutex_lock(&keeper.lock);
		keeper.looking_at = NULL;
		pthread_cond_broadcast(&keeper.looked);
	}
}

void hp_keeper_visit(void (*visit)(hsmpool *pool, void *user), void *user)
{
	pthread_mutex_lock(&keeper.lock);
	visit_all_locked(visit, user);
	pthread_mutex_unlock(&keeper.lock);
}

/* *tick: the soonest that one of them asks for. */
static void look_after(hsmpool *pool, void *tick)
{
	struct hsmpool_session *jobs = hp_upkeep_decide(pool, hp_now_ns());
	int64_t its_tick = hp_upkeep_tick(pool);
	if (its_tick < *(int64_t *)tick)
		*(int64_t *)tick = its_tick;
	pthread_mutex_lock(&keeper.lock);
	queue_jobs_locked(jobs);
	pthread_mutex_unlock(&keeper.lock);
}

/* Until then, or a kick; false when the time has come. */
static bool wait_locked(int64_t until_ns)
{
	const struct hp_keeper_guest *guest = keeper.guest;
	if (!guest || !guest->is_ready())
		return hp_cond_wait_until(&keeper.kick, &keeper.lock, until_ns);
	keeper.is_serving = true;
	pthread_mutex_unlock(&keeper.lock);
	guest->serve(until_ns);
	pthread_mutex_lock(&keeper.lock);
	keeper.is_serving = false;
	return hp_now_ns() < until_ns;
}

/* Unlocked meanwhile. */
static void write_metrics_locked(void)
{
	pthread_mutex_unlock(&keeper.lock);
	hp_metrics_files_write(hp_now_ns());
	pthread_mutex_lock(&keeper.lock);
}

static void *run_keeper(void *life_of_mine)
{
	uint64_t life = (uint64_t)(uintptr_t)life_of_mine;
	pthread_mutex_lock(&keeper.lock);
	while (keeper.life == life) {
		int64_t tick = HP_SECOND;
		keeper.is_kicked = false;
		replace_hung_prober_locked(hp_now_ns());
		if (!keeper.is_exiting)
			visit_all_locked(look_after, &tick);
		write_metrics_locked();
		int64_t next = hp_now_ns() + tick;
		while (keeper.life == life && !keeper.is_kicked && wait_locked(next))
			;
	}
	keeper.is_leaving = false;
	pthread_cond_broadcast(&keeper.looked);
	pthread_mutex_unlock(&keeper.lock);
	return NULL;
}

static void wake_keeper_locked(void)
{
	pthread_cond_broadcast(&keeper.kick);
	if (keeper.is_serving)
		keeper.guest->wake();
}

static void kick_locked(void)
{
	if (!keeper.is_kicked)
		wake_keeper_locked();
	keeper.is_kicked = true;
}

void hp_keeper_invite(const struct hp_keeper_guest *guest)
{
	pthread_once(&prepare_once, prepare);
	pthread_mutex_lock(&keeper.lock);
	keeper.guest = guest;
	kick_locked();
	pthread_mutex_unlock(&keeper.lock);
}

void hp_keeper_wake(void)
{
	pthread_once(&prepare_once, prepare);
	pthread_mutex_lock(&keeper.lock);
	kick_locked();
	pthread_mutex_unlock(&keeper.lock);
}

/* --- the end of the process ----------------------------------------------------------
 */

/* exit() runs what was registered last first, so this before the destructors of the
 * modules that were loaded by then: nobody of ours is to be inside one of them when its
 * state goes. What is under way or queued is finished; nothing new is decided. */
static void rest_at_exit(void)
{
	int64_t until = hp_now_ns() + HP_SECOND;
	if (!hp_mutex_lock_until(&keeper.lock, until))
		return;
	keeper.is_exiting = true;
	while ((keeper.jobs || keeper.busy_since_ns || keeper.looking_at) &&
	       hp_cond_wait_until(&keeper.looked, &keeper.lock, until))
		;
	pthread_mutex_unlock(&keeper.lock);
}

/* Once for each module there ever was: they stay loaded. */
static void watch_exit_locked(const struct hp_module *module)
{
	struct watched {
		const void *dl;
		struct watched *next;
	};
	static struct watched *all; /* guarded by keeper.lock */
	struct watched *one = all;
	while (one && one->dl != module->dl)
		one = one->next;
	if (one || !(one = malloc(sizeof *one)))
		return;
	*one = (struct watched){ module->dl, all };
	all = one;
	atexit(rest_at_exit);
}

/* --- the prober --------------------------------------------------------------------- */

static struct hsmpool_session *next_job_locked(void)
{
	struct hsmpool_session *e = keeper.jobs;
	if (!e)
		return NULL;
	keeper.jobs = e->next_job;
	if (!keeper.jobs)
		keeper.last_job = &keeper.jobs;
	e->next_job = NULL;
	return e;
}

static void *run_prober(void *number)
{
	uint64_t self = (uint64_t)(uintptr_t)number;
	pthread_mutex_lock(&keeper.lock);
	while (keeper.prober == self) {
		struct hsmpool_session *e = next_job_locked();
		if (!e) {
			pthread_cond_wait(&keeper.job, &keeper.lock);
			continue;
		}
		keeper.busy_since_ns = hp_now_ns();
		keeper.patience_ns = e->pool->live.stuck_after;
		pthread_mutex_unlock(&keeper.lock);
		hp_upkeep_do(e);
		pthread_mutex_lock(&keeper.lock);
		if (keeper.prober == self)
			keeper.busy_since_ns = 0;
		pthread_cond_broadcast(&keeper.looked);
		kick_locked(); /* the next one that is due need not wait for the tick */
	}
	pthread_mutex_unlock(&keeper.lock);
	return NULL;
}

/* --- life --------------------------------------------------------------------------- */

static int start_threads_locked(void)
{
	sigset_t all, before;
	sigfillset(&all);
	void *life = (void *)(uintptr_t)++keeper.life;
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int failure = start_prober_locked();
	if (failure == 0) {
		failure = pthread_create(&keeper.keeper_thread, NULL, run_keeper, life);
		if (failure != 0) {
			keeper.prober++;
			pthread_cond_broadcast(&keeper.job);
			pthread_detach(keeper.prober_thread);
		}
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	keeper.is_running = failure == 0;
	return failure;
}

hsmpool_status hp_keeper_add(hsmpool *pool, hsmpool_error *err)
{
	pthread_once(&prepare_once, prepare);
	pthread_mutex_lock(&keeper.lock);
	watch_exit_locked(pool->module);
	while (keeper.is_leaving) /* there is one at a time */
		pthread_cond_wait(&keeper.looked, &keeper.lock);
	int failure = keeper.is_running ? 0 : start_threads_locked();
	if (failure == 0) {
		pool->next_kept = keeper.pools;
		keeper.pools = pool;
		pool->is_kept = true;
		keeper.members++;
		kick_locked();
	}
	pthread_mutex_unlock(&keeper.lock);
	if (failure)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, failure,
				     "start the pool's background threads");
	return HSMPOOL_OK;
}

void hp_keeper_remove(hsmpool *pool)
{
	pthread_once(&prepare_once, prepare);
	pthread_mutex_lock(&keeper.lock);
	hsmpool **link = &keeper.pools;
	while (*link && *link != pool)
		link = &(*link)->next_kept;
	if (*link)
		*link = pool->next_kept;
	while (keeper.looking_at == pool)
		pthread_cond_wait(&keeper.looked, &keeper.lock);
	pthread_mutex_unlock(&keeper.lock);
}

/* What is queued still belongs to pools that were left behind because something hangs
 * in them: nobody waits for it. */
static void dismiss_threads_locked(void)
{
	keeper.life++;
	keeper.prober++;
	keeper.is_running = false;
	keeper.is_leaving = true;
	keeper.jobs = NULL;
	keeper.last_job = &keeper.jobs;
	wake_keeper_locked();
	pthread_cond_broadcast(&keeper.job);
}

/* The end of a job that is all but over; false if it is not. */
static bool await_prober_locked(void)
{
	int64_t until = hp_now_ns() + HP_SECOND;
	while (keeper.busy_since_ns && keeper.members == 0 &&
	       hp_cond_wait_until(&keeper.looked, &keeper.lock, until))
		;
	return keeper.busy_since_ns == 0;
}

/* Unless another pool was opened meanwhile, and its keeper has the guest. */
static void see_guest_off(void)
{
	pthread_mutex_lock(&keeper.lock);
	if (keeper.guest && !keeper.is_running)
		keeper.guest->leave();
	pthread_mutex_unlock(&keeper.lock);
}

void hp_keeper_rest(void)
{
	pthread_mutex_lock(&keeper.lock);
	keeper.members--;
	bool is_free = await_prober_locked();
	bool stops = keeper.is_running && keeper.members == 0;
	pthread_t keeper_thread = keeper.keeper_thread,
		  prober_thread = keeper.prober_thread;
	if (stops)
		dismiss_threads_locked();
	pthread_mutex_unlock(&keeper.lock);
	if (!stops)
		return;
	pthread_join(keeper_thread, NULL);
	if (is_free)
		pthread_join(prober_thread, NULL);
	else
		pthread_detach(prober_thread);
	see_guest_off();
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool's state, shared by the files of this room only.
 *
 * One mutex, pool->lock, guards everything marked so. It is held for a few dozen
 * instructions: never over a module call, a callback, a log line or an allocation.
 * Nothing is locked under it, and it is locked under nothing but a key's lock.
 * Functions named *_locked are called with it held.
 *
 * An entry that is USED, TESTING, OPENING or CLOSING belongs to one thread (borrower,
 * prober, opener, closer), which alone touches entry->session.
 */
#ifndef HP_POOL_INTERNAL_H
#define HP_POOL_INTERNAL_H

#include <pthread.h>
#include "base/secret.h"
#include "base/time.h"
#include "p11/uri.h"
#include "pool/latch.h"
#include "pool/live.h"
#include "pool/pool.h"

/* Where an entry is. Counted in pool->count[]. */
enum hp_entry_state {
	HP_ENTRY_EMPTY,   /* no real session: there is room to open one */
	HP_ENTRY_OPENING, /* its opener is in C_OpenSession; at most one per pool */
	HP_ENTRY_IDLE,    /* on the idle list, free to borrow */
	HP_ENTRY_USED,    /* lent to a borrower, or handed to a waiter that wakes up */
	/* Nobody is in a call on it, but an operation is active: its owner's to take up
	 * again, and anybody's who finds nothing better. */
	HP_ENTRY_ATTACHED,
	HP_ENTRY_TESTING, /* the prober is revalidating it */
	HP_ENTRY_CLOSING, /* on its way out, in C_CloseSession */
	HP_ENTRY_STATE_COUNT
};

/* Whether the token's user is logged in, as far as the pool knows. */
enum hp_login_state {
	HP_LOGIN_NONE,    /* no pin-source: sessions stay public */
	HP_LOGIN_OUT,     /* needed: the next borrower logs in */
	HP_LOGIN_RUNNING, /* one thread logs in, the others wait */
	HP_LOGIN_IN,
	HP_LOGIN_LATCHED, /* the PIN was refused: not tried again */
};

/* What was lost, and so what of the older generation may still be used. */
enum hp_loss {
	HP_LOSS_NONE,
	HP_LOSS_LOGIN,   /* sessions live; handles are stale; log in again */
	HP_LOSS_SESSION, /* others may be dead too: validate each before it is lent */
	HP_LOSS_TOKEN,   /* every session is dead: close them, find the token again */
};

/* Whether borrowers may hope for the token; breaker.c. */
enum hp_breaker_state {
	/* It answers, or has not failed for long: borrowers wait and try. */
	HP_BREAKER_CLOSED,
	/* It does nothing but fail: who comes is refused at once. */
	HP_BREAKER_OPEN,
	/* Likewise, while one thread looks whether it is back. */
	HP_BREAKER_HALF_OPEN,
};

/* What keeps sessions from being lent, as bits. */
enum {
	HP_HOLD_PAUSE = 1u << 0,   /* hsmpool_pause() */
	HP_HOLD_RESTART = 1u << 1, /* the module is about to be restarted */
};

/* Why a real session was closed. */
enum hp_close_reason {
	HP_CLOSE_IDLE,
	HP_CLOSE_LIFETIME,
	HP_CLOSE_BROKEN,
	HP_CLOSE_OTHER,
	HP_CLOSE_STUCK,    /* whatever the reason given: its call had hung */
	HP_CLOSE_SHUTDOWN, /* OTHER, while the pool is being closed */
	HP_CLOSE_REASON_COUNT
};

/* A C_Login with the pool's PIN, between its two entries in the latch. */
struct hp_login_try {
	struct hp_latch_turn turn;
	CK_FLAGS flags; /* of the token, before it */
};

struct hsmpool_session {
	struct hp_session session;     /* the owner's */
	struct hp_worker *worker;      /* with call-timeout, from the first opening on */
	bool has_pin_in_use;           /* the owner's: the pool's login runs on it */
	struct hp_login_try login_try; /* one that was given up: has not ended yet */
	hsmpool *pool;
	/* guarded by pool->lock */
	enum hp_entry_state state;
	bool is_anchor;
	/* Was seen inside one call for longer than stuck-after: dead when it returns, and
	 * meanwhile out of the way of the others. Counted in pool->stuck. */
	bool is_stuck;
	bool is_leak_reported; /* was warned about */
	bool is_probe_due;     /* in doubt, or hsmpool_validate() asked for it */
	bool is_visited;       /* USED, but it stays attached: HP_WANT_BESIDE */
	/* The module gave this session's handle out again: it is dead, and closing it
	 * would close the other one. */
	bool is_aliased;
	CK_SESSION_HANDLE known_handle; /* session.handle, while it is open */
	bool is_lent;                   /* to a borrower: the return is counted */
	int64_t opened_ns;
	int64_t retire_ns;     /* max-lifetime, jittered */
	int64_t last_ok_ns;    /* last proof of life: an operation or a probe */
	int64_t idle_since_ns; /* last return by a borrower */
	int64_t probe_ns;      /* revalidate-interval after last_ok_ns, jittered */
	int64_t borrowed_ns;
	const char *tag;
	int thread;                            /* the borrower's kernel thread id */
	uint64_t ticket;                       /* of the last lease */
	int64_t pinned_until_ns;               /* ATTACHED: not to be taken away before */
	int64_t kept_until_ns;                 /* nor before this, without need */
	struct hsmpool_session *newer, *older; /* idle list, or attached list */
	enum hp_close_reason close_reason;     /* of a CLOSING entry */
	struct hsmpool_session *next_job;      /* prober's queue, guarded by its lock */
};

/* A last_ok_ns that is older than any time. */
#define HP_NEVER_OK INT64_C(-1)

/* Entries by age: since their last return. */
struct hp_entry_list {
	struct hsmpool_session *newest, *oldest;
};

/* A thread in hp_pool_borrow() that has to wait; lives on its stack. */
struct hp_waiter {
	pthread_cond_t cond;
	int64_t since_ns;
	int64_t deadline_ns;
	enum hp_want want;
	const char *tag;
	int thread;
	bool is_queued;
	struct hsmpool_session *given; /* handed over: USED, in this waiter's name */
	/* When it looks at attached sessions, as the watcher; HP_FOREVER: not. */
	int64_t attached_wake_ns;
	struct hp_waiter *before, *after;
};

/* Guarded by pool->lock. */
struct hp_breaker {
	enum hp_breaker_state state;
	uint32_t failures; /* of the token, in a row */
	int64_t failing_since_ns;
	CK_RV reason; /* of the last failure; its text, if it had one */
	bool has_text;
	hsmpool_error error;
	int64_t opened_ns;
	int64_t next_probe_ns;   /* OPEN: when to try */
	int64_t next_wanted_ns;  /* and when somebody asks for it */
	int64_t trying_since_ns; /* HALF_OPEN */
	uint32_t probes_failed;  /* since it opened */
	bool is_wanted;          /* somebody was refused since the last try */
	bool must_tell;          /* the log does not know yet */
};

struct hsmpool {
	/* constant after open */
	struct hp_pool_options options;
	struct hp_module *module;
	uint64_t epoch;
	struct hsmpool_session *entries; /* entry_count of them, never moved */
	uint32_t entry_count;            /* max-sessions and stuck-reserve */
	struct hp_latch *latch;          /* what other processes know of the user's PIN */
	struct hp_audit *audit;          /* NULL: uses are not recorded */
	char audit_token[33];            /* the token's label, in its records */

	/* What is in force; NULL: everything is allowed. Replaced under lock, read by
	 * anyone. */
	struct hp_policy_set *_Atomic policies;

	struct hp_pool_live live; /* what of the options may change */

	pthread_mutex_t lock;
	/* guarded by lock, all below */
	int64_t tick_ns; /* how often upkeep looks */
	/* What the options were read from, and how they were changed then: NULL, NULL, or
	 * set before the pool is in use. */
	hsmpool_config *origin;
	hp_adapt_options adapt_options;
	struct hp_fresh_options *fresh; /* to be taken over; NULL: nothing */
	struct hp_token token;
	uint32_t count[HP_ENTRY_STATE_COUNT];
	uint32_t stuck;         /* entries that is_stuck */
	uint32_t limit;         /* entry_count, or what the token reports */
	uint32_t learned_limit; /* what C_OpenSession taught; limit if nothing */
	int64_t learned_ns;
	uint32_t learned_step;         /* by how much it is tried higher next */
	struct hp_entry_list idle;     /* the anchor is the oldest */
	struct hp_entry_list attached; /* the oldest is taken away first */
	int64_t left_ns;               /* when a session was left attached last */
	struct hp_waiter *first, *last;
	/* Of those who wait the one that sees to the attached sessions, until it has what
	 * it waits for. Not always the head: that changes with each session returned. */
	struct hp_waiter *watcher;
	uint32_t waiters;
	uint32_t inside;  /* threads between hp_pool_enter and _leave */
	uint32_t closers; /* of them, those of drain.c */
	unsigned holds;   /* HP_HOLD_*: no session is lent */
	/* Paused by who does not wait: upkeep closes the idle ones. */
	bool is_pause_unattended;
	bool is_closed;
	bool is_kept;      /* constant after open: the keeper knows it */
	bool must_resolve; /* the slot may have moved */
	uint64_t generation;
	bool is_peopled;      /* some session belongs to it: handles of it may be known */
	uint64_t whole_since; /* nothing was lost since this generation began */
	uint64_t continuous_since; /* what was found since then is known to hold still */
	int64_t lost_ns;           /* when something was lost last */
	uint64_t dead_generation;  /* sessions up to this one are dead */
	int64_t boot_ahead_ns; /* CLOCK_BOOTTIME before CLOCK_MONOTONIC, as seen last */
	int64_t validate_before_ns; /* proofs of life before this do not count */
	int64_t next_open_ns;       /* backoff after failures to open */
	uint32_t open_failures_in_row;
	hsmpool_error open_failure; /* the last of these */
	struct hp_breaker breaker;
	int64_t next_retire_ns;               /* pacing of max-lifetime */
	int64_t next_upkeep_ns;               /* keeper = no: when a return does upkeep */
	uint32_t jobs;                        /* that the prober has or will get */
	uint32_t jobs_waiting;                /* of these, not begun */
	struct hsmpool_session refill_order;  /* a job without an entry: open one */
	struct hsmpool_session restart_order; /* likewise: restart the module */
	struct hsmpool_session chore_order;   /* likewise: do the chore */
	struct hp_chore chore;                /* zeroed: there is none */
	int64_t next_chore_ns;
	uint64_t chores_done; /* times that it was looked at */
	bool is_chore_under_way;
	int64_t next_restart_ns;
	uint32_t restarts_in_row; /* that did not help */
	pthread_cond_t visit_over;
	pthread_cond_t quiet; /* no session is busy; jobs or inside fell to 0;
			       * the chore was done */
	enum hp_login_state login;
	pthread_cond_t login_done;
	bool is_pin_in_use;    /* by a login or context login: one try at a time */
	int64_t next_login_ns; /* backoff after failures that were not the PIN's */
	uint32_t login_failures_in_row;
	hsmpool_error login_failure; /* the last of these */
	/* Changed with the PIN in use only. */
	_Atomic CK_USER_TYPE user; /* who is logged in, or to be: CKU_USER, or CKU_SO */
	struct hp_secret *pin;     /* the one that succeeded */
	/* The user's PIN where it is not what the pin-source says: it was changed through
	 * us, or the source can be read only once and the SO is logged in. Or NULL. */
	struct hp_secret *own_pin;
	struct hp_secret *refused; /* the one that did not, if LATCHED by a PIN */
	bool is_refusal_on_file;   /* so whether it still holds is to be asked there */
	bool is_low_told;          /* a wrong PIN was counted: warned of */
	hsmpool_error latched;     /* what borrowers are told */
	int64_t latch_recheck_ns;
	CK_RV last_error;
	int64_t last_error_ns;
	hsmpool_stats stats;
	uint64_t retries[HP_RV_CLASS_COUNT]; /* stats.retries, by why */
	hp_canary_fn canary;
	void *canary_user;
	void (*canary_release)(void *user);
	void *attachment;
	void (*attachment_release)(void *attachment);

	struct hp_tally *tally;               /* constant after open */
	struct hp_metrics_file *metrics_file; /* likewise; NULL: none */
	hsmpool *next_counted;                /* guarded by the lock of metrics.c */
	hsmpool *next_pool;                   /* guarded by the lock of restart.c */
	bool is_enlisted;                     /* constant after open */
	hsmpool *next_kept;                   /* guarded by the keeper's lock */
	uint64_t kept_round;                  /* likewise */
};

/* --- entry.c: states, the idle list, the anchor ------------------------------------ */
void hp_entry_set_state_locked(struct hsmpool_session *e, enum hp_entry_state state);
/* Real sessions that exist or are about to: everything but EMPTY. */
uint32_t hp_pool_occupied_locked(const hsmpool *pool);
/* How many there may be now: hung ones are replaced as far as stuck-reserve goes. */
uint32_t hp_pool_limit_locked(const hsmpool *pool);
/* An entry is in this state and its owner does not hang. */
bool hp_pool_has_live_locked(const hsmpool *pool, enum hp_entry_state state);
/* Its call hangs: others take its place and its role. */
void hp_entry_quarantine_locked(struct hsmpool_session *e);
bool hp_entry_fits(const hsmpool *pool, const struct hsmpool_session *e,
		   enum hp_want want);
/* Others depend on it: it is cleaned in place if that can be. */
bool hp_entry_must_stay(const struct hsmpool_session *e);
/* It would have to be closed and opened anew to serve that. */
bool hp_entry_must_be_replaced(const struct hsmpool_session *e, enum hp_want want);
/* The best idle entry that fits. */
struct hsmpool_session *hp_idle_find_locked(const hsmpool *pool, enum hp_want want);
struct hsmpool_session *hp_anchor_find_locked(const hsmpool *pool);
void hp_idle_push_locked(struct hsmpool_session *e);      /* hot end, as returned */
void hp_idle_push_cold_locked(struct hsmpool_session *e); /* cold end, as tested */
/* Off whichever list it is on. */
void hp_entry_unlist_locked(struct hsmpool_session *e);
void hp_attached_push_locked(struct hsmpool_session *e);
/* So long its owner has to come back: some time slices of a busy machine. */
#define HP_OWNERS_MOMENT_NS (5 * HP_MS)
/* The longest attached one that may be taken away from its operation. */
struct hsmpool_session *hp_attached_find_locked(hsmpool *pool, enum hp_want want,
						int64_t now, bool has_need);
/* A visit is over: attached again, as it was. */
void hp_attached_rejoin_locked(struct hsmpool_session *e);
/* It is over because the session is closed. */
void hp_attached_end_visit_locked(struct hsmpool_session *e);
/* Keep a USED session that cannot be cleaned, but owns session objects, for visitors. */
void hp_attached_keep(struct hsmpool_session *e);
/* When it may be taken away; HP_FOREVER: not before its owner is done. */
int64_t hp_attached_free_time(const struct hsmpool_session *e);
/* When the watcher is to look again, or HP_FOREVER. */
int64_t hp_attached_watch_time_locked(const hsmpool *pool, int64_t now);
/* This thread does not come back to what it left at once. False: it left nothing. */
bool hp_attached_let_go_locked(hsmpool *pool, int thread);
struct hsmpool_session *hp_entry_claim_empty_locked(hsmpool *pool); /* -> OPENING */
/* A real session came to be in e, or ceased to: keeps the anchor role assigned. vouched:
 * the generation that it may join if there are others in it. */
void hp_entry_opened_locked(struct hsmpool_session *e, uint64_t vouched, int64_t now);
/* Returns what it is counted as. */
enum hp_close_reason hp_entry_emptied_locked(struct hsmpool_session *e,
					     enum hp_close_reason reason);
/* Its owner learned that it is dead: it is closed when released. */
void hp_entry_condemn(struct hsmpool_session *e);
/* Known dead, or as good as dead, whatever the module says of its handle. */
bool hp_entry_is_dead_locked(const struct hsmpool_session *e);
/* C_CloseSession, also of a session said to be dead (a wrong report must not leak it),
 * unless its handle is another's by now. */
void hp_entry_close_session(struct hsmpool_session *e);
/* The borrow is over: count it. */
void hp_entry_count_return_locked(struct hsmpool_session *e, int64_t now);
bool hp_want_is_read_write(enum hp_want want);
int hp_thread_id(void);
/* A session is with a borrower or in a module call. */
bool hp_pool_is_busy_locked(const hsmpool *pool);
/* Quiet is what pause and close wait for. */
void hp_pool_tell_if_quiet_locked(hsmpool *pool);
/* A thread that uses the structure while it holds no session: close waits for it. */
void hp_pool_enter_locked(hsmpool *pool);
void hp_pool_leave(hsmpool *pool);
void hp_pool_leave_locked(hsmpool *pool);

/* --- chore.c ------------------------------------------------------------------------ */
/* True once per interval. */
bool hp_chore_is_due_locked(hsmpool *pool, int64_t now);
void hp_chore_do(hsmpool *pool);
void hp_chore_release(hsmpool *pool);

/* --- waiter.c: the FIFO ------------------------------------------------------------ */
void hp_waiter_join_locked(hsmpool *pool, struct hp_waiter *w);
void hp_waiter_leave_locked(hsmpool *pool, struct hp_waiter *w);
/* May a newcomer take this idle entry before those who wait? Not once the first whom
 * it fits is 1 ms old, nor when fair. */
bool hp_waiters_may_be_passed_locked(hsmpool *pool, const struct hsmpool_session *e,
				     int64_t now);
/* Is it w whose turn it is to have e? */
bool hp_waiter_is_next_locked(hsmpool *pool, const struct hp_waiter *w,
			      const struct hsmpool_session *e, int64_t now);
/* The borrow of one who waited begins. */
void hp_waiter_count_served_locked(hsmpool *pool, const struct hp_waiter *w, int64_t now);
/* An entry is free: hand it to the waiter whose turn it is, or make it idle. */
void hp_pool_put_locked(struct hsmpool_session *e, int64_t now, bool is_hot);
/* Hand attached sessions to those who wait. */
void hp_waiters_offer_attached_locked(hsmpool *pool, int64_t now);
/* An attached session may be taken away at free_ns: let the watcher know. */
void hp_waiters_watch_attached_locked(hsmpool *pool, int64_t free_ns);
/* There is room, or a time to watch: let the head waiter look. */
void hp_waiters_wake_head_locked(hsmpool *pool);
/* Let the first look for whom there is something idle. */
void hp_waiters_wake_for_idle_locked(hsmpool *pool);
/* An attached session may be visited: let the first look who would. */
void hp_waiters_wake_visitor_locked(hsmpool *pool);
void hp_waiters_wake_all_locked(hsmpool *pool);

/* To a borrower: USED, in this name. It is on no list. */
void hp_entry_lend_locked(struct hsmpool_session *e, const char *tag, int thread,
			  int64_t now);

/* --- settle.c: calls that were given up ----------------------------------------------
 */
/* Give e a worker if there is a call-timeout. False: no thread for it. */
bool hp_entry_equip(struct hsmpool_session *e);
/* A call on it was given up: its worker closes it when the call returns. Nothing is the
 * owner's any more, neither e nor the pool. False: it is the owner's as before. */
bool hp_entry_leave_to_worker(struct hsmpool_session *e);
/* When the pool is closed: ends the workers. In a child: forgets them. */
void hp_pool_dismiss_workers(hsmpool *pool, bool is_child);

/* --- borrow.c ---------------------------------------------------------------------- */
/* Put a USED or TESTING entry that its owner has finished with back, or close it. */
void hp_entry_release(struct hsmpool_session *e, bool is_alive, bool is_hot);
void hp_entry_close(struct hsmpool_session *e, enum hp_close_reason reason);
/* After the module's part of it. */
void hp_entry_end(struct hsmpool_session *e, enum hp_close_reason reason);

/* --- opener.c ---------------------------------------------------------------------- */
/* Open a session into an OPENING entry; it is USED after success, EMPTY after failure.
 * HSMPOOL_ERR_DOWN: may succeed later; any other failure will not. */
hsmpool_status hp_entry_open(struct hsmpool_session *e, bool read_write,
			     hsmpool_error *err);
/* How long to wait after so many failures in a row, jittered. */
int64_t hp_pool_backoff(uint32_t failures_before);
/* Does it need a look before it is lent? */
bool hp_entry_is_unready_locked(const struct hsmpool_session *e, enum hp_want want,
				int64_t now);
/* hp_session_clean() of the owner's, in place if it is all that the pool has. */
bool hp_entry_clean(struct hsmpool_session *e);
/* Validate, replace, upgrade, log in as needed. On failure the entry is gone from the
 * caller: emptied or released. */
hsmpool_status hp_entry_prepare(struct hsmpool_session *e, enum hp_want want,
				int64_t deadline_ns, hsmpool_error *err);
/* The slot where the token is now; module calls, so without the lock. */
hsmpool_status hp_pool_resolve_token(hsmpool *pool, hsmpool_error *err);

/* --- breaker.c --------------------------------------------------------------------- */
/* The token failed; err, which says how, may be NULL. */
void hp_breaker_note_failure_locked(hsmpool *pool, CK_RV rv, const hsmpool_error *err);
void hp_breaker_close_locked(hsmpool *pool);
/* The token did something as it should. */
static inline void hp_breaker_note_success_locked(hsmpool *pool)
{
	if (__builtin_expect(pool->breaker.failures != 0, 0))
		hp_breaker_close_locked(pool);
}
/* Is a borrower that asked at since_ns refused? */
bool hp_breaker_refuses_locked(hsmpool *pool, int64_t since_ns, int64_t now);
/* When a borrower may try to open a session; HP_FOREVER: not before others did. */
int64_t hp_breaker_next_try_locked(const hsmpool *pool);
/* Is it for upkeep to try now? */
bool hp_breaker_is_due_locked(const hsmpool *pool, int64_t now);
/* A try begins; and is over, if it neither failed nor succeeded. */
void hp_breaker_begin_try_locked(hsmpool *pool, int64_t now);
void hp_breaker_end_try_locked(hsmpool *pool);
hsmpool_status hp_breaker_fail(hsmpool *pool, hsmpool_error *err);
/* Log what changed. */
void hp_breaker_tell(hsmpool *pool);

/* --- restart.c --------------------------------------------------------------------- */
/* A pool comes and goes; false: a restart of a module hangs, until that time at least. */
bool hp_restart_enlist(hsmpool *pool, int64_t until_ns);
bool hp_restart_delist(hsmpool *pool, int64_t until_ns);
/* The session that was just opened into e: whoever else in the process has one of its
 * handle lost it in a restart of the HSM. False: and may be about to use it. */
bool hp_restart_claim_handle(struct hsmpool_session *e);
/* Has everything else been tried in vain? */
bool hp_restart_is_due_locked(const hsmpool *pool, int64_t now);
/* Something works again: the next trouble is a new one. */
void hp_restart_forgive_locked(hsmpool *pool);
/* By a thread that has no entry. */
void hp_restart_module(hsmpool *asks);

/* --- loss.c ------------------------------------------------------------------------ */
/* What a CK_RV from a session means for it and for the pool. */
struct hp_judgement {
	enum hp_rv_class class;
	enum hp_loss loss;
	bool is_alive; /* the session may be used again */
};
/* May probe the session: module calls. */
struct hp_judgement hp_session_judge(struct hsmpool_session *e, CK_RV rv);
/* Raise the generation unless a newer one noticed already; logs. */
void hp_pool_note_loss(hsmpool *pool, enum hp_loss loss, uint64_t generation, CK_RV rv);
void hp_pool_note_loss_locked(hsmpool *pool, enum hp_loss loss);
void hp_pool_note_error_locked(hsmpool *pool, CK_RV rv);
void hp_pool_begin_generation_locked(hsmpool *pool);
/* The probe of the options, from light to deep. */
CK_RV hp_session_probe(struct hsmpool_session *e, enum hp_probe depth);
/* How to ask a session of an older generation: where the options say that the HSM itself
 * must answer, not by what a module may have remembered. */
enum hp_probe hp_pool_proof(const hsmpool *pool, enum hp_probe least);

/* --- confirm.c --------------------------------------------------------------------- */
/* The generation that a session which was opened right now may join, because one of those
 * that were open before is alive still; 0: none could be asked, or it is dead. */
uint64_t hp_pool_vouch(hsmpool *pool);
/* The session was alive after the pool's generation had begun: it belongs to it. */
void hp_entry_adopt_locked(struct hsmpool_session *e);

/* --- login.c ----------------------------------------------------------------------- */
hsmpool_status hp_pool_ensure_login(struct hsmpool_session *e, int64_t deadline_ns,
				    hsmpool_error *err);
bool hp_pool_is_latched_locked(hsmpool *pool, int64_t now);
bool hp_pool_is_refused_locked(const hsmpool *pool, const struct hp_secret *pin);
/* Whether a session of this state is logged in as the pool's user. */
#define HP_POOL_PIN_CAP 256
hsmpool_status hp_pool_obtain_pin(hsmpool *pool, const char *label,
				  struct hp_secret **pin, hsmpool_error *err);
/* The one that succeeded, if there is one. to has HP_POOL_PIN_CAP bytes. */
bool hp_pool_copy_kept_pin(hsmpool *pool, struct hp_secret *to);
bool hp_pool_state_is_ours(const hsmpool *pool, CK_STATE state);
/* The answer to a login that was given up has come. *pin is consumed, or not. */
void hp_pool_settle_login(struct hsmpool_session *e, CK_USER_TYPE user, CK_RV rv,
			  struct hp_secret **pin);

/* --- watch.c: leaks and hangs ------------------------------------------------------- */
/* Report borrows that last, and quarantine sessions whose call hangs. Logs. */
void hp_pool_watch(hsmpool *pool, int64_t now);

/* --- drain.c: closing what is not lent ---------------------------------------------- */
/* All of it, the anchor last, or without the anchor if the pool is only paused. False:
 * not all was closed at until_ns, because a call hangs. The pool is entered. */
bool hp_pool_close_unlent(hsmpool *pool, int64_t until_ns);

/* --- application.c -------------------------------------------------------------------
 */
/* An application's login that was given up has succeeded. *pin is consumed. */
void hp_pool_adopt_login(hsmpool *pool, CK_USER_TYPE user, struct hp_secret **pin);

/* --- upkeep.c: what is due, and doing it ------------------------------------------- */
/* Decide under the lock what to do; entries that need module calls are put in TESTING
 * or CLOSING and linked by next_job. */
struct hsmpool_session *hp_upkeep_decide(hsmpool *pool, int64_t now);
/* When to decide again, at the latest. */
int64_t hp_upkeep_tick(hsmpool *pool);
/* Do one of them. */
void hp_upkeep_do(struct hsmpool_session *e);
/* A session could not be opened; the caller has no entry. */
void hp_upkeep_after_failure(hsmpool *pool);
/* keeper = no: decide and do, if it is time, on the thread that returns a session. */
void hp_upkeep_inline(hsmpool *pool, int64_t now);

/* --- pool.c ------------------------------------------------------------------------ */
/* Every session is probed before its next use, idle ones in the background. */
void hp_pool_distrust_locked(hsmpool *pool);

int64_t hp_pool_choose_tick(const struct hp_pool_options *options);

/* --- reload.c ---------------------------------------------------------------------- */
void hp_live_init(struct hp_pool_live *live, const struct hp_pool_options *options);
void hp_fresh_options_free(struct hp_fresh_options **fresh);

/* --- keeper.c: the two threads of the process --------------------------------------- */
hsmpool_status hp_keeper_add(hsmpool *pool, hsmpool_error *err);
/* After this no new job of the pool is made. */
void hp_keeper_remove(hsmpool *pool);
/* Ends the threads if no pool is left. A prober that hangs in a module is left alone. */
void hp_keeper_rest(void);
void hp_keeper_wake(void);

/* --- metrics.c: what outlives a pool -------------------------------------------------
 */
/* From now on its figures are among the process's. False: no memory. */
bool hp_metrics_enlist(hsmpool *pool);
/* It counts nothing any more; what it counted stays. */
void hp_metrics_delist(hsmpool *pool);

/* --- stats.c ----------------------------------------------------------------------- */
void hp_stats_read_locked(hsmpool *pool, hsmpool_stats *out);
void hp_histogram_add(uint64_t *buckets, uint64_t *total_ns, int64_t ns);
/* "total 16, idle 0, used 16, waiting 3, oldest wait 4.9 s, last HSM error ..." */
void hp_pool_figures(hsmpool *pool, char *buf, size_t cap);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded pool of logged-in PKCS#11 sessions on one token.
 *
 * Every function is thread-safe unless its comment says otherwise. Objects are
 * opaque; *_close() takes the address of the caller's pointer and clears it.
 *
 * After fork() a child must not use a pool it inherited: calls return
 * HSMPOOL_ERR_FORKED, hsmpool_close() only frees memory, and the child opens a
 * pool of its own. The parent is not disturbed. No thread of the library exists
 * before the first hsmpool_open().
 *
 * Thread cancellation (pthread_cancel) must be disabled around every call.
 */
#ifndef HSMPOOL_POOL_H
#define HSMPOOL_POOL_H

#include <hsmpool/config.h>
#include <hsmpool/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hsmpool hsmpool;

/*
 * hsmpool_open - start a pool from a configuration.
 *
 * name NULL means the section [pool], else [pool NAME]. Loads the module, finds
 * the token, logs in once and opens min-sessions sessions. On failure *out is
 * NULL and nothing needs freeing.
 *
 * HSMPOOL_ERR_CONFIG  a value is missing or wrong; the module cannot be loaded
 * HSMPOOL_ERR_AUTH    the PIN was refused or cannot be read
 * HSMPOOL_ERR_DOWN    no token, or two, match; or the module fails
 * HSMPOOL_ERR_SYSTEM  no memory, no thread
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_open(hsmpool **out,
						      const hsmpool_config *config,
						      const char *name,
						      hsmpool_deadline deadline,
						      hsmpool_error *err);

/*
 * Waiters are woken with HSMPOOL_ERR_CLOSED, idle sessions closed, borrowed ones
 * waited for at most close-grace; those left over are named in the log and leaked
 * on purpose (a module cannot be finalised under a running call). Keys, streams
 * and borrows of this pool must not be used afterwards, except to close them.
 */
HSMPOOL_API void hsmpool_close(hsmpool **pool);

/*
 * hsmpool_pause - lend no session until hsmpool_resume().
 *
 * Waits until every borrowed session is back, then closes all but the anchor.
 * Borrowers wait meanwhile, each with its own deadline.
 *
 * HSMPOOL_ERR_TIMEOUT  some were not back in time; the pool stays paused
 * HSMPOOL_ERR_BUSY     another thread resumed it before they were
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_pause(hsmpool *pool,
						       hsmpool_deadline deadline,
						       hsmpool_error *err);
HSMPOOL_API void hsmpool_resume(hsmpool *pool);

/*
 * hsmpool_reload - take over what changed in the configuration, while the pool is in use.
 *
 * config NULL reads the file again that the pool was configured from, and sets what the
 * program had set besides; otherwise the pool's section of config counts. It is checked
 * as a whole first: after a failure nothing has changed. In force at once are
 * max-sessions (up to what it was at hsmpool_open()), min-sessions, max-waiters, the
 * timeouts and intervals, breaker-*, module-restart, fair, sign-retry, log-level and the
 * policies. What else differs is named in the log (event "pool-reloaded") and waits for a
 * restart.
 *
 * HSMPOOL_ERR_CONFIG  the file cannot be read, or something in it is wrong
 * HSMPOOL_ERR_USAGE   config is NULL, and the pool was not configured from a file
 * HSMPOOL_ERR_CLOSED, HSMPOOL_ERR_FORKED, HSMPOOL_ERR_SYSTEM
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_reload(hsmpool *pool,
							const hsmpool_config *config,
							hsmpool_error *err);

/* Have every idle session probed at once by the upkeep thread, not at its turn.
 * Returns without waiting for the result. */
HSMPOOL_API void hsmpool_validate(hsmpool *pool);

/* Upper bounds, in nanoseconds, of the histograms' buckets: 1 us doubling, the
 * last one without bound. */
#define HSMPOOL_HISTOGRAM_BUCKETS 26

/* Whether the token answers: it does, or has not failed for long; it does nothing but
 * fail, and callers are refused; likewise, and it is being tried whether it is back. */
typedef enum hsmpool_breaker {
	HSMPOOL_BREAKER_CLOSED = 0,
	HSMPOOL_BREAKER_OPEN = 1,
	HSMPOOL_BREAKER_HALF_OPEN = 2,
} hsmpool_breaker;

/*
 * A snapshot of the pool's figures. Set size to sizeof(hsmpool_stats) before the
 * call; fields that a newer header added are left alone for older callers.
 * Counters run from hsmpool_open() on and never decrease.
 */
typedef struct hsmpool_stats {
	size_t size;
	/* sessions, now */
	uint32_t open;    /* really open on the token: the sum of the next six */
	uint32_t idle;    /* free to borrow */
	uint32_t used;    /* lent */
	uint32_t testing; /* being revalidated */
	uint32_t stuck;   /* inside one call for longer than stuck-after */
	uint32_t closing; /* on their way out */
	/* left by a multi-part operation between two of its calls */
	uint32_t attached;
	uint32_t opening; /* being opened */
	/* max-sessions, and one per hung session up to stuck-reserve; or less: the
	 * token's or the learned limit */
	uint32_t limit;
	uint32_t peak;    /* the most that were ever open at once */
	uint32_t waiters; /* threads waiting for a session */
	uint32_t paused;  /* 1 while paused */
	uint64_t oldest_wait_ns;
	uint64_t generation; /* raised by each loss of token or login */
	/* since the start */
	uint64_t borrowed_direct; /* borrows served at once */
	uint64_t borrowed_waited; /* borrows served after a wait */
	uint64_t borrow_timeouts; /* deadlines that passed */
	uint64_t borrow_rejected; /* refused: too many waiters, or no-wait */
	uint64_t returned;
	uint64_t opened;
	uint64_t open_failures;
	uint64_t closed_idle;     /* idle-timeout */
	uint64_t closed_lifetime; /* max-lifetime */
	uint64_t closed_broken;   /* dead, or left in an unclean state */
	uint64_t closed_other;    /* pause, limit, upgrade to read-write */
	uint64_t validated;
	uint64_t validation_failures;
	uint64_t logins;
	uint64_t login_failures;
	uint64_t leaks_suspected; /* borrows older than leak-warn */
	uint64_t retries;         /* operations begun again after a loss */
	unsigned long last_error; /* CK_RV of the last failure that was not a caller's */
	uint64_t last_error_age_ns; /* 0 if there was none */
	/* counts per bucket; bucket i counts times up to 1000 << i ns */
	uint64_t wait_ns[HSMPOOL_HISTOGRAM_BUCKETS]; /* of borrows that waited */
	uint64_t held_ns[HSMPOOL_HISTOGRAM_BUCKETS]; /* from borrow to return */
	uint64_t hung_calls; /* calls that took longer than stuck-after */
	/* the ladder of recovery */
	uint32_t breaker; /* an hsmpool_breaker */
	uint64_t breaker_opened;
	uint64_t lost_sessions; /* losses noticed: of a session, others in doubt */
	uint64_t lost_logins;
	uint64_t lost_tokens;     /* of all sessions; the token was looked for again */
	uint64_t module_restarts; /* C_Finalize and C_Initialize */
	/* more of what is above */
	uint64_t borrow_closed;   /* borrows that the closing of the pool ended */
	uint64_t closed_stuck;    /* sessions closed when their hung call returned */
	uint64_t closed_shutdown; /* and because the pool was being closed */
	uint64_t logins_refused;  /* of login_failures: for the PIN */
	uint64_t wait_total_ns;   /* the sum of what wait_ns counts */
	uint64_t held_total_ns;
	uint32_t overdue; /* sessions now lent for longer than leak-warn */
	uint32_t latched; /* 1 while a refused PIN keeps the pool from logging in */
} hsmpool_stats;

HSMPOOL_API void hsmpool_get_stats(hsmpool *pool, hsmpool_stats *stats);

/* The token behind the pool. Strings are blank-trimmed, NUL-terminated. */
typedef struct hsmpool_token_info {
	size_t size; /* set to sizeof(hsmpool_token_info) before the call */
	unsigned long slot_id;
	unsigned long flags;        /* CKF_* of CK_TOKEN_INFO */
	unsigned long max_sessions; /* as the token reports: 0 or ~0 say nothing */
	char label[33];
	char manufacturer[33];
	char model[17];
	char serial[17];
	char module[256]; /* path of the loaded module */
	char module_description[33];
	uint32_t logged_in; /* 1 if the pool's sessions are */
} hsmpool_token_info;

HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_get_token_info(hsmpool *pool,
								hsmpool_token_info *info,
								hsmpool_error *err);

/*
 * The raw borrow: one real session for what the library does not cover.
 */
typedef struct hsmpool_session hsmpool_session;

typedef enum hsmpool_borrow_flags {
	HSMPOOL_BORROW_ANY = 0,
	HSMPOOL_BORROW_READ_WRITE = 1, /* a read-write session is needed */
} hsmpool_borrow_flags;

/* What the borrower says of the session it gives back. */
typedef enum hsmpool_verdict {
	HSMPOOL_VERDICT_CLEAN = 0, /* works, and no operation is active on it */
	HSMPOOL_VERDICT_RESET = 1, /* an operation may be active: close and replace */
	HSMPOOL_VERDICT_DEAD = 2,  /* the session is dead: drop it */
} hsmpool_verdict;

/*
 * hsmpool_borrow - take one session out of the pool.
 *
 * tag, a string that outlives the borrow, names the borrower in leak warnings and
 * may be NULL. Between borrow and return the calling program alone uses the
 * session; keep it short, and end every operation begun on it. Do not borrow a
 * second session while holding one. Do not log in or out or close the session.
 *
 * HSMPOOL_ERR_USAGE    no pool, no place for the session, unknown flags
 * HSMPOOL_ERR_TIMEOUT  none was free before the deadline; the text has the figures
 * HSMPOOL_ERR_BUSY     max-waiters are waiting already
 * HSMPOOL_ERR_AUTH     a login is needed and the PIN was refused before
 * HSMPOOL_ERR_DOWN     the token cannot be reached
 * HSMPOOL_ERR_CLOSED, HSMPOOL_ERR_FORKED
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status
hsmpool_borrow(hsmpool *pool, hsmpool_session **out, hsmpool_borrow_flags flags,
	       const char *tag, hsmpool_deadline deadline, hsmpool_error *err);

/* Give it back, from any thread, and clear *session. Accepts NULL and NULL in it. A value
 * that is no verdict counts as HSMPOOL_VERDICT_RESET. */
HSMPOOL_API void hsmpool_return(hsmpool_session **session, hsmpool_verdict verdict);

/* The verdict that a CK_RV of the module calls for, by the table of return values. */
HSMPOOL_API hsmpool_verdict hsmpool_verdict_of(unsigned long ck_rv);

/* The CK_SESSION_HANDLE, and the module's CK_FUNCTION_LIST *, for the length of
 * the borrow. Cast to the types of the PKCS#11 header that your program uses. */
HSMPOOL_API unsigned long hsmpool_session_handle(const hsmpool_session *session);
HSMPOOL_API void *hsmpool_session_functions(const hsmpool_session *session);

#ifdef __cplusplus
}
#endif
#endif

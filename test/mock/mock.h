/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controls of the mock/fault PKCS#11 module, hsmpool-mock.so.
 *
 * The module answers by itself (one token with a few keys and a toy cryptography that
 * is fast, reversible and secures nothing) or wraps a real module; in both cases it
 * fails, stalls, forgets and lies on demand, and keeps count of what it was asked.
 *
 * In the process: dlsym(dl, "hsmpool_mock_control") is a function that returns the
 * structure below. From outside: the environment variable HSMPOOL_MOCK holds a script
 * of the same power (see script()), read at the first C_Initialize, and
 * HSMPOOL_MOCK_WRAPS the path of the module to wrap.
 *
 * Every control may be called from any thread at any time unless it says otherwise.
 * Functions are named as in PKCS#11, "C_Sign"; "*" stands for all of them but
 * C_Initialize, C_Finalize and C_GetFunctionList. An unknown name aborts the program.
 */
#ifndef TEST_MOCK_MOCK_H
#define TEST_MOCK_MOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <p11-kit/pkcs11.h>

#define MOCK_TOKEN_LABEL "mock"
#define MOCK_USER_PIN    "1234"
#define MOCK_SO_PIN      "so-12345678"

#define MOCK_FOREVER UINT64_MAX

#define MOCK_PIN_LEN 64

/* The user's PIN and what the token counts of it; the content of a pin-file. */
struct mock_pin {
	char text[MOCK_PIN_LEN];
	_Atomic uint32_t tries; /* 0: no counter */
	_Atomic uint32_t left;
	_Atomic uint32_t is_low; /* a wrong one was given since the last login */
	_Atomic uint64_t tried;  /* with the PIN looked at */
	_Atomic uint64_t refused;
};

/* What an armed failure does to the call that it hits. */
struct mock_failure {
	const char *function;
	CK_RV rv;
	uint64_t first;     /* the n-th call from now, 1 is the next; 0 counts as 1 */
	uint64_t count;     /* so many calls in a row; 0 counts as 1; or MOCK_FOREVER */
	double probability; /* if > 0: instead of first, each call with this chance */
	bool after;         /* the call is executed, its answer replaced */
	bool leave_active;  /* not executed, and its operation stays active */
};

/* How object handles look after a reboot. */
enum mock_handles {
	MOCK_HANDLES_NEW,     /* old ones are dead */
	MOCK_HANDLES_ALIASED, /* old ones name other objects */
	MOCK_HANDLES_KEPT,
};

struct mock_reboot {
	CK_RV session_rv; /* answer to a dead session; 0: CKR_SESSION_HANDLE_INVALID */
	bool keep_login;  /* the token forgot the sessions but not the login */
	bool move_slot;   /* the token is found under another slot id */
	enum mock_handles handles;
	/* New sessions get the handles of those that were open, in their order. */
	bool reuse_sessions;
};

/* What the module saw since it was loaded, or since reset(). */
struct mock_counters {
	uint64_t calls; /* of all functions but C_GetFunctionList */
	uint64_t sessions_opened;
	uint64_t sessions_closed;    /* by C_CloseSession, C_CloseAllSessions */
	uint64_t sessions_abandoned; /* still open at C_Finalize */
	uint64_t sessions_killed; /* by a reboot or a removal: nobody need close them */
	uint64_t sessions_now;
	uint64_t sessions_peak;
	uint64_t logins_tried; /* as user or SO; context logins apart */
	uint64_t logins_failed;
	uint64_t context_logins;
	uint64_t signatures; /* that were made: only while armed() */
	uint64_t logouts;    /* by C_Logout */
	uint64_t objects_created;
	uint64_t objects_destroyed;
	uint64_t dead_handles; /* calls with a session or object that was and is gone */
	uint64_t session_overlaps; /* calls on a session that another thread was inside */
	uint64_t module_overlaps;  /* concurrent calls although it refused to lock */
	uint64_t inside_peak;      /* most calls inside at once: only while armed() */
	uint64_t initializes;
	uint64_t finalizes;
};

struct mock_control {
	/* Faults, options, PIN counter and counters as when loaded; releases what hangs.
	 * Open sessions, objects and the wrapped module stay. */
	void (*reset)(void);

	/*
	 * Items separated by ';', each NAME or NAME=VALUE. False, with a text in error,
	 * if one is wrong; those before it are in force.
	 *
	 *   latency=FUNCTION:TIME         TIME as 1ms, 300us, 2s
	 *   fail=FUNCTION:WHEN:CKR[:after|:leave-active]
	 *                                 WHEN is N, N+K (K calls from the N-th), N+ (for
	 *                                 ever from the N-th), or pX (probability); CKR a
	 *                                 name or a number
	 *   hang=FUNCTION:N               the N-th call from now hangs until release()
	 *   sessions=N                    more give CKR_SESSION_COUNT
	 *   report-sessions=N|none|unlimited   what CK_TOKEN_INFO says instead
	 *   pin=TEXT, so-pin=TEXT, pin-tries=N (0: no counter)
	 *   pin-file=PATH                 a struct mock_pin that processes share
	 *   reboot-after=N, reboot-every=N     calls; with the options that follow
	 *   session-rv=CKR, keep-login, move-slot, reuse-sessions,
	 *   handles=new|aliased|kept
	 *   dead-after=N[:CKR]            every call fails until C_Finalize, C_Initialize
	 *   absent=TIME                   no token in the slot for that long
	 *   logged-out-rv=CKR             answer to a private key's handle when logged
	 * out local-session-info, leave-active, cant-lock, seed=N label=TEXT, serial=TEXT
	 * of the own token wraps=PATH                    as wrap() report=PATH append the
	 * counters at each C_Finalize, one line
	 */
	bool (*script)(const char *text, char *error, size_t cap);

	/* Wrap this module from the next C_Initialize on; NULL: answer by itself again.
	 */
	void (*wrap)(const char *path);

	/* Each call of function takes at least so long; 0 takes it back. */
	void (*latency)(const char *function, int64_t ns);
	/* cmocka has a macro of this name: write (mock->fail)(&failure). */
	void (*fail)(const struct mock_failure *failure);
	void (*clear_failures)(void);
	void (*seed)(uint64_t seed);

	/* The n-th call from now (1: the next) hangs until release(). */
	void (*hang)(const char *function, uint64_t nth);
	unsigned (*hung)(void); /* threads that hang now */
	void (*release)(void);  /* also disarms those that have not hung yet */

	void (*session_limit)(CK_ULONG limit); /* 0: none */
	void (*report_limit)(
		CK_ULONG reported); /* in CK_TOKEN_INFO, whatever the truth */
	void (*pin)(const char *user_pin);
	void (*pin_tries)(
		unsigned tries); /* also sets the counter to full; 0: no counter */

	/* Every session, login and handle dead; NULL: all of it, the usual answers. */
	void (*reboot)(const struct mock_reboot *how);
	/* Every call answers rv until C_Finalize and C_Initialize. */
	void (*kill_module)(CK_RV rv);
	/* No token in the slot for so long (MOCK_FOREVER: until token_present()). */
	void (*token_absent)(uint64_t ns);
	void (*token_present)(void);
	/* As if another thread of the program had called C_Logout. */
	void (*log_out)(void);

	/* C_GetSessionInfo of a dead session answers OK, from memory. */
	void (*local_session_info)(bool on);
	/* Whatever fails leaves its operation active. In wrap mode an injected failure
	 * before execution always does. */
	void (*leave_active)(bool on);
	/* Refuse CKF_OS_LOCKING_OK and watch for concurrent calls. */
	void (*cant_lock)(bool on);
	/* CKR_KEY_HANDLE_INVALID (as loaded): a logout kills private handles;
	 * CKR_USER_NOT_LOGGED_IN: they stay and answer this until the next login. */
	void (*logged_out_rv)(CK_RV rv);

	uint64_t (*calls)(const char *function);    /* entered */
	uint64_t (*executed)(const char *function); /* and not stopped by a fault */
	void (*counters)(struct mock_counters *out);
	/* Whether any fault, latency or watch is armed (calls then take the slow path).
	 */
	bool (*armed)(void);
	/* Every session that was opened is closed again, or was killed: none is open, and
	 * none was left to C_Finalize. */
	bool (*check_balance)(char *why, size_t cap);
};

typedef const struct mock_control *(*mock_control_fn)(void);
#define MOCK_CONTROL_SYMBOL "hsmpool_mock_control"

#endif

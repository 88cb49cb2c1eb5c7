/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One use of the HSM: what an operator counts, an auditor reads and a policy allows.
 *
 * Both faces of the pool, lib/crypto and lib/proxy, put each use between
 * hp_use_begin() and hp_use_end(). What watches or restrains uses (policy, audit trail,
 * metrics, request ids) is called there and nowhere else. An operation in parts is one
 * use from its beginning to its end; so is one that is begun again after a loss.
 * Searches and reading attributes are none. A use is one thread's at a time: no lock.
 */
#ifndef HP_POOL_USE_H
#define HP_POOL_USE_H

#include <stdbool.h>
#include <stdint.h>
#include "p11/identity.h"
#include "pool/pool.h"

enum hp_use_kind {
	HP_USE_OPERATION,  /* works with a key, digests, makes random bytes */
	HP_USE_MANAGEMENT, /* makes, changes, moves or destroys objects; sets PINs */
	HP_USE_LOGIN,      /* login and logout, also the pool's own */
};

enum hp_use_state {
	HP_USE_NEW,     /* described, not begun */
	HP_USE_RUNNING, /* begun; a call for it is under way */
	HP_USE_PAUSED,  /* begun; between two calls of an operation in parts */
	HP_USE_OVER,    /* ended, or refused at its beginning */
};

struct hp_use {
	/* Set by the caller before it begins; all but pool and kind also later, until it
	 * ends, which is when the last of them counts. */
	hsmpool *pool;
	const char *function; /* "C_Sign", static; NULL: what goes on is no use */
	enum hp_use_kind kind;
	bool has_mechanism;
	CK_MECHANISM_TYPE mechanism;
	/* They live as long as the use; NULL: none. */
	const struct hp_key_identity *key;    /* the one that works */
	const struct hp_key_identity *target; /* the one that is wrapped or made by it */
	uint64_t vsession; /* the application's session handle; 0: the library */
	uint64_t input_len;

	/* use.c's own */
	enum hp_use_state state;
	uint64_t request;       /* its id */
	uint64_t outer_request; /* what the thread worked on before this call */
	int64_t since_ns;       /* RUNNING: when this call began */
	int64_t spent_ns;       /* in the calls before it */
};

static inline struct hp_use hp_use_of(const char *function, CK_MECHANISM_TYPE mechanism,
				      uint64_t input_len)
{
	return (struct hp_use){ .function = function,
				.has_mechanism = true,
				.mechanism = mechanism,
				.input_len = input_len };
}

/*
 * Before anything is submitted: may it be done, and can it be recorded? Failures: nothing
 * ran and nothing is to be ended; use->state is OVER.
 */
hsmpool_status hp_use_begin(struct hp_use *use, hsmpool_error *err);

/* Between the calls of an operation in parts, whichever threads make them. */
void hp_use_pause(struct hp_use *use);
void hp_use_resume(struct hp_use *use);

/*
 * It is over: the module answered rv; or, where rv is CKR_OK, we made status of it. A
 * use that never began (no session was had) is recorded too; one that is OVER is not
 * recorded again.
 */
void hp_use_end(struct hp_use *use, CK_RV rv, hsmpool_status status, uint64_t output_len);

/* use_policy.c, for use.c. DENIED: see policy.h. */
hsmpool_status hp_use_ask_policy(const struct hp_use *use, hsmpool_error *err);

#endif

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
	HP_USE_NEW,       /* described */
	HP_USE_PERMITTED, /* by the policy */
	HP_USE_BEGUN,     /* its record is reserved */
	HP_USE_OVER,      /* ended, or refused */
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
	/* Of a pair that is made, where it goes by another name than the private key. */
	const struct hp_key_identity *public_half;
	uint64_t vsession; /* the application's session handle; 0: the library */
	uint64_t input_len;
	uint64_t output_len; /* so far; hp_use_end() adds what came last */

	/* use.c's own */
	enum hp_use_state state;
	bool is_inside;         /* a call for it is under way */
	uint64_t request;       /* its id */
	uint64_t outer_request; /* what the thread worked on before this call */
	int64_t since_ns;       /* when this call began */
	int64_t spent_ns;       /* in the calls before it */
	struct hp_audit_entry entry;
	const char *first_function; /* what the entry was begun as; NULL: it was not */
};

static inline struct hp_use hp_use_of(const char *function, CK_MECHANISM_TYPE mechanism,
				      uint64_t input_len)
{
	return (struct hp_use){ .function = function,
				.has_mechanism = true,
				.mechanism = mechanism,
				.input_len = input_len };
}

/* May anything come of it that names the keys? If not nobody needs to know them. */
bool hp_use_wants_keys(const hsmpool *pool);

/*
 * Each call that works for a use is between these two, whichever threads make them: its
 * clock runs, and what the thread logs is of its request. Entering twice is once.
 */
void hp_use_enter(struct hp_use *use);
void hp_use_leave(struct hp_use *use);

/* Does the policy allow it? Asked once. A failure ends the use, with its record. */
hsmpool_status hp_use_permit(struct hp_use *use, hsmpool_error *err);

/*
 * Before anything is submitted that something may come of: is it permitted, and can it be
 * recorded? Enters. Begun already: nothing happens. A failure ends the use: nothing ran.
 */
hsmpool_status hp_use_begin(struct hp_use *use, hsmpool_error *err);

/* What a failure of these two is to an application that calls PKCS#11. */
CK_RV hp_use_refusal(hsmpool_status status, const hsmpool_error *err);

/*
 * It is over, and the call is left: the module answered rv; or, where rv is CKR_OK, we
 * made status of it. A use that never began (no session was had, the Init failed) is
 * recorded too; one that is over is not recorded again.
 */
void hp_use_end(struct hp_use *use, CK_RV rv, hsmpool_status status, uint64_t output_len);

/* Nothing came of it, and nothing went wrong (no room was given for the result): as if
 * it had not been. */
void hp_use_drop(struct hp_use *use);

/*
 * What is done to a token that no pool is open on (C_InitToken): asked of the policies,
 * and recorded in the trail, of the pool that there would be, and no more. function
 * static; token: as it is now; label: what the record calls it. Failures as those of
 * hp_use_begin().
 */
struct hp_bare_use {
	struct hp_audit *audit;
	struct hp_audit_entry entry;
	int64_t since_ns;
};

hsmpool_status hp_bare_use_begin(struct hp_bare_use *use,
				 const struct hp_pool_options *options,
				 const char *function, const struct hp_token *token,
				 const char *label, hsmpool_error *err);
void hp_bare_use_end(struct hp_bare_use *use, CK_RV rv);

/* use_audit.c, for pool.c: NULL if the options name none. */
hsmpool_status hp_use_open_trail(struct hp_audit **out,
				 const struct hp_pool_options *options,
				 hsmpool_error *err);

/* use_audit.c, for use.c. False: there is no room for a record, which must be. */
bool hp_use_reserve_record(struct hp_use *use);
/* rv and status as in hp_use_end(). */
void hp_use_write_record(struct hp_use *use, CK_RV rv, hsmpool_status status);

/* use_policy.c, for use.c. DENIED: see policy.h. */
hsmpool_status hp_use_ask_policy(const struct hp_use *use, hsmpool_error *err);
/* The same of what has no object, where no pool is open. */
hsmpool_status hp_bare_use_ask_policy(const struct hp_pool_options *options,
				      const char *function, const struct hp_token *token,
				      hsmpool_error *err);

#endif

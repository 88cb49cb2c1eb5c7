/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One operation: borrow, handle, do, return, and once more where the table allows it.
 *
 * Every one-shot function of the library goes through hp_operation_run(). Functions
 * describe what they do on the borrowed session; the loop here owns the order of
 * things, the deadline, the verdict and the retry rule.
 */
#ifndef HP_CRYPTO_OPERATION_H
#define HP_CRYPTO_OPERATION_H

#include "crypto/key.h"
#include "pool/use.h"

/* May it be begun again after it was *submitted* and the session was lost? Before
 * submission (stage NOTHING_RAN) everything may, once. */
enum hp_retry {
	HP_RETRY_NEVER,      /* creates, destroys, counts, changes */
	HP_RETRY_IDEMPOTENT, /* encrypt, decrypt, verify, mac, digest, random, find, read
			      */
	HP_RETRY_SIGNATURE_DETERMINISTIC, /* as sign-retry of key or pool says */
	HP_RETRY_SIGNATURE_RANDOMISED,
};

/* How far a run came before it failed. */
enum hp_stage {
	HP_STAGE_NOTHING_RAN, /* at or before the Init */
	HP_STAGE_SUBMITTED,   /* the HSM may have done it */
};

struct hp_operation {
	const char *verb; /* "sign": for error texts, leak warnings, logs; static */
	enum hp_retry retry;
	enum hp_want want;
	hsmpool *pool;
	hsmpool_key *key;         /* NULL: none involved */
	const hsmpool_key *about; /* where key is NULL: named in texts, or NULL too */
	enum hp_key_role role;
	/*
	 * Do it on session s with the key's handle. Leaves *stage as it was (NOTHING_RAN)
	 * until the first call that makes the HSM work. Must be repeatable: parameters
	 * are copied from op's own data at each run. What the caller gets is written to
	 * its buffers only when CKR_OK is returned. A failure of our own (not the
	 * module's) is reported through *own (err filled) with CKR_OK returned.
	 */
	CK_RV(*run)
	(struct hp_operation *op, struct hp_session *s, CK_OBJECT_HANDLE handle,
	 const struct hp_key_facts *facts, enum hp_stage *stage, hsmpool_status *own,
	 hsmpool_error *err);
	void *user; /* run's own */
	/* What is set of it by who fills this: function, kind, mechanism, input_len,
	 * target. The loop begins and ends it. */
	struct hp_use use;
	bool run_begins_use;      /* by hp_operation_begin_use(), not the loop */
	const size_t *output_len; /* of what the caller got; NULL: there is none */
	/* Filled by the loop, for run: */
	int64_t deadline_ns;
	int64_t cut_ns; /* the caller's own deadline, or 0: with call-timeout, calls' too
			 */
	/* A DATA answer (decrypt, verify) is made uniform: no CK_RV, one text. */
	bool is_uniform_failure;
	/* Decrypt and unwrap: the caller hears of a failure before its cause is looked
	 * into, so that the time tells nothing of it. */
	bool is_answered_first;
	/* The loop's own: the pool may not be freed. */
	bool is_held;
	/* Set by run: something is left on the session that must not outlive the
	 * borrow, so it is closed and replaced whatever was returned. */
	bool must_discard_session;
	/* Operations in parts: after success the session is not returned but put here,
	 * its holder's to give back; and use goes on, the holder's to end. NULL:
	 * returned.
	 */
	struct hp_session **keep_session;
};

hsmpool_status hp_operation_run(struct hp_operation *op, hsmpool_deadline deadline,
				hsmpool_error *err);

/* For runs that find out themselves which keys are concerned: begin op->use, with key, at
 * the first run; before anything is made, changed or let out. */
hsmpool_status hp_operation_begin_use(struct hp_operation *op,
				      const struct hp_key_identity *key,
				      hsmpool_error *err);

/* The DATA error of verb ("decrypt", "verify"): the same text whatever was wrong. */
hsmpool_status hp_fail_data(hsmpool_error *err, const char *verb, const hsmpool_key *key);

#endif

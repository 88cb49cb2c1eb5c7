/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One column's transformation: what turns one value into its pseudonym, or back.
 *
 * A method is made once per column and run, checks all that can be checked beforehand,
 * and is read-only then: any number of threads apply it, each with a worker of its own
 * (contexts, scratch space). Rows, quoting, empty values and the absence of dropped
 * columns are not its business.
 */
#ifndef HP_PSEUDONYM_METHOD_H
#define HP_PSEUDONYM_METHOD_H

#include <stdbool.h>
#include <hsmpool/pseudonym.h>
#include "pseudonym/keyed.h"
#include "pseudonym/text.h"

struct hp_method;
struct hp_method_worker;
struct hp_cache;

/* What all columns of a run share. All of it outlives the methods. */
struct hp_method_ground {
	hsmpool *pool;          /* may be NULL, and key, if no column is HMAC or FPE */
	hsmpool_key *key;       /* a generic secret (MAC) key of 112 bits or more */
	struct hp_cache *cache; /* pseudonym/cache.h; NULL: none */
	bool is_reverse;
	hsmpool_deadline deadline; /* of each wait for a session */
};

/*
 * Check the column and prepare it; HMAC and FPE call the HSM once. The column's texts
 * are copied. Error texts begin with the column. On failure *out is NULL.
 *
 * USAGE  the column contradicts itself; or is_reverse and the method is not FPE
 * KEY    there is none, it is of another kind, too short, or may not make MACs
 * and the errors of hsmpool_mac().
 */
hsmpool_status hp_method_open(struct hp_method **out,
			      const struct hp_method_ground *ground,
			      const hsmpool_column *column, hsmpool_error *err);
/* After its workers. Wipes; clears *method; accepts NULL in it. */
void hp_method_close(struct hp_method **method);

/* The column is to be left out: hp_method_apply() is not for it. */
bool hp_method_is_drop(const struct hp_method *method);

/* A thread's own, for this method alone. */
hsmpool_status hp_method_worker_new(struct hp_method_worker **out,
				    const struct hp_method *method, hsmpool_error *err);
void hp_method_worker_free(struct hp_method_worker **worker);

/* Whether its values take an HMAC: then a value is first looked for, then asked for, then
 * applied. */
bool hp_method_takes_hsm(const struct hp_method *method);

/* The HMAC of one value. */
struct hp_method_mac {
	uint8_t name[HP_KEYED_LEN]; /* in the run's cache */
	bool is_known;
	uint8_t mac[HP_KEYED_LEN];
};

/* Look for it in the run's cache, which may not know it. */
hsmpool_status hp_method_look(const struct hp_method *method,
			      struct hp_method_worker *worker, hsmpool_bytes value,
			      struct hp_method_mac *mac, hsmpool_error *err);
/* Ask the HSM for it, if it is not known: the errors of hsmpool_mac(). */
hsmpool_status hp_method_ask(const struct hp_method *method,
			     struct hp_method_worker *worker, hsmpool_bytes value,
			     struct hp_method_mac *mac, hsmpool_error *err);

/*
 * Append what becomes of value to out; mac: its HMAC, known, where the method takes one.
 * On failure out is as before.
 *
 * *is_bad: the status is DATA and it is the value that cannot be transformed; the text
 * ("it has 4 characters, at least 6 are needed") tells why, without the value. Any other
 * failure is not about the value, and the next one will hardly fare better.
 */
hsmpool_status hp_method_apply(const struct hp_method *method,
			       struct hp_method_worker *worker, hsmpool_bytes value,
			       const struct hp_method_mac *mac, struct hp_text *out,
			       bool *is_bad, hsmpool_error *err);

#endif

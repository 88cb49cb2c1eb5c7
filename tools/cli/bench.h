/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli bench: loads, their runs, and the raw loops that they are compared with.
 *
 * A load is one operation done by a number of threads for a time; a figure pairs two
 * loads, run alternately, and reports the median of the ratios. Only bench_raw.c calls
 * the vendor module's functions without the library: it is what "no pool" means.
 */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <p11-kit/pkcs11.h>
#include "base/secret.h"
#include "cli.h"
#include "p11/module.h"
#include "p11/token.h"
#include "crypto/key.h"
#include "pool/pool.h"

/* Of streams in direct mode: their default. */
#define BENCH_CHUNK (64u << 10)

enum bench_op { BENCH_RSA, BENCH_GCM, BENCH_HMAC, BENCH_OP_COUNT };

/* What all workers of all loads share. */
struct bench {
	struct cli *cli;
	unsigned pairs;
	double seconds; /* of one run */
	bool keeps_keys;
	struct hp_module *module; /* held, so that pools come and go on it */
	struct hp_token token;
	struct hp_secret *pin; /* for the loops that log in themselves */
	hsmpool *pool;         /* of the current scenario */
	hsmpool_key *keys[BENCH_OP_COUNT];
	struct json_object *results;
};

/* One thread of a load. */
struct bench_worker {
	struct bench *bench;
	enum bench_op op;
	hsmpool_error err;
	CK_SESSION_HANDLE session; /* raw loops: its own */
	CK_OBJECT_HANDLE object;
	CK_RV rv;
	uint64_t done;
	uint32_t *waits_us; /* wait of each borrow, if the load records it */
	size_t wait_count, wait_cap;
};

struct bench_load {
	const char *name;
	enum bench_op op;
	unsigned threads;
	bool (*begin)(struct bench_worker *); /* NULL: nothing to do */
	bool (*step)(struct bench_worker *);  /* false: failed, err or rv says why */
	void (*end)(struct bench_worker *);   /* NULL: nothing to do */
	bool records_waits;
};

struct bench_result {
	double per_second;
	double ns_per_op;              /* elapsed time / operations of all threads */
	uint64_t fewest, most;         /* operations of one thread */
	double p50_ms, p99_ms, max_ms; /* of waits */
};

/* Run it for bench->seconds. The status of the first worker that failed. */
hsmpool_status bench_run(struct bench *bench, const struct bench_load *load,
			 struct bench_result *result, hsmpool_error *err);

/* --- bench_raw.c: without the library -------------------------------------------------
 */
bool bench_raw_begin(struct bench_worker *worker);  /* a session, the key's handle */
bool bench_copy_begin(struct bench_worker *worker); /* and a session copy of the key */
bool bench_raw_step(struct bench_worker *worker);   /* Init and operation */
bool bench_raw_chunk_step(struct bench_worker *worker); /* AES-GCM of a whole chunk */
void bench_raw_end(struct bench_worker *worker);
bool bench_reopen_step(struct bench_worker *worker); /* open, search, do, close */
bool bench_naive_step(struct bench_worker *worker);  /* and log in and out */

/* --- bench_pool.c: through the pool ----------------------------------------------------
 */
bool bench_pool_step(struct bench_worker *worker);
bool bench_borrow_step(struct bench_worker *worker);
bool bench_wait_step(struct bench_worker *worker); /* records the wait */
const char *bench_op_name(enum bench_op op);
const char *bench_key_label(enum bench_op op);

/* Open bench->pool with so many sessions, all at once, and one option more (NULL: none).
 */
hsmpool_status bench_open_pool(struct bench *bench, unsigned sessions, const char *option,
			       const char *value, hsmpool_error *err);
void bench_close_pool(struct bench *bench);
hsmpool_status bench_make_keys(struct bench *bench, hsmpool_error *err);
void bench_destroy_keys(struct bench *bench);

/* --- bench_report.c --------------------------------------------------------------------
 */
struct bench_ratios {
	double value[100];
	unsigned count;
};
void bench_add_ratio(struct bench_ratios *ratios, double value);
double bench_median(const struct bench_ratios *ratios);
/* One line: what, the median and range of value, its unit, the goal. */
void bench_report(struct bench *bench, const char *scenario, const char *what,
		  const struct bench_ratios *values, const char *unit, const char *goal);

/* --- bench_file.c ----------------------------------------------------------------------
 */
hsmpool_status bench_file(struct bench *bench, hsmpool_error *err);

/* --- bench_direct.c --------------------------------------------------------------------
 */
hsmpool_status bench_direct(struct bench *bench, hsmpool_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of a pool that may change while it is open, and changing them.
 *
 * Each is read alone, by any thread at any time, so each is an atomic, and two of them
 * may be of two configurations for a moment: who reads them must live with that. All
 * other options are what they were when the pool was opened.
 */
#ifndef HP_POOL_LIVE_H
#define HP_POOL_LIVE_H

#include <stdatomic.h>
#include <hsmpool/pool.h>
#include "config/options.h"

/* type, field of struct hp_pool_options, key */
#define HP_LIVE_OPTIONS(X)                                     \
	X(uint32_t, max_sessions, "max-sessions")              \
	X(uint32_t, min_sessions, "min-sessions")              \
	X(uint32_t, max_waiters, "max-waiters")                \
	X(int64_t, borrow_timeout, "borrow-timeout")           \
	X(int64_t, revalidate_interval, "revalidate-interval") \
	X(int64_t, validate_after, "validate-after")           \
	X(int64_t, idle_timeout, "idle-timeout")               \
	X(int64_t, max_lifetime, "max-lifetime")               \
	X(int64_t, stuck_after, "stuck-after")                 \
	X(int64_t, breaker_after, "breaker-after")             \
	X(uint32_t, breaker_failures, "breaker-failures")      \
	X(int64_t, breaker_probe, "breaker-probe")             \
	X(int64_t, breaker_probe_max, "breaker-probe-max")     \
	X(bool, module_restart, "module-restart")              \
	X(int64_t, leak_warn, "leak-warn")                     \
	X(int64_t, close_grace, "close-grace")                 \
	X(bool, fair, "fair")                                  \
	X(enum hp_sign_retry, sign_retry, "sign-retry")        \
	X(hsmpool_log_level, log_level, "log-level")

struct hp_pool_live {
#define HP_LIVE_FIELD(type, field, key) _Atomic(type) field;
	HP_LIVE_OPTIONS(HP_LIVE_FIELD)
#undef HP_LIVE_FIELD
};

const struct hp_pool_live *hp_pool_live(const hsmpool *pool);

/*
 * What the pool was configured from, and what its face changes in options as they are
 * read (NULL: nothing). Copied. Not told: the pool's configuration cannot be read again.
 */
typedef void (*hp_adapt_options)(struct hp_pool_options *options,
				 const hsmpool_config *config);
hsmpool_status hp_pool_set_origin(hsmpool *pool, const hsmpool_config *config,
				  hp_adapt_options adapt, hsmpool_error *err);

/* What a new configuration means for a pool: keys, each list separated by blanks. */
struct hp_reload_report {
	char changed[512];       /* are in force */
	char needs_restart[512]; /* differ from what the pool was opened with */
};

/*
 * In two steps, so that several pools take a new configuration over, or none does. The
 * first reads the file and checks it as a whole; what it found waits in the pool for the
 * second, which cannot fail, or for the next first. config NULL: the file again.
 */
hsmpool_status hp_pool_prepare_reload(hsmpool *pool, const hsmpool_config *config,
				      hsmpool_error *err);
void hp_pool_finish_reload(hsmpool *pool, struct hp_reload_report *report);

/* Of a configuration that was read when the program started, perhaps long ago: where it
 * was read again since, this pool, which was just opened, takes that over too. */
void hp_pool_catch_up(hsmpool *pool);

/* How often it went well, and how often it did not, in this process: for the metrics. */
void hp_reload_count(bool is_well);
void hp_reload_get_counts(uint64_t *well, uint64_t *failed);

#endif

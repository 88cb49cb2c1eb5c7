/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options, typed: what the one option table (options.c) makes of a configuration.
 *
 * Owns: names, types, bounds, defaults, help texts. Every face reads its values from
 * the structures below, never from text.
 */
#ifndef HP_CONFIG_OPTIONS_H
#define HP_CONFIG_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hsmpool/config.h>
#include <hsmpool/log.h>
#include <hsmpool/status.h>
#include "config/policy.h"

enum hp_sign_retry { HP_SIGN_RETRY_NO, HP_SIGN_RETRY_DETERMINISTIC, HP_SIGN_RETRY_YES };
enum hp_key_copies { HP_KEY_COPIES_NONE, HP_KEY_COPIES_SESSION };
enum hp_probe {
	HP_PROBE_SESSION_INFO, /* C_GetSessionInfo: often purely local */
	HP_PROBE_TOKEN_INFO,   /* C_GetSessionInfo and C_GetTokenInfo */
	HP_PROBE_RANDOM,       /* and C_GenerateRandom of one byte */
	HP_PROBE_CANARY,       /* and a real operation with a named key */
};
enum hp_audit_records { HP_AUDIT_RECORDS_ALL, HP_AUDIT_RECORDS_MANAGEMENT };
enum hp_audit_failure { HP_AUDIT_FAILURE_CONTINUE, HP_AUDIT_FAILURE_REFUSE };
enum hp_session_mode { HP_SESSIONS_ON_DEMAND, HP_SESSIONS_READ_WRITE };

/* One [pool] or [pool NAME]; strings owned, NULL where not set. Times in ns. */
struct hp_pool_options {
	char *name; /* "" for [pool] */
	char *module;
	char *module_env; /* NAME=value */
	char *token;      /* URI */
	char *pin_source;
	uint32_t max_sessions;
	uint32_t min_sessions;
	uint32_t max_waiters;
	int64_t borrow_timeout;
	int64_t revalidate_interval; /* 0: never */
	int64_t validate_after;      /* 0: at every borrow */
	enum hp_probe probe;
	char *probe_key;      /* the KEY-URI of canary: */
	int64_t idle_timeout; /* 0: never */
	int64_t max_lifetime; /* 0: never */
	int64_t stuck_after;
	uint32_t stuck_reserve;
	int64_t call_timeout;  /* 0: calls run in the caller's thread */
	int64_t breaker_after; /* 0: never opens */
	uint32_t breaker_failures;
	int64_t breaker_probe;
	int64_t breaker_probe_max;
	bool module_restart;
	int64_t leak_warn; /* 0: never */
	int64_t close_grace;
	enum hp_key_copies key_copies;
	bool fair;
	enum hp_sign_retry sign_retry;
	bool offload_public;
	enum hp_session_mode session_mode;
	bool keeper;     /* no: upkeep happens on borrow and return */
	bool control;    /* yes: with a keeper the process has a control socket */
	bool hsm_iv;     /* the module makes GCM IVs itself */
	char *rv_class;  /* "0x80000001=device CKR_ARGUMENTS_BAD=capacity" */
	char *state_dir; /* NULL: no home folder to put it in */
	char *log; /* NULL unless one of log, log-level, log-format is set somewhere */
	hsmpool_log_level log_level;
	bool log_json;
	char *metrics_file; /* with %p where the process's number goes; NULL: none */
	int64_t metrics_interval;
	char *audit; /* the trail's folder; NULL: none */
	enum hp_audit_records audit_records;
	enum hp_audit_failure audit_failure;
	uint64_t audit_rotate_size;
	int64_t audit_rotate_after;         /* 0: never */
	int64_t audit_keep;                 /* 0: for ever */
	uint64_t audit_keep_size;           /* 0: no bound */
	int64_t audit_checkpoint;           /* 0: never */
	char *audit_key;                    /* URI; NULL: checkpoints are only chained */
	char *audit_pool;                   /* NULL: this one */
	struct hp_policy_options *policies; /* the [policy NAME] that are for it, owned */
	size_t policy_count;
};

/* One [key NAME]. */
struct hp_key_options {
	char *name;
	char *uri;
	bool has_sign_retry; /* else the pool's */
	enum hp_sign_retry sign_retry;
	bool counting; /* each use is counted or limited: never repeated */
};

enum hp_proxy_login { HP_PROXY_LOGIN_APPLICATION, HP_PROXY_LOGIN_AUTOMATIC };

/* [proxy]. Sizes in bytes, times in ns. */
struct hp_proxy_options {
	enum hp_proxy_login login;
	bool admin;
	uint64_t journal_limit; /* per operation */
	uint64_t journal_total; /* all operations of the process */
	int64_t pin_timeout;    /* a multi-part operation that cannot be replayed */
};

/* name NULL or "": [pool]. Everything is checked again as a whole (min <= max ...).
 * HSMPOOL_ERR_CONFIG too if there is no such pool, or it names no module. */
hsmpool_status hp_config_pool(const hsmpool_config *config, const char *name,
			      struct hp_pool_options *out, hsmpool_error *err);
/* Strings and all, but for the policies. To be cleared also after a failure. */
hsmpool_status hp_pool_options_copy(struct hp_pool_options *to,
				    const struct hp_pool_options *from,
				    hsmpool_error *err);
void hp_pool_options_clear(struct hp_pool_options *options);

/* All [key NAME] sections, an array of *count that the caller frees with _free. */
hsmpool_status hp_config_keys(const hsmpool_config *config, struct hp_key_options **out,
			      size_t *count, hsmpool_error *err);
void hp_key_options_free(struct hp_key_options *keys, size_t count);

hsmpool_status hp_config_proxy(const hsmpool_config *config, struct hp_proxy_options *out,
			       hsmpool_error *err);

/* For `config check`, the manual's test and completion: the table as text. */
struct hp_option_info {
	const char *section; /* "pool", "key", "policy", "proxy" */
	const char *key;
	const char *type; /* "duration", "number", "size", "yes|no", "text", "a|b|c" */
	const char *default_text; /* NULL: none */
	const char *help;
};
const struct hp_option_info *hp_option_at(size_t index); /* NULL past the end */

/* Of two structures of the option's section: are its values different? */
bool hp_option_differs(size_t index, const void *a, const void *b);

/* Parse "5s", "500ms", "100us", "10m", "1h", "1d", "0" into ns; "64KiB", "1MiB",
 * "1GiB", "4096B", "4096" into bytes. False: not of that form, or too large. */
bool hp_parse_duration(const char *text, int64_t *ns);
bool hp_parse_size(const char *text, uint64_t *bytes);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one option table, and how a value goes from text into its field.
 *
 * Owns: every option's name, type, bounds, default and help. Parsing, defaults, `config
 * check`, completion and the manual's test all follow the table; an option is added by a
 * row here, a field in options.h and a paragraph in hsmpool.conf(5). Must not: read files
 * or know which values are set. No state, no locks.
 */
#include "config/options.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/time.h"
#include "config/policy.h"
#include "config/table.h"
#include "config/value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY          (86400 * HP_SECOND)
#define LONGEST      (365 * DAY)
#define LONGEST_ECHO 60 /* bytes of a value that a message repeats */
#define MIB          (1024 * 1024)

enum value_kind {
	KIND_TEXT,
	KIND_NUMBER,
	KIND_DURATION,
	KIND_SIZE,
	KIND_YES_NO,
	KIND_CHOICE, /* the type text's alternatives, numbered from 0 */
	KIND_PROBE,
	KIND_FUNCTIONS, /* lists of words: see policy.h */
	KIND_MECHANISMS,
	KIND_SELECTORS,
	KIND_POOL_NAMES,
};

struct option_row {
	struct hp_option_info info;
	enum value_kind kind;
	size_t offset; /* of the field in the section's structure */
	size_t size;
	int64_t min;
	int64_t max;
	const char *(*complaint)(const char *value); /* NULL: the text is fine */
	bool is_delicate; /* the value is never repeated in a message */
};

/* --- checks of texts --------------------------------------------------------------- */

static bool starts_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

static const char *check_uri(const char *value)
{
	return starts_with(value, "pkcs11:") ? NULL
					     : "is not a PKCS#11 URI; write pkcs11:...";
}

static const char *check_module_env(const char *value)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "abcdefghijklmnopqrstuvwxyz_0123456789";
	size_t name_len = strspn(value, letters);
	bool is_named = name_len > 0 && !(value[0] >= '0' && value[0] <= '9');
	return is_named && value[name_len] == '=' ? NULL
						  : "is not of the form NAME=value";
}

/* The form only, lest someone writes the PIN itself here: p11/pin.h knows the rest. */
static const char *check_pin_source(const char *value)
{
	static const char *const prefixes[] = { "file:", "env:", "fd:", "credential:",
						"command:" };
	for (size_t i = 0; i < HP_ARRAY_LEN(prefixes); i++)
		if (starts_with(value, prefixes[i]) && value[strlen(prefixes[i])])
			return NULL;
	return strcmp(value, "prompt") == 0
		       ? NULL
		       : "is none of file:PATH, env:NAME, fd:N, credential:NAME, "
			 "command:PROGRAM, prompt";
}

static const char *check_absolute(const char *value)
{
	return value[0] == '/' ? NULL : "is not an absolute path";
}

static const char *check_metrics_file(const char *value)
{
	const char *name = strrchr(value, '/');
	const char *mark = strstr(value, "%p");
	if (value[0] != '/' || !name[1])
		return "is not the absolute path of a file";
	return !mark || (mark > name && !strstr(mark + 1, "%p"))
		       ? NULL
		       : "has %p elsewhere than once in the file's name";
}

static const char *check_log(const char *value)
{
	bool is_file = starts_with(value, "file:") && value[strlen("file:")];
	return is_file || strcmp(value, "stderr") == 0 || strcmp(value, "syslog") == 0 ||
			       strcmp(value, "journald") == 0
		       ? NULL
		       : "is none of stderr, file:PATH, syslog, journald";
}

/* --- the table --------------------------------------------------------------------- */

#define FIELD(type, member) offsetof(type, member), sizeof(((type *)0)->member)
#define POOL(member)        FIELD(struct hp_pool_options, member)
#define KEY(member)         FIELD(struct hp_key_options, member)
#define POLICY(member)      FIELD(struct hp_policy_options, member)
#define PROXY(member)       FIELD(struct hp_proxy_options, member)

/* clang-format off */
static const struct option_row rows[] = {
	{ { "pool", "module", "text", NULL,
	    "the PKCS#11 module: a path, or the name of a p11-kit module file" },
	  KIND_TEXT, POOL(module), 0, 0, NULL, false },
	{ { "pool", "module-env", "NAME=value", NULL,
	    "set in the environment before the module is loaded, if not set already" },
	  KIND_TEXT, POOL(module_env), 0, 0, check_module_env, false },
	{ { "pool", "token", "URI", NULL,
	    "the token, as an RFC 7512 URI that matches exactly one" },
	  KIND_TEXT, POOL(token), 0, 0, check_uri, false },
	{ { "pool", "pin-source",
	    "file:PATH|env:NAME|fd:N|credential:NAME|command:PROGRAM ARG...|prompt", NULL,
	    "where the user PIN comes from; without it the pool does not log in" },
	  KIND_TEXT, POOL(pin_source), 0, 0, check_pin_source, true },
	{ { "pool", "max-sessions", "number", "16",
	    "most sessions this process ever has open on the token" },
	  KIND_NUMBER, POOL(max_sessions), 1, 65535, NULL, false },
	{ { "pool", "min-sessions", "number", "2",
	    "sessions kept open while idle; at most max-sessions" },
	  KIND_NUMBER, POOL(min_sessions), 0, 65535, NULL, false },
	{ { "pool", "max-waiters", "number", "1024",
	    "callers that may wait for a session; one more is refused at once" },
	  KIND_NUMBER, POOL(max_waiters), 0, 1000000, NULL, false },
	{ { "pool", "borrow-timeout", "duration", "5s",
	    "how long a call without a deadline of its own waits for a session" },
	  KIND_DURATION, POOL(borrow_timeout), 0, LONGEST, NULL, false },
	{ { "pool", "revalidate-interval", "duration", "60s",
	    "how often each idle session is probed in the background; 0 = never" },
	  KIND_DURATION, POOL(revalidate_interval), 0, LONGEST, NULL, false },
	{ { "pool", "validate-after", "duration", "30s",
	    "a session idle for longer is probed before it is lent; 0 = always" },
	  KIND_DURATION, POOL(validate_after), 0, LONGEST, NULL, false },
	{ { "pool", "probe", "session-info|token-info|random|canary:KEY-URI", "token-info",
	    "how a session is probed" },
	  KIND_PROBE, POOL(probe), 0, 0, NULL, false },
	{ { "pool", "idle-timeout", "duration", "10m",
	    "sessions above min-sessions are closed when idle for this long; 0 = never" },
	  KIND_DURATION, POOL(idle_timeout), 0, LONGEST, NULL, false },
	{ { "pool", "max-lifetime", "duration", "1h",
	    "a session of this age is replaced when it is returned; 0 = never" },
	  KIND_DURATION, POOL(max_lifetime), 0, LONGEST, NULL, false },
	{ { "pool", "stuck-after", "duration", "30s",
	    "a module call that takes longer counts as hung" },
	  KIND_DURATION, POOL(stuck_after), HP_MS, LONGEST, NULL, false },
	{ { "pool", "stuck-reserve", "number", "0",
	    "sessions opened beyond max-sessions to replace hung ones" },
	  KIND_NUMBER, POOL(stuck_reserve), 0, 65535, NULL, false },
	{ { "pool", "call-timeout", "duration", "0",
	    "bound on a module call itself; 0 = calls run in the caller's thread" },
	  KIND_DURATION, POOL(call_timeout), 0, LONGEST, NULL, false },
	{ { "pool", "breaker-after", "duration", "10s",
	    "a token that only failed for this long is down: callers are refused at once; "
	    "0 = never" },
	  KIND_DURATION, POOL(breaker_after), 0, LONGEST, NULL, false },
	{ { "pool", "breaker-failures", "number", "5",
	    "and that failed so often in a row" },
	  KIND_NUMBER, POOL(breaker_failures), 1, 1000000, NULL, false },
	{ { "pool", "breaker-probe", "duration", "500ms",
	    "how often a token that is down is tried while callers ask for it" },
	  KIND_DURATION, POOL(breaker_probe), HP_MS, LONGEST, NULL, false },
	{ { "pool", "breaker-probe-max", "duration", "30s",
	    "and the longest pause between two tries while nobody asks" },
	  KIND_DURATION, POOL(breaker_probe_max), HP_MS, LONGEST, NULL, false },
	{ { "pool", "module-restart", "yes|no", "yes",
	    "finalise and initialise a module anew when nothing else helps" },
	  KIND_YES_NO, POOL(module_restart), 0, 0, NULL, false },
	{ { "pool", "leak-warn", "duration", "60s",
	    "warn of a session that is borrowed for longer; 0 = never" },
	  KIND_DURATION, POOL(leak_warn), 0, LONGEST, NULL, false },
	{ { "pool", "close-grace", "duration", "10s",
	    "how long closing the pool waits for borrowed sessions" },
	  KIND_DURATION, POOL(close_grace), 0, LONGEST, NULL, false },
	{ { "pool", "key-copies", "none|session", "none",
	    "work with session-object copies of token keys where they allow it" },
	  KIND_CHOICE, POOL(key_copies), 0, 0, NULL, false },
	{ { "pool", "fair", "yes|no", "no",
	    "hand sessions over strictly in the order of asking" },
	  KIND_YES_NO, POOL(fair), 0, 0, NULL, false },
	{ { "pool", "sign-retry", "no|deterministic|yes", "no",
	    "which signatures may be repeated after a loss in mid-call" },
	  KIND_CHOICE, POOL(sign_retry), 0, 0, NULL, false },
	{ { "pool", "offload-public", "yes|no", "no",
	    "verify and encrypt with public keys in OpenSSL" },
	  KIND_YES_NO, POOL(offload_public), 0, 0, NULL, false },
	{ { "pool", "sessions", "on-demand|read-write", "on-demand",
	    "open read-only sessions and read-write ones on demand, or all read-write" },
	  KIND_CHOICE, POOL(session_mode), 0, 0, NULL, false },
	{ { "pool", "keeper", "yes|no", "yes",
	    "upkeep in background threads; no = on borrow and return" },
	  KIND_YES_NO, POOL(keeper), 0, 0, NULL, false },
	{ { "pool", "control", "yes|no", "yes",
	    "a socket by which hsmpool-cli asks and controls the process; needs keeper" },
	  KIND_YES_NO, POOL(control), 0, 0, NULL, false },
	{ { "pool", "hsm-iv", "yes|no", "no",
	    "the module makes the IVs of AES-GCM itself and returns them" },
	  KIND_YES_NO, POOL(hsm_iv), 0, 0, NULL, false },
	{ { "pool", "rv-class", "CODE=class ...", NULL,
	    "how return values of this vendor are to be understood" },
	  KIND_TEXT, POOL(rv_class), 0, 0, NULL, false },
	{ { "pool", "state-dir", "path", "/var/lib/hsmpool",
	    "folder for what must survive a restart; the user's state folder if not root" },
	  KIND_TEXT, POOL(state_dir), 0, 0, check_absolute, false },
	{ { "pool", "log", "stderr|file:PATH|syslog|journald", "stderr",
	    "where log lines go" },
	  KIND_TEXT, POOL(log), 0, 0, check_log, false },
	{ { "pool", "log-level", "error|warning|notice|info|debug", "warning",
	    "the most detailed level that is written" },
	  KIND_CHOICE, POOL(log_level), 0, 0, NULL, false },
	{ { "pool", "log-format", "text|json", "text", "plain lines, or one JSON object each" },
	  KIND_CHOICE, POOL(log_json), 0, 0, NULL, false },
	{ { "pool", "metrics-file", "path", NULL,
	    "write the process's metrics there, for node_exporter; %p = its number" },
	  KIND_TEXT, POOL(metrics_file), 0, 0, check_metrics_file, false },
	{ { "pool", "metrics-interval", "duration", "10s",
	    "how often metrics-file is written" },
	  KIND_DURATION, POOL(metrics_interval), HP_MS, LONGEST, NULL, false },
	{ { "pool", "audit", "path", NULL,
	    "folder of the audit trail: one line per use of the token; none = no trail" },
	  KIND_TEXT, POOL(audit), 0, 0, check_absolute, false },
	{ { "pool", "audit-records", "all|management", "all",
	    "every operation, or key management, logins and failures only" },
	  KIND_CHOICE, POOL(audit_records), 0, 0, NULL, false },
	{ { "pool", "audit-failure", "continue|refuse", "continue",
	    "when no record can be written: count them and go on, or refuse operations" },
	  KIND_CHOICE, POOL(audit_failure), 0, 0, NULL, false },
	{ { "pool", "audit-rotate-size", "size", "64MiB",
	    "a file of the trail that grew to this is followed by a new one" },
	  KIND_SIZE, POOL(audit_rotate_size), 4096, 1024 * 1024 * (int64_t)MIB, NULL, false },
	{ { "pool", "audit-rotate-after", "duration", "1d",
	    "and one that has records of this age; 0 = never" },
	  KIND_DURATION, POOL(audit_rotate_after), 0, LONGEST, NULL, false },
	{ { "pool", "audit-keep", "duration", "0",
	    "files whose last record is older are deleted; 0 = kept for ever" },
	  KIND_DURATION, POOL(audit_keep), 0, 100 * LONGEST, NULL, false },
	{ { "pool", "audit-keep-size", "size", "0",
	    "the oldest files are deleted where the trail is larger; 0 = no bound" },
	  KIND_SIZE, POOL(audit_keep_size), 0, 1024 * 1024 * (int64_t)MIB, NULL, false },
	{ { "pool", "audit-checkpoint", "duration", "60s",
	    "how often the trail's head is written to the system's log, and authenticated; "
	    "0 = never" },
	  KIND_DURATION, POOL(audit_checkpoint), 0, LONGEST, NULL, false },
	{ { "pool", "audit-key", "URI", NULL,
	    "the key that authenticates checkpoints; without it they are only chained" },
	  KIND_TEXT, POOL(audit_key), 0, 0, check_uri, false },
	{ { "pool", "audit-pool", "text", NULL,
	    "the pool whose token has audit-key; this one if not set" },
	  KIND_TEXT, POOL(audit_pool), 0, 0, NULL, false },

	{ { "key", "uri", "URI", NULL, "the key's RFC 7512 URI" },
	  KIND_TEXT, KEY(uri), 0, 0, check_uri, false },
	{ { "key", "sign-retry", "no|deterministic|yes", NULL,
	    "the pool's sign-retry for this key" },
	  KIND_CHOICE, KEY(sign_retry), 0, 0, NULL, false },
	{ { "key", "counting", "yes|no", "no",
	    "each use is counted or limited: no operation is ever repeated" },
	  KIND_YES_NO, KEY(counting), 0, 0, NULL, false },

	{ { "policy", "key", "URI ...", NULL,
	    "the objects that it is about; without it all, and what is done without any" },
	  KIND_SELECTORS, POLICY(keys), 0, 0, NULL, false },
	{ { "policy", "pool", "NAME ...", NULL, "the pools that it is for" },
	  KIND_POOL_NAMES, POLICY(pools), 0, 0, NULL, false },
	{ { "policy", "functions", "WORD ...", "all", "what may be done with them" },
	  KIND_FUNCTIONS, POLICY(actions), 0, 0, NULL, false },
	{ { "policy", "mechanisms", "WORD ...", "all",
	    "by which mechanisms: CKM_ names, names of schemes, numbers" },
	  KIND_MECHANISMS, POLICY(mechanisms), 0, 0, NULL, false },
	{ { "policy", "read-only", "yes|no", "no",
	    "yes: no object of the token is made, changed or destroyed" },
	  KIND_YES_NO, POLICY(is_read_only), 0, 0, NULL, false },
	{ { "policy", "mode", "enforce|dry-run", "enforce",
	    "refuse what is not allowed, or only log and count it" },
	  KIND_CHOICE, POLICY(mode), 0, 0, NULL, false },
	{ { "proxy", "login", "application|automatic", "application",
	    "who logs in: the application's C_Login, or the pool with pin-source" },
	  KIND_CHOICE, PROXY(login), 0, 0, NULL, false },
	{ { "proxy", "admin", "yes|no", "no",
	    "allow C_InitToken, C_InitPIN, C_SetPIN and logins of the SO" },
	  KIND_YES_NO, PROXY(admin), 0, 0, NULL, false },
	{ { "proxy", "journal-limit", "size", "64KiB",
	    "input that is kept to begin one operation again" },
	  KIND_SIZE, PROXY(journal_limit), 0, 1024 * (int64_t)MIB, NULL, false },
	{ { "proxy", "journal-total", "size", "64MiB",
	    "input that is kept for all operations of the process" },
	  KIND_SIZE, PROXY(journal_total), 0, 64 * 1024 * (int64_t)MIB, NULL, false },
	{ { "proxy", "pin-timeout", "duration", "60s",
	    "how long an idle operation that cannot be replayed may hold its session" },
	  KIND_DURATION, PROXY(pin_timeout), 0, LONGEST, NULL, false },
};
/* clang-format on */
_Static_assert(HP_ARRAY_LEN(rows) == HP_OPTION_COUNT, "table.h has the number of rows");
_Static_assert(sizeof(enum hp_probe) == sizeof(int) &&
		       sizeof(hsmpool_log_level) == sizeof(int),
	       "choices are stored as int");

const struct hp_option_info *hp_option_at(size_t index)
{
	return index < HP_ARRAY_LEN(rows) ? &rows[index].info : NULL;
}

size_t hp_option_find(const char *kind, const char *key)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(rows); i++)
		if (strcmp(rows[i].info.section, kind) == 0 &&
		    strcmp(rows[i].info.key, key) == 0)
			return i;
	return HP_OPTION_COUNT;
}

/* --- what an unknown key may have meant --------------------------------------------- */

static bool needs_name(const char *section)
{
	return strcmp(section, "key") == 0 || strcmp(section, "policy") == 0;
}

void hp_option_hint(const char *kind, const char *key, char *hint, size_t size)
{
	const struct hp_option_info *nearest = NULL;
	size_t nearest_distance = 4; /* further away it is no typing mistake */
	hint[0] = '\0';
	for (size_t i = 0; i < HP_ARRAY_LEN(rows); i++) {
		const struct hp_option_info *info = &rows[i].info;
		size_t distance = hp_edit_distance(key, info->key);
		bool is_here = strcmp(info->section, kind) == 0;
		if (distance == 0 && !is_here) {
			snprintf(hint, size, "; it belongs in [%s%s]", info->section,
				 needs_name(info->section) ? " NAME" : "");
			return;
		}
		if (is_here && distance < nearest_distance && distance < strlen(key)) {
			nearest = info;
			nearest_distance = distance;
		}
	}
	if (nearest)
		snprintf(hint, size, "; did you mean '%s'?", nearest->key);
}

/* --- values ------------------------------------------------------------------------ */

static hsmpool_status refuse(const struct option_row *row, const char *value,
			     hsmpool_error *err, const char *complaint)
{
	if (row->is_delicate)
		return hp_fail(err, HSMPOOL_ERR_CONFIG, "%s: the value %s", row->info.key,
			       complaint);
	/* A misplaced URI may hold a PIN behind its '?'. */
	size_t shown = strcspn(value, "?");
	return hp_fail(err, HSMPOOL_ERR_CONFIG, "%s: '%.*s' %s", row->info.key,
		       (int)(shown < LONGEST_ECHO ? shown : LONGEST_ECHO), value,
		       complaint);
}

static hsmpool_status check_range(const struct option_row *row, const char *value,
				  uint64_t number, hsmpool_error *err)
{
	if (number <= (uint64_t)row->max && number >= (uint64_t)row->min)
		return HSMPOOL_OK;
	switch (row->kind) {
	case KIND_NUMBER:
		return hp_fail(err, HSMPOOL_ERR_CONFIG,
			       "%s: '%.60s' is out of range (%lld to %lld)",
			       row->info.key, value, (long long)row->min,
			       (long long)row->max);
	case KIND_SIZE:
		return hp_fail(err, HSMPOOL_ERR_CONFIG,
			       "%s: '%.60s' is out of range (%lldKiB to %lldMiB)",
			       row->info.key, value, (long long)row->min / 1024,
			       (long long)row->max / MIB);
	default:
		return hp_fail(err, HSMPOOL_ERR_CONFIG,
			       "%s: '%.60s' is out of range (%s to %lldd)", row->info.key,
			       value, row->min > 0 ? "1ms" : "0",
			       (long long)(row->max / DAY));
	}
}

static void *field_of(const struct option_row *row, void *options)
{
	return (char *)options + row->offset;
}

static hsmpool_status apply_text(const struct option_row *row, const char *value,
				 void *options, hsmpool_error *err)
{
	HP_CHECK(value[0], err, HSMPOOL_ERR_CONFIG, "%s: the value is missing",
		 row->info.key);
	if (value[0] == '"' && value[strlen(value) - 1] == '"')
		return refuse(row, value, err, "stands in quotes; write it without them");
	const char *complaint = row->complaint ? row->complaint(value) : NULL;
	if (complaint)
		return refuse(row, value, err, complaint);
	if (!options)
		return HSMPOOL_OK;
	char *copy = strdup(value);
	HP_CHECK(copy, err, HSMPOOL_ERR_SYSTEM, "no memory for the configuration");
	char **field = field_of(row, options);
	free(*field);
	*field = copy;
	return HSMPOOL_OK;
}

static hsmpool_status apply_number(const struct option_row *row, const char *value,
				   void *options, hsmpool_error *err)
{
	uint64_t number;
	if (!hp_parse_number(value, &number))
		return refuse(row, value, err, "is not a whole number");
	HP_TRY(check_range(row, value, number, err));
	if (options)
		*(uint32_t *)field_of(row, options) = (uint32_t)number;
	return HSMPOOL_OK;
}

static hsmpool_status apply_duration(const struct option_row *row, const char *value,
				     void *options, hsmpool_error *err)
{
	int64_t ns;
	if (value[0] && value[strspn(value, "0123456789")] == '\0' &&
	    strcmp(value, "0") != 0)
		return refuse(row, value, err,
			      "has no unit; put us, ms, s, m, h or d after it");
	if (!hp_parse_duration(value, &ns))
		return refuse(row, value, err,
			      "is not a duration; write 500ms, 5s, 10m, 1h, 1d or 0");
	HP_TRY(check_range(row, value, (uint64_t)ns, err));
	if (options)
		*(int64_t *)field_of(row, options) = ns;
	return HSMPOOL_OK;
}

static hsmpool_status apply_size(const struct option_row *row, const char *value,
				 void *options, hsmpool_error *err)
{
	uint64_t bytes;
	if (!hp_parse_size(value, &bytes))
		return refuse(row, value, err,
			      "is not a size; write 4096, 64KiB or 1MiB");
	HP_TRY(check_range(row, value, bytes, err));
	if (options)
		*(uint64_t *)field_of(row, options) = bytes;
	return HSMPOOL_OK;
}

static hsmpool_status apply_yes_no(const struct option_row *row, const char *value,
				   void *options, hsmpool_error *err)
{
	bool is_yes = strcmp(value, "yes") == 0;
	if (!is_yes && strcmp(value, "no") != 0)
		return refuse(row, value, err, "is neither yes nor no");
	if (options)
		*(bool *)field_of(row, options) = is_yes;
	return HSMPOOL_OK;
}

static hsmpool_status apply_choice(const struct option_row *row, const char *value,
				   void *options, hsmpool_error *err)
{
	int choice = hp_parse_choice(row->info.type, value);
	HP_CHECK(choice >= 0, err, HSMPOOL_ERR_CONFIG, "%s: '%.60s' is none of %s",
		 row->info.key, value, row->info.type);
	if (options && row->size == sizeof(bool))
		*(bool *)field_of(row, options) = choice == 1;
	else if (options)
		*(int *)field_of(row, options) = choice;
	return HSMPOOL_OK;
}

static hsmpool_status apply_probe(const struct option_row *row, const char *value,
				  struct hp_pool_options *options, hsmpool_error *err)
{
	static const char prefix[] = "canary:";
	const char *key = starts_with(value, prefix) ? value + strlen(prefix) : NULL;
	int choice = hp_parse_choice("session-info|token-info|random", value);
	if (key && check_uri(key))
		return refuse(row, value, err, "names no key; write canary:pkcs11:...");
	HP_CHECK(key || choice >= 0, err, HSMPOOL_ERR_CONFIG, "%s: '%.60s' is none of %s",
		 row->info.key, value, row->info.type);
	if (!options)
		return HSMPOOL_OK;
	char *copy = hp_strdup(key);
	HP_CHECK(copy || !key, err, HSMPOOL_ERR_SYSTEM,
		 "no memory for the configuration");
	free(options->probe_key);
	options->probe_key = copy;
	options->probe = key ? HP_PROBE_CANARY : (enum hp_probe)choice;
	return HSMPOOL_OK;
}

static hsmpool_status check_list(const struct option_row *row, const char *value,
				 uint32_t *actions, hsmpool_error *err)
{
	switch (row->kind) {
	case KIND_FUNCTIONS:
		return hp_actions_parse(value, actions, err);
	case KIND_MECHANISMS:
		return hp_mechanisms_check(value, err);
	case KIND_SELECTORS:
		return hp_selectors_check(value, err);
	default:
		return hp_pool_names_check(value, err);
	}
}

/* Functions are kept as bits, the others as the text that was checked. */
static hsmpool_status apply_list(const struct option_row *row, const char *value,
				 void *options, hsmpool_error *err)
{
	uint32_t actions = 0;
	HP_TRY(apply_text(row, value, NULL, err));
	HP_TRY(check_list(row, value, &actions, err));
	if (row->kind != KIND_FUNCTIONS)
		return apply_text(row, value, options, err);
	if (options)
		*(uint32_t *)field_of(row, options) = actions;
	return HSMPOOL_OK;
}

hsmpool_status hp_option_apply(size_t index, const char *value, void *options,
			       hsmpool_error *err)
{
	const struct option_row *row = &rows[index];
	switch (row->kind) {
	case KIND_TEXT:
		return apply_text(row, value, options, err);
	case KIND_NUMBER:
		return apply_number(row, value, options, err);
	case KIND_DURATION:
		return apply_duration(row, value, options, err);
	case KIND_SIZE:
		return apply_size(row, value, options, err);
	case KIND_YES_NO:
		return apply_yes_no(row, value, options, err);
	case KIND_CHOICE:
		return apply_choice(row, value, options, err);
	case KIND_PROBE:
		return apply_probe(row, value, options, err);
	case KIND_FUNCTIONS:
	case KIND_MECHANISMS:
	case KIND_SELECTORS:
	case KIND_POOL_NAMES:
		return apply_list(row, value, options, err);
	}
	return hp_fail(err, HSMPOOL_ERR_CONFIG, "%s: the option has no type",
		       row->info.key);
}

static bool copy_text(char **field)
{
	const char *text = *field;
	*field = hp_strdup(text);
	return !text || *field;
}

hsmpool_status hp_pool_options_copy(struct hp_pool_options *to,
				    const struct hp_pool_options *from,
				    hsmpool_error *err)
{
	*to = *from;
	to->policies = NULL;
	to->policy_count = 0;
	bool is_complete = copy_text(&to->name);
	is_complete = copy_text(&to->probe_key) && is_complete;
	for (size_t i = 0; i < HP_ARRAY_LEN(rows); i++)
		if (rows[i].kind == KIND_TEXT &&
		    strcmp(rows[i].info.section, "pool") == 0)
			is_complete = copy_text(field_of(&rows[i], to)) && is_complete;
	HP_CHECK(is_complete, err, HSMPOOL_ERR_SYSTEM,
		 "no memory for the pool's options");
	return HSMPOOL_OK;
}

/* NULL: there is none. */
static bool is_other_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) != 0 : a != b;
}

bool hp_option_differs(size_t index, const void *a, const void *b)
{
	const struct option_row *row = &rows[index];
	const void *one = (const char *)a + row->offset;
	const void *other = (const char *)b + row->offset;
	if (row->kind == KIND_PROBE) {
		const struct hp_pool_options *p = a, *q = b;
		return p->probe != q->probe || is_other_text(p->probe_key, q->probe_key);
	}
	if (row->kind == KIND_TEXT)
		return is_other_text(*(char *const *)one, *(char *const *)other);
	return memcmp(one, other, row->size) != 0;
}

void hp_pool_options_clear(struct hp_pool_options *options)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(rows); i++)
		if (rows[i].kind == KIND_TEXT &&
		    strcmp(rows[i].info.section, "pool") == 0)
			free(*(char **)field_of(&rows[i], options));
	free(options->probe_key);
	free(options->name);
	hp_policy_options_free(options->policies, options->policy_count);
	*options = (struct hp_pool_options){ 0 };
}

void hp_key_options_free(struct hp_key_options *keys, size_t count)
{
	for (size_t i = 0; keys && i < count; i++) {
		free(keys[i].name);
		free(keys[i].uri);
	}
	free(keys);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the verbs of hsmpool-cli share: the invocation, its options, its messages.
 *
 * A verb is one function, int verb_NAME(struct cli *, int argc, char **argv), in a file
 * of its own, listed in main.c's table. It reads its options with cli_parse(),
 * opens what it needs with cli_open_*(), writes data to standard output and ends with
 * cli_finish(), which prints the one error line and turns the status into the exit code.
 * Nothing here may print a secret; a PIN is never an argument.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <hsmpool/hsmpool.h>

#define CLI_MAX_KEYS 16 /* recipients of one container */

struct json_object;

/* One invocation. Configuration and pool are opened when a verb first asks. */
struct cli {
	const char *verb;        /* "encrypt", "key show": for messages and help */
	const char *config_path; /* --config */
	const char *pool_name;   /* --pool, NULL: [pool] */
	const char *timeout;     /* --timeout, checked already */
	bool is_json;
	unsigned verbosity;
	/* Set by cli_parse(): the verb is over (help was asked for, or an option is wrong
	 * and was reported), with this exit code. */
	bool is_finished;
	int exit_code;
	hsmpool_config *config;
	hsmpool *pool;
};

/* --- options ------------------------------------------------------------------------ */

struct cli_option {
	const char *name;     /* long name */
	int id;               /* a letter, or a number from CLI_OWN on */
	const char *argument; /* its argument's name in the help, NULL: takes none */
	const char *help;
};

/* What a verb takes; what `hsmpool-cli VERB --help` prints. */
struct cli_usage {
	const char *synopsis; /* after the verb: "[--key KEY]... [--in FILE]" */
	const char *about;    /* one or a few sentences */
	const struct cli_option *options; /* ends with a NULL name; NULL: none */
	int operands;                     /* at most */
};

/* Options with the same meaning in every verb that takes them. */
enum {
	CLI_OWN = 256, /* first number for a verb's own options */
	CLI_KEY = 1000,
	CLI_IN,
	CLI_OUT,
	CLI_FORCE,
	CLI_FORMAT,
	CLI_SCHEME,
	CLI_YES,
	CLI_LIMIT_RATE,
};
#define CLI_OPTION_KEY                                                        \
	{                                                                     \
		"key", CLI_KEY, "KEY",                                        \
			"pkcs11: URI or configured name (else [key default])" \
	}
#define CLI_OPTION_IN                                                       \
	{                                                                   \
		"in", CLI_IN, "FILE", "read FILE instead of standard input" \
	}
#define CLI_OPTION_OUT                                                            \
	{                                                                         \
		"out", CLI_OUT, "FILE",                                           \
			"write FILE, at success only, instead of standard output" \
	}
#define CLI_OPTION_FORCE                                             \
	{                                                            \
		"force", CLI_FORCE, NULL, "replace an existing FILE" \
	}
#define CLI_OPTION_LIMIT_RATE                                               \
	{                                                                   \
		"limit-rate", CLI_LIMIT_RATE, "RATE",                       \
			"read at most RATE bytes per second: 512KiB, 10MiB" \
	}
#define CLI_OPTION_END              \
	{                           \
		NULL, 0, NULL, NULL \
	}

/*
 * Read the verb's command line, argv[0] being its name: each option of its own is given
 * to take (NULL: it has none) with request; argv[optind] is then the first operand, or
 * NULL. Global options and --help are dealt with here. Any error, and is_finished: the
 * verb goes straight to cli_finish().
 */
hsmpool_status cli_parse(struct cli *cli, const struct cli_usage *usage,
			 hsmpool_status (*take)(void *request, int id,
						const char *argument, hsmpool_error *err),
			 void *request, int argc, char **argv, hsmpool_error *err);

/* Options in front of the verb; argv[optind] is then the verb. False: is_finished. */
bool cli_global_options(struct cli *cli, int argc, char **argv);
void cli_print_global_options(void);

/* Refuse operands beyond max. */
hsmpool_status cli_operands(int argc, int max, char **argv, hsmpool_error *err);

/* --- what verbs open -----------------------------------------------------------------
 */

hsmpool_status cli_open_config(struct cli *cli, hsmpool_error *err);
hsmpool_status cli_open_pool(struct cli *cli, hsmpool_error *err);
/* which NULL: [key default]. Opens the pool first. */
hsmpool_status cli_open_key(struct cli *cli, const char *which, hsmpool_key **key,
			    hsmpool_error *err);
/* The configuration's section: "pool" or "pool NAME". */
void cli_pool_section(const struct cli *cli, char *section, size_t cap);
void cli_close(struct cli *cli);

#define CLI_AUTO_KEY __attribute__((cleanup(hsmpool_key_close))) hsmpool_key

/* --- how verbs end -------------------------------------------------------------------
 */

/* Print "hsmpool-cli: VERB: text" on standard error unless status is OK (or a signal
 * stopped us, or all is said: is_finished) and give the exit code. */
int cli_finish(struct cli *cli, hsmpool_status status, const hsmpool_error *err);

/* The same for a verb that verifies: OK prints "OK" (--json: valid true, and false for
 * DATA) on standard output. */
int cli_finish_verdict(struct cli *cli, hsmpool_status status, const hsmpool_error *err);

/* Text from elsewhere, that reaches no terminal as a command: for what a terminal would
 * obey there is a question mark. */
void cli_put_printable(const char *text, FILE *stream);

/* One line on standard error, control characters made visible. */
void cli_message(const struct cli *cli, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* A member of object: a string, a number, seconds to the microsecond. */
void cli_add_text(struct json_object *object, const char *name, const char *value);
void cli_add_number(struct json_object *object, const char *name, uint64_t value);
void cli_add_seconds(struct json_object *object, const char *name, double seconds);
/* Print and free object, a line's end after it. */
void cli_print_json(struct json_object *object);
/* The same; where standard output carries the data, one line of standard error. */
void cli_print_summary(struct json_object *object, bool is_stdout_taken);
/* How many sessions of cli's pool are lent now. */
unsigned cli_sessions_in_use(const struct cli *cli);

/* --- warnings ------------------------------------------------------------------------
 */

/* The library's log lines, when they would go to standard error: held back, and printed
 * only if the verb succeeds, so that a failure is one line. With -v they flow at once. */
void cli_warnings_hold(struct cli *cli);
void cli_warnings_print(const struct cli *cli);

/* --- the verbs ------------------------------------------------------------------------
 */

int verb_dev_init(struct cli *cli, int argc, char **argv);
int verb_keygen(struct cli *cli, int argc, char **argv);
int verb_keys(struct cli *cli, int argc, char **argv);
int verb_key_show(struct cli *cli, int argc, char **argv);
int verb_key_export(struct cli *cli, int argc, char **argv);
int verb_key_import(struct cli *cli, int argc, char **argv);
int verb_key_destroy(struct cli *cli, int argc, char **argv);
int verb_encrypt(struct cli *cli, int argc, char **argv);
int verb_decrypt(struct cli *cli, int argc, char **argv);
int verb_inspect(struct cli *cli, int argc, char **argv);
int verb_rewrap(struct cli *cli, int argc, char **argv);
int verb_pseudonymize(struct cli *cli, int argc, char **argv);
int verb_depseudonymize(struct cli *cli, int argc, char **argv);
int verb_sign(struct cli *cli, int argc, char **argv);
int verb_verify(struct cli *cli, int argc, char **argv);
int verb_mac(struct cli *cli, int argc, char **argv);
int verb_random(struct cli *cli, int argc, char **argv);
int verb_wrap(struct cli *cli, int argc, char **argv);
int verb_unwrap(struct cli *cli, int argc, char **argv);
int verb_status(struct cli *cli, int argc, char **argv);
int verb_pin_status(struct cli *cli, int argc, char **argv);
int verb_pin_release(struct cli *cli, int argc, char **argv);
int verb_audit_verify(struct cli *cli, int argc, char **argv);
int verb_audit_status(struct cli *cli, int argc, char **argv);
int verb_audit_show(struct cli *cli, int argc, char **argv);
int verb_top(struct cli *cli, int argc, char **argv);
int verb_exporter(struct cli *cli, int argc, char **argv);
int verb_doctor(struct cli *cli, int argc, char **argv);
int verb_ctl(struct cli *cli, int argc, char **argv);
int verb_config_check(struct cli *cli, int argc, char **argv);
int verb_bench(struct cli *cli, int argc, char **argv);
int verb_version(struct cli *cli, int argc, char **argv);

#endif

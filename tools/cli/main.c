/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli: the table of verbs, and how one is found and run.
 *
 * A new verb is a row here, a prototype in cli.h, a file, a section of hsmpool-cli(1)
 * and a word in the completion; test/cli checks the last two.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/memory.h"
#include "observe/request.h"
#include "cli.h"
#include "stop.h"

struct verb {
	const char *name; /* two words for the verbs of a group: "key show" */
	int (*run)(struct cli *cli, int argc, char **argv);
	const char *help;
};

static const struct verb verbs[] = {
	{ "dev init", verb_dev_init,
	  "make a private SoftHSM2 token, key, configuration" },
	{ "keygen", verb_keygen, "generate a key in the HSM" },
	{ "keys", verb_keys, "list the keys of the token" },
	{ "key show", verb_key_show, "print the attributes of a key" },
	{ "key export", verb_key_export, "print the public half of a key as PEM" },
	{ "key import", verb_key_import, "bring a public or a secret key in" },
	{ "key destroy", verb_key_destroy, "destroy a key" },
	{ "encrypt", verb_encrypt, "encrypt a file or standard input" },
	{ "decrypt", verb_decrypt, "decrypt and verify what encrypt wrote" },
	{ "inspect", verb_inspect, "show what a container is and who can open it" },
	{ "rewrap", verb_rewrap, "change who can open a container" },
	{ "pseudonymize", verb_pseudonymize, "replace the values of columns of a table" },
	{ "depseudonymize", verb_depseudonymize,
	  "give the values back, where it can be" },
	{ "sign", verb_sign, "sign a file or standard input" },
	{ "verify", verb_verify, "verify a signature" },
	{ "mac", verb_mac, "make or verify a message authentication code" },
	{ "random", verb_random, "print random bytes of the HSM" },
	{ "wrap", verb_wrap, "export a key encrypted under another key" },
	{ "unwrap", verb_unwrap, "import a key that was wrapped" },
	{ "status", verb_status, "show the token, its limits, the pool's figures" },
	{ "pin status", verb_pin_status, "show the PINs that are not tried any more" },
	{ "pin release", verb_pin_release, "let a refused PIN be tried again" },
	{ "audit verify", verb_audit_verify, "tell whether the audit trail was changed" },
	{ "audit status", verb_audit_status, "show how large the audit trail is" },
	{ "audit show", verb_audit_show, "print the records of the audit trail" },
	{ "top", verb_top, "show what all processes do, as it happens" },
	{ "exporter", verb_exporter, "serve the processes' metrics to Prometheus" },
	{ "doctor", verb_doctor, "check module, token, PIN, sessions, speed" },
	{ "ctl", verb_ctl, "ask or control running processes" },
	{ "config check", verb_config_check, "check and print the configuration" },
	{ "bench", verb_bench, "measure the pool against the same calls without it" },
	{ "version", verb_version, "print the version" },
};

static void print_overview(FILE *to)
{
	fprintf(to,
		"Usage: hsmpool-cli [GLOBAL OPTION]... VERB [ARGUMENT]...\n\nVerbs:\n");
	for (size_t i = 0; i < HP_ARRAY_LEN(verbs); i++)
		fprintf(to, "  %-15s %s\n", verbs[i].name, verbs[i].help);
	fprintf(to, "  %-15s %s\n", "help", "print this text, or the help of a verb");
	fprintf(to, "\nSee hsmpool-cli VERB --help and hsmpool-cli(1).\n");
}

/* How many words of argv the verb's name takes: 1, 2, or 0 if it is another verb. */
static int match_words(const struct verb *verb, int argc, char **argv)
{
	const char *space = strchr(verb->name, ' ');
	size_t first = space ? (size_t)(space - verb->name) : strlen(verb->name);

	if (argc < 1 || strlen(argv[0]) != first ||
	    strncmp(argv[0], verb->name, first) != 0)
		return 0;
	if (!space)
		return 1;
	return argc > 1 && strcmp(argv[1], space + 1) == 0 ? 2 : 0;
}

static const struct verb *find_verb(int argc, char **argv, int *words)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(verbs); i++) {
		*words = match_words(&verbs[i], argc, argv);
		if (*words > 0)
			return &verbs[i];
	}
	return NULL;
}

/* "key" alone, or with a word that is none of its verbs: name them. */
static int complain_of_group(const struct cli *cli, const char *word)
{
	char members[200] = "";
	size_t len = strlen(word);

	for (size_t i = 0; i < HP_ARRAY_LEN(verbs); i++) {
		size_t at = strlen(members);

		if (strncmp(verbs[i].name, word, len) == 0 && verbs[i].name[len] == ' ')
			snprintf(members + at, sizeof(members) - at, "%s%s",
				 at ? ", " : "", verbs[i].name + len + 1);
	}
	if (*members)
		cli_message(cli, "'%s' needs one of: %s", word, members);
	else
		cli_message(cli, "unknown verb '%s'; hsmpool-cli help lists them", word);
	return hsmpool_status_exit_code(HSMPOOL_ERR_USAGE);
}

static int run_verb(struct cli *cli, const struct verb *verb, int argc, char **argv)
{
	int exit_code;

	cli->verb = verb->name;
	optind = 0; /* glibc: start anew */
	exit_code = verb->run(cli, argc, argv);
	cli_close(cli);
	if (exit_code == 0)
		cli_warnings_print(cli);
	return exit_code;
}

/* argv[0] is "help": of everything, or of the verb that follows. */
static int run_help(struct cli *cli, int argc, char **argv)
{
	int words;
	const struct verb *verb = find_verb(argc - 1, argv + 1, &words);
	char option[] = "--help";
	char *help[] = { argv[0], option, NULL };

	if (verb)
		return run_verb(cli, verb, 2, help);
	if (argc > 1)
		return complain_of_group(cli, argv[1]);
	print_overview(stdout);
	printf("\nGlobal options:\n");
	cli_print_global_options();
	return 0;
}

static int run(struct cli *cli, int argc, char **argv)
{
	static char version[] = "version";
	int words;
	const struct verb *verb;

	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		argv[1] = version;
	if (!cli_global_options(cli, argc, argv))
		return cli->exit_code;
	argc -= optind;
	argv += optind;
	if (argc == 0) {
		print_overview(stderr);
		return hsmpool_status_exit_code(HSMPOOL_ERR_USAGE);
	}
	if (strcmp(argv[0], "help") == 0)
		return run_help(cli, argc, argv);
	verb = find_verb(argc, argv, &words);
	if (!verb)
		return complain_of_group(cli, argv[0]);
	return run_verb(cli, verb, argc - words + 1, argv + words - 1);
}

/* Text that standard output did not take is an error, unless one was reported. */
static int flush_output(const struct cli *cli, int exit_code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return exit_code;
	if (exit_code != 0)
		return exit_code;
	cli_message(cli, "cannot write standard output: %s", strerror(errno));
	return hsmpool_status_exit_code(HSMPOOL_ERR_SYSTEM);
}

/* Started with a standard descriptor closed, a file opened later would take its number
 * and messages would go into it. What stands in is open the wrong way round: a closed
 * input is an error and not empty, a closed output an error and not a success. */
static void occupy_standard_descriptors(void)
{
	static const int modes[] = { O_WRONLY, O_RDONLY, O_RDWR };

	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", modes[fd]) != fd)
			_exit(hsmpool_status_exit_code(HSMPOOL_ERR_SYSTEM));
}

int main(int argc, char **argv)
{
	struct cli cli = { 0 };

	occupy_standard_descriptors();
	stop_install();
	hp_request_enter(); /* the command is one request, whatever it takes */
	return flush_output(&cli, run(&cli, argc, argv));
}

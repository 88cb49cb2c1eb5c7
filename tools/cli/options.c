/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options: getopt_long over the tables of cli.h, the global options, and --help.
 *
 * Owns: the one wording of every complaint about the command line, and of the help.
 */
#include "cli.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "config/options.h"

enum { GLOBAL_CONFIG = 2000, GLOBAL_POOL, GLOBAL_JSON, GLOBAL_TIMEOUT };

#define HELP_WIDTH  79
#define HELP_COLUMN 31 /* where the right-hand column begins */
#define MAX_OPTIONS 48 /* of one verb, the global ones included */

static const struct cli_option global_options[] = {
	{ "config", GLOBAL_CONFIG, "FILE",
	  "configuration (else $HSMPOOL_CONF, the "
	  "user's, /etc/hsmpool/hsmpool.conf)" },
	{ "pool", GLOBAL_POOL, "NAME", "use [pool NAME] instead of [pool]" },
	{ "json", GLOBAL_JSON, NULL, "print results as JSON" },
	{ "timeout", GLOBAL_TIMEOUT, "DURATION",
	  "longest wait for a session: 500ms, 5s, 1m" },
	{ "verbose", 'v', NULL, "more log lines on standard error; -vv: all" },
	{ "help", 'h', NULL, "print this help" },
	CLI_OPTION_END,
};

/* text in the right-hand column, broken between words. */
static void print_wrapped(const char *text)
{
	const int room = HELP_WIDTH - HELP_COLUMN;

	while ((int)strlen(text) > room) {
		int cut = room;

		while (cut > 0 && text[cut] != ' ')
			cut--;
		if (cut == 0)
			break;
		printf("%.*s\n%*s", cut, text, HELP_COLUMN, "");
		text += cut + 1;
	}
	printf("%s\n", text);
}

static void print_options(const struct cli_option *options)
{
	for (; options && options->name; options++) {
		char left[40];
		char letter[6] = "    ";

		if (options->id < CLI_OWN)
			snprintf(letter, sizeof(letter), "-%c, ", options->id);
		snprintf(left, sizeof(left), "%s--%s%s%s", letter, options->name,
			 options->argument ? " " : "",
			 options->argument ? options->argument : "");
		printf("  %-*s ", HELP_COLUMN - 3, left);
		print_wrapped(options->help);
	}
}

void cli_print_global_options(void)
{
	print_options(global_options);
}

static void print_help(const struct cli *cli, const struct cli_usage *usage)
{
	printf("Usage: hsmpool-cli %s %s\n\n%s\n", cli->verb, usage->synopsis,
	       usage->about);
	if (usage->options) {
		printf("\nOptions:\n");
		print_options(usage->options);
	}
	printf("\nGlobal options:\n");
	cli_print_global_options();
}

static void finish(struct cli *cli, int exit_code)
{
	cli->is_finished = true;
	cli->exit_code = exit_code;
}

static void complain(struct cli *cli, const char *problem, const char *word)
{
	cli_message(cli, "%s '%s'; see hsmpool-cli %s%s--help", problem, word,
		    cli->verb ? cli->verb : "", cli->verb ? " " : "");
	finish(cli, hsmpool_status_exit_code(HSMPOOL_ERR_USAGE));
}

/* getopt_long's table and letters, made of ours. */
struct parser {
	struct option longs[MAX_OPTIONS];
	size_t count;
	char letters[MAX_OPTIONS * 2 + 4];
};

static void add_letter(struct parser *parser, int letter, bool takes_argument)
{
	size_t len = strlen(parser->letters);

	snprintf(parser->letters + len, sizeof(parser->letters) - len, "%c%s", letter,
		 takes_argument ? ":" : "");
}

static void add_options(struct parser *parser, const struct cli_option *options)
{
	for (; options && options->name && parser->count < MAX_OPTIONS - 1; options++) {
		parser->longs[parser->count++] = (struct option){
			.name = options->name,
			.has_arg = options->argument ? required_argument : no_argument,
			.val = options->id,
		};
		if (options->id < CLI_OWN)
			add_letter(parser, options->id, options->argument != NULL);
	}
}

static void set_timeout(struct cli *cli, const char *text)
{
	int64_t ns;

	if (hp_parse_duration(text, &ns) && ns > 0)
		cli->timeout = text;
	else
		complain(cli, "--timeout is not a duration like 500ms, 5s, 1m:", text);
}

/* True if id was a global option (and was dealt with). */
static bool take_global(struct cli *cli, const struct cli_usage *usage, int id)
{
	switch (id) {
	case GLOBAL_CONFIG:
		cli->config_path = optarg;
		return true;
	case GLOBAL_POOL:
		cli->pool_name = optarg;
		return true;
	case GLOBAL_JSON:
		cli->is_json = true;
		return true;
	case GLOBAL_TIMEOUT:
		set_timeout(cli, optarg);
		return true;
	case 'v':
		cli->verbosity++;
		return true;
	case 'h':
		if (!usage)
			return false;
		print_help(cli, usage);
		finish(cli, 0);
		return true;
	default:
		return false;
	}
}

/* getopt_long refused a word: which one was it? */
static void complain_of_option(struct cli *cli, int id, char **argv)
{
	const char letter[] = { '-', (char)optopt, '\0' };
	bool is_letter = optopt > 0 && optopt < CLI_OWN;

	complain(cli,
		 id == ':' ? "an argument is missing after"
			   : "unknown or ambiguous option",
		 is_letter ? letter : argv[optind - 1]);
}

static int next_option(struct cli *cli, const struct cli_usage *usage,
		       const char *first_letters, int argc, char **argv)
{
	struct parser parser = { 0 };

	snprintf(parser.letters, sizeof(parser.letters), "%s", first_letters);
	if (usage)
		add_options(&parser, usage->options);
	add_options(&parser, global_options);
	opterr = 0;
	while (!cli->is_finished) {
		int id = getopt_long(argc, argv, parser.letters, parser.longs, NULL);

		if (id == ':' || id == '?')
			complain_of_option(cli, id, argv);
		else if (!take_global(cli, usage, id))
			return id;
	}
	return -1;
}

bool cli_global_options(struct cli *cli, int argc, char **argv)
{
	static char help[] = "help";
	/* '+': stop at the verb. */
	int id = next_option(cli, NULL, "+:", argc, argv);

	if (id == 'h')
		argv[--optind] = help;
	return !cli->is_finished;
}

hsmpool_status cli_operands(int argc, int max, char **argv, hsmpool_error *err)
{
	HP_CHECK(argc - optind <= max, err, HSMPOOL_ERR_USAGE,
		 "'%s' is one argument too many", argv[optind + max]);
	return HSMPOOL_OK;
}

hsmpool_status cli_parse(struct cli *cli, const struct cli_usage *usage,
			 hsmpool_status (*take)(void *request, int id,
						const char *argument, hsmpool_error *err),
			 void *request, int argc, char **argv, hsmpool_error *err)
{
	hsmpool_status status = HSMPOOL_OK;
	int id;

	while (status == HSMPOOL_OK &&
	       (id = next_option(cli, usage, ":", argc, argv)) != -1)
		if (take)
			status = take(request, id, optarg, err);
	if (cli->is_finished)
		return HSMPOOL_ERR_USAGE;
	HP_TRY(status);
	return cli_operands(argc, usage->operands, argv, err);
}

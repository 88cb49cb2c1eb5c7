/* SPDX-License-Identifier: Apache-2.0 */
/*
 * differential: random sequences of PKCS#11 calls at SoftHSM2 and at the proxy over a
 * second, identical token; every answer must be the same.
 *
 *	differential [--seed S] [--seeds K] [--calls N] [--seconds T] [--sessions R]
 *	             [--admin] [--automatic] [--watched] [--reference MODULE]
 *	             [--subject MODULE] [--alter FUNCTION] [--crashes] [--verbose]
 *
 * Ends with 1 at the first difference that is not explained, after printing the shortest
 * sequence that shows it. --sessions: the pool's bound, else 2 and 4 in turn.
 * --automatic: login = automatic, and a reference that is logged in likewise. --watched:
 * the proxy keeps an audit trail and metrics, and asks a policy that denies nothing.
 * --crashes: a crash of the reference counts as one, to see on what it crashes.
 */
#include "differential.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct options options = { .seed = 1, .calls = 2000, .seeds = 20 };

struct totals {
	uint64_t calls;
	uint64_t seeds;
	uint64_t explained;
	uint64_t partings; /* new beginnings because nothing can be compared any more */
	uint64_t skipped;  /* the reference crashed there */
	uint64_t both;     /* and the subject, which called it */
	uint64_t of[FUNCTION_COUNT];
	uint64_t successes[FUNCTION_COUNT];
	uint64_t ok;
};

static void print_finding(const struct sequence *sequence, const struct comparison *c)
{
	for (uint32_t i = 0; i < sequence->count && i <= c->at; i++) {
		printf("%3u  ", i);
		print_call(stdout, &sequence->calls[i]);
		if (i < c->at) {
			fputs(" = ", stdout);
			print_code(stdout, compare_answers(SIDE_REFERENCE)[i].rv);
		}
		putchar('\n');
	}
	if (c->finding == FOUND_DIFFERENCE) {
		printf("     reference: ");
		print_answer(stdout, &c->reference);
		printf("\n     subject:   ");
		print_answer(stdout, &c->subject);
		putchar('\n');
	}
}

static void report(uint64_t seed, struct sequence *sequence, struct comparison *c)
{
	printf("seed %llu: %s at call %u\n", (unsigned long long)seed,
	       finding_text(c->finding), c->at);
	fflush(stdout);
	struct comparison again = compare(sequence);
	if (again.finding != c->finding || again.at != c->at)
		printf("(the second time: %s at call %u)\n", finding_text(again.finding),
		       again.at);
	shrink(sequence, c);
	*c = compare(sequence);
	print_finding(sequence, c);
}

/* What is left of a sequence after a call that nothing can be compared behind, on fresh
 * tokens. */
static void go_on_behind(struct sequence *sequence, uint32_t at)
{
	struct sequence rest = { NULL, 0, 0 };

	generate_beginning(&rest, 1000000 + at * 100);
	for (uint32_t i = at + 1; i < sequence->count; i++)
		sequence_add(&rest, &sequence->calls[i]);
	sequence_free(sequence);
	*sequence = rest;
}

/* Waits, mostly. */
static void print_slow_calls(const struct sequence *sequence, uint32_t count)
{
	const int64_t slow_ns = 4 * 1000 * 1000;

	for (uint32_t i = 0; i < count; i++) {
		int64_t took_ns = compare_answers(SIDE_SUBJECT)[i].took_ns;
		if (took_ns < slow_ns)
			continue;
		printf("%" PRId64 " ms: ", took_ns / 1000000);
		print_call(stdout, &sequence->calls[i]);
		putchar('\n');
	}
}

/* That the sequences make sense: how often each function was called, and succeeded. */
static void count_functions(const struct sequence *sequence, uint32_t count,
			    struct totals *totals)
{
	for (uint32_t i = 0; i < count; i++) {
		uint8_t function = sequence->calls[i].function;
		totals->of[function]++;
		totals->successes[function] +=
			compare_answers(SIDE_REFERENCE)[i].rv == CKR_OK;
	}
}

static void print_functions(const struct totals *totals)
{
	for (unsigned i = 0; i < FUNCTION_COUNT; i++)
		printf("%8" PRIu64 " %8" PRIu64 " %s\n", totals->of[i],
		       totals->successes[i], functions[i].name);
}

static void print_end(const struct sequence *sequence, const struct comparison *c)
{
	printf("%s: ", c->why != NULL ? c->why->title : finding_text(c->finding));
	print_call(stdout, &sequence->calls[c->at]);
	if (c->why != NULL) {
		fputs(" = ", stdout);
		print_code(stdout, c->reference.rv);
		fputs(" / ", stdout);
		print_code(stdout, c->subject.rv);
	}
	putchar('\n');
}

static void note_end(const struct sequence *sequence, const struct comparison *c,
		     struct totals *totals)
{
	bool is_parting = c->finding == FOUND_PARTING;

	totals->partings += is_parting;
	totals->skipped += !is_parting;
	totals->both += c->finding == FOUND_BOTH_CRASH;
	if (options.is_verbose && (!is_parting || c->why != NULL))
		print_end(sequence, c);
}

/* False: something is wrong. */
static bool run_seed(uint64_t seed, struct totals *totals)
{
	struct sequence sequence = { NULL, 0, 0 };
	bool is_fine = true;

	ground_bound(options.sessions > 0 ? options.sessions : 2u << seed % 2);
	generate(&sequence, seed, options.calls);
	for (;;) {
		struct comparison c = compare(&sequence);
		totals->calls += c.at;
		totals->explained += c.explained;
		count_functions(&sequence, c.at, totals);
		if (options.is_verbose)
			print_slow_calls(&sequence, c.at);
		if (finding_is_failure(c.finding)) {
			report(seed, &sequence, &c);
			is_fine = false;
		}
		if (is_fine && c.finding != FOUND_NOTHING)
			note_end(&sequence, &c, totals);
		if (!is_fine || c.finding == FOUND_NOTHING)
			break;
		go_on_behind(&sequence, c.at);
	}
	sequence_free(&sequence);
	totals->seeds++;
	return is_fine;
}

static const char *built(const char *path)
{
	static char text[600];
	const char *build = getenv("HSMPOOL_TEST_BUILD");

	snprintf(text, sizeof(text), "%s/%s", build != NULL ? build : ".", path);
	return text;
}

static void usage(void)
{
	fputs("usage: differential [--seed S] [--seeds K] [--calls N] [--seconds T]\n"
	      "  [--sessions R] [--admin] [--automatic] [--watched]\n"
	      "  [--reference MODULE] [--subject MODULE] [--alter FUNCTION]\n"
	      "  [--crashes] [--verbose]\n",
	      stderr);
	exit(2);
}

static void parse(int argc, char **argv)
{
	static const struct option names[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "seeds", required_argument, NULL, 'k' },
		{ "calls", required_argument, NULL, 'n' },
		{ "seconds", required_argument, NULL, 't' },
		{ "sessions", required_argument, NULL, 'b' },
		{ "admin", no_argument, NULL, 'a' },
		{ "automatic", no_argument, NULL, 'l' },
		{ "watched", no_argument, NULL, 'w' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "reference", required_argument, NULL, 'r' },
		{ "subject", required_argument, NULL, 'p' },
		{ "crashes", no_argument, NULL, 'c' },
		{ "alter", required_argument, NULL, 'x' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	options.reference = getenv("HSMPOOL_TEST_SOFTHSM");
	options.subject = built("lib/proxy/hsmpool-pkcs11.so");
	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (option) {
		case 's':
			options.seed = strtoull(optarg, NULL, 0);
			break;
		case 'k':
			options.seeds = (uint32_t)strtoul(optarg, NULL, 0);
			break;
		case 'n':
			options.calls = (uint32_t)strtoul(optarg, NULL, 0);
			break;
		case 't':
			options.seconds = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'b':
			options.sessions = (uint32_t)strtoul(optarg, NULL, 0);
			break;
		case 'a':
			options.is_admin = true;
			break;
		case 'l':
			options.is_automatic = true;
			break;
		case 'w':
			options.is_watched = true;
			break;
		case 'v':
			options.is_verbose = true;
			break;
		case 'c':
			options.shows_crashes = true;
			break;
		case 'r':
			options.reference = optarg;
			break;
		case 'p':
			options.subject = optarg;
			break;
		case 'x':
			options.alter = optarg;
			break;
		default:
			usage();
		}
	}
	if (optind != argc || options.reference == NULL)
		usage();
}

static void print_totals(const struct totals *t, unsigned long seconds)
{
	printf("%" PRIu64 " calls of %" PRIu64 " seeds in %lu s; %" PRIu64
	       " differences explained, %" PRIu64 " new beginnings, %" PRIu64
	       " calls skipped because the reference crashes (%" PRIu64
	       " below the subject too)\n",
	       t->calls, t->seeds, seconds, t->explained, t->partings, t->skipped,
	       t->both);
}

int main(int argc, char **argv)
{
	struct totals totals = { .calls = 0 };
	bool is_fine = true;

	parse(argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	time_t begun = time(NULL);
	ground_make();
	for (uint32_t i = 0; is_fine && i < options.seeds; i++) {
		if (options.seconds > 0 && time(NULL) - begun >= (time_t)options.seconds)
			break;
		is_fine = run_seed(options.seed + i, &totals);
	}
	ground_remove();
	if (options.is_verbose)
		print_functions(&totals);
	print_totals(&totals, (unsigned long)(time(NULL) - begun));
	explained_print();
	return is_fine ? 0 : 1;
}

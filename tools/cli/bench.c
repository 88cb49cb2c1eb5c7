/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli bench: what the pool costs and gains on the configured module.
 *
 * Each scenario runs the pool and what it is compared with in turn, --pairs times, and
 * reports the median of the ratios. It makes three keys of its own on the token and
 * destroys them at the end.
 */
#include "bench.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "p11/pin.h"

/* --- scenarios -----------------------------------------------------------------------
 */

/* Both loads alternately; better: per_second of a over that of b. */
static hsmpool_status compare(struct bench *bench, const struct bench_load *a,
			      const struct bench_load *b, struct bench_ratios *ratios,
			      hsmpool_error *err)
{
	struct bench_result of_a, of_b;
	ratios->count = 0;
	HP_TRY(bench_run(bench, b, &of_b, err)); /* warm-up */
	for (unsigned i = 0; i < bench->pairs; i++) {
		HP_TRY(bench_run(bench, b, &of_b, err));
		HP_TRY(bench_run(bench, a, &of_a, err));
		bench_add_ratio(ratios, of_a.per_second / of_b.per_second);
	}
	return HSMPOOL_OK;
}

static struct bench_load pool_load(enum bench_op op, unsigned threads)
{
	return (struct bench_load){ .op = op,
				    .threads = threads,
				    .step = bench_pool_step };
}

static struct bench_load raw_load(enum bench_op op, unsigned threads)
{
	return (struct bench_load){ .op = op,
				    .threads = threads,
				    .begin = bench_raw_begin,
				    .step = bench_raw_step,
				    .end = bench_raw_end };
}

static hsmpool_status measure_borrow(struct bench *bench, hsmpool_error *err)
{
	static const struct {
		unsigned threads;
		const char *what, *goal;
	} cases[] = {
		{ 1, "borrow + return, 1 thread", "<= 150 on an idle machine" },
		{ 8, "borrow + return, 8 threads, 8 sessions", "<= 300" },
	};
	for (size_t i = 0; i < HP_ARRAY_LEN(cases); i++) {
		struct bench_load load = { .threads = cases[i].threads,
					   .step = bench_borrow_step };
		struct bench_ratios values = { .count = 0 };
		struct bench_result result;
		HP_TRY(bench_open_pool(bench, 8, NULL, NULL, err));
		for (unsigned run = 0; run < bench->pairs; run++) {
			HP_TRY(bench_run(bench, &load, &result, err));
			bench_add_ratio(&values, result.ns_per_op);
		}
		bench_report(bench, "borrow", cases[i].what, &values, "ns",
			     cases[i].goal);
	}
	return HSMPOOL_OK;
}

static hsmpool_status measure_overhead(struct bench *bench, hsmpool_error *err)
{
	HP_TRY(bench_open_pool(bench, 1, NULL, NULL, err));
	for (int op = 0; op < BENCH_OP_COUNT; op++) {
		struct bench_load pool = pool_load(op, 1), raw = raw_load(op, 1);
		struct bench_ratios values = { .count = 0 };
		struct bench_result of_pool, of_raw;
		for (unsigned run = 0; run < bench->pairs; run++) {
			HP_TRY(bench_run(bench, &raw, &of_raw, err));
			HP_TRY(bench_run(bench, &pool, &of_pool, err));
			bench_add_ratio(&values, of_pool.ns_per_op - of_raw.ns_per_op);
		}
		char what[64];
		snprintf(what, sizeof what, "%s, added to Init + operation",
			 bench_op_name(op));
		bench_report(bench, "overhead", what, &values, "ns",
			     op == BENCH_RSA ? "<= 500 on a module without latency" : "");
	}
	return HSMPOOL_OK;
}

static const struct throughput_case {
	enum bench_op op;
	unsigned threads, sessions;
	const char *goal;
} throughput_cases[] = {
	{ BENCH_RSA, 1, 1, ">= 0.95" },	 { BENCH_RSA, 8, 8, ">= 0.95" },
	{ BENCH_RSA, 64, 16, ">= 0.90" }, { BENCH_GCM, 1, 1, ">= 0.90" },
	{ BENCH_GCM, 8, 8, ">= 0.90" },	 { BENCH_HMAC, 1, 1, ">= 0.90" },
	{ BENCH_HMAC, 8, 8, ">= 0.90" },
}, copies_cases[] = {
	{ BENCH_GCM, 1, 1, ">= 2.0" },	{ BENCH_GCM, 8, 8, ">= 1.6" },
	{ BENCH_HMAC, 1, 1, ">= 2.0" }, { BENCH_HMAC, 8, 8, ">= 1.6" },
};

static hsmpool_status measure_cases(struct bench *bench, const char *scenario,
				    const struct throughput_case *cases, size_t count,
				    const char *key_copies, hsmpool_error *err)
{
	for (size_t i = 0; i < count; i++) {
		const struct throughput_case *c = &cases[i];
		struct bench_load pool = pool_load(c->op, c->threads);
		struct bench_load raw = raw_load(c->op, c->threads);
		struct bench_ratios ratios;
		char what[80];
		HP_TRY(bench_open_pool(bench, c->sessions, "key-copies", key_copies,
				       err));
		HP_TRY(compare(bench, &pool, &raw, &ratios, err));
		snprintf(what, sizeof what, "%s, %u threads on %u sessions / raw",
			 bench_op_name(c->op), c->threads, c->sessions);
		bench_report(bench, scenario, what, &ratios, "x", c->goal);
	}
	return HSMPOOL_OK;
}

static hsmpool_status measure_throughput(struct bench *bench, hsmpool_error *err)
{
	return measure_cases(bench, "throughput", throughput_cases,
			     HP_ARRAY_LEN(throughput_cases), "none", err);
}

/* What no pool can beat: a bare loop on a session copy of its own. */
static hsmpool_status measure_bare_copies(struct bench *bench, hsmpool_error *err)
{
	static const enum bench_op ops[] = { BENCH_GCM, BENCH_HMAC };
	HP_TRY(bench_open_pool(bench, 1, NULL, NULL, err));
	for (size_t i = 0; i < HP_ARRAY_LEN(ops); i++) {
		struct bench_load raw = raw_load(ops[i], 1), copy = raw;
		struct bench_ratios ratios;
		char what[80];
		copy.begin = bench_copy_begin;
		HP_TRY(compare(bench, &copy, &raw, &ratios, err));
		snprintf(what, sizeof what, "%s, bare loop on a copy / raw",
			 bench_op_name(ops[i]));
		bench_report(bench, "copies", what, &ratios, "x", "the ceiling");
	}
	return HSMPOOL_OK;
}

static hsmpool_status measure_copies(struct bench *bench, hsmpool_error *err)
{
	HP_TRY(measure_cases(bench, "copies", copies_cases, HP_ARRAY_LEN(copies_cases),
			     "session", err));
	return measure_bare_copies(bench, err);
}

/* A program without a pool logs in and out itself: no pool may be open beside it. */
static hsmpool_status measure_against(struct bench *bench, const char *what,
				      bool (*step)(struct bench_worker *),
				      bool beside_pool, const char *goal,
				      hsmpool_error *err)
{
	struct bench_load without = { .op = BENCH_RSA, .threads = 1, .step = step };
	struct bench_load with = pool_load(BENCH_RSA, 1);
	struct bench_ratios ratios = { .count = 0 };
	struct bench_result of_pool, of_other;
	for (unsigned i = 0; i < bench->pairs; i++) {
		HP_TRY(bench_open_pool(bench, 2, NULL, NULL, err));
		HP_TRY(bench_run(bench, &with, &of_pool, err));
		if (!beside_pool)
			bench_close_pool(bench);
		HP_TRY(bench_run(bench, &without, &of_other, err));
		bench_add_ratio(&ratios, of_pool.per_second / of_other.per_second);
	}
	bench_report(bench, "reopen", what, &ratios, "x", goal);
	return HSMPOOL_OK;
}

static hsmpool_status measure_reopen(struct bench *bench, hsmpool_error *err)
{
	if (bench->pin)
		HP_TRY(measure_against(bench, "pool / open, login, find, sign, close",
				       bench_naive_step, false,
				       ">= 4 where a call takes 1 ms", err));
	return measure_against(bench, "pool / open, find, sign, close", bench_reopen_step,
			       true, ">= 3.3 where a call takes 1 ms", err);
}

static hsmpool_status measure_waiting(struct bench *bench, const char *fair,
				      const char *const goals[4], hsmpool_error *err)
{
	struct bench_load crowd = { .op = BENCH_RSA,
				    .threads = 64,
				    .step = bench_wait_step,
				    .records_waits = true };
	struct bench_load bare = raw_load(BENCH_RSA, 16);
	struct bench_ratios rate = { .count = 0 }, p99 = rate, max = rate, spread = rate;
	struct bench_result of_crowd, of_bare;
	HP_TRY(bench_open_pool(bench, 16, "fair", fair, err));
	HP_TRY(bench_run(bench, &crowd, &of_crowd, err)); /* warm-up */
	for (unsigned i = 0; i < bench->pairs; i++) {
		HP_TRY(bench_run(bench, &bare, &of_bare, err));
		HP_TRY(bench_run(bench, &crowd, &of_crowd, err));
		bench_add_ratio(&rate, of_crowd.per_second / of_bare.per_second);
		bench_add_ratio(&p99, of_crowd.p99_ms);
		bench_add_ratio(&max, of_crowd.max_ms);
		if (of_crowd.fewest)
			bench_add_ratio(&spread,
					(double)of_crowd.most / (double)of_crowd.fewest);
	}
	const char *mode = *fair == 'y' ? "fair" : "default";
	char what[4][64];
	const char *names[] = { "throughput / 16 bare threads", "wait p99", "wait max",
				"most / fewest ops of a thread" };
	const struct bench_ratios *values[] = { &rate, &p99, &max, &spread };
	const char *units[] = { "x", "ms", "ms", "x" };
	for (int i = 0; i < 4; i++) {
		snprintf(what[i], sizeof what[i], "64 on 16, %s: %s", mode, names[i]);
		bench_report(bench, "wait", what[i], values[i], units[i], goals[i]);
	}
	return HSMPOOL_OK;
}

static hsmpool_status measure_wait(struct bench *bench, hsmpool_error *err)
{
	static const char *const usual[] = { ">= 0.94 where signing takes 1 ms", "<= 7.5",
					     "<= 12", "" };
	static const char *const fair[] = { ">= 0.94", "<= 4.5", "<= 12", "<= 1.1" };
	HP_TRY(measure_waiting(bench, "no", usual, err));
	return measure_waiting(bench, "yes", fair, err);
}

/* --- the verb ------------------------------------------------------------------------
 */

static const struct scenario {
	const char *name;
	hsmpool_status (*measure)(struct bench *bench, hsmpool_error *err);
} scenarios[] = {
	{ "borrow", measure_borrow },
	{ "overhead", measure_overhead },
	{ "throughput", measure_throughput },
	{ "copies", measure_copies },
	{ "reopen", measure_reopen },
	{ "wait", measure_wait },
	{ "file", bench_file },
	{ "direct", bench_direct },
};

enum { PAIRS = CLI_OWN, SECONDS, KEEP_KEYS };

static const struct cli_option options[] = {
	{ "pairs", PAIRS, "N", "runs of each comparison, 1 to 100 (10)" },
	{ "seconds", SECONDS, "S", "length of one run, 0.01 to 60 (0.3)" },
	{ "keep-keys", KEEP_KEYS, NULL, "leave the benchmark's keys on the token" },
	CLI_OPTION_END,
};

static const struct cli_usage usage = {
	.synopsis = "[--pairs N] [--seconds S] [--keep-keys] [SCENARIO]...",
	.about = "Measure the pool against the same calls without it, on the configured "
		 "token.\nScenarios: borrow overhead throughput copies reopen wait file "
		 "direct\n(default: all).",
	.options = options,
	.operands = 64,
};

static hsmpool_status parse_number(const char *text, double least, double most,
				   double *out, hsmpool_error *err)
{
	char *end;
	*out = strtod(text, &end);
	HP_CHECK(end != text && *end == '\0' && *out >= least && *out <= most, err,
		 HSMPOOL_ERR_USAGE, "'%s' is not a number from %g to %g", text, least,
		 most);
	return HSMPOOL_OK;
}

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	struct bench *bench = user;
	double number;

	if (id == PAIRS) {
		HP_TRY(parse_number(argument, 1, 100, &number, err));
		bench->pairs = (unsigned)number;
	} else if (id == SECONDS) {
		HP_TRY(parse_number(argument, 0.01, 60, &bench->seconds, err));
	} else {
		bench->keeps_keys = true;
	}
	return HSMPOOL_OK;
}

static bool is_wanted(const struct scenario *scenario, int argc, char **argv)
{
	if (optind >= argc)
		return true;
	for (int i = optind; i < argc; i++)
		if (strcmp(argv[i], scenario->name) == 0)
			return true;
	return false;
}

static bool is_scenario(const char *name)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(scenarios); i++)
		if (strcmp(name, scenarios[i].name) == 0)
			return true;
	return false;
}

static hsmpool_status check_names(int argc, char **argv, hsmpool_error *err)
{
	for (int i = optind; i < argc; i++)
		HP_CHECK(is_scenario(argv[i]), err, HSMPOOL_ERR_USAGE,
			 "no scenario '%s': 'hsmpool-cli bench --help' lists them",
			 argv[i]);
	return HSMPOOL_OK;
}

/* Hold the module and know the token, whatever pools come and go. */
static hsmpool_status hold_module(struct bench *bench, hsmpool_error *err)
{
	struct hp_pool_options pool_options;
	HP_TRY(hp_config_pool(bench->cli->config, bench->cli->pool_name, &pool_options,
			      err));
	hsmpool_status status = bench_open_pool(bench, 2, NULL, NULL, err);
	if (status == HSMPOOL_OK) {
		hp_pool_token(bench->pool, &bench->token);
		status = hp_module_open(&bench->module, pool_options.module,
					pool_options.module_env, NULL, err);
	}
	if (status == HSMPOOL_OK && pool_options.pin_source)
		status = hp_pin_read(pool_options.pin_source, "bench", &bench->pin, err);
	hp_pool_options_clear(&pool_options);
	return status;
}

static hsmpool_status run_all(struct bench *bench, int argc, char **argv,
			      hsmpool_error *err)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(scenarios); i++)
		if (is_wanted(&scenarios[i], argc, argv))
			HP_TRY(scenarios[i].measure(bench, err));
	return HSMPOOL_OK;
}

static void clean_up(struct bench *bench)
{
	hsmpool_error err;
	if (bench->module && !bench->keeps_keys &&
	    bench_open_pool(bench, 2, NULL, NULL, &err) == HSMPOOL_OK) {
		for (int op = 0; op < BENCH_OP_COUNT; op++)
			hsmpool_key_close(&bench->keys[op]);
		bench_destroy_keys(bench);
	}
	bench_close_pool(bench);
	hp_module_close(&bench->module);
	hp_secret_free(&bench->pin);
}

int verb_bench(struct cli *cli, int argc, char **argv)
{
	struct bench bench = { .cli = cli, .pairs = 10, .seconds = 0.3 };
	hsmpool_error err;
	hp_error_clear(&err);
	hsmpool_status status =
		cli_parse(cli, &usage, take_option, &bench, argc, argv, &err);
	if (status == HSMPOOL_OK)
		status = check_names(argc, argv, &err);
	if (status == HSMPOOL_OK)
		status = cli_open_config(cli, &err);
	if (status != HSMPOOL_OK)
		return cli_finish(cli, status, &err);
	bench.results = json_object_new_array();
	status = hold_module(&bench, &err);
	if (status == HSMPOOL_OK)
		status = run_all(&bench, argc, argv, &err);
	clean_up(&bench);
	if (cli->is_json && status == HSMPOOL_OK)
		cli_print_json(bench.results);
	else
		json_object_put(bench.results);
	return cli_finish(cli, status, &err);
}

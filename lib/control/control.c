/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See control.h.
 *
 * Owns: the table of commands, and what is told of the process as such. The pools are
 * those that the keeper keeps.
 */
#include "control/control.h"

#include <errno.h>
#include <hsmpool/metrics.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"
#include "config/value.h"
#include "control/place.h"
#include "control/server.h"
#include "control/status.h"
#include "observe/log.h"
#include "pool/keeper.h"
#include "pool/live.h"
#include "pool/pool.h"

/* Set by who claimed the server, before the first request can come. */
static struct {
	char face[16];
	char program[64];
	char since[32];
} facts;

/* The level's word in the option's list. */
static const char levels[] = "error|warning|notice|info|debug";

/* One command under way, on each pool that it is for. */
struct tour {
	const char *only; /* the pool of this name; NULL: every one */
	struct hp_reply *reply;
	unsigned met;
};

static bool is_meant(const struct tour *tour, const hsmpool *pool)
{
	return !tour->only || strcmp(tour->only, hp_control_pool_name(pool)) == 0;
}

/* --- what is done to one pool --------------------------------------------------------
 */

static void tell_state(hsmpool *pool, void *user)
{
	struct tour *tour = user;
	hp_control_add_pool(tour->reply, pool);
}

static void pause_one(hsmpool *pool, void *user)
{
	struct tour *tour = user;
	if (!is_meant(tour, pool))
		return;
	tour->met++;
	hp_pool_begin_pause(pool);
}

static void resume_one(hsmpool *pool, void *user)
{
	struct tour *tour = user;
	if (!is_meant(tour, pool))
		return;
	tour->met++;
	hsmpool_resume(pool);
}

static void validate_one(hsmpool *pool, void *user)
{
	struct tour *tour = user;
	if (!is_meant(tour, pool))
		return;
	tour->met++;
	hsmpool_validate(pool);
}

/* --- commands ------------------------------------------------------------------------
 */

static hsmpool_status visit_named(const char *name, struct hp_reply *reply,
				  void (*visit)(hsmpool *, void *), hsmpool_error *err)
{
	struct tour tour = { .only = name, .reply = reply };
	hp_keeper_visit(visit, &tour);
	HP_CHECK(tour.met > 0 || !name, err, HSMPOOL_ERR_USAGE,
		 "there is no pool '%.60s' in this process; hsmpool-cli ctl list "
		 "names those that there are",
		 name);
	return HSMPOOL_OK;
}

static hsmpool_status run_pause(const char *name, struct hp_reply *reply,
				hsmpool_error *err)
{
	return visit_named(name, reply, pause_one, err);
}

static hsmpool_status run_resume(const char *name, struct hp_reply *reply,
				 hsmpool_error *err)
{
	return visit_named(name, reply, resume_one, err);
}

static hsmpool_status run_validate(const char *name, struct hp_reply *reply,
				   hsmpool_error *err)
{
	return visit_named(name, reply, validate_one, err);
}

static void level_word(char *word, size_t cap)
{
	const char *at = levels;
	for (int skip = atomic_load(&hp_log_level); skip > 0 && strchr(at, '|'); skip--)
		at = strchr(at, '|') + 1;
	snprintf(word, cap, "%.*s", (int)strcspn(at, "|"), at);
}

static hsmpool_status run_log_level(const char *word, struct hp_reply *reply,
				    hsmpool_error *err)
{
	(void)reply;
	int level = hp_parse_choice(levels, word);
	HP_CHECK(level >= 0, err, HSMPOOL_ERR_USAGE, "log-level: '%.40s' is none of %s",
		 word, levels);
	hsmpool_log_set_level((hsmpool_log_level)level);
	return HSMPOOL_OK;
}

static hsmpool_status run_status(const char *none, struct hp_reply *reply,
				 hsmpool_error *err)
{
	(void)none;
	(void)err;
	char level[16];
	struct tour tour = { .reply = reply };
	level_word(level, sizeof(level));
	hp_json_begin(reply, NULL, '{');
	hp_json_begin(reply, "process", '{');
	hp_json_number(reply, "pid", (uint64_t)getpid());
	hp_json_number(reply, "uid", geteuid());
	hp_json_text(reply, "program", facts.program);
	hp_json_text(reply, "version", hsmpool_version());
	hp_json_text(reply, "face", facts.face);
	hp_json_text(reply, "since", facts.since);
	hp_json_text(reply, "log-level", level);
	hp_json_end(reply, '}');
	hp_json_begin(reply, "pools", '[');
	hp_keeper_visit(tell_state, &tour);
	hp_json_end(reply, ']');
	hp_json_end(reply, '}');
	hp_reply_add(reply, "\n");
	return HSMPOOL_OK;
}

static hsmpool_status run_metrics(const char *format, struct hp_reply *reply,
				  hsmpool_error *err)
{
	static const char formats[] = "openmetrics|prometheus"; /* as the enum has them */
	HP_AUTO_FREE char *text = NULL;
	size_t len;
	int chosen =
		format ? hp_parse_choice(formats, format) : HSMPOOL_METRICS_OPENMETRICS;
	HP_CHECK(chosen >= 0, err, HSMPOOL_ERR_USAGE, "metrics: '%.40s' is none of %s",
		 format, formats);
	HP_TRY(hsmpool_metrics_text_as((hsmpool_metrics_format)chosen, &text, &len, err));
	hp_reply_add_bytes(reply, text, len);
	return HSMPOOL_OK;
}

/* --- reload: all pools of the process, or none -----------------------------------------
 */

struct reload {
	hsmpool_status status; /* the first failure's */
	hsmpool_error *err;
	struct hp_reply *reply;
};

static void prepare_one(hsmpool *pool, void *user)
{
	struct reload *reload = user;
	if (reload->status == HSMPOOL_OK)
		reload->status = hp_pool_prepare_reload(pool, NULL, reload->err);
}

static void add_words(struct hp_reply *reply, const char *name, const char *words)
{
	hp_json_begin(reply, name, '[');
	while (*words) {
		char word[64];
		size_t len = strcspn(words, " ");
		snprintf(word, sizeof(word), "%.*s", (int)len, words);
		hp_json_text(reply, NULL, word);
		words += len + strspn(words + len, " ");
	}
	hp_json_end(reply, ']');
}

static void finish_one(hsmpool *pool, void *user)
{
	struct reload *reload = user;
	struct hp_reload_report report;
	hp_pool_finish_reload(pool, &report);
	hp_json_begin(reload->reply, NULL, '{');
	hp_json_text(reload->reply, "name", hp_control_pool_name(pool));
	add_words(reload->reply, "changed", report.changed);
	add_words(reload->reply, "needs-restart", report.needs_restart);
	hp_json_end(reload->reply, '}');
}

/* The file is read once for each pool; what one of them cannot take over none does. */
static hsmpool_status run_reload(const char *none, struct hp_reply *reply,
				 hsmpool_error *err)
{
	(void)none;
	struct reload reload = { HSMPOOL_OK, err, reply };
	hp_keeper_visit(prepare_one, &reload);
	hp_reload_count(reload.status == HSMPOOL_OK);
	if (reload.status != HSMPOOL_OK) {
		HP_LOG(WARNING, "reload-failed", "%s; nothing was changed", err->text);
		return reload.status;
	}
	hp_json_begin(reply, NULL, '{');
	hp_json_begin(reply, "pools", '[');
	hp_keeper_visit(finish_one, &reload);
	hp_json_end(reply, ']');
	hp_json_end(reply, '}');
	hp_reply_add(reply, "\n");
	return HSMPOOL_OK;
}

/* What a command's argument is. */
enum argument {
	TAKES_NONE,
	TAKES_POOL,   /* or none: all pools */
	TAKES_FORMAT, /* or none: OpenMetrics */
	TAKES_WORD,
};

static const struct command {
	const char *name;
	enum argument argument;
	hsmpool_status (*run)(const char *argument, struct hp_reply *reply,
			      hsmpool_error *err);
} commands[] = {
	{ "status", TAKES_NONE, run_status },
	{ "metrics", TAKES_FORMAT, run_metrics },
	{ "pause", TAKES_POOL, run_pause },
	{ "resume", TAKES_POOL, run_resume },
	{ "validate", TAKES_POOL, run_validate },
	{ "reload", TAKES_NONE, run_reload },
	{ "log-level", TAKES_WORD, run_log_level },
};

static const struct command *find_command(const char *name, size_t len)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(commands); i++)
		if (strlen(commands[i].name) == len &&
		    strncmp(commands[i].name, name, len) == 0)
			return &commands[i];
	return NULL;
}

static hsmpool_status refuse_command(const char *name, hsmpool_error *err)
{
	char known[120] = "";
	size_t used = 0;
	for (size_t i = 0; i < HP_ARRAY_LEN(commands); i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s",
					 i ? ", " : "", commands[i].name);
	return hp_fail(err, HSMPOOL_ERR_USAGE,
		       "there is no command '%.40s'; there are %s", name, known);
}

static hsmpool_status run(const char *request, struct hp_reply *reply, hsmpool_error *err)
{
	size_t len = strcspn(request, " ");
	const struct command *command = find_command(request, len);
	const char *argument = request + len + strspn(request + len, " ");
	if (!command)
		return refuse_command(request, err);
	HP_CHECK(command->argument != TAKES_NONE || !*argument, err, HSMPOOL_ERR_USAGE,
		 "%s takes no argument", command->name);
	HP_CHECK(command->argument != TAKES_WORD || *argument, err, HSMPOOL_ERR_USAGE,
		 "%s needs an argument", command->name);
	return command->run(*argument ? argument : NULL, reply, err);
}

void hp_control_answer_request(const char *request, struct hp_reply *reply)
{
	hsmpool_error err = { 0 };
	hp_reply_add(reply, "ok\n");
	hsmpool_status status = run(request, reply, &err);
	if (status == HSMPOOL_OK)
		return;
	hp_reply_clear(reply);
	hp_reply_add(reply, "error %d %s\n", hsmpool_status_exit_code(status), err.text);
}

/* --- joining -------------------------------------------------------------------------
 */

static void learn_facts(const char *face)
{
	time_t now = time(NULL);
	struct tm utc;
	snprintf(facts.face, sizeof(facts.face), "%s", face);
	snprintf(facts.program, sizeof(facts.program), "%s",
		 program_invocation_short_name);
	gmtime_r(&now, &utc);
	strftime(facts.since, sizeof(facts.since), "%Y-%m-%dT%H:%M:%SZ", &utc);
}

void hp_control_join(hsmpool *pool, const char *face)
{
	const struct hp_pool_options *options = hp_pool_options(pool);
	char dir[PATH_MAX];
	if (!options->control || !options->keeper || !hp_control_dir(dir, sizeof(dir)) ||
	    !hp_control_claim())
		return;
	learn_facts(face);
	hp_control_begin(dir, hp_control_answer_request);
}

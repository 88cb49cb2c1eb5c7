/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli ctl: one command for a process that uses hsmpool, or for all of them.
 *
 * Owns: which processes are meant, and how their answers are shown. The commands are the
 * processes' own (lib/control): what this does not know is passed on all the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <json.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/time.h"
#include "cli.h"
#include "config/options.h"
#include "peers.h"

enum { OPTION_PID = CLI_OWN, OPTION_ALL };

#define PATIENCE (5 * HP_SECOND) /* for each process, without --timeout */

static const struct cli_option options[] = {
	{ "pid", OPTION_PID, "PID", "the process to ask, if there are several" },
	{ "all", OPTION_ALL, NULL, "all processes of this user; for root, of all users" },
	CLI_OPTION_END,
};

static const struct cli_usage usage = {
	.synopsis = "[--pid PID | --all] COMMAND [ARGUMENT]",
	.about =
		"Ask or control running processes that use hsmpool, by their control "
		"sockets.\n\n"
		"Commands:\n"
		"  list                   the processes, and how their pools are\n"
		"  status                 everything that a process tells of itself\n"
		"  metrics [FORMAT]       its figures as openmetrics, or prometheus text\n"
		"  pause [POOL]           lend no session until resume\n"
		"  resume [POOL]\n"
		"  validate [POOL]        have idle sessions probed now\n"
		"  reload                 read the configuration file again\n"
		"  log-level LEVEL        error, warning, notice, info, debug\n\n"
		"POOL is the name of a [pool NAME], 'default' for [pool]; without it all.",
	.options = options,
	.operands = 2,
};

struct request {
	const char *pid; /* --pid */
	bool is_all;
	char line[500]; /* "pause default" */
	int64_t patience_ns;
	struct peers peers;
	struct json_object *replies; /* --json: one object per process */
};

/* --- which ---------------------------------------------------------------------------
 */

static bool is_meant(const struct request *request, const struct peer *peer)
{
	char pid[24];

	snprintf(pid, sizeof(pid), "%ld", (long)peer->pid);
	return !request->pid || strcmp(request->pid, pid) == 0 ||
	       strcmp(request->pid, peer->name) == 0;
}

/* "; there are 17, 42": those that there are to choose from. */
static void list_peers(const struct request *request, char *list, size_t cap)
{
	size_t len = 0;

	*list = '\0';
	for (size_t i = 0; i < request->peers.count && len + 40 < cap; i++)
		len += (size_t)snprintf(list + len, cap - len, "%s%s", i ? ", " : "",
					request->peers.list[i].name);
}

/* Keep those that pass. */
static void keep(struct request *request,
		 bool (*passes)(const struct request *, const struct peer *))
{
	struct peers *peers = &request->peers;
	size_t kept = 0;

	for (size_t i = 0; i < peers->count; i++)
		if (passes(request, &peers->list[i]))
			peers->list[kept++] = peers->list[i];
	peers->count = kept;
}

static bool is_there(const struct request *request, const struct peer *peer)
{
	(void)request;
	return peer_is_there(peer);
}

static hsmpool_status choose(struct request *request, hsmpool_error *err)
{
	char list[200];

	HP_TRY(peers_find(&request->peers, err));
	keep(request, is_there);
	if (request->is_all)
		return HSMPOOL_OK;
	list_peers(request, list, sizeof(list));
	HP_CHECK(request->peers.count > 0, err, HSMPOOL_ERR_DOWN,
		 "no process with a control socket is there; one has it a second after "
		 "its first use of the token");
	HP_CHECK(request->pid || request->peers.count == 1, err, HSMPOOL_ERR_USAGE,
		 "which process? say --pid PID, or --all; there are %s", list);
	keep(request, is_meant);
	HP_CHECK(request->peers.count > 0, err, HSMPOOL_ERR_DOWN,
		 "process %s has no control socket; there are %s", request->pid, list);
	return HSMPOOL_OK;
}

/* --- the answers ---------------------------------------------------------------------
 */

static struct json_object *new_entry(const struct peer *peer)
{
	struct json_object *entry = json_object_new_object();

	json_object_object_add(entry, "pid", json_object_new_int64(peer->pid));
	cli_add_number(entry, "uid", peer->uid);
	return entry;
}

/* What is no JSON stays text. */
static void keep_reply(const struct request *request, const struct peer *peer,
		       const struct peer_reply *reply)
{
	struct json_object *entry = new_entry(peer);
	struct json_object *value = json_tokener_parse(reply->text);

	json_object_object_add(entry, "ok", json_object_new_boolean(true));
	json_object_object_add(entry, "reply",
			       value ? value : json_object_new_string(reply->text));
	json_object_array_add(request->replies, entry);
}

static void keep_failure(const struct request *request, const struct peer *peer,
			 const hsmpool_error *err)
{
	struct json_object *entry = new_entry(peer);

	json_object_object_add(entry, "ok", json_object_new_boolean(false));
	cli_add_text(entry, "error", err->text);
	json_object_array_add(request->replies, entry);
}

/* Another process wrote it: what a terminal would obey is not printed. */
static void print_foreign(const char *text)
{
	for (; *text; text++) {
		unsigned char byte = (unsigned char)*text;

		putchar(byte < 0x20 && byte != '\n' && byte != '\t' ? '?'
			: byte == 0x7f                              ? '?'
								    : byte);
	}
}

static void print_reply(const struct request *request, const struct peer *peer,
			const struct peer_reply *reply)
{
	struct json_object *value;

	if (request->is_all)
		printf("process %s: ", peer->name);
	value = json_tokener_parse(reply->text);
	if (value)
		cli_print_json(value);
	else if (reply->len > 0)
		print_foreign(reply->text);
	else
		puts("OK");
}

/* --- list ----------------------------------------------------------------------------
 */

static const char *text_of(struct json_object *object, const char *name)
{
	struct json_object *value = json_object_object_get(object, name);

	return value && json_object_is_type(value, json_type_string)
		       ? json_object_get_string(value)
		       : "?";
}

static long long number_of(struct json_object *object, const char *name)
{
	struct json_object *value = json_object_object_get(object, name);

	return value ? (long long)json_object_get_int64(value) : 0;
}

static void print_pool(const struct peer *peer, const char *program,
		       struct json_object *pool)
{
	struct json_object *sessions = json_object_object_get(pool, "sessions");
	struct json_object *paused = json_object_object_get(pool, "paused");
	char line[512];

	snprintf(line, sizeof(line),
		 "%-10s %-6lu %-16.32s %-12.40s %-20.32s %3lld/%-5lld"
		 " %5lld %7lld  %s%s%s\n",
		 peer->name, (unsigned long)peer->uid, program, text_of(pool, "name"),
		 text_of(json_object_object_get(pool, "token"), "label"),
		 number_of(sessions, "used"), number_of(sessions, "limit"),
		 number_of(sessions, "idle"), number_of(pool, "waiters"),
		 text_of(pool, "login"),
		 strcmp(text_of(pool, "breaker"), "closed") == 0 ? "" : ", token down",
		 paused && json_object_get_boolean(paused) ? ", paused" : "");
	print_foreign(line);
}

/* An array's length; 0 of what is none. */
static size_t length_of(struct json_object *array)
{
	return json_object_is_type(array, json_type_array)
		       ? json_object_array_length(array)
		       : 0;
}

static void print_list_entry(const struct peer *peer, struct json_object *reply)
{
	struct json_object *pools = json_object_object_get(reply, "pools");
	const char *program =
		text_of(json_object_object_get(reply, "process"), "program");

	for (size_t i = 0; i < length_of(pools); i++)
		print_pool(peer, program, json_object_array_get_idx(pools, i));
}

static void print_list_head(void)
{
	printf("%-10s %-6s %-16s %-12s %-20s %-9s %5s %7s  %s\n", "PID", "UID", "PROGRAM",
	       "POOL", "TOKEN", "USED/OF", "IDLE", "WAITERS", "LOGIN");
}

/* --- reload --------------------------------------------------------------------------
 */

static void print_words(const char *title, struct json_object *words)
{
	size_t count = length_of(words);

	printf("%s", title);
	for (size_t i = 0; i < count; i++) {
		struct json_object *word = json_object_array_get_idx(words, i);
		const char *text = json_object_get_string(word);

		printf(" ");
		print_foreign(text ? text : "?");
	}
	printf("%s", count > 0 ? "" : " nothing");
}

static void print_reload(const struct peer *peer, struct json_object *reply)
{
	struct json_object *pools = json_object_object_get(reply, "pools");

	for (size_t i = 0; i < length_of(pools); i++) {
		struct json_object *pool = json_object_array_get_idx(pools, i);

		printf("process %s, pool ", peer->name);
		print_foreign(text_of(pool, "name"));
		print_words(": changed:", json_object_object_get(pool, "changed"));
		print_words("; needs a restart:",
			    json_object_object_get(pool, "needs-restart"));
		printf("\n");
	}
}

/* --- asking --------------------------------------------------------------------------
 */

/* Commands whose answer is not printed as it comes. */
static const struct view {
	const char *command;
	const char *request;
	void (*print_head)(void); /* NULL: none */
	void (*print)(const struct peer *peer, struct json_object *reply);
} views[] = {
	{ "list", "status", print_list_head, print_list_entry },
	{ "reload", "reload", NULL, print_reload },
};

static const struct view *find_view(const char *command)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(views); i++)
		if (strcmp(views[i].command, command) == 0)
			return &views[i];
	return NULL;
}

static void print_view(const struct view *view, const struct peer *peer,
		       const struct peer_reply *reply)
{
	struct json_object *value = json_tokener_parse(reply->text);

	view->print(peer, value);
	json_object_put(value);
}

static void show(const struct cli *cli, const struct request *request,
		 const struct view *view, const struct peer *peer,
		 const struct peer_reply *reply)
{
	if (cli->is_json)
		keep_reply(request, peer, reply);
	else if (view)
		print_view(view, peer, reply);
	else
		print_reply(request, peer, reply);
}

/* Where all were asked one that ended meanwhile is none. */
static bool is_failure(const struct request *request, const struct peer_answer *answer)
{
	return answer->status != HSMPOOL_OK && !(answer->is_gone && request->is_all);
}

/* Each answer, or what became of it; the first failure is the result. */
static hsmpool_status show_all(const struct cli *cli, const struct request *request,
			       const struct view *view, const struct peer_answer *answers,
			       hsmpool_error *err)
{
	hsmpool_status first = HSMPOOL_OK;

	for (size_t i = 0; i < request->peers.count; i++) {
		const struct peer *peer = &request->peers.list[i];
		const struct peer_answer *answer = &answers[i];

		if (answer->status == HSMPOOL_OK)
			show(cli, request, view, peer, &answer->reply);
		if (!is_failure(request, answer))
			continue;
		if (cli->is_json)
			keep_failure(request, peer, &answer->err);
		else if (first != HSMPOOL_OK)
			cli_message(cli, "%s", answer->err.text);
		if (first == HSMPOOL_OK) {
			first = answer->status;
			*err = answer->err;
		}
	}
	return first;
}

static hsmpool_status ask_all(const struct cli *cli, const struct request *request,
			      const struct view *view, hsmpool_error *err)
{
	int64_t deadline = hp_time_add(hp_now_ns(), request->patience_ns);
	struct peer_answer *answers = NULL;
	hsmpool_status status =
		peers_ask(&request->peers, view ? view->request : request->line, deadline,
			  &answers, err);

	if (status == HSMPOOL_OK)
		status = show_all(cli, request, view, answers, err);
	peer_answers_free(&answers, request->peers.count);
	return status;
}

static hsmpool_status run(struct cli *cli, struct request *request, hsmpool_error *err)
{
	const struct view *view = find_view(request->line);
	bool is_list = strcmp(request->line, "list") == 0;
	hsmpool_status status;

	request->is_all = request->is_all || (is_list && !request->pid);
	HP_TRY(choose(request, err));
	if (cli->is_json)
		request->replies = json_object_new_array();
	else if (view && view->print_head)
		view->print_head();
	status = ask_all(cli, request, view, err);
	if (cli->is_json)
		cli_print_json(request->replies);
	return status;
}

/* words: the command, and its argument if it has one. */
static hsmpool_status take_words(const struct cli *cli, struct request *request,
				 char **words, hsmpool_error *err)
{
	HP_CHECK(words[0], err, HSMPOOL_ERR_USAGE,
		 "which command? see hsmpool-cli ctl --help");
	int len = snprintf(request->line, sizeof(request->line), "%s%s%s", words[0],
			   words[1] ? " " : "", words[1] ? words[1] : "");
	HP_CHECK(len > 0 && (size_t)len < sizeof(request->line) &&
			 !strpbrk(request->line, "\r\n"),
		 err, HSMPOOL_ERR_USAGE, "the command is too long, or has several lines");
	request->patience_ns = PATIENCE;
	if (cli->timeout)
		hp_parse_duration(cli->timeout, &request->patience_ns);
	return HSMPOOL_OK;
}

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	struct request *request = user;

	if (id == OPTION_PID)
		request->pid = argument;
	else
		request->is_all = true;
	HP_CHECK(!request->pid || !request->is_all, err, HSMPOOL_ERR_USAGE,
		 "--pid and --all exclude each other");
	return HSMPOOL_OK;
}

int verb_ctl(struct cli *cli, int argc, char **argv)
{
	struct request request = { 0 };
	hsmpool_error err = { 0 };
	hsmpool_status status =
		cli_parse(cli, &usage, take_option, &request, argc, argv, &err);

	if (status == HSMPOOL_OK)
		status = take_words(cli, &request, argv + optind, &err);
	if (status == HSMPOOL_OK)
		status = run(cli, &request, &err);
	peers_free(&request.peers);
	return cli_finish(cli, status, &err);
}

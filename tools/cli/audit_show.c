/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli audit show: the records of an audit trail, of all its chains, by time.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <json.h>
#include "audit_filter.h"
#include "audit_reader.h"
#include "base/error.h"
#include "base/memory.h"
#include "cli.h"
#include "stop.h"

enum { USER = CLI_OWN, SINCE, UNTIL, RESULT, FUNCTION };

static const struct cli_option options[] = {
	{ "key", CLI_KEY, "KEY",
	  "only uses of the key with this label, id or fingerprint, wrapping included" },
	{ "user", USER, "USER",
	  "only what this user's processes did: a name or a number" },
	{ "since", SINCE, "TIME",
	  "from this time on: 2026-11-21, 2026-11-21T08:00:00Z, or 15m ago" },
	{ "until", UNTIL, "TIME", "up to this time" },
	{ "result", RESULT, "CKR", "only this result, as CKR_OK; failed: all but that" },
	{ "function", FUNCTION, "FUNCTION", "only this function, as C_Sign" },
	CLI_OPTION_END,
};

static const struct cli_usage usage = {
	.synopsis = "[DIR] [--key KEY] [--user USER] [--since TIME]\n"
		    "       [--until TIME] [--result CKR] [--function FUNCTION]",
	.about =
		"Print the records of an audit trail, those of all processes and files in "
		"the order\nof their times. DIR is the configured one (option audit) "
		"unless it is named. Nothing\nis verified: see audit verify. --json "
		"prints the lines as they are.",
	.options = options,
	.operands = 1,
};

/* --- one record ----------------------------------------------------------------------
 */

static const char *text_of(struct json_object *object, const char *name)
{
	struct json_object *member;

	return json_object_object_get_ex(object, name, &member)
		       ? json_object_get_string(member)
		       : NULL;
}

static void print_word(const char *prefix, const char *text)
{
	if (!text || !*text)
		return;
	fputs(prefix, stdout);
	cli_put_printable(text, stdout);
}

static void print_key(struct json_object *record)
{
	struct json_object *key;

	if (!json_object_object_get_ex(record, "key", &key))
		return;
	const char *label = text_of(key, "label");
	const char *id = text_of(key, "id");
	if (label && *label)
		print_word(" key=", label);
	else
		print_word(" key-id=", id);
}

/* The members that every record may have, in the order in which they are printed. */
static const struct {
	const char *name;
	const char *prefix;
} words[] = {
	{ "event", " " },           { "function", " " },        { "mechanism", " " },
	{ "target", " target=" },   { "result", " " },          { "outcome", " " },
	{ "in", " in=" },           { "out", " out=" },         { "us", " us=" },
	{ "pool", " pool=" },       { "token", " token=" },     { "uid", " uid=" },
	{ "session", " session=" }, { "request", " request=" }, { "count", " count=" },
	{ "written", " written=" }, { "unknown", " unknown=" }, { "torn", " torn=" },
	{ "missing", " missing=" }, { "of", " of=" },           { "head", " head=" },
};

static void print_record(struct json_object *record)
{
	print_word("", text_of(record, "time"));
	print_word(" ", text_of(record, "host"));
	print_word(" ", text_of(record, "program"));
	print_word("/", text_of(record, "pid"));
	for (size_t i = 0; i < HP_ARRAY_LEN(words); i++) {
		print_word(words[i].prefix, text_of(record, words[i].name));
		if (strcmp(words[i].name, "mechanism") == 0)
			print_key(record);
	}
	putchar('\n');
}

/* --- all of them ---------------------------------------------------------------------
 */

/* False: the line is no record. */
static bool show_line(const struct cli *cli, const struct audit_filter *filter,
		      const struct audit_line *line)
{
	if (!audit_filter_wants_time(filter, line->time))
		return true;
	struct json_object *record = json_tokener_parse(line->text);
	if (!json_object_is_type(record, json_type_object)) {
		json_object_put(record);
		return false;
	}
	if (audit_filter_wants(filter, record)) {
		if (cli->is_json)
			printf("%s\n", line->text);
		else
			print_record(record);
	}
	json_object_put(record);
	return true;
}

static hsmpool_status show_all(const struct cli *cli, const struct audit_filter *filter,
			       const char *folder, hsmpool_error *err)
{
	struct audit_reader *reader = NULL;
	struct audit_line line;
	hsmpool_status status;
	uint64_t skipped = 0;

	HP_TRY(audit_reader_open(&reader, folder, err));
	while ((status = stop_check(err)) == HSMPOOL_OK && !ferror(stdout) &&
	       audit_reader_next(reader, &line))
		skipped += !show_line(cli, filter, &line);
	skipped += audit_reader_skipped(reader);
	if (status == HSMPOOL_OK)
		status = audit_reader_check(reader, err);
	audit_reader_close(&reader);
	if (skipped > 0)
		cli_message(cli,
			    "warning: %" PRIu64 " lines are no records; audit verify "
			    "tells which",
			    skipped);
	return status;
}

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	struct audit_filter *filter = user;

	switch (id) {
	case CLI_KEY:
		filter->key = argument;
		return HSMPOOL_OK;
	case RESULT:
		filter->result = argument;
		return HSMPOOL_OK;
	case FUNCTION:
		filter->function = argument;
		return HSMPOOL_OK;
	case USER:
		return audit_filter_set_user(filter, argument, err);
	case SINCE:
		return audit_filter_set_since(filter, argument, err);
	default:
		return audit_filter_set_until(filter, argument, err);
	}
}

int verb_audit_show(struct cli *cli, int argc, char **argv)
{
	struct audit_filter filter = { 0 };
	hsmpool_error err = { 0 };
	const char *folder;
	hsmpool_status status =
		cli_parse(cli, &usage, take_option, &filter, argc, argv, &err);

	if (status == HSMPOOL_OK)
		status = audit_folder(cli, argv[optind], &folder, &err);
	if (status == HSMPOOL_OK)
		status = show_all(cli, &filter, folder, &err);
	return cli_finish(cli, status, &err);
}

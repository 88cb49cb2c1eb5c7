/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli audit verify: is the trail the one that was written, and up to where did
 * the key vouch for it?
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <json.h>
#include "audit_proof.h"
#include "audit_reader.h"
#include "audit_report.h"
#include "base/error.h"
#include "base/memory.h"
#include "cli.h"
#include "stop.h"

enum { HEAD = CLI_OWN, NO_KEY, PUBLIC_KEY, STRICT };

static const struct cli_option options[] = {
	{ "head", HEAD, "HEX",
	  "the hash of a record, noted elsewhere, must be in the trail" },
	{ "no-key", NO_KEY, NULL,
	  "do not ask the HSM whether checkpoints are authentic" },
	{ "public-key", PUBLIC_KEY, "FILE",
	  "verify the checkpoints' signatures with this public key, without the HSM" },
	{ "strict", STRICT, NULL,
	  "records that no authentic checkpoint vouches for are a finding" },
	CLI_OPTION_END,
};

static const struct cli_usage usage = {
	.synopsis = "[DIR] [--head HEX] [--no-key | --public-key FILE]\n"
		    "       [--strict]",
	.about =
		"Read a whole audit trail, that of the option audit unless DIR is named, "
		"and tell\nwhat was altered, removed, inserted or reordered, and what no "
		"checkpoint vouches\nfor. Ends with 0 if nothing was found, else with 65.",
	.options = options,
	.operands = 1,
};

struct request {
	const char *folder;
	const char *head_text;
	uint8_t head[HP_AUDIT_HASH_LEN];
	const char *public_key;
	bool is_without_key;
	bool is_strict;
	struct audit_prover prover;
	struct audit_report report;
};

/* --- checkpoints ---------------------------------------------------------------------
 */

static void note_checkpoint(struct audit_report *report, const struct audit_chain *chain,
			    const struct audit_checkpoint *checkpoint)
{
	struct audit_note place = { .kind = "checkpoint",
				    .is_wrong = true,
				    .chain = chain->number,
				    .line = checkpoint->line,
				    .seq = checkpoint->seq,
				    .last = checkpoint->seq };

	memcpy(place.file, checkpoint->file, sizeof(place.file));
	audit_report_note(report, &place,
			  "record %" PRIu64 ": the key says that this checkpoint is not "
			  "authentic",
			  checkpoint->seq);
}

/* The configured key may have been another one once. Who says so in a record does not
 * make it true: such a checkpoint vouches for nothing. */
static bool is_by_another(const struct audit_prover *prover,
			  const struct audit_checkpoint *checkpoint)
{
	return prover->kind == AUDIT_PROVER_HSM &&
	       strcmp(checkpoint->found.key, prover->name) != 0;
}

/* From the last one back; asked are those that vouch for more than is vouched for: a copy
 * of an old one may follow. */
static hsmpool_status prove_chain(struct request *request, struct audit_chain *chain,
				  hsmpool_error *err)
{
	const struct audit_checkpoint *at;

	for (uint64_t back = 0; (at = audit_chain_checkpoint(chain, back)); back++) {
		bool is_valid = false;

		HP_TRY(stop_check(err));
		if (is_by_another(&request->prover, at) ||
		    at->found.head.seq <= chain->authenticated)
			continue;
		HP_TRY(audit_prover_ask(&request->prover, &at->found, &is_valid, err));
		if (!is_valid)
			note_checkpoint(&request->report, chain, at);
		if (is_valid && at->found.is_right)
			chain->authenticated = at->found.head.seq;
	}
	return HSMPOOL_OK;
}

static bool has_checkpoints(const struct audit_report *report)
{
	for (size_t i = 0; i < report->chain_count; i++)
		if (report->chains[i].checkpoints > 0)
			return true;
	return false;
}

static hsmpool_status open_prover(struct request *request, struct cli *cli,
				  hsmpool_error *err)
{
	if (request->public_key)
		return audit_prover_open_public(&request->prover, request->public_key,
						err);
	hsmpool_status status = audit_prover_open_key(&request->prover, cli, err);
	if (status != HSMPOOL_OK)
		hp_error_append(err, "; --no-key leaves the key out");
	return status;
}

static hsmpool_status prove_all(struct request *request, struct cli *cli,
				hsmpool_error *err)
{
	if (request->is_without_key || !has_checkpoints(&request->report))
		return HSMPOOL_OK;
	HP_TRY(open_prover(request, cli, err));
	if (request->prover.kind == AUDIT_PROVER_NONE)
		return HSMPOOL_OK;
	for (size_t i = 0; i < request->report.chain_count; i++)
		HP_TRY(prove_chain(request, &request->report.chains[i], err));
	return HSMPOOL_OK;
}

/* --- printing ------------------------------------------------------------------------
 */

static bool was_asked(const struct request *request)
{
	return request->prover.kind != AUDIT_PROVER_NONE;
}

static uint64_t vouched(const struct request *request, const struct audit_chain *chain)
{
	return was_asked(request) ? chain->authenticated : chain->read.last_checkpoint;
}

static void print_chain(const struct request *request, const struct audit_chain *chain)
{
	uint64_t to = vouched(request, chain);

	printf("chain %u: %" PRIu64 " records, the last is %" PRIu64 "%s; ",
	       chain->number, chain->read.records, chain->read.head.seq,
	       chain->read.is_live ? " (being written)" : "");
	if (chain->read.deleted > 0)
		printf("%" PRIu64 " deleted by retention; ", chain->read.deleted);
	if (to > 0)
		printf("checkpoint of record %" PRIu64 " %s; ", to,
		       was_asked(request) ? "authentic" : "not verified");
	else
		printf("no %scheckpoint; ", was_asked(request) ? "authentic " : "");
	printf("unauthenticated, %" PRIu64 "\n", audit_chain_following(chain, to));
}

static void print_note(const struct audit_note *note)
{
	printf("%s: ", note->is_wrong ? note->kind : "note");
	if (*note->file && note->line > 0)
		printf("%s:%" PRIu64 ": ", note->file, note->line);
	else if (*note->file)
		printf("%s: ", note->file);
	else if (note->chain > 0)
		printf("chain %u: ", note->chain);
	printf("%s\n", note->text);
}

static const char *who_was_asked(const struct request *request)
{
	if (was_asked(request))
		return request->prover.name;
	return request->is_without_key ? "not asked (--no-key)" : "none (no audit-key)";
}

static void print_text(const struct request *request)
{
	const struct audit_report *report = &request->report;

	for (size_t i = 0; i < report->note_count; i++)
		print_note(&report->notes[i]);
	if (report->omitted_count > 0)
		printf("and %zu more\n", report->omitted_count);
	for (size_t i = 0; i < report->chain_count; i++)
		print_chain(request, &report->chains[i]);
	printf("key: %s\n", who_was_asked(request));
	if (report->has_found_head)
		printf("head: record %" PRIu64 " of chain %u, %s:%" PRIu64 "\n",
		       report->head.seq, report->head.chain, report->head.file,
		       report->head.line);
	if (report->wrong_count == 0)
		puts("OK");
}

static struct json_object *note_json(const struct audit_note *note)
{
	struct json_object *object = json_object_new_object();

	cli_add_text(object, "kind", note->kind);
	if (note->chain > 0)
		cli_add_number(object, "chain", note->chain);
	if (*note->file)
		cli_add_text(object, "file", note->file);
	if (note->line > 0)
		cli_add_number(object, "line", note->line);
	if (note->seq > 0)
		cli_add_number(object, "seq", note->seq);
	if (note->last > note->seq)
		cli_add_number(object, "last", note->last);
	if (*note->text)
		cli_add_text(object, "text", note->text);
	return object;
}

static struct json_object *notes_json(const struct audit_report *report, bool is_wrong)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < report->note_count; i++)
		if (report->notes[i].is_wrong == is_wrong)
			json_object_array_add(list, note_json(&report->notes[i]));
	return list;
}

static struct json_object *chain_json(const struct request *request,
				      const struct audit_chain *chain)
{
	struct json_object *object = json_object_new_object();
	char hash[2 * HP_AUDIT_HASH_LEN + 1];
	uint64_t to = vouched(request, chain);

	hp_hex_encode(chain->read.head.hash, HP_AUDIT_HASH_LEN, hash);
	cli_add_number(object, "chain", chain->number);
	cli_add_text(object, "name", chain->read.head.chain);
	cli_add_number(object, "records", chain->read.records);
	cli_add_number(object, "deleted", chain->read.deleted);
	cli_add_number(object, "last", chain->read.head.seq);
	cli_add_text(object, "head", hash);
	json_object_object_add(object, "live",
			       json_object_new_boolean(chain->read.is_live));
	cli_add_number(object, "checkpoints", chain->checkpoints);
	cli_add_number(object, "checkpoint-of", to);
	json_object_object_add(object, "authentic",
			       json_object_new_boolean(to > 0 && was_asked(request)));
	cli_add_number(object, "unauthenticated", audit_chain_following(chain, to));
	return object;
}

static void print_json(const struct request *request)
{
	const struct audit_report *report = &request->report;
	struct json_object *object = json_object_new_object();
	struct json_object *chains = json_object_new_array();

	for (size_t i = 0; i < report->chain_count; i++)
		json_object_array_add(chains, chain_json(request, &report->chains[i]));
	cli_add_text(object, "folder", request->folder);
	json_object_object_add(object, "valid",
			       json_object_new_boolean(report->wrong_count == 0));
	json_object_object_add(object, "findings", notes_json(report, true));
	json_object_object_add(object, "notes", notes_json(report, false));
	if (report->omitted_count > 0)
		cli_add_number(object, "omitted", report->omitted_count);
	json_object_object_add(object, "chains", chains);
	cli_add_text(object, "key", who_was_asked(request));
	if (report->has_found_head)
		json_object_object_add(object, "head", note_json(&report->head));
	cli_print_json(object);
}

/* --- the verb ------------------------------------------------------------------------
 */

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	struct request *request = user;

	(void)err;
	switch (id) {
	case HEAD:
		request->head_text = argument;
		break;
	case NO_KEY:
		request->is_without_key = true;
		break;
	case STRICT:
		request->is_strict = true;
		break;
	default:
		request->public_key = argument;
	}
	return HSMPOOL_OK;
}

static hsmpool_status check_options(struct request *request, hsmpool_error *err)
{
	size_t len = 0;

	HP_CHECK(!request->is_without_key || !request->public_key, err, HSMPOOL_ERR_USAGE,
		 "say --no-key or --public-key, not both");
	HP_CHECK(!request->is_without_key || !request->is_strict, err, HSMPOOL_ERR_USAGE,
		 "--strict is about what the key vouches for; leave out --no-key");
	HP_CHECK(!request->head_text || (hp_hex_decode(request->head_text, request->head,
						       sizeof(request->head), &len) &&
					 len == sizeof(request->head)),
		 err, HSMPOOL_ERR_USAGE, "--head: a hash is 64 hex digits");
	return HSMPOOL_OK;
}

static void note_missing_head(struct request *request)
{
	struct audit_note note = { .kind = "head", .is_wrong = true };

	if (request->head_text && !request->report.has_found_head)
		audit_report_note(&request->report, &note, "no record has the hash %.64s",
				  request->head_text);
}

/* Without any key that was asked: all of them. */
static void note_unauthenticated(struct request *request)
{
	for (size_t i = 0; request->is_strict && i < request->report.chain_count; i++) {
		const struct audit_chain *chain = &request->report.chains[i];
		struct audit_note note = { .kind = "unauthenticated",
					   .is_wrong = true,
					   .chain = chain->number };
		uint64_t count = audit_chain_following(chain, chain->authenticated);

		if (count > 0)
			audit_report_note(&request->report, &note,
					  "no authentic checkpoint vouches for %" PRIu64
					  " records",
					  count);
	}
}

static hsmpool_status verify(struct request *request, struct cli *cli, hsmpool_error *err)
{
	struct audit_report *report = &request->report;

	HP_TRY(audit_report_make(report, request->folder,
				 request->head_text ? request->head : NULL, err));
	HP_TRY(prove_all(request, cli, err));
	note_missing_head(request);
	note_unauthenticated(request);
	if (cli->is_json)
		print_json(request);
	else
		print_text(request);
	HP_CHECK(report->wrong_count == 0, err, HSMPOOL_ERR_DATA,
		 "%s is not the trail that was written: %zu findings", request->folder,
		 report->wrong_count);
	return HSMPOOL_OK;
}

int verb_audit_verify(struct cli *cli, int argc, char **argv)
{
	struct request request = { 0 };
	hsmpool_error err = { 0 };
	hsmpool_status status =
		cli_parse(cli, &usage, take_option, &request, argc, argv, &err);

	if (status == HSMPOOL_OK)
		status = check_options(&request, &err);
	if (status == HSMPOOL_OK)
		status = audit_folder(cli, argv[optind], &request.folder, &err);
	if (status == HSMPOOL_OK)
		status = verify(&request, cli, &err);
	audit_prover_close(&request.prover);
	audit_report_free(&request.report);
	return cli_finish(cli, status, &err);
}

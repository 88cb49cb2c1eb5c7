/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli audit status: how large a trail is, who writes it, and what is not
 * authenticated yet.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <json.h>
#include "audit_reader.h"
#include "audit_report.h"
#include "base/memory.h"
#include "cli.h"

static const struct cli_usage usage = {
	.synopsis = "[DIR]",
	.operands = 1,
	.about =
		"Show the chains of an audit trail, that of the option audit unless DIR is "
		"named:\nhow many records there are, since when, how many bytes, which are "
		"being written,\nand how many records follow the last checkpoint, whose "
		"authenticity is not verified.",
};

struct summary {
	const char *folder;
	uint64_t files;
	uint64_t bytes;
	uint64_t records;
	uint64_t unauthenticated;
	uint64_t writers;
	char since[32]; /* the first record's time; "": there is none */
	struct audit_report report;
};

/* Files of records; the rings are empty space for the most part. */
static void add_files(struct summary *summary)
{
	DIR *dir = opendir(summary->folder);

	if (!dir)
		return;
	for (const struct dirent *entry; (entry = readdir(dir));) {
		struct hp_audit_file file;
		struct stat info;

		if (!hp_audit_file_parse(entry->d_name, &file) ||
		    fstatat(dirfd(dir), entry->d_name, &info, 0) != 0)
			continue;
		summary->files++;
		summary->bytes += (uint64_t)info.st_size;
	}
	closedir(dir);
}

static hsmpool_status find_first(struct summary *summary, hsmpool_error *err)
{
	struct audit_reader *reader = NULL;
	struct audit_line line;
	hsmpool_status status = audit_reader_open(&reader, summary->folder, err);

	if (status == HSMPOOL_OK && audit_reader_next(reader, &line))
		snprintf(summary->since, sizeof(summary->since), "%.27s", line.time);
	audit_reader_close(&reader);
	return status;
}

static void add_chains(struct summary *summary)
{
	for (size_t i = 0; i < summary->report.chain_count; i++) {
		const struct audit_chain *chain = &summary->report.chains[i];

		summary->records += chain->read.records;
		summary->writers += chain->read.is_live;
		summary->unauthenticated +=
			audit_chain_following(chain, chain->read.last_checkpoint);
	}
}

static void print_text(const struct summary *summary)
{
	printf("folder           %s\n", summary->folder);
	printf("chains           %zu, %" PRIu64 " being written\n",
	       summary->report.chain_count, summary->writers);
	printf("files            %" PRIu64 ", %" PRIu64 " bytes\n", summary->files,
	       summary->bytes);
	printf("records          %" PRIu64 "%s%s\n", summary->records,
	       *summary->since ? ", since " : "", summary->since);
	printf("unauthenticated  %" PRIu64 "\n", summary->unauthenticated);
	printf("findings         %zu%s\n", summary->report.wrong_count,
	       summary->report.wrong_count ? ": see audit verify" : "");
}

static void print_json(const struct summary *summary)
{
	struct json_object *object = json_object_new_object();

	cli_add_text(object, "folder", summary->folder);
	cli_add_number(object, "chains", summary->report.chain_count);
	cli_add_number(object, "writers", summary->writers);
	cli_add_number(object, "files", summary->files);
	cli_add_number(object, "bytes", summary->bytes);
	cli_add_number(object, "records", summary->records);
	if (*summary->since)
		cli_add_text(object, "since", summary->since);
	cli_add_number(object, "unauthenticated", summary->unauthenticated);
	cli_add_number(object, "findings", summary->report.wrong_count);
	cli_print_json(object);
}

int verb_audit_status(struct cli *cli, int argc, char **argv)
{
	struct summary summary = { 0 };
	hsmpool_error err = { 0 };
	hsmpool_status status = cli_parse(cli, &usage, NULL, NULL, argc, argv, &err);

	if (status == HSMPOOL_OK)
		status = audit_folder(cli, argv[optind], &summary.folder, &err);
	if (status == HSMPOOL_OK)
		status = audit_report_make(&summary.report, summary.folder, NULL, &err);
	if (status == HSMPOOL_OK)
		status = find_first(&summary, &err);
	if (status == HSMPOOL_OK) {
		add_files(&summary);
		add_chains(&summary);
		if (cli->is_json)
			print_json(&summary);
		else
			print_text(&summary);
	}
	audit_report_free(&summary.report);
	return cli_finish(cli, status, &err);
}

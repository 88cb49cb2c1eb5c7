/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of an audit trail in the order of their times.
 *
 * A lane is a chain: its files by their first number, read one after the other. The
 * earliest of the lanes' next records is the next of all.
 */
#include "audit_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"
#include "observe/audit_folder.h"
#include "observe/audit_line.h"
#include "observe/audit_lines.h"

#define TIME_LEN 27 /* "2026-11-21T08:00:00.123456Z" */

struct lane {
	const struct hp_audit_file *files; /* those that are left */
	size_t count;
	bool is_open;                  /* the one before */
	char name[HP_AUDIT_NAME_SIZE]; /* its name */
	struct hp_audit_lines lines;
	const char *text;
	size_t len;
	const char *time; /* in text; NULL: the lane has ended */
	unsigned chain;
};

struct audit_reader {
	int folder;
	struct hp_audit_file *files;
	size_t file_count;
	struct lane *lanes;
	size_t lane_count;
	struct lane *last; /* whose record was given out */
	uint64_t skipped;
	char unreadable[HP_AUDIT_NAME_SIZE]; /* the first file that is; "": none */
	int failure;                         /* its errno */
};

hsmpool_status audit_folder(struct cli *cli, const char *operand, const char **folder,
			    hsmpool_error *err)
{
	char section[256];

	*folder = operand;
	if (operand)
		return HSMPOOL_OK;
	HP_TRY(cli_open_config(cli, err));
	cli_pool_section(cli, section, sizeof(section));
	*folder = hsmpool_config_get(cli->config, section, "audit");
	HP_CHECK(*folder, err, HSMPOOL_ERR_USAGE,
		 "which trail? name its folder, or set audit in [%s] of %s", section,
		 hsmpool_config_path(cli->config));
	return HSMPOOL_OK;
}

/* --- one chain -----------------------------------------------------------------------
 */

static const char *find_time(const char *text)
{
	static const char key[] = "\"time\":\"";
	const char *at = strstr(text, key);

	if (!at || strnlen(at + strlen(key), TIME_LEN + 1) < TIME_LEN + 1 ||
	    at[strlen(key) + TIME_LEN] != '"')
		return NULL;
	return at + strlen(key);
}

static void note_failure(struct audit_reader *reader, const struct lane *lane,
			 int failure)
{
	if (reader->failure)
		return;
	reader->failure = failure;
	memcpy(reader->unreadable, lane->name, sizeof(lane->name));
}

static void close_file(struct audit_reader *reader, struct lane *lane)
{
	if (!lane->is_open)
		return;
	if (lane->lines.failure)
		note_failure(reader, lane, lane->lines.failure);
	reader->skipped += lane->lines.rest > 0;
	hp_audit_lines_close(&lane->lines);
	lane->is_open = false;
}

/* A file that retention took away meanwhile is over. */
static bool open_next_file(struct audit_reader *reader, struct lane *lane)
{
	close_file(reader, lane);
	while (lane->count > 0 && !lane->is_open) {
		const struct hp_audit_file *file = lane->files++;

		lane->count--;
		hp_audit_file_name(lane->name, file->chain, file->first);
		lane->is_open =
			hp_audit_lines_open(&lane->lines, reader->folder, lane->name);
		if (!lane->is_open && errno != ENOENT)
			note_failure(reader, lane, errno);
	}
	return lane->is_open;
}

static bool read_line(struct lane *lane)
{
	return lane->is_open &&
	       hp_audit_lines_next(&lane->lines, &lane->text, &lane->len);
}

static void advance(struct audit_reader *reader, struct lane *lane)
{
	lane->time = NULL;
	while (!lane->time) {
		while (!read_line(lane))
			if (!open_next_file(reader, lane))
				return;
		if (lane->len < HP_AUDIT_LINE_MAX)
			lane->time = find_time(lane->text);
		reader->skipped += lane->time == NULL;
	}
}

static bool make_lanes(struct audit_reader *reader)
{
	reader->lanes = calloc(reader->file_count + 1, sizeof(*reader->lanes));
	if (!reader->lanes)
		return false;
	for (size_t i = 0; i < reader->file_count; i++) {
		if (i == 0 || reader->files[i].chain != reader->files[i - 1].chain) {
			struct lane *lane = &reader->lanes[reader->lane_count++];
			lane->files = &reader->files[i];
			lane->chain = reader->files[i].chain;
		}
		reader->lanes[reader->lane_count - 1].count++;
	}
	for (size_t i = 0; i < reader->lane_count; i++)
		advance(reader, &reader->lanes[i]);
	return true;
}

/* --- all of them ---------------------------------------------------------------------
 */

hsmpool_status audit_reader_open(struct audit_reader **out, const char *folder,
				 hsmpool_error *err)
{
	struct audit_reader *reader = calloc(1, sizeof(*reader));
	hsmpool_status status;

	*out = NULL;
	HP_CHECK(reader, err, HSMPOOL_ERR_SYSTEM, "no memory");
	reader->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (reader->folder < 0)
		status = hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
				       "cannot read the audit trail %.200s", folder);
	else
		status = hp_audit_folder_files(reader->folder, &reader->files,
					       &reader->file_count, err);
	if (status == HSMPOOL_OK && !make_lanes(reader))
		status = hp_fail(err, HSMPOOL_ERR_SYSTEM, "no memory");
	if (status == HSMPOOL_OK)
		*out = reader;
	else
		audit_reader_close(&reader);
	return status;
}

bool audit_reader_next(struct audit_reader *reader, struct audit_line *line)
{
	struct lane *first = NULL;

	if (reader->last)
		advance(reader, reader->last);
	for (size_t i = 0; i < reader->lane_count; i++) {
		struct lane *lane = &reader->lanes[i];

		if (lane->time &&
		    (!first || strncmp(lane->time, first->time, TIME_LEN) < 0))
			first = lane;
	}
	reader->last = first;
	if (!first)
		return false;
	*line = (struct audit_line){ .file = first->name,
				     .number = first->lines.number,
				     .chain = first->chain,
				     .text = first->text,
				     .len = first->len,
				     .time = first->time };
	return true;
}

hsmpool_status audit_reader_check(const struct audit_reader *reader, hsmpool_error *err)
{
	if (reader->failure)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, reader->failure,
				     "%s cannot be read: its records are left out",
				     reader->unreadable);
	return HSMPOOL_OK;
}

uint64_t audit_reader_skipped(const struct audit_reader *reader)
{
	return reader->skipped;
}

void audit_reader_close(struct audit_reader **address)
{
	struct audit_reader *reader = *address;

	if (!reader)
		return;
	for (size_t i = 0; i < reader->lane_count; i++)
		close_file(reader, &reader->lanes[i]);
	free(reader->lanes);
	free(reader->files);
	if (reader->folder >= 0)
		close(reader->folder);
	free(reader);
	*address = NULL;
}

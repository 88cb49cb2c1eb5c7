/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of an audit trail in the order of their times.
 *
 * A lane is a chain: its files by their first number, read one after the other. The
 * earliest of the lanes' next records is the next of all.
 */
#include "audit_reader.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"

#define TIME_LEN 27 /* "2026-11-21T08:00:00.123456Z" */

struct file {
	char *name;
	unsigned chain;
	unsigned long long first;
};

struct lane {
	const struct file *files; /* those that are left */
	size_t count;
	FILE *stream; /* of the one before; NULL: none is open */
	char *text;
	size_t cap, len;
	const char *time;        /* in text; NULL: the lane has ended */
	const struct file *file; /* that of the stream */
	uint64_t number;
};

struct audit_reader {
	char *folder;
	struct file *files;
	size_t file_count;
	struct lane *lanes;
	size_t lane_count;
	struct lane *last; /* whose record was given out */
	uint64_t skipped;
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

/* --- the folder ----------------------------------------------------------------------
 */

/* "chain-0001.000000000000.jsonl" */
static bool parse_name(const char *name, struct file *file)
{
	int end = 0;

	return sscanf(name, "chain-%4u.%12llu.jsonl%n", &file->chain, &file->first,
		      &end) == 2 &&
	       end > 0 && name[end] == '\0';
}

static int compare_files(const void *left, const void *right)
{
	const struct file *a = left, *b = right;

	if (a->chain != b->chain)
		return a->chain < b->chain ? -1 : 1;
	return a->first < b->first ? -1 : a->first > b->first;
}

static bool add_file(struct audit_reader *reader, const char *name)
{
	struct file file;
	struct file *files;

	if (!parse_name(name, &file))
		return true;
	files = reallocarray(reader->files, reader->file_count + 1, sizeof(*files));
	if (!files)
		return false;
	reader->files = files;
	file.name = strdup(name);
	if (!file.name)
		return false;
	files[reader->file_count++] = file;
	return true;
}

static hsmpool_status list_files(struct audit_reader *reader, hsmpool_error *err)
{
	DIR *dir = opendir(reader->folder);
	const struct dirent *entry;
	bool fits = true;

	if (!dir)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
				     "cannot read the audit trail %.200s",
				     reader->folder);
	while (fits && (entry = readdir(dir)))
		fits = add_file(reader, entry->d_name);
	closedir(dir);
	HP_CHECK(fits, err, HSMPOOL_ERR_SYSTEM, "no memory for the list of files");
	if (reader->file_count > 0)
		qsort(reader->files, reader->file_count, sizeof(*reader->files),
		      compare_files);
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

/* A file that retention took away meanwhile is over. */
static bool open_next_file(const struct audit_reader *reader, struct lane *lane)
{
	char path[4096];

	if (lane->stream)
		fclose(lane->stream);
	lane->stream = NULL;
	while (lane->count > 0 && !lane->stream) {
		snprintf(path, sizeof(path), "%s/%s", reader->folder, lane->files->name);
		lane->file = lane->files;
		lane->number = 0;
		lane->stream = fopen(path, "re");
		lane->files++;
		lane->count--;
	}
	return lane->stream != NULL;
}

static bool read_line(struct lane *lane)
{
	ssize_t len = lane->stream ? getline(&lane->text, &lane->cap, lane->stream) : -1;

	if (len < 0)
		return false;
	if (len > 0 && lane->text[len - 1] == '\n')
		lane->text[--len] = '\0';
	lane->len = (size_t)len;
	lane->number++;
	return true;
}

static void advance(struct audit_reader *reader, struct lane *lane)
{
	lane->time = NULL;
	while (!lane->time) {
		while (!read_line(lane))
			if (!open_next_file(reader, lane))
				return;
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
		if (i == 0 || reader->files[i].chain != reader->files[i - 1].chain)
			reader->lanes[reader->lane_count++].files = &reader->files[i];
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

	*out = NULL;
	HP_CHECK(reader, err, HSMPOOL_ERR_SYSTEM, "no memory");
	reader->folder = strdup(folder);
	hsmpool_status status = reader->folder
					? list_files(reader, err)
					: hp_fail(err, HSMPOOL_ERR_SYSTEM, "no memory");
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
	*line = (struct audit_line){ .file = first->file->name,
				     .number = first->number,
				     .chain = first->file->chain,
				     .text = first->text,
				     .len = first->len,
				     .time = first->time };
	return true;
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
	for (size_t i = 0; i < reader->lane_count; i++) {
		if (reader->lanes[i].stream)
			fclose(reader->lanes[i].stream);
		free(reader->lanes[i].text);
	}
	for (size_t i = 0; i < reader->file_count; i++)
		free(reader->files[i].name);
	free(reader->files);
	free(reader->lanes);
	free(reader->folder);
	free(reader);
	*address = NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See audit_expect.h.
 */
#include "observe/audit_expect.h"

#include <stdlib.h>
#include <string.h>

/* --- filling ------------------------------------------------------------------------ */

static bool make_room(void *array, size_t size, size_t count, size_t *capacity)
{
	if (count < *capacity)
		return true;
	size_t larger = *capacity ? 2 * *capacity : 64;
	void *grown = reallocarray(*(void **)array, larger, size);
	if (!grown)
		return false;
	*(void **)array = grown;
	*capacity = larger;
	return true;
}

static bool add_file(struct hp_expected *expected, const struct hp_audit_file *file,
		     bool is_deleted, const struct hp_ring_head *last)
{
	if (!make_room(&expected->files, sizeof *expected->files, expected->file_count,
		       &expected->file_capacity))
		return false;
	expected->files[expected->file_count++] =
		(struct hp_listed_file){ *file, is_deleted, *last };
	return true;
}

static bool add_record(struct hp_expected *expected, unsigned chain,
		       const struct hp_ring_head *head)
{
	if (!make_room(&expected->records, sizeof *expected->records,
		       expected->record_count, &expected->record_capacity))
		return false;
	expected->records[expected->record_count++] =
		(struct hp_listed_record){ chain, *head };
	return true;
}

bool hp_expected_add(struct hp_expected *expected, const char *line, size_t len,
		     const struct hp_line_frame *frame)
{
	struct hp_ring_head own = { .seq = frame->seq };
	memcpy(own.hash, frame->hash, sizeof own.hash);
	if (!add_record(expected, 0, &own))
		return false;

	char event[16], name[HP_AUDIT_NAME_SIZE];
	struct hp_audit_file file;
	struct hp_ring_head head;
	hp_line_member_text(line, len, "event", event, sizeof event);
	hp_line_member_text(line, len, "file", name, sizeof name);
	head.seq = hp_line_member_number(line, len, "last");
	unsigned chain = (unsigned)hp_line_member_number(line, len, "number");
	bool has_head = hp_line_member_hash(line, len, "head", head.hash);
	if (has_head && head.seq > 0 && !add_record(expected, chain, &head))
		return false;
	bool is_about_file = strcmp(event, "begun") == 0 || strcmp(event, "deleted") == 0;
	return !is_about_file || !hp_audit_file_parse(name, &file) ||
	       add_file(expected, &file, event[0] == 'd', &head);
}

static int compare_files(const void *a, const void *b)
{
	const struct hp_audit_file *one = &((const struct hp_listed_file *)a)->file;
	const struct hp_audit_file *two = &((const struct hp_listed_file *)b)->file;
	if (one->chain != two->chain)
		return one->chain < two->chain ? -1 : 1;
	if (one->first != two->first)
		return one->first < two->first ? -1 : 1;
	return 0;
}

static int compare_records(const void *a, const void *b)
{
	const struct hp_listed_record *one = a;
	const struct hp_listed_record *two = b;
	if (one->chain != two->chain)
		return one->chain < two->chain ? -1 : 1;
	if (one->head.seq != two->head.seq)
		return one->head.seq < two->head.seq ? -1 : 1;
	return 0;
}

/* A file may be listed as begun twice, and deleted: one entry remains. */
static size_t merge_files(struct hp_listed_file *files, size_t count)
{
	size_t kept = 0;
	for (size_t i = 0; i < count; i++) {
		struct hp_listed_file *last = kept ? &files[kept - 1] : NULL;
		if (!last || compare_files(last, &files[i]) != 0)
			files[kept++] = files[i];
		else if (files[i].is_deleted)
			*last = files[i];
	}
	return kept;
}

void hp_expected_sort(struct hp_expected *expected)
{
	if (expected->file_count)
		qsort(expected->files, expected->file_count, sizeof *expected->files,
		      compare_files);
	if (expected->record_count)
		qsort(expected->records, expected->record_count,
		      sizeof *expected->records, compare_records);
	expected->file_count = merge_files(expected->files, expected->file_count);
}

void hp_expected_clear(struct hp_expected *expected)
{
	free(expected->files);
	free(expected->records);
	*expected = (struct hp_expected){ 0 };
}

/* --- asking ------------------------------------------------------------------------- */

const struct hp_listed_file *hp_expected_file(const struct hp_expected *expected,
					      const struct hp_audit_file *file)
{
	const struct hp_listed_file key = { .file = *file };
	return expected->file_count ? bsearch(&key, expected->files, expected->file_count,
					      sizeof *expected->files, compare_files)
				    : NULL;
}

/* Several entries may name one record: each must agree. */
bool hp_expected_contradicts(const struct hp_expected *expected, unsigned chain,
			     uint64_t seq, const uint8_t *hash)
{
	const struct hp_listed_record key = { chain, { .seq = seq } };
	const struct hp_listed_record *records = expected->records;
	const struct hp_listed_record *found =
		expected->record_count ? bsearch(&key, records, expected->record_count,
						 sizeof *records, compare_records)
				       : NULL;
	if (!found)
		return false;
	while (found > records && compare_records(found - 1, &key) == 0)
		found--;
	for (; found < records + expected->record_count &&
	       compare_records(found, &key) == 0;
	     found++)
		if (memcmp(found->head.hash, hash, HP_AUDIT_HASH_LEN) != 0)
			return true;
	return false;
}

uint64_t hp_expected_last(const struct hp_expected *expected, unsigned chain)
{
	uint64_t last = 0;
	for (size_t i = 0; i < expected->record_count; i++)
		if (expected->records[i].chain == chain)
			last = expected->records[i].head.seq;
	return last;
}

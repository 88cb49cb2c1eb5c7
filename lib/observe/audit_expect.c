/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See audit_expect.h.
 */
#include "observe/audit_expect.h"

#include <errno.h>
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

static bool add_file(struct hp_expected *expected, const struct hp_listed_file *file)
{
	if (!make_room(&expected->files, sizeof *file, expected->file_count,
		       &expected->file_capacity))
		return false;
	expected->files[expected->file_count++] = *file;
	return true;
}

static bool add_record(struct hp_expected *expected, unsigned chain, uint64_t seq,
		       const uint8_t *hash)
{
	if (!make_room(&expected->records, sizeof *expected->records,
		       expected->record_count, &expected->record_capacity))
		return false;
	struct hp_listed_record *record = &expected->records[expected->record_count++];
	record->chain = chain;
	record->head.seq = seq;
	memcpy(record->head.hash, hash, HP_AUDIT_HASH_LEN);
	return true;
}

static bool add_name(struct hp_expected *expected, const struct hp_listed_name *name)
{
	if (!make_room(&expected->names, sizeof *name, expected->name_count,
		       &expected->name_capacity))
		return false;
	expected->names[expected->name_count++] = *name;
	return true;
}

static bool take_members(struct hp_expected *expected, const char *line, size_t len)
{
	char event[16], file[HP_AUDIT_NAME_SIZE];
	struct hp_listed_name name;
	struct hp_listed_file listed = { 0 };
	hp_line_member_text(line, len, "event", event, sizeof event);
	hp_line_member_text(line, len, "file", file, sizeof file);
	hp_line_member_text(line, len, "chain", name.name, sizeof name.name);
	uint64_t number = hp_line_member_number(line, len, "number");
	name.chain = number <= HP_AUDIT_MOST_CHAINS ? (unsigned)number : 0;
	listed.last.seq = hp_line_member_number(line, len, "last");
	listed.is_deleted = strcmp(event, "deleted") == 0;
	if (hp_line_member_hash(line, len, "head", listed.last.hash) &&
	    listed.last.seq > 0 && name.chain > 0 &&
	    !add_record(expected, name.chain, listed.last.seq, listed.last.hash))
		return false;
	if (*name.name && !add_name(expected, &name))
		return false;
	bool is_about_file = listed.is_deleted || strcmp(event, "begun") == 0;
	return !is_about_file || !hp_audit_file_parse(file, &listed.file) ||
	       add_file(expected, &listed);
}

static void take_line(void *user, const char *line, size_t len,
		      const struct hp_line_frame *frame)
{
	struct hp_expected *expected = user;
	if (!add_record(expected, 0, frame->seq, frame->hash) ||
	    !take_members(expected, line, len))
		expected->has_failed = true;
}

static void tell_on(void *user, enum hp_finding_kind kind, uint64_t seq, uint64_t last)
{
	const struct hp_expected *expected = user;
	expected->tell(expected->user, kind, seq, last);
}

/* --- order -------------------------------------------------------------------------- */

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
	return memcmp(one->head.hash, two->head.hash, HP_AUDIT_HASH_LEN);
}

static int compare_names(const void *a, const void *b)
{
	const struct hp_listed_name *one = a;
	const struct hp_listed_name *two = b;
	int order = strcmp(one->name, two->name);
	return order ? order : (int)one->chain - (int)two->chain;
}

/* Sorted, each kept once. */
static size_t put_in_order(void *array, size_t count, size_t size,
			   int (*compare)(const void *, const void *))
{
	char *all = array;
	size_t kept = 0;
	if (count)
		qsort(array, count, size, compare);
	for (size_t i = 0; i < count; i++)
		if (i == 0 || compare(all + (kept - 1) * size, all + i * size) != 0)
			memmove(all + kept++ * size, all + i * size, size);
	return kept;
}

/* A file may be listed as begun twice, and deleted: one entry remains. */
static size_t merge_files(struct hp_listed_file *files, size_t count)
{
	size_t kept = 0;
	if (count)
		qsort(files, count, sizeof *files, compare_files);
	for (size_t i = 0; i < count; i++) {
		struct hp_listed_file *last = kept ? &files[kept - 1] : NULL;
		if (!last || compare_files(last, &files[i]) != 0)
			files[kept++] = files[i];
		else if (files[i].is_deleted)
			*last = files[i];
	}
	return kept;
}

/* The first for which compare() says that it is not less than key; count: none. */
static size_t find_from(const void *array, size_t count, size_t size, const void *key,
			int (*compare)(const void *, const void *))
{
	size_t from = 0;
	while (count > 0) {
		size_t half = count / 2;
		bool is_less =
			compare((const char *)array + (from + half) * size, key) < 0;
		from += is_less ? half + 1 : 0;
		count = is_less ? count - half - 1 : half;
	}
	return from;
}

/* --- reading ------------------------------------------------------------------------ */

bool hp_expected_read_on(struct hp_expected *e)
{
	const char *line;
	size_t len;
	uint64_t before = e->lines.number;
	while (e->walk && hp_audit_lines_next(&e->lines, &line, &len))
		hp_walk_line(e->walk, line, len);
	if (e->lines.number == before)
		return false;
	hp_walk_settle(e->walk);
	e->has_failed = e->has_failed || hp_walk_has_failed(e->walk);
	e->file_count = merge_files(e->files, e->file_count);
	e->record_count = put_in_order(e->records, e->record_count, sizeof *e->records,
				       compare_records);
	e->name_count =
		put_in_order(e->names, e->name_count, sizeof *e->names, compare_names);
	return true;
}

bool hp_expected_open(struct hp_expected *expected, int folder, hp_expected_tell *tell,
		      void *user)
{
	const struct hp_walk_hooks hooks = { tell_on, take_line, expected };
	*expected = (struct hp_expected){ .lines.file = -1, .tell = tell, .user = user };
	if (!hp_audit_lines_open(&expected->lines, folder, HP_AUDIT_LIST_NAME))
		return false;
	expected->walk = hp_walk_new(&hooks);
	expected->has_failed = !expected->walk;
	hp_expected_read_on(expected);
	errno = expected->lines.failure;
	return errno == 0;
}

void hp_expected_end(struct hp_expected *expected)
{
	hp_expected_read_on(expected);
	if (expected->walk)
		hp_walk_end(expected->walk, 0);
}

void hp_expected_close(struct hp_expected *expected)
{
	hp_audit_lines_close(&expected->lines);
	hp_walk_free(expected->walk);
	free(expected->files);
	free(expected->records);
	free(expected->names);
	*expected = (struct hp_expected){ .lines.file = -1 };
}

/* --- asking ------------------------------------------------------------------------- */

const struct hp_listed_file *hp_expected_file_from(const struct hp_expected *expected,
						   unsigned chain, uint64_t first)
{
	const struct hp_listed_file key = { .file = { chain, first } };
	size_t at = find_from(expected->files, expected->file_count, sizeof key, &key,
			      compare_files);
	bool is_found =
		at < expected->file_count && expected->files[at].file.chain == chain;
	return is_found ? &expected->files[at] : NULL;
}

bool hp_expected_has_file(const struct hp_expected *expected,
			  const struct hp_audit_file *file)
{
	const struct hp_listed_file *found =
		hp_expected_file_from(expected, file->chain, file->first);
	return found && found->file.first == file->first;
}

unsigned hp_expected_chain(const struct hp_expected *expected, const char *name)
{
	struct hp_listed_name key = { .chain = 0 };
	memcpy(key.name, name, strnlen(name, sizeof key.name - 1));
	size_t at = find_from(expected->names, expected->name_count, sizeof key, &key,
			      compare_names);
	bool is_found = at < expected->name_count &&
			strcmp(expected->names[at].name, key.name) == 0;
	return is_found ? expected->names[at].chain : 0;
}

/* Where the records of this number, whatever their hashes, begin. */
static size_t find_record(const struct hp_expected *expected, unsigned chain,
			  uint64_t seq)
{
	const struct hp_listed_record key = { chain, { .seq = seq } };
	return find_from(expected->records, expected->record_count, sizeof key, &key,
			 compare_records);
}

/* Several entries may name one record: each must agree. */
bool hp_expected_contradicts(const struct hp_expected *expected, unsigned chain,
			     uint64_t seq, const uint8_t *hash)
{
	const struct hp_listed_record *records = expected->records;
	for (size_t i = find_record(expected, chain, seq);
	     i < expected->record_count && records[i].chain == chain &&
	     records[i].head.seq == seq;
	     i++)
		if (memcmp(records[i].head.hash, hash, HP_AUDIT_HASH_LEN) != 0)
			return true;
	return false;
}

uint64_t hp_expected_last(const struct hp_expected *expected, unsigned chain)
{
	size_t behind = find_record(expected, chain + 1, 0);
	bool has_one = behind > 0 && expected->records[behind - 1].chain == chain;
	return has_one ? expected->records[behind - 1].head.seq : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a trail: a whole one is called whole, and no change of it goes unnoticed. */
#include "audit_ground.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/memory.h"
#include "observe/audit_folder.h"
#include "observe/audit_verify.h"
#include "scratch.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define EDITS 200 /* they are slow, and look for something else */
#else
#define EDITS 1000
#endif

/* --- what was found ----------------------------------------------------------------- */

struct found {
	unsigned kinds[HP_FINDING_CHAIN + 1];
	unsigned wrong;
	struct hp_audit_finding last[HP_FINDING_CHAIN + 1];  /* of each kind */
	char file[HP_FINDING_CHAIN + 1][HP_AUDIT_NAME_SIZE]; /* its file */
	struct hp_checkpoint_found checkpoint;
	struct hp_chain_read read;
};

static void note(void *user, const struct hp_audit_finding *finding)
{
	struct found *found = user;
	found->kinds[finding->kind]++;
	found->wrong += hp_finding_is_wrong(finding->kind);
	found->last[finding->kind] = *finding;
	snprintf(found->file[finding->kind], HP_AUDIT_NAME_SIZE, "%s",
		 finding->file ? finding->file : "");
	if (finding->checkpoint)
		found->checkpoint = *finding->checkpoint;
	if (finding->read)
		found->read = *finding->read;
}

static struct found verify_with(const uint8_t *head)
{
	struct found found = { 0 };
	hsmpool_error err;
	struct hp_audit_options options = ground_options();
	struct hp_verify_request request = { options.folder, head, note, &found };
	assert_ok(hp_audit_verify(&request, &err), &err);
	return found;
}

static struct found verify(void)
{
	return verify_with(NULL);
}

static void make_trail(unsigned uses, uint64_t rotate_size)
{
	ground_new_folder();
	struct hp_audit_options options = ground_options();
	options.rotate_size = rotate_size;
	options.has_thread = false;
	struct hp_audit *audit = ground_open(&options);
	for (unsigned i = 0; i < uses; i++)
		assert_true(ground_use(audit, "C_Sign"));
	hp_audit_close(&audit);
}

/* --- changing files ----------------------------------------------------------------- */

static void write_file(const char *name, const char *text, size_t len)
{
	struct hp_audit_options options = ground_options();
	char path[1024];
	snprintf(path, sizeof path, "%s/%s", options.folder, name);
	/* Without O_TRUNC, which makes some file systems wait for the disk. */
	int file = open(path, O_WRONLY);
	assert_true(file >= 0);
	assert_int_equal(write(file, text, len), len);
	assert_int_equal(ftruncate(file, (off_t)len), 0);
	close(file);
}

#define FIRST "chain-0001.000000000001.jsonl"

struct lines {
	char *text;
	char *at[256];
	size_t count;
};

/* Lines without their ends; text is cut up. */
static struct lines read_lines(const char *name)
{
	struct lines lines = { .text = ground_read(name) };
	for (char *at = lines.text, *end; (end = strchr(at, '\n')); at = end + 1) {
		*end = '\0';
		lines.at[lines.count++] = at;
	}
	return lines;
}

static void write_lines(const char *name, struct lines *lines)
{
	size_t len = 0;
	HP_AUTO_FREE char *text = malloc(1 << 20);
	assert_non_null(text);
	for (size_t i = 0; i < lines->count; i++) {
		size_t line_len = strlen(lines->at[i]);
		memcpy(text + len, lines->at[i], line_len);
		text[len + line_len] = '\n';
		len += line_len + 1;
	}
	write_file(name, text, len);
	free(lines->text);
}

/* --- what is whole ------------------------------------------------------------------ */

static void a_whole_trail_is_called_whole(void **state)
{
	(void)state;
	make_trail(50, 8192);
	struct found found = verify();
	assert_int_equal(found.wrong, 0);
	assert_int_equal(found.kinds[HP_FINDING_CHAIN], 1);
	assert_int_equal(found.read.records, 51);
	assert_int_equal(found.read.head.seq, 51);
	assert_false(found.read.is_live);
	assert_true(ground_count_files(".jsonl") > 2);
}

static void a_file_that_was_just_begun_is_not_missing(void **state)
{
	(void)state;
	make_trail(0, 1); /* every record ends its file */
	struct found found = verify();
	assert_int_equal(found.wrong, 0);
	assert_int_equal(ground_count_files("chain-0001.0"), 2);
}

static void a_trail_that_is_being_written_is_whole_and_live(void **state)
{
	(void)state;
	ground_new_folder();
	struct hp_audit_options options = ground_options();
	struct hp_audit *audit = ground_open(&options);
	struct hp_audit_entry entry;
	assert_true(ground_begin(audit, "C_Sign", &entry));
	struct found found = verify();
	assert_int_equal(found.wrong, 0);
	assert_int_equal(found.kinds[HP_FINDING_PENDING], 0);
	assert_true(found.read.is_live);
	ground_end(&entry, "CKR_OK");
	hp_audit_close(&audit);
}

static void a_head_is_found_among_the_records(void **state)
{
	(void)state;
	ground_new_folder();
	struct hp_audit_options options = ground_options();
	struct hp_audit *audit = ground_open(&options);
	struct hp_audit_head head;
	ground_use(audit, "C_Sign");
	assert_true(hp_audit_get_head(audit, &head));
	ground_use(audit, "C_Sign");
	hp_audit_close(&audit);
	struct found found = verify_with(head.hash);
	assert_int_equal(found.kinds[HP_FINDING_HEAD], 1);
	assert_int_equal(found.last[HP_FINDING_HEAD].seq, 2);
	head.hash[0] ^= 1;
	assert_int_equal(verify_with(head.hash).kinds[HP_FINDING_HEAD], 0);
}

static void a_checkpoint_is_told_with_what_it_vouches_for(void **state)
{
	(void)state;
	ground_new_folder();
	struct hp_audit_options options = ground_options();
	struct hp_audit *audit = ground_open(&options);
	struct hp_audit_head head, wrong;
	const struct hp_audit_checkpoint checkpoint = { "pkcs11:object=k",
							"CKM_SHA256_HMAC",
							(const uint8_t *)"\x01\x02", 2 };
	ground_use(audit, "C_Sign");
	assert_true(hp_audit_get_head(audit, &head));
	ground_use(audit, "C_Sign");
	assert_true(hp_audit_add_checkpoint(audit, &head, &checkpoint));
	assert_true(hp_audit_sync(audit));
	struct found found = verify();
	assert_int_equal(found.kinds[HP_FINDING_CHECKPOINT], 1);
	assert_true(found.checkpoint.is_right);
	assert_int_equal(found.checkpoint.head.seq, head.seq);
	assert_memory_equal(found.checkpoint.head.hash, head.hash, sizeof head.hash);
	assert_string_equal(found.checkpoint.head.chain, head.chain);
	assert_string_equal(found.checkpoint.key, "pkcs11:object=k");
	assert_string_equal(found.checkpoint.mechanism, "CKM_SHA256_HMAC");
	assert_int_equal(found.checkpoint.mac_len, 2);
	assert_int_equal(found.read.last_checkpoint, head.seq);

	wrong = head;
	wrong.hash[5] ^= 1;
	assert_true(hp_audit_add_checkpoint(audit, &wrong, &checkpoint));
	assert_false(verify().checkpoint.is_right);
	hp_audit_close(&audit);
}

static void what_is_no_trail_is_refused(void **state)
{
	(void)state;
	hsmpool_error err;
	struct found found = { 0 };
	struct hp_verify_request request = { "/nonexistent", NULL, note, &found };
	assert_status(hp_audit_verify(&request, &err), HSMPOOL_ERR_SYSTEM);
	request.folder = scratch_dir();
	assert_status(hp_audit_verify(&request, &err), HSMPOOL_ERR_CONFIG);
}

/* --- what is called how ------------------------------------------------------------- */

static void a_changed_byte_is_an_altered_record(void **state)
{
	(void)state;
	make_trail(10, 1 << 20);
	struct lines lines = read_lines(FIRST);
	*strstr(lines.at[4], "CKR_OK") = 'X';
	write_lines(FIRST, &lines);
	struct found found = verify();
	assert_int_equal(found.wrong, 1);
	assert_int_equal(found.last[HP_FINDING_ALTERED].seq, 5);
	assert_string_equal(found.file[HP_FINDING_ALTERED], FIRST);
}

static void a_changed_number_is_an_altered_record(void **state)
{
	(void)state;
	make_trail(10, 1 << 20);
	struct lines lines = read_lines(FIRST);
	lines.at[4][strlen("{\"seq\":")] = '9';
	write_lines(FIRST, &lines);
	struct found found = verify();
	assert_int_equal(found.wrong, 1);
	assert_int_equal(found.last[HP_FINDING_ALTERED].seq, 5);
}

static void a_record_that_is_gone_is_removed(void **state)
{
	(void)state;
	make_trail(10, 1 << 20);
	struct lines lines = read_lines(FIRST);
	memmove(&lines.at[3], &lines.at[5], (lines.count - 5) * sizeof lines.at[0]);
	lines.count -= 2;
	write_lines(FIRST, &lines);
	struct found found = verify();
	assert_int_equal(found.wrong, 1);
	assert_int_equal(found.last[HP_FINDING_REMOVED].seq, 4);
	assert_int_equal(found.last[HP_FINDING_REMOVED].last, 5);
}

static void records_cut_off_at_the_end_are_removed(void **state)
{
	(void)state;
	make_trail(10, 1 << 20);
	struct lines lines = read_lines(FIRST);
	lines.count -= 3;
	write_lines(FIRST, &lines);
	struct found found = verify();
	assert_int_equal(found.wrong, 1);
	assert_int_equal(found.last[HP_FINDING_REMOVED].seq, 9);
	assert_int_equal(found.last[HP_FINDING_REMOVED].last, 11);
}

static void a_line_too_many_is_inserted(void **state)
{
	(void)state;
	make_trail(10, 1 << 20);
	struct lines lines = read_lines(FIRST);
	memmove(&lines.at[7], &lines.at[6], (lines.count - 6) * sizeof lines.at[0]);
	lines.at[6] = lines.at[2];
	lines.count++;
	write_lines(FIRST, &lines);
	struct found found = verify();
	assert_int_equal(found.wrong, 1);
	assert_int_equal(found.last[HP_FINDING_INSERTED].seq, 3);
	assert_int_equal(found.last[HP_FINDING_INSERTED].line, 8);
}

static void swapped_neighbours_are_reordered(void **state)
{
	(void)state;
	make_trail(10, 1 << 20);
	struct lines lines = read_lines(FIRST);
	char *line = lines.at[4];
	lines.at[4] = lines.at[5];
	lines.at[5] = line;
	write_lines(FIRST, &lines);
	struct found found = verify();
	assert_int_equal(found.wrong, 1);
	assert_int_equal(found.kinds[HP_FINDING_REORDERED], 1);
}

static void swapped_records_far_apart_are_reordered(void **state)
{
	(void)state;
	make_trail(20, 1 << 20);
	struct lines lines = read_lines(FIRST);
	char *line = lines.at[4];
	lines.at[4] = lines.at[12];
	lines.at[12] = line;
	write_lines(FIRST, &lines);
	struct found found = verify();
	assert_int_equal(found.wrong, found.kinds[HP_FINDING_REORDERED]);
	assert_int_equal(found.wrong, 2);
}

static void a_record_of_another_chain_does_not_fit(void **state)
{
	(void)state;
	make_trail(10, 1 << 20);
	struct lines foreign = read_lines(FIRST);
	make_trail(10, 1 << 20);
	struct lines lines = read_lines(FIRST);
	lines.at[4] = foreign.at[4];
	write_lines(FIRST, &lines);
	free(foreign.text);
	struct found found = verify();
	/* The one after it follows from neither. */
	assert_int_equal(found.wrong, 2);
	assert_int_equal(found.last[HP_FINDING_ALTERED].seq, 6);
}

static void a_file_that_is_gone_is_missing(void **state)
{
	(void)state;
	make_trail(50, 8192);
	struct hp_audit_options options = ground_options();
	char path[1024];
	snprintf(path, sizeof path, "%s/%s", options.folder, FIRST);
	assert_int_equal(unlink(path), 0);
	struct found found = verify();
	assert_int_equal(found.wrong, 1);
	assert_string_equal(found.file[HP_FINDING_MISSING_FILE], FIRST);
}

static void a_whole_chain_that_is_gone_is_missing(void **state)
{
	(void)state;
	make_trail(5, 1 << 20);
	struct hp_audit_options options = ground_options();
	char path[1024];
	snprintf(path, sizeof path, "%s/%s", options.folder, FIRST);
	assert_int_equal(unlink(path), 0);
	snprintf(path, sizeof path, "%s/chain-0001.ring", options.folder);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(verify().kinds[HP_FINDING_MISSING_FILE], 2);
}

static void the_list_of_chains_is_checked_too(void **state)
{
	(void)state;
	make_trail(50, 8192);
	struct lines lines = read_lines(HP_AUDIT_LIST_NAME);
	lines.at[3][strlen("{\"seq\":4,\"time\":\"")] = '3';
	write_lines(HP_AUDIT_LIST_NAME, &lines);
	struct found found = verify();
	assert_int_equal(found.wrong, 1);
	assert_int_equal(found.last[HP_FINDING_ALTERED].chain, 0);
	assert_int_equal(found.last[HP_FINDING_ALTERED].seq, 4);
}

static void the_end_of_the_list_is_known_to_the_chain(void **state)
{
	(void)state;
	make_trail(1, 1 << 20);
	struct lines lines = read_lines(HP_AUDIT_LIST_NAME);
	assert_int_equal(lines.count, 3);
	lines.count = 2;
	write_lines(HP_AUDIT_LIST_NAME, &lines);
	struct found found = verify();
	assert_int_equal(found.wrong, 1);
	assert_int_equal(found.last[HP_FINDING_REMOVED].seq, 3);
	assert_string_equal(found.file[HP_FINDING_REMOVED], HP_AUDIT_LIST_NAME);
}

static void a_torn_end_is_told(void **state)
{
	(void)state;
	make_trail(3, 1 << 20);
	HP_AUTO_FREE char *text = ground_read(FIRST);
	write_file(FIRST, text, strlen(text) - 20);
	struct found found = verify();
	assert_int_equal(found.kinds[HP_FINDING_TORN_END], 1);
	assert_int_equal(found.last[HP_FINDING_REMOVED].seq, 4);
}

/* --- edits at random ---------------------------------------------------------------- */

static unsigned draw(unsigned below)
{
	static uint32_t state = 12345;
	state = state * 1664525 + 1013904223;
	return (state >> 8) % below;
}

static size_t edit_byte(char *text, size_t len)
{
	text[draw((unsigned)len)] ^= (char)(1 << draw(8));
	return len;
}

/* Some bytes out of the middle. */
static size_t edit_cut(char *text, size_t len)
{
	size_t from = draw((unsigned)len - 10);
	size_t count = 1 + draw(1000);
	count = from + count > len ? len - from : count;
	memmove(text + from, text + from + count, len - from - count);
	return len - count;
}

/* A line: where it begins, and how long it is. */
static char *pick_line(char *text, size_t len, size_t *line_len)
{
	char *at = text + draw((unsigned)len - 1);
	while (at > text && at[-1] != '\n')
		at--;
	*line_len =
		(size_t)((char *)memchr(at, '\n', (size_t)(text + len - at)) - at) + 1;
	return at;
}

static size_t edit_removal(char *text, size_t len)
{
	size_t line_len;
	char *line = pick_line(text, len, &line_len);
	memmove(line, line + line_len, (size_t)(text + len - line) - line_len);
	return len - line_len;
}

static size_t edit_insertion(char *text, size_t len)
{
	size_t line_len, at_len;
	char copy[4096];
	char *line = pick_line(text, len, &line_len);
	memcpy(copy, line, line_len);
	char *at = pick_line(text, len, &at_len);
	memmove(at + line_len, at, (size_t)(text + len - at));
	memcpy(at, copy, line_len);
	return len + line_len;
}

static size_t edit_swap(char *text, size_t len)
{
	size_t one_len, two_len;
	char copy[4096];
	char *one = pick_line(text, len, &one_len);
	char *two = one + one_len;
	if (two >= text + len)
		return edit_byte(text, len);
	two_len =
		(size_t)((char *)memchr(two, '\n', (size_t)(text + len - two)) - two) + 1;
	memcpy(copy, one, one_len);
	memmove(one, two, two_len);
	memcpy(one + two_len, copy, one_len);
	return len;
}

static void every_edit_at_random_is_found(void **state)
{
	(void)state;
	static size_t (*const edits[])(char *, size_t) = { edit_byte, edit_cut,
							   edit_removal, edit_insertion,
							   edit_swap };
	make_trail(30, 5000);
	assert_int_equal(verify().wrong, 0);
	struct hp_audit_file *files;
	size_t count;
	struct hp_audit_options options = ground_options();
	int folder = open(options.folder, O_RDONLY | O_DIRECTORY);
	assert_int_equal(hp_audit_folder_files(folder, &files, &count, NULL), 0);
	close(folder);
	assert_true(count >= 3);
	for (unsigned i = 0; i < EDITS; i++) {
		char name[HP_AUDIT_NAME_SIZE];
		hp_audit_file_name(name, 1, files[draw((unsigned)count)].first);
		HP_AUTO_FREE char *before = ground_read(name);
		HP_AUTO_FREE char *after = malloc(strlen(before) + 8192);
		size_t len = strlen(before);
		memcpy(after, before, len);
		unsigned kind = draw(HP_ARRAY_LEN(edits));
		size_t edited_len = edits[kind](after, len);
		if (edited_len == len && memcmp(before, after, len) == 0)
			continue; /* a line before itself */
		write_file(name, after, edited_len);
		if (verify().wrong == 0)
			fail_msg("edit %u of kind %u in %s was not found", i, kind, name);
		write_file(name, before, len);
	}
	free(files);
	assert_int_equal(verify().wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_trail_is_called_whole),
		cmocka_unit_test(a_file_that_was_just_begun_is_not_missing),
		cmocka_unit_test(a_trail_that_is_being_written_is_whole_and_live),
		cmocka_unit_test(a_head_is_found_among_the_records),
		cmocka_unit_test(a_checkpoint_is_told_with_what_it_vouches_for),
		cmocka_unit_test(what_is_no_trail_is_refused),
		cmocka_unit_test(a_changed_byte_is_an_altered_record),
		cmocka_unit_test(a_changed_number_is_an_altered_record),
		cmocka_unit_test(a_record_that_is_gone_is_removed),
		cmocka_unit_test(records_cut_off_at_the_end_are_removed),
		cmocka_unit_test(a_line_too_many_is_inserted),
		cmocka_unit_test(swapped_neighbours_are_reordered),
		cmocka_unit_test(swapped_records_far_apart_are_reordered),
		cmocka_unit_test(a_record_of_another_chain_does_not_fit),
		cmocka_unit_test(a_file_that_is_gone_is_missing),
		cmocka_unit_test(a_whole_chain_that_is_gone_is_missing),
		cmocka_unit_test(the_list_of_chains_is_checked_too),
		cmocka_unit_test(the_end_of_the_list_is_known_to_the_chain),
		cmocka_unit_test(a_torn_end_is_told),
		cmocka_unit_test(every_edit_at_random_is_found),
	};
	return cmocka_run_group_tests_name("audit_verify", tests, NULL,
					   ground_remove_all);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files and chains that were exchanged, copied or put in; a trail that grows while
 * it is read. */
#include "audit_ground.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/memory.h"
#include "observe/audit_folder.h"
#include "observe/audit_verify.h"
#include "scratch.h"

struct verdict {
	unsigned kinds[HP_FINDING_CHAIN + 1];
	unsigned wrong;
	unsigned other; /* of the last that is foreign */
	uint64_t line;  /* of the last that was inserted */
	uint64_t bytes; /* of the last line that is torn */
	void (*meanwhile)(void);
};

static void note(void *user, const struct hp_audit_finding *finding)
{
	struct verdict *verdict = user;
	verdict->kinds[finding->kind]++;
	verdict->wrong += hp_finding_is_wrong(finding->kind);
	if (finding->kind == HP_FINDING_FOREIGN)
		verdict->other = finding->other;
	if (finding->kind == HP_FINDING_INSERTED)
		verdict->line = finding->line;
	if (finding->kind == HP_FINDING_TORN_END)
		verdict->bytes = finding->bytes;
	if (finding->kind == HP_FINDING_CHAIN && verdict->meanwhile)
		verdict->meanwhile();
	if (finding->kind == HP_FINDING_CHAIN)
		verdict->meanwhile = NULL;
}

/* meanwhile: called when the first chain was read; NULL: nothing. */
static struct verdict verify_while(void (*meanwhile)(void))
{
	struct verdict verdict = { .meanwhile = meanwhile };
	struct hp_audit_options options = ground_options();
	struct hp_verify_request request = { options.folder, NULL, note, &verdict };
	hsmpool_error err;
	assert_ok(hp_audit_verify(&request, &err), &err);
	return verdict;
}

static struct verdict verify(void)
{
	return verify_while(NULL);
}

static struct hp_audit *open_small(void)
{
	struct hp_audit_options options = ground_options();
	options.has_thread = false;
	options.rotate_size = 4096;
	return ground_open(&options);
}

static void write_some(void)
{
	struct hp_audit *audit = open_small();
	for (int i = 0; i < 20; i++)
		assert_true(ground_use(audit, "C_Sign"));
	hp_audit_close(&audit);
}

/* By another process, for which the chain of this one is taken. */
static void write_beside(void)
{
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		write_some();
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void make_two_chains(void)
{
	struct hp_audit *audit = open_small();
	write_beside();
	hp_audit_close(&audit);
	assert_int_equal(verify().kinds[HP_FINDING_CHAIN], 2);
	assert_int_equal(verify().wrong, 0);
}

static const char *path_of(const char *name)
{
	static char paths[2][1024];
	static unsigned which;
	struct hp_audit_options options = ground_options();
	char *path = paths[which++ % 2];
	snprintf(path, sizeof paths[0], "%s/%s", options.folder, name);
	return path;
}

static void make_file(const char *name, const char *text, size_t len)
{
	int file = open(path_of(name), O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(file >= 0);
	assert_int_equal(write(file, text, len), len);
	close(file);
}

static void rename_to(const char *from, const char *to)
{
	assert_int_equal(rename(path_of(from), path_of(to)), 0);
}

static void copy_to(const char *from, const char *to)
{
	char command[2200];
	snprintf(command, sizeof command, "cp '%s' '%s'", path_of(from), path_of(to));
	assert_int_equal(system(command), 0);
}

/* --- a trail that is in use -----------------------------------------------------------
 */

/* The list has grown then: its end is known to a record of the second chain. */
static void what_is_written_during_a_verification_is_whole(void **state)
{
	(void)state;
	make_two_chains();
	struct hp_audit *audit = open_small(); /* the first: the second is for others */
	struct verdict verdict = verify_while(write_beside);
	assert_int_equal(verdict.wrong, 0);
	assert_int_equal(verdict.kinds[HP_FINDING_CHAIN], 2);
	hp_audit_close(&audit);
	assert_int_equal(verify().wrong, 0);
}

/* --- chains ---------------------------------------------------------------------------
 */

#define FIRST  "chain-0001.000000000001.jsonl"
#define SECOND "chain-0002.000000000001.jsonl"

static void chains_that_changed_names_are_foreign(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	struct hp_audit *audit = ground_open(&options);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		options.has_thread = false;
		struct hp_audit *own = ground_open(&options);
		hp_audit_close(&own);
		_exit(0);
	}
	assert_int_equal(waitpid(child, NULL, 0), child);
	hp_audit_close(&audit);
	assert_int_equal(verify().wrong, 0);
	rename_to(FIRST, "aside");
	rename_to(SECOND, FIRST);
	rename_to("aside", SECOND);
	rename_to("chain-0001.ring", "aside");
	rename_to("chain-0002.ring", "chain-0001.ring");
	rename_to("aside", "chain-0002.ring");
	struct verdict verdict = verify();
	/* Each says so itself, and its ring. */
	assert_int_equal(verdict.kinds[HP_FINDING_FOREIGN], 4);
	assert_int_equal(verdict.other, 1);
}

static void rings_that_changed_names_are_foreign(void **state)
{
	(void)state;
	make_two_chains();
	rename_to("chain-0001.ring", "aside");
	rename_to("chain-0002.ring", "chain-0001.ring");
	rename_to("aside", "chain-0002.ring");
	assert_int_equal(verify().kinds[HP_FINDING_FOREIGN], 2);
}

static void a_copy_of_a_chain_is_no_other_chain(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	struct hp_audit *audit = ground_open(&options);
	ground_use(audit, "C_Sign");
	hp_audit_close(&audit);
	copy_to(FIRST, SECOND);
	copy_to("chain-0001.ring", "chain-0002.ring");
	struct verdict verdict = verify();
	assert_int_equal(verdict.kinds[HP_FINDING_UNLISTED], 1);
	assert_int_equal(verdict.kinds[HP_FINDING_FOREIGN], 2);
	assert_int_equal(verdict.other, 1);
}

/* --- files ----------------------------------------------------------------------------
 */

static void a_file_that_is_empty_is_no_finding_and_one_that_is_not_is(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	struct hp_audit *audit = ground_open(&options);
	ground_use(audit, "C_Sign");
	hp_audit_close(&audit);
	make_file("chain-0001.000000000003.jsonl", "", 0);
	assert_int_equal(verify().wrong, 0);
	make_file("chain-0001.000000000004.jsonl", "x\n", 2);
	assert_int_equal(verify().kinds[HP_FINDING_UNLISTED], 1);
}

static void a_line_of_any_length_is_one_that_was_put_in(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	struct hp_audit *audit = ground_open(&options);
	ground_use(audit, "C_Sign");
	hp_audit_close(&audit);
	HP_AUTO_FREE char *text = ground_read(FIRST);
	const size_t len = strlen(text), long_len = 1000000;
	HP_AUTO_FREE char *all = malloc(len + long_len);
	assert_non_null(all);
	memset(all, 'x', long_len);
	all[long_len - 1] = '\n';
	memcpy(all + long_len, text, len);
	assert_int_equal(unlink(path_of(FIRST)), 0);
	make_file(FIRST, all, len + long_len);
	struct verdict verdict = verify();
	assert_int_equal(verdict.wrong, 1);
	assert_int_equal(verdict.kinds[HP_FINDING_INSERTED], 1);
	assert_true(verdict.line <= 2);

	assert_int_equal(truncate(path_of(FIRST), (off_t)long_len - 1), 0);
	verdict = verify();
	assert_int_equal(verdict.kinds[HP_FINDING_TORN_END], 1);
	assert_int_equal(verdict.bytes, long_len - 1);
}

static void what_is_no_file_is_not_waited_for(void **state)
{
	(void)state;
	static const char *const names[] = { FIRST, "chain-0001.ring", "chains.jsonl" };
	for (size_t i = 0; i < HP_ARRAY_LEN(names); i++) {
		ground_new_folder();
		write_some();
		assert_int_equal(unlink(path_of(names[i])), 0);
		assert_int_equal(mkfifo(path_of(names[i]), 0600), 0);
		assert_int_equal(verify().kinds[HP_FINDING_UNREADABLE], 1);
		assert_int_equal(unlink(path_of(names[i])), 0);
		assert_int_equal(symlink("elsewhere", path_of(names[i])), 0);
		assert_int_equal(verify().kinds[HP_FINDING_UNREADABLE], 1);
		assert_int_equal(unlink(path_of(names[i])), 0);
		assert_int_equal(mkdir(path_of(names[i]), 0700), 0);
		assert_int_equal(verify().kinds[HP_FINDING_UNREADABLE], 1);
	}
}

#define TEST(name) cmocka_unit_test_setup(name, ground_set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_written_during_a_verification_is_whole),
		TEST(chains_that_changed_names_are_foreign),
		TEST(rings_that_changed_names_are_foreign),
		TEST(a_copy_of_a_chain_is_no_other_chain),
		TEST(a_file_that_is_empty_is_no_finding_and_one_that_is_not_is),
		TEST(a_line_of_any_length_is_one_that_was_put_in),
		TEST(what_is_no_file_is_not_waited_for),
	};
	return cmocka_run_group_tests_name("audit_exchange", tests, NULL,
					   ground_remove_all);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The trail of processes that are killed, fork, or close what is not theirs. */
#include "audit_ground.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/memory.h"
#include "observe/audit_verify.h"
#include "scratch.h"

#define FIRST "chain-0001.000000000001.jsonl"

/* Run it in a child; returns how that ended, as waitpid() says. */
static int in_child(void (*run)(void))
{
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		run();
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void die(void)
{
	kill(getpid(), SIGKILL);
}

/* Without a thread, in which the thread sanitizer could not follow a child. */
static struct hp_audit *open_or_die(void)
{
	struct hp_audit_options options = ground_options();
	options.has_thread = false;
	struct hp_audit *audit = NULL;
	if (hp_audit_open(&audit, &options, NULL) != HSMPOOL_OK)
		_exit(1);
	return audit;
}

static void note(void *user, const struct hp_audit_finding *finding)
{
	unsigned *kinds = user;
	kinds[finding->kind]++;
	if (finding->kind == HP_FINDING_PENDING) {
		kinds[HP_FINDING_CHAIN + 1] += finding->done;
		kinds[HP_FINDING_CHAIN + 2] += finding->begun;
	}
}

struct verdict {
	unsigned kinds[HP_FINDING_CHAIN + 3];
};

static struct verdict verify(void)
{
	struct verdict verdict = { 0 };
	struct hp_audit_options options = ground_options();
	struct hp_verify_request request = { options.folder, NULL, note, verdict.kinds };
	hsmpool_error err;
	assert_ok(hp_audit_verify(&request, &err), &err);
	return verdict;
}

static void assert_whole(void)
{
	struct verdict verdict = verify();
	for (int kind = 0; hp_finding_is_wrong(kind); kind++)
		if (verdict.kinds[kind])
			fail_msg("%s: %u", hp_finding_name(kind), verdict.kinds[kind]);
}

/* The next process takes the chain and gives it back. */
static void take_over(void)
{
	struct hp_audit *audit = open_or_die();
	hp_audit_close(&audit);
}

/* --- killed ------------------------------------------------------------------------- */

static ssize_t write_nothing(int file, const void *bytes, size_t len, off_t at)
{
	(void)file;
	(void)bytes;
	(void)len;
	(void)at;
	errno = ENOSPC;
	return -1;
}

static void end_some_and_die(void)
{
	struct hp_audit *audit = open_or_die();
	ground_pwrite = write_nothing;
	struct hp_audit_entry entry;
	for (int i = 0; i < 3; i++)
		ground_use(audit, "C_Sign");
	ground_begin(audit, "C_Decrypt", &entry);
	die();
}

static void what_a_killed_process_ended_is_written_by_the_next(void **state)
{
	(void)state;
	assert_true(WIFSIGNALED(in_child(end_some_and_die)));
	struct verdict verdict = verify();
	assert_int_equal(verdict.kinds[HP_FINDING_PENDING], 1);
	assert_int_equal(verdict.kinds[HP_FINDING_CHAIN + 1], 3);
	assert_int_equal(verdict.kinds[HP_FINDING_CHAIN + 2], 1);
	take_over();
	HP_AUTO_FREE char *lines = ground_read_chain(1);
	assert_int_equal(ground_count(lines, "\"C_Sign\""), 3);
	assert_int_equal(ground_count(lines, "\"outcome\":\"unknown\""), 1);
	assert_int_equal(
		ground_count(lines, "\"event\":\"recovered\",\"written\":3,\"unknown\":1,"
				    "\"torn\":0,\"missing\":0"),
		1);
	char pid[32];
	snprintf(pid, sizeof pid, "\"pid\":%d,", getpid());
	assert_int_equal(ground_count(lines, pid), 2);
	assert_int_equal(verify().kinds[HP_FINDING_PENDING], 0);
	assert_whole();
}

static ssize_t write_and_die(int file, const void *bytes, size_t len, off_t at)
{
	ground_real_pwrite(file, bytes, len, at);
	die();
	return -1;
}

/* The line of the refusal gets the number that the record had been given in vain. */
static void die_after_a_notice(void)
{
	struct hp_audit_options options = ground_options();
	options.has_thread = false;
	options.failure = HP_AUDIT_FAILURE_REFUSE;
	struct hp_audit *audit = NULL;
	if (hp_audit_open(&audit, &options, NULL) != HSMPOOL_OK)
		_exit(1);
	ground_pwrite = write_nothing;
	ground_use(audit, "C_Sign");
	ground_use(audit, "C_Verify");
	ground_pwrite = write_and_die;
	hp_audit_sync(audit);
}

static void a_record_whose_number_another_line_took_is_not_lost(void **state)
{
	(void)state;
	assert_true(WIFSIGNALED(in_child(die_after_a_notice)));
	take_over();
	HP_AUTO_FREE char *lines = ground_read_chain(1);
	assert_int_equal(ground_count(lines, "\"event\":\"refused\""), 1);
	assert_int_equal(ground_count(lines, "\"C_Sign\""), 1);
	assert_whole();
}

static void nothing_is_written_twice(void **state)
{
	(void)state;
	assert_true(WIFSIGNALED(in_child(end_some_and_die)));
	for (int i = 0; i < 3; i++)
		take_over();
	HP_AUTO_FREE char *lines = ground_read_chain(1);
	assert_int_equal(ground_count(lines, "\"C_Sign\""), 3);
	assert_int_equal(ground_count(lines, "recovered"), 1);
	assert_whole();
}

static void take_over_and_die(void)
{
	ground_pwrite = write_nothing;
	struct hp_audit *audit = open_or_die();
	ground_use(audit, "C_Verify");
	die();
}

static void who_is_killed_while_taking_over_loses_nothing_either(void **state)
{
	(void)state;
	in_child(end_some_and_die);
	in_child(take_over_and_die);
	in_child(take_over_and_die);
	take_over();
	HP_AUTO_FREE char *lines = ground_read_chain(1);
	assert_int_equal(ground_count(lines, "\"C_Sign\""), 3);
	assert_int_equal(ground_count(lines, "\"outcome\":\"unknown\""), 1);
	assert_int_equal(ground_count(lines, "\"C_Verify\""), 2);
	assert_whole();
}

static void append_to_file(const char *text)
{
	struct hp_audit_options options = ground_options();
	char path[1024];
	snprintf(path, sizeof path, "%s/%s", options.folder, FIRST);
	int file = open(path, O_WRONLY | O_APPEND);
	assert_true(file >= 0);
	assert_int_equal(write(file, text, strlen(text)), strlen(text));
	close(file);
}

static void a_torn_line_is_cut_off_and_told(void **state)
{
	(void)state;
	take_over();
	append_to_file("{\"seq\":2,\"time\":");
	assert_int_equal(verify().kinds[HP_FINDING_TORN_END], 1);
	take_over();
	HP_AUTO_FREE char *lines = ground_read_chain(1);
	assert_int_equal(ground_count(lines, "\"torn\":16,"), 1);
	assert_int_equal(ground_count(lines, "\"event\":\"open\""), 2);
	assert_whole();
}

static void records_taken_away_meanwhile_leave_a_gap(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	struct hp_audit *audit = ground_open(&options);
	ground_use(audit, "C_Sign");
	ground_use(audit, "C_Sign");
	hp_audit_close(&audit);
	HP_AUTO_FREE char *before = ground_read_chain(1);
	char path[1024];
	snprintf(path, sizeof path, "%s/%s", options.folder, FIRST);
	assert_int_equal(truncate(path, strchr(before, '\n') + 1 - before), 0);
	take_over();
	HP_AUTO_FREE char *after = ground_read_chain(1);
	assert_int_equal(ground_count(after, "\"missing\":2"), 1);
	assert_int_equal(verify().kinds[HP_FINDING_REMOVED], 1);
}

static void a_chain_without_its_ring_goes_on(void **state)
{
	(void)state;
	take_over();
	struct hp_audit_options options = ground_options();
	char path[1024];
	snprintf(path, sizeof path, "%s/chain-0001.ring", options.folder);
	assert_int_equal(unlink(path), 0);
	take_over();
	HP_AUTO_FREE char *lines = ground_read_chain(1);
	assert_int_equal(ground_count(lines, "\"ring\":\"lost\""), 1);
	assert_int_equal(ground_count(lines, "{\"seq\":3,"), 1);
	assert_whole();
}

/* --- at once ------------------------------------------------------------------------ */

static void processes_at_once_have_a_chain_each(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	struct hp_audit *audit = ground_open(&options);
	ground_use(audit, "C_Sign");
	assert_int_equal(in_child(take_over), 0);
	hp_audit_close(&audit);
	assert_int_equal(ground_count_files(".ring"), 2);
	take_over();
	assert_int_equal(ground_count_files(".ring"), 2);
	assert_whole();
}

static struct hp_audit *inherited;

/* It would be locked for any other chain as well. */
static void who_cannot_lock_the_list_makes_no_chain_after_chain(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	take_over();
	char path[1024];
	snprintf(path, sizeof path, "%s/chain-0001.000000000001.jsonl", options.folder);
	assert_int_equal(unlink(path), 0); /* so that another one has to be listed */
	snprintf(path, sizeof path, "%s/chains.jsonl", options.folder);
	int list = open(path, O_RDWR);
	assert_true(list >= 0);
	assert_int_equal(flock(list, LOCK_EX), 0);
	struct hp_audit *audit = NULL;
	assert_int_equal(hp_audit_open(&audit, &options, NULL), HSMPOOL_ERR_TIMEOUT);
	close(list);
	assert_int_equal(ground_count_files(".ring"), 1);
}

static void use_inherited(void)
{
	struct hp_audit_entry entry;
	if (!ground_begin(inherited, "C_Verify", &entry) || entry.audit)
		_exit(1);
	ground_end(&entry, "CKR_OK");
	struct hp_audit *own = open_or_die();
	if (own == inherited || !ground_use(own, "C_Decrypt"))
		_exit(2);
	hp_audit_close(&inherited);
	hp_audit_close(&own);
}

static void a_forked_child_has_a_chain_of_its_own(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	inherited = ground_open(&options);
	struct hp_audit_entry entry;
	assert_true(ground_begin(inherited, "C_Sign", &entry));
	assert_int_equal(in_child(use_inherited), 0);
	ground_end(&entry, "CKR_OK");
	hp_audit_close(&inherited);
	HP_AUTO_FREE char *ours = ground_read_chain(1);
	HP_AUTO_FREE char *childs = ground_read_chain(2);
	assert_int_equal(ground_count(ours, "C_Sign"), 1);
	assert_int_equal(ground_count(ours, "C_Decrypt"), 0);
	assert_int_equal(ground_count(childs, "C_Decrypt"), 1);
	assert_whole();
}

static void refuse_inherited(void)
{
	struct hp_audit_entry entry;
	_exit(ground_begin(inherited, "C_Sign", &entry) ? 1 : 0);
}

static void a_trail_that_refuses_refuses_in_a_child(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	options.failure = HP_AUDIT_FAILURE_REFUSE;
	inherited = ground_open(&options);
	assert_int_equal(in_child(refuse_inherited), 0);
	hp_audit_close(&inherited);
}

/* --- descriptors -------------------------------------------------------------------- */

static void close_all_and_go_on(void)
{
	struct hp_audit *audit = open_or_die();
	for (int file = 3; file < 100; file++)
		close(file);
	int decoy = open("/dev/null", O_WRONLY);
	char path[1024];
	struct hp_audit_options options = ground_options();
	snprintf(path, sizeof path, "%s/decoy", options.folder);
	for (int i = 0; i < 20; i++)
		decoy = open(path, O_RDWR | O_CREAT, 0600);
	ground_use(audit, "C_Sign");
	if (!hp_audit_sync(audit))
		_exit(2);
	/* Still locked: another process takes another chain. */
	if (in_child(take_over) != 0)
		_exit(3);
	ground_use(audit, "C_Sign");
	hp_audit_close(&audit);
	if (lseek(decoy, 0, SEEK_END) != 0)
		_exit(4);
}

static void a_program_that_closes_what_it_does_not_know_keeps_its_trail(void **state)
{
	(void)state;
	assert_int_equal(in_child(close_all_and_go_on), 0);
	HP_AUTO_FREE char *lines = ground_read_chain(1);
	assert_int_equal(ground_count(lines, "C_Sign"), 2);
	assert_int_equal(ground_count_files(".ring"), 2);
	assert_whole();
}

static void a_deleted_file_is_missing_and_the_chain_goes_on(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	struct hp_audit *audit = ground_open(&options);
	char path[1024];
	snprintf(path, sizeof path, "%s/%s", options.folder, FIRST);
	assert_int_equal(unlink(path), 0);
	ground_use(audit, "C_Sign");
	hp_audit_close(&audit);
	HP_AUTO_FREE char *lines = ground_read_chain(1);
	assert_int_equal(ground_count(lines, "C_Sign"), 1);
	assert_int_equal(verify().kinds[HP_FINDING_MISSING_FILE], 1);
}

#define TEST(name) cmocka_unit_test_setup(name, ground_set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_a_killed_process_ended_is_written_by_the_next),
		TEST(a_record_whose_number_another_line_took_is_not_lost),
		TEST(nothing_is_written_twice),
		TEST(who_is_killed_while_taking_over_loses_nothing_either),
		TEST(a_torn_line_is_cut_off_and_told),
		TEST(records_taken_away_meanwhile_leave_a_gap),
		TEST(a_chain_without_its_ring_goes_on),
		TEST(processes_at_once_have_a_chain_each),
		TEST(who_cannot_lock_the_list_makes_no_chain_after_chain),
		TEST(a_forked_child_has_a_chain_of_its_own),
		TEST(a_trail_that_refuses_refuses_in_a_child),
		TEST(a_program_that_closes_what_it_does_not_know_keeps_its_trail),
		TEST(a_deleted_file_is_missing_and_the_chain_goes_on),
	};
	return cmocka_run_group_tests_name("audit_recovery", tests, NULL,
					   ground_remove_all);
}

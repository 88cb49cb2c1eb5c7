/* SPDX-License-Identifier: Apache-2.0 */
/* The trail where room is short: a full disk, rotation, retention. */
#include "audit_ground.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/memory.h"
#include "observe/audit_folder.h"
#include "observe/audit_verify.h"
#include "scratch.h"

#define DAY (86400 * HP_SECOND)

static void note(void *user, const struct hp_audit_finding *finding)
{
	if (hp_finding_is_wrong(finding->kind))
		fail_msg("%s: %s, chain %u, record %llu", hp_finding_name(finding->kind),
			 finding->file ? finding->file : "-", finding->chain,
			 (unsigned long long)finding->seq);
	++*(unsigned *)user;
}

static void assert_whole(void)
{
	unsigned told = 0;
	struct hp_audit_options options = ground_options();
	struct hp_verify_request request = { options.folder, NULL, note, &told };
	hsmpool_error err;
	assert_ok(hp_audit_verify(&request, &err), &err);
	assert_true(told > 0);
}

/* --- a full disk -------------------------------------------------------------------- */

/* Half of it, then no more. */
static ssize_t write_half(int file, const void *bytes, size_t len, off_t at)
{
	if (len > 100)
		return ground_real_pwrite(file, bytes, len / 2, at);
	errno = ENOSPC;
	return -1;
}

static void refused_uses_are_counted_and_begin_again(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	options.failure = HP_AUDIT_FAILURE_REFUSE;
	struct hp_audit *audit = ground_open(&options);
	struct hp_audit_entry under_way, entry;
	assert_true(ground_begin(audit, "C_Decrypt", &under_way));
	ground_pwrite = write_half;
	ground_use(audit, "C_Sign");
	assert_false(hp_audit_sync(audit));
	for (int i = 0; i < 5; i++)
		assert_false(ground_begin(audit, "C_Verify", &entry));
	ground_end(&under_way, "CKR_OK");
	struct hp_audit_figures figures;
	hp_audit_get_figures(audit, &figures);
	assert_true(figures.is_failing);
	assert_int_equal(figures.refused, 5);
	assert_int_equal(figures.lost, 0);
	assert_true(figures.failures > 0);

	ground_pwrite = NULL;
	int64_t deadline = hp_now_ns() + 30 * HP_SECOND;
	while (!hp_audit_sync(audit) && hp_now_ns() < deadline)
		hp_pause(HP_MS);
	assert_true(ground_begin(audit, "C_Encrypt", &entry));
	ground_end(&entry, "CKR_OK");
	hp_audit_close(&audit);
	HP_AUTO_FREE char *lines = ground_read_chain(1);
	assert_int_equal(ground_count(lines, "C_Sign"), 1);
	assert_int_equal(ground_count(lines, "C_Decrypt"), 1);
	assert_int_equal(ground_count(lines, "C_Verify"), 0);
	assert_int_equal(ground_count(lines, "C_Encrypt"), 1);
	assert_int_equal(ground_count(lines, "\"event\":\"refused\",\"count\":"), 1);
	assert_whole();
}

static void uses_without_a_record_are_counted_in_one(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	struct hp_audit *audit = ground_open(&options);
	struct hp_audit_figures figures;
	hp_audit_get_figures(audit, &figures);
	ground_pwrite = write_half;
	assert_true(ground_use(audit, "C_Sign"));
	assert_false(hp_audit_sync(audit));
	unsigned recorded = 1;
	for (uint32_t i = 0; i < figures.slots + 9; i++)
		recorded += ground_use(audit, "C_Sign");
	assert_int_equal(recorded, figures.slots);
	hp_audit_get_figures(audit, &figures);
	assert_int_equal(figures.lost, 10);
	ground_pwrite = NULL;
	assert_true(hp_audit_sync(audit));
	hp_audit_close(&audit);
	HP_AUTO_FREE char *lines = ground_read_chain(1);
	assert_int_equal(ground_count(lines, "C_Sign"), recorded);
	assert_int_equal(ground_count(lines, "\"event\":\"lost\",\"count\":10"), 1);
	assert_whole();
}

static void half_a_line_that_cannot_be_cut_off_is_cut_off_later(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	struct hp_audit *audit = ground_open(&options);
	ground_pwrite = write_half;
	ground_use(audit, "C_Sign");
	assert_false(hp_audit_sync(audit));
	ground_pwrite = NULL;
	assert_true(hp_audit_sync(audit));
	hp_audit_close(&audit);
	assert_whole();
}

static void a_trail_opens_on_a_full_disk_and_waits(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	struct hp_audit *audit = ground_open(&options);
	hp_audit_close(&audit);
	ground_pwrite = write_half;
	options.failure = HP_AUDIT_FAILURE_REFUSE;
	audit = ground_open(&options);
	assert_false(ground_use(audit, "C_Sign"));
	ground_pwrite = NULL;
	assert_true(hp_audit_sync(audit));
	assert_true(ground_use(audit, "C_Sign"));
	hp_audit_close(&audit);
	assert_whole();
}

/* A limit of the system's, whose signal would kill the process. */
static void run_into_limit(void)
{
	struct hp_audit_options options = ground_options();
	options.has_thread = false;
	struct hp_audit *audit = ground_open(&options);
	struct rlimit limit;
	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = 5000;
	setrlimit(RLIMIT_FSIZE, &limit);
	for (int i = 0; i < 50; i++)
		ground_use(audit, "C_Sign");
	struct hp_audit_figures figures;
	hp_audit_get_figures(audit, &figures);
	if (!figures.is_failing)
		_exit(1);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_FSIZE, &limit);
	if (!hp_audit_sync(audit))
		_exit(2);
	hp_audit_close(&audit);
	_exit(0);
}

static void a_limit_on_files_does_not_kill_the_program(void **state)
{
	(void)state;
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0)
		run_into_limit();
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	HP_AUTO_FREE char *lines = ground_read_chain(1);
	assert_int_equal(ground_count(lines, "C_Sign"), 50);
	assert_whole();
}

/* Where the writer does not come to it for long, a use has no record, and is counted. */
static void more_uses_than_slots_wait_for_the_writer(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	struct hp_audit *audit = ground_open(&options);
	unsigned lost = 0;
	for (int i = 0; i < 20000; i++)
		for (; !ground_use(audit, "C_Sign"); lost++)
			assert_true(hp_audit_sync(audit));
	struct hp_audit_figures figures;
	hp_audit_get_figures(audit, &figures);
	assert_int_equal(figures.lost, lost);
	hp_audit_close(&audit);
	HP_AUTO_FREE char *lines = ground_read_chain(1);
	assert_int_equal(ground_count(lines, "C_Sign"), 20000);
}

/* --- rotation ----------------------------------------------------------------------- */

static void write_some(const struct hp_audit_options *options, unsigned uses)
{
	struct hp_audit_options own = *options;
	own.has_thread = false;
	struct hp_audit *audit = ground_open(&own);
	for (unsigned i = 0; i < uses; i++)
		assert_true(ground_use(audit, "C_Sign"));
	hp_audit_close(&audit);
}

static void a_file_that_is_large_enough_is_followed_by_another(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	options.rotate_size = 5000;
	write_some(&options, 60);
	assert_true(ground_count_files("chain-0001.0") >= 4);
	HP_AUTO_FREE char *list = ground_read("chains.jsonl");
	assert_int_equal(ground_count(list, "\"event\":\"begun\""),
			 ground_count_files("chain-0001.0"));
	assert_int_equal(ground_count(list, "\"event\":\"ended\"") + 1,
			 ground_count_files("chain-0001.0"));
	assert_whole();
}

static void a_file_that_is_old_enough_is_followed_by_another(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	options.rotate_after = DAY;
	write_some(&options, 1);
	write_some(&options, 1);
	assert_int_equal(ground_count_files("chain-0001.0"), 1);
	options.rotate_after = 1;
	write_some(&options, 1);
	assert_int_equal(ground_count_files("chain-0001.0"), 2);
	assert_whole();
}

/* A disk may take long, and uses would wait for it. */
static void who_rotates_does_not_wait_for_the_disk(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	options.rotate_size = 5000;
	options.has_thread = false;
	struct hp_audit *audit = ground_open(&options);
	ground_syncs = 0;
	for (unsigned i = 0; i < 60; i++)
		assert_true(ground_use(audit, "C_Sign"));
	unsigned files = ground_count_files("chain-0001.0");
	assert_true(files >= 4);
	assert_int_equal(ground_syncs, 0);
	assert_true(hp_audit_sync_disk(audit));
	assert_int_equal(ground_syncs, files + 1); /* and the list of chains */
	hp_audit_close(&audit);

	audit = ground_open(&options); /* knows which are on the disk */
	ground_syncs = 0;
	assert_true(hp_audit_sync_disk(audit));
	assert_int_equal(ground_syncs, 2);
	hp_audit_close(&audit);
}

/* --- retention ---------------------------------------------------------------------- */

static void make_files_old(void)
{
	struct hp_audit_options options = ground_options();
	const struct timespec times[2] = { { .tv_sec = 1000000 }, { .tv_sec = 1000000 } };
	DIR *dir = opendir(options.folder);
	assert_non_null(dir);
	for (const struct dirent *entry; (entry = readdir(dir));)
		if (strstr(entry->d_name, ".jsonl"))
			assert_int_equal(utimensat(dirfd(dir), entry->d_name, times, 0),
					 0);
	closedir(dir);
}

static void of_a_trail_that_is_too_large_the_oldest_files_go(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	options.rotate_size = 5000;
	options.keep_size = 15000;
	write_some(&options, 100);
	assert_true(ground_count_files("chain-0001.0") <= 4);
	assert_true(ground_count_files("chain-0001.0") >= 2);
	HP_AUTO_FREE char *list = ground_read("chains.jsonl");
	assert_true(ground_count(list, "\"event\":\"deleted\"") >= 5);
	assert_true(ground_count(list, "\"reason\":\"size\"") >= 5);
	assert_whole();
}

static void old_files_go_and_the_chain_goes_on(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	options.rotate_size = 5000;
	write_some(&options, 40);
	make_files_old();
	options.keep = DAY;
	write_some(&options, 1);
	assert_int_equal(ground_count_files("chain-0001.0"), 1);
	HP_AUTO_FREE char *list = ground_read("chains.jsonl");
	assert_true(ground_count(list, "\"reason\":\"age\"") >= 3);
	assert_whole();
}

static void a_chain_that_nobody_writes_grows_old_too(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	struct hp_audit *first = ground_open(&options);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) { /* makes the second chain */
		write_some(&options, 3);
		_exit(0);
	}
	assert_int_equal(waitpid(child, NULL, 0), child);
	hp_audit_close(&first);
	assert_int_equal(ground_count_files("chain-0002.0"), 1);
	make_files_old();
	options.keep = DAY;
	write_some(&options, 1);
	assert_int_equal(ground_count_files("chain-0002.0"), 0);
	assert_whole();

	first = ground_open(&options);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		write_some(&options, 1);
		_exit(0);
	}
	assert_int_equal(waitpid(child, NULL, 0), child);
	hp_audit_close(&first);
	HP_AUTO_FREE char *lines = ground_read_chain(2);
	assert_int_equal(ground_count(lines, "{\"seq\":5,"), 1);
	assert_int_equal(ground_count(lines, "{\"seq\":4,"), 0);
	assert_whole();
}

/* In the middle of a verification: it has read the list and the first chain. */
static void delete_in_between(void *user, const struct hp_audit_finding *finding)
{
	note(user, finding);
	if (finding->kind != HP_FINDING_CHAIN || finding->chain != 1)
		return;
	struct hp_audit_options options = ground_options();
	options.keep = DAY;
	make_files_old();
	write_some(&options, 1);
	assert_int_equal(ground_count_files("chain-0002.0"), 0);
}

static void what_is_deleted_during_a_verification_is_not_missing(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	struct hp_audit *first = ground_open(&options);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		write_some(&options, 3);
		_exit(0);
	}
	assert_int_equal(waitpid(child, NULL, 0), child);
	hp_audit_close(&first);
	unsigned told = 0;
	struct hp_verify_request request = { options.folder, NULL, delete_in_between,
					     &told };
	hsmpool_error err;
	assert_ok(hp_audit_verify(&request, &err), &err);
	assert_int_equal(told, 2);
	assert_whole();
}

#define TEST(name) cmocka_unit_test_setup(name, ground_set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(refused_uses_are_counted_and_begin_again),
		TEST(uses_without_a_record_are_counted_in_one),
		TEST(half_a_line_that_cannot_be_cut_off_is_cut_off_later),
		TEST(a_trail_opens_on_a_full_disk_and_waits),
		TEST(a_limit_on_files_does_not_kill_the_program),
		TEST(more_uses_than_slots_wait_for_the_writer),
		TEST(a_file_that_is_large_enough_is_followed_by_another),
		TEST(who_rotates_does_not_wait_for_the_disk),
		TEST(a_file_that_is_old_enough_is_followed_by_another),
		TEST(of_a_trail_that_is_too_large_the_oldest_files_go),
		TEST(old_files_go_and_the_chain_goes_on),
		TEST(a_chain_that_nobody_writes_grows_old_too),
		TEST(what_is_deleted_during_a_verification_is_not_missing),
	};
	return cmocka_run_group_tests_name("audit_limits", tests, NULL,
					   ground_remove_all);
}

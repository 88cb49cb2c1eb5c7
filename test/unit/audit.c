/* SPDX-License-Identifier: Apache-2.0 */
/* The audit trail: what is recorded, in which form, and by whom. */
#include "audit_ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/memory.h"
#include "scratch.h"

static void a_use_leaves_one_line_with_all_its_facts(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	struct hp_audit *audit = ground_open(&options);
	assert_true(ground_use(audit, "C_Sign"));
	hp_audit_close(&audit);
	HP_AUTO_FREE char *lines = ground_read_chain(1);
	const char *line = strstr(lines, "{\"seq\":2,\"time\":\"");
	assert_non_null(line);
	assert_non_null(strstr(line,
			       "\"pool\":\"payments\",\"token\":\"token\",\"session\":7,"
			       "\"request\":\"0123456789abcdef\",\"event\":\"operation\","
			       "\"function\":\"C_Sign\",\"mechanism\":\"CKM_ECDSA\","
			       "\"key\":{\"label\":\"signing\",\"id\":\"01ff\","
			       "\"fingerprint\":\"00112233\"},\"in\":32,\"out\":64,"
			       "\"result\":\"CKR_OK\",\"us\":1234,\"hash\":\""));
	assert_int_equal(ground_count(lines, "\n"), 2);
}

static void foreign_texts_are_escaped_and_cut(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	struct hp_audit *audit = ground_open(&options);
	char label[200];
	memset(label, 'x', sizeof label - 1);
	label[sizeof label - 1] = '\0';
	memcpy(label, "a\"\\\n\x7f\xff\xc3\xa4\xed\xa0\x80", 11);
	struct hp_audit_entry entry;
	struct hp_audit_facts facts = { .function = "C_Sign", .key_label = label };
	assert_true(hp_audit_begin(audit, &facts, &entry));
	ground_end(&entry, "CKR_OK");
	hp_audit_close(&audit);
	HP_AUTO_FREE char *lines = ground_read_chain(1);
	char *found = strstr(lines, "\"label\":\"");
	assert_non_null(found);
	*strchr(found, '}') = '\0';
	assert_ptr_equal(
		strstr(found,
		       "a\\\"\\\\\\u000a\\u007f\\u00ff\xc3\xa4\\u00ed\\u00a0\\u0080"
		       "xxxx"),
		found + 9);
	assert_int_equal(ground_count(found, "x"), 64 - 11);
}

static void of_management_only_the_rest_is_left_out(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	options.records = HP_AUDIT_RECORDS_MANAGEMENT;
	struct hp_audit *audit = ground_open(&options);
	struct hp_audit_entry entry;
	ground_use(audit, "C_Sign");
	assert_true(ground_begin(audit, "C_Decrypt", &entry));
	ground_end(&entry, "CKR_FUNCTION_FAILED");
	const struct hp_audit_facts facts = { .event = HP_AUDIT_MANAGEMENT,
					      .function = "C_DestroyObject" };
	assert_true(hp_audit_begin(audit, &facts, &entry));
	ground_end(&entry, "CKR_OK");
	struct hp_audit_figures figures;
	hp_audit_sync(audit);
	hp_audit_get_figures(audit, &figures);
	assert_int_equal(figures.slots_used, 0);
	hp_audit_close(&audit);
	HP_AUTO_FREE char *lines = ground_read_chain(1);
	assert_null(strstr(lines, "C_Sign"));
	assert_non_null(strstr(lines, "CKR_FUNCTION_FAILED"));
	assert_non_null(strstr(lines, "\"event\":\"management\""));
}

static void without_a_trail_every_use_may_begin(void **state)
{
	(void)state;
	struct hp_audit_entry entry;
	assert_true(ground_begin(NULL, "C_Sign", &entry));
	ground_end(&entry, "CKR_OK");
	assert_true(hp_audit_sync(NULL));
}

static void one_folder_is_one_trail_of_the_process(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	struct hp_audit *one = ground_open(&options);
	struct hp_audit *two = ground_open(&options);
	assert_ptr_equal(one, two);
	hp_audit_close(&one);
	assert_true(ground_use(two, "C_Sign"));
	hp_audit_close(&two);
	assert_null(two);
	assert_int_equal(ground_count_files(".ring"), 1);
}

static void without_a_thread_a_record_is_there_when_its_end_returns(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	options.has_thread = false;
	struct hp_audit *audit = ground_open(&options);
	ground_use(audit, "C_Sign");
	HP_AUTO_FREE char *lines = ground_read_chain(1);
	assert_int_equal(ground_count(lines, "C_Sign"), 1);
	hp_audit_close(&audit);
}

static void the_next_process_continues_the_chain(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	for (int run = 0; run < 3; run++) {
		struct hp_audit *audit = ground_open(&options);
		ground_use(audit, "C_Sign");
		hp_audit_close(&audit);
	}
	HP_AUTO_FREE char *lines = ground_read_chain(1);
	assert_non_null(strstr(lines, "{\"seq\":6,"));
	assert_int_equal(ground_count(lines, "\n"), 6);
	assert_int_equal(ground_count_files(".jsonl"), 2);
	assert_int_equal(ground_count_files(".ring"), 1);
}

static void files_are_for_their_owner_only(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	mode_t old = umask(0);
	struct hp_audit *audit = ground_open(&options);
	umask(old);
	struct stat info;
	assert_int_equal(stat(options.folder, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0700);
	char path[1024];
	snprintf(path, sizeof path, "%s/chain-0001.000000000001.jsonl", options.folder);
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0600);
	hp_audit_close(&audit);
}

static void a_folder_that_others_may_write_to_is_refused(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	struct hp_audit *audit;
	hsmpool_error err;
	assert_int_equal(mkdir(options.folder, 0700), 0);
	assert_int_equal(chmod(options.folder, 0770), 0);
	assert_int_not_equal(hp_audit_open(&audit, &options, &err), HSMPOOL_OK);
	assert_null(audit);
	assert_non_null(strstr(err.text, options.folder));
	assert_non_null(strstr(err.text, "770"));
}

static void the_head_is_the_last_record(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	struct hp_audit *audit = ground_open(&options);
	struct hp_audit_head head;
	ground_use(audit, "C_Sign");
	assert_true(hp_audit_get_head(audit, &head));
	assert_int_equal(head.seq, 2);
	char hash[2 * HP_AUDIT_HASH_LEN + 1];
	hp_hex_encode(head.hash, sizeof head.hash, hash);
	HP_AUTO_FREE char *lines = ground_read_chain(1);
	assert_non_null(strstr(strstr(lines, "{\"seq\":2,"), hash));
	assert_non_null(strstr(lines, head.chain));

	const struct hp_audit_checkpoint checkpoint = { .key = "pkcs11:object=k",
							.mechanism = "CKM_SHA256_HMAC",
							.mac = (const uint8_t *)"\xab",
							.mac_len = 1 };
	ground_use(audit, "C_Sign");
	hp_audit_sync(audit);
	assert_true(hp_audit_add_checkpoint(audit, &head, &checkpoint));
	struct hp_audit_figures figures;
	hp_audit_get_figures(audit, &figures);
	assert_int_equal(figures.unauthenticated, 1);
	assert_int_equal(figures.records, 4);
	hp_audit_close(&audit);
	HP_AUTO_FREE char *more = ground_read_chain(1);
	assert_non_null(strstr(more, "\"event\":\"checkpoint\",\"chain\":\""));
	assert_non_null(strstr(more, "\"of\":2,\"head\":\""));
	assert_non_null(strstr(more, "\"mac\":\"ab\""));
}

static struct hp_audit_figures sum_figures(void)
{
	struct hp_audit_figures sum;
	hp_audit_sum_figures(&sum);
	return sum;
}

static void what_was_counted_stays_when_the_trail_is_closed(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	uint64_t before = sum_figures().records;
	struct hp_audit *audit = ground_open(&options);
	ground_use(audit, "C_Sign");
	hp_audit_sync(audit);
	assert_int_equal(sum_figures().records, before + 2); /* and "open" */
	hp_audit_close(&audit);
	assert_int_equal(sum_figures().records, before + 2);
	audit = ground_open(&options);
	assert_int_equal(sum_figures().records, before + 3);
	hp_audit_close(&audit);
}

static void a_checkpoint_is_missed_only_where_one_is_expected(void **state)
{
	(void)state;
	struct hp_audit_options options = ground_options();
	struct hp_audit *audit = ground_open(&options);
	ground_use(audit, "C_Sign");
	hp_audit_sync(audit);
	assert_int_equal(sum_figures().unauthenticated, 0);
	assert_int_equal(sum_figures().unauthenticated_since_ns, 0);
	hp_audit_want_checkpoints(audit);
	assert_int_equal(sum_figures().unauthenticated, 2);
	assert_true(sum_figures().unauthenticated_since_ns > 0);
	hp_audit_close(&audit);
	assert_int_equal(sum_figures().unauthenticated, 0);
}

#define TEST(name) cmocka_unit_test_setup(name, ground_set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_use_leaves_one_line_with_all_its_facts),
		TEST(foreign_texts_are_escaped_and_cut),
		TEST(of_management_only_the_rest_is_left_out),
		TEST(without_a_trail_every_use_may_begin),
		TEST(one_folder_is_one_trail_of_the_process),
		TEST(without_a_thread_a_record_is_there_when_its_end_returns),
		TEST(the_next_process_continues_the_chain),
		TEST(files_are_for_their_owner_only),
		TEST(a_folder_that_others_may_write_to_is_refused),
		TEST(the_head_is_the_last_record),
		TEST(what_was_counted_stays_when_the_trail_is_closed),
		TEST(a_checkpoint_is_missed_only_where_one_is_expected),
	};
	return cmocka_run_group_tests_name("audit", tests, NULL, ground_remove_all);
}

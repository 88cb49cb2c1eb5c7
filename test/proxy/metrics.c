/* SPDX-License-Identifier: Apache-2.0 */
/* What the module's metrics tell of the sessions and operations of its application. */
#include "module_ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/time.h"

static struct fixture softhsm;
static char path[300];

static int set_up(void **state)
{
	char lines[400];
	(void)state;
	fixture_softhsm(&softhsm);
	snprintf(path, sizeof(path), "%s/m.prom", softhsm.dir);
	snprintf(lines, sizeof(lines), "metrics-file = %s\nmetrics-interval = 5ms\n",
		 path);
	module_configure(&softhsm, lines, NULL);
	module_begin();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	module_end();
	fixture_remove(&softhsm);
	return 0;
}

static bool file_has(const char *line)
{
	static char text[64 * 1024];
	FILE *file = fopen(path, "re");
	size_t len = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
	if (file)
		fclose(file);
	text[len] = '\0';
	return strstr(text, line) != NULL;
}

static void assert_file_gets(const char *line)
{
	int64_t until = hp_now_ns() + TEST_PATIENCE_NS;
	while (!file_has(line)) {
		if (hp_now_ns() > until)
			fail_msg("never: %s", line);
		hp_pause(HP_MS);
	}
}

static void virtual_sessions_are_counted(void **state)
{
	CK_FUNCTION_LIST *p11 = module_load();
	(void)state;
	CK_SESSION_HANDLE first = module_session(RO);
	CK_SESSION_HANDLE second = module_session(RW);
	assert_file_gets("\nhsmpool_virtual_sessions 2\n");
	assert_rv(p11->C_CloseSession(first), CKR_OK);
	assert_file_gets("\nhsmpool_virtual_sessions 1\n");
	assert_rv(p11->C_CloseSession(second), CKR_OK);
	assert_file_gets("\nhsmpool_virtual_sessions 0\n");
}

static void calls_are_counted_with_what_they_failed_with(void **state)
{
	CK_FUNCTION_LIST *p11 = module_load();
	CK_BYTE bytes[8];
	(void)state;
	CK_SESSION_HANDLE session = module_session(RO);
	assert_rv(p11->C_GenerateRandom(session, bytes, sizeof(bytes)), CKR_OK);
	assert_file_gets(
		"\nhsmpool_op_seconds_count{pool=\"default\",token=\"" FIXTURE_TOKEN
		"\",op=\"C_GenerateRandom\"} 1\n");
	assert_rv(p11->C_GenerateRandom(session, NULL, 8), CKR_ARGUMENTS_BAD);
	assert_file_gets(
		"\nhsmpool_op_errors_total{pool=\"default\",token=\"" FIXTURE_TOKEN
		"\",ckr=\"CKR_ARGUMENTS_BAD\"} 1\n");
	assert_rv(p11->C_CloseSession(session), CKR_OK);
}

static void the_journal_is_measured_while_an_operation_goes_on(void **state)
{
	CK_FUNCTION_LIST *p11 = module_load();
	CK_MECHANISM sha256 = { CKM_SHA256, NULL, 0 };
	CK_BYTE bytes[32];
	CK_ULONG len = sizeof(bytes);
	(void)state;
	CK_SESSION_HANDLE session = module_session(RO);
	assert_file_gets("\nhsmpool_journal_bytes 0\n");
	assert_rv(p11->C_DigestInit(session, &sha256), CKR_OK);
	assert_rv(p11->C_DigestUpdate(session, (CK_BYTE_PTR) "abc", 3), CKR_OK);
	assert_file_gets("\nhsmpool_virtual_sessions 1\n");
	int64_t until = hp_now_ns() + TEST_PATIENCE_NS;
	while (file_has("\nhsmpool_journal_bytes 0\n") && hp_now_ns() < until)
		hp_pause(HP_MS);
	assert_false(file_has("\nhsmpool_journal_bytes 0\n"));
	assert_rv(p11->C_DigestFinal(session, bytes, &len), CKR_OK);
	assert_rv(p11->C_CloseSession(session), CKR_OK);
	assert_file_gets("\nhsmpool_journal_bytes 0\n");
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(virtual_sessions_are_counted),
		cmocka_unit_test(calls_are_counted_with_what_they_failed_with),
		cmocka_unit_test(the_journal_is_measured_while_an_operation_goes_on),
	};
	return cmocka_run_group_tests_name("metrics", tests, set_up, tear_down);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The option table and its value types: config/options.c, config/value.c; and that the
 * manual page documents every row. */
#include "support/fixture.h"

#include "base/time.h"
#include "config/options.h"
#include "config/value.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void durations_carry_their_unit(void **state)
{
	(void)state;
	const struct {
		const char *text;
		int64_t ns;
	} good[] = {
		{ "0", 0 },
		{ "0s", 0 },
		{ "100us", 100 * HP_US },
		{ "500ms", 500 * HP_MS },
		{ "5s", 5 * HP_SECOND },
		{ "10m", 600 * HP_SECOND },
		{ "1h", 3600 * HP_SECOND },
		{ "1d", 86400 * HP_SECOND },
	};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		int64_t ns = -1;
		assert_true(hp_parse_duration(good[i].text, &ns));
		assert_true(ns == good[i].ns);
	}
}

static void what_is_no_duration_is_refused(void **state)
{
	(void)state;
	const char *const bad[] = { "",
				    "5",
				    "s",
				    "-5s",
				    "+5s",
				    "5 s",
				    "5S",
				    "5.5s",
				    "5sec",
				    "0x5s",
				    "5s ",
				    "5ns",
				    "99999999999999999999s",
				    "106752d",
				    "18446744073709551615us" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int64_t ns = 7;
		assert_false(hp_parse_duration(bad[i], &ns));
		assert_true(ns == 7);
	}
}

static void sizes_are_bytes_or_powers_of_1024(void **state)
{
	(void)state;
	uint64_t bytes;
	assert_true(hp_parse_size("0", &bytes) && bytes == 0);
	assert_true(hp_parse_size("4096", &bytes) && bytes == 4096);
	assert_true(hp_parse_size("17B", &bytes) && bytes == 17);
	assert_true(hp_parse_size("64KiB", &bytes) && bytes == 65536);
	assert_true(hp_parse_size("3MiB", &bytes) && bytes == 3 << 20);
	assert_true(hp_parse_size("1GiB", &bytes) && bytes == 1 << 30);
	assert_true(hp_parse_size("18446744073709551615", &bytes) && bytes == UINT64_MAX);
	bytes = 7;
	assert_false(hp_parse_size("", &bytes));
	assert_false(hp_parse_size("KiB", &bytes));
	assert_false(hp_parse_size("-1", &bytes));
	assert_false(hp_parse_size("64kb", &bytes));
	assert_false(hp_parse_size("64 KiB", &bytes));
	assert_false(hp_parse_size("18446744073709551616", &bytes));
	assert_false(hp_parse_size("18014398509481984KiB", &bytes));
	assert_int_equal(bytes, 7);
}

static void a_choice_is_matched_as_a_whole(void **state)
{
	(void)state;
	assert_int_equal(hp_parse_choice("no|deterministic|yes", "no"), 0);
	assert_int_equal(hp_parse_choice("no|deterministic|yes", "yes"), 2);
	assert_int_equal(hp_parse_choice("no|deterministic|yes", "determ"), -1);
	assert_int_equal(hp_parse_choice("no|deterministic|yes", "no|deterministic"), -1);
	assert_int_equal(hp_parse_choice("no|deterministic|yes", ""), -1);
	assert_int_equal(hp_parse_choice("no|deterministic|yes", "yess"), -1);
}

static void edits_are_counted(void **state)
{
	(void)state;
	char over_long[200];
	memset(over_long, 'x', sizeof(over_long) - 1);
	over_long[sizeof(over_long) - 1] = '\0';
	assert_int_equal(hp_edit_distance("", ""), 0);
	assert_int_equal(hp_edit_distance("", "abc"), 3);
	assert_int_equal(hp_edit_distance("max-session", "max-sessions"), 1);
	assert_int_equal(hp_edit_distance("max_sessions", "max-sessions"), 1);
	assert_int_equal(hp_edit_distance("kitten", "sitting"), 3);
	assert_true(hp_edit_distance(over_long, "x") == SIZE_MAX);
}

/* Every default is accepted by its own row, and kept as the value in force. */
static void every_default_is_valid(void **state)
{
	(void)state;
	hsmpool_config *config;
	hsmpool_error err;
	assert_ok(hsmpool_config_new(&config, &err), &err);
	const struct hp_option_info *info;
	for (size_t i = 0; (info = hp_option_at(i)); i++) {
		const char *section = strcmp(info->section, "key") == 0 ? "key k"
				      : strcmp(info->section, "policy") == 0
					      ? "policy p"
					      : info->section;
		if (info->default_text)
			assert_ok(hsmpool_config_set(config, section, info->key,
						     info->default_text, &err),
				  &err);
	}
	hsmpool_config_close(&config);
}

static void the_table_is_complete_and_free_of_doubles(void **state)
{
	(void)state;
	const struct hp_option_info *info;
	size_t count = 0;
	for (; (info = hp_option_at(count)); count++) {
		assert_true(strlen(info->help) > 10);
		assert_true(strlen(info->type) > 0);
		for (size_t other = 0; other < count; other++)
			assert_false(
				strcmp(info->key, hp_option_at(other)->key) == 0 &&
				strcmp(info->section, hp_option_at(other)->section) == 0);
	}
	assert_true(count >= 37);
	assert_null(hp_option_at(count));
	assert_null(hp_option_at(SIZE_MAX));
}

/* --- the manual ----------------------------------------------------------------------
 */

static char *read_manual(void)
{
	char path[1024];
	const char *source = getenv("HSMPOOL_TEST_SOURCE");
	assert_non_null(source);
	snprintf(path, sizeof(path), "%s/docs/man/hsmpool.conf.5.scd", source);
	FILE *file = fopen(path, "r");
	if (!file)
		fail_msg("cannot open %s", path);
	char *text = calloc(1, 1 << 20);
	assert_true(fread(text, 1, (1 << 20) - 1, file) > 0);
	fclose(file);
	return text;
}

/* The part of the manual about a section: from its heading to the next one. */
static char *cut_part(const char *manual, const char *section)
{
	char heading[64];
	snprintf(heading, sizeof(heading), "\n# %s\n",
		 strcmp(section, "pool") == 0     ? "POOL OPTIONS"
		 : strcmp(section, "key") == 0    ? "KEY OPTIONS"
		 : strcmp(section, "policy") == 0 ? "POLICY OPTIONS"
						  : "PROXY OPTIONS");
	const char *start = strstr(manual, heading);
	if (!start)
		fail_msg("the manual has no heading%s", heading);
	start += strlen(heading);
	const char *end = strstr(start, "\n# ");
	return end ? strndup(start, (size_t)(end - start)) : strdup(start);
}

/* The last thing of the paragraph is "Default: EXPECTED". */
static bool says_default(const char *paragraph, const char *expected)
{
	const char *at = strstr(paragraph, "Default:");
	const char *next = strstr(paragraph + 1, "\n*");
	if (!at || (next && at > next))
		return false;
	at += strlen("Default:");
	at += strspn(at, " \t\n");
	return strncmp(at, expected, strlen(expected)) == 0 &&
	       at[strlen(expected)] == '\n';
}

/* An option's paragraph begins with "*KEY* = _TYPE_" and ends with its default. */
static void check_paragraph(const char *part, const struct hp_option_info *info)
{
	char begin[400];
	char expected[200] = "none";
	snprintf(begin, sizeof(begin), "*%s* = _%s_\n", info->key, info->type);
	if (info->default_text)
		snprintf(expected, sizeof(expected), "*%s*", info->default_text);
	const char *start = strstr(part, begin);
	if (!start)
		fail_msg("the manual's [%s] lacks \"%s\"", info->section, begin);
	if (!says_default(start, expected))
		fail_msg("the manual's [%s] %s does not end with \"Default: %s\"",
			 info->section, info->key, expected);
}

static void the_manual_documents_every_option_with_its_default(void **state)
{
	(void)state;
	char *manual = read_manual();
	const struct hp_option_info *info;
	for (size_t i = 0; (info = hp_option_at(i)); i++) {
		char *part = cut_part(manual, info->section);
		check_paragraph(part, info);
		free(part);
	}
	free(manual);
}

/* Each "*key* =" at the start of a line is a row of the table. */
static void the_manual_documents_no_option_that_does_not_exist(void **state)
{
	(void)state;
	char *manual = read_manual();
	char *rest = NULL;
	for (char *line = strtok_r(manual, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest)) {
		char key[64];
		int end = 0;
		if (sscanf(line, "*%63[a-z-]* = _%n", key, &end) != 1 || end == 0)
			continue;
		bool is_known = false;
		for (size_t i = 0; hp_option_at(i); i++)
			is_known = is_known || strcmp(hp_option_at(i)->key, key) == 0;
		if (!is_known)
			fail_msg("the manual documents '%s', which is no option", key);
	}
	free(manual);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_carry_their_unit),
		cmocka_unit_test(what_is_no_duration_is_refused),
		cmocka_unit_test(sizes_are_bytes_or_powers_of_1024),
		cmocka_unit_test(a_choice_is_matched_as_a_whole),
		cmocka_unit_test(edits_are_counted),
		cmocka_unit_test(every_default_is_valid),
		cmocka_unit_test(the_table_is_complete_and_free_of_doubles),
		cmocka_unit_test(the_manual_documents_every_option_with_its_default),
		cmocka_unit_test(the_manual_documents_no_option_that_does_not_exist),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Figures as text, in both formats: observe/exposition.c, metrics.c. */
#include "support/fixture.h"

#include "observe/exposition.h"
#include "observe/metrics.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct hp_family requests = { "app_requests", HP_FAMILY_COUNTER, NULL,
					   "Requests." };
static const struct hp_family latency = { "app_latency_seconds", HP_FAMILY_HISTOGRAM,
					  "seconds", "Latency." };
static const struct hp_family build = { "app_build", HP_FAMILY_INFO, NULL, "Build." };
static const struct hp_label none[] = { { 0 } };

static struct hp_exposition begin(hsmpool_metrics_format format)
{
	return (struct hp_exposition){ .format = format, .common = "" };
}

static void assert_text(struct hp_exposition *x, const char *expected)
{
	hp_exposition_end(x);
	assert_false(x->has_failed);
	assert_string_equal(x->text, expected);
	assert_int_equal(x->len, strlen(expected));
	free(x->text);
}

static void open_metrics_names_families_and_ends_with_eof(void **state)
{
	(void)state;
	struct hp_exposition x = begin(HSMPOOL_METRICS_OPENMETRICS);
	hp_exposition_begin_family(&x, &requests);
	hp_exposition_add(&x, none, 7);
	hp_exposition_begin_family(&x, &build);
	hp_exposition_add(&x, (const struct hp_label[]){ { "version", "1" }, { 0 } }, 1);
	assert_text(&x, "# HELP app_requests Requests.\n"
			"# TYPE app_requests counter\n"
			"app_requests_total 7\n"
			"# HELP app_build Build.\n"
			"# TYPE app_build info\n"
			"app_build_info{version=\"1\"} 1\n"
			"# EOF\n");
}

static void the_older_format_names_samples_and_knows_no_info(void **state)
{
	(void)state;
	struct hp_exposition x = begin(HSMPOOL_METRICS_PROMETHEUS);
	hp_exposition_begin_family(&x, &requests);
	hp_exposition_add(&x, none, 7);
	hp_exposition_begin_family(&x, &build);
	hp_exposition_add(&x, (const struct hp_label[]){ { "version", "1" }, { 0 } }, 1);
	assert_text(&x, "# HELP app_requests_total Requests.\n"
			"# TYPE app_requests_total counter\n"
			"app_requests_total 7\n"
			"# HELP app_build_info Build.\n"
			"# TYPE app_build_info gauge\n"
			"app_build_info{version=\"1\"} 1\n");
}

static void a_unit_is_told_in_open_metrics_only(void **state)
{
	(void)state;
	struct hp_exposition x = begin(HSMPOOL_METRICS_OPENMETRICS);
	hp_exposition_begin_family(&x, &latency);
	assert_text(&x, "# HELP app_latency_seconds Latency.\n"
			"# TYPE app_latency_seconds histogram\n"
			"# UNIT app_latency_seconds seconds\n"
			"# EOF\n");
	x = begin(HSMPOOL_METRICS_PROMETHEUS);
	hp_exposition_begin_family(&x, &latency);
	assert_text(&x, "# HELP app_latency_seconds Latency.\n"
			"# TYPE app_latency_seconds histogram\n");
}

static void a_label_is_escaped_and_always_utf_8(void **state)
{
	(void)state;
	static const struct {
		const char *given, *written;
	} cases[] = {
		{ "plain", "plain" },
		{ "", "" },
		{ "a\"b", "a\\\"b" },
		{ "a\\b", "a\\\\b" },
		{ "a\nb", "a\\nb" },
		{ "Zahl\xc3\xbc"
		  "ng",
		  "Zahl\xc3\xbc"
		  "ng" },
		{ "\xff", "\xef\xbf\xbd" },
		{ "\xc3", "\xef\xbf\xbd" }, /* cut in the middle of a character */
		{ "a\xe2\x82"
		  "b",
		  "a\xef\xbf\xbd\xef\xbf\xbd"
		  "b" },
		{ "\x1b[31m", "\xef\xbf\xbd[31m" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char expected[200];
		struct hp_exposition x = begin(HSMPOOL_METRICS_PROMETHEUS);
		hp_exposition_begin_family(&x, &requests);
		hp_exposition_add(
			&x, (const struct hp_label[]){ { "l", cases[i].given }, { 0 } },
			1);
		snprintf(expected, sizeof(expected),
			 "# HELP app_requests_total Requests.\n"
			 "# TYPE app_requests_total counter\n"
			 "app_requests_total{l=\"%s\"} 1\n",
			 cases[i].written);
		assert_text(&x, expected);
	}
}

static void common_labels_come_first(void **state)
{
	(void)state;
	char common[60];
	hp_label_format("process", "a\"b", true, common, 30);
	hp_label_format("pid", "7", false, common + strlen(common), 30);
	struct hp_exposition x = begin(HSMPOOL_METRICS_PROMETHEUS);
	x.common = common;
	hp_exposition_begin_family(&x, &requests);
	hp_exposition_add(&x, none, 1);
	hp_exposition_add(&x, (const struct hp_label[]){ { "l", "v" }, { 0 } }, 2);
	assert_text(&x, "# HELP app_requests_total Requests.\n"
			"# TYPE app_requests_total counter\n"
			"app_requests_total{process=\"a\\\"b\",pid=\"7\"} 1\n"
			"app_requests_total{process=\"a\\\"b\",pid=\"7\",l=\"v\"} 2\n");
}

/* Buckets are cumulative, and their bounds are written as everyone writes them. */
static void a_histogram_counts_up_to_each_bound(void **state)
{
	(void)state;
	static const char *const bounds[] = {
		"1e-06",    "2e-06",    "4e-06",    "8e-06",    "1.6e-05",
		"3.2e-05",  "6.4e-05",  "0.000128", "0.000256", "0.000512",
		"0.001024", "0.002048", "0.004096", "0.008192", "0.016384",
		"0.032768", "0.065536", "0.131072", "0.262144", "0.524288",
		"1.048576", "2.097152", "4.194304", "8.388608", "16.777216"
	};
	uint64_t buckets[26];
	char expected[4000] = "# HELP app_latency_seconds Latency.\n"
			      "# TYPE app_latency_seconds histogram\n";
	size_t len = strlen(expected);
	for (size_t i = 0; i < 26; i++) {
		buckets[i] = i + 1;
		len += (size_t)snprintf(expected + len, sizeof(expected) - len,
					"app_latency_seconds_bucket{le=\"%s\"} %zu\n",
					i < 25 ? bounds[i] : "+Inf",
					(i + 1) * (i + 2) / 2);
	}
	snprintf(expected + len, sizeof(expected) - len,
		 "app_latency_seconds_sum 1.5\napp_latency_seconds_count 351\n");
	struct hp_exposition x = begin(HSMPOOL_METRICS_PROMETHEUS);
	hp_exposition_begin_family(&x, &latency);
	hp_exposition_add_histogram(&x, none, buckets, 26, 1500000000);
	assert_text(&x, expected);
}

static void seconds_are_exact_in_every_locale(void **state)
{
	(void)state;
	static const struct hp_family age = { "app_age_seconds", HP_FAMILY_GAUGE,
					      "seconds", "Age." };
	setlocale(LC_ALL, "de_DE.UTF-8");
	struct hp_exposition x = begin(HSMPOOL_METRICS_PROMETHEUS);
	hp_exposition_begin_family(&x, &age);
	hp_exposition_add_seconds(&x, none, 0);
	hp_exposition_add_seconds(&x, none, 1);
	hp_exposition_add_seconds(&x, none, 12500000000);
	hp_exposition_add_seconds(&x, none, UINT64_MAX);
	assert_text(&x, "# HELP app_age_seconds Age.\n"
			"# TYPE app_age_seconds gauge\n"
			"app_age_seconds 0.0\n"
			"app_age_seconds 0.000000001\n"
			"app_age_seconds 12.5\n"
			"app_age_seconds 18446744073.709551615\n");
	setlocale(LC_ALL, "C");
}

static void write_another(struct hp_exposition *x)
{
	hp_exposition_begin_family(x, &requests);
	hp_exposition_add(x, none, 3);
}

static void a_room_contributes_once_however_often_it_says_so(void **state)
{
	(void)state;
	char *text = NULL;
	size_t len = 0;
	hsmpool_error err;
	hp_metrics_add_source(write_another);
	hp_metrics_add_source(write_another);
	assert_ok(hsmpool_metrics_text(&text, &len, &err), &err);
	const char *first = strstr(text, "app_requests_total 3\n");
	assert_non_null(first);
	assert_null(strstr(first + 1, "app_requests_total"));
	assert_int_equal(len, strlen(text));
	assert_string_equal(text + len - strlen("# EOF\n"), "# EOF\n");
	free(text);
}

static void the_process_tells_its_release_and_when_it_began(void **state)
{
	(void)state;
	char *text = NULL, expected[100];
	hsmpool_error err;
	assert_ok(hsmpool_metrics_text_as(HSMPOOL_METRICS_PROMETHEUS, &text, NULL, &err),
		  &err);
	snprintf(expected, sizeof(expected), "\nhsmpool_build_info{version=\"%s\"} 1\n",
		 hsmpool_version());
	assert_non_null(strstr(text, expected));
	const char *start = strstr(text, "\nhsmpool_process_start_time_seconds ");
	assert_non_null(start);
	double began = strtod(strchr(start, ' ') + 1, NULL);
	double now = (double)time(NULL);
	assert_true(began <= now + 2 && began > now - 3600);
	free(text);
}

static void a_wrong_call_is_refused(void **state)
{
	(void)state;
	char *text = NULL;
	hsmpool_error err;
	assert_status(hsmpool_metrics_text(NULL, NULL, &err), HSMPOOL_ERR_USAGE);
	assert_status(
		hsmpool_metrics_text_as((hsmpool_metrics_format)7, &text, NULL, NULL),
		HSMPOOL_ERR_USAGE);
	assert_null(text);
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(open_metrics_names_families_and_ends_with_eof),
		cmocka_unit_test(the_older_format_names_samples_and_knows_no_info),
		cmocka_unit_test(a_unit_is_told_in_open_metrics_only),
		cmocka_unit_test(a_label_is_escaped_and_always_utf_8),
		cmocka_unit_test(common_labels_come_first),
		cmocka_unit_test(a_histogram_counts_up_to_each_bound),
		cmocka_unit_test(seconds_are_exact_in_every_locale),
		cmocka_unit_test(a_room_contributes_once_however_often_it_says_so),
		cmocka_unit_test(the_process_tells_its_release_and_when_it_began),
		cmocka_unit_test(a_wrong_call_is_refused),
	};
	return cmocka_run_group_tests_name("exposition", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Medians, and how a figure is printed: one line, or one JSON object at the end.
 */
#include "bench.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bench_add_ratio(struct bench_ratios *ratios, double value)
{
	if (ratios->count < sizeof ratios->value / sizeof ratios->value[0])
		ratios->value[ratios->count++] = value;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void sort(const struct bench_ratios *ratios, struct bench_ratios *sorted)
{
	*sorted = *ratios;
	qsort(sorted->value, sorted->count, sizeof sorted->value[0], compare);
}

double bench_median(const struct bench_ratios *ratios)
{
	struct bench_ratios sorted;
	sort(ratios, &sorted);
	unsigned n = sorted.count;
	if (n == 0)
		return 0;
	return n % 2 ? sorted.value[n / 2]
		     : (sorted.value[n / 2 - 1] + sorted.value[n / 2]) / 2;
}

static void report_json(struct bench *bench, const char *scenario, const char *what,
			const struct bench_ratios *sorted, const char *unit,
			const char *goal)
{
	struct json_object *line = json_object_new_object();
	json_object_object_add(line, "scenario", json_object_new_string(scenario));
	json_object_object_add(line, "what", json_object_new_string(what));
	json_object_object_add(line, "median",
			       json_object_new_double(bench_median(sorted)));
	json_object_object_add(line, "min", json_object_new_double(sorted->value[0]));
	json_object_object_add(line, "max",
			       json_object_new_double(sorted->value[sorted->count - 1]));
	json_object_object_add(line, "runs", json_object_new_int((int)sorted->count));
	json_object_object_add(line, "unit", json_object_new_string(unit));
	json_object_object_add(line, "goal", json_object_new_string(goal));
	json_object_array_add(bench->results, line);
}

void bench_report(struct bench *bench, const char *scenario, const char *what,
		  const struct bench_ratios *values, const char *unit, const char *goal)
{
	struct bench_ratios sorted;
	sort(values, &sorted);
	if (sorted.count == 0)
		return;
	if (bench->cli->is_json) {
		report_json(bench, scenario, what, &sorted, unit, goal);
		return;
	}
	printf("%-10s %-44s %9.2f %-6s [%.2f - %.2f]  %s\n", scenario, what,
	       bench_median(&sorted), unit, sorted.value[0],
	       sorted.value[sorted.count - 1], goal);
	fflush(stdout);
}

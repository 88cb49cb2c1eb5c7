/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process tells the exporter: any text. It is taken or refused as a whole; what
 * was taken is merged into text that is taken again and stays as it is, with the labels
 * of the process in front of those of each sample.
 */
#include "fuzz.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "../../tools/cli/merge.h"

#define LABELS "instance=\"1\""

static char *render(const struct merge *merge, hsmpool_metrics_format format)
{
	char *text = NULL;
	size_t len = 0;
	hsmpool_error err = { 0 };
	MUST(merge_render(merge, format, &text, &len, &err) == HSMPOOL_OK);
	MUST(text && strlen(text) == len);
	return text;
}

static bool add(struct merge *merge, const char *labels, const char *text, size_t len)
{
	hsmpool_error err = { 0 };
	hsmpool_status status = merge_add(merge, labels, text, len, &err);
	fuzz_must_explain(status, &err);
	MUST(status == HSMPOOL_OK || status == HSMPOOL_ERR_DATA);
	return status == HSMPOOL_OK;
}

static void must_stay(const char *whole)
{
	struct merge *again = merge_new();
	MUST(again && add(again, "", whole, strlen(whole)));
	char *text = render(again, HSMPOOL_METRICS_OPENMETRICS);
	MUST(strcmp(text, whole) == 0);
	free(text);
	merge_free(again);
}

/* Every sample got them, and nothing else. */
static void must_have_labels(const char *whole)
{
	for (const char *line = whole; *line; line = strchr(line, '\n') + 1)
		MUST(*line == '#' || strncmp(line + strcspn(line, "{ "), "{" LABELS,
					     sizeof(LABELS)) == 0);
}

static void use(const struct merge *merge)
{
	char *whole = render(merge, HSMPOOL_METRICS_OPENMETRICS);
	char *older = render(merge, HSMPOOL_METRICS_PROMETHEUS);
	must_have_labels(whole);
	must_have_labels(older);
	must_stay(whole);
	free(whole);
	free(older);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct merge *merge = merge_new();
	char *text = (char *)fuzz_copy(data, len);
	MUST(merge);
	if (add(merge, LABELS, text ? text : "", text ? len : 0)) {
		/* A second process that says the same. */
		MUST(add(merge, LABELS, text ? text : "", text ? len : 0));
		use(merge);
	} else {
		char *nothing = render(merge, HSMPOOL_METRICS_OPENMETRICS);
		MUST(strcmp(nothing, "# EOF\n") == 0);
		free(nothing);
	}
	free(text);
	merge_free(merge);
	return 0;
}

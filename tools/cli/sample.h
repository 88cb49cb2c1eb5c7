/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line of metrics' text: name{label="value",...} number.
 *
 * Only what hsmpool writes is understood: no timestamps, no exemplars.
 */
#ifndef CLI_SAMPLE_H
#define CLI_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>

/* A piece of a text that lives longer. */
struct slice {
	const char *at;
	size_t len;
};

bool slice_is(struct slice slice, const char *text);
bool slices_equal(struct slice a, struct slice b);
void slice_skip(struct slice *rest, size_t len);
/* Skip text if rest begins with it. */
bool slice_take_text(struct slice *rest, const char *text);
/* Take what comes before the first end, or everything. */
struct slice slice_take_until(struct slice *rest, char end);
/* Take a name of a metric or a label, empty if there is none. */
struct slice slice_take_name(struct slice *rest);

struct sample {
	struct slice name;
	struct slice labels; /* between the braces, empty if there are none */
	double value;
};

/* False: line is no sample. */
bool sample_read(struct slice line, struct sample *sample);
/* The value of a label of a sample that was read, unescaped, cut at cap; "" and false: it
 * has none. */
bool sample_label(const struct sample *sample, const char *name, char *value, size_t cap);

#endif

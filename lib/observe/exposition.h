/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing figures as text: OpenMetrics 1.0, or the Prometheus text format 0.0.4.
 *
 * Owns: names, escaping and numbers of both formats. A family is begun once, and all its
 * samples follow it. What there is no memory for is dropped, and the whole with it:
 * has_failed is looked at in the end only. Must not: know what is measured.
 */
#ifndef HP_OBSERVE_EXPOSITION_H
#define HP_OBSERVE_EXPOSITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hsmpool/metrics.h>

struct hp_exposition {
	hsmpool_metrics_format format;
	const char *common; /* labels of every sample, as written; "": none */
	const struct hp_family *family;
	char *text; /* for who began it to free */
	size_t len, cap;
	bool has_failed;
};

enum hp_family_kind {
	HP_FAMILY_GAUGE,
	HP_FAMILY_COUNTER,   /* its samples' names end with _total */
	HP_FAMILY_HISTOGRAM, /* of times, in seconds */
	HP_FAMILY_INFO,      /* its one sample's name ends with _info */
};

struct hp_family {
	const char *name; /* without _total, _info */
	enum hp_family_kind kind;
	const char *unit; /* "seconds", "bytes": the name ends with it; NULL: none */
	const char *help; /* no line breaks, no backslashes */
};

/* The labels of a sample end with one without a name. Values are escaped here. */
struct hp_label {
	const char *name;
	const char *value;
};

void hp_exposition_begin_family(struct hp_exposition *x, const struct hp_family *family);
void hp_exposition_add(struct hp_exposition *x, const struct hp_label *labels,
		       uint64_t value);
void hp_exposition_add_seconds(struct hp_exposition *x, const struct hp_label *labels,
			       uint64_t ns);
/* buckets: count of them, the i-th for times up to 1000 << i ns, the last without bound.
 */
void hp_exposition_add_histogram(struct hp_exposition *x, const struct hp_label *labels,
				 const uint64_t *buckets, size_t count, uint64_t sum_ns);
void hp_exposition_end(struct hp_exposition *x);

/* A label as it is written, with a comma before it unless it is the first: to make
 * common of. to is cut at cap, and always terminated. */
void hp_label_format(const char *name, const char *value, bool is_first, char *to,
		     size_t cap);

#endif

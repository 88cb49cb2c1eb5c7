/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See exposition.h. Numbers are made of integers: no locale changes the decimal point,
 * and nothing is rounded.
 */
#include "observe/exposition.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "observe/utf8.h"

#define FIRST_CAP  4096
#define NS_DIGITS  9
#define BOUND_SIZE 32

/* --- growing text ----------------------------------------------------------------- */

static bool has_room(struct hp_exposition *x, size_t more)
{
	size_t cap = x->cap ? x->cap : FIRST_CAP;
	while (cap - x->len <= more && cap < SIZE_MAX / 2)
		cap *= 2;
	if (x->has_failed || cap - x->len <= more) {
		x->has_failed = true;
	} else if (cap != x->cap) {
		char *grown = realloc(x->text, cap);
		x->has_failed = !grown;
		x->text = grown ? grown : x->text;
		x->cap = grown ? cap : x->cap;
	}
	return !x->has_failed;
}

static void put_bytes(struct hp_exposition *x, const char *bytes, size_t len)
{
	if (!has_room(x, len))
		return;
	memcpy(x->text + x->len, bytes, len);
	x->len += len;
	x->text[x->len] = '\0';
}

static void put(struct hp_exposition *x, const char *text)
{
	put_bytes(x, text, strlen(text));
}

static void put_number(struct hp_exposition *x, uint64_t value)
{
	char digits[24];
	put_bytes(x, digits, (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, value));
}

/* --- labels ----------------------------------------------------------------------- */

/* A token's label may hold any bytes; a scrape with one that is not UTF-8 is refused as a
 * whole. */
static void put_escaped(struct hp_exposition *x, const char *value)
{
	while (*value) {
		bool is_control = (unsigned char)*value < ' ';
		size_t len = is_control ? 0 : hp_utf8_length(value);
		if (*value == '\n')
			put(x, "\\n");
		else if (*value == '"' || *value == '\\')
			put_bytes(x, (const char[]){ '\\', *value }, 2);
		else if (len > 0)
			put_bytes(x, value, len);
		else
			put(x, "\xef\xbf\xbd"); /* U+FFFD */
		value += len ? len : 1;
	}
}

static void put_label(struct hp_exposition *x, const char *name, const char *value,
		      bool is_first)
{
	put(x, is_first ? "" : ",");
	put(x, name);
	put(x, "=\"");
	put_escaped(x, value);
	put(x, "\"");
}

/* And the bound of a bucket, or NULL. */
static void put_labels(struct hp_exposition *x, const struct hp_label *labels,
		       const char *bound)
{
	bool is_first = !x->common[0];
	bool has_any = !is_first || bound || (labels && labels->name);
	put(x, has_any ? "{" : "");
	put(x, x->common);
	for (; labels && labels->name; labels++) {
		put_label(x, labels->name, labels->value, is_first);
		is_first = false;
	}
	if (bound)
		put_label(x, "le", bound, is_first);
	put(x, has_any ? "} " : " ");
}

void hp_label_format(const char *name, const char *value, bool is_first, char *to,
		     size_t cap)
{
	struct hp_exposition x = { .common = "" };
	put_label(&x, name, value, is_first);
	snprintf(to, cap, "%s", x.has_failed ? "" : x.text);
	free(x.text);
}

/* --- families --------------------------------------------------------------------- */

/* OpenMetrics names the family, the older format its samples. */
static const char *family_suffix(const struct hp_exposition *x)
{
	if (x->format == HSMPOOL_METRICS_OPENMETRICS)
		return "";
	switch (x->family->kind) {
	case HP_FAMILY_COUNTER:
		return "_total";
	case HP_FAMILY_INFO:
		return "_info";
	default:
		return "";
	}
}

static const char *type_name(const struct hp_exposition *x)
{
	switch (x->family->kind) {
	case HP_FAMILY_COUNTER:
		return "counter";
	case HP_FAMILY_HISTOGRAM:
		return "histogram";
	case HP_FAMILY_INFO:
		return x->format == HSMPOOL_METRICS_OPENMETRICS ? "info" : "gauge";
	default:
		return "gauge";
	}
}

static void put_comment(struct hp_exposition *x, const char *what, const char *text)
{
	put(x, "# ");
	put(x, what);
	put(x, " ");
	put(x, x->family->name);
	put(x, family_suffix(x));
	put(x, " ");
	put(x, text);
	put(x, "\n");
}

void hp_exposition_begin_family(struct hp_exposition *x, const struct hp_family *family)
{
	x->family = family;
	put_comment(x, "HELP", family->help);
	put_comment(x, "TYPE", type_name(x));
	if (family->unit && x->format == HSMPOOL_METRICS_OPENMETRICS)
		put_comment(x, "UNIT", family->unit);
}

/* --- samples ---------------------------------------------------------------------- */

static void put_name(struct hp_exposition *x, const char *suffix)
{
	put(x, x->family->name);
	put(x, suffix);
}

static const char *sample_suffix(const struct hp_exposition *x)
{
	return x->family->kind == HP_FAMILY_COUNTER ? "_total"
	       : x->family->kind == HP_FAMILY_INFO  ? "_info"
						    : "";
}

void hp_exposition_add(struct hp_exposition *x, const struct hp_label *labels,
		       uint64_t value)
{
	put_name(x, sample_suffix(x));
	put_labels(x, labels, NULL);
	put_number(x, value);
	put(x, "\n");
}

/* "12.5", "0.000001", "3.0" */
static void put_seconds(struct hp_exposition *x, uint64_t ns)
{
	char text[40];
	int len = snprintf(text, sizeof(text), "%" PRIu64 ".%09" PRIu64,
			   ns / UINT64_C(1000000000), ns % UINT64_C(1000000000));
	while (text[len - 1] == '0' && text[len - 2] != '.')
		len--;
	put_bytes(x, text, (size_t)len);
}

void hp_exposition_add_seconds(struct hp_exposition *x, const struct hp_label *labels,
			       uint64_t ns)
{
	put_name(x, sample_suffix(x));
	put_labels(x, labels, NULL);
	put_seconds(x, ns);
	put(x, "\n");
}

/*
 * The bound as everyone writes it, since it is a label and compared as text: the digits
 * that count, and below 0.0001 an exponent: "1e-06", "1.6e-05", "0.000128", "1.048576".
 */
static void format_bound(uint64_t ns, char *to)
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, ns);
	int exponent = len - 1 - NS_DIGITS;
	while (len > 1 && digits[len - 1] == '0')
		digits[--len] = '\0';
	if (exponent < -4)
		snprintf(to, BOUND_SIZE, "%c%s%se-%02d", digits[0], len > 1 ? "." : "",
			 digits + 1, -exponent);
	else if (exponent < 0)
		snprintf(to, BOUND_SIZE, "0.%.*s%s", -exponent - 1, "000", digits);
	else
		snprintf(to, BOUND_SIZE, "%" PRIu64 ".%s", ns / UINT64_C(1000000000),
			 len > exponent + 1 ? digits + exponent + 1 : "0");
}

void hp_exposition_add_histogram(struct hp_exposition *x, const struct hp_label *labels,
				 const uint64_t *buckets, size_t count, uint64_t sum_ns)
{
	uint64_t total = 0;
	for (size_t i = 0; i < count; i++) {
		char bound[BOUND_SIZE] = "+Inf";
		if (i + 1 < count)
			format_bound(UINT64_C(1000) << i, bound);
		total += buckets[i];
		put_name(x, "_bucket");
		put_labels(x, labels, bound);
		put_number(x, total);
		put(x, "\n");
	}
	put_name(x, "_sum");
	put_labels(x, labels, NULL);
	put_seconds(x, sum_ns);
	put(x, "\n");
	put_name(x, "_count");
	put_labels(x, labels, NULL);
	put_number(x, total);
	put(x, "\n");
}

void hp_exposition_end(struct hp_exposition *x)
{
	if (x->format == HSMPOOL_METRICS_OPENMETRICS)
		put(x, "# EOF\n");
	else
		put(x, "");
}

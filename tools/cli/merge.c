/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merging of metrics: see merge.h.
 *
 * A source's text is checked once, line by line, and cut into families: in it the samples
 * of a family stand together behind their metadata. Rendering goes over the families in
 * the order in which they first came, and copies lines; no value is read and written
 * again. Timestamps and exemplars, which hsmpool does not write, are refused.
 */
#include "merge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "observe/utf8.h"
#include "sample.h"

#define PREFIX       "hsmpool_"
#define MAX_FAMILIES 256 /* of one source */

/* How a type is called, and what may follow the family's name in a sample's. */
static const struct type {
	const char *name, *prometheus;
	const char *endings[5]; /* "": the name itself */
	const char *ending;     /* of the family's name in the older format */
} types[] = {
	{ "counter", "counter", { "_total", "_created" }, "_total" },
	{ "gauge", "gauge", { "" }, "" },
	{ "histogram", "histogram", { "_bucket", "_count", "_sum", "_created" }, "" },
	{ "info", "gauge", { "_info" }, "_info" },
	{ "unknown", "untyped", { "" }, "" },
};

struct family {
	struct slice name, help, unit;
	const struct type *type; /* NULL: not told (yet) */
	struct slice samples;    /* its lines */
};

struct source {
	char *labels;
	char *text;
	struct family *families;
	size_t family_count;
};

struct merge {
	struct source **sources;
	size_t count;
};

struct merge *merge_new(void)
{
	return calloc(1, sizeof(struct merge));
}

static void source_free(struct source *source)
{
	if (!source)
		return;
	free(source->labels);
	free(source->text);
	free(source->families);
	free(source);
}

void merge_free(struct merge *merge)
{
	if (!merge)
		return;
	for (size_t i = 0; i < merge->count; i++)
		source_free(merge->sources[i]);
	free(merge->sources);
	free(merge);
}

/* --- reading -------------------------------------------------------------------------
 */

/* Whether name is family's, with an ending that its type has. */
static bool belongs(struct slice name, const struct family *family)
{
	struct slice ending = name;

	if (!family->type || name.len < family->name.len ||
	    memcmp(name.at, family->name.at, family->name.len) != 0)
		return false;
	slice_skip(&ending, family->name.len);
	for (size_t i = 0; i < HP_ARRAY_LEN(family->type->endings); i++)
		if (family->type->endings[i] &&
		    slice_is(ending, family->type->endings[i]))
			return true;
	return false;
}

/* Who adds the source says whose it is. */
static bool claims_identity(const struct sample *sample)
{
	static const char *const names[] = { "pid", "program", "copy" };
	char value[2];

	for (size_t i = 0; i < HP_ARRAY_LEN(names); i++)
		if (sample_label(sample, names[i], value, sizeof(value)))
			return true;
	return false;
}

static bool read_sample(struct family *family, struct slice line)
{
	struct sample sample;

	if (!family || !sample_read(line, &sample) || !belongs(sample.name, family) ||
	    claims_identity(&sample))
		return false;
	if (family->samples.len == 0)
		family->samples.at = line.at;
	family->samples.len = (size_t)(line.at + line.len - family->samples.at);
	return true;
}

static const struct type *find_type(struct slice name)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(types); i++)
		if (slice_is(name, types[i].name))
			return &types[i];
	return NULL;
}

static struct family *find_family(struct source *source, struct slice name)
{
	for (size_t i = 0; i < source->family_count; i++)
		if (slices_equal(source->families[i].name, name))
			return &source->families[i];
	return NULL;
}

static struct family *last_family(struct source *source)
{
	return source->family_count > 0 ? &source->families[source->family_count - 1]
					: NULL;
}

/* A name that a sample of another family could have too. */
static bool has_reserved_ending(struct slice name)
{
	static const char *const endings[] = { "_total", "_created", "_bucket",
					       "_count", "_sum",     "_info" };

	for (size_t i = 0; i < HP_ARRAY_LEN(endings); i++) {
		size_t len = strlen(endings[i]);

		if (name.len >= len &&
		    memcmp(name.at + name.len - len, endings[i], len) == 0)
			return true;
	}
	return false;
}

/* The family that a line of metadata is of: the last, or a new one. */
static struct family *metadata_family(struct source *source, struct slice name)
{
	struct family *family = find_family(source, name);
	struct slice rest = name;

	if (family)
		return family == last_family(source) && family->samples.len == 0 ? family
										 : NULL;
	if (!slice_take_text(&rest, PREFIX) || has_reserved_ending(name) ||
	    source->family_count == MAX_FAMILIES)
		return NULL;
	family =
		reallocarray(source->families, source->family_count + 1, sizeof(*family));
	if (!family)
		return NULL;
	source->families = family;
	family[source->family_count] = (struct family){ .name = name };
	return &family[source->family_count++];
}

/* No escape but \\, \" and \n: a reader of the whole would stumble over it. */
static bool is_help(struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] != '\\')
			continue;
		if (++i == text.len || !strchr("\\\"n", text.at[i]))
			return false;
	}
	return true;
}

/* It is the end of the family's name. */
static bool is_unit(struct slice unit, const struct family *family)
{
	struct slice ending = family->name;

	if (unit.len == 0 || unit.len >= ending.len)
		return unit.len == 0;
	slice_skip(&ending, ending.len - unit.len - 1);
	return slice_take_text(&ending, "_") && slices_equal(ending, unit);
}

/* "TYPE name gauge", behind the "# ". */
static bool read_metadata(struct source *source, struct slice line)
{
	struct slice kind = slice_take_until(&line, ' ');
	struct family *family;

	if (!slice_take_text(&line, " "))
		return false;
	family = metadata_family(source, slice_take_name(&line));
	if (!family || (line.len > 0 && !slice_take_text(&line, " ")))
		return false;
	if (slice_is(kind, "TYPE") && !family->type)
		return (family->type = find_type(line)) != NULL;
	if (slice_is(kind, "HELP") && is_help(line))
		family->help = line;
	else if (slice_is(kind, "UNIT") && is_unit(line, family))
		family->unit = line;
	else
		return false;
	return true;
}

/* Nothing in it that a reader of the whole would stumble over. */
static bool is_text(struct slice text)
{
	while (text.len > 0) {
		size_t len = (unsigned char)*text.at < ' ' ? 0 : hp_utf8_length(text.at);

		if (len == 0 || len > text.len)
			return false;
		slice_skip(&text, len);
	}
	return true;
}

/* The number of the first line that is wrong; 0: all is well. */
static size_t read_source(struct source *source, struct slice rest)
{
	for (size_t number = 1; rest.len > 0; number++) {
		struct slice line = slice_take_until(&rest, '\n');
		struct slice content = line;

		if (slice_is(line, "# EOF"))
			return rest.len <= 1 ? 0 : number;
		if (!slice_take_text(&rest, "\n") || !is_text(line))
			return number;
		if (slice_take_text(&content, "# ")
			    ? !read_metadata(source, content)
			    : !read_sample(last_family(source), line))
			return number;
	}
	return SIZE_MAX;
}

/* --- adding --------------------------------------------------------------------------
 */

static struct family *find_earlier(const struct merge *merge, size_t before,
				   struct slice name)
{
	for (size_t i = 0; i < before; i++) {
		struct family *family = find_family(merge->sources[i], name);

		if (family)
			return family;
	}
	return NULL;
}

static hsmpool_status check_types(const struct merge *merge, const struct source *source,
				  hsmpool_error *err)
{
	for (size_t i = 0; i < source->family_count; i++) {
		const struct family *family = &source->families[i];
		const struct family *other =
			find_earlier(merge, merge->count, family->name);

		HP_CHECK(!other || other->type == family->type, err, HSMPOOL_ERR_DATA,
			 "metrics: %.*s is of another type than in the others",
			 (int)family->name.len, family->name.at);
	}
	return HSMPOOL_OK;
}

static hsmpool_status check_source(const struct merge *merge, struct source *source,
				   size_t len, hsmpool_error *err)
{
	size_t wrong = read_source(source, (struct slice){ source->text, len });

	HP_CHECK(wrong != SIZE_MAX, err, HSMPOOL_ERR_DATA, "metrics: the end is missing");
	HP_CHECK(wrong == 0, err, HSMPOOL_ERR_DATA,
		 "metrics: line %zu is not what hsmpool writes", wrong);
	return check_types(merge, source, err);
}

static bool make_room(struct merge *merge)
{
	struct source **more =
		reallocarray(merge->sources, merge->count + 1, sizeof(struct source *));

	if (more)
		merge->sources = more;
	return more != NULL;
}

static struct source *source_new(const char *labels, const char *text, size_t len)
{
	struct source *source = calloc(1, sizeof(*source));

	if (!source)
		return NULL;
	source->labels = hp_strdup(labels);
	source->text = malloc(len + 1);
	if (!source->labels || !source->text) {
		source_free(source);
		return NULL;
	}
	memcpy(source->text, text, len);
	source->text[len] = '\0';
	return source;
}

hsmpool_status merge_add(struct merge *merge, const char *labels, const char *text,
			 size_t len, hsmpool_error *err)
{
	struct source *source = source_new(labels, text, len);
	hsmpool_status status;

	if (!source || !make_room(merge)) {
		source_free(source);
		return hp_fail(err, HSMPOOL_ERR_SYSTEM, "metrics: no memory");
	}
	status = check_source(merge, source, len, err);
	if (status == HSMPOOL_OK)
		merge->sources[merge->count++] = source;
	else
		source_free(source);
	return status;
}

/* --- writing -------------------------------------------------------------------------
 */

static void write_slice(FILE *out, struct slice slice)
{
	fwrite(slice.at, 1, slice.len, out);
}

/* The older format knows no \" in a HELP line. */
static void write_help(FILE *out, struct slice help, hsmpool_metrics_format format)
{
	for (size_t i = 0; i < help.len; i++) {
		if (help.at[i] == '\\' && i + 1 < help.len) {
			if (format != HSMPOOL_METRICS_PROMETHEUS || help.at[i + 1] != '"')
				fputc('\\', out);
			i++;
		}
		fputc(help.at[i], out);
	}
	fputc('\n', out);
}

static void write_metadata(FILE *out, const struct family *family,
			   hsmpool_metrics_format format)
{
	bool is_older = format == HSMPOOL_METRICS_PROMETHEUS;
	const char *ending = is_older ? family->type->ending : "";
	int len = (int)family->name.len;

	fprintf(out, "# TYPE %.*s%s %s\n", len, family->name.at, ending,
		is_older ? family->type->prometheus : family->type->name);
	if (family->unit.len > 0 && !is_older)
		fprintf(out, "# UNIT %.*s %.*s\n", len, family->name.at,
			(int)family->unit.len, family->unit.at);
	if (family->help.len > 0) {
		fprintf(out, "# HELP %.*s%s ", len, family->name.at, ending);
		write_help(out, family->help, format);
	}
}

/* The sample's line with labels in front of its own. */
static void write_sample(FILE *out, const char *labels, struct slice line)
{
	struct slice name = slice_take_name(&line);
	bool has_labels = slice_take_text(&line, "{") && !slice_take_text(&line, "}");

	write_slice(out, name);
	if (has_labels || *labels)
		fprintf(out, "{%s%s", labels, has_labels && *labels ? "," : "");
	if (!has_labels && *labels)
		fputc('}', out);
	write_slice(out, line);
	fputc('\n', out);
}

/* The older format has no place for when a counter began. */
static bool is_left_out(const struct family *family, struct slice line,
			hsmpool_metrics_format format)
{
	slice_skip(&line, family->name.len);
	return format == HSMPOOL_METRICS_PROMETHEUS && slice_take_text(&line, "_created");
}

static void write_samples(FILE *out, const struct source *source,
			  const struct family *family, hsmpool_metrics_format format)
{
	struct slice rest = family->samples;

	while (rest.len > 0) {
		struct slice line = slice_take_until(&rest, '\n');

		slice_take_text(&rest, "\n");
		if (!is_left_out(family, line, format))
			write_sample(out, source->labels, line);
	}
}

/* The family that source index has as the first, and the same of all after it. */
static void write_family(FILE *out, const struct merge *merge, size_t index,
			 const struct family *family, hsmpool_metrics_format format)
{
	if (!family->type)
		return;
	write_metadata(out, family, format);
	for (size_t i = index; i < merge->count; i++) {
		const struct family *same = find_family(merge->sources[i], family->name);

		if (same)
			write_samples(out, merge->sources[i], same, format);
	}
}

static void write_all(FILE *out, const struct merge *merge, hsmpool_metrics_format format)
{
	for (size_t i = 0; i < merge->count; i++) {
		const struct source *source = merge->sources[i];

		for (size_t f = 0; f < source->family_count; f++)
			if (!find_earlier(merge, i, source->families[f].name))
				write_family(out, merge, i, &source->families[f], format);
	}
	if (format == HSMPOOL_METRICS_OPENMETRICS)
		fputs("# EOF\n", out);
}

hsmpool_status merge_render(const struct merge *merge, hsmpool_metrics_format format,
			    char **text, size_t *len, hsmpool_error *err)
{
	FILE *out = open_memstream(text, len);
	bool is_whole;

	HP_CHECK(out, err, HSMPOOL_ERR_SYSTEM, "metrics: no memory");
	write_all(out, merge, format);
	is_whole = !ferror(out);
	if (fclose(out) == 0 && is_whole)
		return HSMPOOL_OK;
	free(*text);
	*text = NULL;
	return hp_fail(err, HSMPOOL_ERR_SYSTEM, "metrics: no memory");
}

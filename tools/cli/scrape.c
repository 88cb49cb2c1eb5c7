/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the exporter answers: see scrape.h.
 *
 * A process that does not answer, or answers what is none of hsmpool's, is in the result
 * too: as one that is not up. Its metrics come back with its next good answer.
 */
#include "scrape.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/error.h"
#include "base/memory.h"
#include "merge.h"
#include "observe/exposition.h"
#include "observe/log.h"
#include "peer_names.h"
#include "peers.h"

static _Atomic uint64_t process_errors;
static _Atomic uint64_t scrapes;

/* --- processes -----------------------------------------------------------------------
 */

#define LABELS_SIZE 256

/* pid="123",program="nginx", and copy="2" of a second one in the process. */
static void make_labels(const struct peer *peer, char *labels, size_t cap)
{
	char number[24], program[32];

	snprintf(number, sizeof(number), "%d", (int)peer->pid);
	peer_read_program(peer, program, sizeof(program));
	hp_label_format("pid", number, true, labels, cap);
	hp_label_format("program", program, false, labels + strlen(labels),
			cap - strlen(labels));
	snprintf(number, sizeof(number), "%u", peer->copy);
	if (peer->copy > 1)
		hp_label_format("copy", number, false, labels + strlen(labels),
				cap - strlen(labels));
}

static const struct hp_family process_up = {
	"hsmpool_process_up", HP_FAMILY_GAUGE, NULL,
	"Whether the process told its metrics: 1, or 0."
};

/* Merge what x was given, and free it. */
static hsmpool_status add_written(struct merge *merge, const char *labels,
				  struct hp_exposition *x, hsmpool_error *err)
{
	hsmpool_status status;

	hp_exposition_end(x);
	status = x->has_failed
			 ? hp_fail(err, HSMPOOL_ERR_SYSTEM, "no memory for a scrape")
			 : merge_add(merge, labels, x->text, x->len, err);
	free(x->text);
	return status;
}

static hsmpool_status add_up(struct merge *merge, const struct peer *peer,
			     const char *labels, bool is_up, hsmpool_error *err)
{
	struct hp_exposition x = { .format = HSMPOOL_METRICS_OPENMETRICS, .common = "" };
	char user[64];
	const struct hp_label own[] = { { "user", user }, { 0 } };

	peer_read_user(peer, user, sizeof(user));
	hp_exposition_begin_family(&x, &process_up);
	hp_exposition_add(&x, own, is_up);
	return add_written(merge, labels, &x, err);
}

/* Not to have it is no failure of the scrape, but to have no memory is. */
static hsmpool_status add_process(struct merge *merge, const struct peer *peer,
				  const struct peer_answer *answer, hsmpool_error *err)
{
	const char *problem = answer->err.text;
	hsmpool_status status = answer->status;
	char labels[LABELS_SIZE];

	if (answer->is_gone)
		return HSMPOOL_OK;
	make_labels(peer, labels, sizeof(labels));
	if (status == HSMPOOL_OK) {
		status = merge_add(merge, labels, answer->reply.text, answer->reply.len,
				   err);
		if (status == HSMPOOL_ERR_SYSTEM)
			return status;
		problem = err->text;
	}
	if (status != HSMPOOL_OK) {
		atomic_fetch_add(&process_errors, 1);
		HP_LOG(WARNING, "exporter-process", "no metrics of process %s: %s",
		       peer->name, problem);
	}
	return add_up(merge, peer, labels, status == HSMPOOL_OK, err);
}

/* --- the whole -----------------------------------------------------------------------
 */

/* The exporter's own families, which tell whether to believe in the rest. */
static const struct hp_family release = { "hsmpool_exporter", HP_FAMILY_INFO, NULL,
					  "The exporter's release, as a label." };
static const struct hp_family asked = { "hsmpool_exporter_processes", HP_FAMILY_GAUGE,
					NULL, "Processes that were asked." };
static const struct hp_family errors = {
	"hsmpool_exporter_process_errors", HP_FAMILY_COUNTER, NULL,
	"Processes that did not answer in time, or wrongly."
};
static const struct hp_family requests = { "hsmpool_exporter_scrapes", HP_FAMILY_COUNTER,
					   NULL, "Scrapes, this one included." };
static const struct hp_family duration = { "hsmpool_exporter_gather_seconds",
					   HP_FAMILY_GAUGE, "seconds",
					   "How long the processes took to answer." };

static void write_number(struct hp_exposition *x, const struct hp_family *family,
			 uint64_t value)
{
	hp_exposition_begin_family(x, family);
	hp_exposition_add(x, NULL, value);
}

static hsmpool_status add_own(struct merge *merge, size_t count, int64_t spent_ns,
			      hsmpool_error *err)
{
	struct hp_exposition x = { .format = HSMPOOL_METRICS_OPENMETRICS, .common = "" };
	const struct hp_label number[] = { { "version", hsmpool_version() }, { 0 } };

	hp_exposition_begin_family(&x, &release);
	hp_exposition_add(&x, number, 1);
	write_number(&x, &asked, count);
	write_number(&x, &errors, atomic_load(&process_errors));
	write_number(&x, &requests, atomic_fetch_add(&scrapes, 1) + 1);
	hp_exposition_begin_family(&x, &duration);
	hp_exposition_add_seconds(&x, NULL, (uint64_t)spent_ns);
	return add_written(merge, "", &x, err);
}

static hsmpool_status merge_peers(struct merge *merge, const struct peers *peers,
				  hsmpool_error *err)
{
	int64_t begun_ns = hp_now_ns(), spent_ns;
	struct peer_answer *answers = NULL;
	hsmpool_status status =
		peers_ask(peers, "metrics", begun_ns + SCRAPE_NS, &answers, err);

	spent_ns = hp_now_ns() - begun_ns;
	for (size_t i = 0; status == HSMPOOL_OK && i < peers->count; i++)
		status = add_process(merge, &peers->list[i], &answers[i], err);
	peer_answers_free(&answers, peers->count);
	if (status == HSMPOOL_OK)
		status = add_own(merge, peers->count, spent_ns, err);
	return status;
}

hsmpool_status scrape(hsmpool_metrics_format format, char **text, size_t *len,
		      hsmpool_error *err)
{
	struct merge *merge = merge_new();
	struct peers peers = { 0 };
	hsmpool_status status;

	HP_CHECK(merge, err, HSMPOOL_ERR_SYSTEM, "no memory for a scrape");
	status = peers_find(&peers, err);
	if (status == HSMPOOL_OK)
		status = merge_peers(merge, &peers, err);
	if (status == HSMPOOL_OK)
		status = merge_render(merge, format, text, len, err);
	peers_free(&peers);
	merge_free(merge);
	return status;
}

/* --- which format --------------------------------------------------------------------
 */

static const char *skip_blanks(const char *text)
{
	return text + strspn(text, " \t");
}

static bool begins_with(const char *text, const char *word)
{
	return strncasecmp(text, word, strlen(word)) == 0;
}

/* The value of a range's parameter, NULL if it has none; the range ends at end. */
static const char *find_parameter(const char *range, const char *end, const char *name)
{
	for (const char *at = range; (at = memchr(at, ';', (size_t)(end - at)));) {
		at = skip_blanks(at + 1);
		if (at >= end)
			break;
		if (begins_with(at, name) && at[strlen(name)] == '=')
			return at + strlen(name) + 1;
	}
	return NULL;
}

static double weight_of(const char *range, const char *end)
{
	const char *q = find_parameter(range, end, "q");

	return q ? strtod(q, NULL) : 1;
}

/* Whether the range is of the OpenMetrics that is written here. */
static bool is_openmetrics(const char *range, const char *end)
{
	const char *version;

	if (!begins_with(range, "application/openmetrics-text"))
		return false;
	version = find_parameter(range, end, "version");
	return !version || begins_with(version, "1.0.0") ||
	       begins_with(version, "\"1.0.0\"");
}

hsmpool_metrics_format scrape_choose_format(const char *accept)
{
	double openmetrics = 0, plain = 0;

	for (const char *range = accept ? accept : ""; *range;) {
		const char *end = range + strcspn(range, ",");
		const char *type = skip_blanks(range);
		double weight = weight_of(range, end);

		if (is_openmetrics(type, end) && weight > openmetrics)
			openmetrics = weight;
		if ((begins_with(type, "text/plain") || begins_with(type, "text/*")) &&
		    weight > plain)
			plain = weight;
		range = *end ? end + 1 : end;
	}
	return openmetrics > 0 && openmetrics >= plain ? HSMPOOL_METRICS_OPENMETRICS
						       : HSMPOOL_METRICS_PROMETHEUS;
}

const char *scrape_content_type(hsmpool_metrics_format format)
{
	return format == HSMPOOL_METRICS_OPENMETRICS
		       ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
		       : "text/plain; version=0.0.4; charset=utf-8";
}

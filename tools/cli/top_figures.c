/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and comparing figures: see top_figures.h. */
#include "top_figures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/time.h"
#include "peer_names.h"
#include "peers.h"
#include "sample.h"

#define MOST_POOLS 256 /* of a process: more are not shown */

const char *const top_state_names[TOP_STATES] = { "idle",    "used",    "attached",
						  "testing", "opening", "closing",
						  "stuck" };

/* --- reading -------------------------------------------------------------------------
 */

/* Samples that are one figure of a pool. */
static const struct {
	const char *name;
	size_t offset;
} plain[] = {
	{ "hsmpool_sessions_limit", offsetof(struct top_pool, limit) },
	{ "hsmpool_waiters", offsetof(struct top_pool, waiters) },
	{ "hsmpool_oldest_wait_seconds", offsetof(struct top_pool, oldest_wait_seconds) },
	{ "hsmpool_breaker_state", offsetof(struct top_pool, breaker) },
	{ "hsmpool_paused", offsetof(struct top_pool, paused) },
	{ "hsmpool_pin_latched", offsetof(struct top_pool, pin_latched) },
};

/* The pool that the sample is of; NULL: of none, or there is no room. */
static struct top_pool *find_pool(struct top_process *process,
				  const struct sample *sample)
{
	struct top_pool found = { 0 };
	struct top_pool *more;

	if (!sample_label(sample, "pool", found.pool, sizeof(found.pool)))
		return NULL;
	sample_label(sample, "token", found.token, sizeof(found.token));
	for (size_t i = 0; i < process->count; i++)
		if (strcmp(process->pools[i].pool, found.pool) == 0 &&
		    strcmp(process->pools[i].token, found.token) == 0)
			return &process->pools[i];
	if (process->count == MOST_POOLS)
		return NULL;
	more = reallocarray(process->pools, process->count + 1, sizeof(*more));
	if (!more)
		return NULL;
	process->pools = more;
	more[process->count] = found;
	return &more[process->count++];
}

static void read_sessions(struct top_pool *pool, const struct sample *sample)
{
	char state[16];

	sample_label(sample, "state", state, sizeof(state));
	for (int i = 0; i < TOP_STATES; i++)
		if (strcmp(state, top_state_names[i]) == 0)
			pool->sessions[i] = sample->value;
}

/* The operations of all kinds together. */
static void read_time(struct top_pool *pool, const struct sample *sample)
{
	char bound[32];
	double seconds;
	size_t i = 0;

	sample_label(sample, "le", bound, sizeof(bound));
	seconds = strtod(bound, NULL);
	while (i < pool->time_count && pool->times[i].bound_seconds != seconds)
		i++;
	if (i == TOP_BUCKETS)
		return;
	if (i == pool->time_count) {
		pool->times[pool->time_count++].bound_seconds = seconds;
		pool->times[i].count = 0;
	}
	pool->times[i].count += sample->value;
}

static void read_error(struct top_pool *pool, const struct sample *sample)
{
	struct top_error *error = &pool->errors[pool->error_count];

	if (pool->error_count == TOP_ERRORS)
		return;
	sample_label(sample, "ckr", error->name, sizeof(error->name));
	error->count = sample->value;
	pool->error_count++;
}

static void read_plain(struct top_pool *pool, const struct sample *sample)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(plain); i++)
		if (slice_is(sample->name, plain[i].name))
			memcpy((char *)pool + plain[i].offset, &sample->value,
			       sizeof(sample->value));
}

static void read_figure(struct top_process *process, const struct sample *sample)
{
	struct top_pool *pool = find_pool(process, sample);

	if (!pool)
		return;
	if (slice_is(sample->name, "hsmpool_sessions"))
		read_sessions(pool, sample);
	else if (slice_is(sample->name, "hsmpool_op_seconds_bucket"))
		read_time(pool, sample);
	else if (slice_is(sample->name, "hsmpool_op_seconds_count"))
		pool->operations += sample->value;
	else if (slice_is(sample->name, "hsmpool_op_errors_total"))
		read_error(pool, sample);
	else
		read_plain(pool, sample);
}

static void read_process(struct top_process *process, struct slice text)
{
	while (text.len > 0) {
		struct slice line = slice_take_until(&text, '\n');
		struct sample sample;

		slice_take_text(&text, "\n");
		if (line.len > 0 && *line.at != '#' && sample_read(line, &sample) &&
		    isfinite(sample.value))
			read_figure(process, &sample);
	}
}

/* --- comparing -----------------------------------------------------------------------
 */

static const struct top_pool *find_before(const struct top_figures *before,
					  const struct top_process *process,
					  const struct top_pool *pool)
{
	for (size_t i = 0; i < before->count; i++) {
		const struct top_process *other = &before->list[i];

		if (other->pid != process->pid || other->copy != process->copy ||
		    other->uid != process->uid)
			continue;
		for (size_t p = 0; p < other->count; p++)
			if (strcmp(other->pools[p].pool, pool->pool) == 0 &&
			    strcmp(other->pools[p].token, pool->token) == 0)
				return &other->pools[p];
	}
	return NULL;
}

/* Of those that came since. A bucket that another process with the same number left out
 * is 0. */
static double count_since(const struct top_pool *now, const struct top_pool *then,
			  size_t i)
{
	for (size_t t = 0; t < then->time_count; t++)
		if (then->times[t].bound_seconds == now->times[i].bound_seconds)
			return now->times[i].count - then->times[t].count;
	return now->times[i].count;
}

/* Within a bucket the times count as evenly spread; beyond the last bound, as that. */
static double quantile(const struct top_pool *now, const struct top_pool *then,
		       double part)
{
	double all = now->operations - then->operations;
	double low = 0, seen = 0;

	for (size_t i = 0; all > 0 && i < now->time_count; i++) {
		double high = now->times[i].bound_seconds;
		double until = count_since(now, then, i);

		if (until >= all * part && until > seen)
			return high > 1e9 ? low
					  : low + (high - low) * (all * part - seen) /
							    (until - seen);
		low = high;
		seen = until;
	}
	return 0;
}

static double errors_before(const struct top_pool *then, const char *name)
{
	for (size_t i = 0; i < then->error_count; i++)
		if (strcmp(then->errors[i].name, name) == 0)
			return then->errors[i].count;
	return 0;
}

static void compare_pool(struct top_pool *now, const struct top_pool *then,
			 double seconds)
{
	/* A process that ended gave its number to another. */
	if (now->operations < then->operations || seconds <= 0)
		return;
	now->has_rates = true;
	now->operation_rate = (now->operations - then->operations) / seconds;
	now->p50_seconds = quantile(now, then, 0.5);
	now->p99_seconds = quantile(now, then, 0.99);
	for (size_t i = 0; i < now->error_count; i++) {
		struct top_error *error = &now->errors[i];

		error->rate = (error->count - errors_before(then, error->name)) / seconds;
		now->error_rate += error->rate;
	}
}

static void compare(struct top_figures *figures, const struct top_figures *before)
{
	double seconds = (double)(figures->at_ns - before->at_ns) / (double)HP_SECOND;

	for (size_t i = 0; i < figures->count; i++) {
		struct top_process *process = &figures->list[i];

		for (size_t p = 0; p < process->count; p++) {
			const struct top_pool *then =
				find_before(before, process, &process->pools[p]);

			if (then)
				compare_pool(&process->pools[p], then, seconds);
		}
	}
}

/* --- taking --------------------------------------------------------------------------
 */

static void take_process(struct top_figures *figures, const struct peer *peer,
			 const struct peer_answer *answer)
{
	struct top_process *process = &figures->list[figures->count];

	if (answer->is_gone)
		return;
	*process = (struct top_process){ .pid = peer->pid,
					 .copy = peer->copy,
					 .uid = peer->uid,
					 .is_silent = answer->status != HSMPOOL_OK };
	peer_read_program(peer, process->program, sizeof(process->program));
	peer_read_user(peer, process->user, sizeof(process->user));
	if (!process->is_silent)
		read_process(process,
			     (struct slice){ answer->reply.text, answer->reply.len });
	figures->count++;
}

static hsmpool_status take(struct top_figures *figures, const struct peers *peers,
			   int64_t deadline_ns, hsmpool_error *err)
{
	struct peer_answer *answers = NULL;

	figures->list = calloc(peers->count + 1, sizeof(*figures->list));
	HP_CHECK(figures->list, err, HSMPOOL_ERR_SYSTEM, "no memory for the figures");
	HP_TRY(peers_ask(peers, "metrics", deadline_ns, &answers, err));
	for (size_t i = 0; i < peers->count; i++)
		take_process(figures, &peers->list[i], &answers[i]);
	peer_answers_free(&answers, peers->count);
	return HSMPOOL_OK;
}

hsmpool_status top_figures_take(struct top_figures *figures,
				const struct top_figures *before, int64_t deadline_ns,
				hsmpool_error *err)
{
	struct peers peers = { 0 };
	hsmpool_status status;

	*figures = (struct top_figures){ .at_ns = hp_now_ns() };
	HP_TRY(peers_find(&peers, err));
	status = take(figures, &peers, deadline_ns, err);
	peers_free(&peers);
	if (before && before->at_ns > 0)
		compare(figures, before);
	return status;
}

void top_figures_free(struct top_figures *figures)
{
	for (size_t i = 0; i < figures->count; i++)
		free(figures->list[i].pools);
	free(figures->list);
	*figures = (struct top_figures){ 0 };
}

const char *top_pool_state(const struct top_pool *pool)
{
	if (pool->pin_latched > 0)
		return "PIN";
	if (pool->breaker > 0)
		return pool->breaker > 1 ? "probing" : "down";
	return pool->paused > 0 ? "paused" : "up";
}

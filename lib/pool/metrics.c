/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pools' metrics: what all pools of the process counted, those closed too.
 *
 * Owns the tallies: one for each pair of a pool's name and a token's label, made when
 * the first such pool is opened and kept until the process ends, so that no counter
 * falls when a pool is closed and opened again. The figures themselves are kept where
 * their events happen. metrics.lock is held for a moment, while figures are copied;
 * under it a pool's lock may be taken, never the other way round.
 */
#include "pool/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "observe/meter.h"
#include "observe/metrics.h"
#include "pool/figures.h"
#include "pool/metrics.h"

/* Names of pools and tokens are the configuration's, but a program could make them up. */
#define MOST_TALLIES 256

/* Guarded by metrics.lock where nothing else is said. */
struct hp_tally {
	/* constant */
	char pool[64];
	char token[33];
	struct hp_meter *meter; /* has no lock */
	struct hp_tally *next;
	hsmpool *pools;                      /* that are open, by next_counted */
	hsmpool_stats closed;                /* the counters of those that were */
	uint64_t retries[HP_RV_CLASS_COUNT]; /* likewise */
};

static struct {
	pthread_mutex_t lock;
	/* guarded by lock, all below */
	struct hp_tally *tallies, **last;
	size_t count;
} metrics = { .lock = PTHREAD_MUTEX_INITIALIZER, .last = &metrics.tallies };

static pthread_once_t prepare_once = PTHREAD_ONCE_INIT;

/* --- adding up ---------------------------------------------------------------------- */

static void add_totals(hsmpool_stats *to, const hsmpool_stats *from)
{
	hp_figures_join(to, from, HP_FIGURE_TOTAL);
	to->wait_total_ns += from->wait_total_ns;
	to->held_total_ns += from->held_total_ns;
	for (size_t i = 0; i < HSMPOOL_HISTOGRAM_BUCKETS; i++) {
		to->wait_ns[i] += from->wait_ns[i];
		to->held_ns[i] += from->held_ns[i];
	}
}

static void add_gauges(hsmpool_stats *to, const hsmpool_stats *from)
{
	hp_figures_join(to, from, HP_FIGURE_SESSIONS);
	hp_figures_join(to, from, HP_FIGURE_NOW);
	hp_figures_join(to, from, HP_FIGURE_WORST);
	if (from->oldest_wait_ns > to->oldest_wait_ns)
		to->oldest_wait_ns = from->oldest_wait_ns;
}

static void add_retries(uint64_t *to, const uint64_t *from)
{
	for (size_t i = 0; i < HP_RV_CLASS_COUNT; i++)
		to[i] += from[i];
}

/* --- coming and going ------------------------------------------------------------- */

static void write_families(struct hp_exposition *x);

/* What the parent counted is the parent's. Its tallies are not freed: its pools, which
 * the child has yet to close, still point to them. */
static void forget_all_in_child(void)
{
	pthread_mutex_init(&metrics.lock, NULL);
	metrics.tallies = NULL;
	metrics.last = &metrics.tallies;
	metrics.count = 0;
}

static void prepare(void)
{
	pthread_atfork(NULL, NULL, forget_all_in_child);
	hp_metrics_add_source(write_families);
}

static struct hp_tally *new_tally(const char *pool, const char *token)
{
	struct hp_tally *tally = calloc(1, sizeof(*tally));
	if (!tally)
		return NULL;
	tally->meter = hp_meter_new();
	if (!tally->meter) {
		free(tally);
		return NULL;
	}
	snprintf(tally->pool, sizeof(tally->pool), "%s", pool);
	snprintf(tally->token, sizeof(tally->token), "%s", token);
	return tally;
}

static void free_tally(struct hp_tally *tally)
{
	if (tally)
		hp_meter_free(&tally->meter);
	free(tally);
}

static struct hp_tally *find_tally_locked(const char *pool, const char *token)
{
	struct hp_tally *tally = metrics.tallies;
	while (tally &&
	       (strcmp(tally->pool, pool) != 0 || strcmp(tally->token, token) != 0))
		tally = tally->next;
	return tally;
}

static void join_locked(hsmpool *pool, struct hp_tally *tally)
{
	pool->tally = tally;
	pool->next_counted = tally->pools;
	tally->pools = pool;
}

/* *made is used up if there is none of its names yet. */
static struct hp_tally *choose_tally_locked(struct hp_tally **made)
{
	struct hp_tally *tally = find_tally_locked((*made)->pool, (*made)->token);
	if (!tally && metrics.count >= MOST_TALLIES) {
		snprintf((*made)->pool, sizeof((*made)->pool), "other");
		snprintf((*made)->token, sizeof((*made)->token), "other");
		tally = find_tally_locked("other", "other");
	}
	if (!tally) {
		tally = hp_take(made);
		*metrics.last = tally;
		metrics.last = &tally->next;
		metrics.count++;
	}
	return tally;
}

bool hp_metrics_enlist(hsmpool *pool)
{
	const char *name = pool->options.name;
	char token[33];
	hp_token_text(pool->token.info.label, sizeof(pool->token.info.label), token);
	pthread_once(&prepare_once, prepare);
	struct hp_tally *made = new_tally(name && *name ? name : "default", token);
	if (!made)
		return false;
	pthread_mutex_lock(&metrics.lock);
	join_locked(pool, choose_tally_locked(&made));
	pthread_mutex_unlock(&metrics.lock);
	free_tally(made);
	return true;
}

void hp_metrics_delist(hsmpool *pool)
{
	struct hp_tally *tally = pool->tally;
	if (!tally || hp_pool_check_usable(pool, NULL) != HSMPOOL_OK)
		return;
	pthread_mutex_lock(&metrics.lock);
	hsmpool **link = &tally->pools;
	while (*link != pool)
		link = &(*link)->next_counted;
	*link = pool->next_counted;
	add_totals(&tally->closed, &pool->stats);
	add_retries(tally->retries, pool->retries);
	pthread_mutex_unlock(&metrics.lock);
}

/* --- counting --------------------------------------------------------------------- */

void hp_metrics_count_use(hsmpool *pool, const char *function, int64_t ns, CK_RV rv,
			  hsmpool_status status)
{
	struct hp_meter *meter = pool->tally->meter;
	bool is_ok = rv == CKR_OK && status == HSMPOOL_OK;
	if (ns >= 0)
		hp_meter_count_use(meter, function, ns);
	/* That a buffer is too small is an answer, not a failure. */
	if (!is_ok &&
	    (rv == CKR_OK || hp_rv_class(&pool->module->overrides, rv) != HP_RV_FLOW))
		hp_meter_count_error(meter, rv);
}

/* --- reading ---------------------------------------------------------------------- */

/* What is told of a tally. */
struct sum {
	const struct hp_tally *tally;
	hsmpool_stats stats;
	uint64_t retries[HP_RV_CLASS_COUNT];
};

static void sum_up_locked(const struct hp_tally *tally, struct sum *sum)
{
	*sum = (struct sum){ .tally = tally, .stats = tally->closed };
	add_retries(sum->retries, tally->retries);
	for (hsmpool *pool = tally->pools; pool; pool = pool->next_counted) {
		hsmpool_stats now;
		pthread_mutex_lock(&pool->lock);
		hp_stats_read_locked(pool, &now);
		add_retries(sum->retries, pool->retries);
		pthread_mutex_unlock(&pool->lock);
		add_totals(&sum->stats, &now);
		add_gauges(&sum->stats, &now);
	}
}

static size_t count_tallies(void)
{
	pthread_mutex_lock(&metrics.lock);
	size_t count = metrics.count;
	pthread_mutex_unlock(&metrics.lock);
	return count;
}

/* Those that there are; what comes meanwhile is told next time. */
static size_t sum_up_all(struct sum *sums, size_t most)
{
	size_t count = 0;
	pthread_mutex_lock(&metrics.lock);
	for (const struct hp_tally *t = metrics.tallies; t && count < most; t = t->next)
		sum_up_locked(t, &sums[count++]);
	pthread_mutex_unlock(&metrics.lock);
	return count;
}

/* --- families of plain figures ---------------------------------------------------- */

static const struct figure {
	const struct hp_family *family; /* NULL: that of the row before */
	const char *label, *value;      /* NULL: none */
	struct hp_stat stat;            /* in ns if the family has a unit */
	struct hp_stat less;            /* what is subtracted */
} figures[] = {
#define FAMILY(kind, name, unit, help) \
	(&(const struct hp_family){ "hsmpool_" name, HP_FAMILY_##kind, unit, help })
#define GAUGE(name, help)   FAMILY(GAUGE, name, NULL, help)
#define COUNTER(name, help) FAMILY(COUNTER, name, NULL, help)
#define SAME                NULL
#define PLAIN               NULL, NULL
	/* clang-format off */
	{ GAUGE("sessions", "Real sessions on the token, by what they do."),
	  "state", "idle", HP_STAT(idle), HP_NO_STAT },
	{ SAME, "state", "used", HP_STAT(used), HP_NO_STAT },
	{ SAME, "state", "attached", HP_STAT(attached), HP_NO_STAT },
	{ SAME, "state", "testing", HP_STAT(testing), HP_NO_STAT },
	{ SAME, "state", "opening", HP_STAT(opening), HP_NO_STAT },
	{ SAME, "state", "closing", HP_STAT(closing), HP_NO_STAT },
	{ SAME, "state", "stuck", HP_STAT(stuck), HP_NO_STAT },
	{ GAUGE("sessions_limit", "Most sessions that may be open now."),
	  PLAIN, HP_STAT(limit), HP_NO_STAT },
	{ GAUGE("waiters", "Threads waiting for a session."),
	  PLAIN, HP_STAT(waiters), HP_NO_STAT },
	{ FAMILY(GAUGE, "oldest_wait_seconds", "seconds",
		 "How long the first of those waits."),
	  PLAIN, HP_STAT(oldest_wait_ns), HP_NO_STAT },
	{ GAUGE("paused", "1 while the pool is paused."),
	  PLAIN, HP_STAT(paused), HP_NO_STAT },
	{ GAUGE("breaker_state", "Circuit breaker: 0 closed (the token works), 1 open, "
				 "2 half-open."),
	  PLAIN, HP_STAT(breaker), HP_NO_STAT },
	{ GAUGE("pin_latched", "1 while a refused PIN keeps the pool from logging in."),
	  PLAIN, HP_STAT(latched), HP_NO_STAT },
	{ GAUGE("leaks_suspected", "Sessions lent for longer than leak-warn, now."),
	  PLAIN, HP_STAT(overdue), HP_NO_STAT },
	{ GAUGE("generation", "Raised by each loss of session, login or token."),
	  PLAIN, HP_STAT(generation), HP_NO_STAT },
	{ COUNTER("borrow", "Requests for a session, by how they ended."),
	  "result", "direct", HP_STAT(borrowed_direct), HP_NO_STAT },
	{ SAME, "result", "waited", HP_STAT(borrowed_waited), HP_NO_STAT },
	{ SAME, "result", "timeout", HP_STAT(borrow_timeouts), HP_NO_STAT },
	{ SAME, "result", "rejected", HP_STAT(borrow_rejected), HP_NO_STAT },
	{ SAME, "result", "closed", HP_STAT(borrow_closed), HP_NO_STAT },
	{ COUNTER("borrow_overdue", "Sessions that were lent for longer than leak-warn."),
	  PLAIN, HP_STAT(leaks_suspected), HP_NO_STAT },
	{ COUNTER("session_opened", "Sessions opened on the token."),
	  PLAIN, HP_STAT(opened), HP_NO_STAT },
	{ COUNTER("session_open_failures", "Sessions that could not be opened."),
	  PLAIN, HP_STAT(open_failures), HP_NO_STAT },
	{ COUNTER("session_closed", "Sessions closed, by reason."),
	  "reason", "lifetime", HP_STAT(closed_lifetime), HP_NO_STAT },
	{ SAME, "reason", "idle", HP_STAT(closed_idle), HP_NO_STAT },
	{ SAME, "reason", "broken", HP_STAT(closed_broken), HP_NO_STAT },
	{ SAME, "reason", "stuck", HP_STAT(closed_stuck), HP_NO_STAT },
	{ SAME, "reason", "shutdown", HP_STAT(closed_shutdown), HP_NO_STAT },
	{ SAME, "reason", "other", HP_STAT(closed_other), HP_NO_STAT },
	{ COUNTER("validate", "Sessions probed, by result."),
	  "result", "ok", HP_STAT(validated), HP_STAT(validation_failures) },
	{ SAME, "result", "failed", HP_STAT(validation_failures), HP_NO_STAT },
	{ COUNTER("login", "Logins to the token, by result."),
	  "result", "ok", HP_STAT(logins), HP_NO_STAT },
	{ SAME, "result", "refused", HP_STAT(logins_refused), HP_NO_STAT },
	{ SAME, "result", "failed", HP_STAT(login_failures), HP_STAT(logins_refused) },
	{ COUNTER("losses", "Losses noticed, by what was lost."),
	  "what", "session", HP_STAT(lost_sessions), HP_NO_STAT },
	{ SAME, "what", "login", HP_STAT(lost_logins), HP_NO_STAT },
	{ SAME, "what", "token", HP_STAT(lost_tokens), HP_NO_STAT },
	{ COUNTER("breaker_opened", "Times that the circuit breaker opened."),
	  PLAIN, HP_STAT(breaker_opened), HP_NO_STAT },
	{ COUNTER("hung_calls", "Calls of the module that took longer than stuck-after."),
	  PLAIN, HP_STAT(hung_calls), HP_NO_STAT },
	{ COUNTER("module_restarts", "Times that the module was initialised anew."),
	  PLAIN, HP_STAT(module_restarts), HP_NO_STAT },
	/* clang-format on */
};

#define LABELS_MAX 4 /* pool, token, the family's own, the end */

static void label(const struct sum *sum, const char *name, const char *value,
		  struct hp_label to[static LABELS_MAX])
{
	to[0] = (struct hp_label){ "pool", sum->tally->pool };
	to[1] = (struct hp_label){ "token", sum->tally->token };
	to[2] = (struct hp_label){ name, value };
	to[3] = (struct hp_label){ 0 };
}

static void write_figure(struct hp_exposition *x, const struct figure *figure,
			 const struct sum *sum)
{
	struct hp_label labels[LABELS_MAX];
	uint64_t value = hp_stat_get(&sum->stats, &figure->stat) -
			 hp_stat_get(&sum->stats, &figure->less);
	label(sum, figure->label, figure->value, labels);
	if (figure->family && figure->family->unit)
		hp_exposition_add_seconds(x, labels, value);
	else
		hp_exposition_add(x, labels, value);
}

static void write_figures(struct hp_exposition *x, const struct sum *sums, size_t count)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(figures); i++) {
		if (figures[i].family)
			hp_exposition_begin_family(x, figures[i].family);
		for (size_t s = 0; s < count; s++)
			write_figure(x, &figures[i], &sums[s]);
	}
}

/* --- histograms and errors -------------------------------------------------------- */

/* Who got one at once had not waited. */
static void write_wait(struct hp_exposition *x, const struct sum *sum)
{
	struct hp_label labels[LABELS_MAX];
	uint64_t buckets[HSMPOOL_HISTOGRAM_BUCKETS];
	memcpy(buckets, sum->stats.wait_ns, sizeof(buckets));
	buckets[0] += sum->stats.borrowed_direct;
	label(sum, NULL, NULL, labels);
	hp_exposition_add_histogram(x, labels, buckets, HSMPOOL_HISTOGRAM_BUCKETS,
				    sum->stats.wait_total_ns);
}

static void write_held(struct hp_exposition *x, const struct sum *sum)
{
	struct hp_label labels[LABELS_MAX];
	label(sum, NULL, NULL, labels);
	hp_exposition_add_histogram(x, labels, sum->stats.held_ns,
				    HSMPOOL_HISTOGRAM_BUCKETS, sum->stats.held_total_ns);
}

static void write_uses(struct hp_exposition *x, const struct sum *sum)
{
	struct hp_label labels[LABELS_MAX];
	struct hp_meter_use use;
	for (size_t i = 0; hp_meter_read_use(sum->tally->meter, i, &use); i++) {
		label(sum, "op", use.kind, labels);
		hp_exposition_add_histogram(x, labels, use.bucket, HP_METER_BUCKETS,
					    use.sum_ns);
	}
}

/* An operation whose session somebody else needed meanwhile is begun again for no failure
 * at all. */
static void write_retries(struct hp_exposition *x, const struct sum *sum)
{
	struct hp_label labels[LABELS_MAX];
	for (int class = 0; class < HP_RV_CLASS_COUNT; class ++) {
		bool is_moved = class == HP_RV_OK;
		if (!is_moved && !hp_rv_is_loss((enum hp_rv_class) class) &&
		    sum->retries[class] == 0)
			continue;
		label(sum, "class",
		      is_moved ? "detached" : hp_rv_class_name((enum hp_rv_class) class),
		      labels);
		hp_exposition_add(x, labels, sum->retries[class]);
	}
}

/* Returns name, where it is put unless it is a constant. */
static const char *error_name(const struct hp_meter_error *error, char name[static 32])
{
	switch (error->kind) {
	case HP_METER_ERROR_NAMELESS:
		return "none";
	case HP_METER_ERROR_OTHER:
		return "other";
	default:
		return hp_rv_name(error->code, name);
	}
}

static void write_errors(struct hp_exposition *x, const struct sum *sum)
{
	struct hp_label labels[LABELS_MAX];
	struct hp_meter_error error;
	char name[32];
	for (size_t i = 0; hp_meter_read_error(sum->tally->meter, i, &error); i++) {
		label(sum, "ckr", error_name(&error, name), labels);
		hp_exposition_add(x, labels, error.count);
	}
}

static const struct {
	struct hp_family family;
	void (*write)(struct hp_exposition *x, const struct sum *sum);
} others[] = {
	/* clang-format off */
	{ { "hsmpool_borrow_wait_seconds", HP_FAMILY_HISTOGRAM, "seconds",
	    "How long those who got a session had waited for it." }, write_wait },
	{ { "hsmpool_session_held_seconds", HP_FAMILY_HISTOGRAM, "seconds",
	    "How long sessions were lent." }, write_held },
	{ { "hsmpool_op_seconds", HP_FAMILY_HISTOGRAM, "seconds",
	    "How long uses of the HSM took, repetitions included." },
	  write_uses },
	{ { "hsmpool_op_errors", HP_FAMILY_COUNTER, NULL,
	    "Uses of the HSM that failed, by return value." }, write_errors },
	{ { "hsmpool_retry", HP_FAMILY_COUNTER, NULL,
	    "Operations begun again, by the class of the return value that was the "
	    "reason." }, write_retries },
	/* clang-format on */
};

static void write_families(struct hp_exposition *x)
{
	size_t count = count_tallies();
	struct sum *sums = calloc(count ? count : 1, sizeof(*sums));
	x->has_failed |= !sums;
	count = sums ? sum_up_all(sums, count) : 0;
	if (count > 0)
		write_figures(x, sums, count);
	for (size_t i = 0; count > 0 && i < HP_ARRAY_LEN(others); i++) {
		hp_exposition_begin_family(x, &others[i].family);
		for (size_t s = 0; s < count; s++)
			others[i].write(x, &sums[s]);
	}
	free(sums);
}

/* --- as structures ---------------------------------------------------------------- */

/* What an older caller has room for. */
static void hand_out(void *to, const void *from, size_t of_ours)
{
	size_t size;
	memcpy(&size, to, sizeof(size));
	size = size < of_ours ? size : of_ours;
	memcpy((char *)to + sizeof(size), (const char *)from + sizeof(size),
	       size - sizeof(size));
}

int hsmpool_get_operation_stats(hsmpool *pool, size_t index,
				hsmpool_operation_stats *stats)
{
	hsmpool_operation_stats now = { 0 };
	struct hp_meter_use use;
	if (!stats || stats->size < sizeof(stats->size) ||
	    hp_pool_check_usable(pool, NULL) != HSMPOOL_OK ||
	    !hp_meter_read_use(pool->tally->meter, index, &use))
		return 0;
	snprintf(now.function, sizeof(now.function), "%s", use.kind);
	now.count = use.count;
	now.total_ns = use.sum_ns;
	memcpy(now.time_ns, use.bucket, sizeof(now.time_ns));
	hand_out(stats, &now, sizeof(now));
	return 1;
}

int hsmpool_get_error_stats(hsmpool *pool, size_t index, hsmpool_error_stats *stats)
{
	hsmpool_error_stats now = { 0 };
	struct hp_meter_error error;
	char name[32];
	if (!stats || stats->size < sizeof(stats->size) ||
	    hp_pool_check_usable(pool, NULL) != HSMPOOL_OK ||
	    !hp_meter_read_error(pool->tally->meter, index, &error))
		return 0;
	snprintf(now.name, sizeof(now.name), "%s", error_name(&error, name));
	now.ck_rv = error.code;
	now.count = error.count;
	hand_out(stats, &now, sizeof(now));
	return 1;
}

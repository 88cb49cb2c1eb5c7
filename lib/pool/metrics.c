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

/* --- the counters of hsmpool_stats ------------------------------------------------ */

#define AT(member) offsetof(hsmpool_stats, member)

static const size_t counters[] = {
	AT(borrowed_direct), AT(borrowed_waited),
	AT(borrow_timeouts), AT(borrow_rejected),
	AT(borrow_closed),   AT(returned),
	AT(opened),          AT(open_failures),
	AT(closed_idle),     AT(closed_lifetime),
	AT(closed_broken),   AT(closed_other),
	AT(closed_stuck),    AT(closed_shutdown),
	AT(validated),       AT(validation_failures),
	AT(logins),          AT(login_failures),
	AT(logins_refused),  AT(leaks_suspected),
	AT(retries),         AT(hung_calls),
	AT(breaker_opened),  AT(lost_sessions),
	AT(lost_logins),     AT(lost_tokens),
	AT(module_restarts), AT(wait_total_ns),
	AT(held_total_ns),
};
/* Of several pools the sum is told, */
static const size_t summed[] = {
	AT(idle),     AT(used),    AT(testing), AT(stuck),   AT(closing),
	AT(attached), AT(opening), AT(limit),   AT(waiters), AT(overdue),
};
/* or the worst. */
static const size_t greatest[] = { AT(paused), AT(breaker), AT(latched) };

static uint64_t wide(const hsmpool_stats *stats, size_t offset)
{
	uint64_t value;
	memcpy(&value, (const char *)stats + offset, sizeof(value));
	return value;
}

static uint32_t narrow(const hsmpool_stats *stats, size_t offset)
{
	uint32_t value;
	memcpy(&value, (const char *)stats + offset, sizeof(value));
	return value;
}

static void set_wide(hsmpool_stats *stats, size_t offset, uint64_t value)
{
	memcpy((char *)stats + offset, &value, sizeof(value));
}

static void set_narrow(hsmpool_stats *stats, size_t offset, uint32_t value)
{
	memcpy((char *)stats + offset, &value, sizeof(value));
}

static void add_counters(hsmpool_stats *to, const hsmpool_stats *from)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(counters); i++)
		set_wide(to, counters[i],
			 wide(to, counters[i]) + wide(from, counters[i]));
	for (size_t i = 0; i < HSMPOOL_HISTOGRAM_BUCKETS; i++) {
		to->wait_ns[i] += from->wait_ns[i];
		to->held_ns[i] += from->held_ns[i];
	}
}

static void add_retries(uint64_t *to, const uint64_t *from)
{
	for (size_t i = 0; i < HP_RV_CLASS_COUNT; i++)
		to[i] += from[i];
}

static void add_gauges(hsmpool_stats *to, const hsmpool_stats *from)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(summed); i++)
		set_narrow(to, summed[i],
			   narrow(to, summed[i]) + narrow(from, summed[i]));
	for (size_t i = 0; i < HP_ARRAY_LEN(greatest); i++)
		if (narrow(from, greatest[i]) > narrow(to, greatest[i]))
			set_narrow(to, greatest[i], narrow(from, greatest[i]));
	if (from->oldest_wait_ns > to->oldest_wait_ns)
		to->oldest_wait_ns = from->oldest_wait_ns;
	if (from->generation > to->generation)
		to->generation = from->generation;
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
	add_counters(&tally->closed, &pool->stats);
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
		add_counters(&sum->stats, &now);
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

enum figure_kind { NARROW, WIDE, SECONDS };

static const struct figure {
	const struct hp_family *family; /* NULL: that of the row before */
	const char *label, *value;      /* NULL: none */
	enum figure_kind kind;
	size_t offset;
	size_t less; /* what is subtracted; 0: nothing */
} figures[] = {
#define FAMILY(kind, name, unit, help) \
	(&(const struct hp_family){ "hsmpool_" name, HP_FAMILY_##kind, unit, help })
#define GAUGE(name, help)   FAMILY(GAUGE, name, NULL, help)
#define COUNTER(name, help) FAMILY(COUNTER, name, NULL, help)
#define SAME                NULL
#define PLAIN               NULL, NULL
	/* clang-format off */
	{ GAUGE("sessions", "Real sessions on the token, by what they do."),
	  "state", "idle", NARROW, AT(idle), 0 },
	{ SAME, "state", "used", NARROW, AT(used), 0 },
	{ SAME, "state", "attached", NARROW, AT(attached), 0 },
	{ SAME, "state", "testing", NARROW, AT(testing), 0 },
	{ SAME, "state", "opening", NARROW, AT(opening), 0 },
	{ SAME, "state", "closing", NARROW, AT(closing), 0 },
	{ SAME, "state", "stuck", NARROW, AT(stuck), 0 },
	{ GAUGE("sessions_limit", "Most sessions that may be open now."),
	  PLAIN, NARROW, AT(limit), 0 },
	{ GAUGE("waiters", "Threads waiting for a session."),
	  PLAIN, NARROW, AT(waiters), 0 },
	{ FAMILY(GAUGE, "oldest_wait_seconds", "seconds",
		 "How long the first of those waits."),
	  PLAIN, SECONDS, AT(oldest_wait_ns), 0 },
	{ GAUGE("paused", "1 while the pool is paused."),
	  PLAIN, NARROW, AT(paused), 0 },
	{ GAUGE("breaker_state", "Circuit breaker: 0 closed (the token works), 1 open, "
				 "2 half-open."),
	  PLAIN, NARROW, AT(breaker), 0 },
	{ GAUGE("pin_latched", "1 while a refused PIN keeps the pool from logging in."),
	  PLAIN, NARROW, AT(latched), 0 },
	{ GAUGE("leaks_suspected", "Sessions lent for longer than leak-warn, now."),
	  PLAIN, NARROW, AT(overdue), 0 },
	{ GAUGE("generation", "Raised by each loss of session, login or token."),
	  PLAIN, WIDE, AT(generation), 0 },
	{ COUNTER("borrow", "Requests for a session, by how they ended."),
	  "result", "direct", WIDE, AT(borrowed_direct), 0 },
	{ SAME, "result", "waited", WIDE, AT(borrowed_waited), 0 },
	{ SAME, "result", "timeout", WIDE, AT(borrow_timeouts), 0 },
	{ SAME, "result", "rejected", WIDE, AT(borrow_rejected), 0 },
	{ SAME, "result", "closed", WIDE, AT(borrow_closed), 0 },
	{ COUNTER("borrow_overdue", "Sessions that were lent for longer than leak-warn."),
	  PLAIN, WIDE, AT(leaks_suspected), 0 },
	{ COUNTER("session_opened", "Sessions opened on the token."),
	  PLAIN, WIDE, AT(opened), 0 },
	{ COUNTER("session_open_failures", "Sessions that could not be opened."),
	  PLAIN, WIDE, AT(open_failures), 0 },
	{ COUNTER("session_closed", "Sessions closed, by reason."),
	  "reason", "lifetime", WIDE, AT(closed_lifetime), 0 },
	{ SAME, "reason", "idle", WIDE, AT(closed_idle), 0 },
	{ SAME, "reason", "broken", WIDE, AT(closed_broken), 0 },
	{ SAME, "reason", "stuck", WIDE, AT(closed_stuck), 0 },
	{ SAME, "reason", "shutdown", WIDE, AT(closed_shutdown), 0 },
	{ SAME, "reason", "other", WIDE, AT(closed_other), 0 },
	{ COUNTER("validate", "Sessions probed, by result."),
	  "result", "ok", WIDE, AT(validated), AT(validation_failures) },
	{ SAME, "result", "failed", WIDE, AT(validation_failures), 0 },
	{ COUNTER("login", "Logins to the token, by result."),
	  "result", "ok", WIDE, AT(logins), 0 },
	{ SAME, "result", "refused", WIDE, AT(logins_refused), 0 },
	{ SAME, "result", "failed", WIDE, AT(login_failures), AT(logins_refused) },
	{ COUNTER("losses", "Losses noticed, by what was lost."),
	  "what", "session", WIDE, AT(lost_sessions), 0 },
	{ SAME, "what", "login", WIDE, AT(lost_logins), 0 },
	{ SAME, "what", "token", WIDE, AT(lost_tokens), 0 },
	{ COUNTER("breaker_opened", "Times that the circuit breaker opened."),
	  PLAIN, WIDE, AT(breaker_opened), 0 },
	{ COUNTER("hung_calls", "Calls of the module that took longer than stuck-after."),
	  PLAIN, WIDE, AT(hung_calls), 0 },
	{ COUNTER("module_restarts", "Times that the module was initialised anew."),
	  PLAIN, WIDE, AT(module_restarts), 0 },
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
	const hsmpool_stats *stats = &sum->stats;
	label(sum, figure->label, figure->value, labels);
	if (figure->kind == NARROW)
		hp_exposition_add(x, labels, narrow(stats, figure->offset));
	else if (figure->kind == SECONDS)
		hp_exposition_add_seconds(x, labels, wide(stats, figure->offset));
	else
		hp_exposition_add(x, labels,
				  wide(stats, figure->offset) -
					  (figure->less ? wide(stats, figure->less) : 0));
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

static const struct hp_family borrow_wait = {
	"hsmpool_borrow_wait_seconds", HP_FAMILY_HISTOGRAM, "seconds",
	"How long those who got a session had waited for it."
};
static const struct hp_family held = { "hsmpool_session_held_seconds",
				       HP_FAMILY_HISTOGRAM, "seconds",
				       "How long sessions were lent." };
static const struct hp_family op_time = {
	"hsmpool_op_seconds", HP_FAMILY_HISTOGRAM, "seconds",
	"How long uses of the HSM took, from having a session to the answer."
};
static const struct hp_family op_errors = {
	"hsmpool_op_errors", HP_FAMILY_COUNTER, NULL,
	"Uses of the HSM that failed, by return value."
};

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

static const struct hp_family retry = {
	"hsmpool_retry", HP_FAMILY_COUNTER, NULL,
	"Operations begun again, by the class of the return value that was the reason."
};

static const struct {
	const struct hp_family *family;
	void (*write)(struct hp_exposition *x, const struct sum *sum);
} others[] = {
	{ &borrow_wait, write_wait }, { &held, write_held },     { &op_time, write_uses },
	{ &op_errors, write_errors }, { &retry, write_retries },
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
		hp_exposition_begin_family(x, others[i].family);
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

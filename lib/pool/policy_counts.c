/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counts of policies, and the families of metrics that they are.
 *
 * Owns the list of them, which only grows. list.lock is held while the list is walked, to
 * tell them too; counting takes none. Nothing is taken under it.
 */
#include "pool/policy_counts.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "observe/exposition.h"
#include "observe/metrics.h"

/* Names are the configuration's, but a program could make them up. */
#define MOST_COUNTS 1024

#define MODE_COUNT 2

struct hp_policy_counts {
	/* constant */
	char pool[64];
	char policy[64];

	_Atomic uint64_t count[MODE_COUNT][HP_ACTION_COUNT];
	struct hp_policy_counts *next; /* guarded by list.lock */
};

static struct {
	pthread_mutex_t lock;
	/* guarded by lock, all below */
	struct hp_policy_counts *first, **last;
	size_t length;
} list = { .lock = PTHREAD_MUTEX_INITIALIZER, .last = &list.first };

static pthread_once_t prepare_once = PTHREAD_ONCE_INIT;

/* --- telling -------------------------------------------------------------------------
 */

static const struct hp_family families[MODE_COUNT] = {
	[HP_POLICY_ENFORCE] = { "hsmpool_policy_denied", HP_FAMILY_COUNTER, NULL,
				"Actions that a policy refused." },
	[HP_POLICY_DRY_RUN] = { "hsmpool_policy_would_deny", HP_FAMILY_COUNTER, NULL,
				"Actions that a policy in dry run would have refused." },
};

static void write_counts(struct hp_exposition *x, const struct hp_policy_counts *counts,
			 enum hp_policy_mode mode)
{
	for (unsigned i = 0; i < HP_ACTION_COUNT; i++) {
		uint64_t count = hp_policy_counted(counts, i, mode);
		const struct hp_label labels[] = { { "pool", counts->pool },
						   { "policy", counts->policy },
						   { "function", hp_action_word(i) },
						   { 0 } };
		if (count > 0)
			hp_exposition_add(x, labels, count);
	}
}

static void write_families(struct hp_exposition *x)
{
	pthread_mutex_lock(&list.lock);
	for (unsigned mode = 0; list.first && mode < MODE_COUNT; mode++) {
		hp_exposition_begin_family(x, &families[mode]);
		for (const struct hp_policy_counts *at = list.first; at; at = at->next)
			write_counts(x, at, mode);
	}
	pthread_mutex_unlock(&list.lock);
}

/* --- coming --------------------------------------------------------------------------
 */

/* What the parent counted is the parent's. It is not freed: pools that the child has yet
 * to close still point to it. */
static void forget_all_in_child(void)
{
	pthread_mutex_init(&list.lock, NULL);
	list.first = NULL;
	list.last = &list.first;
	list.length = 0;
}

static void prepare(void)
{
	pthread_atfork(NULL, NULL, forget_all_in_child);
	hp_metrics_add_source(write_families);
}

static struct hp_policy_counts *find_locked(const char *pool, const char *policy)
{
	struct hp_policy_counts *at = list.first;
	while (at && (strcmp(at->pool, pool) != 0 || strcmp(at->policy, policy) != 0))
		at = at->next;
	return at;
}

static struct hp_policy_counts *add_locked(const char *pool, const char *policy)
{
	struct hp_policy_counts *made = calloc(1, sizeof(*made));
	if (!made)
		return NULL;
	snprintf(made->pool, sizeof(made->pool), "%s", pool);
	snprintf(made->policy, sizeof(made->policy), "%s", policy);
	*list.last = made;
	list.last = &made->next;
	list.length++;
	return made;
}

struct hp_policy_counts *hp_policy_counts_of(const char *pool, const char *policy)
{
	pool = *pool ? pool : "default";
	pthread_once(&prepare_once, prepare);
	pthread_mutex_lock(&list.lock);
	struct hp_policy_counts *counts = find_locked(pool, policy);
	if (!counts && list.length >= MOST_COUNTS) {
		pool = policy = "other";
		counts = find_locked(pool, policy);
	}
	if (!counts)
		counts = add_locked(pool, policy);
	pthread_mutex_unlock(&list.lock);
	return counts;
}

/* --- counting ------------------------------------------------------------------------
 */

void hp_policy_count(struct hp_policy_counts *counts, enum hp_action action,
		     enum hp_policy_mode mode)
{
	atomic_fetch_add_explicit(&counts->count[mode][action], 1, memory_order_relaxed);
}

uint64_t hp_policy_counted(const struct hp_policy_counts *counts, enum hp_action action,
			   enum hp_policy_mode mode)
{
	return atomic_load_explicit(&counts->count[mode][action], memory_order_relaxed);
}

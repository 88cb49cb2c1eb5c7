/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The facade of the audit trail: who uses it, begin and end, figures.
 *
 * Owns: the process's list of trails. Must not: know when records are written
 * (audit_turn.c), or how.
 *
 * Locking: `trails.lock` over the list; `trails.opening` while a trail is opened; no log
 * line is written under them. begin and end take neither, nor the turn, but
 *   - where no slot is free, begin waits for the turn, for a bounded time, and writes;
 *   - where there is no thread, end writes if nobody else does.
 */
#include "observe/audit_trail.h"

#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/process.h"
#include "base/time.h"
#include "observe/audit_metrics.h"

#define PATIENCE   (200 * HP_MS) /* of a use that finds no slot */
#define LOOK_AGAIN (2 * HP_MS)   /* meanwhile */

static struct {
	/* Held over the opening of one, which reads and writes files: who asks for the
	 * figures does not wait for that. Before lock. */
	pthread_mutex_t opening;
	pthread_mutex_t lock;
	/* guarded by lock, both */
	struct hp_audit *first;        /* one that is closed stays until all is written */
	struct hp_audit_figures ended; /* the counters of those that are gone */
} trails = { .opening = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER };

/* --- open and close ----------------------------------------------------------------- */

static void forget_trails_in_child(void)
{
	pthread_mutex_init(&trails.opening, NULL);
	pthread_mutex_init(&trails.lock, NULL);
	trails.first = NULL;
	trails.ended = (struct hp_audit_figures){ 0 };
}

static void prepare(void)
{
	pthread_atfork(NULL, NULL, forget_trails_in_child);
	hp_metrics_add_source(hp_audit_write_metrics);
}

/* One more user of the open trail of that folder; NULL: there is none. */
static struct hp_audit *join(const char *folder)
{
	pthread_mutex_lock(&trails.lock);
	struct hp_audit *audit = trails.first;
	while (audit && (audit->users == 0 || strcmp(audit->options.folder, folder) != 0))
		audit = audit->next;
	if (audit)
		audit->users++;
	pthread_mutex_unlock(&trails.lock);
	return audit;
}

static void enlist(struct hp_audit *audit)
{
	pthread_mutex_lock(&trails.lock);
	audit->next = trails.first;
	trails.first = audit;
	pthread_mutex_unlock(&trails.lock);
}

static void free_trail(struct hp_audit *audit)
{
	hp_audit_chain_release(&audit->chain);
	pthread_mutex_destroy(&audit->turn);
	free((char *)audit->options.folder);
	free(audit);
}

/* A process that ends without closing leaves nothing to recover, if it can be helped. */
static void write_at_exit(void)
{
	int64_t until = hp_now_ns() + HP_SECOND;
	/* First: whoever has a turn already is waited for below. */
	hp_audit_expect_exit();
	if (!hp_mutex_lock_until(&trails.lock, until))
		return;
	for (struct hp_audit *audit = trails.first; audit; audit = audit->next) {
		if (!hp_mutex_lock_until(&audit->turn, until))
			continue;
		hp_audit_drain_in_turn(audit);
		pthread_mutex_unlock(&audit->turn);
	}
	pthread_mutex_unlock(&trails.lock);
}

/* After OpenSSL, which the first trail begins with, so that it ends before it. */
static void watch_exit(void)
{
	atexit(write_at_exit);
}

static hsmpool_status make_trail(struct hp_audit **out,
				 const struct hp_audit_options *options,
				 hsmpool_error *err)
{
	struct hp_audit *audit = calloc(1, sizeof *audit);
	HP_CHECK(audit, err, HSMPOOL_ERR_SYSTEM, "audit: no memory");
	pthread_mutex_init(&audit->turn, NULL);
	audit->chain.file = -1;
	audit->epoch = hp_process_epoch();
	audit->users = 1;
	audit->options = *options;
	audit->options.folder = strdup(options->folder);
	hp_audit_keeping_init(&audit->keeping, options);
	hsmpool_status status = hp_audit_chain_take(&audit->chain, options->folder, err);
	if (status == HSMPOOL_OK) {
		hp_audit_drain_in_turn(audit); /* nobody else knows it */
		status = hp_audit_start_writer(audit, err);
	}
	if (status != HSMPOOL_OK) {
		free_trail(audit);
		return status;
	}
	*out = audit;
	return HSMPOOL_OK;
}

hsmpool_status hp_audit_open(struct hp_audit **out,
			     const struct hp_audit_options *options, hsmpool_error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT, exit_once = PTHREAD_ONCE_INIT;
	pthread_once(&once, prepare);
	*out = NULL;
	pthread_mutex_lock(&trails.opening);
	hsmpool_status status = HSMPOOL_OK;
	struct hp_audit *audit = join(options->folder);
	if (!audit) {
		status = make_trail(&audit, options, err);
		if (status == HSMPOOL_OK) {
			pthread_once(&exit_once, watch_exit);
			enlist(audit);
		}
	}
	pthread_mutex_unlock(&trails.opening);
	if (status != HSMPOOL_OK)
		return status;
	pthread_mutex_lock(&audit->turn);
	hp_audit_end_turn(audit); /* tells how it went, which the lock above forbade */
	*out = audit;
	return HSMPOOL_OK;
}

static bool remove_user(struct hp_audit *audit)
{
	pthread_mutex_lock(&trails.lock);
	bool is_last = --audit->users == 0;
	pthread_mutex_unlock(&trails.lock);
	return is_last;
}

static void add_counters(struct hp_audit_figures *to, const struct hp_audit_figures *from)
{
	to->records += from->records;
	to->lost += from->lost;
	to->refused += from->refused;
	to->failures += from->failures;
	to->rotations += from->rotations;
	to->deleted += from->deleted;
}

/* All is written, and stays counted. */
static void leave_list(struct hp_audit *audit)
{
	struct hp_audit_figures figures;
	hp_audit_get_figures(audit, &figures);
	pthread_mutex_lock(&trails.lock);
	struct hp_audit **at = &trails.first;
	while (*at != audit)
		at = &(*at)->next;
	*at = audit->next;
	add_counters(&trails.ended, &figures);
	pthread_mutex_unlock(&trails.lock);
}

/* A call that hangs in the module may end its record after the pool was closed: the
 * trail then stays, with threads that write for themselves. */
static bool is_still_used(struct hp_audit *audit)
{
	return hp_audit_ring_used(&audit->chain.ring) > 0;
}

void hp_audit_close(struct hp_audit **address)
{
	struct hp_audit *audit = *address;
	*address = NULL;
	if (!audit)
		return;
	if (audit->epoch != hp_process_epoch()) {
		/* Its ring is not mapped here, its lock may be held by a thread of the
		 * parent. Several handles may be closed: the memory is left. */
		return;
	}
	if (!remove_user(audit))
		return;
	hp_audit_stop_writer(audit);
	hp_audit_drain(audit);
	leave_list(audit);
	if (!is_still_used(audit))
		free_trail(audit);
}

/* --- begin and end ------------------------------------------------------------------ */

/* No slot is free though records can be written: there are more than the writer can
 * write for the moment. The caller helps, or takes a slot that became free while another
 * still writes. */
static struct hp_audit_slot *wait_for_slot(struct hp_audit *audit)
{
	int64_t deadline = hp_now_ns() + PATIENCE;
	struct hp_audit_slot *slot = NULL;
	bool can_write = !atomic_load(&audit->is_stuck);
	while (!slot && can_write) {
		bool has_turn =
			hp_mutex_lock_until(&audit->turn, hp_now_ns() + LOOK_AGAIN);
		slot = hp_audit_ring_take(&audit->chain.ring);
		if (has_turn) {
			can_write = slot || hp_audit_drain_in_turn(audit);
			hp_audit_end_turn(audit);
		}
		if (slot || hp_now_ns() < deadline)
			continue;
		atomic_store(&audit->is_stuck, !has_turn);
		break;
	}
	return slot;
}

static struct hp_audit_slot *take_slot(struct hp_audit *audit)
{
	bool refuses = audit->options.failure == HP_AUDIT_FAILURE_REFUSE;
	if (__builtin_expect(
		    atomic_load_explicit(&audit->is_failing, memory_order_relaxed), 0)) {
		hp_audit_try_again(audit);
		if (refuses && atomic_load(&audit->is_failing))
			return NULL;
	}
	struct hp_audit_slot *slot = hp_audit_ring_take(&audit->chain.ring);
	if (!slot && !atomic_load(&audit->is_failing))
		slot = wait_for_slot(audit);
	return slot;
}

static void add_text(struct hp_audit_slot *slot, enum hp_slot_text which,
		     const char *text)
{
	if (text)
		hp_audit_slot_add(slot, which, text, strlen(text));
}

/* Also of a use that is under way: whoever finds the slot meanwhile finds too few texts,
 * but none that is not right. */
static void put_facts(struct hp_audit_slot *slot, const struct hp_audit_facts *facts)
{
	hp_audit_slot_clear(slot);
	slot->request = facts->request;
	slot->session = facts->session;
	slot->input_len = facts->input_len;
	add_text(slot, HP_TEXT_POOL, facts->pool);
	add_text(slot, HP_TEXT_TOKEN, facts->token);
	add_text(slot, HP_TEXT_FUNCTION, facts->function);
	add_text(slot, HP_TEXT_MECHANISM, facts->mechanism);
	add_text(slot, HP_TEXT_LABEL, facts->key_label);
	if (facts->key_id)
		hp_audit_slot_add(slot, HP_TEXT_ID, facts->key_id, facts->key_id_len);
	add_text(slot, HP_TEXT_FINGERPRINT, facts->key_fingerprint);
	add_text(slot, HP_TEXT_TARGET, facts->target);
}

static bool go_on_without(struct hp_audit *audit)
{
	bool refuses = audit->options.failure == HP_AUDIT_FAILURE_REFUSE;
	atomic_fetch_add_explicit(refuses ? &audit->refused : &audit->lost, 1,
				  memory_order_relaxed);
	return !refuses;
}

bool hp_audit_begin(struct hp_audit *audit, const struct hp_audit_facts *facts,
		    struct hp_audit_entry *entry)
{
	*entry = (struct hp_audit_entry){ 0 };
	if (!audit)
		return true;
	if (audit->epoch != hp_process_epoch())
		return go_on_without(audit);
	struct hp_audit_slot *slot = take_slot(audit);
	if (!slot)
		return go_on_without(audit);
	slot->pid = audit->chain.writer.pid;
	slot->seq = 0;
	slot->event = (uint8_t)facts->event;
	slot->time_ns = facts->time_ns ? facts->time_ns : hp_clock_ns(CLOCK_REALTIME);
	put_facts(slot, facts);
	hp_audit_ring_begin(slot);
	entry->audit = audit;
	entry->slot = (uint32_t)(slot - audit->chain.ring.slots);
	return true;
}

static bool is_to_be_recorded(const struct hp_audit *audit,
			      const struct hp_audit_slot *slot,
			      const struct hp_audit_result *result)
{
	return audit->options.records == HP_AUDIT_RECORDS_ALL || result->is_failure ||
	       slot->event != HP_AUDIT_OPERATION;
}

static void put_result(struct hp_audit_slot *slot, const struct hp_audit_result *result)
{
	if (result->facts)
		put_facts(slot, result->facts);
	slot->input_len = result->input_len;
	slot->output_len = result->output_len;
	slot->duration_ns = result->duration_ns;
	add_text(slot, HP_TEXT_RESULT, result->result);
}

void hp_audit_end(struct hp_audit_entry *entry, const struct hp_audit_result *result)
{
	struct hp_audit *audit = entry->audit;
	if (!audit)
		return;
	entry->audit = NULL;
	if (audit->epoch != hp_process_epoch())
		return;
	struct hp_audit_ring *ring = &audit->chain.ring;
	struct hp_audit_slot *slot = &ring->slots[entry->slot];
	if (!is_to_be_recorded(audit, slot, result)) {
		hp_audit_ring_free(ring, slot);
		return;
	}
	put_result(slot, result);
	hp_audit_ring_finish(ring, slot);
	if (audit->has_thread)
		hp_audit_wake_if_needed(audit);
	else
		hp_audit_drain_unless_another_does(audit);
}

void hp_audit_drop(struct hp_audit_entry *entry)
{
	struct hp_audit *audit = entry->audit;
	entry->audit = NULL;
	if (audit && audit->epoch == hp_process_epoch())
		hp_audit_ring_free(&audit->chain.ring,
				   &audit->chain.ring.slots[entry->slot]);
}

/* --- figures ------------------------------------------------------------------------ */

void hp_audit_get_figures(struct hp_audit *audit, struct hp_audit_figures *figures)
{
	*figures = (struct hp_audit_figures){
		.records = atomic_load(&audit->records),
		.lost = atomic_load(&audit->lost),
		.refused = atomic_load(&audit->refused),
		.failures = atomic_load(&audit->failures),
		.rotations = atomic_load(&audit->rotations),
		.deleted = atomic_load(&audit->deleted),
		.unauthenticated = atomic_load(&audit->unauthenticated),
		.unauthenticated_since_ns = atomic_load(&audit->unauthenticated_since_ns),
		.slots = HP_AUDIT_SLOTS,
		.is_failing = atomic_load(&audit->is_failing),
	};
	if (audit->epoch == hp_process_epoch())
		figures->slots_used = hp_audit_ring_used(&audit->chain.ring);
}

void hp_audit_want_checkpoints(struct hp_audit *audit)
{
	atomic_store(&audit->wants_checkpoints, true);
}

static void add_gauges(struct hp_audit_figures *to, const struct hp_audit *audit,
		       const struct hp_audit_figures *from)
{
	to->slots += from->slots;
	to->slots_used += from->slots_used;
	to->is_failing |= from->is_failing;
	if (!atomic_load(&audit->wants_checkpoints))
		return;
	to->unauthenticated += from->unauthenticated;
	if (from->unauthenticated_since_ns > 0 &&
	    (to->unauthenticated_since_ns == 0 ||
	     from->unauthenticated_since_ns < to->unauthenticated_since_ns))
		to->unauthenticated_since_ns = from->unauthenticated_since_ns;
}

void hp_audit_sum_figures(struct hp_audit_figures *sum)
{
	pthread_mutex_lock(&trails.lock);
	*sum = trails.ended;
	for (struct hp_audit *at = trails.first; at; at = at->next) {
		struct hp_audit_figures figures;
		hp_audit_get_figures(at, &figures);
		add_counters(sum, &figures);
		add_gauges(sum, at, &figures);
	}
	pthread_mutex_unlock(&trails.lock);
}

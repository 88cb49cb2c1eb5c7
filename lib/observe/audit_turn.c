/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the records of a trail are written: by its thread, which collects them, or by
 * those who end them, one at a time.
 *
 * Owns: the writer thread, the state `failing`. Must not: know what a record or a file
 * looks like (audit_record.c, audit_chain.c), or log under a turn.
 */
#include "observe/audit_trail.h"

#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/error.h"
#include "base/time.h"
#include "observe/log.h"

#define NAP             (10 * HP_MS)     /* records are collected for so long */
#define NAPS_TILL_SLEEP 8                /* without a record */
#define SLEEP           (60 * HP_SECOND) /* then a look at the age of files */
#define RETRY           (50 * HP_MS)     /* after a failure */

static _Atomic bool is_exiting; /* of the process */

void hp_audit_expect_exit(void)
{
	atomic_store(&is_exiting, true);
}

/* --- sleeping and waking ------------------------------------------------------------ */

static void wait_at(_Atomic uint32_t *word, uint32_t value, int64_t span_ns)
{
	struct timespec span = { .tv_sec = span_ns / HP_SECOND,
				 .tv_nsec = span_ns % HP_SECOND };
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &span, NULL, 0);
}

static void wake_writer(struct hp_audit *audit)
{
	if (atomic_exchange(&audit->rest, REST_AWAKE) != REST_AWAKE)
		syscall(SYS_futex, &audit->rest, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* A nap is disturbed only when half of the slots wait. */
void hp_audit_wake_if_needed(struct hp_audit *audit)
{
	uint32_t rest = atomic_load(&audit->rest);
	if (rest == REST_AWAKE)
		return;
	struct hp_audit_ring *ring = &audit->chain.ring;
	uint64_t waiting =
		atomic_load_explicit(&ring->next_ticket, memory_order_relaxed) -
		atomic_load_explicit(&ring->next_written, memory_order_relaxed);
	if (rest == REST_SLEEP || waiting >= HP_AUDIT_SLOTS / 2)
		wake_writer(audit);
}

static void rest_unless_needed(struct hp_audit *audit, uint32_t rest, int64_t span_ns)
{
	atomic_store(&audit->rest, rest);
	bool is_needed = rest == REST_SLEEP && hp_audit_ring_has_work(&audit->chain.ring);
	if (!is_needed && !atomic_load(&audit->is_stopping))
		wait_at(&audit->rest, rest, span_ns);
	atomic_store(&audit->rest, REST_AWAKE);
}

/* --- writing; all of this under turn ------------------------------------------------ */

/* Everything that the chain grew by is a record of this process. */
static void note_written(struct hp_audit *audit, uint64_t seq_before)
{
	uint64_t count = audit->chain.head.seq - seq_before;
	if (count == 0)
		return;
	atomic_fetch_add_explicit(&audit->records, count, memory_order_relaxed);
	if (atomic_fetch_add_explicit(&audit->unauthenticated, count,
				      memory_order_relaxed) == 0)
		atomic_store(&audit->unauthenticated_since_ns, hp_now_ns());
}

void hp_audit_note_outcome(struct hp_audit *audit, bool is_written)
{
	if (!is_written) {
		atomic_fetch_add_explicit(&audit->failures, 1, memory_order_relaxed);
		atomic_store(&audit->retry_at_ns, hp_now_ns() + RETRY);
	}
	if (atomic_load(&audit->is_failing) == !is_written)
		return;
	atomic_store(&audit->is_failing, !is_written);
	audit->logged_failure = is_written ? 0 : audit->chain.failure;
	audit->has_recovered = is_written;
}

/* "lost" and "refused" say how many uses left no record since the last such record. */
static void add_notice(struct hp_audit *audit, const char *event, uint64_t count,
		       uint64_t recorded)
{
	if (count == recorded)
		return;
	struct hp_audit_line line =
		hp_audit_chain_begin_line(&audit->chain, hp_clock_ns(CLOCK_REALTIME));
	HP_LINE_TEXT(&line, "event", event, strlen(event));
	HP_LINE_NUMBER(&line, "count", count - recorded);
	hp_audit_chain_end_line(&audit->chain, &line);
}

static bool write_notices(struct hp_audit *audit)
{
	uint64_t lost = atomic_load(&audit->lost);
	uint64_t refused = atomic_load(&audit->refused);
	add_notice(audit, "lost", lost, audit->lost_recorded);
	add_notice(audit, "refused", refused, audit->refused_recorded);
	if (!hp_audit_chain_write(&audit->chain))
		return false;
	audit->lost_recorded = lost;
	audit->refused_recorded = refused;
	return true;
}

/* Another line may get a number that a record was given in vain; a slot that kept it
 * would pass for written once we are killed. */
static void take_numbers_back(struct hp_audit_ring *ring, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		hp_audit_ring_peek(ring, i)->seq = 0;
}

/* As many finished records as fit one write. *count: how many it were. */
static bool write_batch(struct hp_audit *audit, uint64_t *count)
{
	struct hp_audit_chain *chain = &audit->chain;
	*count = 0;
	while (hp_audit_chain_has_room(chain)) {
		struct hp_audit_slot *slot = hp_audit_ring_peek(&chain->ring, *count);
		if (!slot)
			break;
		hp_audit_chain_add_slot(chain, slot, &chain->writer);
		++*count;
	}
	if (!hp_audit_chain_write(chain)) {
		take_numbers_back(&chain->ring, *count);
		return false;
	}
	hp_audit_ring_advance(&chain->ring, *count);
	return true;
}

static void look_after_files(struct hp_audit *audit)
{
	struct hp_keeping_figures done = hp_audit_keep(&audit->keeping, &audit->chain);
	atomic_fetch_add_explicit(&audit->rotations, done.rotations,
				  memory_order_relaxed);
	atomic_fetch_add_explicit(&audit->deleted, done.deleted, memory_order_relaxed);
}

/* Those that are finished by now, so that it ends however fast more are coming. */
static bool write_all_finished(struct hp_audit *audit)
{
	struct hp_audit_ring *ring = &audit->chain.ring;
	uint64_t end = atomic_load(&ring->next_ticket);
	uint64_t count = 0;
	if (!hp_audit_chain_announce(&audit->chain) || !write_notices(audit))
		return false;
	do {
		look_after_files(audit);
		if (!write_batch(audit, &count))
			return false;
	} while (count > 0 &&
		 atomic_load_explicit(&ring->next_written, memory_order_relaxed) < end);
	return true;
}

bool hp_audit_drain_in_turn(struct hp_audit *audit)
{
	uint64_t before = audit->chain.head.seq;
	bool is_written = write_all_finished(audit);
	note_written(audit, before);
	hp_audit_note_outcome(audit, is_written);
	return is_written;
}

/* --- turns -------------------------------------------------------------------------- */

static void log_outcome(const char *folder, int failure, bool has_recovered)
{
	char text[128];
	if (failure)
		HP_LOG(ERROR, "audit-failing", "%s: no record can be written: %s", folder,
		       strerror_r(failure, text, sizeof text));
	if (has_recovered)
		HP_LOG(WARNING, "audit-recovered", "%s: records are written again",
		       folder);
}

/* The log's callback may do anything, so it is called when the turn is over. */
void hp_audit_end_turn(struct hp_audit *audit)
{
	int failure = audit->logged_failure;
	bool has_recovered = audit->has_recovered;
	audit->logged_failure = 0;
	audit->has_recovered = false;
	atomic_store(&audit->is_stuck, false);
	pthread_mutex_unlock(&audit->turn);
	log_outcome(audit->options.folder, failure, has_recovered);
}

bool hp_audit_drain(struct hp_audit *audit)
{
	pthread_mutex_lock(&audit->turn);
	bool is_written = hp_audit_drain_in_turn(audit);
	hp_audit_end_turn(audit);
	return is_written;
}

/* For threads that end a record where there is no writer. Whoever comes while another
 * writes leaves; so the other looks once more when it is done. */
void hp_audit_drain_unless_another_does(struct hp_audit *audit)
{
	bool is_written = !atomic_load(&is_exiting);
	while (is_written && hp_audit_ring_has_work(&audit->chain.ring) &&
	       pthread_mutex_trylock(&audit->turn) == 0) {
		is_written = hp_audit_drain_in_turn(audit);
		hp_audit_end_turn(audit);
	}
}

/* One thread at a time. */
void hp_audit_try_again(struct hp_audit *audit)
{
	int64_t now = hp_now_ns();
	int64_t due = atomic_load(&audit->retry_at_ns);
	if (now < due ||
	    !atomic_compare_exchange_strong(&audit->retry_at_ns, &due, now + RETRY) ||
	    pthread_mutex_trylock(&audit->turn) != 0)
		return;
	hp_audit_drain_in_turn(audit);
	hp_audit_end_turn(audit);
}

/* --- the writer --------------------------------------------------------------------- */

static void *run_writer(void *argument)
{
	struct hp_audit *audit = argument;
	prctl(PR_SET_NAME, "hsmpool-audit");
	for (uint32_t idle = 0; !atomic_load(&audit->is_stopping);) {
		idle = hp_audit_ring_has_work(&audit->chain.ring) ? 0 : idle + 1;
		bool is_written = atomic_load(&is_exiting) || hp_audit_drain(audit);
		if (!is_written)
			rest_unless_needed(audit, REST_NAP, RETRY);
		else if (idle < NAPS_TILL_SLEEP)
			rest_unless_needed(audit, REST_NAP, NAP);
		else
			rest_unless_needed(audit, REST_SLEEP, SLEEP);
	}
	return NULL;
}

hsmpool_status hp_audit_start_writer(struct hp_audit *audit, hsmpool_error *err)
{
	if (!audit->options.has_thread)
		return HSMPOOL_OK;
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int failure = pthread_create(&audit->thread, NULL, run_writer, audit);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failure)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, failure,
				     "audit: the writer cannot be started");
	audit->has_thread = true;
	return HSMPOOL_OK;
}

void hp_audit_stop_writer(struct hp_audit *audit)
{
	if (!audit->has_thread)
		return;
	atomic_store(&audit->is_stopping, true);
	wake_writer(audit);
	pthread_join(audit->thread, NULL);
	audit->has_thread = false;
}

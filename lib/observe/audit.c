/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The facade of the audit trail: who uses it, begin and end, when records are written.
 *
 * Owns: the process's list of trails, each one's writer thread, the state `failing`.
 * Must not: know what a record or a file looks like (audit_record.c, audit_chain.c).
 *
 * Locking: `trails.lock` over the list, held while a trail is opened. `audit->turn` is
 * held by whoever writes: over writes to files; nothing is waited for under it but the
 * list of chains. No log line is written under either. begin and end take neither, but
 *   - where no slot is free, begin waits for the turn, for a bounded time, and writes;
 *   - where there is no thread, end writes if nobody else does.
 */
#include "observe/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/time.h"
#include "observe/audit_chain.h"
#include "observe/audit_keep.h"
#include "observe/audit_metrics.h"
#include "observe/log.h"

#define NAP             (10 * HP_MS)     /* records are collected for so long */
#define NAPS_TILL_SLEEP 8                /* without a record */
#define SLEEP           (60 * HP_SECOND) /* then a look at the age of files */
#define PATIENCE        (200 * HP_MS)    /* of a use that finds no slot */
#define RETRY           (50 * HP_MS)     /* after a failure */

/* What the writer does; for those that may have to wake it. */
enum rest { REST_AWAKE, REST_NAP, REST_SLEEP };

struct hp_audit {
	struct hp_audit *next; /* guarded by trails.lock, as is users */
	uint32_t users;
	uint64_t epoch; /* of the process it belongs to */
	struct hp_audit_options options;
	struct hp_audit_chain chain;     /* guarded by turn, but for the ring */
	struct hp_audit_keeping keeping; /* guarded by turn */

	pthread_mutex_t turn;
	pthread_t thread;
	bool has_thread; /* changes only while nobody uses the trail */
	_Atomic bool is_stopping;
	_Atomic uint32_t rest; /* enum rest; the writer waits on it */

	_Atomic bool is_failing; /* changes under turn */
	_Atomic bool is_stuck; /* somebody waited for a turn in vain; its end clears it */
	_Atomic int64_t retry_at_ns;
	int logged_failure; /* guarded by turn: errno, to be logged when it is free */
	bool has_recovered; /* likewise */

	_Atomic uint64_t records, lost, refused, failures, rotations, deleted;
	uint64_t lost_recorded, refused_recorded; /* guarded by turn */
	_Atomic uint64_t unauthenticated;
	_Atomic int64_t unauthenticated_since_ns;
	_Atomic bool wants_checkpoints;
};

static struct {
	pthread_mutex_t lock;
	/* guarded by lock, both */
	struct hp_audit *first;        /* one that is closed stays until all is written */
	struct hp_audit_figures ended; /* the counters of those that are gone */
} trails = { .lock = PTHREAD_MUTEX_INITIALIZER };

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
static void wake_if_needed(struct hp_audit *audit)
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

static void note_outcome(struct hp_audit *audit, bool is_written)
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

static bool drain_in_turn(struct hp_audit *audit)
{
	uint64_t before = audit->chain.head.seq;
	bool is_written = write_all_finished(audit);
	note_written(audit, before);
	note_outcome(audit, is_written);
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
static void end_turn(struct hp_audit *audit)
{
	int failure = audit->logged_failure;
	bool has_recovered = audit->has_recovered;
	audit->logged_failure = 0;
	audit->has_recovered = false;
	atomic_store(&audit->is_stuck, false);
	pthread_mutex_unlock(&audit->turn);
	log_outcome(audit->options.folder, failure, has_recovered);
}

static bool drain(struct hp_audit *audit)
{
	pthread_mutex_lock(&audit->turn);
	bool is_written = drain_in_turn(audit);
	end_turn(audit);
	return is_written;
}

/* OpenSSL may be gone: what is finished from now on stays in the ring, for whoever comes
 * next, unless the trail is closed in order. */
static _Atomic bool is_exiting;

/* For threads that end a record where there is no writer. Whoever comes while another
 * writes leaves; so the other looks once more when it is done. */
static void drain_unless_another_does(struct hp_audit *audit)
{
	bool is_written = !atomic_load(&is_exiting);
	while (is_written && hp_audit_ring_has_work(&audit->chain.ring) &&
	       pthread_mutex_trylock(&audit->turn) == 0) {
		is_written = drain_in_turn(audit);
		end_turn(audit);
	}
}

/* --- the writer --------------------------------------------------------------------- */

static void *run_writer(void *argument)
{
	struct hp_audit *audit = argument;
	prctl(PR_SET_NAME, "hsmpool-audit");
	for (uint32_t idle = 0; !atomic_load(&audit->is_stopping);) {
		idle = hp_audit_ring_has_work(&audit->chain.ring) ? 0 : idle + 1;
		bool is_written = atomic_load(&is_exiting) || drain(audit);
		if (!is_written)
			rest_unless_needed(audit, REST_NAP, RETRY);
		else if (idle < NAPS_TILL_SLEEP)
			rest_unless_needed(audit, REST_NAP, NAP);
		else
			rest_unless_needed(audit, REST_SLEEP, SLEEP);
	}
	return NULL;
}

static hsmpool_status start_writer(struct hp_audit *audit, hsmpool_error *err)
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

static void stop_writer(struct hp_audit *audit)
{
	if (!audit->has_thread)
		return;
	atomic_store(&audit->is_stopping, true);
	wake_writer(audit);
	pthread_join(audit->thread, NULL);
	audit->has_thread = false;
}

/* --- open and close ----------------------------------------------------------------- */

static void forget_trails_in_child(void)
{
	pthread_mutex_init(&trails.lock, NULL);
	trails.first = NULL;
	trails.ended = (struct hp_audit_figures){ 0 };
}

static void prepare(void)
{
	pthread_atfork(NULL, NULL, forget_trails_in_child);
	hp_metrics_add_source(hp_audit_write_metrics);
}

static struct hp_audit *find_locked(const char *folder)
{
	struct hp_audit *audit = trails.first;
	while (audit && (audit->users == 0 || strcmp(audit->options.folder, folder) != 0))
		audit = audit->next;
	return audit;
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
	atomic_store(&is_exiting, true);
	if (!hp_mutex_lock_until(&trails.lock, until))
		return;
	for (struct hp_audit *audit = trails.first; audit; audit = audit->next) {
		if (!hp_mutex_lock_until(&audit->turn, until))
			continue;
		drain_in_turn(audit);
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
		drain_in_turn(audit); /* nobody else knows it */
		status = start_writer(audit, err);
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
	pthread_mutex_lock(&trails.lock);
	hsmpool_status status = HSMPOOL_OK;
	struct hp_audit *audit = find_locked(options->folder);
	if (audit) {
		audit->users++;
	} else {
		status = make_trail(&audit, options, err);
		if (status == HSMPOOL_OK) {
			pthread_once(&exit_once, watch_exit);
			audit->next = trails.first;
			trails.first = audit;
		}
	}
	pthread_mutex_unlock(&trails.lock);
	if (status != HSMPOOL_OK)
		return status;
	pthread_mutex_lock(&audit->turn);
	end_turn(audit); /* tells how it went, which the lock above forbade */
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
	stop_writer(audit);
	drain(audit);
	leave_list(audit);
	if (!is_still_used(audit))
		free_trail(audit);
}

/* --- begin and end ------------------------------------------------------------------ */

/* No slot is free though records can be written: there are more than the writer can
 * write for the moment. The caller helps. */
static struct hp_audit_slot *wait_for_slot(struct hp_audit *audit)
{
	int64_t deadline = hp_now_ns() + PATIENCE;
	struct hp_audit_slot *slot = NULL;
	bool is_written = !atomic_load(&audit->is_stuck);
	while (!slot && is_written && hp_now_ns() < deadline) {
		if (!hp_mutex_lock_until(&audit->turn, deadline)) {
			atomic_store(&audit->is_stuck, true);
			return NULL;
		}
		slot = hp_audit_ring_take(&audit->chain.ring);
		is_written = slot || drain_in_turn(audit);
		end_turn(audit);
		if (!slot)
			slot = hp_audit_ring_take(&audit->chain.ring);
	}
	return slot;
}

/* One thread at a time tries whether records can be written again. */
static void try_again(struct hp_audit *audit)
{
	int64_t now = hp_now_ns();
	int64_t due = atomic_load(&audit->retry_at_ns);
	if (now < due ||
	    !atomic_compare_exchange_strong(&audit->retry_at_ns, &due, now + RETRY) ||
	    pthread_mutex_trylock(&audit->turn) != 0)
		return;
	drain_in_turn(audit);
	end_turn(audit);
}

static struct hp_audit_slot *take_slot(struct hp_audit *audit)
{
	bool refuses = audit->options.failure == HP_AUDIT_FAILURE_REFUSE;
	if (__builtin_expect(
		    atomic_load_explicit(&audit->is_failing, memory_order_relaxed), 0)) {
		try_again(audit);
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
		wake_if_needed(audit);
	else
		drain_unless_another_does(audit);
}

void hp_audit_drop(struct hp_audit_entry *entry)
{
	struct hp_audit *audit = entry->audit;
	entry->audit = NULL;
	if (audit && audit->epoch == hp_process_epoch())
		hp_audit_ring_free(&audit->chain.ring,
				   &audit->chain.ring.slots[entry->slot]);
}

/* --- heads, checkpoints, figures ---------------------------------------------------- */

bool hp_audit_sync(struct hp_audit *audit)
{
	return !audit || (audit->epoch == hp_process_epoch() && drain(audit));
}

bool hp_audit_get_head(struct hp_audit *audit, struct hp_audit_head *head)
{
	if (audit->epoch != hp_process_epoch())
		return false;
	pthread_mutex_lock(&audit->turn);
	bool is_written = drain_in_turn(audit);
	memcpy(head->chain, audit->chain.name, sizeof head->chain);
	head->seq = audit->chain.head.seq;
	memcpy(head->hash, audit->chain.head.hash, sizeof head->hash);
	end_turn(audit);
	return is_written;
}

static bool sync_path(const char *path, int flags)
{
	HP_AUTO_FD int fd = open(path, flags | O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd >= 0 && fsync(fd) == 0;
}

/* By its name, not by our descriptor: a disk may take long, and others write meanwhile.
 */
bool hp_audit_sync_disk(struct hp_audit *audit)
{
	char path[PATH_MAX];
	if (audit->epoch != hp_process_epoch())
		return false;
	pthread_mutex_lock(&audit->turn);
	int len = snprintf(path, sizeof path, "%s/%s", audit->chain.folder,
			   audit->chain.file_name);
	end_turn(audit);
	return (size_t)len < sizeof path && sync_path(path, 0) &&
	       sync_path(audit->options.folder, O_DIRECTORY);
}

static bool write_checkpoint(struct hp_audit *audit, const struct hp_audit_head *head,
			     const struct hp_audit_checkpoint *checkpoint)
{
	const char *key = checkpoint->key ? checkpoint->key : "";
	const char *mechanism = checkpoint->mechanism ? checkpoint->mechanism : "";
	struct hp_audit_line line =
		hp_audit_chain_begin_line(&audit->chain, hp_clock_ns(CLOCK_REALTIME));
	HP_LINE_RAW(&line, ",\"event\":\"checkpoint\"");
	HP_LINE_TEXT(&line, "chain", head->chain, strlen(head->chain));
	HP_LINE_NUMBER(&line, "of", head->seq);
	HP_LINE_HEX(&line, "head", head->hash, sizeof head->hash);
	HP_LINE_TEXT(&line, "mechanism", mechanism, strnlen(mechanism, 64));
	HP_LINE_TEXT(&line, "authenticator", key, strnlen(key, 255));
	HP_LINE_HEX(&line, "mac", checkpoint->mac, checkpoint->mac_len);
	hp_audit_chain_end_line(&audit->chain, &line);
	return hp_audit_chain_write(&audit->chain);
}

bool hp_audit_add_checkpoint(struct hp_audit *audit, const struct hp_audit_head *head,
			     const struct hp_audit_checkpoint *checkpoint)
{
	if (audit->epoch != hp_process_epoch() || checkpoint->mac_len > 1024)
		return false;
	pthread_mutex_lock(&audit->turn);
	bool is_written = hp_audit_chain_announce(&audit->chain) &&
			  write_checkpoint(audit, head, checkpoint);
	note_outcome(audit, is_written);
	if (is_written) {
		uint64_t since = audit->chain.head.seq - head->seq - 1;
		atomic_store(&audit->unauthenticated, since);
		atomic_store(&audit->unauthenticated_since_ns, since ? hp_now_ns() : 0);
		atomic_fetch_add_explicit(&audit->records, 1, memory_order_relaxed);
	}
	end_turn(audit);
	return is_written;
}

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

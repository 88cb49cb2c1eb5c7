/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A trail from the inside, for the files that are its facade: audit.c (who uses it, begin
 * and end), audit_turn.c (when records are written), audit_head.c (heads, checkpoints).
 *
 * Locking: `turn` is held by whoever writes: over writes to files; nothing is waited for
 * under it but the list of chains. No log line is written under it.
 */
#ifndef HP_OBSERVE_AUDIT_TRAIL_H
#define HP_OBSERVE_AUDIT_TRAIL_H

#include <pthread.h>
#include "observe/audit_chain.h"
#include "observe/audit_keep.h"

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

/* Under turn: write those records that are finished by now. False: it cannot be done. */
bool hp_audit_drain_in_turn(struct hp_audit *audit);
/* Under turn: note whether something could be written, for all who ask and for the log.
 */
void hp_audit_note_outcome(struct hp_audit *audit, bool is_written);
/* Unlock it, and log what came of it. */
void hp_audit_end_turn(struct hp_audit *audit);

/* Take a turn and write. False: it cannot be done. */
bool hp_audit_drain(struct hp_audit *audit);
/* The same for a thread that ended a record where there is no writer. */
void hp_audit_drain_unless_another_does(struct hp_audit *audit);
/* After a failure, once in a while: look whether records can be written again. */
void hp_audit_try_again(struct hp_audit *audit);
/* The process ends, and OpenSSL may be gone: what is finished from now on stays in the
 * ring, for whoever comes next, unless the trail is closed in order. */
void hp_audit_expect_exit(void);

/* The thread that writes, where the options want one. */
hsmpool_status hp_audit_start_writer(struct hp_audit *audit, hsmpool_error *err);
void hp_audit_stop_writer(struct hp_audit *audit);
/* There is a record for it. */
void hp_audit_wake_if_needed(struct hp_audit *audit);

#endif

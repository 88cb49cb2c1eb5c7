/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long files last: when the current one is followed by another, and which old ones
 * are deleted.
 *
 * Locking: used under audit->turn. Deletions of all processes are ordered by the lock of
 * the list of chains.
 */
#ifndef HP_OBSERVE_AUDIT_KEEP_H
#define HP_OBSERVE_AUDIT_KEEP_H

#include "observe/audit_chain.h"

struct hp_audit_keeping {
	uint64_t rotate_size;
	int64_t rotate_after;
	int64_t keep;
	uint64_t keep_size;
	int64_t next_look_ns; /* CLOCK_MONOTONIC: at ages and at old files */
};

struct hp_keeping_figures {
	uint64_t rotations;
	uint64_t deleted; /* files */
};

void hp_audit_keeping_init(struct hp_audit_keeping *keeping,
			   const struct hp_audit_options *options);

/* Do what is due. Cheap where nothing is. */
struct hp_keeping_figures hp_audit_keep(struct hp_audit_keeping *keeping,
					struct hp_audit_chain *chain);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See audit_keep.h. A deletion is listed before it is done: whoever is killed in between
 * leaves a file that is said to be deleted, and it is deleted the next time.
 */
#include "observe/audit_keep.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/memory.h"
#include "base/state_dir.h"
#include "base/time.h"
#include "observe/audit_list.h"

#define LOOK_EVERY (60 * HP_SECOND)

void hp_audit_keeping_init(struct hp_audit_keeping *keeping,
			   const struct hp_audit_options *options)
{
	*keeping = (struct hp_audit_keeping){
		.rotate_size = options->rotate_size,
		.rotate_after = options->rotate_after,
		.keep = options->keep,
		.keep_size = options->keep_size,
	};
}

/* --- rotation ----------------------------------------------------------------------- */

static bool is_too_old(const struct hp_audit_keeping *keeping,
		       const struct hp_audit_chain *chain)
{
	int64_t begun = chain->ring.header->file_begun_ns;
	return keeping->rotate_after > 0 && chain->size > 0 && begun > 0 &&
	       hp_clock_ns(CLOCK_REALTIME) - begun >= keeping->rotate_after;
}

struct hp_keeping_figures hp_audit_keep(struct hp_audit_keeping *keeping,
					struct hp_audit_chain *chain)
{
	struct hp_keeping_figures done = { 0 };
	bool is_too_large =
		keeping->rotate_size > 0 && chain->size >= keeping->rotate_size;
	int64_t now = hp_now_coarse_ns();
	bool is_due = now >= keeping->next_look_ns;
	if (is_due)
		keeping->next_look_ns = now + LOOK_EVERY;
	if (is_too_large || (is_due && is_too_old(keeping, chain)))
		done.rotations = hp_audit_chain_rotate(chain);
	return done;
}

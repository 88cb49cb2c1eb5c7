/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See latched.h. Only the file in state-dir is read.
 */
#include "latched.h"

#include <stdio.h>
#include "pool/latch.h"

void latched_read(const char *state_dir, const CK_TOKEN_INFO *token, struct latched *out)
{
	struct hp_latch_file file;

	*out = (struct latched){ 0 };
	if (!hp_latch_read(state_dir, token, &file))
		return;
	out->is_damaged = file.is_damaged;
	for (size_t i = 0; !file.is_damaged && i < HP_LATCH_PINS; i++) {
		bool is_taken = file.record.pins[i].state != HP_LATCH_NONE;
		out->pins += is_taken;
		out->old += is_taken && file.record.pins[i].is_old;
	}
}

void latched_describe(const struct latched *latched, char *text, size_t cap)
{
	if (latched->is_damaged)
		snprintf(text, cap, "its file is damaged: no PIN is tried");
	else if (latched->pins == 0)
		snprintf(text, cap, "no PIN is latched");
	else
		snprintf(text, cap,
			 "%u PIN%s not tried any more, %u of them from before another "
			 "was accepted",
			 latched->pins, latched->pins == 1 ? " is" : "s are",
			 latched->old);
}

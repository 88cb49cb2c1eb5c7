/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call of an operation that has begun, while it runs: for operation.c.
 *
 * What goes into it is step.c's, what comes of it answer.c's. With the virtual session
 * taken; no lock held.
 */
#ifndef HP_PROXY_STEP_H
#define HP_PROXY_STEP_H

#include "proxy/operations.h"

struct hp_step {
	const enum hp_kind *kinds;
	unsigned count;
	uint32_t mask;
	enum hp_part part;
	struct hp_call *call;
	/* Where the journals of kinds stood before, and whether they took the input. */
	struct hp_journal_mark marks[2];
	bool is_added[2];
	/* Before the first try. The input, if the output may be written over it. */
	CK_ULONG out_len;
	bool has_kept;
	struct hp_journal kept;
	/* The book of its session before. */
	uint32_t was_active;
	bool was_unsure;
};

/* --- step.c --------------------------------------------------------------------- */

/* An output buffer that is NULL asks for the size: nothing is taken in. */
bool hp_step_is_question(const struct hp_step *step);
bool hp_step_ends_operation(const struct hp_step *step);

/* Before the first try, for another one; and before that. */
void hp_step_keep_arguments(struct hp_step *step);
void hp_step_restore_arguments(struct hp_step *step);

/* Before the module is asked: output may be written over the input. And after it was, if
 * it did not take the input, or if it did. */
void hp_step_add_input(struct hp_vsession *vs, struct hp_step *step);
void hp_step_take_back_input(struct hp_vsession *vs, struct hp_step *step);
void hp_step_note_taken(struct hp_vsession *vs, struct hp_step *step);

/* Input that gives no output, for an operation that the module has accepted such input
 * for before, needs no session: it waits in the journal. */
bool hp_step_take_detached(struct hp_vsession *vs, struct hp_step *step);

/* Can all that this step is part of be begun again, and it be made as it was? */
bool hp_step_is_whole(const struct hp_vsession *vs, const struct hp_step *step);

/* --- answer.c ------------------------------------------------------------------- */

/* After rv on s, which is left or given up. True: the call is made again, elsewhere; else
 * *rv is the application's. */
bool hp_step_settle(struct hp_vsession *vs, struct hp_session *s, struct hp_step *step,
		    CK_RV *rv);

/* Nothing is active for this call: the module says so in its own way. */
CK_RV hp_step_ask_in_vain(struct hp_vsession *vs, struct hp_session *s,
			  struct hp_step *step);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a failing sequence short: parts of it are left out, half of it first, then ever
 * smaller ones, as long as it still fails in the same way at the same function.
 */
#include "differential.h"

#include <stdlib.h>
#include <string.h>

/* Same kind, same function, and if answers differ the same two codes. */
static bool is_same(const struct sequence *a, const struct comparison *x,
		    const struct sequence *b, const struct comparison *y)
{
	if (x->finding != y->finding)
		return false;
	if (a->calls[x->at].function != b->calls[y->at].function)
		return false;
	return x->finding != FOUND_DIFFERENCE ||
	       (x->reference.rv == y->reference.rv && x->subject.rv == y->subject.rv);
}

static void without(struct sequence *out, const struct sequence *in, uint32_t from,
		    uint32_t count)
{
	out->count = 0;
	for (uint32_t i = 0; i < in->count; i++)
		if (i < from || i >= from + count)
			sequence_add(out, &in->calls[i]);
}

static void cut_behind(struct sequence *sequence, const struct comparison *comparison)
{
	if (comparison->at + 1 < sequence->count)
		sequence->count = comparison->at + 1;
}

/* One pass with parts of that size; true if something could be left out. */
static bool leave_out(struct sequence *sequence, struct comparison *found, uint32_t part)
{
	struct sequence shorter = { NULL, 0, 0 };
	bool has_changed = false;

	/* From the end: what is there is mostly noise, and the last call stays. */
	for (uint32_t end = sequence->count - 1; end > 0;) {
		uint32_t size = end < part ? end : part;
		without(&shorter, sequence, end - size, size);
		struct comparison c = compare(&shorter);
		end -= size;
		if (!is_same(sequence, found, &shorter, &c))
			continue;
		cut_behind(&shorter, &c);
		struct sequence old = *sequence;
		*sequence = shorter;
		shorter = old;
		*found = c;
		has_changed = true;
		if (end > sequence->count - 1)
			end = sequence->count - 1;
	}
	sequence_free(&shorter);
	return has_changed;
}

void shrink(struct sequence *sequence, struct comparison *comparison)
{
	cut_behind(sequence, comparison);
	uint32_t part = sequence->count / 2;
	while (part > 0 && sequence->count > 1) {
		bool has_changed = leave_out(sequence, comparison, part);
		if (part > 1)
			part /= 2;
		else if (!has_changed)
			break;
	}
}

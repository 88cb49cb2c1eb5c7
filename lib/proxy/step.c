/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes into a step of an operation: the application's arguments, kept for another
 * try, and the input, kept in the journals of the operations that it is for.
 *
 * Must not: know what a module answered, but for whether it took the input in.
 */
#include "proxy/step.h"

#include "base/memory.h"
#include "proxy/process.h"

static bool has_input(const struct hp_step *step)
{
	return step->part == HP_PART_UPDATE || step->part == HP_PART_STREAM;
}

/* With a decryption the second operation is fed with what comes out. */
static bool takes_output(const struct hp_step *step, unsigned i)
{
	return i == 1 && step->kinds[0] == HP_KIND_DECRYPT;
}

bool hp_step_is_question(const struct hp_step *step)
{
	bool has_output = step->part == HP_PART_STREAM || step->call->out_len;
	return has_output && !step->call->out;
}

bool hp_step_ends_operation(const struct hp_step *step)
{
	return (step->part == HP_PART_SINGLE || step->part == HP_PART_FINAL) &&
	       !hp_step_is_question(step);
}

/* May what the module writes change what it was to read? */
static bool overlaps(const struct hp_call *call)
{
	return call->in && call->out && call->out_len &&
	       hp_bytes_overlap(call->in, call->in_len, call->out, *call->out_len);
}

void hp_step_keep_arguments(struct hp_step *step)
{
	const struct hp_proxy_options *options = hp_proxy_options();
	struct hp_call *call = step->call;
	step->out_len = call->out_len ? *call->out_len : 0;
	if (overlaps(call))
		step->has_kept =
			hp_journal_add(&step->kept, call->in, call->in_len, false,
				       options->journal_limit, options->journal_total);
}

void hp_step_restore_arguments(struct hp_step *step)
{
	struct hp_call *call = step->call;
	struct hp_journal_piece piece;
	size_t at = 0;
	if (call->out_len)
		*call->out_len = step->out_len;
	if (step->has_kept && hp_journal_next(&step->kept, &at, &piece))
		call->in = piece.data;
}

/* The record of the i-th kind, if its journal is to be kept up. */
static struct hp_operation *journaled(const struct hp_vsession *vs,
				      const struct hp_step *step, unsigned i)
{
	const struct hp_operations *ops = vs->operations;
	if (!ops || !(ops->active & HP_KIND_BIT(step->kinds[i])))
		return NULL;
	struct hp_operation *op = ops->of[step->kinds[i]];
	return op->is_replayable ? op : NULL;
}

static bool add(struct hp_operation *op, enum hp_kind kind, const CK_BYTE *data,
		CK_ULONG len)
{
	const struct hp_proxy_options *options = hp_proxy_options();
	bool is_cipher = kind == HP_KIND_ENCRYPT || kind == HP_KIND_DECRYPT;
	return hp_journal_add(&op->journal, data, len, !is_cipher, options->journal_limit,
			      options->journal_total);
}

void hp_step_add_input(struct hp_vsession *vs, struct hp_step *step)
{
	for (unsigned i = 0; has_input(step) && i < step->count; i++) {
		struct hp_operation *op = journaled(vs, step, i);
		step->is_added[i] = false;
		bool has_none = !step->call->in && step->call->in_len > 0;
		if (!op || takes_output(step, i) || has_none)
			continue;
		step->marks[i] = hp_journal_mark(&op->journal);
		step->is_added[i] =
			add(op, step->kinds[i], step->call->in, step->call->in_len);
	}
}

void hp_step_take_back_input(struct hp_vsession *vs, struct hp_step *step)
{
	for (unsigned i = 0; i < step->count; i++)
		if (step->is_added[i])
			hp_journal_rewind(&vs->operations->of[step->kinds[i]]->journal,
					  &step->marks[i]);
}

/* What the journal had no room for pins the operation. */
void hp_step_note_taken(struct hp_vsession *vs, struct hp_step *step)
{
	struct hp_call *call = step->call;
	CK_ULONG out_len = call->out && call->out_len ? *call->out_len : 0;
	for (unsigned i = 0; i < step->count; i++) {
		struct hp_operation *op = journaled(vs, step, i);
		if (!op)
			continue;
		op->is_multipart = true;
		if (step->part == HP_PART_KEY)
			step->is_added[i] =
				hp_journal_add_key(&op->journal, call->key,
						   hp_proxy_options()->journal_limit,
						   hp_proxy_options()->journal_total);
		else if (takes_output(step, i))
			step->is_added[i] = add(op, step->kinds[i], call->out, out_len);
		if (!step->is_added[i])
			hp_operation_pin(op);
		else if (i == 0 && step->part == HP_PART_STREAM)
			hp_operation_note_output(op, call->out, out_len);
	}
}

bool hp_step_take_detached(struct hp_vsession *vs, struct hp_step *step)
{
	struct hp_operations *ops = vs->operations;
	struct hp_call *call = step->call;
	if (step->part != HP_PART_UPDATE || !ops || !(ops->active & step->mask) ||
	    (ops->live & step->mask) || !call->in)
		return false;
	struct hp_operation *op = ops->of[step->kinds[0]];
	return op->is_multipart && op->is_replayable &&
	       add(op, step->kinds[0], call->in, call->in_len);
}

bool hp_step_is_whole(const struct hp_vsession *vs, const struct hp_step *step)
{
	uint32_t wanted = vs->operations->active & step->mask;
	if (overlaps(step->call) && !step->has_kept)
		return false;
	for (unsigned i = 0; i < step->count; i++)
		if ((wanted & HP_KIND_BIT(step->kinds[i])) && !journaled(vs, step, i))
			return false;
	return wanted != 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See audit_walk.h.
 *
 * A line fits if it has the number that is expected and its hash follows from the line
 * before, as that one's hash is stated or as it is computed from its bytes. What does not
 * fit is the suspect: the line after it shows whether it stands in the place of a record,
 * or between two.
 */
#include "observe/audit_walk.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

/* Numbers of records; those of a tree (tsearch()) do not overlap. */
struct range {
	uint64_t from, to;
};

/* A record that the next one may follow. */
struct base {
	bool is_known;
	uint8_t hash[HP_AUDIT_HASH_LEN];
};

struct line {
	bool is_record;
	struct hp_line_frame frame;
	size_t len;
	char text[HP_AUDIT_LINE_MAX];
};

struct hp_walk {
	struct hp_walk_hooks hooks;
	struct hp_line_hasher *hasher;
	uint64_t expected;
	struct base stated;   /* of the record before */
	struct base computed; /* of its bytes, where that is another one */
	struct base doubled;  /* of a second one with its number */
	void *missing;        /* ranges */
	void *early;          /* ranges: seen before their turn */
	bool has_no_memory;
	bool has_suspect;
	struct line suspect;
	struct line line; /* the current one */
};

/* --- ranges ------------------------------------------------------------------------- */

/* Overlapping ones are equal: so a number finds its range. */
static int compare_ranges(const void *a, const void *b)
{
	const struct range *one = a;
	const struct range *two = b;
	if (one->to < two->from)
		return -1;
	return one->from > two->to;
}

/* Where memory is short the verdict is void: hp_walk_has_failed() says so. */
static bool add_range(void **ranges, uint64_t from, uint64_t to)
{
	struct range *range = malloc(sizeof *range);
	if (!range)
		return false;
	*range = (struct range){ from, to };
	void *node = tsearch(range, ranges, compare_ranges);
	if (!node || *(struct range **)node != range)
		free(range);
	return node != NULL;
}

/* Take one number out; false: it is in none of them. */
static bool take_number(void **ranges, uint64_t number, bool *has_no_memory)
{
	const struct range key = { number, number };
	void *node = tfind(&key, ranges, compare_ranges);
	if (!node)
		return false;
	struct range *found = *(struct range **)node;
	tdelete(found, ranges, compare_ranges);
	bool is_whole =
		(found->from == number || add_range(ranges, found->from, number - 1)) &&
		(found->to == number || add_range(ranges, number + 1, found->to));
	*has_no_memory = *has_no_memory || !is_whole;
	free(found);
	return true;
}

/* --- telling ------------------------------------------------------------------------ */

static void tell(struct hp_walk *walk, enum hp_finding_kind kind, uint64_t seq)
{
	walk->hooks.tell(walk->hooks.user, kind, seq, seq);
}

static bool was_early(struct hp_walk *walk, uint64_t seq)
{
	return take_number(&walk->early, seq, &walk->has_no_memory);
}

static bool was_missing(struct hp_walk *walk, uint64_t seq)
{
	return take_number(&walk->missing, seq, &walk->has_no_memory);
}

static void miss(struct hp_walk *walk, uint64_t from, uint64_t to)
{
	for (; from <= to && was_early(walk, from); from++)
		tell(walk, HP_FINDING_REORDERED, from);
	if (from <= to && !add_range(&walk->missing, from, to))
		walk->has_no_memory = true;
}

/* --- following ---------------------------------------------------------------------- */

static bool hash_after(struct hp_walk *walk, const struct base *base,
		       const struct line *line, uint8_t *hash)
{
	return base->is_known && hp_line_hash(walk->hasher, base->hash, line->text,
					      line->frame.body_len, hash);
}

static bool follows(struct hp_walk *walk, const struct base *base,
		    const struct line *line)
{
	uint8_t hash[HP_AUDIT_HASH_LEN];
	return line->is_record && hash_after(walk, base, line, hash) &&
	       memcmp(hash, line->frame.hash, sizeof hash) == 0;
}

/* A record whose predecessor is not known is taken for what it says. */
static bool fits(struct hp_walk *walk, const struct line *line)
{
	return line->is_record && line->frame.seq == walk->expected &&
	       (!walk->stated.is_known || follows(walk, &walk->stated, line) ||
		follows(walk, &walk->computed, line) ||
		follows(walk, &walk->doubled, line));
}

static struct base base_of(const struct line *line)
{
	struct base base = { .is_known = line->is_record };
	memcpy(base.hash, line->frame.hash, sizeof base.hash);
	return base;
}

/* The record is at its place, whatever is wrong with it. */
static void accept(struct hp_walk *walk, const struct line *line)
{
	struct base computed = { 0 };
	computed.is_known = hash_after(walk, &walk->stated, line, computed.hash);
	if (was_early(walk, line->frame.seq))
		tell(walk, HP_FINDING_INSERTED, line->frame.seq);
	walk->stated = base_of(line);
	walk->computed = computed;
	walk->doubled.is_known = false;
	walk->expected = line->frame.seq + 1;
	walk->hooks.accept(walk->hooks.user, line->text, line->len, &line->frame);
}

/* --- the suspect -------------------------------------------------------------------- */

/* A record of a number that is not expected, in the place of another or of none. */
static void misplace(struct hp_walk *walk, const struct line *line)
{
	uint64_t seq = line->frame.seq;
	if (seq > walk->expected) {
		if (!add_range(&walk->early, seq, seq))
			walk->has_no_memory = true;
		return;
	}
	tell(walk, was_missing(walk, seq) ? HP_FINDING_REORDERED : HP_FINDING_INSERTED,
	     seq);
	if (seq + 1 == walk->expected)
		walk->doubled = base_of(line);
}

/* It stands where the expected record should. */
static void stand_in(struct hp_walk *walk, const struct line *suspect)
{
	uint64_t seq = walk->expected;
	if (suspect->is_record && suspect->frame.seq == seq) {
		tell(walk, HP_FINDING_ALTERED, seq);
		accept(walk, suspect);
		return;
	}
	if (suspect->is_record) {
		misplace(walk, suspect);
		miss(walk, seq, seq);
	} else {
		tell(walk, HP_FINDING_ALTERED, seq);
	}
	walk->stated.is_known = false;
	walk->expected = seq + 1;
}

/* It stands between two records. */
static void stand_between(struct hp_walk *walk, const struct line *suspect)
{
	if (!suspect->is_record || suspect->frame.seq == walk->expected)
		tell(walk, HP_FINDING_INSERTED,
		     suspect->is_record ? suspect->frame.seq : 0);
	else
		misplace(walk, suspect);
}

/* It comes after a gap. */
static void stand_behind_gap(struct hp_walk *walk, const struct line *suspect)
{
	miss(walk, walk->expected, suspect->frame.seq - 1);
	walk->stated.is_known = false;
	accept(walk, suspect);
}

/* Without a line after it, or where that one tells nothing. */
static void decide_alone(struct hp_walk *walk, const struct line *suspect)
{
	if (!suspect->is_record || suspect->frame.seq == walk->expected)
		stand_in(walk, suspect);
	else if (suspect->frame.seq > walk->expected)
		stand_behind_gap(walk, suspect);
	else
		misplace(walk, suspect);
}

/* The number of the suspect was changed: what comes next follows from its hash. */
static bool has_wrong_number(struct hp_walk *walk, const struct line *suspect,
			     const struct line *next)
{
	struct base stated = base_of(suspect);
	return next->frame.seq == walk->expected + 1 && follows(walk, &stated, next);
}

static void stand_in_with_wrong_number(struct hp_walk *walk, const struct line *suspect)
{
	tell(walk, HP_FINDING_ALTERED, walk->expected);
	walk->stated = base_of(suspect);
	walk->computed.is_known = walk->doubled.is_known = false;
	walk->expected++;
}

static void decide(struct hp_walk *walk, const struct line *suspect,
		   const struct line *next)
{
	uint64_t expected = walk->expected;
	if (fits(walk, next))
		stand_between(walk, suspect);
	else if (!next->is_record)
		decide_alone(walk, suspect);
	else if (suspect->frame.seq != expected && has_wrong_number(walk, suspect, next))
		stand_in_with_wrong_number(walk, suspect);
	else if (next->frame.seq == expected + 1)
		stand_in(walk, suspect);
	else
		decide_alone(walk, suspect);
}

/* --- lines -------------------------------------------------------------------------- */

static void take_line(struct hp_walk *walk, const struct line *line)
{
	walk->has_suspect = !fits(walk, line);
	if (walk->has_suspect)
		walk->suspect = *line;
	else
		accept(walk, line);
}

void hp_walk_settle(struct hp_walk *walk)
{
	if (!walk->has_suspect)
		return;
	walk->has_suspect = false;
	decide_alone(walk, &walk->suspect);
}

void hp_walk_line(struct hp_walk *walk, const char *text, size_t len)
{
	struct line *line = &walk->line;
	line->len = len < HP_AUDIT_LINE_MAX ? len : 0;
	memcpy(line->text, text, line->len);
	line->is_record = hp_line_parse(line->text, line->len, &line->frame);
	if (walk->has_suspect)
		decide(walk, &walk->suspect, line);
	take_line(walk, line);
}

void hp_walk_expect(struct hp_walk *walk, uint64_t seq, const uint8_t *hash)
{
	walk->expected = seq;
	walk->computed.is_known = walk->doubled.is_known = false;
	walk->stated.is_known = hash != NULL;
	if (hash)
		memcpy(walk->stated.hash, hash, HP_AUDIT_HASH_LEN);
}

bool hp_walk_has_failed(const struct hp_walk *walk)
{
	return walk->has_no_memory;
}

uint64_t hp_walk_expected(const struct hp_walk *walk)
{
	return walk->expected;
}

static void tell_early(const void *node, VISIT visit, void *argument)
{
	struct hp_walk *walk = argument;
	if (visit == postorder || visit == leaf)
		tell(walk, HP_FINDING_INSERTED, (*(struct range *const *)node)->from);
}

static void tell_missing(const void *node, VISIT visit, void *argument)
{
	struct hp_walk *walk = argument;
	const struct range *range = *(struct range *const *)node;
	if (visit == postorder || visit == leaf)
		walk->hooks.tell(walk->hooks.user, HP_FINDING_REMOVED, range->from,
				 range->to);
}

static void forget_ranges(struct hp_walk *walk)
{
	tdestroy(walk->missing, free);
	tdestroy(walk->early, free);
	walk->missing = walk->early = NULL;
}

void hp_walk_end(struct hp_walk *walk, uint64_t last)
{
	hp_walk_settle(walk);
	if (last >= walk->expected)
		miss(walk, walk->expected, last);
	twalk_r(walk->early, tell_early, walk);
	twalk_r(walk->missing, tell_missing, walk);
	forget_ranges(walk);
}

struct hp_walk *hp_walk_new(const struct hp_walk_hooks *hooks)
{
	static const uint8_t zero[HP_AUDIT_HASH_LEN];
	struct hp_walk *walk = calloc(1, sizeof *walk);
	if (!walk)
		return NULL;
	walk->hooks = *hooks;
	walk->hasher = hp_line_hasher_new();
	if (!walk->hasher) {
		free(walk);
		return NULL;
	}
	hp_walk_expect(walk, 1, zero);
	return walk;
}

void hp_walk_free(struct hp_walk *walk)
{
	if (!walk)
		return;
	hp_line_hasher_free(walk->hasher);
	forget_ranges(walk);
	free(walk);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What reading an audit trail brought to light.
 */
#include "audit_report.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "observe/audit_lines.h"

#define MOST_NOTES 10000 /* more are counted only */

/* --- notes ---------------------------------------------------------------------------
 */

void audit_report_note(struct audit_report *report, const struct audit_note *where,
		       const char *format, ...)
{
	va_list arguments;

	if (report->note_count == MOST_NOTES) {
		report->omitted_count++;
		report->wrong_count += where->is_wrong;
		return;
	}
	struct audit_note *notes =
		reallocarray(report->notes, report->note_count + 1, sizeof(*notes));
	if (!notes) {
		report->has_failed = true;
		return;
	}
	report->notes = notes;
	struct audit_note *note = &notes[report->note_count++];
	*note = *where;
	va_start(arguments, format);
	vsnprintf(note->text, sizeof(note->text), format, arguments);
	va_end(arguments);
	report->wrong_count += note->is_wrong;
}

static struct audit_note place_of(const struct hp_audit_finding *finding)
{
	struct audit_note note = { .kind = hp_finding_name(finding->kind),
				   .is_wrong = hp_finding_is_wrong(finding->kind),
				   .chain = finding->chain,
				   .line = finding->line,
				   .seq = finding->seq,
				   .last = finding->last };

	if (finding->file)
		snprintf(note.file, sizeof(note.file), "%s", finding->file);
	return note;
}

/* "record 7", "records 7 to 9". */
static const char *name_records(const struct hp_audit_finding *finding, char text[64])
{
	if (finding->seq == 0)
		snprintf(text, 64, "a line");
	else if (finding->last > finding->seq)
		snprintf(text, 64, "records %" PRIu64 " to %" PRIu64, finding->seq,
			 finding->last);
	else
		snprintf(text, 64, "record %" PRIu64, finding->seq);
	return text;
}

static const char *const sayings[] = {
	[HP_FINDING_ALTERED] = "not as it was written",
	[HP_FINDING_REMOVED] = "missing",
	[HP_FINDING_INSERTED] = "was not written there",
	[HP_FINDING_REORDERED] = "not at its place",
	[HP_FINDING_MISSING_FILE] = "the file is missing",
	[HP_FINDING_UNREADABLE] = "the file cannot be read",
	[HP_FINDING_UNLISTED] = "the list of chains does not have this file",
};

static void note_finding(struct audit_report *report,
			 const struct hp_audit_finding *finding)
{
	const struct audit_note place = place_of(finding);
	char which[64];

	switch (finding->kind) {
	case HP_FINDING_TORN_END:
		audit_report_note(report, &place,
				  "the file ends within a line (%" PRIu64 " bytes)",
				  finding->bytes);
		break;
	case HP_FINDING_FOREIGN:
		snprintf(which, sizeof(which), "chain %u", finding->other);
		audit_report_note(report, &place, "has the name of %s",
				  finding->other > 0 ? which : "no chain of the list");
		break;
	case HP_FINDING_MISSING_FILE:
	case HP_FINDING_UNREADABLE:
	case HP_FINDING_UNLISTED:
		audit_report_note(report, &place, "%s", sayings[finding->kind]);
		break;
	default:
		audit_report_note(report, &place, "%s: %s", name_records(finding, which),
				  sayings[finding->kind]);
	}
}

/* Whoever was killed while it wrote a line has its record in the ring. */
static void forgive_torn_end(struct audit_report *report, unsigned chain)
{
	for (size_t i = 0; i < report->note_count; i++) {
		struct audit_note *note = &report->notes[i];

		if (note->chain != chain || !note->is_wrong ||
		    strcmp(note->kind, hp_finding_name(HP_FINDING_TORN_END)) != 0)
			continue;
		note->is_wrong = false;
		report->wrong_count--;
	}
}

static void note_pending(struct audit_report *report,
			 const struct hp_audit_finding *finding)
{
	const struct audit_note place = place_of(finding);

	if (finding->done > 0)
		forgive_torn_end(report, finding->chain);

	audit_report_note(report, &place,
			  "%" PRIu32 " records of a process that ended are not in a file "
			  "yet, and %" PRIu32 " uses were begun; the next process brings "
			  "them in",
			  finding->done, finding->begun);
}

/* --- chains --------------------------------------------------------------------------
 */

static struct audit_chain *chain_of(struct audit_report *report, unsigned number)
{
	size_t count = report->chain_count;

	if (count > 0 && report->chains[count - 1].number == number)
		return &report->chains[count - 1];
	struct audit_chain *chains =
		reallocarray(report->chains, count + 1, sizeof(*chains));
	if (!chains) {
		report->has_failed = true;
		return NULL;
	}
	report->chains = chains;
	report->chain_count++;
	chains[count] = (struct audit_chain){ .number = number };
	return &chains[count];
}

static void keep_checkpoint(struct audit_report *report,
			    const struct hp_audit_finding *finding)
{
	struct audit_chain *chain = chain_of(report, finding->chain);

	if (!chain)
		return;
	struct audit_checkpoint **place =
		&chain->recent[chain->checkpoints % AUDIT_RECENT];
	if (!*place)
		*place = calloc(1, sizeof(**place));
	if (!*place) {
		report->has_failed = true;
		return;
	}
	(*place)->line = finding->line;
	(*place)->seq = finding->seq;
	(*place)->found = *finding->checkpoint;
	snprintf((*place)->file, sizeof((*place)->file), "%s",
		 finding->file ? finding->file : "");
	chain->checkpoints++;
}

/* A checkpoint that is not about the record that is there. Retention may have deleted
 * that one; then it is about one before all that were read. */
static void judge_checkpoint(struct audit_report *report,
			     const struct hp_audit_finding *finding)
{
	const struct hp_audit_head *head = &finding->checkpoint->head;
	struct audit_note place = place_of(finding);

	if (finding->checkpoint->is_right)
		return;
	place.last = head->seq;
	place.is_wrong = finding->seq > head->seq &&
			 finding->seq - head->seq < HP_AUDIT_COMPARABLE;
	audit_report_note(report, &place,
			  "record %" PRIu64 ": vouches for a record %" PRIu64 " that %s",
			  finding->seq, head->seq,
			  place.is_wrong ? "is not the one that is there"
					 : "is too far away to compare");
}

static void end_chain(struct audit_report *report, const struct hp_audit_finding *finding)
{
	struct audit_chain *chain = chain_of(report, finding->chain);

	if (!chain)
		return;
	chain->read = *finding->read;
	uint64_t first = chain->read.head.seq - chain->read.records + 1;
	for (size_t i = 0; i < report->note_count; i++) {
		struct audit_note *note = &report->notes[i];
		bool is_about_deleted = note->chain == chain->number && note->is_wrong &&
					strcmp(note->kind, "checkpoint") == 0 &&
					note->last < first;
		report->wrong_count -= is_about_deleted;
		note->is_wrong = note->is_wrong && !is_about_deleted;
	}
}

const struct audit_checkpoint *audit_chain_checkpoint(const struct audit_chain *chain,
						      uint64_t back)
{
	if (back >= chain->checkpoints || back >= AUDIT_RECENT)
		return NULL;
	return chain->recent[(chain->checkpoints - 1 - back) % AUDIT_RECENT];
}

uint64_t audit_chain_following(const struct audit_chain *chain, uint64_t vouched)
{
	uint64_t last = chain->read.head.seq, records = chain->read.records;
	uint64_t following = last > vouched ? last - vouched - 1 : 0;

	return vouched == 0 || following > records ? records : following;
}

/* --- lines ---------------------------------------------------------------------------
 */

/* Where a record does not fit shows a line or two later: find its own. */
#define NEAR 2

static bool has_number(const char *line, uint64_t seq)
{
	char opening[40];
	int len = snprintf(opening, sizeof(opening), "{\"seq\":%" PRIu64 ",", seq);

	return strncmp(line, opening, (size_t)len) == 0;
}

/* notes: of this file, by their lines. It is read as far as they are. */
static void locate_in_file(struct hp_audit_lines *lines, struct audit_note *notes,
			   size_t count)
{
	const char *text;
	size_t len, at = 0;

	for (;;) {
		while (at < count &&
		       (notes[at].line == 0 || notes[at].line + NEAR <= lines->number))
			at++;
		if (at == count || !hp_audit_lines_next(lines, &text, &len))
			break;
		for (size_t i = at; i < count && notes[i].line <= lines->number + NEAR;
		     i++)
			if (notes[i].line > 0 && has_number(text, notes[i].seq))
				notes[i].line = lines->number;
	}
}

static void locate_notes(struct audit_report *report, const char *path)
{
	HP_AUTO_FD int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t end;

	for (size_t i = 0; i < report->note_count; i = end) {
		struct audit_note *notes = &report->notes[i];
		struct hp_audit_lines lines;

		for (end = i + 1; end < report->note_count; end++)
			if (strcmp(report->notes[end].file, notes->file) != 0)
				break;
		if (*notes->file && hp_audit_lines_open(&lines, folder, notes->file)) {
			locate_in_file(&lines, notes, end - i);
			hp_audit_lines_close(&lines);
		}
	}
}

/* --- all of it -----------------------------------------------------------------------
 */

static void take_finding(void *user, const struct hp_audit_finding *finding)
{
	struct audit_report *report = user;

	switch (finding->kind) {
	case HP_FINDING_PENDING:
		note_pending(report, finding);
		break;
	case HP_FINDING_CHECKPOINT:
		keep_checkpoint(report, finding);
		judge_checkpoint(report, finding);
		break;
	case HP_FINDING_HEAD:
		report->has_found_head = true;
		report->head = place_of(finding);
		break;
	case HP_FINDING_CHAIN:
		end_chain(report, finding);
		break;
	default:
		note_finding(report, finding);
	}
}

hsmpool_status audit_report_make(struct audit_report *report, const char *folder,
				 const uint8_t *head, hsmpool_error *err)
{
	const struct hp_verify_request request = { folder, head, take_finding, report };

	HP_TRY(hp_audit_verify(&request, err));
	HP_CHECK(!report->has_failed, err, HSMPOOL_ERR_SYSTEM,
		 "no memory for what was found");
	locate_notes(report, folder);
	return HSMPOOL_OK;
}

void audit_report_free(struct audit_report *report)
{
	for (size_t i = 0; i < report->chain_count; i++)
		for (size_t k = 0; k < AUDIT_RECENT; k++)
			free(report->chains[i].recent[k]);
	free(report->chains);
	free(report->notes);
	*report = (struct audit_report){ 0 };
}

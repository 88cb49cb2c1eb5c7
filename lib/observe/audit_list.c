/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See audit_list.h.
 */
#include "observe/audit_list.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "base/error.h"
#include "base/state_dir.h"
#include "base/time.h"
#include "observe/audit_folder.h"
#include "observe/audit_write.h"

#define PATIENCE (5 * HP_SECOND)

static struct hp_audit_line begin_line(struct hp_audit_list *list, const char *event)
{
	struct hp_audit_line line;
	hp_line_begin(&line, list->lines + list->len, list->head.seq + 1,
		      hp_clock_ns(CLOCK_REALTIME));
	HP_LINE_NUMBER(&line, "pid", (uint64_t)getpid());
	HP_LINE_TEXT(&line, "event", event, strlen(event));
	return line;
}

static void end_line(struct hp_audit_list *list, struct hp_audit_line *line)
{
	list->is_whole =
		list->is_whole && hp_line_end(line, list->hasher, list->head.hash);
	list->head.seq++;
	list->len = (size_t)(line->at - list->lines);
}

void hp_audit_list_add(struct hp_audit_list *list, const struct hp_list_entry *entry)
{
	struct hp_audit_line line = begin_line(list, entry->event);
	HP_LINE_NUMBER(&line, "number", entry->number);
	if (entry->chain)
		HP_LINE_TEXT(&line, "chain", entry->chain, strlen(entry->chain));
	if (entry->file)
		HP_LINE_TEXT(&line, "file", entry->file, strlen(entry->file));
	if (entry->head) {
		HP_LINE_NUMBER(&line, "last", entry->head->seq);
		HP_LINE_HEX(&line, "head", entry->head->hash, HP_AUDIT_HASH_LEN);
	}
	if (entry->reason)
		HP_LINE_TEXT(&line, "reason", entry->reason, strlen(entry->reason));
	end_line(list, &line);
}

static void note_cut(struct hp_audit_list *list, uint64_t bytes)
{
	struct hp_audit_line line = begin_line(list, "cut");
	HP_LINE_NUMBER(&line, "bytes", bytes);
	end_line(list, &line);
}

/* A last line that is none stays for `audit verify` to find; the list goes on. */
static hsmpool_status find_end(struct hp_audit_list *list, hsmpool_error *err)
{
	struct hp_audit_tail tail;
	if (!hp_audit_read_tail(list->file, &tail) ||
	    (tail.whole < tail.size && ftruncate(list->file, (off_t)tail.whole) != 0))
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
				     "audit: %s cannot be read", HP_AUDIT_LIST_NAME);
	list->size = tail.whole;
	list->head.seq = tail.seq;
	memcpy(list->head.hash, tail.hash, sizeof tail.hash);
	if (tail.whole < tail.size)
		note_cut(list, tail.size - tail.whole);
	return HSMPOOL_OK;
}

hsmpool_status hp_audit_list_open(struct hp_audit_list *list, int folder,
				  hsmpool_error *err)
{
	list->file = -1;
	list->len = 0;
	list->head = (struct hp_ring_head){ 0 };
	list->is_whole = true;
	list->hasher = hp_line_hasher_new();
	HP_CHECK(list->hasher, err, HSMPOOL_ERR_SYSTEM,
		 "audit: SHA-256 is not available");
	hsmpool_status status = hp_owned_file_open("audit", folder, HP_AUDIT_LIST_NAME,
						   true, &list->file, err);
	if (status == HSMPOOL_OK)
		status = hp_state_file_lock(list->file, hp_now_ns() + PATIENCE, err);
	if (status == HSMPOOL_OK)
		status = find_end(list, err);
	if (status != HSMPOOL_OK)
		hp_audit_list_close(list);
	return status;
}

hsmpool_status hp_audit_list_write(struct hp_audit_list *list, hsmpool_error *err)
{
	HP_CHECK(list->is_whole, err, HSMPOOL_ERR_SYSTEM, "audit: no hash could be made");
	bool is_torn = false;
	int failure =
		hp_audit_append(list->file, list->lines, list->len, list->size, &is_torn);
	if (failure)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, failure,
				     "audit: %s cannot be written", HP_AUDIT_LIST_NAME);
	list->size += list->len;
	list->len = 0;
	return HSMPOOL_OK;
}

void hp_audit_list_close(struct hp_audit_list *list)
{
	if (list->file >= 0)
		hp_state_file_close(&list->file);
	hp_line_hasher_free(list->hasher);
	list->hasher = NULL;
}

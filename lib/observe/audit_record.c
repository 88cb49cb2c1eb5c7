/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The line of a slot: which members it has, in which order.
 *
 * Must not: write, or know where the slot is in the order of records.
 */
#include "observe/audit_chain.h"

#include <string.h>

static const char *const events[] = {
	[HP_AUDIT_OPERATION] = "operation",
	[HP_AUDIT_MANAGEMENT] = "management",
	[HP_AUDIT_LOGIN] = "login",
};

/* What is the same for all records of a process. One that is not the ring's, because it
 * died while it took the ring over, is known by its number only. */
static void put_writer(struct hp_audit_line *line, const struct hp_audit_writer *writer,
		       uint32_t pid)
{
	if (writer->pid != pid) {
		HP_LINE_NUMBER(line, "pid", pid);
		return;
	}
	HP_LINE_TEXT(line, "host", writer->host, strlen(writer->host));
	HP_LINE_NUMBER(line, "pid", pid);
	HP_LINE_NUMBER(line, "uid", writer->uid);
	HP_LINE_TEXT(line, "program", writer->program, strlen(writer->program));
}

struct hp_audit_line hp_audit_chain_begin_line(struct hp_audit_chain *chain,
					       int64_t time_ns)
{
	struct hp_audit_line line;
	hp_line_begin(&line, chain->lines + chain->len, chain->next.seq + 1, time_ns);
	put_writer(&line, &chain->writer, chain->writer.pid);
	return line;
}

#define PUT_TEXT(line, slot, name, which)                                      \
	do {                                                                   \
		size_t text_len;                                               \
		const char *text = hp_audit_slot_text(slot, which, &text_len); \
		if (text_len)                                                  \
			HP_LINE_TEXT(line, name, text, text_len);              \
	} while (0)

static void put_request(struct hp_audit_line *line, uint64_t request)
{
	uint8_t bytes[8];
	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(request >> (56 - 8 * i));
	HP_LINE_HEX(line, "request", bytes, sizeof bytes);
}

/* Every member of it is preceded by a comma; the first comma becomes the brace. */
static void put_key(struct hp_audit_line *line, const struct hp_audit_slot *slot)
{
	size_t id_len;
	const char *id = hp_audit_slot_text(slot, HP_TEXT_ID, &id_len);
	if (!slot->lengths[HP_TEXT_LABEL] && !slot->lengths[HP_TEXT_FINGERPRINT] &&
	    !id_len)
		return;
	HP_LINE_RAW(line, ",\"key\":");
	char *opening = line->at;
	PUT_TEXT(line, slot, "label", HP_TEXT_LABEL);
	if (id_len)
		HP_LINE_HEX(line, "id", id, id_len);
	PUT_TEXT(line, slot, "fingerprint", HP_TEXT_FINGERPRINT);
	*opening = '{';
	HP_LINE_RAW(line, "}");
}

static void put_outcome(struct hp_audit_line *line, const struct hp_audit_slot *slot)
{
	HP_LINE_NUMBER(line, "in", slot->input_len);
	if (atomic_load_explicit(&slot->state, memory_order_relaxed) != HP_SLOT_DONE) {
		HP_LINE_RAW(line, ",\"outcome\":\"unknown\"");
		return;
	}
	HP_LINE_NUMBER(line, "out", slot->output_len);
	PUT_TEXT(line, slot, "result", HP_TEXT_RESULT);
	HP_LINE_NUMBER(line, "us",
		       slot->duration_ns > 0 ? (uint64_t)slot->duration_ns / 1000 : 0);
}

static void put_facts(struct hp_audit_line *line, const struct hp_audit_slot *slot)
{
	PUT_TEXT(line, slot, "pool", HP_TEXT_POOL);
	PUT_TEXT(line, slot, "token", HP_TEXT_TOKEN);
	if (slot->session)
		HP_LINE_NUMBER(line, "session", slot->session);
	if (slot->request)
		put_request(line, slot->request);
	const char *event =
		events[slot->event <= HP_AUDIT_LOGIN ? slot->event : HP_AUDIT_OPERATION];
	HP_LINE_TEXT(line, "event", event, strlen(event));
	PUT_TEXT(line, slot, "function", HP_TEXT_FUNCTION);
	PUT_TEXT(line, slot, "mechanism", HP_TEXT_MECHANISM);
	put_key(line, slot);
	PUT_TEXT(line, slot, "target", HP_TEXT_TARGET);
}

/* The number goes to the slot before the line goes to the file: whoever finds the slot
 * and the file can tell whether the one is in the other. */
void hp_audit_chain_add_slot(struct hp_audit_chain *chain, struct hp_audit_slot *slot,
			     const struct hp_audit_writer *writer)
{
	struct hp_audit_line line;
	slot->seq = chain->next.seq + 1;
	hp_line_begin(&line, chain->lines + chain->len, slot->seq, slot->time_ns);
	put_writer(&line, writer, slot->pid);
	put_facts(&line, slot);
	put_outcome(&line, slot);
	hp_audit_chain_end_line(chain, &line);
}

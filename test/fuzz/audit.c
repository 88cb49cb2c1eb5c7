/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines of an audit trail: any bytes; and a trail of some records on which the input
 * makes its edits. Whatever it did, a trail that is not as it was written is not called
 * whole, and one that is as it was is.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include "observe/audit_walk.h"

#define RECORDS   10
#define ROOM      (16 * 1024)
#define EDIT_SIZE 5

struct trail {
	char text[ROOM];
	size_t len;
};

static void write_trail(struct trail *trail)
{
	struct hp_line_hasher *hasher = hp_line_hasher_new();
	uint8_t hash[HP_AUDIT_HASH_LEN] = { 0 };
	char *at = trail->text;
	MUST(hasher);
	for (uint64_t seq = 1; seq <= RECORDS; seq++) {
		struct hp_audit_line line;
		hp_line_begin(&line, at, seq, (int64_t)seq * 1000000007);
		HP_LINE_TEXT(&line, "event", "operation", 9);
		HP_LINE_NUMBER(&line, "in", seq % 3);
		MUST(hp_line_end(&line, hasher, hash));
		at = line.at;
	}
	trail->len = (size_t)(at - trail->text);
	hp_line_hasher_free(hasher);
}

static void count_wrong(void *user, enum hp_finding_kind kind, uint64_t seq,
			uint64_t last)
{
	MUST(hp_finding_is_wrong(kind) && last >= seq);
	++*(unsigned *)user;
}

/* The members of a record lie within it, whatever it is. */
static void read_members(void *user, const char *line, size_t len,
			 const struct hp_line_frame *frame)
{
	char text[16];
	size_t member_len = 0;
	const char *member = hp_line_member(line, len, "event", &member_len);
	(void)user;
	MUST(frame->body_len < len);
	MUST(!member || (member >= line && member + member_len <= line + len));
	hp_line_member_text(line, len, "event", text, sizeof text);
	hp_line_member_number(line, len, "in");
}

static unsigned walk(const char *text, size_t len, uint64_t last)
{
	unsigned wrong = 0;
	const struct hp_walk_hooks hooks = { count_wrong, read_members, &wrong };
	struct hp_walk *walk = hp_walk_new(&hooks);
	MUST(walk);
	const char *end;
	while ((end = memchr(text, '\n', len))) {
		hp_walk_line(walk, text, (size_t)(end - text));
		len -= (size_t)(end - text) + 1;
		text = end + 1;
	}
	hp_walk_end(walk, last);
	MUST(!hp_walk_has_failed(walk));
	hp_walk_free(walk);
	return wrong + (len > 0); /* a torn end */
}

static size_t line_at(const struct trail *trail, size_t at)
{
	while (at > 0 && trail->text[at - 1] != '\n')
		at--;
	return at;
}

static size_t line_len(const struct trail *trail, size_t at)
{
	const char *end = memchr(trail->text + at, '\n', trail->len - at);
	return end ? (size_t)(end - trail->text) - at + 1 : trail->len - at;
}

static void remove_bytes(struct trail *trail, size_t at, size_t count)
{
	count = count < trail->len - at ? count : trail->len - at;
	memmove(trail->text + at, trail->text + at + count, trail->len - at - count);
	trail->len -= count;
}

static void insert_bytes(struct trail *trail, size_t at, const char *bytes, size_t count)
{
	if (trail->len + count > ROOM)
		return;
	memmove(trail->text + at + count, trail->text + at, trail->len - at);
	memcpy(trail->text + at, bytes, count);
	trail->len += count;
}

/* Two bytes say where, one what, two more are for the edit itself. */
static void edit(struct trail *trail, const uint8_t *command)
{
	char copy[ROOM];
	if (trail->len == 0)
		return;
	size_t at = (size_t)(command[0] << 8 | command[1]) % trail->len;
	size_t other = (size_t)(command[3] << 8 | command[4]) % trail->len;
	size_t from = line_at(trail, at);
	size_t len = line_len(trail, from);
	switch (command[2] % 5) {
	case 0:
		trail->text[at] = (char)command[3];
		break;
	case 1:
		remove_bytes(trail, at, command[3]);
		break;
	case 2:
		insert_bytes(trail, at, (const char *)command + 3, 2);
		break;
	case 3:
		remove_bytes(trail, from, len);
		break;
	default:
		memcpy(copy, trail->text + from, len);
		insert_bytes(trail, line_at(trail, other), copy, len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct trail whole, edited;
	walk((const char *)data, len, 0);
	if (whole.len == 0)
		write_trail(&whole);
	edited = whole;
	for (; len >= EDIT_SIZE; data += EDIT_SIZE, len -= EDIT_SIZE)
		edit(&edited, data);
	bool is_whole = edited.len == whole.len &&
			memcmp(edited.text, whole.text, whole.len) == 0;
	MUST((walk(edited.text, edited.len, RECORDS) == 0) == is_whole);
	return 0;
}

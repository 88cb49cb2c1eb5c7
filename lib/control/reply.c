/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See reply.h.
 */
#include "control/reply.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/time.h"
#include "observe/utf8.h"

#define FIRST_CAP 4096u
#define MOST      (16u << 20)

/* Room for more bytes and a NUL. */
static bool make_room(struct hp_reply *reply, size_t more)
{
	size_t cap = reply->cap ? reply->cap : FIRST_CAP;
	if (reply->has_failed || more >= MOST || reply->len + more >= MOST) {
		reply->has_failed = true;
		return false;
	}
	while (cap <= reply->len + more)
		cap *= 2;
	char *text = cap == reply->cap ? reply->text : realloc(reply->text, cap);
	reply->has_failed = !text;
	if (!text)
		return false;
	reply->text = text;
	reply->cap = cap;
	return true;
}

void hp_reply_add_bytes(struct hp_reply *reply, const char *bytes, size_t len)
{
	if (!make_room(reply, len))
		return;
	memcpy(reply->text + reply->len, bytes, len);
	reply->len += len;
	reply->text[reply->len] = '\0';
}

void hp_reply_add(struct hp_reply *reply, const char *format, ...)
{
	char line[1024];
	va_list arguments;
	va_start(arguments, format);
	int len = vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (len < 0 || (size_t)len >= sizeof(line))
		reply->has_failed = true;
	else
		hp_reply_add_bytes(reply, line, (size_t)len);
}

void hp_reply_clear(struct hp_reply *reply)
{
	reply->len = 0;
	reply->has_failed = false;
}

/* --- JSON --------------------------------------------------------------------------- */

static bool is_first(const struct hp_reply *reply)
{
	if (reply->len == 0)
		return true;
	char last = reply->text[reply->len - 1];
	return last == '{' || last == '[' || last == '\n';
}

static void add_string(struct hp_reply *reply, const char *text)
{
	hp_reply_add_bytes(reply, "\"", 1);
	for (const char *at = text; *at;) {
		unsigned char byte = (unsigned char)*at;
		size_t len = hp_utf8_length(at);
		if (byte == '"' || byte == '\\')
			hp_reply_add(reply, "\\%c", byte);
		else if (len == 0 || byte < 0x20 || byte == 0x7f)
			hp_reply_add(reply, "\\u%04x", byte);
		else
			hp_reply_add_bytes(reply, at, len);
		at += len ? len : 1;
	}
	hp_reply_add_bytes(reply, "\"", 1);
}

static void begin_value(struct hp_reply *reply, const char *name)
{
	if (!is_first(reply))
		hp_reply_add_bytes(reply, ",", 1);
	if (!name)
		return;
	add_string(reply, name);
	hp_reply_add_bytes(reply, ":", 1);
}

void hp_json_begin(struct hp_reply *reply, const char *name, char bracket)
{
	begin_value(reply, name);
	hp_reply_add_bytes(reply, &bracket, 1);
}

void hp_json_end(struct hp_reply *reply, char bracket)
{
	hp_reply_add_bytes(reply, &bracket, 1);
}

void hp_json_text(struct hp_reply *reply, const char *name, const char *value)
{
	begin_value(reply, name);
	add_string(reply, value);
}

void hp_json_number(struct hp_reply *reply, const char *name, uint64_t value)
{
	begin_value(reply, name);
	hp_reply_add(reply, "%" PRIu64, value);
}

void hp_json_seconds(struct hp_reply *reply, const char *name, uint64_t ns)
{
	begin_value(reply, name);
	hp_reply_add(reply, "%" PRIu64 ".%06" PRIu64, ns / (uint64_t)HP_SECOND,
		     ns % (uint64_t)HP_SECOND / (uint64_t)HP_US);
}

void hp_json_bool(struct hp_reply *reply, const char *name, bool value)
{
	begin_value(reply, name);
	hp_reply_add(reply, "%s", value ? "true" : "false");
}

void hp_json_null(struct hp_reply *reply, const char *name)
{
	begin_value(reply, name);
	hp_reply_add(reply, "null");
}

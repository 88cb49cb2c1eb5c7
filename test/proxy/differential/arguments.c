/* SPDX-License-Identifier: Apache-2.0 */
/* From the numbers in an abstract call to what a module is called with, and back. */
#include "differential.h"

#include <string.h>

const CK_ULONG input_lengths[INPUT_FIXED_COUNT] = {
	0, 1, 5, 16, 17, 20, 32, 33, 48, 64, 100, 128, 200, 256, 1000, 2000
};

#define UNKNOWN_HANDLE 0xdead0000beefu
#define UNTOUCHED      0xa5

CK_SESSION_HANDLE session_of(const struct worker *w, const struct call *call)
{
	if (call->session < SESSIONS)
		return w->sessions[call->session];
	return call->session == SESSION_ZERO ? 0 : UNKNOWN_HANDLE;
}

CK_OBJECT_HANDLE object_of(const struct worker *w, uint8_t object)
{
	if (object < OBJECTS)
		return w->objects[object];
	return object == OBJECT_ZERO ? 0 : UNKNOWN_HANDLE;
}

CK_SLOT_ID slot_of(const struct worker *w, const struct call *call)
{
	return w->slots[call->slot % SLOT_REFERENCES];
}

static CK_BYTE *fixed_text(void)
{
	static CK_BYTE text[2048];

	for (size_t i = 0; text[0] == 0 && i < sizeof(text); i++)
		text[sizeof(text) - 1 - i] = (CK_BYTE)(i * 7 + 3 - (i >> 8));
	text[0] = 1;
	return text;
}

struct input input_of(struct worker *w, uint8_t input)
{
	if (input < INPUT_FIXED_COUNT)
		return (struct input){ fixed_text(), input_lengths[input] };
	if (input == INPUT_NULL)
		return (struct input){ NULL, 0 };
	if (input >= INPUT_NULL_LONG)
		return (struct input){ NULL, 16 };

	unsigned which = (input - INPUT_BUFFER) % BUFFERS;
	CK_ULONG len = w->buffer_len[which];
	if (input < INPUT_FIRST_HALF)
		return (struct input){ w->buffers[which], len };
	if (input < INPUT_SECOND_HALF)
		return (struct input){ w->buffers[which], len / 2 };
	return (struct input){ w->buffers[which] + len / 2, len - len / 2 };
}

static CK_ULONG room_of(const struct worker *w, const struct call *call)
{
	CK_ULONG last = call->session < SESSIONS ? w->last_len[call->session] : 0;

	switch (call->output) {
	case OUTPUT_LARGE:
		return sizeof(w->out) / 2;
	case OUTPUT_ONE:
		return 1;
	case OUTPUT_SHORT:
		return last > 0 ? last - 1 : 0;
	case OUTPUT_EXACT:
		return last;
	default:
		return 0;
	}
}

struct output output_of(struct worker *w, const struct call *call)
{
	struct output output = { .room = room_of(w, call) };

	memset(w->out, UNTOUCHED, sizeof(w->out));
	output.len = output.room;
	output.data = call->output == OUTPUT_QUERY ? NULL : w->out;
	return output;
}

static void keep(struct worker *w, uint8_t store, CK_ULONG len)
{
	unsigned which = store % BUFFERS;
	CK_ULONG at = store >= STORE_APPEND ? w->buffer_len[which] : 0;

	if (store >= STORE_REFERENCES || len > BUFFER_SIZE - at)
		return;
	memcpy(w->buffers[which] + at, w->out, len);
	w->buffer_len[which] = at + len;
}

/* The length is compared even after an error: some modules set it, some do not. What is
 * behind the room that was offered must be as it was. */
void output_came(struct worker *w, const struct call *call, const struct output *output,
		 CK_RV rv, struct answer *answer)
{
	CK_ULONG len = output->len;

	note(answer, "len", len);
	if ((rv == CKR_OK || rv == CKR_BUFFER_TOO_SMALL) && call->session < SESSIONS &&
	    len < sizeof(w->out) / 2)
		w->last_len[call->session] = len;
	for (CK_ULONG i = output->room; i < sizeof(w->out); i++)
		if (w->out[i] != UNTOUCHED) {
			note(answer, "written behind the room", i - output->room);
			break;
		}
	if (rv != CKR_OK || output->data == NULL || len > output->room)
		return;
	note_bytes(answer, "output", w->out, len);
	keep(w, call->store, len);
}

uint64_t hash_bytes(const void *data, size_t len)
{
	const uint8_t *byte = data;
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ byte[i]) * 0x100000001b3u;
	return hash;
}

void note(struct answer *answer, const char *name, uint64_t value)
{
	if (answer->count < ITEMS)
		answer->items[answer->count++] = (struct item){ name, value };
}

void note_bytes(struct answer *answer, const char *name, const void *data, size_t len)
{
	note(answer, name, hash_bytes(data, len));
}

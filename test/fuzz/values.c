/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single values: numbers, durations, sizes, choices, sources of PINs, hex. Any text.
 * A number that was understood can be written down and is understood alike.
 */
#include "fuzz.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "config/options.h"
#include "config/value.h"
#include "p11/pin.h"

static void read_numbers(const char *text)
{
	char written[32];
	uint64_t value = 0, again = 0;
	int64_t ns = 0;
	if (hp_parse_number(text, &value)) {
		snprintf(written, sizeof(written), "%" PRIu64, value);
		MUST(hp_parse_number(written, &again) && again == value);
	}
	if (hp_parse_size(text, &value)) {
		snprintf(written, sizeof(written), "%" PRIu64 "B", value);
		MUST(hp_parse_size(written, &again) && again == value);
	}
	if (hp_parse_duration(text, &ns))
		MUST(ns >= 0 && ns % 1000 == 0);
}

static void read_words(const char *text)
{
	static const char choices[] = "no|deterministic|yes";
	int choice = hp_parse_choice(choices, text);
	MUST(choice >= -1 && choice <= 2);
	MUST((choice == 2) == (strcmp(text, "yes") == 0));
	size_t distance = hp_edit_distance(text, choices);
	MUST(distance == hp_edit_distance(choices, text));
	MUST(hp_edit_distance(text, text) == (strlen(text) <= 64 ? 0 : SIZE_MAX));
}

static void read_hex(const char *text)
{
	uint8_t bytes[16];
	char written[2 * sizeof(bytes) + 1];
	size_t len = 0;
	if (!hp_hex_decode(text, bytes, sizeof(bytes), &len))
		return;
	MUST(len <= sizeof(bytes));
	hp_hex_encode(bytes, len, written);
	MUST(strcasecmp(written, text) == 0);
}

/* The text is not repeated: it may be the PIN itself. */
static void read_pin_source(const char *text)
{
	hsmpool_error err = { 0 };
	hsmpool_error other = { 0 };
	hsmpool_status status = hp_pin_source_check(text, &err);
	fuzz_must_explain(status, &err);
	(void)hp_pin_source_is_rereadable(text);
	if (status == HSMPOOL_OK || strchr(text, ':') || strncmp(text, "prompt", 6) == 0)
		return;
	MUST(hp_pin_source_check("other", &other) == status);
	MUST(strcmp(err.text, other.text) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = fuzz_text(data, len);
	read_numbers(text);
	read_words(text);
	read_hex(text);
	read_pin_source(text);
	free(text);
	return 0;
}

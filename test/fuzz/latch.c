/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PIN latch's file: any text, for a disk may have damaged it, with the checksum that
 * fits, or the parser would never be reached. A record that is accepted is written, and
 * read again, as it was.
 */
#include "fuzz.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "pool/latch_record.h"

/* FNV-1a, as the file has it. */
static uint64_t check_of(const uint8_t *data, size_t len)
{
	uint64_t sum = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < len; i++)
		sum = (sum ^ data[i]) * UINT64_C(0x100000001b3);
	return sum;
}

/* The file that begins with data; data's length too if there is no room for more. */
static char *make_file(const uint8_t *data, size_t len, size_t *file_len)
{
	char line[32];
	int line_len = snprintf(line, sizeof(line), "check = %016" PRIx64 "\n",
				check_of(data, len));
	size_t whole = len + (size_t)line_len;
	*file_len = whole < HP_LATCH_TEXT_LEN ? HP_LATCH_TEXT_LEN : whole;
	char *file = malloc(*file_len);
	MUST(file);
	memset(file, '\n', *file_len);
	if (len > 0)
		memcpy(file, data, len);
	memcpy(file + len, line, (size_t)line_len);
	return file;
}

static void must_be_written_alike(const struct hp_latch_record *record)
{
	char text[HP_LATCH_TEXT_LEN], second[HP_LATCH_TEXT_LEN];
	struct hp_latch_record again;
	hp_latch_record_print(record, text);
	MUST(hp_latch_record_parse(text, sizeof(text), &again));
	hp_latch_record_print(&again, second);
	MUST(memcmp(text, second, sizeof(text)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct hp_latch_record record;
	size_t file_len;
	char *file = make_file(data, len, &file_len);
	if (hp_latch_record_parse(file, file_len, &record))
		must_be_written_alike(&record);
	free(file);
	return 0;
}

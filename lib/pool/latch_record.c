/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See latch_record.h.
 *
 *   hsmpool-pin-latch 1
 *   manufacturer = SoftHSM project
 *   model = SoftHSM v2
 *   serial = 5c1f1a2b3c4d5e6f
 *   label = payments
 *   salt = 32 hex digits
 *   pin = MARK refused|begun CKR UNKNOWN-TRIES SECONDS PROCESS new|old    (none to eight)
 *   check = FNV-1a of all above, 16 hex digits
 *
 * and line ends up to the length.
 */
#include "pool/latch_record.h"

#include <stdio.h>
#include <string.h>
#include "base/memory.h"
#include "p11/token.h"

#define TITLE "hsmpool-pin-latch 1\n"

static const char *const state_names[] = {
	[HP_LATCH_BEGUN] = "begun", [HP_LATCH_REFUSED] = "refused"
};

/* Against damage, not against forgery. */
static unsigned long long check_of(const char *text, size_t len)
{
	uint64_t sum = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < len; i++)
		sum = (sum ^ (uint8_t)text[i]) * UINT64_C(0x100000001b3);
	return sum;
}

/* --- printing ----------------------------------------------------------------------- */

void hp_latch_record_print(const struct hp_latch_record *record,
			   char text[static HP_LATCH_TEXT_LEN])
{
	char salt[2 * HP_LATCH_SALT_LEN + 1];
	hp_hex_encode(record->salt, sizeof record->salt, salt);
	memset(text, '\n', HP_LATCH_TEXT_LEN);
	int len = snprintf(text, HP_LATCH_TEXT_LEN,
			   TITLE "manufacturer = %s\nmodel = %s\nserial = %s\n"
				 "label = %s\nsalt = %s\n",
			   record->manufacturer, record->model, record->serial,
			   record->label, salt);
	for (size_t i = 0; i < HP_LATCH_PINS; i++) {
		const struct hp_latch_pin *pin = &record->pins[i];
		if (pin->state == HP_LATCH_NONE)
			continue;
		len += snprintf(text + len, HP_LATCH_TEXT_LEN - (size_t)len,
				"pin = %04x %s 0x%lx %u %lld %d %s\n",
				(unsigned)pin->mark, state_names[pin->state], pin->rv,
				pin->unknown, pin->time_s, pin->process,
				pin->is_old ? "old" : "new");
	}
	len += snprintf(text + len, HP_LATCH_TEXT_LEN - (size_t)len, "check = %016llx\n",
			check_of(text, (size_t)len));
	text[len] = '\n'; /* instead of the NUL */
}

/* --- parsing ------------------------------------------------------------------------ */

/* The value of the line "key = value" at *at, which moves on to the next. */
static bool take_line(const char **at, const char *key, char *value, size_t cap)
{
	size_t key_len = strlen(key);
	const char *end = strchr(*at, '\n');
	if (!end || strncmp(*at, key, key_len) != 0 ||
	    strncmp(*at + key_len, " = ", 3) != 0)
		return false;
	const char *start = *at + key_len + 3;
	size_t len = start <= end ? (size_t)(end - start) : cap;
	if (len >= cap)
		return false;
	memcpy(value, start, len);
	value[len] = '\0';
	*at = end + 1;
	return true;
}

static bool parse_pin(const char *text, struct hp_latch_pin *pin)
{
	char state[9], age[5];
	unsigned mark;
	if (sscanf(text, "%4x %8s %lx %u %lld %d %4s", &mark, state, &pin->rv,
		   &pin->unknown, &pin->time_s, &pin->process, age) != 7)
		return false;
	pin->mark = (uint16_t)mark;
	pin->is_old = strcmp(age, "old") == 0;
	for (size_t i = HP_LATCH_BEGUN; i <= HP_LATCH_REFUSED; i++)
		if (strcmp(state, state_names[i]) == 0)
			pin->state = (enum hp_latch_state)i;
	return pin->state != HP_LATCH_NONE;
}

static bool parse_lines(const char *at, struct hp_latch_record *out)
{
	char salt[2 * HP_LATCH_SALT_LEN + 1], line[128];
	size_t salt_len, count = 0;
	bool is_good = take_line(&at, "manufacturer", out->manufacturer,
				 sizeof out->manufacturer) &&
		       take_line(&at, "model", out->model, sizeof out->model) &&
		       take_line(&at, "serial", out->serial, sizeof out->serial) &&
		       take_line(&at, "label", out->label, sizeof out->label) &&
		       take_line(&at, "salt", salt, sizeof salt) &&
		       hp_hex_decode(salt, out->salt, sizeof out->salt, &salt_len) &&
		       salt_len == sizeof out->salt;
	while (is_good && take_line(&at, "pin", line, sizeof line))
		is_good = count < HP_LATCH_PINS && parse_pin(line, &out->pins[count++]);
	return is_good && *at == '\0';
}

bool hp_latch_record_parse(const char *text, size_t len, struct hp_latch_record *out)
{
	char copy[HP_LATCH_TEXT_LEN + 1];
	*out = (struct hp_latch_record){ 0 };
	if (len != HP_LATCH_TEXT_LEN || memchr(text, '\0', len))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	char *check = strstr(copy, "\ncheck = ");
	unsigned long long sum;
	if (strncmp(copy, TITLE, strlen(TITLE)) != 0 || !check ||
	    sscanf(check, "\ncheck = %16llx", &sum) != 1)
		return false;
	check[1] = '\0';
	return sum == check_of(copy, strlen(copy)) &&
	       parse_lines(copy + strlen(TITLE), out);
}

/* --- what is in it ------------------------------------------------------------------ */

static void copy_text(char *to, const CK_UTF8CHAR *field, size_t len)
{
	hp_token_text(field, len, to);
	for (; *to; to++)
		if ((unsigned char)*to < 0x20 || *to == 0x7f)
			*to = '?';
}

void hp_latch_record_describe(struct hp_latch_record *record, const CK_TOKEN_INFO *token)
{
	copy_text(record->manufacturer, token->manufacturerID,
		  sizeof token->manufacturerID);
	copy_text(record->model, token->model, sizeof token->model);
	copy_text(record->serial, token->serialNumber, sizeof token->serialNumber);
	copy_text(record->label, token->label, sizeof token->label);
}

bool hp_latch_record_is_clear(const struct hp_latch_record *record)
{
	return record->pins[0].state == HP_LATCH_NONE;
}

struct hp_latch_pin *hp_latch_record_find(struct hp_latch_record *record, uint16_t mark)
{
	for (size_t i = 0; i < HP_LATCH_PINS; i++)
		if (record->pins[i].state != HP_LATCH_NONE &&
		    record->pins[i].mark == mark)
			return &record->pins[i];
	return NULL;
}

void hp_latch_record_remove(struct hp_latch_record *record, struct hp_latch_pin *pin)
{
	size_t after = (size_t)(&record->pins[HP_LATCH_PINS] - (pin + 1));
	memmove(pin, pin + 1, after * sizeof *pin);
	record->pins[HP_LATCH_PINS - 1] = (struct hp_latch_pin){ 0 };
}

static struct hp_latch_pin *find_free(struct hp_latch_record *record)
{
	for (size_t i = 0; i < HP_LATCH_PINS; i++)
		if (record->pins[i].state == HP_LATCH_NONE)
			return &record->pins[i];
	return NULL;
}

struct hp_latch_pin *hp_latch_record_add(struct hp_latch_record *record, uint16_t mark)
{
	struct hp_latch_pin *pin = find_free(record);
	for (size_t i = 0; i < HP_LATCH_PINS && !pin; i++) {
		if (!record->pins[i].is_old)
			continue;
		hp_latch_record_remove(record, &record->pins[i]);
		pin = &record->pins[HP_LATCH_PINS - 1];
	}
	if (pin)
		*pin = (struct hp_latch_pin){ .state = HP_LATCH_BEGUN, .mark = mark };
	return pin;
}

void hp_latch_record_note_good(struct hp_latch_record *record, uint16_t mark)
{
	struct hp_latch_pin *good = hp_latch_record_find(record, mark);
	if (good)
		hp_latch_record_remove(record, good);
	for (size_t i = 0; i < HP_LATCH_PINS; i++)
		record->pins[i].is_old = record->pins[i].state != HP_LATCH_NONE;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What pseudonyms leave in memory: no value of a table, and not FF1's key.
 */
#include <stdio.h>
#include <string.h>
#include <hsmpool/pseudonym.h>
#include "hygiene/canary.h"
#include "hygiene/library_ground.h"
#include "pseudonym/keyed.h"

#define ROWS      400
#define PEOPLE    20 /* who appear again and again: the cache has them */
#define TABLE     ((size_t)120000)
#define ALPHABET  "chars:abcdefghijkmnpqrstuvwxyz23456789"
#define DOMAIN    "number"
#define BAD_EVERY 50

/* --- a table ----------------------------------------------------------------------- */

struct writer {
	uint8_t *data;
	size_t len;
};

static void put(struct writer *w, const char *text)
{
	memcpy(w->data + w->len, text, strlen(text));
	w->len += strlen(text);
}

/* The canary is made in its place: nothing else has it. */
static void put_canary(struct writer *w, const char *kind, unsigned number, size_t len)
{
	char name[40];
	snprintf(name, sizeof(name), "%s %u", kind, number % PEOPLE);
	canary_fill(name, w->data + w->len, len);
	w->len += len;
}

static void put_row(struct writer *w, unsigned i)
{
	put_canary(w, "name", i, 32);
	put(w, i % BAD_EVERY == 7 ? ",!" : ",");
	put_canary(w, "number", i, 20);
	put(w, i % 3 == 0 ? ",\"quoted \"\"" : ",\"");
	put_canary(w, "note", i, 48);
	put(w, i % 3 == 0 ? "\"\" text\"," : "\",");
	put_canary(w, "dropped", i, 16);
	put(w, i % BAD_EVERY == 9 ? ",one too many\n" : "\n");
}

static void announce(const char *kind)
{
	char name[40];
	for (unsigned i = 0; i < PEOPLE; i++) {
		snprintf(name, sizeof(name), "%s %u", kind, i);
		child_canary(name, CANARY_LEN);
	}
}

static hsmpool_bytes make_table(void)
{
	struct writer w = { .data = child_room(TABLE) };
	announce("name");
	announce("number");
	announce("note");
	announce("dropped");
	put(&w, "name,number,note,dropped\n");
	for (unsigned i = 0; i < ROWS; i++)
		put_row(&w, i);
	return BYTES(w.data, w.len);
}

static void tell_ff1_key(void)
{
	struct hp_text input = { 0 };
	uint8_t *mac = child_room(HP_KEYED_LEN);
	const hsmpool_bytes domain = BYTES((const uint8_t *)DOMAIN, strlen(DOMAIN));
	CHILD_OK(hp_keyed_begin(&input, HP_LABEL_FF1_KEY, domain, err));
	CHILD_OK(hp_keyed_mac(subject.pool, subject.hmac, &input, mac, HSMPOOL_DEFAULT,
			      err));
	child_tell("ff1-key", mac, HP_KEYED_LEN);
	hp_text_clear(&input);
}

/* --- there and back ---------------------------------------------------------------- */

static hsmpool_status see_bad_row(void *user, const hsmpool_bad_row *row,
				  hsmpool_error *err)
{
	(void)row;
	(void)err;
	++*(unsigned *)user;
	return HSMPOOL_OK;
}

static const hsmpool_column columns[] = {
	{ .size = sizeof(hsmpool_column), .name = "name", .method = HSMPOOL_COLUMN_HMAC },
	{ .size = sizeof(hsmpool_column),
	  .name = "number",
	  .method = HSMPOOL_COLUMN_FPE,
	  .domain = DOMAIN,
	  .alphabet = ALPHABET },
	{ .size = sizeof(hsmpool_column),
	  .name = "note",
	  .method = HSMPOOL_COLUMN_REDACT },
	{ .size = sizeof(hsmpool_column),
	  .name = "dropped",
	  .method = HSMPOOL_COLUMN_DROP },
};

static hsmpool_table_options options_of(unsigned *bad, uint32_t flags)
{
	return (hsmpool_table_options){
		.size = sizeof(hsmpool_table_options),
		.flags = flags,
		.threads = 3,
		.bad_row = see_bad_row,
		.bad_row_user = bad,
	};
}

static hsmpool_bytes transform(hsmpool_bytes table)
{
	unsigned bad = 0;
	struct ends ends = { .in = table, .out = room(TABLE) };
	hsmpool_table_options options = options_of(&bad, HSMPOOL_TABLE_SKIP_BAD_ROWS);
	CHILD_OK(hsmpool_pseudonymize(subject.pool, subject.hmac, columns, 4, &options,
				      give, &ends, take, &ends, HSMPOOL_DEFAULT, err));
	if (bad != 2 * ROWS / BAD_EVERY)
		child_die("a table", "has other bad rows");
	return BYTES(ends.out.data, ends.out.len);
}

static void transform_back(hsmpool_bytes table)
{
	unsigned bad = 0;
	struct ends ends = { .in = table, .out = room(TABLE) };
	hsmpool_table_options options = options_of(&bad, 0);
	CHILD_OK(hsmpool_depseudonymize(subject.pool, subject.hmac, &columns[1], 1,
					&options, give, &ends, take, &ends,
					HSMPOOL_DEFAULT, err));
}

static void fail_to_transform(hsmpool_bytes table)
{
	unsigned bad = 0;
	struct ends ends = { .in = table, .out = room(TABLE) };
	hsmpool_table_options options = options_of(&bad, 0);
	CHILD_FAILS(HSMPOOL_ERR_DATA,
		    hsmpool_pseudonymize(subject.pool, subject.hmac, columns, 4, &options,
					 give, &ends, take, &ends, HSMPOOL_DEFAULT, err));
}

static void pseudonymizes(void)
{
	open_pool();
	hsmpool_bytes table = make_table();
	tell_ff1_key();
	transform_back(transform(table));
	fail_to_transform(table);
	child_stop("after a table", true);
	close_pool();
}

/* --- tests ------------------------------------------------------------------------- */

static const struct scenario scenarios[] = {
	{ "pseudonymizes", pseudonymizes },
};

static void nothing_is_left_of_a_table(void **state)
{
	(void)state;
	hygiene_check("pseudonymizes", &on_mock);
	hygiene_check("pseudonymizes", &on_workers);
}

int main(int argc, char **argv)
{
	child_main(scenarios, sizeof(scenarios) / sizeof(scenarios[0]), argc, argv);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_left_of_a_table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

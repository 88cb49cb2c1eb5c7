/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other recipients for the same container: who opens it then and who does not, what stays
 * byte for byte, and which changes are refused.
 */
#include "stream_ground.h"

#include "base/memory.h"
#include "stream/container.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1024, PLAIN_LEN = 2 * CHUNK + 10 };

static struct fixture fixture;
static hsmpool *pool;
static hsmpool_key *old_key, *new_key, *wrap_key, *rsa_key;
static uint8_t *plain;
static struct ground_sink container; /* for old_key */
static struct ground_sink changed;   /* what the last rewrapping made of it, chunks too */
static hsmpool_container_changed outcome;

#define URI_OF_OLD "pkcs11:object=old"

static int set_up(void **state)
{
	(void)state;
	const hsmpool_stream_options options =
		ground_options(HSMPOOL_STREAM_ENVELOPE, CHUNK);
	fixture_softhsm(&fixture);
	pool = fixture_open(&fixture);
	old_key = ground_generated_key(pool, "aes", 256, "old", 0);
	new_key = ground_generated_key(pool, "aes", 256, "new", 0);
	wrap_key = ground_generated_key(pool, "aes", 256, "wrap",
					HSMPOOL_KEY_CAN_WRAP | HSMPOOL_KEY_CAN_UNWRAP);
	rsa_key = ground_generated_key(pool, "rsa", 2048, "rsa",
				       HSMPOOL_KEY_CAN_ENCRYPT | HSMPOOL_KEY_CAN_DECRYPT);
	plain = ground_pattern(PLAIN_LEN);
	ground_encrypt(pool, &old_key, 1, &options, plain, PLAIN_LEN, &container);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	ground_sink_clear(&changed);
	ground_sink_clear(&container);
	free(plain);
	hsmpool_key_close(&old_key);
	hsmpool_key_close(&new_key);
	hsmpool_key_close(&wrap_key);
	hsmpool_key_close(&rsa_key);
	hsmpool_close(&pool);
	fixture_remove(&fixture);
	return 0;
}

/* Rewrap into changed, the chunks put behind the new header as a caller would. */
static hsmpool_status rewrap(const struct ground_sink *from, hsmpool_key *key,
			     const hsmpool_container_changes *changes, hsmpool_error *err)
{
	struct ground_source source = { .data = from->data, .len = from->len };
	ground_sink_clear(&changed);
	outcome = (hsmpool_container_changed){ .size = sizeof(outcome) };
	hsmpool_status status = hsmpool_container_rewrap(pool, key, changes, ground_read,
							 &source, ground_write, &changed,
							 &outcome, HSMPOOL_DEFAULT, err);
	if (status != HSMPOOL_OK) {
		assert_int_equal(changed.len, 0);
		assert_true(strlen(err->text) > 10);
		return status;
	}
	assert_int_equal(source.used, outcome.old_header_bytes);
	assert_int_equal(changed.len, outcome.new_header_bytes);
	return ground_write(&changed, source.data + source.used, source.len - source.used,
			    err);
}

static hsmpool_container_changes adding(hsmpool_key *const *keys, size_t count)
{
	return (hsmpool_container_changes){
		.size = sizeof(hsmpool_container_changes),
		.add = keys,
		.add_count = count,
	};
}

static hsmpool_container_changes removing(const char *const *which, size_t count)
{
	return (hsmpool_container_changes){
		.size = sizeof(hsmpool_container_changes),
		.remove = which,
		.remove_count = count,
	};
}

static hsmpool_status open_with(hsmpool_key *key, const struct ground_sink *from)
{
	struct ground_sink out;
	hsmpool_error err;
	hsmpool_status status =
		ground_decrypt(pool, key, NULL, from->data, from->len, &out, &err);
	ground_sink_clear(&out);
	return status;
}

/* A container for all four keys. */
static struct ground_sink container_for_all(void)
{
	hsmpool_key *const more[] = { new_key, wrap_key, rsa_key };
	const hsmpool_container_changes changes = adding(more, HP_ARRAY_LEN(more));
	hsmpool_error err;
	assert_ok(rewrap(&container, NULL, &changes, &err), &err);
	struct ground_sink all = changed;
	changed = (struct ground_sink){ 0 };
	return all;
}

/* ---- what works ---- */

static void an_added_key_of_any_kind_opens_the_container(void **state)
{
	(void)state;
	hsmpool_key *const more[] = { new_key, wrap_key, rsa_key };
	struct ground_sink all = container_for_all();
	assert_int_equal(outcome.recipients, 4);
	assert_int_equal(outcome.added, 3);
	assert_int_equal(outcome.removed, 0);
	ground_expect(pool, old_key, NULL, &all, plain, PLAIN_LEN);
	for (size_t i = 0; i < HP_ARRAY_LEN(more); i++)
		ground_expect(pool, more[i], NULL, &all, plain, PLAIN_LEN);
	ground_sink_clear(&all);
}

static void a_removed_key_does_not_open_the_container(void **state)
{
	(void)state;
	static const char *const gone[] = { URI_OF_OLD };
	struct ground_sink all = container_for_all();
	const hsmpool_container_changes changes = removing(gone, 1);
	hsmpool_error err;
	assert_ok(rewrap(&all, NULL, &changes, &err), &err);
	assert_int_equal(outcome.removed, 1);
	assert_int_equal(outcome.recipients, 3);
	assert_status(open_with(old_key, &changed), HSMPOOL_ERR_KEY);
	ground_expect(pool, new_key, NULL, &changed, plain, PLAIN_LEN);
	ground_expect(pool, rsa_key, NULL, &changed, plain, PLAIN_LEN);
	ground_sink_clear(&all);
}

static void a_key_is_replaced_in_one_go(void **state)
{
	(void)state;
	static const char *const gone[] = { URI_OF_OLD };
	hsmpool_container_changes changes = adding(&new_key, 1);
	hsmpool_error err;
	changes.remove = gone;
	changes.remove_count = 1;
	assert_ok(rewrap(&container, NULL, &changes, &err), &err);
	assert_int_equal(outcome.recipients, 1);
	assert_status(open_with(old_key, &changed), HSMPOOL_ERR_KEY);
	ground_expect(pool, NULL, NULL, &changed, plain, PLAIN_LEN);
}

static void the_same_key_is_wrapped_for_anew(void **state)
{
	(void)state;
	static const char *const gone[] = { "#1" };
	hsmpool_container_changes changes = adding(&old_key, 1);
	hsmpool_error err;
	changes.remove = gone;
	changes.remove_count = 1;
	assert_ok(rewrap(&container, old_key, &changes, &err), &err);
	assert_int_equal(changed.len, container.len);
	assert_memory_not_equal(changed.data, container.data, outcome.new_header_bytes);
	ground_expect(pool, old_key, NULL, &changed, plain, PLAIN_LEN);
}

static void fixed_part_and_chunks_stay_byte_for_byte(void **state)
{
	(void)state;
	struct ground_sink all = container_for_all();
	const size_t data_len = container.len - outcome.old_header_bytes;
	assert_memory_equal(all.data, container.data, HP_FIXED_LEN);
	assert_int_equal(all.len - outcome.new_header_bytes, data_len);
	assert_memory_equal(all.data + outcome.new_header_bytes,
			    container.data + outcome.old_header_bytes, data_len);
	ground_sink_clear(&all);
}

static void those_who_stay_keep_their_order_and_bytes(void **state)
{
	(void)state;
	static const char *const gone[] = { "#2" };
	struct ground_sink all = container_for_all();
	const hsmpool_container_changes changes = removing(gone, 1);
	struct hp_container *before = malloc(sizeof(*before)),
			    *after = malloc(sizeof(*after));
	size_t used;
	hsmpool_error err;
	assert_ok(rewrap(&all, NULL, &changes, &err), &err);
	assert_ok(hp_container_parse(all.data, all.len, before, &used, &err), &err);
	assert_ok(hp_container_parse(changed.data, changed.len, after, &used, &err),
		  &err);
	for (size_t i = 0; i < 3; i++) {
		const struct hp_recipient *was =
			&before->recipients.at[i + (i > 0 ? 1 : 0)];
		const struct hp_recipient *is = &after->recipients.at[i];
		assert_int_equal(is->wrapped.len, was->wrapped.len);
		assert_memory_equal(is->wrapped.data, was->wrapped.data,
				    was->wrapped.len);
	}
	free(before);
	free(after);
	ground_sink_clear(&all);
}

static void a_context_is_not_needed_and_stays(void **state)
{
	(void)state;
	hsmpool_stream_options options = ground_options(HSMPOOL_STREAM_ENVELOPE, CHUNK);
	const hsmpool_container_changes changes = adding(&new_key, 1);
	struct ground_sink with_context;
	hsmpool_error err;
	options.context = "table 7";
	ground_encrypt(pool, &old_key, 1, &options, plain, PLAIN_LEN, &with_context);
	assert_ok(rewrap(&with_context, NULL, &changes, &err), &err);
	assert_status(open_with(new_key, &changed), HSMPOOL_ERR_DATA);
	ground_expect(pool, new_key, &options, &changed, plain, PLAIN_LEN);
	ground_sink_clear(&with_context);
}

static void a_recipient_whose_key_is_destroyed_is_removed_by_its_name(void **state)
{
	(void)state;
	static const char *const gone[] = { "pkcs11:object=doomed;type=secret-key" };
	hsmpool_key *doomed = ground_generated_key(pool, "aes", 256, "doomed", 0);
	hsmpool_key *const both[] = { doomed, new_key };
	const hsmpool_stream_options options =
		ground_options(HSMPOOL_STREAM_ENVELOPE, CHUNK);
	const hsmpool_container_changes changes = removing(gone, 1);
	struct ground_sink for_both;
	hsmpool_error err;
	ground_encrypt(pool, both, 2, &options, plain, PLAIN_LEN, &for_both);
	assert_ok(hsmpool_key_destroy(doomed, HSMPOOL_DEFAULT, &err), &err);
	hsmpool_key_close(&doomed);
	assert_ok(rewrap(&for_both, NULL, &changes, &err), &err);
	assert_int_equal(outcome.recipients, 1);
	ground_expect(pool, NULL, NULL, &changed, plain, PLAIN_LEN);
	ground_sink_clear(&for_both);
}

/* ---- what is refused ---- */

static void expect_refusal(const struct ground_sink *from,
			   const hsmpool_container_changes *changes,
			   hsmpool_status expected)
{
	hsmpool_error err = { 0 };
	assert_status(rewrap(from, NULL, changes, &err), expected);
}

static void direct_mode_is_refused(void **state)
{
	(void)state;
	const hsmpool_stream_options options =
		ground_options(HSMPOOL_STREAM_DIRECT, CHUNK);
	const hsmpool_container_changes changes = adding(&new_key, 1);
	struct ground_sink direct;
	ground_encrypt(pool, &old_key, 1, &options, plain, PLAIN_LEN, &direct);
	expect_refusal(&direct, &changes, HSMPOOL_ERR_UNSUPPORTED);
	ground_sink_clear(&direct);
}

static void the_last_recipient_is_not_removed(void **state)
{
	(void)state;
	static const char *const gone[] = { URI_OF_OLD };
	const hsmpool_container_changes changes = removing(gone, 1);
	expect_refusal(&container, &changes, HSMPOOL_ERR_USAGE);
}

static void the_same_key_twice_is_refused(void **state)
{
	(void)state;
	hsmpool_key *const twice[] = { new_key, new_key };
	const hsmpool_container_changes again = adding(&old_key, 1);
	const hsmpool_container_changes double_new = adding(twice, 2);
	expect_refusal(&container, &again, HSMPOOL_ERR_EXISTS);
	expect_refusal(&container, &double_new, HSMPOOL_ERR_EXISTS);
}

static void more_than_sixteen_are_refused(void **state)
{
	(void)state;
	hsmpool_key *many[17];
	for (size_t i = 0; i < HP_ARRAY_LEN(many); i++) {
		char label[16];
		snprintf(label, sizeof(label), "many-%zu", i);
		many[i] = ground_generated_key(pool, "aes", 256, label, 0);
	}
	const hsmpool_container_changes beside_one = adding(many, 16);
	const hsmpool_container_changes too_many = adding(many, 17);
	const hsmpool_container_changes full = adding(many, 15);
	hsmpool_error err;
	expect_refusal(&container, &beside_one, HSMPOOL_ERR_USAGE);
	expect_refusal(&container, &too_many, HSMPOOL_ERR_USAGE);
	assert_ok(rewrap(&container, NULL, &full, &err), &err);
	ground_expect(pool, many[14], NULL, &changed, plain, PLAIN_LEN);
	for (size_t i = 0; i < HP_ARRAY_LEN(many); i++)
		hsmpool_key_close(&many[i]);
}

static void who_is_no_recipient_or_not_one_only_is_not_removed(void **state)
{
	(void)state;
	static const struct {
		const char *which;
		hsmpool_status expected;
	} refused[] = {
		{ "#0", HSMPOOL_ERR_USAGE },
		{ "#x", HSMPOOL_ERR_USAGE },
		{ "#1x", HSMPOOL_ERR_USAGE },
		{ "#-1", HSMPOOL_ERR_USAGE },
		{ "#5", HSMPOOL_ERR_KEY },
		{ "#99999999999999999999", HSMPOOL_ERR_KEY },
		{ "pkcs11:object=nobody", HSMPOOL_ERR_KEY },
		{ "pkcs11:object=old;type=private", HSMPOOL_ERR_KEY },
		{ "pkcs11:object=old;id=%00", HSMPOOL_ERR_KEY },
		{ "pkcs11:type=secret-key", HSMPOOL_ERR_USAGE },
		{ "pkcs11:", HSMPOOL_ERR_USAGE },
		{ "nonsense", HSMPOOL_ERR_USAGE },
		{ "", HSMPOOL_ERR_USAGE },
		{ NULL, HSMPOOL_ERR_USAGE },
	};
	struct ground_sink all = container_for_all();
	for (size_t i = 0; i < HP_ARRAY_LEN(refused); i++) {
		const hsmpool_container_changes changes = removing(&refused[i].which, 1);
		expect_refusal(&all, &changes, refused[i].expected);
	}
	ground_sink_clear(&all);
}

/* A key was destroyed and another made under its name: the number tells them apart. */
static void a_name_of_two_recipients_is_refused(void **state)
{
	(void)state;
	static const char *const by_label[] = { "pkcs11:object=twin" };
	static const char *const by_number[] = { "#2" };
	hsmpool_key *twin = ground_generated_key(pool, "aes", 256, "twin", 0);
	hsmpool_container_changes changes = adding(&twin, 1);
	hsmpool_error err;
	assert_ok(rewrap(&container, NULL, &changes, &err), &err);
	struct ground_sink for_first = changed;
	changed = (struct ground_sink){ 0 };
	assert_ok(hsmpool_key_destroy(twin, HSMPOOL_DEFAULT, &err), &err);
	hsmpool_key_close(&twin);
	twin = ground_generated_key(pool, "aes", 256, "twin", 0);
	assert_ok(rewrap(&for_first, NULL, &changes, &err), &err);
	struct ground_sink for_both = changed;
	changed = (struct ground_sink){ 0 };
	changes = removing(by_label, 1);
	expect_refusal(&for_both, &changes, HSMPOOL_ERR_USAGE);
	changes = removing(by_number, 1);
	assert_ok(rewrap(&for_both, NULL, &changes, &err), &err);
	assert_int_equal(outcome.recipients, 2);
	ground_expect(pool, twin, NULL, &changed, plain, PLAIN_LEN);
	ground_sink_clear(&for_first);
	ground_sink_clear(&for_both);
	hsmpool_key_close(&twin);
}

static void no_change_is_refused(void **state)
{
	(void)state;
	hsmpool_container_changes changes = adding(NULL, 0);
	expect_refusal(&container, &changes, HSMPOOL_ERR_USAGE);
	changes = adding(&new_key, 1);
	changes.size = 0;
	expect_refusal(&container, &changes, HSMPOOL_ERR_USAGE);
}

static void a_key_that_is_no_recipient_opens_nothing_to_change(void **state)
{
	(void)state;
	const hsmpool_container_changes changes = adding(&rsa_key, 1);
	hsmpool_error err;
	assert_status(rewrap(&container, new_key, &changes, &err), HSMPOOL_ERR_KEY);
}

/* Every bit of the header counts: nothing is made of one that was altered. */
static void a_header_altered_or_cut_anywhere_is_refused(void **state)
{
	(void)state;
	const hsmpool_container_changes changes = adding(&new_key, 1);
	struct ground_sink hurt = { malloc(container.len), container.len, 0, 0 };
	hsmpool_error err;
	assert_ok(rewrap(&container, old_key, &changes, &err), &err);
	const size_t header_len = outcome.old_header_bytes;
	memcpy(hurt.data, container.data, container.len);
	for (size_t at = 0; at < header_len; at++) {
		hurt.data[at] ^= 0x10;
		hsmpool_status status = rewrap(&hurt, old_key, &changes, &err);
		hurt.data[at] ^= 0x10;
		if (status != HSMPOOL_ERR_DATA && status != HSMPOOL_ERR_KEY &&
		    !(at == 9 && status == HSMPOOL_ERR_UNSUPPORTED))
			fail_msg("byte %zu: %s", at, hsmpool_status_name(status));
	}
	for (hurt.len = 0; hurt.len < header_len; hurt.len++)
		assert_status(rewrap(&hurt, old_key, &changes, &err), HSMPOOL_ERR_DATA);
	free(hurt.data);
}

static void a_writer_that_fails_is_told(void **state)
{
	(void)state;
	const hsmpool_container_changes changes = adding(&new_key, 1);
	struct ground_source source = { .data = container.data, .len = container.len };
	struct ground_sink sink = { .fail_after = 1 };
	hsmpool_error err;
	assert_status(hsmpool_container_rewrap(pool, NULL, &changes, ground_read, &source,
					       ground_write, &sink, NULL, HSMPOOL_DEFAULT,
					       &err),
		      HSMPOOL_ERR_SYSTEM);
	assert_int_equal(sink.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_added_key_of_any_kind_opens_the_container),
		cmocka_unit_test(a_removed_key_does_not_open_the_container),
		cmocka_unit_test(a_key_is_replaced_in_one_go),
		cmocka_unit_test(the_same_key_is_wrapped_for_anew),
		cmocka_unit_test(fixed_part_and_chunks_stay_byte_for_byte),
		cmocka_unit_test(those_who_stay_keep_their_order_and_bytes),
		cmocka_unit_test(a_context_is_not_needed_and_stays),
		cmocka_unit_test(
			a_recipient_whose_key_is_destroyed_is_removed_by_its_name),
		cmocka_unit_test(direct_mode_is_refused),
		cmocka_unit_test(the_last_recipient_is_not_removed),
		cmocka_unit_test(the_same_key_twice_is_refused),
		cmocka_unit_test(more_than_sixteen_are_refused),
		cmocka_unit_test(who_is_no_recipient_or_not_one_only_is_not_removed),
		cmocka_unit_test(a_name_of_two_recipients_is_refused),
		cmocka_unit_test(no_change_is_refused),
		cmocka_unit_test(a_key_that_is_no_recipient_opens_nothing_to_change),
		cmocka_unit_test(a_header_altered_or_cut_anywhere_is_refused),
		cmocka_unit_test(a_writer_that_fails_is_told),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}

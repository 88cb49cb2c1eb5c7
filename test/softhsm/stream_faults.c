/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams over a token that fails: the mock in front of SoftHSM2. A stream goes on
 * where the pool can recover, and ends with the token's error, never with one that
 * blames the data, where it cannot.
 */
#include "stream_ground.h"

#include "mock/mock.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1024, PLAIN_LEN = 5 * CHUNK };

static struct fixture fixture;
static const struct mock_control *mock;
static hsmpool *pool;
static hsmpool_key *key;
static uint8_t *plain;

static int set_up(void **state)
{
	(void)state;
	fixture_mock_over_softhsm(&fixture);
	mock = fixture_mock_control();
	fixture_set(&fixture, "max-sessions", "4");
	pool = fixture_open(&fixture);
	key = ground_known_key(pool, "faults", "faults", 0);
	plain = ground_pattern(PLAIN_LEN);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	char why[200];
	mock->clear_failures();
	hsmpool_key_close(&key);
	hsmpool_close(&pool);
	if (!mock->check_balance(why, sizeof(why)))
		fail_msg("%s", why);
	fixture_remove(&fixture);
	free(plain);
	return 0;
}

static void fail_once(const char *function, uint64_t nth, CK_RV rv)
{
	const struct mock_failure failure = { .function = function,
					      .rv = rv,
					      .first = nth };
	(mock->fail)(&failure);
}

static void a_session_lost_between_chunks_does_not_end_a_direct_stream(void **state)
{
	(void)state;
	const hsmpool_stream_options options =
		ground_options(HSMPOOL_STREAM_DIRECT, CHUNK);
	struct ground_sink container;
	fail_once("C_Encrypt", 3, CKR_SESSION_HANDLE_INVALID);
	ground_encrypt(pool, &key, 1, &options, plain, PLAIN_LEN, &container);
	fail_once("C_Decrypt", 2, CKR_SESSION_CLOSED);
	ground_expect(pool, key, NULL, &container, plain, PLAIN_LEN);
	ground_sink_clear(&container);
}

static int reboot_after_the_second_chunk(void *user, uint64_t bytes)
{
	(void)user;
	if (bytes == 2 * CHUNK)
		mock->reboot(NULL);
	return 0;
}

/* Sessions, login and handles are gone: all are had again within the stream. */
static void
a_token_that_restarts_between_chunks_does_not_end_a_direct_stream(void **state)
{
	(void)state;
	hsmpool_stream_options options = ground_options(HSMPOOL_STREAM_DIRECT, CHUNK);
	struct ground_sink container;
	options.progress = reboot_after_the_second_chunk;
	ground_encrypt(pool, &key, 1, &options, plain, PLAIN_LEN, &container);
	ground_expect(pool, key, &options, &container, plain, PLAIN_LEN);
	ground_expect(pool, NULL, &options, &container, plain, PLAIN_LEN);
	ground_sink_clear(&container);
}

static void a_failing_token_is_not_taken_for_bad_data(void **state)
{
	(void)state;
	for (int mode = 0; mode < 2; mode++) {
		hsmpool_stream_options options =
			ground_options((hsmpool_stream_mode)mode, CHUNK);
		options.threads = 1; /* so the third call is for the third chunk */
		const struct mock_failure always = { .function = "C_Decrypt",
						     .rv = CKR_DEVICE_ERROR,
						     .first = mode == 0 ? 1 : 3,
						     .count = MOCK_FOREVER };
		struct ground_sink container, out;
		hsmpool_error err;
		ground_encrypt(pool, &key, 1, &options, plain, PLAIN_LEN, &container);
		(mock->fail)(&always);
		assert_status(ground_decrypt(pool, NULL, &options, container.data,
					     container.len, &out, &err),
			      HSMPOOL_ERR_DOWN);
		assert_true(err.ck_rv == CKR_DEVICE_ERROR);
		assert_int_equal(out.len, mode == 0 ? 0 : 2 * CHUNK);
		mock->clear_failures();
		ground_sink_clear(&out);
		ground_expect(pool, NULL, NULL, &container, plain, PLAIN_LEN);
		ground_sink_clear(&container);
	}
}

/* Whether it fails to unwrap or to wrap: its error, and not a byte of a header. */
static void a_failing_token_leaves_no_half_of_a_rewrapped_header(void **state)
{
	(void)state;
	static const char *const functions[] = { "C_Decrypt", "C_Encrypt" };
	hsmpool_key *second = ground_generated_key(pool, "aes", 256, "second", 0);
	const hsmpool_container_changes changes = {
		.size = sizeof(changes),
		.add = &second,
		.add_count = 1,
	};
	struct ground_sink container, header = { 0 };
	hsmpool_error err;
	ground_encrypt(pool, &key, 1, NULL, plain, PLAIN_LEN, &container);
	for (size_t i = 0; i < 2; i++) {
		const struct mock_failure always = { .function = functions[i],
						     .rv = CKR_DEVICE_ERROR,
						     .first = 1,
						     .count = MOCK_FOREVER };
		struct ground_source source = { .data = container.data,
						.len = container.len };
		(mock->fail)(&always);
		assert_status(hsmpool_container_rewrap(pool, NULL, &changes, ground_read,
						       &source, ground_write, &header,
						       NULL, HSMPOOL_DEFAULT, &err),
			      HSMPOOL_ERR_DOWN);
		assert_int_equal(header.len, 0);
		mock->clear_failures();
	}
	ground_sink_clear(&container);
	hsmpool_key_close(&second);
}

/* With several threads inside: its error, the true beginning, and the sessions
 * back (tear_down() looks at the balance too). */
static void a_token_that_fails_half_way_ends_a_busy_stream(void **state)
{
	(void)state;
	enum { LONG = 300 * CHUNK };
	const struct mock_failure lost = { .rv = CKR_DEVICE_ERROR,
					   .first = 100,
					   .count = MOCK_FOREVER };
	struct mock_failure no_encrypt = lost, no_decrypt = lost;
	hsmpool_stream_options options = ground_options(HSMPOOL_STREAM_DIRECT, CHUNK);
	uint8_t *long_plain = ground_pattern(LONG);
	struct ground_source source = { .data = long_plain, .len = LONG };
	struct ground_sink container, part = { 0 }, out;
	hsmpool_stats stats = { .size = sizeof(stats) };
	hsmpool_error err;
	no_encrypt.function = "C_Encrypt";
	no_decrypt.function = "C_Decrypt";
	options.threads = 4;
	ground_encrypt(pool, &key, 1, &options, long_plain, LONG, &container);
	(mock->fail)(&no_encrypt);
	assert_status(hsmpool_stream_encrypt(pool, &key, 1, &options, ground_read,
					     &source, ground_write, &part,
					     hsmpool_deadline_in(20000), &err),
		      HSMPOOL_ERR_DOWN);
	assert_true(part.len < container.len);
	mock->clear_failures();
	ground_expect(pool, key, &options, &container, long_plain, LONG);
	(mock->fail)(&no_decrypt);
	assert_status(ground_decrypt(pool, key, &options, container.data, container.len,
				     &out, &err),
		      HSMPOOL_ERR_DOWN);
	assert_true(out.len < LONG && out.len % CHUNK == 0);
	assert_memory_equal(out.data, long_plain, out.len);
	hsmpool_get_stats(pool, &stats);
	assert_int_equal(stats.used, 0);
	mock->clear_failures();
	ground_expect(pool, key, &options, &container, long_plain, LONG);
	ground_sink_clear(&part);
	ground_sink_clear(&out);
	ground_sink_clear(&container);
	free(long_plain);
}

static uint64_t sessions_closed(void)
{
	struct mock_counters counters;
	mock->counters(&counters);
	return counters.sessions_closed;
}

/* It was a session object for a moment; where it cannot be destroyed it must not stay
 * readable: the session that owns it goes. */
static void a_data_key_that_cannot_be_destroyed_takes_its_session_along(void **state)
{
	(void)state;
	hsmpool_error err;
	hsmpool_key *kek = ground_known_key(
		pool, "kek", "kek", HSMPOOL_KEY_CAN_WRAP | HSMPOOL_KEY_CAN_UNWRAP);
	struct ground_sink container;
	uint64_t before = sessions_closed();
	fail_once("C_DestroyObject", 1, CKR_FUNCTION_FAILED);
	ground_encrypt(pool, &kek, 1, NULL, plain, PLAIN_LEN, &container);
	assert_int_equal(sessions_closed(), before + 1);
	fail_once("C_DestroyObject", 1, CKR_FUNCTION_FAILED);
	ground_expect(pool, kek, NULL, &container, plain, PLAIN_LEN);
	assert_int_equal(sessions_closed(), before + 2);
	assert_ok(hsmpool_key_destroy(kek, HSMPOOL_DEFAULT, &err), &err);
	hsmpool_key_close(&kek);
	ground_sink_clear(&container);
}

/* A token without RFC 3394 but with RFC 5649. */
static void a_token_without_aes_kw_is_asked_for_aes_kwp(void **state)
{
	(void)state;
	hsmpool_error err;
	hsmpool_key *kek = ground_known_key(
		pool, "kek", "kek", HSMPOOL_KEY_CAN_WRAP | HSMPOOL_KEY_CAN_UNWRAP);
	struct ground_sink container;
	fail_once("C_WrapKey", 1, CKR_MECHANISM_INVALID);
	ground_encrypt(pool, &kek, 1, NULL, plain, PLAIN_LEN, &container);
	assert_int_equal(container.data[104],
			 3); /* docs/format.md: the first entry's type */
	ground_expect(pool, NULL, NULL, &container, plain, PLAIN_LEN);
	assert_ok(hsmpool_key_destroy(kek, HSMPOOL_DEFAULT, &err), &err);
	hsmpool_key_close(&kek);
	ground_sink_clear(&container);
}

/* The deadline bounds waits for a session; while one is free nothing waits. */
static void a_deadline_that_passed_does_not_end_a_stream_that_need_not_wait(void **state)
{
	(void)state;
	const hsmpool_stream_options options =
		ground_options(HSMPOOL_STREAM_DIRECT, CHUNK);
	const hsmpool_deadline deadlines[] = { HSMPOOL_NO_WAIT, hsmpool_deadline_in(0) };
	for (size_t i = 0; i < 2; i++) {
		struct ground_source source = { .data = plain, .len = PLAIN_LEN };
		struct ground_sink container = { 0 };
		hsmpool_error err;
		assert_ok(hsmpool_stream_encrypt(pool, &key, 1, &options, ground_read,
						 &source, ground_write, &container,
						 deadlines[i], &err),
			  &err);
		ground_expect(pool, key, NULL, &container, plain, PLAIN_LEN);
		ground_sink_clear(&container);
	}
}

/* Whatever stands in a header, the token is asked to do little. */
static void a_header_cannot_make_the_token_try_without_end(void **state)
{
	(void)state;
	hsmpool_key *keys[16];
	struct ground_sink container, out;
	hsmpool_error err;
	for (size_t i = 0; i < 16; i++)
		keys[i] = key;
	ground_encrypt(pool, keys, 16, NULL, plain, PLAIN_LEN, &container);
	container.data[64] ^= 1; /* the commitment: every recipient unwraps in vain */
	uint64_t before = mock->calls("C_Decrypt");
	assert_status(ground_decrypt(pool, NULL, NULL, container.data, container.len,
				     &out, &err),
		      HSMPOOL_ERR_DATA);
	assert_in_range(mock->calls("C_Decrypt") - before, 1, 32);
	assert_int_equal(out.len, 0);
	ground_sink_clear(&container);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_session_lost_between_chunks_does_not_end_a_direct_stream),
		cmocka_unit_test(
			a_token_that_restarts_between_chunks_does_not_end_a_direct_stream),
		cmocka_unit_test(a_failing_token_is_not_taken_for_bad_data),
		cmocka_unit_test(a_failing_token_leaves_no_half_of_a_rewrapped_header),
		cmocka_unit_test(a_token_that_fails_half_way_ends_a_busy_stream),
		cmocka_unit_test(
			a_data_key_that_cannot_be_destroyed_takes_its_session_along),
		cmocka_unit_test(a_token_without_aes_kw_is_asked_for_aes_kwp),
		cmocka_unit_test(
			a_deadline_that_passed_does_not_end_a_stream_that_need_not_wait),
		cmocka_unit_test(a_header_cannot_make_the_token_try_without_end),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}

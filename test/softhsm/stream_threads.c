/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Long streams, on several threads: the same bytes in the same order as on one, the
 * caller's functions in its own thread, nothing that fails let through.
 */
#include "stream_ground.h"

#include "base/memory.h"
#include "stream/chunk.h"
#include "stream/container.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Long enough for threads to be started. */
enum { CHUNK = 16 << 10, PLAIN_LEN = 200 * CHUNK + 77, CHUNKS = 201 };

static struct fixture fixture;
static hsmpool *pool;
static hsmpool_key *key;
static uint8_t *plain;
static const uint32_t thread_counts[] = { 0, 1, 2, 3, 16, 64 };

static int set_up(void **state)
{
	(void)state;
	fixture_softhsm(&fixture);
	fixture_set(&fixture, "max-sessions", "8");
	pool = fixture_open(&fixture);
	key = ground_generated_key(pool, "aes", 256, "threads", 0);
	plain = ground_pattern(PLAIN_LEN);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(plain);
	hsmpool_key_close(&key);
	hsmpool_close(&pool);
	fixture_remove(&fixture);
	return 0;
}

static hsmpool_stream_options options_for(int mode, uint32_t threads)
{
	hsmpool_stream_options options = ground_options((hsmpool_stream_mode)mode, CHUNK);
	options.threads = threads;
	return options;
}

static void any_number_of_threads_gives_the_same(void **state)
{
	(void)state;
	for (int mode = 0; mode < 2; mode++) {
		for (size_t i = 0; i < HP_ARRAY_LEN(thread_counts); i++) {
			hsmpool_stream_options options =
				options_for(mode, thread_counts[i]);
			struct ground_sink container;
			ground_encrypt(pool, &key, 1, &options, plain, PLAIN_LEN,
				       &container);
			options.threads =
				thread_counts[HP_ARRAY_LEN(thread_counts) - 1 - i];
			ground_expect(pool, NULL, &options, &container, plain, PLAIN_LEN);
			ground_sink_clear(&container);
		}
	}
}

static void totals_say_what_went_through(void **state)
{
	(void)state;
	for (int mode = 0; mode < 2; mode++) {
		hsmpool_stream_totals totals = { .size = sizeof(totals) };
		hsmpool_stream_options options = options_for(mode, 4);
		struct ground_sink container;
		options.totals = &totals;
		ground_encrypt(pool, &key, 1, &options, plain, PLAIN_LEN, &container);
		assert_int_equal(totals.plain_bytes, PLAIN_LEN);
		assert_int_equal(totals.container_bytes, container.len);
		assert_int_equal(totals.chunks, CHUNKS);
		assert_int_equal(totals.threads, 4);
		totals = (hsmpool_stream_totals){ .size = sizeof(totals) };
		ground_expect(pool, key, &options, &container, plain, PLAIN_LEN);
		assert_int_equal(totals.plain_bytes, PLAIN_LEN);
		assert_int_equal(totals.container_bytes, container.len);
		assert_int_equal(totals.chunks, CHUNKS);
		ground_sink_clear(&container);
	}
}

/* Built with a header of before there were threads. */
static void older_options_are_understood(void **state)
{
	(void)state;
	hsmpool_stream_options options = options_for(1, 0);
	struct ground_sink container;
	options.size = offsetof(hsmpool_stream_options, threads);
	memset(&options.threads, 0xa5, sizeof(options) - options.size);
	ground_encrypt(pool, &key, 1, &options, plain, PLAIN_LEN, &container);
	ground_expect(pool, key, &options, &container, plain, PLAIN_LEN);
	ground_sink_clear(&container);
}

static void a_busy_stream_uses_many_sessions_and_returns_them(void **state)
{
	(void)state;
	hsmpool_stream_options options = options_for(1, 0);
	hsmpool_stats stats = { .size = sizeof(stats) };
	struct ground_sink container;
	ground_encrypt(pool, &key, 1, &options, plain, PLAIN_LEN, &container);
	hsmpool_get_stats(pool, &stats);
	assert_int_equal(stats.used, 0);
	assert_in_range(stats.peak, 2, 8);
	ground_sink_clear(&container);
}

/* --- the caller's functions ----------------------------------------------------------
 */

struct witness {
	pthread_t caller;
	struct ground_source source;
	struct ground_sink sink;
	uint64_t told;
	uint64_t stop_at;
};

static hsmpool_status read_here(void *user, uint8_t *data, size_t cap, size_t *len,
				hsmpool_error *err)
{
	struct witness *w = user;
	assert_true(pthread_equal(pthread_self(), w->caller));
	return ground_read(&w->source, data, cap, len, err);
}

static hsmpool_status write_here(void *user, const uint8_t *data, size_t len,
				 hsmpool_error *err)
{
	struct witness *w = user;
	assert_true(pthread_equal(pthread_self(), w->caller));
	return ground_write(&w->sink, data, len, err);
}

static int told_here(void *user, uint64_t bytes)
{
	struct witness *w = user;
	assert_true(pthread_equal(pthread_self(), w->caller));
	assert_true(bytes > w->told && bytes - w->told <= CHUNK);
	w->told = bytes;
	return w->stop_at > 0 && bytes >= w->stop_at;
}

static struct witness new_witness(void)
{
	return (struct witness){ .caller = pthread_self(),
				 .source = { .data = plain, .len = PLAIN_LEN } };
}

static void the_callers_functions_are_called_in_its_thread(void **state)
{
	(void)state;
	for (int mode = 0; mode < 2; mode++) {
		struct witness w = new_witness();
		hsmpool_stream_options options = options_for(mode, 8);
		hsmpool_error err;
		options.progress = told_here;
		options.progress_user = &w;
		assert_ok(hsmpool_stream_encrypt(pool, &key, 1, &options, read_here, &w,
						 write_here, &w, HSMPOOL_DEFAULT, &err),
			  &err);
		assert_int_equal(w.told, PLAIN_LEN);
		ground_expect(pool, key, NULL, &w.sink, plain, PLAIN_LEN);
		ground_sink_clear(&w.sink);
	}
}

static void a_stopped_stream_has_given_all_that_it_told(void **state)
{
	(void)state;
	for (int mode = 0; mode < 2; mode++) {
		hsmpool_stream_options options = options_for(mode, 8);
		struct ground_sink container;
		hsmpool_stats stats = { .size = sizeof(stats) };
		hsmpool_error err;
		ground_encrypt(pool, &key, 1, &options, plain, PLAIN_LEN, &container);
		struct witness w = new_witness();
		w.source.data = container.data;
		w.source.len = container.len;
		w.stop_at = 100 * CHUNK;
		options.progress = told_here;
		options.progress_user = &w;
		assert_status(hsmpool_stream_decrypt(pool, key, &options, read_here, &w,
						     write_here, &w, HSMPOOL_DEFAULT,
						     &err),
			      HSMPOOL_ERR_CLOSED);
		assert_int_equal(w.sink.len, 100 * CHUNK);
		assert_memory_equal(w.sink.data, plain, w.sink.len);
		hsmpool_get_stats(pool, &stats);
		assert_int_equal(stats.used, 0);
		ground_sink_clear(&w.sink);
		ground_sink_clear(&container);
	}
}

/* --- damage --------------------------------------------------------------------------
 */

/* Two bad chunks at once: the first one's error, and all before it. */
static void the_first_bad_chunk_ends_a_busy_stream(void **state)
{
	(void)state;
	for (int mode = 0; mode < 2; mode++) {
		const hsmpool_stream_options options = options_for(mode, 8);
		struct ground_sink container, out;
		hsmpool_error err;
		ground_encrypt(pool, &key, 1, &options, plain, PLAIN_LEN, &container);
		size_t frame_len = hp_chunk_frame_len(
			mode == 0 ? HP_MODE_ENVELOPE : HP_MODE_DIRECT, CHUNK);
		size_t end = container.len - frame_len; /* inside chunk 199 */
		container.data[end - 80 * frame_len] ^= 1;
		container.data[end - 81 * frame_len] ^= 1;
		assert_status(ground_decrypt(pool, key, &options, container.data,
					     container.len, &out, &err),
			      HSMPOOL_ERR_DATA);
		assert_int_equal(out.len, 118 * CHUNK);
		assert_memory_equal(out.data, plain, out.len);
		ground_sink_clear(&out);
		ground_sink_clear(&container);
	}
}

static void errors_of_reader_and_writer_end_a_busy_stream(void **state)
{
	(void)state;
	for (int mode = 0; mode < 2; mode++) {
		const hsmpool_stream_options options = options_for(mode, 8);
		struct ground_source source = { .data = plain,
						.len = PLAIN_LEN,
						.fail_at = 150 * CHUNK };
		struct ground_sink sink = { .fail_after = 100 };
		hsmpool_error err;
		assert_status(hsmpool_stream_encrypt(pool, &key, 1, &options, ground_read,
						     &source, ground_write, &sink,
						     HSMPOOL_DEFAULT, &err),
			      HSMPOOL_ERR_SYSTEM);
		assert_string_equal(err.text, "the stream's write function failed");
		ground_sink_clear(&sink);
		source.used = 0;
		assert_int_not_equal(hsmpool_stream_encrypt(pool, &key, 1, &options,
							    ground_read, &source,
							    ground_write, &sink,
							    HSMPOOL_DEFAULT, &err),
				     HSMPOOL_OK);
		/* what was whole went out; whether chunk 149 is the last is not known */
		assert_in_range(sink.len, 149 * CHUNK, 150 * CHUNK);
		ground_sink_clear(&sink);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_number_of_threads_gives_the_same),
		cmocka_unit_test(totals_say_what_went_through),
		cmocka_unit_test(older_options_are_understood),
		cmocka_unit_test(a_busy_stream_uses_many_sessions_and_returns_them),
		cmocka_unit_test(the_callers_functions_are_called_in_its_thread),
		cmocka_unit_test(a_stopped_stream_has_given_all_that_it_told),
		cmocka_unit_test(the_first_bad_chunk_ends_a_busy_stream),
		cmocka_unit_test(errors_of_reader_and_writer_end_a_busy_stream),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Counting uses and failures: observe/meter.c. */
#include "support/fixture.h"

#include "observe/meter.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct hp_meter *meter;

static int set_up(void **state)
{
	(void)state;
	meter = hp_meter_new();
	return meter ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	hp_meter_free(&meter);
	return 0;
}

#define METER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static void a_new_meter_has_counted_nothing(void **state)
{
	(void)state;
	struct hp_meter_use use;
	struct hp_meter_error error;
	assert_false(hp_meter_read_use(meter, 0, &use));
	assert_false(hp_meter_read_error(meter, 0, &error));
}

static void a_time_falls_into_the_first_bucket_that_holds_it(void **state)
{
	(void)state;
	assert_int_equal(hp_histogram_bucket(-1), 0);
	assert_int_equal(hp_histogram_bucket(0), 0);
	assert_int_equal(hp_histogram_bucket(1000), 0);
	assert_int_equal(hp_histogram_bucket(1001), 1);
	assert_int_equal(hp_histogram_bucket(2000), 1);
	assert_int_equal(hp_histogram_bucket(2001), 2);
	for (unsigned i = 1; i + 1 < HP_METER_BUCKETS; i++) {
		assert_int_equal(hp_histogram_bucket(INT64_C(1000) << i), i);
		assert_int_equal(hp_histogram_bucket((INT64_C(1000) << i) + 1), i + 1);
	}
	assert_int_equal(hp_histogram_bucket(INT64_MAX), HP_METER_BUCKETS - 1);
}

static void kinds_are_told_apart(void **state)
{
	(void)state;
	struct hp_meter_use use;
	hp_meter_count_use(meter, "C_Sign", 1500);
	hp_meter_count_use(meter, "C_Verify", 500);
	hp_meter_count_use(meter, "C_Sign", 3000);
	assert_true(hp_meter_read_use(meter, 0, &use));
	assert_string_equal(use.kind, "C_Sign");
	assert_int_equal(use.count, 2);
	assert_int_equal(use.sum_ns, 4500);
	assert_int_equal(use.bucket[1], 1);
	assert_int_equal(use.bucket[2], 1);
	assert_true(hp_meter_read_use(meter, 1, &use));
	assert_string_equal(use.kind, "C_Verify");
	assert_int_equal(use.count, 1);
	assert_false(hp_meter_read_use(meter, 2, &use));
}

static void one_name_at_two_addresses_is_one_kind(void **state)
{
	(void)state;
	static const char here[] = "C_Digest", there[] = "C_Digest";
	struct hp_meter_use use;
	hp_meter_count_use(meter, here, 1);
	hp_meter_count_use(meter, "C_Sign", 1);
	hp_meter_count_use(meter, there, 1);
	assert_true(hp_meter_read_use(meter, 0, &use));
	assert_int_equal(use.count, 2);
	assert_true(hp_meter_read_use(meter, 1, &use));
	assert_string_equal(use.kind, "C_Sign");
	assert_false(hp_meter_read_use(meter, 2, &use));
}

static void kinds_beyond_the_bound_are_counted_as_other(void **state)
{
	(void)state;
	static char names[HP_METER_KINDS + 10][16];
	struct hp_meter_use use;
	for (int i = 0; i < HP_METER_KINDS + 10; i++) {
		snprintf(names[i], sizeof(names[i]), "C_%d", i);
		hp_meter_count_use(meter, names[i], 1);
	}
	assert_true(hp_meter_read_use(meter, HP_METER_KINDS - 1, &use));
	assert_int_equal(use.count, 1);
	assert_true(hp_meter_read_use(meter, HP_METER_KINDS, &use));
	assert_string_equal(use.kind, "other");
	assert_int_equal(use.count, 10);
	assert_false(hp_meter_read_use(meter, HP_METER_KINDS + 1, &use));
}

static void errors_are_told_apart_by_their_number(void **state)
{
	(void)state;
	struct hp_meter_error error;
	hp_meter_count_error(meter, 0x30);
	hp_meter_count_error(meter, 0xc0);
	hp_meter_count_error(meter, 0x30);
	hp_meter_count_error(meter, 0);
	assert_true(hp_meter_read_error(meter, 0, &error));
	assert_int_equal(error.kind, HP_METER_ERROR_CODE);
	assert_int_equal(error.code, 0x30);
	assert_int_equal(error.count, 2);
	assert_true(hp_meter_read_error(meter, 1, &error));
	assert_int_equal(error.code, 0xc0);
	assert_true(hp_meter_read_error(meter, 2, &error));
	assert_int_equal(error.kind, HP_METER_ERROR_NAMELESS);
	assert_int_equal(error.count, 1);
	assert_false(hp_meter_read_error(meter, 3, &error));
}

static void errors_beyond_the_bound_are_counted_as_other(void **state)
{
	(void)state;
	struct hp_meter_error error;
	for (uint64_t code = 1; code <= HP_METER_ERRORS + 1000; code++)
		hp_meter_count_error(meter, code);
	assert_true(hp_meter_read_error(meter, HP_METER_ERRORS, &error));
	assert_int_equal(error.kind, HP_METER_ERROR_OTHER);
	assert_int_equal(error.count, 1000);
	assert_false(hp_meter_read_error(meter, HP_METER_ERRORS + 1, &error));
}

#define THREADS (HP_METER_SHARDS * 2)
#define EACH    2000

static const char *const kinds[] = { "C_Sign", "C_Encrypt", "C_Digest" };

static void *count_many(void *unused)
{
	(void)unused;
	for (int i = 0; i < EACH; i++) {
		hp_meter_count_use(meter, kinds[i % 3], 1000);
		hp_meter_count_error(meter, (uint64_t)(i % 50));
	}
	return NULL;
}

static void nothing_is_lost_among_threads(void **state)
{
	(void)state;
	pthread_t threads[THREADS];
	struct hp_meter_use use;
	struct hp_meter_error error;
	uint64_t uses = 0, sum_ns = 0, errors = 0;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_many, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (size_t i = 0; hp_meter_read_use(meter, i, &use); i++) {
		uses += use.count;
		sum_ns += use.sum_ns;
		assert_string_not_equal(use.kind, "other");
	}
	for (size_t i = 0; hp_meter_read_error(meter, i, &error); i++)
		errors += error.count;
	assert_int_equal(uses, THREADS * EACH);
	assert_int_equal(sum_ns, UINT64_C(1000) * THREADS * EACH);
	assert_int_equal(errors, THREADS * EACH);
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		METER_TEST(a_new_meter_has_counted_nothing),
		METER_TEST(a_time_falls_into_the_first_bucket_that_holds_it),
		METER_TEST(kinds_are_told_apart),
		METER_TEST(one_name_at_two_addresses_is_one_kind),
		METER_TEST(kinds_beyond_the_bound_are_counted_as_other),
		METER_TEST(errors_are_told_apart_by_their_number),
		METER_TEST(errors_beyond_the_bound_are_counted_as_other),
		METER_TEST(nothing_is_lost_among_threads),
	};
	return cmocka_run_group_tests_name("meter", tests, NULL, NULL);
}

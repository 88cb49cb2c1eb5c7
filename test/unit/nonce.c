/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes for IVs: none twice, not in threads, not in a forked child. */
#include "support/fixture.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/nonce.h"

#define IV_LEN  12
#define COUNT   20000
#define THREADS 4

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, IV_LEN);
}

static void assert_all_different(uint8_t *ivs, size_t count)
{
	qsort(ivs, count, IV_LEN, compare);
	for (size_t i = 1; i < count; i++)
		assert_memory_not_equal(ivs + (i - 1) * IV_LEN, ivs + i * IV_LEN, IV_LEN);
}

static void draw_many(uint8_t *ivs, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_true(hp_nonce_draw(ivs + i * IV_LEN, IV_LEN));
}

static void no_value_is_drawn_twice(void **state)
{
	(void)state;
	uint8_t *ivs = calloc(COUNT, IV_LEN);
	draw_many(ivs, COUNT);
	assert_all_different(ivs, COUNT);
	free(ivs);
}

static void *draw_in_thread(void *ivs)
{
	draw_many(ivs, COUNT / THREADS);
	return NULL;
}

static void threads_draw_different_values(void **state)
{
	(void)state;
	uint8_t *ivs = calloc(COUNT, IV_LEN);
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, draw_in_thread,
				       ivs + (size_t)i * (COUNT / THREADS) * IV_LEN),
			0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_all_different(ivs, COUNT);
	free(ivs);
}

/* The batch that the parent had begun is in the child's memory too. */
static void a_forked_child_draws_values_of_its_own(void **state)
{
	(void)state;
	uint8_t before[IV_LEN], in_parent[10 * IV_LEN], in_child[10 * IV_LEN];
	int ends[2];
	assert_true(hp_nonce_draw(before, sizeof before));
	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();
	if (child == 0) {
		bool is_drawn = true;
		for (int i = 0; i < 10; i++)
			is_drawn =
				is_drawn && hp_nonce_draw(in_child + i * IV_LEN, IV_LEN);
		_exit(is_drawn && write(ends[1], in_child, sizeof in_child) ==
					      sizeof in_child
			      ? 0
			      : 1);
	}
	draw_many(in_parent, 10);
	assert_int_equal(read(ends[0], in_child, sizeof in_child), sizeof in_child);
	int status;
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	uint8_t all[20 * IV_LEN];
	memcpy(all, in_parent, sizeof in_parent);
	memcpy(all + sizeof in_parent, in_child, sizeof in_child);
	assert_all_different(all, 20);
	close(ends[0]);
	close(ends[1]);
}

static void more_than_a_batch_can_be_drawn_at_once(void **state)
{
	(void)state;
	uint8_t big[4096] = { 0 }, zero[64] = { 0 };
	assert_true(hp_nonce_draw(big, sizeof big));
	assert_memory_not_equal(big + sizeof big - sizeof zero, zero, sizeof zero);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_value_is_drawn_twice),
		cmocka_unit_test(threads_draw_different_values),
		cmocka_unit_test(a_forked_child_draws_values_of_its_own),
		cmocka_unit_test(more_than_a_batch_can_be_drawn_at_once),
	};
	return cmocka_run_group_tests_name("nonce", tests, NULL, NULL);
}

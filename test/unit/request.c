/* SPDX-License-Identifier: Apache-2.0 */
/* Request ids: none twice, not in threads, not in a forked child; and in log lines. */
#include "support/fixture.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "observe/log.h"
#include "observe/request.h"

#define THREADS  4
#define REQUESTS 2000

static void *draw_many(void *to)
{
	uint64_t *ids = to;
	for (size_t i = 0; i < REQUESTS; i++)
		ids[i] = hp_request_draw();
	return NULL;
}

static int compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a;
	uint64_t right = *(const uint64_t *)b;
	return (left > right) - (left < right);
}

static void ids_of_all_threads_differ(void **state)
{
	static uint64_t ids[THREADS * REQUESTS];
	pthread_t threads[THREADS];
	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, draw_many,
						ids + (size_t)i * REQUESTS),
				 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	qsort(ids, THREADS * REQUESTS, sizeof(ids[0]), compare);
	for (size_t i = 1; i < THREADS * REQUESTS; i++)
		assert_true(ids[i - 1] < ids[i]);
	assert_true(ids[0] != 0);
}

static void a_forked_child_draws_other_ids(void **state)
{
	int ends[2];
	int status;
	uint64_t theirs = 0;
	(void)state;
	uint64_t first = hp_request_draw();
	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		theirs = hp_request_draw();
		_exit(write(ends[1], &theirs, sizeof(theirs)) != sizeof(theirs));
	}
	assert_int_equal(read(ends[0], &theirs, sizeof(theirs)), sizeof(theirs));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	/* what the parent draws for long is near its first */
	assert_true(theirs - first > 1000000);
	assert_true(first - theirs > 1000000);
	close(ends[0]);
	close(ends[1]);
}

static void the_id_of_an_outer_request_is_kept(void **state)
{
	(void)state;
	assert_int_equal(hp_request_current(), 0);
	uint64_t before = hp_request_enter();
	uint64_t outer = hp_request_current();
	assert_int_equal(before, 0);
	assert_true(outer != 0);
	uint64_t between = hp_request_enter();
	assert_true(between == outer);
	assert_true(hp_request_current() == outer);
	hp_request_set(between);
	assert_true(hp_request_current() == outer);
	hp_request_set(before);
	assert_int_equal(hp_request_current(), 0);
}

static void an_id_is_written_as_sixteen_digits(void **state)
{
	char text[HP_REQUEST_TEXT];
	(void)state;
	hp_request_format(UINT64_C(0x00ab0000000c0ffe), text);
	assert_string_equal(text, "00ab0000000c0ffe");
}

static char last_line[256];

static void keep_line(void *user, hsmpool_log_level level, const char *event,
		      const char *text)
{
	(void)user;
	(void)level;
	(void)event;
	strncpy(last_line, text, sizeof(last_line) - 1);
}

static void a_log_line_tells_the_request_it_belongs_to(void **state)
{
	(void)state;
	hsmpool_log_set_callback(keep_line, NULL);
	hp_request_set(UINT64_C(0xfeed));
	HP_LOG(ERROR, "request-test", "within");
	hp_request_set(0);
	assert_string_equal(last_line, "within req=000000000000feed");
	HP_LOG(ERROR, "request-test", "outside");
	assert_string_equal(last_line, "outside");
	hsmpool_log_set_callback(NULL, NULL);
}

static void a_json_line_has_the_request_as_a_member(void **state)
{
	char path[] = "/tmp/hsmpool-request-XXXXXX";
	char target[64] = "file:";
	char line[512] = "";
	(void)state;
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	strcat(target, path);
	assert_int_equal(hp_log_configure(target, HSMPOOL_LOG_ERROR, HP_LOG_JSON, NULL),
			 HSMPOOL_OK);
	hp_request_set(UINT64_C(0xbeef));
	HP_LOG(ERROR, "request-test", "within");
	hp_request_set(0);
	assert_true(read(fd, line, sizeof(line) - 1) > 0);
	assert_non_null(strstr(line, ",\"request\":\"000000000000beef\",\"text\":"));
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_of_all_threads_differ),
		cmocka_unit_test(a_forked_child_draws_other_ids),
		cmocka_unit_test(the_id_of_an_outer_request_is_kept),
		cmocka_unit_test(an_id_is_written_as_sixteen_digits),
		cmocka_unit_test(a_log_line_tells_the_request_it_belongs_to),
		cmocka_unit_test(a_json_line_has_the_request_as_a_member),
	};
	return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}

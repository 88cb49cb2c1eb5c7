/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pools' metrics: each event moves its counter, and no counter ever falls.
 */
#include "mock/pool_ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define assert_rv(call, expected) assert_int_equal((call), (expected))

/* Into the caller's own pointer: GCC 12 at -O3 takes what is found in a text that a
 * function returned for a pointer into that function. */
static void tell_all(char **text)
{
	hsmpool_error err;
	assert_ok(hsmpool_metrics_text(text, NULL, &err), &err);
}

/* The value of the sample of that name of the ground's token, with more labels
 * ("result=\"ok\"", or ""); -1: there is none. */
static double metric(const char *name, const char *more)
{
	char line[300];
	char *text = NULL;
	tell_all(&text);
	snprintf(line, sizeof(line),
		 "\nhsmpool_%s{pool=\"default\",token=\"" MOCK_TOKEN_LABEL "\"%s%s} ",
		 name, *more ? "," : "", more);
	const char *at = strstr(text, line);
	double value = at ? strtod(at + strlen(line), NULL) : -1;
	free(text);
	return value;
}

/* Counters live as long as the process: only what a test adds to them counts. */
#define assert_rises(name, more, by, action)                         \
	do {                                                         \
		double before_it = metric(name, more);               \
		assert_true(before_it >= 0);                         \
		action;                                              \
		assert_true(metric(name, more) == before_it + (by)); \
	} while (0)

static void borrow_and_return(struct ground *g)
{
	hsmpool_session *s = ground_borrow(g);
	assert_rv(ground_use(s), CKR_OK);
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
}

/* --- borrowing -------------------------------------------------------------------- */

static void a_borrow_served_at_once_is_direct(void **state)
{
	struct ground *g = *state;
	ground_open(g, NULL);
	assert_rises("borrow_total", "result=\"direct\"", 1, borrow_and_return(g));
	assert_rises("borrow_wait_seconds_count", "", 1, borrow_and_return(g));
	assert_rises("borrow_wait_seconds_bucket", "le=\"1e-06\"", 1,
		     borrow_and_return(g));
	assert_rises("session_held_seconds_count", "", 1, borrow_and_return(g));
}

static void *borrow_in_thread(void *argument)
{
	borrow_and_return(argument);
	return NULL;
}

static void let_one_wait(struct ground *g)
{
	hsmpool_session *s = ground_borrow(g);
	struct crew crew = crew_start(1, borrow_in_thread, g);
	eventually(metric("waiters", "") == 1);
	eventually(metric("oldest_wait_seconds", "") > 0);
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
	crew_join(&crew);
}

static void a_borrow_that_waits_is_counted_with_its_time(void **state)
{
	struct ground *g = *state;
	ground_open(g, "max-sessions", "1", NULL);
	assert_rises("borrow_total", "result=\"waited\"", 1, let_one_wait(g));
	double waited = metric("borrow_wait_seconds_sum", "");
	let_one_wait(g);
	assert_true(metric("borrow_wait_seconds_sum", "") > waited);
	assert_true(metric("waiters", "") == 0);
	assert_true(metric("oldest_wait_seconds", "") == 0);
}

static void borrow_in_vain(struct ground *g, int64_t milliseconds)
{
	hsmpool_session *none = NULL;
	hsmpool_error err;
	assert_status(ground_try_borrow(g, milliseconds, &none, &err),
		      HSMPOOL_ERR_TIMEOUT);
}

static void refuse_one(struct ground *g)
{
	hsmpool_session *none = NULL;
	assert_status(hsmpool_borrow(g->pool, &none, HSMPOOL_BORROW_ANY, "test",
				     HSMPOOL_NO_WAIT, NULL),
		      HSMPOOL_ERR_TIMEOUT);
}

static void a_borrow_that_fails_is_counted_by_how(void **state)
{
	struct ground *g = *state;
	ground_open(g, "max-sessions", "1", NULL);
	hsmpool_session *s = ground_borrow(g);
	assert_rises("borrow_total", "result=\"timeout\"", 1, borrow_in_vain(g, 5));
	assert_rises("borrow_total", "result=\"rejected\"", 1, refuse_one(g));
	assert_true(metric("sessions", "state=\"used\"") == 1);
	hsmpool_return(&s, HSMPOOL_VERDICT_CLEAN);
	assert_true(metric("sessions", "state=\"used\"") == 0);
	assert_true(metric("sessions", "state=\"idle\"") == 1);
	assert_true(metric("sessions_limit", "") == 1);
}

static void *borrow_until_closed(void *argument)
{
	struct ground *g = argument;
	hsmpool_session *none = NULL;
	hsmpool_error err;
	assert_status(ground_try_borrow(g, TEST_PATIENCE_MS, &none, &err),
		      HSMPOOL_ERR_CLOSED);
	return NULL;
}

static void *give_back_when_closed(void *argument)
{
	hsmpool_session **s = argument;
	eventually(metric("borrow_total", "result=\"closed\"") > 0);
	hsmpool_return(s, HSMPOOL_VERDICT_CLEAN);
	return NULL;
}

static void a_borrow_ended_by_the_closing_is_counted_as_closed(void **state)
{
	struct ground *g = *state;
	ground_open(g, "max-sessions", "1", NULL);
	hsmpool_session *s = ground_borrow(g);
	double before = metric("borrow_total", "result=\"closed\"");
	struct crew waiting = crew_start(1, borrow_until_closed, g);
	eventually(metric("waiters", "") == 1);
	struct crew returning = crew_start(1, give_back_when_closed, &s);
	hsmpool *pool = g->pool;
	hsmpool_close(&pool);
	g->pool = NULL;
	crew_join(&waiting);
	crew_join(&returning);
	assert_true(metric("borrow_total", "result=\"closed\"") == before + 1);
}

/* --- sessions --------------------------------------------------------------------- */

static void return_dead(struct ground *g)
{
	hsmpool_session *s = ground_borrow(g);
	hsmpool_return(&s, HSMPOOL_VERDICT_DEAD);
}

static void close_one(struct ground *g)
{
	hsmpool_close(&g->pool);
}

static void sessions_closed_are_counted_by_reason(void **state)
{
	struct ground *g = *state;
	/* One at most: else who borrows may open one beside the one that upkeep opens. */
	ground_open(g, "min-sessions", "1", "max-sessions", "1", NULL);
	double opened = metric("session_opened_total", "");
	assert_rises("session_closed_total", "reason=\"broken\"", 1, return_dead(g));
	borrow_and_return(g); /* on one that it, or upkeep, opened */
	assert_true(metric("session_opened_total", "") == opened + 1);
	assert_rises("losses_total", "what=\"session\"", 1, return_dead(g));
	borrow_and_return(g);
	assert_rises("session_closed_total", "reason=\"shutdown\"", 1, close_one(g));
}

static void idle_sessions_are_closed_as_idle(void **state)
{
	struct ground *g = *state;
	double before = 0;
	ground_open(g, "min-sessions", "1", "max-sessions", "2", "idle-timeout", "10ms",
		    NULL);
	before = metric("session_closed_total", "reason=\"idle\"");
	hsmpool_session *a = ground_borrow(g), *b = ground_borrow(g);
	hsmpool_return(&a, HSMPOOL_VERDICT_CLEAN);
	hsmpool_return(&b, HSMPOOL_VERDICT_CLEAN);
	eventually(metric("session_closed_total", "reason=\"idle\"") > before);
}

static void old_sessions_are_closed_for_their_lifetime(void **state)
{
	struct ground *g = *state;
	ground_open(g, "min-sessions", "1", "max-sessions", "2", "max-lifetime", "10ms",
		    NULL);
	double before = metric("session_closed_total", "reason=\"lifetime\"");
	hsmpool_session *a = ground_borrow(g), *b = ground_borrow(g);
	hsmpool_return(&a, HSMPOOL_VERDICT_CLEAN);
	hsmpool_return(&b, HSMPOOL_VERDICT_CLEAN);
	eventually(metric("session_closed_total", "reason=\"lifetime\"") > before);
}

static void *operate_once(void *argument)
{
	struct ground *g = argument;
	CK_RV rv;
	ground_operate(g->pool, TEST_PATIENCE_MS, &rv, NULL);
	return NULL;
}

static void a_hung_call_is_seen_and_its_session_closed_as_stuck(void **state)
{
	struct ground *g = *state;
	/* Longer than what a busy machine makes of any other call. */
	ground_open(g, "max-sessions", "2", "stuck-after", "200ms", NULL);
	double hung = metric("hung_calls_total", "");
	double closed = metric("session_closed_total", "reason=\"stuck\"");
	g->mock->hang("C_GenerateRandom", 1);
	struct crew crew = crew_start(1, operate_once, g);
	eventually(metric("sessions", "state=\"stuck\"") == 1);
	assert_true(metric("hung_calls_total", "") > hung);
	g->mock->release();
	crew_join(&crew);
	assert_true(metric("session_closed_total", "reason=\"stuck\"") > closed);
	assert_true(metric("sessions", "state=\"stuck\"") == 0);
}

static void a_borrow_that_lasts_is_suspected_until_it_is_over(void **state)
{
	struct ground *g = *state;
	ground_open(g, "leak-warn", "10ms", NULL);
	double before = metric("borrow_overdue_total", "");
	hsmpool_session *s = ground_borrow(g);
	eventually(metric("leaks_suspected", "") == 1);
	assert_true(metric("borrow_overdue_total", "") == before + 1);
	hsmpool_return(&s, HSMPOOL_VERDICT_DEAD);
	assert_true(metric("leaks_suspected", "") == 0);
}

static void probes_are_counted_by_result(void **state)
{
	struct ground *g = *state;
	ground_open(g, "validate-after", "0", NULL);
	assert_rises("validate_total", "result=\"ok\"", 1, borrow_and_return(g));
	ground_script(g, "fail=C_GetSessionInfo:1:CKR_SESSION_HANDLE_INVALID");
	assert_rises("validate_total", "result=\"failed\"", 1, borrow_and_return(g));
}

/* --- the login, the token --------------------------------------------------------- */

static void logins_are_counted_by_result(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	ground_open(g, NULL);
	double ok = metric("login_total", "result=\"ok\"");
	double refused = metric("login_total", "result=\"refused\"");
	double failed = metric("login_total", "result=\"failed\"");
	assert_true(ok >= 1);
	hsmpool_close(&g->pool);
	ground_script(g, "fail=C_Login:1:CKR_DEVICE_ERROR");
	ground_open(g, NULL);
	hsmpool_close(&g->pool);
	assert_true(metric("login_total", "result=\"failed\"") == failed + 1);
	assert_true(metric("login_total", "result=\"ok\"") == ok + 1);
	g->mock->pin("another");
	assert_status(
		hsmpool_open(&g->pool, g->fixture.config, NULL, HSMPOOL_DEFAULT, &err),
		HSMPOOL_ERR_AUTH);
	assert_true(metric("login_total", "result=\"refused\"") == refused + 1);
	assert_true(metric("login_total", "result=\"failed\"") == failed + 1);
	assert_true(metric("login_total", "result=\"ok\"") == ok + 1);
}

static void a_token_that_fails_shows_in_the_breakers_state(void **state)
{
	struct ground *g = *state;
	hsmpool_session *none = NULL;
	ground_open(g, "breaker-after", "1ms", "breaker-failures", "1", "breaker-probe",
		    "10ms", NULL);
	assert_true(metric("breaker_state", "") == 0);
	double opened = metric("breaker_opened_total", "");
	ground_script(g, "fail=C_OpenSession:1+:CKR_DEVICE_ERROR");
	return_dead(g);
	while (metric("breaker_state", "") == 0)
		assert_int_not_equal(ground_try_borrow(g, 5, &none, NULL), HSMPOOL_OK);
	assert_true(metric("breaker_opened_total", "") == opened + 1);
}

/* --- the process ------------------------------------------------------------------ */

static void counters_do_not_fall_when_a_pool_is_closed(void **state)
{
	struct ground *g = *state;
	ground_open(g, NULL);
	for (int i = 0; i < 10; i++)
		borrow_and_return(g);
	double direct = metric("borrow_total", "result=\"direct\"");
	double opened = metric("session_opened_total", "");
	double held = metric("session_held_seconds_count", "");
	hsmpool_close(&g->pool);
	assert_true(metric("borrow_total", "result=\"direct\"") == direct);
	assert_true(metric("session_opened_total", "") == opened);
	assert_true(metric("session_held_seconds_count", "") == held);
	assert_true(metric("sessions", "state=\"idle\"") == 0);
	assert_true(metric("sessions_limit", "") == 0);
	ground_open(g, NULL);
	assert_true(metric("borrow_total", "result=\"direct\"") > direct);
	assert_true(metric("session_opened_total", "") == opened + 1);
}

static void two_pools_of_one_name_and_token_are_one_series(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *second = NULL;
	ground_open(g, "max-sessions", "3", NULL);
	assert_ok(hsmpool_open(&second, g->fixture.config, NULL, HSMPOOL_DEFAULT, &err),
		  &err);
	assert_true(metric("sessions", "state=\"idle\"") == 2);
	assert_true(metric("sessions_limit", "") == 6);
	char *text = NULL;
	tell_all(&text);
	const char *first = strstr(text, "\nhsmpool_waiters{");
	assert_non_null(first);
	assert_null(strstr(first + 1, "\nhsmpool_waiters{"));
	free(text);
	hsmpool_close(&second);
	assert_true(metric("sessions_limit", "") == 3);
}

static void a_forked_child_begins_at_zero(void **state)
{
	struct ground *g = *state;
	ground_open(g, NULL);
	borrow_and_return(g);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		char *text = NULL;
		bool is_ok = hsmpool_metrics_text(&text, NULL, NULL) == HSMPOOL_OK &&
			     !strstr(text, "hsmpool_borrow_total{");
		hsmpool_close(&g->pool);
		_exit(is_ok ? 0 : 1);
	}
	int how = 0;
	assert_int_equal(waitpid(child, &how, 0), child);
	assert_int_equal(how, 0);
	assert_true(metric("borrow_total", "result=\"direct\"") > 0);
}

static void families_are_not_torn_apart(void **state)
{
	struct ground *g = *state;
	char *seen[100];
	size_t count = 0;
	ground_open(g, NULL);
	char *text = NULL;
	tell_all(&text);
	for (char *line = strtok_r(text, "\n", &seen[99]); line;
	     line = strtok_r(NULL, "\n", &seen[99])) {
		if (strncmp(line, "# TYPE ", 7) != 0)
			continue;
		for (size_t i = 0; i < count; i++)
			assert_string_not_equal(seen[i], line);
		assert_true(count < 99);
		seen[count++] = line;
	}
	assert_true(count > 25);
	free(text);
}

/* --- uses ------------------------------------------------------------------------- */

static hsmpool_status sign_once(hsmpool *pool, hsmpool_error *err)
{
	static const uint8_t message[] = "message";
	uint8_t space[128];
	hsmpool_buf signature = { .data = space, .cap = sizeof(space) };
	hsmpool_key *key = NULL;
	assert_ok(hsmpool_key_open(&key, pool, "pkcs11:object=ec;type=private",
				   HSMPOOL_DEFAULT, err),
		  err);
	hsmpool_status status = hsmpool_sign(pool, key, "ecdsa-sha256",
					     (hsmpool_bytes){ message, sizeof(message) },
					     &signature, HSMPOOL_DEFAULT, err);
	hsmpool_key_close(&key);
	return status;
}

static hsmpool_operation_stats stats_of(hsmpool *pool, const char *function)
{
	hsmpool_operation_stats stats = { .size = sizeof(stats) };
	for (size_t i = 0; hsmpool_get_operation_stats(pool, i, &stats); i++)
		if (strcmp(stats.function, function) == 0)
			return stats;
	return (hsmpool_operation_stats){ 0 };
}

static uint64_t errors_of(hsmpool *pool, const char *name)
{
	hsmpool_error_stats stats = { .size = sizeof(stats) };
	for (size_t i = 0; hsmpool_get_error_stats(pool, i, &stats); i++)
		if (strcmp(stats.name, name) == 0)
			return stats.count;
	return 0;
}

static void a_use_is_counted_with_its_time(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	ground_open(g, NULL);
	hsmpool_operation_stats before = stats_of(g->pool, "C_Sign");
	assert_ok(sign_once(g->pool, &err), &err);
	hsmpool_operation_stats after = stats_of(g->pool, "C_Sign");
	assert_int_equal(after.count, before.count + 1);
	assert_true(after.total_ns > before.total_ns);
	assert_rises("op_seconds_count", "op=\"C_Sign\"", 1,
		     assert_ok(sign_once(g->pool, &err), &err));
	assert_rises("op_seconds_bucket", "op=\"C_Sign\",le=\"+Inf\"", 1,
		     assert_ok(sign_once(g->pool, &err), &err));
}

static void a_use_that_fails_is_counted_by_its_return_value(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	ground_open(g, NULL);
	uint64_t failed = errors_of(g->pool, "CKR_DATA_LEN_RANGE");
	uint64_t signs = stats_of(g->pool, "C_Sign").count;
	ground_script(g, "fail=C_Sign:1:CKR_DATA_LEN_RANGE");
	assert_int_not_equal(sign_once(g->pool, &err), HSMPOOL_OK);
	assert_int_equal(errors_of(g->pool, "CKR_DATA_LEN_RANGE"), failed + 1);
	assert_int_equal(stats_of(g->pool, "C_Sign").count, signs + 1);
	ground_script(g, "fail=C_Sign:1:CKR_DATA_LEN_RANGE");
	assert_rises("op_errors_total", "ckr=\"CKR_DATA_LEN_RANGE\"", 1,
		     assert_int_not_equal(sign_once(g->pool, &err), HSMPOOL_OK));
}

static void a_repetition_is_counted_by_its_reason(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	ground_open(g, NULL);
	ground_script(g, "fail=C_SignInit:1:CKR_SESSION_HANDLE_INVALID");
	assert_rises("retry_total", "class=\"session-dead\"", 1,
		     assert_ok(sign_once(g->pool, &err), &err));
	double before = metric("retry_total", "class=\"session-dead\"");
	hsmpool_close(&g->pool);
	assert_true(metric("retry_total", "class=\"session-dead\"") == before);
}

/* --- the file --------------------------------------------------------------------- */

/* NULL: there is none. */
static char *content_of(const char *path)
{
	char *text = calloc(1, 64 * 1024);
	FILE *file = fopen(path, "re");
	assert_non_null(text);
	if (!file) {
		free(text);
		return NULL;
	}
	size_t len = fread(text, 1, 64 * 1024 - 1, file);
	fclose(file);
	text[len] = '\0';
	return text;
}

static bool has_line(const char *path, const char *line)
{
	char *text = content_of(path);
	bool is_found = text && strstr(text, line);
	free(text);
	return is_found;
}

static void open_with_file(struct ground *g, const char *name, char path[300])
{
	snprintf(path, 300, "%s/%s", g->fixture.dir, name);
	ground_open(g, "metrics-file", path, "metrics-interval", "10ms", NULL);
}

static void the_file_is_for_all_to_read_and_goes_on(void **state)
{
	struct ground *g = *state;
	char path[300], line[200];
	struct stat facts;
	open_with_file(g, "m.prom", path);
	eventually(has_line(path, "# TYPE hsmpool_borrow_total counter\n"));
	assert_false(has_line(path, "# EOF"));
	assert_int_equal(stat(path, &facts), 0);
	assert_int_equal(facts.st_mode & 07777, 0644);
	borrow_and_return(g);
	snprintf(line, sizeof(line),
		 "\nhsmpool_borrow_total{pool=\"default\",token=\"%s\","
		 "result=\"direct\"} %.0f\n",
		 MOCK_TOKEN_LABEL, metric("borrow_total", "result=\"direct\""));
	eventually(has_line(path, line));
}

static void a_file_of_that_name_has_the_last_figures_in_the_end(void **state)
{
	struct ground *g = *state;
	char path[300];
	open_with_file(g, "m.prom", path);
	hsmpool_close(&g->pool);
	assert_true(has_line(path,
			     "hsmpool_sessions{pool=\"default\",token=\"" MOCK_TOKEN_LABEL
			     "\",state=\"idle\"} 0\n"));
}

static void a_file_per_process_says_whose_it_is_and_is_removed(void **state)
{
	struct ground *g = *state;
	char path[300], name[300], label[200];
	open_with_file(g, "m-%p.prom", path);
	snprintf(name, sizeof(name), "%s/m-%ld.prom", g->fixture.dir, (long)getpid());
	snprintf(label, sizeof(label), "\nhsmpool_waiters{pid=\"%ld\",program=\"",
		 (long)getpid());
	eventually(has_line(name, label));
	hsmpool_close(&g->pool);
	assert_int_not_equal(access(name, F_OK), 0);
}

static void leave_a_file(const char *path)
{
	FILE *file = fopen(path, "we");
	assert_non_null(file);
	fclose(file);
}

static void what_a_killed_process_left_is_removed(void **state)
{
	struct ground *g = *state;
	char dead[300], alive[300], other[300], path[300];
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	snprintf(dead, sizeof(dead), "%s/m-%ld.prom", g->fixture.dir, (long)child);
	snprintf(alive, sizeof(alive), "%s/m-%ld.prom", g->fixture.dir, (long)getppid());
	snprintf(other, sizeof(other), "%s/m-%ld.promo", g->fixture.dir, (long)child);
	leave_a_file(dead);
	leave_a_file(alive);
	leave_a_file(other);
	open_with_file(g, "m-%p.prom", path);
	assert_int_not_equal(access(dead, F_OK), 0);
	assert_int_equal(access(alive, F_OK), 0);
	assert_int_equal(access(other, F_OK), 0);
}

static void a_forked_child_leaves_its_parents_file_alone(void **state)
{
	struct ground *g = *state;
	char path[300], name[300];
	open_with_file(g, "m-%p.prom", path);
	snprintf(name, sizeof(name), "%s/m-%ld.prom", g->fixture.dir, (long)getpid());
	eventually(access(name, F_OK) == 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		hsmpool_close(&g->pool);
		_exit(0);
	}
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(access(name, F_OK), 0);
}

static void a_folder_that_is_not_there_is_logged_once_and_harms_nobody(void **state)
{
	struct ground *g = *state;
	char path[300];
	open_with_file(g, "none/m.prom", path);
	eventually(ground_logged("metrics-file-failed", NULL, 0) > 0);
	borrow_and_return(g);
	hsmpool_close(&g->pool);
	assert_int_equal(ground_logged("metrics-file-failed", NULL, 0), 1);
}

static void nobody_sees_a_part_of_the_file(void **state)
{
	struct ground *g = *state;
	char path[300];
	ino_t seen = 0;
	struct stat facts;
	open_with_file(g, "m.prom", path);
	eventually(access(path, F_OK) == 0);
	for (int versions = 0; versions < 20;) {
		char *text = content_of(path);
		assert_non_null(text);
		assert_memory_equal(text, "# HELP ", 7);
		assert_non_null(
			strstr(text, "\n# TYPE hsmpool_op_errors_total counter\n"));
		assert_int_equal(text[strlen(text) - 1], '\n');
		free(text);
		assert_int_equal(stat(path, &facts), 0);
		versions += facts.st_ino != seen;
		seen = facts.st_ino;
	}
}

static void without_a_keeper_returns_write_the_file(void **state)
{
	struct ground *g = *state;
	char path[300];
	ground_set(g, "keeper", "no", NULL);
	open_with_file(g, "m.prom", path);
	eventually((borrow_and_return(g), access(path, F_OK) == 0));
}

/* --- structures ------------------------------------------------------------------- */

static void a_structure_that_says_no_size_gets_nothing(void **state)
{
	struct ground *g = *state;
	hsmpool_operation_stats operation = { 0 };
	hsmpool_error_stats error = { 0 };
	ground_open(g, NULL);
	assert_int_equal(hsmpool_get_operation_stats(g->pool, 0, &operation), 0);
	assert_int_equal(hsmpool_get_error_stats(g->pool, 0, &error), 0);
	assert_int_equal(hsmpool_get_operation_stats(g->pool, 0, NULL), 0);
	assert_int_equal(hsmpool_get_error_stats(NULL, 0, &error), 0);
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		GROUND_TEST(a_borrow_served_at_once_is_direct),
		GROUND_TEST(a_borrow_that_waits_is_counted_with_its_time),
		GROUND_TEST(a_borrow_that_fails_is_counted_by_how),
		GROUND_TEST(a_borrow_ended_by_the_closing_is_counted_as_closed),
		GROUND_TEST(sessions_closed_are_counted_by_reason),
		GROUND_TEST(idle_sessions_are_closed_as_idle),
		GROUND_TEST(old_sessions_are_closed_for_their_lifetime),
		GROUND_TEST(a_hung_call_is_seen_and_its_session_closed_as_stuck),
		GROUND_TEST(a_borrow_that_lasts_is_suspected_until_it_is_over),
		GROUND_TEST(probes_are_counted_by_result),
		GROUND_TEST(logins_are_counted_by_result),
		GROUND_TEST(a_token_that_fails_shows_in_the_breakers_state),
		GROUND_TEST(counters_do_not_fall_when_a_pool_is_closed),
		GROUND_TEST(two_pools_of_one_name_and_token_are_one_series),
		GROUND_TEST(a_forked_child_begins_at_zero),
		GROUND_TEST(families_are_not_torn_apart),
		GROUND_TEST(a_use_is_counted_with_its_time),
		GROUND_TEST(a_use_that_fails_is_counted_by_its_return_value),
		GROUND_TEST(a_repetition_is_counted_by_its_reason),
		GROUND_TEST(the_file_is_for_all_to_read_and_goes_on),
		GROUND_TEST(a_file_of_that_name_has_the_last_figures_in_the_end),
		GROUND_TEST(a_file_per_process_says_whose_it_is_and_is_removed),
		GROUND_TEST(what_a_killed_process_left_is_removed),
		GROUND_TEST(a_forked_child_leaves_its_parents_file_alone),
		GROUND_TEST(a_folder_that_is_not_there_is_logged_once_and_harms_nobody),
		GROUND_TEST(nobody_sees_a_part_of_the_file),
		GROUND_TEST(without_a_keeper_returns_write_the_file),
		GROUND_TEST(a_structure_that_says_no_size_gets_nothing),
	};
	return cmocka_run_group_tests_name("pool metrics", tests, NULL, NULL);
}

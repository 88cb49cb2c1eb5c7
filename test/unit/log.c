/* SPDX-License-Identifier: Apache-2.0 */
/* The log: observe/log.c. clock_gettime is wrapped, so that ten seconds pass at once,
 * and syslog (under both names that it has, depending on _FORTIFY_SOURCE). The journal is
 * libsystemd's real client, whose sendmsg() is ours.
 * A process configures its log once: tests of that run in a forked child. */
#include "support/fixture.h"

#include "base/time.h"
#include "observe/log.h"
#include "observe/request.h"
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

static _Atomic int64_t seconds_ahead;

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	int result = __real_clock_gettime(clock, now);
	now->tv_sec += seconds_ahead;
	return result;
}

static int syslog_lines;
static int syslog_priority;
static char syslog_text[2000];

void __wrap_syslog(int priority, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void __wrap___syslog_chk(int priority, int flag, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void keep_syslog(int priority, const char *format, va_list args)
{
	syslog_lines++;
	syslog_priority = priority;
	vsnprintf(syslog_text, sizeof(syslog_text), format, args);
}

void __wrap_syslog(int priority, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	keep_syslog(priority, format, args);
	va_end(args);
}

void __wrap___syslog_chk(int priority, int flag, const char *format, ...)
{
	va_list args;
	(void)flag;
	va_start(args, format);
	keep_syslog(priority, format, args);
	va_end(args);
}

/* libsystemd finds this before libc's: what it would have told the journal. */
static char journal_entry[10000];
static bool has_journal;

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
	__attribute__((visibility("default")));

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	(void)fd;
	(void)flags;
	size_t len = 0;
	for (size_t i = 0; i < message->msg_iovlen; i++) {
		const struct iovec *part = &message->msg_iov[i];
		assert_true(len + part->iov_len < sizeof(journal_entry));
		memcpy(journal_entry + len, part->iov_base, part->iov_len);
		len += part->iov_len;
	}
	journal_entry[len] = '\0';
	return (ssize_t)len;
}

int __real_access(const char *path, int mode);
int __wrap_access(const char *path, int mode);

int __wrap_access(const char *path, int mode)
{
	if (strcmp(path, "/run/systemd/journal/socket") != 0)
		return __real_access(path, mode);
	errno = has_journal ? 0 : ENOENT;
	return has_journal ? 0 : -1;
}

/* What the callback was given. */
struct record {
	int lines;
	hsmpool_log_level level;
	char event[64];
	char text[4096];  /* of the last line */
	char first[4096]; /* of the first */
};

static void keep(void *user, hsmpool_log_level level, const char *event, const char *text)
{
	struct record *record = user;
	record->lines++;
	record->level = level;
	snprintf(record->event, sizeof(record->event), "%s", event);
	snprintf(record->text, sizeof(record->text), "%s", text);
	if (record->lines == 1)
		snprintf(record->first, sizeof(record->first), "%s", text);
}

/* Every window is over, and the reports that are due are out. */
static int start_fresh(void **state)
{
	(void)state;
	struct record unread = { 0 };
	seconds_ahead += 100;
	hsmpool_log_set_callback(keep, &unread);
	HP_LOG(ERROR, "start-fresh", "x");
	hsmpool_log_set_callback(NULL, NULL);
	hsmpool_log_set_level(HSMPOOL_LOG_WARNING);
	return 0;
}

static void the_log_begins_at_warning(void **state)
{
	(void)state;
	struct record record = { 0 };
	hsmpool_log_set_callback(keep, &record);
	HP_LOG(NOTICE, "first-line", "not wanted");
	assert_int_equal(record.lines, 0);
	HP_LOG(WARNING, "first-line", "wanted %d", 7);
	assert_int_equal(record.lines, 1);
	assert_int_equal(record.level, HSMPOOL_LOG_WARNING);
	assert_string_equal(record.event, "first-line");
	assert_string_equal(record.text, "wanted 7");
}

static void the_level_decides_what_is_written(void **state)
{
	(void)state;
	struct record record = { 0 };
	hsmpool_log_set_callback(keep, &record);
	for (int level = HSMPOOL_LOG_ERROR; level <= HSMPOOL_LOG_DEBUG; level++) {
		hsmpool_log_set_level((hsmpool_log_level)level);
		record.lines = 0;
		HP_LOG(ERROR, "level-test", "x");
		HP_LOG(WARNING, "level-test", "x");
		HP_LOG(NOTICE, "level-test", "x");
		HP_LOG(INFO, "level-test", "x");
		HP_LOG(DEBUG, "level-test", "x");
		assert_int_equal(record.lines, level + 1);
	}
}

static void a_line_that_is_not_wanted_costs_no_evaluation(void **state)
{
	(void)state;
	int evaluated = 0;
	HP_LOG(DEBUG, "evaluated", "%d", ++evaluated);
	assert_int_equal(evaluated, 0);
}

static void the_environment_raises_the_level(void **state)
{
	(void)state;
	struct record record = { 0 };
	hsmpool_log_set_callback(keep, &record);
	setenv("HSMPOOL_DEBUG", "1", 1);
	hsmpool_log_set_level(HSMPOOL_LOG_ERROR);
	HP_LOG(DEBUG, "debug-line", "x");
	setenv("HSMPOOL_DEBUG", "", 1);
	assert_int_equal(record.lines, 1);
	hsmpool_log_set_level(HSMPOOL_LOG_ERROR);
	HP_LOG(DEBUG, "debug-line", "x");
	assert_int_equal(record.lines, 1);
}

static void errno_survives_a_line(void **state)
{
	(void)state;
	struct record record = { 0 };
	hsmpool_log_set_callback(keep, &record);
	errno = EXDEV;
	HP_LOG(ERROR, "errno-line", "x");
	assert_int_equal(errno, EXDEV);
}

static void control_characters_are_escaped(void **state)
{
	(void)state;
	struct record record = { 0 };
	hsmpool_log_set_callback(keep, &record);
	HP_LOG(ERROR, "escape-line", "%s", "a\nb\tc\rd\x1b[31me\x7f\"\\");
	assert_string_equal(record.text, "a\\nb\\tc\\rd\\x1b[31me\\x7f\"\\");
}

static void good_utf8_passes_and_bad_is_escaped(void **state)
{
	(void)state;
	struct record record = { 0 };
	hsmpool_log_set_callback(keep, &record);
	HP_LOG(ERROR, "utf8-line", "%s", "\xc3\xbc \xe2\x82\xac \xf0\x9f\x94\x91");
	assert_string_equal(record.text, "\xc3\xbc \xe2\x82\xac \xf0\x9f\x94\x91");
	HP_LOG(ERROR, "utf8-line", "%s",
	       "\xff \xc3 \xc2\x9b \xc0\xaf \xed\xa0\x80 \xe2\x82");
	assert_string_equal(record.text,
			    "\\xff \\xc3 \\xc2\\x9b \\xc0\\xaf \\xed\\xa0\\x80 "
			    "\\xe2\\x82");
}

static void a_long_text_is_cut(void **state)
{
	(void)state;
	struct record record = { 0 };
	char *text = malloc(100000);
	memset(text, '\x01', 99999);
	text[99999] = '\0';
	hsmpool_log_set_callback(keep, &record);
	HP_LOG(ERROR, "long-line", "%s", text);
	free(text);
	assert_int_equal(record.lines, 1);
	assert_in_range(strlen(record.text), 1000, 4095);
}

static void the_callback_can_be_changed_and_taken_back(void **state)
{
	(void)state;
	struct record first = { 0 };
	struct record second = { 0 };
	for (int i = 0; i < 3; i++) {
		hsmpool_log_set_callback(keep, &first);
		HP_LOG(ERROR, "callback-line", "x");
		hsmpool_log_set_callback(keep, &second);
		HP_LOG(ERROR, "callback-line", "x");
	}
	assert_int_equal(first.lines, 3);
	assert_int_equal(second.lines, 3);
}

static void a_flood_is_limited_and_counted(void **state)
{
	(void)state;
	struct record record = { 0 };
	hsmpool_log_set_callback(keep, &record);
	for (int i = 0; i < 1000; i++)
		HP_LOG(ERROR, "flood", "line %d", i);
	assert_int_equal(record.lines, 20);
	assert_string_equal(record.text, "line 19");
	seconds_ahead += 11;
	HP_LOG(WARNING, "another-event", "x"); /* any event's line brings the report */
	assert_int_equal(record.lines, 22);
	HP_LOG(ERROR, "flood", "again");
	assert_int_equal(record.lines, 23);
	assert_string_equal(record.text, "again");
}

static void the_report_of_a_flood_says_how_many_were_dropped(void **state)
{
	(void)state;
	struct record record = { 0 };
	hsmpool_log_set_callback(keep, &record);
	for (int i = 0; i < 57; i++)
		HP_LOG(ERROR, "counted-flood", "x");
	seconds_ahead += 11;
	record.lines = 0;
	HP_LOG(ERROR, "counted-flood", "again");
	assert_int_equal(record.lines, 2);
	assert_string_equal(record.first,
			    "dropped 37 lines of this event (more than 20 in 10 s)");
	assert_string_equal(record.text, "again");
}

static void one_events_flood_leaves_the_others_alone(void **state)
{
	(void)state;
	struct record record = { 0 };
	hsmpool_log_set_callback(keep, &record);
	for (int i = 0; i < 100; i++)
		HP_LOG(ERROR, "loud", "x");
	HP_LOG(ERROR, "quiet", "x");
	assert_int_equal(record.lines, 21);
	assert_string_equal(record.event, "quiet");
}

static _Atomic int counted;

static void count(void *user, hsmpool_log_level level, const char *event,
		  const char *text)
{
	(void)user;
	(void)level;
	(void)event;
	(void)text;
	counted++;
}

static void *flood(void *argument)
{
	for (int i = 0; i < 500; i++) {
		HP_LOG(ERROR, "threads-flood", "line %d", i);
		if (i % 50 == 0)
			hsmpool_log_set_callback(count, i % 100 ? argument : NULL);
	}
	return NULL;
}

static void threads_share_one_limit(void **state)
{
	(void)state;
	pthread_t threads[4];
	counted = 0;
	hsmpool_log_set_callback(count, NULL);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, flood, &threads);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(counted, 20);
}

/* --- targets, each in a process of its own --------------------------------------------
 */

static void in_child(void (*body)(void))
{
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		body();
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void need(bool condition)
{
	if (!condition)
		_exit(1);
}

static void write_to_file(void)
{
	char target[600];
	snprintf(target, sizeof(target), "file:%s", scratch_path("text.log"));
	need(hp_log_configure(target, HSMPOOL_LOG_NOTICE, HP_LOG_TEXT, NULL) == 0);
	HP_LOG(NOTICE, "file-line", "two\nlines");
	HP_LOG(INFO, "file-line", "not wanted");
	HP_LOG(ERROR, "file-line", "last");
}

static void a_file_gets_text_lines(void **state)
{
	(void)state;
	char text[1000];
	char expected[200];
	int year, pid, end = 0;
	struct stat info;
	in_child(write_to_file);
	scratch_read("text.log", text, sizeof(text));
	assert_int_equal(sscanf(text, "%4d-%*2d-%*2dT%*2d:%*2d:%*2d.%*3dZ hsmpool[%d] %n",
				&year, &pid, &end),
			 2);
	assert_in_range(year, 2024, 2200);
	assert_int_equal(end,
			 snprintf(NULL, 0, "2026-11-21T08:00:00.123Z hsmpool[%d] ", pid));
	const char *first = "NOTICE file-line: two\\nlines\n";
	assert_memory_equal(text + end, first, strlen(first));
	snprintf(expected, sizeof(expected), "hsmpool[%d] ERROR file-line: last\n", pid);
	assert_non_null(strstr(text, expected));
	assert_null(strstr(text, "not wanted"));
	assert_int_equal(stat(scratch_path("text.log"), &info), 0);
	assert_int_equal(info.st_mode & 0137, 0);
}

static void write_json(void)
{
	char target[600];
	snprintf(target, sizeof(target), "file:%s", scratch_path("json.log"));
	need(hp_log_configure(target, HSMPOOL_LOG_WARNING, HP_LOG_JSON, NULL) == 0);
	HP_LOG(WARNING, "json-line", "%s", "a\"b\\c\nd\x01\xff\xc3\xbc");
}

static void json_lines_are_escaped_objects(void **state)
{
	(void)state;
	char text[1000];
	in_child(write_json);
	scratch_read("json.log", text, sizeof(text));
	int pid, end = 0;
	assert_int_equal(sscanf(text,
				"{\"ts\":\"%*24[0-9TZ:.-]\",\"level\":\"warning\","
				"\"event\":\"json-line\",\"pid\":%d,%n",
				&pid, &end),
			 1);
	assert_string_equal(text + end,
			    "\"text\":\"a\\\"b\\\\c\\nd\\u0001\\ufffd\xc3\xbc\"}\n");
}

static void write_to_syslog(void)
{
	need(hp_log_configure("syslog", HSMPOOL_LOG_NOTICE, HP_LOG_TEXT, NULL) == 0);
	HP_LOG(NOTICE, "syslog-line", "a\n%s", "%s%n");
	need(syslog_lines == 1 && syslog_priority == LOG_NOTICE);
	need(strcmp(syslog_text, "hsmpool: syslog-line: a\\n%s%n") == 0);
	HP_LOG(ERROR, "syslog-line", "x");
	need(syslog_lines == 2 && syslog_priority == LOG_ERR);
}

static void syslog_gets_priority_and_text(void **state)
{
	(void)state;
	in_child(write_to_syslog);
}

static void write_json_to_syslog(void)
{
	need(hp_log_configure("syslog", HSMPOOL_LOG_NOTICE, HP_LOG_JSON, NULL) == 0);
	HP_LOG(WARNING, "syslog-line", "x");
	need(syslog_lines == 1 && syslog_priority == LOG_WARNING);
	need(strncmp(syslog_text, "{\"ts\":\"", 7) == 0);
}

static void syslog_gets_json_where_that_is_asked_for(void **state)
{
	(void)state;
	in_child(write_json_to_syslog);
}

static void announce_to_file(void)
{
	char target[600];
	snprintf(target, sizeof(target), "file:%s", scratch_path("announced.log"));
	need(hp_log_configure(target, HSMPOOL_LOG_WARNING, HP_LOG_TEXT, NULL) == 0);
	hp_log_announce("announced", "first\n%s", "x");
	need(syslog_lines == 1 && syslog_priority == LOG_NOTICE);
	need(strcmp(syslog_text, "hsmpool: announced: first\\nx") == 0);
	hsmpool_log_set_level(HSMPOOL_LOG_NOTICE);
	for (int i = 0; i < 50; i++)
		hp_log_announce("announced", "line %d", i);
	need(syslog_lines == 51);
}

static void an_announcement_reaches_syslog_whatever_the_log_is(void **state)
{
	(void)state;
	char text[8000];
	in_child(announce_to_file);
	scratch_read("announced.log", text, sizeof(text));
	assert_null(strstr(text, "first"));
	assert_non_null(strstr(text, "NOTICE announced: line 0\n"));
	assert_non_null(strstr(text, "NOTICE announced: line 49\n"));
}

static void announce_to_syslog(void)
{
	need(hp_log_configure("syslog", HSMPOOL_LOG_NOTICE, HP_LOG_TEXT, NULL) == 0);
	hp_log_announce("announced", "x");
	need(syslog_lines == 1);
}

static void an_announcement_is_not_made_twice_to_syslog(void **state)
{
	(void)state;
	in_child(announce_to_syslog);
}

static bool is_in_entry(const char *field)
{
	char line[300];
	snprintf(line, sizeof(line), "\n%s\n", field);
	return strncmp(journal_entry, line + 1, strlen(line + 1)) == 0 ||
	       strstr(journal_entry, line);
}

static void write_to_journal(void)
{
	has_journal = true;
	need(hp_log_configure("journald", HSMPOOL_LOG_NOTICE, HP_LOG_JSON, NULL) == 0);
	HP_LOG(WARNING, "journal-line", "a\nPRIORITY=0 %s", "b");
	need(is_in_entry("MESSAGE=journal-line: a\\nPRIORITY=0 b"));
	need(is_in_entry("PRIORITY=4"));
	need(is_in_entry("SYSLOG_IDENTIFIER=hsmpool"));
	need(is_in_entry("HSMPOOL_EVENT=journal-line"));
	need(!strstr(journal_entry, "HSMPOOL_REQUEST"));
	uint64_t outer = hp_request_set(0x9f0c52e16a0b77d4);
	HP_LOG(WARNING, "journal-line", "x");
	hp_request_set(outer);
	need(is_in_entry("HSMPOOL_REQUEST=9f0c52e16a0b77d4"));
	hsmpool_log_set_level(HSMPOOL_LOG_ERROR);
	hp_log_announce("announced", "x");
	need(is_in_entry("MESSAGE=announced: x") && is_in_entry("PRIORITY=5"));
	need(syslog_lines == 0);
}

static void the_journal_gets_an_entry_with_fields(void **state)
{
	(void)state;
	in_child(write_to_journal);
}

static void a_machine_without_a_journal_is_told_so(void **state)
{
	(void)state;
	hsmpool_error err;
	assert_status(hp_log_configure("journald", HSMPOOL_LOG_DEBUG, HP_LOG_TEXT, &err),
		      HSMPOOL_ERR_CONFIG);
	assert_non_null(strstr(err.text, "no journal at /run/systemd/journal/socket"));
	assert_false(hp_log_enabled(HSMPOOL_LOG_NOTICE));
}

static void configure_twice(void)
{
	char first[600];
	char second[600];
	snprintf(first, sizeof(first), "file:%s", scratch_path("first.log"));
	snprintf(second, sizeof(second), "file:%s", scratch_path("second.log"));
	need(hp_log_configure(NULL, HSMPOOL_LOG_DEBUG, HP_LOG_JSON, NULL) == 0);
	need(!hp_log_enabled(HSMPOOL_LOG_NOTICE));
	need(hp_log_configure(first, HSMPOOL_LOG_INFO, HP_LOG_TEXT, NULL) == 0);
	need(hp_log_configure(second, HSMPOOL_LOG_DEBUG, HP_LOG_JSON, NULL) == 0);
	HP_LOG(INFO, "once", "here");
	need(!hp_log_enabled(HSMPOOL_LOG_DEBUG));
}

static void only_the_first_target_counts(void **state)
{
	(void)state;
	char text[1000];
	in_child(configure_twice);
	scratch_read("first.log", text, sizeof(text));
	assert_non_null(strstr(text, "INFO once: here\n"));
	assert_int_equal(access(scratch_path("second.log"), F_OK), -1);
}

static void a_target_that_cannot_be_opened_is_refused_by_name(void **state)
{
	(void)state;
	hsmpool_error err;
	assert_status(hp_log_configure("file:/nonexistent/x.log", HSMPOOL_LOG_DEBUG,
				       HP_LOG_TEXT, &err),
		      HSMPOOL_ERR_CONFIG);
	assert_non_null(strstr(err.text, "/nonexistent/x.log"));
	assert_non_null(strstr(err.text, "No such file"));
	assert_status(hp_log_configure("stdout", HSMPOOL_LOG_DEBUG, HP_LOG_TEXT, &err),
		      HSMPOOL_ERR_CONFIG);
	assert_false(hp_log_enabled(HSMPOOL_LOG_NOTICE));
}

static void write_into_broken_pipe(void)
{
	int ends[2];
	need(pipe(ends) == 0 && dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
	close(ends[0]);
	signal(SIGPIPE, SIG_DFL);
	HP_LOG(ERROR, "pipe-line", "nobody reads this");
	sigset_t pending;
	sigset_t blocked;
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, NULL, &blocked);
	need(!sigismember(&pending, SIGPIPE) && !sigismember(&blocked, SIGPIPE));
}

static void a_broken_pipe_does_not_kill_the_program(void **state)
{
	(void)state;
	in_child(write_into_broken_pipe);
}

static void *log_for_long(void *stop)
{
	while (!*(_Atomic bool *)stop)
		HP_LOG(ERROR, "fork-line", "x");
	return NULL;
}

static void log_one_line(void)
{
	struct record record = { 0 };
	hsmpool_log_set_callback(keep, &record);
	HP_LOG(ERROR, "after-fork", "x");
	need(record.lines == 1);
}

static void a_child_can_log_whatever_the_parents_threads_did(void **state)
{
	(void)state;
	_Atomic bool stop = false;
	pthread_t thread;
	hsmpool_log_set_callback(count, NULL);
	pthread_create(&thread, NULL, log_for_long, (void *)&stop);
	for (int i = 0; i < 20; i++)
		in_child(log_one_line);
	stop = true;
	pthread_join(thread, NULL);
}

static int clean_up(void **state)
{
	(void)state;
	scratch_remove();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_log_begins_at_warning), /* first: nothing set yet */
#define TEST(name) cmocka_unit_test_setup(name, start_fresh)
		TEST(the_level_decides_what_is_written),
		TEST(a_line_that_is_not_wanted_costs_no_evaluation),
		TEST(the_environment_raises_the_level),
		TEST(errno_survives_a_line),
		TEST(control_characters_are_escaped),
		TEST(good_utf8_passes_and_bad_is_escaped),
		TEST(a_long_text_is_cut),
		TEST(the_callback_can_be_changed_and_taken_back),
		TEST(a_flood_is_limited_and_counted),
		TEST(the_report_of_a_flood_says_how_many_were_dropped),
		TEST(one_events_flood_leaves_the_others_alone),
		TEST(threads_share_one_limit),
		TEST(a_file_gets_text_lines),
		TEST(json_lines_are_escaped_objects),
		TEST(syslog_gets_priority_and_text),
		TEST(syslog_gets_json_where_that_is_asked_for),
		TEST(an_announcement_reaches_syslog_whatever_the_log_is),
		TEST(an_announcement_is_not_made_twice_to_syslog),
		TEST(the_journal_gets_an_entry_with_fields),
		TEST(a_machine_without_a_journal_is_told_so),
		TEST(only_the_first_target_counts),
		TEST(a_target_that_cannot_be_opened_is_refused_by_name),
		TEST(a_broken_pipe_does_not_kill_the_program),
		TEST(a_child_can_log_whatever_the_parents_threads_did),
#undef TEST
	};
	scratch_dir(); /* before any fork */
	return cmocka_run_group_tests(tests, NULL, clean_up);
}

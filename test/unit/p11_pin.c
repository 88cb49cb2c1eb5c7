/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a PIN comes from, and what is refused before a token is asked.
 *
 * Linked with clock_gettime wrapped: a test lets the clock leap over the patience that
 * a command is given, instead of waiting for it.
 */
#include "support/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include "base/memory.h"
#include "p11/pin.h"
#include "scratch.h"

/* --- the clock --------------------------------------------------------------------- */

static _Atomic bool clock_leaps;

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	static _Atomic time_t leaped;
	int result = __real_clock_gettime(clock, now);
	if (atomic_load(&clock_leaps))
		atomic_fetch_add(&leaped, 61);
	now->tv_sec += atomic_load(&leaped);
	return result;
}

/* --- what tests share -------------------------------------------------------------- */

static void source_of(char source[310], const char *kind, const char *path)
{
	snprintf(source, 310, "%s:%s", kind, path);
}

static void expect_pin(const char *source, const char *expected)
{
	struct hp_secret *pin = NULL;
	hsmpool_error err = { 0 };
	assert_ok(hp_pin_read(source, "label", &pin, &err), &err);
	assert_non_null(pin);
	assert_int_equal(pin->len, strlen(expected));
	assert_memory_equal(pin->data, expected, pin->len);
	hp_secret_free(&pin);
}

/* No text ever holds what was read: the word "hunter2" stands for it in these tests. */
static void expect_refusal(const char *source, hsmpool_status status, const char *part)
{
	struct hp_secret *pin = NULL;
	hsmpool_error err = { 0 };
	assert_status(hp_pin_read(source, "label", &pin, &err), status);
	assert_null(pin);
	if (!strstr(err.text, part))
		fail_msg("\"%s\" does not say \"%s\"", err.text, part);
	assert_null(strstr(err.text, "hunter2"));
}

static void expect_file_pin(const char *content, const char *expected)
{
	char source[310];
	source_of(source, "file", scratch_text("pin", content));
	expect_pin(source, expected);
}

static void expect_file_refusal(const void *content, size_t len, const char *part)
{
	char source[310];
	source_of(source, "file", scratch_write("pin", content, len, 0600));
	expect_refusal(source, HSMPOOL_ERR_AUTH, part);
}

/* --- syntax ------------------------------------------------------------------------ */

static void the_syntax_of_every_source_is_checked(void **state)
{
	static const char *const good[] = {
		"file:/etc/pin", "file:pin",  "env:PIN",         "fd:0",   "fd:1023",
		"credential:p",  "command:p", "command: p a  b", "prompt",
	};
	static const char *const bad[] = {
		"",
		"1234",
		"file:",
		"env:",
		"fd:",
		"fd:x",
		"fd:-1",
		"fd:1024",
		"fd:3x",
		"credential:",
		"command:",
		"credential:a/b",
		"credential:..",
		"command:  ",
		"prompt:",
		"FILE:/x",
	};
	(void)state;
	for (size_t i = 0; i < HP_ARRAY_LEN(good); i++)
		assert_status(hp_pin_source_check(good[i], NULL), HSMPOOL_OK);
	for (size_t i = 0; i < HP_ARRAY_LEN(bad); i++)
		if (hp_pin_source_check(bad[i], NULL) != HSMPOOL_ERR_CONFIG)
			fail_msg("accepted: \"%s\"", bad[i]);
	assert_status(hp_pin_source_check(NULL, NULL), HSMPOOL_ERR_CONFIG);
	expect_refusal("hunter2", HSMPOOL_ERR_CONFIG, "never the PIN itself");
}

static void only_some_sources_can_give_another_value_later(void **state)
{
	(void)state;
	assert_true(hp_pin_source_is_rereadable("file:/x"));
	assert_true(hp_pin_source_is_rereadable("env:X"));
	assert_true(hp_pin_source_is_rereadable("credential:x"));
	assert_true(hp_pin_source_is_rereadable("command:x"));
	assert_false(hp_pin_source_is_rereadable("fd:3"));
	assert_false(hp_pin_source_is_rereadable("prompt"));
	assert_false(hp_pin_source_is_rereadable(NULL));
}

/* --- files ------------------------------------------------------------------------- */

static void one_line_end_is_cut_and_nothing_else(void **state)
{
	(void)state;
	expect_file_pin("1234", "1234");
	expect_file_pin("1234\n", "1234");
	expect_file_pin("1234\r\n", "1234");
	expect_file_pin(" 12 34 \n", " 12 34 ");
}

/* Each wrong PIN costs one of few tries. */
static void what_is_surely_no_pin_is_never_handed_on(void **state)
{
	static char large[5000];
	(void)state;
	memset(large, 'x', sizeof(large));
	expect_file_refusal("", 0, "empty");
	expect_file_refusal("\n", 1, "empty");
	expect_file_refusal("\r\n", 2, "empty");
	expect_file_refusal("hunter2\n\n", 9, "more than one line");
	expect_file_refusal("hunter2\nother\n", 14, "more than one line");
	expect_file_refusal("hunter2\0x", 9, "binary");
	expect_file_refusal(large, sizeof(large), "longer than any PIN");
}

static void a_file_that_others_can_reach_is_refused(void **state)
{
	static const mode_t modes[] = { 0640, 0604, 0620, 0602, 0610, 0601, 0644 };
	char source[310];
	(void)state;
	for (size_t i = 0; i < HP_ARRAY_LEN(modes); i++) {
		source_of(source, "file", scratch_write("pin", "hunter2", 7, modes[i]));
		expect_refusal(source, HSMPOOL_ERR_AUTH, "chmod 600");
	}
	source_of(source, "file", scratch_write("pin", "1234", 4, 0400));
	expect_pin(source, "1234");
}

static void a_file_of_another_user_is_refused(void **state)
{
	char source[310];
	(void)state;
	if (geteuid() != 0)
		skip();
	const char *path = scratch_text("pin", "hunter2");
	assert_int_equal(chown(path, 12345, 0), 0);
	source_of(source, "file", path);
	expect_refusal(source, HSMPOOL_ERR_AUTH, "belongs to user 12345");
}

/* The group of a server's workers. Root's own group is nobody's choice. */
static void a_file_that_root_left_to_a_group_is_read(void **state)
{
	static const mode_t modes[] = { 0660, 0644, 0650, 0641 };
	char source[310];
	(void)state;
	if (geteuid() != 0)
		skip();
	source_of(source, "file", scratch_write("pin", "1234", 4, 0640));
	expect_refusal(source, HSMPOOL_ERR_AUTH, "chmod 600");
	assert_int_equal(chown(scratch_path("pin"), 0, 12345), 0);
	expect_pin(source, "1234");
	for (size_t i = 0; i < HP_ARRAY_LEN(modes); i++) {
		assert_int_equal(chmod(scratch_path("pin"), modes[i]), 0);
		expect_refusal(source, HSMPOOL_ERR_AUTH, "chmod 600");
	}
	assert_int_equal(unlink(scratch_path("pin")), 0);
}

static void a_link_leads_to_the_file_that_is_checked(void **state)
{
	char source[310];
	(void)state;
	const char *link = scratch_path("link");
	unlink(link);
	assert_int_equal(symlink(scratch_write("pin", "1234", 4, 0600), link), 0);
	source_of(source, "file", link);
	expect_pin(source, "1234");
	assert_int_equal(chmod(scratch_path("pin"), 0644), 0);
	expect_refusal(source, HSMPOOL_ERR_AUTH, "chmod 600");
}

static void what_is_no_regular_file_is_refused_without_waiting(void **state)
{
	char source[310];
	(void)state;
	source_of(source, "file", scratch_path("absent"));
	expect_refusal(source, HSMPOOL_ERR_AUTH, "No such file");
	source_of(source, "file", scratch_dir());
	expect_refusal(source, HSMPOOL_ERR_AUTH, "not a regular file");
	const char *fifo = scratch_path("fifo");
	assert_int_equal(mkfifo(fifo, 0600), 0);
	source_of(source, "file", fifo);
	expect_refusal(source, HSMPOOL_ERR_AUTH, "not a regular file");
}

/* --- variable, credential, descriptor ---------------------------------------------- */

static void a_variable_gives_its_value(void **state)
{
	(void)state;
	setenv("HSMPOOL_TEST_PIN", "1234", 1);
	expect_pin("env:HSMPOOL_TEST_PIN", "1234");
	setenv("HSMPOOL_TEST_PIN", "", 1);
	expect_refusal("env:HSMPOOL_TEST_PIN", HSMPOOL_ERR_AUTH, "empty");
	unsetenv("HSMPOOL_TEST_PIN");
	expect_refusal("env:HSMPOOL_TEST_PIN", HSMPOOL_ERR_AUTH, "not set");
}

/* systemd grants the service's user by an ACL, which shows as the group's right. */
static void a_credential_is_read_from_systemds_folder(void **state)
{
	(void)state;
	scratch_write("cred", "1234\n", 5, 0440);
	unsetenv("CREDENTIALS_DIRECTORY");
	expect_refusal("credential:cred", HSMPOOL_ERR_AUTH, "LoadCredential=cred");
	setenv("CREDENTIALS_DIRECTORY", scratch_dir(), 1);
	expect_pin("credential:cred", "1234");
	expect_refusal("credential:other", HSMPOOL_ERR_AUTH, "No such file");
	unsetenv("CREDENTIALS_DIRECTORY");
}

static void make_pipe(int *output, char source[310], const char *text)
{
	int ends[2];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(write(ends[1], text, strlen(text)), strlen(text));
	*output = ends[1];
	snprintf(source, 310, "fd:%d", ends[0]);
}

static void a_descriptor_gives_the_pin_once_and_is_closed(void **state)
{
	char source[310];
	int output;
	(void)state;
	make_pipe(&output, source, "1234\n");
	close(output);
	int fd = atoi(source + 3);
	expect_pin(source, "1234");
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	/* The number may be another file's by now. */
	int other = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(other, fd);
	expect_refusal(source, HSMPOOL_ERR_AUTH, "read before");
	assert_int_not_equal(fcntl(fd, F_GETFD), -1);
	close(other);
	expect_refusal("fd:1000", HSMPOOL_ERR_AUTH, "Bad file descriptor");
}

static void a_descriptor_that_never_ends_is_given_up(void **state)
{
	char source[310];
	int output;
	(void)state;
	/* A number that the test before did not spend. */
	int spent = open("/dev/null", O_RDONLY | O_CLOEXEC);
	make_pipe(&output, source, "hunter2");
	clock_leaps = true;
	expect_refusal(source, HSMPOOL_ERR_AUTH, "within 60 seconds");
	clock_leaps = false;
	close(output);
	close(spent);
}

/* --- command ----------------------------------------------------------------------- */

static void make_program(const char *script, char source[310])
{
	source_of(source, "command",
		  scratch_write("program", script, strlen(script), 0700));
}

static void a_commands_output_is_the_pin(void **state)
{
	char source[310];
	char with_arguments[400];
	(void)state;
	make_program("#!/bin/sh\nprintf '%s\\n' \"$#$1$2\"\n", source);
	expect_pin(source, "0");
	snprintf(with_arguments, sizeof(with_arguments), "%s  a\t$HOME ", source);
	expect_pin(with_arguments, "2a$HOME");
	expect_pin("command:printf 12%d 34", "1234");
}

static void a_command_has_no_input_and_no_files_of_ours(void **state)
{
	char source[310];
	(void)state;
	make_program("#!/bin/sh\ncat\n"
		     "if [ -e /proc/self/fd/7 ]; then echo open; else echo closed; fi\n",
		     source);
	assert_int_equal(dup2(STDOUT_FILENO, 7), 7); /* not close-on-exec */
	expect_pin(source, "closed");
	close(7);
}

static void a_command_that_fails_gives_no_pin(void **state)
{
	char source[400];
	(void)state;
	make_program("#!/bin/sh\necho hunter2\nexit 3\n", source);
	expect_refusal(source, HSMPOOL_ERR_AUTH, "exit status 3");
	make_program("#!/bin/sh\necho hunter2\nkill -9 $$\n", source);
	expect_refusal(source, HSMPOOL_ERR_AUTH, "signal 9");
	make_program("#!/bin/sh\nexit 0\n", source);
	expect_refusal(source, HSMPOOL_ERR_AUTH, "empty");
	make_program("#!/bin/sh\nyes hunter2\n", source);
	expect_refusal(source, HSMPOOL_ERR_AUTH, "longer than any PIN");
	expect_refusal("command:/nonexistent/program hunter2", HSMPOOL_ERR_AUTH,
		       "command:/nonexistent/program: cannot be run");
	make_program("#!/bin/sh\nexit 0\n", source);
	strcat(source, " hunter2");
	expect_refusal(source, HSMPOOL_ERR_AUTH, "empty");
}

static void no_process_is_left(void)
{
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void a_command_that_does_not_end_is_killed(void **state)
{
	char source[310];
	(void)state;
	make_program("#!/bin/sh\nexec sleep 1000\n", source);
	clock_leaps = true;
	expect_refusal(source, HSMPOOL_ERR_AUTH, "within 60 seconds");
	make_program("#!/bin/sh\nexec sleep 1000 >&- 2>&-\n", source);
	expect_refusal(source, HSMPOOL_ERR_AUTH, "within 60 seconds");
	clock_leaps = false;
	no_process_is_left();
}

static void a_lost_exit_status_is_not_taken_for_success(void **state)
{
	char source[310];
	(void)state;
	make_program("#!/bin/sh\necho hunter2\n", source);
	signal(SIGCHLD, SIG_IGN);
	expect_refusal(source, HSMPOOL_ERR_AUTH, "ignores SIGCHLD");
	signal(SIGCHLD, SIG_DFL);
}

/* --- prompt ------------------------------------------------------------------------ */

enum { TYPED_1234 = 42, REFUSED = 43 };

static pid_t start_prompt(int *terminal)
{
	pid_t child = forkpty(terminal, NULL, NULL, NULL);
	assert_true(child >= 0);
	if (child > 0)
		return child;
	alarm(60);
	signal(SIGINT, SIG_DFL); /* ignored where a script starts the tests by "&" */
	struct hp_secret *pin = NULL;
	hsmpool_error err = { 0 };
	hsmpool_status status = hp_pin_read("prompt", "my\ntoken", &pin, &err);
	bool is_typed = status == HSMPOOL_OK && pin->len == 4 &&
			memcmp(pin->data, "1234", 4) == 0;
	_exit(is_typed ? TYPED_1234 : REFUSED);
}

/* Everything that appears until the text does, or the terminal ends. */
static void read_until(int terminal, const char *text, char *seen, size_t cap)
{
	size_t used = strlen(seen);
	while (!strstr(seen, text) && used + 1 < cap) {
		ssize_t got = read(terminal, seen + used, cap - 1 - used);
		if (got <= 0)
			return;
		used += (size_t)got;
		seen[used] = '\0';
	}
}

static bool echoes(int terminal)
{
	struct termios mode;
	assert_int_equal(tcgetattr(terminal, &mode), 0);
	return (mode.c_lflag & ECHO) != 0;
}

static void type(int terminal, const char *text)
{
	assert_int_equal(write(terminal, text, strlen(text)), strlen(text));
}

static int wait_for(pid_t child)
{
	int status = 0;
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void a_pin_is_asked_for_without_echo(void **state)
{
	char seen[1000] = "";
	int terminal;
	(void)state;
	pid_t child = start_prompt(&terminal);
	read_until(terminal, ": ", seen, sizeof(seen));
	assert_string_equal(seen, "PIN for token \"my?token\": ");
	assert_false(echoes(terminal));
	/* The erase key works. */
	type(terminal, "12x\177"
		       "34\n");
	read_until(terminal, "\n", seen, sizeof(seen));
	int status = wait_for(child);
	assert_null(strstr(seen, "1"));
	assert_true(echoes(terminal));
	close(terminal);
	assert_int_equal(WEXITSTATUS(status), TYPED_1234);
}

static void no_pin_is_typed_at_the_end_of_input(void **state)
{
	char seen[1000] = "";
	int terminal;
	(void)state;
	pid_t child = start_prompt(&terminal);
	read_until(terminal, ": ", seen, sizeof(seen));
	type(terminal, "\004");
	int status = wait_for(child);
	assert_true(echoes(terminal));
	close(terminal);
	assert_int_equal(WEXITSTATUS(status), REFUSED);
}

static void a_signal_ends_the_program_and_leaves_the_terminal_as_it_was(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		char seen[1000] = "";
		int terminal;
		pid_t child = start_prompt(&terminal);
		read_until(terminal, ": ", seen, sizeof(seen));
		if (i == 0)
			type(terminal, "12\003");
		else
			kill(child, SIGTERM);
		int status = wait_for(child);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), i == 0 ? SIGINT : SIGTERM);
		assert_true(echoes(terminal));
		close(terminal);
	}
}

/* It stops at the place where the terminal is as it was found, and asks again when it is
 * continued. (Here it is not stopped: the kernel spares orphaned process groups.) */
static void after_a_stop_signal_the_question_is_put_again(void **state)
{
	char seen[1000] = "";
	int terminal;
	int status;
	(void)state;
	pid_t child = start_prompt(&terminal);
	read_until(terminal, ": ", seen, sizeof(seen));
	kill(child, SIGTSTP);
	seen[0] = '\0';
	read_until(terminal, ": ", seen, sizeof(seen));
	assert_non_null(strstr(seen, "PIN for token"));
	type(terminal, "1234\n");
	status = wait_for(child);
	close(terminal);
	assert_int_equal(WEXITSTATUS(status), TYPED_1234);
}

static void without_a_terminal_there_is_no_prompt(void **state)
{
	(void)state;
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		struct hp_secret *pin = NULL;
		hsmpool_error err = { 0 };
		setsid();
		hsmpool_status status = hp_pin_read("prompt", NULL, &pin, &err);
		_exit(status == HSMPOOL_ERR_AUTH && !pin &&
				      strstr(err.text, "no terminal")
			      ? REFUSED
			      : 1);
	}
	assert_int_equal(WEXITSTATUS(wait_for(child)), REFUSED);
}

static int remove_scratch(void **state)
{
	(void)state;
	scratch_remove();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_syntax_of_every_source_is_checked),
		cmocka_unit_test(only_some_sources_can_give_another_value_later),
		cmocka_unit_test(one_line_end_is_cut_and_nothing_else),
		cmocka_unit_test(what_is_surely_no_pin_is_never_handed_on),
		cmocka_unit_test(a_file_that_others_can_reach_is_refused),
		cmocka_unit_test(a_file_of_another_user_is_refused),
		cmocka_unit_test(a_file_that_root_left_to_a_group_is_read),
		cmocka_unit_test(a_link_leads_to_the_file_that_is_checked),
		cmocka_unit_test(what_is_no_regular_file_is_refused_without_waiting),
		cmocka_unit_test(a_variable_gives_its_value),
		cmocka_unit_test(a_credential_is_read_from_systemds_folder),
		cmocka_unit_test(a_descriptor_gives_the_pin_once_and_is_closed),
		cmocka_unit_test(a_descriptor_that_never_ends_is_given_up),
		cmocka_unit_test(a_commands_output_is_the_pin),
		cmocka_unit_test(a_command_has_no_input_and_no_files_of_ours),
		cmocka_unit_test(a_command_that_fails_gives_no_pin),
		cmocka_unit_test(a_command_that_does_not_end_is_killed),
		cmocka_unit_test(a_lost_exit_status_is_not_taken_for_success),
		cmocka_unit_test(a_pin_is_asked_for_without_echo),
		cmocka_unit_test(no_pin_is_typed_at_the_end_of_input),
		cmocka_unit_test(
			a_signal_ends_the_program_and_leaves_the_terminal_as_it_was),
		cmocka_unit_test(after_a_stop_signal_the_question_is_put_again),
		cmocka_unit_test(without_a_terminal_there_is_no_prompt),
	};
	return cmocka_run_group_tests(tests, NULL, remove_scratch);
}

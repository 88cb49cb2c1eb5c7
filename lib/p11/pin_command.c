/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PIN from a program's standard output.
 *
 * Owns: the child process, from posix_spawn to waitpid. No shell; standard input is
 * /dev/null, standard error ours, nothing else is inherited. Must not: show the
 * program's arguments in a text.
 */
#include "p11/pin_source.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/time.h"

#define MOST_ARGUMENTS 32

extern char **environ;

/* --- the command line -------------------------------------------------------------- */

/* Cut line at its blanks, in place. False: nothing, or too many. */
static bool split(char *line, char *argv[MOST_ARGUMENTS + 1])
{
	static const char blanks[] = " \t";
	size_t count = 0;
	for (char *at = line + strspn(line, blanks); *at; at += strspn(at, blanks)) {
		if (count == MOST_ARGUMENTS)
			return false;
		argv[count++] = at;
		at += strcspn(at, blanks);
		if (*at)
			*at++ = '\0';
	}
	argv[count] = NULL;
	return count > 0;
}

bool hp_pin_command_is_valid(const char *line)
{
	char *argv[MOST_ARGUMENTS + 1];
	HP_AUTO_FREE char *copy = strdup(line);
	return copy && split(copy, argv);
}

/* --- the child --------------------------------------------------------------------- */

static int spawn(char *argv[], int output, pid_t *child)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t none;
	sigset_t defaults;
	sigemptyset(&none);
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attributes);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
	posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &defaults);
	posix_spawnattr_setflags(&attributes,
				 POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	int failure = posix_spawnp(child, argv[0], &files, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	return failure;
}

/* It closed its output; it may still not have ended. */
static bool wait_for_end(pid_t child, int64_t deadline_ns)
{
	HP_AUTO_FD int pid_fd = (int)syscall(SYS_pidfd_open, child, 0);
	while (pid_fd >= 0) {
		int64_t left_ns = deadline_ns - hp_now_ns();
		struct pollfd poll_fd = { .fd = pid_fd, .events = POLLIN };
		if (left_ns <= 0)
			return false;
		int ready = poll(&poll_fd, 1, (int)(left_ns / HP_MS) + 1);
		if (ready > 0 || (ready < 0 && errno != EINTR))
			break;
	}
	return true;
}

/* -1: unknown, the host program has SIGCHLD ignored or waits for all children. */
static int reap(pid_t child)
{
	int status = 0;
	pid_t reaped = -1;
	do
		reaped = waitpid(child, &status, 0);
	while (reaped < 0 && errno == EINTR);
	return reaped == child ? status : -1;
}

static hsmpool_status check_end(int status, const char *program, hsmpool_error *err)
{
	HP_CHECK(status != -1, err, HSMPOOL_ERR_AUTH,
		 "pin-source command:%s: its exit status is lost because this program "
		 "ignores SIGCHLD; use another source",
		 program);
	HP_CHECK(!WIFSIGNALED(status), err, HSMPOOL_ERR_AUTH,
		 "pin-source command:%s: killed by signal %d", program, WTERMSIG(status));
	HP_CHECK(WEXITSTATUS(status) == 0, err, HSMPOOL_ERR_AUTH,
		 "pin-source command:%s: failed with exit status %d; what it wrote was "
		 "not tried",
		 program, WEXITSTATUS(status));
	return HSMPOOL_OK;
}

static hsmpool_status run(char *argv[], struct hp_secret *pin, hsmpool_error *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) != 0)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
				     "pin-source command:%s: no pipe", argv[0]);
	HP_AUTO_FD int input = ends[0];
	pid_t child = -1;
	int failure = spawn(argv, ends[1], &child);
	close(ends[1]);
	if (failure != 0)
		return hp_fail_errno(err, HSMPOOL_ERR_AUTH, failure,
				     "pin-source command:%s: cannot be run", argv[0]);

	char what[160] = "command:";
	strncat(what, argv[0], sizeof(what) - strlen(what) - 1);
	int64_t deadline_ns = hp_time_add(hp_now_ns(), HP_PIN_PATIENCE);
	hsmpool_status status = hp_pin_read_fd(input, what, deadline_ns, pin, err);
	if (status == HSMPOOL_OK && !wait_for_end(child, deadline_ns))
		status = hp_fail(err, HSMPOOL_ERR_AUTH,
				 "pin-source %s: did not end within 60 seconds", what);
	if (status != HSMPOOL_OK)
		kill(child, SIGKILL);
	int end = reap(child);
	return status != HSMPOOL_OK ? status : check_end(end, argv[0], err);
}

hsmpool_status hp_pin_from_command(const char *line, struct hp_secret *pin,
				   hsmpool_error *err)
{
	char *argv[MOST_ARGUMENTS + 1];
	HP_AUTO_FREE char *copy = strdup(line);
	HP_CHECK(copy && split(copy, argv), err, HSMPOOL_ERR_SYSTEM,
		 "pin-source command: out of memory");
	return run(argv, pin, err);
}

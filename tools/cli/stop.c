/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signal handling of the command line: see stop.h.
 *
 * Owns: the dispositions, the self-pipe, the names of unfinished files. The handlers
 * touch only lock-free atomics and async-signal-safe calls. The library's own threads
 * block all signals, so the handlers run in the main thread.
 */
#include "stop.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "base/error.h"
#include "base/time.h"

/* How long an orderly end may take before the handler ends the process. */
#define STOP_GRACE_SECONDS 5

static _Atomic int stop_number;
static int stop_pipe[2] = { -1, -1 };
static struct {
	_Atomic bool is_there;
	char path[PATH_MAX];
} stop_unfinished[STOP_FILES];
static _Atomic int stop_farewell_fd = -1;
static _Atomic char stop_farewell;
static struct {
	const char *text; /* written with the signals blocked; NULL: nothing to do */
	bool has_settings;
	struct termios settings;
} stop_terminal;
static sigset_t stop_signals;
static sigset_t stop_saved_mask;

static void say_farewell(void)
{
	int fd = stop_farewell_fd;
	char byte = stop_farewell;
	int flags;

	if (fd < 0)
		return;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return;
	if (write(fd, &byte, 1) < 0) {
		/* The reader is gone, or so far behind that nothing helps. */
	}
	fcntl(fd, F_SETFL, flags);
}

static void give_terminal_back(void)
{
	if (!stop_terminal.text)
		return;
	if (write(STDOUT_FILENO, stop_terminal.text, strlen(stop_terminal.text)) < 0) {
		/* It is gone, or stopped. */
	}
	if (stop_terminal.has_settings)
		tcsetattr(STDIN_FILENO, TCSANOW, &stop_terminal.settings);
}

static void end_now(void)
{
	for (int i = 0; i < STOP_FILES; i++)
		if (stop_unfinished[i].is_there)
			unlink(stop_unfinished[i].path);
	say_farewell();
	give_terminal_back();
	_exit(128 + stop_number);
}

static void on_stop_signal(int number)
{
	int saved_errno = errno;

	if (stop_number != 0)
		end_now();
	stop_number = number;
	if (write(stop_pipe[1], "", 1) < 0) {
		/* The flag says it too; the pipe only cuts a wait short. */
	}
	alarm(STOP_GRACE_SECONDS);
	errno = saved_errno;
}

static void on_alarm(int number)
{
	(void)number;
	if (stop_number != 0)
		end_now();
}

static void set_handler(int number, void (*handler)(int))
{
	/* No SA_RESTART: a blocked read or write returns and sees the flag. */
	struct sigaction action = { .sa_handler = handler, .sa_mask = stop_signals };

	sigaction(number, &action, NULL);
}

/* A signal that the parent ignores (nohup) stays ignored. */
static void set_stop_handler(int number)
{
	struct sigaction old;

	if (sigaction(number, NULL, &old) == 0 && old.sa_handler == SIG_IGN)
		return;
	set_handler(number, on_stop_signal);
}

void stop_install(void)
{
	sigemptyset(&stop_signals);
	sigaddset(&stop_signals, SIGINT);
	sigaddset(&stop_signals, SIGTERM);
	sigaddset(&stop_signals, SIGHUP);
	sigaddset(&stop_signals, SIGALRM);
	if (pipe2(stop_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		stop_pipe[0] = stop_pipe[1] = -1;
	set_handler(SIGALRM, on_alarm);
	set_stop_handler(SIGINT);
	set_stop_handler(SIGTERM);
	set_stop_handler(SIGHUP);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
}

bool stop_requested(void)
{
	return stop_number != 0;
}

int stop_signal(void)
{
	return stop_number;
}

int stop_fd(void)
{
	return stop_pipe[0];
}

hsmpool_status stop_check(hsmpool_error *err)
{
	HP_CHECK(!stop_requested(), err, HSMPOOL_ERR_CLOSED, "stopped by signal %d",
		 stop_number);
	return HSMPOOL_OK;
}

hsmpool_status stop_wait(int fd, short events, hsmpool_error *err)
{
	struct pollfd wait[] = {
		{ .fd = fd, .events = events },
		{ .fd = stop_pipe[0], .events = POLLIN },
	};

	do {
		HP_TRY(stop_check(err));
	} while (poll(wait, 2, -1) < 0 && errno == EINTR);
	/* Any other answer: let the read or write itself say what is wrong. */
	return stop_check(err);
}

hsmpool_status stop_sleep(int64_t span_ns, hsmpool_error *err)
{
	struct pollfd wait = { .fd = stop_pipe[0], .events = POLLIN };
	const struct timespec span = { .tv_sec = (time_t)(span_ns / HP_SECOND),
				       .tv_nsec = (long)(span_ns % HP_SECOND) };

	HP_TRY(stop_check(err));
	ppoll(&wait, 1, &span, NULL);
	return stop_check(err);
}

void stop_hold(void)
{
	sigprocmask(SIG_BLOCK, &stop_signals, &stop_saved_mask);
}

void stop_release(void)
{
	sigprocmask(SIG_SETMASK, &stop_saved_mask, NULL);
}

void stop_add_unfinished(const char *path)
{
	for (int i = 0; i < STOP_FILES; i++) {
		if (stop_unfinished[i].is_there)
			continue;
		snprintf(stop_unfinished[i].path, sizeof(stop_unfinished[i].path), "%s",
			 path);
		stop_unfinished[i].is_there = true;
		return;
	}
}

void stop_forget_unfinished(const char *path)
{
	for (int i = 0; i < STOP_FILES; i++)
		if (strcmp(stop_unfinished[i].path, path) == 0)
			stop_unfinished[i].is_there = false;
}

void stop_set_farewell(int fd, char byte)
{
	stop_farewell_fd = -1;
	stop_farewell = byte;
	stop_farewell_fd = fd;
}

void stop_set_terminal(const struct termios *settings, const char *text)
{
	stop_terminal.text = text;
	stop_terminal.has_settings = settings != NULL;
	if (settings)
		stop_terminal.settings = *settings;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PIN from the controlling terminal, without echo.
 *
 * Owns: the terminal's mode while it asks. No signal handler is installed in the host
 * program: the signals that would leave the terminal without echo are blocked in this
 * thread and watched through a signalfd; when one comes, the mode is restored first
 * and then it is let through.
 */
#include "p11/pin_source.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"

enum answer { GOT_LINE, GOT_END, GOT_SIGNAL, GOT_STOPPED };

/* Ignored ones harm nobody, and blocked ones are somebody's own business. */
static sigset_t signals_to_watch(void)
{
	sigset_t blocked;
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	static const int numbers[] = {
		SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGALRM
	};
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < HP_ARRAY_LEN(numbers); i++) {
		struct sigaction action;
		if (sigaction(numbers[i], NULL, &action) == 0 &&
		    action.sa_handler != SIG_IGN &&
		    sigismember(&blocked, numbers[i]) == 0)
			sigaddset(&set, numbers[i]);
	}
	return set;
}

static void say(int terminal, const char *text)
{
	if (write(terminal, text, strlen(text)) < 0)
		return; /* the answer, or its lack, tells */
}

/* A label comes from the token: it must not steer the terminal. */
static void say_prompt(int terminal, const char *token_label)
{
	char text[128];
	snprintf(text, sizeof(text),
		 "PIN for token \"%.64s\": ", token_label ? token_label : "");
	for (char *at = text; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = '?';
	say(terminal, text);
}

static enum answer which_signal(void)
{
	sigset_t pending;
	sigpending(&pending);
	return sigismember(&pending, SIGTSTP) == 1 ? GOT_STOPPED : GOT_SIGNAL;
}

/* The terminal is in line mode: one read, one line. */
static enum answer wait_for_line(int terminal, int signals, struct hp_secret *pin)
{
	for (;;) {
		struct pollfd fds[] = { { .fd = terminal, .events = POLLIN },
					{ .fd = signals, .events = POLLIN } };
		if (poll(fds, HP_ARRAY_LEN(fds), -1) < 0 && errno != EINTR)
			return GOT_END;
		if (fds[1].revents)
			return which_signal();
		if (!fds[0].revents)
			continue;
		ssize_t got = read(terminal, pin->data, pin->cap);
		if (got <= 0)
			return GOT_END;
		pin->len = (size_t)got;
		return GOT_LINE;
	}
}

static enum answer ask_without_echo(int terminal, int signals, const char *token_label,
				    struct hp_secret *pin)
{
	struct termios as_found;
	if (tcgetattr(terminal, &as_found) != 0)
		return GOT_END;
	struct termios quiet = as_found;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	quiet.c_lflag |= ICANON | ISIG | ECHONL;
	if (tcsetattr(terminal, TCSAFLUSH, &quiet) != 0)
		return GOT_END;
	say_prompt(terminal, token_label);
	enum answer answer = wait_for_line(terminal, signals, pin);
	if (answer != GOT_LINE)
		say(terminal, "\n");
	tcsetattr(terminal, TCSADRAIN, &as_found);
	return answer;
}

static enum answer ask(int terminal, const char *token_label, struct hp_secret *pin)
{
	sigset_t watched = signals_to_watch();
	sigset_t as_found;
	pthread_sigmask(SIG_BLOCK, &watched, &as_found);
	int signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
	enum answer answer = GOT_END;
	if (signals >= 0) {
		answer = ask_without_echo(terminal, signals, token_label, pin);
		close(signals);
	}
	/* A signal that came takes effect here. */
	pthread_sigmask(SIG_SETMASK, &as_found, NULL);
	return answer;
}

hsmpool_status hp_pin_from_terminal(const char *token_label, struct hp_secret *pin,
				    hsmpool_error *err)
{
	HP_AUTO_FD int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (terminal < 0)
		return hp_fail_errno(err, HSMPOOL_ERR_AUTH, errno,
				     "pin-source prompt: no terminal to ask on; use "
				     "another source");
	enum answer answer = GOT_STOPPED;
	while (answer == GOT_STOPPED)
		answer = ask(terminal, token_label, pin);
	HP_CHECK(answer != GOT_SIGNAL, err, HSMPOOL_ERR_AUTH,
		 "pin-source prompt: interrupted by a signal");
	HP_CHECK(answer == GOT_LINE, err, HSMPOOL_ERR_AUTH,
		 "pin-source prompt: no PIN was typed");
	return HSMPOOL_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Drawing on a terminal by its ANSI sequences, which all of today's know: see
 * top_terminal.h. */
#include "top_terminal.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include "base/time.h"
#include "stop.h"

#define TO_ALTERNATE "\033[?1049h\033[?25l"
#define FROM_IT      "\033[?25h\033[?1049l"

static struct termios as_was;
static bool has_keys;          /* standard input is a terminal too */
static sigset_t while_waiting; /* the signals' mask then */

bool top_terminal_is_there(void)
{
	const char *kind = getenv("TERM");

	return isatty(STDOUT_FILENO) && kind && *kind && strcmp(kind, "dumb") != 0;
}

/* Another size only ends the wait. */
static void on_resize(int number)
{
	(void)number;
}

/* One that comes between the drawing and the wait must end the wait too: it is let in
 * there and nowhere else. */
static void listen_to_resizes(void)
{
	struct sigaction action = { .sa_handler = on_resize };
	sigset_t resize;

	sigaction(SIGWINCH, &action, NULL);
	sigemptyset(&resize);
	sigaddset(&resize, SIGWINCH);
	sigprocmask(SIG_BLOCK, &resize, &while_waiting);
	sigdelset(&while_waiting, SIGWINCH);
}

static void read_keys_at_once(void)
{
	struct termios now;

	has_keys = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &as_was) == 0;
	if (!has_keys)
		return;
	now = as_was;
	now.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	now.c_cc[VMIN] = 0;
	now.c_cc[VTIME] = 0;
	/* A stopped top would leave its picture on the terminal. */
	now.c_cc[VSUSP] = _POSIX_VDISABLE;
	tcsetattr(STDIN_FILENO, TCSANOW, &now);
}

void top_terminal_begin(void)
{
	listen_to_resizes();
	stop_hold();
	read_keys_at_once();
	stop_set_terminal(has_keys ? &as_was : NULL, FROM_IT);
	fputs(TO_ALTERNATE, stdout);
	fflush(stdout);
	stop_release();
}

void top_terminal_end(void)
{
	stop_hold();
	stop_set_terminal(NULL, NULL);
	fputs(FROM_IT, stdout);
	fflush(stdout);
	if (has_keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &as_was);
	stop_release();
}

void top_terminal_size(unsigned *columns, unsigned *rows)
{
	struct winsize size = { 0 };

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	*columns = size.ws_col > 0 ? size.ws_col : 80;
	*rows = size.ws_row > 0 ? size.ws_row : 24;
}

void top_terminal_draw(const char *text, unsigned title_row)
{
	unsigned columns, rows;

	top_terminal_size(&columns, &rows);
	fputs("\033[H", stdout);
	for (unsigned row = 0; row < rows && *text; row++) {
		size_t len = strcspn(text, "\n");

		printf("%s%s%.*s\033[K%s", row > 0 ? "\r\n" : "",
		       row == title_row ? "\033[7m" : "",
		       (int)(len < columns ? len : columns), text,
		       row == title_row ? "\033[0m" : "");
		text += len + (text[len] == '\n');
	}
	fputs("\033[J", stdout);
	fflush(stdout);
}

char top_terminal_wait(int64_t deadline_ns)
{
	struct pollfd waited[] = {
		{ .fd = stop_fd(), .events = POLLIN },
		{ .fd = has_keys ? STDIN_FILENO : -1, .events = POLLIN },
	};
	int64_t left = deadline_ns - hp_now_ns();
	char key = 0;

	if (left < 0)
		left = 0;
	const struct timespec span = { .tv_sec = (time_t)(left / HP_SECOND),
				       .tv_nsec = (long)(left % HP_SECOND) };

	if (ppoll(waited, 2, &span, &while_waiting) <= 0 || waited[1].revents == 0)
		return 0;
	if (read(STDIN_FILENO, &key, 1) <= 0)
		has_keys = false; /* nobody is there any more */
	return key;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals: SIGINT, SIGTERM and SIGHUP end the program cleanly, with exit code
 * 128 + signal and no partial output.
 *
 * The first signal asks: loops see stop_requested() and waits end through stop_fd(), so
 * that sessions are closed in order. A second one, or a module call that does not come
 * back within a few seconds, ends the process from the handler, after removing the
 * unfinished output files. SIGPIPE and SIGXFSZ are ignored: both become write errors.
 */
#ifndef CLI_STOP_H
#define CLI_STOP_H

#include <stdbool.h>
#include <stdint.h>
#include <hsmpool/status.h>

void stop_install(void);
bool stop_requested(void);
int stop_signal(void); /* 0: none came */

/* CLOSED with its text if a signal came. */
hsmpool_status stop_check(hsmpool_error *err);

/* Readable when a signal came: for those that wait elsewhere. -1: there is none. */
int stop_fd(void);

/* Wait until fd is ready for events (POLLIN, POLLOUT), or a signal came: CLOSED. */
hsmpool_status stop_wait(int fd, short events, hsmpool_error *err);

/* Wait so long: CLOSED, at once, if a signal came. */
hsmpool_status stop_sleep(int64_t span_ns, hsmpool_error *err);

/*
 * Unfinished files to remove, STOP_FILES at a time. Between _hold and _release signals
 * are blocked: create or rename the file there together with naming or forgetting it.
 */
#define STOP_FILES 2
void stop_hold(void);
void stop_release(void);
void stop_add_unfinished(const char *path); /* copied */
void stop_forget_unfinished(const char *path);

/* A byte for whoever reads what was written to fd, if the handler ends the process: it
 * is written without waiting. fd -1: none. */
void stop_set_farewell(int fd, char byte);

/* A terminal to be given back if the handler ends the process: settings of standard input
 * (copied; NULL: leave them) and text for standard output. text NULL: none any more. To
 * be called between _hold and _release. */
struct termios;
void stop_set_terminal(const struct termios *settings, const char *text);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals: SIGINT, SIGTERM and SIGHUP end the program cleanly, with exit code
 * 128 + signal and no partial output.
 *
 * The first signal asks: loops see stop_requested() and waits end through stop_fd(), so
 * that sessions are closed in order. A second one, or a module call that does not come
 * back within a few seconds, ends the process from the handler, after removing the
 * unfinished output file. SIGPIPE and SIGXFSZ are ignored: both become write errors.
 */
#ifndef CLI_STOP_H
#define CLI_STOP_H

#include <stdbool.h>
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

/*
 * The unfinished file to remove, one at a time. Between _hold and _release signals are
 * blocked: create or rename the file there together with naming or forgetting it.
 */
void stop_hold(void);
void stop_release(void);
void stop_set_unfinished(const char *path); /* NULL: none; copied */

#endif

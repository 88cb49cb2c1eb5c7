/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one process tells and lets be done to it through its control socket.
 *
 * A request is one line: a command and at most one argument. The reply is "ok" and what
 * was asked for, or "error CODE TEXT", CODE being hsmpool-cli's exit code. hsmpool-cli(1)
 * names the commands.
 */
#ifndef HP_CONTROL_CONTROL_H
#define HP_CONTROL_CONTROL_H

#include <hsmpool/pool.h>
#include "control/reply.h"

/* The pool was opened: unless its options say no, the process has a control socket from
 * soon on. face: "library" or "proxy". */
void hp_control_join(hsmpool *pool, const char *face);

/* Answer one request. On the keeper's thread: nothing here waits, for a session or a
 * module. */
void hp_control_answer_request(const char *request, struct hp_reply *reply);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the PIN comes from: the option pin-source.
 *
 *   file:PATH        owner root or the effective user, no access for group or others;
 *                    one of root's may be readable by a group that is not root's
 *   env:NAME         the variable's value (not in set-user-id programs)
 *   fd:N             read to its end once and closed
 *   credential:NAME  $CREDENTIALS_DIRECTORY/NAME of systemd
 *   command:PROGRAM ARG ...  its standard output; posix_spawn, no shell
 *   prompt           asked on the controlling terminal, without echo
 *
 * One trailing newline is cut. The PIN is never logged, nor in an error text. A
 * source is read outside every lock: it may block.
 */
#ifndef HP_P11_PIN_H
#define HP_P11_PIN_H

#include <stdbool.h>
#include <hsmpool/status.h>
#include "base/secret.h"

/* Syntax only. */
hsmpool_status hp_pin_source_check(const char *source, hsmpool_error *err);

/* Read it. token_label is for the prompt. AUTH if it cannot be read. */
hsmpool_status hp_pin_read(const char *source, const char *token_label,
			   struct hp_secret **pin, hsmpool_error *err);

/* Whether reading it once more can give another value (file, command, credential,
 * env): if not, the pool keeps the PIN for the next login. */
bool hp_pin_source_is_rereadable(const char *source);

#endif

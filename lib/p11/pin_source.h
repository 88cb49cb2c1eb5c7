/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of reading a PIN, for pin.c and its neighbours only.
 *
 * Each fills pin->data and pin->len, at most pin->cap bytes, and AUTH if it cannot.
 */
#ifndef HP_P11_PIN_SOURCE_H
#define HP_P11_PIN_SOURCE_H

#include <stdbool.h>
#include <stdint.h>
#include <hsmpool/status.h>
#include "base/secret.h"

/* Longer is no PIN. */
#define HP_PIN_CAP 4096

/* How long a command, or the writer of a descriptor, may take. */
#define HP_PIN_PATIENCE (60 * HP_SECOND)

/* Read fd to its end; what is for the error text. */
hsmpool_status hp_pin_read_fd(int fd, const char *what, int64_t deadline_ns,
			      struct hp_secret *pin, hsmpool_error *err);

/* Whether line can be split into a program and its arguments. */
bool hp_pin_command_is_valid(const char *line);
hsmpool_status hp_pin_from_command(const char *line, struct hp_secret *pin,
				   hsmpool_error *err);

hsmpool_status hp_pin_from_terminal(const char *token_label, struct hp_secret *pin,
				    hsmpool_error *err);

#endif

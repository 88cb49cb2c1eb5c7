/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The side of the process that is searched: where a scenario has its canaries from, and
 * how it is stopped.
 *
 * A scenario keeps everything that is secret in the arena, which is wiped before each
 * stop: what is found then was left by the code under test. A failure ends the process
 * with a message, and the test with it.
 */
#ifndef TEST_HYGIENE_CHILD_H
#define TEST_HYGIENE_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hsmpool/hsmpool.h>

/* Where pin, configuration and files are. */
const char *child_folder(void);
/* A path in it, until the next call. */
const char *child_path(const char *name);

/* Room in the arena. */
uint8_t *child_room(size_t len);
/* The same, filled with the canary of that name, which is searched for from now on. */
uint8_t *child_canary(const char *name, size_t len);
/* Search for these bytes too; they are told in disguise. */
void child_tell(const char *name, const uint8_t *secret, size_t len);

/* Wipe the arena, stop, be searched, go on. holds_pin: the PIN may be in locked pages. */
void child_stop(const char *where, bool holds_pin);
/* The same in the middle of an operation, whose input may be kept where it is not dumped:
 * then dump core, in which there may be nothing. */
void child_crash(const char *where) __attribute__((noreturn));

void child_die(const char *what, const char *why) __attribute__((noreturn));
/* call uses err. */
#define CHILD_OK(call)                               \
	do {                                         \
		hsmpool_error *err = child_error();  \
		if ((call) != HSMPOOL_OK)            \
			child_die(#call, err->text); \
	} while (0)
#define CHILD_FAILS(status, call)                                        \
	do {                                                             \
		hsmpool_error *err = child_error();                      \
		if ((call) != (status))                                  \
			child_die("not as expected: " #call, err->text); \
	} while (0)
hsmpool_error *child_error(void); /* an empty one */

/* What a program is asked to do, by name. */
struct scenario {
	const char *name;
	void (*run)(void);
};
/* Run the one that argv names and end the process; returns if argv names none. */
void child_main(const struct scenario *scenarios, size_t count, int argc, char **argv);

#endif

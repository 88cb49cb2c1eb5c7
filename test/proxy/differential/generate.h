/* SPDX-License-Identifier: Apache-2.0 */
/* Plans: what one session is about to do, call by call. For generate.c and plans.c. */
#ifndef TEST_DIFFERENTIAL_GENERATE_H
#define TEST_DIFFERENTIAL_GENERATE_H

#include "differential.h"

enum { PLAN_CALLS = 64 };

/* What C_Login's number says of its PIN; 0 is the user's. */
enum { NO_PIN = 6 };

struct plan {
	struct call calls[PLAN_CALLS];
	unsigned count;
	unsigned next;
};

/* Initialise, open sessions, log in, find the base objects. */
void plan_beginning(struct plan *plan, struct dice *dice);
/* Logout, the end of all sessions, C_Finalize; and back. */
void plan_upheaval(struct plan *plan, struct dice *dice);
/* Anything that programs do on one session. */
void plan_something(struct plan *plan, struct dice *dice, uint8_t session);

/* Arguments at random, good ones mostly. */
struct call some_call(struct dice *dice, uint8_t function, uint8_t session);
uint8_t some_object(struct dice *dice);
uint8_t some_input(struct dice *dice);
uint8_t some_output(struct dice *dice);
uint8_t some_template(struct dice *dice);

#endif

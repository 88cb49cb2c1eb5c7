/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequences of calls from a seed.
 *
 * Every session follows a plan of its own: a cipher, a signature in pieces, a search...
 * (plans.c). The plans are interleaved, and disturbed: calls are left out or changed,
 * and stray ones come in between.
 */
#include "generate.h"

#include <stdlib.h>

void sequence_add(struct sequence *sequence, const struct call *call)
{
	if (sequence->count == sequence->cap) {
		sequence->cap = sequence->cap == 0 ? 256 : sequence->cap * 2;
		sequence->calls = realloc(sequence->calls,
					  sequence->cap * sizeof(*sequence->calls));
		if (sequence->calls == NULL)
			abort();
	}
	sequence->calls[sequence->count++] = *call;
}

void sequence_free(struct sequence *sequence)
{
	free(sequence->calls);
	*sequence = (struct sequence){ NULL, 0, 0 };
}

/* --- arguments at random --------------------------------------------------------------
 */

uint8_t some_object(struct dice *dice)
{
	if (dice_percent(dice, 55))
		return (uint8_t)dice_below(dice, BASE_OBJECTS);
	return (uint8_t)dice_below(dice, OBJECT_REFERENCES);
}

uint8_t some_input(struct dice *dice)
{
	if (dice_percent(dice, 80))
		return (uint8_t)dice_below(dice, INPUT_FIXED_COUNT);
	return (uint8_t)dice_below(dice, INPUT_REFERENCES);
}

uint8_t some_output(struct dice *dice)
{
	return dice_percent(dice, 60) ? OUTPUT_LARGE
				      : (uint8_t)dice_below(dice, OUTPUT_REFERENCES);
}

uint8_t some_template(struct dice *dice)
{
	uint8_t choice = (uint8_t)dice_below(dice, TEMPLATE_IS_ODD);

	if (dice_percent(dice, 6))
		choice |= TEMPLATE_IS_ODD;
	if (dice_percent(dice, 80))
		choice &= (uint8_t)~TEMPLATE_IS_FIXED;
	return choice;
}

/* Which PIN, and whose: mostly the right one of the user. */
static uint32_t some_login(struct dice *dice)
{
	if (dice_percent(dice, 50))
		return 0;
	uint32_t user = dice_percent(dice, 80) ? 0 : dice_below(dice, 4);
	uint32_t pin = dice_below(dice, 9);
	/* A wrong one is not tried on the token, but on the reference. */
	if (options.is_automatic && user == 0)
		pin = dice_percent(dice, 50) ? 0 : NO_PIN;
	/* Without administration nobody becomes the security officer. */
	if (!options.is_admin && user == 1 && pin == 1)
		pin = 0;
	return user << 4 | pin;
}

static uint32_t some_flags(struct dice *dice)
{
	uint32_t flags = CKF_SERIAL_SESSION;

	if (dice_percent(dice, 75))
		flags |= CKF_RW_SESSION;
	return dice_percent(dice, 5) ? dice_below(dice, 8) : flags;
}

static uint32_t some_number(struct dice *dice, uint8_t function)
{
	const char *name = functions[function].name;

	if (function == function_named("C_OpenSession"))
		return some_flags(dice);
	if (function == function_named("C_Login"))
		return some_login(dice);
	if (name[2] == 'I' || name[2] == 'S') /* C_InitToken, C_InitPIN, C_SetPIN... */
		return dice_percent(dice, 60) ? dice_below(dice, 2) * 0x11
					      : (uint32_t)dice_next(dice) & 0xfff;
	return (uint32_t)dice_next(dice) & 0xffffff;
}

struct call some_call(struct dice *dice, uint8_t function, uint8_t session)
{
	struct call call = { .function = function, .session = session };

	call.slot = dice_percent(dice, 88) ? SLOT_TOKEN
					   : (uint8_t)dice_below(dice, SLOT_REFERENCES);
	call.object = some_object(dice);
	call.object2 = some_object(dice);
	call.mechanism = (uint8_t)dice_below(dice, mechanism_count);
	call.input = some_input(dice);
	call.input2 = some_input(dice);
	call.output = some_output(dice);
	call.store = (uint8_t)(functions[function].uses & USES_STORE_OBJECT
				       ? BASE_OBJECTS +
						 dice_below(dice, OBJECTS - BASE_OBJECTS)
				       : dice_below(dice, STORE_REFERENCES));
	call.template = some_template(dice);
	call.template2 = some_template(dice);
	call.oddity = dice_percent(dice, 5) ? (uint8_t)(1 + dice_below(dice, 5)) : 0;
	call.number = some_number(dice, function);
	return call;
}

static struct call stray_call(struct dice *dice)
{
	uint8_t session = (uint8_t)dice_below(dice, SESSIONS);
	unsigned total = 0;

	for (unsigned i = 0; i < FUNCTION_COUNT; i++)
		total += functions[i].weight;
	if (dice_percent(dice, 3))
		session = (uint8_t)(SESSIONS + dice_below(dice, 2));
	for (;;) {
		uint32_t point = dice_below(dice, total);
		uint8_t function = 0;
		while (point >= functions[function].weight)
			point -= functions[function++].weight;
		if (functions[function].uses & IS_ADMIN && !options.is_admin)
			continue;
		return some_call(dice, function, session);
	}
}

/* --- interleaving ---------------------------------------------------------------------
 */

static void add(struct sequence *sequence, struct call call)
{
	call.id = sequence->count + 1;
	sequence_add(sequence, &call);
}

static void disturb(struct dice *dice, struct call *call)
{
	struct call other = some_call(dice, call->function, call->session);

	switch (dice_below(dice, 7)) {
	case 0:
		call->object = other.object;
		break;
	case 1:
		call->mechanism = other.mechanism;
		break;
	case 2:
		call->input = other.input;
		break;
	case 3:
		call->output = (uint8_t)dice_below(dice, OUTPUT_REFERENCES);
		break;
	case 4:
		call->oddity = (uint8_t)(1 + dice_below(dice, 4));
		break;
	case 5:
		call->template ^= (uint8_t)(1u << dice_below(dice, 8));
		break;
	default:
		call->session = (uint8_t)dice_below(dice, SESSION_REFERENCES);
		break;
	}
}

static void go_on_with_plan(struct sequence *sequence, struct dice *dice,
			    struct plan *plan)
{
	struct call call = plan->calls[plan->next++];

	if (dice_percent(dice, 3))
		return;
	if (dice_percent(dice, 4))
		disturb(dice, &call);
	add(sequence, call);
}

static void add_plan(struct sequence *sequence, const struct plan *plan)
{
	for (unsigned i = 0; i < plan->count; i++)
		add(sequence, plan->calls[i]);
}

void generate_beginning(struct sequence *sequence, uint32_t first_id)
{
	struct dice dice = { first_id };
	struct plan plan = { .count = 0 };

	plan_beginning(&plan, &dice);
	for (unsigned i = 0; i < plan.count; i++) {
		plan.calls[i].id = first_id + i;
		sequence_add(sequence, &plan.calls[i]);
	}
}

void generate(struct sequence *sequence, uint64_t seed, uint32_t count)
{
	static struct plan plans[SESSIONS];
	struct dice dice = { seed * 0x51ed27f1u + 1 };

	for (unsigned i = 0; i < SESSIONS; i++)
		plans[i].next = plans[i].count = 0;
	generate_beginning(sequence, 1);
	while (sequence->count < count) {
		uint8_t session = (uint8_t)dice_below(&dice, SESSIONS);
		struct plan *plan = &plans[session];
		if (dice_percent(&dice, 15)) {
			add(sequence, stray_call(&dice));
		} else if (dice_below(&dice, options.is_admin ? 80 : 600) == 0) {
			struct plan upheaval = { .count = 0 };
			plan_upheaval(&upheaval, &dice);
			add_plan(sequence, &upheaval);
		} else if (plan->next < plan->count) {
			go_on_with_plan(sequence, &dice, plan);
		} else {
			plan->next = plan->count = 0;
			plan_something(plan, &dice, session);
		}
	}
}

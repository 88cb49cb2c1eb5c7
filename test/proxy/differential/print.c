/* SPDX-License-Identifier: Apache-2.0 */
/* Calls and answers as a person reads them. */
#include "differential.h"

#include "p11/rv.h"

static void print_input(FILE *f, const char *name, uint8_t input)
{
	if (input < INPUT_FIXED_COUNT)
		fprintf(f, ", %s %lu bytes", name, input_lengths[input]);
	else if (input < INPUT_FIRST_HALF)
		fprintf(f, ", %s buffer %u", name, input - INPUT_BUFFER);
	else if (input < INPUT_SECOND_HALF)
		fprintf(f, ", %s first half of buffer %u", name,
			input - INPUT_FIRST_HALF);
	else if (input < INPUT_NULL)
		fprintf(f, ", %s second half of buffer %u", name,
			input - INPUT_SECOND_HALF);
	else
		fprintf(f, ", %s NULL and %u", name, input == INPUT_NULL ? 0 : 16);
}

static void print_output(FILE *f, uint8_t output)
{
	static const char *const texts[OUTPUT_REFERENCES] = {
		"room",
		"size query",
		"no room",
		"room for 1",
		"room for 1 too few",
		"exact room",
		"no length pointer",
	};

	fprintf(f, ", %s", texts[output % OUTPUT_REFERENCES]);
}

static void print_register(FILE *f, const char *name, uint8_t number, uint8_t bound)
{
	if (number < bound)
		fprintf(f, ", %s %u", name, number);
	else
		fprintf(f, ", %s %s", name, number == bound ? "0" : "unknown");
}

static void print_template(FILE *f, uint8_t choice)
{
	static const char *const kinds[TEMPLATE_KINDS] = {
		"AES",        "generic",    "data",        "EC public",
		"EC private", "RSA public", "certificate", "empty",
	};

	fprintf(f, ", template %u (%s%s%s%s%s%s)", choice, kinds[choice % TEMPLATE_KINDS],
		choice & TEMPLATE_IS_TOKEN ? ", token" : "",
		choice & TEMPLATE_IS_PRIVATE ? ", private" : "",
		choice & TEMPLATE_IS_SENSITIVE ? ", sensitive" : "",
		choice & TEMPLATE_IS_FIXED ? ", not modifiable" : "",
		choice & TEMPLATE_IS_ODD ? ", odd" : "");
}

void print_call(FILE *f, const struct call *call)
{
	const struct function *function = &functions[call->function];

	fprintf(f, "%s (#%u", function->name, call->id);
	if (function->uses & USES_SLOT)
		print_register(f, "slot", call->slot, SLOT_UNKNOWN);
	if (function->uses & USES_SESSION)
		print_register(f, "session", call->session, SESSIONS);
	if (function->uses & USES_MECHANISM)
		fprintf(f, ", %s",
			mechanism_rows[call->mechanism % mechanism_count].name);
	if (function->uses & USES_OBJECT)
		print_register(f, "object", call->object, OBJECTS);
	if (function->uses & USES_OBJECT2)
		print_register(f, "object", call->object2, OBJECTS);
	if (function->uses & USES_INPUT)
		print_input(f, "input", call->input);
	if (function->uses & USES_INPUT2)
		print_input(f, "signature", call->input2);
	if (function->uses & USES_OUTPUT)
		print_output(f, call->output);
	if (function->uses & USES_TEMPLATE)
		print_template(f, call->template);
	if (function->uses & USES_TEMPLATE2)
		print_template(f, call->template2);
	if (function->uses & (USES_STORE_OBJECT | USES_STORE_BUFFER))
		fprintf(f, ", into %u", call->store);
	if (function->uses & USES_NUMBER)
		fprintf(f, ", number 0x%x", call->number);
	if (call->oddity != 0)
		fprintf(f, ", oddity %u", call->oddity);
	fputc(')', f);
}

void print_code(FILE *f, CK_RV rv)
{
	char name[32];

	fputs(hp_rv_name(rv, name), f);
}

void print_answer(FILE *f, const struct answer *answer)
{
	print_code(f, answer->rv);
	for (uint32_t i = 0; i < answer->count; i++)
		fprintf(f, ", %s 0x%llx", answer->items[i].name,
			(unsigned long long)answer->items[i].value);
}

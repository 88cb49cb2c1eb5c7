/* SPDX-License-Identifier: Apache-2.0 */
/* One side: a process that loads one module and runs the calls. */
#include "differential.h"

#include <dlfcn.h>
#include <string.h>
#include <unistd.h>
#include "base/time.h"

/* No call takes that long; a process that does is killed by the alarm. */
#define CALL_SECONDS 6

static void load(struct worker *w, const char *path)
{
	void *dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (dl == NULL) {
		fprintf(stderr, "differential: %s\n", dlerror());
		return;
	}
	*(void **)&w->get_function_list = dlsym(dl, "C_GetFunctionList");
	if (w->get_function_list == NULL || w->get_function_list(&w->module) != CKR_OK)
		w->module = NULL;
}

/* To see that the driver finds what is wrong: some answers of one function are spoilt. */
static void alter(const struct call *call, struct answer *answer)
{
	if (options.alter == NULL || (call->id & 3) != 0 ||
	    strcmp(functions[call->function].name, options.alter) != 0)
		return;
	if (answer->rv == CKR_OK)
		answer->rv = CKR_GENERAL_ERROR;
}

void worker_run(enum side side, const struct sequence *sequence, struct trace *trace)
{
	static struct worker w;

	ground_enter(side);
	random_take_over();
	w.slots = ground_slots;
	load(&w, side == SIDE_REFERENCE ? options.reference : options.subject);
	trace->is_up = w.module != NULL;
	for (uint32_t i = 0; i < sequence->count && w.module != NULL; i++) {
		const struct call *call = &sequence->calls[i];
		struct answer *answer = &trace->answers[i];
		alarm(CALL_SECONDS);
		random_restart(call->id);
		trace->begun = i + 1;
		if (options.is_verbose && side == SIDE_SUBJECT) {
			print_call(stderr, call); /* among the pool's messages */
			fputc('\n', stderr);
		}
		int64_t begun_ns = hp_now_ns();
		answer->rv = functions[call->function].run(&w, call, answer);
		answer->took_ns = hp_now_ns() - begun_ns;
		if (side == SIDE_SUBJECT)
			alter(call, answer);
		trace->done = i + 1;
		const struct moment moment = { sequence, trace->answers, trace->answers,
					       i };
		if (leaves_rubbish(&moment))
			break;
	}
	_exit(0);
}
